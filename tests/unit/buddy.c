/* SPDX-License-Identifier: Apache-2.0 */
/* The buddy system, one behaviour a test. The zones' insides are used to damage them for validate.
 */
#include "pages/buddy.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h> /* wants the headers above */

static void *map(size_t n_bytes)
{
    void *memory = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    return memory;
}

static struct quire_buddy *make_as(const struct quire_buddy_config *config)
{
    size_t n_bytes = quire_buddy_metadata_bytes(config);
    struct quire_buddy *buddy;
    assert_int_equal(quire_buddy_init(config, map(n_bytes), n_bytes, &buddy), 0);
    return buddy;
}

static struct quire_buddy *make(unsigned max_order, unsigned n_zones,
                                const struct quire_buddy_zone *zones)
{
    return make_as(
        &(struct quire_buddy_config){.max_order = max_order, .n_zones = n_zones, .zones = zones});
}

static struct quire_buddy *make_one(unsigned max_order, quire_page first, uint32_t n_pages)
{
    return make(max_order, 1, &(struct quire_buddy_zone){first, n_pages, NULL});
}

static quire_page alloc(struct quire_buddy *buddy, unsigned order)
{
    quire_page page;
    assert_int_equal(quire_buddy_alloc(buddy, NULL, order, &page), 0);
    return page;
}

static quire_page alloc_exact(struct quire_buddy *buddy, uint32_t n_pages, uint32_t align_pages)
{
    quire_page page;
    assert_int_equal(quire_buddy_alloc_exact(buddy, NULL, n_pages, align_pages, &page), 0);
    return page;
}

static struct quire_buddy_counts counts_of(struct quire_buddy *buddy, unsigned zone)
{
    struct quire_buddy_counts counts;
    assert_int_equal(quire_buddy_validate(buddy), 0);
    assert_int_equal(quire_buddy_counts(buddy, zone, &counts), 0);
    assert_int_equal(counts.n_pages, counts.n_allocated + counts.n_free + counts.n_fresh +
                                         counts.n_reserved + counts.n_offline);
    return counts;
}

static uint32_t n_blocks(struct quire_buddy *buddy, unsigned zone, unsigned order)
{
    struct quire_buddy_free_blocks blocks;
    assert_int_equal(quire_buddy_free_blocks(buddy, zone, &blocks), 0);
    return blocks.n_blocks[0][order] + blocks.n_blocks[1][order] + blocks.n_blocks[2][order];
}

static void assert_block(struct quire_buddy *buddy, quire_page page, enum quire_buddy_state state,
                         quire_page head, unsigned order)
{
    struct quire_buddy_block block;
    assert_int_equal(quire_buddy_block(buddy, page, &block), 0);
    assert_int_equal(block.state, state);
    assert_int_equal(block.head, head);
    assert_int_equal(block.order, order);
}

/* Setting up */

static void init_refuses_invalid_configurations(void **state)
{
    struct quire_buddy_zone zones[2] = {{0, 100, NULL}, {99, 1, NULL}};
    struct quire_buddy_config config = {.max_order = 10, .n_zones = 2, .zones = zones};
    assert_int_equal(quire_buddy_metadata_bytes(&config), 0); /* they overlap */
    zones[1].first = 100;
    assert_int_not_equal(quire_buddy_metadata_bytes(&config), 0);
    zones[1].n_pages = 0;
    assert_int_equal(quire_buddy_metadata_bytes(&config), 0);
    zones[1].n_pages = UINT32_MAX - 99;
    assert_int_equal(quire_buddy_metadata_bytes(&config), 0);
    config.n_zones = 0;
    assert_int_equal(quire_buddy_metadata_bytes(&config), 0);
    config.n_zones = 1;
    config.max_order = QUIRE_BUDDY_MAX_ORDER + 1;
    assert_int_equal(quire_buddy_metadata_bytes(&config), 0);
}

static void init_refuses_unfit_metadata(void **state)
{
    struct quire_buddy_zone zone = {0, 100, NULL};
    struct quire_buddy_config config = {.max_order = 10, .n_zones = 1, .zones = &zone};
    size_t n_bytes = quire_buddy_metadata_bytes(&config);
    char *metadata = map(n_bytes + 64);
    struct quire_buddy *buddy;
    assert_int_equal(quire_buddy_init(&config, metadata + 1, n_bytes, &buddy), -EINVAL);
    assert_int_equal(quire_buddy_init(&config, metadata, n_bytes - 1, &buddy), -ENOSPC);
    assert_int_equal(quire_buddy_init(&config, metadata, n_bytes, &buddy), 0);
    assert_ptr_equal(buddy, metadata);
    assert_int_equal(quire_buddy_init(&config, metadata, n_bytes, &buddy), -EEXIST);
}

static size_t resident_pages(void *memory, size_t n_bytes)
{
    size_t n_pages = (n_bytes + 4095) / 4096, n_resident = 0;
    unsigned char *in_core = map(n_pages);
    assert_int_equal(mincore(memory, n_bytes, in_core), 0);
    for (size_t i = 0; i < n_pages; i++)
        n_resident += in_core[i] & 1;
    munmap(in_core, n_pages);
    return n_resident;
}

static void a_terabyte_costs_what_is_used_of_it(void **state)
{
    struct quire_buddy_zone zone = {0, 1u << 28, NULL};
    struct quire_buddy_config config = {.max_order = 20, .n_zones = 1, .zones = &zone};
    size_t n_bytes = quire_buddy_metadata_bytes(&config);
    void *metadata = map(n_bytes);
    struct quire_buddy *buddy;
    assert_int_equal(quire_buddy_init(&config, metadata, n_bytes, &buddy), 0);
    assert_int_equal(resident_pages(metadata, n_bytes), 1);
    for (unsigned i = 0; i < 4096; i++) /* 8 GiB in runs of 2 MiB, then all free again */
        assert_int_equal(alloc(buddy, 9), i * 512);
    for (unsigned i = 0; i < 4096; i++)
        assert_int_equal(quire_buddy_free(buddy, i * 512, 9), 0);
    size_t held_bytes = resident_pages(metadata, n_bytes) * 4096;
    assert_true(held_bytes < 4096 * 512 * 3 / 2); /* 1.5 bytes a page */
    struct quire_buddy_counts counts = counts_of(buddy, 0);
    assert_int_equal(n_blocks(buddy, 0, 20), 2);
    /* but for the bits that say so */
    assert_in_range(counts.metadata_bytes, held_bytes - 3 * 4096, held_bytes + 4096);
    assert_int_equal(quire_buddy_metadata_held(buddy) - counts.metadata_bytes, sizeof *buddy);
    munmap(metadata, n_bytes);
}

