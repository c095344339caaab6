/* SPDX-License-Identifier: Apache-2.0 */
/* readahead: see readahead.h. */
#include "policy/readahead.h"

/* A thread that runs through memory may find a page there already, a known stream many. */
#define SLACK 1
#define SKIPPED_MOST 64

static uint32_t confirm(struct readahead *readahead, unsigned i, uint32_t page, uint32_t most)
{
    uint32_t window = readahead->stream[i].window;
    readahead->n_used += readahead->stream[i].n_beside;
    if (++readahead->stream[i].hits > READAHEAD_PATIENCE)
        window *= 2;
    if (window > most)
        window = most;
    readahead->stream[i].window = window;
    readahead->stream[i].next = page + window;
    readahead->stream[i].n_beside = window - 1;
    readahead->stream[i].used = readahead->clock;
    return window;
}

static bool goes_on(const struct readahead *readahead, unsigned i, uint32_t page)
{
    uint32_t next = readahead->stream[i].next;
    bool is_known = readahead->stream[i].hits > READAHEAD_PATIENCE;
    return next != 0 && page >= next && page - next <= (is_known ? SKIPPED_MOST : SLACK);
}

uint32_t readahead_window(struct readahead *readahead, uint32_t page, uint32_t most)
{
    unsigned oldest = 0;
    readahead->clock++;
    for (unsigned i = 0; i < READAHEAD_STREAMS; i++) {
        if (goes_on(readahead, i, page))
            return confirm(readahead, i, page, most);
        if (readahead->stream[i].used < readahead->stream[oldest].used)
            oldest = i;
    }
    readahead->stream[oldest].next = page + 1;
    readahead->stream[oldest].window = 1;
    readahead->stream[oldest].hits = readahead->stream[oldest].n_beside = 0;
    readahead->stream[oldest].used = readahead->clock;
    return 1;
}

void readahead_cut(struct readahead *readahead, uint32_t page, uint32_t n_pages)
{
    for (unsigned i = 0; i < READAHEAD_STREAMS; i++) {
        if (readahead->stream[i].used != readahead->clock)
            continue;
        readahead->stream[i].next = page + n_pages;
        readahead->stream[i].n_beside = n_pages - 1;
    }
}

uint32_t readahead_used(struct readahead *readahead)
{
    uint32_t n = readahead->n_used;
    readahead->n_used = 0;
    return n;
}
