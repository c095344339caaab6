/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mobility: page blocks by the mobility of what is allocated in them.
 *
 *     page block   | movable              | unmovable            | movable              |
 *     groups        FREE 7        carved   carved  carved  ...    FREE 9
 *
 * Free pages are filed under the mobility of their page block, 512 pages, so that what can't be
 * moved stays together and what can be moved leaves large blocks behind. Fresh pages are movable.
 * What finds nothing of its own mobility takes from another: from the largest block, or of equals
 * in the order of `fallbacks`, and if half of the page block or more is free, all of the page block
 * changes sides. If that does not, the piece itself is taken, the smallest that is large enough.
 *
 * Invariant: a group's type in the index is that of its page block; who changes the latter files
 * the block's groups anew.
 *
 * Source: M. Gorman, P. Healy, "Supporting Superpage Allocation without Additional Hardware
 * Support", ISMM 2008; the Linux kernel's documentation of its page allocator.
 */
#include "pages/mobility.h"

#include "base/checked.h"
#include "pages/index.h"

static const uint8_t fallbacks[ZONE_N_TYPES][ZONE_N_TYPES - 1] = {
    [QUIRE_BUDDY_MOVABLE] = {QUIRE_BUDDY_RECLAIMABLE, QUIRE_BUDDY_UNMOVABLE},
    [QUIRE_BUDDY_UNMOVABLE] = {QUIRE_BUDDY_RECLAIMABLE, QUIRE_BUDDY_MOVABLE},
    [QUIRE_BUDDY_RECLAIMABLE] = {QUIRE_BUDDY_UNMOVABLE, QUIRE_BUDDY_MOVABLE},
};

static unsigned block_order(const struct zone *zone)
{
    return GROUP_ORDER + log2_floor(zone->block_groups);
}

/* Free pages of a page block that is not free as a whole. */
static uint32_t count_free(const struct zone *zone, uint32_t first)
{
    uint32_t n_free = 0;
    for (uint32_t i = first; i < first + zone->block_groups && i < zone_n_groups(zone); i++) {
        const struct zone_group *group = zone_group(zone, i);
        if (group->kind == GROUP_CARVED)
            n_free += GROUP_PAGES - (uint32_t)__builtin_popcountll(group->used);
        else if (group->kind == GROUP_FREE)
            n_free += 1u << group->offer;
    }
    return n_free;
}

/* A page block changes sides, with all that is free in it. */
static void claim_block(struct zone *zone, uint32_t first, unsigned type)
{
    uint32_t end = first + zone->block_groups;
    if (end > zone_n_groups(zone))
        end = zone_n_groups(zone);
    for (uint32_t i = first; i < end; i++)
        index_change(zone, i, zone_offer(zone_group(zone, i)), ZONE_NO_ORDER);
    zone_set_type(zone, first, type);
    for (uint32_t i = first; i < end; i++)
        index_change(zone, i, ZONE_NO_ORDER, zone_offer(zone_group(zone, i)));
}

/* A free block of at least a page block: as many of them as the order wants change sides. */
static void claim_free(struct zone *zone, uint32_t number, unsigned order, unsigned type)
{
    unsigned claimed = order > block_order(zone) ? order : block_order(zone);

    zone_remove_free(zone, number, claimed);
    for (uint32_t i = 0; i < 1u << (claimed - block_order(zone)); i++)
        zone_set_type(zone, number + i * zone->block_groups, type);
    zone_add_free(zone, number, claimed);
}

/* The other mobility that offers the largest block, which is of order *largest. */
static unsigned richest(const struct zone *zone, unsigned type, int *largest)
{
    unsigned found = fallbacks[type][0];

    *largest = index_largest(zone, found);
    for (unsigned i = 1; i < ZONE_N_TYPES - 1; i++) {
        int order = index_largest(zone, fallbacks[type][i]);
        if (order > *largest) {
            found = fallbacks[type][i];
            *largest = order;
        }
    }
    return found;
}

/* Makes a page block change sides, if enough of it is free. */
static bool claim(struct zone *zone, const struct zone_want *want)
{
    int largest;
    unsigned from = richest(zone, want->type, &largest);

    if (largest < (int)want->order)
        return false;
    uint32_t number = index_find(zone, from, (unsigned)largest);
    if (largest >= (int)block_order(zone)) {
        claim_free(zone, number, want->order, want->type);
        return true;
    }
    uint32_t first = number & ~(zone->block_groups - 1);
    if (count_free(zone, first) * 2 < zone->block_groups << GROUP_ORDER)
        return false;
    claim_block(zone, first, want->type);
    return true;
}

uint32_t mobility_steal(struct zone *zone, const struct zone_want *want)
{
    if (zone->n_types == 1)
        return ZONE_NIL;
    if (claim(zone, want))
        return index_find(zone, want->type, want->order);
    for (unsigned i = 0; i < ZONE_N_TYPES - 1; i++) {
        uint32_t number = index_find(zone, fallbacks[want->type][i], want->order);
        if (number != ZONE_NIL)
            return number;
    }
    return ZONE_NIL;
}
