/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recompute: see recompute.h.
 *
 *     target --remat--> steps --program_derive, sharing--> peak     within the budget?
 *        ^                                                   |
 *        '------------- higher: less work; lower ------------'
 *
 * remat.c runs the program within a target and knows nothing of what shares memory, nor that what
 * is evicted was free since its last use. So the target that just meets the budget is looked for:
 * first with what is handed in given up after its last use, then with it kept. Small programs are
 * lowered peak by peak, too. The program with the least work of those within the budget is taken,
 * or else that with the lowest peak.
 */
#include "tensor/recompute.h"

#include "tensor/peaks.h"
#include "tensor/remat.h"
#include "tensor/sharing.h"

#include <errno.h>
#include <stdlib.h>

#define MAX_RUNS 12u      /* with each way of treating inputs */
#define MAX_VAIN 3u       /* runs that lower nothing, before it is given up */
#define FINEST 64u        /* parts of the budget: targets are not told apart any finer */
#define MAX_WORK 8000000u /* steps of all runs */
#define MAX_PEAKS_STEPS 4096u
#define FREE_STEPS 200000u /* that a run may have, and */
#define STEPS_EACH 16u     /* so many for each of the program's */

/* What came of a run. */
struct outcome {
    uint64_t peak;
    double cost;
    bool gave_up;
};

struct search {
    struct program *program;
    struct remat remat;
    bool in_place;
    uint64_t budget;
    struct program best;
    struct outcome best_outcome;
    uint64_t n_steps; /* of all runs */
};

static uint64_t above(const struct search *search, uint64_t peak)
{
    return peak > search->budget ? peak - search->budget : 0;
}

static bool is_better(const struct search *search, const struct outcome *new)
{
    const struct outcome *old = &search->best_outcome;
    uint64_t now = above(search, new->peak), best = above(search, old->peak);
    return now != best ? now < best
                       : new->cost < old->cost || (new->cost == old->cost &&new->peak < old->peak);
}

/* Looks at what a program needs; the best is kept. Takes it, whatever it returns. */
static int consider(struct search *search, struct program *program, struct outcome *outcome)
{
    struct sharing sharing;
    int error = sharing_init(&sharing, program, search->in_place);
    if (error == 0) {
        outcome->peak = sharing.peak;
        sharing_free(&sharing);
    }
    if (error == 0 && is_better(search, outcome)) {
        program_free(&search->best);
        search->best = *program;
        search->best_outcome = *outcome;
    } else {
        program_free(program);
    }
    return error;
}

/* A run with that target. */
static int try_target(struct search *search, uint64_t target, bool keeps_inputs,
                      struct outcome *outcome)
{
    struct remat_plan plan;
    struct program derived;
    uint64_t n = search->program->n_steps, max = FREE_STEPS + STEPS_EACH * n;
    int error = remat_run(&search->remat, target, keeps_inputs,
                          (uint32_t)(max < UINT32_MAX ? max : UINT32_MAX), &plan);
    if (error != 0)
        return error;
    search->n_steps += plan.n_steps;
    *outcome = (struct outcome){0, plan.extra_cost, plan.gave_up};
    error = program_derive(&derived, search->program, plan.n_steps, plan.step_of, plan.is_again);
    remat_plan_free(&plan);
    return error != 0 ? error : consider(search, &derived, outcome);
}

/*
 * Down from the budget, by more and more, until it is met or nothing is gained any more; then, by
 * halves, up to where it just is.
 */
static int find_target(struct search *search, bool keeps_inputs)
{
    uint64_t least = search->budget / FINEST, step = least, low = 0, target = search->budget,
             high = program_peak(search->program), lowest = UINT64_MAX;
    bool is_met = false;
    unsigned n_vain = 0;
    for (unsigned i = 0; i < MAX_RUNS && n_vain < MAX_VAIN; i++) {
        struct outcome outcome;
        if (search->n_steps > MAX_WORK || tensor_is_late(search->remat.limits, 0))
            return 0;
        int error = try_target(search, target, keeps_inputs, &outcome);
        if (error != 0)
            return error;
        if (outcome.peak <= search->budget) {
            is_met = true;
            low = target;
            if (outcome.cost == 0)
                return 0;
        } else {
            high = target;
        }
        n_vain = is_met || outcome.peak < lowest ? 0 : n_vain + 1;
        lowest = outcome.peak < lowest ? outcome.peak : lowest;
        if (high - low <= least)
            return 0;
        target = is_met ? low + (high - low) / 2 : target > step ? target - step : 0;
        step *= 2;
    }
    return 0;
}

/* Peak by peak, from what there is: exact, but for small programs only. */
static int try_peaks(struct search *search, const struct program *from)
{
    struct outcome outcome = {0};
    struct program program;
    if (from->n_steps > MAX_PEAKS_STEPS || tensor_is_late(search->remat.limits, 0))
        return 0;
    int error = program_copy(&program, from);
    if (error != 0)
        return error;
    error = peaks_lower(&program, search->in_place, search->budget, search->remat.costs,
                        search->remat.limits);
    if (error != 0) {
        program_free(&program);
        return error;
    }
    for (uint32_t s = 0; s < program.n_steps; s++)
        outcome.cost += program.steps[s].is_again
                            ? 1 + search->remat.costs[program.steps[s].operator_]
                            : 0;
    return consider(search, &program, &outcome);
}

/* The program as it is. */
static int begin(struct search *search)
{
    struct sharing sharing;
    int error = sharing_init(&sharing, search->program, search->in_place);
    if (error != 0)
        return error;
    search->best_outcome.peak = sharing.peak;
    if (search->budget < sharing.floor)
        search->budget = sharing.floor; /* less can't be had: what one step needs */
    sharing_free(&sharing);
    return 0;
}

int recompute(struct program *program, bool in_place, uint64_t budget, const double *costs,
              const struct tensor_limits *limits)
{
    struct search search = {.program = program, .in_place = in_place, .budget = budget};
    int error = begin(&search);
    if (error != 0 || search.best_outcome.peak <= search.budget)
        return error;
    error = remat_init(&search.remat, program, costs, limits);
    if (error == 0)
        error = find_target(&search, false);
    if (error == 0)
        error = find_target(&search, true);
    if (error == 0)
        error = try_peaks(&search, program);
    if (error == 0 && search.best.graph != NULL && above(&search, search.best_outcome.peak) > 0)
        error = try_peaks(&search, &search.best);
    remat_free(&search.remat);
    if (error == 0 && search.best.graph != NULL) {
        program_free(program);
        *program = search.best;
    } else {
        program_free(&search.best);
    }
    return error;
}
