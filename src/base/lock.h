/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock: a mutex of one word on a futex.
 *
 * Why not pthread's: it is taken by threads that libc does not know, and it must be plain memory
 * that a fork child can reset. Source: U. Drepper, "Futexes Are Tricky" (2011), mutex 2.
 * States: 0 free, 1 held, 2 held and somebody may be waiting.
 */
#ifndef QUIRE_BASE_LOCK_H
#define QUIRE_BASE_LOCK_H

#include "base/sys.h"

#include <stdatomic.h>

struct lock {
    _Atomic uint32_t state;
};

void lock_wait(struct lock *lock); /* the slow path of lock_take */

static inline bool lock_try(struct lock *lock)
{
    uint32_t free = 0;
    /* acquire: pairs with the release in lock_release */
    return atomic_compare_exchange_strong_explicit(&lock->state, &free, 1, memory_order_acquire,
                                                   memory_order_relaxed);
}

static inline void lock_take(struct lock *lock)
{
    if (!lock_try(lock))
        lock_wait(lock);
}

static inline void lock_release(struct lock *lock)
{
    /* release: pairs with the acquire of the next holder */
    if (atomic_exchange_explicit(&lock->state, 0, memory_order_release) == 2)
        sys_futex_wake(&lock->state, 1, false);
}

/* The holder lets whoever is waiting have a turn. */
void lock_yield(struct lock *lock);

static inline void lock_reset(struct lock *lock) /* in a fork child, where the holder is gone */
{
    atomic_store_explicit(&lock->state, 0, memory_order_relaxed);
}

#endif
