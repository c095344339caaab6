/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quire/slabs.h: what is in the size classes of a process's heap, read from outside.
 *
 * The process is neither stopped nor asked: its heap describes itself (struct quire_slabs_layout)
 * and its tables, which are never paged, are read by process_vm_readv(2). While it runs, figures
 * may be from slightly different moments; each span's agree with each other.
 *
 * Read is the process's heap: of libquire-preload.so, else that of libquire.so where
 * quire_heap_process() was called. Private heaps and libquire.a are not found.
 *
 * Source of the shape: slabinfo(5).
 */
#ifndef QUIRE_SLABS_H
#define QUIRE_SLABS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define QUIRE_SLABS_MAX_CLASSES 126

struct quire_slabs_class {
    size_t object_bytes;
    size_t n_active;  /* objects in the program's hands; hardened: and in quarantine */
    size_t n_cached;  /* free, in threads' caches */
    size_t n_objects; /* that the spans have room for */
    size_t n_spans, n_pages;
    size_t tail_bytes;      /* at the ends of the spans, where no object fits */
    size_t requested_bytes; /* what the program asked for, of live objects; hardened heaps only */
};

struct quire_slabs {
    bool hardened;
    size_t page_bytes;
    unsigned n_classes;
    struct quire_slabs_class classes[QUIRE_SLABS_MAX_CLASSES]; /* in rising sizes */
    size_t n_large, large_pages;                               /* objects of whole pages */
    size_t n_caches; /* of threads, those that wait for a new thread included */
    size_t metadata_bytes;
};

/*
 * Reads the heap of process `pid`. Returns 0, or
 *   -ESRCH            there is no such process, or it has ended meanwhile
 *   -EPERM, -EACCES   it may not be looked into: of another user, or ptrace(2) is restricted
 *   -ENOENT           Quire's library is not in it
 *   -EPROTONOSUPPORT  its library is of another version
 *   -EAGAIN           its heap is not set up (yet)
 *   -EUCLEAN          what it says of itself does not hold together
 * Allocates nothing that stays; thread-safe.
 */
int quire_slabs_read(int pid, struct quire_slabs *slabs) __attribute__((warn_unused_result));

/*
 * How a heap describes itself: the exported object `quire_heap_layout`. For readers that can't call
 * the function above, such as a debugger's script. Addresses are the process's; offsets and sizes
 * in bytes. A change of meaning changes `version`.
 */
#define QUIRE_SLABS_MAGIC "QUIRSLAB" /* without its terminator */
#define QUIRE_SLABS_VERSION 2u

struct quire_slabs_layout {
    char magic[8];
    uint32_t version, n_bytes; /* of this struct */
    uint32_t page_bytes;
    uint32_t n_classes; /* numbered from 1 */

    const void *n_range_pages; /* size_t; 0: not set up */

    const void *shapes;                /* an array by class */
    uint32_t shape_stride, shape_size; /* uint32_t: the object's size */

    const void *spans;   /* pointer to an array */
    const void *n_spans; /* size_t */
    uint32_t span_stride;
    uint32_t span_class;                          /* uint8_t; 0: unused */
    uint32_t span_objects, span_pages, span_live; /* uint16_t */

    uint32_t cache_bytes;
    const void *caches; /* pointer to the first of a list */
    uint32_t cache_next;
    uint32_t cache_magazines, magazine_stride; /* an array by class */
    uint32_t magazine_top, magazine_limit;     /* pointers */
    uint32_t cache_capacity;                   /* uint16_t, an array by class; objects in a
                                                  magazine = capacity - (limit - top) / 8 */
    uint32_t hardened_requests; /* size_t, an array by class, in what is pointed to */
    uint32_t cache_others;      /* this many magazines, and capacities, after a class's is another
                                   of it: objects of other threads that wait to be given back */
    const void *hardened;       /* pointer; NULL: not hardened */
    const void *large;          /* two size_t: objects, pages */
    const void *metadata_bytes; /* size_t */
};

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
