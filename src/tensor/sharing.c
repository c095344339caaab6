/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sharing: see sharing.h.
 *
 *     group of a    | a ................|
 *                   | b = relu(a) ......|     written over a, which nobody reads any more
 *                   |  c = slice(b) |         the same bytes, read only
 *
 * A group is a buffer of the size of its largest member, from the time that its first member is
 * made until nobody reads any of it. Steps are looked at in their order; what an operator makes
 * joins a group if the rules of its kinship allow it, and if the most bytes that live at a step do
 * not rise and either they or the sum over all steps get less.
 *
 *   S1  two members with common bytes hold the same there (a view), or the later one was made by a
 *       step that read the earlier one element by element, and nobody reads the earlier one
 *       afterwards
 *   S2  nothing is written over an input or an output of the model, and no output lies in an input
 *   S3  an operator writes over, and joins, only what was made in its own region
 */
#include "tensor/sharing.h"

#include "tensor/kinship.h"
#include "tensor/levels.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct search {
    const struct program *program;
    struct sharing *sharing;
    struct levels levels;
    uint32_t *living, *next_living; /* of each group: members that may be read again, and inputs */
    bool *has_input;                /* of each group */
    uint32_t step;
};

static uint64_t bytes_of(const struct search *search, uint32_t value)
{
    return program_bytes(search->program, value);
}

static const struct graph_tensor *tensor_of(const struct search *search, uint32_t value)
{
    return &search->program->graph->tensors[search->program->tensors[value]];
}

static bool is_input(const struct search *search, uint32_t value)
{
    return search->program->makers[value] == GRAPH_NONE;
}

static uint32_t region_of(const struct search *search, uint32_t value)
{
    uint32_t maker = search->program->makers[value];
    return maker == GRAPH_NONE ? 0 : program_operator(search->program, maker)->region;
}

static bool overlaps(const struct search *search, uint32_t a, uint64_t offset, uint64_t n_bytes)
{
    uint64_t at = search->sharing->offset[a];
    return at < offset + n_bytes && offset < at + bytes_of(search, a);
}

/* Groups */

static void change_levels(struct search *search, uint32_t group, int64_t sign)
{
    const struct sharing *sharing = search->sharing;
    levels_add(&search->levels, sharing->lower[group], sharing->upper[group],
               sign * (int64_t)sharing->size[group]);
}

static double area(const struct sharing *sharing, uint32_t group)
{
    return (double)sharing->size[group] * (double)(sharing->upper[group] - sharing->lower[group]);
}

/* Makes group b part of group a, at `offset`, if it saves something. */
static bool merge(struct search *search, uint32_t a, uint32_t b, uint64_t offset)
{
    struct sharing *sharing = search->sharing;
    int64_t peak = levels_peak(&search->levels), lower = sharing->lower[a],
            upper = sharing->upper[a];
    uint64_t size = sharing->size[a];
    double before = area(sharing, a) + area(sharing, b);
    change_levels(search, a, -1);
    change_levels(search, b, -1);
    if (sharing->lower[b] < lower)
        sharing->lower[a] = sharing->lower[b];
    if (sharing->upper[b] > upper)
        sharing->upper[a] = sharing->upper[b];
    if (offset + sharing->size[b] > size)
        sharing->size[a] = offset + sharing->size[b];
    change_levels(search, a, 1);
    int64_t now = levels_peak(&search->levels);
    if (now > peak || (now == peak && area(sharing, a) >= before)) {
        change_levels(search, a, -1);
        sharing->lower[a] = lower;
        sharing->upper[a] = upper;
        sharing->size[a] = size;
        change_levels(search, a, 1);
        change_levels(search, b, 1);
        return false;
    }
    uint32_t member = b;
    do {
        sharing->group[member] = a;
        sharing->offset[member] += offset;
        member = sharing->next[member];
    } while (member != b);
    search->has_input[a] = search->has_input[a] || search->has_input[b];
    uint32_t *last = &search->living[b];
    while (*last != GRAPH_NONE)
        last = &search->next_living[*last];
    *last = search->living[a];
    search->living[a] = search->living[b];
    uint32_t next = sharing->next[a];
    sharing->next[a] = sharing->next[b];
    sharing->next[b] = next;
    sharing->n_shared++;
    return true;
}

