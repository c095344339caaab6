/* SPDX-License-Identifier: Apache-2.0 */
/* What textbooks and papers say of the replacement policies, on references made for it. */
#include "base/meta.h"
#include "policy/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define N_PAGES 65536u

static struct {
    policy_place place;
    policy_mark mark;
    bool is_held, was_held;
} pages[N_PAGES];

static policy_mark get_mark(void *context, uint32_t page)
{
    return pages[page].mark;
}

static void set_mark(void *context, uint32_t page, policy_mark mark)
{
    pages[page].mark = mark;
}

static void set_place(void *context, uint32_t page, policy_place place)
{
    pages[page].place = place;
}

static const struct policy_owner owner = {get_mark, set_mark, set_place, NULL};

static struct policy policy;
static uint32_t most_held;

static void begin(enum policy_kind kind, uint32_t n_held)
{
    memset(pages, 0, sizeof pages);
    most_held = n_held;
    assert_int_equal(policy_open(&policy, kind, n_held, &owner), 0);
}

static void end(void)
{
    assert_int_equal(policy_validate(&policy), 0);
    policy_close(&policy);
}

static uint32_t evict_one(void)
{
    uint32_t page;
    policy_place place;
    assert_true(policy_next(&policy, &page, &place));
    policy_evicted(&policy, page, place);
    pages[page].is_held = false;
    return page;
}

/* A reference as user space sees it: whether it was a fault. */
static bool refer(uint32_t page)
{
    if (pages[page].is_held)
        return false;
    if (policy.n_held == most_held)
        evict_one();
    policy_insert(&policy, page, pages[page].was_held ? POLICY_FETCHED : POLICY_FIRST);
    pages[page].is_held = pages[page].was_held = true;
    return true;
}

static unsigned count_faults(const uint32_t *references, unsigned n, uint32_t n_frames)
{
    unsigned n_faults = 0;
    begin(POLICY_FIFO, n_frames);
    for (unsigned i = 0; i < n; i++)
        n_faults += refer(references[i]);
    end();
    return n_faults;
}

/* L. Belady, R. Nelson, G. Shedler, CACM 12(6), 1969: more frames, more faults. */
static void fifo_has_belady_s_anomaly(void **state)
{
    static const uint32_t string[] = {1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5};
    assert_int_equal(count_faults(string, 12, 3), 9);
    assert_int_equal(count_faults(string, 12, 4), 10);
}

static void clock_gives_a_second_chance_and_no_third(void **state)
{
    begin(POLICY_CLOCK, 100);
    for (uint32_t page = 0; page < 100; page++)
        refer(page);
    policy_touch(&policy, 0, pages[0].place);
    policy_touch(&policy, 99, pages[99].place); /* it came in a moment ago: that is the same use */
    assert_int_equal(evict_one(), 1);
    for (uint32_t page = 2; page < 100; page++)
        assert_int_equal(evict_one(), page);
    assert_int_equal(evict_one(), 0);
    end();
}

/* Faults on page 0, referred to all the time, while others come and go. */
static unsigned faults_of_a_hot_page(enum policy_kind kind)
{
    unsigned n = 0;
    begin(kind, 200);
    for (uint32_t i = 0; i < 60000; i++) {
        n += refer(0);
        refer(1 + i % 30000);
    }
    end();
    return n;
}

static void what_is_hot_is_tried_ever_more_rarely(void **state)
{
    unsigned n_fifo = faults_of_a_hot_page(POLICY_FIFO);
    assert_in_range(n_fifo, 290, 310); /* each round */
    assert_in_range(faults_of_a_hot_page(POLICY_GCLOCK), 30, n_fifo / 7);
    assert_in_range(faults_of_a_hot_page(POLICY_WORKING_SET), 30, n_fifo * 2 / 3);
}

/*
 * 300 pages prove themselves among 600 that are held, then 5000 pages pass that are used once. How
 * many of the 300 are there yet?
 */
static unsigned left_after_a_scan(enum policy_kind kind)
{
    unsigned n_left = 0;
    begin(kind, 600);
    for (uint32_t round = 0; round < 8; round++) {
        for (uint32_t page = 0; page < 300; page++)
            refer(page);
        for (uint32_t i = 0; i < 400; i++)
            refer(1000 + round * 400 + i);
    }
    for (uint32_t i = 0; i < 5000; i++)
        refer(10000 + i);
    for (uint32_t page = 0; page < 300; page++)
        n_left += pages[page].is_held;
    end();
    return n_left;
}

static void a_scan_does_not_wash_out_what_has_proved_itself(void **state)
{
    assert_int_equal(left_after_a_scan(POLICY_FIFO), 0);
    assert_in_range(left_after_a_scan(POLICY_2Q), 290, 300);
    assert_in_range(left_after_a_scan(POLICY_S3_FIFO), 290, 300);
}

static void sieve_leaves_what_was_seen_where_it_is(void **state)
{
    begin(POLICY_SIEVE, 200);
    for (uint32_t page = 0; page < 200; page++)
        refer(page);
    for (uint32_t page = 0; page < 100; page += 2)
        policy_touch(&policy, page, pages[page].place);
    for (uint32_t page = 1; page < 100; page += 2)
        assert_int_equal(evict_one(), page);
    assert_int_equal(evict_one(), 100); /* those that were seen are still before it */
    for (uint32_t page = 0; page < 100; page += 2)
        assert_true(policy_has(&policy, page, pages[page].place));
    end();
}

/* In a loop over more than is held, of 100 references so many are faults in the end. */
static unsigned faults_in_a_loop(enum policy_kind kind)
{
    const uint32_t n_loop = 32768;
    unsigned n = 0;
    begin(kind, n_loop / 2);
    for (uint32_t i = 0; i < 24 * n_loop; i++) {
        bool fault = refer(i % n_loop);
        n += i >= 12 * n_loop && fault;
    }
    end();
    return n / (12 * n_loop / 100);
}

