/* SPDX-License-Identifier: Apache-2.0 */
/* What comes in along with a page: neighbours, strides, and whether it pays. */
#include "policy/prefetch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define N_PAGES 65536u
#define MOST 16u

static bool is_held[N_PAGES];
static struct prefetch prefetch;

static void begin(enum prefetch_kind kind)
{
    memset(is_held, 0, sizeof is_held);
    prefetch_init(&prefetch, kind);
}

/* A reference; true: a fault. What comes along is counted. */
static bool refer(uint32_t page, unsigned *n_beside)
{
    struct prefetch_plan plan;
    uint32_t n = 0, n_others = 0;
    if (is_held[page])
        return false;
    prefetch_plan(&prefetch, page, MOST, &plan);
    assert_in_range(plan.n_pages, 1, MOST);
    for (; n < plan.n_pages && page + n < N_PAGES && !is_held[page + n]; n++) {
        assert_int_not_equal(page + n, plan.watch);
        is_held[page + n] = true;
    }
    assert_in_range(plan.n_runs, 0, PREFETCH_RUNS);
    for (uint32_t i = 0; i < plan.n_runs; i++) {
        for (uint32_t at = 0; at < plan.run[i].n_pages; at++) {
            uint32_t other = plan.run[i].first + at;
            assert_int_not_equal(other, plan.watch);
            if (other >= N_PAGES || is_held[other])
                continue;
            is_held[other] = true;
            n_others++;
        }
    }
    bool absent = plan.watch < N_PAGES && !is_held[plan.watch];
    prefetch_done(&prefetch, &plan, page, n, n_others, 0, absent);
    *n_beside += n - 1 + n_others;
    return true;
}

/* What is said to be used, for references with so many pages between them, in hundredths of what
 * is. */
static unsigned said_of_used(uint32_t stride)
{
    unsigned n_beside = 0, n_used = 0;
    begin(PREFETCH_ADAPTIVE);
    for (uint32_t page = 0; page < 20000; page += stride)
        n_used += !refer(page, &n_beside);
    return (unsigned)(prefetch.n_used * 100 / (n_used + 1));
}

static void pages_that_a_stream_skips_do_not_count_as_used(void **state)
{
    assert_in_range(said_of_used(1), 90, 110);
    assert_in_range(said_of_used(2), 80, 120);
}

#define MEMORY 3000u /* pages that are held: the oldest goes */

static bool came_along[N_PAGES];

/* A page came in; what is there for longest goes. */
static void hold(uint32_t page, bool beside)
{
    static uint32_t queue[MEMORY], n_held;
    uint32_t oldest = queue[n_held % MEMORY];
    if (n_held >= MEMORY)
        is_held[oldest] = came_along[oldest] = false;
    queue[n_held++ % MEMORY] = page;
    came_along[page] = beside;
}

/* What is said to be used of what came along as neighbours, in hundredths of what is. */
static unsigned said_of_neighbours(uint32_t stride)
{
    bool was_held[PREFETCH_CLUSTER];
    unsigned n_beside = 0, n_used = 0;
    begin(PREFETCH_CLUSTERS);
    memset(came_along, 0, sizeof came_along);
    for (uint32_t i = 0, page = 0; i < 8192; i++) {
        const uint32_t block = page & ~(PREFETCH_CLUSTER - 1);
        memcpy(was_held, &is_held[block], sizeof was_held);
        n_used += came_along[page];
        came_along[page] = false;
        refer(page, &n_beside);
        for (uint32_t at = 0; at < PREFETCH_CLUSTER; at++)
            if (is_held[block + at] && !was_held[at])
                hold(block + at, block + at != page);
        page = page + stride < 8192 ? page + stride : page % stride + 1;
    }
    return (unsigned)(prefetch.n_used * 100 / (n_used + 1));
}

static void neighbours_that_strides_use_are_counted(void **state)
{
    static const uint32_t strides[] = {1, 2, 3, 5};
    for (unsigned i = 0; i < sizeof strides / sizeof strides[0]; i++)
        assert_in_range(said_of_neighbours(strides[i]), 80, 120);
}

static uint32_t random_page(uint32_t i)
{
    return (i * 2654435761u) >> 16;
}

/* With no distance that comes twice. */
static uint32_t mixed_page(uint32_t i)
{
    uint32_t x = (i + 1) * 2654435761u;
    x = (x ^ x >> 15) * 2246822519u;
    return (x ^ x >> 13) % N_PAGES;
}

static void none_brings_nothing_along(void **state)
{
    unsigned n_beside = 0;
    begin(PREFETCH_NONE);
    for (uint32_t page = 0; page < 1000; page++)
        assert_true(refer(page, &n_beside));
    assert_int_equal(n_beside, 0);
    assert_int_equal(prefetch.n_used, 0);
}

