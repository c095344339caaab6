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

static struct quire_buddy *make(unsigned max_order, unsigned n_zones,
                                const struct quire_buddy_zone *zones)
{
    struct quire_buddy_config config = {max_order, n_zones, zones};
    size_t n_bytes = quire_buddy_metadata_bytes(&config);
    struct quire_buddy *buddy;
    assert_int_equal(quire_buddy_init(&config, map(n_bytes), n_bytes, &buddy), 0);
    return buddy;
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
    assert_int_equal(counts.n_pages, counts.n_allocated + counts.n_free + counts.n_fresh);
    return counts;
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
    struct quire_buddy_config config = {10, 2, zones};
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
    struct quire_buddy_config config = {10, 1, &zone};
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
    struct quire_buddy_config config = {20, 1, &zone};
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
    assert_int_equal(counts.n_blocks[20], 2);
    assert_in_range(counts.metadata_bytes, held_bytes - 4096, held_bytes + 4096);
    assert_int_equal(quire_buddy_metadata_held(buddy) - counts.metadata_bytes, sizeof *buddy);
    munmap(metadata, n_bytes);
}

static void a_large_block_costs_its_head(void **state)
{
    struct quire_buddy_zone zone = {1u << 27, 1u << 27, NULL};
    struct quire_buddy_config config = {26, 1, &zone};
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
    assert_in_range(quire_buddy_metadata_held(buddy), held_bytes - 4096, held_bytes + 4096);
    munmap(metadata, n_bytes);
}

static void metadata_may_be_moved(void **state)
{
    struct quire_buddy_zone zone = {7, 1000, NULL};
    struct quire_buddy_config config = {10, 1, &zone};
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
    assert_int_equal(counts.frontier, 5);
    assert_int_equal(counts.n_free, 0);
    assert_int_equal(counts.n_fresh, 4091);
}

