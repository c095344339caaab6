/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena_layout: how the pager describes its arena to who reads it from outside (observe/arena.h).
 *
 * The object `quire_arena_layout` of the library holds the addresses of the pager's own words and
 * what one has to know of src/pager/table.h to read its table.
 */
#ifndef QUIRE_BASE_ARENA_LAYOUT_H
#define QUIRE_BASE_ARENA_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#define ARENA_LAYOUT_MAGIC "QUIRAREN"
#define ARENA_LAYOUT_VERSION 1u
#define ARENA_LAYOUT_SYMBOL "quire_arena_layout"

struct arena_layout {
    char magic[8];
    uint32_t version, n_bytes; /* of this */
    /* Where these stand: */
    char *const *base;       /* of the arena */
    const uint32_t *n_pages; /* of it */
    const uint32_t *highest; /* nothing of the table is used at or above that page */
    const void *n_used;      /* uint16_t *: used entries of each chunk of pages */
    const void *index;       /* uint32_t *: a word for each group of pages */
    const void *groups;      /* uint64_t *: the entries */
    const void *threads;     /* int32_t[n_threads]: the ids of Quire's own threads, or 0 */
    uint32_t n_threads;
    uint32_t chunk_shift, group_shift; /* pages, as powers of two */
    uint32_t used_mask;                /* of a word of n_used */
    uint32_t count_bits;               /* of a word of the index; above, the group's number */
    uint32_t state_mask;               /* of an entry; 0: the page's contents are nowhere */
    uint32_t resident_state;           /* it is mapped in the program */
};

#endif
