/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schedule: puts together what the techniques make of a model.
 *
 *     reorder.c --> program --recompute.c--> program --sharing.c--> groups --offload.c--> trips
 *                                                                              |
 *                                            steps, buffers, places <----------'
 *
 * Time. A step of the program becomes a step of the schedule; what is written out and fetched
 * become steps of their own before the step at which they begin. A group is one buffer; one that
 * makes trips is a buffer before, between and after them each, because it may come back elsewhere.
 */
#include "tensor/model.h"
#include "tensor/offload.h"
#include "tensor/recompute.h"
#include "tensor/reorder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BANDWIDTH 1e9
#define SPEED 1e10
#define ALIGNMENT 64u
#define MAX_SECONDS 1e9
#define MAX_COMPARED 64u /* operands of an operator, of which some may be the same */
#define AFTERWARDS \
    6u /* what follows a search takes so many times the making of a program, or less */

struct draft {
    const struct graph *graph;
    struct quire_model_wishes wishes;
    struct tensor_limits limits;
    struct program program;
    struct sharing sharing;
    struct offload offload;
    double *costs;          /* of each operator */
    double *seconds;        /* of each step */
    int64_t *at;            /* of each step of the program, and its end: the step of the schedule */
    uint32_t *first_buffer; /* of each group */
    uint32_t *first_trip;   /* of each group; GRAPH_NONE: it makes none */
    uint32_t *n_trips;
};

/* The program */

static int make_program(struct draft *draft, const uint32_t *order, struct program *program,
                        uint64_t *peak)
{
    struct sharing sharing;
    int error = program_init(program, draft->graph, order);
    if (error != 0)
        return error;
    error = sharing_init(&sharing, program, draft->wishes.in_place);
    if (error != 0) {
        program_free(program);
        return error;
    }
    *peak = sharing.peak;
    sharing_free(&sharing);
    return 0;
}

/* Time for what comes after the searches: the model's own program took `took_ns`. */
static void reserve_time(struct draft *draft, uint64_t took_ns)
{
    struct tensor_limits *limits = &draft->limits;
    if (limits->deadline_ns != UINT64_MAX)
        limits->deadline_ns -= AFTERWARDS * took_ns < limits->deadline_ns ? AFTERWARDS * took_ns
                                                                          : 0;
}

/* The better of the model's own order and the one that was found. */
static int choose_order(struct draft *draft, struct quire_model_schedule *schedule)
{
    struct reorder order;
    struct program other;
    uint64_t own_peak, other_peak, before_ns = tensor_now_ns();
    int error = make_program(draft, NULL, &draft->program, &own_peak);
    reserve_time(draft, tensor_now_ns() - before_ns);
    if (error != 0 || !draft->wishes.reorder || tensor_is_late(&draft->limits, 0))
        return error;
    error = reorder_search(draft->graph, draft->wishes.in_place, draft->wishes.reorder_states,
                           &draft->limits, &order);
    if (error != 0)
        return error;
    error = make_program(draft, order.operators, &other, &other_peak);
    /* What a body takes is estimated: from outside, it is one operator. */
    if (error == 0 && !draft->wishes.in_place && draft->graph->n_regions == 1) {
        schedule->order_bound = order.bound;
        schedule->order_is_proved = order.bound == (other_peak < own_peak ? other_peak : own_peak);
    }
    reorder_free(&order);
    if (error != 0)
        return error;
    if (other_peak < own_peak) {
        program_free(&draft->program);
        draft->program = other;
    } else {
        program_free(&other);
    }
    return 0;
}

static int estimate(struct draft *draft)
{
    const struct graph *graph = draft->graph;
    draft->costs = malloc(((size_t)graph->n_operators + 1) * sizeof *draft->costs);
    if (draft->costs == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < graph->n_operators; i++)
        draft->costs[i] = draft->wishes.costs != NULL ? draft->wishes.costs[i]
                                                      : graph->operators[i].cost;
    return 0;
}

static int time_steps(struct draft *draft, struct quire_model_schedule *schedule)
{
    const struct program *program = &draft->program;
    draft->seconds = malloc(((size_t)program->n_steps + 1) * sizeof *draft->seconds);
    if (draft->seconds == NULL)
        return -ENOMEM;
    for (uint32_t s = 0; s < program->n_steps; s++) {
        double cost = draft->costs[program->steps[s].operator_];
        schedule->cost += program->steps[s].is_again ? 0 : cost;
        schedule->extra_cost += program->steps[s].is_again ? cost : 0;
        schedule->n_recomputed += program->steps[s].is_again;
        draft->seconds[s] = cost / draft->wishes.speed;
        schedule->seconds += draft->seconds[s];
    }
    return 0;
}

