/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table: one word for each page of the arena, saying where its contents are.
 *
 *   63                                16 15        4 3    0
 *  +------------------------------------+-----------+------+
 *  | payload                            | flags     | state|
 *  +------------------------------------+-----------+------+
 *
 *   state      payload           the page's contents are
 *   EMPTY      -                 zeros, nowhere
 *   RESIDENT   fifo position     mapped in the program
 *   STAGED     staging slot      in the staging area, unmapped from the program
 *   STORED     store_ref         in the store
 *
 *                 first touch                     evict                    pack
 *      EMPTY ------------------> RESIDENT ------------------> STAGED ------------> STORED
 *        ^                        ^  ^  fault: move back        |                    |
 *        |                        |  '--------------------------'                    |
 *        |                        '--------- fault: load and copy -------------------'
 *        '---------- discard (munmap, MADV_DONTNEED, free memory's turn), from any state
 *
 * The table is sparse: one metadata page covers a chunk of 512 pages (2 MiB), and chunks without
 * entries other than 0 are skipped by their count. The pager's lock guards it all.
 * Invariant T1: the count in n_used[c] == number of non-zero entries in chunk c.
 */
#ifndef QUIRE_PAGER_TABLE_H
#define QUIRE_PAGER_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t page_entry;

enum page_state { PAGE_EMPTY, PAGE_RESIDENT, PAGE_STAGED, PAGE_STORED };

#define PAGE_STATE_MASK ((page_entry)0xf)
#define PAGE_BUSY ((page_entry)1 << 4) /* a fault brings it in; only that fault may change it */
#define PAGE_PACKING \
    ((page_entry)1 << 5) /* STAGED: its copy is being packed; dropped when taken back */
#define PAGE_DEAD ((page_entry)1 << 6) /* free memory: the contents are worthless */
#define PAGE_SHARED \
    ((page_entry)1 << 7) /* RESIDENT: a fork's other side may have the frame too; writes fault */
#define PAGE_RAW ((page_entry)1 << 8) /* RESIDENT: it did not compress when it was last tried */
#define PAGE_CLEAN \
    ((page_entry)1 << 9) /* RESIDENT: not written to since it came in; writes fault */
#define PAGE_PAYLOAD_SHIFT 16

#define TABLE_CHUNK_SHIFT 9
#define TABLE_CHUNK_PAGES (1u << TABLE_CHUNK_SHIFT)
#define TABLE_TOUCHED 0x8000 /* in n_used: the chunk had an entry once, its metadata exists */

struct table {
    page_entry *entries; /* sparse */
    uint16_t *n_used;    /* a chunk, sparse; TABLE_TOUCHED | count */
    uint32_t n_pages;
    uint32_t highest; /* no entry was ever set at or above it */
};

int table_init(struct table *table, uint32_t n_pages);

static inline enum page_state page_state(page_entry entry)
{
    return (enum page_state)(entry & PAGE_STATE_MASK);
}

static inline uint64_t page_payload(page_entry entry)
{
    return entry >> PAGE_PAYLOAD_SHIFT;
}

static inline page_entry page_make(enum page_state state, uint64_t payload)
{
    return payload << PAGE_PAYLOAD_SHIFT | state;
}

static inline bool table_chunk_used(const struct table *table, uint32_t page)
{
    return (table->n_used[page >> TABLE_CHUNK_SHIFT] & ~TABLE_TOUCHED) != 0;
}

static inline page_entry table_get(const struct table *table, uint32_t page)
{
    return table_chunk_used(table, page) ? table->entries[page] : 0;
}

void table_set(struct table *table, uint32_t page, page_entry entry);

/* The first page in [page, end) whose entry is not 0, or `end`. */
uint32_t table_next(const struct table *table, uint32_t page, uint32_t end);

#endif