static void a_large_block_costs_its_head(void **state)
{
    struct quire_buddy_zone zone = {1u << 27, 1u << 27, NULL};
    struct quire_buddy_config config = {.max_order = 26, .n_zones = 1, .zones = &zone};
    size_t n_bytes = quire_buddy_metadata_bytes(&config);
    void *metadata = map(n_bytes);
    struct quire_buddy *buddy;
    quire_page page;
    assert_int_equal(quire_buddy_init(&config, metadata, n_bytes, &buddy), 0);
    /* 20 GiB, and two pages behind them, one of which is free again */
    assert_int_equal(quire_buddy_alloc_exact(buddy, NULL, 5u << 20, 1, &page), 0);
    assert_int_equal(quire_buddy_alloc_exact(buddy, NULL, 2, 1, &page), 0);
    assert_int_equal(quire_buddy_free_range(buddy, page, 1), 0);
    size_t held_bytes = resident_pages(metadata, n_bytes) * 4096;
    assert_true(held_bytes <= 8 * 4096);
    assert_in_range(quire_buddy_metadata_held(buddy), held_bytes - 3 * 4096, held_bytes + 4096);
    munmap(metadata, n_bytes);
}

static void metadata_may_be_moved(void **state)
{
    struct quire_buddy_zone zone = {7, 1000, NULL};
    struct quire_buddy_config config = {.max_order = 10, .n_zones = 1, .zones = &zone};
    size_t n_bytes = quire_buddy_metadata_bytes(&config);
    struct quire_buddy *buddy;
    void *old = map(n_bytes), *new = map(n_bytes);
    assert_int_equal(quire_buddy_init(&config, old, n_bytes, &buddy), 0);
    quire_page a = alloc(buddy, 3), b = alloc(buddy, 0);
    assert_int_equal(quire_buddy_free(buddy, a, 3), 0);
    memcpy(new, old, n_bytes);
    munmap(old, n_bytes);
    assert_int_equal(quire_buddy_validate(new), 0);
    assert_int_equal(quire_buddy_free(new, b, 0), 0);
    assert_int_equal(counts_of(new, 0).n_allocated, 0);
}

/* Blocks */

static void alloc_takes_fresh_pages_in_order(void **state)
{
    struct quire_buddy *buddy = make_one(10, 0, 4096);
    for (quire_page page = 0; page < 5; page++)
        assert_int_equal(alloc(buddy, 0), page);
    struct quire_buddy_counts counts = counts_of(buddy, 0);
    assert_int_equal(counts.frontier, 64);
    assert_int_equal(counts.n_free, 59);
    assert_int_equal(counts.n_fresh, 4032);
}

static void alignment_at_the_frontier_leaves_free_blocks(void **state)
{
    struct quire_buddy *buddy = make_one(10, 0, 4096);
    assert_int_equal(alloc(buddy, 0), 0);
    assert_int_equal(alloc(buddy, 8), 256);
    struct quire_buddy_counts counts = counts_of(buddy, 0);
    assert_int_equal(counts.n_free, 255);
    for (unsigned order = 0; order < 8; order++)
        assert_int_equal(n_blocks(buddy, 0, order), 1);
    assert_int_equal(alloc(buddy, 2), 4); /* from the lists, not from the frontier */
}

static void the_smallest_sufficient_block_is_split(void **state)
{
    struct quire_buddy *buddy = make_one(10, 0, 4096);
    quire_page large = alloc(buddy, 6), small = alloc(buddy, 3), wall = alloc(buddy, 3);
    assert_int_equal(quire_buddy_free(buddy, small, 3), 0);
    assert_int_equal(quire_buddy_free(buddy, large, 6), 0);
    assert_int_equal(alloc(buddy, 1), small);
    assert_block(buddy, large, QUIRE_BUDDY_FREE, large, 6);
    assert_block(buddy, wall, QUIRE_BUDDY_ALLOCATED, wall, 3);
    assert_block(buddy, small + 2, QUIRE_BUDDY_FREE, small + 2, 1);
    assert_block(buddy, small + 7, QUIRE_BUDDY_FREE, small + 4, 2);
}

static void the_group_freed_to_last_is_taken_from_first(void **state)
{
    struct quire_buddy *buddy = make_one(10, 0, 256);
    for (unsigned i = 0; i < 256; i++)
        alloc(buddy, 0);
    assert_int_equal(quire_buddy_free(buddy, 10, 0), 0);
    assert_int_equal(quire_buddy_free(buddy, 200, 0), 0);
    assert_int_equal(quire_buddy_free(buddy, 70, 0), 0);
    assert_int_equal(quire_buddy_free(buddy, 68, 0), 0);
    assert_int_equal(alloc(buddy, 0), 68); /* within it the lowest */
    assert_int_equal(alloc(buddy, 0), 70);
    assert_int_equal(alloc(buddy, 0), 200);
    assert_int_equal(alloc(buddy, 0), 10);
}

static void a_tree_takes_the_lowest(void **state)
{
    struct quire_buddy *buddy = make_as(
        &(struct quire_buddy_config){.max_order = 10,
                                     .n_zones = 1,
                                     .zones = &(struct quire_buddy_zone){0, 1024, NULL},
                                     .form = QUIRE_BUDDY_TREE});
    for (unsigned i = 0; i < 1024; i++)
        alloc(buddy, 0);
    assert_int_equal(quire_buddy_free(buddy, 100, 0), 0);
    assert_int_equal(quire_buddy_free(buddy, 900, 0), 0);
    assert_int_equal(quire_buddy_free(buddy, 902, 0), 0);
    assert_int_equal(quire_buddy_free(buddy, 903, 0), 0);
    assert_int_equal(alloc(buddy, 0), 100);
    assert_int_equal(alloc(buddy, 1), 902);
    assert_int_equal(counts_of(buddy, 0).n_free, 1);
}

