/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zone: one range of pages, cut into blocks. Private to src/pages/; zone.c tells how it works.
 *
 * All functions but zone_layout and zone_init want the zone's lock held. Ranges are [from, to) and
 * must lie inside the zone unless said otherwise: the callers check that.
 */
#ifndef QUIRE_PAGES_ZONE_H
#define QUIRE_PAGES_ZONE_H

#include "base/lock.h"
#include "pages/group.h"

#include <quire/buddy.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ZONE_N_ORDERS (QUIRE_BUDDY_MAX_ORDER + 1)
#define ZONE_N_TYPES QUIRE_BUDDY_N_MOBILITIES
#define ZONE_NIL ((1u << 26) - 1) /* ends a list; no zone has as many groups */
#define ZONE_NO_ORDER (-1)

/* What the 16 bytes of a group say: see the states in zone.c. */
enum group_kind { GROUP_PLAIN, GROUP_CARVED, GROUP_FREE };

struct zone_group {
    uint64_t used;      /* carved: the pages that are not free, those outside of the zone too */
    uint64_t next : 26; /* in a list of list.c: groups, or ZONE_NIL */
    uint64_t previous : 26;
    uint64_t kind : 2;  /* enum group_kind */
    uint64_t offer : 5; /* carved, free: the order of the largest free block that begins here */
};
#define GROUP_NO_OFFER 31u /* carved, and all in use */

#define ZONE_TABLE_PAGE 4096u /* bytes of a table that become memory together */

/* Offsets are bytes from the start of the zone. */
struct zone_table {
    size_t at;
    size_t n_bytes;
    size_t touched_at; /* of bits: which of its pages were written */
};

/* c: constant after zone_init; l: under the lock. */
struct zone {
    struct lock lock;
    uint32_t first, end;     /* c: pages [first, end) */
    uint32_t base;           /* c: first, rounded down to a page block; index 0 of the tables */
    uint32_t max_order;      /* c */
    uint32_t top_order;      /* c: of blocks within a group: the smaller of 5 and max_order */
    uint32_t n_types;        /* c: 1, or ZONE_N_TYPES: what is free is kept apart by mobility */
    uint32_t is_tree;        /* c: the index is tree.c's, else list.c's */
    uint32_t block_groups;   /* c: of a page block */
    uint32_t frontier;       /* l: pages [frontier, end) were never used */
    uint32_t n_free;         /* l: pages in free blocks; what is not listed here is allocated */
    uint32_t n_set_aside[2]; /* l: pages reserved, offline */
    uint32_t min, low, high; /* l: watermarks, pages */
    uint32_t is_low;         /* l: fell below low and was not at high since */
    uint32_t is_cached;      /* l: threads' caches take part: state bytes change without the lock */
    struct zone_table groups;        /* c: of struct zone_group */
    struct zone_table states;        /* c: of state bytes */
    struct zone_table types;         /* c: a byte a page block, enum quire_buddy_mobility */
    size_t trees_at;                 /* c: of tree.c's trees, bytes from the start of this struct */
    uint32_t tree_leaves;            /* c: leaves of a tree, a power of two; 0 without */
    _Atomic size_t metadata_bytes;   /* l, a figure without: this struct and what is touched */
    uint32_t nonempty[ZONE_N_TYPES]; /* l: bit k: head[type][k] != ZONE_NIL */
    uint32_t head[ZONE_N_TYPES][ZONE_N_ORDERS]; /* l: of the lists of list.c */
    char name[QUIRE_BUDDY_NAME_BYTES];          /* c */
} __attribute__((aligned(QUIRE_BUDDY_ALIGNMENT)));

/*
 * A state byte: 0 is no head of a block that is in use, else kind | order. Written under the lock,
 * but for ALLOCATED <-> CACHED, which the owner of a thread's cache does without (cache.c).
 */
enum zone_kind {
    ZONE_NONE = 0,
    ZONE_ALLOCATED = 0x20,
    ZONE_CACHED = 0x40,  /* given back to a thread's cache: nobody's, counted as allocated */
    ZONE_LEAVING = 0x60, /* allocated, and offline once it is given back */
    ZONE_OFFLINE = 0x80,
    ZONE_RESERVED = 0xa0,
    ZONE_FREE = 0xc0, /* in a struct zone_block only: free blocks have no state byte */
};
#define ZONE_ORDER_MASK 0x1f
#define ZONE_KIND_MASK 0xe0

struct zone_block {
    uint32_t page;
    uint8_t order;
    uint8_t kind; /* enum zone_kind; ZONE_NONE: a fresh page, order 0 */
};

static inline uint32_t block_end(struct zone_block block)
{
    return block.page + (1u << block.order);
}

static inline bool kind_is_allocated(unsigned kind)
{
    return kind == ZONE_ALLOCATED || kind == ZONE_LEAVING;
}

static inline _Atomic uint8_t *zone_state(const struct zone *zone, uint32_t page)
{
    return (_Atomic uint8_t *)((uintptr_t)zone + zone->states.at) + (page - zone->base);
}

/* relaxed: under the lock, or of a block that is the caller's own */
static inline uint8_t zone_state_get(const struct zone *zone, uint32_t page)
{
    return atomic_load_explicit(zone_state(zone, page), memory_order_relaxed);
}

