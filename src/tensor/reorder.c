/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reorder: see reorder.h.
 *
 *     live after a set of units S      sum of the classes that S has made and others still read
 *     peak while u runs after S        live(S) + what u makes and needs inside, less what it
 *                                      writes over
 *
 * Both depend on S alone, not on its order. So the best order is a shortest way through the sets,
 * by the number of executed units (dynamic programming over ideals, as in "Ordering Chaos"): of
 * each set that is reached, the lowest peak is kept. A level holds the best `width` sets; if none
 * was ever left out that could have led to less, the result is proved to be the least.
 *
 *     level k: {S} --each unit that is ready--> level k + 1: {S + u}, the same sets made one
 *
 * Sets are told apart by a 64-bit Zobrist hash and their live bytes.
 *
 * Beyond MAX_UNITS the order is greedy: of all that is ready, what leaves least behind, then what
 * needs least meanwhile, then what stood first.
 */
#include "tensor/reorder.h"

#include "tensor/units.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_UNITS 4096u
#define MAX_WIDTH 2048u
#define STATES 200000u

struct state {
    uint64_t hash, peak, live;
    uint32_t parent; /* in ways, or GRAPH_NONE */
    uint32_t unit;   /* that led here */
    uint32_t from;   /* the state of the level before */
};

/* How a state was reached: for all levels, to find the order in the end. */
struct way {
    uint32_t parent, unit;
};

struct search {
    struct units units;
    uint32_t n_words;
    uint64_t *done; /* of each state of the level: a bit for each unit */
    uint64_t *done_next;
    struct state *level, *next;
    uint32_t n_level, n_next, room_next, width;
    uint32_t *slots; /* a hash table of the next level's states */
    uint32_t n_slots;
    struct way *ways;
    uint32_t n_ways, room_ways;
    uint64_t most;    /* a peak that an order is known for */
    bool is_complete; /* no state was left out */
};

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u; /* splitmix64 */
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static bool is_done(const uint64_t *done, uint32_t unit)
{
    return (done[unit / 64] >> unit % 64 & 1) != 0;
}

static bool is_ready(const struct units *units, const uint64_t *done, uint32_t u)
{
    const struct units_list *before = &units->unit[u].before;
    for (uint32_t i = 0; i < before->n; i++) {
        if (!is_done(done, units->before[before->first + i]))
            return false;
    }
    return !is_done(done, u);
}

/* What a unit needs while it runs, on top of what lives, and what lives afterwards. */
static void weigh(const struct units *units, const uint64_t *done, uint32_t u, uint64_t live,
                  uint64_t *peak, uint64_t *after)
{
    const struct unit *unit = &units->unit[u];
    uint64_t made = unit->inner, freed = 0, over = 0, largest = 0;
    for (uint32_t i = 0; i < unit->touched.n; i++) {
        const struct units_class *class = &units->class[units->touched[unit->touched.first + i]];
        bool was_there = class->is_input, goes = !class->stays;
        for (uint32_t k = 0; k < class->users.n; k++) {
            uint32_t user = units->users[class->users.first + k];
            if (user != u && is_done(done, user))
                was_there = true;
            else if (user != u)
                goes = false;
        }
        if (!was_there) {
            made += class->n_bytes;
            largest = class->n_bytes;
        }
        if (goes)
            freed += class->n_bytes;
        if (was_there && goes && !class->is_input && class->n_bytes > over)
            over = class->n_bytes;
    }
    *after = live + made - unit->inner - freed;
    *peak = live + made;
    if (unit->can_overwrite && over >= largest)
        *peak -= largest;
    if (live + unit->inner_before > *peak)
        *peak = live + unit->inner_before;
}

/* The most that lives when the units run in this order; NULL: in their own. */
static int replay(const struct units *units, const uint32_t *order, uint64_t live, uint64_t *most)
{
    uint64_t *done = calloc((size_t)units->n_units / 64 + 1, sizeof *done);
    if (done == NULL)
        return -ENOMEM;
    *most = live;
    for (uint32_t i = 0; i < units->n_units; i++) {
        uint32_t u = order == NULL ? i : order[i];
        uint64_t peak;
        weigh(units, done, u, live, &peak, &live);
        if (peak > *most)
            *most = peak;
        done[u / 64] |= (uint64_t)1 << u % 64;
    }
    free(done);
    return 0;
}

/* Levels */

static struct state *find_slot(struct search *search, uint64_t hash, uint64_t live, uint32_t **slot)
{
    for (uint32_t i = (uint32_t)hash & (search->n_slots - 1);;
         i = (i + 1) & (search->n_slots - 1)) {
        *slot = &search->slots[i];
        if (**slot == GRAPH_NONE)
            return NULL;
        struct state *state = &search->next[**slot];
        if (state->hash == hash && state->live == live)
            return state;
    }
}

static bool add_state(struct search *search, const struct state *state)
{
    uint32_t *slot;
    if (2 * (search->n_next + 1) > search->n_slots)
        return false;
    struct state *same = find_slot(search, state->hash, state->live, &slot);
    if (same != NULL) {
        if (state->peak < same->peak)
            *same = *state;
        return true;
    }
    *slot = search->n_next;
    search->next[search->n_next++] = *state;
    return true;
}