static void free_coalesces_up_to_max_order_only(void **state)
{
    struct quire_buddy *buddy = make_one(4, 0, 32);
    for (unsigned i = 0; i < 32; i++)
        alloc(buddy, 0);
    for (unsigned i = 0; i < 32; i++)
        assert_int_equal(quire_buddy_free(buddy, (i * 13) % 32, 0), 0);
    struct quire_buddy_counts counts = counts_of(buddy, 0);
    assert_int_equal(n_blocks(buddy, 0, 4), 2);
    assert_int_equal(counts.n_free, 32);
    quire_page page;
    assert_int_equal(quire_buddy_alloc(buddy, NULL, 5, &page), -EINVAL);
}

static void a_zone_of_any_shape_gives_all_its_pages(void **state)
{
    struct quire_buddy *buddy = make_one(20, 3, 1021); /* 3 to 1023 */
    quire_page page;
    assert_int_equal(alloc(buddy, 9), 512);
    assert_int_equal(quire_buddy_alloc(buddy, NULL, 9, &page), -ENOMEM);
    assert_int_equal(alloc(buddy, 8), 256);
    for (unsigned i = 0; i < 253; i++)
        alloc(buddy, 0);
    assert_int_equal(quire_buddy_alloc(buddy, NULL, 0, &page), -ENOMEM);
    assert_int_equal(counts_of(buddy, 0).n_allocated, 1021);
    assert_int_equal(quire_buddy_free_range(buddy, 3, 1021), 0);
    assert_int_equal(n_blocks(buddy, 0, 9), 1);
}

static void a_zone_that_is_all_free_gives_its_largest_block(void **state)
{
    struct quire_buddy *buddy = make_one(9, 0, 512);
    for (unsigned i = 0; i < 100; i++)
        alloc(buddy, 0);
    quire_page page;
    assert_int_equal(quire_buddy_alloc(buddy, NULL, 9, &page), -ENOMEM);
    assert_int_equal(quire_buddy_free_range(buddy, 0, 100), 0);
    assert_int_equal(alloc(buddy, 9), 0); /* half of it from the lists, half from the frontier */
    assert_int_equal(counts_of(buddy, 0).n_allocated, 512);
}

/* Found by the model test: with a small alignment only the pages from the frontier on were tried.
 */
static void a_small_alignment_finds_the_block_that_the_frontier_cuts(void **state)
{
    struct quire_buddy *buddy = make_one(9, 0, 512);
    alloc_exact(buddy, 300, 1);
    assert_int_equal(quire_buddy_free_range(buddy, 0, 300), 0);
    assert_int_equal(alloc_exact(buddy, 400, 1), 0);
}

static void a_small_alignment_joins_free_and_fresh_pages(void **state)
{
    struct quire_buddy *buddy = make_one(9, 0, 512);
    alloc(buddy, 7);
    assert_int_equal(quire_buddy_free(buddy, alloc(buddy, 0), 0), 0);
    assert_int_equal(counts_of(buddy, 0).frontier, 192);
    assert_int_equal(alloc_exact(buddy, 300, 128), 128); /* 64 from the list, the others fresh */
    assert_int_equal(counts_of(buddy, 0).n_free, 448 - 428);
}

/* Ranges */

static void alloc_exact_gives_the_tail_back(void **state)
{
    struct quire_buddy *buddy = make_one(10, 0, 1024);
    quire_page whole = alloc(buddy, 10);
    assert_int_equal(quire_buddy_free(buddy, whole, 10), 0);
    assert_int_equal(alloc_exact(buddy, 11, 0), 0);
    struct quire_buddy_counts counts = counts_of(buddy, 0);
    assert_int_equal(counts.n_allocated, 11);
    assert_int_equal(n_blocks(buddy, 0, 0), 1); /* 11 */
    assert_int_equal(n_blocks(buddy, 0, 2), 1); /* 12 to 15 */
    assert_block(buddy, 9, QUIRE_BUDDY_ALLOCATED, 8, 1);
    assert_block(buddy, 10, QUIRE_BUDDY_ALLOCATED, 10, 0);
}

static void alloc_exact_is_aligned_as_asked(void **state)
{
    struct quire_buddy *buddy = make_one(12, 1, 8191);
    assert_int_equal(alloc_exact(buddy, 5, 1), 8);
    assert_int_equal(alloc_exact(buddy, 5, 0), 16);
    assert_int_equal(alloc_exact(buddy, 3, 64), 64);
    assert_int_equal(alloc_exact(buddy, 1000, 8), 128); /* at the frontier, not at 1024 */
    assert_int_equal(counts_of(buddy, 0).n_allocated, 1013);
    quire_page page;
    assert_int_equal(quire_buddy_alloc_exact(buddy, NULL, 0, 0, &page), -EINVAL);
    assert_int_equal(quire_buddy_alloc_exact(buddy, NULL, 4097, 0, &page), -EINVAL);
    assert_int_equal(quire_buddy_alloc_exact(buddy, NULL, 1, 3, &page), -EINVAL);
    assert_int_equal(quire_buddy_alloc_exact(buddy, NULL, 1, 8192, &page), -EINVAL);
    assert_int_equal(quire_buddy_alloc_exact(buddy, NULL, 4096, 0, &page), 0);
    assert_int_equal(page, 4096);
}

static void part_of_a_block_can_be_freed(void **state)
{
    struct quire_buddy *buddy = make_one(10, 0, 1024);
    alloc(buddy, 10);
    assert_int_equal(quire_buddy_free_range(buddy, 300, 100), 0);
    struct quire_buddy_counts counts = counts_of(buddy, 0);
    assert_int_equal(counts.n_allocated, 924);
    assert_block(buddy, 299, QUIRE_BUDDY_ALLOCATED, 296, 2);
    assert_block(buddy, 300, QUIRE_BUDDY_FREE, 300, 2);
    assert_block(buddy, 399, QUIRE_BUDDY_FREE, 384, 4);
    assert_block(buddy, 400, QUIRE_BUDDY_ALLOCATED, 400, 4);
    assert_int_equal(quire_buddy_free_range(buddy, 0, 300), 0);
    assert_int_equal(quire_buddy_free_range(buddy, 400, 624), 0);
    assert_int_equal(n_blocks(buddy, 0, 10), 1);
}

static void a_range_over_several_blocks_can_be_freed(void **state)
{
    struct quire_buddy *buddy = make_one(6, 0, 256);
    for (unsigned i = 0; i < 4; i++)
        alloc(buddy, 6);
    assert_int_equal(quire_buddy_free_range(buddy, 32, 192), 0);
    assert_int_equal(n_blocks(buddy, 0, 5), 2);
    assert_int_equal(n_blocks(buddy, 0, 6), 2);
}

