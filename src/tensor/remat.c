/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remat: see remat.h.
 *
 * The steps run in their order. Where there is no room for what one makes, values are evicted until
 * there is; where one reads what was evicted, its operator runs again first, and before that those
 * of its inputs that are gone. Evicted is what costs least for a byte and step (remat_score).
 *
 *                        evicted                     released
 *     absent -> resident <------> evicted -> gone <-- resident, when nobody needs it
 *                                   ^----------'       (lost, if it can't be made again)
 *
 *     evicted  it is needed again, and all that it is made of can be had
 *     gone     nobody needs it. It may be needed again when what was made of it is evicted
 *     lost     it can't be made again: handed in, of a body, random, or made of what is lost
 *
 *   R1  of what an evicted value is made of, all is resident or evicted, and counts it as a needer
 *   R2  resident is what somebody needs: a step to come, an evicted value, the caller; or pinned
 *   R3  the queue has an entry with a key of at most the score (but for what has become cheaper
 *       without being touched) of each value that may be evicted
 *
 * Bodies run as one step, from Begin to End: nothing runs again within them.
 *
 * O(log n) for a step that is run, and for an eviction; fan-outs count up to REMAT_MAX_FAN.
 *
 * Source: M. Kirisame et al., "Dynamic Tensor Rematerialization", ICLR 2021 (the score, with the
 * time since the last use, because there the next one is not known; components).
 */
#include "tensor/remat.h"

#include "tensor/queue.h"
#include "tensor/remat_score.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 1.1 /* a key that has grown by less is as good as new */
#define LOOK_STEPS 256u

static bool is_needed(const struct remat_state *run, uint32_t value)
{
    return run->needers[value] > 0 || remat_next_use(run, value) != GRAPH_NONE ||
           run->program->graph->tensors[run->program->tensors[value]].is_output ||
           (run->keeps_inputs && run->program->makers[value] == GRAPH_NONE);
}

static bool may_leave(const struct remat_state *run, uint32_t value)
{
    return run->state[value] == REMAT_RESIDENT && run->pins[value] == 0 &&
           run->remat->may_rerun[value] && remat_bytes(run, value) > 0;
}

/* R3 */
static void offer(struct remat_state *run, uint32_t value)
{
    if (!may_leave(run, value) || run->target == UINT64_MAX)
        return;
    double key = remat_score(run, value);
    if (key < INFINITY &&
        queue_push(&run->queue, (struct queue_entry){key, value, ++run->stamp[value]}) != 0)
        run->error = -ENOMEM;
}

/* Who comes and goes */

static void drop(struct remat_state *run, uint32_t value)
{
    run->dropped = remat_grow(run, run->dropped, run->n_dropped, &run->room_dropped,
                              sizeof *run->dropped);
    if (run->error == 0)
        run->dropped[run->n_dropped++] = value;
}

/* R2: gives up what nobody needs, and then perhaps what that was made of. */
static void settle(struct remat_state *run, uint32_t value)
{
    drop(run, value);
    while (run->error == 0 && run->n_dropped > 0) {
        uint32_t one = run->dropped[--run->n_dropped];
        if (is_needed(run, one) || run->pins[one] > 0)
            continue;
        if (run->state[one] == REMAT_RESIDENT) {
            run->live -= remat_bytes(run, one);
            run->state[one] = run->remat->may_rerun[one] ? REMAT_GONE : REMAT_LOST;
        } else if (run->state[one] == REMAT_EVICTED) {
            const struct program_step *step = remat_maker(run, one);
            remat_leave(run, one);
            run->state[one] = REMAT_GONE;
            for (uint32_t i = 0; i < step->n_in; i++) {
                uint32_t from = run->program->links[step->first + i];
                if (from != GRAPH_NONE) {
                    run->needers[from]--;
                    drop(run, from);
                }
            }
        }
    }
}

/* R1: a value is evicted now; of what it is made of what is gone has to be had again. At most
 * REMAT_MAX_CHAIN deep: remat_score() has counted. */
