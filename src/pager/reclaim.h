/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reclaim: what the steps of making room know of each other.
 *
 *   queue --oldest--> evict.c ---UFFDIO_MOVE---> staging --oldest--> pack.c --> RAM pool
 *                                                                                  |
 *   reclaim.c decides how much of each, and when                    writeback.c <--'--> swap file
 *
 * All of it is called with the pass and without the lock, unless marked L.
 */
#ifndef QUIRE_PAGER_RECLAIM_H
#define QUIRE_PAGER_RECLAIM_H

#include "pager/internal.h"

#define EVICT_BATCH 64 /* pages */
#define PACK_BATCH 16

struct victims {
    uint32_t n;
    uint32_t page[EVICT_BATCH];
    uint64_t position[EVICT_BATCH]; /* in the queue: who has another by now is no victim any more */
};

/* park.c: which pages were evicted, in order */
struct evicted {
    struct evicted_run {
        uint32_t page, n_pages;
    } * runs;        /* a sparse table; NULL: none */
    size_t n_bytes;  /* of address space */
    uint32_t n_runs; /* in use */
    uint64_t n_pages;
    size_t charged_bytes; /* as metadata */
};
void evicted_note(struct evicted *evicted, const struct victims *victims);

/* evict.c */
struct eviction {
    uint32_t most_pages, most_runs; /* of neighbours: each is a system call */
    bool may_fault; /* this thread may touch the program's memory, and write to the file; no handler
                     */
    size_t pool_limit_bytes; /* for what goes into the store without staging */
    struct evicted *evicted; /* not NULL: nothing is spared, and what goes is noted there */
};
/* Tries to evict the oldest pages. Returns how many went; *tried: were there any? */
uint32_t evict_oldest(const struct eviction *eviction, bool *tried);
/* Evicts these; what is refused goes to the queue's end. */
void evict_these(const struct victims *victims, size_t pool_limit_bytes);
/* L. Whether the victim is still what was chosen. */
bool victim_is_unchanged(const struct victims *victims, uint32_t at);
void evict_requeue(uint32_t page); /* L. To the young end of the queue: it can't be evicted now */

/* pack.c */
/* Packs some of the oldest staged pages; the number of slots that are done with. */
uint32_t pack_oldest(size_t pool_limit_bytes);
/*
 * The frames of slots that are done with go back to the system: those of whole blocks, or all.
 * Returns how many.
 */
uint32_t pack_release(bool all);

/* reclaim.c: what the pool of this process may grow to, pages */
int64_t reclaim_pool_limit(const struct watermarks *marks);

/*
 * in_place.c: these go into the store from where they are; without `may_store` only those that need
 * no copy, because all on them is free. Returns how many went.
 */
uint32_t pack_shared(const struct victims *victims, size_t pool_limit_bytes, bool may_store);
uint32_t pack_clean(const struct victims *victims, size_t pool_limit_bytes);

/* packing.c: copies of pages on their way into the store; one batch at a time */
struct packing {
    uint32_t n;                /* pages copied */
    uint32_t page[PACK_BATCH]; /* and which */
    uint32_t from[PACK_BATCH]; /* for who copied them: a slot, a place among victims */
    bool dead[PACK_BATCH];     /* nothing alive is on it */
};
int packing_init(void);
void packing_rest(void); /* what packing and writing work in goes back to the system meanwhile */
unsigned char *packing_copy(uint32_t i); /* where the i-th page is to be copied */
/* All n have been copied: dead bytes read as zeros; what is left of them is made small. */
void packing_scrub(struct packing *packing);
void packing_compress(const struct packing *packing);
/* L. Whether the i-th, which is not dead, would take less in the store than where it is. */
bool packing_pays(uint32_t i);
bool packing_pays_twice(uint32_t i); /* L. The same where its frame stays with others */
/* L. It goes into the store; false: there is no room for it. */
bool packing_insert(const struct packing *packing, uint32_t i, size_t pool_limit_bytes,
                    store_ref *ref);

/* writeback.c */
int writeback_init(void);
bool writeback_is_possible(void); /* there is a file, and it took what it was last given */
bool writeback_has_file(void);
/* What batches are written from, free for other use while none is under way; NULL: no file. */
struct scratch *writeback_scratch(void);
bool writeback_cluster(void); /* writes a batch of the oldest of the pool; false: none went */
/* In idle moments: packs what lives in the file closer, a little; false: that is done. */
bool writeback_tidy(void);
/* Writes the oldest of the pool to the file, until it holds `pages`; false: nothing went. */
bool writeback_down_to(int64_t pages);
/* L. A store_relocate_fn: what is stored, or a kept copy of a resident page, has a new reference.
 */
bool writeback_relocate(void *context, uint32_t page, store_ref old, store_ref new);

#endif
