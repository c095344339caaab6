/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audit: the heap's counters for those who ask, and the same numbers recomputed from what they
 * count.
 *
 * heap_counts reads one part after the other, so while threads run its parts are from slightly
 * different moments. heap_validate holds all locks; only magazines of other threads move then, one
 * object at a time, so it looks into the calling thread's alone.
 *
 * It checks: spans (span.c 2, 3; the entries of their pages), lists and counts of each class
 * (central.c 1), the calling thread's magazines (cache.c 1, 2), large objects (large.c 1).
 */
#include "base/log.h"
#include "heap/cache.h"
#include "heap/harden.h"
#include "heap/large.h"

#include <errno.h>

/* Of a class, over all owners. */
struct totals {
    size_t n_spans, n_pages, n_live;
};

static struct totals totals_of(struct heap *heap, unsigned sclass)
{
    struct totals totals = {0, 0, 0};

    for (unsigned owner = 0; owner < central_n_owners(heap); owner++) {
        struct central *central = central_lock(heap, owner, sclass);
        totals.n_spans += central->n_spans;
        totals.n_pages += central->n_pages;
        totals.n_live += central->n_live;
        central_unlock(central);
    }
    return totals;
}

/* All but what the threads' caches hold. */
static void count(struct heap *heap, struct heap_counts *counts)
{
    struct large_counts large = large_count(heap);

    *counts = (struct heap_counts){
        .n_large = large.n_objects,
        .large_bytes = large.n_pages * SYS_PAGE_SIZE,
        .metadata_bytes = metadata_bytes(heap),
    };
    for (unsigned sclass = 1; sclass <= CLASS_COUNT; sclass++) {
        struct totals totals = totals_of(heap, sclass);
        counts->n_small += totals.n_live;
        counts->small_bytes += totals.n_live * class_size(sclass);
        counts->span_bytes += totals.n_pages * SYS_PAGE_SIZE;
    }
}

/* tcache_lock held. */
static size_t cached_bytes_of(const struct tcache *cache)
{
    size_t n_bytes = 0;

    for (unsigned sclass = 1; sclass <= CLASS_COUNT; sclass++) {
        struct central *central = central_lock(&heap_process, cache->owner, sclass);
        n_bytes += tcache_count(cache, sclass) * class_size(sclass);
        n_bytes += tcache_count(cache, sclass + TCACHE_OTHERS) * class_size(sclass);
        central_unlock(central);
    }
    return n_bytes;
}

void heap_count_instance(struct heap *heap, struct heap_counts *counts)
{
    count(heap, counts);
    if (heap != &heap_process)
        return;
    lock_take(&tcache_lock);
    for (struct tcache *cache = tcache_all; cache != NULL; cache = cache->next)
        counts->cached_bytes += cached_bytes_of(cache);
    lock_release(&tcache_lock);
}

void heap_counts(struct heap_counts *counts)
{
    heap_count_instance(&heap_process, counts);
}

/* How many objects the spans of a class have room for: they are of two lengths, so the pages tell
 * how many there are of each. */
static size_t room_of(const struct totals *totals, unsigned sclass)
{
    const struct class_shape *shape = &class_shapes[sclass];
    size_t first = shape->n_pages[CLASS_SPAN_FIRST], later = shape->n_pages[CLASS_SPAN_LATER];
    size_t n_first = later == first ? 0
                                    : (totals->n_spans * later - totals->n_pages) / (later - first);
    return n_first * shape->n_objects[CLASS_SPAN_FIRST] +
           (totals->n_spans - n_first) * shape->n_objects[CLASS_SPAN_LATER];
}

bool heap_class_counts_of(struct heap *heap, unsigned index, struct heap_class_counts *counts)
{
    unsigned sclass = index + 1;

    if (index >= CLASS_COUNT)
        return false;
    struct totals totals = totals_of(heap, sclass);
    *counts = (struct heap_class_counts){
        .object_bytes = class_size(sclass),
        .n_spans = totals.n_spans,
        .span_pages = totals.n_pages,
        .n_objects = room_of(&totals, sclass),
        .n_live = totals.n_live,
    };
    return true;
}

