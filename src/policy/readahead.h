/* SPDX-License-Identifier: Apache-2.0 */
/*
 * readahead: how many pages a fault should bring in.
 *
 * A few streams are followed. A fault where a stream is expected to go on confirms it; after
 * READAHEAD_PATIENCE confirmations in a row its window doubles with each one, up to the most. Any
 * other fault starts a stream with one page in place of the least recently used. So random access
 * never reads ahead, nor do objects that happen to lie on two neighbouring pages, and a scan pays
 * one fault a window.
 * Source: the on-demand readahead of W. Fengguang et al., "On the Design of a New Linux Readahead
 * Framework" (2008), reduced to what a fault tells. Not thread-safe.
 */
#ifndef QUIRE_POLICY_READAHEAD_H
#define QUIRE_POLICY_READAHEAD_H

#include <stdbool.h>
#include <stdint.h>

#define READAHEAD_STREAMS 8
#define READAHEAD_PATIENCE 2

struct readahead {
    struct {
        uint32_t next;     /* the page at which the stream would go on */
        uint32_t window;   /* pages brought in last time */
        uint32_t hits;     /* confirmations in a row */
        uint32_t n_beside; /* of these pages, those that were not asked for */
        bool skips;        /* every second page is used, it seems */
        uint64_t used;     /* when, on the clock below */
    } stream[READAHEAD_STREAMS];
    uint64_t clock;
    uint32_t n_used; /* pages that streams ran through, of what was not asked for */
};

/* A fault on `page`: the number of pages, 1 to `most`, to bring in from there on. */
uint32_t readahead_window(struct readahead *readahead, uint32_t page, uint32_t most);

/*
 * So many were brought in, perhaps fewer than the window said; n_there behind them are there
 * already, and the stream goes on behind those.
 */
void readahead_cut(struct readahead *readahead, uint32_t page, uint32_t n_pages, uint32_t n_there);

/* How many pages that were brought in ahead were used, since this was last asked. */
uint32_t readahead_used(struct readahead *readahead);

#endif
