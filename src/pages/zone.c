/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zone: one range of pages, cut into blocks.
 *
 *     first                                         frontier                            end
 *     |   plain: A   |carved: A F A A F|   free: F   |  fresh: no metadata, all bytes zero |
 *     ^              ^   ^ ^ ^         a state byte at the first page of each block in use (A)
 *
 * Pages come in groups of 64 that begin at a multiple of 64. A group is
 *
 *     plain    fresh, or part of a block of order 6 or more, or its beginning if that is in use
 *     carved   cut up: `used` tells which pages are not free. Its free blocks are the aligned runs
 *              of free pages (group.h): smaller blocks split and coalesce by setting bits
 *     free     where a free block of order 6 or more begins
 *
 * and the functions that change it:
 *
 *     plain --coalesce--> free --split, carve--> carved --release: all free--> plain --> free
 *       '--release (of a part)--------------------^           carved: order < 6 only
 *
 * Every change of a range is made of a few steps: what is free is taken out of it (take_out), what
 * is in use gets state bytes (make_used) or loses them, and what is neither becomes free and meets
 * its buddies (make_free). Steps cannot fail: callers check first. What a page belongs to: block.c.
 *
 * Invariants, at every release of the lock; zone_validate checks them by number:
 *   1. Blocks cover [first, frontier) without gap or overlap. A block of order k <= max_order
 *      begins at a multiple of 2^k and ends within the frontier, which is a multiple of 64 or the
 *      zone's end. (first itself until the first page is taken.)
 *   2. The state byte of the first page of a block in use is kind | order; all others are 0. So
 *      the head of a page's block is the first of its candidates, nearest first, with a byte.
 *   3. A carved group holds no block of order 6 or more, unless max_order is below that, and then
 *      all are carved. Its `used` has the bits of blocks in use and of pages outside of the zone.
 *   4. No free block below max_order has a free buddy of its order.
 *   5. A group is filed in the index under what it offers, the order of the largest free block that
 *      begins in it, and under nothing else; `offer` says the same.
 *   6. n_free and n_set_aside are the pages of such blocks.
 *   7. Each page of the tables of groups, states and types that was written has its bit in
 *      `touched`, and metadata_bytes is the sum of those, of the trees up to the frontier and of
 *      this struct.
 *
 * The frontier only grows. A lock a zone; no lock is taken with it. Nothing fails but the search
 * for room. An index that contradicts a group ends the process before the damage spreads.
 */
#include "pages/zone.h"

#include "base/checked.h"
#include "base/log.h"
#include "pages/index.h"
#include "pages/mobility.h"

#include <assert.h>
#include <string.h>

static_assert(QUIRE_BUDDY_MAX_ORDER <= ZONE_ORDER_MASK, "an order fits below the kind");
static_assert(sizeof(struct zone_group) == 16, "a quarter of a byte a page");
static_assert(QUIRE_BUDDY_MAX_ZONE_PAGES >> GROUP_ORDER <= ZONE_NIL, "a group fits in a link");

void zone_die(const struct zone *zone, uint32_t page, const char *invariant)
{
    log_error("buddy system: metadata of zone %s is corrupt at page %u: %s", zone->name, page,
              invariant);
    __builtin_trap();
}

/* Setting up */

static size_t place(size_t *n_bytes, size_t table_bytes)
{
    /* Small tables share pages; large ones begin on one, so that no more is touched than must be */
    size_t at = round_up(*n_bytes,
                         table_bytes < ZONE_TABLE_PAGE ? QUIRE_BUDDY_ALIGNMENT : ZONE_TABLE_PAGE);
    *n_bytes = at + table_bytes;
    return at;
}

static struct zone_table place_table(size_t zone_at, size_t *n_bytes, size_t table_bytes)
{
    size_t touched_bytes = (table_bytes / ZONE_TABLE_PAGE / 64 + 1) * sizeof(uint64_t);
    struct zone_table table = {.n_bytes = table_bytes};

    table.touched_at = place(n_bytes, touched_bytes) - zone_at;
    table.at = place(n_bytes, table_bytes) - zone_at;
    return table;
}

static unsigned types_of(const struct quire_buddy_config *config)
{
    return config->by_mobility ? ZONE_N_TYPES : 1;
}

static unsigned page_block_groups(unsigned max_order)
{
    const unsigned order = log2_floor(QUIRE_BUDDY_PAGE_BLOCK);
    unsigned smaller = max_order < order ? max_order : order;
    return smaller <= GROUP_ORDER ? 1 : 1u << (smaller - GROUP_ORDER);
}

