/* SPDX-License-Identifier: Apache-2.0 */
/* graph: see graph.h. Tables double; what is refused leaves its reason in graph.message. */
#include "tensor/graph.h"

#include "base/checked.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 64u

int graph_refuse(struct graph *graph, int error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(graph->message, QUIRE_MODEL_MESSAGE_BYTES, format, arguments);
    va_end(arguments);
    return error;
}

void graph_init(struct graph *graph, const struct quire_model_options *options, char *message)
{
    *graph = (struct graph){.message = message, .format = ""};
    message[0] = '\0';
    if (options != NULL) {
        graph->shapes = options->shapes;
        graph->n_shapes = options->n_shapes;
    }
}

void graph_free(struct graph *graph)
{
    free(graph->tensors);
    free(graph->operators);
    free(graph->regions);
    free(graph->links);
    free(graph->shape_used);
    bump_free(&graph->bump);
    graph->tensors = NULL;
    graph->operators = NULL;
    graph->regions = NULL;
    graph->links = NULL;
    graph->shape_used = NULL;
}

/* Room for n more in a table; false: no memory, or more than `most`. */
static bool grow(void **table, uint32_t *room, uint32_t used, uint32_t more, size_t size,
                 uint32_t most)
{
    if (more > most - used)
        return false;
    if (used + more <= *room)
        return true;
    uint64_t new_room = *room == 0 ? FIRST_ROOM : (uint64_t)*room * 2;
    if (new_room < (uint64_t)used + more)
        new_room = (uint64_t)used + more;
    if (new_room > most)
        new_room = most;
    void *larger = realloc(*table, new_room * size);
    if (larger == NULL)
        return false;
    *table = larger;
    *room = (uint32_t)new_room;
    return true;
}

uint32_t graph_add_tensor(struct graph *graph, const char *name, enum quire_model_type type)
{
    if (!grow((void **)&graph->tensors, &graph->room_tensors, graph->n_tensors, 1,
              sizeof *graph->tensors, GRAPH_MAX_TENSORS))
        return GRAPH_NONE;
    graph->tensors[graph->n_tensors] = (struct graph_tensor){
        .name = name, .type = type, .role = QUIRE_MODEL_ACTIVATION, .producer = GRAPH_NONE};
    return graph->n_tensors++;
}

uint32_t graph_add_region(struct graph *graph, uint32_t parent, bool repeats)
{
    if (!grow((void **)&graph->regions, &graph->room_regions, graph->n_regions, 1,
              sizeof *graph->regions, GRAPH_MAX_OPERATORS))
        return GRAPH_NONE;
    graph->regions[graph->n_regions] = (struct graph_region){parent, GRAPH_NONE, GRAPH_NONE,
                                                             repeats};
    return graph->n_regions++;
}

uint32_t graph_add_operator(struct graph *graph, const char *type, const char *name,
                            uint32_t region, uint32_t n_inputs, uint32_t n_outputs)
{
    if (n_inputs > GRAPH_MAX_TENSORS || n_outputs > GRAPH_MAX_TENSORS ||
        !grow((void **)&graph->operators, &graph->room_operators, graph->n_operators, 1,
              sizeof *graph->operators, GRAPH_MAX_OPERATORS) ||
        !grow((void **)&graph->links, &graph->room_links, graph->n_links, n_inputs + n_outputs,
              sizeof *graph->links, UINT32_MAX / 2))
        return GRAPH_NONE;
    graph->operators[graph->n_operators] = (struct graph_operator){.type = type,
                                                                   .name = name,
                                                                   .domain = "",
                                                                   .region = region,
                                                                   .first_input = graph->n_links,
                                                                   .n_inputs = n_inputs,
                                                                   .first_output = graph->n_links +
                                                                                   n_inputs,
                                                                   .n_outputs = n_outputs};
    for (uint32_t i = 0; i < n_inputs + n_outputs; i++)
        graph->links[graph->n_links++] = GRAPH_NONE;
    return graph->n_operators++;
}

