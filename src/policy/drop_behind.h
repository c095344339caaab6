/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drop_behind: pages that a stream read ahead leave before all others.
 *
 * A scan of more than fits, round and round, finds nothing of what it left the last time if pages
 * leave in the order in which they came: each was dropped just before its turn. And a scan that is
 * never repeated drives out what is in use. So what a stream brings in goes into a short queue of
 * its own, and leaves from there while all else stays.
 *
 *     windows of a stream --7 of 8--> | newest ... oldest | --longer than its part--> evicted
 *                         --1 of 8--> among the others, where it stays for long
 *
 * That one in eight stays is for scans of what would fit if it were let in: round by round it is.
 * Source: the bimodal insertion of M. Qureshi et al., "Adaptive Insertion Policies for High
 * Performance Caching", ISCA 2007; the short queue is the first of 2Q's (T. Johnson, D. Shasha,
 * VLDB 1994). Not thread-safe.
 */
#ifndef QUIRE_POLICY_DROP_BEHIND_H
#define QUIRE_POLICY_DROP_BEHIND_H

#include "policy/fifo.h"

#define DROP_BEHIND_PART 16   /* of what is resident, the queue's */
#define DROP_BEHIND_LEAST 128 /* pages; where the part is less there is no queue */
#define DROP_BEHIND_STAYS 8   /* one window in so many stays */

struct drop_behind {
    struct fifo queue; /* of page numbers; who pops one looks whether it is still what it was */
    uint32_t n_windows;
};

/* `most_resident` pages. 0 or -ENOMEM. */
int drop_behind_open(struct drop_behind *behind, uint64_t most_resident);
void drop_behind_close(struct drop_behind *behind);

/* A window of a stream came in: whether its pages should be pushed. */
bool drop_behind_wanted(struct drop_behind *behind, uint64_t n_resident);

/* Nothing happens if there is no room. False then: the page is one like all others. */
bool drop_behind_push(struct drop_behind *behind, uint32_t page);

/* The oldest page, if there are more than should be where n_resident are. */
bool drop_behind_pop(struct drop_behind *behind, uint64_t n_resident, uint32_t *page);

#endif
