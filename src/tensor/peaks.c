/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peaks: see peaks.h.
 *
 *     made t0 ---- read t1 ............ peak ............ read t2
 *                     drop it here                        | its operator again, here; and, where
 *                                                         | these are gone, those of its inputs
 *
 * Greedy: at the step with the highest peak, each of the largest values that nobody reads there is
 * tried, with chains of operators of several depths: what a chain does not make again has to live
 * on until then. The excess is the sum over all steps of what lives above the budget; the change
 * that takes most off it for an arithmetic operation, and raises the peak nowhere, is made, until
 * nothing is above the budget or no change takes anything off.
 *
 * Only pure operators outside of bodies run again, and nothing is inserted into a body.
 */
#include "tensor/peaks.h"

#include "tensor/sharing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TRIED 12u       /* values, at a peak */
#define MAX_CHAIN 24u       /* operators that run again for one value */
#define MAX_PEAKS 4u        /* that are looked at when the highest can't be lowered */
#define MAX_WORK 20000000.0 /* steps of all programs that are tried */

static const uint32_t depths[] = {1, 2, 4, 8};
#define N_DEPTHS (sizeof depths / sizeof depths[0])

struct search {
    struct program *program;
    const double *costs;
    uint64_t budget;
    bool in_place;
    const struct tensor_limits *limits;
    int64_t *live; /* of each step of the program */
    double excess, work;
    uint64_t peak;
};

/* What a change would be. */
struct change {
    uint32_t at;               /* before this step */
    uint32_t chain[MAX_CHAIN]; /* steps that run again, in their order */
    uint32_t n_chain;
    double cost, excess;
    uint64_t peak;
};

/* What lives when in a program, and how much of it is above the budget. */
static int measure(struct search *search, const struct program *program, int64_t **live,
                   double *excess, uint64_t *peak)
{
    struct sharing sharing;
    int error = sharing_init(&sharing, program, search->in_place);
    if (error != 0)
        return error;
    int64_t *level = calloc((size_t)program->n_steps + 2, sizeof *level);
    *excess = 0;
    *peak = sharing.peak;
    if (live != NULL && search->budget < sharing.floor)
        search->budget = sharing.floor; /* less can't be had: what one step needs */
    if (level != NULL) {
        for (uint32_t i = 0; i < program->n_values; i++) {
            if (sharing.group[i] != i)
                continue;
            level[sharing.lower[i]] += (int64_t)sharing.size[i];
            level[sharing.upper[i]] -= (int64_t)sharing.size[i];
        }
        for (uint32_t i = 0; i <= program->n_steps; i++) {
            level[i] += i > 0 ? level[i - 1] : 0;
            if (level[i] > (int64_t)search->budget)
                *excess += (double)(level[i] - (int64_t)search->budget);
        }
    }
    search->work += program->n_steps;
    sharing_free(&sharing);
    if (live != NULL)
        *live = level;
    else
        free(level);
    return level == NULL ? -ENOMEM : 0;
}

/* The first step after `after` that reads the value; GRAPH_NONE: none. */
static uint32_t next_use(const struct program *program, uint32_t value, uint32_t after,
                         bool *is_used_there)
{
    *is_used_there = false;
    for (uint32_t s = after; s < program->n_steps && s < program->upper[value]; s++) {
        const struct program_step *step = &program->steps[s];
        for (uint32_t i = 0; i < step->n_in; i++) {
            if (program->links[step->first + i] != value)
                continue;
            if (s == after)
                *is_used_there = true;
            else
                return s;
        }
    }
    return GRAPH_NONE;
}

static bool may_run_again(const struct program *program, uint32_t value)
{
    uint32_t maker = program->makers[value];
    return maker != GRAPH_NONE &&
           program_is_pure(program->graph, program->steps[maker].operator_) &&
           !program->graph->tensors[program->tensors[value]].is_output;
}

static bool add_to_chain(struct change *change, uint32_t step)
{
    uint32_t i = 0;
    while (i < change->n_chain && change->chain[i] < step)
        i++;
    if (i < change->n_chain && change->chain[i] == step)
        return true;
    if (change->n_chain == MAX_CHAIN)
        return false;
    memmove(change->chain + i + 1, change->chain + i,
            (change->n_chain - i) * sizeof *change->chain);
    change->chain[i] = step;
    change->n_chain++;
    return true;
}

/* Adds the operator of `value`, and those of its inputs that are gone by then, down to `depth`. */
static bool make_chain(const struct search *search, struct change *change, uint32_t value,
                       uint32_t depth)
{
    const struct program *program = search->program;
    uint32_t maker = program->makers[value];
    const struct program_step *step = &program->steps[maker];
    if (!add_to_chain(change, maker))
        return false;
    for (uint32_t i = 0; depth > 1 && i < step->n_in; i++) {
        uint32_t from = program->links[step->first + i];
        if (from == GRAPH_NONE || program->upper[from] > change->at ||
            !may_run_again(program, from))
            continue;
        if (!make_chain(search, change, from, depth - 1))
            return false;
    }
    return true;
}

