/* SPDX-License-Identifier: Apache-2.0 */
/*
 * direct: allocation without thread caches; see direct.h.
 *
 * Every object is found or given back under the lock of its class, so that a free of what is not
 * handed out is always found out: the object's bit says it.
 *
 * Locks: one at a time, none while memory is touched. Can fail: no pages, no metadata.
 */
#include "heap/direct.h"

#include "base/checked.h"
#include "heap/cache.h"
#include "heap/harden.h"

bool direct_trim(struct heap *heap)
{
    bool flushed = heap == &heap_process && tcache_flush();
    bool released = heap->harden != NULL && harden_trim(heap);
    bool trimmed = central_trim(heap);
    return flushed || released || trimmed;
}

void *direct_take(struct heap *heap, unsigned sclass)
{
    void *object = NULL;

    struct central *central = central_lock(heap, OWNER_COMMON, sclass);
    central_take(heap, OWNER_COMMON, sclass, &object + 1, 1);
    central_unlock(central);
    return object;
}

void *direct_alloc_large(struct heap *heap, size_t n_bytes, size_t align_pages, bool *zeroed)
{
    void *object = large_alloc(heap, n_bytes, align_pages, zeroed);
    if (object == NULL && direct_trim(heap))
        object = large_alloc(heap, n_bytes, align_pages, zeroed);
    return object;
}

void *direct_alloc(struct heap *heap, size_t alignment, size_t n_bytes, bool *zeroed)
{
    if (n_bytes > CLASS_MAX_BYTES || alignment > SYS_PAGE_SIZE) {
        size_t align_pages = alignment <= SYS_PAGE_SIZE ? 1 : alignment >> SYS_PAGE_SHIFT;
        return direct_alloc_large(heap, n_bytes > 0 ? n_bytes : 1, align_pages, zeroed);
    }
    if (alignment > 16) /* classes.c, invariant 2 */
        n_bytes = round_up(n_bytes > 0 ? n_bytes : 1, alignment);
    void *object = direct_take(heap, class_of(n_bytes));
    if (object == NULL && direct_trim(heap))
        object = direct_take(heap, class_of(n_bytes));
    *zeroed = object_is_zero(object);
    return object_address(object);
}

void direct_free(struct heap *heap, void *object)
{
    size_t page = run_page(heap, object);
    uint32_t entry = page < heap->runs.n_pages ? run_entry(heap, page) : RUN_NONE;

    if (run_is_small(entry)) {
        unsigned sclass, owner;
        bool released = false;
        struct central *central = central_lock_holder(heap, object, 0, &owner, &sclass);
        central_give(heap, owner, sclass, &object, 1, &released);
        central_unlock(central);
    } else if (run_code(entry) == RUN_LARGE) {
        large_free(heap, object);
    } else if (run_code(entry) == RUN_FREED && runs_find(heap, page) == RUN_NONE) {
        heap_die(heap, "double free", object);
    } else {
        heap_die(heap, DIRECT_FREE_MESSAGE, object);
    }
}

uint32_t direct_find(const struct heap *heap, const void *object)
{
    size_t page = run_page(heap, object), index;
    uint32_t entry = page < heap->runs.n_pages ? run_entry(heap, page) : RUN_NONE;

    if (run_is_small(entry)) {
        const struct span *span = span_at(heap, entry);
        if (span_index(heap, span, run_code(entry), object, &index) && span_is_live(span, index))
            return entry;
    } else if (run_code(entry) == RUN_LARGE && run_address(heap, page) == object) {
        return entry;
    }
    return RUN_NONE;
}

uint32_t direct_require(const struct heap *heap, const void *object, const char *message)
{
    uint32_t entry = direct_find(heap, object);
    if (entry == RUN_NONE)
        heap_die(heap, message, object);
    return entry;
}

size_t direct_bytes(uint32_t entry)
{
    return run_is_small(entry) ? class_size(run_code(entry))
                               : run_large_pages(entry) << SYS_PAGE_SHIFT;
}

bool direct_stays(uint32_t entry, size_t old_bytes, size_t n_bytes)
{
    return run_is_small(entry) && n_bytes <= old_bytes &&
           (n_bytes >= old_bytes / 2 || class_of(n_bytes) == run_code(entry));
}

void *direct_realloc_large(struct heap *heap, void *object, uint32_t entry, size_t n_bytes)
{
    void *same = large_realloc(heap, object, run_large_pages(entry), n_bytes);
    if (same == NULL && direct_trim(heap))
        same = large_realloc(heap, object, run_large_pages(entry), n_bytes);
    return same;
}