/* What no schedule is below: what an operator has to have at once. Written in place, its outputs
 * may lie in what it reads, and what it reads may be views of one another. */
static uint64_t find_least(const struct graph *graph, bool in_place)
{
    uint64_t least = 0, handed_in = 0;
    for (uint32_t i = 0; i < graph->n_operators; i++) {
        const struct graph_operator *o = &graph->operators[i];
        uint64_t read = 0, made = 0;
        for (uint32_t k = 0; k < o->n_inputs + o->n_outputs; k++) {
            uint32_t tensor = graph->links[o->first_input + k];
            bool is_again = false;
            for (uint32_t e = 0; e < k && e < MAX_COMPARED; e++)
                is_again = is_again || graph->links[o->first_input + e] == tensor;
            if (tensor == GRAPH_NONE || !graph_is_dynamic(&graph->tensors[tensor]) ||
                graph->tensors[tensor].is_opaque || is_again || k >= MAX_COMPARED)
                continue;
            uint64_t n_bytes = graph->tensors[tensor].n_bytes;
            if (k >= o->n_inputs)
                made += n_bytes;
            else
                read = in_place ? (n_bytes > read ? n_bytes : read) : read + n_bytes;
        }
        uint64_t both = in_place ? (read > made ? read : made) : read + made;
        least = both > least ? both : least;
    }
    for (uint32_t t = 0; t < graph->n_tensors; t++) {
        const struct graph_tensor *tensor = &graph->tensors[t];
        handed_in += tensor->role == QUIRE_MODEL_INPUT && !tensor->is_opaque ? tensor->n_bytes : 0;
    }
    return handed_in > least ? handed_in : least;
}

static int work(struct draft *draft, struct quire_model_schedule *schedule)
{
    const struct quire_model_wishes *wishes = &draft->wishes;
    int error = estimate(draft);
    if (error == 0)
        error = choose_order(draft, schedule);
    if (error == 0 && wishes->recompute_budget > 0)
        error = recompute(&draft->program, wishes->in_place, wishes->recompute_budget, draft->costs,
                          &draft->limits);
    if (error == 0)
        error = time_steps(draft, schedule);
    if (error == 0)
        error = sharing_init(&draft->sharing, &draft->program, wishes->in_place);
    if (error != 0)
        return error;
    schedule->live_peak = draft->sharing.peak;
    schedule->floor = draft->sharing.floor;
    schedule->least = find_least(draft->graph, wishes->in_place);
    schedule->n_shared = draft->sharing.n_shared;
    schedule->fits_budget = wishes->recompute_budget == 0 || wishes->offload_budget > 0 ||
                            draft->sharing.peak <= wishes->recompute_budget;
    if (wishes->offload_budget == 0)
        return 0;
    error = offload_find(&draft->offload, &draft->program, &draft->sharing, wishes->offload_budget,
                         wishes->bandwidth, draft->seconds, &draft->limits);
    if (error != 0)
        return error;
    schedule->seconds = draft->offload.seconds;
    schedule->stall_seconds = draft->offload.stall_seconds;
    schedule->n_offloaded = draft->offload.n_trips;
    schedule->fits_budget = draft->offload.peak <= wishes->offload_budget;
    for (uint32_t i = 0; i < draft->offload.n_trips; i++)
        schedule->moved_bytes += draft->sharing.size[draft->offload.trips[i].group];
    return 0;
}

/* What is given out */

/* Buffers are numbered group by group; a group with trips has one more than these. */
static int number_buffers(struct draft *draft, struct quire_model_schedule *schedule)
{
    const struct sharing *sharing = &draft->sharing;
    size_t n = (size_t)sharing->n_values + 1;
    draft->first_buffer = malloc(n * sizeof *draft->first_buffer);
    draft->first_trip = malloc(n * sizeof *draft->first_trip);
    draft->n_trips = calloc(n, sizeof *draft->n_trips);
    if (draft->first_buffer == NULL || draft->first_trip == NULL || draft->n_trips == NULL)
        return -ENOMEM;
    for (uint32_t i = draft->offload.n_trips; i-- > 0;) {
        draft->first_trip[draft->offload.trips[i].group] = i;
        draft->n_trips[draft->offload.trips[i].group]++;
    }
    for (uint32_t i = 0; i < sharing->n_values; i++) {
        if (sharing->group[i] != i)
            continue;
        draft->first_buffer[i] = (uint32_t)schedule->n_buffers;
        schedule->n_buffers += 1 + draft->n_trips[i];
    }
    return 0;
}

