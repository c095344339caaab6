/* SPDX-License-Identifier: Apache-2.0 */
/*
 * input: the bytes of a trace, from a file or a pipe, unpacked if they are packed by zstd.
 *
 *     descriptor --read--> packed --zstd--> data[begin, end)     what has been seen is begin's left
 *          |'---------- not packed ---------^
 *          '-- a plain file: windows of it, mapped, one after the other
 *
 * Mapped bytes are not copied. The last window ends where the file did when it was looked at; what
 * comes behind, because it grew, is read. A file that is cut off within the window that is being
 * looked at ends the process by SIGBUS, as any mapping does.
 *
 * Not thread-safe.
 */
#ifndef QUIRE_SIM_INPUT_H
#define QUIRE_SIM_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define INPUT_MOST_BYTES ((size_t)1 << 20) /* that can be asked for at once */

struct input {
    int fd;
    unsigned char *data, *packed; /* allocated, or data is the window; packed only if it is */
    size_t begin, end;
    off_t window_at, mapped_end; /* in the file; no window: window_bytes is 0 */
    size_t window_bytes;
    size_t packed_begin, packed_end;
    void *unpacker;    /* a ZSTD_DStream, or NULL */
    bool in_frame;     /* of zstd: more must come */
    bool has_ended;    /* nothing more to come */
    uint64_t n_passed; /* bytes before `begin` */
};

/* 0; -ENOMEM; an error of read(2); -EBADMSG: zstd's frame is broken. input_close() always. */
int input_open(struct input *input, int fd);
void input_close(struct input *input);

/*
 * Makes n bytes (up to INPUT_MOST_BYTES) available at input_at(), fewer at the end. Returns how
 * many are, perhaps more; -EBADMSG: zstd's frame is broken or cut; an error of read(2).
 */
ssize_t input_need(struct input *input, size_t n);

static inline const unsigned char *input_at(const struct input *input)
{
    return input->data + input->begin;
}

static inline size_t input_has(const struct input *input)
{
    return input->end - input->begin;
}

static inline void input_pass(struct input *input, size_t n)
{
    input->begin += n;
    input->n_passed += n;
}

/* The last n bytes that were passed are to come again. No call of input_need() is in between. */
static inline void input_give_back(struct input *input, size_t n)
{
    input->begin -= n;
    input->n_passed -= n;
}

/*
 * The next line without its end, passed. Returns 1; 0: there is none; -E2BIG: it is longer than
 * `most`; or as input_need(). Valid until the next call.
 */
int input_line(struct input *input, size_t most, const char **line, size_t *length);

#endif
