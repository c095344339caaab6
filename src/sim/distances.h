/* SPDX-License-Identifier: Apache-2.0 */
/*
 * distances: how many different pages were touched since a page was touched last, in one pass.
 *
 *   bits     0 1 0 0 1 1 0 1 | ...       a bit a reference; set: a page's last one
 *   tree     sums over blocks of 512 bits (Fenwick's), without the block that is being filled
 *
 * A reference's distance is the number of bits that are set behind its page's last one: a query in
 * the tree and a population count in a block, O(log(pages)). The tree of a million pages is 32 KiB.
 * When the bits are used up, positions are drawn together, so that there are twice as many bits as
 * pages at most: O(1) amortised.
 *
 * Sources: F. Olken, "Efficient methods for calculating the success function of fixed space
 * replacement policies", 1981; P. Fenwick, "A new data structure for cumulative frequency tables",
 * 1994. Not thread-safe.
 */
#ifndef QUIRE_SIM_DISTANCES_H
#define QUIRE_SIM_DISTANCES_H

#include "sim/array.h"

#include <stdbool.h>
#include <stdint.h>

#define DISTANCES_BLOCK 512u

struct distances {
    struct array bits; /* uint64_t */
    struct array tree; /* uint32_t */
    uint64_t n_bits;   /* a power of two, DISTANCES_BLOCK at least */
    uint64_t now;      /* the next bit */
    uint64_t n_live;   /* bits that are set */
    bool has_popcnt;   /* the processor counts bits */
};

struct distances_page { /* the caller's, of each page */
    uint32_t last;      /* 1 + its bit; 0: none */
    uint32_t window;    /* for intervals.h */
};

#define DISTANCES_NONE UINT64_MAX

/* 0; -ENOMEM. */
int distances_init(struct distances *distances);
void distances_deinit(struct distances *distances);

/* There are bits for n more references; `pages` are all there are. 0; -ENOMEM; -E2BIG. */
int distances_make_room(struct distances *distances, size_t n, struct distances_page *pages,
                        uint32_t n_pages);

/* A reference to the page; DISTANCES_NONE: it is its first one. */
uint64_t distances_touch(struct distances *distances, struct distances_page *page);

/* The page is no more. */
void distances_forget(struct distances *distances, struct distances_page *page);

#endif
