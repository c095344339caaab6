/* SPDX-License-Identifier: Apache-2.0 */
/*
 * program: see program.h.
 *
 * Lifetimes: from the step that makes a value to behind the last that reads it. What a body that
 * may run again reads from outside, and what it was handed by its Begin, lives until its End;
 * outputs of the model live to the end; inputs from the beginning.
 */
#include "tensor/program.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_value(const struct graph *graph, uint32_t tensor)
{
    return tensor != GRAPH_NONE && graph_is_dynamic(&graph->tensors[tensor]) &&
           !graph->tensors[tensor].is_opaque;
}

static void extend(struct program *program, uint32_t value, int64_t upper)
{
    if (program->upper[value] < upper)
        program->upper[value] = upper;
}

/* A step in region `inner` reads what was made in region `outer`. */
static void extend_to_ends(struct program *program, uint32_t value, uint32_t inner, uint32_t outer)
{
    for (; inner != outer && inner != GRAPH_NONE; inner = program->graph->regions[inner].parent) {
        if (program->graph->regions[inner].repeats)
            extend(program, value, (int64_t)program->ends[inner] + 1);
    }
}

static void find_ends(struct program *program)
{
    const struct graph *graph = program->graph;
    uint32_t *step_of = program->ends + graph->n_regions; /* of each operator, behind */
    for (uint32_t i = 0; i < program->n_steps; i++)
        step_of[program->steps[i].operator_] = i;
    for (uint32_t i = 1; i < graph->n_regions; i++)
        program->ends[i] = step_of[graph->regions[i].end];
}

static void find_lifetimes(struct program *program)
{
    const struct graph *graph = program->graph;
    find_ends(program);
    for (uint32_t i = 0; i < program->n_values; i++) {
        uint32_t maker = program->makers[i];
        program->lower[i] = maker == GRAPH_NONE ? 0 : (int64_t)maker;
        program->upper[i] = program->lower[i] + 1;
        if (graph->tensors[program->tensors[i]].is_output)
            program->upper[i] = (int64_t)program->n_steps;
    }
    for (uint32_t s = 0; s < program->n_steps; s++) {
        const struct program_step *step = &program->steps[s];
        uint32_t region = program_operator(program, s)->region;
        for (uint32_t i = 0; i < step->n_in; i++) {
            uint32_t value = program->links[step->first + i];
            if (value == GRAPH_NONE)
                continue;
            uint32_t maker = program->makers[value];
            extend(program, value, (int64_t)s + 1);
            extend_to_ends(program, value, region,
                           maker == GRAPH_NONE ? 0 : program_operator(program, maker)->region);
        }
    }
    const uint32_t *step_of = program->ends + graph->n_regions;
    for (uint32_t r = 1; r < graph->n_regions; r++) { /* handed over anew in each round */
        const struct program_step *step = &program->steps[step_of[graph->regions[r].begin]];
        for (uint32_t i = 0; graph->regions[r].repeats && i < step->n_out; i++) {
            uint32_t value = program->links[step->first + step->n_in + i];
            if (value != GRAPH_NONE)
                extend(program, value, (int64_t)program->ends[r] + 1);
        }
    }
}

static int take_tables(struct program *program, const struct graph *graph, size_t n_steps,
                       size_t n_links, size_t n_values)
{
    *program = (struct program){.graph = graph};
    program->steps = calloc(n_steps + 1, sizeof *program->steps);
    program->links = malloc((n_links + 1) * sizeof *program->links);
    program->tensors = malloc((n_values + 1) * sizeof *program->tensors);
    program->makers = malloc((n_values + 1) * sizeof *program->makers);
    program->lower = malloc((n_values + 1) * sizeof *program->lower);
    program->upper = malloc((n_values + 1) * sizeof *program->upper);
    program->ends = calloc((size_t)graph->n_regions + graph->n_operators + 1,
                           sizeof *program->ends);
    if (program->steps != NULL && program->links != NULL && program->tensors != NULL &&
        program->makers != NULL && program->lower != NULL && program->upper != NULL &&
        program->ends != NULL)
        return 0;
    program_free(program);
    return -ENOMEM;
}

void program_free(struct program *program)
{
    free(program->steps);
    free(program->links);
    free(program->tensors);
    free(program->makers);
    free(program->lower);
    free(program->upper);
    free(program->ends);
    *program = (struct program){0};
}

static uint32_t add_value(struct program *program, uint32_t tensor, uint32_t maker)
{
    program->tensors[program->n_values] = tensor;
    program->makers[program->n_values] = maker;
    return program->n_values++;
}