static int by_peak(const void *a, const void *b)
{
    const struct state *x = a, *y = b;
    if (x->peak != y->peak)
        return x->peak < y->peak ? -1 : 1;
    if (x->live != y->live)
        return x->live < y->live ? -1 : 1;
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* All states that follow from the level's. */
static void expand(struct search *search)
{
    const struct units *units = &search->units;
    memset(search->slots, 0xff, search->n_slots * sizeof *search->slots);
    search->n_next = 0;
    for (uint32_t s = 0; s < search->n_level; s++) {
        const uint64_t *done = search->done + (size_t)s * search->n_words;
        const struct state *state = &search->level[s];
        for (uint32_t u = 0; u < units->n_units; u++) {
            uint64_t peak, live;
            if (!is_ready(units, done, u))
                continue;
            weigh(units, done, u, state->live, &peak, &live);
            if (peak < state->peak)
                peak = state->peak;
            if (peak >= search->most)
                continue; /* no better than what is known */
            struct state child = {state->hash ^ mix(u + 1), peak, live, state->parent, u, s};
            if (!add_state(search, &child))
                search->is_complete = false;
        }
    }
}

/* The best of the next level become the level. */
static int advance(struct search *search)
{
    if (search->n_next > search->width) {
        qsort(search->next, search->n_next, sizeof *search->next, by_peak);
        search->n_next = search->width;
        search->is_complete = false;
    }
    if (search->n_ways + search->n_next > search->room_ways) {
        uint32_t room = 2 * search->room_ways + search->n_next;
        struct way *larger = realloc(search->ways, room * sizeof *larger);
        if (larger == NULL)
            return -ENOMEM;
        search->ways = larger;
        search->room_ways = room;
    }
    for (uint32_t i = 0; i < search->n_next; i++) {
        struct state *state = &search->next[i];
        uint64_t *done = search->done_next + (size_t)i * search->n_words;
        memcpy(done, search->done + (size_t)state->from * search->n_words,
               search->n_words * sizeof *done);
        done[state->unit / 64] |= (uint64_t)1 << state->unit % 64;
        search->ways[search->n_ways] = (struct way){state->parent, state->unit};
        state->parent = search->n_ways++;
        search->level[i] = *state;
    }
    search->n_level = search->n_next;
    uint64_t *swap = search->done;
    search->done = search->done_next;
    search->done_next = swap;
    return 0;
}

static void free_search(struct search *search)
{
    free(search->done);
    free(search->done_next);
    free(search->level);
    free(search->next);
    free(search->slots);
    free(search->ways);
    units_free(&search->units);
}

static int begin(struct search *search, uint64_t n_states, uint64_t live)
{
    uint32_t n = search->units.n_units;
    uint64_t width = n_states / (n + 1);
    search->width = width < 8 ? 8 : width > MAX_WIDTH ? MAX_WIDTH : (uint32_t)width;
    search->n_words = n / 64 + 1;
    search->n_slots = 1;
    while (search->n_slots < 32 * search->width)
        search->n_slots *= 2;
    search->room_next = search->n_slots / 2 + 1;
    search->done = calloc((size_t)search->width * search->n_words, sizeof *search->done);
    search->done_next = calloc((size_t)search->width * search->n_words, sizeof *search->done);
    search->level = malloc(search->width * sizeof *search->level);
    search->next = malloc(search->room_next * sizeof *search->next);
    search->slots = malloc(search->n_slots * sizeof *search->slots);
    if (search->done == NULL || search->done_next == NULL || search->level == NULL ||
        search->next == NULL || search->slots == NULL)
        return -ENOMEM;
    search->level[0] = (struct state){0, live, live, GRAPH_NONE, GRAPH_NONE, 0};
    search->n_level = 1;
    search->is_complete = true;
    return 0;
}

/* Greedy */

static bool is_better(uint64_t after, uint64_t peak, uint64_t best_after, uint64_t best_peak)
{
    return after < best_after || (after == best_after && peak < best_peak);
}

/* Of the ready units, at most LOOK of them, the one that leaves least behind. */
static int greedy(const struct units *units, uint64_t live, uint32_t *order)
{
    enum { LOOK = 64 };
    uint32_t n = units->n_units, n_ready = 0;
    uint64_t *done = calloc((size_t)n / 64 + 1, sizeof *done);
    uint32_t *ready = malloc(((size_t)n + 1) * sizeof *ready);
    uint32_t *waits = malloc(((size_t)n + 1) * sizeof *waits);
    int error = done == NULL || ready == NULL || waits == NULL ? -ENOMEM : 0;
    for (uint32_t u = 0; error == 0 && u < n; u++) {
        waits[u] = units->unit[u].before.n;
        if (waits[u] == 0)
            ready[n_ready++] = u;
    }
    for (uint32_t i = 0; error == 0 && i < n; i++) {
        uint32_t best = n_ready - 1;
        uint64_t best_after = UINT64_MAX, best_peak = UINT64_MAX;
        for (uint32_t k = 0; k < n_ready && k < LOOK; k++) { /* the latest that became ready */
            uint32_t at = n_ready - 1 - k;
            uint64_t peak, after;
            weigh(units, done, ready[at], live, &peak, &after);
            if (is_better(after, peak, best_after, best_peak)) {
                best = at;
                best_after = after;
                best_peak = peak;
            }
        }
        uint32_t u = ready[best];
        order[i] = u;
        live = best_after;
        done[u / 64] |= (uint64_t)1 << u % 64;
        memmove(ready + best, ready + best + 1, (n_ready - best - 1) * sizeof *ready);
        n_ready--;
        for (uint32_t k = 0; k < units->unit[u].next.n; k++) {
            uint32_t next = units->next[units->unit[u].next.first + k];
            if (--waits[next] == 0)
                ready[n_ready++] = next;
        }
    }
    free(done);
    free(ready);
    free(waits);
    return error;
}

/* The whole */

/* No order needs less than its largest unit: with all that it touches. */
static uint64_t bound_of(const struct units *units)
{
    uint64_t bound = 0;
    for (uint32_t u = 0; u < units->n_units; u++) {
        const struct unit *unit = &units->unit[u];
        uint64_t sum = unit->inner, largest = 0;
        for (uint32_t i = 0; i < unit->touched.n; i++) {
            uint64_t n_bytes = units->class[units->touched[unit->touched.first + i]].n_bytes;
            sum += n_bytes;
            largest = n_bytes > largest ? n_bytes : largest;
        }
        if (unit->can_overwrite)
            sum -= largest;
        sum = unit->inner_before > sum ? unit->inner_before : sum;
        bound = sum > bound ? sum : bound;
    }
    return bound;
}

static void write_order(const struct units *units, const uint32_t *order, uint32_t *operators)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < units->n_units; i++) {
        const struct units_list *list = &units->unit[order == NULL ? i : order[i]].operators;
        memcpy(operators + n, units->operators + list->first, list->n * sizeof *operators);
        n += list->n;
    }
}

