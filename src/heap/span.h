/* SPDX-License-Identifier: Apache-2.0 */
/* span: a run of pages carved into objects of one size class. */
#ifndef QUIRE_HEAP_SPAN_H
#define QUIRE_HEAP_SPAN_H

#include "heap/runs.h"

/* Objects on their way through a thread cache carry this in bit 0: all their bytes are zero. */
#define OBJECT_ZERO ((uintptr_t)1)

static inline void *object_address(void *object)
{
    return (void *)((uintptr_t)object & ~OBJECT_ZERO);
}

static inline bool object_is_zero(const void *object)
{
    return ((uintptr_t)object & OBJECT_ZERO) != 0;
}

/* Bytes of a table for a range of n_pages. */
size_t span_table_bytes(size_t n_pages);

/* Over a zeroed table; NULL: maps one. 0 or -ENOMEM. */
int span_init(struct heap *heap, void *table);

/* A span from the source, with no object handed out; NULL when there is no memory. (c) held. */
struct span *span_new(struct heap *heap, unsigned owner, unsigned sclass, enum class_span kind);

/* Other lists hold it from now on. (c) of both held. */
void span_set_owner(struct heap *heap, struct span *span, unsigned owner);
void span_delete(struct heap *heap,
                 struct span *span); /* (c) held; the span is empty and on no list */

/* Hands out up to `want` objects, lowest first, to end[-1], end[-2] ...; returns how many. (c) */
size_t span_take(const struct heap *heap, struct span *span, void **end, size_t want);

bool span_is_live(const struct span *span, size_t index);

/* The object that begins at exactly `object`; false when none does. */
static inline bool span_index(const struct heap *heap, const struct span *span, unsigned sclass,
                              const void *object, size_t *index)
{
    size_t first = atomic_load_explicit(&span->first_page, memory_order_relaxed);
    size_t n_objects = atomic_load_explicit(&span->n_objects, memory_order_relaxed);
    size_t offset = (uintptr_t)object - (uintptr_t)run_address(heap, first);

    *index = class_index(sclass, offset);
    return *index < n_objects && *index * class_size(sclass) == offset;
}

/*
 * Objects of one span on their way back, (c) held from begin to end: what is the same for all is
 * looked up once, and a word of the bitmap is written once where they follow each other.
 */
struct span_return {
    struct span *span;
    uintptr_t base;
    size_t n_bytes; /* of all objects; 0: no span yet */
    uint64_t reciprocal, size;
    uint64_t bits; /* of `word`, as they will be */
    size_t word, n;
};

enum span_returned { SPAN_RETURNED, SPAN_NO_OBJECT, SPAN_NOT_LIVE };

void span_return_begin(const struct heap *heap, struct span_return *batch, struct span *span);
void span_return_end(struct span_return *batch);
void span_return_store(struct span_return *batch);

static inline bool span_return_holds(const struct span_return *batch, const void *object)
{
    return (uintptr_t)object - batch->base < batch->n_bytes;
}

/* An object that the batch's span holds. */
static inline enum span_returned span_return_add(struct span_return *batch, const void *object)
{
    size_t offset = (uintptr_t)object - batch->base;
    size_t index = (size_t)((offset * batch->reciprocal) >> 40); /* class_index */
    uint64_t bit = (uint64_t)1 << index % 64;

    if (index * batch->size != offset)
        return SPAN_NO_OBJECT;
    if (index / 64 != batch->word) {
        span_return_store(batch);
        batch->word = index / 64;
        batch->bits = atomic_load_explicit(&batch->span->bits[batch->word], memory_order_relaxed);
    }
    if ((batch->bits & bit) == 0)
        return SPAN_NOT_LIVE;
    batch->bits &= ~bit;
    batch->n++;
    return SPAN_RETURNED;
}

/* In a hardened heap: a word for each object, behind `bits`; harden.c says what it means. */
_Atomic uint16_t *span_states(const struct span *span);

static inline struct span *span_at(const struct heap *heap, uint32_t entry)
{
    return &heap->spans.spans[run_span(entry)];
}

static inline unsigned span_owner(const struct span *span)
{
    return atomic_load_explicit(&span->owner, memory_order_relaxed);
}

static inline unsigned span_fill(const struct span *span)
{
    unsigned n_live = span->n_live;
    unsigned n_objects = atomic_load_explicit(&span->n_objects, memory_order_relaxed);

    if (n_live == 0)
        return SPAN_EMPTY;
    if (n_live == n_objects)
        return SPAN_FULL;
    return (n_live * 4 >= n_objects) + (n_live * 2 >= n_objects) + (n_live * 4 >= n_objects * 3);
}

#endif
