/* SPDX-License-Identifier: Apache-2.0 */
/*
 * search: which hole a request gets.
 *
 * TLSF looks at a few holes of the request's own class, which may or may not fit, before it takes
 * the first of the next class that has any: better fits than segregated fit alone, at a bounded
 * cost. If that finds nothing it looks at more of them before it gives up.
 *
 *     request's class        next classes with holes
 *     [ maybe | maybe ]      [ fits | ... ]           (alignment 1)
 *
 * An alignment above 1 makes all holes up to length + alignment - 1 "maybe". The other policies
 * look at those in their order until one fits. Nothing is changed here.
 */
#include "extent/index.h"

#define N_LOOKS_LAST 256 /* before a request fails */

/* Holes from the class up, at most n_looks, the first that fits. */
static uint32_t look(const struct quire_extent_space *space, uint64_t length, uint64_t alignment,
                     unsigned n_looks, uint64_t *place)
{
    unsigned class = class_from(space, class_of(length));
    for (; class < N_CLASSES; class = class_after(space, class)) {
        for (uint32_t i = space->head[class]; i != 0; i = space->nodes[i].right) {
            if (node_fits(&space->nodes[i], length, alignment, place))
                return i;
            if (--n_looks == 0)
                return 0;
        }
    }
    return 0;
}

static uint32_t search_tlsf(const struct quire_extent_space *space, uint64_t length,
                            uint64_t alignment, uint64_t *place)
{
    uint32_t hole = look(space, length, alignment, INDEX_N_LOOKS, place);
    uint64_t enough = length + alignment - 1;
    if (hole != 0)
        return hole;
    if (enough <= QUIRE_EXTENT_MAX_LENGTH) {
        unsigned class = class_after(space, class_of(enough));
        if (class < N_CLASSES) {
            hole = space->head[class];
            space_check(node_fits(&space->nodes[hole], length, alignment, place), space, hole,
                        "a hole is not as long as its class");
            return hole;
        }
    }
    return look(space, length, alignment, N_LOOKS_LAST, place);
}

/* The lowest hole that ends above `from` and fits. At most TREE_MAX_HEIGHT deep. */
static uint32_t lowest(const struct quire_extent_space *space, uint32_t top, uint64_t from,
                       uint64_t length, uint64_t alignment, uint64_t *place)
{
    while (top != 0 && *space_longest(space, top) >= length) {
        const struct extent_node *node = &space->nodes[top];
        if (node_end(node) > from) {
            uint32_t hole = lowest(space, node->left, from, length, alignment, place);
            if (hole != 0)
                return hole;
            if (node_fits(node, length, alignment, place))
                return top;
        }
        top = node->right;
    }
    return 0;
}

static uint32_t search_next(const struct quire_extent_space *space, uint64_t length,
                            uint64_t alignment, uint64_t *place)
{
    uint32_t hole = lowest(space, space->root, space->cursor, length, alignment, place);
    return hole != 0 ? hole : lowest(space, space->root, 0, length, alignment, place);
}

/* The first hole of the class's tree that is not before (length, offset). */
static uint32_t tree_from(const struct quire_extent_space *space, unsigned class, uint64_t length,
                          uint64_t offset)
{
    uint32_t found = 0;
    for (uint32_t i = space->head[class]; i != 0;) {
        const struct extent_node *node = &space->nodes[i];
        uint64_t its = node_length(node);
        if (its < length || (its == length && node->offset < offset)) {
            i = node->right;
        } else {
            found = i;
            i = node->left;
        }
    }
    return found;
}

static uint32_t search_best(const struct quire_extent_space *space, uint64_t length,
                            uint64_t alignment, uint64_t *place)
{
    unsigned class = class_from(space, class_of(length));
    for (; class < N_CLASSES; class = class_after(space, class)) {
        uint32_t hole = tree_from(space, class, length, 0);
        while (hole != 0) {
            const struct extent_node *node = &space->nodes[hole];
            if (node_fits(node, length, alignment, place))
                return hole;
            hole = tree_from(space, class, node_length(node), node->offset + 1);
        }
    }
    return 0;
}

/* The greatest length below `limit` of a hole in the class; 0: none. */
static uint64_t longest_below(const struct quire_extent_space *space, unsigned class,
                              uint64_t limit)
{
    uint64_t found = 0;
    for (uint32_t i = space->head[class]; i != 0;) {
        const struct extent_node *node = &space->nodes[i];
        if (node_length(node) < limit) {
            found = node_length(node);
            i = node->right;
        } else {
            i = node->left;
        }
    }
    return found;
}

static uint32_t search_worst(const struct quire_extent_space *space, uint64_t length,
                             uint64_t alignment, uint64_t *place)
{
    uint64_t limit = QUIRE_EXTENT_MAX_LENGTH + 1;
    for (unsigned class = class_last_before(space, N_CLASSES); class < N_CLASSES;) {
        limit = longest_below(space, class, limit);
        if (limit == 0) {
            class = class_last_before(space, class);
            limit = QUIRE_EXTENT_MAX_LENGTH + 1;
            continue;
        }
        if (limit < length)
            return 0;
        uint32_t hole = tree_from(space, class, limit, 0);
        while (hole != 0 && node_length(&space->nodes[hole]) == limit) {
            const struct extent_node *node = &space->nodes[hole];
            if (node_fits(node, length, alignment, place))
                return hole;
            hole = tree_from(space, class, limit, node->offset + 1);
        }
    }
    return 0;
}

uint32_t search_hole(const struct quire_extent_space *space, uint64_t length, uint64_t alignment,
                     uint64_t *place)
{
    if (length > QUIRE_EXTENT_MAX_LENGTH)
        return 0;
    switch (space->policy) {
    case QUIRE_EXTENT_TLSF:
        return search_tlsf(space, length, alignment, place);
    case QUIRE_EXTENT_FIRST:
        return lowest(space, space->root, 0, length, alignment, place);
    case QUIRE_EXTENT_NEXT:
        return search_next(space, length, alignment, place);
    case QUIRE_EXTENT_BEST:
        return search_best(space, length, alignment, place);
    default:
        return search_worst(space, length, alignment, place);
    }
}
