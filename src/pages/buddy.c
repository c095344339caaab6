/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buddy: the public face of the zones: checks what callers say, finds the zone, holds its lock.
 *
 * The metadata, front to back; each zone knows where its tables are relative to itself:
 *
 *     | quire_buddy | zone 0 | zone 1 | groups 0 | states 0 | trees 0 | groups 1 | ...
 *
 * Every function that changes something first checks all it needs under the zone's lock, then takes
 * steps that cannot fail. Locks: a zone's, one at a time; lock_all takes them in the order of the
 * zones. The watcher is called when none is held. What a zone is made of and its invariants:
 * zone.c. Setting aside: aside.c; caches: cache.c; reports: report.c.
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
        config->n_zones > QUIRE_BUDDY_MAX_ZONES || config->form > QUIRE_BUDDY_TREE ||
        config->watermarks > QUIRE_BUDDY_LINUX_WATERMARKS)
        return false;
    for (unsigned i = 0; i < config->n_zones; i++) {
        const struct quire_buddy_zone *zone = &config->zones[i];
        if (zone->n_pages == 0 || zone->n_pages > QUIRE_BUDDY_MAX_ZONE_PAGES ||
            (uint64_t)zone->first + zone->n_pages > UINT32_MAX)
            return false;
        for (unsigned j = 0; j < i; j++)
            if (zones_overlap(zone, &config->zones[j]))
                return false;
    }
    return true;
}

static size_t zone_offset(unsigned zone)
{
    return round_up(sizeof(struct quire_buddy), QUIRE_BUDDY_ALIGNMENT) + zone * sizeof(struct zone);
}

size_t quire_buddy_metadata_bytes(const struct quire_buddy_config *config)
{
    if (!config_is_valid(config))
        return 0;
    struct zone zone = {0};
    size_t n_bytes = zone_offset(config->n_zones);
    for (unsigned i = 0; i < config->n_zones; i++)
        zone_layout(&zone, config, i, zone_offset(i), &n_bytes);
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
    *new = (struct quire_buddy){.magic = BUDDY_MAGIC,
                                .n_zones = config->n_zones,
                                .max_order = config->max_order,
                                .by_mobility = config->by_mobility};
    size_t n_bytes = zone_offset(config->n_zones);
    for (unsigned i = 0; i < config->n_zones; i++) {
        zone_layout(&new->zones[i], config, i, zone_offset(i), &n_bytes);
        zone_init(&new->zones[i], config, i);
        set_name(&new->zones[i], config->zones[i].name, i);
    }
    watermarks_init(new, config->watermarks);
    *buddy = new;
    return 0;
}

void buddy_unlock(struct quire_buddy *buddy, struct zone *zone)
{
    bool crossed = watermarks_crossed(zone), is_low = zone->is_low;

    lock_release(&zone->lock);
    if (__builtin_expect(crossed && buddy->watch != NULL, 0))
        buddy->watch(buddy->watch_context, (unsigned)(zone - buddy->zones), is_low);
}

/* Taking */

bool buddy_request_is_valid(const struct quire_buddy *buddy,
                            const struct quire_buddy_request *request)
{
    if (request == NULL)
        return true;
    if (request->n_zones > QUIRE_BUDDY_MAX_ZONES || request->mobility >= QUIRE_BUDDY_N_MOBILITIES)
        return false;
    for (unsigned i = 0; i < request->n_zones; i++)
        if (request->zone[i] >= buddy->n_zones)
            return false;
    return true;
}

/* The i-th zone to try; NULL behind the last. */
static struct zone *listed_zone(struct quire_buddy *buddy,
                                const struct quire_buddy_request *request, unsigned i)
{
    if (request->n_zones == 0)
        return i < buddy->n_zones ? &buddy->zones[i] : NULL;
    return i < request->n_zones ? &buddy->zones[request->zone[i]] : NULL;
}

enum pass { PASS_LOW, PASS_MIN, PASS_ALL, N_PASSES };

