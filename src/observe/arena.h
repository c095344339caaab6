/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena: which pages of another process the pager has the contents of, resident or evicted, by its
 * own table; and which of its threads are Quire's.
 *
 * The process may go on meanwhile. A page that is neither given up nor touched for the first time
 * while its entry is read is told of rightly, whether it is evicted or brought back just then.
 * Nothing here allocates; thread-safe.
 */
#ifndef QUIRE_OBSERVE_ARENA_H
#define QUIRE_OBSERVE_ARENA_H

#include "base/arena_layout.h"

#include <stdbool.h>
#include <stdint.h>

#define ARENA_MOST_THREADS 16

struct arena {
    int pid;
    uint64_t base, n_bytes; /* addresses there */
    struct arena_layout layout;
};

/*
 * 0; -ENOENT: it has no library of Quire's; -EPROTONOSUPPORT: one of another version; -EAGAIN: it
 * has no arena yet; -EUCLEAN: it can't be made out; -EPERM, -ESRCH.
 */
int arena_find(int pid, struct arena *arena);

/* The ids of Quire's own threads, 0 where there is none. 0 or a negative errno. */
int arena_threads(const struct arena *arena, int ids[ARENA_MOST_THREADS]);

/* Told of each run of pages that have contents, addresses rising; evicted: they are not mapped. */
typedef void (*arena_visit)(void *context, uint64_t address, uint64_t n_bytes, bool evicted);

/* All of them. 0 or a negative errno. */
int arena_walk(const struct arena *arena, arena_visit visit, void *context);

#endif
