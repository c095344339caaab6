/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout_costs: measures each shape once, a few runs, of which the fastest counts.
 */
#include "cli/layout_costs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MEASURE_SECONDS 4e-3
#define MAX_RUNS 50
#define COPY_BYTES ((size_t)8 << 20)

struct conversion_cost {
    int64_t dims[4];
    enum quire_layout_type type;
    enum layout_choice from, to;
    double seconds;
};

struct kernel_cost {
    struct quire_conv_shape shape;
    enum layout_choice in, out;
    struct layout_kernel_cost cost;
};

struct layout_costs {
    const struct layout_graph *graph;
    struct conversion_cost *conversions;
    struct kernel_cost *kernels;
    size_t n_conversions, n_kernels, room_conversions, room_kernels;
    double copy_speed; /* bytes read and written a second */
};

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void *take(size_t n_bytes)
{
    size_t room = (n_bytes + QUIRE_CONV_ALIGNMENT) / QUIRE_CONV_ALIGNMENT * QUIRE_CONV_ALIGNMENT;
    void *memory = aligned_alloc(QUIRE_CONV_ALIGNMENT, room);

    if (memory != NULL)
        memset(memory, 0, room); /* zeros are as fast as any number, and none is a NaN */
    return memory;
}

/* Makes room for one more; false: no memory. */
static bool grow(void **array, size_t *room, size_t n, size_t size)
{
    if (n < *room)
        return true;
    size_t more = *room == 0 ? 64 : 2 * *room;
    void *longer = realloc(*array, more * size);
    if (longer == NULL)
        return false;
    *array = longer;
    *room = more;
    return true;
}

/* The least time of some runs of run(); negative: it failed. */
static double time_of(int (*run)(void *context), void *context)
{
    double best = -1, start = now();

    for (unsigned i = 0; i < MAX_RUNS && (i < 2 || now() - start < MEASURE_SECONDS); i++) {
        double begin = now();
        if (run(context) != 0)
            return -1;
        double seconds = now() - begin;
        best = best < 0 || seconds < best ? seconds : best;
    }
    return best;
}

/* Conversions */

struct conversion_run {
    struct quire_layout_conversion conversion;
    void *source, *target;
    size_t from_bytes, to_bytes;
};

static int run_conversion(void *context)
{
    struct conversion_run *run = context;

    return quire_layout_convert(&run->conversion, run->source, run->from_bytes, run->target,
                                run->to_bytes);
}

static double measure_conversion(const struct layout_graph *graph, uint32_t tensor,
                                 enum layout_choice from, enum layout_choice to)
{
    struct quire_layout source = layout_graph_layout(graph, tensor, from);
    struct quire_layout target = layout_graph_layout(graph, tensor, to);
    struct conversion_run run = {.from_bytes = quire_layout_bytes(&source),
                                 .to_bytes = quire_layout_bytes(&target)};
    double seconds = -1;

    if (quire_layout_conversion_init(&run.conversion, &source, &target, NULL) != 0)
        return -1;
    run.source = take(run.from_bytes);
    run.target = take(run.to_bytes);
    if (run.source != NULL && run.target != NULL)
        seconds = time_of(run_conversion, &run);
    free(run.source);
    free(run.target);
    return seconds;
}

double layout_costs_convert(struct layout_costs *costs, uint32_t tensor, enum layout_choice from,
                            enum layout_choice to)
{
    const struct layout_tensor *its = &costs->graph->tensors[tensor];

    if (from == to)
        return 0;
    for (size_t i = 0; i < costs->n_conversions; i++) {
        const struct conversion_cost *cost = &costs->conversions[i];
        if (cost->type == its->type && cost->from == from && cost->to == to &&
            memcmp(cost->dims, its->dims, sizeof its->dims) == 0)
            return cost->seconds;
    }
    if (!grow((void **)&costs->conversions, &costs->room_conversions, costs->n_conversions,
              sizeof *costs->conversions))
        return -1;
    struct conversion_cost *cost = &costs->conversions[costs->n_conversions];
    *cost = (struct conversion_cost){.type = its->type, .from = from, .to = to};
    memcpy(cost->dims, its->dims, sizeof its->dims);
    cost->seconds = measure_conversion(costs->graph, tensor, from, to);
    if (cost->seconds < 0)
        return -1;
    costs->n_conversions++;
    return cost->seconds;
}

/* Kernels */

struct kernel_run {
    struct quire_conv_plan plan;
    float *source, *destination, *weights;
    void *packed, *workspace;
};

static int run_kernel(void *context)
{
    struct kernel_run *run = context;

    return quire_conv_run(&run->plan, run->source, run->packed, NULL, run->destination,
                          run->workspace);
}

static double time_plan(struct kernel_run *run, const struct quire_conv_shape *shape)
{
    const int64_t dims[4] = {shape->out_channels, shape->in_channels / shape->groups,
                             shape->kernel_height, shape->kernel_width};
    struct quire_layout layout;
    double seconds = -1;

    if (quire_layout_init(&layout, "oihw", QUIRE_LAYOUT_F32, 4, dims) != 0)
        return -1;
    run->weights = take(quire_layout_bytes(&layout));
    run->source = take(run->plan.source_bytes);
    run->destination = take(run->plan.destination_bytes);
    run->packed = take(run->plan.weights_bytes);
    run->workspace = take(run->plan.workspace_bytes);
    if (run->weights != NULL && run->source != NULL && run->destination != NULL &&
        run->packed != NULL && run->workspace != NULL &&
        quire_conv_pack(&run->plan, &layout, run->weights, NULL, run->packed) == 0)
        seconds = time_of(run_kernel, run);
    free(run->weights);
    free(run->source);
    free(run->destination);
    free(run->packed);
    free(run->workspace);
    return seconds;
}

