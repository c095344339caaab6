/* SPDX-License-Identifier: Apache-2.0 */
/* Extent spaces, one behaviour a test. */
#include <quire/extent.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h> /* wants the headers above */

#define MAX_EXTENTS 64

static _Alignas(QUIRE_EXTENT_ALIGNMENT) unsigned char metadata[32 << 10], copy[32 << 10];
static struct quire_extent_space *space;
static quire_extent made[32];

static void make(enum quire_extent_policy policy, uint64_t length)
{
    struct quire_extent_config config = {length, MAX_EXTENTS, policy};
    assert_true(quire_extent_metadata_bytes(&config) <= sizeof metadata);
    assert_int_equal(quire_extent_init(&config, metadata, sizeof metadata, &space), 0);
}

static quire_extent alloc(uint64_t length)
{
    quire_extent extent;
    assert_int_equal(quire_extent_alloc(space, length, 1, &extent, NULL), 0);
    return extent;
}

static uint64_t offset_of(quire_extent extent)
{
    struct quire_extent_piece piece;
    assert_int_equal(quire_extent_find(space, extent, &piece), 0);
    return piece.offset;
}

static struct quire_extent_stats stats_of(void)
{
    struct quire_extent_stats stats;
    assert_int_equal(quire_extent_validate(space), 0);
    quire_extent_stats(space, &stats);
    return stats;
}

/* Extents of these lengths in a row; those at odd places are freed. n is at most 32. */
static void make_holes(enum quire_extent_policy policy, unsigned n, const uint64_t *lengths)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < n; i++)
        sum += lengths[i];
    make(policy, sum);
    for (unsigned i = 0; i < n; i++)
        made[i] = alloc(lengths[i]);
    for (unsigned i = 1; i < n; i += 2)
        assert_int_equal(quire_extent_free(space, made[i]), 0);
}

static void init_refuses_invalid_configurations(void **state)
{
    struct quire_extent_config config = {100, 1, QUIRE_EXTENT_TLSF};
    size_t n_bytes = quire_extent_metadata_bytes(&config);
    assert_true(n_bytes > 0);
    assert_int_equal(quire_extent_init(&config, metadata, n_bytes - 1, &space), -ENOSPC);
    assert_int_equal(quire_extent_init(&config, metadata + 8, n_bytes, &space), -EINVAL);
    config.max_extents = 0;
    assert_int_equal(quire_extent_metadata_bytes(&config), 0);
    config.max_extents = QUIRE_EXTENT_MAX_EXTENTS + 1;
    assert_int_equal(quire_extent_metadata_bytes(&config), 0);
    config = (struct quire_extent_config){QUIRE_EXTENT_MAX_LENGTH + 1, 1, QUIRE_EXTENT_TLSF};
    assert_int_equal(quire_extent_metadata_bytes(&config), 0);
    config = (struct quire_extent_config){1, 1, QUIRE_EXTENT_N_POLICIES};
    assert_int_equal(quire_extent_metadata_bytes(&config), 0);
    assert_null(quire_extent_policy_name(QUIRE_EXTENT_N_POLICIES));
    assert_string_equal(quire_extent_policy_name(QUIRE_EXTENT_WORST), "worst");
}

static void metadata_is_as_large_as_documented(void **state)
{
    struct quire_extent_config config = {1, 1, QUIRE_EXTENT_TLSF}, more = {1, 1001, config.policy};
    assert_true(quire_extent_metadata_bytes(&config) < 7400);
    assert_int_equal(quire_extent_metadata_bytes(&more) - quire_extent_metadata_bytes(&config),
                     64 * 1000);
    config.policy = more.policy = QUIRE_EXTENT_NEXT;
    assert_int_equal(quire_extent_metadata_bytes(&more) - quire_extent_metadata_bytes(&config),
                     80 * 1000);
}

static void each_policy_takes_its_hole(void **state)
{
    /* holes of 10, 30, 12, 30 at 1, 12, 43, 56; the last extent made ends where the space does */
    static const uint64_t lengths[] = {1, 10, 1, 30, 1, 12, 1, 30, 1};
    static const uint64_t expected[] = {
        [QUIRE_EXTENT_FIRST] = 12, [QUIRE_EXTENT_NEXT] = 12, [QUIRE_EXTENT_BEST] = 43,
        [QUIRE_EXTENT_WORST] = 12, [QUIRE_EXTENT_TLSF] = 43,
    };
    for (unsigned i = 0; i < QUIRE_EXTENT_N_POLICIES; i++) {
        make_holes((enum quire_extent_policy)i, 9, lengths);
        assert_int_equal(offset_of(alloc(11)), expected[i]);
        assert_int_equal(quire_extent_validate(space), 0);
    }
    make_holes(QUIRE_EXTENT_NEXT, 9, lengths);
    alloc(11);
    assert_int_equal(offset_of(alloc(11)), 23); /* what is left of the same hole */
    assert_int_equal(offset_of(alloc(12)), 43);
    assert_int_equal(offset_of(alloc(30)), 56);
    assert_int_equal(offset_of(alloc(8)), 1); /* round again */
}

