/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heap: the malloc family, over the parts.
 *
 *    heap_malloc, heap_free, ...            heap_scrub (the pager)
 *         |  small            \  large           |
 *      cache.c  a magazine      \                |
 *         |     a class and      \               |
 *         |     thread            \              |
 *      central.c  lists of spans   large.c       |
 *         |       a class            |         scrub.c
 *      span.c  a bit an object       |           |
 *         '---------- runs.c --------'-----------'    page -> run, without locks
 *                       |
 *                 the source's page runs
 *
 * The fast paths of malloc and free are the magazines' pop and push, inlined here; everything else
 * leaves them at the first odd word.
 *
 * Locks, in the order in which one thread may hold them: tcache_lock, the classes' by number, the
 * span table's, large.c's, then the source's own. None is held while managed memory is touched.
 */
#include "heap/heap.h"

#include "base/checked.h"
#include "heap/cache.h"
#include "heap/large.h"

#include <string.h>

#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

int heap_init(const struct heap_source *source)
{
    class_init();
    int error = runs_init(source);
    if (error != 0)
        return error;
    error = span_init(source->n_pages);
    if (error != 0)
        runs_deinit();
    return error;
}

/* The magazine is empty. May carry OBJECT_ZERO. */
static __attribute__((noinline)) void *alloc_small(unsigned sclass)
{
    void *object = tcache_refill(sclass);
    if (object == NULL && heap_trim())
        object = tcache_refill(sclass);
    return object;
}

static __attribute__((noinline)) void *malloc_small(unsigned sclass)
{
    return object_address(alloc_small(sclass));
}

static __attribute__((noinline)) void *alloc_large(size_t n_bytes, size_t align_pages, bool *zeroed)
{
    void *object = large_alloc(n_bytes, align_pages, zeroed);
    if (object == NULL && heap_trim())
        object = large_alloc(n_bytes, align_pages, zeroed);
    return object;
}

static __attribute__((noinline)) void *malloc_large(size_t n_bytes)
{
    bool zeroed;
    return alloc_large(n_bytes, 1, &zeroed);
}

void *heap_malloc(size_t n_bytes)
{
    if (unlikely(n_bytes > CLASS_MAX_BYTES))
        return malloc_large(n_bytes);
    unsigned sclass = class_of(n_bytes);
    void *object = tcache_pop(sclass);
    if (unlikely(object == NULL))
        return malloc_small(sclass);
    return object_address(object);
}

void *heap_calloc(size_t n_bytes)
{
    bool zeroed;
    void *object;

    if (n_bytes > CLASS_MAX_BYTES) {
        object = alloc_large(n_bytes, 1, &zeroed);
    } else {
        unsigned sclass = class_of(n_bytes);
        object = tcache_pop(sclass);
        if (unlikely(object == NULL))
            object = alloc_small(sclass);
        zeroed = object_is_zero(object);
        object = object_address(object);
    }
    if (object != NULL && !zeroed)
        memset(object, 0, n_bytes);
    return object;
}

void *heap_memalign(size_t alignment, size_t n_bytes)
{
    bool zeroed;

    if (alignment <= 16)
        return heap_malloc(n_bytes);
    if (n_bytes > CLASS_MAX_BYTES || alignment > SYS_PAGE_SIZE) {
        size_t align_pages = alignment <= SYS_PAGE_SIZE ? 1 : alignment >> SYS_PAGE_SHIFT;
        return alloc_large(n_bytes > 0 ? n_bytes : 1, align_pages, &zeroed);
    }
    /* classes.c, invariant 2; a multiple of 4096 is still at most CLASS_MAX_BYTES */
    return heap_malloc(round_up(n_bytes > 0 ? n_bytes : 1, alignment));
}

static _Noreturn void die(const char *message, const void *address)
{
    runs.source.misuse(runs.source.context, message, address);
    __builtin_trap(); /* `misuse` does not return */
}