void zone_layout(struct zone *zone, const struct quire_buddy_config *config, unsigned index,
                 size_t zone_at, size_t *n_bytes)
{
    const struct quire_buddy_zone *range = &config->zones[index];
    zone->base = (uint32_t)round_down(range->first, QUIRE_BUDDY_PAGE_BLOCK);
    size_t n_pages = (size_t)range->first + range->n_pages - zone->base;
    size_t n_groups = (n_pages + GROUP_PAGES - 1) / GROUP_PAGES;

    zone->groups = place_table(zone_at, n_bytes, n_groups * sizeof(struct zone_group));
    zone->states = place_table(zone_at, n_bytes, n_groups * GROUP_PAGES);
    zone->block_groups = page_block_groups(config->max_order);
    if (config->by_mobility)
        zone->types = place_table(zone_at, n_bytes, n_groups / zone->block_groups + 1);
    if (config->form == QUIRE_BUDDY_TREE) {
        zone->tree_leaves = 1u << log2_ceil(n_groups);
        zone->trees_at = place(n_bytes, tree_bytes(n_groups, types_of(config))) - zone_at;
    }
}

void zone_init(struct zone *zone, const struct quire_buddy_config *config, unsigned index)
{
    const struct quire_buddy_zone *range = &config->zones[index];

    zone->first = zone->frontier = range->first;
    zone->end = range->first + range->n_pages;
    zone->max_order = config->max_order;
    zone->top_order = config->max_order < GROUP_TOP_ORDER ? config->max_order : GROUP_TOP_ORDER;
    zone->n_types = types_of(config);
    zone->is_tree = config->form == QUIRE_BUDDY_TREE;
    atomic_init(&zone->metadata_bytes,
                sizeof *zone + tree_touched_bytes(zone, zone_n_groups(zone)));
    for (unsigned type = 0; type < ZONE_N_TYPES; type++)
        for (unsigned order = 0; order < ZONE_N_ORDERS; order++)
            zone->head[type][order] = ZONE_NIL;
}

/* What is touched */

static void charge(struct zone *zone, size_t n_bytes)
{
    /* relaxed: one writer, the lock's holder; others want a figure */
    atomic_store_explicit(&zone->metadata_bytes, zone_metadata_bytes(zone) + n_bytes,
                          memory_order_relaxed);
}

/* Invariant 7: the table is about to be written at byte `offset`. */
static inline void touch(struct zone *zone, const struct zone_table *table, size_t offset)
{
    size_t page = offset / ZONE_TABLE_PAGE;
    uint64_t *word = (uint64_t *)((uintptr_t)zone + table->touched_at) + page / 64;
    uint64_t bit = (uint64_t)1 << page % 64;

    if (__builtin_expect((*word & bit) != 0, 1))
        return;
    *word |= bit;
    size_t left = table->n_bytes - page * ZONE_TABLE_PAGE;
    charge(zone, left < ZONE_TABLE_PAGE ? left : ZONE_TABLE_PAGE);
}

static void touch_group(struct zone *zone, uint32_t number)
{
    touch(zone, &zone->groups, number * sizeof(struct zone_group));
}

static void set_state(struct zone *zone, uint32_t page, unsigned state)
{
    touch(zone, &zone->states, page - zone->base);
    atomic_store_explicit(zone_state(zone, page), (uint8_t)state, memory_order_relaxed);
}

static void clear_state(struct zone *zone, uint32_t page)
{
    atomic_store_explicit(zone_state(zone, page), ZONE_NONE, memory_order_relaxed);
}

/* Groups and free blocks */

void zone_add_free(struct zone *zone, uint32_t number, unsigned order)
{
    struct zone_group *group = zone_group(zone, number);

    touch_group(zone, number);
    zone_check(group->kind == GROUP_PLAIN, zone, zone_group_page(zone, number),
               "a free block begins inside another block");
    group->kind = GROUP_FREE;
    group->offer = order & ZONE_ORDER_MASK;
    index_change(zone, number, ZONE_NO_ORDER, (int)order);
}

static void remove_free(struct zone *zone, uint32_t number)
{
    struct zone_group *group = zone_group(zone, number);

    index_change(zone, number, (int)group->offer, ZONE_NO_ORDER);
    group->kind = GROUP_PLAIN;
}

/* A plain group becomes a carved one, all of it in use. */
static struct zone_group *carve(struct zone *zone, uint32_t number)
{
    struct zone_group *group = zone_group(zone, number);

    if (group->kind == GROUP_CARVED)
        return group;
    zone_check(group->kind == GROUP_PLAIN, zone, zone_group_page(zone, number),
               "a group is free where it is in use");
    touch_group(zone, number);
    group->kind = GROUP_CARVED;
    group->offer = GROUP_NO_OFFER;
    group->used = ~(uint64_t)0;
    return group;
}

