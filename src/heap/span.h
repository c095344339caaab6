/* SPDX-License-Identifier: Apache-2.0 */
/* span: a run of pages carved into objects of one size class. */
#ifndef QUIRE_HEAP_SPAN_H
#define QUIRE_HEAP_SPAN_H

#include "base/lock.h"
#include "heap/runs.h"

#include <assert.h>

#define SPAN_N_FILLS 4 /* how full a span that is neither empty nor full is, in quarters */
#define SPAN_EMPTY 4
#define SPAN_FULL 5
#define SPAN_INLINE_WORDS 2

/*
 * (c) the lock of the class; (t) the lock of the span table; (g) written under (c) while the
 * generation is odd, read by heap_scrub without a lock; (k) constant once the span was made
 *
 * n_live = the bits set in `bits` = objects handed out, those in thread caches included
 */
struct span {
    struct span *next, *previous; /* (c) in the class's list for `fill`; (t) free spans */
    _Atomic uint64_t *bits;       /* (k) the array; its words (c), read by heap_scrub */
    _Atomic uint64_t inline_bits[SPAN_INLINE_WORDS];
    _Atomic uint32_t generation; /* odd while the span changes what it is */
    _Atomic uint32_t first_page; /* (g) */
    _Atomic uint16_t n_objects;  /* (g) */
    _Atomic uint8_t sclass;      /* (g) 0: the span is free */
    uint8_t capacity;            /* (k) which of the lengths of `bits` */
    uint16_t n_pages;            /* (c) */
    uint16_t n_live;             /* (c) */
    uint16_t first_fresh;        /* (c) objects from here on were never handed out and are zero */
    uint8_t fill;                /* (c) SPAN_EMPTY, SPAN_FULL or a quarter */
    uint8_t first_word;          /* (c) no object before this word of `bits` is free */
};
static_assert(sizeof(struct span) == 64, "one cache line, 0.1 % of a span");

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

struct span_table {
    struct span *spans;
    size_t max_spans;
    size_t n_spans; /* under `lock`: spans ever made; they stay readable for ever */
    struct lock lock;
};
extern struct span_table span_table;

int span_init(size_t n_pages);

/* A span from the source, with no object handed out; NULL when there is no memory. (c) held. */
struct span *span_new(unsigned sclass, enum class_span kind);
void span_delete(struct span *span); /* (c) held; the span is empty and on no list */

/* Hands out up to `want` objects, lowest first, to end[-1], end[-2] ...; returns how many. (c) */
size_t span_take(struct span *span, void **end, size_t want);

/* Takes an object back. False: it isn't handed out. (c) */
bool span_give(struct span *span, size_t index);

/* The object that begins at exactly `object`; false when none does. */
bool span_index(const struct span *span, unsigned sclass, const void *object, size_t *index);
bool span_is_live(const struct span *span, size_t index);

static inline struct span *span_at(uint32_t entry)
{
    return &span_table.spans[run_span(entry)];
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
