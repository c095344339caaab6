/* SPDX-License-Identifier: Apache-2.0 */
/*
 * thread: threads of Quire's own inside somebody else's program.
 *
 * Made by clone(2) and unknown to libc, because libc would otherwise treat the program as
 * multi-threaded (locks in stdio, another path through fork), wait for the thread when the
 * program's last thread ends, and show it the program's signals. The price: such a thread must not
 * call anything in libc that uses thread-local state beyond plain reads: no errno, stdio, malloc,
 * locale. It gets a small zeroed thread-local block of its own, so a stray errno hurts nobody.
 *
 * All signals are blocked in it. Its stack is never paged. It dies with the process (exit_group,
 * exec); there is no join.
 */
#ifndef QUIRE_BASE_THREAD_H
#define QUIRE_BASE_THREAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define THREAD_STACK_BYTES ((size_t)256 << 10)

/*
 * Starts `run(argument)` on a new thread. `own_files`: it gets an empty file table of its own
 * instead of sharing the caller's; a thread that such a thread starts without own_files shares
 * that table. Returns the thread's id, or a negative errno. Where the system has no thread or
 * no memory for one to give, it tries again for a second; else it blocks no longer than clone does.
 * Returning from `run` ends the thread; its stack is not reclaimed.
 */
int thread_start(void (*run)(void *argument), void *argument, bool own_files);

/*
 * The ids of such threads of this process, for who looks from outside; 0: none. More than that are
 * not noted. thread_forget_all(): in a fork's child, which has none of its parent's.
 */
#define THREAD_MOST_IDS 16
extern _Atomic int thread_ids[THREAD_MOST_IDS];
void thread_forget_all(void);
bool thread_is_own(void); /* the caller is one of them */

#endif
