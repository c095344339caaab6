/* SPDX-License-Identifier: Apache-2.0 */
/* pool: sizes, limits, what is given back, and the order of age. */
#include "store/pool.h"
#include "store_pages.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h> /* wants the ones above */

#define POOL_BYTES ((size_t)64 << 20)
#define NO_LIMIT SIZE_MAX

static struct pool pool;

static int set_up(void **state)
{
    return pool_init(&pool, POOL_BYTES);
}

static int tear_down(void **state)
{
    pool_deinit(&pool);
    return 0;
}

static uint64_t take(size_t n_bytes, size_t limit_pages)
{
    uint64_t slot;
    assert_int_equal(pool_take(&pool, n_bytes, limit_pages, &slot), 0);
    size_t capacity;
    void *memory = pool_object(&pool, slot, &capacity);
    assert_true(capacity >= n_bytes);
    memset(memory, 0xa5, n_bytes);
    return slot;
}

static size_t resident_pages(void)
{
    static unsigned char present[POOL_BYTES / SYS_PAGE_SIZE];
    assert_int_equal(mincore(pool.base, POOL_BYTES, present), 0);
    size_t n = 0;
    for (size_t i = 0; i < sizeof(present); i++)
        n += present[i] & 1;
    return n;
}

static void every_size_fits_closely(void **state)
{
    for (size_t n = 1; n <= OBJECT_MAX_BYTES; n++) {
        const size_t slot = pool.slot_bytes[pool.class_of[(n + 15) / 16]];
        assert_true(slot >= n);
        /* the next class is 32 bytes off, or one slot a block fewer */
        const size_t step = n * n / POOL_BLOCK_BYTES;
        assert_true(n < POOL_MIN_SLOT_BYTES || slot - n < (step > 32 ? step : 32) + 64 ||
                    slot == pool.slot_bytes[pool.n_classes - 1]);
        assert_int_equal(slot % 16, 0);
    }
}

static void pages_count_what_is_resident(void **state)
{
    uint64_t slots[3000];
    for (unsigned i = 0; i < 3000; i++) {
        slots[i] = take(100 + i * 37 % 4000, NO_LIMIT);
        if (i % 500 == 0)
            assert_true(pool_pages(&pool) - resident_pages() <= pool.n_classes);
    }
    assert_true(pool_pages(&pool) >= resident_pages());
    assert_int_equal(pool_validate(&pool), 0);
    for (unsigned i = 0; i < 3000; i++)
        pool_give(&pool, slots[i]);
    assert_int_equal(pool_validate(&pool), 0);
    assert_true(pool_pages(&pool) <= POOL_SPARE_BLOCKS * POOL_BLOCK_BYTES / SYS_PAGE_SIZE);
    assert_true(resident_pages() <= pool_pages(&pool));
}

static void little_is_wasted(void **state)
{
    size_t n_bytes = 0;
    uint64_t random = 7;
    for (unsigned i = 0; i < 12000; i++) {
        const size_t n = 1000 + next_random(&random) % 1000;
        take(n, NO_LIMIT);
        n_bytes += n;
    }
    /* classes' steps on both sides of 1.4 KiB, and one open block a class */
    assert_true(pool_pages(&pool) * SYS_PAGE_SIZE < n_bytes + n_bytes * 5 / 200);
}

static void the_limit_is_kept(void **state)
{
    uint64_t slot;
    assert_int_equal(pool_take(&pool, 1000, 0, &slot), -ENOSPC);
    unsigned n = 0;
    while (pool_take(&pool, 1000, 10, &slot) == 0)
        n++;
    assert_int_equal(pool_pages(&pool), 10);
    assert_true(n >= 38 && n <= 40);
    assert_int_equal(pool_validate(&pool), 0);
}

static void address_space_is_a_limit_too(void **state)
{
    uint64_t slot;
    unsigned n = 0;
    while (pool_take(&pool, OBJECT_MAX_BYTES, NO_LIMIT, &slot) == 0)
        n++;
    assert_int_equal(n, POOL_BYTES / POOL_BLOCK_BYTES * 15);
}

