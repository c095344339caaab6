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

static enum tensor_lane_result run_exact(struct tensor_lane *lane,
                                         const struct tensor_instance *instance,
                                         struct tensor_work *work)
{
    uint32_t *ranks = make_ranks(lane, instance);
    enum tensor_lane_result result = TENSOR_LANE_NO_MEMORY;

    if (lane->exact == NULL)
        lane->exact = tensor_exact_new(instance);
    if (lane->exact != NULL && ranks != NULL) {
        switch (tensor_exact_run(lane->exact, lane->target, ranks, lane->kind->by_fullest, work,
                                 lane->offsets)) {
        case TENSOR_EXACT_FOUND:
            result = TENSOR_LANE_FOUND;
            break;
        case TENSOR_EXACT_NONE:
            result = TENSOR_LANE_NONE;
            break;
        default:
            result = TENSOR_LANE_OVER;
        }
    }
    free(ranks);
    return result;
}

static enum tensor_lane_result run_eject(struct tensor_lane *lane,
                                         const struct tensor_instance *instance,
                                         const uint64_t *start, struct tensor_work *work)
{
    if (lane->eject == NULL)
        lane->eject = tensor_eject_new(instance, lane->seed);
    if (lane->eject == NULL)
        return TENSOR_LANE_NO_MEMORY;
    if (lane->is_new) {
        uint32_t *ranks = make_ranks(lane, instance);
        if (ranks == NULL)
            return TENSOR_LANE_NO_MEMORY;
        tensor_eject_start(lane->eject, start, lane->target, ranks);
        free(ranks);
    }
    if (!tensor_eject_run(lane->eject, work))
        return TENSOR_LANE_OVER;
    tensor_eject_offsets(lane->eject, lane->offsets);
    return TENSOR_LANE_FOUND;
}

void tensor_lane_run(struct tensor_lane *lane, const struct tensor_instance *instance,
                     const uint64_t *start, struct tensor_work *work)
{
    work->n_steps = work->next_look = 0;
    work->quota = lane->quota;
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