static void a_cluster_is_a_block(void **state)
{
    unsigned n_beside = 0;
    begin(PREFETCH_CLUSTERS);
    refer(100, &n_beside); /* the first one of so many, of which a page is left out */
    assert_int_equal(n_beside, PREFETCH_CLUSTER - 2);
    uint32_t left_out = 96;
    while (is_held[left_out])
        left_out++;
    assert_in_range(left_out, 96, 103);
    assert_true(refer(left_out, &n_beside));
    assert_int_equal(prefetch.n_used, PREFETCH_CLUSTER - 2);
    n_beside = 0;
    refer(1000 + 5, &n_beside);
    assert_int_equal(n_beside, PREFETCH_CLUSTER - 1);
    for (uint32_t page = 1000; page < 1000 + PREFETCH_CLUSTER; page++)
        assert_true(is_held[page]);
    assert_false(is_held[999] || is_held[1000 + PREFETCH_CLUSTER]);
}

/* Faults in 1000 references that lie so far apart. */
static unsigned faults_of_a_stride(enum prefetch_kind kind, int32_t distance, unsigned *n_beside)
{
    unsigned n = 0;
    begin(kind);
    *n_beside = 0;
    for (int32_t i = 0; i < 1000; i++)
        n += refer((uint32_t)(32768 + i * distance), n_beside);
    return n;
}

static void strides_are_followed(void **state)
{
    static const int32_t distances[] = {1, -1, 7, -7, 31};
    static const enum prefetch_kind kinds[] = {PREFETCH_STRIDES, PREFETCH_ADAPTIVE};
    unsigned n_beside;
    for (unsigned i = 0; i < sizeof distances / sizeof distances[0]; i++) {
        for (unsigned k = 0; k < 2; k++) {
            unsigned n = faults_of_a_stride(kinds[k], distances[i], &n_beside);
            assert_in_range(n, 50, 1000 / PREFETCH_STRIDE + 20);
            assert_in_range(n_beside, 1000 - n, 1000 - n + 2 * MOST); /* and no other pages */
            assert_in_range(prefetch.n_used, n_beside - 2 * MOST, n_beside);
        }
    }
}

static void a_stride_goes_on_behind_what_is_there(void **state)
{
    unsigned n = 0, n_beside = 0;
    begin(PREFETCH_STRIDES);
    for (uint32_t i = 0; i < 1000; i++)
        is_held[i * 7] = i % 20 < 5;
    for (uint32_t i = 0; i < 1000; i++)
        n += refer(i * 7, &n_beside);
    assert_in_range(n, 50, 150);
}

static void a_stride_that_ends_is_forgotten(void **state)
{
    unsigned n_beside = 0;
    begin(PREFETCH_STRIDES);
    for (uint32_t i = 0; i < 100; i++)
        refer(i * 7, &n_beside);
    n_beside = 0;
    for (uint32_t i = 0; i < 2000; i++)
        refer(mixed_page(i), &n_beside);
    assert_in_range(n_beside, 0, 60);
}

static void random_access_brings_nothing_along(void **state)
{
    unsigned n_beside = 0;
    begin(PREFETCH_ADAPTIVE);
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t page = mixed_page(i);
        is_held[page] = false;
        refer(page, &n_beside);
    }
    assert_in_range(n_beside, 0, 400);
    assert_false(prefetch.watch.pays);
}

/* All pages of a block, in no order, then another one. Faults a block. */
static double faults_a_block(uint32_t n_blocks)
{
    static const uint32_t order[] = {3, 6, 1, 4, 0, 7, 2, 5};
    unsigned n = 0, n_beside = 0;
    for (uint32_t i = 0; i < n_blocks; i++) {
        uint32_t first = random_page(i + 77) & ~(PREFETCH_CLUSTER - 1);
        memset(&is_held[first], 0, PREFETCH_CLUSTER);
        for (uint32_t at = 0; at < PREFETCH_CLUSTER; at++)
            n += refer(first + order[(at + i) % PREFETCH_CLUSTER], &n_beside);
    }
    return (double)n / n_blocks;
}

static void neighbours_come_along_once_that_pays_and_no_longer(void **state)
{
    unsigned n_beside = 0;
    begin(PREFETCH_ADAPTIVE);
    faults_a_block(1000);
    assert_true(prefetch.watch.pays);
    assert_true(faults_a_block(1000) < 1.3);
    for (uint32_t i = 0; i < 10000; i++) { /* one page of each */
        uint32_t page = random_page(i * 3 + 1);
        memset(&is_held[page & ~(PREFETCH_CLUSTER - 1)], 0, PREFETCH_CLUSTER);
        refer(page, &n_beside);
    }
    assert_false(prefetch.watch.pays);
    faults_a_block(1000);
    assert_true(prefetch.watch.pays);
}

static void every_kind_has_a_name(void **state)
{
    for (int kind = 0; kind < PREFETCH_N_KINDS; kind++)
        assert_int_equal(prefetch_find(prefetch_name((enum prefetch_kind)kind)), kind);
    assert_int_equal(prefetch_find("all"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_that_a_stream_skips_do_not_count_as_used),
        cmocka_unit_test(neighbours_that_strides_use_are_counted),
        cmocka_unit_test(none_brings_nothing_along),
        cmocka_unit_test(a_cluster_is_a_block),
        cmocka_unit_test(strides_are_followed),
        cmocka_unit_test(a_stride_goes_on_behind_what_is_there),
        cmocka_unit_test(a_stride_that_ends_is_forgotten),
        cmocka_unit_test(random_access_brings_nothing_along),
        cmocka_unit_test(neighbours_come_along_once_that_pays_and_no_longer),
        cmocka_unit_test(every_kind_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
