/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The buddy system against an oracle that looks at every page each time.
 *
 * The oracle keeps, for each page, whether it is in use and in which block: order 0xff is free. It
 * does not know where the buddy system will place something, but whether the place is right, and
 * whether a refusal was: so an allocation may fail only if no page range would have done, or if
 * watermarks forbid it. Threads' caches are used in bursts and drained after.
 * QUIRE_TEST_SEED replays a run; QUIRE_TEST_ROUNDS makes it longer.
 */
#include "base/checked.h"
#include "model_random.h"

#include <errno.h>
#include <quire/buddy.h>
#include <string.h>

#define MAX_PAGES 6000 /* of the oracle: pages [offset, offset + MAX_PAGES) */
#define NOT_IN_USE 0xff

static struct quire_buddy *buddy;
static struct quire_buddy_zone zones[4];
static struct quire_buddy_config config = {.zones = zones};
static struct quire_buddy_marks marks[4];
static uint32_t offset;
static struct {
    uint32_t head;
    uint8_t order;
    uint8_t state;  /* enum quire_buddy_state of what is in use */
    bool leaves;    /* goes offline when freed */
} pages[MAX_PAGES]; /* by page - offset */

static uint32_t draw32(uint32_t below)
{
    return (uint32_t)draw(below);
}

/* The oracle */

static const struct quire_buddy_zone *zone_of(uint64_t page)
{
    for (unsigned i = 0; i < config.n_zones; i++)
        if (page >= zones[i].first && page < (uint64_t)zones[i].first + zones[i].n_pages)
            return &zones[i];
    return NULL;
}

static bool is_in_use(uint64_t page)
{
    return pages[page - offset].order != NOT_IN_USE;
}

static bool is_allocated(uint64_t page)
{
    return is_in_use(page) && pages[page - offset].state == QUIRE_BUDDY_ALLOCATED;
}

static bool all_are(uint64_t from, uint64_t to, bool (*is)(uint64_t), bool so)
{
    const struct quire_buddy_zone *zone = from < to ? zone_of(from) : NULL;
    for (uint64_t page = from; page < to; page++)
        if (zone == NULL || zone_of(page) != zone || is(page) != so)
            return false;
    return true;
}

static bool all_free(uint64_t from, uint64_t to)
{
    return all_are(from, to, is_in_use, false);
}

/* The fewest blocks that fill [from, to): at each page the largest that begins there and fits. */
static void mark_as(uint32_t from, uint32_t to, enum quire_buddy_state state, bool leaves)
{
    while (from < to) {
        unsigned order = config.max_order;
        while (from % (1u << order) != 0 || 1u << order > to - from) /* no sum: it may be 2^32 */
            order--;
        for (uint32_t page = from; page < from + (1u << order); page++) {
            pages[page - offset].head = from;
            pages[page - offset].order = (uint8_t)order;
            pages[page - offset].state = (uint8_t)state;
            pages[page - offset].leaves = leaves;
        }
        from += 1u << order;
    }
}

static void mark(uint32_t from, uint32_t to)
{
    mark_as(from, to, QUIRE_BUDDY_ALLOCATED, false);
}

static uint32_t block_end_of(uint32_t page)
{
    return pages[page - offset].head + (1u << pages[page - offset].order);
}

/* [from, to), of one block, goes; what stays of the block is cut up. */
static void unmark_part(uint32_t from, uint32_t to)
{
    uint32_t head = pages[from - offset].head, end = block_end_of(from);
    enum quire_buddy_state state = pages[from - offset].state;
    bool leaves = pages[from - offset].leaves;
    mark_as(head, from, state, leaves);
    mark_as(to, end, state, leaves);
    if (leaves) {
        mark_as(from, to, QUIRE_BUDDY_OFFLINE, false);
        return;
    }
    for (uint32_t page = from; page < to; page++)
        pages[page - offset].order = NOT_IN_USE;
}

