/* SPDX-License-Identifier: Apache-2.0 */
/*
 * large: objects of whole pages, each a run of its own.
 *
 * All that is known of a large object is its length, in the entry of its first page; heap->runs.c
 * says how any page of it is found. Freed runs go back to the source at once: which of them stay
 * warm is the source's business, which knows about all pages.
 *
 * realloc, in this order: the same pages; fewer, the tail goes back; more behind it; another run,
 * to which long contents are moved rather than copied where the source can, so that growing in
 * small steps does not copy everything each time. No room is held in reserve.
 *
 * Invariants
 *   1. counts = the large objects in the tables of heap->runs and their pages, whenever the lock is
 *      free.
 *   2. An object is in the tables before its contents are written or moved to it, so that the
 *      pager never takes its pages for dead.
 *
 * Locks: one, around the tables and the counts, never around the source's functions or while
 * memory is touched. A fork in between loses a run in the child, like every object that a gone
 * thread was just being given.
 */
#include "heap/large.h"

#include "base/checked.h"
#include "base/lock.h"

#include <string.h>

#define MOVE_MIN_PAGES 32 /* shorter contents are copied */

struct large_counts large_count(struct heap *heap)
{
    lock_take(&heap->large.lock);
    struct large_counts copy = heap->large.counts;
    lock_release(&heap->large.lock);
    return copy;
}

/* Pages for n_bytes; 0 when there can't be as many. */
static size_t pages_for(const struct heap *heap, size_t n_bytes)
{
    if (n_bytes > PTRDIFF_MAX - RUN_LONG_UNIT * SYS_PAGE_SIZE)
        return 0;
    size_t n_pages = run_round((n_bytes + SYS_PAGE_SIZE - 1) >> SYS_PAGE_SHIFT);
    return n_pages <= heap->runs.n_pages ? n_pages : 0;
}

static void *alloc_pages(struct heap *heap, size_t n_pages, size_t align_pages, bool *zeroed)
{
    *zeroed = false;
    void *run = heap->runs.source.alloc(heap->runs.source.context, n_pages, align_pages, zeroed);
    if (run == NULL)
        return NULL;
    lock_take(&heap->large.lock);
    runs_set_large(heap, run_page(heap, run), n_pages);
    heap->large.counts.n_objects++;
    heap->large.counts.n_pages += n_pages;
    lock_release(&heap->large.lock);
    return run;
}

void *large_alloc(struct heap *heap, size_t n_bytes, size_t align_pages, bool *zeroed)
{
    size_t n_pages = pages_for(heap, n_bytes);
    return n_pages == 0 ? NULL : alloc_pages(heap, n_pages, align_pages, zeroed);
}

void large_free(struct heap *heap, void *object)
{
    size_t first = run_page(heap, object), n_pages = 0;

    lock_take(&heap->large.lock);
    uint32_t entry = run_entry(heap, first);
    bool found = run_code(entry) == RUN_LARGE && run_address(heap, first) == object;
    if (found) {
        n_pages = run_large_pages(entry);
        runs_clear_large(heap, first);
        heap->large.counts.n_objects--;
        heap->large.counts.n_pages -= n_pages;
    }
    lock_release(&heap->large.lock);

    if (found)
        heap->runs.source.free(heap->runs.source.context, object, n_pages);
    else if (run_code(entry) == RUN_FREED)
        heap_die(heap, "double free", object);
    else
        heap_die(heap, "free of an address that malloc never gave out", object);
}

static void resize(struct heap *heap, void *object, size_t old_n_pages, size_t n_pages)
{
    lock_take(&heap->large.lock);
    runs_resize_large(heap, run_page(heap, object), old_n_pages, n_pages);
    heap->large.counts.n_pages += n_pages - old_n_pages;
    lock_release(&heap->large.lock);
}

static void *relocate(struct heap *heap, void *object, size_t old_n_pages, size_t n_pages)
{
    bool zeroed;
    void *to = alloc_pages(heap, n_pages, 1, &zeroed);
    if (to == NULL)
        return NULL;
    if (heap->runs.source.move != NULL && old_n_pages >= MOVE_MIN_PAGES)
        heap->runs.source.move(heap->runs.source.context, object, to, old_n_pages);
    else
        memcpy(to, object, old_n_pages * SYS_PAGE_SIZE);
    large_free(heap, object);
    return to;
}

void *large_realloc(struct heap *heap, void *object, size_t n_pages_now, size_t n_bytes)
{
    size_t n_pages = pages_for(heap, n_bytes);
    bool zeroed;

    if (n_pages == 0 || n_pages == n_pages_now)
        return n_pages == 0 ? NULL : object;
    if (n_pages < n_pages_now) {
        resize(heap, object, n_pages_now, n_pages);
        heap->runs.source.free(heap->runs.source.context, (char *)object + n_pages * SYS_PAGE_SIZE,
                               n_pages_now - n_pages);
        return object;
    }
    if (heap->runs.source.extend(heap->runs.source.context, object, n_pages_now, n_pages,
                                 &zeroed)) {
        resize(heap, object, n_pages_now, n_pages);
        return object;
    }
    return relocate(heap, object, n_pages_now, n_pages);
}
