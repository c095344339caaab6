/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index: all holes, in what the policy keeps; private to extent/. A hole in it has its offset and
 * length. See index.c.
 */
#ifndef QUIRE_EXTENT_INDEX_H
#define QUIRE_EXTENT_INDEX_H

#include "extent/space.h"

#define INDEX_N_LOOKS 4 /* holes of a request's own class, before the next one is taken */

void index_insert_tree(struct quire_extent_space *space, uint32_t hole);
void index_remove_tree(struct quire_extent_space *space, uint32_t hole);
void index_change_tree(struct quire_extent_space *space, uint32_t hole, uint64_t offset,
                       uint64_t length);
uint64_t index_longest(const struct quire_extent_space *space); /* 0: no hole */

static inline void list_insert(struct quire_extent_space *space, unsigned class, uint32_t hole)
{
    struct extent_node *node = &space->nodes[hole];
    uint32_t head = space->head[class];
    node->left = 0;
    node->right = head;
    space->head[class] = hole;
    if (head != 0)
        space->nodes[head].left = hole;
    else
        class_mark(space, class);
}

static inline void list_remove(struct quire_extent_space *space, unsigned class, uint32_t hole)
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
        class_unmark(space, class);
}

static inline bool index_is_lists(const struct quire_extent_space *space)
{
    return __builtin_expect(space->policy == QUIRE_EXTENT_TLSF, 1);
}

static inline void index_insert(struct quire_extent_space *space, uint32_t hole)
{
    space->n_holes++;
    if (index_is_lists(space))
        list_insert(space, class_of(node_length(&space->nodes[hole])), hole);
    else
        index_insert_tree(space, hole);
}

static inline void index_remove(struct quire_extent_space *space, uint32_t hole)
{
    space->n_holes--;
    if (index_is_lists(space))
        list_remove(space, class_of(node_length(&space->nodes[hole])), hole);
    else
        index_remove_tree(space, hole);
}

/* The hole gets another place and length, without passing another hole. */
static inline void index_change(struct quire_extent_space *space, uint32_t hole, uint64_t offset,
                                uint64_t length)
{
    struct extent_node *node = &space->nodes[hole];
    if (!index_is_lists(space)) {
        index_change_tree(space, hole, offset, length);
        return;
    }
    unsigned before = class_of(node_length(node)), after = class_of(length);
    if (before != after)
        list_remove(space, before, hole);
    node->offset = offset;
    node_set(node, NODE_HOLE, length);
    if (before != after)
        list_insert(space, after, hole);
}

/*
 * TLSF, alignment 1: a hole for `length` units among a few of the request's own class, or the next
 * class's first; 0: search.c has to look further.
 */
static inline uint32_t index_good_fit(const struct quire_extent_space *space, uint64_t length)
{
    unsigned class = class_of(length), n_looks = INDEX_N_LOOKS;
    uint32_t hole = space->head[class];
    for (; hole != 0 && n_looks > 0; n_looks--) {
        if (node_length(&space->nodes[hole]) >= length)
            return hole;
        hole = space->nodes[hole].right;
    }
    class = class_next(space, class + 1);
    return class < N_CLASSES ? space->head[class] : 0;
}

#endif