static void unmark(uint32_t from, uint32_t to)
{
    while (from < to) {
        uint32_t end = block_end_of(from) < to ? block_end_of(from) : to;
        unmark_part(from, end);
        from = end;
    }
}

static bool zone_has_room(const struct quire_buddy_zone *zone, uint32_t n_pages, uint32_t align)
{
    uint64_t end = (uint64_t)zone->first + zone->n_pages;
    for (uint64_t from = (zone->first + (uint64_t)align - 1) / align * align; from + n_pages <= end;
         from += align)
        if (all_free(from, from + n_pages))
            return true;
    return false;
}

static bool frontier_has_room(unsigned zone, uint32_t n_pages, uint32_t align)
{
    struct quire_buddy_counts counts;
    REQUIRE(quire_buddy_counts(buddy, zone, &counts) == 0);
    uint64_t from = (counts.frontier + (uint64_t)align - 1) / align * align;
    return from + n_pages <= (uint64_t)counts.first + counts.n_pages;
}

/* Operations */

static uint32_t n_available(const struct quire_buddy_zone *zone)
{
    uint32_t n = 0;
    for (uint32_t page = zone->first; page < zone->first + zone->n_pages; page++)
        n += !is_in_use(page);
    return n;
}

static struct quire_buddy_request draw_request(void)
{
    struct quire_buddy_request request = {.n_zones = draw32(config.n_zones + 1),
                                          .mobility = (uint8_t)draw32(QUIRE_BUDDY_N_MOBILITIES),
                                          .below_min = draw32(2)};
    for (unsigned i = 0; i < request.n_zones; i++)
        request.zone[i] = (uint8_t)draw32(config.n_zones);
    return request;
}

/* 0: all, spelled out for the oracle, which the buddy system must equal. */
static struct quire_buddy_request all_spelled_out(struct quire_buddy_request request)
{
    if (request.n_zones > 0)
        return request;
    request.n_zones = config.n_zones;
    for (unsigned i = 0; i < config.n_zones; i++)
        request.zone[i] = (uint8_t)i;
    return request;
}

static uint32_t kept(unsigned zone, unsigned pass)
{
    return pass == 0 ? marks[zone].low : pass == 1 ? marks[zone].min : 0;
}

/* The result that an allocation must have, and the zone that it must come from. */
static int expect(struct quire_buddy_request request, unsigned order,
                  const struct quire_buddy_zone **zone)
{
    uint32_t n_pages = 1u << order;
    bool forbidden = true;
    request = all_spelled_out(request);
    for (unsigned pass = 0; pass < 3; pass++) {
        if (!forbidden)
            return -ENOMEM;
        if (pass == 2 && !request.below_min)
            return -EAGAIN;
        forbidden = false;
        for (unsigned i = 0; i < request.n_zones; i++) {
            *zone = &zones[request.zone[i]];
            uint32_t n = n_available(*zone);
            if (n < n_pages)
                continue;
            if (n - n_pages < kept(request.zone[i], pass))
                forbidden = true;
            else if (zone_has_room(*zone, n_pages, n_pages))
                return 0;
        }
    }
    return -ENOMEM;
}

static unsigned draw_order(void)
{
    return draw32(config.max_order + 1) * draw32(4) / 3; /* small ones more often */
}

static void alloc_block(void)
{
    struct quire_buddy_request request = draw_request();
    unsigned order = draw_order();
    const struct quire_buddy_zone *zone;
    int expected = expect(request, order, &zone);
    quire_page page;
    REQUIRE(quire_buddy_alloc(buddy, &request, order, &page) == expected);
    if (expected == 0) {
        uint32_t n_pages = 1u << order;
        REQUIRE(zone_of(page) == zone && page % n_pages == 0);
        REQUIRE(all_free(page, page + n_pages));
        mark(page, page + n_pages);
    }
}

