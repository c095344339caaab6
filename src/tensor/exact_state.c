/* SPDX-License-Identifier: Apache-2.0 */
/* exact_state: see exact_state.h. Fails with no memory only, at the start and for logs. */
#include "tensor/exact_state.h"

#include <stdlib.h>
#include <string.h>

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
    exact->dead_ends = calloc(EXACT_DEAD_ENDS, sizeof *exact->dead_ends);
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
    if (before != EXACT_NOBODY)
        exact->watch_after[before] = after;
    else
        exact->watched[exact->witness[section]] = after;
    if (after != EXACT_NOBODY)
        exact->watch_before[after] = before;
    exact->witness[section] = item;
    exact->watch_before[section] = EXACT_NOBODY;
    exact->watch_after[section] = exact->watched[item];
    if (exact->watched[item] != EXACT_NOBODY)
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

    exact->floors[exact->n_floors++] = (struct exact_change){exact->floor[section], section,
                                                             witness};
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

    exact->minima[exact->n_minima++] = (struct exact_change){exact->minimum[item], item, 0};
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
        for (; section != EXACT_NOBODY; section = next) {
            next = exact->watch_after[section];
            uint64_t floor = exact->floor[section];
            if (exact->minimum[exact->witness[section]] > floor &&
                !look_again(exact, section, floor))
                return false;
        }
    }
    return true;
}

bool exact_place(struct tensor_exact *exact, uint32_t item, bool *is_hatless)
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
                exact->floors[exact->n_floors++] = (struct exact_change){exact->floor[s], s,
                                                                         exact->witness[s]};
                exact->floor[s] = top;
            }
        }
    }
    for (uint32_t s = its->lower + 1; s < its->upper; s++)
        exact->crossing[s]--;
    if (!raise_neighbours(exact, item, top, is_hatless))
        return false;
    for (uint32_t section = exact->watched[item], next; section != EXACT_NOBODY; section = next) {
        next = exact->watch_after[section];
        if (exact->total[section] != 0 && !look_again(exact, section, exact->floor[section]))
            return false;
    }
    return true;
}

void exact_take_back(struct tensor_exact *exact, uint32_t item)
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

void exact_unplace(struct tensor_exact *exact, uint32_t item, size_t n_minima, size_t n_floors)
{
    while (exact->n_minima > n_minima) {
        exact->n_minima--;
        exact->minimum[exact->minima[exact->n_minima].index] = exact->minima[exact->n_minima].old;
    }
    while (exact->n_floors > n_floors) {
        struct exact_change *change = &exact->floors[--exact->n_floors];
        exact->floor[change->index] = change->old;
        if (exact->witness[change->index] != change->witness)
            watch(exact, change->index, change->witness);
    }
    exact_take_back(exact, item);
}

bool exact_reserve(void **array, size_t element, size_t *max, size_t n)
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

/* A placement changes the minimum of each item once at most, and a floor three times. */
bool exact_reserve_logs(struct tensor_exact *exact)
{
    return exact_reserve((void **)&exact->minima, sizeof *exact->minima, &exact->max_minima,
                         exact->n_minima + exact->instance->n_items) &&
           exact_reserve((void **)&exact->floors, sizeof *exact->floors, &exact->max_floors,
                         exact->n_floors + 3 * (size_t)exact->instance->n_sections);
}

void exact_begin(struct tensor_exact *exact)
{
    const struct tensor_instance *instance = exact->instance;
    exact->n_minima = exact->n_floors = exact->n_choices = exact->n_ranks = 0;
    memset(exact->crossing, 0, (instance->n_sections + 2) * sizeof *exact->crossing);
    for (uint32_t i = 0; i < instance->n_items; i++) {
        const struct tensor_item *item = &instance->items[i];
        exact->offsets[i] = TENSOR_NOWHERE;
        exact->minimum[i] = item->fixed != TENSOR_NOWHERE ? item->fixed : 0;
        exact->list[i] = exact->position[i] = i;
        exact->watched[i] = EXACT_NOBODY;
        for (uint32_t s = item->lower + 1; s < item->upper; s++)
            exact->crossing[s]++;
    }
    for (uint32_t s = 0; s < instance->n_sections; s++) {
        exact->floor[s] = 0;
        exact->total[s] = instance->need[s];
        exact->witness[s] = exact->members[exact->first_member[s]];
        exact->watch_before[s] = EXACT_NOBODY;
        exact->watch_after[s] = exact->watched[exact->witness[s]];
        if (exact->watch_after[s] != EXACT_NOBODY)
            exact->watch_before[exact->watch_after[s]] = s;
        exact->watched[exact->witness[s]] = s;
    }
}
