/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prefetching: simulation with src/policy/prefetch, the code that the pager runs: on a fault other
 * pages come in as well, if they were there before; beside one that is new, others that are new
 * again (src/policy/readahead). Private to src/sim.
 */
#ifndef QUIRE_SIM_PREFETCHING_H
#define QUIRE_SIM_PREFETCHING_H

#include "policy/prefetch.h"
#include "policy/readahead.h"
#include "sim/pages.h"

struct prefetching {
    struct prefetch *prefetch; /* allocated; NULL: none */
    struct readahead touch;    /* streams of first touches */
    uint32_t end;              /* of the numbers of pages that have been touched */
    uint32_t most;             /* pages of a window, the one that was missed among them */
};

/* Of a budget of n_pages. 0; -ENOMEM. */
int prefetching_open(struct prefetching *prefetching, enum quire_sim_prefetch kind,
                     uint64_t n_pages);
void prefetching_close(struct prefetching *prefetching);

void prefetching_replay(struct prefetching *prefetching, struct quire_sim_memory *memory,
                        const struct pages *pages, const uint32_t *references, size_t n);

#endif
