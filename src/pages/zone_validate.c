/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zone_validate: recomputes a zone from its state bytes and groups, and compares; the numbers are
 * those of the invariants in zone.c.
 *
 * The walk over the blocks (1 to 4, 7) comes first and counts what the index and the counters must
 * say; lists are then followed (5) only as far as they agree, so a damaged link ends the check and
 * not the process. Reads the tables up to the frontier, and a page's worth of states beyond it.
 */
#include "pages/zone.h"

#include "base/log.h"
#include "pages/index.h"

#include <errno.h>

struct tally {
    uint32_t n_free, n_set_aside[2];
    uint32_t n_offers[ZONE_N_TYPES]; /* groups that the index must know */
};

static int wrong(const struct zone *zone, unsigned invariant, uint32_t page, const char *what)
{
    log_error("buddy system: zone %s, page %u: %s (invariant %u)", zone->name, page, what,
              invariant);
    return -EUCLEAN;
}

static bool is_touched(const struct zone *zone, const struct zone_table *table, size_t offset)
{
    size_t page = offset / ZONE_TABLE_PAGE;
    const uint64_t *words = (const uint64_t *)((uintptr_t)zone + table->touched_at);
    return (words[page / 64] >> page % 64 & 1) != 0;
}

/* No block in use begins within [from, to). */
static int check_interior(const struct zone *zone, uint32_t from, uint32_t to)
{
    for (uint32_t page = from; page < to; page++)
        if (zone_state_get(zone, page) != ZONE_NONE)
            return wrong(zone, 2, page, "a state byte where no block in use begins");
    return 0;
}

/* A block as its state byte or its group says; the walk has come to its first page. */
static int read_block(const struct zone *zone, uint32_t page, struct zone_block *block)
{
    const struct zone_group *group = zone_group(zone, zone_group_of(zone, page));
    unsigned state = zone_state_get(zone, page), bit = page % GROUP_PAGES;
    bool carved = group->kind == GROUP_CARVED;

    *block = (struct zone_block){page, state & ZONE_ORDER_MASK, state & ZONE_KIND_MASK};
    if (state == ZONE_NONE && carved && (group->used >> bit & 1) == 0) {
        block->order = (uint8_t)group_block_order(~group->used, bit, zone->top_order);
        block->kind = ZONE_FREE;
    } else if (state == ZONE_NONE && group->kind == GROUP_FREE && bit == 0) {
        *block = (struct zone_block){page, group->offer, ZONE_FREE};
    }
    if (block->kind == ZONE_NONE || (state != ZONE_NONE && block->kind == ZONE_FREE))
        return wrong(zone, 1, page, "no block begins here");
    uint32_t n_pages = 1u << block->order;
    if (block->order > zone->max_order || page % n_pages != 0 || n_pages > zone->frontier - page)
        return wrong(zone, 1, page, "a block is too large, not aligned or crosses the frontier");
    if (carved != (block->order < GROUP_ORDER))
        return wrong(zone, 3, page, "a block in a group of another kind");
    if (block->kind != ZONE_FREE && carved) {
        uint64_t mask = group_mask(bit, n_pages);
        if ((group->used & mask) != mask)
            return wrong(zone, 3, page, "pages of a block in use are free");
    }
    return 0;
}

static int check_block(const struct zone *zone, struct zone_block block)
{
    uint32_t number = zone_group_of(zone, block.page), buddy = block.page ^ (1u << block.order);
    bool is_free = block.kind == ZONE_FREE;

    if (!is_free && !is_touched(zone, &zone->states, block.page - zone->base))
        return wrong(zone, 7, block.page, "a state byte in a page that is not counted");
    if ((is_free || block.order < GROUP_ORDER) &&
        !is_touched(zone, &zone->groups, number * sizeof(struct zone_group)))
        return wrong(zone, 7, block.page, "a group in a page that is not counted");
    if (is_free && block.order >= GROUP_ORDER && block.order < zone->max_order &&
        buddy >= zone->base && buddy < zone->frontier) {
        const struct zone_group *other = zone_group(zone, zone_group_of(zone, buddy));
        if (other->kind == GROUP_FREE && other->offer == block.order)
            return wrong(zone, 4, block.page, "a free block has a free buddy");
    }
    for (uint32_t i = 1; i < (1u << block.order) / GROUP_PAGES; i++)
        if (zone_group(zone, number + i)->kind != GROUP_PLAIN)
            return wrong(zone, 3, block.page, "a group inside a block is not plain");
    return check_interior(zone, block.page + 1, block_end(block));
}

static void count_block(struct tally *tally, struct zone_block block)
{
    if (block.kind == ZONE_FREE)
        tally->n_free += 1u << block.order;
    else if (block.kind == ZONE_RESERVED || block.kind == ZONE_OFFLINE)
        tally->n_set_aside[block.kind == ZONE_OFFLINE] += 1u << block.order;
}

static int check_blocks(const struct zone *zone, struct tally *tally)
{
    struct zone_block block;

    for (uint32_t page = zone->first; page < zone->frontier; page = block_end(block)) {
        int result = read_block(zone, page, &block);
        if (result == 0)
            result = check_block(zone, block);
        if (result != 0)
            return result;
        count_block(tally, block);
    }
    uint32_t n_fresh = zone->end - zone->frontier;
    return check_interior(zone, zone->frontier,
                          zone->frontier + (n_fresh < ZONE_TABLE_PAGE ? n_fresh : ZONE_TABLE_PAGE));
}

