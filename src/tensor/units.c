/* SPDX-License-Identifier: Apache-2.0 */
/* units: see units.h. Lists are made in two passes: count, then fill. */
#include "tensor/units.h"

#include "tensor/kinship.h"
#include "tensor/program.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint32_t class_for(const struct units *units, uint32_t tensor)
{
    return tensor == GRAPH_NONE ? GRAPH_NONE : units->class_of[tensor];
}

static bool is_value(const struct graph_tensor *tensor)
{
    return graph_is_dynamic(tensor) && !tensor->is_opaque;
}

/* Classes */

static void new_class(struct units *units, uint32_t tensor)
{
    const struct graph_tensor *t = &units->graph->tensors[tensor];
    units->class[units->n_classes] = (struct units_class){
        .n_bytes = t->n_bytes, .stays = t->is_output, .is_input = t->role == QUIRE_MODEL_INPUT};
    units->class_of[tensor] = units->n_classes++;
}

/* A view belongs to what it shows, if it may. */
static bool joins_class(struct units *units, const struct graph_operator *o, uint32_t i,
                        uint32_t tensor)
{
    const struct graph *graph = units->graph;
    uint32_t from = 0;
    uint64_t offset;
    enum kinship kinship = units->in_place ? kinship_of(graph, o) : KINSHIP_NONE;
    if (kinship != KINSHIP_VIEW &&
        (kinship != KINSHIP_PARTS || !kinship_part(graph, o, i, &from, &offset)))
        return false;
    uint32_t class = class_for(units, graph_inputs(graph, o)[from]);
    if (class == GRAPH_NONE || (graph->tensors[tensor].is_output && units->class[class].is_input))
        return false;
    units->class_of[tensor] = class;
    units->class[class].stays = units->class[class].stays || graph->tensors[tensor].is_output;
    return true;
}

static void find_classes(struct units *units)
{
    const struct graph *graph = units->graph;
    for (uint32_t i = 0; i < graph->n_tensors; i++) {
        units->class_of[i] = GRAPH_NONE;
        if (graph->tensors[i].role == QUIRE_MODEL_INPUT && is_value(&graph->tensors[i]))
            new_class(units, i);
    }
    for (uint32_t i = 0; i < graph->n_operators; i++) {
        const struct graph_operator *o = &graph->operators[i];
        for (uint32_t k = 0; k < o->n_outputs; k++) {
            uint32_t tensor = graph_outputs(graph, o)[k];
            if (tensor != GRAPH_NONE && is_value(&graph->tensors[tensor]) &&
                !joins_class(units, o, k, tensor))
                new_class(units, tensor);
        }
    }
}

/* Units */

/* Of each tensor: the operator that reads it, if it is one alone; else GRAPH_NONE. */
static void find_readers(const struct graph *graph, uint32_t *reader)
{
    const uint32_t many = GRAPH_NONE - 1;
    for (uint32_t i = 0; i < graph->n_tensors; i++)
        reader[i] = graph->tensors[i].is_output ? many : GRAPH_NONE;
    for (uint32_t i = 0; i < graph->n_operators; i++) {
        const struct graph_operator *o = &graph->operators[i];
        for (uint32_t k = 0; k < o->n_inputs; k++) {
            uint32_t tensor = graph_inputs(graph, o)[k];
            if (tensor != GRAPH_NONE && reader[tensor] != i)
                reader[tensor] = reader[tensor] == GRAPH_NONE ? i : many;
        }
    }
    for (uint32_t i = 0; i < graph->n_tensors; i++)
        reader[i] = reader[i] == many ? GRAPH_NONE : reader[i];
}

/* Whether it makes one value, for one operator, out of constants or of what such have made. */
static bool prepares(const struct graph *graph, uint32_t i, const uint32_t *reader,
                     const bool *is_feeder)
{
    const struct graph_operator *o = &graph->operators[i];
    if (o->n_outputs != 1 || !program_is_pure(graph, i))
        return false;
    uint32_t made = graph_outputs(graph, o)[0];
    if (made == GRAPH_NONE || reader[made] == GRAPH_NONE)
        return false;
    for (uint32_t k = 0; k < o->n_inputs; k++) {
        uint32_t tensor = graph_inputs(graph, o)[k];
        if (tensor == GRAPH_NONE || !graph_is_dynamic(&graph->tensors[tensor]))
            continue;
        uint32_t maker = graph->tensors[tensor].producer;
        if (maker == GRAPH_NONE || !is_feeder[maker])
            return false;
    }
    return true;
}

