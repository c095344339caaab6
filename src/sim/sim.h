/* SPDX-License-Identifier: Apache-2.0 */
/* sim: what a simulation consists of. Private to src/sim. */
#ifndef QUIRE_SIM_SIM_H
#define QUIRE_SIM_SIM_H

#include "sim/future.h"
#include "sim/pages.h"
#include "sim/prefetching.h"
#include "sim/process.h"

#include <quire/sim.h>

struct sim_tables { /* what stands behind a memory, which comes first */
    struct quire_sim_memory memory;
    struct array flags, pages;
    bool is_open;
};

struct sim_run { /* a case */
    struct quire_sim_case config;
    size_t level;
    struct sim_tables *tables; /* n_memories: one, or one a process */
    size_t n_memories;
    struct prefetching prefetching;
    struct quire_sim_counts sum;
};

struct sim_level { /* a page size */
    unsigned shift;
    struct pages pages;
    bool wants_future;
    struct future future;
    uint64_t n_references, n_cold, n_bytes;
};

struct sim_batch { /* references of one level that are not replayed yet */
    size_t n;
    bool has_sizes;
    uint64_t keys[PAGES_BATCH];
    uint32_t owners[PAGES_BATCH], sizes[PAGES_BATCH];
    bool is_write[PAGES_BATCH];
    uint32_t references[PAGES_BATCH];
};

struct quire_sim {
    struct quire_trace_info info;
    struct quire_sim_options options;
    struct quire_sim_share *shares;
    size_t n_shares;
    struct sim_run *runs;
    size_t n_runs;
    struct sim_level *levels;
    size_t n_levels;
    struct processes processes;
    struct sim_batch batch;
};

#endif
