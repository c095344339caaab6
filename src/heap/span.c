/* SPDX-License-Identifier: Apache-2.0 */
/*
 * span: a run of pages carved into objects of one size class.
 *
 *    run   | object 0 | object 1 | object 2 | ...        | tail |
 *    bits       1          0          1       0 0 0 0 0           1: handed out
 *                                             ^ first_fresh
 *
 * All there is to know about the objects is a bit each, out of band: a free object is a 0, and
 * handing out a batch is a scan over words. Span structs stand in one sparse table and are
 * numbered; pages name their span by its number (runs.h).
 *
 * States: free --span_new--> held by a class --span_delete--> free. A free struct is kept for a
 * later span with a bitmap of the same length, and is never unmapped.
 *
 * Invariants
 *   1. Whoever reads class, n_objects, first_page between two loads of the same even generation
 *      has read one span's values (a seqlock: H.-J. Boehm, "Can Seqlocks Get Along With
 *      Programming Language Memory Models?", 2012).
 *   2. `bits` is the same array for as long as the struct exists; in a free span it is all zero.
 *   3. No bit is set at or after n_objects, nor at or after first_fresh while first_fresh is less
 *      than n_objects.
 *   4. A bit is set before its object is given to anybody and cleared after the last owner gave it
 *      back.
 *
 * Locks: the class's for a span that is held; the table's for free ones and for making new ones.
 * Order: class, table. Can fail: no struct (no metadata memory), no run; then nothing is changed.
 */
#include "heap/span.h"

#include "base/checked.h"
#include "base/meta.h"

#include <errno.h>

/* Objects that the bitmap has room for; the first are in the struct itself. */
static const uint16_t capacities[] = {SPAN_INLINE_WORDS * 64, 512, 1024, 2048, CLASS_MAX_OBJECTS};
static_assert(sizeof(capacities) / sizeof(capacities[0]) == SPAN_N_CAPACITIES, "one list each");
#define SPANS_PER_PAGE (SYS_PAGE_SIZE / sizeof(struct span))

/* Of the shortest span. */
static size_t least_pages(void)
{
    size_t least = SIZE_MAX;
    for (unsigned sclass = 1; sclass <= CLASS_COUNT; sclass++)
        for (unsigned kind = 0; kind < CLASS_N_SPANS; kind++)
            if (class_shapes[sclass].n_pages[kind] < least)
                least = class_shapes[sclass].n_pages[kind];
    return least;
}

size_t span_table_bytes(size_t n_pages)
{
    size_t max_spans = n_pages / least_pages() + 1;
    if (max_spans > RUN_MAX_SPANS)
        max_spans = RUN_MAX_SPANS;
    return max_spans * sizeof(struct span);
}

int span_init(struct heap *heap, void *table)
{
    size_t n_bytes = span_table_bytes(heap->runs.n_pages);
    struct span *spans = table != NULL ? table : meta_map(n_bytes);
    if (spans == NULL)
        return -ENOMEM;
    heap->spans = (struct span_table){.spans = spans, .max_spans = n_bytes / sizeof(struct span)};
    return 0;
}

/* A struct that never was a span, with a bitmap of that capacity. */
static struct span *make_struct(struct heap *heap, unsigned capacity)
{
    if (heap->spans.n_spans == heap->spans.max_spans)
        return NULL;
    struct span *span = &heap->spans.spans[heap->spans.n_spans];
    size_t n_bytes = capacities[capacity] / 8;
    if (heap->harden != NULL)
        n_bytes += capacities[capacity] * sizeof(uint16_t);
    if (capacity == 0 && heap->harden == NULL)
        span->bits = span->inline_bits;
    else if ((span->bits = metadata_alloc(heap, n_bytes)) == NULL)
        return NULL;
    span->capacity = (uint8_t)capacity;
    if (heap->spans.n_spans % SPANS_PER_PAGE == 0)
        metadata_charge(heap, SYS_PAGE_SIZE);
    heap->spans.n_spans++;
    return span;
}

static struct span *take_struct(struct heap *heap, size_t n_objects)
{
    unsigned capacity = 0;
    while (capacities[capacity] < n_objects)
        capacity++;

    lock_take(&heap->spans.lock);
    struct span *span = heap->spans.free[capacity];
    if (span != NULL)
        heap->spans.free[capacity] = span->next;
    else
        span = make_struct(heap, capacity);
    lock_release(&heap->spans.lock);
    return span;
}

static void give_struct(struct heap *heap, struct span *span)
{
    lock_take(&heap->spans.lock);
    span->next = heap->spans.free[span->capacity];
    heap->spans.free[span->capacity] = span;
    lock_release(&heap->spans.lock);
}

/* Changes what heap_scrub may read, by invariant 1. */
static void become(struct span *span, unsigned sclass, size_t first_page, size_t n_objects)
{
    uint32_t generation = atomic_load_explicit(&span->generation, memory_order_relaxed);

    /* release: a reader (scrub.c, acquire) that sees a new value sees a new generation after it */
    atomic_store_explicit(&span->generation, generation + 1, memory_order_relaxed);
    atomic_store_explicit(&span->sclass, (uint8_t)sclass, memory_order_release);
    atomic_store_explicit(&span->first_page, (uint32_t)first_page, memory_order_release);
    atomic_store_explicit(&span->n_objects, (uint16_t)n_objects, memory_order_release);
    atomic_store_explicit(&span->generation, generation + 2, memory_order_release);
}