int graph_set_output(struct graph *graph, uint32_t operator_, uint32_t i, uint32_t tensor)
{
    struct graph_tensor *made = &graph->tensors[tensor];
    if (made->producer != GRAPH_NONE)
        return graph_refuse(graph, -EINVAL, "two operators, %s and %s, write the tensor '%s'",
                            graph->operators[made->producer].type, graph->operators[operator_].type,
                            made->name);
    if (made->role != QUIRE_MODEL_ACTIVATION)
        return graph_refuse(graph, -EINVAL,
                            "the operator %s writes '%s', which is an input or a "
                            "constant",
                            graph->operators[operator_].type, made->name);
    made->producer = operator_;
    graph->links[graph->operators[operator_].first_output + i] = tensor;
    return 0;
}

/* Shapes */

int graph_set_shape(struct graph *graph, struct graph_tensor *tensor, uint32_t rank,
                    const int64_t *dims)
{
    if (rank > GRAPH_MAX_RANK)
        return graph_refuse(graph, -EINVAL, "the tensor '%s' has %u dimensions, more than %u",
                            tensor->name, rank, GRAPH_MAX_RANK);
    int64_t *copy = bump_take(&graph->bump, rank, sizeof *copy);
    if (copy == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < rank; i++)
        copy[i] = dims[i] < 0 ? GRAPH_UNKNOWN_DIM : dims[i];
    tensor->has_rank = true;
    tensor->rank = rank;
    tensor->dims = copy;
    return 0;
}

static bool note_use(struct graph *graph, size_t i)
{
    if (graph->shape_used == NULL)
        graph->shape_used = calloc(graph->n_shapes, sizeof *graph->shape_used);
    if (graph->shape_used == NULL)
        return false;
    graph->shape_used[i] = true;
    return true;
}

int graph_give_shape(struct graph *graph, struct graph_tensor *tensor)
{
    for (size_t i = 0; i < graph->n_shapes; i++) {
        const struct quire_model_shape *given = &graph->shapes[i];
        if (strcmp(given->name, tensor->name) != 0)
            continue;
        if (!note_use(graph, i))
            return -ENOMEM;
        if (tensor->has_rank && tensor->rank != given->rank)
            return graph_refuse(graph, -EINVAL,
                                "--shape %s has %u dimensions, the model's tensor has %u",
                                tensor->name, given->rank, tensor->rank);
        tensor->is_given = true;
        int error = graph_set_shape(graph, tensor, given->rank, given->dims);
        return error != 0 ? error : 1;
    }
    return 0;
}

int64_t graph_given_dim(struct graph *graph, const char *name)
{
    for (size_t i = 0; i < graph->n_shapes; i++) {
        if (graph->shapes[i].rank == 1 && strcmp(graph->shapes[i].name, name) == 0 &&
            note_use(graph, i))
            return graph->shapes[i].dims[0];
    }
    return GRAPH_UNKNOWN_DIM;
}

bool graph_shape_is_known(const struct graph_tensor *tensor)
{
    if (!tensor->has_rank)
        return false;
    for (uint32_t i = 0; i < tensor->rank; i++) {
        if (tensor->dims[i] < 0)
            return false;
    }
    return true;
}

bool graph_count(const struct graph_tensor *tensor, uint64_t *n_elements)
{
    bool fits = true;
    *n_elements = 1;
    for (uint32_t i = 0; i < tensor->rank; i++) {
        if (tensor->dims[i] == 0) {
            *n_elements = 0;
            return true;
        }
        fits = fits && checked_mul(*n_elements, (uint64_t)tensor->dims[i], n_elements);
    }
    return fits && *n_elements <= GRAPH_MAX_BYTES;
}

