/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spaces: a choice by gain, within the load that a space can hold.
 *
 * Those that must lie in the space are in. The others follow by weight per byte and tick, as long
 * as the sum of what lives stays within the capacity at each time. Sections and their load come
 * from an instance of all candidates. O(candidates * sections that they cover). Fails with -ENOMEM
 * only.
 */
#include "tensor/spaces.h"
#include "tensor/instance.h"
#include "tensor/sort.h"

#include <errno.h>
#include <stdlib.h>

static bool may_lie(const struct quire_tensor_buffer *buffer, uint32_t space)
{
    if (buffer->is_fixed)
        return space == (buffer->spaces == 0 ? 0 : (uint32_t)__builtin_ctz(buffer->spaces));
    return buffer->spaces == QUIRE_TENSOR_ANY_SPACE || (buffer->spaces >> space & 1) != 0;
}

bool tensor_spaces_may_go_on(const struct quire_tensor_problem *problem, size_t buffer,
                             uint32_t space)
{
    for (uint32_t later = space + 1; later < problem->n_spaces; later++)
        if (may_lie(&problem->buffers[buffer], later))
            return true;
    return false;
}

/* Whether the load of all its sections allows an item more; then it is added. */
static bool add_load(const struct tensor_instance *instance, uint32_t item, uint64_t capacity,
                     bool is_forced, uint64_t *load)
{
    struct tensor_piece single;
    const struct tensor_piece *pieces;
    uint32_t n = tensor_pieces(instance, item, &single, &pieces);
    uint64_t size = instance->items[item].size;

    for (uint32_t k = 0; k < n && !is_forced; k++)
        for (uint32_t s = pieces[k].lower; s < pieces[k].upper; s++)
            if (load[s] + size > capacity)
                return false;
    for (uint32_t k = 0; k < n; k++)
        for (uint32_t s = pieces[k].lower; s < pieces[k].upper; s++)
            load[s] += size;
    return true;
}

/* The more it gains for the room that it takes, the higher. */
static uint64_t gain(const struct quire_tensor_buffer *buffer)
{
    double weight = buffer->weight > 0 ? buffer->weight : 1;
    double room = (double)buffer->size * ((double)buffer->upper - (double)buffer->lower);
    double gain = weight / room * 0x1p62;
    return gain < 0x1p62 ? (uint64_t)(gain) : (uint64_t)1 << 62;
}

static int choose_by_gain(const struct quire_tensor_problem *problem, uint32_t space,
                          struct tensor_instance *instance, uint64_t capacity, uint32_t *chosen,
                          size_t *n)
{
    struct tensor_key *keys = malloc(2 * ((size_t)instance->n_items + 1) * sizeof *keys);
    uint64_t *load = calloc(instance->n_sections + 1, sizeof *load);
    size_t n_chosen = 0;

    if (keys != NULL && load != NULL) {
        for (uint32_t i = 0; i < instance->n_items; i++) {
            uint32_t buffer = instance->origin[i];
            bool is_forced = !tensor_spaces_may_go_on(problem, buffer, space);
            keys[i] = (struct tensor_key){is_forced ? 0 : ~gain(&problem->buffers[buffer]), i};
        }
        tensor_sort(keys, keys + instance->n_items, instance->n_items);
        for (uint32_t k = 0; k < instance->n_items; k++)
            if (add_load(instance, keys[k].value, capacity, keys[k].key == 0, load))
                chosen[n_chosen++] = instance->origin[keys[k].value];
    }
    bool is_good = keys != NULL && load != NULL;
    free(keys);
    free(load);
    *n = n_chosen;
    return is_good ? 0 : -ENOMEM;
}

int tensor_spaces_choose(const struct quire_tensor_problem *problem, uint32_t space,
                         const uint32_t *where, uint64_t min_alignment,
                         const struct tensor_limits *limits, uint32_t *chosen, size_t *n)
{
    uint64_t capacity = problem->spaces[space].capacity;
    struct tensor_instance instance;
    uint32_t *empty = malloc((problem->n_buffers + 1) * sizeof *empty);
    size_t n_empty = 0, n_all = 0;

    if (empty == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < problem->n_buffers; i++) {
        if (where[i] != UINT32_MAX || !may_lie(&problem->buffers[i], space))
            continue;
        chosen[n_all++] = (uint32_t)i;
        if (problem->buffers[i].size == 0)
            empty[n_empty++] = (uint32_t)i;
    }
    int error = 0;
    *n = n_all;
    if (capacity != 0) {
        error = tensor_instance_init(&instance, problem, chosen, n_all, min_alignment, limits);
        if (error == 0) {
            error = choose_by_gain(problem, space, &instance, capacity, chosen, n);
            tensor_instance_deinit(&instance);
        }
        for (size_t k = 0; error == 0 && k < n_empty; k++)
            chosen[(*n)++] = empty[k];
    }
    free(empty);
    return error;
}