static void evict(struct remat_state *run, uint32_t value)
{
    const struct program_step *step = remat_maker(run, value);
    run->state[value] = REMAT_EVICTED;
    for (uint32_t i = 0; i < step->n_in; i++) {
        uint32_t from = run->program->links[step->first + i];
        if (from == GRAPH_NONE)
            continue;
        if (run->state[from] == REMAT_GONE)
            evict(run, from);
        run->needers[from]++;
    }
    remat_join(run, value);
}

static void come_back(struct remat_state *run, uint32_t value)
{
    const struct program_step *step = remat_maker(run, value);
    uint32_t made[REMAT_MAX_FAN], n_made = remat_list_made(run, value, made);
    remat_leave(run, value);
    run->state[value] = REMAT_RESIDENT;
    run->live += remat_bytes(run, value);
    for (uint32_t i = 0; i < step->n_in; i++) {
        uint32_t from = run->program->links[step->first + i];
        if (from != GRAPH_NONE) {
            run->needers[from]--;
            settle(run, from);
        }
    }
    for (uint32_t i = 0; i < n_made; i++) /* cheaper now */
        offer(run, made[i]);
}

static void make_room(struct remat_state *run, uint64_t n_bytes)
{
    while (run->error == 0 && run->live + n_bytes > run->target && run->queue.n > 0) {
        struct queue_entry entry = queue_pop(&run->queue);
        if (entry.stamp != run->stamp[entry.item] || !may_leave(run, entry.item))
            continue;
        double now = remat_score(run, entry.item);
        if (now > TOLERANCE * entry.key && run->queue.n > 0 && now > run->queue.entries[0].key) {
            offer(run, entry.item);
        } else if (now < INFINITY) {
            run->live -= remat_bytes(run, entry.item);
            evict(run, entry.item);
        }
    }
}

/* Steps */

static void emit(struct remat_state *run, uint32_t step, bool is_again)
{
    struct remat_plan *plan = run->plan;
    uint32_t room = plan->room;
    plan->step_of = remat_grow(run, plan->step_of, plan->n_steps, &room, sizeof *plan->step_of);
    plan->is_again = remat_grow(run, plan->is_again, plan->n_steps, &plan->room,
                                sizeof *plan->is_again);
    if (run->error != 0)
        return;
    plan->step_of[plan->n_steps] = step;
    plan->is_again[plan->n_steps++] = is_again;
    if (is_again)
        plan->extra_cost += 1 + run->remat->costs[run->program->steps[step].operator_];
    if (plan->n_steps >= run->max_steps ||
        (plan->n_steps % LOOK_STEPS == 0 && tensor_is_late(run->remat->limits, 0))) {
        run->target = UINT64_MAX;
        plan->gave_up = true;
    }
}

static void unpin(struct remat_state *run, uint32_t value)
{
    if (--run->pins[value] > 0)
        return;
    settle(run, value);
    offer(run, value);
}

/* All that the frame's operator reads is there, and pinned. */
static void rerun(struct remat_state *run, uint32_t step_index)
{
    const struct program_step *step = &run->program->steps[step_index];
    const uint32_t *links = &run->program->links[step->first];
    uint64_t n_bytes = 0;
    for (uint32_t k = step->n_in; k < step->n_in + step->n_out; k++)
        n_bytes += links[k] == GRAPH_NONE ? 0 : remat_bytes(run, links[k]);
    make_room(run, n_bytes);
    emit(run, step_index, true);
    for (uint32_t k = step->n_in; k < step->n_in + step->n_out; k++) {
        if (links[k] != GRAPH_NONE && run->state[links[k]] == REMAT_EVICTED) {
            come_back(run, links[k]);
            offer(run, links[k]);
        }
    }
    for (uint32_t k = 0; k < step->n_in; k++) {
        if (links[k] != GRAPH_NONE)
            unpin(run, links[k]);
    }
}

static void push_frame(struct remat_state *run, uint32_t value)
{
    run->stack = remat_grow(run, run->stack, run->n_stack, &run->room_stack, sizeof *run->stack);
    if (run->error == 0)
        run->stack[run->n_stack++] = (struct remat_frame){value, 0};
}

