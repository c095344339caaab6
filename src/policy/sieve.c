/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sieve: SIEVE. The hand moves from the old end to the young one and takes what was not seen in
 * use; what was stays where it is and loses the sign. So new pages are sifted among old ones that
 * have proved themselves.
 *
 *   old                hand                    young
 *    | 7 | - | 9 | - | - | 3' | 8 | 12' | ...          ' seen in use      - gone
 *                      ----------->
 *
 * What can't go counts as seen, too, or the hand would stay among such pages for ever. Seen in use
 * is what was taken back from staging, fetched within a round of when it went, or written to for
 * the first time. The pages that came in last are not sifted. Source: Y. Zhang, J. Yang, Y. Yue, Y.
 * Vigfusson, K. Rashmi, "SIEVE is Simpler than LRU: an Efficient Turn-Key Eviction Algorithm for
 * Web Caches", NSDI 2024.
 */
#include "policy/rules.h"

#define SEEN 1u
#define ROUND 4u /* quarters of it */

/* How many pages stand before the hand; it is at the same one after the holes are closed. */
static void close_holes(struct policy *policy)
{
    struct fifo *fifo = &policy->queue[0];
    uint64_t n_before = 0;
    for (uint64_t at = fifo->tail; at < policy->hand; at++)
        n_before += *fifo_slot(fifo, at) != FIFO_HOLE;
    policy_tidy(policy, 0);
    policy->hand = fifo->tail + n_before;
}

static void insert(struct policy *policy, uint32_t page, enum policy_arrival arrival)
{
    struct fifo *fifo = &policy->queue[0];
    bool seen = arrival == POLICY_TAKEN_BACK || arrival == POLICY_AGAIN ||
                (arrival == POLICY_FETCHED && ghost_is_recent(policy, page, ROUND));
    if (fifo_is_full(fifo) || fifo_is_stale(fifo))
        close_holes(policy);
    policy_push(policy, 0, page, seen ? SEEN : 0);
}

static void touch(struct policy *policy, uint32_t page)
{
    set_mark(policy, page, SEEN);
}

static bool is_at_end(const struct policy *policy)
{
    return policy->hand + POLICY_YOUNGEST >= policy->queue[0].head;
}

/* The page at the hand goes. */
static void take(struct policy *policy, uint32_t page, policy_place *place)
{
    *place = policy->hand;
    policy_remove(policy, page, *place);
}

static bool next(struct policy *policy, uint32_t *page, policy_place *place)
{
    const struct fifo *fifo = &policy->queue[0];
    if (fifo->n_live <= 2 * (uint64_t)POLICY_YOUNGEST)
        return policy_pop(policy, 0, page, place);
    for (unsigned n_passed = 0;; policy->hand++) {
        if (policy->hand < fifo->tail || is_at_end(policy))
            policy->hand = fifo->tail;
        *page = *fifo_slot(fifo, policy->hand);
        if (*page == FIFO_HOLE)
            continue;
        if (get_mark(policy, *page) != SEEN || n_passed++ == POLICY_MOST_PASSED) {
            take(policy, *page, place);
            return true;
        }
        set_mark(policy, *page, 0);
    }
}

static void evicted(struct policy *policy, uint32_t page, unsigned queue)
{
    (void)queue;
    ghost_leave(policy, page);
}

const struct policy_rules policy_sieve = {.name = "sieve",
                                          .n_queues = 1,
                                          .insert = insert,
                                          .touch = touch,
                                          .next = next,
                                          .evicted = evicted};
