/* SPDX-License-Identifier: Apache-2.0 */
/* central: the spans of each size class, behind a lock a class. */
#ifndef QUIRE_HEAP_CENTRAL_H
#define QUIRE_HEAP_CENTRAL_H

#include "heap/span.h"

#define CENTRAL_EMPTY_KEPT 1 /* empty spans that a class keeps */

static inline void central_lock(struct heap *heap, unsigned sclass)
{
    lock_take(&heap->centrals[sclass].lock);
}

static inline void central_unlock(struct heap *heap, unsigned sclass)
{
    lock_release(&heap->centrals[sclass].lock);
}

/*
 * Hands out up to `want` objects to end[-1], end[-2] ... in rising order of addresses within a
 * span, and returns how many: 0 when there is no memory. They may carry OBJECT_ZERO. Lock held.
 * `owner`: the number of the cache they are for, or 0 for whom it does not matter.
 */
size_t central_take(struct heap *heap, unsigned sclass, unsigned owner, void **end, size_t want);

/* Takes objects back; returns true when pages went back to the source. Lock held. */
bool central_give(struct heap *heap, unsigned sclass, void **objects, size_t n);

/* Gives back every empty span of all classes; true when there was one. Takes the locks itself. */
bool central_trim(struct heap *heap);

#endif
