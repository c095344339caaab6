/* SPDX-License-Identifier: Apache-2.0 */
/* Spans belong to threads: what another thread frees goes back to them, and what is free in one
 * thread's spans serves the others. All tests share the process's one heap. */
#include "heap_source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>

#include <cmocka.h> /* wants the ones above */

#define N_OBJECTS 4000u
#define OBJECT_BYTES 48u

/* A thread with objects, which goes a step further whenever it is told to. */
struct taker {
    pthread_t thread;
    pthread_barrier_t barrier;
    size_t n_kept; /* of its objects, at the first step; every so manieth */
    size_t n_again;
    void *objects[N_OBJECTS];
    void *again[N_OBJECTS];
};

static struct taker taker;

static int setup(void **state)
{
    heap_trim();
    return heap_validate();
}

static int teardown(void **state)
{
    struct heap_counts counts;
    heap_trim();
    heap_counts(&counts);
    return heap_validate() != 0 || counts.n_small != 0 ? -1 : 0;
}

static void wait_for(struct taker *one)
{
    pthread_barrier_wait(&one->barrier);
}

static void *take_and_follow(void *argument)
{
    struct taker *self = argument;

    for (size_t i = 0; i < N_OBJECTS; i++)
        self->objects[i] = heap_malloc(OBJECT_BYTES);
    wait_for(self);
    wait_for(self);
    for (size_t i = 0; i < N_OBJECTS && self->n_kept > 0; i++)
        if (i % self->n_kept != 0) {
            heap_free(self->objects[i]);
            self->objects[i] = NULL;
        }
    for (size_t i = 0; i < self->n_again; i++)
        self->again[i] = heap_malloc(OBJECT_BYTES);
    wait_for(self);
    wait_for(self);
    heap_thread_exit();
    return NULL;
}

/* Has all its objects when this returns. */
static void start(size_t n_kept, size_t n_again)
{
    taker = (struct taker){.n_kept = n_kept, .n_again = n_again};
    pthread_barrier_init(&taker.barrier, NULL, 2);
    assert_int_equal(pthread_create(&taker.thread, NULL, take_and_follow, &taker), 0);
    wait_for(&taker);
}

static void next_step(void)
{
    wait_for(&taker);
    wait_for(&taker);
}

static void end(void)
{
    wait_for(&taker);
    pthread_join(taker.thread, NULL);
    pthread_barrier_destroy(&taker.barrier);
}

static void free_all(void **objects, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (objects[i] != NULL)
            heap_free(objects[i]);
}

static bool share_a_page(const void *one, void *const *others, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (others[i] != NULL &&
            (uintptr_t)one / HEAP_SOURCE_PAGE == (uintptr_t)others[i] / HEAP_SOURCE_PAGE)
            return true;
    return false;
}

static struct heap_class_counts counts_of_class(void)
{
    struct heap_class_counts counts;
    for (unsigned i = 0; heap_class_counts(i, &counts); i++)
        if (counts.object_bytes == OBJECT_BYTES)
            return counts;
    abort();
}

static void what_others_free_is_not_handed_out_here(void **state)
{
    void *mine[64];
    start(0, 0);
    next_step();
    for (size_t i = 0; i < N_OBJECTS; i += 2) {
        heap_free(taker.objects[i]);
        taker.objects[i] = NULL;
    }
    for (size_t i = 0; i < 64; i++) {
        mine[i] = heap_malloc(OBJECT_BYTES);
        assert_false(share_a_page(mine[i], taker.objects, N_OBJECTS));
    }
    free_all(mine, 64);
    end();
    free_all(taker.objects, N_OBJECTS);
}

static void what_others_free_comes_back_to_its_owner(void **state)
{
    size_t n_shared = 0;
    start(0, N_OBJECTS / 4);
    for (size_t i = 0; i < N_OBJECTS; i += 2) {
        heap_free(taker.objects[i]);
        taker.objects[i] = NULL;
    }
    heap_trim(); /* what waits in this thread goes */
    size_t n_spans = counts_of_class().n_spans;
    next_step();
    for (size_t i = 0; i < N_OBJECTS / 4; i++)
        n_shared += share_a_page(taker.again[i], taker.objects, N_OBJECTS);
    assert_true(n_shared > N_OBJECTS / 8);
    assert_int_equal(counts_of_class().n_spans, n_spans);
    end();
    free_all(taker.objects, N_OBJECTS);
    free_all(taker.again, N_OBJECTS / 4);
}