/* What lies in a carved group outside of the zone must look as if it were in use. */
static int check_edges(const struct zone *zone)
{
    uint32_t first = zone_group_of(zone, zone->first), last = zone_group_of(zone, zone->end - 1);

    if (zone->frontier == zone->first)
        return 0;
    for (unsigned bit = 0; bit < zone->first % GROUP_PAGES; bit++)
        if ((zone_group(zone, first)->used >> bit & 1) == 0)
            return wrong(zone, 3, zone->first, "pages before the zone are free");
    for (unsigned bit = zone->end % GROUP_PAGES;
         bit != 0 && bit < GROUP_PAGES && zone->frontier == zone->end; bit++)
        if ((zone_group(zone, last)->used >> bit & 1) == 0)
            return wrong(zone, 3, zone->end - 1, "pages behind the zone are free");
    return 0;
}

/* As many groups as offer something are filed, each where it belongs, none twice: so all. */
static int check_list(const struct zone *zone, unsigned type, unsigned order, uint32_t *n_filed)
{
    uint32_t previous = ZONE_NIL, n = 0;

    for (uint32_t i = zone->head[type][order]; i != ZONE_NIL; n++) {
        if (i >= zone_n_groups(zone) || n == zone_n_groups(zone))
            return wrong(zone, 5, zone->first, "a list holds what is no group");
        const struct zone_group *group = zone_group(zone, i);
        uint32_t page = zone_group_page(zone, i);
        if (zone_offer(group) != (int)order || zone_type(zone, i) != type)
            return wrong(zone, 5, page, "a list holds what is no free block of its order");
        if (group->previous != previous)
            return wrong(zone, 5, page, "a list does not read the same in both directions");
        previous = i;
        i = group->next;
    }
    if ((zone->nonempty[type] >> order & 1) != (n > 0))
        return wrong(zone, 5, zone->first, "which lists are empty is not what the zone says");
    *n_filed += n;
    return 0;
}

static int check_lists(const struct zone *zone, const struct tally *tally)
{
    for (unsigned type = 0; type < ZONE_N_TYPES; type++) {
        uint32_t n_filed = 0;
        for (unsigned order = 0; order < ZONE_N_ORDERS; order++) {
            int result = check_list(zone, type, order, &n_filed);
            if (result != 0)
                return result;
        }
        if (n_filed != tally->n_offers[type])
            return wrong(zone, 5, zone->first, "a free block is on no list");
    }
    return 0;
}

static int check_offers(const struct zone *zone, struct tally *tally)
{
    for (uint32_t i = 0; i < zone_n_groups(zone); i++) {
        const struct zone_group *group = zone_group(zone, i);
        int offer = zone_offer(group);
        if (group->kind == GROUP_CARVED && offer != zone_carved_offer(zone, group))
            return wrong(zone, 5, zone_group_page(zone, i), "a group does not know what it offers");
        unsigned own = zone_type(zone, i);
        if (own >= zone->n_types)
            return wrong(zone, 5, zone_group_page(zone, i), "a page block of no mobility");
        tally->n_offers[own] += offer != ZONE_NO_ORDER;
        for (unsigned type = 0; zone->is_tree && type < zone->n_types; type++)
            if (tree_offer(zone, type, i) != (type == own ? offer : ZONE_NO_ORDER))
                return wrong(zone, 5, zone_group_page(zone, i), "a leaf of the tree is wrong");
    }
    return 0;
}

static size_t touched_bytes(const struct zone *zone, const struct zone_table *table)
{
    size_t n_bytes = 0;
    for (size_t at = 0; at < table->n_bytes; at += ZONE_TABLE_PAGE)
        if (is_touched(zone, table, at))
            n_bytes += table->n_bytes - at < ZONE_TABLE_PAGE ? table->n_bytes - at
                                                             : ZONE_TABLE_PAGE;
    return n_bytes;
}

static int check_counters(const struct zone *zone, const struct tally *tally)
{
    size_t n_bytes = sizeof *zone + touched_bytes(zone, &zone->groups) +
                     touched_bytes(zone, &zone->states) + touched_bytes(zone, &zone->types) +
                     tree_touched_bytes(zone, zone_n_groups(zone));

    if (n_bytes != zone_metadata_bytes(zone))
        return wrong(zone, 7, zone->first, "what the tables hold is not counted right");
    if (tally->n_free != zone->n_free || tally->n_set_aside[0] != zone->n_set_aside[0] ||
        tally->n_set_aside[1] != zone->n_set_aside[1])
        return wrong(zone, 6, zone->first, "pages in blocks are not what the zone says");
    return 0;
}

int zone_validate(const struct zone *zone)
{
    struct tally tally = {0};

    if (zone->frontier < zone->first || zone->frontier > zone->end)
        return wrong(zone, 1, zone->frontier, "the frontier lies outside of the zone");
    int result = check_blocks(zone, &tally);
    if (result == 0)
        result = check_edges(zone);
    if (result == 0)
        result = check_offers(zone, &tally);
    if (result == 0)
        result = zone->is_tree ? tree_validate(zone) : check_lists(zone, &tally);
    return result != 0 ? result : check_counters(zone, &tally);
}
