/* SPDX-License-Identifier: Apache-2.0 */
/* The replacement queue, readahead, write protection, the choice of a codec. */
#include "base/meta.h"
#include "base/sys.h"
#include "policy/coding.h"
#include "policy/fifo.h"
#include "policy/protection.h"
#include "policy/readahead.h"
#include "policy/starvation.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define CAPACITY 8u

static uint32_t ring[CAPACITY];
static uint64_t positions[64]; /* of each page, as an owner keeps them; 0: not queued */

static void new_fifo(struct fifo *fifo)
{
    memset(positions, 0, sizeof positions);
    fifo_init(fifo, ring, CAPACITY);
    /* Positions begin at 1 here, so that 0 can mean none. */
    uint32_t page;
    uint64_t position;
    fifo_push(fifo, 63);
    assert_true(fifo_pop(fifo, &page, &position));
    assert_int_equal(position, 0);
}

static void push(struct fifo *fifo, uint32_t page)
{
    positions[page] = fifo_push(fifo, page);
}

static void moved(void *context, uint32_t page, uint64_t position)
{
    ++*(unsigned *)context;
    positions[page] = position;
}

static void assert_pops(struct fifo *fifo, uint32_t expected)
{
    uint32_t page;
    uint64_t position;
    assert_true(fifo_pop(fifo, &page, &position));
    assert_int_equal(page, expected);
    assert_int_equal(position, positions[page]);
}

static void pages_leave_in_the_order_of_their_arrival(void **state)
{
    struct fifo fifo;
    uint32_t page;
    uint64_t position;
    new_fifo(&fifo);
    for (uint32_t i = 10; i < 15; i++)
        push(&fifo, i);
    for (uint32_t i = 10; i < 15; i++)
        assert_pops(&fifo, i);
    assert_false(fifo_pop(&fifo, &page, &position));
}

static void positions_grow_beyond_the_capacity(void **state)
{
    struct fifo fifo;
    new_fifo(&fifo);
    for (uint32_t i = 0; i < 5 * CAPACITY; i++) {
        push(&fifo, i % 50);
        assert_int_equal(positions[i % 50], i + 1);
        assert_pops(&fifo, i % 50);
    }
    assert_int_equal(fifo_bytes(CAPACITY), sizeof ring);
}

static void a_full_queue_says_so(void **state)
{
    struct fifo fifo;
    new_fifo(&fifo);
    for (uint32_t i = 0; i < CAPACITY; i++) {
        assert_false(fifo_is_full(&fifo));
        push(&fifo, i);
    }
    assert_true(fifo_is_full(&fifo));
    assert_pops(&fifo, 0);
    assert_false(fifo_is_full(&fifo));
}

static void a_page_leaves_from_the_middle(void **state)
{
    struct fifo fifo;
    uint32_t page;
    uint64_t position;
    new_fifo(&fifo);
    for (uint32_t i = 1; i < 5; i++)
        push(&fifo, i);
    assert_true(fifo_has(&fifo, 3, positions[3]));
    assert_false(fifo_remove(&fifo, 2, positions[3])); /* another one is there */
    assert_true(fifo_remove(&fifo, 3, positions[3]));
    assert_false(fifo_remove(&fifo, 3, positions[3]));
    assert_false(fifo_has(&fifo, 3, positions[3]));
    assert_int_equal(fifo.n_live, 3);
    assert_pops(&fifo, 1);
    assert_false(fifo_remove(&fifo, 1, positions[1])); /* it is out already */
    assert_pops(&fifo, 2);
    assert_pops(&fifo, 4);
    assert_false(fifo_pop(&fifo, &page, &position));
    assert_int_equal(fifo_validate(&fifo), 0);
}

static void compacting_closes_holes_and_keeps_the_order(void **state)
{
    struct fifo fifo;
    unsigned n_moved = 0;
    new_fifo(&fifo);
    for (uint32_t i = 0; i < CAPACITY; i++)
        push(&fifo, i);
    for (uint32_t i = 1; i < 4; i++)
        fifo_remove(&fifo, i, positions[i]);
    fifo_compact(&fifo, moved, &n_moved);
    assert_int_equal(n_moved, 4); /* the first stays where it is */
    assert_int_equal(fifo.head - fifo.tail, 5);
    static const uint32_t order[] = {0, 4, 5, 6, 7};
    for (unsigned i = 0; i < 5; i++)
        assert_pops(&fifo, order[i]);
}