/* The pages in use of a carved group are others now: it is filed anew. */
static void refile(struct zone *zone, uint32_t number)
{
    struct zone_group *group = zone_group(zone, number);
    int old = zone_offer(group), new = zone_carved_offer(zone, group);

    group->offer = (unsigned)new &GROUP_NO_OFFER; /* -1 is none */
    index_change(zone, number, old, new);
}

/* What is 2^order pages of plain groups becomes free, with all free buddies that it meets. */
static void coalesce(struct zone *zone, uint32_t page, unsigned order)
{
    for (; order < zone->max_order; order++) {
        uint32_t buddy = page ^ (1u << order);
        if (buddy < zone->base || buddy >= zone->frontier)
            break;
        uint32_t number = zone_group_of(zone, buddy);
        const struct zone_group *group = zone_group(zone, number);
        if (group->kind != GROUP_FREE || group->offer != order)
            break;
        remove_free(zone, number);
        page &= ~(1u << order);
    }
    zone_add_free(zone, zone_group_of(zone, page), order);
}

/* Pages of one group become free. */
static void release(struct zone *zone, uint32_t number, uint64_t mask)
{
    struct zone_group *group = carve(zone, number);

    group->used &= ~mask;
    if (group->used != 0 || zone->max_order < GROUP_ORDER) {
        refile(zone, number);
        return;
    }
    index_change(zone, number, zone_offer(group), ZONE_NO_ORDER);
    group->kind = GROUP_PLAIN;
    coalesce(zone, zone_group_page(zone, number), GROUP_ORDER);
}

void zone_remove_free(struct zone *zone, uint32_t number, unsigned order)
{
    unsigned from = zone_group(zone, number)->offer;

    remove_free(zone, number);
    while (from-- > order)
        zone_add_free(zone, number + (1u << (from - GROUP_ORDER)), from);
}

void zone_set_type(struct zone *zone, uint32_t number, unsigned type)
{
    touch(zone, &zone->types, number / zone->block_groups);
    atomic_store_explicit(zone_type_byte(zone, number), (uint8_t)type, memory_order_relaxed);
}

/* Ranges */

/* The order of the largest block that begins at `from` and ends within `to`. */
static unsigned first_order(const struct zone *zone, uint32_t from, uint32_t to)
{
    unsigned order = log2_floor(to - from);
    unsigned aligned = from == 0 ? 31 : (unsigned)__builtin_ctz(from);
    if (order > aligned)
        order = aligned;
    return order < zone->max_order ? order : zone->max_order;
}

/* Pages without state bytes, of carved groups or of plain ones that are whole. */
static void make_used(struct zone *zone, uint32_t from, uint32_t to, enum zone_kind kind)
{
    while (from < to) {
        unsigned order = first_order(zone, from, to);
        set_state(zone, from, (unsigned)kind | order);
        from += 1u << order;
    }
}

/* Pages without state bytes, of one carved group or of plain ones. */
static void make_free(struct zone *zone, uint32_t from, uint32_t to)
{
    while (from < to) {
        uint32_t number = zone_group_of(zone, from), end = zone_part_end(from, to);
        if (end - from == GROUP_PAGES && zone->max_order >= GROUP_ORDER &&
            zone_group(zone, number)->kind == GROUP_PLAIN) {
            unsigned order = first_order(zone, from, to);
            end = from + (1u << order);
            coalesce(zone, from, order);
        } else {
            release(zone, number, zone_part_mask(from, end));
        }
        from = end;
    }
}

/* Fresh pages up to `to`, and to the end of its group, become free ones. */
static void advance(struct zone *zone, uint32_t to)
{
    uint32_t from = zone->frontier;
    uint64_t rounded = round_up(to, GROUP_PAGES);

    zone->frontier = rounded < zone->end ? (uint32_t)rounded : zone->end;
    charge(zone, tree_touched_bytes(zone, zone_n_groups(zone)) -
                     tree_touched_bytes(zone, (from - zone->base + GROUP_PAGES - 1) / GROUP_PAGES));
    zone->n_free += zone->frontier - from;
    make_free(zone, from, zone->frontier);
}

/* Free pages below the frontier are free no longer. */
static void take_out(struct zone *zone, uint32_t from, uint32_t to)
{
    for (uint32_t page = from; page < to;) {
        uint32_t number = zone_group_of(zone, page), end = zone_part_end(page, to);
        if (zone_group(zone, number)->kind == GROUP_CARVED) {
            zone_group(zone, number)->used |= zone_part_mask(page, end);
            refile(zone, number);
        } else {
            struct zone_block block = zone_block_at(zone, page);
            end = block_end(block) < to ? block_end(block) : to;
            remove_free(zone, zone_group_of(zone, block.page));
            make_free(zone, block.page, page);
            make_free(zone, end, block_end(block));
        }
        page = end;
    }
}

