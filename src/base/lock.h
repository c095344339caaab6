/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock: a mutex of one word on a futex.
 *
 * Why not pthread's: it is taken by threads that libc does not know, and it must be plain memory
 * that a fork child can reset.
 *
 * To release it is a plain store: an atomic exchange (as in U. Drepper, "Futexes Are Tricky", 2011)
 * costs as much as to take it, and most locks here are held for a few nanoseconds. The price: the
 * releaser may look for waiters before its store is seen by one that is about to sleep. That
 * lasts as long as a store stays in a processor's buffer, less than it takes to enter the kernel;
 * should it happen all the same, the waiter wakes by itself after LOCK_NAP_NS.
 */
#ifndef QUIRE_BASE_LOCK_H
#define QUIRE_BASE_LOCK_H

#include "base/stepping.h"
#include "base/sys.h"

#include <stdatomic.h>

struct lock {
    _Atomic uint32_t state;     /* 0 free, 1 held */
    _Atomic uint32_t n_waiting; /* threads that sleep, or are about to */
};

#define LOCK_NAP_NS 1000000u

void lock_wait(struct lock *lock); /* the slow path of lock_take */

static inline bool lock_try(struct lock *lock)
{
    uint32_t free = 0;
    stepping_lock_wanted(lock);
    /* acquire: pairs with the release in lock_release */
    if (!atomic_compare_exchange_strong_explicit(&lock->state, &free, 1, memory_order_acquire,
                                                 memory_order_relaxed))
        return false;
    stepping_lock_taken(lock);
    return true;
}

static inline void lock_take(struct lock *lock)
{
    if (!lock_try(lock))
        lock_wait(lock);
}

static inline void lock_release(struct lock *lock)
{
    /* release: pairs with the acquire of the next holder */
    atomic_store_explicit(&lock->state, 0, memory_order_release);
    if (__builtin_expect(atomic_load_explicit(&lock->n_waiting, memory_order_relaxed) != 0, 0))
        sys_futex_wake(&lock->state, 1, false);
    stepping_lock_released(lock);
}

/* The holder lets whoever is waiting have a turn. */
void lock_yield(struct lock *lock);

static inline void lock_reset(struct lock *lock) /* in a fork child, where the holder is gone */
{
    atomic_store_explicit(&lock->state, 0, memory_order_relaxed);
    atomic_store_explicit(&lock->n_waiting, 0, memory_order_relaxed);
}

#endif
