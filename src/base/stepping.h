/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stepping: where a thread may be overtaken by another, for tests that try every order.
 *
 * With QUIRE_STEPPING a test's scheduler (tests/stepping.h) is told before and after each lock is
 * taken, before each system call that others can see the effect of, and takes over the waiting on
 * futexes. In every other build nothing of this is there.
 */
#ifndef QUIRE_BASE_STEPPING_H
#define QUIRE_BASE_STEPPING_H

#ifdef QUIRE_STEPPING

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lock;

/* Defined by the test. */
void stepping_lock_wanted(const struct lock *lock); /* it will be tried */
void stepping_lock_taken(const struct lock *lock);
bool stepping_lock_wait(const struct lock *lock); /* until it is free; false: not the test's */
void stepping_lock_released(const struct lock *lock);
void stepping_call(void);                    /* a system call is about to be made */
void stepping_populate(const void *address); /* it writes there, and may fault like a program */
/* False: it is the kernel's business. */
bool stepping_futex_wait(const void *word, uint32_t expected, uint64_t timeout_ns, int *result);
void stepping_futex_wake(const void *word, int n_waiters);
void stepping_fault_wake(const void *address, size_t n_bytes); /* of a userfaultfd */

#else

#define stepping_lock_wanted(lock) ((void)0)
#define stepping_lock_taken(lock) ((void)0)
#define stepping_lock_wait(lock) false
#define stepping_lock_released(lock) ((void)0)
#define stepping_call() ((void)0)
#define stepping_populate(address) ((void)0)
#define stepping_futex_wait(word, expected, timeout_ns, result) false
#define stepping_futex_wake(word, n_waiters) ((void)0)
#define stepping_fault_wake(address, n_bytes) ((void)0)

#endif

#endif
