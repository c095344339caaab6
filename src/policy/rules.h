/* SPDX-License-Identifier: Apache-2.0 */
/* rules: what a replacement policy consists of, and what its file may use. See policy.h. */
#ifndef QUIRE_POLICY_RULES_H
#define QUIRE_POLICY_RULES_H

#include "policy/policy.h"

struct policy_rules {
    const char *name;
    unsigned n_queues;
    void (*insert)(struct policy *policy, uint32_t page, enum policy_arrival arrival);
    void (*touch)(struct policy *policy, uint32_t page); /* NULL: it makes no difference */
    bool (*next)(struct policy *policy, uint32_t *page, policy_place *place);
    void (*evicted)(struct policy *policy, uint32_t page, unsigned queue);
};

extern const struct policy_rules policy_fifo, policy_clock, policy_gclock, policy_2q,
    policy_s3_fifo, policy_sieve, policy_working_set, policy_adaptive;

#define PLACE_POSITION_BITS 45

static inline unsigned place_queue(policy_place place)
{
    return (unsigned)(place >> PLACE_POSITION_BITS);
}

static inline uint64_t place_position(policy_place place)
{
    return place & (((uint64_t)1 << PLACE_POSITION_BITS) - 1);
}

static inline policy_mark get_mark(const struct policy *policy, uint32_t page)
{
    return policy->owner.mark(policy->owner.context, page);
}

static inline void set_mark(struct policy *policy, uint32_t page, policy_mark mark)
{
    policy->owner.set_mark(policy->owner.context, page, mark);
}

/* To the young end of a queue, with this mark. */
void policy_push(struct policy *policy, unsigned queue, uint32_t page, policy_mark mark);

/* From the old end of a queue; false: it is empty. */
bool policy_pop(struct policy *policy, unsigned queue, uint32_t *page, policy_place *place);

/* A queue has so many holes that they are closed: sieve.c has a hand in it. */
void policy_tidy(struct policy *policy, unsigned queue);

/*
 * Which of two queues gives a page: the first, unless it holds only pages that came in last and the
 * second does not; if both do, the longer one.
 */
unsigned policy_either(const struct policy *policy, unsigned first, unsigned second);

/*
 * Whether all of a queue have been victims that can't go, since one went: its share is of no use
 * then. The rule to whose queue they come counts from 0 when one of it goes. Every second time, so
 * that it is noticed when they can go.
 */
static inline bool policy_all_came_again(const struct policy *policy, unsigned queue)
{
    return policy->n_again >= policy->queue[queue].n_live && policy->n_again % 2 == 1;
}

/*
 * Times in marks: steps of which there are `n_steps`. clock_tick() counts an event; after `length`
 * of them the clock is a step on. clock_age(): steps since `then`, modulo n_steps.
 */
static inline void clock_tick(struct policy_clock *clock, uint64_t length, uint32_t n_steps)
{
    if (++clock->n_since < length)
        return;
    clock->n_since = 0;
    clock->now = clock->now + 1 < n_steps ? clock->now + 1 : 0;
}

static inline uint32_t clock_age(const struct policy_clock *clock, uint32_t then, uint32_t n_steps)
{
    return clock->now >= then ? clock->now - then : clock->now + n_steps - then;
}

/*
 * Most policies remember of an absent page when it went, in steps of a quarter of a round of
 * evictions. The mark is GHOST_NEVER, or 1 + the step.
 */
#define GHOST_STEPS 31u
#define GHOST_NEVER 0
#define GHOST_PARTS 4u

void ghost_leave(struct policy *policy, uint32_t page); /* in `evicted` */
/* Whether it went within the last `n_parts` quarters of a round. */
bool ghost_is_recent(const struct policy *policy, uint32_t page, uint32_t n_parts);

/* gclock.c, for one queue of several: a page comes, the next victim, and what the rules call. */
void gclock_push(struct policy *policy, unsigned queue, uint32_t page, enum policy_arrival arrival);
bool gclock_pop(struct policy *policy, unsigned queue, uint32_t *page, policy_place *place);
void gclock_touch(struct policy *policy, uint32_t page);
void gclock_evicted(struct policy *policy, uint32_t page, unsigned queue);

#endif
