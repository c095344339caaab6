/* SPDX-License-Identifier: Apache-2.0 */
/*
 * intervals: how many different pages were touched in each part of a trace whose length is not
 * known.
 *
 * Time is cut into windows of INTERVALS_LEAST references; at most INTERVALS_MOST are kept, and when
 * there are more, each two become one. A touch is counted by the highest bit in which its window's
 * number differs from that of the page's last touch: in windows of 2^n of the least ones it is a
 * page's first touch if that bit is n or higher. So counts of two windows can be added.
 */
#ifndef QUIRE_SIM_INTERVALS_H
#define QUIRE_SIM_INTERVALS_H

#include "sim/distances.h"

#define INTERVALS_LEAST_SHIFT 10
#define INTERVALS_MOST 256u
#define INTERVALS_BITS 33u

struct intervals {
    unsigned level; /* windows are of 2^(INTERVALS_LEAST_SHIFT + level) references */
    uint32_t count[INTERVALS_MOST][INTERVALS_BITS];
    uint64_t time_ns[INTERVALS_MOST]; /* of its first touch */
    bool has_time[INTERVALS_MOST];
};

/* A touch, by reference number `now`. */
void intervals_touch(struct intervals *intervals, struct distances_page *page, uint64_t now,
                     uint64_t time_ns);

/* How many windows there are after n references, and how many pages the i-th has. */
uint32_t intervals_number(const struct intervals *intervals, uint64_t n_references);
uint64_t intervals_pages(const struct intervals *intervals, uint32_t i);

#endif
