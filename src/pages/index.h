/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index: finds the groups of a zone in which free blocks begin. Private to src/pages/.
 *
 * A group is filed under its page block's mobility and under the order of the largest free block
 * that begins in it, which the caller names: what it offers (zone_offer). Two forms, chosen when
 * the zone is made: a list for each order (list.c), and a tree with the largest offer below each
 * node (tree.c). The zone's lock is held.
 */
#ifndef QUIRE_PAGES_INDEX_H
#define QUIRE_PAGES_INDEX_H

#include "pages/zone.h"

void list_add(struct zone *zone, uint32_t group, unsigned type, unsigned order);
void list_remove(struct zone *zone, uint32_t group, unsigned type, unsigned order);

/* Bytes of the trees of a zone of n_groups. */
size_t tree_bytes(size_t n_groups, unsigned n_types);
void tree_set(struct zone *zone, uint32_t group, unsigned type, int order);
uint32_t tree_find(const struct zone *zone, unsigned type, unsigned order);
int tree_largest(const struct zone *zone, unsigned type);
int tree_offer(const struct zone *zone, unsigned type, uint32_t group);
int tree_validate(const struct zone *zone); /* 0 or -EUCLEAN with the reason logged */

/* What the trees hold of memory, at most, when the frontier is behind n_groups. */
size_t tree_touched_bytes(const struct zone *zone, uint32_t n_groups);

/* What a group offers changes; ZONE_NO_ORDER is nothing. */
static inline void index_change(struct zone *zone, uint32_t group, int old, int new)
{
    if (old == new)
        return;
    unsigned type = zone_type(zone, group);
    if (zone->is_tree) {
        tree_set(zone, group, type, new);
        return;
    }
    if (old >= 0)
        list_remove(zone, group, type, (unsigned)old);
    if (new >= 0)
        list_add(zone, group, type, (unsigned)new);
}

/* A group that offers this order or more, as little more as can be told; ZONE_NIL: none does. */
static inline uint32_t index_find(const struct zone *zone, unsigned type, unsigned order)
{
    if (zone->is_tree)
        return tree_find(zone, type, order);
    uint32_t listed = zone->nonempty[type] >> order;
    return listed == 0 ? ZONE_NIL : zone->head[type][order + (unsigned)__builtin_ctz(listed)];
}

/* The largest order on offer; ZONE_NO_ORDER: nothing is. */
static inline int index_largest(const struct zone *zone, unsigned type)
{
    if (zone->is_tree)
        return tree_largest(zone, type);
    return zone->nonempty[type] == 0 ? ZONE_NO_ORDER : 31 - __builtin_clz(zone->nonempty[type]);
}

#endif