static inline struct zone_group *zone_group(const struct zone *zone, uint32_t group)
{
    return (struct zone_group *)((uintptr_t)zone + zone->groups.at) + group;
}

static inline uint32_t zone_group_of(const struct zone *zone, uint32_t page)
{
    return (page - zone->base) >> GROUP_ORDER;
}

static inline uint32_t zone_group_page(const struct zone *zone, uint32_t group)
{
    return zone->base + (group << GROUP_ORDER);
}

static inline uint32_t zone_n_groups(const struct zone *zone) /* up to the frontier */
{
    return (zone->frontier - zone->base + GROUP_PAGES - 1) >> GROUP_ORDER;
}

static inline _Atomic uint8_t *zone_type_byte(const struct zone *zone, uint32_t group)
{
    return (_Atomic uint8_t *)((uintptr_t)zone + zone->types.at) + group / zone->block_groups;
}

/* The mobility of the page block that a group belongs to. Needs no lock: then it is a hint. */
static inline unsigned zone_type(const struct zone *zone, uint32_t group)
{
    if (zone->n_types == 1)
        return 0;
    return atomic_load_explicit(zone_type_byte(zone, group), memory_order_relaxed);
}

/* The order of the largest free block that begins in a group: what the index files it under. */
static inline int zone_offer(const struct zone_group *group)
{
    return group->kind == GROUP_PLAIN || group->offer == GROUP_NO_OFFER ? ZONE_NO_ORDER
                                                                        : (int)group->offer;
}

/* The same, for a carved group, from the pages in use. */
static inline int zone_carved_offer(const struct zone *zone, const struct zone_group *group)
{
    int largest = group_largest(~group->used);
    return largest > (int)zone->top_order ? (int)zone->top_order : largest;
}

/* The end of the part of [page, to) that lies in the group of `page`. */
static inline uint32_t zone_part_end(uint32_t page, uint32_t to)
{
    uint32_t left = GROUP_PAGES - page % GROUP_PAGES;
    return to - page < left ? to : page + left;
}

static inline uint64_t zone_part_mask(uint32_t page, uint32_t end) /* of one group */
{
    return group_mask(page % GROUP_PAGES, end - page);
}

static inline bool zone_has(const struct zone *zone, uint32_t page)
{
    return page - zone->first < zone->end - zone->first;
}

static inline uint32_t zone_n_available(const struct zone *zone) /* free and fresh pages */
{
    return zone->n_free + (zone->end - zone->frontier);
}

static inline size_t zone_metadata_bytes(const struct zone *zone)
{
    return atomic_load_explicit(&zone->metadata_bytes, memory_order_relaxed); /* no partner */
}

/*
 * Places the tables of a zone, which begins at byte zone_at of the metadata, behind byte *n_bytes;
 * moves *n_bytes behind them. Sets those fields of `zone` that say where they are.
 */
void zone_layout(struct zone *zone, const struct quire_buddy_config *config, unsigned index,
                 size_t zone_at, size_t *n_bytes);

/* `zone` is zeroed and laid out. O(max_order). */
void zone_init(struct zone *zone, const struct quire_buddy_config *config, unsigned index);

/* The block that `page` lies in. */
struct zone_block zone_block_at(const struct zone *zone, uint32_t page);

/* All pages are free or fresh; in blocks of this kind (a leaving block is allocated, too). */
bool zone_is_free(const struct zone *zone, uint32_t from, uint32_t to);
bool zone_is_all(const struct zone *zone, uint32_t from, uint32_t to, enum zone_kind kind);

struct zone_want {
    uint32_t n_pages, align_pages; /* at most 2^max_order */
    unsigned order;                /* log2_ceil of the larger of both */
    unsigned type;                 /* enum quire_buddy_mobility; 0 where the zone has one only */
};

/* Up to n >= 1 places for `want`, allocated, as many as are found in one go; 0: there is none. */
size_t zone_take(struct zone *zone, const struct zone_want *want, uint32_t *pages, size_t n);

/* One allocated block, or one in the caller's cache (`kind`); false: it is none. */
bool zone_give(struct zone *zone, uint32_t page, unsigned order, enum zone_kind kind);

void zone_take_range(struct zone *zone, uint32_t from, uint32_t to, enum zone_kind kind);
void zone_give_range(struct zone *zone, uint32_t from, uint32_t to); /* in use, all of it */

/* For mobility.c: the first 2^order pages of a free block leave the index; and come back. */
void zone_remove_free(struct zone *zone, uint32_t group, unsigned order);
void zone_add_free(struct zone *zone, uint32_t group, unsigned order);
void zone_set_type(struct zone *zone, uint32_t group, unsigned type); /* nothing of it is filed */

/* 0 or -EUCLEAN with the reason logged. */
int zone_validate(const struct zone *zone);

/* Ends the process when an invariant that is cheap to check does not hold. */
void zone_die(const struct zone *zone, uint32_t page, const char *invariant)
    __attribute__((noreturn, cold));

static inline void zone_check(bool holds, const struct zone *zone, uint32_t page,
                              const char *invariant)
{
    if (__builtin_expect(!holds, 0))
        zone_die(zone, page, invariant);
}

#endif
