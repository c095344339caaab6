/* SPDX-License-Identifier: Apache-2.0 */
/*
 * central: the spans of each size class and owner, behind a lock each.
 *
 *    owner 0    class 1: lists   [0] up to 1/4 live  [1] up to 1/2  [2] up to 3/4  [3] more [EMPTY]
 *                                     span <-> span      span                          span span
 *               class 2: ...     full spans are on no list
 *    owner 1    ...
 *
 * Each thread that has a cache owns lists, and its cache is filled from them alone, so that their
 * locks are free when it comes, and that small objects of two threads share no cache line: what
 * a thread frees of another's spans goes back there. Nobody but the owner takes from a span, but a
 * whole span changes hands, with what is live in it: whoever has none left looks for lists of the
 * class that hold much free memory before it makes another. So what is free in one thread's spans
 * serves all, and the memory that this costs is bounded: a quarter of each one's, or SHARE_BYTES.
 *
 * Batches come from the fullest spans first, so that those with little left drain and their pages
 * go back; among equals from the one used last. An empty span more than CENTRAL_EMPTY_KEPT goes
 * back to the source at once. A new span is only made when a batch would be empty otherwise.
 *
 *    states of an owner's lists: none --central_own--> in use <--central_set_idle--> idle
 *
 * Invariants
 *   1. A span of the class is on the list of its `fill`, and fill == span_fill(span), whenever the
 *      lock is free; it is on the lists of its owner.
 *   2. Objects change hands between here and a thread's cache, the cache's own note of it included,
 *      under a class's lock. So a fork child, whose parent held all locks, finds each object in
 *      exactly one place.
 *   3. A span's owner changes under the locks of both, and only in a span that has the class all
 *      the while. So who holds the lock of the owner that a span names has the span.
 *
 * Double frees that got past the thread cache end here: the object's bit is already clear.
 *
 * Locks: one class of one owner; a second one only by lock_try (adopt), so there is no order
 * between owners but in heap_lock_all, which takes all by number.
 */
#include "heap/central.h"

#define POPULATE_SPANS 16u /* from here on a span more is at most a twelfth of the class */
#define SHARE_BYTES ((size_t)64 << 10) /* lists in use that hold less keep it for themselves */

struct central *_Atomic central_owned[OWNER_MOST + 1];
static _Atomic unsigned n_owned; /* changes under tcache_lock */
static _Atomic bool is_idle[OWNER_MOST + 1];

unsigned central_own(void)
{
    unsigned owner = atomic_load_explicit(&n_owned, memory_order_relaxed) + 1;
    struct central *lists = NULL;

    if (owner <= OWNER_MOST)
        lists = metadata_alloc(&heap_process, sizeof(struct central) * (CLASS_COUNT + 1));
    if (lists == NULL)
        return OWNER_COMMON;
    /* release: whoever finds the owner finds its lists */
    atomic_store_explicit(&central_owned[owner], lists, memory_order_release);
    atomic_store_explicit(&n_owned, owner, memory_order_release);
    return owner;
}

unsigned central_n_owners(const struct heap *heap)
{
    if (heap != &heap_process)
        return 1;
    /* acquire: pairs with central_own's release */
    return atomic_load_explicit(&n_owned, memory_order_acquire) + 1;
}

static void add_free(struct central *central, size_t n)
{
    uint32_t n_free = atomic_load_explicit(&central->n_free, memory_order_relaxed);
    /* relaxed: written under the lock, otherwise a hint */
    atomic_store_explicit(&central->n_free, n_free + (uint32_t)n, memory_order_relaxed);
}

static size_t room_in(const struct span *span)
{
    return (size_t)atomic_load_explicit(&span->n_objects, memory_order_relaxed) - span->n_live;
}

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
    central->n_empty += fill == SPAN_EMPTY;
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

/* Its memory with one call, where a class grows so much that all of it will soon be used. */
static void populate(const struct heap *heap, const struct central *central,
                     const struct span *span)
{
    const struct heap_source *source = &heap->runs.source;
    size_t first = atomic_load_explicit(&span->first_page, memory_order_relaxed);

    if (central->n_spans >= POPULATE_SPANS && span->first_fresh == 0 && source->populate != NULL)
        source->populate(source->context, run_address(heap, first), span->n_pages);
}

