/* SPDX-License-Identifier: Apache-2.0 */
/* The heap's source of pages without a pager: what it keeps, what it gives back, what it tells. */
#include "heap/range.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h> /* wants the ones above */

#define PAGE SYS_PAGE_SIZE
#define MIB_PAGES ((size_t)256)

static struct heap_range range;
static struct heap_source source;

static int setup(void **state)
{
    int error = heap_range_open(&range, (size_t)1 << 20, (size_t)1 << 14);
    heap_range_fill_source(&range, &source);
    return error;
}

static int teardown(void **state)
{
    int error = heap_range_validate(&range);
    heap_range_close(&range);
    return error;
}

static char *take(size_t n_pages, size_t align_pages, bool *zeroed)
{
    char *run = source.alloc(&range, n_pages, align_pages, zeroed);
    assert_non_null(run);
    return run;
}

static void give(void *run, size_t n_pages)
{
    source.free(&range, run, n_pages);
}

static size_t resident_pages(const char *run, size_t n_pages)
{
    unsigned char *present = malloc(n_pages);
    size_t n = 0;
    assert_int_equal(mincore((void *)(uintptr_t)run, n_pages * PAGE, present), 0);
    for (size_t i = 0; i < n_pages; i++)
        n += present[i] & 1;
    free(present);
    return n;
}

static void what_was_never_used_is_zero(void **state)
{
    bool zeroed = false;
    char *run = take(10, 1, &zeroed);
    assert_true(zeroed);
    memset(run, 1, 10 * PAGE);
    give(run, 10);
    char *again = take(10, 1, &zeroed);
    assert_ptr_equal(again, run); /* warm pages come first */
    assert_false(zeroed);
    assert_int_equal(again[5 * PAGE], 1);
    give(again, 10);
}

static void what_was_purged_is_zero(void **state)
{
    bool zeroed = false;
    char *run = take(10, 1, &zeroed);
    memset(run, 1, 10 * PAGE);
    give(run, 10);
    assert_true(heap_range_purge(&range));
    assert_false(heap_range_purge(&range));
    assert_int_equal(resident_pages(run, 10), 0);
    assert_ptr_equal(take(10, 1, &zeroed), run);
    assert_true(zeroed);
    for (size_t i = 0; i < 10 * PAGE; i++)
        assert_int_equal(run[i], 0);
    give(run, 10);
}

/* One half of a run is clean, the other is warm: only the clean one is told as zeroed. */
static void partly_warm_is_not_zero(void **state)
{
    bool zeroed = true;
    char *run = take(64, 1, &zeroed);
    memset(run, 1, 64 * PAGE);
    give(run, 32);
    heap_range_purge(&range);
    give(run + 32 * PAGE, 32);
    assert_ptr_equal(take(64, 1, &zeroed), run);
    assert_false(zeroed);
    give(run, 32);
    heap_range_purge(&range);
    give(run + 32 * PAGE, 32);
    assert_ptr_equal(take(32, 1, &zeroed), run);
    assert_true(zeroed);
    assert_ptr_equal(take(32, 1, &zeroed), run + 32 * PAGE);
    assert_false(zeroed);
    give(run, 64);
}

static void a_peak_goes_back(void **state)
{
    enum { N = 400 };
    static char *runs[N];
    bool zeroed;
    size_t n_resident = 0;

    for (size_t i = 0; i < N; i++) { /* 200 MiB */
        runs[i] = take(MIB_PAGES / 2, 1, &zeroed);
        memset(runs[i], 1, MIB_PAGES / 2 * PAGE);
    }
    for (size_t i = 0; i < N; i++)
        give(runs[i], MIB_PAGES / 2);
    for (size_t i = 0; i < N; i++)
        n_resident += resident_pages(runs[i], MIB_PAGES / 2);
    assert_true(n_resident <= 16 * MIB_PAGES); /* of 200 */
    assert_int_equal(heap_range_validate(&range), 0);
    assert_true(n_resident > 0); /* something stays warm */
    heap_range_purge(&range);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(resident_pages(runs[i], MIB_PAGES / 2), 0);
}

/* Time is what the last look says: it stands still from now on, however slow this machine is. */
static void stop_the_clock(void)
{
    range.tick_ns = UINT64_MAX / 2;
}

static void let_time_pass(void)
{
    range.tick_ns = 0;
}

