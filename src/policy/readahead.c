/* SPDX-License-Identifier: Apache-2.0 */
/* readahead: see readahead.h. */
#include "policy/readahead.h"

/* A thread that runs through memory may find a page there already. */
#define SLACK 1

static uint32_t confirm(struct readahead *readahead, unsigned i, uint32_t page, uint32_t most)
{
    uint32_t window = readahead->stream[i].window;
    if (readahead->stream[i].hits == 0)
        readahead->stream[i].skips = page != readahead->stream[i].next;
    readahead->n_used += readahead->stream[i].n_beside >> readahead->stream[i].skips;
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

uint32_t readahead_window(struct readahead *readahead, uint32_t page, uint32_t most)
{
    unsigned oldest = 0;
    readahead->clock++;
    for (unsigned i = 0; i < READAHEAD_STREAMS; i++) {
        uint32_t next = readahead->stream[i].next;
        if (next != 0 && page >= next && page - next <= SLACK)
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

void readahead_cut(struct readahead *readahead, uint32_t page, uint32_t n_pages, uint32_t n_there)
{
    for (unsigned i = 0; i < READAHEAD_STREAMS; i++) {
        if (readahead->stream[i].used != readahead->clock)
            continue;
        readahead->stream[i].next = page + n_pages + n_there;
        readahead->stream[i].n_beside = n_pages - 1;
    }
}

uint32_t readahead_used(struct readahead *readahead)
{
    uint32_t n = readahead->n_used;
    readahead->n_used = 0;
    return n;
}
