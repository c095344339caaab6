/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zone: one range of pages, cut into blocks. Private to src/pages/; zone.c tells how it works.
 *
 * All functions but zone_layout and zone_init want the zone's lock held. Ranges are [from, to) and
 * must lie inside the zone unless said otherwise: the callers in buddy.c check that.
 */
#ifndef QUIRE_PAGES_ZONE_H
#define QUIRE_PAGES_ZONE_H

#include "base/lock.h"

#include <quire/buddy.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ZONE_N_ORDERS (QUIRE_BUDDY_MAX_ORDER + 1)
#define ZONE_NIL UINT32_MAX /* ends a list */

/*
 * Links of free blocks. Blocks below this order keep them in an array with an entry a page, larger
 * ones in an array with an entry a group of 2^9 pages: a workload of large runs then touches no
 * page of the first, which is the large one. 2^9 entries of the first fill one page of metadata.
 */
#define ZONE_GROUP_ORDER 9
#define ZONE_GROUP_PAGES (1u << ZONE_GROUP_ORDER)

struct zone_link {
    uint32_t next, prev; /* pages, or ZONE_NIL */
};

/* What of the tables was ever written, and holds memory: flags of a group. */
enum zone_touched {
    ZONE_LOW_LINKS = 1, /* low links of this group */
    ZONE_STATES = 2,    /* states of this group and of those whose states share their page */
    ZONE_GROUPS = 4,    /* of this group and of those that share its page */
};
#define ZONE_STATES_PAGES 4096u                              /* whose states fill a page, */
#define ZONE_GROUPS_PAGES (ZONE_GROUP_PAGES * (4096u / 16u)) /* whose groups do */

struct zone_group {
    struct zone_link link; /* of the free block of order >= 9 that begins here */
    uint32_t touched;      /* enum zone_touched; the latter two in the first group of a page */
    uint32_t unused;       /* so that groups fill their pages */
};

/* c: constant after zone_init; l: under the lock. */
struct zone {
    struct lock lock;
    uint32_t first, end;              /* c: pages [first, end) */
    uint32_t base;                    /* c: first, rounded down to a group; index 0 of the tables */
    uint32_t max_order;               /* c */
    uint32_t frontier;                /* l: pages [frontier, end) were never used */
    uint32_t n_free, n_allocated;     /* l: pages; n_free + n_allocated = frontier - first */
    uint32_t nonempty;                /* l: bit k: head[k] != ZONE_NIL */
    size_t states_at;                 /* c: tables, bytes from the start of this struct: states, */
    size_t groups_at;                 /* c: groups, */
    size_t links_at;                  /* c: and low links */
    _Atomic size_t metadata_bytes;    /* l, a figure without: this struct and what is touched */
    uint32_t head[ZONE_N_ORDERS];     /* l: free blocks by order, the one freed last first */
    uint32_t n_blocks[ZONE_N_ORDERS]; /* l: length of each list */
    char name[QUIRE_BUDDY_NAME_BYTES]; /* c */
} __attribute__((aligned(QUIRE_BUDDY_ALIGNMENT)));

/* A state byte: 0 is no head of a block, else kind | order. */
enum zone_kind { ZONE_NONE = 0, ZONE_FREE = 0x40, ZONE_ALLOCATED = 0x80 };
#define ZONE_KIND_MASK 0xc0

struct zone_block {
    uint32_t page;
    uint8_t order;
    uint8_t kind; /* enum zone_kind; ZONE_NONE: a fresh page, order 0 */
};

static inline uint32_t block_end(struct zone_block block)
{
    return block.page + (1u << block.order);
}

static inline uint8_t *zone_state(const struct zone *zone, uint32_t page)
{
    return (uint8_t *)zone + zone->states_at + (page - zone->base);
}

static inline struct zone_group *zone_group(const struct zone *zone, uint32_t page)
{
    struct zone_group *groups = (struct zone_group *)((uintptr_t)zone + zone->groups_at);
    return &groups[(page - zone->base) >> ZONE_GROUP_ORDER];
}

/* The first page of those, n together, whose entries share a page of a table with this one's. */
static inline uint32_t zone_first_of(const struct zone *zone, uint32_t page, uint32_t n)
{
    return page - (page - zone->base) % n;
}

static inline struct zone_link *zone_link(const struct zone *zone, uint32_t page, unsigned order)
{
    if (order >= ZONE_GROUP_ORDER)
        return &zone_group(zone, page)->link;
    return (struct zone_link *)((uintptr_t)zone + zone->links_at) + (page - zone->base);
}

/* A head's byte, read as a block. */
static inline struct zone_block zone_head(const struct zone *zone, uint32_t page)
{
    uint8_t state = *zone_state(zone, page);
    return (struct zone_block){page, state & (uint8_t)~ZONE_KIND_MASK, state & ZONE_KIND_MASK};
}

static inline bool zone_has(const struct zone *zone, uint32_t page)
{
    return page - zone->first < zone->end - zone->first;
}

/* The bytes of a table that hold memory because of this flag in the group of `page`. */
size_t zone_touched_bytes(const struct zone *zone, uint32_t page, enum zone_touched flag);

static inline size_t zone_metadata_bytes(const struct zone *zone)
{
    return atomic_load_explicit(&zone->metadata_bytes, memory_order_relaxed); /* no partner */
}

/* Places the tables of a zone behind byte *n_bytes of the metadata, and moves *n_bytes behind them.
 */
struct zone_tables {
    size_t states_at, groups_at, links_at; /* bytes from the start of the metadata */
};
struct zone_tables zone_layout(const struct quire_buddy_zone *range, size_t *n_bytes);

/* `zone` is zeroed and zone_at bytes behind the start of the metadata. O(max_order). */
void zone_init(struct zone *zone, size_t zone_at, const struct zone_tables *tables,
               const struct quire_buddy_zone *range, unsigned max_order);

/* The block that `page` lies in. */
struct zone_block zone_block_at(const struct zone *zone, uint32_t page);

/* All pages are of this kind; fresh ones count as free. */
bool zone_range_is(const struct zone *zone, uint32_t from, uint32_t to, enum zone_kind kind);

/* n_pages at a multiple of align_pages; false: there are none. Both at most 2^max_order. */
bool zone_take(struct zone *zone, uint32_t n_pages, uint32_t align_pages, uint32_t *page);

/* One allocated block; false: it is none. */
bool zone_give(struct zone *zone, uint32_t page, unsigned order);

void zone_take_range(struct zone *zone, uint32_t from, uint32_t to); /* free or fresh, all of it */
void zone_give_range(struct zone *zone, uint32_t from, uint32_t to); /* allocated, all of it */

/* 0 or -EUCLEAN with the reason logged. */
int zone_validate(const struct zone *zone);

#endif
