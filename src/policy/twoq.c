/* SPDX-License-Identifier: Apache-2.0 */
/*
 * twoq: 2Q. What is new proves itself in a short queue before it may crowd out what has proved
 * itself.
 *
 *   new ---> A1in (a quarter) ---> absent, remembered for half a round
 *                                     |  missed meanwhile
 *                                     v
 *            Am (the rest)  <---------'     both are queues by arrival
 *
 * In the paper Am is kept by last use, which nobody here sees; a page of Am that is missed soon
 * after it went comes back to Am, so it is remembered too.
 * Source: T. Johnson, D. Shasha, "2Q: A Low Overhead High Performance Buffer Management Replacement
 * Algorithm", VLDB 1994 (the full version, Kin 25 %, Kout 50 %).
 */
#include "policy/rules.h"

enum { A1IN, AM, N_QUEUES };

#define IN_SHARE 4u
#define OUT_PARTS 2u /* quarters of a round */

static void insert(struct policy *policy, uint32_t page, enum policy_arrival arrival)
{
    bool proved = arrival == POLICY_TAKEN_BACK || arrival == POLICY_AGAIN ||
                  (arrival == POLICY_FETCHED && ghost_is_recent(policy, page, OUT_PARTS));
    policy_push(policy, proved ? AM : A1IN, page, 0);
}

static bool next(struct policy *policy, uint32_t *page, policy_place *place)
{
    bool from_in = policy->queue[A1IN].n_live * IN_SHARE > policy->n_held ||
                   policy_all_came_again(policy, AM);
    unsigned queue = from_in ? policy_either(policy, A1IN, AM) : policy_either(policy, AM, A1IN);
    return policy_pop(policy, queue, page, place);
}

static void evicted(struct policy *policy, uint32_t page, unsigned queue)
{
    if (queue == AM)
        policy->n_again = 0;
    ghost_leave(policy, page);
}

const struct policy_rules policy_2q = {
    .name = "2q", .n_queues = N_QUEUES, .insert = insert, .next = next, .evicted = evicted};
