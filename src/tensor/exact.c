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
 * below hatless     where nothing is left that could lie on an item, another choice can't help
 *   floors      a section's floor is not below the lowest offset of an item that is left in it
 *   twins       of equal items the first goes first
 *   cuts        where no item that is left crosses between two sections, the sides are solved apart
 *
 * States of an item: placed (offsets[i] is known) or left (minimum[i] is its lowest possible
 * offset). place() and unplace() change it and everything that follows from it; changes of minimum
 * and floor are logged, and undone in reverse.
 *
 * Invariants
 *   1. minimum[i] >= top of every placed item that meets i.
 *   2. total[s] = sum of the sizes of the items left that cover s.
 *   3. crossing[s] = number of items left that cover s - 1 and s.
 *   4. list[position[i]] == i; a call's items are a contiguous part of `list`, those left first.
 *
 * After M. Moffitt, "MiniMalloc", ASPLOS 2023. Fails with no memory only, at the start.
 */
#include "tensor/exact.h"
#include "tensor/sort.h"

#include <stdlib.h>
#include <string.h>

struct change {
    uint64_t old;
    uint32_t index;   /* of an item, or of a section */
    uint32_t witness; /* of the section */
};

#define NOBODY UINT32_MAX

/* A part that has no solution: what is left in it, and where each may begin at the lowest. */
struct dead_end {
    uint64_t a, b; /* a hash of that; 0, 0: none */
};

#define N_DEAD_ENDS 262144u /* a power of two */

struct tensor_exact {
    const struct tensor_instance *instance;
    uint32_t *rank;  /* of items: who goes first at an offset */
    bool by_fullest; /* it is renewed for each part */
    struct tensor_work *work;
    uint64_t capacity;
    uint64_t *offsets, *minimum;          /* of items */
    uint64_t *floor, *total;              /* of sections */
    uint32_t *crossing;                   /* of sections */
    uint32_t *witness;                    /* of sections: an item that may keep it low */
    uint32_t *first_member, *members;     /* of sections */
    uint32_t *twin;                       /* of items: an equal one that goes before */
    uint32_t *list, *position;            /* of items */
    uint32_t *watched;                    /* of items: the first section whose witness it is, */
    uint32_t *watch_before, *watch_after; /* of sections: and the others */
    struct change *minima, *floors;       /* logs */
    size_t n_minima, n_floors, max_minima, max_floors;
    struct tensor_key *choices, *scratch;
    size_t n_choices, max_choices;
    struct tensor_key *ranks; /* those of the parts that are being solved: a stack */
    size_t n_ranks, max_ranks;
    struct dead_end *dead_ends; /* by the low bits of `a` */
};

/* Who covers each section. */
static bool list_members(struct tensor_exact *exact)
{
    const struct tensor_instance *instance = exact->instance;
    struct tensor_piece single;
    const struct tensor_piece *pieces;
    uint32_t *first = calloc(instance->n_sections + 2, sizeof *first);
    size_t n_all = 0;

    exact->first_member = first;
    if (first == NULL)
        return false;
    for (uint32_t i = 0; i < instance->n_items; i++) {
        uint32_t n = tensor_pieces(instance, i, &single, &pieces);
        for (uint32_t k = 0; k < n; k++) {
            for (uint32_t s = pieces[k].lower; s < pieces[k].upper; s++)
                first[s + 2]++;
            n_all += pieces[k].upper - pieces[k].lower;
        }
    }
    for (uint32_t s = 2; s < instance->n_sections + 2; s++)
        first[s] += first[s - 1];
    exact->members = malloc((n_all + 1) * sizeof *exact->members);
    if (exact->members == NULL)
        return false;
    for (uint32_t i = 0; i < instance->n_items; i++) {
        uint32_t n = tensor_pieces(instance, i, &single, &pieces);
        for (uint32_t k = 0; k < n; k++)
            for (uint32_t s = pieces[k].lower; s < pieces[k].upper; s++)
                exact->members[first[s + 1]++] = i;
    }
    return true;
}

static bool are_twins(const struct tensor_instance *instance, uint32_t a, uint32_t b)
{
    const struct tensor_item *x = &instance->items[a], *y = &instance->items[b];
    struct tensor_piece of_x, of_y;
    const struct tensor_piece *xs, *ys;

    if (x->lower != y->lower || x->upper != y->upper || x->size != y->size ||
        x->alignment != y->alignment || x->fixed != y->fixed)
        return false;
    uint32_t n = tensor_pieces(instance, a, &of_x, &xs);
    return n == tensor_pieces(instance, b, &of_y, &ys) && memcmp(xs, ys, n * sizeof *xs) == 0;
}

