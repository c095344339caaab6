/* SPDX-License-Identifier: Apache-2.0 */
/* central: the spans of each size class, behind a lock a class. */
#ifndef QUIRE_HEAP_CENTRAL_H
#define QUIRE_HEAP_CENTRAL_H

#include "heap/span.h"

#define CENTRAL_EMPTY_KEPT 1 /* empty spans that a class keeps */

/* Everything is under `lock`. n_live = the sum of the spans' n_live. */
struct central {
    struct lock lock;
    uint32_t n_spans, n_empty, n_pages;
    size_t n_live;
    struct span *lists[SPAN_N_FILLS + 1]; /* by fill; full spans are on no list */
} __attribute__((aligned(64)));           /* so that classes share no cache line */

extern struct central centrals[CLASS_COUNT + 1];

static inline void central_lock(unsigned sclass)
{
    lock_take(&centrals[sclass].lock);
}

static inline void central_unlock(unsigned sclass)
{
    lock_release(&centrals[sclass].lock);
}

/*
 * Hands out up to `want` objects to end[-1], end[-2] ... in rising order of addresses within a
 * span, and returns how many: 0 when there is no memory. They may carry OBJECT_ZERO. Lock held.
 */
size_t central_take(unsigned sclass, void **end, size_t want);

/* Takes objects back; returns true when pages went back to the source. Lock held. */
bool central_give(unsigned sclass, void **objects, size_t n);

/* Gives back every empty span of all classes; true when there was one. Takes the locks itself. */
bool central_trim(void);

#endif
