/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree: the index of a zone as complete binary trees, one for each mobility.
 *
 *     node 1                 6                  a byte a node: 1 + the largest order on offer in
 *     2, 3              6         3             the groups below it, 0 for none; node i has the
 *     4 to 7         6     1   0     3          children 2 i and 2 i + 1, the leaves are groups
 *
 * A free block of several groups stands at the leaf of its first; the other leaves are 0. Finding
 * and changing take a step a level. On the way down the child that offers least, and enough, is
 * taken, the lower one among equals: near to the best fit, and what is in use stays at the bottom.
 *
 * Invariant: a node that is no leaf is the larger of its children.
 *
 * Source: the tree of longest free runs, in K. Knowlton's buddy system, is folklore (known as
 * "buddy2"); here its leaves are groups of 64 pages instead of pages.
 */
#include "pages/index.h"

#include "base/checked.h"
#include "base/log.h"

#include <errno.h>

static uint8_t *tree_of(const struct zone *zone, unsigned type)
{
    return (uint8_t *)zone + zone->trees_at + (size_t)type * 2 * zone->tree_leaves;
}

size_t tree_bytes(size_t n_groups, unsigned n_types)
{
    return ((size_t)2 << log2_ceil(n_groups)) * n_types;
}

void tree_set(struct zone *zone, uint32_t group, unsigned type, int order)
{
    uint8_t *tree = tree_of(zone, type);
    uint32_t node = zone->tree_leaves + group;
    uint8_t value = (uint8_t)(order + 1);

    for (;;) {
        tree[node] = value;
        if (node == 1)
            return;
        uint8_t other = tree[node ^ 1];
        node /= 2;
        value = value > other ? value : other;
        if (tree[node] == value)
            return;
    }
}

uint32_t tree_find(const struct zone *zone, unsigned type, unsigned order)
{
    const uint8_t *tree = tree_of(zone, type);
    uint32_t node = 1;

    if (tree[1] <= order)
        return ZONE_NIL;
    while (node < zone->tree_leaves) {
        uint8_t low = tree[2 * node], high = tree[2 * node + 1];
        bool take_high = low <= order || (high > order && high < low);
        node = 2 * node + take_high;
    }
    return node - zone->tree_leaves;
}

int tree_largest(const struct zone *zone, unsigned type)
{
    return tree_of(zone, type)[1] - 1;
}

int tree_offer(const struct zone *zone, unsigned type, uint32_t group)
{
    return tree_of(zone, type)[zone->tree_leaves + group] - 1;
}

/* Each level up to the group, rounded up to pages: at most what is touched, and a page a level. */
size_t tree_touched_bytes(const struct zone *zone, uint32_t n_groups)
{
    size_t n_bytes = 0;

    if (zone->tree_leaves == 0)
        return 0;
    for (size_t level = n_groups; level > 4096; level = (level + 1) / 2)
        n_bytes += round_up(level, 4096);
    n_bytes += 2 * (n_groups < 4096 ? n_groups + 1 : 4096);
    return n_bytes * zone->n_types;
}

int tree_validate(const struct zone *zone)
{
    for (unsigned type = 0; type < zone->n_types; type++) {
        const uint8_t *tree = tree_of(zone, type);
        uint32_t first = zone->tree_leaves, last = first + zone_n_groups(zone);
        for (first /= 2, last = (last - 1) / 2; first > 0; first /= 2, last /= 2)
            for (uint32_t node = first; node <= last; node++) {
                uint8_t low = tree[2 * node], high = tree[2 * node + 1];
                if (tree[node] == (low > high ? low : high))
                    continue;
                log_error("buddy system: zone %s, node %u of tree %u is not the larger of its "
                          "children",
                          zone->name, node, type);
                return -EUCLEAN;
            }
    }
    return 0;
}
