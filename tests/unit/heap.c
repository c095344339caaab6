/* SPDX-License-Identifier: Apache-2.0 */
/* The heap's behaviour, one function a test. All tests share the process's one heap. */
#include "heap_source.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>

#include <cmocka.h> /* wants the ones above */

#define KIB ((size_t)1024)

static size_t held_pages(void)
{
    return heap_test.n_held;
}

static int setup(void **state)
{
    heap_trim();
    heap_test.warm = heap_test.no_extend = false;
    return heap_validate();
}

static int teardown(void **state)
{
    heap_trim();
    struct heap_counts counts;
    heap_counts(&counts);
    if (heap_validate() != 0 || counts.n_small != 0 || counts.n_large != 0 || held_pages() != 0)
        return -1;
    return 0;
}

static void sizes_waste_at_most_an_eighth(void **state)
{
    for (size_t n = 0; n <= 32 * KIB; n++) {
        void *object = heap_malloc(n);
        assert_non_null(object);
        assert_int_equal((uintptr_t)object % 16, 0);
        size_t usable = heap_usable_size(object);
        assert_true(usable >= n);
        if (n > 128)
            assert_true((usable - n) * 8 <= usable);
        else
            assert_true(usable < n + 16 || (n == 0 && usable == 16));
        heap_free(object);
    }
}

static void large_objects_are_whole_pages(void **state)
{
    void *object = heap_malloc(32 * KIB + 1);
    assert_int_equal(heap_usable_size(object), 36 * KIB);
    assert_int_equal((uintptr_t)object % 4096, 0);
    heap_free(object);
    assert_null(heap_malloc(SIZE_MAX));
    assert_null(heap_malloc(PTRDIFF_MAX));
    assert_null(heap_calloc((size_t)PTRDIFF_MAX + 1));
    assert_null(heap_malloc(heap_test.n_pages * 4096 + 1));
}

static void alignment_is_kept(void **state)
{
    static const size_t sizes[] = {0, 1, 15, 100, 129, 260, 300, 4000, 5000, 32768, 32769, 100000};
    for (size_t alignment = 1; alignment <= (size_t)4 << 20; alignment *= 2)
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            void *one = heap_memalign(alignment, sizes[i]);
            void *two = heap_memalign(alignment, sizes[i]);
            assert_non_null(two);
            assert_ptr_not_equal(one, two);
            assert_int_equal((uintptr_t)one % alignment, 0);
            assert_int_equal((uintptr_t)two % alignment, 0);
            assert_true(heap_usable_size(one) >= sizes[i]);
            heap_free(one);
            heap_free(two);
        }
}

static void calloc_is_zero_when_pages_are_not(void **state)
{
    static const size_t sizes[] = {1, 24, 500, 4096, 30000, 40000, 300000};
    for (int warm = 0; warm < 2; warm++) {
        heap_test.warm = warm;
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
            for (int round = 0; round < 100; round++) {
                unsigned char *object = heap_calloc(sizes[i]);
                for (size_t at = 0; at < sizes[i]; at++)
                    assert_int_equal(object[at], 0);
                memset(object, 0xff, heap_usable_size(object));
                heap_free(object);
            }
        heap_trim();
    }
}

static void calloc_is_zero_after_dirty_neighbours_drained(void **state)
{
    enum { N = 3000 };
    static void *objects[N];
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < N; i++) {
            objects[i] = heap_calloc(1000);
            for (size_t at = 0; at < 1000; at++)
                assert_int_equal(((unsigned char *)objects[i])[at], 0);
            memset(objects[i], 0xff, 1000);
        }
        for (size_t i = 0; i < N; i++)
            heap_free(objects[i]);
    }
}

static void realloc_keeps_contents(void **state)
{
    for (int mode = 0; mode < 4; mode++) {
        heap_test.warm = mode & 1;
        heap_test.no_extend = mode & 2;
        size_t size = 1;
        unsigned char *object = heap_malloc(size), *blocker = NULL;
        object[0] = 0;
        for (unsigned seed = 1; size < 8 * KIB * KIB; seed++) {
            size_t grown = size + size / 3 + 1;
            object = heap_realloc(object, grown);
            assert_true(heap_usable_size(object) >= grown);
            for (size_t at = 0; at < size; at += at / 64 + 1)
                assert_int_equal(object[at], (unsigned char)(at * 31));
            for (size_t at = size; at < grown; at++)
                object[at] = (unsigned char)(at * 31);
            size = grown;
            if (seed % 8 == 0) {
                if (blocker != NULL)
                    heap_free(blocker);
                blocker = heap_malloc(50 * KIB);
            }
        }
        while (size > 1) {
            size = size * 2 / 3;
            object = heap_realloc(object, size);
            for (size_t at = 0; at < size; at += at / 64 + 1)
                assert_int_equal(object[at], (unsigned char)(at * 31));
        }
        assert_int_equal(heap_validate(), 0);
        heap_free(object);
        heap_free(blocker);
    }
}