static void extend_takes_free_and_fresh_pages(void **state)
{
    struct quire_buddy *buddy = make_one(10, 0, 1000);
    quire_page run = alloc(buddy, 2), wall = alloc(buddy, 3);
    assert_int_equal(quire_buddy_try_extend(buddy, run, 4, 8), 0); /* 4 to 7 are free */
    assert_int_equal(quire_buddy_try_extend(buddy, run, 8, 9), -ENOMEM);
    assert_int_equal(quire_buddy_free(buddy, wall, 3), 0);
    assert_int_equal(quire_buddy_try_extend(buddy, run, 8, 100), 0); /* free, then fresh */
    assert_int_equal(counts_of(buddy, 0).frontier, 128);
    assert_int_equal(quire_buddy_try_extend(buddy, run, 100, 1001), -ENOMEM);
    assert_int_equal(quire_buddy_try_extend(buddy, run, 100, UINT32_MAX), -ENOMEM);
    assert_int_equal(quire_buddy_try_extend(buddy, run, 100, 1000), 0);
    assert_int_equal(quire_buddy_try_extend(buddy, run, 1000, 1000), 0);
    assert_int_equal(counts_of(buddy, 0).n_allocated, 1000);
    assert_int_equal(quire_buddy_free_range(buddy, run, 1000), 0);
}

/* Zones */

static void zones_are_tried_in_the_order_of_the_list(void **state)
{
    struct quire_buddy_zone zones[3] = {{1000, 2, NULL}, {0, 2, NULL}, {500, 2, NULL}};
    struct quire_buddy *buddy = make(10, 3, zones);
    struct quire_buddy_request request = {.n_zones = 2, .zone = {2, 0}};
    const quire_page expected[] = {500, 501, 1000, 1001};
    quire_page page;
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(quire_buddy_alloc(buddy, &request, 0, &page), 0);
        assert_int_equal(page, expected[i]);
    }
    assert_int_equal(quire_buddy_alloc(buddy, &request, 0, &page), -ENOMEM);
    request.n_zones = 0; /* all */
    assert_int_equal(quire_buddy_alloc(buddy, &request, 0, &page), 0);
    assert_int_equal(page, 0);
    request = (struct quire_buddy_request){.n_zones = 1, .zone = {3}};
    assert_int_equal(quire_buddy_alloc(buddy, &request, 0, &page), -EINVAL);
    assert_int_equal(quire_buddy_alloc_exact(buddy, &request, 1, 0, &page), -EINVAL);
    request.n_zones = QUIRE_BUDDY_MAX_ZONES + 1;
    assert_int_equal(quire_buddy_alloc(buddy, &request, 0, &page), -EINVAL);
}

static void blocks_of_neighbour_zones_do_not_coalesce(void **state)
{
    struct quire_buddy_zone zones[2] = {{0, 8, NULL}, {8, 8, NULL}};
    struct quire_buddy *buddy = make(10, 2, zones);
    quire_page a = alloc(buddy, 3), b = alloc(buddy, 3);
    assert_int_equal(quire_buddy_free_range(buddy, a, 16), -EINVAL);
    assert_int_equal(quire_buddy_free(buddy, a, 3), 0);
    assert_int_equal(quire_buddy_try_extend(buddy, b, 8, 9), -ENOMEM);
    assert_int_equal(quire_buddy_free(buddy, b, 3), 0);
    assert_int_equal(n_blocks(buddy, 0, 3), 1);
    assert_int_equal(n_blocks(buddy, 1, 3), 1);
    struct quire_buddy_block block;
    assert_int_equal(quire_buddy_block(buddy, 8, &block), 0);
    assert_int_equal(block.zone, 1);
    assert_int_equal(quire_buddy_block(buddy, 16, &block), -EINVAL);
}

static void the_last_page_numbers_work(void **state)
{
    struct quire_buddy *buddy = make_one(28, UINT32_MAX - 5, 5);
    quire_page page;
    assert_int_equal(alloc(buddy, 1), 0xfffffffa);
    assert_int_equal(alloc(buddy, 1), 0xfffffffc);
    assert_int_equal(quire_buddy_alloc(buddy, NULL, 1, &page), -ENOMEM);
    assert_int_equal(quire_buddy_alloc(buddy, NULL, 28, &page), -ENOMEM);
    assert_int_equal(alloc(buddy, 0), UINT32_MAX - 1);
    assert_int_equal(counts_of(buddy, 0).n_allocated, 5);
}

/* Asking */

struct visits {
    unsigned n;
    quire_page pages[8];
    unsigned orders[8];
    unsigned stop_after;
};

static bool record(void *context, quire_page page, unsigned order)
{
    struct visits *visits = context;
    visits->pages[visits->n] = page;
    visits->orders[visits->n++] = order;
    return visits->n < visits->stop_after;
}

static void each_free_visits_the_large_blocks(void **state)
{
    struct quire_buddy *buddy = make_one(10, 0, 4096);
    alloc_exact(buddy, 16 + 1, 1);
    alloc(buddy, 5); /* 32: leaves 17 and so on free */
    assert_int_equal(quire_buddy_free_range(buddy, 0, 8), 0);
    struct visits visits = {.stop_after = 8};
    assert_int_equal(quire_buddy_each_free(buddy, 0, 2, record, &visits), 0);
    static const quire_page pages[] = {0, 20, 24};
    static const unsigned orders[] = {3, 2, 3};
    assert_int_equal(visits.n, 3);
    assert_memory_equal(visits.pages, pages, sizeof pages);
    assert_memory_equal(visits.orders, orders, sizeof orders);
    visits = (struct visits){.stop_after = 1};
    assert_int_equal(quire_buddy_each_free(buddy, 0, 0, record, &visits), 0);
    assert_int_equal(visits.n, 1);
    assert_int_equal(quire_buddy_each_free(buddy, 0, 11, record, &visits), 0);
    assert_int_equal(visits.n, 1);
    assert_int_equal(quire_buddy_each_free(buddy, 1, 0, record, &visits), -EINVAL);
}