/* While half stays used, so much more may be warm; then it goes as time goes by. */
static void what_is_idle_goes_back(void **state)
{
    bool zeroed;
    char *idle = take(8 * MIB_PAGES, 1, &zeroed);

    stop_the_clock();
    memset(idle, 1, 8 * MIB_PAGES * PAGE);
    give(idle, 8 * MIB_PAGES);
    assert_int_equal(resident_pages(idle, 8 * MIB_PAGES), 8 * MIB_PAGES);
    char *other = take(1, 1, &zeroed); /* splits the warm block; the rest is idle from now on */
    for (unsigned look = 0; look < 2; look++) {
        assert_int_equal(resident_pages(idle, 8 * MIB_PAGES), 8 * MIB_PAGES);
        let_time_pass();
        for (unsigned i = 0; i < 32; i++) { /* calls for one look */
            give(other, 1);
            other = take(1, 1, &zeroed);
        }
    }
    assert_true(resident_pages(idle, 8 * MIB_PAGES) <= 16);
    give(other, 1);
}

/* Who fills and drains over and over does not pay for it each time. */
static void what_is_wanted_again_is_kept(void **state)
{
    enum { N = 64, MOST_ROUNDS = 200 };
    static char *runs[N];
    size_t n_resident = 0;
    bool zeroed;

    stop_the_clock(); /* a round may take longer than what is warm is kept for */
    for (unsigned round = 0; round < MOST_ROUNDS && n_resident < N * MIB_PAGES / 2; round++) {
        n_resident = 0;
        for (size_t i = 0; i < N; i++)
            memset(runs[i] = take(MIB_PAGES / 2, 1, &zeroed), 1, MIB_PAGES / 2 * PAGE);
        for (size_t i = 0; i < N; i++)
            give(runs[i], MIB_PAGES / 2);
        for (size_t i = 0; i < N; i++)
            n_resident += resident_pages(runs[i], MIB_PAGES / 2);
        if (round == 0)
            assert_true(n_resident < N * MIB_PAGES / 2);
    }
    assert_int_equal(n_resident, N * MIB_PAGES / 2);
}

static void a_very_large_run_goes_back_at_once(void **state)
{
    bool zeroed = false;
    char *run = take(40 * MIB_PAGES, 1, &zeroed);
    memset(run, 1, 40 * MIB_PAGES * PAGE);
    give(run, 40 * MIB_PAGES);
    assert_int_equal(resident_pages(run, 40 * MIB_PAGES), 0);
}

/* Whether the mapping that holds the address is one for which huge pages were asked. */
static bool asks_for_huge_pages(const void *address)
{
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[512];
    bool inside = false, asked = false;

    assert_non_null(maps);
    while (fgets(line, sizeof line, maps) != NULL) {
        uintptr_t from, to;
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2)
            inside = (uintptr_t)address >= from && (uintptr_t)address < to;
        else if (inside && strncmp(line, "VmFlags:", 8) == 0)
            asked = strstr(line, " hg") != NULL;
    }
    fclose(maps);
    return asked;
}

static void only_a_large_heap_has_huge_pages(void **state)
{
    bool zeroed;
    if (access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK) != 0)
        skip(); /* a kernel without */
    char *small = take(8 * MIB_PAGES, 1, &zeroed), *more = take(12 * MIB_PAGES, 1, &zeroed);
    char *large = take(MIB_PAGES, 1, &zeroed); /* beyond 16 MiB */
    char *sparse = take(64 * MIB_PAGES, 1, &zeroed);
    assert_false(asks_for_huge_pages(small));
    assert_false(asks_for_huge_pages(more));
    assert_true(asks_for_huge_pages(large));
    assert_false(asks_for_huge_pages(sparse + 32 * MIB_PAGES * PAGE));
    give(small, 8 * MIB_PAGES);
    give(more, 12 * MIB_PAGES);
    give(large, MIB_PAGES);
    give(sparse, 64 * MIB_PAGES);
}

static void a_populated_run_has_its_memory(void **state)
{
    bool zeroed;
    char *run = take(16, 1, &zeroed);
    assert_int_equal(resident_pages(run, 16), 0);
    if (madvise(run, PAGE, 23 /* MADV_POPULATE_WRITE */) != 0)
        skip(); /* Linux before 5.14, or a sandbox that hides it */
    source.populate(&range, run, 16);
    assert_int_equal(resident_pages(run, 16), 16);
    for (size_t i = 0; i < 16 * PAGE; i++)
        assert_int_equal(run[i], 0);
    give(run, 16);
}