static int find_units(struct units *units)
{
    const struct graph *graph = units->graph;
    uint32_t *reader = malloc(((size_t)graph->n_tensors + 1) * sizeof *reader);
    bool *is_feeder = calloc((size_t)graph->n_operators + 1, sizeof *is_feeder);
    int error = reader == NULL || is_feeder == NULL ? -ENOMEM : 0;
    if (error == 0) {
        find_readers(graph, reader);
        for (uint32_t i = 0; i < graph->n_operators; i++) {
            const struct graph_operator *o = &graph->operators[i];
            is_feeder[i] = prepares(graph, i, reader, is_feeder);
            bool continues = o->region != 0 || o->kind == GRAPH_END;
            if (!continues && !is_feeder[i])
                units->n_units++;
            units->unit_of[i] = units->n_units - 1;
        }
        for (uint32_t i = graph->n_operators; i-- > 0;) {
            if (is_feeder[i])
                units->unit_of[i] =
                    units->unit_of[reader[graph_outputs(graph, &graph->operators[i])[0]]];
        }
    }
    free(reader);
    free(is_feeder);
    return error;
}

/* Lists: each pair (owner, item) in its order, an item that was just added to an owner left out. */
struct lister {
    uint32_t *items;
    uint32_t *last; /* of each item: the owner that it was added to last, or GRAPH_NONE */
    uint32_t n;
    bool fills;
};

static void list(struct lister *lister, struct units_list *of, uint32_t owner, uint32_t item)
{
    if (lister->last != NULL && lister->last[item] == owner)
        return;
    if (lister->last != NULL)
        lister->last[item] = owner;
    if (lister->fills)
        lister->items[of->first + of->n] = item;
    else
        lister->n++;
    of->n++;
}

static void begin_list(struct units_list *of, uint32_t *at)
{
    of->first = *at;
    *at += of->n;
    of->n = 0;
}

static void list_operators(struct units *units, struct lister *lister)
{
    for (uint32_t i = 0; i < units->graph->n_operators; i++)
        list(lister, &units->unit[units->unit_of[i]].operators, units->unit_of[i], i);
}

/* Classes that a unit touches and others do, too; what it alone touches lives inside of it. */
static void list_touched(struct units *units, struct lister *lister, const bool *is_inner)
{
    const struct graph *graph = units->graph;
    for (uint32_t u = 0; u < units->n_units; u++) {
        const struct units_list *operators = &units->unit[u].operators;
        for (uint32_t i = 0; i < operators->n; i++) {
            const struct graph_operator *o =
                &graph->operators[units->operators[operators->first + i]];
            for (uint32_t k = 0; k < o->n_inputs + o->n_outputs; k++) {
                uint32_t class = class_for(units, graph->links[o->first_input + k]);
                if (class != GRAPH_NONE && !is_inner[class])
                    list(lister, &units->unit[u].touched, u, class);
            }
        }
    }
}

static void list_users(struct units *units, struct lister *lister)
{
    for (uint32_t u = 0; u < units->n_units; u++) {
        const struct units_list *touched = &units->unit[u].touched;
        for (uint32_t i = 0; i < touched->n; i++) {
            uint32_t class = units->touched[touched->first + i];
            list(lister, &units->class[class].users, class, u);
        }
    }
}

static bool unit_is_pure(const struct units *units, uint32_t u)
{
    const struct units_list *operators = &units->unit[u].operators;
    for (uint32_t i = 0; i < operators->n; i++) {
        uint32_t o = units->operators[operators->first + i];
        if (!program_is_pure(units->graph, o))
            return false;
    }
    return true;
}

/* Units before: makers of what is read, and of two that are not pure the one that stood before. */
static void list_before(struct units *units, struct lister *lister)
{
    const struct graph *graph = units->graph;
    uint32_t impure = GRAPH_NONE;
    for (uint32_t u = 0; u < units->n_units; u++) {
        struct unit *unit = &units->unit[u];
        for (uint32_t i = 0; i < unit->operators.n; i++) {
            const struct graph_operator *o =
                &graph->operators[units->operators[unit->operators.first + i]];
            for (uint32_t k = 0; k < o->n_inputs; k++) {
                uint32_t tensor = graph_inputs(graph, o)[k];
                uint32_t maker = tensor == GRAPH_NONE ? GRAPH_NONE
                                                      : graph->tensors[tensor].producer;
                if (maker != GRAPH_NONE && units->unit_of[maker] != u)
                    list(lister, &unit->before, u, units->unit_of[maker]);
            }
        }
        if (unit_is_pure(units, u))
            continue;
        if (impure != GRAPH_NONE)
            list(lister, &unit->before, u, impure);
        impure = u;
    }
}