static int derive(const struct search *search, const struct change *change, struct program *derived)
{
    const struct program *from = search->program;
    uint32_t n = from->n_steps + change->n_chain, at = 0;
    uint32_t *step_of = malloc(((size_t)n + 1) * sizeof *step_of);
    bool *is_again = malloc(((size_t)n + 1) * sizeof *is_again);
    int error = step_of == NULL || is_again == NULL ? -ENOMEM : 0;
    for (uint32_t s = 0; error == 0 && s < from->n_steps; s++) {
        for (uint32_t i = 0; s == change->at && i < change->n_chain; i++) {
            is_again[at] = true;
            step_of[at++] = change->chain[i];
        }
        is_again[at] = from->steps[s].is_again;
        step_of[at++] = s;
    }
    if (error == 0)
        error = program_derive(derived, from, n, step_of, is_again);
    free(step_of);
    free(is_again);
    return error;
}

static int try_change(struct search *search, struct change *change, struct change *best)
{
    struct program derived;
    change->cost = 0;
    for (uint32_t i = 0; i < change->n_chain; i++)
        change->cost += 1 + search->costs[search->program->steps[change->chain[i]].operator_];
    int error = derive(search, change, &derived);
    if (error != 0)
        return error;
    error = measure(search, &derived, NULL, &change->excess, &change->peak);
    program_free(&derived);
    double gain = search->excess - change->excess;
    if (error == 0 && gain > 0 && change->peak <= search->peak &&
        (best->n_chain == 0 || gain / change->cost > (search->excess - best->excess) / best->cost))
        *best = *change;
    return error;
}

/* The largest values that live at the step and are neither made nor read there. */
static uint32_t choose_values(const struct search *search, uint32_t peak, uint32_t *values,
                              uint32_t *uses)
{
    const struct program *program = search->program;
    uint32_t n = 0;
    for (uint32_t v = 0; v < program->n_values; v++) {
        bool is_used_there;
        if (program->lower[v] >= peak || program->upper[v] <= (int64_t)peak + 1 ||
            !may_run_again(program, v))
            continue;
        uint64_t n_bytes = program_bytes(program, v);
        if (n == MAX_TRIED && program_bytes(program, values[n - 1]) >= n_bytes)
            continue;
        uint32_t use = next_use(program, v, peak, &is_used_there);
        if (is_used_there || use == GRAPH_NONE || program_operator(program, use)->region != 0 ||
            program_operator(program, use)->kind == GRAPH_END)
            continue;
        uint32_t at = n < MAX_TRIED ? n++ : n - 1;
        for (; at > 0 && program_bytes(program, values[at - 1]) < n_bytes; at--) {
            values[at] = values[at - 1];
            uses[at] = uses[at - 1];
        }
        values[at] = v;
        uses[at] = use;
    }
    return n;
}

static int try_peak(struct search *search, uint32_t peak, struct change *best)
{
    uint32_t values[MAX_TRIED], uses[MAX_TRIED];
    uint32_t n = choose_values(search, peak, values, uses);
    int error = 0;
    for (uint32_t i = 0; error == 0 && i < n && !tensor_is_late(search->limits, 0); i++) {
        uint32_t last = 0;
        for (uint32_t d = 0; error == 0 && d < N_DEPTHS; d++) {
            struct change change = {.at = uses[i]};
            if (!make_chain(search, &change, values[i], depths[d]) || change.n_chain == last)
                break;
            last = change.n_chain;
            error = try_change(search, &change, best);
        }
    }
    return error;
}

/* The step where most lives, of those that were not looked at. */
static uint32_t next_peak(const struct search *search, const uint32_t *seen, uint32_t n_seen)
{
    uint32_t best = GRAPH_NONE;
    for (uint32_t s = 0; s < search->program->n_steps; s++) {
        bool is_new = search->live[s] > (int64_t)search->budget;
        for (uint32_t i = 0; i < n_seen; i++)
            is_new = is_new && s != seen[i];
        if (is_new && (best == GRAPH_NONE || search->live[s] > search->live[best]))
            best = s;
    }
    return best;
}

/* Makes the best change; false: there is none. */
static int improve(struct search *search, bool *did)
{
    struct change best = {0};
    uint32_t seen[MAX_PEAKS], n_seen = 0;
    int error = 0;
    *did = false;
    while (error == 0 && best.n_chain == 0 && n_seen < MAX_PEAKS) {
        uint32_t peak = next_peak(search, seen, n_seen);
        if (peak == GRAPH_NONE)
            break;
        seen[n_seen++] = peak;
        error = try_peak(search, peak, &best);
    }
    if (error != 0 || best.n_chain == 0)
        return error;
    struct program derived;
    error = derive(search, &best, &derived);
    if (error != 0)
        return error;
    program_free(search->program);
    *search->program = derived;
    free(search->live);
    search->live = NULL;
    *did = true;
    return measure(search, search->program, &search->live, &search->excess, &search->peak);
}

int peaks_lower(struct program *program, bool in_place, uint64_t budget, const double *costs,
                const struct tensor_limits *limits)
{
    struct search search = {program, costs, budget, in_place, limits, NULL, 0, 0, 0};
    struct program best = {0};
    bool did = true;
    int error = measure(&search, program, &search.live, &search.excess, &search.peak);
    uint64_t lowest = search.peak;
    if (error == 0)
        error = program_copy(&best, program);
    while (error == 0 && did && search.excess > 0 && search.work < MAX_WORK &&
           !tensor_is_late(limits, 0)) {
        error = improve(&search, &did);
        if (error != 0 || search.peak >= lowest)
            continue;
        lowest = search.peak;
        program_free(&best);
        error = program_copy(&best, program);
    }
    if (error == 0) { /* without what was done since and lowered nothing */
        program_free(program);
        *program = best;
    } else {
        program_free(&best);
    }
    free(search.live);
    return error;
}