void span_set_owner(struct heap *heap, struct span *span, unsigned owner)
{
    size_t first = atomic_load_explicit(&span->first_page, memory_order_relaxed);

    /* relaxed: whoever acts on it takes the lock of those lists and reads it again */
    atomic_store_explicit(&span->owner, (uint8_t)owner, memory_order_relaxed);
    runs_set_owner(heap, first, span->n_pages, owner);
}

struct span *span_new(struct heap *heap, unsigned owner, unsigned sclass, enum class_span kind)
{
    const struct class_shape *shape = &class_shapes[sclass];
    bool zeroed = false;

    struct span *span = take_struct(heap, shape->n_objects[kind]);
    if (span == NULL)
        return NULL;
    void *run = heap->runs.source.alloc(heap->runs.source.context, shape->n_pages[kind], 1,
                                        &zeroed);
    if (run == NULL) {
        give_struct(heap, span);
        return NULL;
    }
    span->n_pages = shape->n_pages[kind];
    span->n_live = 0;
    span->first_fresh = zeroed ? 0 : shape->n_objects[kind];
    span->first_word = 0;
    span->fill = SPAN_EMPTY;
    become(span, sclass, run_page(heap, run), shape->n_objects[kind]);
    span_set_owner(heap, span, owner);
    runs_set_span(heap, run_page(heap, run), span->n_pages, sclass,
                  (size_t)(span - heap->spans.spans));
    return span;
}

void span_delete(struct heap *heap, struct span *span)
{
    size_t first = atomic_load_explicit(&span->first_page, memory_order_relaxed);
    size_t n_pages = span->n_pages;

    runs_clear_span(heap, first, n_pages);
    become(span, 0, 0, 0);
    give_struct(heap, span);
    heap->runs.source.free(heap->runs.source.context, run_address(heap, first), n_pages);
}

size_t span_take(const struct heap *heap, struct span *span, void **end, size_t want)
{
    unsigned sclass = atomic_load_explicit(&span->sclass, memory_order_relaxed);
    size_t n_objects = atomic_load_explicit(&span->n_objects, memory_order_relaxed);
    size_t size = class_size(sclass), n = 0, word = span->first_word;
    char *base = run_address(heap, atomic_load_explicit(&span->first_page, memory_order_relaxed));

    for (; n < want && word * 64 < n_objects; word++) {
        uint64_t bits = atomic_load_explicit(&span->bits[word], memory_order_relaxed);
        uint64_t free = ~bits;
        if (n_objects - word * 64 < 64)
            free &= ((uint64_t)1 << (n_objects - word * 64)) - 1;
        for (; free != 0 && n < want; free &= free - 1) {
            size_t index = word * 64 + (unsigned)__builtin_ctzll(free);
            uintptr_t object = (uintptr_t)(base + index * size);
            if (index >= span->first_fresh) {
                span->first_fresh = (uint16_t)(index + 1);
                object |= OBJECT_ZERO;
            }
            end[-(ptrdiff_t)++n] = (void *)object;
            bits |= free & -free;
        }
        /* release: invariant 4, for heap_scrub's acquire */
        atomic_store_explicit(&span->bits[word], bits, memory_order_release);
        if (free != 0)
            break;
    }
    span->first_word = (uint8_t)word;
    span->n_live = (uint16_t)(span->n_live + n);
    return n;
}

void span_return_begin(const struct heap *heap, struct span_return *batch, struct span *span)
{
    unsigned sclass = atomic_load_explicit(&span->sclass, memory_order_relaxed);
    size_t first = atomic_load_explicit(&span->first_page, memory_order_relaxed);
    size_t n_objects = atomic_load_explicit(&span->n_objects, memory_order_relaxed);

    *batch = (struct span_return){
        .span = span,
        .base = (uintptr_t)run_address(heap, first),
        .n_bytes = n_objects * class_size(sclass),
        .reciprocal = class_shapes[sclass].reciprocal,
        .size = class_size(sclass),
        .word = SIZE_MAX,
    };
}

void span_return_store(struct span_return *batch)
{
    struct span *span = batch->span;

    if (batch->word == SIZE_MAX)
        return;
    /* release: invariant 4, for heap_scrub's acquire */
    atomic_store_explicit(&span->bits[batch->word], batch->bits, memory_order_release);
    if (batch->word < span->first_word)
        span->first_word = (uint8_t)batch->word;
}

void span_return_end(struct span_return *batch)
{
    span_return_store(batch);
    batch->span->n_live = (uint16_t)(batch->span->n_live - batch->n);
}

bool span_is_live(const struct span *span, size_t index)
{
    uint64_t bits = atomic_load_explicit(&span->bits[index / 64], memory_order_acquire);
    return (bits >> index % 64 & 1) != 0;
}

_Atomic uint16_t *span_states(const struct span *span)
{
    return (_Atomic uint16_t *)(span->bits + capacities[span->capacity] / 64);
}