static void realloc_of_large_works_in_place(void **state)
{
    char *object = heap_malloc(1024 * KIB);
    size_t before = held_pages();
    unsigned long n_moves = heap_test.n_moves;
    assert_ptr_equal(heap_realloc(object, 512 * KIB), object);
    assert_int_equal(held_pages(), before - 128);
    assert_ptr_equal(heap_realloc(object, 2048 * KIB), object);
    assert_int_equal(held_pages(), before + 256);
    heap_test.no_extend = true;
    char *moved = heap_realloc(object, 4096 * KIB);
    assert_ptr_not_equal(moved, object);
    assert_int_equal(heap_test.n_moves, n_moves + 1);
    assert_int_equal(held_pages(), before + 768);
    heap_free(moved);
}

static void small_realloc_stays(void **state)
{
    char *object = heap_malloc(1000);
    assert_ptr_equal(heap_realloc(object, 1024), object);
    assert_ptr_equal(heap_realloc(object, 512), object);
    char *smaller = heap_realloc(object, 100);
    assert_ptr_not_equal(smaller, object);
    assert_int_equal(heap_usable_size(smaller), 112);
    assert_ptr_equal(heap_realloc(smaller, 112), smaller);
    heap_free(smaller);
}

static void owns_what_it_holds(void **state)
{
    int local;
    char *small = heap_malloc(100), *large = heap_malloc(5 * KIB * KIB);
    assert_true(heap_owns(small + 50));
    assert_true(heap_owns(large));
    assert_true(heap_owns(large + 3 * KIB * KIB));
    assert_true(heap_owns(large + 5 * KIB * KIB - 1));
    assert_false(heap_owns(large + 5 * KIB * KIB));
    assert_false(heap_owns(&local));
    assert_false(heap_owns(heap_test.base + (heap_test.n_pages - 1) * 4096));
    heap_free(large);
    assert_false(heap_owns(large));
    assert_false(heap_owns(large + 3 * KIB * KIB));
    heap_free(small);
}

static void everything_goes_back(void **state)
{
    enum { N = 40000 };
    static void *objects[N];
    for (size_t i = 0; i < N; i++)
        objects[i] = heap_malloc(i % 3000);
    assert_true(held_pages() > 0);
    for (size_t i = 0; i < N; i++)
        heap_free(objects[(i * 7919) % N]);
    assert_true(heap_trim());
    assert_int_equal(held_pages(), 0);
    assert_false(heap_trim());
}

static void counts_add_up(void **state)
{
    struct heap_counts counts;
    struct heap_class_counts one;
    void *small[100], *large = heap_malloc(100 * KIB);
    size_t n_live = 0, n_spans_bytes = 0;

    for (size_t i = 0; i < 100; i++)
        small[i] = heap_malloc(48);
    heap_counts(&counts);
    assert_int_equal(counts.n_large, 1);
    assert_int_equal(counts.large_bytes, 100 * KIB);
    assert_int_equal(counts.small_bytes, 100 * 48 + counts.cached_bytes);
    assert_int_equal(counts.span_bytes + counts.large_bytes, held_pages() * 4096);
    assert_true(counts.metadata_bytes > 0 && counts.metadata_bytes <= meta_bytes());
    for (unsigned i = 0; heap_class_counts(i, &one); i++) {
        n_live += one.n_live;
        n_spans_bytes += one.span_pages * 4096;
        assert_true(one.n_live <= one.n_objects);
        assert_true(one.n_objects * one.object_bytes <= one.span_pages * 4096);
    }
    assert_int_equal(n_live, counts.n_small);
    assert_int_equal(n_spans_bytes, counts.span_bytes);
    for (size_t i = 0; i < 100; i++)
        heap_free(small[i]);
    heap_free(large);
}

static void metadata_is_a_hundredth(void **state)
{
    enum { N = 1 << 19 };
    struct heap_counts before, after;
    void **objects = heap_malloc(N * sizeof(void *));
    heap_counts(&before);
    for (size_t i = 0; i < N; i++)
        objects[i] = heap_malloc(64);
    heap_counts(&after);
    assert_true((after.metadata_bytes - before.metadata_bytes) * 100 <= N * 64u);
    assert_true(after.span_bytes - before.span_bytes <= N * 64u * 103 / 100);
    for (size_t i = 0; i < N; i++)
        heap_free(objects[i]);
    heap_free(objects);
}

