/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gclock: generalised CLOCK, with counts from how soon a page was missed.
 *
 * Each page has a level, 0 to 7. When it comes in it gets as many credits; at the hand a credit is
 * worth another round. A page that is fetched within a step of when it went rises (0, 1, 3, 7), one
 * that was not missed for a round falls to half. So a page that is used all the time is taken away
 * for trial ever more rarely: a fault in eight rounds, in place of one in each.
 *
 *   mark, resident   | level 3 | credits 3 |
 *   mark, absent     | level 3 | when 3    |     in steps of half a round of evictions, modulo 8
 *
 * Sources: A. Smith, "Sequentiality and Prefetching in Database Systems", TODS 3(3), 1978, for the
 * counts; the distance of a refault is what Linux's mm/workingset.c measures.
 */
#include "policy/rules.h"

#define BITS 3
#define MOST 7u /* level, credits, and the last step */
#define STEPS 8u
#define PARTS 2u /* steps a round */
#define SOON 1u  /* steps */

static policy_mark make(uint32_t level, uint32_t low)
{
    return (policy_mark)(level << BITS | low);
}

/* What its level comes to, by how long it was away. */
static uint32_t new_level(const struct policy *policy, policy_mark mark,
                          enum policy_arrival arrival)
{
    uint32_t level = mark >> BITS, age = clock_age(&policy->clock, mark & MOST, STEPS);
    if (arrival == POLICY_FIRST)
        return 0;
    if (arrival == POLICY_TAKEN_BACK || (arrival == POLICY_FETCHED && age <= SOON)) {
        level = 2 * level + 1;
        return level < MOST ? level : MOST;
    }
    return age > PARTS ? level / 2 : level;
}

void gclock_push(struct policy *policy, unsigned queue, uint32_t page, enum policy_arrival arrival)
{
    policy_mark mark = get_mark(policy, page);
    uint32_t level = arrival == POLICY_AGAIN ? mark >> BITS : new_level(policy, mark, arrival);
    policy_push(policy, queue, page, make(level, arrival == POLICY_AGAIN ? 0 : level));
}

bool gclock_pop(struct policy *policy, unsigned queue, uint32_t *page, policy_place *place)
{
    for (unsigned i = 0; policy_pop(policy, queue, page, place); i++) {
        policy_mark mark = get_mark(policy, *page);
        if (i == POLICY_MOST_PASSED || (mark & MOST) == 0)
            return true;
        policy_push(policy, queue, *page, mark - 1);
    }
    return false;
}

void gclock_touch(struct policy *policy, uint32_t page)
{
    uint32_t level = get_mark(policy, page) >> BITS;
    set_mark(policy, page, make(level, level > 0 ? level : 1));
}

void gclock_evicted(struct policy *policy, uint32_t page, unsigned queue)
{
    (void)queue;
    clock_tick(&policy->clock, policy->n_held / PARTS, STEPS);
    set_mark(policy, page, make(get_mark(policy, page) >> BITS, policy->clock.now));
}

static void insert(struct policy *policy, uint32_t page, enum policy_arrival arrival)
{
    gclock_push(policy, 0, page, arrival);
}

static bool next(struct policy *policy, uint32_t *page, policy_place *place)
{
    return gclock_pop(policy, 0, page, place);
}

const struct policy_rules policy_gclock = {.name = "gclock",
                                           .n_queues = 1,
                                           .insert = insert,
                                           .touch = gclock_touch,
                                           .next = next,
                                           .evicted = gclock_evicted};
