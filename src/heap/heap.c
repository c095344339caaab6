/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heap: the malloc family of the process's heap, over the parts. Private heaps: private.c.
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
 * The fast paths of malloc and free are the magazines' pop and push (fast.h); everything else
 * leaves them at the first odd word.
 *
 * Locks, in the order in which one thread may hold them: tcache_lock, the classes' by number, the
 * span table's, large.c's, the metadata's, the quarantine's, then the source's own. None is held
 * while managed memory is touched.
 */
#include "heap/heap.h"

#include "base/checked.h"
#include "heap/direct.h"
#include "heap/fast.h"
#include "heap/harden.h"

#include <string.h>

#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

struct heap heap_process;

int heap_init(const struct heap_source *source, bool hardened)
{
    class_init();
    int error = runs_init(&heap_process, source, NULL);
    if (error != 0)
        return error;
    error = span_init(&heap_process, NULL);
    if (error == 0 && hardened)
        error = harden_init(&heap_process);
    if (error != 0)
        runs_deinit(&heap_process);
    return error;
}

_Noreturn void heap_die(const struct heap *heap, const char *message, const void *address)
{
    heap_die_of(heap, message, address, NULL);
}

_Noreturn void heap_die_of(const struct heap *heap, const char *message, const void *address,
                           const char *detail)
{
    heap->runs.source.misuse(heap->runs.source.misuse_context, message, address, detail);
    __builtin_trap(); /* `misuse` does not return */
}

/* The magazine is empty. May carry OBJECT_ZERO. */
static void *alloc_small(unsigned sclass)
{
    void *object = tcache_refill(sclass);
    if (object == NULL && heap_trim())
        object = tcache_refill(sclass);
    return object;
}

/* The magazine is empty, or there is none: for a large object, or in a hardened heap. */
__attribute__((noinline)) void *heap_malloc_slowly(size_t n_bytes)
{
    bool zeroed;

    if (heap_process.harden != NULL)
        return harden_alloc(&heap_process, 1, n_bytes, &zeroed);
    if (n_bytes > CLASS_MAX_BYTES)
        return direct_alloc_large(&heap_process, n_bytes, 1, &zeroed);
    return object_address(alloc_small(class_of(n_bytes)));
}

void *heap_malloc(size_t n_bytes)
{
    void *object = heap_fast_malloc(n_bytes);
    return likely(object != NULL) ? object : heap_malloc_slowly(n_bytes);
}

/* As heap_malloc_slowly. */
static __attribute__((noinline)) void *calloc_slowly(size_t n_bytes, bool *zeroed)
{
    if (heap_process.harden != NULL)
        return harden_alloc(&heap_process, 1, n_bytes, zeroed);
    if (n_bytes > CLASS_MAX_BYTES)
        return direct_alloc_large(&heap_process, n_bytes, 1, zeroed);
    void *object = alloc_small(class_of(n_bytes));
    *zeroed = object_is_zero(object);
    return object_address(object);
}