static int by_time(const void *a, const void *b)
{
    const struct quire_model_step *x = a, *y = b;
    if (x->operator_ != y->operator_) /* while they are sorted: the step that each stands before */
        return x->operator_ < y->operator_ ? -1 : 1;
    if (x->action != y->action)
        return x->action < y->action ? -1 : 1;
    return x->buffer < y->buffer ? -1 : x->buffer > y->buffer;
}

/* Evictions and fetches in the order of the steps before which they begin. */
static struct quire_model_step *list_moves(struct draft *draft)
{
    uint32_t n = draft->offload.n_trips;
    struct quire_model_step *moves = malloc((2 * (size_t)n + 1) * sizeof *moves);
    for (uint32_t i = 0; moves != NULL && i < n; i++) {
        const struct trip *trip = &draft->offload.trips[i];
        uint32_t buffer = draft->first_buffer[trip->group] + i - draft->first_trip[trip->group];
        moves[2 * i] = (struct quire_model_step){QUIRE_MODEL_EVICT, trip->before + 1, buffer,
                                                 QUIRE_MODEL_NONE};
        moves[2 * i + 1] = (struct quire_model_step){QUIRE_MODEL_PREFETCH, trip->back, buffer + 1,
                                                     buffer};
    }
    if (moves != NULL)
        qsort(moves, 2 * (size_t)n, sizeof *moves, by_time);
    return moves;
}

static int write_steps(struct draft *draft, struct quire_model_schedule *schedule)
{
    const struct program *program = &draft->program;
    size_t n_moves = 2 * (size_t)draft->offload.n_trips, move = 0;
    struct quire_model_step *moves = list_moves(draft);
    draft->at = malloc(((size_t)program->n_steps + 1) * sizeof *draft->at);
    schedule->steps = calloc((size_t)program->n_steps + n_moves + 1, sizeof *schedule->steps);
    if (moves == NULL || draft->at == NULL || schedule->steps == NULL) {
        free(moves);
        return -ENOMEM;
    }
    for (uint32_t s = 0; s <= program->n_steps; s++) {
        for (; move < n_moves && moves[move].operator_ == s; move++) {
            schedule->steps[schedule->n_steps] = moves[move];
            schedule->steps[schedule->n_steps++].operator_ = QUIRE_MODEL_NONE;
        }
        draft->at[s] = (int64_t)schedule->n_steps;
        if (s < program->n_steps)
            schedule->steps[schedule->n_steps++] = (struct quire_model_step){
                program->steps[s].is_again ? QUIRE_MODEL_RECOMPUTE : QUIRE_MODEL_RUN,
                program->steps[s].operator_, QUIRE_MODEL_NONE, QUIRE_MODEL_NONE};
    }
    free(moves);
    return 0;
}

/* The end of a lifetime that ends behind step s - 1. */
static int64_t end_at(const struct draft *draft, int64_t s)
{
    return s <= 0 ? 1 : s > draft->program.n_steps ? s : draft->at[s - 1] + 1;
}

/* Where in the schedule a buffer is written out, or fetched into. */
static void find_moves(const struct quire_model_schedule *schedule, int64_t *evicted,
                       int64_t *fetched)
{
    for (size_t i = 0; i < schedule->n_steps; i++) {
        if (schedule->steps[i].action == QUIRE_MODEL_EVICT)
            evicted[schedule->steps[i].buffer] = (int64_t)i;
        else if (schedule->steps[i].action == QUIRE_MODEL_PREFETCH)
            fetched[schedule->steps[i].buffer] = (int64_t)i;
    }
}

static int write_buffers(struct draft *draft, struct quire_model_schedule *schedule)
{
    const struct sharing *sharing = &draft->sharing;
    const struct program *program = &draft->program;
    size_t n = schedule->n_buffers + 1;
    int64_t *moves = calloc(2 * n, sizeof *moves);
    schedule->buffers = calloc(n, sizeof *schedule->buffers);
    if (moves == NULL || schedule->buffers == NULL) {
        free(moves);
        return -ENOMEM;
    }
    find_moves(schedule, moves, moves + n);
    for (uint32_t v = 0; v < sharing->n_values; v++) {
        if (sharing->group[v] != v)
            continue;
        uint32_t first = draft->first_buffer[v], last = first + draft->n_trips[v];
        for (uint32_t b = first; b <= last; b++) {
            const struct trip *next = b < last
                                          ? &draft->offload.trips[draft->first_trip[v] + b - first]
                                          : NULL;
            struct quire_tensor_buffer *buffer = &schedule->buffers[b];
            buffer->name = program->graph->tensors[program->tensors[v]].name;
            buffer->size = sharing->size[v];
            buffer->alignment = draft->wishes.alignment;
            buffer->lower = b > first                ? moves[n + b]
                            : sharing->lower[v] == 0 ? 0
                                                     : draft->at[sharing->lower[v]];
            buffer->upper = end_at(draft, next == NULL ? sharing->upper[v] : (int64_t)next->gone);
            if (next != NULL && buffer->upper <= moves[b])
                buffer->upper = moves[b] + 1;
        }
    }
    free(moves);
    return 0;
}