/* A zone's pages that a pass may not touch. */
static uint32_t kept_from(const struct zone *zone, enum pass pass)
{
    return pass == PASS_LOW ? zone->low : pass == PASS_MIN ? zone->min : 0;
}

struct search {
    struct zone_want want;
    quire_page *pages; /* what is taken: up to n first pages */
    size_t n, n_taken;
    bool kept; /* a watermark stood in the way */
};

/* What one zone gives in one pass. */
static void search_zone(struct quire_buddy *buddy, struct zone *zone, enum pass pass,
                        struct search *search)
{
    uint32_t kept = kept_from(zone, pass);

    lock_take(&zone->lock);
    while (search->n_taken < search->n) {
        uint32_t n_available = zone_n_available(zone), n_pages = search->want.n_pages;
        if (n_available < n_pages)
            break;
        if (n_available - n_pages < kept) {
            search->kept = true;
            break;
        }
        size_t n_left = search->n - search->n_taken, n_allowed = (n_available - kept) / n_pages;
        size_t n_taken = zone_take(zone, &search->want, search->pages + search->n_taken,
                                   n_left < n_allowed ? n_left : n_allowed);
        if (n_taken == 0)
            break;
        search->n_taken += n_taken;
    }
    buddy_unlock(buddy, zone);
}

static int take(struct quire_buddy *buddy, const struct quire_buddy_request *request,
                struct search *search)
{
    static const struct quire_buddy_request any;
    struct zone *zone;

    if (!buddy_request_is_valid(buddy, request))
        return -EINVAL;
    if (request == NULL)
        request = &any;
    search->want.type = buddy->by_mobility ? request->mobility : 0;
    for (unsigned pass = PASS_LOW; pass < N_PASSES; pass++) {
        if (pass > PASS_LOW && !search->kept)
            return -ENOMEM;
        if (pass == PASS_ALL && !request->below_min)
            return -EAGAIN;
        search->kept = false;
        for (unsigned i = 0; (zone = listed_zone(buddy, request, i)) != NULL; i++) {
            search_zone(buddy, zone, (enum pass)pass, search);
            if (search->n_taken == search->n)
                return 0;
        }
    }
    return -ENOMEM;
}

int quire_buddy_alloc(struct quire_buddy *buddy, const struct quire_buddy_request *request,
                      unsigned order, quire_page *page)
{
    if (order > buddy->max_order)
        return -EINVAL;
    struct search search = {.want = {1u << order, 1u << order, order, 0}, .pages = page, .n = 1};
    return take(buddy, request, &search);
}

size_t quire_buddy_alloc_bulk(struct quire_buddy *buddy, const struct quire_buddy_request *request,
                              unsigned order, quire_page *pages, size_t n)
{
    if (order > buddy->max_order || n == 0)
        return 0;
    struct search search = {.want = {1u << order, 1u << order, order, 0}, .pages = pages, .n = n};
    return take(buddy, request, &search) == -EINVAL ? 0 : search.n_taken;
}

int quire_buddy_alloc_exact(struct quire_buddy *buddy, const struct quire_buddy_request *request,
                            uint32_t n_pages, uint32_t align_pages, quire_page *page)
{
    uint32_t max_pages = 1u << buddy->max_order;
    if (n_pages == 0 || n_pages > max_pages)
        return -EINVAL;
    if (align_pages == 0)
        align_pages = 1u << log2_ceil(n_pages);
    else if (!is_power_of_two(align_pages) || align_pages > max_pages)
        return -EINVAL;
    unsigned order = log2_ceil(n_pages > align_pages ? n_pages : align_pages);
    struct search search = {.want = {n_pages, align_pages, order, 0}, .pages = page, .n = 1};
    return take(buddy, request, &search);
}

/* Giving back, extending, asking */

struct zone *buddy_lock_zone_of(struct quire_buddy *buddy, quire_page page)
{
    struct zone *zone = buddy_zone_of(buddy, page);
    if (zone != NULL)
        lock_take(&zone->lock);
    return zone;
}

