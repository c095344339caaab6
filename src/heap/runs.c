/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runs: which run of the source each page belongs to.
 *
 *   page     0    1    2    3    4    5    6   ...  511 | 512  513 ...   (a block is 512 pages)
 *   entries  c:7  c:7  c:7  c:7  -    L:600 -  ...   -  |  -    -
 *            '--- span 7 -----'       '---- a large object of 600 pages ----------'
 *   covers   [0] = none                                 | [1] = page 5
 *   owners   1    1    1    1                             whose lists hold the span, a byte a page
 *
 * `entries` has 4 bytes for each page of the range, sparse. Every page of a span has an entry, so
 * that free() finds the class with one load. A large object only has one on its first page, so that
 * allocating terabytes writes nothing else but, for each block that begins inside the object, the
 * object's first page in `covers`. From these any page's run is found without a lock.
 *
 * Invariants
 *   1. Inside a large object every entry but the first is NONE or FREED.
 *   2. covers[b] names the last object that held both the first page of block b and the page
 *      before. It may be gone or shorter by now, so it counts only if its length says so.
 *   3. A run is in the tables before its memory is given to anybody or written, and leaves them
 *      before the source has it back. So an entry of a run that is held does not change, but for
 *      the length of a large object, which is one word.
 *   4. Every page of the tables that may have been written is charged: bit i of `charged` is page i
 *      of entries, covers and owners, in this order.
 *
 * Locks: none. The entries of a run are written by whoever owns the run just then.
 */
#include "heap/runs.h"

#include "base/checked.h"
#include "base/meta.h"

#include <errno.h>

#define BLOCK_PAGES ((size_t)512)

void metadata_charge(struct heap *heap, long n_bytes)
{
    atomic_fetch_add_explicit(&heap->metadata.n_bytes, n_bytes, memory_order_relaxed);
    if (heap->metadata.end == NULL)
        meta_charge(n_bytes);
}

static void *carve(struct metadata *metadata, size_t n_bytes)
{
    void *block = NULL;
    lock_take(&metadata->lock);
    if ((size_t)(metadata->end - metadata->next) >= n_bytes) {
        block = metadata->next;
        metadata->next += n_bytes;
    }
    lock_release(&metadata->lock);
    return block;
}

void *metadata_alloc(struct heap *heap, size_t n_bytes)
{
    size_t rounded = round_up(n_bytes, 64);
    bool pooled = heap->metadata.end != NULL;
    void *block = pooled ? carve(&heap->metadata, rounded) : meta_alloc(rounded);
    if (block != NULL) /* meta_alloc has charged it */
        atomic_fetch_add_explicit(&heap->metadata.n_bytes, (long)rounded, memory_order_relaxed);
    return block;
}

size_t metadata_bytes(const struct heap *heap)
{
    return (size_t)atomic_load_explicit(&heap->metadata.n_bytes, memory_order_relaxed);
}

static size_t entries_bytes_of(size_t n_pages)
{
    return round_up(n_pages * sizeof(uint32_t), SYS_PAGE_SIZE);
}

static size_t covers_bytes_of(size_t n_pages)
{
    return round_up((n_pages / BLOCK_PAGES + 1) * sizeof(uint32_t), SYS_PAGE_SIZE);
}

/* Of entries, covers and owners. */
static size_t written_bytes(size_t n_pages)
{
    return entries_bytes_of(n_pages) + covers_bytes_of(n_pages) + round_up(n_pages, SYS_PAGE_SIZE);
}

static size_t charged_bytes_of(size_t n_pages)
{
    return round_up(written_bytes(n_pages) / SYS_PAGE_SIZE / 8 + 8, SYS_PAGE_SIZE);
}

size_t runs_table_bytes(size_t n_pages)
{
    return written_bytes(n_pages) + charged_bytes_of(n_pages);
}

int runs_init(struct heap *heap, const struct heap_source *source, void *tables)
{
    size_t n_pages = source->n_pages;

    if (n_pages >= UINT32_MAX) /* `covers` holds page numbers */
        return -ENOMEM;
    char *table = tables != NULL ? tables : meta_map(runs_table_bytes(n_pages));
    if (table == NULL)
        return -ENOMEM;
    metadata_charge(heap, (long)charged_bytes_of(n_pages));
    heap->runs = (struct runs){
        .base = (uintptr_t)source->base,
        .n_pages = n_pages,
        .entries = (_Atomic uint32_t *)(void *)table,
        .covers = (_Atomic uint32_t *)(void *)(table + entries_bytes_of(n_pages)),
        .owners = (_Atomic uint8_t *)(void *)(table + entries_bytes_of(n_pages) +
                                              covers_bytes_of(n_pages)),
        .charged = (_Atomic uint64_t *)(void *)(table + written_bytes(n_pages)),
        .source = *source,
    };
    return 0;
}

void runs_deinit(struct heap *heap)
{
    meta_unmap(heap->runs.entries, runs_table_bytes(heap->runs.n_pages));
    metadata_charge(heap, -(long)charged_bytes_of(heap->runs.n_pages));
    heap->runs = (struct runs){0};
}

