/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index: where the policy finds its holes.
 *
 *     FIRST, NEXT    root ---> one tree by offset
 *     TLSF           rows -> steps -> head[class] ---> a list of holes, the youngest first
 *     BEST, WORST    rows -> steps -> head[class] ---> a tree of holes by length and offset
 *
 * The two bitmaps find the next class that has holes in two steps. A bit is set as long as the
 * class's head is not 0. Nothing can fail.
 */
#include "extent/space.h"

static void mark(struct quire_extent_space *space, unsigned class)
{
    space->steps[class / N_STEPS] |= 1u << class % N_STEPS;
    space->rows |= (uint64_t)1 << class / N_STEPS;
}

static void unmark(struct quire_extent_space *space, unsigned class)
{
    uint32_t steps = space->steps[class / N_STEPS] &= ~(1u << class % N_STEPS);
    if (steps == 0)
        space->rows &= ~((uint64_t)1 << class / N_STEPS);
}

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

static void list_insert(struct quire_extent_space *space, unsigned class, uint32_t hole)
{
    struct extent_node *node = &space->nodes[hole];
    uint32_t head = space->head[class];
    node->left = 0;
    node->right = head;
    space->head[class] = hole;
    if (head != 0)
        space->nodes[head].left = hole;
    else
        mark(space, class);
}

static void list_remove(struct quire_extent_space *space, unsigned class, uint32_t hole)
{
    const struct extent_node *node = &space->nodes[hole];
    if (node->right != 0)
        space->nodes[node->right].left = node->left;
    if (node->left != 0) {
        space->nodes[node->left].right = node->right;
        return;
    }
    space_check(space->head[class] == hole, space, hole, "a hole is not on its list");
    space->head[class] = node->right;
    if (node->right == 0)
        unmark(space, class);
}

void index_insert(struct quire_extent_space *space, uint32_t hole)
{
    unsigned class = class_of(node_length(&space->nodes[hole]));
    space->n_holes++;
    if (space->policy == QUIRE_EXTENT_TLSF) {
        list_insert(space, class, hole);
    } else if (space_is_by_offset(space)) {
        tree_insert(space, &space->root, hole);
    } else {
        tree_insert(space, &space->head[class], hole);
        mark(space, class);
    }
}

void index_remove(struct quire_extent_space *space, uint32_t hole)
{
    unsigned class = class_of(node_length(&space->nodes[hole]));
    space->n_holes--;
    if (space->policy == QUIRE_EXTENT_TLSF) {
        list_remove(space, class, hole);
    } else if (space_is_by_offset(space)) {
        tree_remove(space, &space->root, hole);
    } else {
        tree_remove(space, &space->head[class], hole);
        if (space->head[class] == 0)
            unmark(space, class);
    }
}

void index_change(struct quire_extent_space *space, uint32_t hole, uint64_t offset, uint64_t length)
{
    struct extent_node *node = &space->nodes[hole];
    if (space_is_by_offset(space)) {
        node->offset = offset;
        node_set_length(node, length);
        tree_update(space, &space->root, hole);
        return;
    }
    bool stays = space->policy == QUIRE_EXTENT_TLSF &&
                 class_of(length) == class_of(node_length(node));
    if (!stays)
        index_remove(space, hole);
    node->offset = offset;
    node_set_length(node, length);
    if (!stays)
        index_insert(space, hole);
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
