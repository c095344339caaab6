/* SPDX-License-Identifier: Apache-2.0 */
/* lane: one search among those that run beside each other, in rounds. */
#ifndef QUIRE_TENSOR_LANE_H
#define QUIRE_TENSOR_LANE_H

#include "tensor/eject.h"
#include "tensor/exact.h"

#define TENSOR_MAX_LANES 11u

enum tensor_lane_result {
    TENSOR_LANE_OVER,  /* the work was over */
    TENSOR_LANE_FOUND, /* `offsets` are within the target that the round began with, or better */
    TENSOR_LANE_NONE,  /* nothing is within the target: proved; `offsets` if has_found */
    TENSOR_LANE_NO_MEMORY
};

struct tensor_lane {
    const struct tensor_lane_kind *kind;
    struct tensor_exact *exact; /* one of the two */
    struct tensor_eject *eject;
    uint64_t target; /* bytes: the capacity that it looks for */
    unsigned eighths;
    uint64_t bound; /* bytes: there is no need to look below */
    uint64_t quota; /* steps of this round */
    uint64_t seed;
    bool is_idle; /* in this round */
    bool is_new;  /* the target is not that of the last round */
    /* After a round */
    enum tensor_lane_result result;
    bool has_found; /* `offsets` are better than the best was */
    uint64_t n_steps;
    uint64_t *offsets;
};

struct tensor_lane_kind {
    const char *name;
    bool is_exact;
    const char *keys; /* of tensor_order() */
    bool by_fullest;
    unsigned eighths;   /* of the gap between bound and best, that the target is above the bound */
    uint32_t max_items; /* exact: for no more */
};

/* One round. `start` has the best offsets known. */
void tensor_lane_run(struct tensor_lane *lane, const struct tensor_instance *instance,
                     const uint64_t *start, struct tensor_work *work);

void tensor_lane_deinit(struct tensor_lane *lane);

#endif
