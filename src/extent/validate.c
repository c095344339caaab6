/* SPDX-License-Identifier: Apache-2.0 */
/*
 * validate: recomputes a space from its pieces and compares; the numbers are those of the
 * invariants in space.c.
 *
 * The walk over the pieces (1, 2) comes first. Lists and trees are followed only as far as they
 * agree with it: each index is checked before it is used, each walk is bounded, so damage ends the
 * check and not the process.
 */
#include "extent/space.h"

#include "base/log.h"

#include <errno.h>

struct tally {
    uint64_t n_used;
    uint32_t n_extents, n_holes;
    bool packed_seen;
};

static int wrong(unsigned invariant, uint32_t index, const char *what)
{
    log_error("extent space: node %u: %s (invariant %u)", index, what, invariant);
    return -EUCLEAN;
}

static bool is_touched(const struct quire_extent_space *space, uint32_t index)
{
    return index != 0 && index < space->n_touched;
}

static int check_piece(const struct quire_extent_space *space, uint32_t index, uint32_t prev,
                       uint64_t offset)
{
    if (!is_touched(space, index))
        return wrong(1, index, "a link to no piece");
    const struct extent_node *node = &space->nodes[index];
    enum node_state state = node_state(node);
    if (state != NODE_EXTENT && state != NODE_HOLE)
        return wrong(1, index, "a piece is neither extent nor hole");
    if (node->prev != prev)
        return wrong(1, index, "the links between pieces do not read the same in both directions");
    if (node->offset != offset)
        return wrong(1, index, "a piece does not begin where the one before it ends");
    if (node_length(node) == 0 || node_length(node) > space->length - offset)
        return wrong(1, index, "a piece is empty or crosses the end of the space");
    if (state == NODE_HOLE && prev != 0 && node_state(&space->nodes[prev]) == NODE_HOLE)
        return wrong(2, index, "two holes touch");
    if (state == NODE_EXTENT && (node->stamp == 0 || node->hold.align_order > NODE_LENGTH_BITS ||
                                 (offset & (((uint64_t)1 << node->hold.align_order) - 1)) != 0))
        return wrong(1, index, "an extent has no stamp or is not aligned as it says");
    return 0;
}

static int check_pieces(const struct quire_extent_space *space, struct tally *tally)
{
    uint64_t offset = 0;
    uint32_t prev = 0;
    for (uint32_t i = space->nodes[0].next; i != 0; i = space->nodes[i].next) {
        int error = check_piece(space, i, prev, offset);
        if (error)
            return error;
        const struct extent_node *node = &space->nodes[i];
        offset += node_length(node);
        if (node_state(node) == NODE_EXTENT) {
            tally->n_extents++;
            tally->n_used += node_length(node);
        } else {
            tally->n_holes++;
        }
        tally->packed_seen |= i == space->packed && node_state(node) == NODE_EXTENT &&
                              offset == space->packed_end;
        prev = i;
    }
    if (prev != space->nodes[0].prev || offset != space->length)
        return wrong(1, prev, "the last piece does not end where the space does");
    return 0;
}

static int check_unused(const struct quire_extent_space *space, const struct tally *tally)
{
    uint32_t n_unused = space->n_touched - 1 - tally->n_extents - tally->n_holes;
    for (uint32_t i = space->unused; i != 0; i = space->nodes[i].next, n_unused--) {
        if (!is_touched(space, i) || node_state(&space->nodes[i]) != NODE_UNUSED)
            return wrong(3, i, "the list of unused nodes holds what is none");
        if (n_unused == 0)
            return wrong(3, i, "the list of unused nodes is too long");
    }
    return n_unused == 0 ? 0 : wrong(3, 0, "a node is neither a piece nor listed as unused");
}

static int check_hole(const struct quire_extent_space *space, uint32_t index, uint32_t *n_left)
{
    if (!is_touched(space, index) || node_state(&space->nodes[index]) != NODE_HOLE)
        return wrong(4, index, "the index holds what is no hole");
    if (*n_left == 0)
        return wrong(4, index, "the index holds more than there are holes");
    --*n_left;
    return 0;
}

static int check_list(const struct quire_extent_space *space, unsigned class, uint32_t *n_left)
{
    uint32_t before = 0;
    for (uint32_t i = space->head[class]; i != 0; i = space->nodes[i].right) {
        int error = check_hole(space, i, n_left);
        if (error)
            return error;
        if (class_of(node_length(&space->nodes[i])) != class)
            return wrong(4, i, "a hole is in another class than its length says");
        if (space->nodes[i].left != before)
            return wrong(4, i, "a list does not read the same in both directions");
        before = i;
    }
    return 0;
}

/* What a subtree must lie between, exclusively, and what it turned out to be. */
struct subtree {
    const struct extent_node *above, *below;
    unsigned height;
    uint64_t longest;
};

