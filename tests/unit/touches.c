/* SPDX-License-Identifier: Apache-2.0 */
/* base/touches.h: the ring that handlers put touches into and a recorder takes them out of. */
#include "base/touches.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N_SLOTS 8u

static struct touches *ring;
static _Atomic uint32_t ended;

static int open_ring(void **state)
{
    ring = aligned_alloc(64, (touches_bytes(N_SLOTS) + 63) & ~(size_t)63);
    assert_non_null(ring);
    memset(ring, 0, touches_bytes(N_SLOTS));
    touches_init(ring, N_SLOTS);
    ended = 0;
    return 0;
}

static int close_ring(void **state)
{
    free(ring);
    return 0;
}

static void put(uint32_t page)
{
    const struct touch touch = {.time_ns = page * 10ull, .page = page, .pid = 7, .flags = 1};
    touches_put(ring, &touch, &ended);
}

static void what_goes_in_comes_out_in_order(void **state)
{
    struct touch taken[N_SLOTS];

    assert_int_equal(touches_take(ring, taken, N_SLOTS), 0);
    for (uint32_t round = 0; round < 5; round++) {
        for (uint32_t i = 0; i < 6; i++)
            put(round * 6 + i);
        assert_int_equal(touches_take(ring, taken, 2), 2);
        assert_int_equal(touches_take(ring, taken + 2, N_SLOTS - 2), 4);
        for (uint32_t i = 0; i < 6; i++) {
            assert_int_equal(taken[i].page, round * 6 + i);
            assert_int_equal(taken[i].time_ns, (round * 6 + i) * 10);
            assert_int_equal(taken[i].pid, 7);
            assert_int_equal(taken[i].flags, 1);
        }
    }
    assert_int_equal(ring->n_lost, 0);
}

static void the_largest_values_fit(void **state)
{
    const struct touch touch = {.time_ns = UINT64_MAX,
                                .page = (1u << 28) - 1,
                                .n_pages = 1u << 28,
                                .pid = (1u << 22) - 1,
                                .flags = TOUCHES_WRITE | TOUCHES_BASE | TOUCHES_FREED |
                                         TOUCHES_REVIVED | TOUCHES_DROPPED};
    struct touch taken;

    touches_put(ring, &touch, &ended);
    assert_int_equal(touches_take(ring, &taken, 1), 1);
    assert_int_equal(taken.time_ns, touch.time_ns);
    assert_int_equal(taken.page, touch.page);
    assert_int_equal(taken.n_pages, touch.n_pages);
    assert_int_equal(taken.pid, touch.pid);
    assert_int_equal(taken.flags, touch.flags);
}

static void *put_many(void *context)
{
    for (uint32_t i = 0; i < 1000; i++)
        put(i);
    return NULL;
}

static void who_finds_it_full_waits_and_nothing_is_lost(void **state)
{
    pthread_t threads[3];
    uint32_t seen[1000] = {0}, n = 0;
    struct touch taken[3];

    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, put_many, NULL), 0);
    while (n < 3000) {
        size_t got = touches_take(ring, taken, 3);
        for (size_t i = 0; i < got; i++)
            seen[taken[i].page]++;
        n += (uint32_t)got;
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(seen[i], 3);
    assert_int_equal(ring->n_lost, 0);
}

static void without_a_recorder_nobody_waits(void **state)
{
    ended = 1;
    for (uint32_t i = 0; i < 3 * N_SLOTS; i++)
        put(i);
}

/* A process was killed between the halves of its put: others' touches come out all the same. */
static void a_slot_that_is_never_filled_is_passed_over(void **state)
{
    struct touch taken[2];
    size_t n = 0;

    atomic_fetch_add(&ring->head, 1);
    put(5);
    while (n == 0)
        n = touches_take(ring, taken, 2);
    assert_int_equal(n, 1);
    assert_int_equal(taken[0].page, 5);
    assert_int_equal(ring->n_lost, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_goes_in_comes_out_in_order, open_ring, close_ring),
        cmocka_unit_test_setup_teardown(the_largest_values_fit, open_ring, close_ring),
        cmocka_unit_test_setup_teardown(who_finds_it_full_waits_and_nothing_is_lost, open_ring,
                                        close_ring),
        cmocka_unit_test_setup_teardown(without_a_recorder_nobody_waits, open_ring, close_ring),
        cmocka_unit_test_setup_teardown(a_slot_that_is_never_filled_is_passed_over, open_ring,
                                        close_ring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
