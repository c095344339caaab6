/* SPDX-License-Identifier: Apache-2.0 */
/* policy: see policy.h. What is the same for all policies. */
#include "policy/policy.h"

#include "base/checked.h"
#include "base/log.h"
#include "policy/rules.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define DEAD POLICY_QUEUES /* the queue of what was freed */
#define DEAD_STEPS 32u     /* two rounds */

static_assert(DEAD < 1u << (POLICY_PLACE_BITS - PLACE_POSITION_BITS), "a queue's number");
static_assert(GHOST_STEPS < 1u << POLICY_MARK_BITS, "a ghost's mark");

static const struct policy_rules *const rules[POLICY_N_KINDS] = {
    [POLICY_ADAPTIVE] = &policy_adaptive,
    [POLICY_FIFO] = &policy_fifo,
    [POLICY_CLOCK] = &policy_clock,
    [POLICY_GCLOCK] = &policy_gclock,
    [POLICY_2Q] = &policy_2q,
    [POLICY_S3_FIFO] = &policy_s3_fifo,
    [POLICY_SIEVE] = &policy_sieve,
    [POLICY_WORKING_SET] = &policy_working_set,
};

static bool has_queue(const struct policy *policy, unsigned queue)
{
    return queue < policy->rules->n_queues || queue == DEAD;
}

int policy_open(struct policy *policy, enum policy_kind kind, uint64_t most_pages,
                const struct policy_owner *owner)
{
    if ((unsigned)kind >= POLICY_N_KINDS)
        return -EINVAL;
    /* As many holes as pages, and a page of slots more: see fifo_is_stale(). */
    uint64_t capacity = (uint64_t)2 << log2_ceil((size_t)most_pages + FIFO_LEAST_OWN);
    *policy = (struct policy){.rules = rules[kind],
                              .owner = *owner,
                              .duel = {.least = POLICY_DUEL_LEAST, .pairs = POLICY_DUEL_PAIRS}};
    for (unsigned i = 0; i <= DEAD; i++) {
        int error = has_queue(policy, i) ? fifo_open(&policy->queue[i], capacity) : 0;
        if (error) {
            policy_close(policy);
            return error;
        }
    }
    return 0;
}

void policy_close(struct policy *policy)
{
    for (unsigned i = 0; policy->rules && i <= DEAD; i++)
        if (has_queue(policy, i))
            fifo_close(&policy->queue[i]);
    *policy = (struct policy){0};
}

struct move {
    struct policy *policy;
    unsigned queue;
};

static void give_place(struct policy *policy, unsigned queue, uint32_t page, uint64_t position)
{
    policy->owner.set_place(policy->owner.context, page,
                            (policy_place)queue << PLACE_POSITION_BITS | position);
}

static void moved(void *context, uint32_t page, uint64_t position)
{
    struct move *move = context;
    give_place(move->policy, move->queue, page, position);
}

void policy_tidy(struct policy *policy, unsigned queue)
{
    struct move move = {policy, queue};
    fifo_compact(&policy->queue[queue], moved, &move);
}

void policy_push(struct policy *policy, unsigned queue, uint32_t page, policy_mark mark)
{
    struct fifo *fifo = &policy->queue[queue];
    if (fifo_is_full(fifo) || fifo_is_stale(fifo))
        policy_tidy(policy, queue);
    give_place(policy, queue, page, fifo_push(fifo, page));
    set_mark(policy, page, mark);
    policy->n_held += queue != DEAD;
}

bool policy_pop(struct policy *policy, unsigned queue, uint32_t *page, policy_place *place)
{
    uint64_t position;
    if (!fifo_pop(&policy->queue[queue], page, &position))
        return false;
    *place = (policy_place)queue << PLACE_POSITION_BITS | position;
    policy->n_held -= queue != DEAD;
    return true;
}

unsigned policy_either(const struct policy *policy, unsigned first, unsigned second)
{
    const uint64_t n_first = policy->queue[first].n_live, n_second = policy->queue[second].n_live;
    if (n_first > POLICY_YOUNGEST)
        return first;
    return n_second > n_first ? second : first;
}

