/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zone: one range of pages, cut into blocks, with its free lists.
 *
 *     first                                       frontier                              end
 *     |  A  |F|A|   F   |      A      |A|F|   A   |  fresh: no metadata, all bytes zero   |
 *     ^     ^ ^ ^       ^             ^ ^ ^  only heads have a state byte; inside a block it is 0
 *
 * States of a page and the functions that change them:
 *
 *     fresh --advance--> in a free block <---zone_take_range / zone_give[_range]---> in an
 * allocated one
 *       '-------------------zone_take_range--------------------------------------------^
 *
 * Everything is made of two steps on blocks, block_make and block_unmake, the only functions that
 * write a state byte, a list or a counter. A range is changed by unmaking all blocks that
 * overlap it, making what stood out of it again as it was, and making the range anew as the fewest
 * blocks that fill it (the largest aligned one at each step). Between the two the range's bytes are
 * 0, so coalescing never meets a block that is half changed.
 *
 * Invariants, at every release of the lock; zone_validate checks them by number:
 *   1. Blocks cover [first, frontier) without gap or overlap. A block of order k <= max_order
 * begins at a multiple of 2^k and ends within the frontier; its head's byte is kind | k.
 *   2. All other state bytes are 0, so the nearest head at or below a page is that of its block; of
 *      the places where a block around the page can begin, it is the first whose byte is not 0.
 *   3. A free block is on the list of its order, and lists hold nothing else.
 *   4. No free block below max_order has a free buddy of its order.
 *   5. n_free and n_allocated are the pages in blocks of that kind, n_blocks the lengths of the
 *      lists, and `nonempty` tells which are not empty.
 *   6. What of the tables was ever written is marked in `touched`, and metadata_bytes is the sum of
 *      that and of this struct: the page of states and of groups where a block begins, the low
 *      links of a group in which a free block below order 9 began.
 *
 * The frontier only grows. A lock a zone; no lock is taken with it. Nothing fails but the search
 * for room. A byte, link or list that contradicts another is corruption of the metadata and ends
 * the process before it spreads.
 */
#include "pages/zone.h"

#include "base/checked.h"
#include "base/log.h"

#include <assert.h>
#include <string.h>

static_assert(QUIRE_BUDDY_MAX_ORDER < ZONE_FREE, "an order fits below the kind in a state byte");
static_assert(QUIRE_BUDDY_MAX_ORDER < 32, "an order is a bit of `nonempty`");
static_assert(sizeof(struct zone_link) * ZONE_GROUP_PAGES == 4096, "a group's links fill a page");
static_assert(sizeof(struct zone_group) * (ZONE_GROUPS_PAGES / ZONE_GROUP_PAGES) == 4096,
              "so many groups do");

static inline void check(bool holds, const struct zone *zone, uint32_t page, const char *invariant)
{
    if (__builtin_expect(holds, 1))
        return;
    log_error("buddy system: metadata of zone %s is corrupt at page %u: %s", zone->name, page,
              invariant);
    __builtin_trap();
}

/* Setting up */

static size_t place(size_t *n_bytes, size_t table_bytes)
{
    /* Small tables share pages; large ones begin on one, so that they touch no more than they must.
     */
    size_t at = round_up(*n_bytes, table_bytes < 4096 ? QUIRE_BUDDY_ALIGNMENT : 4096);
    *n_bytes = at + table_bytes;
    return at;
}

struct zone_tables zone_layout(const struct quire_buddy_zone *range, size_t *n_bytes)
{
    size_t base = round_down(range->first, ZONE_GROUP_PAGES);
    size_t n_pages = (size_t)range->first + range->n_pages - base;
    size_t n_groups = round_up(n_pages, ZONE_GROUP_PAGES) / ZONE_GROUP_PAGES;
    struct zone_tables tables;
    tables.states_at = place(n_bytes, n_pages);
    tables.groups_at = place(n_bytes, n_groups * sizeof(struct zone_group));
    tables.links_at = place(n_bytes, n_pages * sizeof(struct zone_link));
    return tables;
}

void zone_init(struct zone *zone, size_t zone_at, const struct zone_tables *tables,
               const struct quire_buddy_zone *range, unsigned max_order)
{
    zone->first = range->first;
    zone->end = range->first + range->n_pages;
    zone->base = (uint32_t)round_down(range->first, ZONE_GROUP_PAGES);
    zone->max_order = max_order;
    zone->frontier = range->first;
    zone->states_at = tables->states_at - zone_at;
    zone->groups_at = tables->groups_at - zone_at;
    zone->links_at = tables->links_at - zone_at;
    atomic_init(&zone->metadata_bytes, sizeof *zone);
    memset(zone->head, 0xff, sizeof zone->head); /* ZONE_NIL */
}

