/* SPDX-License-Identifier: Apache-2.0 */
/*
 * working_set: a page that is missed within a window of time is in the working set, and stays for a
 * window of time.
 *
 * Time is virtual: it is counted in pages that come in; the window is as many as are held, twice.
 *
 *   mark, resident   | member 1 | since when 5 |   a member is passed over until a window is over
 *   mark, absent     |    0     | when 5       |   1 + steps of a quarter of the window
 *
 * Where all pages are members, the budget is less than the working set, and the oldest goes.
 * Sources: P. Denning, "The Working Set Model for Program Behavior", CACM 11(5), 1968; R. Carr,
 * J. Hennessy, "WSClock: A Simple and Effective Algorithm for Virtual Memory Management", SOSP
 * 1981, which looks at one page after the other in a circle, too.
 */
#include "policy/rules.h"

#define STEPS 31u
#define WINDOW_PARTS 4u  /* steps in a window */
#define WINDOW_ROUNDS 2u /* as many pages as are held, so often */
#define MEMBER 32u

static bool is_within_window(const struct policy *policy, policy_mark mark)
{
    const uint32_t when = mark & (MEMBER - 1);
    return when != 0 && clock_age(&policy->clock, when - 1, STEPS) <= WINDOW_PARTS;
}

static policy_mark now(const struct policy *policy)
{
    return (policy_mark)(1 + policy->clock.now);
}

static void insert(struct policy *policy, uint32_t page, enum policy_arrival arrival)
{
    bool is_member = arrival == POLICY_TAKEN_BACK ||
                     (arrival == POLICY_FETCHED &&
                      is_within_window(policy, get_mark(policy, page)));
    if (arrival != POLICY_AGAIN)
        clock_tick(&policy->clock, policy->n_held * WINDOW_ROUNDS / WINDOW_PARTS, STEPS);
    policy_push(policy, 0, page, now(policy) | (is_member ? MEMBER : 0));
}

static void touch(struct policy *policy, uint32_t page)
{
    set_mark(policy, page, now(policy) | MEMBER);
}

static bool next(struct policy *policy, uint32_t *page, policy_place *place)
{
    for (unsigned i = 0; policy_pop(policy, 0, page, place); i++) {
        policy_mark mark = get_mark(policy, *page);
        if (i == POLICY_MOST_PASSED || !(mark & MEMBER) || !is_within_window(policy, mark))
            return true;
        policy_push(policy, 0, *page, mark);
    }
    return false;
}

static void evicted(struct policy *policy, uint32_t page, unsigned queue)
{
    (void)queue;
    set_mark(policy, page, now(policy));
}

const struct policy_rules policy_working_set = {.name = "working-set",
                                                .n_queues = 1,
                                                .insert = insert,
                                                .touch = touch,
                                                .next = next,
                                                .evicted = evicted};
