/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prefetch: which pages come in along with one that was missed.
 *
 *   none      it alone
 *   cluster   its neighbours, of a block of PREFETCH_CLUSTER: they went together, and are likely to
 *             lie side by side in the store
 *   stride    where most of the last faults were the same number of pages apart: the next ones
 *   adaptive  where a stream runs from page to page: its next pages, ever more (readahead.h); else
 *             where there is a stride, that; else the neighbours, as long as that pays
 *
 * Nobody sees whether a page that came along was used. But who runs through a window faults right
 * behind it; and of some blocks, one in PREFETCH_SAMPLE, a page is left out and watched: if it is
 * missed soon, the others were used as well, and so were those of the blocks before it. That costs
 * nothing where nothing came along, so it is also how the neighbours are tried again while they
 * don't pay. Which page of which block is drawn by lot, because strides come round as counts do.
 *
 * Sources: H. Al Maruf, M. Chowdhury, "Effectively Prefetching Remote Memory with Leap", ATC 2020,
 * for the majority vote (R. Boyer, J. Moore, "MJRTY", 1991) over ever longer parts of the history.
 * Not thread-safe.
 */
#ifndef QUIRE_POLICY_PREFETCH_H
#define QUIRE_POLICY_PREFETCH_H

#include "policy/readahead.h"

#include <stdbool.h>
#include <stdint.h>

#define PREFETCH_CLUSTER 8u /* pages */
#define PREFETCH_STRIDE 8u  /* steps ahead at most */
#define PREFETCH_SAMPLE 16u
#define PREFETCH_WATCHED 32u
#define PREFETCH_HISTORY 32u /* a power of two */

enum prefetch_kind {
    PREFETCH_ADAPTIVE, /* 0: the default */
    PREFETCH_NONE,
    PREFETCH_CLUSTERS,
    PREFETCH_STRIDES,
    PREFETCH_N_KINDS,
};

#define PREFETCH_RUNS PREFETCH_STRIDE

/* A window should be little of what the process can have: one part in so many, within bounds. */
#define PREFETCH_SHARE 128u
#define PREFETCH_LEAST 16u /* pages */
#define PREFETCH_MOST 64u

struct prefetch_plan {
    uint32_t n_pages; /* from the page that was missed on: at least 1 */
    uint32_t n_runs;  /* others */
    struct {
        uint32_t first, n_pages;
    } run[PREFETCH_RUNS];
    uint32_t watch; /* left out of them, to be watched if it is absent; UINT32_MAX: none */
    bool by_stride, by_neighbours;
    bool is_stream; /* the n_pages are read ahead of a thread that runs through them */
};

struct prefetch {
    enum prefetch_kind kind;
    struct readahead streams;
    struct {                                /* majority vote */
        int32_t distance[PREFETCH_HISTORY]; /* between faults */
        uint32_t n, last;                   /* the last page that was touched, it seems */
        int32_t found;                      /* the majority's; 0: none */
        uint32_t n_ahead;   /* steps; doubles each time the next fault is where it should be */
        uint32_t expected;  /* there; UINT32_MAX: nothing was brought in */
        uint32_t n_brought; /* at the last fault */
    } vote;
    struct { /* what was left out */
        uint32_t page[PREFETCH_WATCHED], n_brought[PREFETCH_WATCHED], next;
        uint32_t n_until;   /* faults, to the next sample */
        uint32_t n_pending; /* pages that came along since a page was watched last */
        uint32_t lot;
        uint32_t rate; /* how many were missed soon, in 1/1024; an average */
        bool pays;
    } watch;
    uint64_t n_used; /* pages that came along and were used, as far as can be told */
};

/* UINT32_MAX is no page. */
void prefetch_init(struct prefetch *prefetch, enum prefetch_kind kind);

/* The most pages of a window where the process may have n_pages. */
static inline uint32_t prefetch_most(uint64_t n_pages)
{
    const uint64_t most = n_pages / PREFETCH_SHARE;
    if (most > PREFETCH_MOST)
        return PREFETCH_MOST;
    return most > PREFETCH_LEAST ? (uint32_t)most : PREFETCH_LEAST;
}

/* The page was missed: what to bring in, up to `most` pages from it on. */
void prefetch_plan(struct prefetch *prefetch, uint32_t page, uint32_t most,
                   struct prefetch_plan *plan);

/*
 * What came of the plan: n_pages from the page on, behind which n_there were there already, and
 * n_others. `absent`: the page to be watched is.
 */
void prefetch_done(struct prefetch *prefetch, const struct prefetch_plan *plan, uint32_t page,
                   uint32_t n_pages, uint32_t n_others, uint32_t n_there, bool absent);

/* Names as on the command line. -1: there is none. */
int prefetch_find(const char *name);
const char *prefetch_name(enum prefetch_kind kind);

#endif
