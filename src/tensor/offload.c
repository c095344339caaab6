/* SPDX-License-Identifier: Apache-2.0 */
/*
 * offload: see offload.h.
 *
 *     before          gone                back           after
 *     | last touch    | written out       | begin to     | next touch
 *     |--- writing ---|                   |-- fetching --|
 *     |    in memory  |  others' memory   |  in memory   |
 *
 * Writing begins behind `before`, fetching at `back`. If what is computed meanwhile takes long
 * enough, nobody waits.
 *
 * A sweep through the steps. Where more lives than the budget, some of the buffers that are not
 * touched there are looked at: those that come first by a key (touched again last; most bytes for
 * the longest; most time to spare), and the one is sent that costs the least waiting for a byte
 * that has to go. It is away for as long as it can be without waiting, and at least at that step;
 * once it would have to come back, it is looked at again, and may stay away longer. The sweep is
 * done with each key, and the trips with the least waiting are taken: what is really waited, with
 * one transfer each way at a time, is found by going through the schedule.
 *
 * Only between steps outside of bodies. O(log n) for a touch and a trip.
 */
#include "tensor/offload.h"

#include "tensor/queue.h"
#include "tensor/transfers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOOK 8u /* candidates that are looked at */
/* A trip that gets longer does so by this part of it, so that it does so rarely. */
#define STRETCH_FEW 64u /* of up to FEW gaps */
#define STRETCH_MANY 16u
#define FEW 4096u
#define LOOK_STEPS 256u

enum key { KEY_LAST, KEY_AREA, KEY_SLACK, N_KEYS };

struct touch {
    uint32_t group, step;
};

/* Between two touches of a buffer, when it may be away. */
struct gap {
    uint32_t group, before, after;
    uint32_t trip; /* of this sweep, or GRAPH_NONE */
};

struct search {
    const struct program *program;
    const struct sharing *sharing;
    const struct tensor_limits *limits;
    struct gap *gaps; /* in the order of `before` */
    uint32_t n_gaps;
    double *starts; /* when each step begins, without waiting */
    double bandwidth;
    uint32_t *entered; /* of each step: the Begin of the outermost body that it is in, or itself */
    int64_t *live;     /* at each step, before anything is sent */
    uint64_t budget;
};

/* One sweep with one key. */
struct sweep {
    const struct search *search;
    enum key key;
    struct queue queue; /* gaps that are open and not used */
    struct offload offload;
    uint32_t room;       /* for trips */
    uint32_t *gap_of;    /* of each trip */
    uint32_t *returning; /* of each step: a list of trips that come back there */
    uint32_t *next;      /* of each trip: the next in its list */
    uint32_t step;
    uint64_t away; /* bytes, at this step */
};

static int by_group(const void *a, const void *b)
{
    const struct touch *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return x->step < y->step ? -1 : x->step > y->step;
}

static int by_before(const void *a, const void *b)
{
    const struct gap *x = a, *y = b;
    if (x->before != y->before)
        return x->before < y->before ? -1 : 1;
    return x->group < y->group ? -1 : x->group > y->group;
}

static int by_trip(const void *a, const void *b)
{
    const struct trip *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return x->before < y->before ? -1 : x->before > y->before;
}

/* What there is to search in */

/* Who touches what; an output has to be there at the end, an input is from the beginning. */
static struct touch *list_touches(const struct search *search, size_t *n)
{
    const struct program *program = search->program;
    const uint32_t *group = search->sharing->group;
    struct touch *touches = malloc(((size_t)program->n_links + 2 * (size_t)program->n_values + 1) *
                                   sizeof *touches);
    *n = 0;
    for (uint32_t s = 0; touches != NULL && s < program->n_steps; s++) {
        const struct program_step *step = &program->steps[s];
        for (uint32_t i = 0; i < step->n_in + step->n_out; i++) {
            uint32_t value = program->links[step->first + i];
            if (value != GRAPH_NONE)
                touches[(*n)++] = (struct touch){group[value], s};
        }
    }
    for (uint32_t v = 0; touches != NULL && v < program->n_values; v++) {
        if (program->makers[v] == GRAPH_NONE)
            touches[(*n)++] = (struct touch){group[v], 0};
        if (program->graph->tensors[program->tensors[v]].is_output && program->n_steps > 0)
            touches[(*n)++] = (struct touch){group[v], program->n_steps - 1};
    }
    if (*n > 0)
        qsort(touches, *n, sizeof *touches, by_group);
    return touches;
}

