/* SPDX-License-Identifier: Apache-2.0 */
/* profile: what lives when: the sum of the sizes between each two times at which it changes. */
#include "tensor/sort.h"
#include <quire/tensor.h>

#include <errno.h>
#include <stdlib.h>

static uint64_t sortable(int64_t time)
{
    return (uint64_t)time ^ (uint64_t)1 << 63;
}

/* Sizes at the starts and ends of the pieces of each buffer: begins[k] tells which. */
static uint32_t list_changes(const struct quire_tensor_problem *problem, struct tensor_key *keys)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < problem->n_buffers; i++) {
        const struct quire_tensor_buffer *buffer = &problem->buffers[i];
        if (buffer->size == 0)
            continue;
        keys[n++] = (struct tensor_key){sortable(buffer->lower), 2 * i};
        for (uint32_t g = 0; g < buffer->n_gaps; g++) {
            keys[n++] = (struct tensor_key){sortable(buffer->gaps[g].lower), 2 * i + 1};
            keys[n++] = (struct tensor_key){sortable(buffer->gaps[g].upper), 2 * i};
        }
        keys[n++] = (struct tensor_key){sortable(buffer->upper), 2 * i + 1};
    }
    return n;
}

int quire_tensor_profile(const struct quire_tensor_problem *problem,
                         struct quire_tensor_point **points, size_t *n_points)
{
    int error = quire_tensor_check(problem, NULL);
    size_t n = 0, n_kept = 0;
    if (error != 0)
        return error;
    for (size_t i = 0; i < problem->n_buffers; i++)
        n += 2 + 2 * (size_t)problem->buffers[i].n_gaps;
    struct tensor_key *keys = malloc(2 * (n + 1) * sizeof *keys);
    struct quire_tensor_point *list = malloc((n + 1) * sizeof *list);
    if (keys == NULL || list == NULL) {
        free(keys);
        free(list);
        return -ENOMEM;
    }
    n = list_changes(problem, keys);
    tensor_sort(keys, keys + n, n);
    uint64_t live = 0;
    for (size_t k = 0; k < n; k++) {
        uint64_t size = problem->buffers[keys[k].value / 2].size;
        live = keys[k].value % 2 == 0 ? live + size : live - size;
        if (k + 1 < n && keys[k + 1].key == keys[k].key)
            continue;
        if (n_kept == 0 || list[n_kept - 1].live != live)
            list[n_kept++] = (struct quire_tensor_point){(int64_t)(keys[k].key ^ (uint64_t)1 << 63),
                                                         live};
    }
    free(keys);
    *points = list;
    *n_points = n_kept;
    return 0;
}