void zone_take_range(struct zone *zone, uint32_t from, uint32_t to, enum zone_kind kind)
{
    if (to > zone->frontier)
        advance(zone, to);
    take_out(zone, from, to);
    make_used(zone, from, to, kind);
    zone->n_free -= to - from;
}

/* The block [page, end) of which [from, to) goes; what stays has state bytes of its own. */
static void cut(struct zone *zone, struct zone_block block, uint32_t from, uint32_t to)
{
    clear_state(zone, block.page);
    if (block.order >= GROUP_ORDER) {
        if (from > block.page && from % GROUP_PAGES != 0)
            carve(zone, zone_group_of(zone, from));
        if (to < block_end(block) && to % GROUP_PAGES != 0)
            carve(zone, zone_group_of(zone, to));
    }
    make_used(zone, block.page, from, block.kind);
    make_used(zone, to, block_end(block), block.kind);
}

static void count_aside(struct zone *zone, unsigned kind, uint32_t n_pages)
{
    if (kind == ZONE_RESERVED || kind == ZONE_OFFLINE)
        zone->n_set_aside[kind == ZONE_OFFLINE] += n_pages;
}

/* Part of a block, without its state byte, goes: free, or offline if that is where it is bound. */
static void let_go(struct zone *zone, uint32_t from, uint32_t to, unsigned kind)
{
    if (kind == ZONE_LEAVING) {
        make_used(zone, from, to, ZONE_OFFLINE);
        count_aside(zone, ZONE_OFFLINE, to - from);
        return;
    }
    count_aside(zone, kind, -(to - from));
    zone->n_free += to - from;
    make_free(zone, from, to);
}

void zone_give_range(struct zone *zone, uint32_t from, uint32_t to)
{
    while (from < to) {
        struct zone_block block = zone_block_at(zone, from);
        uint32_t end = block_end(block) < to ? block_end(block) : to;
        cut(zone, block, from, end);
        let_go(zone, from, end, block.kind);
        from = end;
    }
}

/* Clears the state byte of a block if it is `state`; else says what it is. */
static bool clear_if(struct zone *zone, uint32_t page, uint8_t *state)
{
    _Atomic uint8_t *byte = zone_state(zone, page);

    if (zone->is_cached) /* in one step, for the block may be on its way into a cache; relaxed: the
                            lock orders the rest */
        return atomic_compare_exchange_strong_explicit(byte, state, ZONE_NONE, memory_order_relaxed,
                                                       memory_order_relaxed);
    uint8_t found = zone_state_get(zone, page);
    if (found == *state) {
        clear_state(zone, page);
        return true;
    }
    *state = found;
    return false;
}

bool zone_give(struct zone *zone, uint32_t page, unsigned order, enum zone_kind kind)
{
    uint8_t state = (uint8_t)(kind | order);

    if (!clear_if(zone, page, &state)) {
        if (kind != ZONE_ALLOCATED || state != (ZONE_LEAVING | order))
            return false;
        kind = ZONE_LEAVING;
        clear_state(zone, page);
    }
    if (order >= GROUP_ORDER || kind == ZONE_LEAVING) {
        let_go(zone, page, page + (1u << order), kind);
        return true;
    }
    zone->n_free += 1u << order;
    release(zone, zone_group_of(zone, page), group_mask(page % GROUP_PAGES, 1u << order));
    return true;
}

/* Taking */

/* One place in a carved group that has room for it. */
static uint32_t take_part(struct zone *zone, uint32_t number, const struct zone_want *want)
{
    struct zone_group *group = zone_group(zone, number);
    unsigned bit = group_pick(~group->used, want->order, zone->top_order);
    uint32_t page = zone_group_page(zone, number) + bit;

    group->used |= group_mask(bit, want->n_pages);
    if (want->n_pages == 1u << want->order)
        set_state(zone, page, ZONE_ALLOCATED | want->order);
    else
        make_used(zone, page, page + want->n_pages, ZONE_ALLOCATED);
    zone->n_free -= want->n_pages;
    return page;
}

