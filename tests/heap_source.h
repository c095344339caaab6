/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heap_source: a source of pages for the tests of src/heap, which trusts nobody.
 *
 * First fit over one reserved range, a byte a page. It ends the test when the heap gives back a
 * page that it does not hold. Fresh pages read as zeros and are told so; with `warm`, freed pages
 * keep their bytes and come back as not zeroed, filled with HEAP_SOURCE_JUNK.
 */
#ifndef QUIRE_TESTS_HEAP_SOURCE_H
#define QUIRE_TESTS_HEAP_SOURCE_H

#include "base/log.h"
#include "base/meta.h"
#include "heap/heap.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HEAP_SOURCE_JUNK 0xA5
#define HEAP_SOURCE_PAGE ((size_t)4096)

enum { SOURCE_HELD = 1, SOURCE_DIRTY = 2 };

struct heap_test_source {
    pthread_mutex_t mutex;
    char *base;
    unsigned char *held; /* SOURCE_HELD, SOURCE_DIRTY of each page */
    size_t n_pages, n_held, hint;
    bool warm, no_extend, hardened;
    unsigned long n_calls; /* of alloc and extend */
    unsigned long fail_at; /* the number of the call that fails; 0: none */
    bool fail_on;          /* and all calls after it */
    unsigned long n_moves, n_extends;
};

static struct heap_test_source heap_test = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static inline void source_die(const char *what)
{
    log_error("test source: %s", what);
    abort();
}

static inline bool source_is_free(size_t first, size_t n_pages)
{
    if (first + n_pages > heap_test.n_pages)
        return false;
    for (size_t i = 0; i < n_pages; i++)
        if (heap_test.held[first + i] & SOURCE_HELD)
            return false;
    return true;
}

static inline bool source_hold(size_t first, size_t n_pages, bool *zeroed)
{
    *zeroed = memchr(heap_test.held + first, SOURCE_DIRTY, n_pages) == NULL;
    memset(heap_test.held + first, SOURCE_HELD, n_pages);
    heap_test.n_held += n_pages;
    if (!*zeroed)
        memset(heap_test.base + first * HEAP_SOURCE_PAGE, HEAP_SOURCE_JUNK,
               n_pages * HEAP_SOURCE_PAGE);
    return true;
}

static inline bool source_fails(void)
{
    unsigned long call = ++heap_test.n_calls;
    if (heap_test.fail_at == 0)
        return false;
    return call == heap_test.fail_at || (heap_test.fail_on && call > heap_test.fail_at);
}

static void *source_alloc(void *context, size_t n_pages, size_t align_pages, bool *zeroed)
{
    void *run = NULL;
    pthread_mutex_lock(&heap_test.mutex);
    for (size_t i = heap_test.hint; i < heap_test.n_pages && heap_test.held[i] & SOURCE_HELD; i++)
        heap_test.hint = i;
    size_t first = (heap_test.hint + align_pages - 1) & ~(align_pages - 1);
    bool fails = source_fails();
    for (; !fails && run == NULL && first + n_pages <= heap_test.n_pages; first += align_pages)
        if (source_is_free(first, n_pages) && source_hold(first, n_pages, zeroed))
            run = heap_test.base + first * HEAP_SOURCE_PAGE;
    pthread_mutex_unlock(&heap_test.mutex);
    return run;
}

static void source_free(void *context, void *run, size_t n_pages)
{
    size_t first = (size_t)((char *)run - heap_test.base) / HEAP_SOURCE_PAGE;
    if (!heap_test.warm)
        madvise(run, n_pages * HEAP_SOURCE_PAGE, MADV_DONTNEED);
    pthread_mutex_lock(&heap_test.mutex);
    for (size_t i = 0; i < n_pages; i++) {
        if ((heap_test.held[first + i] & SOURCE_HELD) == 0)
            source_die("a page came back twice");
        heap_test.held[first + i] = heap_test.warm ? SOURCE_DIRTY : 0;
    }
    heap_test.n_held -= n_pages;
    if (first < heap_test.hint)
        heap_test.hint = first;
    pthread_mutex_unlock(&heap_test.mutex);
}

static bool source_extend(void *context, void *run, size_t n_pages, size_t new_n_pages,
                          bool *zeroed)
{
    size_t end = (size_t)((char *)run - heap_test.base) / HEAP_SOURCE_PAGE + n_pages;
    size_t n_more = new_n_pages - n_pages;
    pthread_mutex_lock(&heap_test.mutex);
    bool extended = !source_fails() && !heap_test.no_extend && source_is_free(end, n_more) &&
                    source_hold(end, n_more, zeroed);
    heap_test.n_extends += extended;
    pthread_mutex_unlock(&heap_test.mutex);
    return extended;
}

static void source_move(void *context, void *from, void *to, size_t n_pages)
{
    memcpy(to, from, n_pages * HEAP_SOURCE_PAGE);
    memset(from, HEAP_SOURCE_JUNK, n_pages * HEAP_SOURCE_PAGE);
    __atomic_fetch_add(&heap_test.n_moves, 1, __ATOMIC_RELAXED);
}

static void source_misuse(void *context, const char *message, const void *address,
                          const char *detail)
{
    if (detail != NULL)
        log_error("%s: %s", message, detail);
    else
        log_error("%s", message);
    _exit(99);
}

/* Sets up the process's heap over a range of n_pages. */
static inline int heap_test_init(size_t n_pages)
{
    const size_t alignment = (size_t)64 << 20; /* the largest that a test asks for */
    heap_test.base = mmap(NULL, n_pages * HEAP_SOURCE_PAGE + alignment, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    heap_test.held = mmap(NULL, n_pages, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (heap_test.base == MAP_FAILED || heap_test.held == MAP_FAILED)
        return -1;
    heap_test.base += -(uintptr_t)heap_test.base & (alignment - 1);
    heap_test.n_pages = n_pages;
    struct heap_source source = {
        .base = heap_test.base,
        .n_pages = n_pages,
        .alloc = source_alloc,
        .free = source_free,
        .extend = source_extend,
        .move = source_move,
        .misuse = source_misuse,
    };
    return heap_init(&source, heap_test.hardened);
}

#endif
