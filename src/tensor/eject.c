/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eject: guided ejection.
 *
 *     out: | d c |      1. take one that is out
 *      +-----------+    2. find the place where what it overlaps costs least; nothing: good
 *      |  b   |    |    3. put it there, and what it overlaps out
 *      | a  | e | f|    4. whoever was hard to place costs more from now on
 *      +-----------+
 *
 * All that is in never overlaps. The costs remember which items are the trouble: a large one that
 * is put out again and again soon costs more than the small ones around it, which then make way.
 *
 * The places worth looking at are 0 and the ends of those that are in its way: the cost of a place
 * only falls there. All of them are costed in one sweep over the neighbours' starts and ends, in
 * O(neighbours log neighbours).
 *
 * After Y. Nagata and O. Braysy, "A powerful route minimization heuristic for the vehicle routing
 * problem with time windows", Operations Research Letters 37, 2009.
 */
#include "tensor/eject.h"
#include "tensor/sort.h"

#include <stdlib.h>
#include <string.h>

/* Costs: even the sum of those of all items is below 2^64, and two are barred at most. */
#define NEVER ((uint64_t)1 << 39)  /* of one that is fixed */
#define BARRED ((uint64_t)1 << 36) /* of one that was just put in */

struct neighbour {
    uint64_t lower, upper; /* bytes */
    uint64_t cost;
    uint32_t item;
};

struct tensor_eject {
    const struct tensor_instance *instance;
    struct tensor_random random;
    uint64_t capacity;
    uint64_t *offsets;
    uint32_t *penalty; /* of each */
    uint64_t *barred;  /* of each: the round until which it is not put out */
    uint64_t n_rounds;
    uint32_t *out, n_out; /* a stack */
    uint32_t *room;       /* for tensor_neighbours() */
    /* Those in the way of the item that is put in, and room for as many. */
    struct neighbour *near;
    struct tensor_key *starts, *ends, *scratch;
    uint32_t max_near;
};

struct tensor_eject *tensor_eject_new(const struct tensor_instance *instance, uint64_t seed)
{
    struct tensor_eject *eject = calloc(1, sizeof *eject);
    size_t n = instance->n_items + 1;

    if (eject == NULL)
        return NULL;
    eject->instance = instance;
    eject->random.state = seed;
    eject->offsets = malloc(n * sizeof *eject->offsets);
    eject->penalty = malloc(n * sizeof *eject->penalty);
    eject->barred = malloc(n * sizeof *eject->barred);
    eject->out = malloc(n * sizeof *eject->out);
    eject->room = malloc(n * sizeof *eject->room);
    if (eject->offsets && eject->penalty && eject->barred && eject->out && eject->room)
        return eject;
    tensor_eject_free(eject);
    return NULL;
}

void tensor_eject_free(struct tensor_eject *eject)
{
    if (eject == NULL)
        return;
    free(eject->offsets);
    free(eject->penalty);
    free(eject->barred);
    free(eject->out);
    free(eject->room);
    free(eject->near);
    free(eject->starts);
    free(eject->ends);
    free(eject->scratch);
    free(eject);
}

void tensor_eject_start(struct tensor_eject *eject, const uint64_t *offsets, uint64_t capacity,
                        const uint32_t *rank)
{
    const struct tensor_instance *instance = eject->instance;

    eject->capacity = capacity;
    eject->n_rounds = 0;
    eject->n_out = 0;
    for (uint32_t i = 0; i < instance->n_items; i++)
        eject->room[instance->n_items - 1 - rank[i]] = i;
    for (uint32_t k = 0; k < instance->n_items; k++) {
        uint32_t i = eject->room[k];
        const struct tensor_item *item = &instance->items[i];
        uint64_t offset = offsets != NULL ? offsets[i] : TENSOR_NOWHERE;
        if (item->fixed != TENSOR_NOWHERE)
            offset = item->fixed;
        bool is_in = offset != TENSOR_NOWHERE && offset + item->size <= capacity;
        eject->offsets[i] = is_in ? offset : TENSOR_NOWHERE;
        eject->penalty[i] = 1;
        eject->barred[i] = 0;
        if (!is_in)
            eject->out[eject->n_out++] = i; /* the last is the first to be put in */
    }
}

static uint64_t cost_of(const struct tensor_eject *eject, uint32_t i)
{
    if (eject->instance->items[i].fixed != TENSOR_NOWHERE)
        return NEVER;
    return eject->penalty[i] + (eject->barred[i] > eject->n_rounds ? BARRED : 0);
}

