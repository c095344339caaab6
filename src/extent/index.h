/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index: all holes, in what the policy keeps; private to extent/. A hole in it has its offset and
 * length. See index.c.
 */
#ifndef QUIRE_EXTENT_INDEX_H
#define QUIRE_EXTENT_INDEX_H

#include "extent/space.h"

#define INDEX_N_LOOKS 2 /* holes of a request's own class, before the next one is taken */

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
    space->nodes[head].left = hole;
    space->head[class] = hole;
    class_mark(space, class);
}

static inline void list_remove(struct quire_extent_space *space, unsigned class, uint32_t hole)
{
    const struct extent_node *node = &space->nodes[hole];
    uint32_t left = node->left, right = node->right, *head = &space->head[class];
    space_check(left != 0 || *head == hole, space, hole, "a hole is not on its list");
    *(left != 0 ? &space->nodes[left].right : head) = right;
    space->nodes[right].left = left;
    if (*head == 0)
        class_unmark(space, class);
}

static inline void list_move(struct quire_extent_space *space, unsigned from, unsigned to,
                             uint32_t hole)
{
    if (from != to) {
        list_remove(space, from, hole);
        list_insert(space, to, hole);
    }
}

static inline bool index_is_lists(const struct quire_extent_space *space)
{
    return __builtin_expect(space->policy == QUIRE_EXTENT_TLSF, 1);
}

/* `lists` is index_is_lists(space), which who calls often knows at compile time. */

static inline void index_insert(struct quire_extent_space *space, bool lists, uint32_t hole)
{
    space->n_holes++;
    if (lists)
        list_insert(space, class_of(node_length(&space->nodes[hole])), hole);
    else
        index_insert_tree(space, hole);
}

static inline void index_remove(struct quire_extent_space *space, bool lists, uint32_t hole)
{
    space->n_holes--;
    if (lists)
        list_remove(space, class_of(node_length(&space->nodes[hole])), hole);
    else
        index_remove_tree(space, hole);
}

static inline void list_change(struct quire_extent_space *space, uint32_t hole, uint64_t offset,
                               uint64_t length)
{
    struct extent_node *node = &space->nodes[hole];
    uint64_t length_before = node_length(node);
    node->offset = offset;
    node_set(node, NODE_HOLE, length);
    if (!class_is_kept(length_before, length))
        list_move(space, class_of(length_before), class_of(length), hole);
}

/* The hole gets another place and length, without passing another hole. */
static inline void index_change(struct quire_extent_space *space, bool lists, uint32_t hole,
                                uint64_t offset, uint64_t length)
{
    if (lists)
        list_change(space, hole, offset, length);
    else
        index_change_tree(space, hole, offset, length);
}

/*
 * TLSF, alignment 1: a hole for `length` units among a few of the request's own class, or the next
 * class's first, and its class; 0: search.c has to look further.
 */
static inline uint32_t index_good_fit(const struct quire_extent_space *space, uint64_t length,
                                      unsigned *class)
{
    unsigned own = class_of(length), n_looks = INDEX_N_LOOKS;
    *class = own;
    for (uint32_t i = space->head[own]; i != 0 && n_looks > 0; n_looks--) {
        if (node_length(&space->nodes[i]) >= length)
            return i;
        i = space->nodes[i].right;
    }
    *class = class_after(space, own);
    return *class < N_CLASSES ? space->head[*class] : 0;
}

#endif