/* Blocks and lists */

/* How many of n pages from `from` on lie within the zone. */
static size_t part_bytes(const struct zone *zone, uint32_t from, uint32_t n)
{
    return zone->end - from < n ? zone->end - from : n;
}

size_t zone_touched_bytes(const struct zone *zone, uint32_t page, enum zone_touched flag)
{
    switch (flag) {
    case ZONE_LOW_LINKS:
        return sizeof(struct zone_link) *
               part_bytes(zone, page & ~(ZONE_GROUP_PAGES - 1), ZONE_GROUP_PAGES);
    case ZONE_STATES:
        return part_bytes(zone, zone_first_of(zone, page, ZONE_STATES_PAGES), ZONE_STATES_PAGES);
    case ZONE_GROUPS:
        return sizeof(struct zone_group) *
               round_up(part_bytes(zone, zone_first_of(zone, page, ZONE_GROUPS_PAGES),
                                   ZONE_GROUPS_PAGES),
                        ZONE_GROUP_PAGES) /
               ZONE_GROUP_PAGES;
    }
    return 0;
}

/* Invariant 6: the table is about to be written to there for the first time, or has been. */
static void touch(struct zone *zone, uint32_t page, enum zone_touched flag)
{
    struct zone_group *group = zone_group(zone, page);
    if (group->touched & flag)
        return;
    group->touched |= flag;
    /* relaxed: one writer, the lock's holder; others want a figure */
    atomic_store_explicit(&zone->metadata_bytes,
                          zone_metadata_bytes(zone) + zone_touched_bytes(zone, page, flag),
                          memory_order_relaxed);
}

static void list_push(struct zone *zone, uint32_t page, unsigned order)
{
    if (order < ZONE_GROUP_ORDER)
        touch(zone, page, ZONE_LOW_LINKS);
    uint32_t next = zone->head[order];
    *zone_link(zone, page, order) = (struct zone_link){next, ZONE_NIL};
    if (next != ZONE_NIL)
        zone_link(zone, next, order)->prev = page;
    zone->head[order] = page;
    zone->nonempty |= 1u << order;
    zone->n_blocks[order]++;
}

static void list_remove(struct zone *zone, uint32_t page, unsigned order)
{
    struct zone_link link = *zone_link(zone, page, order);
    uint32_t *from_prev = link.prev == ZONE_NIL ? &zone->head[order]
                                                : &zone_link(zone, link.prev, order)->next;
    check(*from_prev == page, zone, page, "a free block is not on its list");
    *from_prev = link.next;
    if (link.next != ZONE_NIL)
        zone_link(zone, link.next, order)->prev = link.prev;
    if (zone->head[order] == ZONE_NIL)
        zone->nonempty &= ~(1u << order);
    zone->n_blocks[order]--;
}

static void block_make(struct zone *zone, uint32_t page, unsigned order, enum zone_kind kind)
{
    uint8_t *state = zone_state(zone, page);
    check(*state == ZONE_NONE, zone, page, "a block begins inside another");
    touch(zone, zone_first_of(zone, page, ZONE_GROUPS_PAGES), ZONE_GROUPS);
    touch(zone, zone_first_of(zone, page, ZONE_STATES_PAGES), ZONE_STATES);
    *state = (uint8_t)(kind | order);
    if (kind == ZONE_FREE) {
        list_push(zone, page, order);
        zone->n_free += 1u << order;
    } else {
        zone->n_allocated += 1u << order;
    }
}

