/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zone_validate: recomputes a zone from its state bytes and compares; the numbers are those of the
 * invariants in zone.c.
 *
 * The walk over the blocks (1, 2, 4) comes first and counts what lists and counters must say; the
 * lists are then followed (3) only as far as they agree, so a damaged link ends the check and not
 * the process. Reads state bytes up to the frontier, and one page's worth beyond it.
 */
#include "pages/zone.h"

#include "base/log.h"

#include <errno.h>

struct tally {
    uint32_t n_free, n_allocated;
    uint32_t n_blocks[ZONE_N_ORDERS];
};

static int wrong(const struct zone *zone, unsigned invariant, uint32_t page, const char *what)
{
    log_error("buddy system: zone %s, page %u: %s (invariant %u)", zone->name, page, what,
              invariant);
    return -EUCLEAN;
}

static int check_interior(const struct zone *zone, uint32_t from, uint32_t to)
{
    for (uint32_t page = from; page < to; page++)
        if (*zone_state(zone, page) != ZONE_NONE)
            return wrong(zone, 2, page, "a state byte where no block begins");
    return 0;
}

static bool is_touched(const struct zone *zone, uint32_t page, enum zone_touched flag)
{
    return zone_group(zone, page)->touched & flag;
}

static int check_head(const struct zone *zone, struct zone_block block)
{
    if ((block.kind != ZONE_FREE && block.kind != ZONE_ALLOCATED) || block.order > zone->max_order)
        return wrong(zone, 1, block.page, "no block begins here");
    if (!is_touched(zone, zone_first_of(zone, block.page, ZONE_STATES_PAGES), ZONE_STATES) ||
        !is_touched(zone, zone_first_of(zone, block.page, ZONE_GROUPS_PAGES), ZONE_GROUPS))
        return wrong(zone, 6, block.page, "a block in tables that are not counted");
    uint32_t n_pages = 1u << block.order;
    if (block.page % n_pages != 0 || n_pages > zone->frontier - block.page)
        return wrong(zone, 1, block.page, "a block is not aligned or crosses the frontier");
    if (block.kind == ZONE_ALLOCATED)
        return 0;
    uint32_t buddy = block.page ^ n_pages;
    if (block.order < zone->max_order && buddy >= zone->first && buddy < zone->frontier &&
        *zone_state(zone, buddy) == (ZONE_FREE | block.order))
        return wrong(zone, 4, block.page, "a free block has a free buddy");
    if (block.order < ZONE_GROUP_ORDER && !is_touched(zone, block.page, ZONE_LOW_LINKS))
        return wrong(zone, 6, block.page, "a small free block in a group without low links");
    return 0;
}

static int check_blocks(const struct zone *zone, struct tally *tally)
{
    for (uint32_t page = zone->first; page < zone->frontier;) {
        struct zone_block block = zone_head(zone, page);
        int result = check_head(zone, block);
        if (result == 0)
            result = check_interior(zone, page + 1, block_end(block));
        if (result != 0)
            return result;
        if (block.kind == ZONE_FREE) {
            tally->n_free += 1u << block.order;
            tally->n_blocks[block.order]++;
        } else {
            tally->n_allocated += 1u << block.order;
        }
        page = block_end(block);
    }
    uint32_t n_fresh = zone->end - zone->frontier;
    return check_interior(zone, zone->frontier, zone->frontier + (n_fresh < 4096 ? n_fresh : 4096));
}

/* As many entries as there are free blocks, each one of those, no entry twice: so all of them. */
static int check_list(const struct zone *zone, unsigned order, uint32_t n_blocks)
{
    uint32_t prev = ZONE_NIL, n = 0;
    for (uint32_t page = zone->head[order]; page != ZONE_NIL; n++) {
        if (!zone_has(zone, page) || *zone_state(zone, page) != (ZONE_FREE | order))
            return wrong(zone, 3, page, "a list holds what is no free block of its order");
        struct zone_link link = *zone_link(zone, page, order);
        if (link.prev != prev || n == n_blocks)
            return wrong(zone, 3, page, "a list does not read the same in both directions");
        prev = page;
        page = link.next;
    }
    if (n != n_blocks)
        return wrong(zone, 3, zone->first, "a free block is on no list");
    if (zone->n_blocks[order] != n || (zone->nonempty >> order & 1) != (n > 0))
        return wrong(zone, 5, zone->first, "the length of a list is not what the zone says");
    return 0;
}

static int check_metadata_bytes(const struct zone *zone)
{
    static const enum zone_touched flags[] = {ZONE_LOW_LINKS, ZONE_STATES, ZONE_GROUPS};
    size_t n_bytes = sizeof *zone;
    for (uint64_t page = zone->base; page < zone->frontier; page += ZONE_GROUP_PAGES)
        for (unsigned i = 0; i < 3; i++)
            if (is_touched(zone, (uint32_t)page, flags[i]))
                n_bytes += zone_touched_bytes(zone, (uint32_t)page, flags[i]);
    if (n_bytes != zone_metadata_bytes(zone))
        return wrong(zone, 6, zone->first, "what the tables hold is not counted right");
    return 0;
}

int zone_validate(const struct zone *zone)
{
    if (zone->frontier < zone->first || zone->frontier > zone->end)
        return wrong(zone, 1, zone->frontier, "the frontier lies outside of the zone");
    struct tally tally = {0};
    int result = check_blocks(zone, &tally);
    for (unsigned order = 0; result == 0 && order < ZONE_N_ORDERS; order++)
        result = check_list(zone, order, tally.n_blocks[order]);
    if (result == 0)
        result = check_metadata_bytes(zone);
    if (result == 0 && (tally.n_free != zone->n_free || tally.n_allocated != zone->n_allocated))
        result = wrong(zone, 5, zone->first, "pages in blocks are not what the zone says");
    return result;
}