static void compacting_works_around_the_ring_s_end(void **state)
{
    struct fifo fifo;
    unsigned n_moved = 0;
    new_fifo(&fifo);
    for (uint32_t i = 0; i < CAPACITY - 2; i++) {
        push(&fifo, i);
        assert_pops(&fifo, i);
    }
    for (uint32_t i = 20; i < 20 + CAPACITY; i++)
        push(&fifo, i);
    static const uint32_t gone[] = {21, 24, 26};
    for (unsigned i = 0; i < 3; i++)
        assert_true(fifo_remove(&fifo, gone[i], positions[gone[i]]));
    fifo_compact(&fifo, moved, &n_moved);
    for (uint32_t i = 20; i < 20 + CAPACITY; i++)
        if (i != 21 && i != 24 && i != 26)
            assert_pops(&fifo, i);
    assert_int_equal(fifo.head, fifo.tail);
}

/* A queue with a ring of its own */

#define OWN_CAPACITY (4 * FIFO_LEAST_OWN)

static size_t pages_in_memory(const struct fifo *fifo)
{
    unsigned char in_memory[OWN_CAPACITY / FIFO_LEAST_OWN];
    size_t n = 0;
    assert_int_equal(mincore(fifo->ring, fifo_bytes(OWN_CAPACITY), in_memory), 0);
    for (size_t i = 0; i < sizeof in_memory; i++)
        n += in_memory[i] & 1;
    return n;
}

static void assert_holds(const struct fifo *fifo, size_t before, uint32_t n_pages)
{
    assert_int_equal(fifo_validate(fifo), 0);
    assert_int_equal(fifo->n_held, n_pages);
    assert_int_equal(meta_bytes() - before, n_pages * SYS_PAGE_SIZE);
    assert_int_equal(pages_in_memory(fifo), n_pages);
}

static void push_many(struct fifo *fifo, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        fifo_push(fifo, (uint32_t)fifo->head * 7);
}

static void pop_many(struct fifo *fifo, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t page;
        uint64_t position;
        assert_true(fifo_pop(fifo, &page, &position));
        assert_int_equal(page, (uint32_t)position * 7);
    }
}

static void a_ring_of_its_own_holds_what_is_between_tail_and_head(void **state)
{
    struct fifo fifo;
    size_t before = meta_bytes();
    assert_int_equal(fifo_open(&fifo, FIFO_LEAST_OWN / 2), -EINVAL);
    assert_int_equal(fifo_open(&fifo, OWN_CAPACITY), 0);
    assert_holds(&fifo, before, 0);
    push_many(&fifo, 1);
    assert_holds(&fifo, before, 1);
    pop_many(&fifo, 1);
    push_many(&fifo, OWN_CAPACITY); /* full: the head is on the tail's page */
    assert_true(fifo_is_full(&fifo));
    assert_holds(&fifo, before, 4);
    pop_many(&fifo, FIFO_LEAST_OWN); /* that page stays, since the head has begun it */
    assert_holds(&fifo, before, 4);
    pop_many(&fifo, FIFO_LEAST_OWN);
    assert_holds(&fifo, before, 3);
    pop_many(&fifo, 2 * FIFO_LEAST_OWN - 1); /* all but the last page is empty */
    assert_holds(&fifo, before, 1);
    for (unsigned i = 0; i < 10; i++) { /* all around, a little at a time */
        push_many(&fifo, FIFO_LEAST_OWN - 100);
        pop_many(&fifo, FIFO_LEAST_OWN - 100);
        assert_holds(&fifo, before, fifo.tail % FIFO_LEAST_OWN == 0 ? 0 : 1);
    }
    fifo_close(&fifo);
    assert_int_equal(meta_bytes(), before);
}

static void note_nothing(void *context, uint32_t page, uint64_t position)
{
}

static void compacting_gives_memory_back(void **state)
{
    struct fifo fifo;
    size_t before = meta_bytes();
    const uint32_t n_live = OWN_CAPACITY / 10;
    assert_int_equal(fifo_open(&fifo, OWN_CAPACITY), 0);
    push_many(&fifo, 1500);
    pop_many(&fifo, 1500);
    assert_false(fifo_is_stale(&fifo));
    push_many(&fifo, OWN_CAPACITY);
    for (uint64_t at = fifo.tail; at < fifo.tail + OWN_CAPACITY - n_live; at++)
        assert_true(fifo_remove(&fifo, (uint32_t)at * 7, at));
    assert_true(fifo_is_stale(&fifo));
    assert_holds(&fifo, before, 4);
    fifo_compact(&fifo, note_nothing, NULL);
    assert_int_equal(fifo.head - fifo.tail, n_live);
    assert_false(fifo_is_stale(&fifo));
    assert_holds(&fifo, before, 1);
    fifo_close(&fifo);
    assert_int_equal(meta_bytes(), before);
}