static void at_the_limit_a_larger_hole_serves(void **state)
{
    const uint64_t large = take(3000, NO_LIMIT);
    take(3000, NO_LIMIT);
    pool_give(&pool, large);
    const size_t pages = pool_pages(&pool);
    uint64_t slot;
    assert_int_equal(pool_take(&pool, 1000, pages, &slot), 0);
    assert_int_equal(slot, large);
    assert_int_equal(pool_pages(&pool), pages);
    assert_int_equal(pool_validate(&pool), 0);
}

static void holes_are_filled_before_growing(void **state)
{
    uint64_t slots[500];
    for (unsigned i = 0; i < 500; i++)
        slots[i] = take(1500, NO_LIMIT);
    const size_t pages = pool_pages(&pool);
    for (unsigned i = 0; i < 500; i += 3)
        pool_give(&pool, slots[i]);
    for (unsigned i = 0; i < 500; i += 3)
        take(1500, NO_LIMIT);
    assert_int_equal(pool_pages(&pool), pages);
    assert_int_equal(pool_validate(&pool), 0);
}

/* After a fork each page is shared until it is written to; nothing new is put on such a page. */
static void shared_pages_are_written_to_last(void **state)
{
    uint64_t slots[100];
    for (unsigned i = 0; i < 100; i++)
        slots[i] = take(1500, NO_LIMIT);
    const size_t pages = pool_pages(&pool);
    pool_share(&pool);
    assert_int_equal(pool_shared_pages(&pool), pages);
    for (unsigned i = 0; i < 100; i += 2)
        pool_give(&pool, slots[i]);
    assert_int_equal(pool_shared_pages(&pool), pages);
    uint64_t slot;
    assert_int_equal(pool_take(&pool, 1500, pages, &slot), -ENOSPC); /* each hole is a copy */
    slot = take(1500, NO_LIMIT);
    assert_int_equal(pool_shared_pages(&pool), pages);
    assert_int_equal(pool_oldest_own(&pool), slot >> REF_SLOT_BITS);
    pool_will_write(&pool, slots[1], 16); /* a header, on one page */
    assert_int_equal(pool_shared_pages(&pool), pages - 1);
    pool_will_write(&pool, slots[1], 16);
    assert_int_equal(pool_shared_pages(&pool), pages - 1);
    assert_int_equal(pool_validate(&pool), 0);
    for (unsigned i = 1; i < 100; i += 2)
        pool_give(&pool, slots[i]);
    assert_true(pool_shared_pages(&pool) <= POOL_SPARE_BLOCKS * 16); /* the rest is given up */
    assert_int_equal(pool_validate(&pool), 0);
    pool_unshare(&pool);
    assert_int_equal(pool_shared_pages(&pool), 0);
    assert_int_equal(pool_oldest_own(&pool), pool.oldest);
    assert_int_equal(pool_validate(&pool), 0);
}

static void the_first_filled_is_the_oldest(void **state)
{
    const uint64_t first = take(2000, NO_LIMIT);
    uint64_t second[40];
    for (unsigned i = 0; i < 40; i++)
        second[i] = take(2000, NO_LIMIT);
    assert_int_equal(pool.oldest, first >> REF_SLOT_BITS);
    /* emptied for the most part and filled again, it is young */
    for (unsigned i = 0; i < 30 && second[i] >> REF_SLOT_BITS == pool.oldest; i++)
        pool_give(&pool, second[i]);
    for (unsigned i = 0; i < 25; i++)
        take(2000, NO_LIMIT);
    assert_int_not_equal(pool.oldest, first >> REF_SLOT_BITS);
    assert_int_equal(pool_validate(&pool), 0);
}

/* What store_compact() does, without objects. */
static void empty_block(uint32_t index, size_t n_bytes)
{
    for (int at; (at = pool_next_used(&pool.blocks[index], 0)) >= 0;) {
        const uint64_t from = (uint64_t)index << REF_SLOT_BITS | (unsigned)at;
        uint64_t to;
        assert_int_equal(pool_take_other(&pool, from, n_bytes, &to), 0);
        assert_int_not_equal(to >> REF_SLOT_BITS, index);
        pool_give(&pool, from);
    }
}

