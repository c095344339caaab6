/* SPDX-License-Identifier: Apache-2.0 */
/* large: objects of whole pages, each a run of its own. */
#ifndef QUIRE_HEAP_LARGE_H
#define QUIRE_HEAP_LARGE_H

#include "heap/runs.h"

/* *zeroed tells whether all of it reads as zeros. NULL: no memory, or beyond any size. */
void *large_alloc(struct heap *heap, size_t n_bytes, size_t align_pages, bool *zeroed);

/* Anything but the start of a large object is told through `misuse`. */
void large_free(struct heap *heap, void *object);

/*
 * The object with at least n_bytes, in place or moved, with the contents that fit; NULL leaves it
 * as it was.
 */
void *large_realloc(struct heap *heap, void *object, size_t n_pages_now, size_t n_bytes);

struct large_counts large_count(struct heap *heap);

#endif