static void compacting_a_queue_of_live_pages_changes_nothing(void **state)
{
    struct fifo fifo;
    unsigned n_moved = 0;
    new_fifo(&fifo);
    for (uint32_t i = 0; i < CAPACITY; i++)
        push(&fifo, i);
    fifo_compact(&fifo, moved, &n_moved);
    assert_int_equal(n_moved, 0);
    assert_true(fifo_is_full(&fifo));
    for (uint32_t i = 0; i < CAPACITY; i++)
        assert_pops(&fifo, i);
}

static void random_access_never_reads_ahead(void **state)
{
    struct readahead readahead = {0};
    uint32_t page = 1;
    for (unsigned i = 0; i < 10000; i++) {
        page = page * 1664525u + 1013904223u;
        assert_int_equal(readahead_window(&readahead, page >> 8, 32), 1);
    }
}

static void neighbours_in_pairs_never_read_ahead(void **state)
{
    struct readahead readahead = {0};
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(readahead_window(&readahead, i * 1000 + 5, 32), 1);
        assert_int_equal(readahead_window(&readahead, i * 1000 + 6, 32), 1);
    }
}

/* Faults where the stream goes on, until `n_faults`; the window of the last. */
static uint32_t scan(struct readahead *readahead, uint32_t *page, unsigned n_faults, uint32_t most)
{
    uint32_t window = 0;
    for (unsigned i = 0; i < n_faults; i++) {
        window = readahead_window(readahead, *page, most);
        *page += window;
    }
    return window;
}

static void a_scan_doubles_its_window_once_it_is_confirmed(void **state)
{
    struct readahead readahead = {0};
    uint32_t page = 100;
    assert_int_equal(scan(&readahead, &page, 1 + READAHEAD_PATIENCE, 32), 1);
    static const uint32_t windows[] = {2, 4, 8, 16, 32, 32, 32};
    for (unsigned i = 0; i < sizeof windows / sizeof windows[0]; i++)
        assert_int_equal(scan(&readahead, &page, 1, 32), windows[i]);
}

static void a_window_is_never_more_than_the_most(void **state)
{
    struct readahead readahead = {0};
    uint32_t page = 100;
    assert_int_equal(scan(&readahead, &page, 20, 5), 5);
    assert_int_equal(scan(&readahead, &page, 1, 1), 1);
}

static void interleaved_scans_are_told_apart(void **state)
{
    struct readahead readahead = {0};
    uint32_t page[READAHEAD_STREAMS], last = 0;
    for (uint32_t i = 0; i < READAHEAD_STREAMS; i++)
        page[i] = 1 + i * 100000;
    for (unsigned round = 0; round < READAHEAD_PATIENCE + 6; round++)
        for (unsigned i = 0; i < READAHEAD_STREAMS; i++)
            last = scan(&readahead, &page[i], 1, 32);
    assert_int_equal(last, 32);
}

static void one_stream_too_many_replaces_the_least_recently_used(void **state)
{
    struct readahead readahead = {0};
    uint32_t busy = 1000000, idle = 1;
    assert_int_equal(scan(&readahead, &idle, 8, 32), 32);
    for (uint32_t i = 0; i < 2 * READAHEAD_STREAMS; i++) {
        scan(&readahead, &busy, 1, 32);
        readahead_window(&readahead, 5000000 + i * 1000, 32);
    }
    assert_int_equal(scan(&readahead, &busy, 1, 32), 32);
    assert_int_equal(scan(&readahead, &idle, 1, 32), 1);
}

static void a_page_that_is_there_already_does_not_end_a_scan(void **state)
{
    struct readahead readahead = {0};
    uint32_t page = 100;
    assert_int_equal(scan(&readahead, &page, 6, 32), 8);
    page++;
    assert_int_equal(scan(&readahead, &page, 1, 32), 16);
    page += 10;
    assert_int_equal(scan(&readahead, &page, 1, 32), 1);
}

static void a_stream_goes_on_behind_what_is_there(void **state)
{
    struct readahead readahead = {0};
    uint32_t page = 100;
    assert_int_equal(scan(&readahead, &page, 6, 32), 8);
    readahead_cut(&readahead, page - 8, 5, 500);
    page += 500 - 3;
    assert_int_equal(scan(&readahead, &page, 1, 32), 16);
    assert_int_equal(readahead_used(&readahead), 1 + 3 + 4);
}