static void alloc_bulk(void)
{
    struct quire_buddy_request request = draw_request();
    unsigned order = draw_order();
    quire_page got[20];
    size_t n = 1 + draw32(20);
    size_t n_got = quire_buddy_alloc_bulk(buddy, &request, order, got, n);
    REQUIRE(n_got <= n);
    for (size_t i = 0; i < n_got; i++) {
        REQUIRE(got[i] % (1u << order) == 0 && all_free(got[i], got[i] + (1u << order)));
        mark(got[i], got[i] + (1u << order));
    }
    const struct quire_buddy_zone *zone;
    REQUIRE(n_got == n || expect(request, order, &zone) != 0);
    if (n_got > 0 && draw32(2)) {
        REQUIRE(quire_buddy_free_bulk(buddy, order, got, n_got) == 0);
        for (size_t i = 0; i < n_got; i++)
            unmark(got[i], got[i] + (1u << order));
        REQUIRE(quire_buddy_free_bulk(buddy, order, got, n_got) == -EINVAL);
    }
}

static void alloc_exact(void)
{
    struct quire_buddy_request request = draw_request();
    uint32_t n_pages = 1 + draw32(1 + draw32(1u << config.max_order));
    uint32_t align = draw32(2) ? 0 : 1u << draw32(config.max_order + 1);
    quire_page page;
    int result = quire_buddy_alloc_exact(buddy, &request, n_pages, align, &page);
    if (align == 0)
        align = 1u << log2_ceil(n_pages);
    if (result == 0) {
        REQUIRE(page % align == 0 && all_free(page, page + n_pages));
        mark(page, page + n_pages);
        return;
    }
    REQUIRE(result == -ENOMEM || (result == -EAGAIN && !request.below_min));
    uint32_t block_pages = 1u << log2_ceil(n_pages > align ? n_pages : align);
    request = all_spelled_out(request);
    for (unsigned i = 0; i < request.n_zones; i++) {
        const struct quire_buddy_zone *zone = &zones[request.zone[i]];
        uint32_t mark_pages = request.below_min ? 0 : marks[request.zone[i]].min;
        if (n_available(zone) < (uint64_t)n_pages + mark_pages)
            continue;
        REQUIRE(!zone_has_room(zone, block_pages, block_pages));
        REQUIRE(block_pages <= 32 || config.by_mobility ||
                !frontier_has_room(request.zone[i], n_pages, align));
    }
}

/* A page that is in use, if a few draws find one; else any, in or near the zones. */
static uint32_t draw_page(void)
{
    uint32_t page = offset;
    for (unsigned i = 0; i < 8; i++) {
        const struct quire_buddy_zone *zone = &zones[draw32(config.n_zones)];
        page = zone->first + draw32(zone->n_pages);
        if (is_allocated(page))
            return page;
    }
    return draw32(4) == 0 ? draw32(UINT32_MAX) : page;
}

static void free_block(void)
{
    uint32_t page = draw_page();
    unsigned order = draw32(config.max_order + 2);
    bool in_block = zone_of(page) != NULL && is_allocated(page);
    if (in_block && draw32(8) != 0) { /* else most likely wrong */
        page = pages[page - offset].head;
        order = pages[page - offset].order;
    }
    bool valid = in_block && pages[page - offset].head == page &&
                 pages[page - offset].order == order;
    REQUIRE(quire_buddy_free(buddy, page, order) == (valid ? 0 : -EINVAL));
    if (valid)
        unmark(page, page + (1u << order));
}

/* A range around `page` that is allocated, as long as the draw wants it. */
static uint32_t draw_length(uint32_t page)
{
    uint32_t wanted = 1 + draw32(1 + draw32(300)), n_pages = 0;
    if (draw32(8) == 0)
        return draw32(16) == 0 ? UINT32_MAX - draw32(3) : draw32(40);
    while (n_pages < wanted && all_are(page, (uint64_t)page + n_pages + 1, is_allocated, true))
        n_pages++;
    return n_pages;
}