/* S2: whether `value`, perhaps an output of the model, may be a view of what is in the group. */
static bool may_view(const struct search *search, uint32_t group, uint32_t value)
{
    return !tensor_of(search, value)->is_output || !search->has_input[group];
}

static void try_view(struct search *search, uint32_t from, uint32_t to, uint64_t offset)
{
    uint32_t group = search->sharing->group[from];
    if (may_view(search, group, to))
        merge(search, group, to, search->sharing->offset[from] + offset);
}

/* S1, S2, S3: whether what this step makes may be written over `from`, which it reads. */
static bool may_overwrite(const struct search *search, uint32_t from)
{
    const struct sharing *sharing = search->sharing;
    int64_t here = search->step;
    if (region_of(search, from) != program_operator(search->program, search->step)->region)
        return false;
    for (uint32_t *at = &search->living[sharing->group[from]]; *at != GRAPH_NONE;) {
        uint32_t member = *at;
        int64_t upper = search->program->upper[member];
        bool is_same = sharing->offset[member] == sharing->offset[from] &&
                       bytes_of(search, member) == bytes_of(search, from);
        if (overlaps(search, member, sharing->offset[from], bytes_of(search, from)) &&
            (is_input(search, member) || tensor_of(search, member)->is_output || upper > here + 1 ||
             (upper == here + 1 && !is_same)))
            return false;
        if (upper <= here && !is_input(search, member)) /* no later step asks for it, either */
            *at = search->next_living[member];
        else
            at = &search->next_living[member];
    }
    return true;
}

/* Whether all that shares memory with `part` lies within its bytes. */
static bool is_alone(const struct search *search, uint32_t part)
{
    const struct sharing *sharing = search->sharing;
    uint32_t group = sharing->group[part];
    return !search->has_input[group] && sharing->offset[part] == 0 &&
           sharing->size[group] == bytes_of(search, part);
}

/* Steps */

static uint32_t link_of(const struct search *search, uint32_t i)
{
    return search->program->links[search->program->steps[search->step].first + i];
}

static void join(struct search *search, const struct program_step *step, uint32_t whole)
{
    struct sharing *sharing = search->sharing;
    const struct graph *graph = search->program->graph;
    const struct graph_operator *o = &graph->operators[step->operator_];
    uint64_t at = 0;
    for (uint32_t i = 0; i < step->n_in; i++) {
        uint32_t part = link_of(search, i), group = sharing->group[whole];
        uint64_t n_bytes = graph->tensors[graph_inputs(graph, o)[i]].n_bytes;
        if (part != GRAPH_NONE && sharing->group[part] != group && is_alone(search, part) &&
            region_of(search, part) == o->region) {
            uint32_t from = sharing->group[part];
            merge(search, group, from, sharing->offset[whole] + at);
        }
        at += n_bytes;
    }
}

static void elementwise(struct search *search, const struct program_step *step, uint32_t made)
{
    const struct graph *graph = search->program->graph;
    const struct graph_operator *o = &graph->operators[step->operator_];
    for (uint32_t i = 0; i < step->n_in; i++) {
        uint32_t from = link_of(search, i);
        if (from != GRAPH_NONE && kinship_element(graph, o, i) && may_overwrite(search, from) &&
            merge(search, search->sharing->group[from], made, search->sharing->offset[from]))
            return;
    }
}

static void look_at_step(struct search *search)
{
    const struct graph *graph = search->program->graph;
    const struct program_step *step = &search->program->steps[search->step];
    const struct graph_operator *o = &graph->operators[step->operator_];
    uint32_t made = step->n_out > 0 ? link_of(search, step->n_in) : GRAPH_NONE;
    uint32_t from = step->n_in > 0 ? link_of(search, 0) : GRAPH_NONE;
    switch (kinship_of(graph, o)) {
    case KINSHIP_VIEW:
        if (made != GRAPH_NONE && from != GRAPH_NONE)
            try_view(search, from, made, 0);
        break;
    case KINSHIP_PARTS:
        for (uint32_t i = 0; i < step->n_out; i++) {
            uint32_t part = link_of(search, step->n_in + i), whole;
            uint64_t offset;
            if (part != GRAPH_NONE && kinship_part(graph, o, i, &whole, &offset) &&
                link_of(search, whole) != GRAPH_NONE)
                try_view(search, link_of(search, whole), part, offset);
        }
        break;
    case KINSHIP_JOIN:
        if (made != GRAPH_NONE)
            join(search, step, made);
        break;
    case KINSHIP_ELEMENT:
        if (made != GRAPH_NONE)
            elementwise(search, step, made);
        break;
    default:
        break;
    }
}