static void what_a_stream_ran_through_was_used(void **state)
{
    struct readahead readahead = {0};
    uint32_t page = 100;
    scan(&readahead, &page, 6, 32); /* windows of 2, 4, 8 */
    assert_int_equal(readahead_used(&readahead), 1 + 3);
    assert_int_equal(readahead_used(&readahead), 0);
    readahead_cut(&readahead, page - 8, 3, 0);
    page -= 5;
    scan(&readahead, &page, 1, 32);
    assert_int_equal(readahead_used(&readahead), 2);
    readahead_window(&readahead, 900000, 32); /* nobody has come to the end of the last */
    assert_int_equal(readahead_used(&readahead), 0);
}

static void a_stream_goes_on_where_it_was_cut(void **state)
{
    struct readahead readahead = {0};
    uint32_t page = 100;
    assert_int_equal(scan(&readahead, &page, 6, 32), 8);
    uint32_t first = page;
    assert_int_equal(readahead_window(&readahead, first, 32), 16);
    readahead_cut(&readahead, first, 3, 0);
    assert_int_equal(readahead_window(&readahead, first + 3, 32), 32);
}

static void cutting_leaves_other_streams_alone(void **state)
{
    struct readahead readahead = {0};
    uint32_t one = 100, other = 90000;
    assert_int_equal(scan(&readahead, &one, 6, 32), 8);
    assert_int_equal(scan(&readahead, &other, 1, 32), 1);
    readahead_cut(&readahead, other - 1, 1, 0);
    assert_int_equal(scan(&readahead, &one, 1, 32), 16);
}

/* So many pages in, of which one in `share` is written to; how many were protected. */
static uint32_t bring_in(struct protection *protection, uint32_t n_pages, uint32_t share)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_pages; i++) {
        if (!protection_wanted(protection, 1))
            continue;
        n++;
        if (i % share == 0)
            protection_failed(protection);
    }
    return n;
}

static void pages_that_are_only_read_are_protected(void **state)
{
    struct protection protection = {0};
    assert_int_equal(bring_in(&protection, 10000, 100), 10000);
}

static void pages_that_are_written_to_are_soon_left_alone(void **state)
{
    struct protection protection = {0};
    assert_in_range(bring_in(&protection, 2 * PROTECTION_WINDOW, 2), 1, PROTECTION_WINDOW);
    /* One window in ever longer whiles. */
    assert_in_range(bring_in(&protection, 1000000, 2), 1, 16 * PROTECTION_WINDOW);
}

static void protection_is_tried_again(void **state)
{
    struct protection protection = {0};
    bring_in(&protection, 2 * PROTECTION_WINDOW, 2);
    assert_int_equal(protection.n_off > 0, 1);
    bring_in(&protection, protection.n_off, 2);
    assert_in_range(bring_in(&protection, 10000, 100), 9000, 10000);
}

/* n_pages of which each comes to the same sizes; how many were tried by both. */
static uint32_t pack_alike(struct coding *coding, uint32_t n_pages, uint32_t quick, uint32_t dense,
                           bool is_short)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_pages; i++) {
        if (!coding_samples(coding))
            continue;
        n++;
        coding_note(coding, quick, dense, is_short);
    }
    return n;
}

static void a_codec_that_saves_much_is_used(void **state)
{
    struct coding coding = {0};
    assert_false(coding_is_dense(&coding));
    assert_int_equal(pack_alike(&coding, CODING_INTERVAL, 1400, 750, false), CODING_FIRST);
    assert_true(coding_is_dense(&coding));
    assert_int_equal(pack_alike(&coding, 100 * CODING_INTERVAL, 1400, 750, false), 100);
    assert_true(coding_is_dense(&coding));
}

static void a_codec_that_saves_little_is_not(void **state)
{
    static const uint32_t sizes[][2] = {{2080, 2070}, /* half noise, half zeros */
                                        {400, 200},   /* half as much of next to nothing */
                                        {4096, 4096},
                                        {2000, 2100},
                                        {1400, 1400}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct coding coding = {0};
        pack_alike(&coding, 1000, sizes[i][0], sizes[i][1], false);
        assert_false(coding_is_dense(&coding));
    }
}