bool heap_class_counts(unsigned index, struct heap_class_counts *counts)
{
    return heap_class_counts_of(&heap_process, index, counts);
}

/* What the spans themselves say about a class. */
struct sums {
    size_t n_spans, n_pages, n_live, n_free, n_listed;
};

static bool broken(const char *what, size_t where)
{
    log_error("heap: %s (%zu)", what, where);
    return false;
}

static size_t count_bits(const struct span *span, size_t n_words)
{
    size_t n = 0;
    for (size_t word = 0; word < n_words; word++)
        n += (unsigned)__builtin_popcountll(
            atomic_load_explicit(&span->bits[word], memory_order_relaxed));
    return n;
}

static bool live_from(const struct span *span, size_t from, size_t end)
{
    for (size_t index = from; index < end; index++)
        if (span_is_live(span, index))
            return true;
    return false;
}

static bool check_span(const struct heap *heap, size_t number, struct sums *sums)
{
    const struct span *span = &heap->spans.spans[number];
    unsigned sclass = atomic_load_explicit(&span->sclass, memory_order_relaxed);
    size_t n_objects = atomic_load_explicit(&span->n_objects, memory_order_relaxed);
    size_t first = atomic_load_explicit(&span->first_page, memory_order_relaxed);
    size_t n_words = (n_objects + 63) / 64;

    if (atomic_load_explicit(&span->generation, memory_order_relaxed) % 2 != 0)
        return broken("a span is half changed", number);
    if (sclass == 0)
        return true;
    if (sclass > CLASS_COUNT || n_objects * class_size(sclass) > span->n_pages * SYS_PAGE_SIZE)
        return broken("a span's shape is wrong", number);
    if (count_bits(span, n_words) != span->n_live)
        return broken("a span's bitmap and count differ", number);
    if (live_from(span, n_objects, n_words * 64) || live_from(span, span->first_fresh, n_objects))
        return broken("a span has an object that was never handed out", number);
    if (span->n_live < n_objects && !(span->first_word < n_words))
        return broken("a span hides its free objects", number);
    for (size_t page = first; page < first + span->n_pages; page++)
        if (run_code(run_entry(heap, page)) != sclass || run_span(run_entry(heap, page)) != number)
            return broken("a page does not name its span", page);
    for (size_t page = first; page < first + span->n_pages; page++)
        if (run_owner(heap, page) != span_owner(span))
            return broken("a page does not name its span's owner", page);
    if (span_owner(span) >= central_n_owners(heap))
        return broken("a span has no owner", number);
    sums[sclass].n_spans++;
    sums[sclass].n_pages += span->n_pages;
    sums[sclass].n_live += span->n_live;
    sums[sclass].n_free += n_objects - span->n_live;
    sums[sclass].n_listed += span->fill != SPAN_FULL;
    return true;
}

/* Adds what the lists hold and say to `listed`. */
static bool check_lists(struct heap *heap, unsigned owner, unsigned sclass, struct sums *listed)
{
    const struct central *central = central_of(heap, owner, sclass);
    size_t n_empty = 0;

    for (unsigned fill = 0; fill <= SPAN_EMPTY; fill++) {
        const struct span *previous = NULL;
        for (const struct span *span = central->lists[fill]; span != NULL; span = span->next) {
            if (atomic_load_explicit(&span->sclass, memory_order_relaxed) != sclass)
                return broken("a span is on another class's list", sclass);
            if (span_owner(span) != owner)
                return broken("a span is on another owner's list", sclass);
            if (span->fill != fill || span_fill(span) != fill || span->previous != previous)
                return broken("a span is on the wrong list", sclass);
            if (++listed->n_listed > heap->spans.n_spans)
                return broken("a list has spans that are none", sclass);
            n_empty += fill == SPAN_EMPTY;
            previous = span;
        }
    }
    if (n_empty != central->n_empty)
        return broken("a class miscounts its empty spans", sclass);
    listed->n_spans += central->n_spans;
    listed->n_pages += central->n_pages;
    listed->n_live += central->n_live;
    listed->n_free += atomic_load_explicit(&central->n_free, memory_order_relaxed);
    return true;
}

