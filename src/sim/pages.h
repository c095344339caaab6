/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pages: small numbers for pages, in the order of their first touch.
 *
 *   page number, process --hash--> slot --> number --> is the key there the same?
 *
 * Numbers go from QUIRE_SIM_FIRST_PAGE on, without gaps, so all that is kept of pages stands in
 * arrays, and what is touched often lies together. Of many references at once the slots are fetched
 * into the cache some references ahead, then the keys, so that the waits overlap.
 *
 * A page that is forgotten loses its number for ever: it is another page when it comes again.
 *
 * Invariants
 *   P1  every key but those of forgotten pages stands in a slot on its hash's way, no free one
 *       before
 *   P2  n_used slots, forgotten ones included, are not free; they are three quarters at most
 *
 * Not thread-safe.
 */
#ifndef QUIRE_SIM_PAGES_H
#define QUIRE_SIM_PAGES_H

#include "sim/array.h"

#include <quire/sim.h>

#define PAGES_BATCH 1024u

struct pages {
    struct array slots;  /* uint32_t: a number, FREE or GONE */
    struct array keys;   /* uint64_t: page numbers; by number */
    struct array owners; /* uint32_t: processes' indices; none as long as there is one */
    uint64_t mask;       /* slots - 1 */
    uint64_t n_used;
    uint32_t end; /* the next number */
    bool has_owners;
};

/* 0; -ENOMEM. */
int pages_init(struct pages *pages);
void pages_deinit(struct pages *pages);

/*
 * The numbers of n pages, up to PAGES_BATCH. `owners` may be NULL: all are process 0's. Returns 0;
 * -ENOMEM; -E2BIG: too many pages.
 */
int pages_find(struct pages *pages, const uint64_t *keys, const uint32_t *owners, size_t n,
               uint32_t *numbers);

/* The number of a page, or 0. */
uint32_t pages_look(const struct pages *pages, uint64_t key, uint32_t owner);

/*
 * Goes through the pages of a range that are known: by the range, or by all that are known, if
 * those are fewer. False: there is no other. The one that was found may be forgotten.
 */
struct pages_range {
    uint64_t first, end; /* page numbers */
    uint32_t owner;
    uint32_t number; /* that was found; 0 at the start */
};
bool pages_next(const struct pages *pages, struct pages_range *range);

/*
 * Where the pages of 2^shift bytes lie that an UNMAP, FREE or DROP record is about: whole ones, for
 * of one that is cut the rest is still there. None: first is not below end. `trace` knows the
 * mappings; NULL: nothing is known of them.
 */
struct pages_range pages_lost(const struct quire_trace_record *record, uint32_t owner,
                              const struct quire_trace *trace, unsigned shift);

/* The page with this number is no more. */
void pages_forget(struct pages *pages, uint32_t number);

static inline uint64_t pages_key(const struct pages *pages, uint32_t number)
{
    return ((const uint64_t *)pages->keys.base)[number];
}

static inline uint32_t pages_owner(const struct pages *pages, uint32_t number)
{
    return pages->has_owners ? ((const uint32_t *)pages->owners.base)[number] : 0;
}

/* Also used for sampling: the upper bits are the good ones. splitmix64's finalizer. */
static inline uint64_t pages_hash(uint64_t key, uint32_t owner)
{
    uint64_t x = key + owner * 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
    return x ^ x >> 32;
}

#endif