/* A span, which is on no list, comes or goes. */
static void add_counts(struct central *central, const struct span *span)
{
    central->n_spans++;
    central->n_pages += span->n_pages;
    central->n_live += span->n_live;
    add_free(central, room_in(span));
}

static void remove_counts(struct central *central, const struct span *span)
{
    central->n_spans--;
    central->n_pages -= span->n_pages;
    central->n_live -= span->n_live;
    add_free(central, -room_in(span));
}

/* Whether lists have so much to spare that others may have some of it; without the lock a hint. */
static bool has_much_free(const struct central *central, unsigned sclass, bool idle)
{
    size_t n_free = atomic_load_explicit(&central->n_free, memory_order_relaxed);
    return n_free > 0 && (idle || n_free * class_size(sclass) > SHARE_BYTES / 4);
}

/* The span with the most room: `any`, or one that is a quarter free from lists that are. */
static struct span *spare_span(const struct central *central, bool any)
{
    size_t n_free = atomic_load_explicit(&central->n_free, memory_order_relaxed);

    if (!any && n_free * 3 < central->n_live)
        return NULL;
    if (central->lists[SPAN_EMPTY] != NULL)
        return central->lists[SPAN_EMPTY];
    for (unsigned fill = 0; fill < (any ? SPAN_N_FILLS : SPAN_N_FILLS - 1); fill++)
        if (central->lists[fill] != NULL)
            return central->lists[fill];
    return NULL;
}

/* Invariant 3. */
static struct span *adopt_from(struct heap *heap, unsigned from, unsigned owner, unsigned sclass,
                               bool any)
{
    struct central *theirs = central_of(heap, from, sclass);
    bool idle = atomic_load_explicit(&is_idle[from], memory_order_relaxed); /* a hint */

    if (!has_much_free(theirs, sclass, idle || any) || !lock_try(&theirs->lock))
        return NULL;
    struct span *span = spare_span(theirs, any);
    if (span != NULL) {
        struct central *ours = central_of(heap, owner, sclass);
        unlink_span(theirs, span);
        remove_counts(theirs, span);
        span_set_owner(heap, span, owner);
        add_counts(ours, span);
        link_span(ours, span, span->fill);
    }
    lock_release(&theirs->lock);
    return span;
}

/* The owner has nothing left; `any`: there is no memory for another span. */
static struct span *adopt(struct heap *heap, unsigned owner, unsigned sclass, bool any)
{
    struct span *span = NULL;
    unsigned n = central_n_owners(heap);

    for (unsigned i = 1; i < n && span == NULL; i++)
        span = adopt_from(heap, (owner + i) % n, owner, sclass, any);
    return span;
}

static struct span *add_span(struct heap *heap, unsigned owner, unsigned sclass)
{
    struct central *central = central_of(heap, owner, sclass);
    enum class_span kind = central->n_spans < 4 ? CLASS_SPAN_FIRST : CLASS_SPAN_LATER;
    struct span *span = span_new(heap, owner, sclass, kind);
    if (span == NULL)
        return NULL;
    populate(heap, central, span);
    link_span(central, span, SPAN_EMPTY);
    add_counts(central, span);
    return span;
}

static void drop_empty(struct heap *heap, struct central *central)
{
    struct span *span = central->lists[SPAN_EMPTY];
    unlink_span(central, span);
    remove_counts(central, span);
    span_delete(heap, span);
}

static struct span *obtain(struct heap *heap, unsigned owner, unsigned sclass)
{
    struct span *span = adopt(heap, owner, sclass, false);
    if (span == NULL)
        span = add_span(heap, owner, sclass);
    return span != NULL ? span : adopt(heap, owner, sclass, true);
}