static void free_range(void)
{
    uint32_t page = draw_page(), n_pages = draw_length(page);
    bool valid = n_pages > 0 && all_are(page, (uint64_t)page + n_pages, is_allocated, true);
    REQUIRE(quire_buddy_free_range(buddy, page, n_pages) == (valid ? 0 : -EINVAL));
    if (valid)
        unmark(page, page + n_pages);
}

static void extend(void)
{
    uint32_t page = draw_page(), n_pages = draw_length(page);
    uint32_t new_n_pages = draw32(64) == 0 ? UINT32_MAX : n_pages + draw32(1 + draw32(100));
    int expected = 0;
    uint64_t end = (uint64_t)page + n_pages, new_end = (uint64_t)page + new_n_pages;
    if (n_pages == 0 || new_n_pages < n_pages || !all_are(page, end, is_allocated, true))
        expected = -EINVAL;
    else if (end < new_end && (zone_of(end) != zone_of(page) || !all_free(end, new_end)))
        expected = -ENOMEM;
    REQUIRE(quire_buddy_try_extend(buddy, page, n_pages, new_n_pages) == expected);
    if (expected == 0)
        mark((uint32_t)end, (uint32_t)new_end);
}

static void set_aside(void)
{
    uint32_t page = draw_page(), n_pages = 1 + draw32(1 + draw32(200)), n_pending = 0, n_left = 0;
    uint64_t end = (uint64_t)page + n_pages;
    const struct quire_buddy_zone *zone = zone_of(page);
    bool valid = zone != NULL && end <= (uint64_t)zone->first + zone->n_pages;
    if (draw32(2)) {
        int expected = !valid ? -EINVAL : all_free(page, end) ? 0 : -EBUSY;
        REQUIRE(quire_buddy_reserve(buddy, page, n_pages) == expected);
        if (expected == 0)
            mark_as(page, (uint32_t)end, QUIRE_BUDDY_RESERVED, false);
        return;
    }
    REQUIRE(quire_buddy_offline(buddy, page, n_pages, &n_pending) == (valid ? 0 : -EINVAL));
    if (!valid)
        return;
    for (uint32_t at = page; at < end; at++) {
        if (is_allocated(at)) {
            uint32_t head = pages[at - offset].head;
            for (uint32_t i = head; i < block_end_of(head); i++)
                pages[i - offset].leaves = true;
            n_left++;
        }
    }
    for (uint32_t at = page, next; at < end; at = next) { /* free blocks go as their parts */
        struct quire_buddy_block block;
        for (next = at + 1; next < end && is_in_use(next) == is_in_use(at); next++)
            ;
        if (is_in_use(at))
            continue;
        for (uint32_t from = at; from < next; from = block.head + (1u << block.order)) {
            REQUIRE(quire_buddy_block(buddy, from, &block) == 0);
            REQUIRE(block.state == QUIRE_BUDDY_OFFLINE && block.head == from);
            mark_as(from, from + (1u << block.order), QUIRE_BUDDY_OFFLINE, false);
        }
    }
    REQUIRE(n_pending == n_left);
}

static bool is_aside(uint64_t page)
{
    return is_in_use(page) &&
           (pages[page - offset].state != QUIRE_BUDDY_ALLOCATED || pages[page - offset].leaves);
}

static void online(void)
{
    uint32_t page = draw_page(), n_pages = 0, wanted = 1 + draw32(1 + draw32(200));
    while (n_pages < wanted && (all_are(page, (uint64_t)page + n_pages + 1, is_aside, true) ||
                                (n_pages > 0 && draw32(64) == 0)))
        n_pages++;
    bool valid = all_are(page, (uint64_t)page + n_pages, is_aside, true) && n_pages > 0;
    REQUIRE(quire_buddy_online(buddy, page, n_pages) == (valid ? 0 : -EINVAL));
    for (uint32_t at = page, end; valid && at < page + n_pages; at = end) {
        end = block_end_of(at) < page + n_pages ? block_end_of(at) : page + n_pages;
        if (pages[at - offset].leaves)
            for (uint32_t i = pages[at - offset].head; i < block_end_of(at); i++)
                pages[i - offset].leaves = false;
        else
            unmark_part(at, end);
    }
}