static struct layout_kernel_cost measure_kernel(const struct layout_graph *graph,
                                                const struct layout_operator *its,
                                                enum layout_choice in, enum layout_choice out)
{
    struct layout_kernel_cost cost = {.seconds = -1};
    struct quire_layout source = layout_graph_layout(graph, its->input, in);
    struct quire_layout destination = layout_graph_layout(graph, its->output, out);
    struct kernel_run run = {0};

    /* the kernels are of f32; other types are taken to be as fast */
    if (quire_layout_init(&source, graph->names[in], QUIRE_LAYOUT_F32, 4, source.dims) != 0 ||
        quire_layout_init(&destination, graph->names[out], QUIRE_LAYOUT_F32, 4, destination.dims) !=
            0 ||
        quire_conv_plan_init(&run.plan, &its->shape, &source, &destination, NULL) != 0)
        return cost;
    cost.seconds = time_plan(&run, &its->shape);
    cost.workspace_bytes = run.plan.workspace_bytes;
    cost.algorithm = quire_conv_algorithm_name(run.plan.algorithm);
    return cost;
}

static struct layout_kernel_cost find_conv(struct layout_costs *costs,
                                           const struct layout_operator *its, enum layout_choice in,
                                           enum layout_choice out)
{
    for (size_t i = 0; i < costs->n_kernels; i++) {
        const struct kernel_cost *kernel = &costs->kernels[i];
        if (kernel->in == in && kernel->out == out &&
            memcmp(&kernel->shape, &its->shape, sizeof its->shape) == 0)
            return kernel->cost;
    }
    if (!grow((void **)&costs->kernels, &costs->room_kernels, costs->n_kernels,
              sizeof *costs->kernels))
        return (struct layout_kernel_cost){.seconds = -1};
    struct kernel_cost *kernel = &costs->kernels[costs->n_kernels++];
    *kernel = (struct kernel_cost){.shape = its->shape, .in = in, .out = out};
    kernel->cost = measure_kernel(costs->graph, its, in, out);
    return kernel->cost;
}

/* What an operator reads and writes if its free tensors lie so. */
static uint64_t bytes_of(const struct layout_graph *graph, const struct layout_operator *its,
                         enum layout_choice choice)
{
    uint64_t n_bytes = 0;

    for (uint32_t i = 0; i < its->n_inputs + its->n_outputs; i++) {
        uint32_t tensor = i < its->n_inputs ? its->inputs[i] : its->outputs[i - its->n_inputs];
        if (tensor == QUIRE_MODEL_NONE || !graph->tensors[tensor].is_there)
            continue;
        if (!graph->tensors[tensor].is_free) {
            n_bytes += graph->tensors[tensor].n_bytes;
            continue;
        }
        struct quire_layout layout = layout_graph_layout(graph, tensor, choice);
        n_bytes += quire_layout_bytes(&layout);
    }
    return n_bytes;
}

struct layout_kernel_cost layout_costs_kernel(struct layout_costs *costs, uint32_t step,
                                              enum layout_choice in, enum layout_choice out)
{
    const struct layout_operator *its = &costs->graph->operators[step];

    if (its->kind == LAYOUT_CONV)
        return find_conv(costs, its, in, out);
    return (struct layout_kernel_cost){.seconds = (double)bytes_of(costs->graph, its, in) /
                                                  costs->copy_speed};
}

/* The whole */

static int run_copy(void *context)
{
    char *memory = context;

    memcpy(memory + COPY_BYTES / 2, memory, COPY_BYTES / 2);
    __asm__ volatile("" ::: "memory");
    return 0;
}

struct layout_costs *layout_costs_new(const struct layout_graph *graph)
{
    struct layout_costs *costs = calloc(1, sizeof *costs);
    void *memory = take(COPY_BYTES);

    if (costs == NULL || memory == NULL) {
        free(costs);
        free(memory);
        return NULL;
    }
    costs->graph = graph;
    costs->copy_speed = (double)COPY_BYTES / (time_of(run_copy, memory) + 1e-9);
    free(memory);
    return costs;
}

void layout_costs_free(struct layout_costs *costs)
{
    if (costs == NULL)
        return;
    free(costs->conversions);
    free(costs->kernels);
    free(costs);
}

void layout_costs_counts(const struct layout_costs *costs, unsigned *n_conversions,
                         unsigned *n_kernels)
{
    *n_conversions = (unsigned)costs->n_conversions;
    *n_kernels = (unsigned)costs->n_kernels;
}

void layout_costs_types(const struct layout_costs *costs, bool is_there[QUIRE_LAYOUT_N_TYPES])
{
    for (int type = 0; type < QUIRE_LAYOUT_N_TYPES; type++)
        is_there[type] = false;
    for (size_t i = 0; i < costs->n_conversions; i++)
        is_there[costs->conversions[i].type] = true;
}
