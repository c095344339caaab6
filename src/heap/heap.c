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

struct heap heap_process;

int heap_init(const struct heap_source *source)
{
    class_init();
    int error = runs_init(&heap_process, source, NULL);
    if (error != 0)
        return error;
    error = span_init(&heap_process, NULL);
    if (error != 0)
        runs_deinit(&heap_process);
    return error;
}

_Noreturn void heap_die(const struct heap *heap, const char *message, const void *address)
{
    heap->runs.source.misuse(heap->runs.source.context, message, address);
    __builtin_trap(); /* `misuse` does not return */
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
    void *object = large_alloc(&heap_process, n_bytes, align_pages, zeroed);
    if (object == NULL && heap_trim())
        object = large_alloc(&heap_process, n_bytes, align_pages, zeroed);
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

/* `object` did not go into a magazine. */
static __attribute__((noinline)) void free_slowly(void *object)
{
    size_t page = run_page(&heap_process, object);
    uint32_t entry = page < heap_process.runs.n_pages ? run_entry(&heap_process, page) : RUN_NONE;

    if (run_is_small(entry) && (uintptr_t)object % 16 == 0)
        tcache_overflow(run_code(entry), object);
    else if (run_code(entry) == RUN_LARGE)
        large_free(&heap_process, object);
    else if (run_code(entry) == RUN_FREED && runs_find(&heap_process, page) == RUN_NONE)
        heap_die(&heap_process, "double free", object);
    else
        heap_die(&heap_process, "free of an address that malloc never gave out", object);
}

void heap_free(void *object)
{
    size_t page = run_page(&heap_process, object);
    if (likely(page < heap_process.runs.n_pages && (uintptr_t)object % 16 == 0)) {
        /* relaxed: whoever passed the object on made its entry visible too */
        uint32_t entry = atomic_load_explicit(&heap_process.runs.entries[page],
                                              memory_order_relaxed);
        if (likely(tcache_push(run_code(entry), object)))
            return;
    }
    free_slowly(object);
}

/* The entry of the run whose object begins at `object`; ends the process if none does. */
static uint32_t require_object(const void *object, const char *message)
{
    size_t page = run_page(&heap_process, object), index;
    uint32_t entry = page < heap_process.runs.n_pages ? run_entry(&heap_process, page) : RUN_NONE;

    if (run_is_small(entry)) {
        const struct span *span = span_at(&heap_process, entry);
        if (span_index(&heap_process, span, run_code(entry), object, &index) &&
            span_is_live(span, index))
            return entry;
    } else if (run_code(entry) == RUN_LARGE && run_address(&heap_process, page) == object) {
        return entry;
    }
    heap_die(&heap_process, message, object);
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
        void *same = large_realloc(&heap_process, object, run_large_pages(entry), n_bytes);
        if (same == NULL && heap_trim())
            same = large_realloc(&heap_process, object, run_large_pages(entry), n_bytes);
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
    size_t page = run_page(&heap_process, address);
    return page < heap_process.runs.n_pages && runs_find(&heap_process, page) != RUN_NONE;
}

bool heap_trim(void)
{
    bool flushed = tcache_flush();
    bool trimmed = central_trim(&heap_process);
    return flushed || trimmed;
}

void heap_thread_exit(void)
{
    tcache_exit();
}

void heap_lock_all(struct heap *heap)
{
    for (unsigned sclass = 1; sclass <= CLASS_COUNT; sclass++)
        central_lock(heap, sclass);
    lock_take(&heap->spans.lock);
    lock_take(&heap->large.lock);
    lock_take(&heap->metadata.lock);
}

void heap_unlock_all(struct heap *heap)
{
    lock_release(&heap->metadata.lock);
    lock_release(&heap->large.lock);
    lock_release(&heap->spans.lock);
    for (unsigned sclass = CLASS_COUNT; sclass >= 1; sclass--)
        central_unlock(heap, sclass);
}

void heap_fork_prepare(void)
{
    lock_take(&tcache_lock);
    heap_lock_all(&heap_process);
}

void heap_fork_parent(void)
{
    heap_unlock_all(&heap_process);
    lock_release(&tcache_lock);
}

void heap_fork_child(void)
{
    heap_unlock_all(&heap_process); /* who waits for them is gone; a wake-up more hurts nobody */
    lock_release(&tcache_lock);
    tcache_adopt();
}
