/* SPDX-License-Identifier: Apache-2.0 */
/*
 * regions: the mappings that the program has in the arena, by page range.
 *
 * A sorted array of ranges that neither overlap nor need neighbours of like kind to be merged for
 * correctness; they are merged all the same, so that a program that maps piece by piece stays
 * small. Not thread-safe. Invariant R1: sorted by first, first[i] + n[i] <= first[i+1], n[i] > 0.
 */
#ifndef QUIRE_PAGER_REGIONS_H
#define QUIRE_PAGER_REGIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REGION_ACCESS 1u     /* readable, writable or executable: may hold memory */
#define REGION_LOCKED 2u     /* mlock: never evicted */
#define REGION_FOREIGN 4u    /* the program mapped something of its own over it */
#define REGION_WIPEONFORK 8u /* a fork child finds zeros there */
#define REGION_PROT_SHIFT 8  /* PROT_READ and so on lie from here on */
#define REGION_PROT_MASK (7u << REGION_PROT_SHIFT)

struct region {
    uint32_t first, n_pages;
    uint32_t flags;
};

struct regions {
    struct region *array; /* sparse metadata memory */
    uint32_t count, capacity, charged;
    uint32_t n_locked; /* regions with REGION_LOCKED: usually none, so that asking is cheap */
};

int regions_init(struct regions *regions, uint32_t capacity);

static inline int region_prot(const struct region *region)
{
    return (int)((region->flags & REGION_PROT_MASK) >> REGION_PROT_SHIFT);
}

/* Makes [first, first + n) one range with these flags, over whatever was there. -ENOMEM: full. */
int regions_set(struct regions *regions, uint32_t first, uint32_t n_pages, uint32_t flags);
/* Sets and clears flags of the parts of the range that are mapped. */
int regions_change(struct regions *regions, uint32_t first, uint32_t n_pages, uint32_t set,
                   uint32_t clear);
/* Takes the range out. */
int regions_clear(struct regions *regions, uint32_t first, uint32_t n_pages);

/* The first region that ends behind `page`, or NULL. */
const struct region *regions_find(const struct regions *regions, uint32_t page);
/* Pages of the range that lie in regions which have all of `flags`. */
uint32_t regions_count(const struct regions *regions, uint32_t first, uint32_t n_pages,
                       uint32_t flags);

#endif