/* Searches the levels; true: `units_order` holds an order with a lower peak than search->most. */
static int find(struct search *search, uint64_t n_states, uint64_t live,
                const struct tensor_limits *limits, uint32_t *units_order, bool *found)
{
    uint32_t n = search->units.n_units;
    int error = begin(search, n_states, live);
    *found = false;
    for (uint32_t k = 0; error == 0 && k < n && search->n_level > 0; k++) {
        if (tensor_is_late(limits, 0)) {
            search->is_complete = false;
            return 0;
        }
        expand(search);
        error = advance(search);
    }
    if (error != 0 || search->n_level == 0)
        return error;
    uint32_t best = 0;
    for (uint32_t i = 1; i < search->n_level; i++)
        best = search->level[i].peak < search->level[best].peak ? i : best;
    uint32_t way = search->level[best].parent;
    for (uint32_t k = n; k-- > 0; way = search->ways[way].parent)
        units_order[k] = search->ways[way].unit;
    search->most = search->level[best].peak;
    *found = true;
    return 0;
}

int reorder_search(const struct graph *graph, bool in_place, uint64_t n_states,
                   const struct tensor_limits *limits, struct reorder *order)
{
    struct search search = {0};
    uint64_t live = 0, own, by_greed = 0;
    bool found = false;
    *order = (struct reorder){0};
    int error = units_init(&search.units, graph, in_place);
    if (error != 0)
        return error;
    uint32_t n = search.units.n_units;
    uint32_t *units_order = malloc(((size_t)n + 1) * sizeof *units_order);
    order->operators = malloc(((size_t)graph->n_operators + 1) * sizeof *order->operators);
    for (uint32_t i = 0; i < search.units.n_classes; i++) { /* what nobody reads goes at once */
        const struct units_class *class = &search.units.class[i];
        live += class->is_input && (class->users.n > 0 || class->stays) ? class->n_bytes : 0;
    }
    if (units_order == NULL || order->operators == NULL)
        error = -ENOMEM;
    if (error == 0)
        error = replay(&search.units, NULL, live, &own);
    if (error == 0)
        error = greedy(&search.units, live, units_order);
    if (error == 0)
        error = replay(&search.units, units_order, live, &by_greed);
    if (error == 0) {
        write_order(&search.units, by_greed < own ? units_order : NULL, order->operators);
        search.most = by_greed < own ? by_greed : own;
        order->bound = bound_of(&search.units);
        if (n <= MAX_UNITS && order->bound < search.most)
            error = find(&search, n_states == 0 ? STATES : n_states, live, limits, units_order,
                         &found);
    }
    if (error == 0 && found)
        write_order(&search.units, units_order, order->operators);
    order->peak = search.most;
    if (search.is_complete)
        order->bound = order->peak;
    free(units_order);
    free_search(&search);
    if (error != 0)
        reorder_free(order);
    return error;
}

void reorder_free(struct reorder *order)
{
    free(order->operators);
    *order = (struct reorder){0};
}
