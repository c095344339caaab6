/* SPDX-License-Identifier: Apache-2.0 */
/* runs: which run of the source each page belongs to. */
#ifndef QUIRE_HEAP_RUNS_H
#define QUIRE_HEAP_RUNS_H

#include "heap/instance.h"

/*
 * An entry, one for each page of the source's range:
 *
 *   bits 0-6    code: 0 nothing, 1..CLASS_COUNT a page of a span of that class, or one of these
 *   bits 7-31   payload: the span's number, or the length of the large object
 */
#define RUN_CODE_BITS 7
#define RUN_CODE_MASK ((1u << RUN_CODE_BITS) - 1)
#define RUN_NONE 0u
#define RUN_LARGE (CLASS_COUNT + 1) /* the first page of a large object */
#define RUN_FREED (CLASS_COUNT + 2) /* a run that is gone, only to name a double free as such */
#define RUN_N_CODES (CLASS_COUNT + 3)
#define RUN_MAX_SPANS ((size_t)1 << (32 - RUN_CODE_BITS))

/* Lengths from 64 GiB on are counted in 2 MiB; the payload's top bit says so. */
#define RUN_LONG_PAGES ((size_t)1 << (31 - RUN_CODE_BITS))
#define RUN_LONG_UNIT ((size_t)512)

/* The tables: bytes, whole pages, for a range of n_pages. */
size_t runs_table_bytes(size_t n_pages);

/* Over zeroed tables; NULL: maps them. 0 or -ENOMEM. */
int runs_init(struct heap *heap, const struct heap_source *source, void *tables);
void runs_deinit(struct heap *heap); /* only when a later step of heap_init fails */

/* Metadata of the heap: charged to the budget and counted for heap_counts. */
void *metadata_alloc(struct heap *heap, size_t n_bytes);
void metadata_charge(struct heap *heap, long n_bytes);
size_t metadata_bytes(const struct heap *heap);

void runs_set_span(struct heap *heap, size_t first, size_t n_pages, unsigned sclass, size_t span);
/* Whose lists hold the span of these pages. */
void runs_set_owner(struct heap *heap, size_t first, size_t n_pages, unsigned owner);
void runs_clear_span(struct heap *heap, size_t first, size_t n_pages);
void runs_set_large(struct heap *heap, size_t first, size_t n_pages);
void runs_resize_large(struct heap *heap, size_t first, size_t old_n_pages, size_t n_pages);
void runs_clear_large(struct heap *heap, size_t first);

/*
 * The entry that speaks for `page`: its own in a span, the first page's in a large object, 0 when
 * no run holds it. Takes no lock; right for every run that the heap holds all the while.
 */
uint32_t runs_find(const struct heap *heap, size_t page);

/* The next large object whose first page is at or after `page`; SIZE_MAX when there is none. */
size_t runs_next_large(const struct heap *heap, size_t page);

/* The length that an object of n_pages pages has, given how lengths are written in entries. */
static inline size_t run_round(size_t n_pages)
{
    return n_pages < RUN_LONG_PAGES ? n_pages
                                    : (n_pages + RUN_LONG_UNIT - 1) & ~(RUN_LONG_UNIT - 1);
}

static inline unsigned run_code(uint32_t entry)
{
    return entry & RUN_CODE_MASK;
}

static inline size_t run_span(uint32_t entry)
{
    return entry >> RUN_CODE_BITS;
}

static inline size_t run_large_pages(uint32_t entry)
{
    size_t payload = entry >> RUN_CODE_BITS;
    return payload < RUN_LONG_PAGES ? payload : (payload - RUN_LONG_PAGES) * RUN_LONG_UNIT;
}

static inline bool run_is_small(uint32_t entry)
{
    return run_code(entry) - 1 < CLASS_COUNT;
}

/* Past the last page for an address outside the source's range. */
static inline size_t run_page(const struct heap *heap, const void *address)
{
    return ((uintptr_t)address - heap->runs.base) >> SYS_PAGE_SHIFT;
}

static inline void *run_address(const struct heap *heap, size_t page)
{
    return (void *)(heap->runs.base + (page << SYS_PAGE_SHIFT));
}

/* Of a page in a span: whose lists hold it, or held it a moment ago. */
static inline unsigned run_owner(const struct heap *heap, size_t page)
{
    return atomic_load_explicit(&heap->runs.owners[page], memory_order_relaxed);
}

/* acquire: pairs with the release stores in runs.c, so that the span behind an entry is set up */
static inline uint32_t run_entry(const struct heap *heap, size_t page)
{
    return atomic_load_explicit(&heap->runs.entries[page], memory_order_acquire);
}

#endif
