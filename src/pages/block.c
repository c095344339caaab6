/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block: which block a page lies in, and what a range of pages is. Changes nothing.
 *
 * A block begins at its page with some of the lowest bits cleared; candidates are tried nearest
 * first, and the first that has a state byte or a free group is it (zone.c, invariant 2).
 */
#include "pages/zone.h"

static struct zone_block carved_block_at(const struct zone *zone, uint32_t page)
{
    const struct zone_group *group = zone_group(zone, zone_group_of(zone, page));
    unsigned bit = page % GROUP_PAGES;

    if ((group->used >> bit & 1) == 0) {
        unsigned order = group_block_order(~group->used, bit, zone->top_order);
        return (struct zone_block){page & ~((1u << order) - 1), (uint8_t)order, ZONE_FREE};
    }
    /* clearing the lowest bit leads to the head of the next larger block that may hold the page */
    uint32_t head = page;
    while (zone_state_get(zone, head) == ZONE_NONE) {
        zone_check(head % GROUP_PAGES != 0, zone, page, "it lies in no block");
        head &= head - 1;
    }
    unsigned state = zone_state_get(zone, head);
    return (struct zone_block){head, state & ZONE_ORDER_MASK, state & ZONE_KIND_MASK};
}

struct zone_block zone_block_at(const struct zone *zone, uint32_t page)
{
    if (page >= zone->frontier)
        return (struct zone_block){page, 0, ZONE_NONE};
    if (zone_group(zone, zone_group_of(zone, page))->kind == GROUP_CARVED)
        return carved_block_at(zone, page);
    for (uint32_t head = page & ~(GROUP_PAGES - 1);; head &= head - 1) {
        const struct zone_group *group = zone_group(zone, zone_group_of(zone, head));
        unsigned state = zone_state_get(zone, head);
        if (state != ZONE_NONE)
            return (struct zone_block){head, state & ZONE_ORDER_MASK, state & ZONE_KIND_MASK};
        if (group->kind == GROUP_FREE)
            return (struct zone_block){head, group->offer, ZONE_FREE};
        zone_check(head != 0 && (head & (head - 1)) >= zone->first, zone, page,
                   "it lies in no block");
    }
}

bool zone_is_free(const struct zone *zone, uint32_t from, uint32_t to)
{
    while (from < to && from < zone->frontier) {
        const struct zone_group *group = zone_group(zone, zone_group_of(zone, from));
        uint32_t end = zone_part_end(from, to);
        if (group->kind == GROUP_CARVED) {
            if ((group->used & zone_part_mask(from, end)) != 0)
                return false;
        } else {
            struct zone_block block = zone_block_at(zone, from);
            if (block.kind != ZONE_FREE)
                return false;
            end = block_end(block);
        }
        from = end;
    }
    return true;
}

static bool is_of_kind(struct zone_block block, enum zone_kind kind)
{
    return block.kind == kind || (kind == ZONE_ALLOCATED && block.kind == ZONE_LEAVING);
}

bool zone_is_all(const struct zone *zone, uint32_t from, uint32_t to, enum zone_kind kind)
{
    while (from < to) {
        struct zone_block block = zone_block_at(zone, from);
        if (!is_of_kind(block, kind))
            return false;
        from = block_end(block);
    }
    return true;
}