static void alignment(void **state)
{
    for (unsigned i = 0; i < QUIRE_EXTENT_N_POLICIES; i++) {
        quire_extent extent;
        uint64_t offset;
        make((enum quire_extent_policy)i, 4096);
        alloc(1);
        assert_int_equal(quire_extent_alloc(space, 100, 1024, &extent, &offset), 0);
        assert_int_equal(offset, 1024);
        assert_int_equal(quire_extent_alloc(space, 1, 4096, &extent, &offset), -ENOMEM);
        assert_int_equal(quire_extent_alloc(space, 1, 3, &extent, &offset), -EINVAL);
        assert_int_equal(quire_extent_alloc(space, 1, 0, &extent, &offset), -EINVAL);
        assert_int_equal(quire_extent_alloc(space, 0, 1, &extent, &offset), -EINVAL);
        assert_int_equal(quire_extent_alloc(space, 1, (uint64_t)1 << 63, &extent, NULL), -ENOMEM);
        assert_int_equal(quire_extent_alloc(space, UINT64_MAX, 1, &extent, NULL), -ENOMEM);
        assert_int_equal(stats_of().n_extents, 2);
    }
}

static void huge_spaces(void **state)
{
    for (unsigned i = 0; i < QUIRE_EXTENT_N_POLICIES; i++) {
        make((enum quire_extent_policy)i, QUIRE_EXTENT_MAX_LENGTH);
        quire_extent first = alloc((uint64_t)1 << 40),
                     all = alloc(QUIRE_EXTENT_MAX_LENGTH - ((uint64_t)1 << 40));
        assert_int_equal(stats_of().n_free, 0);
        assert_int_equal(quire_extent_free(space, first), 0);
        assert_int_equal(stats_of().largest, (uint64_t)1 << 40);
        assert_int_equal(quire_extent_free(space, all), 0);
        assert_int_equal(stats_of().largest, QUIRE_EXTENT_MAX_LENGTH);
    }
}

static void free_coalesces_with_both_neighbours(void **state)
{
    for (unsigned i = 0; i < QUIRE_EXTENT_N_POLICIES; i++) {
        make((enum quire_extent_policy)i, 30);
        quire_extent a = alloc(10), b = alloc(10), c = alloc(10);
        assert_int_equal(quire_extent_free(space, a), 0);
        assert_int_equal(quire_extent_free(space, c), 0);
        assert_int_equal(stats_of().n_holes, 2);
        assert_int_equal(quire_extent_free(space, b), 0);
        assert_int_equal(stats_of().n_holes, 1);
        assert_int_equal(stats_of().largest, 30);
    }
}

static void handles_that_are_no_longer_valid(void **state)
{
    make(QUIRE_EXTENT_TLSF, 100);
    quire_extent a = alloc(10);
    assert_int_equal(quire_extent_free(space, a), 0);
    assert_int_equal(quire_extent_free(space, a), -EINVAL);
    quire_extent b = alloc(10); /* the same place */
    assert_int_equal(offset_of(b), 0);
    struct quire_extent_piece piece;
    assert_int_equal(quire_extent_free(space, a), -EINVAL);
    assert_int_equal(quire_extent_resize(space, a, 1), -EINVAL);
    assert_int_equal(quire_extent_find(space, a, &piece), -EINVAL);
    assert_int_equal(quire_extent_pin(space, a), -EINVAL);
    assert_int_equal(quire_extent_unpin(space, a), -EINVAL);
    assert_int_equal(quire_extent_free(space, 0), -EINVAL);
    assert_int_equal(quire_extent_free(space, UINT64_MAX), -EINVAL);
    assert_int_equal(stats_of().n_used, 10);
}