static int by_tensor(const void *a, const void *b)
{
    const struct quire_model_place *x = a, *y = b;
    if (x->tensor != y->tensor)
        return x->tensor < y->tensor ? -1 : 1;
    return x->lower < y->lower ? -1 : x->lower > y->lower;
}

/* Each value in each buffer of its group, as far as it lives while that does. */
static int write_places(struct draft *draft, struct quire_model_schedule *schedule)
{
    const struct sharing *sharing = &draft->sharing;
    const struct program *program = &draft->program;
    size_t n = 0;
    for (uint32_t v = 0; v < sharing->n_values; v++)
        n += 1 + draft->n_trips[sharing->group[v]];
    schedule->places = calloc(n + 1, sizeof *schedule->places);
    if (schedule->places == NULL)
        return -ENOMEM;
    for (uint32_t v = 0; v < sharing->n_values; v++) {
        uint32_t group = sharing->group[v], first = draft->first_buffer[group];
        for (uint32_t b = first; b <= first + draft->n_trips[group]; b++) {
            int64_t lower = program->lower[v] == 0 ? 0 : draft->at[program->lower[v]];
            int64_t upper = end_at(draft, program->upper[v]);
            const struct quire_tensor_buffer *buffer = &schedule->buffers[b];
            lower = lower < buffer->lower ? buffer->lower : lower;
            upper = upper > buffer->upper ? buffer->upper : upper;
            if (lower < upper)
                schedule->places[schedule->n_places++] = (struct quire_model_place){
                    program->tensors[v], b, sharing->offset[v], lower, upper};
        }
    }
    qsort(schedule->places, schedule->n_places, sizeof *schedule->places, by_tensor);
    return 0;
}

/* The peak of the buffers as they are given out. */
static int measure_peak(struct quire_model_schedule *schedule)
{
    struct quire_tensor_buffer *buffers = schedule->buffers;
    int64_t *level = calloc(schedule->n_steps + 2, sizeof *level);
    if (level == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < schedule->n_buffers; i++) {
        level[buffers[i].lower] += (int64_t)buffers[i].size;
        level[buffers[i].upper] -= (int64_t)buffers[i].size;
    }
    int64_t live = 0;
    schedule->live_peak = 0;
    for (size_t i = 0; i <= schedule->n_steps; i++) {
        live += level[i];
        if ((uint64_t)live > schedule->live_peak)
            schedule->live_peak = (uint64_t)live;
    }
    free(level);
    return 0;
}

static void free_draft(struct draft *draft)
{
    program_free(&draft->program);
    sharing_free(&draft->sharing);
    offload_free(&draft->offload);
    free(draft->costs);
    free(draft->seconds);
    free(draft->at);
    free(draft->first_buffer);
    free(draft->first_trip);
    free(draft->n_trips);
}

int quire_model_schedule(const struct quire_model *model, const struct quire_model_wishes *wishes,
                         struct quire_model_schedule *schedule)
{
    struct draft draft = {.graph = &model->graph, .limits = {.deadline_ns = UINT64_MAX}};
    *schedule = (struct quire_model_schedule){0};
    if (wishes != NULL)
        draft.wishes = *wishes;
    if (!(draft.wishes.bandwidth > 0))
        draft.wishes.bandwidth = BANDWIDTH;
    if (!(draft.wishes.speed > 0))
        draft.wishes.speed = SPEED;
    if (draft.wishes.time_limit > 0 && draft.wishes.time_limit < MAX_SECONDS)
        draft.limits.deadline_ns = tensor_now_ns() + (uint64_t)(draft.wishes.time_limit * 1e9);
    if (draft.wishes.alignment == 0)
        draft.wishes.alignment = ALIGNMENT;
    int error = work(&draft, schedule);
    if (error == 0)
        error = number_buffers(&draft, schedule);
    if (error == 0)
        error = write_steps(&draft, schedule);
    if (error == 0)
        error = write_buffers(&draft, schedule);
    if (error == 0)
        error = write_places(&draft, schedule);
    if (error == 0)
        error = measure_peak(schedule);
    free_draft(&draft);
    if (error != 0)
        quire_model_schedule_free(schedule);
    return error;
}

void quire_model_schedule_free(struct quire_model_schedule *schedule)
{
    free(schedule->steps);
    free(schedule->buffers);
    free(schedule->places);
    *schedule = (struct quire_model_schedule){0};
}