static bool is_outside(const struct search *search, uint32_t step)
{
    const struct graph_operator *o = program_operator(search->program, step);
    return o->region == 0 && o->kind == GRAPH_PLAIN;
}

static int find_gaps(struct search *search)
{
    size_t n;
    struct touch *touches = list_touches(search, &n);
    search->gaps = malloc((n + 1) * sizeof *search->gaps);
    if (touches == NULL || search->gaps == NULL) {
        free(touches);
        return -ENOMEM;
    }
    for (size_t i = 0; i + 1 < n; i++) {
        const struct touch *here = &touches[i], *next = here + 1;
        if (next->group == here->group && next->step > here->step + 1 &&
            search->sharing->size[here->group] > 0 && is_outside(search, here->step) &&
            is_outside(search, next->step))
            search->gaps[search->n_gaps++] = (struct gap){here->group, here->step, next->step,
                                                          GRAPH_NONE};
    }
    free(touches);
    if (search->n_gaps > 0)
        qsort(search->gaps, search->n_gaps, sizeof *search->gaps, by_before);
    return 0;
}

static void find_bodies(struct search *search)
{
    const struct program *program = search->program;
    for (uint32_t s = 0; s < program->n_steps; s++) {
        const struct graph_operator *o = program_operator(program, s);
        bool is_within = s > 0 && (o->region != 0 || o->kind == GRAPH_END);
        search->entered[s] = is_within ? search->entered[s - 1] : s;
    }
}

static void find_live(struct search *search)
{
    const struct sharing *sharing = search->sharing;
    uint32_t n = search->program->n_steps;
    memset(search->live, 0, ((size_t)n + 2) * sizeof *search->live);
    for (uint32_t i = 0; i < sharing->n_values; i++) {
        if (sharing->group[i] != i)
            continue;
        search->live[sharing->lower[i]] += (int64_t)sharing->size[i];
        search->live[sharing->upper[i]] -= (int64_t)sharing->size[i];
    }
    for (uint32_t s = 1; s <= n; s++)
        search->live[s] += search->live[s - 1];
}

/* A sweep */

static double time_of(const struct search *search, uint32_t group)
{
    return (double)search->sharing->size[group] / search->bandwidth;
}

