/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quire/heap.h: malloc as a library. The process's heap, and private heaps.
 *
 *   process's heap   quire_heap_process(): one a process, over a range of addresses of its own.
 *                    Each thread has a cache of freed objects; a malloc or free it serves takes no
 *                    lock. (To replace malloc itself, preload libquire-preload.so instead.)
 *   private heap     quire_heap_new(): over memory of the caller's or of its own, as many as you
 *                    like, freed as a whole by quire_heap_free_all(). No thread caches: each call
 *                    takes the lock of its size class, and every wrong free is caught.
 *
 * Sizes. Objects up to 32 KiB come in 72 classes: steps of 16 bytes up to 128, then eight steps to
 * each doubling. Beyond 128 bytes at most 11.1 % of an object is waste (1/9: a request of 2^k + 1),
 * 4.1 % in the mean over all sizes up to 32 KiB; up to 128 bytes less than 16 bytes. A span, the
 * run of pages that objects of a class are carved from, leaves at most 1/32 unused. Larger objects
 * are whole pages: less than a page of waste, so at most 11.1 % again. (tests/unit/heap_classes.c
 * computes these figures.) All objects are aligned to 16 bytes.
 *
 * All that is known about objects lies out of band: the heap never reads or writes objects, nor the
 * free memory between them, unless it is hardened. Metadata takes less than 1 % for objects of 64
 * bytes and more, and 4 bytes for each page.
 *
 * Memory comes back. An empty span goes back at once but for one a class. Of free pages an eighth
 * of what is in use stays warm, at least 16 MiB; what was warm and unused for half a second goes
 * back to the system at one of the next calls; quire_heap_trim() gives all of it back. A thread's
 * cache holds at most 1 MiB, is given back when the thread ends, and when it next runs empty or
 * full after a trim by another thread.
 *
 * Hardened (QUIRE_HEAP_HARDENED; for the process's heap and the preload library the environment
 * variable QUIRE_HARDEN=1): guards behind objects, checked when they are freed, resized and
 * validated; freed objects are held back (up to 8192, or 16 MiB), filled, and checked for writes.
 * Costs a few times the time of malloc and free, and 8 bytes an object at least.
 *
 * Misuse ends the process: a message on standard error, then abort(). What is caught:
 *
 *                                            process's        private     hardened
 *   free of what is no object at all         always           always      always
 *   free inside of an object                 at 16n: later*   always      always
 *   double free                              at once or later*  always    always
 *   realloc, usable_size of no live object   if not cached*   always      always
 *   a write behind an object                 no               no          at free, realloc and
 *                                                                         validate
 *   a write into a freed object              no               no          when it leaves the
 *                                                                         quarantine
 *   * when the thread's cache gives the object back, unless it was handed out again before
 *
 * Thread safety: all functions may be called by any thread at any time, except that free_all and
 * delete want nobody else in that heap. An object may be freed by any thread. Nothing is
 * async-signal-safe.
 *
 * fork: the process's heap goes on in the child. A private heap that other threads may be in has
 * to be locked over the fork by quire_heap_lock_all().
 *
 * Sources: size classes and thread caches after J. Bonwick and J. Adams, "Magazines and Vmem",
 * USENIX 2001; guards and quarantine as in debugging allocators since B. Perens' Electric Fence.
 */
#ifndef QUIRE_HEAP_H
#define QUIRE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

struct quire_heap;

#define QUIRE_HEAP_HARDENED 1u /* guards and quarantine, see above */
#define QUIRE_HEAP_ZEROED 2u   /* `memory` reads as zeros: calloc need not clear what is fresh */

#define QUIRE_HEAP_MIN_BYTES ((size_t)64 << 10) /* of a heap's memory */
#define QUIRE_HEAP_MAX_BYTES ((size_t)1 << 40)

struct quire_heap_config {
    /*
     * The memory to give out: page-aligned, a multiple of 4096 bytes, QUIRE_HEAP_MIN_BYTES to
     * _MAX_. NULL: the heap reserves memory_bytes of addresses by itself (rounded up to pages; 0:
     * 64 GiB) and takes memory as it goes. An object can be as long as the largest power of two
     * that fits. The caller's memory is never given back to the system.
     */
    void *memory;
    size_t memory_bytes;
    /*
     * What the heap itself needs: quire_heap_metadata_bytes(), zeroed, aligned to 64 bytes. NULL:
     * the heap maps it. Only what is used gets touched.
     */
    void *metadata;
    size_t metadata_bytes;
    unsigned flags; /* QUIRE_HEAP_HARDENED, _ZEROED */
    /*
     * Called instead of the message and abort(); must not return, nor use the heap. `detail` is
     * what a hardened heap knows of the object and its neighbours, or NULL.
     */
    void (*misuse)(void *context, const char *message, const void *address, const char *detail);
    void *context;
};