uint32_t graph_type_bits(enum quire_model_type type)
{
    static const uint8_t bits[QUIRE_MODEL_N_TYPES] = {
        [QUIRE_MODEL_F32] = 32,  [QUIRE_MODEL_F16] = 16, [QUIRE_MODEL_BF16] = 16,
        [QUIRE_MODEL_F64] = 64,  [QUIRE_MODEL_I4] = 4,   [QUIRE_MODEL_I8] = 8,
        [QUIRE_MODEL_I16] = 16,  [QUIRE_MODEL_I32] = 32, [QUIRE_MODEL_I64] = 64,
        [QUIRE_MODEL_U8] = 8,    [QUIRE_MODEL_U16] = 16, [QUIRE_MODEL_U32] = 32,
        [QUIRE_MODEL_U64] = 64,  [QUIRE_MODEL_BOOL] = 8, [QUIRE_MODEL_C64] = 64,
        [QUIRE_MODEL_C128] = 128};
    return bits[type];
}

const char *graph_shape_text(const struct graph_tensor *tensor, char *text, size_t n_bytes)
{
    size_t used = 0;
    if (!tensor->has_rank) {
        snprintf(text, n_bytes, "of an unknown number of dimensions");
        return text;
    }
    snprintf(text, n_bytes, "[");
    for (uint32_t i = 0; i < tensor->rank; i++) {
        char dim[24] = "?";
        if (tensor->dims[i] >= 0)
            snprintf(dim, sizeof dim, "%lld", (long long)tensor->dims[i]);
        used = strlen(text);
        snprintf(text + used, n_bytes - used, "%s%s", i > 0 ? ", " : "", dim);
    }
    used = strlen(text);
    snprintf(text + used, n_bytes - used, "]");
    return text;
}

/* Settling */

/* A name that was given a shape and is no tensor's, or NULL: perhaps it was meant for another. */
static const char *stray_name(const struct graph *graph)
{
    for (size_t i = 0; i < graph->n_shapes; i++) {
        uint32_t t = 0;
        while (t < graph->n_tensors && strcmp(graph->tensors[t].name, graph->shapes[i].name) != 0)
            t++;
        if (t == graph->n_tensors && (graph->shape_used == NULL || !graph->shape_used[i]))
            return graph->shapes[i].name;
    }
    return NULL;
}

static int explain_unknown(struct graph *graph, const struct graph_tensor *tensor)
{
    char text[256];
    graph_shape_text(tensor, text, sizeof text);
    const char *stray = stray_name(graph);
    if (tensor->role == QUIRE_MODEL_INPUT)
        return graph_refuse(
            graph, -EDESTADDRREQ,
            "the input '%s' has the shape %s: give all of it, as --shape %s=%s%s%s%s", tensor->name,
            text, tensor->name, tensor->has_rank && tensor->rank == 4 ? "1x3x224x224" : "1x16",
            stray != NULL ? "\nthere is no tensor or dimension '" : "", stray != NULL ? stray : "",
            stray != NULL ? "'" : "");
    const struct graph_operator *maker = tensor->producer == GRAPH_NONE
                                             ? NULL
                                             : &graph->operators[tensor->producer];
    return graph_refuse(graph, -EDESTADDRREQ,
                        "the shape of '%s' can't be told: %s, made by %s%s%s\n"
                        "give it by --shape '%s=...', in numbers joined by x",
                        tensor->name, text, maker == NULL ? "nobody" : maker->type,
                        maker != NULL && maker->name[0] != '\0' ? " " : "",
                        maker == NULL ? "" : maker->name, tensor->name);
}

static int settle_tensor(struct graph *graph, struct graph_tensor *tensor)
{
    uint64_t n_elements, n_bits;
    uint32_t bits = graph_type_bits(tensor->type);
    if (tensor->is_opaque)
        return 0;
    if (!graph_shape_is_known(tensor))
        return explain_unknown(graph, tensor);
    if (bits == 0 && tensor->type != QUIRE_MODEL_STRING)
        return graph_refuse(graph, -EINVAL, "the type of the tensor '%s' is not known",
                            tensor->name);
    if (!graph_count(tensor, &n_elements) || !checked_mul(n_elements, (uint64_t)bits, &n_bits))
        return graph_refuse(graph, -EOVERFLOW,
                            "the size of the tensor '%s' does not fit in 2^56 "
                            "bytes",
                            tensor->name);
    tensor->n_bytes = n_bits / 8 + (n_bits % 8 != 0);
    tensor->is_opaque = bits == 0;
    graph->n_bounds += tensor->is_bound;
    return 0;
}

