/* SPDX-License-Identifier: Apache-2.0 */
/* What must not be done with an extent space, and metadata that was written over. */
#include "death.h"
#include "extent/space.h"

#include <errno.h>
#include <string.h>

static _Alignas(QUIRE_EXTENT_ALIGNMENT) unsigned char metadata[32 << 10];
static struct quire_extent_space *space;
static quire_extent held[4];

static int set_up(void **state)
{
    struct quire_extent_config config = {100, 8, QUIRE_EXTENT_TLSF};
    int error = quire_extent_init(&config, metadata, sizeof metadata, &space);
    for (unsigned i = 0; error == 0 && i < 4; i++)
        error = quire_extent_alloc(space, 10, 1, &held[i], NULL);
    return error;
}

static void free_twice(void **state)
{
    assert_int_equal(quire_extent_free(space, held[1]), 0);
    assert_int_equal(quire_extent_free(space, held[1]), -EINVAL);
    assert_int_equal(quire_extent_free(space, held[0]), 0); /* coalesced with it */
    assert_int_equal(quire_extent_free(space, held[1]), -EINVAL);
    assert_int_equal(quire_extent_free(space, held[0]), -EINVAL);
    assert_int_equal(quire_extent_validate(space), 0);
}

static void a_handle_that_was_made_up(void **state)
{
    assert_int_equal(quire_extent_free(space, held[0] + 1000), -EINVAL);
    assert_int_equal(quire_extent_free(space, held[0] & 0xffffffff), -EINVAL);
    assert_int_equal(quire_extent_free(space, held[0] + ((uint64_t)1 << 32)), -EINVAL);
    assert_int_equal(quire_extent_validate(space), 0);
}

static void lose_a_neighbour(void)
{
    space->nodes[(uint32_t)held[1]].prev = 0;
    (void)!quire_extent_free(space, held[1]);
}

static void forget_a_list(void)
{
    memset(space->head, 0, sizeof space->head);
    (void)!quire_extent_free(space, held[3]);
}

static void corrupt_metadata_ends_the_process(void **state)
{
    assert_dies(lose_a_neighbour,
                "quire: extent space: metadata is corrupt at node 3: its neighbours do not know "
                "it\n");
    assert_dies(forget_a_list,
                "quire: extent space: metadata is corrupt at node 1: a hole is not on its list\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(free_twice, set_up),
        cmocka_unit_test_setup(a_handle_that_was_made_up, set_up),
        cmocka_unit_test_setup(corrupt_metadata_ends_the_process, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