static void list_next(struct units *units, struct lister *lister)
{
    for (uint32_t u = 0; u < units->n_units; u++) {
        const struct units_list *before = &units->unit[u].before;
        for (uint32_t i = 0; i < before->n; i++) {
            uint32_t b = units->before[before->first + i];
            list(lister, &units->unit[b].next, b, u);
        }
    }
}

enum which { OPERATORS, TOUCHED, USERS, BEFORE, NEXT };

static struct units_list *list_of(struct units *units, enum which which, uint32_t i)
{
    switch (which) {
    case OPERATORS:
        return &units->unit[i].operators;
    case TOUCHED:
        return &units->unit[i].touched;
    case USERS:
        return &units->class[i].users;
    case BEFORE:
        return &units->unit[i].before;
    default:
        return &units->unit[i].next;
    }
}

static void run_lister(struct units *units, enum which which, struct lister *lister,
                       const bool *is_inner)
{
    switch (which) {
    case OPERATORS:
        list_operators(units, lister);
        break;
    case TOUCHED:
        list_touched(units, lister, is_inner);
        break;
    case USERS:
        list_users(units, lister);
        break;
    case BEFORE:
        list_before(units, lister);
        break;
    default:
        list_next(units, lister);
        break;
    }
}

static int make_list(struct units *units, enum which which, uint32_t **items, const bool *is_inner)
{
    struct lister lister = {0};
    uint32_t n = which == USERS ? units->n_classes : units->n_units, at = 0;
    size_t n_items = (size_t)units->n_classes + units->n_units + 1;
    if (which == TOUCHED || which == BEFORE) {
        lister.last = malloc(n_items * sizeof *lister.last);
        if (lister.last == NULL)
            return -ENOMEM;
        memset(lister.last, 0xff, n_items * sizeof *lister.last);
    }
    run_lister(units, which, &lister, is_inner);
    for (uint32_t i = 0; i < n; i++)
        begin_list(list_of(units, which, i), &at);
    *items = malloc(((size_t)lister.n + 1) * sizeof **items);
    lister.items = *items;
    lister.fills = true;
    if (lister.last != NULL)
        memset(lister.last, 0xff, n_items * sizeof *lister.last);
    if (*items != NULL)
        run_lister(units, which, &lister, is_inner);
    free(lister.last);
    return *items == NULL ? -ENOMEM : 0;
}

/* Classes that one unit alone touches, and that do not outlive it. */
static bool *find_inner(const struct units *units)
{
    const struct graph *graph = units->graph;
    uint32_t *user = malloc(((size_t)units->n_classes + 1) * sizeof *user);
    bool *is_inner = calloc((size_t)units->n_classes + 1, sizeof *is_inner);
    if (user == NULL || is_inner == NULL) {
        free(user);
        free(is_inner);
        return NULL;
    }
    for (uint32_t i = 0; i < units->n_classes; i++) {
        user[i] = GRAPH_NONE;
        is_inner[i] = !units->class[i].stays && !units->class[i].is_input;
    }
    for (uint32_t i = 0; i < graph->n_operators; i++) {
        const struct graph_operator *o = &graph->operators[i];
        for (uint32_t k = 0; k < o->n_inputs + o->n_outputs; k++) {
            uint32_t class = class_for(units, graph->links[o->first_input + k]);
            if (class == GRAPH_NONE)
                continue;
            if (user[class] != GRAPH_NONE && user[class] != units->unit_of[i])
                is_inner[class] = false;
            user[class] = units->unit_of[i];
        }
    }
    free(user);
    return is_inner;
}

/* Of each inner class: the last operator of its unit that touches it. */
static void find_last(const struct units *units, const bool *is_inner, uint32_t *last)
{
    const struct graph *graph = units->graph;
    for (uint32_t i = 0; i < graph->n_operators; i++) {
        const struct graph_operator *o = &graph->operators[i];
        for (uint32_t k = 0; k < o->n_inputs + o->n_outputs; k++) {
            uint32_t class = class_for(units, graph->links[o->first_input + k]);
            if (class == GRAPH_NONE || !is_inner[class])
                continue;
            last[class] = i;
            uint32_t maker = graph->tensors[graph->links[o->first_input + k]].producer;
            uint32_t inner = o->region, outer = graph->operators[maker].region;
            bool hands_over = o->kind == GRAPH_BEGIN && k >= o->n_inputs;
            /* In a body that runs again it lives to the End, as in program.c. */
            for (; inner != outer && inner != GRAPH_NONE; inner = graph->regions[inner].parent) {
                if (graph->regions[inner].repeats && graph->regions[inner].end > last[class])
                    last[class] = graph->regions[inner].end;
            }
            for (uint32_t r = 1; hands_over && r < graph->n_regions; r++) {
                if (graph->regions[r].begin == i && graph->regions[r].repeats)
                    last[class] = graph->regions[r].end;
            }
        }
    }
}

