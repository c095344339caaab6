/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exact: depth-first search for a placement within a capacity.
 *
 *      |     ? c     |        Items are placed from below: each at its lowest possible offset, the
 *      | b  +-----+  | floor  offsets never falling along a path. A section's floor is where its
 *      +--+ |  a  | .|  ...   next item can begin at the lowest, `total` what is still to be put
 *      |  | +-----+  |        there. Where floor + total exceeds the capacity, a path ends.
 *      s0  s1  s2  s3
 *
 * What keeps it small
 *   canonical   an item is placed only after those with a lower (offset, rank), as any placement
 *               pushed down can be built in that order
 *   dominance   not at or above the lowest possible top of another: that one would have fitted
 *               below
 *   hatless     where nothing is left that could lie on an item, another choice can't help
 *   floors      a section's floor is not below the lowest offset of an item that is left in it
 *   twins       of equal items the first goes first
 *   cuts        where no item that is left crosses between two sections, the sides are solved apart
 *
 * What is placed and what follows from it: exact_state.h.
 *
 * After M. Moffitt, "MiniMalloc", ASPLOS 2023. Fails with no memory only, at the start.
 */
#include "tensor/exact.h"
#include "tensor/exact_state.h"

#include <stdlib.h>
#include <string.h>

/* Choosing */

/* A part of the items that does not touch the others: list[first .. first + n). */
struct part {
    uint32_t first, n;
    uint32_t lower, upper; /* its sections */
    uint64_t offset;       /* the last that was placed; the next is not below in (offset, rank) */
    uint32_t rank;
};

static enum tensor_exact_result solve(struct tensor_exact *exact, struct part part);

/* What is still to be put into the fullest section that an item covers. */
static uint64_t fullest(const struct tensor_exact *exact, uint32_t item)
{
    const struct tensor_item *its = &exact->instance->items[item];
    uint64_t most = 0;
    for (uint32_t s = its->lower; s < its->upper; s++)
        most = exact->total[s] > most ? exact->total[s] : most;
    return most;
}

static void swap_to(struct tensor_exact *exact, uint32_t item, uint32_t to)
{
    uint32_t from = exact->position[item], other = exact->list[to];
    exact->list[from] = other;
    exact->position[other] = from;
    exact->list[to] = item;
    exact->position[item] = to;
}

/* Those to be tried next, the best first, on the stack of choices. Returns their number. */
static uint32_t choose(struct tensor_exact *exact, const struct part *part)
{
    const struct tensor_item *items = exact->instance->items;
    uint64_t ceiling = UINT64_MAX, fullest = 0;
    uint32_t n = 0;
    struct tensor_key *choices = exact->choices + exact->n_choices;

    for (uint32_t k = part->first; k < part->first + part->n; k++) {
        uint32_t item = exact->list[k];
        uint64_t top = exact->minimum[item] + items[item].size;
        ceiling = top < ceiling ? top : ceiling;
    }
    for (uint32_t s = part->lower; s < part->upper; s++)
        fullest = exact->total[s] > fullest ? exact->total[s] : fullest;
    if (ceiling > exact->capacity - fullest)
        ceiling = exact->capacity - fullest + 1;
    for (uint32_t k = part->first; k < part->first + part->n; k++) {
        uint32_t item = exact->list[k], twin = exact->twin[item];
        uint64_t minimum = exact->minimum[item];
        if (minimum >= ceiling || minimum < part->offset ||
            (minimum == part->offset && exact->rank[item] < part->rank))
            continue;
        if (twin != UINT32_MAX && exact->offsets[twin] == TENSOR_NOWHERE)
            continue;
        uint32_t at = n++;
        for (; at > 0; at--) {
            struct tensor_key before = choices[at - 1];
            if (before.key < minimum ||
                (before.key == minimum && exact->rank[before.value] < exact->rank[item]))
                break;
            choices[at] = before;
        }
        choices[at] = (struct tensor_key){minimum, item};
    }
    return n;
}

/*
 * Solves a part of its own. With `by_fullest`, who is tried first in it goes by how much is still
 * to be put into the fullest section that it covers; afterwards the ranks are what they were.
 */
static enum tensor_exact_result solve_side(struct tensor_exact *exact, struct part part)
{
    size_t first = exact->n_ranks;
    if (!exact->by_fullest || part.n < 3)
        return solve(exact, part);
    if (!exact_reserve((void **)&exact->ranks, sizeof *exact->ranks, &exact->max_ranks,
                       first + 2 * (size_t)part.n))
        return TENSOR_EXACT_UNKNOWN;
    struct tensor_key *old = exact->ranks + first, *keys = old + part.n;
    for (uint32_t k = 0; k < part.n; k++) {
        uint32_t item = exact->list[part.first + k];
        old[k] = (struct tensor_key){exact->rank[item], item};
    }
    tensor_sort(old, exact->scratch, part.n);
    for (uint32_t k = 0; k < part.n; k++)
        keys[k] = (struct tensor_key){~fullest(exact, old[k].value), old[k].value};
    tensor_sort(keys, exact->scratch, part.n);
    for (uint32_t k = 0; k < part.n; k++)
        exact->rank[keys[k].value] = k;
    exact->n_ranks += part.n; /* `keys` is not needed any more */
    enum tensor_exact_result result = solve(exact, part);
    for (uint32_t k = 0; k < part.n; k++)
        exact->rank[exact->ranks[first + k].value] = (uint32_t)exact->ranks[first + k].key;
    exact->n_ranks = first;
    return result;
}