/* Invariant 4, before n_bytes from `from` on are written. */
static void touch_bytes(struct heap *heap, const void *from, size_t n_bytes)
{
    size_t offset = (size_t)((const char *)from - (const char *)heap->runs.entries);
    size_t page = offset / SYS_PAGE_SIZE;
    size_t last = (offset + n_bytes - 1) / SYS_PAGE_SIZE;

    for (; page <= last; page++) {
        uint64_t bit = (uint64_t)1 << page % 64;
        _Atomic uint64_t *bits = &heap->runs.charged[page / 64];
        if ((atomic_load_explicit(bits, memory_order_relaxed) & bit) == 0 &&
            (atomic_fetch_or_explicit(bits, bit, memory_order_relaxed) & bit) == 0)
            metadata_charge(heap, SYS_PAGE_SIZE);
    }
}

static void touch(struct heap *heap, const _Atomic uint32_t *word, size_t n)
{
    touch_bytes(heap, (const void *)word, n * sizeof(uint32_t));
}

static void set_entry(struct heap *heap, size_t page, uint32_t entry)
{
    atomic_store_explicit(&heap->runs.entries[page], entry, memory_order_release);
}

void runs_set_span(struct heap *heap, size_t first, size_t n_pages, unsigned sclass, size_t span)
{
    touch(heap, &heap->runs.entries[first], n_pages);
    for (size_t i = 0; i < n_pages; i++)
        set_entry(heap, first + i, (uint32_t)span << RUN_CODE_BITS | sclass);
}

void runs_set_owner(struct heap *heap, size_t first, size_t n_pages, unsigned owner)
{
    bool touched = false;
    for (size_t i = 0; i < n_pages; i++) {
        _Atomic uint8_t *place = &heap->runs.owners[first + i];
        if (atomic_load_explicit(place, memory_order_relaxed) == owner)
            continue; /* private heaps, which have one owner, never write here */
        if (!touched)
            touch_bytes(heap, (const void *)place, n_pages - i);
        touched = true;
        atomic_store_explicit(place, (uint8_t)owner, memory_order_relaxed);
    }
}

void runs_clear_span(struct heap *heap, size_t first, size_t n_pages)
{
    for (size_t i = 0; i < n_pages; i++)
        set_entry(heap, first + i, RUN_FREED);
}

static uint32_t large_entry(size_t n_pages)
{
    size_t payload = n_pages < RUN_LONG_PAGES ? n_pages : RUN_LONG_PAGES + n_pages / RUN_LONG_UNIT;
    return (uint32_t)payload << RUN_CODE_BITS | RUN_LARGE;
}

/* Invariant 2 for the blocks that begin in pages [from, end) of the object at `first`. */
static void set_covers(struct heap *heap, size_t first, size_t from, size_t end)
{
    size_t block = (from + BLOCK_PAGES - 1) / BLOCK_PAGES;
    size_t last = (end + BLOCK_PAGES - 1) / BLOCK_PAGES;

    if (block >= last)
        return;
    touch(heap, &heap->runs.covers[block], last - block);
    for (; block < last; block++)
        atomic_store_explicit(&heap->runs.covers[block], (uint32_t)first + 1, memory_order_release);
}

void runs_set_large(struct heap *heap, size_t first, size_t n_pages)
{
    touch(heap, &heap->runs.entries[first], 1);
    set_covers(heap, first, first + 1, first + n_pages);
    set_entry(heap, first, large_entry(n_pages));
}

void runs_resize_large(struct heap *heap, size_t first, size_t old_n_pages, size_t n_pages)
{
    if (n_pages > old_n_pages)
        set_covers(heap, first, first + old_n_pages, first + n_pages);
    set_entry(heap, first, large_entry(n_pages));
}

void runs_clear_large(struct heap *heap, size_t first)
{
    set_entry(heap, first, RUN_FREED);
}

/* The entry of the large object that begins at `first`, if it holds `page`; else 0. */
static uint32_t large_holding(const struct heap *heap, size_t first, size_t page)
{
    uint32_t entry = run_entry(heap, first);
    if (run_code(entry) == RUN_LARGE && page - first < run_large_pages(entry))
        return entry;
    return 0;
}

uint32_t runs_find(const struct heap *heap, size_t page)
{
    uint32_t entry = run_entry(heap, page);
    if (run_is_small(entry) || run_code(entry) == RUN_LARGE)
        return entry;

    size_t block = page / BLOCK_PAGES;
    uint32_t cover = atomic_load_explicit(&heap->runs.covers[block], memory_order_acquire);
    if (cover != 0 && (entry = large_holding(heap, cover - 1, page)) != 0)
        return entry;
    for (size_t before = page; before-- > block * BLOCK_PAGES;) {
        uint32_t other = run_entry(heap, before);
        if (run_is_small(other)) /* ends before `page`, and nothing begins in between */
            return 0;
        if (run_code(other) == RUN_LARGE)
            return large_holding(heap, before, page);
    }
    return 0;
}

size_t runs_next_large(const struct heap *heap, size_t page)
{
    const size_t per_table_page = SYS_PAGE_SIZE / sizeof(uint32_t);

    while (page < heap->runs.n_pages) {
        size_t table_page = page / per_table_page;
        uint64_t bits = atomic_load_explicit(&heap->runs.charged[table_page / 64],
                                             memory_order_relaxed);
        if ((bits >> table_page % 64 & 1) == 0)
            page = (table_page + 1) * per_table_page;
        else if (run_code(run_entry(heap, page)) == RUN_LARGE)
            return page;
        else
            page++;
    }
    return SIZE_MAX;
}
