/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process: which process a number means, and whether it lives. Memory that processes share names
 * them by pid and start time, since a pid may be used again.
 *
 * Numbers are as /proc counts them, which is how others know a process; in a pid namespace without
 * a /proc of its own, getpid() says something else. Thread-safe; nothing allocates.
 */
#ifndef QUIRE_BASE_PROCESS_H
#define QUIRE_BASE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#define PROCESS_IS_ZOMBIE UINT64_MAX

/*
 * When the process started, in clock ticks since boot; 0 when it can't be read; PROCESS_IS_ZOMBIE
 * when it has ended and only its parent has not asked for its status yet.
 */
uint64_t process_start_time(uint32_t pid);

/* Its state as /proc shows it ('R', 'S', 'T', ...), and its parent; 0: they can't be told. */
char process_state(uint32_t pid);
uint32_t process_parent(uint32_t pid);

uint32_t process_own_pid(void);

/* Whether kill(2) means the same processes as /proc does. */
bool process_shares_pids(void);

/* Whether the process that had this start time (0: it is not known) lives. */
bool process_is_alive(uint32_t pid, uint64_t start_time);

/* The inode number of the caller's pid namespace: others there mean the same by a pid. 0: unknown.
 */
uint64_t process_pid_namespace(void);
uint64_t process_pid_namespace_of(uint32_t pid); /* of another process */

#endif