/* Has an evicted value made again. */
static void bring(struct remat_state *run, uint32_t value)
{
    push_frame(run, value);
    while (run->error == 0 && run->n_stack > 0) {
        struct remat_frame *frame = &run->stack[run->n_stack - 1];
        const struct program_step *step = remat_maker(run, frame->value);
        for (; frame->n_pinned < step->n_in; frame->n_pinned++) {
            uint32_t from = run->program->links[step->first + frame->n_pinned];
            if (from == GRAPH_NONE)
                continue;
            if (run->state[from] != REMAT_RESIDENT)
                break;
            run->pins[from]++;
        }
        if (frame->n_pinned < step->n_in) {
            push_frame(run, run->program->links[step->first + frame->n_pinned]);
            continue;
        }
        run->n_stack--;
        rerun(run, run->program->makers[frame->value]);
    }
}

/* The most that lives within steps first to end - 1 of what is made there. */
static uint64_t room_for(struct remat_state *run, uint32_t first, uint32_t end)
{
    const struct program *program = run->program;
    int64_t live = 0, most = 0;
    for (unsigned pass = 0; pass < 2; pass++) { /* the second clears */
        for (uint32_t s = first; s < end; s++) {
            const struct program_step *step = &program->steps[s];
            for (uint32_t k = 0; k < step->n_out; k++) {
                uint32_t value = program->links[step->first + step->n_in + k];
                if (value == GRAPH_NONE)
                    continue;
                int64_t n_bytes = pass == 0 ? (int64_t)remat_bytes(run, value) : 0;
                run->level[s] = pass == 0 ? run->level[s] + n_bytes : 0;
                if (program->upper[value] < end)
                    run->level[program->upper[value]] -= n_bytes;
            }
        }
        for (uint32_t s = first; s < end; s++) {
            live += pass == 0 ? run->level[s] : 0;
            most = live > most ? live : most;
            run->level[s] = pass == 0 ? run->level[s] : 0;
        }
    }
    return (uint64_t)most;
}

/* Pins what these steps read of what was made before, and has it made again where it is gone. */
static void bring_inputs(struct remat_state *run, uint32_t first, uint32_t end)
{
    const struct program *program = run->program;
    for (unsigned pass = 0; pass < 2; pass++) { /* first those that are there, so that they stay */
        for (uint32_t s = first; s < end; s++) {
            const struct program_step *step = &program->steps[s];
            for (uint32_t i = 0; i < step->n_in && run->error == 0; i++) {
                uint32_t value = program->links[step->first + i];
                if (value == GRAPH_NONE ||
                    (program->makers[value] != GRAPH_NONE && program->makers[value] >= first))
                    continue;
                if (pass == 0) {
                    run->pins[value]++;
                } else if (run->state[value] != REMAT_RESIDENT) {
                    bring(run, value);
                }
            }
        }
    }
}

/* Behind these steps: what they made is there, and what they read may go. */
static void finish(struct remat_state *run, uint32_t first, uint32_t end)
{
    const struct program *program = run->program;
    for (uint32_t s = first; s < end; s++) {
        const struct program_step *step = &program->steps[s];
        for (uint32_t k = 0; k < step->n_in + step->n_out; k++) {
            uint32_t value = program->links[step->first + k];
            if (value == GRAPH_NONE)
                continue;
            while (remat_next_use(run, value) < end)
                run->next[value]++;
            if (k >= step->n_in) {
                run->state[value] = REMAT_RESIDENT;
                run->live += remat_bytes(run, value);
                run->pins[value]++;
            }
        }
    }
    for (uint32_t s = first; s < end; s++) {
        const struct program_step *step = &program->steps[s];
        for (uint32_t k = 0; k < step->n_in + step->n_out; k++) {
            uint32_t value = program->links[step->first + k], maker;
            if (value == GRAPH_NONE)
                continue;
            maker = program->makers[value];
            if (k >= step->n_in || maker == GRAPH_NONE || maker < first)
                unpin(run, value);
        }
    }
}

