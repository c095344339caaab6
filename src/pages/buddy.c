/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buddy: the public face of the zones: checks what callers say, finds the zone, holds its lock.
 *
 * The metadata, front to back; each zone knows where its tables are relative to itself:
 *
 *     | quire_buddy | zone 0 | zone 1 | states 0 | groups 0 | links 0 | states 1 | ...
 *
 * Every function that changes something first checks all it needs under the zone's lock, then takes
 * steps that cannot fail. Locks: a zone's, one at a time; lock_all takes them in the order of the
 * zones. What a zone is made of and its invariants: zone.c.
 */
#include "pages/buddy.h"

#include "base/checked.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>

/* Setting up */

static bool zones_overlap(const struct quire_buddy_zone *a, const struct quire_buddy_zone *b)
{
    return a->first < (uint64_t)b->first + b->n_pages && b->first < (uint64_t)a->first + a->n_pages;
}

static bool config_is_valid(const struct quire_buddy_config *config)
{
    if (config->max_order > QUIRE_BUDDY_MAX_ORDER || config->n_zones == 0 ||
        config->n_zones > QUIRE_BUDDY_MAX_ZONES)
        return false;
    for (unsigned i = 0; i < config->n_zones; i++) {
        const struct quire_buddy_zone *zone = &config->zones[i];
        if (zone->n_pages == 0 || (uint64_t)zone->first + zone->n_pages > UINT32_MAX)
            return false;
        for (unsigned j = 0; j < i; j++)
            if (zones_overlap(zone, &config->zones[j]))
                return false;
    }
    return true;
}

static size_t zone_offset(unsigned zone)
{
    return sizeof(struct quire_buddy) + zone * sizeof(struct zone);
}

size_t quire_buddy_metadata_bytes(const struct quire_buddy_config *config)
{
    if (!config_is_valid(config))
        return 0;
    size_t n_bytes = zone_offset(config->n_zones);
    for (unsigned i = 0; i < config->n_zones; i++)
        zone_layout(&config->zones[i], &n_bytes);
    return n_bytes;
}

static void set_name(struct zone *zone, const char *name, unsigned index)
{
    if (name == NULL)
        log_format(zone->name, sizeof zone->name, "zone%u", index);
    else
        log_format(zone->name, sizeof zone->name, "%s", name);
}

int quire_buddy_init(const struct quire_buddy_config *config, void *metadata, size_t metadata_bytes,
                     struct quire_buddy **buddy)
{
    size_t needed_bytes = quire_buddy_metadata_bytes(config);
    if (needed_bytes == 0 || (uintptr_t)metadata % QUIRE_BUDDY_ALIGNMENT != 0)
        return -EINVAL;
    if (metadata_bytes < needed_bytes)
        return -ENOSPC;
    struct quire_buddy *new = metadata;
    if (new->magic != 0)
        return -EEXIST;
    new->magic = BUDDY_MAGIC;
    new->n_zones = config->n_zones;
    new->max_order = config->max_order;
    size_t n_bytes = zone_offset(config->n_zones);
    for (unsigned i = 0; i < config->n_zones; i++) {
        struct zone_tables tables = zone_layout(&config->zones[i], &n_bytes);
        zone_init(&new->zones[i], zone_offset(i), &tables, &config->zones[i], config->max_order);
        set_name(&new->zones[i], config->zones[i].name, i);
    }
    *buddy = new;
    return 0;
}

/* Taking */

/* The i-th zone of the list; NULL behind the last. */
static struct zone *listed_zone(struct quire_buddy *buddy, const struct quire_buddy_zonelist *from,
                                unsigned i)
{
    if (from == NULL || from->n == 0)
        return i < buddy->n_zones ? &buddy->zones[i] : NULL;
    return i < from->n ? &buddy->zones[from->zone[i]] : NULL;
}

static bool zonelist_is_valid(const struct quire_buddy *buddy,
                              const struct quire_buddy_zonelist *from)
{
    if (from == NULL)
        return true;
    if (from->n > QUIRE_BUDDY_MAX_ZONES)
        return false;
    for (unsigned i = 0; i < from->n; i++)
        if (from->zone[i] >= buddy->n_zones)
            return false;
    return true;
}

static int take(struct quire_buddy *buddy, const struct quire_buddy_zonelist *from,
                uint32_t n_pages, uint32_t align_pages, quire_page *page)
{
    if (!zonelist_is_valid(buddy, from))
        return -EINVAL;
    struct zone *zone;
    for (unsigned i = 0; (zone = listed_zone(buddy, from, i)) != NULL; i++) {
        lock_take(&zone->lock);
        bool taken = zone_take(zone, n_pages, align_pages, page);
        lock_release(&zone->lock);
        if (taken)
            return 0;
    }
    return -ENOMEM;
}

int quire_buddy_alloc(struct quire_buddy *buddy, const struct quire_buddy_zonelist *from,
                      unsigned order, quire_page *page)
{
    if (order > buddy->max_order)
        return -EINVAL;
    return take(buddy, from, 1u << order, 1u << order, page);
}

