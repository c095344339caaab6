/* SPDX-License-Identifier: Apache-2.0 */
/*
 * central: the spans of each size class, behind a lock a class.
 *
 *    lists   [0] up to 1/4 live   [1] up to 1/2   [2] up to 3/4   [3] more    [EMPTY]
 *                 span <-> span       span                           span         span
 *            full spans are on no list
 *
 * Batches come from the fullest spans first, so that those with little left drain and their pages
 * go back; among equals from the one used last. An empty span more than CENTRAL_EMPTY_KEPT goes
 * back to the source at once. A new span is only made when a batch would be empty otherwise.
 *
 * Small objects share cache lines with their neighbours, and two threads that write to one line
 * wait for each other at each write. So spans of small objects belong to the cache that refilled
 * from them first, until they are empty; others take from them only while a quarter of what the
 * class holds is free, which bounds the memory that this costs. A thread's successor gets its
 * cache, and with it the spans.
 *
 * Invariants
 *   1. A span of the class is on the list of its `fill`, and fill == span_fill(span), whenever the
 *      lock is free.
 *   2. Objects change hands between here and a thread's cache, the cache's own note of it included,
 *      under the class's lock. So a fork child, whose parent held all locks, finds each object in
 *      exactly one place.
 *
 * Double frees that got past the thread cache end here: the object's bit is already clear.
 */
#include "heap/central.h"

#define OWNED_MOST_BYTES 512u /* larger objects share few lines */
#define POPULATE_SPANS 16u    /* from here on a span more is at most a twelfth of the class */
#define OWN_LOOKS 4u          /* spans looked at in each list */
#define SHARE_BYTES ((size_t)64 << 10) /* a class that holds less gets another span instead */

static void link_span(struct central *central, struct span *span, unsigned fill)
{
    span->fill = (uint8_t)fill;
    if (fill == SPAN_FULL)
        return;
    struct span **head = &central->lists[fill];
    span->previous = NULL;
    span->next = *head;
    if (*head != NULL)
        (*head)->previous = span;
    *head = span;
    if (fill == SPAN_EMPTY) {
        central->n_empty++;
        span->owner = 0;
    }
}

static void unlink_span(struct central *central, struct span *span)
{
    if (span->fill == SPAN_FULL)
        return;
    if (span->previous != NULL)
        span->previous->next = span->next;
    else
        central->lists[span->fill] = span->next;
    if (span->next != NULL)
        span->next->previous = span->previous;
    central->n_empty -= span->fill == SPAN_EMPTY;
}

/* Invariant 1, after the span's n_live changed. */
static void relist(struct central *central, struct span *span)
{
    unsigned fill = span_fill(span);
    if (fill == span->fill)
        return;
    unlink_span(central, span);
    link_span(central, span, fill);
}

static struct span *fullest(const struct central *central)
{
    for (unsigned fill = SPAN_N_FILLS; fill-- > 0;)
        if (central->lists[fill] != NULL)
            return central->lists[fill];
    return central->lists[SPAN_EMPTY];
}

/* The fullest span that the cache owns or may own, as far as a short look tells. */
static struct span *own_span(const struct central *central, unsigned owner)
{
    for (unsigned fill = SPAN_N_FILLS; fill-- > 0;) {
        struct span *span = central->lists[fill];
        for (unsigned i = 0; i < OWN_LOOKS && span != NULL; i++, span = span->next)
            if (span->owner == owner || span->owner == 0)
                return span;
    }
    return central->lists[SPAN_EMPTY];
}

static bool has_much_free(const struct central *central, unsigned sclass)
{
    size_t n_bytes = (size_t)central->n_pages << SYS_PAGE_SHIFT;
    return n_bytes > SHARE_BYTES && central->n_live * class_size(sclass) < n_bytes / 4 * 3;
}

/* NULL: there is none, or a new one is better. */
static struct span *choose(const struct central *central, unsigned sclass, unsigned owner)
{
    if (owner == 0 || class_size(sclass) > OWNED_MOST_BYTES)
        return fullest(central);
    struct span *span = own_span(central, owner);
    return span == NULL && has_much_free(central, sclass) ? fullest(central) : span;
}