static void allocate_exactly_here(void **state)
{
    for (unsigned i = 0; i < QUIRE_EXTENT_N_POLICIES; i++) {
        quire_extent extent;
        make((enum quire_extent_policy)i, 100);
        assert_int_equal(quire_extent_alloc_at(space, 40, 10, &extent), 0);
        assert_int_equal(offset_of(extent), 40);
        assert_int_equal(quire_extent_alloc_at(space, 45, 10, &extent), -ENOMEM);
        assert_int_equal(quire_extent_alloc_at(space, 31, 10, &extent), -ENOMEM);
        assert_int_equal(quire_extent_alloc_at(space, 91, 10, &extent), -EINVAL);
        assert_int_equal(quire_extent_alloc_at(space, UINT64_MAX, 2, &extent), -EINVAL);
        assert_int_equal(quire_extent_alloc_at(space, 50, 50, &extent), 0);
        assert_int_equal(quire_extent_alloc_at(space, 0, 40, &extent), 0);
        assert_int_equal(stats_of().n_free, 0);
    }
}

static void resize_in_place(void **state)
{
    make(QUIRE_EXTENT_TLSF, 100);
    quire_extent a = alloc(10), b = alloc(10);
    assert_int_equal(quire_extent_resize(space, a, 11), -ENOMEM);
    assert_int_equal(quire_extent_resize(space, a, 4), 0);
    assert_int_equal(stats_of().n_holes, 2);
    assert_int_equal(quire_extent_resize(space, a, 10), 0);
    assert_int_equal(stats_of().n_holes, 1);
    assert_int_equal(quire_extent_resize(space, b, 90), 0);
    assert_int_equal(quire_extent_resize(space, b, 91), -ENOMEM);
    assert_int_equal(quire_extent_resize(space, b, 0), -EINVAL);
    assert_int_equal(quire_extent_resize(space, b, UINT64_MAX), -ENOMEM);
    assert_int_equal(stats_of().n_free, 0);
}

static void the_end_moves(void **state)
{
    for (unsigned i = 0; i < QUIRE_EXTENT_N_POLICIES; i++) {
        make((enum quire_extent_policy)i, 0);
        assert_int_equal(stats_of().n_holes, 0);
        assert_int_equal(quire_extent_set_length(space, 10), 0);
        quire_extent a = alloc(10);
        assert_int_equal(quire_extent_set_length(space, 30), 0);
        assert_int_equal(quire_extent_set_length(space, 20), 0);
        assert_int_equal(stats_of().largest, 10);
        assert_int_equal(quire_extent_set_length(space, 9), -EBUSY);
        assert_int_equal(quire_extent_set_length(space, 10), 0);
        assert_int_equal(quire_extent_set_length(space, QUIRE_EXTENT_MAX_LENGTH + 1), -EINVAL);
        assert_int_equal(quire_extent_free(space, a), 0);
        assert_int_equal(quire_extent_set_length(space, 0), 0);
        assert_int_equal(stats_of().n_holes, 0);
    }
}

static void statistics(void **state)
{
    static const uint64_t lengths[] = {1, 10, 1, 30, 1, 12, 1, 4, 1};
    uint32_t histogram[QUIRE_EXTENT_N_SIZES];
    make_holes(QUIRE_EXTENT_TLSF, 9, lengths);
    struct quire_extent_stats stats = stats_of();
    assert_int_equal(stats.n_used, 5);
    assert_int_equal(stats.n_free, 56);
    assert_int_equal(stats.largest, 30);
    assert_int_equal(stats.n_holes, 4);
    assert_true(quire_extent_fragmentation(&stats) == 1 - 30.0 / 56);
    quire_extent_histogram(space, histogram);
    assert_int_equal(histogram[2], 1);
    assert_int_equal(histogram[3], 2);
    assert_int_equal(histogram[4], 1);
    stats.n_free = 0;
    assert_true(quire_extent_fragmentation(&stats) == 0);
}

/* Relocation */

static int n_until_failure, failure;

static int move(void *context, quire_extent extent, uint64_t from, uint64_t to, uint64_t length)
{
    unsigned char *bytes = context;
    if (n_until_failure-- == 0)
        return failure;
    memmove(bytes + to, bytes + from, length);
    return 0;
}

static unsigned char bytes[1000];

static void fill(void)
{
    struct quire_extent_piece piece;
    for (unsigned i = 0; i < 32; i++)
        if (quire_extent_find(space, made[i], &piece) == 0)
            memset(bytes + piece.offset, (int)(i + 1), piece.length);
    n_until_failure = -1;
}

static void assert_filled(void)
{
    struct quire_extent_piece piece;
    for (unsigned i = 0; i < 32; i++)
        if (quire_extent_find(space, made[i], &piece) == 0)
            for (uint64_t at = 0; at < piece.length; at++)
                assert_int_equal(bytes[piece.offset + at], i + 1);
    assert_int_equal(quire_extent_validate(space), 0);
}