int quire_buddy_alloc_exact(struct quire_buddy *buddy, const struct quire_buddy_zonelist *from,
                            uint32_t n_pages, uint32_t align_pages, quire_page *page)
{
    uint32_t max_pages = 1u << buddy->max_order;
    if (n_pages == 0 || n_pages > max_pages)
        return -EINVAL;
    if (align_pages == 0)
        align_pages = 1u << log2_ceil(n_pages);
    else if (!is_power_of_two(align_pages) || align_pages > max_pages)
        return -EINVAL;
    return take(buddy, from, n_pages, align_pages, page);
}

/* Giving back, extending, asking */

/* The zone of a page, its lock taken; NULL: it is in none. */
static struct zone *lock_zone_of(struct quire_buddy *buddy, quire_page page)
{
    for (unsigned i = 0; i < buddy->n_zones; i++) {
        struct zone *zone = &buddy->zones[i];
        if (zone_has(zone, page)) {
            lock_take(&zone->lock);
            return zone;
        }
    }
    return NULL;
}

int quire_buddy_free(struct quire_buddy *buddy, quire_page page, unsigned order)
{
    struct zone *zone = lock_zone_of(buddy, page);
    if (zone == NULL)
        return -EINVAL;
    bool given = zone_give(zone, page, order);
    lock_release(&zone->lock);
    return given ? 0 : -EINVAL;
}

static bool range_is_allocated(const struct zone *zone, quire_page page, uint32_t n_pages)
{
    return n_pages > 0 && n_pages <= zone->end - page &&
           zone_range_is(zone, page, page + n_pages, ZONE_ALLOCATED);
}

int quire_buddy_free_range(struct quire_buddy *buddy, quire_page page, uint32_t n_pages)
{
    struct zone *zone = lock_zone_of(buddy, page);
    if (zone == NULL)
        return -EINVAL;
    bool valid = range_is_allocated(zone, page, n_pages);
    if (valid)
        zone_give_range(zone, page, page + n_pages);
    lock_release(&zone->lock);
    return valid ? 0 : -EINVAL;
}

static int extend(struct zone *zone, quire_page page, uint32_t n_pages, uint32_t new_n_pages)
{
    if (new_n_pages < n_pages || !range_is_allocated(zone, page, n_pages))
        return -EINVAL;
    if (new_n_pages > zone->end - page ||
        !zone_range_is(zone, page + n_pages, page + new_n_pages, ZONE_FREE))
        return -ENOMEM;
    zone_take_range(zone, page + n_pages, page + new_n_pages);
    return 0;
}

int quire_buddy_try_extend(struct quire_buddy *buddy, quire_page page, uint32_t n_pages,
                           uint32_t new_n_pages)
{
    struct zone *zone = lock_zone_of(buddy, page);
    if (zone == NULL)
        return -EINVAL;
    int result = extend(zone, page, n_pages, new_n_pages);
    lock_release(&zone->lock);
    return result;
}

int quire_buddy_block(struct quire_buddy *buddy, quire_page page, struct quire_buddy_block *block)
{
    struct zone *zone = lock_zone_of(buddy, page);
    if (zone == NULL)
        return -EINVAL;
    struct zone_block found = zone_block_at(zone, page);
    lock_release(&zone->lock);
    block->state = found.kind == ZONE_FREE        ? QUIRE_BUDDY_FREE
                   : found.kind == ZONE_ALLOCATED ? QUIRE_BUDDY_ALLOCATED
                                                  : QUIRE_BUDDY_FRESH;
    block->head = found.page;
    block->order = found.order;
    block->zone = (unsigned)(zone - buddy->zones);
    return 0;
}

/* Whole zones */

int quire_buddy_each_free(struct quire_buddy *buddy, unsigned zone_index, unsigned min_order,
                          bool (*visit)(void *context, quire_page page, unsigned order),
                          void *context)
{
    if (zone_index >= buddy->n_zones)
        return -EINVAL;
    struct zone *zone = &buddy->zones[zone_index];
    bool more = true;
    lock_take(&zone->lock);
    for (unsigned order = zone->max_order + 1; more && order-- > min_order;)
        for (uint32_t page = zone->head[order]; more && page != ZONE_NIL;
             page = zone_link(zone, page, order)->next)
            more = visit(context, page, order);
    lock_release(&zone->lock);
    return 0;
}

int quire_buddy_validate(struct quire_buddy *buddy)
{
    int result = 0;
    for (unsigned i = 0; i < buddy->n_zones && result == 0; i++) {
        lock_take(&buddy->zones[i].lock);
        result = zone_validate(&buddy->zones[i]);
        lock_release(&buddy->zones[i].lock);
    }
    return result;
}

void quire_buddy_lock_all(struct quire_buddy *buddy)
{
    for (unsigned i = 0; i < buddy->n_zones; i++)
        lock_take(&buddy->zones[i].lock);
}

void quire_buddy_unlock_all(struct quire_buddy *buddy)
{
    for (unsigned i = buddy->n_zones; i-- > 0;)
        lock_release(&buddy->zones[i].lock);
}
