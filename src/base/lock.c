/* SPDX-License-Identifier: Apache-2.0 */
/* lock: the slow path of lock.h. */
#include "base/lock.h"

#include "base/relax.h"

#define N_SPINS 400 /* a few microseconds: to sleep and be woken costs more; see bench/pager */

void lock_wait(struct lock *lock)
{
    while (stepping_lock_wait(lock))
        if (lock_try(lock))
            return;
    for (int i = 0; i < N_SPINS; i++) {
        relax();
        if (atomic_load_explicit(&lock->state, memory_order_relaxed) == 0 && lock_try(lock))
            return;
    }
    /* sequentially consistent: counted before the state is looked at once more */
    atomic_fetch_add(&lock->n_waiting, 1);
    while (!lock_try(lock))
        sys_futex_wait(&lock->state, 1, LOCK_NAP_NS, false);
    atomic_fetch_sub(&lock->n_waiting, 1);
}

#define N_YIELD_PAUSES 8 /* long enough for a spinning waiter to see the word change */

void lock_yield(struct lock *lock)
{
    lock_release(lock);
    for (int i = 0; i < N_YIELD_PAUSES; i++)
        relax();
    lock_take(lock);
}
