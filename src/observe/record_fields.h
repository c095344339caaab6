/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_fields: a sample as rows of 64-bit words, by tables of named fields.
 *
 *   system          one row     memory.total, counters.faults ...
 *   processes       a row each  pid, start_ms ..., and a text: its arguments
 *   runs            a row each  keeper, start_ms ...
 *   run processes   a row each  pid, start_ticks ...
 *   zones           a row each  node, name, free_pages ...
 *   slab caches     a row each  name, active_objects ...
 *   heaps           a row each  keeper, pid, slabs.classes ...
 *
 * A recording holds the names, so that a reader of another version takes the fields that it knows
 * and lets the others be. Private to src/observe.
 */
#ifndef QUIRE_OBSERVE_RECORD_FIELDS_H
#define QUIRE_OBSERVE_RECORD_FIELDS_H

#include "observe/sample.h"

enum record_table {
    RECORD_SYSTEM,
    RECORD_PROCESS,
    RECORD_RUN,
    RECORD_RUN_PROCESS,
    RECORD_ZONE,
    RECORD_SLAB,
    RECORD_HEAP,
    RECORD_N_TABLES
};

struct record_field {
    const char *name;
    uint32_t offset;  /* in the struct */
    uint32_t n_bytes; /* 1, 4, or a multiple of 8 */
    bool is_flag;     /* a bool: nothing but 0 and 1 may stand there */
};

struct record_fields {
    const char *name; /* of the table, in the file */
    const struct record_field *fields;
    unsigned n;
    unsigned n_words; /* of all fields together */
    size_t row_bytes; /* of the struct */
};

/* The tables of this version. */
const struct record_fields *record_fields(enum record_table table);

static inline unsigned record_field_words(const struct record_field *field)
{
    return field->n_bytes < 8 ? 1 : field->n_bytes / 8;
}

/* One struct into the words of its table, and back. Signed figures keep their sign. */
void record_pack(const struct record_fields *fields, const void *row, uint64_t *words);
void record_unpack_field(const struct record_field *field, const uint64_t *words, void *row);

#endif