static void alignment_is_by_address(void **state)
{
    bool zeroed;
    char *odd = take(1, 1, &zeroed);
    for (size_t align = 1; align <= (size_t)1 << 15; align *= 2) {
        char *run = take(3, align, &zeroed);
        assert_int_equal((uintptr_t)run % (align * PAGE), 0);
        run[0] = run[3 * PAGE - 1] = 1;
        give(run, 3);
        assert_int_equal(heap_range_validate(&range), 0);
    }
    give(odd, 1);
}

static void extends_in_place_and_moves_pages(void **state)
{
    bool zeroed = false;
    char *run = take(300, 1, &zeroed);
    for (size_t i = 0; i < 300; i++)
        run[i * PAGE] = (char)i;
    assert_true(source.extend(&range, run, 300, 600, &zeroed));
    assert_true(zeroed);
    char *behind = take(512, 1, &zeroed);
    if (behind == run + 600 * PAGE)
        assert_false(source.extend(&range, run, 600, 700, &zeroed));
    char *other = take(600, 1, &zeroed);
    source.move(&range, run, other, 600);
    for (size_t i = 0; i < 300; i++)
        assert_int_equal(other[i * PAGE], (char)i);
    give(run, 600);
    give(other, 600);
    give(behind, 512);
    assert_int_equal(heap_range_validate(&range), 0);
    heap_range_purge(&range);
    assert_int_equal(resident_pages(other, 600), 0);
}

static void too_much_is_refused(void **state)
{
    bool zeroed;
    assert_null(source.alloc(&range, ((size_t)1 << 20) + 1, 1, &zeroed));
    assert_null(source.alloc(&range, 1, (size_t)1 << 40, &zeroed));
    char *all = take((size_t)1 << 20, 1, &zeroed);
    assert_null(source.alloc(&range, 1, 1, &zeroed));
    give(all, (size_t)1 << 20);
}

/* Memory of somebody else's: of any length, not zeroed, never dropped. */
static void over_memory_that_is_there(void **state)
{
    const size_t n_pages = 1000;
    struct heap_range other;
    struct heap_source other_source;
    bool zeroed = true;
    size_t n_bytes = heap_range_metadata_bytes(n_pages);
    char *memory = aligned_alloc(PAGE, (n_pages + 1) * PAGE);
    void *metadata = aligned_alloc(PAGE, n_bytes);

    memset(metadata, 0, n_bytes);
    memset(memory, 0x5a, n_pages * PAGE);
    heap_range_over(&other, memory, n_pages, false, metadata);
    heap_range_fill_source(&other, &other_source);
    char *run = other_source.alloc(&other, 100, 64, &zeroed);
    assert_non_null(run);
    assert_false(zeroed);
    assert_int_equal((uintptr_t)run % (64 * PAGE), 0);
    assert_int_equal(run[0], 0x5a);
    other_source.free(&other, run, 100);
    assert_false(heap_range_purge(&other));
    assert_int_equal(run[0], 0x5a);
    assert_int_equal(heap_range_validate(&other), 0);
    free(memory);
    free(metadata);
}

static void a_fork_s_child_goes_on(void **state)
{
    bool zeroed;
    int status;
    char *run = take(100, 1, &zeroed);
    run[0] = 42;
    heap_range_fork_prepare(&range);
    pid_t child = fork();
    if (child == 0) {
        heap_range_fork_child(&range);
        bool good = run[0] == 42 && heap_range_validate(&range) == 0;
        give(run, 100);
        char *other = source.alloc(&range, 1000, 1, &zeroed);
        other[999 * PAGE] = 1;
        good &= heap_range_validate(&range) == 0;
        _exit(good ? 0 : 1);
    }
    heap_range_fork_parent(&range);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    give(run, 100);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_was_never_used_is_zero),
        TEST(what_was_purged_is_zero),
        TEST(partly_warm_is_not_zero),
        TEST(a_peak_goes_back),
        TEST(what_is_idle_goes_back),
        TEST(what_is_wanted_again_is_kept),
        TEST(a_very_large_run_goes_back_at_once),
        TEST(only_a_large_heap_has_huge_pages),
        TEST(a_populated_run_has_its_memory),
        TEST(alignment_is_by_address),
        TEST(extends_in_place_and_moves_pages),
        TEST(too_much_is_refused),
        TEST(over_memory_that_is_there),
        TEST(a_fork_s_child_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