static bool give(struct zone *zone, quire_page page, unsigned order)
{
    return order <= zone->max_order && page < zone->frontier &&
           zone_give(zone, page, order, ZONE_ALLOCATED);
}

int quire_buddy_free(struct quire_buddy *buddy, quire_page page, unsigned order)
{
    struct zone *zone = buddy_lock_zone_of(buddy, page);
    if (zone == NULL)
        return -EINVAL;
    bool given = give(zone, page, order);
    buddy_unlock(buddy, zone);
    return given ? 0 : -EINVAL;
}

int quire_buddy_free_bulk(struct quire_buddy *buddy, unsigned order, const quire_page *pages,
                          size_t n)
{
    struct zone *zone = NULL;
    bool all_given = true;

    for (size_t i = 0; i < n; i++) {
        if (zone == NULL || !zone_has(zone, pages[i])) {
            if (zone != NULL)
                buddy_unlock(buddy, zone);
            zone = buddy_lock_zone_of(buddy, pages[i]);
        }
        all_given &= zone != NULL && give(zone, pages[i], order);
    }
    if (zone != NULL)
        buddy_unlock(buddy, zone);
    return all_given ? 0 : -EINVAL;
}

static bool range_is_allocated(const struct zone *zone, quire_page page, uint32_t n_pages)
{
    return n_pages > 0 && n_pages <= zone->end - page &&
           zone_is_all(zone, page, page + n_pages, ZONE_ALLOCATED);
}

int quire_buddy_free_range(struct quire_buddy *buddy, quire_page page, uint32_t n_pages)
{
    struct zone *zone = buddy_lock_zone_of(buddy, page);
    if (zone == NULL)
        return -EINVAL;
    bool valid = range_is_allocated(zone, page, n_pages);
    if (valid)
        zone_give_range(zone, page, page + n_pages);
    buddy_unlock(buddy, zone);
    return valid ? 0 : -EINVAL;
}

static int extend(struct zone *zone, quire_page page, uint32_t n_pages, uint32_t new_n_pages)
{
    if (new_n_pages < n_pages || !range_is_allocated(zone, page, n_pages))
        return -EINVAL;
    if (new_n_pages > zone->end - page || !zone_is_free(zone, page + n_pages, page + new_n_pages))
        return -ENOMEM;
    zone_take_range(zone, page + n_pages, page + new_n_pages, ZONE_ALLOCATED);
    return 0;
}

int quire_buddy_try_extend(struct quire_buddy *buddy, quire_page page, uint32_t n_pages,
                           uint32_t new_n_pages)
{
    struct zone *zone = buddy_lock_zone_of(buddy, page);
    if (zone == NULL)
        return -EINVAL;
    int result = extend(zone, page, n_pages, new_n_pages);
    buddy_unlock(buddy, zone);
    return result;
}

static enum quire_buddy_state state_of(unsigned kind)
{
    switch (kind) {
    case ZONE_FREE:
        return QUIRE_BUDDY_FREE;
    case ZONE_CACHED:
        return QUIRE_BUDDY_CACHED;
    case ZONE_OFFLINE:
        return QUIRE_BUDDY_OFFLINE;
    case ZONE_RESERVED:
        return QUIRE_BUDDY_RESERVED;
    case ZONE_NONE:
        return QUIRE_BUDDY_FRESH;
    default:
        return QUIRE_BUDDY_ALLOCATED;
    }
}

int quire_buddy_block(struct quire_buddy *buddy, quire_page page, struct quire_buddy_block *block)
{
    struct zone *zone = buddy_lock_zone_of(buddy, page);
    if (zone == NULL)
        return -EINVAL;
    struct zone_block found = zone_block_at(zone, page);
    unsigned type = zone_type(zone, zone_group_of(zone, page));
    lock_release(&zone->lock);
    *block = (struct quire_buddy_block){
        .state = state_of(found.kind),
        .head = found.page,
        .order = found.order,
        .zone = (unsigned)(zone - buddy->zones),
        .mobility = (enum quire_buddy_mobility)type,
    };
    return 0;
}

/* Whole zones */

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