/* Its memory with one call, where a class grows so much that all of it will soon be used. */
static void populate(const struct heap *heap, const struct central *central,
                     const struct span *span)
{
    const struct heap_source *source = &heap->runs.source;
    size_t first = atomic_load_explicit(&span->first_page, memory_order_relaxed);

    if (central->n_spans >= POPULATE_SPANS && span->first_fresh == 0 && source->populate != NULL)
        source->populate(source->context, run_address(heap, first), span->n_pages);
}

static struct span *add_span(struct heap *heap, struct central *central, unsigned sclass)
{
    enum class_span kind = central->n_spans < 4 ? CLASS_SPAN_FIRST : CLASS_SPAN_LATER;
    struct span *span = span_new(heap, sclass, kind);
    if (span == NULL)
        return NULL;
    populate(heap, central, span);
    link_span(central, span, SPAN_EMPTY);
    central->n_spans++;
    central->n_pages += span->n_pages;
    return span;
}

static void drop_empty(struct heap *heap, struct central *central)
{
    struct span *span = central->lists[SPAN_EMPTY];
    unlink_span(central, span);
    central->n_spans--;
    central->n_pages -= span->n_pages;
    span_delete(heap, span);
}

size_t central_take(struct heap *heap, unsigned sclass, unsigned owner, void **end, size_t want)
{
    struct central *central = &heap->centrals[sclass];
    size_t n = 0;

    while (n < want) {
        struct span *span = choose(central, sclass, owner);
        if (span == NULL && n == 0 && (span = add_span(heap, central, sclass)) == NULL)
            span = fullest(central);
        if (span == NULL)
            break;
        if (span->owner == 0)
            span->owner = (uint8_t)owner;
        n += span_take(heap, span, end - n, want - n);
        relist(central, span);
    }
    central->n_live += n;
    return n;
}

/* An object came back that is none of the class. */
static _Noreturn void die_of(const struct heap *heap, uint32_t entry, const void *object)
{
    heap_die(heap,
             run_code(entry) == RUN_FREED ? "double free"
                                          : "free of an address that malloc never gave out",
             object);
}

/* Spans are scattered over the metadata: start fetching the struct of an object soon to come. */
static void prefetch(const struct heap *heap, const void *object)
{
    uint32_t entry = run_entry(heap, run_page(heap, object));
    if (run_is_small(entry))
        __builtin_prefetch(span_at(heap, entry), 1);
}

bool central_give(struct heap *heap, unsigned sclass, void **objects, size_t n)
{
    const size_t ahead = 8;
    struct central *central = &heap->centrals[sclass];
    struct span *span = NULL;
    uint32_t entry = RUN_NONE; /* of `span` */
    bool released = false;

    for (size_t i = 0; i < n; i++) {
        const void *object = object_address(objects[i]);
        uint32_t its_entry = run_entry(heap, run_page(heap, object));
        size_t index;
        if (i + ahead < n)
            prefetch(heap, objects[i + ahead]);
        if (its_entry != entry) { /* an entry names the class and the span */
            if (run_code(its_entry) != sclass)
                die_of(heap, its_entry, object);
            if (span != NULL)
                relist(central, span);
            entry = its_entry;
            span = span_at(heap, entry);
        }
        if (!span_index(heap, span, sclass, object, &index))
            die_of(heap, entry, object);
        if (!span_give(span, index))
            heap_die(heap, "double free", object);
    }
    central->n_live -= n;
    if (span != NULL)
        relist(central, span);
    for (; central->n_empty > CENTRAL_EMPTY_KEPT; released = true)
        drop_empty(heap, central);
    return released;
}

bool central_trim(struct heap *heap)
{
    bool released = false;

    for (unsigned sclass = 1; sclass <= CLASS_COUNT; sclass++) {
        struct central *central = &heap->centrals[sclass];
        central_lock(heap, sclass);
        for (; central->n_empty > 0; released = true)
            drop_empty(heap, central);
        central_unlock(heap, sclass);
    }
    return released;
}
