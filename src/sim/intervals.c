/* SPDX-License-Identifier: Apache-2.0 */
/* intervals: see intervals.h. */
#include "sim/intervals.h"

#include <string.h>

static void merge(struct intervals *intervals)
{
    for (uint32_t i = 0; i < INTERVALS_MOST / 2; i++) {
        for (unsigned k = 0; k < INTERVALS_BITS; k++)
            intervals->count[i][k] = intervals->count[2 * i][k] + intervals->count[2 * i + 1][k];
        const uint32_t from = intervals->has_time[2 * i] ? 2 * i : 2 * i + 1;
        intervals->time_ns[i] = intervals->time_ns[from];
        intervals->has_time[i] = intervals->has_time[from];
    }
    memset(intervals->count[INTERVALS_MOST / 2], 0, sizeof intervals->count / 2);
    memset(intervals->has_time + INTERVALS_MOST / 2, 0, sizeof intervals->has_time / 2);
    intervals->level++;
}

void intervals_touch(struct intervals *intervals, struct distances_page *page, uint64_t now,
                     uint64_t time_ns)
{
    const uint32_t window = (uint32_t)(now >> INTERVALS_LEAST_SHIFT);
    if (page->window == window + 1)
        return;
    while (window >> intervals->level >= INTERVALS_MOST)
        merge(intervals);
    unsigned bit = INTERVALS_BITS - 1;
    if (page->window != 0)
        bit = 31u - (unsigned)__builtin_clz((page->window - 1) ^ window);
    const uint32_t at = window >> intervals->level;
    intervals->count[at][bit]++;
    if (!intervals->has_time[at]) {
        intervals->time_ns[at] = time_ns;
        intervals->has_time[at] = true;
    }
    page->window = window + 1;
}

uint32_t intervals_number(const struct intervals *intervals, uint64_t n_references)
{
    const unsigned shift = INTERVALS_LEAST_SHIFT + intervals->level;
    uint64_t n = (n_references + ((uint64_t)1 << shift) - 1) >> shift;
    return n < INTERVALS_MOST ? (uint32_t)n : INTERVALS_MOST;
}

uint64_t intervals_pages(const struct intervals *intervals, uint32_t i)
{
    uint64_t sum = 0;
    for (unsigned bit = intervals->level; bit < INTERVALS_BITS; bit++)
        sum += intervals->count[i][bit];
    return sum;
}