/* Few of a thread's objects are left: others need no spans of their own. */
static void much_that_is_free_serves_others(void **state)
{
    static void *mine[N_OBJECTS / 8];
    start(16, 0);
    next_step();
    size_t n_spans = counts_of_class().n_spans;
    for (size_t i = 0; i < N_OBJECTS / 8; i++)
        mine[i] = heap_malloc(OBJECT_BYTES);
    assert_int_equal(counts_of_class().n_spans, n_spans);
    assert_int_equal(heap_validate(), 0);
    end(); /* its cache holds objects of spans that are this thread's by now */
    assert_int_equal(heap_validate(), 0);
    free_all(mine, N_OBJECTS / 8);
    free_all(taker.objects, N_OBJECTS);
}

/* All that is free in the spans of a thread that is gone does, however little it is. */
static void what_a_thread_left_serves_others(void **state)
{
    void *mine[64];
    start(2, 0);
    next_step();
    end();
    size_t n_spans = counts_of_class().n_spans;
    for (size_t i = 0; i < 64; i++)
        mine[i] = heap_malloc(OBJECT_BYTES);
    assert_int_equal(counts_of_class().n_spans, n_spans);
    free_all(mine, 64);
    free_all(taker.objects, N_OBJECTS);
}

/* What waits to be given back counts as cached, and is a child's to give back. */
static void a_fork_child_gives_back_what_waits(void **state)
{
    struct heap_counts counts;
    int status;

    start(0, 0);
    next_step();
    free_all(taker.objects, 100);
    heap_counts(&counts);
    assert_true(counts.cached_bytes >= 36 * OBJECT_BYTES); /* a part may have gone already */
    heap_fork_prepare();
    pid_t child = fork();
    if (child == 0) {
        heap_fork_child();
        heap_trim();
        free_all(taker.objects + 100, N_OBJECTS - 100);
        heap_trim();
        heap_counts(&counts);
        _exit(counts.n_small != 0 || counts.cached_bytes != 0 || heap_validate() != 0);
    }
    heap_fork_parent();
    end();
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    free_all(taker.objects + 100, N_OBJECTS - 100);
}

static void *leave_one(void *argument)
{
    void **objects = argument;
    for (size_t i = 0; i < 8; i++)
        objects[i] = heap_malloc(OBJECT_BYTES + i * 64);
    heap_thread_exit();
    return NULL;
}

/* More threads, one after the other and at once, than there are owners' numbers. */
static void *stay(void *argument)
{
    pthread_barrier_t *all = argument;
    void *object = heap_malloc(OBJECT_BYTES);
    pthread_barrier_wait(all);
    pthread_barrier_wait(all);
    heap_free(object);
    heap_thread_exit();
    return NULL;
}

static void more_threads_than_owners(void **state)
{
    enum { N = 300 };
    static pthread_t threads[N];
    static void *objects[8];
    pthread_barrier_t all;
    pthread_attr_t small;

    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, (size_t)128 << 10);
    pthread_barrier_init(&all, NULL, N + 1);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(pthread_create(&threads[i], &small, stay, &all), 0);
    pthread_barrier_wait(&all);
    assert_int_equal(heap_validate(), 0);
    pthread_barrier_wait(&all);
    for (size_t i = 0; i < N; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&all);
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(pthread_create(&threads[0], &small, leave_one, objects), 0);
        pthread_join(threads[0], NULL);
        free_all(objects, 8);
    }
    pthread_attr_destroy(&small);
}

int main(void)
{
    if (heap_test_init((size_t)1 << 16) != 0)
        return 1;
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_others_free_is_not_handed_out_here),
        TEST(what_others_free_comes_back_to_its_owner),
        TEST(much_that_is_free_serves_others),
        TEST(what_a_thread_left_serves_others),
        TEST(a_fork_child_gives_back_what_waits),
        TEST(more_threads_than_owners),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
