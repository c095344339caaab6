/* SPDX-License-Identifier: Apache-2.0 */
/*
 * look: what a space says of itself: where an extent lies, each piece in order, statistics. Changes
 * nothing; what can fail is a handle that names nothing.
 */
#include "extent/index.h"

#include "base/checked.h"

#include <errno.h>
#include <string.h>

static struct quire_extent_piece describe(const struct quire_extent_space *space, uint32_t index)
{
    const struct extent_node *node = &space->nodes[index];
    struct quire_extent_piece piece = {0, node->offset, node_length(node), 1, 0};
    if (node_state(node) == NODE_EXTENT) {
        piece.extent = space_handle(space, index);
        piece.alignment = (uint64_t)1 << node->hold.align_order;
        piece.n_pins = node->hold.n_pins;
    }
    return piece;
}

int quire_extent_find(const struct quire_extent_space *space, quire_extent extent,
                      struct quire_extent_piece *piece)
{
    uint32_t index = space_lookup(space, extent);
    if (index == 0)
        return -EINVAL;
    *piece = describe(space, index);
    return 0;
}

void quire_extent_each(const struct quire_extent_space *space,
                       bool (*visit)(void *context, const struct quire_extent_piece *piece),
                       void *context)
{
    for (uint32_t i = space->nodes[0].next; i != 0; i = space->nodes[i].next) {
        struct quire_extent_piece piece = describe(space, i);
        if (!visit(context, &piece))
            return;
    }
}

void quire_extent_stats(const struct quire_extent_space *space, struct quire_extent_stats *stats)
{
    size_t node_bytes = sizeof space->nodes[0];
    if (space_is_by_offset(space))
        node_bytes += sizeof(uint64_t);
    *stats = (struct quire_extent_stats){
        .length = space->length,
        .n_used = space->n_used,
        .n_free = space->length - space->n_used,
        .largest = index_longest(space),
        .n_extents = space->n_extents,
        .n_holes = space->n_holes,
        .max_extents = space->max_extents,
        .metadata_bytes = sizeof *space + space->n_touched * node_bytes,
    };
}

double quire_extent_fragmentation(const struct quire_extent_stats *stats)
{
    return stats->n_free == 0 ? 0 : 1 - (double)stats->largest / (double)stats->n_free;
}

void quire_extent_histogram(const struct quire_extent_space *space,
                            uint32_t n_holes[QUIRE_EXTENT_N_SIZES])
{
    memset(n_holes, 0, QUIRE_EXTENT_N_SIZES * sizeof *n_holes);
    for (uint32_t i = space->nodes[0].next; i != 0; i = space->nodes[i].next)
        if (node_state(&space->nodes[i]) == NODE_HOLE)
            n_holes[log2_floor(node_length(&space->nodes[i]))]++;
}