static void what_a_change_of_sizes_leaves_can_be_gathered(void **state)
{
    enum { N = 2000, PER_BLOCK = 34 };
    uint64_t slots[N], random = 3;
    for (unsigned i = 0; i < N; i++)
        slots[i] = take(1900, NO_LIMIT);
    assert_int_equal(pool_emptiest(&pool), POOL_NONE); /* nothing is free */
    unsigned n_left = N;
    for (unsigned i = 0; i < N; i++) {
        if (next_random(&random) >> 62 == 0)
            continue;
        pool_give(&pool, slots[i]);
        n_left--;
    }
    for (uint32_t index; (index = pool_emptiest(&pool)) != POOL_NONE;) {
        for (uint32_t i = pool.oldest; i != POOL_NONE; i = pool.blocks[i].age_next)
            assert_true(pool.blocks[i].n_used >= pool.blocks[index].n_used);
        empty_block(index, 1900);
        assert_int_equal(pool_validate(&pool), 0);
    }
    /* not more than a block and a quarter free, and the spare ones */
    assert_true(pool_pages(&pool) <= (n_left / PER_BLOCK + 1 + 2 + POOL_SPARE_BLOCKS) * 16);
    assert_true(pool_pages(&pool) >= resident_pages());
}

/* Objects that had to take what there was move to where they fit, if there is room. */
static void what_was_squeezed_in_moves_to_its_own_class(void **state)
{
    uint64_t large[3 * 21], slot;
    for (unsigned i = 0; i < 3 * 21; i++)
        large[i] = take(3000, NO_LIMIT);
    const uint64_t own = take(1000, NO_LIMIT);
    take(1000, NO_LIMIT);
    pool_give(&pool, own);
    assert_int_equal(pool_take_other(&pool, large[0], 1000, &slot), 0);
    assert_int_equal(slot, own);
    pool_give(&pool, slot);
    assert_int_equal(pool_take_other(&pool, large[0], 3000, &slot), -ENOSPC); /* nothing is free */
    assert_int_equal(pool_validate(&pool), 0);
}

static void what_others_share_stays(void **state)
{
    enum { N = 500 };
    uint64_t slots[N];
    for (unsigned i = 0; i < N; i++)
        slots[i] = take(1900, NO_LIMIT);
    pool_share(&pool);
    for (unsigned i = 0; i < N; i += 2)
        pool_give(&pool, slots[i]);
    assert_int_equal(pool_emptiest(&pool), POOL_NONE);
    pool_unshare(&pool);
    assert_int_not_equal(pool_emptiest(&pool), POOL_NONE);
}

static void holds_only_what_was_taken(void **state)
{
    const uint64_t slot = take(500, NO_LIMIT);
    assert_true(pool_holds(&pool, slot));
    assert_false(pool_holds(&pool, slot + 1));
    assert_false(pool_holds(&pool, (uint64_t)12345 << REF_SLOT_BITS));
    pool_give(&pool, slot);
    assert_false(pool_holds(&pool, slot));
}

static void validate_notices(void **state)
{
    take(500, NO_LIMIT);
    take(2500, NO_LIMIT);
    assert_int_equal(pool_validate(&pool), 0);
    struct pool_block *block = &pool.blocks[0];
    block->n_used++;
    assert_int_equal(pool_validate(&pool), -EUCLEAN);
    block->n_used--;
    block->n_touched++;
    assert_int_equal(pool_validate(&pool), -EUCLEAN);
    block->n_touched--;
    pool.has_room[0] ^= 1;
    assert_int_equal(pool_validate(&pool), -EUCLEAN);
    pool.has_room[0] ^= 1;
    pool.n_free[block->class]++;
    assert_int_equal(pool_validate(&pool), -EUCLEAN);
    pool.n_free[block->class]--;
    block->age_prev = 1;
    assert_int_equal(pool_validate(&pool), -EUCLEAN);
    block->age_prev = POOL_NONE;
    assert_int_equal(pool_validate(&pool), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_size_fits_closely),
        TEST(pages_count_what_is_resident),
        TEST(little_is_wasted),
        TEST(the_limit_is_kept),
        TEST(address_space_is_a_limit_too),
        TEST(at_the_limit_a_larger_hole_serves),
        TEST(holes_are_filled_before_growing),
        TEST(the_first_filled_is_the_oldest),
        TEST(shared_pages_are_written_to_last),
        TEST(what_a_change_of_sizes_leaves_can_be_gathered),
        TEST(what_was_squeezed_in_moves_to_its_own_class),
        TEST(what_others_share_stays),
        TEST(holds_only_what_was_taken),
        TEST(validate_notices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