/* `object` did not go into a magazine. */
static __attribute__((noinline)) void free_slowly(void *object)
{
    size_t page = run_page(object);
    uint32_t entry = page < runs.n_pages ? run_entry(page) : RUN_NONE;

    if (run_is_small(entry) && (uintptr_t)object % 16 == 0)
        tcache_overflow(run_code(entry), object);
    else if (run_code(entry) == RUN_LARGE)
        large_free(object);
    else if (run_code(entry) == RUN_FREED && runs_find(page) == RUN_NONE)
        die("double free", object);
    else
        die("free of an address that malloc never gave out", object);
}

void heap_free(void *object)
{
    size_t page = run_page(object);
    if (likely(page < runs.n_pages && (uintptr_t)object % 16 == 0)) {
        /* relaxed: whoever passed the object on made its entry visible too */
        uint32_t entry = atomic_load_explicit(&runs.entries[page], memory_order_relaxed);
        if (likely(tcache_push(run_code(entry), object)))
            return;
    }
    free_slowly(object);
}

/* The entry of the run whose object begins at `object`; ends the process if none does. */
static uint32_t require_object(const void *object, const char *message)
{
    size_t page = run_page(object), index;
    uint32_t entry = page < runs.n_pages ? run_entry(page) : RUN_NONE;

    if (run_is_small(entry)) {
        const struct span *span = span_at(entry);
        if (span_index(span, run_code(entry), object, &index) && span_is_live(span, index))
            return entry;
    } else if (run_code(entry) == RUN_LARGE && run_address(page) == object) {
        return entry;
    }
    die(message, object);
}

static size_t bytes_of(uint32_t entry)
{
    return run_is_small(entry) ? class_size(run_code(entry))
                               : run_large_pages(entry) << SYS_PAGE_SHIFT;
}

void *heap_realloc(void *object, size_t n_bytes)
{
    uint32_t entry = require_object(
        object, "realloc of an address that malloc never gave out or took back");
    size_t old_bytes = bytes_of(entry);

    if (run_is_small(entry)) {
        if (n_bytes <= old_bytes &&
            (n_bytes >= old_bytes / 2 || class_of(n_bytes) == run_code(entry)))
            return object;
    } else if (n_bytes > CLASS_MAX_BYTES / 2) {
        void *same = large_realloc(object, run_large_pages(entry), n_bytes);
        if (same == NULL && heap_trim())
            same = large_realloc(object, run_large_pages(entry), n_bytes);
        return same;
    }
    void *other = heap_malloc(n_bytes);
    if (other == NULL) /* a shrink that finds no better place stays where it is */
        return n_bytes <= old_bytes ? object : NULL;
    memcpy(other, object, n_bytes < old_bytes ? n_bytes : old_bytes);
    heap_free(object);
    return other;
}

size_t heap_usable_size(const void *object)
{
    return bytes_of(require_object(
        object, "malloc_usable_size of an address that malloc never gave out or took back"));
}

bool heap_owns(const void *address)
{
    size_t page = run_page(address);
    return page < runs.n_pages && runs_find(page) != RUN_NONE;
}

bool heap_trim(void)
{
    bool flushed = tcache_flush();
    bool trimmed = central_trim();
    return flushed || trimmed;
}

void heap_thread_exit(void)
{
    tcache_exit();
}

void heap_fork_prepare(void)
{
    lock_take(&tcache_lock);
    for (unsigned sclass = 1; sclass <= CLASS_COUNT; sclass++)
        central_lock(sclass);
    lock_take(&span_table.lock);
    large_lock();
}

void heap_fork_parent(void)
{
    large_unlock();
    lock_release(&span_table.lock);
    for (unsigned sclass = CLASS_COUNT; sclass >= 1; sclass--)
        central_unlock(sclass);
    lock_release(&tcache_lock);
}

void heap_fork_child(void)
{
    large_reset();
    lock_reset(&span_table.lock);
    for (unsigned sclass = 1; sclass <= CLASS_COUNT; sclass++)
        lock_reset(&centrals[sclass].lock);
    lock_reset(&tcache_lock);
    tcache_adopt();
}
