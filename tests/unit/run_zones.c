/* SPDX-License-Identifier: Apache-2.0 */
/* Zones as they are read from outside, against what the buddy system itself says of them. */
#include "observe/run_zones.h"

#include "pages/shown.h"

#include <errno.h>
#include <pthread.h>
#include <quire/buddy.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define N_BLOCKS 600
#define N_STEPS 3000
#define N_CHURNED 60000

extern const struct zones_layout quire_zones_layout;

/* xorshift64; a state a thread */
static uint64_t draw(uint64_t *random, uint64_t below)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random % below;
}

struct held {
    quire_page page;
    uint32_t n_pages;
};

static struct quire_buddy *make(bool by_mobility, enum quire_buddy_form form)
{
    /* neither begins nor ends with a group of 64 pages */
    static const struct quire_buddy_zone zones[] = {{37, 20000, "heap"}, {20037, 50001, "maps"}};
    const struct quire_buddy_config config = {
        .max_order = 12, .n_zones = 2, .zones = zones, .form = form, .by_mobility = by_mobility};
    size_t n_bytes = quire_buddy_metadata_bytes(&config);
    struct quire_buddy *buddy;
    void *memory = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_true(memory != MAP_FAILED);
    assert_int_equal(quire_buddy_init(&config, memory, n_bytes, &buddy), 0);
    return buddy;
}

static void compare(struct quire_buddy *buddy, struct quire_observe *observe, unsigned n_types)
{
    struct quire_observe_zones zones;

    assert_int_equal(run_zones_read(observe, getpid(), &quire_zones_layout, &zones), 0);
    assert_int_equal(zones.n_zones, 2);
    assert_int_equal(zones.n_types, n_types);
    for (unsigned i = 0; i < 2; i++) {
        struct quire_buddy_counts counts;
        struct quire_buddy_free_blocks blocks;
        const struct quire_observe_zone *zone = &zones.zones[i];
        assert_int_equal(quire_buddy_counts(buddy, i, &counts), 0);
        assert_int_equal(quire_buddy_free_blocks(buddy, i, &blocks), 0);
        assert_string_equal(zone->name, i == 0 ? "heap" : "maps");
        assert_int_equal(zone->free_pages, counts.n_free);
        assert_int_equal(zone->spanned_pages, counts.n_pages);
        assert_int_equal(zone->managed_pages, counts.frontier - counts.first);
        for (unsigned order = 0; order <= 12; order++) {
            uint64_t sum = 0;
            for (unsigned type = 0; type < n_types; type++) {
                assert_int_equal(zone->free_blocks_of[type][order], blocks.n_blocks[type][order]);
                sum += blocks.n_blocks[type][order];
            }
            assert_int_equal(zone->free_blocks[order], sum);
            assert_true(sum == 0 || order < zones.n_orders);
        }
    }
}

static void step(struct quire_buddy *buddy, struct held *held, size_t *n, unsigned n_types,
                 uint64_t *random)
{
    struct quire_buddy_request request = {.mobility = (uint8_t)draw(random, n_types)};

    if (*n < N_BLOCKS && draw(random, 5) < 3) {
        struct held *one = &held[*n];
        one->n_pages = (uint32_t)(1 + draw(random, draw(random, 9) == 0 ? 1500 : 40));
        if (quire_buddy_alloc_exact(buddy, &request, one->n_pages, 0, &one->page) == 0)
            ++*n;
    } else if (*n > 0) {
        size_t i = draw(random, *n);
        assert_int_equal(quire_buddy_free_range(buddy, held[i].page, held[i].n_pages), 0);
        held[i] = held[--*n];
    }
}

static void as_the_buddy_system_counts(void **state)
{
    struct quire_observe *observe;
    uint64_t random = 42;

    assert_int_equal(quire_observe_open(NULL, &observe), 0);
    for (unsigned form = 0; form < 4; form++) {
        static struct held held[N_BLOCKS];
        size_t n = 0;
        unsigned n_types = form % 2 ? 3 : 1;
        struct quire_buddy *buddy = make(form % 2, form < 2 ? QUIRE_BUDDY_LISTS : QUIRE_BUDDY_TREE);
        buddy_show(buddy);
        compare(buddy, observe, n_types); /* nothing was ever used */
        for (unsigned i = 0; i < N_STEPS; i++) {
            step(buddy, held, &n, n_types, &random);
            if (i % 50 == 0)
                compare(buddy, observe, n_types);
        }
    }
    quire_observe_close(observe);
}

static atomic_bool has_to_end;
static atomic_uint n_churned;

/* Gives back one page and takes another, so that the count of free pages alone says little. */
static void *churn(void *buddy)
{
    static quire_page pages[N_CHURNED];
    uint64_t random = 7;

    for (size_t i = 0; i < N_CHURNED; i++)
        assert_int_equal(quire_buddy_alloc(buddy, NULL, 0, &pages[i]), 0);
    while (!atomic_load(&has_to_end)) {
        size_t one = draw(&random, N_CHURNED);
        atomic_fetch_add(&n_churned, 1);
        size_t other = draw(&random, N_CHURNED);
        assert_int_equal(quire_buddy_free(buddy, pages[one], 0), 0);
        if (other != one)
            assert_int_equal(quire_buddy_free(buddy, pages[other], 0), 0);
        assert_int_equal(quire_buddy_alloc(buddy, NULL, 0, &pages[one]), 0);
        if (other != one)
            assert_int_equal(quire_buddy_alloc(buddy, NULL, 0, &pages[other]), 0);
    }
    return NULL;
}

/* What is read while all changes adds up, or is not given at all. */
static void while_it_changes(void **state)
{
    struct quire_buddy *buddy = make(false, QUIRE_BUDDY_LISTS);
    struct quire_observe *observe;
    struct quire_observe_zones zones;
    pthread_t thread;

    buddy_show(buddy);
    atomic_store(&has_to_end, false);
    atomic_store(&n_churned, 0);
    assert_int_equal(quire_observe_open(NULL, &observe), 0);
    assert_int_equal(pthread_create(&thread, NULL, churn, buddy), 0);
    for (unsigned i = 0; i < 100 || atomic_load(&n_churned) < 20000; i++) {
        int error = run_zones_read(observe, getpid(), &quire_zones_layout, &zones);
        assert_true(error == 0 || error == -EAGAIN);
        for (unsigned k = 0; error == 0 && k < zones.n_zones; k++) {
            uint64_t sum = 0;
            for (unsigned order = 0; order < zones.n_orders; order++)
                sum += zones.zones[k].free_blocks[order] << order;
            assert_int_equal(sum, zones.zones[k].free_pages);
        }
    }
    atomic_store(&has_to_end, true);
    pthread_join(thread, NULL);
    compare(buddy, observe, 1);
    quire_observe_close(observe);
}

static void who_has_none(void **state)
{
    struct quire_observe *observe;
    struct quire_observe_zones zones;

    assert_int_equal(quire_observe_open(NULL, &observe), 0);
    buddy_show(NULL);
    assert_int_equal(run_zones_read(observe, getpid(), &quire_zones_layout, &zones), -EAGAIN);
    assert_int_equal(quire_observe_run_zones(observe, 0, &zones), -ESRCH);
    assert_int_equal(quire_observe_run_zones(observe, 1 << 30, &zones), -ESRCH);
    assert_int_equal(quire_observe_run_zones(observe, getpid(), &zones), -ENOENT);
    quire_observe_close(observe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_the_buddy_system_counts),
        cmocka_unit_test(while_it_changes),
        cmocka_unit_test(who_has_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