static void print_looks_like_proc_buddyinfo(void **state)
{
    struct quire_buddy_zone zones[2] = {{0, 64, "Normal"}, {64, 64, NULL}};
    struct quire_buddy *buddy = make(3, 2, zones);
    alloc(buddy, 0);
    alloc(buddy, 3);
    static const char expected[] = "Node 0, zone   Normal      1      1      1      6 \n"
                                   "Node 0, zone    zone1      0      0      0      0 \n";
    char text[200], cut[20];
    assert_int_equal(quire_buddy_print(buddy, text, sizeof text), sizeof expected - 1);
    assert_string_equal(text, expected);
    assert_int_equal(quire_buddy_print(buddy, cut, sizeof cut), sizeof expected - 1);
    assert_string_equal(cut, "Node 0, zone   Norm");
    assert_int_equal(quire_buddy_print(buddy, NULL, 0), sizeof expected - 1);
}

static void a_fork_child_finds_the_locks_free(void **state)
{
    struct quire_buddy_zone zones[2] = {{0, 64, NULL}, {64, 64, NULL}};
    struct quire_buddy *buddy = make(3, 2, zones);
    quire_buddy_lock_all(buddy);
    assert_false(lock_try(&buddy->zones[0].lock) || lock_try(&buddy->zones[1].lock));
    pid_t child = fork();
    quire_buddy_unlock_all(buddy);
    if (child == 0) {
        quire_page page;
        alarm(300); /* a lock that is held would be held for ever */
        _exit(quire_buddy_alloc(buddy, &(struct quire_buddy_request){.n_zones = 1, .zone = {1}}, 0,
                                &page) != 0 ||
              page != 64 || quire_buddy_validate(buddy) != 0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(counts_of(buddy, 1).n_allocated, 0); /* the child's zones are its own */
}

/* Watermarks */

static struct quire_buddy *make_marked(uint32_t n_pages)
{
    return make_as(
        &(struct quire_buddy_config){.max_order = 10,
                                     .n_zones = 1,
                                     .zones = &(struct quire_buddy_zone){0, n_pages, NULL},
                                     .watermarks = QUIRE_BUDDY_LINUX_WATERMARKS});
}

static void watermarks_follow_the_kernels_rule(void **state)
{
    static const struct {
        uint32_t n_pages;
        struct quire_buddy_marks marks;
    } cases[] = {
        {256, {32, 40, 48}},                   /* 1 MiB: at least 128 KiB */
        {1u << 18, {1024, 1286, 1548}},        /* 1 GiB: 4096 KiB; a step is 0.1 % = 262 pages */
        {1u << 22, {4096, 8290, 12484}},       /* 16 GiB: 16 MiB */
        {1u << 31, {65536, 2213019, 4360502}}, /* 8 TiB: at most 256 MiB */
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct quire_buddy_marks marks;
        assert_int_equal(quire_buddy_marks(make_marked(cases[i].n_pages), 0, &marks), 0);
        assert_int_equal(marks.min, cases[i].marks.min);
        assert_int_equal(marks.low, cases[i].marks.low);
        assert_int_equal(marks.high, cases[i].marks.high);
    }
}

struct watched {
    unsigned n_calls, zone;
    bool is_low;
};

static void watch(void *context, unsigned zone, bool is_low)
{
    struct watched *watched = context;
    *watched = (struct watched){watched->n_calls + 1, zone, is_low};
}

static void watermarks_keep_pages_and_tell(void **state)
{
    struct quire_buddy_zone zones[2] = {{0, 64, NULL}, {64, 64, NULL}};
    struct quire_buddy *buddy = make(5, 2, zones);
    struct quire_buddy_marks marks = {8, 16, 32}, wrong = {16, 8, 32}, large = {1, 2, 65};
    struct quire_buddy_request first = {.n_zones = 1}, below = {.n_zones = 1, .below_min = true};
    struct watched watched = {0};
    quire_page page, taken[64];
    quire_buddy_watch(buddy, watch, &watched);
    assert_int_equal(quire_buddy_set_marks(buddy, 0, &wrong), -EINVAL);
    assert_int_equal(quire_buddy_set_marks(buddy, 0, &large), -EINVAL);
    assert_int_equal(quire_buddy_set_marks(buddy, 2, &marks), -EINVAL);
    assert_int_equal(quire_buddy_set_marks(buddy, 0, &marks), 0);
    for (unsigned i = 0; i < 48; i++)
        assert_true(alloc(buddy, 0) < 64);
    assert_int_equal(watched.n_calls, 0);
    assert_true(alloc(buddy, 0) >= 64); /* the other zone, rather than to fall below low */
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(quire_buddy_alloc(buddy, &first, 0, &taken[i]), 0);
        assert_int_equal(watched.n_calls, 1); /* at the first, once */
    }
    assert_true(watched.is_low && watched.zone == 0);
    assert_int_equal(quire_buddy_alloc(buddy, &first, 0, &page), -EAGAIN);
    assert_int_equal(quire_buddy_alloc(buddy, &first, 5, &page), -ENOMEM);
    assert_int_equal(quire_buddy_alloc_bulk(buddy, &below, 0, taken + 8, 50), 8);
    assert_int_equal(quire_buddy_alloc(buddy, &below, 0, &page), -ENOMEM);
    assert_int_equal(quire_buddy_free_bulk(buddy, 0, taken, 16), 0);
    assert_int_equal(watched.n_calls, 1); /* 16 are free: low, but not high */
    assert_int_equal(quire_buddy_free_range(buddy, 0, 16), 0);
    assert_int_equal(watched.n_calls, 2);
    assert_true(!watched.is_low && watched.zone == 0);
}

/* Mobility */

static const struct quire_buddy_request unmovable = {.mobility = QUIRE_BUDDY_UNMOVABLE};
static const struct quire_buddy_request reclaimable = {.mobility = QUIRE_BUDDY_RECLAIMABLE};

static struct quire_buddy *make_mobile(uint32_t n_pages, enum quire_buddy_form form)
{
    return make_as(
        &(struct quire_buddy_config){.max_order = 10,
                                     .n_zones = 1,
                                     .zones = &(struct quire_buddy_zone){0, n_pages, NULL},
                                     .form = form,
                                     .by_mobility = true});
}

static quire_page alloc_as(struct quire_buddy *buddy, const struct quire_buddy_request *request,
                           unsigned order)
{
    quire_page page;
    assert_int_equal(quire_buddy_alloc(buddy, request, order, &page), 0);
    return page;
}

static enum quire_buddy_mobility mobility_of(struct quire_buddy *buddy, quire_page page)
{
    struct quire_buddy_block block;
    assert_int_equal(quire_buddy_block(buddy, page, &block), 0);
    return block.mobility;
}

static void mobilities_are_kept_apart(void **state)
{
    for (unsigned form = 0; form < 2; form++) {
        struct quire_buddy *buddy = make_mobile(4096, (enum quire_buddy_form)form);
        quire_page n_of[8] = {0};
        for (unsigned i = 0; i < 1200; i++) {
            const struct quire_buddy_request *request = i % 3 == 0   ? NULL
                                                        : i % 3 == 1 ? &unmovable
                                                                     : &reclaimable;
            quire_page page = alloc_as(buddy, request, 0);
            unsigned mobility = request == NULL ? QUIRE_BUDDY_MOVABLE : request->mobility;
            assert_int_equal(mobility_of(buddy, page), mobility);
            n_of[page / 512]++;
        }
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(n_of[i], 400);
        assert_int_equal(counts_of(buddy, 0).frontier, 3 * 512);
    }
}

static void a_half_free_page_block_changes_sides(void **state)
{
    struct quire_buddy *buddy = make_mobile(512, QUIRE_BUDDY_LISTS);
    for (unsigned i = 0; i < 255; i++)
        alloc(buddy, 0);
    quire_page page = alloc_as(buddy, &unmovable, 0);
    assert_int_equal(mobility_of(buddy, page), QUIRE_BUDDY_UNMOVABLE);
    assert_int_equal(mobility_of(buddy, 0), QUIRE_BUDDY_UNMOVABLE);
    assert_int_equal(counts_of(buddy, 0).n_allocated, 256);
}

static void a_fuller_page_block_gives_a_piece_only(void **state)
{
    struct quire_buddy *buddy = make_mobile(512, QUIRE_BUDDY_LISTS);
    for (unsigned i = 0; i < 300; i++)
        alloc(buddy, 0);
    alloc_as(buddy, &unmovable, 0);
    assert_int_equal(mobility_of(buddy, 511), QUIRE_BUDDY_MOVABLE);
    for (unsigned i = 301; i < 512; i++)
        alloc_as(buddy, i % 2 ? &unmovable : &reclaimable, 0); /* none fails while a page is free */
    quire_page page;
    assert_int_equal(quire_buddy_alloc(buddy, &unmovable, 0, &page), -ENOMEM);
}

static void print_types_looks_like_proc_pagetypeinfo(void **state)
{
    struct quire_buddy *buddy = make_as(
        &(struct quire_buddy_config){.max_order = 9,
                                     .n_zones = 1,
                                     .zones = &(struct quire_buddy_zone){0, 4096, "Normal"},
                                     .by_mobility = true});
    alloc(buddy, 8);
    alloc_as(buddy, &unmovable, 7);
    static const char expected[] =
        "Page block order: 9\n"
        "Pages per block:  512\n"
        "\n"
        "Free pages count per migrate type at order       0      1      2      3      4      5"
        "      6      7      8      9 \n"
        "Node    0, zone   Normal, type    Unmovable      0      0      0      0      0      0"
        "      0      1      1      0 \n"
        "Node    0, zone   Normal, type      Movable      0      0      0      0      0      0"
        "      0      0      1      0 \n"
        "Node    0, zone   Normal, type  Reclaimable      0      0      0      0      0      0"
        "      0      0      0      0 \n"
        "\n"
        "Number of blocks type    Unmovable      Movable  Reclaimable \n"
        "Node 0, zone   Normal            1            1            0 \n";
    char text[1200];
    assert_int_equal(quire_buddy_print_types(buddy, text, sizeof text), sizeof expected - 1);
    assert_string_equal(text, expected);
}

static void the_indexes_are_the_kernels(void **state)
{
    struct quire_buddy *buddy = make_one(4, 0, 64);
    assert_int_equal(quire_buddy_unusable_index(buddy, 0, 0), 1000); /* nothing is free yet */
    assert_int_equal(quire_buddy_fragmentation_index(buddy, 0, 0), 0);
    for (unsigned i = 0; i < 64; i++)
        alloc(buddy, 0);
    for (quire_page page = 0; page < 16; page += 2)
        assert_int_equal(quire_buddy_free(buddy, page, 0), 0);
    assert_int_equal(quire_buddy_free_range(buddy, 32, 8), 0);
    assert_int_equal(quire_buddy_unusable_index(buddy, 0, 0), 0);
    assert_int_equal(quire_buddy_unusable_index(buddy, 0, 3), 500); /* 8 of 16 */
    assert_int_equal(quire_buddy_unusable_index(buddy, 0, 4), 1000);
    assert_int_equal(quire_buddy_fragmentation_index(buddy, 0, 3), -1000);
    assert_int_equal(quire_buddy_fragmentation_index(buddy, 0, 4), 1000 - (1000 + 1000) / 9);
    assert_int_equal(quire_buddy_fragmentation_index(buddy, 0, 5), -EINVAL);
    assert_int_equal(quire_buddy_unusable_index(buddy, 1, 0), -EINVAL);
}

/* Setting aside */

static void reserved_pages_are_never_given(void **state)
{
    struct quire_buddy *buddy = make_one(10, 0, 256);
    assert_int_equal(quire_buddy_reserve(buddy, 10, 100), 0);
    assert_int_equal(quire_buddy_reserve(buddy, 50, 1), -EBUSY);
    assert_int_equal(quire_buddy_reserve(buddy, 250, 7), -EINVAL);
    quire_page page;
    for (unsigned i = 0; i < 156; i++) {
        page = alloc(buddy, 0);
        assert_true(page < 10 || page >= 110);
    }
    assert_int_equal(quire_buddy_alloc(buddy, NULL, 0, &page), -ENOMEM);
    assert_int_equal(counts_of(buddy, 0).n_reserved, 100);
    assert_block(buddy, 64, QUIRE_BUDDY_RESERVED, 64, 5);
    assert_int_equal(quire_buddy_free(buddy, 64, 5), -EINVAL);
    assert_int_equal(quire_buddy_online(buddy, 64, 32), 0);
    assert_int_equal(alloc(buddy, 5), 64);
    assert_int_equal(quire_buddy_online(buddy, 50, 20), -EINVAL); /* 64 and on are allocated */
}

static void pages_in_use_go_offline_when_freed(void **state)
{
    struct quire_buddy *buddy = make_one(10, 0, 1024);
    uint32_t n_pending;
    alloc(buddy, 7);
    quire_page page = alloc(buddy, 5);
    assert_int_equal(quire_buddy_offline(buddy, 120, 40, &n_pending), 0);
    assert_int_equal(n_pending, 8 + 32);
    assert_int_equal(quire_buddy_offline(buddy, 160, 1024, &n_pending), -EINVAL);
    assert_int_equal(quire_buddy_free(buddy, page, 5), 0);
    assert_int_equal(counts_of(buddy, 0).n_offline, 32);
    assert_int_equal(quire_buddy_free_range(buddy, 0, 64), 0); /* part of what leaves, too */
    assert_int_equal(counts_of(buddy, 0).n_offline, 96);
    assert_int_equal(quire_buddy_online(buddy, 64, 64), 0); /* stays after all */
    assert_int_equal(quire_buddy_free(buddy, 64, 6), 0);
    assert_int_equal(counts_of(buddy, 0).n_offline, 96);
    assert_int_equal(quire_buddy_offline(buddy, 512, 512, &n_pending), 0); /* fresh */
    assert_int_equal(n_pending, 0);
    assert_int_equal(counts_of(buddy, 0).n_offline, 608);
    assert_int_equal(quire_buddy_online(buddy, 512, 512), 0);
    assert_int_equal(alloc(buddy, 9), 512);
}

/* Caches */

static struct quire_buddy_cache *make_cache(struct quire_buddy *buddy)
{
    struct quire_buddy_cache *cache;
    assert_int_equal(quire_buddy_cache_init(buddy, NULL, 0, map(quire_buddy_cache_bytes()), &cache),
                     0);
    return cache;
}

static void a_cache_gives_what_was_freed_to_it_last(void **state)
{
    struct quire_buddy *buddy = make_one(10, 0, 4096);
    struct quire_buddy_cache *cache = make_cache(buddy);
    quire_page pages[3], page;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(quire_buddy_cache_alloc(cache, 3, &pages[i]), 0);
    assert_int_equal(pages[1] - pages[0], 8); /* lowest first */
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(quire_buddy_cache_free(cache, pages[i], 3), 0);
    assert_block(buddy, pages[1], QUIRE_BUDDY_CACHED, pages[1], 3);
    assert_int_equal(quire_buddy_cache_alloc(cache, 3, &page), 0);
    assert_int_equal(page, pages[2]);
    assert_int_equal(quire_buddy_cache_free(cache, page, 3), 0);
    assert_int_not_equal(counts_of(buddy, 0).n_allocated, 0);
    assert_int_equal(quire_buddy_cache_drain(cache), 32 * 8);
    assert_int_equal(counts_of(buddy, 0).n_allocated, 0);
}

static void a_cache_catches_wrong_frees(void **state)
{
    struct quire_buddy *buddy = make_one(10, 0, 4096);
    struct quire_buddy_cache *cache = make_cache(buddy), *other = make_cache(buddy);
    quire_page page;
    assert_int_equal(quire_buddy_cache_alloc(cache, 2, &page), 0);
    assert_int_equal(quire_buddy_cache_free(cache, page, 1), -EINVAL);
    assert_int_equal(quire_buddy_cache_free(cache, page + 1, 2), -EINVAL);
    assert_int_equal(quire_buddy_cache_free(cache, 4096, 2), -EINVAL);
    assert_int_equal(quire_buddy_cache_free(other, page, 2), 0);
    assert_int_equal(quire_buddy_cache_free(other, page, 2), -EINVAL);
    assert_int_equal(quire_buddy_cache_free(cache, page, 2), -EINVAL);
    assert_int_equal(quire_buddy_free(buddy, page, 2), -EINVAL);
    assert_int_equal(quire_buddy_free_range(buddy, page, 4), -EINVAL);
    quire_buddy_cache_drain(other);
    assert_int_equal(quire_buddy_cache_free(other, page, 2), -EINVAL);
    quire_buddy_cache_drain(cache);
    assert_int_equal(counts_of(buddy, 0).n_allocated, 0);
}

static void a_cache_keeps_to_its_zones_and_mobility(void **state)
{
    struct quire_buddy_zone zones[2] = {{0, 512, NULL}, {512, 512, NULL}};
    struct quire_buddy *buddy = make_as(&(struct quire_buddy_config){
        .max_order = 10, .n_zones = 2, .zones = zones, .by_mobility = true});
    struct quire_buddy_request request = {.n_zones = 1, .zone = {1}};
    struct quire_buddy_cache *cache;
    assert_int_equal(
        quire_buddy_cache_init(buddy, &request, 0, map(quire_buddy_cache_bytes()), &cache), 0);
    quire_page page, low = alloc(buddy, 0), fixed;
    request.mobility = QUIRE_BUDDY_UNMOVABLE;
    fixed = alloc_as(buddy, &request, 0);
    assert_int_equal(quire_buddy_cache_free(cache, low, 0), 0);
    assert_block(buddy, low, QUIRE_BUDDY_FREE, 0, 9);
    assert_int_equal(quire_buddy_cache_free(cache, fixed, 0), 0);
    assert_block(buddy, fixed, QUIRE_BUDDY_FREE, 512, 9);
    assert_int_equal(quire_buddy_cache_alloc(cache, 0, &page), 0);
    assert_true(page >= 512);
    request.zone[0] = 2;
    assert_int_equal(quire_buddy_cache_init(buddy, &request, 0, cache, &cache), -EINVAL);
}

/* Damage is found: one invariant each, see zone.c. */

static void validate_finds_damage(void **state)
{
    struct quire_buddy *buddy = make_one(10, 0, 1024);
    struct zone *zone = &buddy->zones[0];
    alloc(buddy, 5);
    alloc(buddy, 3);
    alloc(buddy, 3);
    alloc(buddy, 4);
    alloc(buddy, 6); /* 64 */
    alloc(buddy, 6);
    alloc(buddy, 6);
    assert_int_equal(quire_buddy_free(buddy, 32, 3), 0);
    assert_int_equal(quire_buddy_free(buddy, 128, 6), 0);
    assert_int_equal(quire_buddy_validate(buddy), 0);
    struct zone_group *carved = zone_group(zone, 0), *free = zone_group(zone, 2);
#pragma GCC diagnostic ignored "-Wconversion" /* bit fields are saved and put back, too */
#define EXPECT_DAMAGE(place, damage)                             \
    do {                                                         \
        uint64_t was = (place);                                  \
        (place) = (damage);                                      \
        assert_int_equal(quire_buddy_validate(buddy), -EUCLEAN); \
        (place) = (__typeof__(+(place)))was;                     \
        assert_int_equal(quire_buddy_validate(buddy), 0);        \
    } while (0)
    EXPECT_DAMAGE(*zone_state(zone, 0), 0);                      /* 1: a page in no block */
    EXPECT_DAMAGE(*zone_state(zone, 0), ZONE_ALLOCATED | 11);    /* 1: above max_order */
    EXPECT_DAMAGE(*zone_state(zone, 40), ZONE_ALLOCATED | 4);    /* 1: not aligned */
    EXPECT_DAMAGE(*zone_state(zone, 40), ZONE_FREE | 3);         /* 1: no kind of use */
    EXPECT_DAMAGE(zone->frontier, 2000);                         /* 1 */
    EXPECT_DAMAGE(*zone_state(zone, 17), ZONE_ALLOCATED);        /* 2: inside a block */
    EXPECT_DAMAGE(*zone_state(zone, 256), ZONE_ALLOCATED);       /* 2: at the frontier */
    EXPECT_DAMAGE(carved->used, 0xffffffff00ffffff);             /* 3: a block in use is free */
    EXPECT_DAMAGE(carved->kind, GROUP_PLAIN);                    /* 3 */
    EXPECT_DAMAGE(zone_group(zone, 1)->kind, GROUP_CARVED);      /* 3 */
    EXPECT_DAMAGE(free->offer, 7);                               /* 1: crosses the frontier */
    EXPECT_DAMAGE(carved->offer, 2);                             /* 5 */
    EXPECT_DAMAGE(zone->head[0][3], ZONE_NIL);                   /* 5: 32 is on no list */
    EXPECT_DAMAGE(zone->head[0][6], 1);                          /* 5: allocated */
    EXPECT_DAMAGE(zone->head[0][6], 4000);                       /* 5: outside */
    EXPECT_DAMAGE(free->previous, 1);                            /* 5 */
    EXPECT_DAMAGE(free->next, 2);                                /* 5: a ring */
    EXPECT_DAMAGE(zone->nonempty[0], 0);                         /* 5 */
    EXPECT_DAMAGE(zone->n_free, 17);                             /* 6 */
    EXPECT_DAMAGE(zone->n_set_aside[1], 17);                     /* 6 */
    EXPECT_DAMAGE(zone->metadata_bytes, 8192);                   /* 7 */
    EXPECT_DAMAGE(*((char *)zone + zone->states.touched_at), 0); /* 7 */
    EXPECT_DAMAGE(*((char *)zone + zone->groups.touched_at), 0); /* 7 */
}

static void validate_finds_a_damaged_tree(void **state)
{
    struct quire_buddy *buddy = make_as(
        &(struct quire_buddy_config){.max_order = 10,
                                     .n_zones = 1,
                                     .zones = &(struct quire_buddy_zone){0, 1024, NULL},
                                     .form = QUIRE_BUDDY_TREE});
    struct zone *zone = &buddy->zones[0];
    uint8_t *tree = (uint8_t *)zone + zone->trees_at;
    alloc(buddy, 5);
    EXPECT_DAMAGE(tree[1], 5);                     /* the root */
    EXPECT_DAMAGE(tree[zone->tree_leaves / 2], 5); /* a node */
    EXPECT_DAMAGE(tree[zone->tree_leaves], 5);     /* a leaf */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(init_refuses_invalid_configurations),
        cmocka_unit_test(init_refuses_unfit_metadata),
        cmocka_unit_test(a_terabyte_costs_what_is_used_of_it),
        cmocka_unit_test(a_large_block_costs_its_head),
        cmocka_unit_test(metadata_may_be_moved),
        cmocka_unit_test(alloc_takes_fresh_pages_in_order),
        cmocka_unit_test(alignment_at_the_frontier_leaves_free_blocks),
        cmocka_unit_test(the_smallest_sufficient_block_is_split),
        cmocka_unit_test(the_group_freed_to_last_is_taken_from_first),
        cmocka_unit_test(a_tree_takes_the_lowest),
        cmocka_unit_test(free_coalesces_up_to_max_order_only),
        cmocka_unit_test(a_zone_of_any_shape_gives_all_its_pages),
        cmocka_unit_test(a_zone_that_is_all_free_gives_its_largest_block),
        cmocka_unit_test(a_small_alignment_finds_the_block_that_the_frontier_cuts),
        cmocka_unit_test(a_small_alignment_joins_free_and_fresh_pages),
        cmocka_unit_test(alloc_exact_gives_the_tail_back),
        cmocka_unit_test(alloc_exact_is_aligned_as_asked),
        cmocka_unit_test(part_of_a_block_can_be_freed),
        cmocka_unit_test(a_range_over_several_blocks_can_be_freed),
        cmocka_unit_test(extend_takes_free_and_fresh_pages),
        cmocka_unit_test(zones_are_tried_in_the_order_of_the_list),
        cmocka_unit_test(blocks_of_neighbour_zones_do_not_coalesce),
        cmocka_unit_test(the_last_page_numbers_work),
        cmocka_unit_test(each_free_visits_the_large_blocks),
        cmocka_unit_test(print_looks_like_proc_buddyinfo),
        cmocka_unit_test(a_fork_child_finds_the_locks_free),
        cmocka_unit_test(watermarks_follow_the_kernels_rule),
        cmocka_unit_test(watermarks_keep_pages_and_tell),
        cmocka_unit_test(mobilities_are_kept_apart),
        cmocka_unit_test(a_half_free_page_block_changes_sides),
        cmocka_unit_test(a_fuller_page_block_gives_a_piece_only),
        cmocka_unit_test(print_types_looks_like_proc_pagetypeinfo),
        cmocka_unit_test(the_indexes_are_the_kernels),
        cmocka_unit_test(reserved_pages_are_never_given),
        cmocka_unit_test(pages_in_use_go_offline_when_freed),
        cmocka_unit_test(a_cache_gives_what_was_freed_to_it_last),
        cmocka_unit_test(a_cache_catches_wrong_frees),
        cmocka_unit_test(a_cache_keeps_to_its_zones_and_mobility),
        cmocka_unit_test(validate_finds_damage),
        cmocka_unit_test(validate_finds_a_damaged_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
