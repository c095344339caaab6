/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source: the bytes of a trace, from a file or a pipe, unpacked if they are packed by zstd.
 *
 *     descriptor --read--> packed --zstd--> data[begin, end)     what has been seen is begin's left
 *          '----------- not packed ----------^
 *
 * Not thread-safe.
 */
#ifndef QUIRE_SIM_SOURCE_H
#define QUIRE_SIM_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SOURCE_MOST_BYTES ((size_t)1 << 20) /* that can be asked for at once */

struct source {
    int fd;
    unsigned char *data, *packed; /* allocated; packed only if it is */
    size_t begin, end;
    size_t packed_begin, packed_end;
    void *unpacker;    /* a ZSTD_DStream, or NULL */
    bool in_frame;     /* of zstd: more must come */
    bool has_ended;    /* nothing more to come */
    uint64_t n_passed; /* bytes before `begin` */
};

/* 0; -ENOMEM; an error of read(2); -EBADMSG: zstd's frame is broken. source_close() always. */
int source_open(struct source *source, int fd);
void source_close(struct source *source);

/*
 * Makes n bytes (up to SOURCE_MOST_BYTES) available at source_at(), fewer at the end. Returns how
 * many are, perhaps more; -EBADMSG: zstd's frame is broken or cut; an error of read(2).
 */
ssize_t source_need(struct source *source, size_t n);

static inline const unsigned char *source_at(const struct source *source)
{
    return source->data + source->begin;
}

static inline size_t source_has(const struct source *source)
{
    return source->end - source->begin;
}

static inline void source_pass(struct source *source, size_t n)
{
    source->begin += n;
    source->n_passed += n;
}

/*
 * The next line without its end, passed. Returns 1; 0: there is none; -E2BIG: it is longer than
 * `most`; or as source_need(). Valid until the next call.
 */
int source_line(struct source *source, size_t most, const char **line, size_t *length);

#endif