/* What heap_scrub says of each page, against what the test knows. */
static void scrub_page(char *page, size_t dead_bytes)
{
    char copy[4096], before[4096];
    memcpy(copy, page, 4096);
    memcpy(before, page, 4096);
    assert_int_equal(heap_scrub(page, copy), dead_bytes);
    size_t n_zeroed = 0;
    for (size_t i = 0; i < 4096; i++) {
        assert_true(copy[i] == before[i] || copy[i] == 0);
        n_zeroed += copy[i] != before[i];
    }
    assert_true(n_zeroed <= dead_bytes);
}

static void scrub_finds_dead_objects(void **state)
{
    enum { N = 4096 };
    static char *objects[N];
    static char copy[4096];
    for (size_t size = 16; size <= 10000; size = size * 5 / 4 + 16) {
        for (size_t i = 0; i < N; i++) {
            objects[i] = heap_malloc(size);
            memset(objects[i], 0x77, heap_usable_size(objects[i]));
        }
        for (size_t i = 0; i < N; i++)
            if (i % 3 != 0)
                heap_free(objects[i]);
        heap_trim();
        for (size_t i = 0; i < N; i += 3)
            for (size_t at = 0; at < heap_usable_size(objects[i]); at += 4096) {
                char *page = (char *)((uintptr_t)(objects[i] + at) & ~(uintptr_t)4095);
                memcpy(copy, page, 4096);
                size_t n_dead = heap_scrub(page, copy), n_zero = 0;
                for (size_t k = 0; k < 4096; k++)
                    n_zero += copy[k] == 0;
                assert_int_equal(n_dead, n_zero);
                char *from = objects[i] + at > page ? objects[i] + at : page;
                char *end = objects[i] + heap_usable_size(objects[i]);
                for (; from < page + 4096 && from < end; from++)
                    assert_int_equal(copy[from - page], 0x77);
            }
        for (size_t i = 0; i < N; i += 3)
            heap_free(objects[i]);
        heap_trim();
    }
}

/* Some spans end in whole pages that no object reaches. */
static void scrub_of_a_span_s_tail(void **state)
{
    struct heap_class_counts counts;
    unsigned n_tails = 0;

    for (unsigned i = 0; heap_class_counts(i, &counts); i++) {
        char *object = heap_malloc(counts.object_bytes); /* the first of its span */
        heap_class_counts(i, &counts);
        size_t n_bytes = counts.span_pages * HEAP_SOURCE_PAGE;
        if (n_bytes - counts.n_objects * counts.object_bytes >= HEAP_SOURCE_PAGE) {
            assert_int_equal(counts.n_spans, 1);
            scrub_page(object + n_bytes - HEAP_SOURCE_PAGE, HEAP_SOURCE_PAGE);
            n_tails++;
        }
        heap_free(object);
    }
    assert_true(n_tails > 0);
}

static void scrub_of_a_dead_page(void **state)
{
    char *object = heap_malloc(4096), *other = heap_malloc(4096);
    char *large = heap_malloc(600 * 4096);
    scrub_page(object, 0);
    scrub_page(large, 0);
    scrub_page(large + 599 * 4096, 0);
    scrub_page(large + 600 * 4096, 4096);
    large = heap_realloc(large, 300 * 4096);
    scrub_page(large + 299 * 4096, 0);
    scrub_page(large + 300 * 4096, 4096);
    assert_ptr_equal(heap_realloc(large, 3000 * 4096), large);
    for (size_t i = 0; i < 3000; i += 10)
        scrub_page(large + i * 4096, 0);
    heap_free(large);
    heap_free(other);
    heap_trim();
    scrub_page(other, 4096);
    scrub_page(large, 4096);
    scrub_page(object, 0);
    heap_free(object);
}

static void *in_a_thread(void *argument)
{
    void **objects = argument;
    for (size_t i = 0; i < 1000; i++)
        objects[i] = heap_malloc(200);
    void *extra = heap_malloc(200);
    heap_free(extra);
    heap_thread_exit();
    extra = heap_malloc(300); /* as another library's thread destructor may */
    heap_free(objects[0]);
    objects[0] = extra;
    heap_free(heap_malloc(400));
    return NULL;
}

/* What a thread took, while it goes on living. */
struct taker {
    pthread_barrier_t taken, done;
    void *objects[100];
};

static void *take_and_stay(void *argument)
{
    struct taker *taker = argument;
    for (size_t i = 0; i < 100; i++)
        taker->objects[i] = heap_malloc(48);
    pthread_barrier_wait(&taker->taken);
    pthread_barrier_wait(&taker->done);
    for (size_t i = 0; i < 100; i++)
        heap_free(taker->objects[i]);
    heap_thread_exit();
    return NULL;
}