static void adaptive_keeps_a_part_of_a_loop(void **state)
{
    assert_int_equal(faults_in_a_loop(POLICY_FIFO), 100);
    assert_in_range(faults_in_a_loop(POLICY_ADAPTIVE), 50, 65); /* 50 is the least there can be */
}

/* After that, other pages are used that would all fit: they must get in. */
static void adaptive_changes_its_mind(void **state)
{
    const uint32_t n_loop = 32768, n_hot = 8192;
    unsigned n = 0;
    begin(POLICY_ADAPTIVE, n_loop / 2);
    for (uint32_t i = 0; i < 16 * n_loop; i++)
        refer(i % n_loop);
    for (uint32_t i = 0; i < 16 * n_hot; i++) {
        bool fault = refer(40000 + i % n_hot);
        n += i >= 8 * n_hot && fault;
    }
    end();
    assert_in_range(n, 0, n_hot / 2);
}

static void what_came_in_last_stays(void **state)
{
    for (int kind = 0; kind < POLICY_N_KINDS; kind++) {
        begin((enum policy_kind)kind, 300);
        for (uint32_t i = 0; i < 3000; i++) {
            refer(i * 7 % 1000);
            if (i < 400)
                continue;
            for (uint32_t back = 0; back < 8; back++)
                assert_true(pages[(i - back) * 7 % 1000].is_held);
        }
        end();
    }
}

/* How many victims are named until one is that can go: of [first, end). */
static uint32_t n_named(uint32_t first, uint32_t end, uint32_t most)
{
    for (uint32_t n = 1; n <= most; n++) {
        uint32_t page;
        policy_place place;
        assert_true(policy_next(&policy, &page, &place));
        if (page >= first && page < end)
            return n;
        policy_insert(&policy, page, POLICY_AGAIN);
    }
    return most + 1;
}

/* Pages that can't go (they don't compress, are locked) are not asked over and over. */
static void what_can_t_go_is_no_obstacle(void **state)
{
    const uint32_t n_held = 12000, most = 2 * n_held;
    for (int kind = 0; kind < POLICY_N_KINDS; kind++) {
        begin((enum policy_kind)kind, n_held);
        for (uint32_t i = 0; i < 5 * n_held; i++)
            refer(i % (2 * n_held));
        uint32_t first = n_held / 2;
        while (!pages[first].is_held)
            first++;
        /* Free others of the first queue, so that all else has more than its share. */
        for (uint32_t page = first + 100, n = 0; n < 2000 && page < N_PAGES; page++) {
            if (!pages[page].is_held || pages[page].place >> 45 != 0)
                continue;
            policy_remove(&policy, page, pages[page].place);
            n++;
        }
        assert_in_range(n_named(first, first + 100, most), 1, most);
        end();
    }
}

/* All but a few came again, and these are fewer than the share of their queue. */
static void what_can_t_go_has_no_share(void **state)
{
    const uint32_t n_held = 2000, n_others = 60;
    for (int kind = 0; kind < POLICY_N_KINDS; kind++) {
        begin((enum policy_kind)kind, n_held);
        for (uint32_t i = 0; i < n_held - n_others; i++)
            refer(i);
        assert_int_equal(n_named(N_PAGES, N_PAGES, 2 * n_held), 2 * n_held + 1);
        for (uint32_t i = 0; i < n_others; i++)
            refer(n_held + i);
        assert_in_range(n_named(n_held, n_held + n_others, 2 * n_held), 1, 2 * n_held);
        end();
    }
}

/* The youngest can't go, and half of the others were in use. */
static void what_can_t_go_does_not_keep_others(void **state)
{
    const uint32_t n_held = 2000, n_stuck = 100, first_stuck = n_held - n_stuck;
    for (int kind = 0; kind < POLICY_N_KINDS; kind++) {
        begin((enum policy_kind)kind, n_held);
        for (uint32_t page = 0; page < n_held; page++)
            refer(page);
        for (uint32_t page = 0; page < first_stuck; page += 2)
            policy_touch(&policy, page, pages[page].place);
        for (uint32_t i = 0; i < 8 * n_held && policy.n_held > 2 * n_stuck; i++) {
            uint32_t page;
            policy_place place;
            assert_true(policy_next(&policy, &page, &place));
            if (page >= first_stuck)
                policy_insert(&policy, page, POLICY_AGAIN);
            else
                policy_evicted(&policy, page, place);
        }
        assert_in_range(policy.n_held, 0, 2 * n_stuck);
        end();
    }
}

static void every_policy_has_a_name(void **state)
{
    for (int kind = 0; kind < POLICY_N_KINDS; kind++)
        assert_int_equal(policy_find(policy_name((enum policy_kind)kind)), kind);
    assert_int_equal(policy_find("belady"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fifo_has_belady_s_anomaly),
        cmocka_unit_test(clock_gives_a_second_chance_and_no_third),
        cmocka_unit_test(what_is_hot_is_tried_ever_more_rarely),
        cmocka_unit_test(a_scan_does_not_wash_out_what_has_proved_itself),
        cmocka_unit_test(sieve_leaves_what_was_seen_where_it_is),
        cmocka_unit_test(adaptive_keeps_a_part_of_a_loop),
        cmocka_unit_test(adaptive_changes_its_mind),
        cmocka_unit_test(what_came_in_last_stays),
        cmocka_unit_test(what_can_t_go_is_no_obstacle),
        cmocka_unit_test(what_can_t_go_has_no_share),
        cmocka_unit_test(what_can_t_go_does_not_keep_others),
        cmocka_unit_test(every_policy_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
