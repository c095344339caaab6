/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table: one word for each page of the arena, saying where its contents are.
 *
 *   63                      16 15     10 9        2 1    0
 *  +--------------------------+---------+----------+------+
 *  | payload                  | mark    | flags    | state|
 *  +--------------------------+---------+----------+------+
 *
 *   state      payload           the page's contents are
 *   EMPTY      -                 zeros, nowhere
 *   RESIDENT   policy_place      mapped in the program
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
 * The mark is what the replacement policy remembers of the page, resident or not. It stays when the
 * entry is set, and is gone when that becomes 0.
 *
 * Entries stand in groups of 16 pages, which exist as long as one of them is not 0. So sparse data
 * costs little: 8 bytes a page where it is dense, 132 for a page that is alone.
 *
 *   n_used   | 0 | 37 | 0 | ...       2 bytes a chunk of 512 pages: how many entries are not 0
 *   index    |   | g4 |   | g0 | ...  4 bytes for 16 pages: the group's number, and how many of its
 *                  |         |        entries are not 0; 0: there is no group
 *   groups   | g0 | g1 | g2 | ...     128 bytes each; those that fell empty are used again first
 *
 * All three are sparse: address space for the worst case is mapped at the start, so that an entry
 * can be made without anything that could fail, and what is touched of it is charged.
 *
 * The pager's lock guards it all, but for table_get_busy().
 */
#ifndef QUIRE_PAGER_TABLE_H
#define QUIRE_PAGER_TABLE_H

#include "policy/policy.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t page_entry;

enum page_state { PAGE_EMPTY, PAGE_RESIDENT, PAGE_STAGED, PAGE_STORED };

#define PAGE_STATE_MASK ((page_entry)0x3)
#define PAGE_BUSY \
    ((page_entry)1 << 2) /* it comes in or leaves; only who is at that may change it */
#define PAGE_PACKING \
    ((page_entry)1 << 3) /* STAGED: its copy is being packed; dropped when taken back */
#define PAGE_DEAD ((page_entry)1 << 4) /* free memory: the contents are worthless */
#define PAGE_SHARED \
    ((page_entry)1 << 5) /* RESIDENT: a fork's other side may have the frame too; writes fault */
#define PAGE_RAW ((page_entry)1 << 6) /* RESIDENT: it did not compress when it was last tried */
#define PAGE_CLEAN \
    ((page_entry)1 << 7)               /* RESIDENT: not written to since it came in; writes fault */
#define PAGE_KEPT ((page_entry)1 << 8) /* CLEAN: the store still has it; copies.h */
#define PAGE_FLAGS_MASK ((page_entry)0x3fc)
#define PAGE_MARK_SHIFT 10 /* the policy's: no part of what entries are set and got by */
#define PAGE_MARK_MASK ((((page_entry)1 << POLICY_MARK_BITS) - 1) << PAGE_MARK_SHIFT)
#define PAGE_PAYLOAD_SHIFT 16

#define TABLE_GROUP_SHIFT 4
#define TABLE_GROUP_PAGES (1u << TABLE_GROUP_SHIFT)
#define TABLE_CHUNK_SHIFT 9
#define TABLE_CHUNK_PAGES (1u << TABLE_CHUNK_SHIFT)

#define TABLE_MOST_PAGES (1u << 31)
#define TABLE_COUNT_BITS 5 /* of a word of the index: entries that are not 0; above, the number */
#define TABLE_COUNT_MASK ((1u << TABLE_COUNT_BITS) - 1)
#define TABLE_USED_MASK 0x3ffu /* of n_used: entries that are not 0; above, what is charged */

struct table_group {
    page_entry entry[TABLE_GROUP_PAGES]; /* of a free one: [0] is the next free one's number + 1 */
};

struct table {
    struct table_group *groups;
    _Atomic uint32_t *index; /* number << TABLE_COUNT_BITS | count */
    uint16_t *n_used;
    uint32_t n_pages;
    uint32_t n_stored;    /* entries that are STORED */
    uint32_t highest;     /* no entry was ever set at or above it */
    uint32_t n_opened;    /* groups from the start that were ever used */
    uint32_t free_group;  /* number + 1; 0: there is none */
    size_t charged_bytes; /* as metadata */
};

/* 0; -ENOMEM: there is no address space; -EINVAL: over TABLE_MOST_PAGES. */
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
    return (table->n_used[page >> TABLE_CHUNK_SHIFT] & TABLE_USED_MASK) != 0;
}

static inline uint32_t table_word(const struct table *table, uint32_t page)
{
    /* relaxed: written under the lock; who reads without it wants what does not change (T3) */
    return atomic_load_explicit(&table->index[page >> TABLE_GROUP_SHIFT], memory_order_relaxed);
}

static inline page_entry *table_entry(const struct table *table, uint32_t word, uint32_t page)
{
    return &table->groups[word >> TABLE_COUNT_BITS].entry[page & (TABLE_GROUP_PAGES - 1)];
}

static inline page_entry table_get(const struct table *table, uint32_t page)
{
    uint32_t word = table_chunk_used(table, page) ? table_word(table, page) : 0;
    return word != 0 ? *table_entry(table, word, page) & ~PAGE_MARK_MASK : 0;
}

static inline policy_mark table_mark(const struct table *table, uint32_t page)
{
    uint32_t word = table_chunk_used(table, page) ? table_word(table, page) : 0;
    page_entry entry = word != 0 ? *table_entry(table, word, page) : 0;
    return (policy_mark)((entry & PAGE_MARK_MASK) >> PAGE_MARK_SHIFT);
}

/* The page's entry is not 0. */
static inline void table_set_mark(struct table *table, uint32_t page, policy_mark mark)
{
    page_entry *entry = table_entry(table, table_word(table, page), page);
    *entry = (*entry & ~PAGE_MARK_MASK) | (page_entry)mark << PAGE_MARK_SHIFT;
}

/*
 * The entry of a page that the caller's thread has marked BUSY. Wants no lock: nobody else changes
 * such an entry, and its group stays where it is (T3).
 */
static inline page_entry table_get_busy(const struct table *table, uint32_t page)
{
    return *table_entry(table, table_word(table, page), page) & ~PAGE_MARK_MASK;
}

/* Can't fail, and allocates nothing: see above. The mark bits of `entry` are 0. */
void table_set(struct table *table, uint32_t page, page_entry entry);

/* The first page in [page, end) whose entry is not 0, or `end`. */
uint32_t table_next(const struct table *table, uint32_t page, uint32_t end);

/* Recomputes every count and checks every invariant; 0 or -EUCLEAN with the reason logged. */
int table_validate(const struct table *table);

#endif
