/* SPDX-License-Identifier: Apache-2.0 */
/* cache: each thread's own freed objects, by class. */
#ifndef QUIRE_HEAP_CACHE_H
#define QUIRE_HEAP_CACHE_H

#include "heap/central.h"

#define TCACHE_MAX_BYTES (1u << 21) /* what the magazines of one thread may hold, all full */

/* `top` is the last object put in. slots[0] is NULL, so an empty magazine gives NULL. */
struct magazine {
    void **_Atomic top; /* written by the owner, read by heap_counts */
    void **limit;       /* top of a full magazine */
};

/*
 * A bin is a magazine's number: the code of the entry, for objects of the thread's own spans, or
 * TCACHE_OTHERS more, for those of other threads' spans, which wait to be given back together.
 * Codes that are no class have magazines too, which are empty and full: free() looks at the same
 * words for every pointer.
 */
#define TCACHE_OTHERS RUN_N_CODES
#define TCACHE_N_BINS (2 * RUN_N_CODES)

struct tcache {
    struct magazine magazines[TCACHE_N_BINS];
    unsigned owner;                   /* its lists in central.c; constant. OWNER_NEVER: no cache */
    uint16_t capacity[TCACHE_N_BINS]; /* limit - slots; 0: no slots */
    uint16_t seen[TCACHE_N_BINS];     /* objects at the last look */
    uint8_t level[TCACHE_N_BINS];     /* the block of slots is 8 << (level - 1) words; 0: none */
    bool used;                        /* by a living thread; under tcache_lock */
    unsigned n_wishes;                /* to grow, of magazines when there was no room left */
    unsigned hand;                    /* the bin to be asked next to give up room */
    unsigned look;                    /* the class to be looked at next, whether it is idle */
    unsigned n_visits;                /* slow paths so far */
    unsigned epoch;                   /* of the last trim that this cache has followed */
    size_t n_bytes;                   /* the sum of capacity * size */
    unsigned long retired_at;         /* under tcache_lock: which is the last one given up */
    struct tcache *next;              /* all caches ever made; under tcache_lock */
};

extern __thread struct tcache *tcache_self; /* never NULL */
extern struct lock tcache_lock;
extern struct tcache *tcache_all;

/* NULL when the magazine is empty. May carry OBJECT_ZERO. */
static inline void *tcache_pop(unsigned sclass)
{
    struct magazine *magazine = &tcache_self->magazines[sclass];
    void **top = atomic_load_explicit(&magazine->top, memory_order_relaxed);
    void *object = *top;
    if (__builtin_expect(object != NULL, 1))
        atomic_store_explicit(&magazine->top, top - 1, memory_order_relaxed);
    return object;
}

/* Where an object belongs, of an entry and its page's owner. */
static inline unsigned tcache_bin(uint32_t entry, unsigned owner)
{
    return run_code(entry) + (owner == tcache_self->owner ? 0 : TCACHE_OTHERS);
}

static inline unsigned tcache_class(unsigned bin)
{
    return bin < TCACHE_OTHERS ? bin : bin - TCACHE_OTHERS;
}

/* False when there is no room, or when the object is the one freed last: see tcache_overflow. */
static inline bool tcache_push(unsigned bin, void *object)
{
    struct magazine *magazine = &tcache_self->magazines[bin];
    void **top = atomic_load_explicit(&magazine->top, memory_order_relaxed);
    if (__builtin_expect(top == magazine->limit || *top == object, 0))
        return false;
    top[1] = object;
    /* release: a fork child, a snapshot of memory, must not find `top` moved and no object there */
    atomic_store_explicit(&magazine->top, top + 1, memory_order_release);
    return true;
}

/* The slow sides. refill: as tcache_pop, NULL when there is no memory. Both make the cache. */
void *tcache_refill(unsigned sclass);
void tcache_overflow(unsigned bin, void *object);

/* Empties the calling thread's magazines; true when pages went back to the source. Other threads'
 * follow at their next slow path. */
bool tcache_flush(void);

/* Gives up the calling thread's cache for good. */
void tcache_exit(void);

/* In a fork child: takes over the caches of the threads that are gone. */
void tcache_adopt(void);

/* For the owner, or under tcache_lock and the class's lock. */
static inline size_t tcache_count(const struct tcache *cache, unsigned bin)
{
    const struct magazine *magazine = &cache->magazines[bin];
    void **top = atomic_load_explicit(&magazine->top, memory_order_relaxed);
    return cache->capacity[bin] - (size_t)(magazine->limit - top);
}

#endif
