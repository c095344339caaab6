/* SPDX-License-Identifier: Apache-2.0 */
/*
 * direct: allocation without thread caches, on any heap: each call takes its class's lock. What
 * private heaps and hardened ones are made of, and what the cached functions (heap.c) end in.
 */
#ifndef QUIRE_HEAP_DIRECT_H
#define QUIRE_HEAP_DIRECT_H

#include "heap/large.h"
#include "heap/span.h"

/* An object; *zeroed tells whether all of it reads as zeros. NULL: no memory, after a trim too. */
void *direct_alloc(struct heap *heap, size_t alignment, size_t n_bytes, bool *zeroed);

/* A small object of the class, which may carry OBJECT_ZERO; NULL: no memory. */
void *direct_take(struct heap *heap, unsigned sclass);

/* Anything but an object that is handed out ends the process. */
void direct_free(struct heap *heap, void *object);

/* What large_alloc and large_realloc give, after a trim if need be. */
void *direct_alloc_large(struct heap *heap, size_t n_bytes, size_t align_pages, bool *zeroed);
void *direct_realloc_large(struct heap *heap, void *object, uint32_t entry, size_t n_bytes);

/* The entry of the run whose object begins at `object` and is handed out; 0: there is none. */
uint32_t direct_find(const struct heap *heap, const void *object);

/* The same; ends the process with `message` where there is none. */
uint32_t direct_require(const struct heap *heap, const void *object, const char *message);

/* Whether a small object of `old_bytes` stays where it is when it shall have n_bytes. */
bool direct_stays(uint32_t entry, size_t old_bytes, size_t n_bytes);

/* Of the object that an entry speaks for. */
size_t direct_bytes(uint32_t entry);

/* Every empty span, and the calling thread's cache where the heap has any. */
bool direct_trim(struct heap *heap);

#define DIRECT_REALLOC_MESSAGE "realloc of an address that malloc never gave out or took back"
#define DIRECT_SIZE_MESSAGE \
    "malloc_usable_size of an address that malloc never gave out or took back"
#define DIRECT_FREE_MESSAGE "free of an address that malloc never gave out"

#endif