/* Behind the last step that goes with this one: its own, or the End of what it begins. */
static uint32_t end_of(const struct program *program, uint32_t first)
{
    uint32_t last = first;
    if (program_operator(program, first)->kind == GRAPH_BEGIN) {
        while (last + 1 < program->n_steps && (program_operator(program, last)->region != 0 ||
                                               program_operator(program, last)->kind != GRAPH_END))
            last++;
    }
    return last + 1;
}

/* Runs */

static int open_run(struct remat_state *run)
{
    const struct program *program = run->program;
    size_t n = (size_t)program->n_values + 1;
    run->state = calloc(n, sizeof *run->state);
    run->next = malloc(n * sizeof *run->next);
    run->pins = calloc(n, sizeof *run->pins);
    run->needers = calloc(n, sizeof *run->needers);
    run->stamp = calloc(n, sizeof *run->stamp);
    run->node = calloc(n, sizeof *run->node);
    run->level = calloc((size_t)program->n_steps + 2, sizeof *run->level);
    if (run->state == NULL || run->next == NULL || run->pins == NULL || run->needers == NULL ||
        run->stamp == NULL || run->node == NULL || run->level == NULL)
        return -ENOMEM;
    memcpy(run->next, run->remat->uses.first, program->n_values * sizeof *run->next);
    for (uint32_t v = 0; v < program->n_values; v++) {
        if (program->makers[v] != GRAPH_NONE)
            continue;
        run->state[v] = REMAT_RESIDENT;
        run->live += remat_bytes(run, v);
        settle(run, v);
    }
    return run->error;
}

static void close_run(struct remat_state *run)
{
    free(run->state);
    free(run->next);
    free(run->pins);
    free(run->needers);
    free(run->stamp);
    free(run->node);
    free(run->level);
    free(run->parent);
    free(run->sum);
    free(run->stack);
    free(run->dropped);
    queue_free(&run->queue);
}

int remat_run(const struct remat *remat, uint64_t target, bool keeps_inputs, uint32_t max_steps,
              struct remat_plan *plan)
{
    struct remat_state run = {.remat = remat,
                              .program = remat->program,
                              .plan = plan,
                              .target = target,
                              .keeps_inputs = keeps_inputs,
                              .max_steps = max_steps};
    *plan = (struct remat_plan){0};
    int error = open_run(&run);
    for (uint32_t first = 0, end; error == 0 && first < remat->program->n_steps; first = end) {
        end = end_of(remat->program, first);
        run.now = first;
        bring_inputs(&run, first, end);
        make_room(&run, room_for(&run, first, end));
        for (uint32_t s = first; s < end && run.error == 0; s++)
            emit(&run, s, false);
        if (run.error == 0)
            finish(&run, first, end);
        error = run.error;
    }
    close_run(&run);
    if (error != 0)
        remat_plan_free(plan);
    return error;
}

void remat_plan_free(struct remat_plan *plan)
{
    free(plan->step_of);
    free(plan->is_again);
    *plan = (struct remat_plan){0};
}

/* What is known before */

int remat_init(struct remat *remat, const struct program *program, const double *costs,
               const struct tensor_limits *limits)
{
    const struct graph *graph = program->graph;
    *remat = (struct remat){.program = program, .costs = costs, .limits = limits};
    remat->may_rerun = calloc((size_t)program->n_values + 1, sizeof *remat->may_rerun);
    int error = remat->may_rerun == NULL ? -ENOMEM : uses_init(&remat->uses, program);
    for (uint32_t s = 0; error == 0 && s < program->n_steps; s++) {
        const struct program_step *step = &program->steps[s];
        bool may = program_is_pure(graph, step->operator_);
        for (unsigned pass = 0; pass < 2; pass++) {
            for (uint32_t k = step->n_in; k < step->n_in + step->n_out; k++) {
                uint32_t value = program->links[step->first + k];
                if (value == GRAPH_NONE)
                    continue;
                may = may && !graph->tensors[program->tensors[value]].is_output;
                remat->may_rerun[value] = may;
            }
        }
    }
    if (error != 0)
        remat_free(remat);
    return error;
}

void remat_free(struct remat *remat)
{
    uses_free(&remat->uses);
    free(remat->may_rerun);
    *remat = (struct remat){0};
}