static bool check_class(struct heap *heap, unsigned sclass, const struct sums *sums)
{
    struct sums listed = {0};

    for (unsigned owner = 0; owner < central_n_owners(heap); owner++)
        if (!check_lists(heap, owner, sclass, &listed))
            return false;
    if (listed.n_listed != sums->n_listed)
        return broken("a class has lost a span", sclass);
    if (sums->n_spans != listed.n_spans || sums->n_pages != listed.n_pages)
        return broken("a class miscounts its spans", sclass);
    if (sums->n_live != listed.n_live || sums->n_free != listed.n_free)
        return broken("a class miscounts its objects", sclass);
    return true;
}

static bool check_magazine(const struct heap *heap, const struct tcache *cache, unsigned bin)
{
    unsigned sclass = tcache_class(bin);
    size_t n = tcache_count(cache, bin), index;
    void **slots = cache->magazines[bin].limit - cache->capacity[bin];

    if (slots[0] != NULL || n > cache->capacity[bin])
        return broken("a magazine's bounds are wrong", sclass);
    for (size_t i = 1; i <= n; i++) {
        void *object = object_address(slots[i]);
        uint32_t entry = run_entry(heap, run_page(heap, object));
        if (run_code(entry) != sclass ||
            !span_index(heap, span_at(heap, entry), sclass, object, &index) ||
            !span_is_live(span_at(heap, entry), index))
            return broken("a magazine holds what is no object of its class", sclass);
        for (size_t j = 1; j < i; j++)
            if (object_address(slots[j]) == object)
                return broken("a magazine holds an object twice", sclass);
    }
    return true;
}

static bool check_cache(const struct heap *heap, const struct tcache *cache)
{
    size_t n_bytes = 0;

    for (unsigned bin = 0; bin < TCACHE_N_BINS; bin++) {
        if (cache->level[bin] == 0)
            continue;
        if (!check_magazine(heap, cache, bin))
            return false;
        n_bytes += cache->capacity[bin] * class_size(tcache_class(bin));
    }
    if (n_bytes != cache->n_bytes || n_bytes > TCACHE_MAX_BYTES)
        return broken("a thread's cache miscounts its room", n_bytes);
    return true;
}

static bool check_large(const struct heap *heap)
{
    const struct large_counts *counts = &heap->large.counts;
    struct large_counts found = {0};
    size_t page = runs_next_large(heap, 0);

    while (page != SIZE_MAX) {
        size_t n_pages = run_large_pages(run_entry(heap, page));
        if (n_pages == 0 || n_pages > heap->runs.n_pages - page)
            return broken("a large object's length is wrong", page);
        if (runs_find(heap, page + n_pages - 1) != run_entry(heap, page))
            return broken("a large object does not own its last page", page);
        found.n_objects++;
        found.n_pages += n_pages;
        page = runs_next_large(heap, page + n_pages);
    }
    if (found.n_objects != counts->n_objects || found.n_pages != counts->n_pages)
        return broken("large objects are miscounted", found.n_objects);
    return true;
}

static bool check_all(struct heap *heap)
{
    struct sums sums[CLASS_COUNT + 1] = {{0}};

    for (size_t number = 0; number < heap->spans.n_spans; number++)
        if (!check_span(heap, number, sums))
            return false;
    for (unsigned sclass = 1; sclass <= CLASS_COUNT; sclass++)
        if (!check_class(heap, sclass, &sums[sclass]))
            return false;
    return (heap != &heap_process || check_cache(heap, tcache_self)) && check_large(heap);
}

int heap_validate_instance(struct heap *heap)
{
    heap_lock_all(heap);
    bool valid = check_all(heap);
    heap_unlock_all(heap);
    if (valid && heap->harden != NULL)
        return harden_validate(heap);
    return valid ? 0 : -EUCLEAN;
}

int heap_validate(void)
{
    return heap_validate_instance(&heap_process);
}