static bool is_before(const struct quire_extent_space *space, const struct extent_node *a,
                      const struct extent_node *b)
{
    if (a == NULL || b == NULL)
        return true;
    if (space_is_by_offset(space) || node_length(a) == node_length(b))
        return a->offset < b->offset;
    return node_length(a) < node_length(b);
}

static int check_tree(const struct quire_extent_space *space, uint32_t index, unsigned depth,
                      struct subtree *tree, uint32_t *n_left)
{
    tree->height = 0;
    tree->longest = 0;
    if (index == 0)
        return 0;
    if (depth > TREE_MAX_HEIGHT)
        return wrong(4, index, "a tree is too high");
    int error = check_hole(space, index, n_left);
    if (error)
        return error;
    const struct extent_node *node = &space->nodes[index];
    if (!is_before(space, tree->above, node) || !is_before(space, node, tree->below))
        return wrong(4, index, "a tree is not in order");
    struct subtree left = {tree->above, node, 0, 0}, right = {node, tree->below, 0, 0};
    error = check_tree(space, node->left, depth + 1, &left, n_left);
    if (error == 0)
        error = check_tree(space, node->right, depth + 1, &right, n_left);
    if (error)
        return error;
    tree->height = 1 + (left.height > right.height ? left.height : right.height);
    tree->longest = left.longest > right.longest ? left.longest : right.longest;
    if (node_length(node) > tree->longest)
        tree->longest = node_length(node);
    if (node_height(node) != tree->height || left.height > right.height + 1 ||
        right.height > left.height + 1)
        return wrong(4, index, "a tree is not balanced, or not as high as it says");
    if (space_is_by_offset(space) && *space_longest(space, index) != tree->longest)
        return wrong(4, index, "a tree's longest hole is not what it says");
    return 0;
}

static int check_classes(const struct quire_extent_space *space, uint32_t *n_left)
{
    for (unsigned class = 0; class < N_CLASSES; class ++) {
        bool marked = space->steps[class / N_STEPS] >> class % N_STEPS & 1;
        if (marked != (space->head[class] != 0))
            return wrong(4, space->head[class], "the bitmap of classes is wrong");
        if (space->head[class] == 0)
            continue;
        struct subtree tree = {NULL, NULL, 0, 0};
        int error = space->policy == QUIRE_EXTENT_TLSF
                        ? check_list(space, class, n_left)
                        : check_tree(space, space->head[class], 1, &tree, n_left);
        if (error == 0 && space->policy != QUIRE_EXTENT_TLSF && class_of(tree.longest) != class)
            error = wrong(4, space->head[class], "a hole is in another class than its length says");
        if (error)
            return error;
    }
    for (unsigned row = 0; row < 64; row++)
        if ((space->rows >> row & 1) != (row < N_ROWS && space->steps[row] != 0))
            return wrong(4, 0, "the bitmap of rows is wrong");
    return 0;
}

static int check_index(const struct quire_extent_space *space, uint32_t n_holes)
{
    struct subtree tree = {NULL, NULL, 0, 0};
    uint32_t n_left = n_holes;
    int error = space_is_by_offset(space) ? check_tree(space, space->root, 1, &tree, &n_left)
                                          : check_classes(space, &n_left);
    if (error == 0 && n_left != 0)
        error = wrong(4, 0, "a hole is not in the index");
    return error;
}

static int check_head(const struct quire_extent_space *space)
{
    if (space->magic != SPACE_MAGIC || space->policy >= QUIRE_EXTENT_N_POLICIES ||
        space->max_extents == 0 || space->max_extents > QUIRE_EXTENT_MAX_EXTENTS ||
        space->length > QUIRE_EXTENT_MAX_LENGTH)
        return wrong(1, 0, "this is not the metadata of a space");
    if (space->n_touched == 0 || space->n_touched > space_n_nodes(space->max_extents))
        return wrong(3, space->n_touched, "more nodes were touched than there are");
    if (space->nodes[0].bits != 0)
        return wrong(3, 0, "node 0 is in use");
    return 0;
}

int quire_extent_validate(const struct quire_extent_space *space)
{
    struct tally tally = {0};
    int error = check_head(space);
    if (error == 0)
        error = check_pieces(space, &tally);
    if (error == 0)
        error = check_unused(space, &tally);
    if (error == 0)
        error = check_index(space, tally.n_holes);
    if (error == 0 && (tally.n_used != space->n_used || tally.n_extents != space->n_extents ||
                       tally.n_holes != space->n_holes || tally.n_extents > space->max_extents))
        error = wrong(5, 0, "a counter is not what the pieces add up to");
    if (error == 0 && (space->packed != 0 ? !tally.packed_seen : space->packed_end != 0))
        error = wrong(6, space->packed, "what was compacted is not where it is said to end");
    if (error == 0 && space->finger != 0 && !is_touched(space, space->finger))
        error = wrong(6, space->finger, "a search would begin nowhere");
    return error;
}