/* The part without the item that was just placed: as a whole, or cut where nothing crosses. */
static enum tensor_exact_result go_on(struct tensor_exact *exact, struct part part, uint32_t item)
{
    const struct tensor_item *its = &exact->instance->items[item];
    bool is_cut = false;

    for (uint32_t s = its->lower + 1; s < its->upper && !is_cut; s++)
        is_cut = exact->crossing[s] == 0 && s > part.lower && s < part.upper;
    if (!is_cut)
        return solve(exact, part);
    uint32_t first = part.first, end = part.first + part.n, lower = part.lower;
    for (uint32_t s = part.lower + 1; s <= part.upper; s++) {
        if (s < part.upper && exact->crossing[s] != 0)
            continue;
        uint32_t middle = first;
        for (uint32_t k = first; k < end; k++)
            if (exact->instance->items[exact->list[k]].lower < s)
                swap_to(exact, exact->list[k], middle++);
        struct part side = {first, middle - first, lower, s, 0, 0};
        if (side.n > 0) {
            enum tensor_exact_result result = solve_side(exact, side);
            if (result != TENSOR_EXACT_FOUND) {
                for (uint32_t k = part.first; k < first; k++)
                    exact_take_back(exact, exact->list[k]); /* the sides that went well */
                return result;
            }
        }
        first = middle;
        lower = s;
    }
    return TENSOR_EXACT_FOUND;
}

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 32)) * 0xd6e8feb86659fd93u;
    z = (z ^ (z >> 29)) * 0x9fb21c651e98df25u;
    return z ^ (z >> 32);
}

/*
 * All that the solution of a part depends on is what is left and the lowest offset that each may
 * still have: its minimum, and not below (offset, rank) of the item placed last.
 */
static struct exact_dead_end describe(const struct tensor_exact *exact, const struct part *part)
{
    struct exact_dead_end key = {exact->capacity, part->n};
    for (uint32_t k = part->first; k < part->first + part->n; k++) {
        uint32_t item = exact->list[k];
        uint64_t lowest = 2 * exact->minimum[item], last = 2 * part->offset;
        last += exact->rank[item] < part->rank;
        uint64_t z = mix((lowest > last ? lowest : last) + item * 0x9e3779b97f4a7c15u);
        key.a += z;
        key.b += z * (z >> 32 | 1);
    }
    key.a = mix(key.a);
    return key;
}

static enum tensor_exact_result solve(struct tensor_exact *exact, struct part part)
{
    enum tensor_exact_result result = TENSOR_EXACT_NONE;
    if (part.n == 0)
        return TENSOR_EXACT_FOUND;
    if (tensor_work_spend(exact->work, 16 + 2 * part.n))
        return TENSOR_EXACT_UNKNOWN;
    struct exact_dead_end key = describe(exact, &part);
    struct exact_dead_end *known = &exact->dead_ends[key.a & (EXACT_DEAD_ENDS - 1)];
    if (known->a == key.a && known->b == key.b)
        return TENSOR_EXACT_NONE;
    size_t first = exact->n_choices;
    if (!exact_reserve((void **)&exact->choices, sizeof *exact->choices, &exact->max_choices,
                       first + part.n))
        return TENSOR_EXACT_UNKNOWN;
    uint32_t n = choose(exact, &part);
    exact->n_choices += n;
    for (uint32_t k = 0; k < n && result == TENSOR_EXACT_NONE; k++) {
        uint32_t item = exact->choices[first + k].value;
        size_t n_minima = exact->n_minima, n_floors = exact->n_floors;
        struct part rest = part;
        bool is_hatless;
        if (!exact_reserve_logs(exact)) {
            result = TENSOR_EXACT_UNKNOWN;
            break;
        }
        rest.offset = exact->minimum[item];
        rest.rank = exact->rank[item];
        rest.n--;
        swap_to(exact, item, part.first + rest.n);
        bool is_good = exact_place(exact, item, &is_hatless);
        exact->work->n_steps += 8 + exact->n_minima - n_minima + 8 * (exact->n_floors - n_floors);
        if (is_good)
            result = go_on(exact, rest, item);
        if (result == TENSOR_EXACT_FOUND)
            break; /* the offsets stay */
        exact_unplace(exact, item, n_minima, n_floors);
        if (is_hatless)
            break;
    }
    exact->n_choices = first;
    if (result == TENSOR_EXACT_NONE)
        *known = key;
    return result;
}

enum tensor_exact_result tensor_exact_run(struct tensor_exact *exact, uint64_t capacity,
                                          const uint32_t *rank, bool by_fullest,
                                          struct tensor_work *work, uint64_t *offsets)
{
    const struct tensor_instance *instance = exact->instance;
    exact->capacity = capacity;
    memcpy(exact->rank, rank, instance->n_items * sizeof *rank);
    exact->by_fullest = by_fullest;
    exact->work = work;
    exact_begin(exact);
    struct part all = {0, instance->n_items, 0, instance->n_sections, 0, 0};
    enum tensor_exact_result result = solve_side(exact, all);
    if (result == TENSOR_EXACT_FOUND)
        memcpy(offsets, exact->offsets, instance->n_items * sizeof *offsets);
    return result;
}
