/* SPDX-License-Identifier: Apache-2.0 */
/*
 * adaptive: generalised CLOCK, or the same behind a bimodal entrance, whichever misses less.
 *
 * What is used again soon is kept best by gclock.c. A program that runs through more than it has,
 * round and round, is served best by letting nearly all that comes in go at once, so that what is
 * there stays and is met again:
 *
 *   gclock    all ----------> queue
 *   bimodal   1 block in 32 -> queue,  the rest -> entrance, of which the oldest go first
 *
 * Two samples of the pages, each with one part in 64 of what is held for itself, are ruled by one
 * of the two each, whatever the rest does. They lie side by side in pairs, so that both are of the
 * same kind, and the one in which fewer pages had to be brought in rules the rest.
 *
 *   | ... | g | b | ......... | b | g | ........ |     pairs of 16 pages, one in 32
 *
 * With less than duel.least pages a sample says too little, and it is gclock alone, until there are
 * that many; then until there are a quarter less, since what is in a sample's queue goes first when
 * it is no sample any more, and around the bound that would be all the time. A victim that can't go
 * leaves its sample, whose pages would else be tried again and again: a sample has the first turn
 * whenever it has more than its part. Source: M. Qureshi et al., "Adaptive Insertion Policies for
 * High Performance Caching", ISCA 2007.
 */
#include "policy/rules.h"

#include <assert.h>

enum { QUEUE, ENTRANCE, G_QUEUE, B_QUEUE, B_ENTRANCE, N_QUEUES };
enum { BY_GCLOCK, BIMODAL, UNDECIDED };

#define PAIR_SHIFT 5  /* pages */
#define BLOCK_SHIFT 4 /* pages that enter together: what is read ahead stays together */
#define LUCKY_SHARE 32u
#define ENTRANCE_SHARE                                                        \
    64u /* what stays in the entrance: what is read ahead is to be used first \
         */
#define ENTRANCE_MOST 128u
#define COST_GCLOCK 4 /* of a miss; so the bimodal entrance has to be better by a third */
#define COST_BIMODAL 6
#define LEAD_MOST (96 * COST_GCLOCK) /* of the bimodal entrance */
#define LEAD_WINS (48 * COST_GCLOCK) /* then it rules; below 0 it does no more */

static_assert(N_QUEUES <= POLICY_QUEUES, "so many queues");

/* A multiplicative hash (Knuth); the upper bits are the good ones. */
static uint32_t hash(uint32_t x)
{
    return (x * 2654435761u) >> 8;
}

static bool duels(struct policy *policy)
{
    const uint64_t least = policy->duel.least;
    policy->duel.is_on = policy->n_held >= (policy->duel.is_on ? least - least / 4 : least);
    return policy->duel.is_on;
}

/* Whose the page is, or UNDECIDED: whoever wins. */
static unsigned side_of(const struct policy *policy, uint32_t page)
{
    const uint32_t one_in = policy->duel.pairs;
    const uint32_t pair = hash((page >> PAIR_SHIFT) + 1);
    if (pair % one_in != 0)
        return UNDECIDED;
    return (pair / one_in + (page >> (PAIR_SHIFT - 1))) % 2 ? BIMODAL : BY_GCLOCK;
}

static uint32_t draw(struct policy *policy)
{
    policy->duel.random = policy->duel.random * 1664525u + 1013904223u;
    return policy->duel.random >> 8;
}

/* Neighbours that come in together have the same luck. */
static bool is_lucky(struct policy *policy, uint32_t page)
{
    if (policy->duel.last_block != (page >> BLOCK_SHIFT) + 1) {
        policy->duel.last_block = (page >> BLOCK_SHIFT) + 1;
        policy->duel.is_lucky = draw(policy) % LUCKY_SHARE == 0;
    }
    return policy->duel.is_lucky;
}

/*
 * A page of a sample had to be brought in. What counts is by how many more the other side's were,
 * up to a bound: so a change of the program's ways is followed within some hundred misses.
 */
static void note_miss(struct policy *policy, unsigned side)
{
    int32_t lead = policy->duel.lead + (side == BY_GCLOCK ? COST_GCLOCK : -COST_BIMODAL);
    if (lead > LEAD_MOST)
        lead = LEAD_MOST;
    if (lead < -LEAD_MOST)
        lead = -LEAD_MOST;
    policy->duel.lead = lead;
    if (lead <= 0)
        policy->duel.winner = BY_GCLOCK;
    else if (lead >= LEAD_WINS)
        policy->duel.winner = BIMODAL;
}

/* How many pages stay in an entrance while others wait there to go. */
static uint64_t entrance_least(const struct policy *policy, unsigned entrance)
{
    uint64_t least = policy->n_held / ENTRANCE_SHARE;
    if (entrance == B_ENTRANCE || least < POLICY_YOUNGEST)
        return POLICY_YOUNGEST;
    return least < ENTRANCE_MOST ? least : ENTRANCE_MOST;
}

/* Who has waited while there was room for all is let in. */
static void enter(struct policy *policy, unsigned queue, unsigned entrance, uint32_t page,
                  enum policy_arrival arrival)
{
    uint32_t oldest;
    policy_place place;
    gclock_push(policy, entrance, page, arrival);
    if (policy->queue[entrance].n_live > 2 * entrance_least(policy, entrance) + POLICY_YOUNGEST &&
        policy_pop(policy, entrance, &oldest, &place))
        policy_push(policy, queue, oldest, get_mark(policy, oldest));
}

static void insert(struct policy *policy, uint32_t page, enum policy_arrival arrival)
{
    static const unsigned queues[] = {G_QUEUE, B_QUEUE, QUEUE};
    unsigned side = duels(policy) && arrival != POLICY_AGAIN ? side_of(policy, page) : UNDECIDED,
             queue = queues[side];
    if (side != UNDECIDED && arrival != POLICY_FIRST)
        note_miss(policy, side);
    bool bimodal = duels(policy) && (side == UNDECIDED ? policy->duel.winner : side) == BIMODAL;
    if (!bimodal || arrival == POLICY_AGAIN || is_lucky(policy, page))
        gclock_push(policy, queue, page, arrival);
    else
        enter(policy, queue, side == BIMODAL ? B_ENTRANCE : ENTRANCE, page, arrival);
}

/* From the entrance, but for what came last, or the queue. */
static bool take(struct policy *policy, unsigned queue, unsigned entrance, uint32_t *page,
                 policy_place *place)
{
    const uint64_t n_waiting = policy->queue[entrance].n_live;
    if (n_waiting > entrance_least(policy, entrance) || n_waiting > policy->queue[queue].n_live)
        return policy_pop(policy, entrance, page, place);
    return gclock_pop(policy, queue, page, place);
}

static bool next(struct policy *policy, uint32_t *page, policy_place *place)
{
    const struct fifo *queues = policy->queue;
    uint64_t part = duels(policy) ? policy->n_held / (2 * policy->duel.pairs) : 0,
             n_g = queues[G_QUEUE].n_live, n_b = queues[B_QUEUE].n_live + queues[B_ENTRANCE].n_live;
    if (n_g > part)
        return gclock_pop(policy, G_QUEUE, page, place);
    if (n_b > part)
        return take(policy, B_QUEUE, B_ENTRANCE, page, place);
    return take(policy, QUEUE, ENTRANCE, page, place);
}

const struct policy_rules policy_adaptive = {.name = "adaptive",
                                             .n_queues = N_QUEUES,
                                             .insert = insert,
                                             .touch = gclock_touch,
                                             .next = next,
                                             .evicted = gclock_evicted};
