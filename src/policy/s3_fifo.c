/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3_fifo: S3-FIFO. Most pages are used once: a small queue lets them go early.
 *
 *   new ---> small (a tenth) ---seen in use---> main, where each use seen is worth a round
 *               |                                ^  |
 *               v                                |  v
 *             absent, remembered for nine tenths of a round: if it is missed, to main
 *
 * In the paper each page counts its uses, up to 3. Here a use is seen when a page is taken back
 * from staging, fetched while it is remembered, or written to for the first time; pages of main are
 * remembered like those of small, because nobody has seen whether they were in use.
 * Source: J. Yang, Y. Zhang, Z. Qiu, Y. Yue, K. Rashmi, "FIFO Queues Are All You Need for Cache
 * Eviction", SOSP 2023.
 */
#include "policy/rules.h"

enum { SMALL, MAIN, N_QUEUES };

#define SMALL_SHARE 10u
#define GHOST_LIFE 4u /* quarters of a round */
#define MOST_USES 3u

static void insert(struct policy *policy, uint32_t page, enum policy_arrival arrival)
{
    switch (arrival) {
    case POLICY_TAKEN_BACK:
        policy_push(policy, MAIN, page, 1);
        return;
    case POLICY_AGAIN:
        policy_push(policy, MAIN, page, 0);
        return;
    case POLICY_FETCHED:
        policy_push(policy, ghost_is_recent(policy, page, GHOST_LIFE) ? MAIN : SMALL, page, 0);
        return;
    case POLICY_FIRST:
    case POLICY_BESIDE:
        policy_push(policy, SMALL, page, 0);
        return;
    }
}

static void touch(struct policy *policy, uint32_t page)
{
    policy_mark uses = get_mark(policy, page);
    if (uses < MOST_USES)
        set_mark(policy, page, uses + 1);
}

static bool next(struct policy *policy, uint32_t *page, policy_place *place)
{
    for (unsigned i = 0;; i++) {
        bool from_small = policy->queue[SMALL].n_live * SMALL_SHARE > policy->n_held ||
                          policy_all_came_again(policy, MAIN);
        unsigned queue = from_small ? policy_either(policy, SMALL, MAIN)
                                    : policy_either(policy, MAIN, SMALL);
        if (!policy_pop(policy, queue, page, place))
            return false;
        policy_mark uses = get_mark(policy, *page);
        if (i == POLICY_MOST_PASSED || uses == 0)
            return true;
        policy_push(policy, MAIN, *page, queue == MAIN ? uses - 1 : 0);
    }
}

static void evicted(struct policy *policy, uint32_t page, unsigned queue)
{
    if (queue == MAIN)
        policy->n_again = 0;
    ghost_leave(policy, page);
}

const struct policy_rules policy_s3_fifo = {.name = "s3-fifo",
                                            .n_queues = N_QUEUES,
                                            .insert = insert,
                                            .touch = touch,
                                            .next = next,
                                            .evicted = evicted};