static bool reserve(struct tensor_eject *eject, uint32_t n)
{
    if (n <= eject->max_near)
        return true;
    free(eject->near);
    free(eject->starts);
    free(eject->ends);
    free(eject->scratch);
    eject->max_near = 2 * n + 64;
    eject->near = malloc(eject->max_near * sizeof *eject->near);
    eject->starts = malloc(eject->max_near * sizeof *eject->starts);
    eject->ends = malloc(eject->max_near * sizeof *eject->ends);
    eject->scratch = malloc(eject->max_near * sizeof *eject->scratch);
    if (eject->near && eject->starts && eject->ends && eject->scratch)
        return true;
    eject->max_near = 0;
    return false;
}

/* Those that are in and meet `item` in time, in the order of their starts. False: no memory. */
static bool gather(struct tensor_eject *eject, uint32_t item, uint32_t *n_looked, uint32_t *n_near)
{
    const uint32_t *list;
    uint32_t n = 0;
    *n_looked = tensor_neighbours(eject->instance, item, eject->room, &list);
    if (!reserve(eject, *n_looked))
        return false;
    for (uint32_t k = 0; k < *n_looked; k++) {
        uint64_t offset = eject->offsets[list[k]];
        if (offset == TENSOR_NOWHERE)
            continue;
        uint64_t end = offset + eject->instance->items[list[k]].size;
        eject->near[n] = (struct neighbour){offset, end, cost_of(eject, list[k]), list[k]};
        eject->starts[n] = (struct tensor_key){offset, n};
        eject->ends[n] = (struct tensor_key){end, n};
        n++;
    }
    tensor_sort(eject->starts, eject->scratch, n);
    *n_near = n;
    return true;
}

/* The lowest place that is free; it may end beyond the capacity. */
static uint64_t first_fit(const struct tensor_eject *eject, const struct tensor_item *item,
                          uint32_t n)
{
    uint64_t at = 0;
    for (uint32_t k = 0; k < n && eject->starts[k].key < at + item->size; k++) {
        uint64_t upper = eject->near[eject->starts[k].value].upper;
        if (upper > at)
            at = tensor_align_up(upper, item->alignment);
    }
    return at;
}

/* The place with the cheapest items in it. Returns its cost. */
static uint64_t choose(struct tensor_eject *eject, const struct tensor_item *item, uint32_t n,
                       uint64_t *place)
{
    uint64_t cost = 0, best = UINT64_MAX, ties = 0;
    uint32_t s = 0, e = 0;

    tensor_sort(eject->ends, eject->scratch, n);
    for (uint32_t k = 0; k <= n; k++) {
        uint64_t at = k == 0 ? 0 : tensor_align_up(eject->ends[k - 1].key, item->alignment);
        if (at + item->size > eject->capacity)
            break;
        for (; s < n && eject->starts[s].key < at + item->size; s++)
            cost += eject->near[eject->starts[s].value].cost;
        for (; e < n && eject->ends[e].key <= at; e++)
            cost -= eject->near[eject->ends[e].value].cost;
        if (cost < best) {
            best = cost;
            *place = at;
            ties = 1;
        } else if (cost == best && tensor_random_below(&eject->random, (uint32_t)++ties) == 0) {
            *place = at;
        }
    }
    return best;
}

static void put_in(struct tensor_eject *eject, uint32_t index, uint64_t place, uint32_t n)
{
    uint64_t end = place + eject->instance->items[index].size;
    for (uint32_t k = 0; k < n; k++) {
        if (eject->near[k].lower < end && eject->near[k].upper > place) {
            eject->offsets[eject->near[k].item] = TENSOR_NOWHERE;
            eject->out[eject->n_out++] = eject->near[k].item;
        }
    }
    eject->offsets[index] = place;
}

bool tensor_eject_run(struct tensor_eject *eject, struct tensor_work *work)
{
    while (eject->n_out > 0) {
        uint32_t n_looked, n, index = eject->out[eject->n_out - 1];
        const struct tensor_item *item = &eject->instance->items[index];

        if (!gather(eject, index, &n_looked, &n))
            return false;
        uint64_t place = first_fit(eject, item, n), cost = 0;

        if (place + item->size > eject->capacity)
            cost = choose(eject, item, n, &place);
        if (cost >= NEVER)
            return false; /* fixed ones leave no room within this capacity */
        eject->n_rounds++;
        eject->n_out--;
        put_in(eject, index, place, n);
        if (cost > 0) {
            eject->penalty[index]++;
            eject->barred[index] = eject->n_rounds + 2;
        }
        if (tensor_work_spend(work, 16 + n_looked + (cost == 0 ? 4 : 16) * (uint64_t)n))
            break;
    }
    return eject->n_out == 0;
}

void tensor_eject_offsets(const struct tensor_eject *eject, uint64_t *offsets)
{
    memcpy(offsets, eject->offsets, eject->instance->n_items * sizeof *offsets);
}
