/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_code: a sample as few bytes, given the one before it. Private to src/observe.
 *
 *   rows       for each table: how many, then for each row
 *                0, or 1 + how its place among the rows before differs from the one expected
 *                its words as differences, runs of zeros as one number
 *                of processes: 0 when the text is the same, else 1 + its length, and it
 *   numbers    7 bits a byte, the low ones first; signed ones with the sign in the lowest bit
 */
#ifndef QUIRE_OBSERVE_RECORD_CODE_H
#define QUIRE_OBSERVE_RECORD_CODE_H

#include "observe/record_fields.h"

#define RECORD_MAX_SAMPLE_BYTES ((size_t)16 << 20) /* of one sample, uncompressed */
#define RECORD_MAX_WORDS ((size_t)32 << 20)        /* of a table's rows together */
#define RECORD_MAX_TEXT 4096u /* of a process's arguments; longer ones are cut */

/* The rows of a table. */
struct record_rows {
    size_t n, room;
    unsigned n_words; /* a row */
    uint64_t *words;  /* n rows of them */
    size_t words_room;
    char **texts; /* each its own; NULL: not known */
    size_t texts_room;
};

struct record_flat { /* a sample without structs */
    struct record_rows tables[RECORD_N_TABLES];
};

/* `n_words` of each table; all is empty. */
void record_flat_init(struct record_flat *flat, const unsigned n_words[RECORD_N_TABLES]);
void record_flat_deinit(struct record_flat *flat);
/* No rows. */
void record_flat_clear(struct record_flat *flat);
/* False: no memory. */
bool record_flat_from(struct record_flat *flat, const struct sample *sample);

struct record_bytes {
    unsigned char *data; /* its own */
    size_t n, room;
    bool failed; /* no memory */
};

/* Appends `now`, given `before` (empty: nothing is). */
void record_encode(const struct record_flat *before, const struct record_flat *now,
                   struct record_bytes *bytes);

/* 0; -EBADMSG: it is none; -ENOMEM. All of the n bytes are used. */
int record_decode(const struct record_flat *before, const unsigned char *data, size_t n,
                  struct record_flat *now);

#endif
