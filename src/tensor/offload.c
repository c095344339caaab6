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
 * enough, nobody waits. Greedy: at the step where most lives, of the buffers that are not touched
 * there the one is sent that costs the least waiting for a byte that has to go; it is away for as
 * long as it can be without waiting, and at least at that step. What is really waited, with one
 * transfer each way at a time, is found by going through the schedule in the end.
 *
 * Only between steps outside of bodies.
 */
#include "tensor/offload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TRIPS 100000u

struct touch {
    uint32_t group, step;
};

struct search {
    const struct program *program;
    const struct sharing *sharing;
    struct offload *offload;
    struct touch *touches; /* by group, then by step */
    size_t n_touches;
    double *starts; /* when each step begins, without waiting */
    double bandwidth;
    int64_t *live;
    uint64_t budget;
};

static int by_group(const void *a, const void *b)
{
    const struct touch *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return x->step < y->step ? -1 : x->step > y->step;
}

static int by_trip(const void *a, const void *b)
{
    const struct trip *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return x->before < y->before ? -1 : x->before > y->before;
}

/* Who touches what; an output has to be there at the end, an input is from the beginning. */
static int find_touches(struct search *search)
{
    const struct program *program = search->program;
    size_t n = (size_t)program->n_links + 2 * (size_t)program->n_values + 1;
    search->touches = malloc(n * sizeof *search->touches);
    if (search->touches == NULL)
        return -ENOMEM;
    for (uint32_t s = 0; s < program->n_steps; s++) {
        const struct program_step *step = &program->steps[s];
        for (uint32_t i = 0; i < step->n_in + step->n_out; i++) {
            uint32_t value = program->links[step->first + i];
            if (value != GRAPH_NONE)
                search->touches[search->n_touches++] = (struct touch){search->sharing->group[value],
                                                                      s};
        }
    }
    for (uint32_t v = 0; v < program->n_values; v++) {
        if (program->makers[v] == GRAPH_NONE)
            search->touches[search->n_touches++] = (struct touch){search->sharing->group[v], 0};
        if (program->graph->tensors[program->tensors[v]].is_output && program->n_steps > 0)
            search->touches[search->n_touches++] = (struct touch){search->sharing->group[v],
                                                                  program->n_steps - 1};
    }
    qsort(search->touches, search->n_touches, sizeof *search->touches, by_group);
    return 0;
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

static bool is_outside(const struct search *search, uint32_t step)
{
    const struct graph_operator *o = program_operator(search->program, step);
    return o->region == 0 && o->kind == GRAPH_PLAIN;
}

/* The trip that the buffer makes between these two touches; NULL: none as yet. */
static struct trip *trip_after(const struct search *search, uint32_t group, uint32_t before)
{
    for (uint32_t i = 0; i < search->offload->n_trips; i++) {
        struct trip *trip = &search->offload->trips[i];
        if (trip->group == group && trip->before == before)
            return trip;
    }
    return NULL;
}

/* When the buffer has to be gone and back so that it is away from step `first` up to `end`, and
 * what is waited then. */
static double plan(const struct search *search, uint32_t first, uint32_t end, struct trip *trip)
{
    double time = (double)search->sharing->size[trip->group] / search->bandwidth;
    double written = search->starts[trip->before + 1] + time, wait = 0;
    uint32_t gone = trip->before + 1, back = trip->after;
    while (gone < first && search->starts[gone] < written)
        gone++;
    while (back > end && search->starts[back] + time > search->starts[trip->after])
        back--;
    if (written > search->starts[gone])
        wait += written - search->starts[gone];
    if (search->starts[back] + time > search->starts[trip->after])
        wait += search->starts[back] + time - search->starts[trip->after];
    trip->gone = gone;
    trip->back = back;
    return wait;
}

/* The cost of sending a buffer away over the step, for a byte that has to go. */
static double score(const struct search *search, uint32_t peak, struct trip *trip)
{
    uint64_t excess = (uint64_t)search->live[peak] - search->budget;
    uint64_t size = search->sharing->size[trip->group];
    double wait, moved = 2 * (double)size / search->bandwidth / 16;
    struct trip old, *before = trip_after(search, trip->group, trip->before);
    if (before == NULL) {
        wait = plan(search, peak, peak + 1, trip);
    } else { /* it is away already, but not for long enough */
        old = *before;
        wait = -plan(search, old.gone, old.back, &old);
        wait += plan(search, before->gone < peak ? before->gone : peak,
                     before->back > peak + 1 ? before->back : peak + 1, trip);
        moved = 0;
    }
    return (wait + moved) / (double)(size < excess ? size : excess);
}

/* The best buffer to send away over the step; false: there is none. */
static bool choose(const struct search *search, uint32_t peak, struct trip *best)
{
    double best_score = 0;
    bool found = false;
    for (size_t i = 0; i + 1 < search->n_touches; i++) {
        const struct touch *here = &search->touches[i], *next = here + 1;
        if (next->group != here->group || here->step >= peak || next->step <= peak ||
            search->sharing->size[here->group] == 0 || !is_outside(search, here->step) ||
            !is_outside(search, next->step))
            continue;
        const struct trip *old = trip_after(search, here->group, here->step);
        if (old != NULL && old->gone <= peak && peak < old->back)
            continue;
        struct trip trip = {here->group, here->step, next->step, 0, 0};
        double cost = score(search, peak, &trip);
        if (!found || cost < best_score) {
            found = true;
            best_score = cost;
            *best = trip;
        }
    }
    return found;
}

static void change_live(struct search *search, const struct trip *trip, int64_t sign)
{
    for (uint32_t s = trip->gone; s < trip->back; s++)
        search->live[s] += sign * (int64_t)search->sharing->size[trip->group];
}

static int send(struct search *search, const struct trip *trip)
{
    struct offload *offload = search->offload;
    struct trip *old = trip_after(search, trip->group, trip->before);
    if (old != NULL) {
        change_live(search, old, 1);
        *old = *trip;
        change_live(search, trip, -1);
        return 0;
    }
    if (offload->n_trips % 64 == 0) {
        struct trip *larger = realloc(offload->trips,
                                      ((size_t)offload->n_trips + 64) * sizeof *larger);
        if (larger == NULL)
            return -ENOMEM;
        offload->trips = larger;
    }
    offload->trips[offload->n_trips++] = *trip;
    change_live(search, trip, -1);
    return 0;
}

static uint32_t highest(const struct search *search)
{
    uint32_t best = 0;
    for (uint32_t s = 1; s < search->program->n_steps; s++)
        best = search->live[s] > search->live[best] ? s : best;
    return best;
}

/* Goes through the steps: one transfer each way at a time, in the order in which they begin. */
static int wait_for_all(struct search *search, const double *seconds)
{
    const struct program *program = search->program;
    struct offload *offload = search->offload;
    double now = 0, writing_ends = 0, reading_ends = 0;
    double *written = calloc((size_t)offload->n_trips + 1, sizeof *written);
    double *fetched = calloc((size_t)offload->n_trips + 1, sizeof *fetched);
    if (written == NULL || fetched == NULL) {
        free(written);
        free(fetched);
        return -ENOMEM;
    }
    for (uint32_t s = 0; s < program->n_steps; s++) {
        for (uint32_t i = 0; i < offload->n_trips; i++) {
            const struct trip *trip = &offload->trips[i];
            double time = (double)search->sharing->size[trip->group] / search->bandwidth;
            if (trip->before + 1 == s) {
                writing_ends = (writing_ends > now ? writing_ends : now) + time;
                written[i] = writing_ends;
            }
        }
        for (uint32_t i = 0; i < offload->n_trips; i++) {
            if (offload->trips[i].gone == s && written[i] > now)
                now = written[i];
        }
        for (uint32_t i = 0; i < offload->n_trips; i++) {
            const struct trip *trip = &offload->trips[i];
            double time = (double)search->sharing->size[trip->group] / search->bandwidth;
            if (trip->back == s) {
                reading_ends = (reading_ends > now ? reading_ends : now) + time;
                fetched[i] = reading_ends;
            }
            if (trip->after == s && fetched[i] > now)
                now = fetched[i];
        }
        now += seconds[s];
    }
    offload->seconds = now;
    offload->stall_seconds = now - search->starts[program->n_steps];
    if (offload->stall_seconds < 0)
        offload->stall_seconds = 0;
    free(written);
    free(fetched);
    return 0;
}

int offload_find(struct offload *offload, const struct program *program,
                 const struct sharing *sharing, uint64_t budget, double bandwidth,
                 const double *seconds)
{
    struct search search = {.program = program,
                            .sharing = sharing,
                            .offload = offload,
                            .bandwidth = bandwidth,
                            .budget = budget > sharing->floor ? budget : sharing->floor};
    uint32_t n = program->n_steps;
    *offload = (struct offload){0};
    search.starts = calloc((size_t)n + 1, sizeof *search.starts);
    search.live = malloc(((size_t)n + 2) * sizeof *search.live);
    int error = search.starts == NULL || search.live == NULL ? -ENOMEM : find_touches(&search);
    if (error == 0) {
        for (uint32_t s = 0; s < n; s++)
            search.starts[s + 1] = search.starts[s] + seconds[s];
        find_live(&search);
    }
    while (error == 0 && n > 0) {
        struct trip trip;
        uint32_t peak = highest(&search);
        offload->peak = (uint64_t)search.live[peak];
        if (offload->peak <= search.budget || offload->n_trips == MAX_TRIPS ||
            !choose(&search, peak, &trip))
            break;
        error = send(&search, &trip);
    }
    if (error == 0)
        error = wait_for_all(&search, seconds);
    if (error == 0 && offload->n_trips > 0)
        qsort(offload->trips, offload->n_trips, sizeof *offload->trips, by_trip);
    free(search.touches);
    free(search.starts);
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