/* Frees right or wrong, and allocations, through a cache. */
static void use_cache(void)
{
    static uint8_t memory[8192] __attribute__((aligned(QUIRE_BUDDY_ALIGNMENT)));
    struct quire_buddy_request request = draw_request();
    struct quire_buddy_cache *cache;
    REQUIRE(quire_buddy_cache_bytes() <= sizeof memory);
    REQUIRE(quire_buddy_cache_init(buddy, &request, draw32(3000), memory, &cache) == 0);
    for (unsigned i = draw32(60); i > 0; i--) {
        uint32_t page = draw_page();
        unsigned order = draw_order();
        if (draw32(2)) {
            int result = quire_buddy_cache_alloc(cache, order, &page);
            REQUIRE(result == 0 || result == -ENOMEM || result == -EAGAIN);
            REQUIRE(result != 0 || all_free(page, page + (1u << order)));
            if (result == 0)
                mark(page, page + (1u << order));
            continue;
        }
        bool valid = zone_of(page) != NULL && is_allocated(page) &&
                     (draw32(8) == 0 || (page = pages[page - offset].head, true)) &&
                     (draw32(8) == 0 || (order = pages[page - offset].order, true)) &&
                     pages[page - offset].head == page && pages[page - offset].order == order;
        REQUIRE(quire_buddy_cache_free(cache, page, order) == (valid ? 0 : -EINVAL));
        if (valid)
            unmark(page, page + (1u << order));
    }
    if (draw32(4) == 0)
        REQUIRE(quire_buddy_validate(buddy) == 0);
    quire_buddy_cache_drain(cache);
    REQUIRE(quire_buddy_cache_drain(cache) == 0);
}

/* Rounds */

static bool add_pages(void *context, quire_page page, unsigned order)
{
    REQUIRE(all_free(page, page + (1u << order)));
    *(uint32_t *)context += 1u << order;
    return true;
}

static void compare_page(const struct quire_buddy_counts *counts, uint32_t page)
{
    struct quire_buddy_block block;
    REQUIRE(quire_buddy_block(buddy, page, &block) == 0);
    REQUIRE((block.state == QUIRE_BUDDY_FRESH) == (page >= counts->frontier));
    if (is_in_use(page))
        REQUIRE(block.state == pages[page - offset].state &&
                block.head == pages[page - offset].head &&
                block.order == pages[page - offset].order);
    else
        REQUIRE((block.state == QUIRE_BUDDY_FRESH || block.state == QUIRE_BUDDY_FREE) &&
                all_free(block.head, block.head + (1u << block.order)));
}

static void compare_zone(unsigned zone)
{
    struct quire_buddy_counts counts;
    struct quire_buddy_free_blocks blocks;
    uint32_t n_of[QUIRE_BUDDY_RESERVED + 1] = {0}, n_free = 0, n_in_blocks = 0;
    REQUIRE(quire_buddy_counts(buddy, zone, &counts) == 0);
    for (uint32_t page = counts.first; page < counts.first + counts.n_pages; page++) {
        compare_page(&counts, page);
        if (is_in_use(page))
            n_of[pages[page - offset].state]++;
    }
    REQUIRE(counts.n_allocated == n_of[QUIRE_BUDDY_ALLOCATED]);
    REQUIRE(counts.n_offline == n_of[QUIRE_BUDDY_OFFLINE]);
    REQUIRE(counts.n_reserved == n_of[QUIRE_BUDDY_RESERVED]);
    REQUIRE(counts.n_pages == counts.n_allocated + counts.n_free + counts.n_fresh +
                                  counts.n_reserved + counts.n_offline);
    REQUIRE(quire_buddy_each_free(buddy, zone, 0, add_pages, &n_free) == 0);
    REQUIRE(counts.n_free == n_free);
    REQUIRE(quire_buddy_free_blocks(buddy, zone, &blocks) == 0);
    for (unsigned type = 0; type < QUIRE_BUDDY_N_MOBILITIES; type++)
        for (unsigned order = 0; order <= config.max_order; order++)
            n_in_blocks += blocks.n_blocks[type][order] << order;
    REQUIRE(n_in_blocks == n_free);
}

