/* SPDX-License-Identifier: Apache-2.0 */
/* Scans by windows of a memory that is too small, some of what they bring in dropped behind. */
#include "policy/drop_behind.h"
#include "base/sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { N_FRAMES = 4096, MOST_PAGES = 4 * N_FRAMES, WINDOW = 16 };

static struct fifo others;
static struct drop_behind behind;
static bool resident[MOST_PAGES];
static uint32_t n_resident;

static int set_up(void **state)
{
    memset(resident, 0, sizeof resident);
    n_resident = 0;
    return fifo_open(&others, (uint64_t)2 * MOST_PAGES) || drop_behind_open(&behind, N_FRAMES);
}

static int tear_down(void **state)
{
    fifo_close(&others);
    fifo_close(&behind.queue);
    return 0;
}

static void evict_one(void)
{
    uint32_t page;
    uint64_t position;
    if (!drop_behind_pop(&behind, n_resident, &page))
        assert_true(fifo_pop(&others, &page, &position));
    assert_true(resident[page]);
    resident[page] = false;
    n_resident--;
}

static void bring_in(uint32_t page, bool leaves_soon)
{
    while (n_resident >= N_FRAMES)
        evict_one();
    if (!leaves_soon || !drop_behind_push(&behind, page))
        fifo_push(&others, page);
    resident[page] = true;
    n_resident++;
}

/* Reads pages [from, to) in order; returns how many were there. */
static uint32_t scan(uint32_t from, uint32_t to)
{
    uint32_t n_there = 0;
    for (uint32_t page = from; page < to;) {
        uint32_t n = 0;
        if (resident[page]) {
            n_there++;
            page++;
            continue;
        }
        bool leaves_soon = drop_behind_wanted(&behind, n_resident);
        for (; n < WINDOW && page < to && !resident[page]; n++)
            bring_in(page++, leaves_soon);
    }
    return n_there;
}

static uint32_t scan_often(uint32_t n_pages, unsigned rounds)
{
    for (unsigned i = 1; i < rounds; i++)
        scan(0, n_pages);
    return scan(0, n_pages);
}

static void a_scan_of_twice_the_memory_finds_a_part_of_it(void **state)
{
    /* in order of arrival: nothing, ever. The best that is possible: a half. */
    assert_true(scan_often(2 * N_FRAMES, 20) > 2 * N_FRAMES * 3 / 10);
}

static void a_scan_of_a_little_more_than_the_memory_finds_most(void **state)
{
    assert_true(scan_often(N_FRAMES + N_FRAMES / 4, 20) > N_FRAMES * 6 / 10);
}

static void what_fits_is_let_in_round_by_round(void **state)
{
    for (uint32_t page = 2 * N_FRAMES; page < 3 * N_FRAMES; page++)
        bring_in(page, false); /* what nobody needs any more */
    assert_true(scan_often(N_FRAMES / 2, 30) > N_FRAMES / 2 * 8 / 10);
}

static void a_single_scan_leaves_most_of_the_rest(void **state)
{
    uint32_t n_left = 0;
    for (uint32_t page = 0; page < N_FRAMES; page++)
        bring_in(page, false);
    scan(N_FRAMES, 3 * N_FRAMES);
    for (uint32_t page = 0; page < N_FRAMES; page++)
        n_left += resident[page];
    assert_true(n_left > N_FRAMES / 2);
}

static void small_memories_have_no_queue_of_streams(void **state)
{
    for (unsigned i = 0; i < 100; i++)
        assert_false(drop_behind_wanted(&behind, DROP_BEHIND_PART * DROP_BEHIND_LEAST - 1));
    for (unsigned i = 0; i < 2 * DROP_BEHIND_STAYS; i++)
        assert_int_equal(drop_behind_wanted(&behind, DROP_BEHIND_PART * DROP_BEHIND_LEAST),
                         i % DROP_BEHIND_STAYS != DROP_BEHIND_STAYS - 1);
}

static void pages_leave_once_there_are_more_than_their_part(void **state)
{
    uint32_t page;
    for (uint32_t i = 0; i < DROP_BEHIND_LEAST; i++)
        assert_true(drop_behind_push(&behind, i));
    assert_false(drop_behind_pop(&behind, 0, &page));
    assert_true(drop_behind_push(&behind, 1000));
    assert_false(
        drop_behind_pop(&behind, (uint64_t)2 * DROP_BEHIND_PART * DROP_BEHIND_LEAST, &page));
    assert_true(drop_behind_pop(&behind, 0, &page));
    assert_int_equal(page, 0);
    assert_false(drop_behind_pop(&behind, 0, &page));
}

static void a_full_queue_takes_no_more(void **state)
{
    uint32_t n = 0;
    while (drop_behind_push(&behind, n))
        n++;
    assert_int_equal(n, behind.queue.capacity);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_scan_of_twice_the_memory_finds_a_part_of_it),
        TEST(a_scan_of_a_little_more_than_the_memory_finds_most),
        TEST(what_fits_is_let_in_round_by_round),
        TEST(a_single_scan_leaves_most_of_the_rest),
        TEST(small_memories_have_no_queue_of_streams),
        TEST(pages_leave_once_there_are_more_than_their_part),
        TEST(a_full_queue_takes_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