/* Adds a step; latest[t] is the value that tensor t has at this point. */
static void add_step(struct program *program, uint32_t operator_, bool is_again, uint32_t *latest)
{
    const struct graph *graph = program->graph;
    const struct graph_operator *o = &graph->operators[operator_];
    struct program_step *step = &program->steps[program->n_steps];
    *step = (struct program_step){operator_, program->n_links, o->n_inputs, o->n_outputs, is_again};
    for (uint32_t i = 0; i < o->n_inputs; i++) {
        uint32_t tensor = graph_inputs(graph, o)[i];
        program->links[program->n_links++] = is_value(graph, tensor) ? latest[tensor] : GRAPH_NONE;
    }
    for (uint32_t i = 0; i < o->n_outputs; i++) {
        uint32_t tensor = graph_outputs(graph, o)[i], value = GRAPH_NONE;
        if (is_value(graph, tensor)) {
            value = add_value(program, tensor, program->n_steps);
            latest[tensor] = value;
        }
        program->links[program->n_links++] = value;
    }
    program->n_steps++;
}

/* Counts what `n` runs of operators need; the inputs' values come on top. */
static int build(struct program *program, const struct graph *graph, uint32_t n_steps,
                 const uint32_t *operators, const bool *is_again)
{
    size_t n_links = 0, n_values = 0;
    for (uint32_t i = 0; i < n_steps; i++) {
        const struct graph_operator *o = &graph->operators[operators == NULL ? i : operators[i]];
        n_links += (size_t)o->n_inputs + o->n_outputs;
        n_values += o->n_outputs;
    }
    for (uint32_t i = 0; i < graph->n_tensors; i++)
        n_values += graph->tensors[i].role == QUIRE_MODEL_INPUT;
    uint32_t *latest = malloc(((size_t)graph->n_tensors + 1) * sizeof *latest);
    if (latest == NULL)
        return -ENOMEM;
    int error = take_tables(program, graph, n_steps, n_links, n_values);
    if (error == 0) {
        for (uint32_t i = 0; i < graph->n_tensors; i++) {
            bool is_input = graph->tensors[i].role == QUIRE_MODEL_INPUT && is_value(graph, i);
            latest[i] = is_input ? add_value(program, i, GRAPH_NONE) : GRAPH_NONE;
        }
        for (uint32_t i = 0; i < n_steps; i++)
            add_step(program, operators == NULL ? i : operators[i], is_again != NULL && is_again[i],
                     latest);
        find_lifetimes(program);
    }
    free(latest);
    return error;
}

int program_init(struct program *program, const struct graph *graph, const uint32_t *order)
{
    return build(program, graph, graph->n_operators, order, NULL);
}

int program_derive(struct program *program, const struct program *from, uint32_t n_steps,
                   const uint32_t *step_of, const bool *is_again)
{
    uint32_t *operators = malloc(((size_t)n_steps + 1) * sizeof *operators);
    if (operators == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < n_steps; i++)
        operators[i] = from->steps[step_of[i]].operator_;
    int error = build(program, from->graph, n_steps, operators, is_again);
    free(operators);
    return error;
}

int program_copy(struct program *program, const struct program *from)
{
    uint32_t *operators = malloc(((size_t)from->n_steps + 1) * sizeof *operators);
    bool *is_again = malloc(((size_t)from->n_steps + 1) * sizeof *is_again);
    int error = -ENOMEM;
    for (uint32_t i = 0; operators != NULL && is_again != NULL && i < from->n_steps; i++) {
        operators[i] = from->steps[i].operator_;
        is_again[i] = from->steps[i].is_again;
    }
    if (operators != NULL && is_again != NULL)
        error = build(program, from->graph, from->n_steps, operators, is_again);
    free(operators);
    free(is_again);
    return error;
}

uint64_t program_peak(const struct program *program)
{
    int64_t *change = calloc((size_t)program->n_steps + 2, sizeof *change);
    uint64_t peak = 0;
    int64_t live = 0;
    if (change == NULL)
        return UINT64_MAX;
    for (uint32_t i = 0; i < program->n_values; i++) {
        change[program->lower[i]] += (int64_t)program_bytes(program, i);
        change[program->upper[i]] -= (int64_t)program_bytes(program, i);
    }
    for (uint32_t i = 0; i <= program->n_steps; i++) {
        live += change[i];
        if ((uint64_t)live > peak)
            peak = (uint64_t)live;
    }
    free(change);
    return peak;
}

bool program_is_pure(const struct graph *graph, uint32_t operator_)
{
    static const char *const impure[] = {
        "Random",     "Bernoulli",   "Multinomial",     "Dropout",
        "RANDOM",     "MULTINOMIAL", "ASSIGN_VARIABLE", "READ_VARIABLE",
        "VAR_HANDLE", "CALL_ONCE",   "HASHTABLE",       "CUSTOM",
        NULL};
    const struct graph_operator *o = &graph->operators[operator_];
    if (o->kind != GRAPH_PLAIN || o->region != 0)
        return false;
    for (uint32_t i = 0; impure[i] != NULL; i++) {
        if (strncmp(o->type, impure[i], strlen(impure[i])) == 0)
            return false;
    }
    for (uint32_t i = 0; i < o->n_inputs + o->n_outputs; i++) {
        uint32_t tensor = graph->links[o->first_input + i];
        if (tensor != GRAPH_NONE && (graph->tensors[tensor].role == QUIRE_MODEL_VARIABLE ||
                                     graph->tensors[tensor].is_opaque))
            return false;
    }
    return true;
}