static const uint64_t row[] = {5, 10, 7, 30, 9, 12, 11, 4, 13, 40};

static void compact_all_in_steps(void **state)
{
    for (unsigned i = 0; i < QUIRE_EXTENT_N_POLICIES; i++) {
        struct quire_extent_compaction step = {.budget = 10, .move = move, .context = bytes};
        uint64_t moved = 0;
        unsigned n_steps = 0;
        int result;
        memset(made, 0, sizeof made);
        make_holes((enum quire_extent_policy)i, 10, row);
        fill();
        do {
            result = quire_extent_compact(space, &step);
            assert_true(step.n_moved <= 10 || step.n_extents_moved == 1);
            moved += step.n_moved;
            n_steps++;
            assert_filled();
        } while (result == -EAGAIN);
        assert_int_equal(result, 0);
        assert_int_equal(n_steps, 4);
        assert_int_equal(moved, 7 + 9 + 11 + 13);
        assert_int_equal(stats_of().n_holes, 1);
        assert_int_equal(quire_extent_compact(space, &step), 0);
        assert_int_equal(step.n_moved, 0);
    }
}

static void pinned_extents_stay(void **state)
{
    struct quire_extent_compaction all = {.budget = UINT64_MAX, .move = move, .context = bytes};
    memset(made, 0, sizeof made);
    make_holes(QUIRE_EXTENT_TLSF, 10, row);
    fill();
    uint64_t before = offset_of(made[4]);
    assert_int_equal(quire_extent_pin(space, made[4]), 0);
    assert_int_equal(quire_extent_pin(space, made[4]), 0);
    assert_int_equal(quire_extent_compact(space, &all), 0);
    assert_filled();
    assert_int_equal(offset_of(made[4]), before);
    assert_int_equal(offset_of(made[2]), 5);
    assert_int_equal(offset_of(made[6]), before + 9);
    assert_int_equal(quire_extent_unpin(space, made[4]), 0);
    assert_int_equal(quire_extent_compact(space, &all), 0);
    assert_int_equal(all.n_moved, 0); /* one pin is left */
    assert_int_equal(quire_extent_unpin(space, made[4]), 0);
    assert_int_equal(quire_extent_unpin(space, made[4]), -EINVAL);
    assert_int_equal(quire_extent_compact(space, &all), 0);
    assert_int_equal(offset_of(made[4]), 12);
    assert_int_equal(stats_of().n_holes, 1);
    assert_filled();
}

static void compact_for_a_wanted_hole_moves_the_least(void **state)
{
    struct quire_extent_compaction wanted = {
        .wanted = 41, .budget = UINT64_MAX, .move = move, .context = bytes};
    struct quire_extent_advice advice;
    memset(made, 0, sizeof made);
    make_holes(QUIRE_EXTENT_BEST, 10, row);
    fill();
    quire_extent_advise(space, 41, &advice); /* 30 and 12 with 9 between: 42 */
    assert_true(advice.pays);
    assert_int_equal(advice.n_to_move, 9);
    assert_int_equal(advice.largest_after, 42);
    assert_int_equal(quire_extent_compact(space, &wanted), 0);
    assert_int_equal(wanted.n_moved, 9);
    assert_filled();
    assert_int_equal(quire_extent_compact(space, &wanted), 0);
    assert_int_equal(wanted.n_moved, 0); /* it is there */
    wanted.wanted = 97;                  /* more than is free */
    assert_int_equal(quire_extent_compact(space, &wanted), -ENOMEM);
    quire_extent_advise(space, 97, &advice);
    assert_false(advice.pays);
    wanted.wanted = 96;
    assert_int_equal(quire_extent_compact(space, &wanted), 0);
    assert_int_equal(stats_of().largest, 96);
    assert_filled();
}

static void when_compaction_of_all_pays(void **state)
{
    static const uint64_t much_to_move[] = {100, 5, 100, 5, 100, 5};
    static const uint64_t little_to_move[] = {1, 50, 1, 50, 1, 50};
    struct quire_extent_advice advice;
    make_holes(QUIRE_EXTENT_TLSF, 6, much_to_move);
    quire_extent_advise(space, 0, &advice);
    assert_false(advice.pays);
    assert_int_equal(advice.n_to_move, 200);
    make_holes(QUIRE_EXTENT_TLSF, 6, little_to_move);
    quire_extent_advise(space, 0, &advice);
    assert_true(advice.pays);
    assert_int_equal(advice.largest, 50);
    assert_int_equal(advice.largest_after, 150);
    assert_int_equal(advice.n_to_move, 2);
}