size_t central_take(struct heap *heap, unsigned owner, unsigned sclass, void **end, size_t want)
{
    struct central *central = central_of(heap, owner, sclass);
    size_t n = 0;

    while (n < want) {
        struct span *span = fullest(central);
        if (span == NULL && n == 0)
            span = obtain(heap, owner, sclass);
        if (span == NULL)
            break;
        n += span_take(heap, span, end - n, want - n);
        relist(central, span);
    }
    central->n_live += n;
    add_free(central, -n);
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
static void prefetch(const struct heap *heap, const struct span_return *batch, const void *object)
{
    if (span_return_holds(batch, object))
        return;
    uint32_t entry = run_entry(heap, run_page(heap, object));
    if (run_is_small(entry))
        __builtin_prefetch(span_at(heap, entry), 1);
}

static void end_batch(struct central *central, struct span_return *batch)
{
    if (batch->span == NULL)
        return;
    span_return_end(batch);
    relist(central, batch->span);
}

/* Begins the batch of the object's span; false: it is another owner's or class's. */
static bool begin_batch(struct heap *heap, struct central *central, unsigned owner, unsigned sclass,
                        const void *object, struct span_return *batch)
{
    uint32_t entry = run_entry(heap, run_page(heap, object));

    if (run_code(entry) != sclass || span_owner(span_at(heap, entry)) != owner)
        return false;
    end_batch(central, batch);
    span_return_begin(heap, batch, span_at(heap, entry));
    if (!span_return_holds(batch, object)) /* in the tail */
        die_of(heap, entry, object);
    return true;
}

struct central *central_lock_holder(struct heap *heap, const void *object, unsigned wanted,
                                    unsigned *owner, unsigned *sclass)
{
    size_t page = run_page(heap, object);

    for (;;) {
        uint32_t entry = run_entry(heap, page);
        if (!run_is_small(entry) || (wanted != 0 && run_code(entry) != wanted))
            die_of(heap, entry, object);
        *sclass = run_code(entry);
        *owner = span_owner(span_at(heap, entry));
        struct central *central = central_lock(heap, *owner, *sclass);
        if (run_entry(heap, page) == entry && span_owner(span_at(heap, entry)) == *owner)
            return central; /* invariant 3 */
        central_unlock(central);
    }
}

size_t central_give(struct heap *heap, unsigned owner, unsigned sclass, void **objects, size_t n,
                    bool *released)
{
    const size_t ahead = 8;
    struct central *central = central_of(heap, owner, sclass);
    struct span_return batch = {.span = NULL};
    size_t n_others = 0;

    for (size_t i = 0; i < n; i++) {
        const void *object = object_address(objects[i]);
        if (i + ahead < n)
            prefetch(heap, &batch, objects[i + ahead]);
        if (!span_return_holds(&batch, object) &&
            !begin_batch(heap, central, owner, sclass, object, &batch)) {
            objects[n_others++] = objects[i];
            continue;
        }
        enum span_returned result = span_return_add(&batch, object);
        if (result == SPAN_NO_OBJECT)
            die_of(heap, run_entry(heap, run_page(heap, object)), object);
        if (result == SPAN_NOT_LIVE)
            heap_die(heap, "double free", object);
    }
    end_batch(central, &batch);
    central->n_live -= n - n_others;
    add_free(central, n - n_others);
    for (; central->n_empty > CENTRAL_EMPTY_KEPT; *released = true)
        drop_empty(heap, central);
    return n_others;
}

static bool trim_owner(struct heap *heap, unsigned owner)
{
    bool released = false;

    for (unsigned sclass = 1; sclass <= CLASS_COUNT; sclass++) {
        struct central *central = central_lock(heap, owner, sclass);
        for (; central->n_empty > 0; released = true)
            drop_empty(heap, central);
        central_unlock(central);
    }
    return released;
}

bool central_trim(struct heap *heap)
{
    bool released = false;

    for (unsigned owner = 0; owner < central_n_owners(heap); owner++)
        released |= trim_owner(heap, owner);
    return released;
}

void central_set_idle(unsigned owner, bool idle)
{
    if (owner == OWNER_COMMON)
        return;
    atomic_store_explicit(&is_idle[owner], idle, memory_order_relaxed); /* a hint */
    if (idle)
        (void)trim_owner(&heap_process, owner);
}
