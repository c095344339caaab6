/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segmented: segmented FIFO. Pages leave in the order of their arrival; staging, which all policies
 * have, is the second segment: what is taken back from there arrives anew.
 * Source: R. Turner, H. Levy, "Segmented FIFO Page Replacement", SIGMETRICS 1981.
 */
#include "policy/rules.h"

static void insert(struct policy *policy, uint32_t page, enum policy_arrival arrival)
{
    (void)arrival;
    policy_push(policy, 0, page, 0);
}

static bool next(struct policy *policy, uint32_t *page, policy_place *place)
{
    return policy_pop(policy, 0, page, place);
}

static void evicted(struct policy *policy, uint32_t page, unsigned queue)
{
    (void)queue;
    set_mark(policy, page, 0);
}

const struct policy_rules policy_fifo = {
    .name = "fifo", .n_queues = 1, .insert = insert, .next = next, .evicted = evicted};