static void alignment_at_the_frontier_leaves_free_blocks(void **state)
{
    struct quire_buddy *buddy = make_one(10, 0, 4096);
    assert_int_equal(alloc(buddy, 0), 0);
    assert_int_equal(alloc(buddy, 4), 16);
    struct quire_buddy_counts counts = counts_of(buddy, 0);
    assert_int_equal(counts.n_free, 15);
    for (unsigned order = 0; order < 4; order++)
        assert_int_equal(counts.n_blocks[order], 1);
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

static void the_block_freed_last_is_taken_first(void **state)
{
    struct quire_buddy *buddy = make_one(10, 0, 64);
    for (unsigned i = 0; i < 64; i++)
        alloc(buddy, 0);
    assert_int_equal(quire_buddy_free(buddy, 10, 0), 0);
    assert_int_equal(quire_buddy_free(buddy, 40, 0), 0);
    assert_int_equal(quire_buddy_free(buddy, 20, 0), 0);
    assert_int_equal(alloc(buddy, 0), 20);
    assert_int_equal(alloc(buddy, 0), 40);
    assert_int_equal(alloc(buddy, 0), 10);
}

static void free_coalesces_up_to_max_order_only(void **state)
{
    struct quire_buddy *buddy = make_one(4, 0, 32);
    for (unsigned i = 0; i < 32; i++)
        alloc(buddy, 0);
    for (unsigned i = 0; i < 32; i++)
        assert_int_equal(quire_buddy_free(buddy, (i * 13) % 32, 0), 0);
    struct quire_buddy_counts counts = counts_of(buddy, 0);
    assert_int_equal(counts.n_blocks[4], 2);
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
    assert_int_equal(counts_of(buddy, 0).n_blocks[9], 1);
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
    alloc(buddy, 2);
    assert_int_equal(quire_buddy_free(buddy, alloc(buddy, 0), 0), 0);
    assert_int_equal(alloc_exact(buddy, 5, 4), 4); /* page 4 from the list, 5 to 8 fresh */
    assert_int_equal(counts_of(buddy, 0).n_free, 0);
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
    assert_int_equal(counts.n_blocks[0], 1); /* 11 */
    assert_int_equal(counts.n_blocks[2], 1); /* 12 to 15 */
    assert_block(buddy, 9, QUIRE_BUDDY_ALLOCATED, 8, 1);
    assert_block(buddy, 10, QUIRE_BUDDY_ALLOCATED, 10, 0);
}

static void alloc_exact_is_aligned_as_asked(void **state)
{
    struct quire_buddy *buddy = make_one(12, 1, 8191);
    assert_int_equal(alloc_exact(buddy, 5, 1), 1);
    assert_int_equal(alloc_exact(buddy, 5, 0), 8);
    assert_int_equal(alloc_exact(buddy, 3, 64), 64);
    assert_int_equal(alloc_exact(buddy, 1000, 8), 72); /* at the frontier, not at 1024 */
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
    assert_int_equal(counts_of(buddy, 0).n_blocks[10], 1);
}

static void a_range_over_several_blocks_can_be_freed(void **state)
{
    struct quire_buddy *buddy = make_one(6, 0, 256);
    for (unsigned i = 0; i < 4; i++)
        alloc(buddy, 6);
    assert_int_equal(quire_buddy_free_range(buddy, 32, 192), 0);
    struct quire_buddy_counts counts = counts_of(buddy, 0);
    assert_int_equal(counts.n_blocks[5], 2);
    assert_int_equal(counts.n_blocks[6], 2);
}

static void extend_takes_free_and_fresh_pages(void **state)
{
    struct quire_buddy *buddy = make_one(10, 0, 1000);
    quire_page run = alloc(buddy, 2), wall = alloc(buddy, 3);
    assert_int_equal(quire_buddy_try_extend(buddy, run, 4, 8), 0); /* 4 to 7 are free */
    assert_int_equal(quire_buddy_try_extend(buddy, run, 8, 9), -ENOMEM);
    assert_int_equal(quire_buddy_free(buddy, wall, 3), 0);
    assert_int_equal(quire_buddy_try_extend(buddy, run, 8, 100), 0); /* free, then fresh */
    assert_int_equal(counts_of(buddy, 0).frontier, 100);
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
    struct quire_buddy_zonelist list = {2, {2, 0}};
    const quire_page expected[] = {500, 501, 1000, 1001};
    quire_page page;
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(quire_buddy_alloc(buddy, &list, 0, &page), 0);
        assert_int_equal(page, expected[i]);
    }
    assert_int_equal(quire_buddy_alloc(buddy, &list, 0, &page), -ENOMEM);
    list.n = 0; /* all */
    assert_int_equal(quire_buddy_alloc(buddy, &list, 0, &page), 0);
    assert_int_equal(page, 0);
    list = (struct quire_buddy_zonelist){1, {3}};
    assert_int_equal(quire_buddy_alloc(buddy, &list, 0, &page), -EINVAL);
    assert_int_equal(quire_buddy_alloc_exact(buddy, &list, 1, 0, &page), -EINVAL);
    list.n = QUIRE_BUDDY_MAX_ZONES + 1;
    assert_int_equal(quire_buddy_alloc(buddy, &list, 0, &page), -EINVAL);
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
    assert_int_equal(counts_of(buddy, 0).n_blocks[3], 1);
    assert_int_equal(counts_of(buddy, 1).n_blocks[3], 1);
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
    assert_int_equal(visits.n, 3);
    assert_int_equal(visits.orders[0] + visits.orders[1], 6);
    assert_int_equal(visits.pages[0] + visits.pages[1], 24);
    assert_int_equal(visits.orders[2], 2);
    assert_int_equal(visits.pages[2], 20);
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
    static const char expected[] = "Node 0, zone   Normal      1      1      1      0 \n"
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
        _exit(quire_buddy_alloc(buddy, &(struct quire_buddy_zonelist){1, {1}}, 0, &page) != 0 ||
              page != 64 || quire_buddy_validate(buddy) != 0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(counts_of(buddy, 1).n_allocated, 0); /* the child's zones are its own */
}

/* Damage is found: one invariant each, see zone.c. */

static void validate_finds_damage(void **state)
{
    struct quire_buddy *buddy = make_one(10, 0, 1024);
    struct zone *zone = &buddy->zones[0];
    alloc(buddy, 5);
    alloc(buddy, 3);
    alloc(buddy, 3);
    alloc(buddy, 3);
    alloc(buddy, 3);
    assert_int_equal(quire_buddy_free(buddy, 32, 3), 0);
    assert_int_equal(quire_buddy_free(buddy, 48, 3), 0);
    assert_int_equal(quire_buddy_validate(buddy), 0);
#define EXPECT_DAMAGE(place, damage)                             \
    do {                                                         \
        __typeof__(place) was = (place);                         \
        (place) = (damage);                                      \
        assert_int_equal(quire_buddy_validate(buddy), -EUCLEAN); \
        (place) = was;                                           \
        assert_int_equal(quire_buddy_validate(buddy), 0);        \
    } while (0)
    EXPECT_DAMAGE(*zone_state(zone, 0), 0);                   /* 1: a page in no block */
    EXPECT_DAMAGE(*zone_state(zone, 0), ZONE_ALLOCATED | 11); /* 1: above max_order */
    EXPECT_DAMAGE(*zone_state(zone, 56), ZONE_ALLOCATED | 4); /* 1: not aligned */
    EXPECT_DAMAGE(*zone_state(zone, 32), ZONE_KIND_MASK | 3); /* 1: no kind */
    EXPECT_DAMAGE(zone->frontier, 2000);                      /* 1 */
    EXPECT_DAMAGE(*zone_state(zone, 17), ZONE_ALLOCATED);     /* 2: inside a block */
    EXPECT_DAMAGE(*zone_state(zone, 64), ZONE_ALLOCATED);     /* 2: at the frontier */
    EXPECT_DAMAGE(*zone_state(zone, 56), ZONE_FREE | 3);      /* 4: and on no list */
    EXPECT_DAMAGE(zone->head[3], 32);                         /* 3: 48 is on no list */
    EXPECT_DAMAGE(zone->head[3], 40);                         /* 3: allocated */
    EXPECT_DAMAGE(zone->head[3], 4000);                       /* 3: outside */
    EXPECT_DAMAGE(zone_link(zone, 32, 3)->prev, 40);          /* 3 */
    EXPECT_DAMAGE(zone_link(zone, 32, 3)->next, 48);          /* 3: a ring */
    EXPECT_DAMAGE(zone->n_blocks[3], 3);                      /* 5 */
    EXPECT_DAMAGE(zone->nonempty, 0);                         /* 5 */
    EXPECT_DAMAGE(zone->n_free, 17);                          /* 5 */
    EXPECT_DAMAGE(zone->n_allocated, 47);                     /* 5 */
    EXPECT_DAMAGE(zone_group(zone, 0)->touched, 6);           /* 6: ZONE_LOW_LINKS is missing */
    EXPECT_DAMAGE(zone_group(zone, 0)->touched, 5);           /* 6: ZONE_STATES is */
    EXPECT_DAMAGE(zone_group(zone, 0)->touched, 3);           /* 6: ZONE_GROUPS is */
    EXPECT_DAMAGE(zone->metadata_bytes, 8192);                /* 6 */
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
        cmocka_unit_test(the_block_freed_last_is_taken_first),
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
        cmocka_unit_test(validate_finds_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
