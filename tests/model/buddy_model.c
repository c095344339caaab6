/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The buddy system against an oracle that looks at every page each time.
 *
 * The oracle keeps, for each page, whether it is allocated and in which block: order 0xff is free.
 * It does not know where the buddy system will place something, but whether the place is right, and
 * whether a refusal was: so an allocation may fail only if no page range would have done.
 * QUIRE_TEST_SEED replays a run; QUIRE_TEST_ROUNDS makes it longer.
 */
#include "base/checked.h"

#include <errno.h>
#include <quire/buddy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_PAGES 6000 /* of the oracle: pages [offset, offset + MAX_PAGES) */
#define NOT_ALLOCATED 0xff

static uint64_t seed, random_state;
static unsigned round_number, step;

static struct quire_buddy *buddy;
static struct quire_buddy_zone zones[4];
static struct quire_buddy_config config = {.zones = zones};
static uint32_t offset;
static struct {
    uint32_t head;
    uint8_t order;
} pages[MAX_PAGES]; /* by page - offset */

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: not so in round %u, step %u; QUIRE_TEST_SEED=%llu\n",      \
                    __FILE__, __LINE__, #condition, round_number, step, (unsigned long long)seed); \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static uint32_t draw(uint32_t below) /* xorshift64* */
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * 0x2545f4914f6cdd1d) >> 32) % below;
}

/* The oracle */

static const struct quire_buddy_zone *zone_of(uint64_t page)
{
    for (unsigned i = 0; i < config.n_zones; i++)
        if (page >= zones[i].first && page < (uint64_t)zones[i].first + zones[i].n_pages)
            return &zones[i];
    return NULL;
}

static bool is_allocated(uint64_t page)
{
    return pages[page - offset].order != NOT_ALLOCATED;
}

static bool all_are(uint64_t from, uint64_t to, bool allocated)
{
    const struct quire_buddy_zone *zone = from < to ? zone_of(from) : NULL;
    for (uint64_t page = from; page < to; page++)
        if (zone == NULL || zone_of(page) != zone || is_allocated(page) != allocated)
            return false;
    return true;
}

/* The fewest blocks that fill [from, to): at each page the largest that begins there and fits. */
static void mark(uint32_t from, uint32_t to)
{
    while (from < to) {
        unsigned order = config.max_order;
        while (from % (1u << order) != 0 || from + (1u << order) > to)
            order--;
        for (uint32_t page = from; page < from + (1u << order); page++) {
            pages[page - offset].head = from;
            pages[page - offset].order = (uint8_t)order;
        }
        from += 1u << order;
    }
}

static void unmark(uint32_t from, uint32_t to)
{
    uint32_t left = pages[from - offset].head;
    uint32_t last = pages[to - 1 - offset].head;
    uint32_t right = last + (1u << pages[to - 1 - offset].order);
    mark(left, from);
    mark(to, right);
    for (uint32_t page = from; page < to; page++)
        pages[page - offset].order = NOT_ALLOCATED;
}