/* The first step from `low` on, or else `high`, that begins at `time` or later. */
static uint32_t first_at(const struct search *search, uint32_t low, uint32_t high, double time)
{
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (search->starts[middle] < time)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Before a body that the step is in, if that is at `end` or later, or else behind it. */
static uint32_t out_of_body(const struct search *search, uint32_t step, uint32_t end)
{
    uint32_t n = search->program->n_steps;
    if (step >= n || search->entered[step] == step || search->entered[step] >= end)
        return step >= n ? step : search->entered[step];
    while (step < n && search->entered[step] != step)
        step++;
    return step;
}

/* When the buffer has to be gone and back so that it is away from step `first` up to `end`, and
 * what is waited then. */
static double plan(const struct search *search, uint32_t first, uint32_t end, struct trip *trip)
{
    double time = time_of(search, trip->group), needed = search->starts[trip->after];
    double written = search->starts[trip->before + 1] + time, wait = 0;
    trip->gone = first_at(search, trip->before + 1, first, written);
    uint32_t back = first_at(search, end, trip->after, needed - time);
    if (back > end && search->starts[back] + time > needed)
        back--; /* the last that begins early enough */
    trip->back = out_of_body(search, back, end);
    if (written > search->starts[trip->gone])
        wait += written - search->starts[trip->gone];
    if (search->starts[trip->back] + time > needed)
        wait += search->starts[trip->back] + time - needed;
    return wait;
}

/* The cost of sending a buffer away now, for a byte that has to go. */
static double score(const struct sweep *sweep, const struct gap *gap, uint64_t excess,
                    struct trip *trip)
{
    const struct search *search = sweep->search;
    uint64_t size = search->sharing->size[gap->group];
    double wait, moved = 2 * time_of(search, gap->group) / 16;
    *trip = (struct trip){gap->group, gap->before, gap->after, 0, 0};
    if (gap->trip == GRAPH_NONE) {
        wait = plan(search, sweep->step, sweep->step + 1, trip);
    } else { /* it was away already, but not for long enough */
        struct trip old = sweep->offload.trips[gap->trip];
        uint32_t part = search->n_gaps <= FEW ? STRETCH_FEW : STRETCH_MANY;
        uint32_t more = (sweep->step - old.gone) / part, left = old.after - sweep->step - 1;
        wait = -plan(search, old.gone, old.back, &old);
        wait += plan(search, old.gone, sweep->step + 1 + (more < left ? more : left), trip);
        moved = 0;
    }
    return (wait + moved) / (double)(size < excess ? size : excess);
}

static int offer(struct sweep *sweep, uint32_t index)
{
    const struct search *search = sweep->search;
    const struct gap *gap = &search->gaps[index];
    double key = -(double)gap->after;
    if (sweep->key == KEY_AREA)
        key = -(double)search->sharing->size[gap->group] * (double)(gap->after - gap->before);
    else if (sweep->key == KEY_SLACK)
        key = search->starts[gap->before + 1] + 2 * time_of(search, gap->group) -
              search->starts[gap->after];
    return queue_push(&sweep->queue, (struct queue_entry){key, index, 0});
}

/* The best of the first gaps to send a buffer away in; GRAPH_NONE: there is none. */
static int choose(struct sweep *sweep, uint64_t excess, uint32_t *best, struct trip *best_trip)
{
    struct queue_entry seen[LOOK];
    double best_score = 0;
    unsigned n = 0;
    int error = 0;
    *best = GRAPH_NONE;
    while (n < LOOK && sweep->queue.n > 0) {
        struct queue_entry entry = queue_pop(&sweep->queue);
        const struct gap *gap = &sweep->search->gaps[entry.item];
        struct trip trip;
        if (gap->after <= sweep->step) /* it is over */
            continue;
        double now = score(sweep, gap, excess, &trip);
        seen[n++] = entry;
        if (*best == GRAPH_NONE || now < best_score) {
            best_score = now;
            *best = entry.item;
            *best_trip = trip;
        }
    }
    for (unsigned i = 0; error == 0 && i < n; i++) {
        if (seen[i].item != *best)
            error = queue_push(&sweep->queue, seen[i]);
    }
    return error;
}

static int make_room_for_trips(struct sweep *sweep)
{
    struct offload *offload = &sweep->offload;
    if (offload->n_trips < sweep->room)
        return 0;
    size_t room = 2 * (size_t)sweep->room + 64;
    struct trip *trips = realloc(offload->trips, room * sizeof *trips);
    if (trips == NULL)
        return -ENOMEM;
    offload->trips = trips;
    uint32_t *gap_of = realloc(sweep->gap_of, room * sizeof *gap_of);
    if (gap_of == NULL)
        return -ENOMEM;
    sweep->gap_of = gap_of;
    uint32_t *next = realloc(sweep->next, room * sizeof *next);
    if (next == NULL)
        return -ENOMEM;
    sweep->next = next;
    sweep->room = (uint32_t)room;
    return 0;
}

static int send(struct sweep *sweep, uint32_t index, const struct trip *trip)
{
    struct gap *gap = &sweep->search->gaps[index];
    int error = make_room_for_trips(sweep);
    if (error != 0)
        return error;
    if (gap->trip == GRAPH_NONE) {
        gap->trip = sweep->offload.n_trips++;
        sweep->gap_of[gap->trip] = index;
    }
    sweep->offload.trips[gap->trip] = *trip;
    sweep->next[gap->trip] = sweep->returning[trip->back];
    sweep->returning[trip->back] = gap->trip;
    sweep->away += sweep->search->sharing->size[gap->group];
    return 0;
}

/* Makes room at a step. */
static int sweep_step(struct sweep *sweep, uint32_t *next_gap)
{
    const struct search *search = sweep->search;
    uint32_t s = sweep->step;
    int error = 0;
    for (uint32_t i = sweep->returning[s]; error == 0 && i != GRAPH_NONE; i = sweep->next[i]) {
        sweep->away -= search->sharing->size[sweep->offload.trips[i].group];
        error = offer(sweep, sweep->gap_of[i]);
    }
    for (; error == 0 && *next_gap < search->n_gaps && search->gaps[*next_gap].before < s;
         ++*next_gap)
        error = offer(sweep, *next_gap);
    while (error == 0 && (uint64_t)search->live[s] > search->budget + sweep->away) {
        uint32_t best;
        struct trip trip;
        error = choose(sweep, (uint64_t)search->live[s] - search->budget - sweep->away, &best,
                       &trip);
        if (error != 0 || best == GRAPH_NONE)
            break;
        error = send(sweep, best, &trip);
    }
    return error;
}

/* The most that lives at a step with these trips. */
static int measure(struct sweep *sweep)
{
    const struct search *search = sweep->search;
    uint32_t n = search->program->n_steps;
    int64_t away = 0, *change = calloc((size_t)n + 2, sizeof *change);
    if (change == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < sweep->offload.n_trips; i++) {
        const struct trip *trip = &sweep->offload.trips[i];
        change[trip->gone] += (int64_t)search->sharing->size[trip->group];
        change[trip->back] -= (int64_t)search->sharing->size[trip->group];
    }
    for (uint32_t s = 0; s < n; s++) {
        away += change[s];
        if ((uint64_t)(search->live[s] - away) > sweep->offload.peak)
            sweep->offload.peak = (uint64_t)(search->live[s] - away);
    }
    free(change);
    return 0;
}

static int run_sweep(struct sweep *sweep, const double *seconds)
{
    const struct search *search = sweep->search;
    uint32_t n = search->program->n_steps, next_gap = 0;
    sweep->returning = malloc(((size_t)n + 1) * sizeof *sweep->returning);
    if (sweep->returning == NULL)
        return -ENOMEM;
    memset(sweep->returning, 0xff, ((size_t)n + 1) * sizeof *sweep->returning);
    for (uint32_t i = 0; i < search->n_gaps; i++)
        search->gaps[i].trip = GRAPH_NONE;
    int error = 0;
    for (sweep->step = 0; error == 0 && sweep->step < n; sweep->step++) {
        if (sweep->step % LOOK_STEPS == 0 && tensor_is_late(search->limits, 0))
            break;
        error = sweep_step(sweep, &next_gap);
    }
    if (error == 0)
        error = measure(sweep);
    if (error == 0)
        error = transfers_wait(&sweep->offload, search->sharing, n, seconds, search->bandwidth);
    free(sweep->returning);
    free(sweep->next);
    free(sweep->gap_of);
    queue_free(&sweep->queue);
    return error;
}

/* The whole */

static bool is_better(const struct search *search, const struct offload *new,
                      const struct offload *old)
{
    uint64_t a = new->peak > search->budget ? new->peak : search->budget;
    uint64_t b = old->peak > search->budget ? old->peak : search->budget;
    return a != b ? a < b : new->stall_seconds < old->stall_seconds;
}

static int search_trips(struct search *search, const double *seconds, struct offload *offload)
{
    int error = 0;
    for (unsigned key = 0; error == 0 && key < N_KEYS; key++) {
        struct sweep sweep = {.search = search, .key = (enum key)key};
        if (key > 0 && tensor_is_late(search->limits, 0))
            break;
        error = run_sweep(&sweep, seconds);
        if (error == 0 && (key == 0 || is_better(search, &sweep.offload, offload))) {
            offload_free(offload);
            *offload = sweep.offload;
        } else {
            offload_free(&sweep.offload);
        }
    }
    return error;
}

int offload_find(struct offload *offload, const struct program *program,
                 const struct sharing *sharing, uint64_t budget, double bandwidth,
                 const double *seconds, const struct tensor_limits *limits)
{
    struct search search = {.program = program,
                            .sharing = sharing,
                            .limits = limits,
                            .bandwidth = bandwidth,
                            .budget = budget > sharing->floor ? budget : sharing->floor};
    uint32_t n = program->n_steps;
    *offload = (struct offload){0};
    search.starts = calloc((size_t)n + 1, sizeof *search.starts);
    search.live = malloc(((size_t)n + 2) * sizeof *search.live);
    search.entered = malloc(((size_t)n + 1) * sizeof *search.entered);
    int error = search.starts == NULL || search.live == NULL || search.entered == NULL
                    ? -ENOMEM
                    : find_gaps(&search);
    if (error == 0) {
        find_bodies(&search);
        for (uint32_t s = 0; s < n; s++)
            search.starts[s + 1] = search.starts[s] + seconds[s];
        find_live(&search);
        error = search_trips(&search, seconds, offload);
    }
    if (error == 0 && offload->n_trips > 0)
        qsort(offload->trips, offload->n_trips, sizeof *offload->trips, by_trip);
    free(search.gaps);
    free(search.starts);
    free(search.entered);
    free(search.live);
    if (error != 0)
        offload_free(offload);
    return error;
}

void offload_free(struct offload *offload)
{
    free(offload->trips);
    *offload = (struct offload){0};
}