static void where_only_the_dense_one_packs_at_all_it_is_used(void **state)
{
    struct coding coding = {0};
    pack_alike(&coding, 1000, 4096, 3500, false);
    assert_true(coding_is_dense(&coding));
}

static void where_room_is_short_a_little_is_enough(void **state)
{
    struct coding coding = {0};
    pack_alike(&coding, 1000, 2000, 1900, false);
    assert_false(coding_is_dense(&coding));
    pack_alike(&coding, 1000, 2000, 1900, true);
    assert_true(coding_is_dense(&coding));
}

static void the_choice_follows_the_pages(void **state)
{
    struct coding coding = {0};
    pack_alike(&coding, 10000, 1400, 750, false);
    assert_true(coding_is_dense(&coding));
    pack_alike(&coding, 10000, 2080, 2070, false);
    assert_false(coding_is_dense(&coding));
    pack_alike(&coding, 10000, 1400, 750, false);
    assert_true(coding_is_dense(&coding));
}

#define MS 1000000ull

static void who_waits_only_for_the_thread_that_it_woke_is_not_starved(void **state)
{
    const struct turns then = {5 * MS, 3 * MS, 2 * MS, 1}, now = {25 * MS, 18 * MS, 17 * MS, 1};
    assert_false(starvation_between(&then, &now));
    const struct turns longer = {25 * MS, 18 * MS, 21 * MS, 1}; /* one part in five: the tick's */
    assert_false(starvation_between(&then, &longer));
}

static void who_waits_for_others_is_starved(void **state)
{
    const struct turns then = {5 * MS, 3 * MS, 2 * MS, 1}, now = {25 * MS, 5 * MS, 20 * MS, 1};
    assert_true(starvation_between(&then, &now));
}

static void what_is_not_known_is_no_starvation(void **state)
{
    const struct turns then = {5 * MS, 3 * MS, 2 * MS, 1}, other = {25 * MS, 4 * MS, 20 * MS, 2};
    assert_false(starvation_between(&then, &other)); /* another thread's turns */
    const struct turns none = {5 * MS, 0, 2 * MS, 1}, now = {25 * MS, 1 * MS, 20 * MS, 1};
    assert_false(starvation_between(&none, &now)); /* the kernel does not count them */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_leave_in_the_order_of_their_arrival),
        cmocka_unit_test(positions_grow_beyond_the_capacity),
        cmocka_unit_test(a_full_queue_says_so),
        cmocka_unit_test(a_page_leaves_from_the_middle),
        cmocka_unit_test(compacting_closes_holes_and_keeps_the_order),
        cmocka_unit_test(compacting_works_around_the_ring_s_end),
        cmocka_unit_test(compacting_a_queue_of_live_pages_changes_nothing),
        cmocka_unit_test(a_ring_of_its_own_holds_what_is_between_tail_and_head),
        cmocka_unit_test(compacting_gives_memory_back),
        cmocka_unit_test(random_access_never_reads_ahead),
        cmocka_unit_test(neighbours_in_pairs_never_read_ahead),
        cmocka_unit_test(a_scan_doubles_its_window_once_it_is_confirmed),
        cmocka_unit_test(a_window_is_never_more_than_the_most),
        cmocka_unit_test(interleaved_scans_are_told_apart),
        cmocka_unit_test(one_stream_too_many_replaces_the_least_recently_used),
        cmocka_unit_test(a_page_that_is_there_already_does_not_end_a_scan),
        cmocka_unit_test(a_stream_goes_on_behind_what_is_there),
        cmocka_unit_test(what_a_stream_ran_through_was_used),
        cmocka_unit_test(a_stream_goes_on_where_it_was_cut),
        cmocka_unit_test(cutting_leaves_other_streams_alone),
        cmocka_unit_test(pages_that_are_only_read_are_protected),
        cmocka_unit_test(pages_that_are_written_to_are_soon_left_alone),
        cmocka_unit_test(protection_is_tried_again),
        cmocka_unit_test(a_codec_that_saves_much_is_used),
        cmocka_unit_test(a_codec_that_saves_little_is_not),
        cmocka_unit_test(where_only_the_dense_one_packs_at_all_it_is_used),
        cmocka_unit_test(where_room_is_short_a_little_is_enough),
        cmocka_unit_test(the_choice_follows_the_pages),
        cmocka_unit_test(who_waits_only_for_the_thread_that_it_woke_is_not_starved),
        cmocka_unit_test(who_waits_for_others_is_starved),
        cmocka_unit_test(what_is_not_known_is_no_starvation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