static void compare(void)
{
    REQUIRE(quire_buddy_validate(buddy) == 0);
    for (unsigned i = 0; i < config.n_zones; i++)
        compare_zone(i);
}

static void draw_marks(unsigned zone)
{
    marks[zone].min = draw32(1 + draw32(zones[zone].n_pages));
    marks[zone].low = marks[zone].min + draw32(1 + draw32(zones[zone].n_pages - marks[zone].min));
    marks[zone].high = marks[zone].low;
    REQUIRE(quire_buddy_set_marks(buddy, zone, &marks[zone]) == 0);
}

static void draw_config(void)
{
    config.max_order = draw32(12);
    config.n_zones = 1 + draw32(4);
    config.form = draw32(2) ? QUIRE_BUDDY_LISTS : QUIRE_BUDDY_TREE;
    config.by_mobility = draw32(2);
    memset(marks, 0, sizeof marks);
    offset = draw32(4) == 0 ? 0 : draw32(UINT32_MAX - MAX_PAGES);
    if (draw32(8) == 0)
        offset = UINT32_MAX - MAX_PAGES;
    uint32_t first = offset + draw32(20) * draw32(2);
    for (unsigned i = 0; i < config.n_zones; i++) {
        zones[i].first = first;
        zones[i].n_pages = 1 + draw32(1 + draw32(MAX_PAGES / 4 - 20));
        first += zones[i].n_pages + draw32(20) * draw32(2);
    }
    memset(pages, NOT_IN_USE, sizeof pages);
}

/* All goes, and everything is as large as it can be again. */
static void empty(void)
{
    for (uint32_t page = offset; page < offset + MAX_PAGES; page++) {
        if (zone_of(page) == NULL || !is_in_use(page))
            continue;
        unsigned order = pages[page - offset].order;
        if (is_aside(page))
            REQUIRE(quire_buddy_online(buddy, page, 1u << order) == 0);
        if (is_allocated(page))
            REQUIRE(quire_buddy_free(buddy, page, order) == 0);
        pages[page - offset].leaves = false;
        unmark(page, page + (1u << order));
    }
}

static void run_round(void)
{
    draw_config();
    size_t n_bytes = quire_buddy_metadata_bytes(&config);
    REQUIRE(n_bytes > 0);
    void *metadata = aligned_alloc(4096, round_up(n_bytes, 4096));
    REQUIRE(metadata != NULL);
    memset(metadata, 0, n_bytes);
    REQUIRE(quire_buddy_init(&config, metadata, n_bytes, &buddy) == 0);
    for (unsigned i = 0; draw32(3) == 0 && i < config.n_zones; i++)
        draw_marks(i);
    static void (*const operations[])(void) = {
        free_block, free_block, free_range,  free_range,  extend,      extend,     set_aside,
        online,     use_cache,  alloc_block, alloc_block, alloc_exact, alloc_bulk, alloc_block,
    };
    unsigned n_steps = 100 + draw32(1500), eagerness = draw32(8);
    for (step = 0; step < n_steps; step++) {
        unsigned choice = draw32(14 + eagerness);
        operations[choice < 14 ? choice : 9 + choice % 5]();
        if (step % 64 == 0)
            compare();
    }
    compare();
    empty();
    compare();
    free(metadata);
}

int main(void)
{
    unsigned n_rounds = draw_from_seed(1500);
    for (round_number = 0; round_number < n_rounds; round_number++)
        run_round();
    return 0;
}