void tensor_exact_free(struct tensor_exact *exact)
{
    if (exact == NULL)
        return;
    free(exact->offsets);
    free(exact->minimum);
    free(exact->floor);
    free(exact->total);
    free(exact->crossing);
    free(exact->witness);
    free(exact->first_member);
    free(exact->members);
    free(exact->twin);
    free(exact->list);
    free(exact->rank);
    free(exact->ranks);
    free(exact->position);
    free(exact->watched);
    free(exact->watch_before);
    free(exact->watch_after);
    free(exact->minima);
    free(exact->floors);
    free(exact->choices);
    free(exact->scratch);
    free(exact->dead_ends);
    free(exact);
}

static bool make_room(struct tensor_exact *exact)
{
    size_t n = exact->instance->n_items + 1, n_sections = exact->instance->n_sections + 2;
    exact->offsets = malloc(n * sizeof *exact->offsets);
    exact->minimum = malloc(n * sizeof *exact->minimum);
    exact->floor = malloc(n_sections * sizeof *exact->floor);
    exact->total = malloc(n_sections * sizeof *exact->total);
    exact->crossing = malloc(n_sections * sizeof *exact->crossing);
    exact->witness = malloc(n_sections * sizeof *exact->witness);
    exact->twin = malloc(n * sizeof *exact->twin);
    exact->list = malloc(n * sizeof *exact->list);
    exact->rank = malloc(n * sizeof *exact->rank);
    exact->position = malloc(n * sizeof *exact->position);
    exact->watched = malloc(n * sizeof *exact->watched);
    exact->watch_before = malloc(n_sections * sizeof *exact->watch_before);
    exact->watch_after = malloc(n_sections * sizeof *exact->watch_after);
    exact->scratch = malloc(n * sizeof *exact->scratch);
    exact->dead_ends = calloc(N_DEAD_ENDS, sizeof *exact->dead_ends);
    return exact->offsets && exact->minimum && exact->floor && exact->total && exact->crossing &&
           exact->witness && exact->twin && exact->list && exact->position && exact->watched &&
           exact->watch_before && exact->watch_after && exact->scratch && exact->dead_ends &&
           exact->rank;
}

struct tensor_exact *tensor_exact_new(const struct tensor_instance *instance)
{
    struct tensor_exact *exact = calloc(1, sizeof *exact);
    if (exact == NULL)
        return NULL;
    exact->instance = instance;
    if (!make_room(exact) || !list_members(exact)) {
        tensor_exact_free(exact);
        return NULL;
    }
    for (uint32_t i = 0; i < instance->n_items; i++) /* equal ones stand beside each other */
        exact->twin[i] = i > 0 && are_twins(instance, i - 1, i) ? i - 1 : UINT32_MAX;
    return exact;
}

/* Placing */

/* `section` is kept low by `item` from now on. */
static void watch(struct tensor_exact *exact, uint32_t section, uint32_t item)
{
    uint32_t before = exact->watch_before[section], after = exact->watch_after[section];
    if (before != NOBODY)
        exact->watch_after[before] = after;
    else
        exact->watched[exact->witness[section]] = after;
    if (after != NOBODY)
        exact->watch_before[after] = before;
    exact->witness[section] = item;
    exact->watch_before[section] = NOBODY;
    exact->watch_after[section] = exact->watched[item];
    if (exact->watched[item] != NOBODY)
        exact->watch_before[exact->watched[item]] = section;
    exact->watched[item] = section;
}

/*
 * The witness of a section has moved. Another that is left may begin at the floor as well; if none
 * may, the floor is where the lowest may. False: then the section can't hold what is left.
 */
static bool look_again(struct tensor_exact *exact, uint32_t section, uint64_t floor)
{
    uint64_t lowest = UINT64_MAX;
    uint32_t witness = exact->witness[section];

    exact->floors[exact->n_floors++] = (struct change){exact->floor[section], section, witness};
    for (uint32_t k = exact->first_member[section]; k < exact->first_member[section + 1]; k++) {
        uint32_t item = exact->members[k];
        if (exact->offsets[item] != TENSOR_NOWHERE || exact->minimum[item] >= lowest)
            continue;
        lowest = exact->minimum[item];
        witness = item;
        if (lowest <= floor)
            break;
    }
    if (lowest != UINT64_MAX && lowest > floor)
        floor = lowest;
    exact->floor[section] = floor;
    watch(exact, section, witness);
    return exact->total[section] == 0 || floor + exact->total[section] <= exact->capacity;
}

