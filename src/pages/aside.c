/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aside: pages that are not to be handed out: reserved ones, and those that go offline.
 *
 *     free ------reserve------> reserved --online--> free
 *     free ------offline------> offline  --online--> free
 *     allocated --offline--> leaving --free--> offline;   leaving --online--> allocated
 *
 * A block is set aside, or leaves, as a whole.
 */
#include "pages/buddy.h"

#include <errno.h>

/* The zone that holds all of the range, its lock taken. */
static struct zone *lock_range(struct quire_buddy *buddy, quire_page page, uint32_t n_pages)
{
    struct zone *zone = buddy_lock_zone_of(buddy, page);
    if (zone == NULL)
        return NULL;
    if (n_pages > 0 && n_pages <= zone->end - page)
        return zone;
    lock_release(&zone->lock);
    return NULL;
}

static void set_aside(struct zone *zone, uint32_t from, uint32_t to, enum zone_kind kind)
{
    zone_take_range(zone, from, to, kind);
    zone->n_set_aside[kind == ZONE_OFFLINE] += to - from;
}

int quire_buddy_reserve(struct quire_buddy *buddy, quire_page page, uint32_t n_pages)
{
    struct zone *zone = lock_range(buddy, page, n_pages);
    if (zone == NULL)
        return -EINVAL;
    bool is_free = zone_is_free(zone, page, page + n_pages);
    if (is_free)
        set_aside(zone, page, page + n_pages, ZONE_RESERVED);
    buddy_unlock(buddy, zone);
    return is_free ? 0 : -EBUSY;
}

/* Unless the block went to a thread's cache meanwhile. */
static void change_kind(struct zone *zone, struct zone_block block, enum zone_kind kind)
{
    uint8_t state = (uint8_t)(block.kind | block.order);
    /* relaxed: under the lock; cache.c's step is the only one that may come between */
    atomic_compare_exchange_strong_explicit(zone_state(zone, block.page), &state,
                                            (uint8_t)(kind | block.order), memory_order_relaxed,
                                            memory_order_relaxed);
}

int quire_buddy_offline(struct quire_buddy *buddy, quire_page page, uint32_t n_pages,
                        uint32_t *n_pending)
{
    struct zone *zone = lock_range(buddy, page, n_pages);
    uint32_t end = page + n_pages, n_left = 0;
    if (zone == NULL)
        return -EINVAL;
    while (page < end) {
        struct zone_block block = zone_block_at(zone, page);
        uint32_t next = block_end(block) < end ? block_end(block) : end;
        if (block.kind == ZONE_NONE)
            next = end; /* all fresh from here on */
        if (block.kind == ZONE_FREE || block.kind == ZONE_NONE)
            set_aside(zone, page, next, ZONE_OFFLINE);
        else if (block.kind == ZONE_ALLOCATED)
            change_kind(zone, block, ZONE_LEAVING);
        if (kind_is_allocated(block.kind) || block.kind == ZONE_CACHED)
            n_left += next - page;
        page = next;
    }
    buddy_unlock(buddy, zone);
    if (n_pending != NULL)
        *n_pending = n_left;
    return 0;
}

static bool is_aside(unsigned kind)
{
    return kind == ZONE_RESERVED || kind == ZONE_OFFLINE || kind == ZONE_LEAVING;
}

static bool all_aside(const struct zone *zone, uint32_t from, uint32_t to)
{
    while (from < to) {
        struct zone_block block = zone_block_at(zone, from);
        if (!is_aside(block.kind))
            return false;
        from = block_end(block);
    }
    return true;
}

int quire_buddy_online(struct quire_buddy *buddy, quire_page page, uint32_t n_pages)
{
    struct zone *zone = lock_range(buddy, page, n_pages);
    uint32_t end = page + n_pages;
    if (zone == NULL)
        return -EINVAL;
    bool valid = all_aside(zone, page, end);
    while (valid && page < end) {
        struct zone_block block = zone_block_at(zone, page);
        uint32_t next = block_end(block) < end ? block_end(block) : end;
        if (block.kind == ZONE_LEAVING)
            change_kind(zone, block, ZONE_ALLOCATED);
        else
            zone_give_range(zone, page, next);
        page = next;
    }
    buddy_unlock(buddy, zone);
    return valid ? 0 : -EINVAL;
}
