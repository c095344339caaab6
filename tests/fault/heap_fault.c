/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heap when its source or the kernel has no memory: the Nth call fails, alone or with all that
 * follow, for every N. Then calls return NULL, what is held keeps its contents, the heap is
 * valid, and everything goes back in the end.
 */
#include "heap_source.h"

#include "base/sys.h"

#include <quire/heap.h>

#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>

#define N_OBJECTS 1000u

static unsigned char *objects[N_OBJECTS];
static size_t sizes[N_OBJECTS];
static unsigned n_refused;

static void require(bool condition, const char *what)
{
    if (condition)
        return;
    printf("call %lu, %s: %s\n", heap_test.fail_at, heap_test.fail_on ? "and on" : "alone", what);
    fflush(stdout);
    _exit(1);
}

static size_t size_for(unsigned i)
{
    return i % 50 == 0 ? 40000 + i * 40 : (i * 37) % 3000 + 1;
}

static void allocate(unsigned i)
{
    sizes[i] = size_for(i);
    objects[i] = i % 3 == 0 ? heap_calloc(sizes[i]) : heap_malloc(sizes[i]);
    if (i % 7 == 0 && objects[i] != NULL) {
        heap_free(objects[i]);
        objects[i] = heap_memalign(256, sizes[i]);
    }
    if (objects[i] != NULL)
        memset(objects[i], (int)(i % 255 + 1), sizes[i]);
    else
        n_refused++;
}

static void resize(unsigned i)
{
    size_t wanted = sizes[i] * 3;
    unsigned char *other = heap_realloc(objects[i], wanted);
    if (other == NULL) {
        n_refused++;
        return;
    }
    memset(other + sizes[i], (int)(i % 255 + 1), wanted - sizes[i]);
    objects[i] = other;
    sizes[i] = wanted;
}

static void release(unsigned i)
{
    for (size_t at = 0; at < sizes[i]; at++)
        require(objects[i][at] == i % 255 + 1, "contents were lost");
    heap_free(objects[i]);
    objects[i] = NULL;
}

/* Returns how many calls were refused. */
static unsigned scenario(void)
{
    n_refused = 0;
    for (unsigned i = 0; i < N_OBJECTS; i++)
        allocate(i);
    for (unsigned i = 0; i < N_OBJECTS; i += 9)
        if (objects[i] != NULL)
            resize(i);
    require(heap_validate() == 0, "the heap is not valid");
    heap_test.fail_at = 0;
    for (unsigned i = 0; i < N_OBJECTS; i++)
        if (objects[i] != NULL)
            release(i);
    heap_trim();
    struct heap_counts counts;
    heap_counts(&counts);
    require(heap_validate() == 0, "the heap is not valid at the end");
    require(counts.n_small == 0 && counts.n_large == 0, "objects were lost");
    require(heap_test.n_held == 0, "pages were lost");
    return n_refused;
}

static unsigned scenario_failing(unsigned long nth, bool and_on)
{
    heap_test.n_calls = 0;
    heap_test.fail_at = nth;
    heap_test.fail_on = and_on;
    return scenario();
}

static void fail_each(void)
{
    require(scenario_failing(0, false) == 0, "refused without need");
    unsigned long n_calls = heap_test.n_calls;
    for (unsigned long nth = 1; nth <= n_calls; nth++) {
        scenario_failing(nth, false);
        require(scenario_failing(nth, true) > 0, "nothing was refused");
    }
}

/* In a child, whose kernel refuses the Nth mapping for metadata, heap_init's included. */
static bool metadata_failing(unsigned long nth, bool *fired)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        sys_inject(SYS_CLASS_MAP, nth, ENOMEM);
        int error = heap_test_init(16384);
        if (error == 0)
            scenario();
        bool hit = sys_injected(SYS_CLASS_MAP) > 0;
        require(error == 0 || (error == -ENOMEM && hit), "heap_init failed otherwise");
        require(error == 0 || meta_bytes() == 0, "metadata stayed charged");
        _exit(hit ? 2 : 0);
    }
    waitpid(child, &status, 0);
    *fired = WIFEXITED(status) && WEXITSTATUS(status) == 2;
    return *fired || (WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* A private heap over a range of its own, whose Nth mapping, change of rights or remap fails. */
static void use_private(unsigned flags)
{
    const struct quire_heap_config config = {.memory_bytes = (size_t)64 << 20, .flags = flags};
    struct quire_heap *heap;
    int error = quire_heap_new(&config, &heap);
    unsigned n_null = 0;

    require(error == 0 || error == -ENOMEM, "quire_heap_new failed otherwise");
    if (error != 0)
        return;
    for (unsigned i = 0; i < N_OBJECTS; i++) {
        sizes[i] = size_for(i);
        objects[i] = quire_heap_malloc(heap, sizes[i]);
        n_null += objects[i] == NULL;
        if (objects[i] == NULL)
            continue;
        memset(objects[i], (int)(i % 255 + 1), sizes[i]);
        unsigned char *longer = i % 50 == 0 ? quire_heap_realloc(heap, objects[i], 2000000) : NULL;
        objects[i] = longer != NULL ? longer : objects[i];
    }
    require(quire_heap_validate(heap) == 0, "a private heap is not valid");
    require(n_null < N_OBJECTS / 2, "one failure took more than its part");
    for (unsigned i = 0; i < N_OBJECTS; i++) {
        for (size_t at = 0; objects[i] != NULL && at < sizes[i]; at++)
            require(objects[i][at] == i % 255 + 1, "contents were lost");
        quire_heap_free(heap, objects[i]);
    }
    quire_heap_trim(heap);
    require(quire_heap_validate(heap) == 0, "a private heap is not valid at the end");
    require(quire_heap_delete(heap) == 0, "not deleted");
}

static bool private_failing(unsigned flags)
{
    unsigned long hit = 1;
    for (unsigned long nth = 1; hit > 0; nth++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            sys_inject(SYS_CLASS_MAP, nth, ENOMEM);
            use_private(flags);
            _exit(sys_injected(SYS_CLASS_MAP) > 0 ? 2 : 0);
        }
        waitpid(child, &status, 0);
        hit = WIFEXITED(status) && WEXITSTATUS(status) == 2;
        if (hit == 0 && status != 0) {
            printf("a private heap's mapping %lu: died\n", nth);
            return false;
        }
    }
    return true;
}

int main(void)
{
    bool fired = true;
    if (!private_failing(0) || !private_failing(QUIRE_HEAP_HARDENED))
        return 1;
    for (unsigned long nth = 1; fired; nth++)
        if (!metadata_failing(nth, &fired)) {
            printf("metadata mapping %lu: died\n", nth);
            return 1;
        }

    if (heap_test_init(16384) != 0)
        return 1;
    for (unsigned i = 0; i < 3; i++) /* until magazines and bitmaps have their final sizes */
        fail_each();
    size_t metadata = meta_bytes();
    fail_each();
    require(meta_bytes() == metadata, "metadata was lost");
    return 0;
}