/* What the top of a placed item does to another that is left. False: that can't be placed. */
static bool raise(struct tensor_exact *exact, uint32_t item, uint64_t top)
{
    const struct tensor_item *its = &exact->instance->items[item];
    uint64_t minimum = tensor_align_up(top, its->alignment);

    exact->minima[exact->n_minima++] = (struct change){exact->minimum[item], item, 0};
    if (its->fixed != TENSOR_NOWHERE) {
        exact->minimum[item] = its->fixed;
        return minimum <= its->fixed;
    }
    exact->minimum[item] = minimum;
    return true;
}

/* Raises the neighbours of a placed item. False: one can't be placed any more. */
static bool raise_neighbours(struct tensor_exact *exact, uint32_t item, uint64_t top,
                             bool *is_hatless)
{
    const struct tensor_instance *instance = exact->instance;
    size_t first = exact->n_minima;

    *is_hatless = true;
    for (uint32_t k = instance->first_neighbour[item]; k < instance->first_neighbour[item + 1];
         k++) {
        uint32_t other = instance->neighbours[k];
        if (exact->offsets[other] != TENSOR_NOWHERE)
            continue;
        *is_hatless = false;
        if (exact->minimum[other] < top && !raise(exact, other, top))
            return false;
    }
    for (size_t k = first; k < exact->n_minima; k++) {
        uint32_t section = exact->watched[exact->minima[k].index], next;
        for (; section != NOBODY; section = next) {
            next = exact->watch_after[section];
            uint64_t floor = exact->floor[section];
            if (exact->minimum[exact->witness[section]] > floor &&
                !look_again(exact, section, floor))
                return false;
        }
    }
    return true;
}

/* Puts an item at its minimum. *is_hatless: no neighbour of it is left. False: it leads nowhere. */
static bool place(struct tensor_exact *exact, uint32_t item, bool *is_hatless)
{
    const struct tensor_item *its = &exact->instance->items[item];
    uint64_t offset = exact->minimum[item], top = offset + its->size;
    struct tensor_piece single;
    const struct tensor_piece *pieces;

    exact->offsets[item] = offset;
    uint32_t n = tensor_pieces(exact->instance, item, &single, &pieces);
    for (uint32_t k = 0; k < n; k++) {
        for (uint32_t s = pieces[k].lower; s < pieces[k].upper; s++) {
            exact->total[s] -= its->size;
            if (top > exact->floor[s]) {
                exact->floors[exact->n_floors++] = (struct change){exact->floor[s], s,
                                                                   exact->witness[s]};
                exact->floor[s] = top;
            }
        }
    }
    for (uint32_t s = its->lower + 1; s < its->upper; s++)
        exact->crossing[s]--;
    if (!raise_neighbours(exact, item, top, is_hatless))
        return false;
    for (uint32_t section = exact->watched[item], next; section != NOBODY; section = next) {
        next = exact->watch_after[section];
        if (exact->total[section] != 0 && !look_again(exact, section, exact->floor[section]))
            return false;
    }
    return true;
}

/* An item is left again; the logs are not looked at. */
static void take_back(struct tensor_exact *exact, uint32_t item)
{
    const struct tensor_item *its = &exact->instance->items[item];
    struct tensor_piece single;
    const struct tensor_piece *pieces;
    uint32_t n = tensor_pieces(exact->instance, item, &single, &pieces);

    for (uint32_t k = 0; k < n; k++)
        for (uint32_t s = pieces[k].lower; s < pieces[k].upper; s++)
            exact->total[s] += its->size;
    for (uint32_t s = its->lower + 1; s < its->upper; s++)
        exact->crossing[s]++;
    exact->offsets[item] = TENSOR_NOWHERE;
}

static void unplace(struct tensor_exact *exact, uint32_t item, size_t n_minima, size_t n_floors)
{
    while (exact->n_minima > n_minima) {
        exact->n_minima--;
        exact->minimum[exact->minima[exact->n_minima].index] = exact->minima[exact->n_minima].old;
    }
    while (exact->n_floors > n_floors) {
        struct change *change = &exact->floors[--exact->n_floors];
        exact->floor[change->index] = change->old;
        if (exact->witness[change->index] != change->witness)
            watch(exact, change->index, change->witness);
    }
    take_back(exact, item);
}

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