void policy_insert(struct policy *policy, uint32_t page, enum policy_arrival arrival)
{
    if (arrival == POLICY_AGAIN)
        policy->n_again++;
    policy->rules->insert(policy, page, arrival);
}

static uint64_t n_since(const struct policy *policy, policy_place place)
{
    return policy->queue[place_queue(place)].head - place_position(place);
}

void policy_touch(struct policy *policy, uint32_t page, policy_place place)
{
    if (!policy->rules->touch || !policy_has(policy, page, place))
        return;
    if (n_since(policy, place) > policy->n_held / POLICY_SAME_USE)
        policy->rules->touch(policy, page);
}

static bool are_dead_due(struct policy *policy)
{
    uint32_t oldest;
    clock_tick(&policy->deaths, policy->n_held / POLICY_DEAD_PARTS, DEAD_STEPS);
    if (!fifo_oldest(&policy->queue[DEAD], &oldest))
        return false;
    return policy->queue[DEAD].n_live > policy->n_held / POLICY_SPARED ||
           clock_age(&policy->deaths, get_mark(policy, oldest), DEAD_STEPS) > 1;
}

bool policy_next(struct policy *policy, uint32_t *page, policy_place *place)
{
    if (!are_dead_due(policy) && policy->rules->next(policy, page, place))
        return true;
    return policy_pop(policy, DEAD, page, place) || policy->rules->next(policy, page, place);
}

void policy_remove(struct policy *policy, uint32_t page, policy_place place)
{
    unsigned queue = place_queue(place);
    if (has_queue(policy, queue) && fifo_remove(&policy->queue[queue], page, place_position(place)))
        policy->n_held -= queue != DEAD;
}

void policy_free(struct policy *policy, uint32_t page, policy_place place)
{
    policy_remove(policy, page, place);
    policy_push(policy, DEAD, page, (policy_mark)policy->deaths.now);
}

void policy_reuse(struct policy *policy, uint32_t page, policy_place place)
{
    if (policy_has(policy, page, place) && !policy_is_freed(place) &&
        n_since(policy, place) <= policy->n_held / POLICY_SAME_USE)
        return;
    policy_remove(policy, page, place);
    policy_insert(policy, page, POLICY_FIRST);
}

uint64_t policy_n_freed(const struct policy *policy)
{
    return policy->queue[DEAD].n_live;
}

bool policy_is_freed(policy_place place)
{
    return place_queue(place) == DEAD;
}

void policy_evicted(struct policy *policy, uint32_t page, policy_place place)
{
    policy_remove(policy, page, place);
    policy->rules->evicted(policy, page, place_queue(place));
}

bool policy_has(const struct policy *policy, uint32_t page, policy_place place)
{
    unsigned queue = place_queue(place);
    return has_queue(policy, queue) && fifo_has(&policy->queue[queue], page, place_position(place));
}

int policy_validate(const struct policy *policy)
{
    uint64_t n_live = 0;
    int error = 0;
    for (unsigned i = 0; i < policy->rules->n_queues && !error; i++) {
        error = fifo_validate(&policy->queue[i]);
        n_live += policy->queue[i].n_live;
    }
    if (!error)
        error = fifo_validate(&policy->queue[DEAD]);
    if (!error && n_live != policy->n_held) {
        log_error("policy: n_held is not the number of pages in the queues (invariant Y1)");
        error = -EUCLEAN;
    }
    return error;
}

int policy_find(const char *name)
{
    for (unsigned kind = 0; kind < POLICY_N_KINDS; kind++)
        if (strcmp(rules[kind]->name, name) == 0)
            return (int)kind;
    return -1;
}

const char *policy_name(enum policy_kind kind)
{
    return rules[kind]->name;
}

void ghost_leave(struct policy *policy, uint32_t page)
{
    clock_tick(&policy->clock, policy->n_held / GHOST_PARTS, GHOST_STEPS);
    set_mark(policy, page, (policy_mark)(1 + policy->clock.now));
}

bool ghost_is_recent(const struct policy *policy, uint32_t page, uint32_t n_parts)
{
    const policy_mark mark = get_mark(policy, page);
    return mark != GHOST_NEVER && clock_age(&policy->clock, mark - 1u, GHOST_STEPS) <= n_parts;
}