/* Up to n places in a group that offers enough for one. */
static size_t take_parts(struct zone *zone, uint32_t number, const struct zone_want *want,
                         uint32_t *pages, size_t n)
{
    struct zone_group *group = zone_group(zone, number);
    size_t n_taken = 0;

    if (group->kind == GROUP_FREE) {
        zone_remove_free(zone, number, GROUP_ORDER);
        carve(zone, number)->used = 0;
    }
    do
        pages[n_taken++] = take_part(zone, number, want);
    while (n_taken < n && group_runs(~group->used, want->order) != 0);
    refile(zone, number);
    return n_taken;
}

static size_t take_from(struct zone *zone, uint32_t number, const struct zone_want *want,
                        uint32_t *pages, size_t n)
{
    if (want->order < GROUP_ORDER)
        return take_parts(zone, number, want, pages, n);
    uint32_t page = zone_group_page(zone, number);
    if (want->n_pages == 1u << want->order) {
        zone_remove_free(zone, number, want->order);
        set_state(zone, page, ZONE_ALLOCATED | want->order);
        zone->n_free -= want->n_pages;
    } else {
        zone_take_range(zone, page, page + want->n_pages, ZONE_ALLOCATED);
    }
    *pages = page;
    return 1;
}

static bool is_free_to_frontier(const struct zone *zone, uint64_t page)
{
    return page >= zone->first && zone_is_free(zone, (uint32_t)page, zone->frontier);
}

/*
 * The place at the frontier, as low as can be. It may begin below, where all pages up to the
 * frontier are free: without that, a zone that is all free might not give its largest block. So
 * the block that the frontier cuts is tried first, then the alignment asked for.
 */
static bool find_fresh(const struct zone *zone, const struct zone_want *want, uint32_t *page)
{
    uint64_t from = round_down(zone->frontier, (size_t)1 << want->order);
    if (!is_free_to_frontier(zone, from)) {
        from = round_down(zone->frontier, want->align_pages);
        if (!is_free_to_frontier(zone, from))
            from = round_up((size_t)zone->frontier, want->align_pages);
    }
    if (from + want->n_pages > zone->end)
        return false;
    *page = (uint32_t)from;
    return true;
}

/* Fresh pages become free: a group, or a page block where those are kept apart, or what holds a
 * block of the order wanted. */
static bool grow(struct zone *zone, const struct zone_want *want)
{
    size_t unit = (size_t)1 << want->order;
    uint64_t to = (uint64_t)zone->frontier + 1;

    if (zone->frontier == zone->end)
        return false;
    if (zone->n_types > 1)
        to = round_up(to, (size_t)zone->block_groups << GROUP_ORDER);
    if (want->order >= GROUP_ORDER)
        to = round_up(zone->frontier, unit) + unit;
    advance(zone, to < zone->end ? (uint32_t)to : zone->end);
    return true;
}

/* Fresh pages become free, until a group offers what is wanted or, as far as that is better than to
 * mix mobilities, a page block is free that can change sides. Returns that group or ZONE_NIL. */
static uint32_t grow_until(struct zone *zone, const struct zone_want *want)
{
    unsigned enough = GROUP_ORDER + log2_floor(zone->block_groups); /* a page block */
    uint32_t number = ZONE_NIL;

    if (want->type == 0) { /* as fresh pages are; find_fresh() does for larger wants */
        while (number == ZONE_NIL && want->order < GROUP_ORDER && grow(zone, want))
            number = index_find(zone, 0, want->order);
        return number;
    }
    if (enough > zone->max_order)
        enough = zone->max_order;
    if (enough < want->order)
        enough = want->order;
    while (index_largest(zone, 0) < (int)enough && grow(zone, want))
        ;
    return ZONE_NIL;
}

static bool take_fresh(struct zone *zone, const struct zone_want *want, uint32_t *page)
{
    if (want->type != 0 || want->order < GROUP_ORDER || !find_fresh(zone, want, page))
        return false;
    zone_take_range(zone, *page, *page + want->n_pages, ZONE_ALLOCATED);
    return true;
}

/* The index has nothing: fresh pages, or another mobility's. */
static __attribute__((noinline)) size_t
take_otherwise(struct zone *zone, const struct zone_want *want, uint32_t *pages, size_t n)
{
    uint32_t number = grow_until(zone, want);

    if (number == ZONE_NIL) {
        if (take_fresh(zone, want, pages))
            return 1;
        number = mobility_steal(zone, want);
        if (number == ZONE_NIL)
            return 0;
    }
    return take_from(zone, number, want, pages, n);
}

size_t zone_take(struct zone *zone, const struct zone_want *want, uint32_t *pages, size_t n)
{
    uint32_t number = index_find(zone, want->type, want->order);

    if (__builtin_expect(number == ZONE_NIL, 0))
        return take_otherwise(zone, want, pages, n);
    return take_from(zone, number, want, pages, n);
}
