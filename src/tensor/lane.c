/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lane: a round of a search.
 *
 * An exact search starts over in each round, with what it proved about parts; a search by ejection
 * goes on where it was as long as its target stays, and else starts from the best placement known.
 * What a lane does depends on its own state, `start`, target and quota alone: not on other lanes,
 * threads or the clock. Fails with TENSOR_LANE_NO_MEMORY.
 */
#include "tensor/lane.h"
#include "tensor/order.h"

#include <stdlib.h>

/* Ranks; NULL: no memory. */
static uint32_t *make_ranks(const struct tensor_lane *lane, const struct tensor_instance *instance)
{
    size_t n = instance->n_items + 1;
    uint32_t *ranks = malloc(n * sizeof *ranks);
    struct tensor_key *room = malloc(2 * n * sizeof *room);
    if (ranks != NULL && room != NULL) {
        tensor_order(instance, lane->kind->keys, ranks, room);
    } else {
        free(ranks);
        ranks = NULL;
    }
    free(room);
    return ranks;
}

/* The next target after one was found: further down between the bound and it. False: none is left.
 */
static bool lower_target(struct tensor_lane *lane, const struct tensor_instance *instance)
{
    uint64_t peak = tensor_peak(instance, lane->offsets), unit = instance->unit;
    if (peak <= lane->bound)
        return false;
    uint64_t highest = tensor_align_down(peak - 1, unit);
    uint64_t gap = highest > lane->bound ? highest - lane->bound : 0;
    lane->target = lane->bound + tensor_align_down(gap / 8 * lane->eighths, unit);
    lane->is_new = true;
    return true;
}

static enum tensor_lane_result run_exact(struct tensor_lane *lane,
                                         const struct tensor_instance *instance,
                                         struct tensor_work *work)
{
    uint32_t *ranks = make_ranks(lane, instance);
    enum tensor_exact_result result = TENSOR_EXACT_FOUND;

    if (lane->exact == NULL)
        lane->exact = tensor_exact_new(instance);
    if (lane->exact == NULL || ranks == NULL) {
        free(ranks);
        return TENSOR_LANE_NO_MEMORY;
    }
    do {
        result = tensor_exact_run(lane->exact, lane->target, ranks, lane->kind->by_fullest, work,
                                  lane->offsets);
        lane->has_found = lane->has_found || result == TENSOR_EXACT_FOUND;
    } while (result == TENSOR_EXACT_FOUND && lower_target(lane, instance));
    free(ranks);
    return result == TENSOR_EXACT_FOUND  ? TENSOR_LANE_FOUND
           : result == TENSOR_EXACT_NONE ? TENSOR_LANE_NONE
                                         : TENSOR_LANE_OVER;
}

static enum tensor_lane_result run_eject(struct tensor_lane *lane,
                                         const struct tensor_instance *instance,
                                         const uint64_t *start, struct tensor_work *work)
{
    uint32_t *ranks = make_ranks(lane, instance);
    bool is_found;

    if (lane->eject == NULL)
        lane->eject = tensor_eject_new(instance, lane->seed);
    if (lane->eject == NULL || ranks == NULL) {
        free(ranks);
        return TENSOR_LANE_NO_MEMORY;
    }
    do {
        if (lane->is_new)
            tensor_eject_start(lane->eject, lane->has_found ? lane->offsets : start, lane->target,
                               ranks);
        lane->is_new = false;
        is_found = tensor_eject_run(lane->eject, work);
        if (is_found)
            tensor_eject_offsets(lane->eject, lane->offsets);
        lane->has_found = lane->has_found || is_found;
    } while (is_found && lower_target(lane, instance) && tensor_has_time(work->limits));
    free(ranks);
    return is_found ? TENSOR_LANE_FOUND : TENSOR_LANE_OVER;
}

void tensor_lane_run(struct tensor_lane *lane, const struct tensor_instance *instance,
                     const uint64_t *start, struct tensor_work *work)
{
    work->n_steps = work->next_look = 0;
    work->quota = lane->quota;
    lane->has_found = false;
    if (!tensor_has_time(work->limits)) { /* sorting and starting over take a pass */
        lane->result = TENSOR_LANE_OVER;
        lane->n_steps = 0;
        return;
    }
    if (lane->offsets == NULL)
        lane->offsets = malloc((instance->n_items + 1) * sizeof *lane->offsets);
    if (lane->offsets == NULL)
        lane->result = TENSOR_LANE_NO_MEMORY;
    else if (lane->kind->is_exact)
        lane->result = run_exact(lane, instance, work);
    else
        lane->result = run_eject(lane, instance, start, work);
    lane->n_steps = work->n_steps;
}

void tensor_lane_deinit(struct tensor_lane *lane)
{
    tensor_exact_free(lane->exact);
    tensor_eject_free(lane->eject);
    free(lane->offsets);
    *lane = (struct tensor_lane){0};
}
