/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index: where the policy finds its holes.
 *
 *     FIRST, NEXT    root ---> one tree by offset
 *     TLSF           rows -> steps -> head[class] ---> a list of holes, the youngest first
 *     BEST, WORST    rows -> steps -> head[class] ---> a tree of holes by length and offset
 *
 * The two bitmaps find the next class that has holes in two steps. A bit is set as long as the
 * class's head is not 0. The lists are in index.h, inline: they are the default. Nothing can fail.
 */
#include "extent/index.h"

unsigned class_last_before(const struct quire_extent_space *space, unsigned class)
{
    unsigned row = class / N_STEPS;
    uint32_t steps = row < N_ROWS ? space->steps[row] & ((1u << class % N_STEPS) - 1) : 0;
    if (steps == 0) {
        uint64_t rows = space->rows & (((uint64_t)1 << row) - 1);
        if (rows == 0)
            return N_CLASSES;
        row = 63u - (unsigned)__builtin_clzll(rows);
        steps = space->steps[row];
    }
    return row * N_STEPS + 31u - (unsigned)__builtin_clz(steps);
}

void index_insert_tree(struct quire_extent_space *space, uint32_t hole)
{
    unsigned class = class_of(node_length(&space->nodes[hole]));
    if (space_is_by_offset(space)) {
        tree_insert(space, &space->root, hole);
    } else {
        tree_insert(space, &space->head[class], hole);
        class_mark(space, class);
    }
}

void index_remove_tree(struct quire_extent_space *space, uint32_t hole)
{
    unsigned class = class_of(node_length(&space->nodes[hole]));
    if (space_is_by_offset(space)) {
        tree_remove(space, &space->root, hole);
    } else {
        tree_remove(space, &space->head[class], hole);
        if (space->head[class] == 0)
            class_unmark(space, class);
    }
}

void index_change_tree(struct quire_extent_space *space, uint32_t hole, uint64_t offset,
                       uint64_t length)
{
    struct extent_node *node = &space->nodes[hole];
    bool by_offset = space_is_by_offset(space);
    if (!by_offset)
        index_remove_tree(space, hole);
    node->offset = offset;
    node_set_length(node, length);
    if (by_offset)
        tree_update(space, &space->root, hole);
    else
        index_insert_tree(space, hole);
}

uint64_t index_longest(const struct quire_extent_space *space)
{
    uint64_t longest = 0;
    if (space_is_by_offset(space))
        return space->root != 0 ? *space_longest(space, space->root) : 0;
    unsigned class = class_last_before(space, N_CLASSES);
    if (class == N_CLASSES)
        return 0;
    /* the list's longest, or the tree's last */
    for (uint32_t i = space->head[class]; i != 0; i = space->nodes[i].right) {
        uint64_t length = node_length(&space->nodes[i]);
        longest = length > longest ? length : longest;
    }
    return longest;
}
