/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree: AVL trees of holes, in one of two orders.
 *
 *     by offset            FIRST and NEXT, one tree; longest[] has the longest hole of each
 *                          subtree, so that a search skips what can't hold a request
 *     by length, offset    BEST and WORST, one tree a size class
 *
 * AVL and not a treap or a red-black tree: the lowest of the balanced binary trees, without parent
 * links or random numbers, so the cost of an operation is bounded and a run can be repeated. The
 * way from the root is kept on the stack as addresses of links, valid within one call only.
 *
 * Invariants (validate.c): the order is strict; |height(left) - height(right)| <= 1; `height` and
 * longest[] are those of the subtree. Nothing can fail.
 */
#include "extent/space.h"

struct key {
    uint64_t major, minor;
};

struct path {
    uint32_t *link[TREE_MAX_HEIGHT + 2]; /* link[0] is the root */
    unsigned n;
};

static struct key key_of(const struct quire_extent_space *space, bool by_offset, uint32_t index)
{
    const struct extent_node *node = &space->nodes[index];
    if (by_offset)
        return (struct key){node->offset, 0};
    return (struct key){node_length(node), node->offset};
}

static bool is_before(struct key a, struct key b)
{
    return a.major < b.major || (a.major == b.major && a.minor < b.minor);
}

static unsigned height(const struct quire_extent_space *space, uint32_t index)
{
    return index == 0 ? 0 : node_height(&space->nodes[index]);
}

static uint64_t longer(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Recomputes what the node says of its subtree. */
static void refresh(struct quire_extent_space *space, bool by_offset, uint32_t index)
{
    struct extent_node *node = &space->nodes[index];
    unsigned left = height(space, node->left), right = height(space, node->right);
    node_set_height(node, 1 + (left > right ? left : right));
    if (by_offset) {
        uint64_t below = longer(node->left ? *space_longest(space, node->left) : 0,
                                node->right ? *space_longest(space, node->right) : 0);
        *space_longest(space, index) = longer(node_length(node), below);
    }
}

static uint32_t rotate_right(struct quire_extent_space *space, bool by_offset, uint32_t top)
{
    uint32_t left = space->nodes[top].left;
    space->nodes[top].left = space->nodes[left].right;
    space->nodes[left].right = top;
    refresh(space, by_offset, top);
    refresh(space, by_offset, left);
    return left;
}

static uint32_t rotate_left(struct quire_extent_space *space, bool by_offset, uint32_t top)
{
    uint32_t right = space->nodes[top].right;
    space->nodes[top].right = space->nodes[right].left;
    space->nodes[right].left = top;
    refresh(space, by_offset, top);
    refresh(space, by_offset, right);
    return right;
}

static uint32_t balance(struct quire_extent_space *space, bool by_offset, uint32_t top)
{
    struct extent_node *node = &space->nodes[top];
    unsigned left = height(space, node->left), right = height(space, node->right);
    if (left > right + 1) {
        const struct extent_node *child = &space->nodes[node->left];
        if (height(space, child->left) < height(space, child->right))
            node->left = rotate_left(space, by_offset, node->left);
        return rotate_right(space, by_offset, top);
    }
    if (right > left + 1) {
        const struct extent_node *child = &space->nodes[node->right];
        if (height(space, child->right) < height(space, child->left))
            node->right = rotate_right(space, by_offset, node->right);
        return rotate_left(space, by_offset, top);
    }
    refresh(space, by_offset, top);
    return top;
}

static void balance_up(struct quire_extent_space *space, bool by_offset, const struct path *path)
{
    for (unsigned i = path->n; i-- > 0;)
        if (*path->link[i] != 0)
            *path->link[i] = balance(space, by_offset, *path->link[i]);
}

static void push(struct quire_extent_space *space, struct path *path, uint32_t *link)
{
    space_check(path->n <= TREE_MAX_HEIGHT, space, *link, "a tree is too high");
    path->link[path->n++] = link;
}

/* The way to where `hole` is or belongs: the last link holds it, or 0. */
static void descend(struct quire_extent_space *space, uint32_t *root, uint32_t hole,
                    struct path *path)
{
    bool by_offset = root == &space->root;
    struct key key = key_of(space, by_offset, hole);
    path->n = 0;
    push(space, path, root);
    for (uint32_t *link = root; *link != 0 && *link != hole;) {
        struct extent_node *node = &space->nodes[*link];
        link = is_before(key, key_of(space, by_offset, *link)) ? &node->left : &node->right;
        push(space, path, link);
    }
}

void tree_insert(struct quire_extent_space *space, uint32_t *root, uint32_t hole)
{
    struct path path;
    descend(space, root, hole, &path);
    uint32_t *link = path.link[path.n - 1];
    space_check(*link == 0, space, hole, "a new hole is in a tree already");
    space->nodes[hole].left = space->nodes[hole].right = 0;
    *link = hole;
    balance_up(space, root == &space->root, &path);
}

void tree_remove(struct quire_extent_space *space, uint32_t *root, uint32_t hole)
{
    struct extent_node *node = &space->nodes[hole];
    struct path path;
    descend(space, root, hole, &path);
    uint32_t *link = path.link[path.n - 1];
    space_check(*link == hole, space, hole, "a hole is not in its tree");
    if (node->left == 0 || node->right == 0) {
        *link = node->left != 0 ? node->left : node->right;
    } else { /* its successor takes its place */
        unsigned at = path.n;
        uint32_t *lowest = &node->right;
        push(space, &path, lowest);
        while (space->nodes[*lowest].left != 0) {
            lowest = &space->nodes[*lowest].left;
            push(space, &path, lowest);
        }
        uint32_t successor = *lowest;
        *lowest = space->nodes[successor].right;
        space->nodes[successor].left = node->left;
        space->nodes[successor].right = node->right;
        *link = successor;
        path.link[at] = &space->nodes[successor].right;
    }
    balance_up(space, root == &space->root, &path);
}

void tree_update(struct quire_extent_space *space, uint32_t *root, uint32_t hole)
{
    struct path path;
    descend(space, root, hole, &path);
    space_check(*path.link[path.n - 1] == hole, space, hole, "a hole is not in its tree");
    for (unsigned i = path.n; i-- > 0;) {
        uint64_t before = *space_longest(space, *path.link[i]);
        refresh(space, true, *path.link[i]);
        if (*space_longest(space, *path.link[i]) == before)
            break;
    }
}
