/* SPDX-License-Identifier: Apache-2.0 */
/*
 * instance: all that one heap consists of. Everything about a heap is reached from its struct; the
 * tables of sizes (classes.h) and the threads' caches, which only the process's heap has (cache.h),
 * stand outside.
 */
#ifndef QUIRE_HEAP_INSTANCE_H
#define QUIRE_HEAP_INSTANCE_H

#include "base/lock.h"
#include "base/sys.h"
#include "heap/classes.h"
#include "heap/heap.h"

#include <assert.h>
#include <stdatomic.h>

struct runs {
    uintptr_t base;
    size_t n_pages;
    _Atomic uint32_t *entries;
    _Atomic uint32_t *covers; /* see runs.c */
    _Atomic uint8_t *owners;  /* a byte a page of a span: as the span's `owner` */
    _Atomic uint64_t *charged;
    size_t table_bytes, charged_bytes;
    struct heap_source source;
};
#define SPAN_N_FILLS 4 /* how full a span that is neither empty nor full is, in quarters */
#define SPAN_EMPTY 4
#define SPAN_FULL 5
#define SPAN_INLINE_WORDS 2

/*
 * (c) the lock of the class, of the lists that own the span; (t) the lock of the span table; (g)
 * written under (c) while the generation is odd, read by heap_scrub without a lock; (k) constant
 * once the span was made
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
    _Atomic uint8_t owner;       /* (c) whose lists hold it, see central.c; read without a lock */
};
static_assert(sizeof(struct span) == 64, "one cache line, 0.1 % of a span");

#define SPAN_N_CAPACITIES 5 /* lengths of `bits` */

struct span_table {
    struct span *spans;
    size_t max_spans;
    size_t n_spans; /* under `lock`: spans ever made; they stay readable for ever */
    struct span *free[SPAN_N_CAPACITIES]; /* under `lock` */
    struct lock lock;
};

/* Everything is under `lock`. n_live = the sum of the spans' n_live; n_free = the sum of what else
 * they have room for, which others read as a hint. */
struct central {
    struct lock lock;
    uint32_t n_spans, n_empty, n_pages;
    _Atomic uint32_t n_free;
    size_t n_live;
    struct span *lists[SPAN_N_FILLS + 1]; /* by fill; full spans are on no list */
} __attribute__((aligned(64)));           /* so that classes share no cache line */

struct large_counts {
    size_t n_objects, n_pages;
};

struct large {
    struct lock lock;
    struct large_counts counts;
};

/* Where a heap has its bitmaps and the like: base/meta.h, or a pool of its own. */
struct metadata {
    struct lock lock;
    char *next, *end; /* under `lock`; NULL: base/meta.h, which also charges it to the budget */
    _Atomic long n_bytes;
};

struct harden;

struct heap {
    struct runs runs;
    struct span_table spans;
    struct large large;
    struct metadata metadata;
    struct harden *harden;                    /* NULL: not hardened */
    struct central centrals[CLASS_COUNT + 1]; /* its common lists; threads' own: central.c */
};

extern struct heap heap_process; /* the process's, which has thread caches */

/* All locks, in their order, the threads' caches' included. Taken before a fork, they are released
 * in both processes. */
void heap_lock_all(struct heap *heap);
void heap_unlock_all(struct heap *heap);

/* As heap_counts and heap_validate, of any heap. */
void heap_count_instance(struct heap *heap, struct heap_counts *counts);
bool heap_class_counts_of(struct heap *heap, unsigned index, struct heap_class_counts *counts);
int heap_validate_instance(struct heap *heap);

/* Ends the process. */
_Noreturn void heap_die(const struct heap *heap, const char *message, const void *address);
_Noreturn void heap_die_of(const struct heap *heap, const char *message, const void *address,
                           const char *detail);

#endif