static void two_threads_small_objects_share_no_page(void **state)
{
    static struct taker takers[2];
    pthread_t threads[2];
    for (unsigned i = 0; i < 2; i++) {
        pthread_barrier_init(&takers[i].taken, NULL, 2);
        pthread_barrier_init(&takers[i].done, NULL, 2);
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_stay, &takers[i]), 0);
        pthread_barrier_wait(&takers[i].taken);
    }
    for (size_t i = 0; i < 100; i++)
        for (size_t j = 0; j < 100; j++)
            assert_int_not_equal((uintptr_t)takers[0].objects[i] / HEAP_SOURCE_PAGE,
                                 (uintptr_t)takers[1].objects[j] / HEAP_SOURCE_PAGE);
    for (unsigned i = 0; i < 2; i++) {
        pthread_barrier_wait(&takers[i].done);
        pthread_join(threads[i], NULL);
    }
    heap_trim();
    assert_int_equal(heap_validate(), 0);
}

static void threads_leave_nothing(void **state)
{
    static void *objects[1000];
    struct heap_counts first = {0}, counts;
    for (int round = 0; round < 50; round++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, in_a_thread, objects), 0);
        pthread_join(thread, NULL);
        for (size_t i = 0; i < 1000; i++)
            heap_free(objects[i]);
        heap_trim();
        assert_int_equal(heap_validate(), 0);
        heap_counts(&counts);
        if (round == 24) /* magazines and spans have found their places */
            first = counts;
    }
    assert_int_equal(counts.metadata_bytes, first.metadata_bytes);
    assert_int_equal(counts.n_small, 0);
}

static size_t live_of(size_t object_bytes)
{
    struct heap_class_counts counts;
    for (unsigned i = 0; heap_class_counts(i, &counts); i++)
        if (counts.object_bytes == object_bytes)
            return counts.n_live;
    return SIZE_MAX;
}

static void fill_cache(size_t object_bytes)
{
    void *objects[30];
    for (size_t i = 0; i < 30; i++)
        objects[i] = heap_malloc(object_bytes);
    for (size_t i = 0; i < 30; i++)
        heap_free(objects[i]);
}

static void classes_that_a_thread_left_are_given_back(void **state)
{
    enum { N = 40000 };
    static void *others[N];

    fill_cache(4096);
    assert_true(live_of(4096) > 0); /* cached */
    for (unsigned round = 0; round < 8; round++) {
        for (size_t i = 0; i < N; i++)
            others[i] = heap_malloc(32);
        for (size_t i = 0; i < N; i++)
            heap_free(others[i]);
    }
    assert_int_equal(live_of(4096), 0);
}

static pthread_barrier_t barrier;

static void *follow_a_trim(void *argument)
{
    fill_cache(4096);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    heap_free(heap_malloc(208)); /* a slow path of another class */
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    heap_thread_exit();
    return NULL;
}

static void a_trim_reaches_other_threads_caches(void **state)
{
    pthread_t thread;

    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&thread, NULL, follow_a_trim, NULL);
    pthread_barrier_wait(&barrier);
    assert_true(live_of(4096) > 0);
    heap_trim();
    assert_true(live_of(4096) > 0); /* its own, until it comes by */
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    assert_int_equal(live_of(4096), 0);
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&barrier);
}

static void *hold_cache(void *argument)
{
    for (size_t size = 16; size < 5000; size += 16)
        heap_free(heap_malloc(size));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    heap_thread_exit();
    return NULL;
}

static void a_fork_child_takes_over_caches(void **state)
{
    pthread_t thread;
    int status;

    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&thread, NULL, hold_cache, NULL);
    pthread_barrier_wait(&barrier);
    heap_fork_prepare();
    pid_t child = fork();
    if (child == 0) {
        struct heap_counts counts;
        heap_fork_child();
        heap_trim();
        heap_counts(&counts);
        heap_free(heap_malloc(100));
        _exit(counts.n_small != 0 || counts.cached_bytes != 0 || heap_validate() != 0);
    }
    heap_fork_parent();
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    if (heap_test_init((size_t)1 << 18) != 0)
        return 1;
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(sizes_waste_at_most_an_eighth),
        TEST(large_objects_are_whole_pages),
        TEST(alignment_is_kept),
        TEST(calloc_is_zero_when_pages_are_not),
        TEST(calloc_is_zero_after_dirty_neighbours_drained),
        TEST(realloc_keeps_contents),
        TEST(realloc_of_large_works_in_place),
        TEST(small_realloc_stays),
        TEST(owns_what_it_holds),
        TEST(everything_goes_back),
        TEST(counts_add_up),
        TEST(metadata_is_a_hundredth),
        TEST(scrub_finds_dead_objects),
        TEST(scrub_of_a_span_s_tail),
        TEST(scrub_of_a_dead_page),
        TEST(two_threads_small_objects_share_no_page),
        TEST(threads_leave_nothing),
        TEST(classes_that_a_thread_left_are_given_back),
        TEST(a_trim_reaches_other_threads_caches),
        TEST(a_fork_child_takes_over_caches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
