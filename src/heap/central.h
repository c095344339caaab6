/* SPDX-License-Identifier: Apache-2.0 */
/* central: the spans of each size class and owner, behind a lock each. */
#ifndef QUIRE_HEAP_CENTRAL_H
#define QUIRE_HEAP_CENTRAL_H

#include "heap/span.h"

#define CENTRAL_EMPTY_KEPT 1 /* empty spans that a class keeps */

/*
 * Owners are numbered. 0 is nobody in particular: a private heap, which has no other, and in the
 * process's heap all threads without lists of their own. OWNER_NEVER holds no span.
 */
#define OWNER_COMMON 0u
#define OWNER_MOST 254u
#define OWNER_NEVER 255u

extern struct central
    *_Atomic central_owned[OWNER_MOST + 1]; /* of the process's heap; [0] unused */

static inline struct central *central_of(struct heap *heap, unsigned owner, unsigned sclass)
{
    if (owner == OWNER_COMMON)
        return &heap->centrals[sclass];
    /* acquire: pairs with the release in central_own */
    return &atomic_load_explicit(&central_owned[owner], memory_order_acquire)[sclass];
}

static inline struct central *central_lock(struct heap *heap, unsigned owner, unsigned sclass)
{
    struct central *central = central_of(heap, owner, sclass);
    lock_take(&central->lock);
    return central;
}

static inline void central_unlock(struct central *central)
{
    lock_release(&central->lock);
}

/*
 * Lists for a new owner of the process's heap; OWNER_COMMON when there are OWNER_MOST already, or
 * no memory. tcache_lock held.
 */
unsigned central_own(void);

/* Whether a thread has the lists. What is free in idle ones goes back, or to whoever needs it.
 * Takes locks of classes. */
void central_set_idle(unsigned owner, bool idle);

/* Owners so far, OWNER_COMMON included. */
unsigned central_n_owners(const struct heap *heap);

/*
 * Hands out up to `want` objects to end[-1], end[-2] ... in rising order of addresses within a
 * span, and returns how many: 0 when there is no memory. They may carry OBJECT_ZERO. Lock held.
 */
size_t central_take(struct heap *heap, unsigned owner, unsigned sclass, void **end, size_t want);

/*
 * Takes the lock of the lists that hold the object's span, and says whose they are and of which
 * class. Whatever is no object of a span, or not of class `wanted` (0: any), ends the process.
 */
struct central *central_lock_holder(struct heap *heap, const void *object, unsigned wanted,
                                    unsigned *owner, unsigned *sclass);

/*
 * Takes back those of n objects whose spans are the owner's and of the class, moves the others to
 * the front and returns how many these are. *released: set when pages went back to the source.
 * Lock held.
 */
size_t central_give(struct heap *heap, unsigned owner, unsigned sclass, void **objects, size_t n,
                    bool *released);

/* Gives back every empty span; true when there was one. Takes the locks itself. */
bool central_trim(struct heap *heap);

#endif