/* Room for `n` elements. False: no memory, and the search is over. */
static bool reserve(void **array, size_t element, size_t *max, size_t n)
{
    if (n <= *max)
        return true;
    size_t more = n + n / 2 + 1024;
    void *larger = realloc(*array, more * element);
    if (larger == NULL)
        return false;
    *array = larger;
    *max = more;
    return true;
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
    if (!reserve((void **)&exact->ranks, sizeof *exact->ranks, &exact->max_ranks,
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
                    take_back(exact, exact->list[k]); /* the sides that went well */
                return result;
            }
        }
        first = middle;
        lower = s;
    }
    return TENSOR_EXACT_FOUND;
}

/* A placement changes the minimum of each item once at most, and a floor three times. */
static bool reserve_logs(struct tensor_exact *exact)
{
    return reserve((void **)&exact->minima, sizeof *exact->minima, &exact->max_minima,
                   exact->n_minima + exact->instance->n_items) &&
           reserve((void **)&exact->floors, sizeof *exact->floors, &exact->max_floors,
                   exact->n_floors + 3 * (size_t)exact->instance->n_sections);
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
static struct dead_end describe(const struct tensor_exact *exact, const struct part *part)
{
    struct dead_end key = {exact->capacity, part->n};
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
    struct dead_end key = describe(exact, &part);
    struct dead_end *known = &exact->dead_ends[key.a & (N_DEAD_ENDS - 1)];
    if (known->a == key.a && known->b == key.b)
        return TENSOR_EXACT_NONE;
    size_t first = exact->n_choices;
    if (!reserve((void **)&exact->choices, sizeof *exact->choices, &exact->max_choices,
                 first + part.n))
        return TENSOR_EXACT_UNKNOWN;
    uint32_t n = choose(exact, &part);
    exact->n_choices += n;
    for (uint32_t k = 0; k < n && result == TENSOR_EXACT_NONE; k++) {
        uint32_t item = exact->choices[first + k].value;
        size_t n_minima = exact->n_minima, n_floors = exact->n_floors;
        struct part rest = part;
        bool is_hatless;
        if (!reserve_logs(exact)) {
            result = TENSOR_EXACT_UNKNOWN;
            break;
        }
        rest.offset = exact->minimum[item];
        rest.rank = exact->rank[item];
        rest.n--;
        swap_to(exact, item, part.first + rest.n);
        bool is_good = place(exact, item, &is_hatless);
        exact->work->n_steps += 8 + exact->n_minima - n_minima + 8 * (exact->n_floors - n_floors);
        if (is_good)
            result = go_on(exact, rest, item);
        if (result == TENSOR_EXACT_FOUND)
            break; /* the offsets stay */
        unplace(exact, item, n_minima, n_floors);
        if (is_hatless)
            break;
    }
    exact->n_choices = first;
    if (result == TENSOR_EXACT_NONE)
        *known = key;
    return result;
}

static void begin(struct tensor_exact *exact)
{
    const struct tensor_instance *instance = exact->instance;
    exact->n_minima = exact->n_floors = exact->n_choices = exact->n_ranks = 0;
    memset(exact->crossing, 0, (instance->n_sections + 2) * sizeof *exact->crossing);
    for (uint32_t i = 0; i < instance->n_items; i++) {
        const struct tensor_item *item = &instance->items[i];
        exact->offsets[i] = TENSOR_NOWHERE;
        exact->minimum[i] = item->fixed != TENSOR_NOWHERE ? item->fixed : 0;
        exact->list[i] = exact->position[i] = i;
        exact->watched[i] = NOBODY;
        for (uint32_t s = item->lower + 1; s < item->upper; s++)
            exact->crossing[s]++;
    }
    for (uint32_t s = 0; s < instance->n_sections; s++) {
        exact->floor[s] = 0;
        exact->total[s] = instance->need[s];
        exact->witness[s] = exact->members[exact->first_member[s]];
        exact->watch_before[s] = NOBODY;
        exact->watch_after[s] = exact->watched[exact->witness[s]];
        if (exact->watch_after[s] != NOBODY)
            exact->watch_before[exact->watch_after[s]] = s;
        exact->watched[exact->witness[s]] = s;
    }
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
    begin(exact);
    struct part all = {0, instance->n_items, 0, instance->n_sections, 0, 0};
    enum tensor_exact_result result = solve_side(exact, all);
    if (result == TENSOR_EXACT_FOUND)
        memcpy(offsets, exact->offsets, instance->n_items * sizeof *offsets);
    return result;
}