void *heap_calloc(size_t n_bytes)
{
    bool zeroed;
    void *object = n_bytes <= CLASS_MAX_BYTES ? tcache_pop(class_of(n_bytes)) : NULL;

    if (unlikely(object == NULL)) {
        object = calloc_slowly(n_bytes, &zeroed);
    } else {
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
    if (heap_process.harden != NULL)
        return harden_alloc(&heap_process, alignment, n_bytes, &zeroed);
    if (n_bytes > CLASS_MAX_BYTES || alignment > SYS_PAGE_SIZE)
        return direct_alloc(&heap_process, alignment, n_bytes, &zeroed);
    /* classes.c, invariant 2; a multiple of 4096 is still at most CLASS_MAX_BYTES */
    return heap_malloc(round_up(n_bytes > 0 ? n_bytes : 1, alignment));
}

/* `object` did not go into a magazine. */
__attribute__((noinline)) void heap_free_slowly(void *object)
{
    size_t page = run_page(&heap_process, object);
    uint32_t entry = page < heap_process.runs.n_pages ? run_entry(&heap_process, page) : RUN_NONE;

    if (heap_process.harden != NULL)
        harden_free(&heap_process, object);
    else if (!run_is_small(entry) || (uintptr_t)object % 16 != 0)
        direct_free(&heap_process, object);
    else
        tcache_overflow(tcache_bin(entry, run_owner(&heap_process, page)), object);
}

void heap_free(void *object)
{
    if (unlikely(!heap_fast_free(object)))
        heap_free_slowly(object);
}

void *heap_realloc(void *object, size_t n_bytes)
{
    if (unlikely(heap_process.harden != NULL))
        return harden_realloc(&heap_process, object, n_bytes);
    uint32_t entry = direct_require(&heap_process, object, DIRECT_REALLOC_MESSAGE);
    size_t old_bytes = direct_bytes(entry);

    if (direct_stays(entry, old_bytes, n_bytes))
        return object;
    if (!run_is_small(entry) && n_bytes > CLASS_MAX_BYTES / 2)
        return direct_realloc_large(&heap_process, object, entry, n_bytes);
    void *other = heap_malloc(n_bytes);
    if (other == NULL) /* a shrink that finds no better place stays where it is */
        return n_bytes <= old_bytes ? object : NULL;
    memcpy(other, object, n_bytes < old_bytes ? n_bytes : old_bytes);
    heap_free(object);
    return other;
}

size_t heap_usable_size(const void *object)
{
    if (heap_process.harden != NULL)
        return harden_usable_size(&heap_process, object);
    return direct_bytes(direct_require(&heap_process, object, DIRECT_SIZE_MESSAGE));
}

bool heap_owns(const void *address)
{
    size_t page = run_page(&heap_process, address);
    return page < heap_process.runs.n_pages && runs_find(&heap_process, page) != RUN_NONE;
}

bool heap_trim(void)
{
    return direct_trim(&heap_process);
}

void heap_thread_exit(void)
{
    tcache_exit();
}

void heap_lock_all(struct heap *heap)
{
    if (heap == &heap_process)
        lock_take(&tcache_lock);
    for (unsigned owner = 0; owner < central_n_owners(heap); owner++)
        for (unsigned sclass = 1; sclass <= CLASS_COUNT; sclass++)
            (void)central_lock(heap, owner, sclass);
    lock_take(&heap->spans.lock);
    lock_take(&heap->large.lock);
    lock_take(&heap->metadata.lock);
    if (heap->harden != NULL)
        lock_take(&heap->harden->lock);
}

void heap_unlock_all(struct heap *heap)
{
    if (heap->harden != NULL)
        lock_release(&heap->harden->lock);
    lock_release(&heap->metadata.lock);
    lock_release(&heap->large.lock);
    lock_release(&heap->spans.lock);
    for (unsigned owner = central_n_owners(heap); owner-- > 0;)
        for (unsigned sclass = CLASS_COUNT; sclass >= 1; sclass--)
            central_unlock(central_of(heap, owner, sclass));
    if (heap == &heap_process)
        lock_release(&tcache_lock);
}

/* In a fork's child, where nobody waits any more. */
static void reset_all(struct heap *heap)
{
    if (heap->harden != NULL)
        lock_reset(&heap->harden->lock);
    lock_reset(&heap->metadata.lock);
    lock_reset(&heap->large.lock);
    lock_reset(&heap->spans.lock);
    for (unsigned owner = 0; owner < central_n_owners(heap); owner++)
        for (unsigned sclass = 1; sclass <= CLASS_COUNT; sclass++)
            lock_reset(&central_of(heap, owner, sclass)->lock);
}

void heap_fork_prepare(void)
{
    heap_lock_all(&heap_process);
}

void heap_fork_parent(void)
{
    heap_unlock_all(&heap_process);
}

void heap_fork_child(void)
{
    reset_all(&heap_process);
    lock_reset(&tcache_lock);
    tcache_adopt();
}
