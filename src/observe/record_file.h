/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_file: a recording's file: its head, and where its frames stand. docs/log.md describes it.
 *
 *   head 16 KiB: what it is, names of fields | frame | frame | ...    up to max_bytes, then again
 *                                                                     from behind the head
 *   frame: header 64 bytes | zstd stream: sample, sample - sample before, ...
 *
 * All numbers little-endian. Private to src/observe.
 */
#ifndef QUIRE_OBSERVE_RECORD_FILE_H
#define QUIRE_OBSERVE_RECORD_FILE_H

#include "observe/record_fields.h"

#include <assert.h>

#define RECORD_MAGIC "QUIRELOG" /* without its terminator */
#define RECORD_VERSION 1u
#define RECORD_HEAD_BYTES 16384u
#define RECORD_SCHEMA_AT 256u
#define RECORD_STEP 512u               /* frames start at multiples of it */
#define RECORD_FRAME_MAGIC 0x4d524651u /* "QFRM" */
#define RECORD_MIN_BYTES ((uint64_t)1 << 20)
#define RECORD_MAX_BYTES ((uint64_t)1 << 40)
#define RECORD_MAX_FRAME ((uint32_t)4 << 20)

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "recordings are little-endian");

struct record_head {
    char magic[8];
    uint32_t version;
    uint32_t checksum; /* CRC-32 of the head behind it, schema and zeros included */
    uint64_t max_bytes, interval_ms, start_ms;
    uint32_t frame_bytes;  /* the most that a frame has, with its header */
    uint32_t schema_bytes; /* at RECORD_SCHEMA_AT: lines "TABLE FIELD WORDS" */
    char host[128];        /* terminated */
    char unused[80];
};
static_assert(sizeof(struct record_head) == RECORD_SCHEMA_AT, "the schema stands behind it");

struct record_frame_header {
    uint32_t magic;
    uint32_t checksum;           /* CRC-32 of the rest of the header */
    uint64_t sequence;           /* 1, 2 ... : which is the newest */
    uint64_t first_ms, last_ms;  /* of its samples, since the epoch */
    uint32_t n_samples, n_bytes; /* that are written; n_bytes without the header */
    uint64_t unused[3];
};
static_assert(sizeof(struct record_frame_header) == 64, "one write, within one sector");

/* Before each sample in the stream. */
struct record_sample_header {
    uint32_t n_bytes;
    uint32_t checksum; /* CRC-32 of the sample, begun with the frame's sequence */
};

struct record_frame {
    uint64_t offset; /* of its header */
    struct record_frame_header header;
};

/* How the words of a file's rows become the fields of this version. */
struct record_map {
    unsigned n_words; /* of a row in the file */
    unsigned n;
    struct {
        const struct record_field *field;
        unsigned at; /* word of the row */
    } known[256];
};

uint32_t record_checksum(uint32_t seed, const void *data, size_t n);

/* Writes the head with the schema of this version. */
void record_head_make(struct record_head *head, char bytes[RECORD_HEAD_BYTES]);

/*
 * Reads it. 0; -EBADMSG: it is none, or damaged; -EPROTO: of another version; or a negative errno.
 * `maps` may be NULL.
 */
int record_head_read(int fd, struct record_head *head, struct record_map maps[RECORD_N_TABLES]);

/* Finds the frames, the oldest first; *frames is the caller's. 0 or a negative errno. */
int record_scan(int fd, const struct record_head *head, struct record_frame **frames, size_t *n);

#endif
