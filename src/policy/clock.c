/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock: CLOCK, with staging for the reference bits.
 *
 *   tail: the hand                           head
 *    v                                        v
 *   | 7 | 9' | 3 | 8 | 12' | ...                     ' seen in use since it came by: to the head,
 *                                                      without the sign; else it is the victim
 *
 * Seen in use is what was taken back from staging, and what has been written to for the first time.
 * Source: F. Corbató, "A Paging Experiment with the Multics System", 1968.
 */
#include "policy/rules.h"

#define SEEN 1u

static void insert(struct policy *policy, uint32_t page, enum policy_arrival arrival)
{
    policy_push(policy, 0, page, arrival == POLICY_TAKEN_BACK ? SEEN : 0);
}

static void touch(struct policy *policy, uint32_t page)
{
    set_mark(policy, page, SEEN);
}

static bool next(struct policy *policy, uint32_t *page, policy_place *place)
{
    for (unsigned i = 0; policy_pop(policy, 0, page, place); i++) {
        if (i == POLICY_MOST_PASSED || get_mark(policy, *page) != SEEN)
            return true;
        policy_push(policy, 0, *page, 0);
    }
    return false;
}

static void evicted(struct policy *policy, uint32_t page, unsigned queue)
{
    (void)queue;
    set_mark(policy, page, 0);
}

const struct policy_rules policy_clock = {.name = "clock",
                                          .n_queues = 1,
                                          .insert = insert,
                                          .touch = touch,
                                          .next = next,
                                          .evicted = evicted};