/* Goes through a unit's operators; `is_live` is all false before and afterwards. */
static void measure(struct units *units, uint32_t u, const bool *is_inner, const uint32_t *last,
                    bool *is_live, uint32_t *living)
{
    const struct graph *graph = units->graph;
    struct unit *unit = &units->unit[u];
    uint64_t live = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < unit->operators.n; i++) {
        uint32_t index = units->operators[unit->operators.first + i];
        const struct graph_operator *o = &graph->operators[index];
        for (uint32_t k = 0; k < o->n_inputs + o->n_outputs; k++) {
            uint32_t class = class_for(units, graph->links[o->first_input + k]);
            if (class == GRAPH_NONE || !is_inner[class] || is_live[class])
                continue;
            is_live[class] = true;
            living[n++] = class;
            live += units->class[class].n_bytes;
        }
        if (i + 1 == unit->operators.n)
            unit->inner = live;
        else if (live > unit->inner_before)
            unit->inner_before = live;
        for (uint32_t k = 0; k < n;) {
            if (last[living[k]] > index) {
                k++;
                continue;
            }
            live -= units->class[living[k]].n_bytes;
            is_live[living[k]] = false;
            living[k] = living[--n];
        }
    }
}

static bool can_overwrite(const struct units *units, const struct unit *unit)
{
    const struct graph *graph = units->graph;
    uint32_t last = units->operators[unit->operators.first + unit->operators.n - 1];
    const struct graph_operator *o = &graph->operators[last];
    if (!units->in_place || kinship_of(graph, o) != KINSHIP_ELEMENT)
        return false;
    for (uint32_t k = 0; k < o->n_inputs; k++) {
        uint32_t class = class_for(units, graph_inputs(graph, o)[k]);
        if (class != GRAPH_NONE && !units->class[class].is_input && kinship_element(graph, o, k))
            return true;
    }
    return false;
}

static int find_sizes(struct units *units, const bool *is_inner)
{
    size_t n = (size_t)units->n_classes + 1;
    uint32_t *last = calloc(n, sizeof *last), *living = malloc(n * sizeof *living);
    bool *is_live = calloc(n, sizeof *is_live);
    int error = last == NULL || living == NULL || is_live == NULL ? -ENOMEM : 0;
    if (error == 0)
        find_last(units, is_inner, last);
    for (uint32_t u = 0; error == 0 && u < units->n_units; u++) {
        measure(units, u, is_inner, last, is_live, living);
        units->unit[u].can_overwrite = can_overwrite(units, &units->unit[u]);
    }
    free(last);
    free(living);
    free(is_live);
    return error;
}

int units_init(struct units *units, const struct graph *graph, bool in_place)
{
    *units = (struct units){.graph = graph, .in_place = in_place};
    units->unit = calloc((size_t)graph->n_operators + 1, sizeof *units->unit);
    units->class = calloc((size_t)graph->n_tensors + 1, sizeof *units->class);
    units->unit_of = malloc(((size_t)graph->n_operators + 1) * sizeof *units->unit_of);
    units->class_of = malloc(((size_t)graph->n_tensors + 1) * sizeof *units->class_of);
    bool *is_inner = NULL;
    int error = units->unit == NULL || units->class == NULL || units->unit_of == NULL ||
                        units->class_of == NULL
                    ? -ENOMEM
                    : 0;
    if (error == 0) {
        find_classes(units);
        error = find_units(units);
    }
    if (error == 0) {
        is_inner = find_inner(units);
        error = is_inner == NULL ? -ENOMEM : make_list(units, OPERATORS, &units->operators, NULL);
    }
    if (error == 0)
        error = make_list(units, TOUCHED, &units->touched, is_inner);
    if (error == 0)
        error = make_list(units, USERS, &units->users, NULL);
    if (error == 0)
        error = make_list(units, BEFORE, &units->before, NULL);
    if (error == 0)
        error = make_list(units, NEXT, &units->next, NULL);
    if (error == 0)
        error = find_sizes(units, is_inner);
    if (error != 0)
        units_free(units);
    free(is_inner);
    return error;
}

void units_free(struct units *units)
{
    free(units->unit);
    free(units->class);
    free(units->unit_of);
    free(units->class_of);
    free(units->operators);
    free(units->touched);
    free(units->users);
    free(units->next);
    free(units->before);
    *units = (struct units){0};
}