/*
 * The process's heap; made at the first call, which also reads QUIRE_HARDEN. NULL and errno ENOMEM:
 * no addresses are left. In a program under libquire-preload.so this is another heap than malloc's.
 */
struct quire_heap *quire_heap_process(void);

/* Bytes of metadata for memory of that size; 0: no heap can have such a size. `flags`: the
 * config's. */
size_t quire_heap_metadata_bytes(size_t memory_bytes, unsigned flags);

/*
 * Makes a private heap. Zero the fields of `config` you do not name; NULL is all zeros. Returns 0;
 * -EINVAL: a size, an alignment or a flag is wrong; -ENOSPC: metadata_bytes is too little; -ENOMEM.
 */
int quire_heap_new(const struct quire_heap_config *config, struct quire_heap **heap)
    __attribute__((warn_unused_result));

/* All objects are gone, and so is the heap: what it mapped itself is unmapped. NULL is allowed.
 * -EINVAL for the process's heap. */
int quire_heap_delete(struct quire_heap *heap);

/*
 * Frees all objects of a private heap at once. Takes time in proportion to its spans and large
 * objects, not to its objects. The warmest pages are kept for what comes next. A hardened heap
 * checks nothing here (quire_heap_validate() does). 0; -EINVAL for the process's heap.
 */
int quire_heap_free_all(struct quire_heap *heap);

/*
 * The malloc family's meaning. NULL and errno ENOMEM: no memory. A size of 0 gives an object.
 * `alignment` is a power of two, else NULL and EINVAL. realloc of NULL is malloc; to 0 bytes it
 * frees and returns NULL; when it fails the object is as it was. free of NULL does nothing; free
 * keeps errno. An object that realloc can leave in its class, or as a large one resize where it
 * lies, stays where it is.
 */
void *quire_heap_malloc(struct quire_heap *heap, size_t n_bytes)
    __attribute__((malloc, alloc_size(2), warn_unused_result));
void *quire_heap_calloc(struct quire_heap *heap, size_t n_objects, size_t n_bytes)
    __attribute__((malloc, alloc_size(2, 3), warn_unused_result));
void *quire_heap_memalign(struct quire_heap *heap, size_t alignment, size_t n_bytes)
    __attribute__((malloc, alloc_size(3), warn_unused_result));
void *quire_heap_realloc(struct quire_heap *heap, void *object, size_t n_bytes)
    __attribute__((alloc_size(3), warn_unused_result));
void quire_heap_free(struct quire_heap *heap, void *object);

/* What may be used of a live object: at least what was asked for; in a hardened heap exactly that.
 * 0 for NULL. */
size_t quire_heap_usable_size(struct quire_heap *heap, const void *object);

/* Whether the address lies in a run that the heap holds: in a live object, or beside one. */
bool quire_heap_owns(struct quire_heap *heap, const void *address);

/*
 * Gives all free memory back to the system: the quarantine, this thread's cache, empty spans, warm
 * pages. Other threads' caches follow when they next run empty or full. True if there was any.
 */
bool quire_heap_trim(struct quire_heap *heap);

struct quire_heap_counts {
    size_t n_small, small_bytes; /* live small objects and their classes' sizes; cached and
                                    quarantined ones count as live */
    size_t n_large, large_bytes; /* live large objects, whole pages */
    size_t span_bytes;           /* of pages held by spans */
    size_t cached_bytes;         /* in threads' caches */
    size_t used_bytes;           /* of pages in use: span_bytes + large_bytes */
    size_t warm_bytes;           /* of free pages that may hold memory */
    size_t metadata_bytes;       /* the heap's own; address space not counted */
    size_t requested_bytes;      /* what live objects were asked for with; hardened heaps only */
};

/* While threads run the parts may be from slightly different moments. */
void quire_heap_counts(struct quire_heap *heap, struct quire_heap_counts *counts);

struct quire_heap_class {
    size_t object_bytes, n_spans, span_pages;
    size_t n_objects; /* that the spans have room for */
    size_t n_live;    /* of these; cached and quarantined ones count as live */
};

/* The size class `index`, from 0 on in rising sizes; false: there is none. */
bool quire_heap_class(struct quire_heap *heap, unsigned index, struct quire_heap_class *class_);

/*
 * Recomputes every count and checks every invariant, a hardened heap's guards too. 0, or -EUCLEAN
 * with the reason on standard error.
 */
int quire_heap_validate(struct quire_heap *heap);

/* fork: take all locks of a private heap before, release them after, in parent and child. In
 * between this thread must not use the heap. (The process's heap does so by itself.) */
void quire_heap_lock_all(struct quire_heap *heap);
void quire_heap_unlock_all(struct quire_heap *heap);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