int graph_settle(struct graph *graph)
{
    bool *used = calloc((size_t)graph->n_tensors + 1, sizeof *used);
    if (used == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < graph->n_links; i++) {
        if (graph->links[i] != GRAPH_NONE)
            used[graph->links[i]] = true;
    }
    int error = 0;
    for (uint32_t i = 0; error == 0 && i < graph->n_tensors; i++) {
        struct graph_tensor *tensor = &graph->tensors[i];
        if (used[i] || tensor->is_output || tensor->role == QUIRE_MODEL_INPUT)
            error = settle_tensor(graph, tensor);
        else if (graph_shape_is_known(tensor))
            error = settle_tensor(graph, tensor);
        else
            tensor->is_opaque = true; /* named, but in no operator */
    }
    free(used);
    for (size_t i = 0; error == 0 && i < graph->n_shapes; i++) {
        if (graph->shape_used == NULL || !graph->shape_used[i])
            error = graph_refuse(graph, -EINVAL,
                                 "--shape %s: the model has no tensor or dimension of that name",
                                 graph->shapes[i].name);
    }
    return error;
}

/* Looking it over */

bool graph_is_within(const struct graph *graph, uint32_t inner, uint32_t outer)
{
    while (inner != outer && inner != GRAPH_NONE)
        inner = graph->regions[inner].parent;
    return inner == outer;
}

/* G1: a tensor that is read before it is made. */
static uint32_t read_too_early(const struct graph *graph, uint32_t o)
{
    const struct graph_operator *here = &graph->operators[o];
    for (uint32_t i = 0; i < here->n_inputs; i++) {
        uint32_t tensor = graph_inputs(graph, here)[i];
        if (tensor == GRAPH_NONE || graph->tensors[tensor].role != QUIRE_MODEL_ACTIVATION)
            continue;
        uint32_t maker = graph->tensors[tensor].producer;
        if (maker == GRAPH_NONE || maker >= o)
            return tensor;
    }
    return GRAPH_NONE;
}

static const char *check_operator(const struct graph *graph, uint32_t o)
{
    const struct graph_operator *here = &graph->operators[o];
    const struct graph_region *region = &graph->regions[here->region];
    for (uint32_t i = 0; i < here->n_outputs; i++) {
        uint32_t tensor = graph_outputs(graph, here)[i];
        if (tensor != GRAPH_NONE && graph->tensors[tensor].producer != o)
            return "G2: two operators make a tensor";
    }
    if (here->region != 0 && (region->begin >= o || region->end <= o))
        return "G3: outside of its region";
    return NULL;
}

int graph_validate(struct graph *graph)
{
    for (uint32_t i = 0; i < graph->n_operators; i++) {
        uint32_t early = read_too_early(graph, i);
        if (early != GRAPH_NONE)
            return graph_refuse(graph, -EINVAL,
                                "the operator %s reads '%s' before it is made: operators are out "
                                "of order, or wait for each other in a circle",
                                graph->operators[i].type, graph->tensors[early].name);
        const char *fault = check_operator(graph, i);
        if (fault != NULL)
            return graph_refuse(graph, -EUCLEAN, "operator %u (%s): %s", i,
                                graph->operators[i].type, fault);
    }
    for (uint32_t i = 0; i < graph->n_tensors; i++) {
        struct graph_tensor copy = graph->tensors[i];
        if (copy.is_opaque)
            continue;
        if (settle_tensor(graph, &copy) != 0 || copy.n_bytes != graph->tensors[i].n_bytes)
            return graph_refuse(graph, -EUCLEAN,
                                "tensor '%s': G4: its size is not what its shape "
                                "says",
                                copy.name);
    }
    return 0;
}
