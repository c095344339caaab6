/* SPDX-License-Identifier: Apache-2.0 */
/*
 * harden: a heap that watches its user: guards behind objects, a quarantine for freed ones.
 *
 * What is caught in addition to what any heap catches (docs/heap.md):
 *   - every double free, and every free or realloc of what is not the start of a live object, at
 *     once: there are no thread caches;
 *   - a write behind an object, at its free, realloc and in heap_validate;
 *   - a write into a freed object, when it leaves the quarantine, and in heap_validate.
 */
#ifndef QUIRE_HEAP_HARDEN_H
#define QUIRE_HEAP_HARDEN_H

#include "heap/instance.h"

#define HARDEN_ENVIRONMENT "QUIRE_HARDEN" /* of the process's heap; 1: hardened */

#define HARDEN_QUARANTINE_OBJECTS 8192u             /* at most so many are held back, */
#define HARDEN_QUARANTINE_BYTES ((size_t)16 << 20)  /* and together so much */
#define HARDEN_QUARANTINE_LARGEST ((size_t)1 << 20) /* a larger one goes back at once */
#define HARDEN_GUARD_LEAST 8u                       /* bytes behind each object, */
#define HARDEN_GUARD_MOST 64u                       /* of which so many are checked */
#define HARDEN_POISON_MOST 1024u /* bytes of a freed object that are filled and checked */
#define HARDEN_POISON 0xdf

struct harden {
    uint64_t secret;         /* of the guards */
    _Atomic uint64_t *large; /* by first page: requested bytes << 1 | 1 while in quarantine */
    struct lock lock;        /* of the quarantine: */
    size_t oldest, n_held;   /* in `held`, a ring */
    size_t n_held_bytes;
    void *held[HARDEN_QUARANTINE_OBJECTS];
    _Atomic size_t requested_bytes[CLASS_COUNT + 1]; /* of live objects, by class */
};

/* Bytes of the table of large objects. */
size_t harden_table_bytes(size_t n_pages);

/* Before the heap gives anything out. 0 or -ENOMEM. `init_in` takes zeroed memory for both. */
int harden_init(struct heap *heap);
void harden_init_in(struct heap *heap, struct harden *harden, void *table);

/* As direct_alloc, _free and realloc. */
void *harden_alloc(struct heap *heap, size_t alignment, size_t n_bytes, bool *zeroed);
void harden_free(struct heap *heap, void *object);
void *harden_realloc(struct heap *heap, void *object, size_t n_bytes);

/* What was asked for, since the rest is the guard's. */
size_t harden_usable_size(const struct heap *heap, const void *object);

/* Empties the quarantine; true if there was something. */
bool harden_trim(struct heap *heap);

/* Forgets all objects, which are gone. */
void harden_reset(struct heap *heap);

/* Looks at every guard and at the quarantine. Takes no lock that is held while memory is touched;
 * objects may come and go meanwhile. 0 or -EUCLEAN with the reason logged. */
int harden_validate(struct heap *heap);

#endif
