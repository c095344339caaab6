/* SPDX-License-Identifier: Apache-2.0 */
/*
 * future: when each reference's page is used next, and what the best policy makes of that (OPT).
 *
 *   references --future_add()--> next[time]: a time, or NEVER --future_replay()--> faults
 *
 * Who is resident is told by the times at which they are used next: a set of numbers, each of which
 * is asked for when it is the smallest, and of which the largest goes. So a set of bits with a
 * summary of summaries is all that is needed: 64 times a word, 5 words deep at most for 2^30.
 * Pages that are never used again are only counted; they go first, clean ones before dirty ones.
 *
 * Source: L. Belady, "A study of replacement algorithms for a virtual-storage computer", IBM
 * Systems Journal 5(2), 1966. Not thread-safe.
 */
#ifndef QUIRE_SIM_FUTURE_H
#define QUIRE_SIM_FUTURE_H

#include "sim/array.h"

#include <quire/sim.h>

#define FUTURE_MOST (((uint64_t)1 << 31) - 1) /* references */

struct future {
    struct array next;  /* uint32_t, by time; the highest bit: a write */
    struct array last;  /* uint32_t, by page: 1 + the time of its last use; 0: none */
    struct array sizes; /* uint32_t, by time; as long as they are known */
    uint64_t n;         /* references */
    bool has_sizes;
};

/* n more; pages below end_page. `sizes` may be NULL. 0; -ENOMEM; -E2BIG: more than FUTURE_MOST. */
int future_add(struct future *future, const uint32_t *references, const uint32_t *sizes, size_t n,
               uint32_t end_page);
/* The page is unmapped: there is no next use, and it need not be written back. */
void future_forget(struct future *future, uint32_t page);
void future_free(struct future *future);

/* What comes of it with n_frames, 1 or more. 0; -ENOMEM. */
int future_replay(const struct future *future, uint64_t n_frames, struct quire_sim_counts *counts);

#endif
