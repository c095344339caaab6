/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wrong calls of the buddy system are refused and change nothing: each is made, must return
 * -EINVAL, and the metadata must be the same to the byte. Damaged metadata ends the process with a
 * message.
 */
#include "death.h"
#include "pages/buddy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST 1000
#define N_PAGES 2000
#define BLOCK 1024 /* allocated, of order 6 */
#define FREED 1088 /* free, of order 6; neighbours are allocated */
#define AFTER 1152 /* allocated, of order 7, then again; the frontier is behind */
#define FRONTIER 1408

static void *metadata, *before;
static size_t metadata_bytes;
static struct quire_buddy *buddy;

static quire_page alloc(unsigned order)
{
    quire_page page;
    assert_int_equal(quire_buddy_alloc(buddy, NULL, order, &page), 0);
    return page;
}

static int set_up(void **state)
{
    struct quire_buddy_zone zone = {FIRST, N_PAGES, "Normal"};
    struct quire_buddy_config config = {.max_order = 10, .n_zones = 1, .zones = &zone};
    metadata_bytes = quire_buddy_metadata_bytes(&config);
    metadata = aligned_alloc(4096, (metadata_bytes + 4095) & ~(size_t)4095);
    before = malloc(metadata_bytes);
    memset(metadata, 0, metadata_bytes);
    assert_int_equal(quire_buddy_init(&config, metadata, metadata_bytes, &buddy), 0);
    assert_int_equal(alloc(6), BLOCK);
    assert_int_equal(alloc(6), FREED);
    assert_int_equal(alloc(7), AFTER);
    assert_int_equal(alloc(7), AFTER + 128);
    assert_int_equal(quire_buddy_free(buddy, FREED, 6), 0);
    memcpy(before, metadata, metadata_bytes);
    return 0;
}

static int tear_down(void **state)
{
    free(metadata);
    free(before);
    return 0;
}

static void assert_refused(int result)
{
    assert_int_equal(result, -EINVAL);
    assert_memory_equal(metadata, before, metadata_bytes);
    assert_int_equal(quire_buddy_validate(buddy), 0);
}

static void free_twice(void **state)
{
    assert_refused(quire_buddy_free(buddy, FREED, 6));
    assert_refused(quire_buddy_free_range(buddy, FREED, 64));
}

static void free_twice_after_coalescing(void **state)
{
    assert_int_equal(quire_buddy_free(buddy, BLOCK, 6), 0); /* now 1024 to 1151 is one block */
    memcpy(before, metadata, metadata_bytes);
    assert_refused(quire_buddy_free(buddy, BLOCK, 6));
    assert_refused(quire_buddy_free(buddy, BLOCK, 7));
    assert_refused(quire_buddy_free(buddy, FREED, 6));
}

static void free_with_a_wrong_order(void **state)
{
    for (unsigned order = 0; order < 300; order++)
        if (order != 6)
            assert_refused(quire_buddy_free(buddy, BLOCK, order));
    assert_refused(quire_buddy_free(buddy, BLOCK, UINT32_MAX));
}

static void free_inside_a_block(void **state)
{
    for (quire_page page = BLOCK + 1; page < BLOCK + 64; page++)
        for (unsigned order = 0; order <= 10; order++)
            assert_refused(quire_buddy_free(buddy, page, order));
}

static void free_what_was_never_given(void **state)
{
    static const quire_page pages[] = {
        0, FIRST - 1, FIRST, FRONTIER, FIRST + N_PAGES - 1, FIRST + N_PAGES, UINT32_MAX};
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        for (unsigned order = 0; order <= 10; order++)
            assert_refused(quire_buddy_free(buddy, pages[i], order));
        assert_refused(quire_buddy_free_range(buddy, pages[i], 1));
    }
}

static void free_a_range_with_a_hole(void **state)
{
    assert_refused(quire_buddy_free_range(buddy, BLOCK, 65));
    assert_refused(quire_buddy_free_range(buddy, BLOCK + 63, 2));
    assert_refused(quire_buddy_free_range(buddy, BLOCK, 200));
    assert_refused(quire_buddy_free_range(buddy, AFTER - 1, 3));
    assert_refused(quire_buddy_free_range(buddy, AFTER, 257)); /* into fresh pages */
}

static void free_a_range_of_a_wrong_length(void **state)
{
    assert_refused(quire_buddy_free_range(buddy, BLOCK, 0));
    assert_refused(quire_buddy_free_range(buddy, AFTER, N_PAGES));
    assert_refused(quire_buddy_free_range(buddy, AFTER, UINT32_MAX));
    assert_refused(quire_buddy_free_range(buddy, AFTER, UINT32_MAX - AFTER + 1));
}

static void extend_what_is_not_allocated(void **state)
{
    assert_refused(quire_buddy_try_extend(buddy, FREED, 1, 2));
    assert_refused(quire_buddy_try_extend(buddy, BLOCK, 65, 70));
    assert_refused(quire_buddy_try_extend(buddy, BLOCK, 0, 64));
    assert_refused(quire_buddy_try_extend(buddy, BLOCK, 64, 63));
    assert_refused(quire_buddy_try_extend(buddy, FRONTIER, 1, 2));
    assert_refused(quire_buddy_try_extend(buddy, FIRST - 1, 1, 2));
}

static void lose_a_free_block(void)
{
    buddy->zones[0].head[0][6] = ZONE_NIL; /* not what is free */
    (void)!quire_buddy_free(buddy, BLOCK, 6);
}

static void corrupt_metadata_ends_the_process(void **state)
{
    assert_dies(
        lose_a_free_block,
        "quire: buddy system: metadata of zone Normal is corrupt at page 1088: a free block "
        "is not on its list\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(free_twice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(free_twice_after_coalescing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(free_with_a_wrong_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(free_inside_a_block, set_up, tear_down),
        cmocka_unit_test_setup_teardown(free_what_was_never_given, set_up, tear_down),
        cmocka_unit_test_setup_teardown(free_a_range_with_a_hole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(free_a_range_of_a_wrong_length, set_up, tear_down),
        cmocka_unit_test_setup_teardown(extend_what_is_not_allocated, set_up, tear_down),
        cmocka_unit_test_setup_teardown(corrupt_metadata_ends_the_process, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
