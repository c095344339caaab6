/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_pages: memory that a file holds page by page, each compressed for itself. A reader says how
 * one page is got; here are those that were got last.
 */
#ifndef QUIRE_MMU_IMAGE_PAGES_H
#define QUIRE_MMU_IMAGE_PAGES_H

#include "mmu/image.h"

#include "base/lock.h"

#define IMAGE_PAGES_CACHE_BYTES ((uint64_t)64 << 20) /* unpacked, of one file */
#define IMAGE_PAGES_WAYS 4

struct image_pages_set {
    struct lock lock; /* of all below, and of the pages themselves */
    uint32_t clock;   /* one more for each use */
    uint32_t used_at[IMAGE_PAGES_WAYS];
    uint64_t numbers[IMAGE_PAGES_WAYS]; /* the page's, plus one; 0: none */
};

/* A reader's own struct begins with one. */
struct image_pages {
    const struct image_pages_ops *ops;
    unsigned page_shift;
    unsigned log2_sets;
    struct image_pages_set *sets;
    unsigned char *bytes; /* of all sets' pages */
};

/* Any number of threads may call these at once. */
struct image_pages_ops {
    /* Whether the file holds that page. */
    bool (*is_there)(const struct image_pages *pages, uint64_t number);
    /* Unpacks one that is_there(). 0; -ENODATA: the file ends before; -EIO: it is damaged. */
    int (*load)(struct image_pages *pages, uint64_t number, unsigned char *page);
    /* The first page from `number` on, and before `limit`, that is_there(), and where those that
     * follow it without a gap end; `limit`: there is none. */
    uint64_t (*next)(const struct image_pages *pages, uint64_t number, uint64_t limit,
                     uint64_t *end);
    /* Whether all files that the memory is in were added. 0; -ENODATA, with a message. */
    int (*check)(const struct image_pages *pages, char *message);
    void (*free)(struct image_pages *pages); /* the reader's struct, and what it owns */
};

/* Of a memory of n_pages. 0; -ENOMEM. The first of all; image_pages_free() goes with it. */
int image_pages_init(struct image_pages *pages, const struct image_pages_ops *ops,
                     unsigned page_shift, uint64_t n_pages);

/* NULL is fine, and what image_pages_init() was not called for but has `ops`. */
void image_pages_free(struct image_pages *pages);

/* From `address` to the end of its page. */
static inline uint64_t image_pages_left(const struct image_pages *pages, uint64_t address)
{
    const uint64_t n = (uint64_t)1 << pages->page_shift;
    return n - (address & (n - 1));
}

/* Copies n bytes, which lie in one page. 0; -ENOENT: the file has left that page out; or as load()
 * says. */
int image_pages_copy(struct image_pages *pages, uint64_t address, void *to, uint64_t n);

/* image_next_data() of a range of them. */
uint64_t image_pages_next(const struct image_pages *pages, const struct quire_image_range *range,
                          uint64_t at, uint64_t *end);

#endif
