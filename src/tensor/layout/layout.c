/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout: the descriptor of quire/layout.h: its ranges, its size, where an element lies.
 */
#include "base/checked.h"

#include <quire/layout.h>

#include <errno.h>
#include <stdlib.h>

#define MAX_ELEMENTS ((int64_t)QUIRE_LAYOUT_MAX_BYTES)

static const struct {
    const char *name;
    size_t n_bytes;
} types[QUIRE_LAYOUT_N_TYPES] = {
    [QUIRE_LAYOUT_F32] = {"f32", 4},
    [QUIRE_LAYOUT_F16] = {"f16", 2},
    [QUIRE_LAYOUT_BF16] = {"bf16", 2},
    [QUIRE_LAYOUT_I8] = {"i8", 1},
};

size_t quire_layout_type_bytes(enum quire_layout_type type)
{
    return (unsigned)type < QUIRE_LAYOUT_N_TYPES ? types[type].n_bytes : 0;
}

const char *quire_layout_type_name(enum quire_layout_type type)
{
    return (unsigned)type < QUIRE_LAYOUT_N_TYPES ? types[type].name : NULL;
}

int64_t quire_layout_block_size(const struct quire_layout *layout, uint32_t dim)
{
    int64_t size = 1;

    for (uint32_t i = 0; i < layout->n_blocks; i++)
        if (layout->blocks[i].dim == dim)
            size *= layout->blocks[i].size;
    return size;
}

static int64_t count_blocks(const struct quire_layout *layout, uint32_t dim)
{
    int64_t size = quire_layout_block_size(layout, dim);

    return layout->dims[dim] / size + (layout->dims[dim] % size != 0);
}

static int64_t elements_of_blocks(const struct quire_layout *layout)
{
    int64_t n = 1;

    for (uint32_t i = 0; i < layout->n_blocks; i++)
        n *= layout->blocks[i].size;
    return n;
}

static bool has_valid_shape(const struct quire_layout *layout)
{
    if ((unsigned)layout->type >= QUIRE_LAYOUT_N_TYPES || layout->n_dims == 0 ||
        layout->n_dims > QUIRE_LAYOUT_MAX_DIMS || layout->n_blocks > QUIRE_LAYOUT_MAX_BLOCKS)
        return false;
    for (uint32_t d = 0; d < layout->n_dims; d++)
        if (layout->dims[d] < 1)
            return false;
    for (uint32_t i = 0; i < layout->n_blocks; i++)
        if (layout->blocks[i].dim >= layout->n_dims || layout->blocks[i].size == 0 ||
            layout->blocks[i].size > QUIRE_LAYOUT_MAX_BLOCK)
            return false;
    for (uint32_t d = 0; d < layout->n_dims; d++)
        if (quire_layout_block_size(layout, d) > QUIRE_LAYOUT_MAX_BLOCK)
            return false;
    return true;
}

/* The lowest and the highest place that an element or a tail has. */
static int find_span(const struct quire_layout *layout, int64_t *first, int64_t *last)
{
    int64_t elements = 1;

    if (!has_valid_shape(layout))
        return -EINVAL;
    *first = *last = layout->offset;
    if (!checked_add(*last, elements_of_blocks(layout) - 1, last))
        return -EOVERFLOW;
    for (uint32_t d = 0; d < layout->n_dims; d++) {
        int64_t n = count_blocks(layout, d), way;
        if (!checked_mul(elements, layout->dims[d], &elements) || elements > MAX_ELEMENTS)
            return -EOVERFLOW; /* more than that many even if they share places */
        if (!checked_mul(layout->strides[d], n - 1, &way))
            return -EOVERFLOW;
        int64_t *end = way < 0 ? first : last;
        if (!checked_add(*end, way, end))
            return -EOVERFLOW;
    }
    int64_t n_bytes = (int64_t)quire_layout_type_bytes(layout->type);
    if (*last >= MAX_ELEMENTS / n_bytes)
        return -EOVERFLOW;
    return *first < 0 ? -EINVAL : 0;
}

int quire_layout_check(const struct quire_layout *layout)
{
    int64_t first, last;

    return find_span(layout, &first, &last);
}

size_t quire_layout_bytes(const struct quire_layout *layout)
{
    int64_t first, last;

    if (find_span(layout, &first, &last) != 0)
        return 0;
    return ((size_t)last + 1) * quire_layout_type_bytes(layout->type);
}

uint64_t quire_layout_elements(const struct quire_layout *layout)
{
    uint64_t n = 1;

    if (quire_layout_check(layout) != 0)
        return 0;
    for (uint32_t d = 0; d < layout->n_dims; d++)
        n *= (uint64_t)layout->dims[d];
    return n;
}

int64_t quire_layout_place(const struct quire_layout *layout, const int64_t *index)
{
    int64_t left[QUIRE_LAYOUT_MAX_DIMS], place = layout->offset, step = 1;

    for (uint32_t d = 0; d < layout->n_dims; d++)
        left[d] = index[d];
    for (uint32_t i = layout->n_blocks; i-- > 0;) {
        const struct quire_layout_block *block = &layout->blocks[i];
        place += left[block->dim] % block->size * step;
        left[block->dim] /= block->size;
        step *= block->size;
    }
    for (uint32_t d = 0; d < layout->n_dims; d++)
        place += left[d] * layout->strides[d];
    return place;
}

bool quire_layout_is_injective(const struct quire_layout *layout)
{
    bool is_done[QUIRE_LAYOUT_MAX_DIMS] = {false};

    if (quire_layout_check(layout) != 0)
        return false;
    /* from the smallest stride on: each has to pass all that is below it */
    int64_t span = elements_of_blocks(layout);
    for (uint32_t turn = 0; turn < layout->n_dims; turn++) {
        uint32_t least = layout->n_dims;
        for (uint32_t d = 0; d < layout->n_dims; d++)
            if (!is_done[d] && count_blocks(layout, d) > 1 &&
                (least == layout->n_dims ||
                 llabs(layout->strides[d]) < llabs(layout->strides[least])))
                least = d;
        if (least == layout->n_dims)
            break;
        is_done[least] = true;
        if (llabs(layout->strides[least]) < span)
            return false;
        span += llabs(layout->strides[least]) * (count_blocks(layout, least) - 1);
    }
    return true;
}