/* Adds a value's group to what a step needs, once. */
static uint64_t need(const struct sharing *sharing, uint32_t value, uint32_t step, uint32_t *seen)
{
    uint32_t group = value == GRAPH_NONE ? 0 : sharing->group[value];
    if (value == GRAPH_NONE || seen[group] == step)
        return 0;
    seen[group] = step;
    return sharing->size[group];
}

/* What each step touches has to be there while it runs, whatever is done with the rest; inputs are
 * there in the first step, and outputs in the last. */
static int find_floor(const struct program *program, struct sharing *sharing)
{
    uint32_t *seen = malloc(((size_t)program->n_values + 1) * sizeof *seen);
    if (seen == NULL)
        return -ENOMEM;
    memset(seen, 0xff, program->n_values * sizeof *seen);
    for (uint32_t s = 0; s < program->n_steps; s++) {
        const struct program_step *step = &program->steps[s];
        bool is_first = s == 0, is_last = s + 1 == program->n_steps;
        uint64_t sum = 0;
        for (uint32_t i = 0; i < step->n_in + step->n_out; i++)
            sum += need(sharing, program->links[step->first + i], s, seen);
        for (uint32_t v = 0; (is_first || is_last) && v < program->n_values; v++) {
            bool is_there = (is_first && program->makers[v] == GRAPH_NONE) ||
                            (is_last && program->graph->tensors[program->tensors[v]].is_output);
            sum += is_there ? need(sharing, v, s, seen) : 0;
        }
        sharing->floor = sum > sharing->floor ? sum : sharing->floor;
    }
    free(seen);
    return 0;
}

static void free_search(struct search *search)
{
    levels_free(&search->levels);
    free(search->living);
    free(search->next_living);
    free(search->has_input);
}

int sharing_init(struct sharing *sharing, const struct program *program, bool in_place)
{
    size_t n = (size_t)program->n_values + 1;
    struct search search = {.program = program, .sharing = sharing};
    *sharing = (struct sharing){.n_values = program->n_values};
    sharing->group = malloc(n * sizeof *sharing->group);
    sharing->offset = calloc(n, sizeof *sharing->offset);
    sharing->next = malloc(n * sizeof *sharing->next);
    sharing->size = malloc(n * sizeof *sharing->size);
    sharing->lower = malloc(n * sizeof *sharing->lower);
    sharing->upper = malloc(n * sizeof *sharing->upper);
    search.living = malloc(n * sizeof *search.living);
    search.next_living = malloc(n * sizeof *search.next_living);
    search.has_input = malloc(n * sizeof *search.has_input);
    if (sharing->group == NULL || sharing->offset == NULL || sharing->next == NULL ||
        sharing->size == NULL || sharing->lower == NULL || sharing->upper == NULL ||
        search.living == NULL || search.next_living == NULL || search.has_input == NULL ||
        levels_init(&search.levels, (int64_t)program->n_steps + 2) != 0) {
        free_search(&search);
        sharing_free(sharing);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < program->n_values; i++) {
        sharing->group[i] = sharing->next[i] = search.living[i] = i;
        search.next_living[i] = GRAPH_NONE;
        search.has_input[i] = is_input(&search, i);
        sharing->size[i] = program_bytes(program, i);
        sharing->lower[i] = program->lower[i];
        sharing->upper[i] = program->upper[i];
        change_levels(&search, i, 1);
    }
    for (search.step = 0; in_place && search.step < program->n_steps; search.step++)
        look_at_step(&search);
    sharing->peak = (uint64_t)levels_peak(&search.levels);
    free_search(&search);
    int error = find_floor(program, sharing);
    if (error != 0)
        sharing_free(sharing);
    return error;
}

void sharing_free(struct sharing *sharing)
{
    free(sharing->group);
    free(sharing->offset);
    free(sharing->next);
    free(sharing->size);
    free(sharing->lower);
    free(sharing->upper);
    *sharing = (struct sharing){0};
}
