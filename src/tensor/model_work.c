/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model_work: a model's schedule as work for <quire/tensor_schedule.h>.
 *
 *     step: operator -> its tensors --places--> buffers that it touches
 *
 * A buffer's first step writes it, unless it holds an input of the model: that was handed in.
 */
#include "tensor/model.h"

#include <errno.h>
#include <stdlib.h>

struct listing {
    const struct graph *graph;
    const struct quire_model_schedule *schedule;
    struct quire_tensor_touch *touches;
    size_t n_touches;
    bool *was_touched; /* each buffer, or it was handed in */
};

/* The place of a tensor at a step, the latest if it was made again; NULL: none, as of a constant.
 */
static const struct quire_model_place *place_of(const struct quire_model_schedule *schedule,
                                                uint32_t tensor, int64_t step)
{
    size_t low = 0, high = schedule->n_places;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (schedule->places[middle].tensor < tensor)
            low = middle + 1;
        else
            high = middle;
    }
    const struct quire_model_place *latest = NULL;
    for (; low < schedule->n_places && schedule->places[low].tensor == tensor; low++) {
        if (schedule->places[low].lower <= step && step < schedule->places[low].upper)
            latest = &schedule->places[low];
    }
    return latest;
}

static void touch(struct listing *listing, uint32_t tensor, uint32_t step)
{
    const struct quire_model_place *place = tensor == GRAPH_NONE
                                                ? NULL
                                                : place_of(listing->schedule, tensor, step);
    if (place == NULL)
        return;
    listing->touches[listing->n_touches++] = (struct quire_tensor_touch){
        step, place->buffer, !listing->was_touched[place->buffer]};
    listing->was_touched[place->buffer] = true;
}

static size_t count_links(const struct graph *graph, const struct quire_model_schedule *schedule)
{
    size_t n = 0;
    for (size_t i = 0; i < schedule->n_steps; i++) {
        const struct graph_operator *o = &graph->operators[schedule->steps[i].operator_];
        n += (size_t)o->n_inputs + o->n_outputs;
    }
    return n;
}

static void list(struct listing *listing, bool *kept)
{
    const struct graph *graph = listing->graph;
    const struct quire_model_schedule *schedule = listing->schedule;
    for (size_t i = 0; i < schedule->n_places; i++) {
        const struct graph_tensor *tensor = &graph->tensors[schedule->places[i].tensor];
        uint32_t buffer = schedule->places[i].buffer;
        listing->was_touched[buffer] |= tensor->role == QUIRE_MODEL_INPUT;
        kept[buffer] |= tensor->is_output;
    }
    for (size_t i = 0; i < schedule->n_steps; i++) {
        const struct graph_operator *o = &graph->operators[schedule->steps[i].operator_];
        for (uint32_t k = 0; k < o->n_inputs; k++)
            touch(listing, graph_inputs(graph, o)[k], (uint32_t)i);
        for (uint32_t k = 0; k < o->n_outputs; k++)
            touch(listing, graph_outputs(graph, o)[k], (uint32_t)i);
    }
}

int quire_model_work(const struct quire_model *model, const struct quire_model_schedule *schedule,
                     struct quire_tensor_work *work)
{
    const struct graph *graph = &model->graph;
    *work = (struct quire_tensor_work){0};
    if (schedule->n_offloaded > 0 || schedule->n_steps > QUIRE_TENSOR_MAX_STEPS)
        return -EINVAL;
    size_t n = schedule->n_buffers;
    struct listing listing = {.graph = graph, .schedule = schedule};
    uint64_t *sizes = calloc(n + 1, sizeof *sizes);
    bool *kept = calloc(n + 1, sizeof *kept);
    listing.was_touched = calloc(n + 1, sizeof *listing.was_touched);
    listing.touches = calloc(count_links(graph, schedule) + 1, sizeof *listing.touches);
    if (sizes == NULL || kept == NULL || listing.was_touched == NULL || listing.touches == NULL) {
        free(sizes);
        free(kept);
        free(listing.was_touched);
        free(listing.touches);
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++)
        sizes[i] = schedule->buffers[i].size;
    list(&listing, kept);
    free(listing.was_touched);
    *work = (struct quire_tensor_work){.n_steps = (uint32_t)schedule->n_steps,
                                       .n_buffers = (uint32_t)n,
                                       .sizes = sizes,
                                       .touches = listing.touches,
                                       .n_touches = listing.n_touches,
                                       .kept = kept};
    return 0;
}

void quire_model_work_free(struct quire_tensor_work *work)
{
    free((void *)(uintptr_t)work->sizes);
    free((void *)(uintptr_t)work->touches);
    free((void *)(uintptr_t)work->kept);
    *work = (struct quire_tensor_work){0};
}
