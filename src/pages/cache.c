/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache: blocks of low orders that a thread keeps to itself.
 *
 *     order 0   | 71 | 72 | 90 | 12 |    |    |       alloc pops, free pushes; an empty stack takes
 *     order 1   | 64 | 66 |    |                      half a stack from the zones, a full one gives
 *     ...                                             its older half back
 *
 * A block in a cache counts as allocated in its zone, and its state byte says CACHED. The byte is
 * changed without the zone's lock: ALLOCATED to CACHED by whoever frees the block, in one atomic
 * step, so that of two who free it one finds it changed; CACHED to ALLOCATED by the cache's owner,
 * to whom nobody can object. Nothing else in the zone changes.
 *
 * Invariant: slots[0 .. n) of a stack are distinct blocks of its order, of zones and mobility that
 * the cache's request allows, whose state bytes say CACHED | order.
 */
#include "pages/buddy.h"

#include <errno.h>

#define MOST_SLOTS 64u
#define LEAST_SLOTS 4u
#define DEFAULT_PAGES 512u
#define N_STACKS (QUIRE_BUDDY_CACHE_MAX_ORDER + 1)

struct stack {
    uint32_t n, capacity;
    quire_page slots[MOST_SLOTS];
};

struct quire_buddy_cache {
    struct quire_buddy *buddy;
    struct quire_buddy_request request;
    uint32_t zones; /* bit i: zone i is in the request */
    struct stack stacks[N_STACKS];
} __attribute__((aligned(QUIRE_BUDDY_ALIGNMENT)));

size_t quire_buddy_cache_bytes(void)
{
    return sizeof(struct quire_buddy_cache);
}

static uint32_t capacity_of(uint32_t max_pages, unsigned order)
{
    uint32_t n = max_pages >> order;
    return n < LEAST_SLOTS ? LEAST_SLOTS : n < MOST_SLOTS ? n : MOST_SLOTS;
}

int quire_buddy_cache_init(struct quire_buddy *buddy, const struct quire_buddy_request *request,
                           uint32_t max_pages, void *memory, struct quire_buddy_cache **cache)
{
    struct quire_buddy_cache *new = memory;

    if (!buddy_request_is_valid(buddy, request) || (uintptr_t)memory % QUIRE_BUDDY_ALIGNMENT != 0)
        return -EINVAL;
    *new = (struct quire_buddy_cache){.buddy = buddy};
    if (request != NULL)
        new->request = *request;
    if (new->request.n_zones == 0)
        new->zones = UINT32_MAX;
    for (unsigned i = 0; i < new->request.n_zones; i++)
        new->zones |= 1u << new->request.zone[i];
    for (unsigned order = 0; order < N_STACKS; order++)
        new->stacks[order].capacity = capacity_of(max_pages > 0 ? max_pages : DEFAULT_PAGES, order);
    for (unsigned i = 0; i < buddy->n_zones; i++) {
        lock_take(&buddy->zones[i].lock);
        buddy->zones[i].is_cached |= new->zones >> i & 1;
        lock_release(&buddy->zones[i].lock);
    }
    *cache = new;
    return 0;
}

static void set_state(struct quire_buddy *buddy, quire_page page, unsigned state)
{
    /* release: pairs with the acquire of whoever frees the block later */
    atomic_store_explicit(zone_state(buddy_zone_of(buddy, page), page), (uint8_t)state,
                          memory_order_release);
}

/* Fills half an empty stack. */
static __attribute__((noinline)) int refill(struct quire_buddy_cache *cache, unsigned order)
{
    struct stack *stack = &cache->stacks[order];
    quire_page first;

    /* the first alone, for its error */
    int result = quire_buddy_alloc(cache->buddy, &cache->request, order, &first);
    if (result != 0)
        return result;
    size_t n = quire_buddy_alloc_bulk(cache->buddy, &cache->request, order, stack->slots,
                                      stack->capacity / 2 - 1);
    for (size_t i = 0; i < n / 2; i++) { /* the first found is to be the first used */
        quire_page slot = stack->slots[i];
        stack->slots[i] = stack->slots[n - 1 - i];
        stack->slots[n - 1 - i] = slot;
    }
    stack->slots[n] = first;
    stack->n = (uint32_t)n + 1;
    for (size_t i = 0; i <= n; i++)
        set_state(cache->buddy, stack->slots[i], ZONE_CACHED | order);
    return 0;
}

/* Gives the oldest n blocks of a stack back. */
static void give_back(struct quire_buddy_cache *cache, unsigned order, uint32_t n)
{
    struct stack *stack = &cache->stacks[order];
    struct zone *zone = NULL;

    for (uint32_t i = 0; i < n; i++) {
        quire_page page = stack->slots[i];
        if (zone == NULL || !zone_has(zone, page)) {
            if (zone != NULL)
                buddy_unlock(cache->buddy, zone);
            zone = buddy_lock_zone_of(cache->buddy, page);
        }
        if (zone != NULL)
            zone_check(zone_give(zone, page, order, ZONE_CACHED), zone, page,
                       "a block in a cache is not marked so");
    }
    if (zone != NULL)
        buddy_unlock(cache->buddy, zone);
    for (uint32_t i = n; i < stack->n; i++)
        stack->slots[i - n] = stack->slots[i];
    stack->n -= n;
}

int quire_buddy_cache_alloc(struct quire_buddy_cache *cache, unsigned order, quire_page *page)
{
    if (order >= N_STACKS || order > cache->buddy->max_order)
        return quire_buddy_alloc(cache->buddy, &cache->request, order, page);
    struct stack *stack = &cache->stacks[order];
    if (__builtin_expect(stack->n == 0, 0)) {
        int result = refill(cache, order);
        if (result != 0)
            return result;
    }
    *page = stack->slots[--stack->n];
    set_state(cache->buddy, *page, ZONE_ALLOCATED | order);
    return 0;
}

/* Whether what is freed to the zone may serve the cache's allocations. */
static bool is_for(const struct quire_buddy_cache *cache, const struct zone *zone, quire_page page)
{
    if ((cache->zones >> (zone - cache->buddy->zones) & 1) == 0)
        return false;
    return zone->n_types == 1 ||
           zone_type(zone, zone_group_of(zone, page)) == cache->request.mobility;
}

int quire_buddy_cache_free(struct quire_buddy_cache *cache, quire_page page, unsigned order)
{
    struct zone *zone = buddy_zone_of(cache->buddy, page);
    if (zone == NULL)
        return -EINVAL;
    if (order >= N_STACKS || order > zone->max_order || !is_for(cache, zone, page))
        return quire_buddy_free(cache->buddy, page, order);
    struct stack *stack = &cache->stacks[order];
    uint8_t state = (uint8_t)(ZONE_ALLOCATED | order);
    /* acq_rel: pairs with the release of the store that made it ALLOCATED */
    if (!atomic_compare_exchange_strong_explicit(zone_state(zone, page), &state,
                                                 (uint8_t)(ZONE_CACHED | order),
                                                 memory_order_acq_rel, memory_order_relaxed))
        return quire_buddy_free(cache->buddy, page, order); /* it is leaving, or wrong */
    if (__builtin_expect(stack->n == stack->capacity, 0))
        give_back(cache, order, stack->capacity / 2);
    stack->slots[stack->n++] = page;
    return 0;
}

size_t quire_buddy_cache_drain(struct quire_buddy_cache *cache)
{
    size_t n_pages = 0;
    for (unsigned order = 0; order < N_STACKS; order++) {
        n_pages += (size_t)cache->stacks[order].n << order;
        give_back(cache, order, cache->stacks[order].n);
    }
    return n_pages;
}
