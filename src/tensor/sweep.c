/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sweep: first fit in the order of time, in a space of <quire/extent.h>.
 *
 * Items come as they start, and go when their hull ends: nothing looks ahead, but it is fast at any
 * size, and the first placement that is worth anything. Fixed items lie below; all others begin
 * above the highest of them.
 */
#include "tensor/sweep.h"

#include "tensor/sort.h"
#include <quire/extent.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct sweep {
    struct quire_extent_space *space;
    void *metadata;
    quire_extent *extents;   /* of items */
    struct tensor_key *ends; /* items by the end of their hull */
};

static int open_sweep(struct sweep *sweep, uint32_t n)
{
    struct quire_extent_config config = {
        .length = QUIRE_EXTENT_MAX_LENGTH, .max_extents = n, .policy = QUIRE_EXTENT_FIRST};
    size_t n_bytes = quire_extent_metadata_bytes(&config);

    sweep->extents = malloc(n * sizeof *sweep->extents);
    sweep->ends = malloc(2 * (size_t)n * sizeof *sweep->ends);
    sweep->metadata = n_bytes == 0
                          ? NULL
                          : aligned_alloc(QUIRE_EXTENT_ALIGNMENT,
                                          (n_bytes + QUIRE_EXTENT_ALIGNMENT - 1) /
                                              QUIRE_EXTENT_ALIGNMENT * QUIRE_EXTENT_ALIGNMENT);
    if (sweep->extents == NULL || sweep->ends == NULL || sweep->metadata == NULL)
        return -ENOMEM;
    memset(sweep->metadata, 0, n_bytes);
    return quire_extent_init(&config, sweep->metadata, n_bytes, &sweep->space);
}

static uint64_t highest_fixed(const struct tensor_instance *instance)
{
    uint64_t highest = 0;
    for (uint32_t i = 0; i < instance->n_items; i++) {
        const struct tensor_item *item = &instance->items[i];
        if (item->fixed != TENSOR_NOWHERE && item->fixed + item->size > highest)
            highest = item->fixed + item->size;
    }
    return highest;
}

static int place_all(const struct tensor_instance *instance, struct sweep *sweep, uint64_t *offsets)
{
    uint64_t base = highest_fixed(instance), common = 1;
    uint32_t n = instance->n_items, n_ended = 0;
    int error = 0;

    for (uint32_t i = 0; i < n; i++) {
        sweep->ends[i] = (struct tensor_key){instance->items[i].upper, i};
        common = tensor_common_alignment(common, instance->items[i].alignment);
    }
    if (common > QUIRE_EXTENT_MAX_LENGTH)
        return -EINVAL;
    base = tensor_align_up(base, common);
    tensor_sort(sweep->ends, sweep->ends + n, n);
    for (uint32_t i = 0; i < n && error == 0; i++) {
        const struct tensor_item *item = &instance->items[i];
        for (; error == 0 && sweep->ends[n_ended].key <= item->lower; n_ended++)
            if (instance->items[sweep->ends[n_ended].value].fixed == TENSOR_NOWHERE)
                error = quire_extent_free(sweep->space, sweep->extents[sweep->ends[n_ended].value]);
        offsets[i] = item->fixed;
        if (error == 0 && item->fixed == TENSOR_NOWHERE) {
            error = quire_extent_alloc(sweep->space, item->size, item->alignment,
                                       &sweep->extents[i], &offsets[i]);
            offsets[i] += base;
        }
    }
    return error == -ENOMEM || error == -ENOSPC ? -EINVAL : error; /* the space is too short */
}

int tensor_sweep(const struct tensor_instance *instance, uint64_t *offsets)
{
    struct sweep sweep = {0};
    if (instance->n_items == 0)
        return 0;
    int error = open_sweep(&sweep, instance->n_items);
    if (error == 0)
        error = place_all(instance, &sweep, offsets);
    free(sweep.extents);
    free(sweep.ends);
    free(sweep.metadata);
    return error;
}