static void block_unmake(struct zone *zone, struct zone_block block)
{
    *zone_state(zone, block.page) = ZONE_NONE;
    if (block.kind == ZONE_FREE) {
        list_remove(zone, block.page, block.order);
        zone->n_free -= 1u << block.order;
    } else {
        zone->n_allocated -= 1u << block.order;
    }
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

/* Makes a range, whose bytes are all 0 and which borders on no block to coalesce with. */
static void make_range(struct zone *zone, uint32_t from, uint32_t to, enum zone_kind kind)
{
    while (from < to) {
        unsigned order = first_order(zone, from, to);
        block_make(zone, from, order, kind);
        from += 1u << order;
    }
}

/* Makes a free block out of one whose byte is 0 and all free buddies that it meets going up. */
static void coalesce(struct zone *zone, uint32_t page, unsigned order)
{
    for (; order < zone->max_order; order++) {
        uint32_t buddy = page ^ (1u << order);
        if (buddy < zone->first || buddy >= zone->frontier ||
            *zone_state(zone, buddy) != (ZONE_FREE | order))
            break;
        block_unmake(zone, (struct zone_block){buddy, (uint8_t)order, ZONE_FREE});
        page &= ~(1u << order);
    }
    block_make(zone, page, order, ZONE_FREE);
}

static void free_range(struct zone *zone, uint32_t from, uint32_t to)
{
    while (from < to) {
        unsigned order = first_order(zone, from, to);
        coalesce(zone, from, order);
        from += 1u << order;
    }
}

/* Unmakes the blocks that overlap a range below the frontier; what stands out of it stays. */
static void cut_out(struct zone *zone, uint32_t from, uint32_t to)
{
    for (uint32_t page = from; page < to;) {
        struct zone_block block = zone_block_at(zone, page);
        block_unmake(zone, block);
        make_range(zone, block.page, from, block.kind);
        make_range(zone, to, block_end(block), block.kind);
        page = block_end(block);
    }
}

struct zone_block zone_block_at(const struct zone *zone, uint32_t page)
{
    if (page >= zone->frontier)
        return (struct zone_block){page, 0, ZONE_NONE};
    /* Clearing the lowest bit leads to the head of the next larger block that may hold the page. */
    uint32_t head = page;
    while (*zone_state(zone, head) == ZONE_NONE) {
        uint32_t wider = head & (head - 1);
        check(head != 0 && wider >= zone->first, zone, page, "it lies in no block");
        head = wider;
    }
    struct zone_block block = zone_head(zone, head);
    check(block_end(block) > page, zone, page, "it lies in no block");
    return block;
}

bool zone_range_is(const struct zone *zone, uint32_t from, uint32_t to, enum zone_kind kind)
{
    while (from < to) {
        struct zone_block block = zone_block_at(zone, from);
        if (block.kind == ZONE_NONE)
            return kind == ZONE_FREE;
        if (block.kind != kind)
            return false;
        from = block_end(block);
    }
    return true;
}

/* Taking and giving back */

/* Fresh pages up to `to` become free ones. */
static void advance(struct zone *zone, uint32_t to)
{
    uint32_t from = zone->frontier;
    zone->frontier = to;
    free_range(zone, from, to);
}

void zone_take_range(struct zone *zone, uint32_t from, uint32_t to)
{
    if (from > zone->frontier)
        advance(zone, from);
    cut_out(zone, from, to < zone->frontier ? to : zone->frontier);
    if (to > zone->frontier)
        zone->frontier = to;
    make_range(zone, from, to, ZONE_ALLOCATED);
}

static bool is_free_to_frontier(const struct zone *zone, uint32_t page)
{
    return page >= zone->first && zone_range_is(zone, page, zone->frontier, ZONE_FREE);
}

/*
 * The place at the frontier, as low as can be. It may begin below, where all pages up to the
 * frontier are free: without that, a zone that is all free might not give its largest block. So
 * the block that the frontier cuts is tried first, then the alignment asked for.
 */
static bool find_fresh(const struct zone *zone, unsigned order, uint32_t n_pages,
                       uint32_t align_pages, uint32_t *page)
{
    uint64_t from = round_down(zone->frontier, (size_t)1 << order);
    if (!is_free_to_frontier(zone, (uint32_t)from)) {
        from = round_down(zone->frontier, align_pages);
        if (!is_free_to_frontier(zone, (uint32_t)from))
            from += align_pages;
    }
    if (from + n_pages > zone->end)
        return false;
    *page = (uint32_t)from;
    return true;
}

bool zone_take(struct zone *zone, uint32_t n_pages, uint32_t align_pages, uint32_t *page)
{
    unsigned order = log2_ceil(n_pages > align_pages ? n_pages : align_pages);
    uint32_t listed = zone->nonempty >> order;
    if (listed != 0)
        *page = zone->head[order + (unsigned)__builtin_ctz(listed)];
    else if (!find_fresh(zone, order, n_pages, align_pages, page))
        return false;
    zone_take_range(zone, *page, *page + n_pages);
    return true;
}

bool zone_give(struct zone *zone, uint32_t page, unsigned order)
{
    if (order > zone->max_order || page >= zone->frontier ||
        *zone_state(zone, page) != (ZONE_ALLOCATED | order))
        return false;
    block_unmake(zone, (struct zone_block){page, (uint8_t)order, ZONE_ALLOCATED});
    coalesce(zone, page, order);
    return true;
}

void zone_give_range(struct zone *zone, uint32_t from, uint32_t to)
{
    cut_out(zone, from, to);
    free_range(zone, from, to);
}
