/* SPDX-License-Identifier: Apache-2.0 */
/*
 * preload: what the files of libquire-preload.so share.
 *
 * The library stands in front of libc: its malloc family goes to Quire's heap, its mappings to the
 * pager's arena, and it sees forks and execs so that the pager can follow. Outside of a run
 * (LD_PRELOAD by hand, `quire run --no-paging`) it is an allocator and nothing else: mappings and
 * the program break are the kernel's, and no thread is started. It is initialised before
 * every other library (-z initfirst), and what is allocated even earlier, by the dynamic linker,
 * comes from a small area that is never freed.
 */
#ifndef QUIRE_PRELOAD_PRELOAD_H
#define QUIRE_PRELOAD_PRELOAD_H

#include "base/control.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define EXPORT __attribute__((visibility("default")))

extern _Atomic bool preload_ready; /* the heap is initialised, and the pager where it is paged */

/* The run's block, or NULL: no paging. */
extern struct control *preload_control;

static inline bool is_ready(void)
{
    return __builtin_expect(atomic_load_explicit(&preload_ready, memory_order_acquire), 1);
}

/* Whether this process is in a run. Without, no function of the pager may be called. */
static inline bool is_paged(void)
{
    return preload_control != NULL;
}

/* Ready, and with a pager to ask. */
static inline bool has_pager(void)
{
    return is_ready() && is_paged();
}

/* init.c: what differs with the source of pages. */
bool preload_purge(void);        /* free pages go back to the system; true if there were any */
void preload_fork_prepare(void); /* after heap_fork_prepare */
void preload_fork_parent(void);
void preload_fork_child(void);

/* malloc.c: before the library is initialised. */
void *early_alloc(size_t alignment, size_t n_bytes);
bool early_owns(const void *object);

/* process.c */
void process_init(void);

/* environment.c: what exec has to carry on. */
void environment_init(char **environment);
/*
 * `environment` with Quire's variables in it, as they were at the start: the same pointer where
 * they are all there, else `room` filled in. `room` has environment_room(environment) entries.
 */
size_t environment_room(char *const *environment);
char *const *environment_with_quire(char *const *environment, char **room);

#endif
