/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list: the index of a zone as lists, one for each mobility and order. Links are group numbers in
 * the groups' own 16 bytes, 26 bits each way.
 *
 * The group that came to its order last is found first: its pages are warm.
 *
 * Invariants
 *   1. A group is on the list of what it offers, and on no other.
 *   2. Bit k of nonempty[type] is set exactly when head[type][k] != ZONE_NIL.
 */
#include "pages/index.h"

void list_add(struct zone *zone, uint32_t number, unsigned type, unsigned order)
{
    struct zone_group *group = zone_group(zone, number);
    uint32_t next = zone->head[type][order];

    group->next = next & ZONE_NIL;
    group->previous = ZONE_NIL;
    if (next != ZONE_NIL)
        zone_group(zone, next)->previous = number & ZONE_NIL;
    zone->head[type][order] = number;
    zone->nonempty[type] |= 1u << order;
}

void list_remove(struct zone *zone, uint32_t number, unsigned type, unsigned order)
{
    struct zone_group *group = zone_group(zone, number);
    uint32_t next = group->next, previous = group->previous;
    uint32_t from_previous = previous == ZONE_NIL ? zone->head[type][order]
                                                  : (uint32_t)zone_group(zone, previous)->next;

    zone_check(from_previous == number, zone, zone_group_page(zone, number),
               "a free block is not on its list");
    if (next != ZONE_NIL)
        zone_group(zone, next)->previous = previous & ZONE_NIL;
    if (previous != ZONE_NIL) {
        zone_group(zone, previous)->next = next & ZONE_NIL;
        return;
    }
    zone->head[type][order] = next;
    if (next == ZONE_NIL)
        zone->nonempty[type] &= ~(1u << order);
}
