/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stack: what is returned when there is no time for anything else.
 *
 * A tree over the sections holds the height of the skyline: the highest end so far. An item goes on
 * top of the highest of its sections and raises all of them: O(log sections) for each, no look at
 * neighbours. What lies below a step of the skyline is lost.
 *
 *     high[node]   the highest of the sections below the node, but for `all` of its ancestors
 *     all[node]    every section below the node is at least as high as this
 *
 * Fails with -ENOMEM only.
 */
#include "tensor/stack.h"

#include <errno.h>
#include <stdlib.h>

struct skyline {
    uint64_t *high, *all;
    uint32_t n; /* a power of two */
};

static uint64_t higher(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t highest(const struct skyline *skyline, uint32_t node, uint32_t width,
                        uint32_t lower, uint32_t upper)
{
    if (upper == 0 || lower >= width)
        return 0;
    if (lower == 0 && upper >= width)
        return skyline->high[node];
    uint32_t half = width / 2;
    uint64_t left = highest(skyline, 2 * node, half, lower, upper < half ? upper : half);
    uint64_t right = highest(skyline, 2 * node + 1, half, lower > half ? lower - half : 0,
                             upper > half ? upper - half : 0);
    return higher(skyline->all[node], higher(left, right));
}

static void raise(struct skyline *skyline, uint32_t node, uint32_t width, uint32_t lower,
                  uint32_t upper, uint64_t height)
{
    if (upper == 0 || lower >= width)
        return;
    skyline->high[node] = higher(skyline->high[node], height);
    if (lower == 0 && upper >= width) {
        skyline->all[node] = higher(skyline->all[node], height);
        return;
    }
    uint32_t half = width / 2;
    raise(skyline, 2 * node, half, lower, upper < half ? upper : half, height);
    raise(skyline, 2 * node + 1, half, lower > half ? lower - half : 0,
          upper > half ? upper - half : 0, height);
}

int tensor_stack(const struct tensor_instance *instance, uint64_t *offsets)
{
    struct skyline skyline = {NULL, NULL, 1};
    uint64_t base = 0;

    while (skyline.n < instance->n_sections)
        skyline.n *= 2;
    skyline.high = calloc(2 * (size_t)skyline.n, sizeof *skyline.high);
    skyline.all = calloc(2 * (size_t)skyline.n, sizeof *skyline.all);
    bool is_good = skyline.high != NULL && skyline.all != NULL;
    for (uint32_t i = 0; is_good && i < instance->n_items; i++) {
        offsets[i] = instance->items[i].fixed;
        if (offsets[i] != TENSOR_NOWHERE)
            base = higher(base, offsets[i] + instance->items[i].size);
    }
    for (uint32_t i = 0; is_good && i < instance->n_items; i++) {
        const struct tensor_item *item = &instance->items[i];
        if (offsets[i] != TENSOR_NOWHERE)
            continue;
        uint64_t top = higher(base, highest(&skyline, 1, skyline.n, item->lower, item->upper));
        offsets[i] = tensor_align_up(top, item->alignment);
        raise(&skyline, 1, skyline.n, item->lower, item->upper, offsets[i] + item->size);
    }
    free(skyline.high);
    free(skyline.all);
    return is_good ? 0 : -ENOMEM;
}