/* The metadata elsewhere */

static void a_saved_space_is_opened_elsewhere(void **state)
{
    for (unsigned i = 0; i < QUIRE_EXTENT_N_POLICIES; i++) {
        make_holes((enum quire_extent_policy)i, 10, row);
        struct quire_extent_stats before = stats_of();
        memset(copy, 0xff, sizeof copy);
        memcpy(copy, space, quire_extent_saved_bytes(space));
        memset(metadata, 0xff, sizeof metadata);
        assert_int_equal(quire_extent_open(copy, sizeof copy, &space), 0);
        struct quire_extent_stats after = stats_of();
        assert_int_equal(before.n_used, after.n_used);
        assert_int_equal(before.largest, after.largest);
        assert_int_equal(before.n_holes, after.n_holes);
        assert_int_equal(before.metadata_bytes, after.metadata_bytes);
        assert_int_equal(quire_extent_free(space, made[0]), 0);
        assert_int_equal(quire_extent_open(copy, 100, &space), -ENOSPC);
        assert_int_equal(quire_extent_open(copy, 10 << 10, &space), -ENOSPC);
        assert_int_equal(quire_extent_open(copy + 8, sizeof copy - 8, &space), -EINVAL);
        copy[0] ^= 1;
        assert_int_equal(quire_extent_open(copy, sizeof copy, &space), -EINVAL);
    }
}

static void more_extents_are_allowed(void **state)
{
    for (unsigned i = 0; i < QUIRE_EXTENT_N_POLICIES; i++) {
        struct quire_extent_config config = {1000, 3, (enum quire_extent_policy)i};
        quire_extent extent;
        assert_int_equal(quire_extent_init(&config, metadata, sizeof metadata, &space), 0);
        for (unsigned j = 0; j < 3; j++)
            alloc(10);
        assert_int_equal(quire_extent_alloc(space, 1, 1, &extent, NULL), -ENOSPC);
        assert_int_equal(quire_extent_allow(space, 2, sizeof metadata), -EINVAL);
        assert_int_equal(quire_extent_allow(space, 4, 100), -ENOSPC);
        assert_int_equal(quire_extent_allow(space, 4, sizeof metadata), 0);
        alloc(10);
        assert_int_equal(quire_extent_alloc(space, 1, 1, &extent, NULL), -ENOSPC);
        assert_int_equal(stats_of().n_extents, 4);
    }
}

/* Two processes, each with the metadata at an address of its own. */
static void a_space_in_shared_memory(void **state)
{
    struct quire_extent_config config = {1000, MAX_EXTENTS, QUIRE_EXTENT_FIRST};
    size_t n_bytes = sizeof metadata;
    int fd = memfd_create("extents", MFD_CLOEXEC), status;
    assert_int_equal(ftruncate(fd, (off_t)n_bytes), 0);
    void *here = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(here, MAP_FAILED);
    assert_int_equal(quire_extent_init(&config, here, n_bytes, &space), 0);
    quire_extent mine = alloc(10), handle;
    pid_t child = fork();
    if (child == 0) {
        void *there = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        int bad = there == here || quire_extent_open(there, n_bytes, &space) != 0 ||
                  munmap(here, n_bytes) != 0 || quire_extent_free(space, mine) != 0 ||
                  quire_extent_alloc(space, 20, 1, &handle, NULL) != 0;
        _exit(bad);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(quire_extent_free(space, mine), -EINVAL);
    assert_int_equal(stats_of().n_used, 20);
    munmap(here, n_bytes);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(init_refuses_invalid_configurations),
        cmocka_unit_test(metadata_is_as_large_as_documented),
        cmocka_unit_test(each_policy_takes_its_hole),
        cmocka_unit_test(alignment),
        cmocka_unit_test(huge_spaces),
        cmocka_unit_test(free_coalesces_with_both_neighbours),
        cmocka_unit_test(handles_that_are_no_longer_valid),
        cmocka_unit_test(allocate_exactly_here),
        cmocka_unit_test(resize_in_place),
        cmocka_unit_test(the_end_moves),
        cmocka_unit_test(statistics),
        cmocka_unit_test(compact_all_in_steps),
        cmocka_unit_test(pinned_extents_stay),
        cmocka_unit_test(compact_for_a_wanted_hole_moves_the_least),
        cmocka_unit_test(when_compaction_of_all_pays),
        cmocka_unit_test(a_saved_space_is_opened_elsewhere),
        cmocka_unit_test(more_extents_are_allowed),
        cmocka_unit_test(a_space_in_shared_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
