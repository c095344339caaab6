/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heap: malloc's machinery, with all its metadata out of band.
 *
 * Objects of one size class lie in spans; spans and large objects are runs of pages from a source.
 * Nothing is ever written into an object by the heap, nor into a page that holds objects: free
 * lists are arrays and bitmaps in metadata memory (base/meta.h). So freeing a cold object touches
 * no page, and the pager can ask which bytes of a page are dead (heap_scrub).
 *
 * Thread safety: all functions may be called by any thread unless said otherwise. Each thread has a
 * cache of freed objects by class; it appears at the thread's first use of the heap and is given
 * back by heap_thread_exit(). Not async-signal-safe, as malloc never was.
 *
 * Errors: allocating functions return NULL and leave errno alone; the interposed functions above
 * (src/preload) set it. A pointer that the heap never gave out, or gave out and took back to the
 * central lists, ends the process through `misuse` with a message.
 */
#ifndef QUIRE_HEAP_HEAP_H
#define QUIRE_HEAP_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where the heap gets its pages: addresses within [base, base + n_pages * 4 KiB). */
struct heap_source {
    void *context;
    void *base; /* page-aligned */
    size_t n_pages;
    /*
     * n_pages contiguous pages, readable and writable; the address is a multiple of `align_pages`
     * pages (a power of two). *zeroed tells whether all of it reads as zeros. NULL: no room.
     * Called with locks of the heap held, as are free and misuse: none may call the heap.
     */
    void *(*alloc)(void *context, size_t n_pages, size_t align_pages, bool *zeroed);
    /* Gives back a run, or the tail of one: any page range that lies inside an allocated run. */
    void (*free)(void *context, void *run, size_t n_pages);
    /* Makes the run longer where it lies; false: no room behind it. *zeroed is about the new part.
     */
    bool (*extend)(void *context, void *run, size_t n_pages, size_t new_n_pages, bool *zeroed);
    /*
     * Moves the contents of n_pages pages to `to` (allocated, contents worthless) without copying,
     * leaving `from` allocated with worthless contents. Worth it for large runs of cold pages.
     * NULL where the source can't; then the heap copies.
     */
    void (*move)(void *context, void *from, void *to, size_t n_pages);
    /* A fresh run, of zeros, will soon be written from end to end: its memory may come at once.
     * NULL where first touches are what the source wants. */
    void (*populate)(void *context, void *run, size_t n_pages);
    /*
     * Misuse was found: prints `message` about `address` and does not return. `detail` is NULL, or
     * in a hardened heap what is known of the object and its neighbours. The messages are "double
     * free", and "free" (or "realloc", "malloc_usable_size") "of an address that malloc never gave
     * out", to which the latter two add "or took back"; hardened also "heap overflow" and "write
     * after free".
     */
    void (*misuse)(void *context, const char *message, const void *address, const char *detail);
    void *misuse_context;
};

/*
 * The process's heap, set up once and never torn down; private ones are in <quire/heap.h>.
 * `hardened`: see harden.h. Returns 0 or -ENOMEM. The source is copied.
 */
int heap_init(const struct heap_source *source, bool hardened);

/* The malloc family's meaning, except for errno. Alignments are powers of two. Size 0 gives an
 * object. */
void *heap_malloc(size_t n_bytes);
void *heap_calloc(size_t n_bytes); /* reads as zeros; does not clear what is known to be zero */
void *heap_memalign(size_t alignment, size_t n_bytes);
void *heap_realloc(void *object, size_t n_bytes); /* object != NULL, n_bytes > 0 */
void heap_free(void *object);                     /* object != NULL */
/* The same for callers whose own fast path (fast.h) has just failed. */
void *heap_malloc_slowly(size_t n_bytes);
void heap_free_slowly(void *object);
size_t heap_usable_size(const void *object);
bool heap_owns(const void *address); /* lies in the source's range and in a run the heap holds */

/* Gives empty spans and this thread's cache back to the source. Returns true if pages went back. */
bool heap_trim(void);

/*
 * Gives back the calling thread's cache. Called from a thread-specific-data destructor. What the
 * thread does afterwards is served without a cache, and leaves nothing behind.
 */
void heap_thread_exit(void);

/*
 * The pager asks: `page` (page-aligned address in the source's range) was copied to `copy`; zero
 * the bytes of `copy` that belong to no live object. Returns how many bytes are dead; SYS_PAGE_SIZE
 * means the page need not be kept at all. Called from the pager's threads at any time: takes no
 * lock that is held while memory is touched, reads only atomics. An object that becomes live while
 * this runs may be zeroed in the copy: its contents are undefined until its owner writes them,
 * and that write takes the page back before the copy is used. A page in no run of the heap is all
 * dead, so ask only about pages that the source gave to the heap, or that are free.
 */
size_t heap_scrub(const void *page, void *copy);

/*
 * fork: prepare takes all locks but those of base/ and of the source, which come after them; child
 * also takes over the caches of the threads that are gone. The thread that forks must not use the
 * heap in between, nor wait for one that may be in it.
 */
void heap_fork_prepare(void);
void heap_fork_parent(void);
void heap_fork_child(void);

struct heap_counts {
    size_t n_small, small_bytes; /* live small objects (thread caches count as live), class bytes */
    size_t n_large, large_bytes; /* live large objects, page bytes */
    size_t span_bytes;           /* held by spans */
    size_t cached_bytes;         /* in thread caches */
    size_t metadata_bytes;
};
void heap_counts(struct heap_counts *counts);

/* One size class, for malloc_info and `quire slabs`; false when index is past the last. */
struct heap_class_counts {
    size_t object_bytes, n_spans, span_pages, n_objects, n_live;
};
bool heap_class_counts(unsigned index, struct heap_class_counts *counts);

/* Recomputes every count and checks every invariant; 0 or -EUCLEAN with the reason logged. */
int heap_validate(void);

#endif