static bool zone_has_room(const struct quire_buddy_zone *zone, uint32_t n_pages, uint32_t align)
{
    uint64_t end = (uint64_t)zone->first + zone->n_pages;
    for (uint64_t from = (zone->first + (uint64_t)align - 1) / align * align; from + n_pages <= end;
         from += align)
        if (all_are(from, from + n_pages, false))
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

static struct quire_buddy_zonelist draw_zonelist(void)
{
    struct quire_buddy_zonelist list = {.n = draw(config.n_zones + 1)};
    for (unsigned i = 0; i < list.n; i++)
        list.zone[i] = (uint8_t)draw(config.n_zones);
    if (list.n == 0) /* all: spelled out for the oracle, which the buddy system must equal */
        for (unsigned i = 0; i < config.n_zones; i++)
            list.zone[i] = (uint8_t)i;
    return list;
}

static void alloc_block(void)
{
    struct quire_buddy_zonelist list = draw_zonelist();
    unsigned order = draw(config.max_order + 1) * draw(4) / 3; /* small ones more often */
    uint32_t n_pages = 1u << order;
    const struct quire_buddy_zone *expected = NULL;
    for (unsigned i = 0; expected == NULL && i < (list.n ? list.n : config.n_zones); i++)
        if (zone_has_room(&zones[list.zone[i]], n_pages, n_pages))
            expected = &zones[list.zone[i]];
    quire_page page;
    int result = quire_buddy_alloc(buddy, &list, order, &page);
    REQUIRE(result == (expected ? 0 : -ENOMEM));
    if (result == 0) {
        REQUIRE(zone_of(page) == expected && page % n_pages == 0);
        REQUIRE(all_are(page, page + n_pages, false));
        mark(page, page + n_pages);
    }
}

static void alloc_exact(void)
{
    struct quire_buddy_zonelist list = draw_zonelist();
    uint32_t n_pages = 1 + draw(1 + draw(1u << config.max_order));
    uint32_t align = draw(2) ? 0 : 1u << draw(config.max_order + 1);
    quire_page page;
    int result = quire_buddy_alloc_exact(buddy, &list, n_pages, align, &page);
    if (align == 0)
        align = 1u << log2_ceil(n_pages);
    if (result == 0) {
        REQUIRE(page % align == 0 && all_are(page, page + n_pages, false));
        mark(page, page + n_pages);
        return;
    }
    REQUIRE(result == -ENOMEM);
    uint32_t block_pages = 1u << log2_ceil(n_pages > align ? n_pages : align);
    for (unsigned i = 0; i < (list.n ? list.n : config.n_zones); i++) {
        REQUIRE(!zone_has_room(&zones[list.zone[i]], block_pages, block_pages));
        REQUIRE(!frontier_has_room(list.zone[i], n_pages, align));
    }
}

/* A page that is in use, if a few draws find one; else any, in or near the zones. */
static uint32_t draw_page(void)
{
    uint32_t page = offset;
    for (unsigned i = 0; i < 8; i++) {
        const struct quire_buddy_zone *zone = &zones[draw(config.n_zones)];
        page = zone->first + draw(zone->n_pages);
        if (is_allocated(page))
            return page;
    }
    return draw(4) == 0 ? draw(UINT32_MAX) : page;
}

static void free_block(void)
{
    uint32_t page = draw_page();
    unsigned order = draw(config.max_order + 2);
    bool in_block = zone_of(page) != NULL && is_allocated(page);
    if (in_block && draw(8) != 0) { /* else most likely wrong */
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
    uint32_t wanted = 1 + draw(1 + draw(300)), n_pages = 0;
    if (draw(8) == 0)
        return draw(16) == 0 ? UINT32_MAX - draw(3) : draw(40);
    while (n_pages < wanted && all_are(page, (uint64_t)page + n_pages + 1, true))
        n_pages++;
    return n_pages;
}

static void free_range(void)
{
    uint32_t page = draw_page(), n_pages = draw_length(page);
    bool valid = n_pages > 0 && all_are(page, (uint64_t)page + n_pages, true);
    REQUIRE(quire_buddy_free_range(buddy, page, n_pages) == (valid ? 0 : -EINVAL));
    if (valid)
        unmark(page, page + n_pages);
}

static void extend(void)
{
    uint32_t page = draw_page(), n_pages = draw_length(page);
    uint32_t new_n_pages = draw(64) == 0 ? UINT32_MAX : n_pages + draw(1 + draw(100));
    int expected = 0;
    uint64_t end = (uint64_t)page + n_pages, new_end = (uint64_t)page + new_n_pages;
    if (n_pages == 0 || new_n_pages < n_pages || !all_are(page, end, true))
        expected = -EINVAL;
    else if (end < new_end && (zone_of(end) != zone_of(page) || !all_are(end, new_end, false)))
        expected = -ENOMEM;
    REQUIRE(quire_buddy_try_extend(buddy, page, n_pages, new_n_pages) == expected);
    if (expected == 0)
        mark((uint32_t)end, (uint32_t)new_end);
}

/* Rounds */

static bool add_pages(void *context, quire_page page, unsigned order)
{
    REQUIRE(all_are(page, page + (1u << order), false));
    *(uint32_t *)context += 1u << order;
    return true;
}

static void compare_page(const struct quire_buddy_counts *counts, uint32_t page)
{
    struct quire_buddy_block block;
    REQUIRE(quire_buddy_block(buddy, page, &block) == 0);
    REQUIRE((block.state == QUIRE_BUDDY_ALLOCATED) == is_allocated(page));
    REQUIRE((block.state == QUIRE_BUDDY_FRESH) == (page >= counts->frontier));
    if (block.state == QUIRE_BUDDY_ALLOCATED)
        REQUIRE(block.head == pages[page - offset].head &&
                block.order == pages[page - offset].order);
    else
        REQUIRE(all_are(block.head, block.head + (1u << block.order), false));
}

static void compare(void)
{
    REQUIRE(quire_buddy_validate(buddy) == 0);
    for (unsigned i = 0; i < config.n_zones; i++) {
        struct quire_buddy_counts counts;
        REQUIRE(quire_buddy_counts(buddy, i, &counts) == 0);
        uint32_t n_allocated = 0, n_free = 0;
        for (uint32_t page = counts.first; page < counts.first + counts.n_pages; page++) {
            compare_page(&counts, page);
            n_allocated += is_allocated(page);
        }
        REQUIRE(counts.n_allocated == n_allocated);
        REQUIRE(counts.n_pages == counts.n_allocated + counts.n_free + counts.n_fresh);
        REQUIRE(quire_buddy_each_free(buddy, i, 0, add_pages, &n_free) == 0);
        REQUIRE(counts.n_free == n_free);
    }
}

static void draw_config(void)
{
    config.max_order = draw(12);
    config.n_zones = 1 + draw(4);
    offset = draw(4) == 0 ? 0 : draw(UINT32_MAX - MAX_PAGES);
    if (draw(8) == 0)
        offset = UINT32_MAX - MAX_PAGES;
    uint32_t first = offset + draw(20) * draw(2);
    for (unsigned i = 0; i < config.n_zones; i++) {
        zones[i].first = first;
        zones[i].n_pages = 1 + draw(1 + draw(MAX_PAGES / 4 - 20));
        first += zones[i].n_pages + draw(20) * draw(2);
    }
    memset(pages, NOT_ALLOCATED, sizeof pages);
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
    unsigned n_steps = 100 + draw(1500), eagerness = 1 + draw(8);
    for (step = 0; step < n_steps; step++) {
        unsigned choice = draw(8 + eagerness);
        (choice < 2   ? free_block
         : choice < 4 ? free_range
         : choice < 6 ? extend
         : choice % 3 ? alloc_block
                      : alloc_exact)();
        if (step % 64 == 0)
            compare();
    }
    compare();
    for (uint32_t page = offset; page < offset + MAX_PAGES; page++)
        if (zone_of(page) != NULL && is_allocated(page))
            REQUIRE(quire_buddy_free(buddy, page, pages[page - offset].order) == 0 &&
                    (unmark(page, page + (1u << pages[page - offset].order)), true));
    compare();
    free(metadata);
}

int main(void)
{
    const char *text = getenv("QUIRE_TEST_SEED"), *rounds = getenv("QUIRE_TEST_ROUNDS");
    seed = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
    printf("QUIRE_TEST_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    random_state = seed * 0x9e3779b97f4a7c15 + 1;
    unsigned n_rounds = rounds ? (unsigned)strtoul(rounds, NULL, 0) : 1500;
    for (round_number = 0; round_number < n_rounds; round_number++)
        run_round();
    return 0;
}
