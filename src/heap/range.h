/* SPDX-License-Identifier: Apache-2.0 */
/* range: a source of pages over one range of addresses, without a pager. */
#ifndef QUIRE_HEAP_RANGE_H
#define QUIRE_HEAP_RANGE_H

#include "base/lock.h"
#include "heap/heap.h"

#include <quire/buddy.h>

#define RANGE_MIN_PAGES ((size_t)16)
#define RANGE_MAX_PAGES ((size_t)1 << 28) /* 1 TiB */

/* All but base, n_pages and buddy are under `lock`. n_warm = the set bits of `dirty` that belong to
 * free pages; n_idle <= n_warm. */
struct heap_range {
    struct lock lock;
    bool owned; /* reserved by heap_range_open: may be committed, dropped and moved */
    char *base;
    uint32_t n_pages;
    uint32_t n_committed; /* from the start: readable and writable */
    struct quire_buddy *buddy;
    uint64_t *dirty; /* a bit a page: it may hold something else than zeros */
    uint32_t n_used; /* handed out */
    uint32_t n_warm;
    uint32_t n_idle;    /* the least that n_warm was since `tick_ns` */
    uint32_t n_dropped; /* by purges for want of room among the warm, since `tick_ns` */
    uint32_t n_keep;    /* pages that were dropped and wanted again soon: as many more are kept */
    uint32_t n_calls;   /* since the clock was last read */
    uint32_t n_moved;   /* runs whose pages came from elsewhere: a mapping of the kernel's each */
    uint64_t tick_ns;   /* when warm pages last were one look older */
    size_t metadata_bytes; /* of address space */
};

/* Metadata for a range of n_pages: bytes, a multiple of a page. */
size_t heap_range_metadata_bytes(size_t n_pages);

/*
 * Reserves addresses for max_pages, or for as many as there are down to `min_pages`, and metadata.
 * 0 or -ENOMEM. heap_range_close gives all of it back.
 */
int heap_range_open(struct heap_range *range, size_t max_pages, size_t min_pages);
void heap_range_close(struct heap_range *range);

/*
 * Over memory that is there: n_pages from `base` on, readable, writable; `zeroed` tells whether all
 * of it reads as zeros. It is never given back. `metadata` is zeroed, heap_range_metadata_bytes(),
 * aligned to 64 bytes.
 */
void heap_range_over(struct heap_range *range, void *base, size_t n_pages, bool zeroed,
                     void *metadata);

/* The range's part of a source; `misuse` is left to the caller. */
void heap_range_fill_source(struct heap_range *range, struct heap_source *source);

/* Gives all free pages that may hold memory back to the system; true if there were any. */
bool heap_range_purge(struct heap_range *range);

/* Of free pages that may hold memory. */
size_t heap_range_warm_bytes(struct heap_range *range);

/* fork: all locks, the metadata's too. Taken after those of the heap. */
void heap_range_fork_prepare(struct heap_range *range);
void heap_range_fork_parent(struct heap_range *range);
void heap_range_fork_child(struct heap_range *range);

/* 0 or -EUCLEAN with the reason logged. */
int heap_range_validate(struct heap_range *range);

#endif
