/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extent spaces when something fails: metadata that runs out at every number of extents, a move
 * that fails at every step of a compaction, and metadata that was damaged at every place: validate
 * says so or what it says is right, and neither ever crashes.
 */
#include <quire/extent.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h> /* wants the headers above */

#define N 24
#define LENGTH 10

static _Alignas(QUIRE_EXTENT_ALIGNMENT) unsigned char metadata[24 << 10], damaged[24 << 10];
static unsigned char contents[2 * N * LENGTH];
static struct quire_extent_space *space;
static quire_extent held[2 * N];

static void make(enum quire_extent_policy policy, uint32_t max_extents)
{
    struct quire_extent_config config = {2 * N * LENGTH, max_extents, policy};
    assert_int_equal(quire_extent_init(&config, metadata, sizeof metadata, &space), 0);
}

/* The metadata runs out in the middle of holes, where an extent needs the most nodes. */
static void metadata_runs_out_at_every_number(void **state)
{
    for (unsigned policy = 0; policy < QUIRE_EXTENT_N_POLICIES; policy++) {
        for (uint32_t n = 1; n <= N; n++) {
            quire_extent extent;
            make((enum quire_extent_policy)policy, n);
            for (uint32_t i = 0; i < n; i++)
                assert_int_equal(quire_extent_alloc_at(space, 2 * i * LENGTH + 3, LENGTH, &held[i]),
                                 0);
            assert_int_equal(quire_extent_alloc(space, 1, 1, &extent, NULL), -ENOSPC);
            assert_int_equal(quire_extent_alloc_at(space, 0, 1, &extent), -ENOSPC);
            assert_int_equal(quire_extent_validate(space), 0);
            assert_int_equal(quire_extent_resize(space, held[0], LENGTH - 1), 0);
            assert_int_equal(quire_extent_free(space, held[n - 1]), 0);
            assert_int_equal(quire_extent_alloc(space, LENGTH, 1, &extent, NULL), 0);
            assert_int_equal(quire_extent_validate(space), 0);
        }
    }
}

static unsigned n_left;

static int move(void *context, quire_extent extent, uint64_t from, uint64_t to, uint64_t length)
{
    if (n_left-- == 0)
        return -EIO;
    memmove(contents + to, contents + from, length);
    return 0;
}

static void assert_nothing_is_lost(void)
{
    assert_int_equal(quire_extent_validate(space), 0);
    for (unsigned i = 0; i < 2 * N; i += 2) {
        struct quire_extent_piece piece;
        assert_int_equal(quire_extent_find(space, held[i], &piece), 0);
        for (unsigned at = 0; at < LENGTH; at++)
            assert_int_equal(contents[piece.offset + at], i + 1);
    }
}

static void make_holes(enum quire_extent_policy policy)
{
    make(policy, 2 * N);
    for (unsigned i = 0; i < 2 * N; i++) {
        uint64_t offset;
        assert_int_equal(quire_extent_alloc(space, LENGTH, 1, &held[i], &offset), 0);
        memset(contents + offset, (int)(i + 1), LENGTH);
    }
    for (unsigned i = 1; i < 2 * N; i += 2)
        assert_int_equal(quire_extent_free(space, held[i]), 0);
}

static void a_move_fails_at_every_step(void **state)
{
    for (unsigned policy = 0; policy < QUIRE_EXTENT_N_POLICIES; policy++) {
        for (unsigned fails_at = 0; fails_at < N - 1; fails_at++) {
            for (uint64_t wanted = 0; wanted <= N * LENGTH; wanted += N * LENGTH) {
                struct quire_extent_compaction all = {
                    .wanted = wanted, .budget = UINT64_MAX, .move = move};
                make_holes((enum quire_extent_policy)policy);
                n_left = fails_at;
                assert_int_equal(quire_extent_compact(space, &all), -EIO);
                assert_int_equal(all.n_extents_moved, fails_at);
                assert_nothing_is_lost();
                n_left = N;
                assert_int_equal(quire_extent_compact(space, &all), 0);
                assert_int_equal(all.n_extents_moved, N - 1 - fails_at);
                assert_nothing_is_lost();
            }
        }
    }
}

struct sum {
    uint64_t end, used;
};

static bool add_up(void *context, const struct quire_extent_piece *piece)
{
    struct sum *sum = context;
    sum->end += piece->length;
    sum->used += piece->extent != 0 ? piece->length : 0;
    return true;
}

/* Each byte that is in use, changed in two ways. Undetected is only what contradicts nothing. */
static void damage_is_found(void **state)
{
    int errors = dup(2), nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    unsigned n_found = 0, n_harmless = 0;
    fflush(stderr);
    dup2(nowhere, 2);
    for (unsigned policy = 0; policy < QUIRE_EXTENT_N_POLICIES; policy++) {
        make_holes((enum quire_extent_policy)policy);
        struct quire_extent_stats stats;
        quire_extent_stats(space, &stats);
        size_t n_bytes = quire_extent_saved_bytes(space);
        for (size_t i = 0; i < n_bytes; i++) {
            for (unsigned char flip = 1; flip != 0; flip = flip == 1 ? 0x80 : 0) {
                struct quire_extent_space *opened;
                memcpy(damaged, metadata, sizeof metadata);
                damaged[i] ^= flip;
                if (quire_extent_open(damaged, sizeof damaged, &opened) != 0) {
                    n_found++;
                    continue;
                }
                struct sum sum = {0, 0};
                quire_extent_each(opened, add_up, &sum);
                assert_int_equal(sum.end, stats.length);
                assert_int_equal(sum.used, stats.n_used);
                n_harmless++;
            }
        }
    }
    dup2(errors, 2);
    close(errors);
    close(nowhere);
    assert_true(n_found > 20 * n_harmless / 100 && n_found > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metadata_runs_out_at_every_number),
        cmocka_unit_test(a_move_fails_at_every_step),
        cmocka_unit_test(damage_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
