/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tflite: reads a TFLite file into a graph.
 *
 *     Model -> operator codes, buffers (weights), subgraphs -> tensors, operators
 *
 * Subgraph options.subgraph runs; WHILE, IF, CALL and CALL_ONCE run others, whose operators are
 * copied to where they run (graph.h). A subgraph that runs itself is refused, as is a file whose
 * calls unfold to more than MAX_CALLS.
 *
 * Shapes are the file's, the converter has computed them, until the user says otherwise or the file
 * leaves them open (tflite_shapes.h). Fields are numbered as in the schema.
 *
 * Source: the schema of TFLite, version 3.
 */
#include "base/checked.h"
#include "tensor/flat.h"
#include "tensor/graph.h"
#include "tensor/tflite_names.h"
#include "tensor/tflite_shapes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CALLS 4096u

enum { MODEL_VERSION, MODEL_CODES, MODEL_SUBGRAPHS, MODEL_DESCRIPTION, MODEL_BUFFERS };
enum { CODE_OLD, CODE_CUSTOM, CODE_VERSION, CODE_BUILTIN };
enum { SUBGRAPH_TENSORS, SUBGRAPH_INPUTS, SUBGRAPH_OUTPUTS, SUBGRAPH_OPERATORS, SUBGRAPH_NAME };
enum {
    TENSOR_SHAPE,
    TENSOR_TYPE,
    TENSOR_BUFFER,
    TENSOR_NAME,
    TENSOR_QUANTIZATION,
    TENSOR_VARIABLE,
    TENSOR_SPARSITY,
    TENSOR_SIGNATURE,
    TENSOR_HAS_RANK
};
enum { OPERATOR_CODE, OPERATOR_INPUTS, OPERATOR_OUTPUTS, OPERATOR_OPTIONS_TYPE, OPERATOR_OPTIONS };
enum { BUFFER_DATA, BUFFER_OFFSET, BUFFER_SIZE };

enum { BUILTIN_CALL = 31, BUILTIN_CUSTOM = 32, BUILTIN_IF = 118, BUILTIN_WHILE = 119 };
enum { BUILTIN_PLACEHOLDER = 127, BUILTIN_CALL_ONCE = 129 };

struct code {
    uint32_t builtin;
    const char *name;
};

struct tflite {
    struct graph *graph;
    struct flat flat;
    struct flat_vector subgraphs, buffers;
    struct code *codes;
    uint32_t n_codes, n_calls, depth;
    bool is_resized;                   /* the user gave a shape that is not the file's */
    uint32_t running[GRAPH_MAX_DEPTH]; /* subgraphs, outermost first */
};

/* One copy of a subgraph. */
struct copy {
    struct flat_table table;
    struct flat_vector inputs, outputs;
    uint32_t first_tensor, n_tensors; /* in the graph */
};

static int damaged(struct tflite *tflite)
{
    return graph_refuse(tflite->graph, -EINVAL,
                        "the TFLite file is damaged: a reference leads outside of it; "
                        "is it complete?");
}

static char *copy_text(struct tflite *tflite, const struct flat_vector *text)
{
    return bump_text(&tflite->graph->bump, (const char *)tflite->flat.bytes + text->at, text->n);
}

static int read_codes(struct tflite *tflite, const struct flat_table *model)
{
    struct flat *flat = &tflite->flat;
    struct flat_vector codes = flat_vector_field(flat, model, MODEL_CODES, 4);
    tflite->n_codes = codes.n;
    tflite->codes = bump_take(&tflite->graph->bump, codes.n, sizeof *tflite->codes);
    if (tflite->codes == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < codes.n && !flat->broken; i++) {
        struct flat_table code = flat_vector_table(flat, &codes, i);
        struct code *here = &tflite->codes[i];
        uint32_t old = (uint32_t)flat_unsigned(flat, &code, CODE_OLD, 1, 0);
        uint32_t builtin = (uint32_t)flat_unsigned(flat, &code, CODE_BUILTIN, 4, 0);
        here->builtin = old < BUILTIN_PLACEHOLDER && builtin < old ? old : builtin;
        if (here->builtin == BUILTIN_CUSTOM) {
            struct flat_vector custom = flat_vector_field(flat, &code, CODE_CUSTOM, 1);
            here->name = copy_text(tflite, &custom);
        } else if (tflite_builtin_name(here->builtin) != NULL) {
            here->name = tflite_builtin_name(here->builtin);
        } else {
            here->name = bump_format(&tflite->graph->bump, "BUILTIN_%u", here->builtin);
        }
        if (here->name == NULL)
            return -ENOMEM;
    }
    return flat->broken ? damaged(tflite) : 0;
}

/* The contents of a constant, if they are in the file. */
static int read_data(struct tflite *tflite, const struct flat_table *table,
                     struct graph_tensor *tensor)
{
    struct flat *flat = &tflite->flat;
    uint64_t index = flat_unsigned(flat, table, TENSOR_BUFFER, 4, 0);
    if (index == 0 || flat->broken)
        return 0;
    if (index >= tflite->buffers.n)
        return graph_refuse(tflite->graph, -EINVAL, "the tensor '%s' refers to buffer %llu of %u",
                            tensor->name, (unsigned long long)index, tflite->buffers.n);
    struct flat_table buffer = flat_vector_table(flat, &tflite->buffers, (uint32_t)index);
    struct flat_vector data = flat_vector_field(flat, &buffer, BUFFER_DATA, 1);
    uint64_t offset = flat_unsigned(flat, &buffer, BUFFER_OFFSET, 8, 0);
    uint64_t size = flat_unsigned(flat, &buffer, BUFFER_SIZE, 8, 0);
    if (data.n > 0) {
        tensor->data = flat->bytes + data.at;
        tensor->data_bytes = data.n;
    } else if (offset > 1 && size > 0 && flat_holds(flat, offset, size)) {
        tensor->data = flat->bytes + offset;
        tensor->data_bytes = size;
    }
    if (tensor->data != NULL) {
        tensor->role = QUIRE_MODEL_CONSTANT;
        tensor->is_open = false;
    }
    return 0;
}

static int check_data(struct tflite *tflite, const struct graph_tensor *tensor)
{
    uint64_t n_elements, n_bits;
    uint32_t bits = graph_type_bits(tensor->type);
    if (tensor->data == NULL || bits == 0)
        return 0;
    if (!graph_count(tensor, &n_elements) || !checked_mul(n_elements, (uint64_t)bits, &n_bits))
        return graph_refuse(tflite->graph, -EOVERFLOW,
                            "the size of the tensor '%s' does not fit in 2^56 bytes", tensor->name);
    if (tensor->data_bytes < n_bits / 8)
        return 1; /* sparse, or in a form of its operator's own: a constant, but not to be read */
    return 0;
}

static int read_shape(struct tflite *tflite, const struct flat_table *table,
                      struct graph_tensor *tensor)
{
    struct flat *flat = &tflite->flat;
    struct flat_vector shape = flat_vector_field(flat, table, TENSOR_SHAPE, 4);
    struct flat_vector signature = flat_vector_field(flat, table, TENSOR_SIGNATURE, 4);
    int64_t dims[GRAPH_MAX_RANK] = {0};
    for (uint32_t i = 0; i < signature.n; i++)
        tensor->is_open = tensor->is_open || flat_vector_int(flat, &signature, i) < 0;
    if (tensor->is_open && shape.n != signature.n)
        shape = signature;
    for (uint32_t i = 0; i < shape.n && i < GRAPH_MAX_RANK; i++) {
        dims[i] = flat_vector_int(flat, &shape, i);
        tensor->is_open = tensor->is_open || dims[i] < 0;
    }
    return graph_set_shape(tflite->graph, tensor, shape.n, dims);
}

static int read_tensor(struct tflite *tflite, const struct flat_vector *tables, uint32_t i)
{
    struct graph *graph = tflite->graph;
    struct flat *flat = &tflite->flat;
    struct flat_table table = flat_vector_table(flat, tables, i);
    struct flat_vector name = flat_vector_field(flat, &table, TENSOR_NAME, 1);
    uint64_t type = flat_unsigned(flat, &table, TENSOR_TYPE, 1, 0);
    char *text = name.n > 0 ? copy_text(tflite, &name) : bump_format(&graph->bump, "tensor_%u", i);
    if (text == NULL)
        return -ENOMEM;
    enum quire_model_type known;
    if (!tflite_type(type, &known))
        return graph_refuse(graph, -ENOTSUP, "the tensor '%s' has type %llu, which is not known",
                            text, (unsigned long long)type);
    uint32_t index = graph_add_tensor(graph, text, known);
    if (index == GRAPH_NONE)
        return -ENOMEM;
    struct graph_tensor *tensor = &graph->tensors[index];
    tensor->is_opaque = known == QUIRE_MODEL_RESOURCE;
    int error = read_shape(tflite, &table, tensor);
    if (error == 0)
        error = read_data(tflite, &table, tensor);
    if (error == 0)
        error = check_data(tflite, tensor);
    if (error == 1)
        tensor->data = NULL;
    if (flat_unsigned(flat, &table, TENSOR_VARIABLE, 1, 0) != 0)
        tensor->role = QUIRE_MODEL_VARIABLE;
    return error < 0 ? error : 0;
}

/* The graph's tensor for a subgraph's; *tensor is GRAPH_NONE for -1, an input that is left out. */
static int find_tensor(struct tflite *tflite, const struct copy *copy, int32_t i, uint32_t *tensor)
{
    *tensor = GRAPH_NONE;
    if (i == -1)
        return 0;
    if (i < 0 || (uint32_t)i >= copy->n_tensors)
        return graph_refuse(tflite->graph, -EINVAL, "an operator refers to tensor %d of %u", i,
                            copy->n_tensors);
    *tensor = copy->first_tensor + (uint32_t)i;
    return 0;
}

/* Adds the tensors of a subgraph. */
static int begin_copy(struct tflite *tflite, int64_t index, struct copy *copy)
{
    struct graph *graph = tflite->graph;
    struct flat *flat = &tflite->flat;
    if (index < 0 || index >= tflite->subgraphs.n)
        return graph_refuse(graph, -EINVAL, "there is no subgraph %lld: the file has %u",
                            (long long)index, tflite->subgraphs.n);
    for (uint32_t i = 0; i < tflite->depth; i++) {
        if (tflite->running[i] == index)
            return graph_refuse(graph, -EINVAL, "subgraph %lld runs itself, which never ends",
                                (long long)index);
    }
    if (tflite->depth == GRAPH_MAX_DEPTH || tflite->n_calls++ == MAX_CALLS)
        return graph_refuse(graph, -ENOTSUP, "subgraphs run others more than %u times, or %u deep",
                            MAX_CALLS, GRAPH_MAX_DEPTH);
    tflite->running[tflite->depth++] = (uint32_t)index;
    copy->table = flat_vector_table(flat, &tflite->subgraphs, (uint32_t)index);
    copy->inputs = flat_vector_field(flat, &copy->table, SUBGRAPH_INPUTS, 4);
    copy->outputs = flat_vector_field(flat, &copy->table, SUBGRAPH_OUTPUTS, 4);
    struct flat_vector tensors = flat_vector_field(flat, &copy->table, SUBGRAPH_TENSORS, 4);
    copy->first_tensor = graph->n_tensors;
    copy->n_tensors = tensors.n;
    for (uint32_t i = 0; i < tensors.n && !flat->broken; i++) {
        int error = read_tensor(tflite, &tensors, i);
        if (error != 0)
            return error;
    }
    return flat->broken ? damaged(tflite) : 0;
}

static int run_copy(struct tflite *tflite, struct copy *copy, uint32_t region);

/* Sets an operator's inputs from a vector of a subgraph's tensors, from `first` on. */
static int set_inputs(struct tflite *tflite, const struct copy *copy, uint32_t operator_,
                      uint32_t first, const struct flat_vector *from)
{
    struct graph *graph = tflite->graph;
    for (uint32_t i = 0; i < from->n; i++) {
        uint32_t tensor;
        int error = find_tensor(tflite, copy, flat_vector_int(&tflite->flat, from, i), &tensor);
        if (error != 0)
            return error;
        graph->links[graph->operators[operator_].first_input + first + i] = tensor;
    }
    return 0;
}

static int set_outputs(struct tflite *tflite, const struct copy *copy, uint32_t operator_,
                       uint32_t first, const struct flat_vector *from)
{
    struct graph *graph = tflite->graph;
    for (uint32_t i = 0; i < from->n; i++) {
        uint32_t tensor;
        int error = find_tensor(tflite, copy, flat_vector_int(&tflite->flat, from, i), &tensor);
        if (error == 0 && tensor != GRAPH_NONE &&
            graph->tensors[tensor].role != QUIRE_MODEL_VARIABLE &&
            graph->tensors[tensor].role != QUIRE_MODEL_CONSTANT)
            error = graph_set_output(graph, operator_, first + i, tensor);
        if (error != 0)
            return error;
    }
    return 0;
}

/* Which subgraphs an operator runs; the number of them. */
static uint32_t bodies_of(struct tflite *tflite, const struct flat_table *table, uint32_t builtin,
                          int64_t body[2])
{
    struct flat *flat = &tflite->flat;
    uint32_t n = builtin == BUILTIN_IF || builtin == BUILTIN_WHILE         ? 2
                 : builtin == BUILTIN_CALL || builtin == BUILTIN_CALL_ONCE ? 1
                                                                           : 0;
    if (n == 0)
        return 0; /* others' options have other fields */
    struct flat_table options = flat_table_field(flat, table, OPERATOR_OPTIONS);
    for (uint32_t i = 0; i < n; i++)
        body[i] = flat_signed(flat, &options, i, 4, 0);
    return n;
}

/* Shapes of what a Begin hands to a body. What a loop carries has other contents in each round. */
static int hand_in(struct tflite *tflite, uint32_t begin, uint32_t builtin, const struct copy *body)
{
    const struct graph_operator *from = &tflite->graph->operators[begin];
    uint32_t first = builtin == BUILTIN_IF ? 1 : 0; /* behind the condition */
    int error = 0;
    for (uint32_t i = 0; error == 0 && i < body->inputs.n && first + i < from->n_inputs; i++) {
        uint32_t outer = graph_inputs(tflite->graph, from)[first + i], inner;
        error = find_tensor(tflite, body, flat_vector_int(&tflite->flat, &body->inputs, i), &inner);
        if (error == 0)
            error = tflite_hand_over(tflite->graph, outer, inner, builtin != BUILTIN_WHILE);
    }
    return error;
}

/* Shapes of what an End hands out: of the body that runs last or, of two, of the larger. */
static int hand_out_one(struct tflite *tflite, uint32_t to, uint32_t builtin,
                        const struct copy *bodies, uint32_t i)
{
    struct graph *graph = tflite->graph;
    const struct copy *body = &bodies[builtin == BUILTIN_WHILE];
    uint32_t from, other = GRAPH_NONE;
    if (i >= body->outputs.n)
        return 0;
    int error = find_tensor(tflite, body, flat_vector_int(&tflite->flat, &body->outputs, i), &from);
    const struct copy *second = builtin == BUILTIN_WHILE ? body : &bodies[1];
    const struct flat_vector *list = builtin == BUILTIN_WHILE ? &body->inputs : &second->outputs;
    bool has_other = builtin == BUILTIN_WHILE || builtin == BUILTIN_IF;
    if (error == 0 && has_other && i < list->n)
        error = find_tensor(tflite, second, flat_vector_int(&tflite->flat, list, i), &other);
    if (error != 0 || from == GRAPH_NONE || to == GRAPH_NONE)
        return error;
    uint64_t n, n_other;
    bool differs = other != GRAPH_NONE &&
                   !tflite_same_shape(&graph->tensors[from], &graph->tensors[other]) &&
                   (graph->tensors[from].is_open || graph->tensors[other].is_open);
    if (differs && builtin == BUILTIN_WHILE)
        return graph_refuse(graph, -ENOTSUP, "a WHILE changes the shape of '%s' in each round",
                            graph->tensors[from].name);
    if (differs && graph_count(&graph->tensors[from], &n) &&
        graph_count(&graph->tensors[other], &n_other) && n_other > n)
        from = other;
    graph->tensors[to].is_bound = graph->tensors[to].is_bound || differs;
    return tflite_hand_over(graph, from, to, builtin == BUILTIN_CALL);
}

static int hand_out(struct tflite *tflite, uint32_t end, uint32_t builtin,
                    const struct copy *bodies)
{
    const struct graph_operator *to = &tflite->graph->operators[end];
    int error = 0;
    for (uint32_t i = 0; error == 0 && i < to->n_outputs; i++)
        error = hand_out_one(tflite, graph_outputs(tflite->graph, to)[i], builtin, bodies, i);
    return error;
}

/* Begin, whose outputs are the bodies' inputs; the bodies; End, whose outputs are the operator's.
 */
static int read_call(struct tflite *tflite, const struct copy *outer, const struct code *code,
                     const struct flat_vector *inputs, const struct flat_vector *outputs,
                     const int64_t *bodies, uint32_t n_bodies, uint32_t region)
{
    struct graph *graph = tflite->graph;
    uint32_t depth = tflite->depth, n_in = 0, n_out = 0;
    struct copy copy[2] = {0};
    uint32_t inner = graph_add_region(graph, region, code->builtin == BUILTIN_WHILE);
    int error = inner == GRAPH_NONE ? -ENOMEM : 0;
    for (uint32_t i = 0; error == 0 && i < n_bodies; i++) {
        tflite->depth = depth;
        error = begin_copy(tflite, bodies[i], &copy[i]);
        n_in += copy[i].inputs.n;
        n_out += copy[i].outputs.n;
    }
    if (error != 0)
        return error;
    uint32_t begin = graph_add_operator(graph, code->name, "", region, inputs->n, n_in);
    if (begin == GRAPH_NONE)
        return -ENOMEM;
    graph->operators[begin].kind = GRAPH_BEGIN;
    graph->operators[begin].domain = "tflite";
    graph->regions[inner].begin = begin;
    error = set_inputs(tflite, outer, begin, 0, inputs);
    for (uint32_t i = 0, first = 0; error == 0 && i < n_bodies; i++) {
        error = set_outputs(tflite, &copy[i], begin, first, &copy[i].inputs);
        first += copy[i].inputs.n;
    }
    for (uint32_t i = 0; error == 0 && i < n_bodies; i++)
        error = hand_in(tflite, begin, code->builtin, &copy[i]);
    for (uint32_t i = 0; error == 0 && i < n_bodies; i++) {
        tflite->depth = depth;
        tflite->running[tflite->depth++] = (uint32_t)bodies[i];
        error = run_copy(tflite, &copy[i], inner);
    }
    tflite->depth = depth;
    if (error != 0)
        return error;
    uint32_t end = graph_add_operator(graph, code->name, "", region, n_out, outputs->n);
    if (end == GRAPH_NONE)
        return -ENOMEM;
    graph->operators[end].kind = GRAPH_END;
    graph->operators[end].domain = "tflite";
    graph->regions[inner].end = end;
    for (uint32_t i = 0, first = 0; error == 0 && i < n_bodies; i++) {
        error = set_inputs(tflite, &copy[i], end, first, &copy[i].outputs);
        first += copy[i].outputs.n;
    }
    if (error == 0)
        error = set_outputs(tflite, outer, end, 0, outputs);
    return error != 0 ? error : hand_out(tflite, end, code->builtin, copy);
}

static int read_operator(struct tflite *tflite, const struct copy *copy,
                         const struct flat_table *table, uint32_t region)
{
    struct graph *graph = tflite->graph;
    struct flat *flat = &tflite->flat;
    uint64_t index = flat_unsigned(flat, table, OPERATOR_CODE, 4, 0);
    struct flat_vector inputs = flat_vector_field(flat, table, OPERATOR_INPUTS, 4);
    struct flat_vector outputs = flat_vector_field(flat, table, OPERATOR_OUTPUTS, 4);
    int64_t bodies[2];
    if (flat->broken)
        return damaged(tflite);
    if (index >= tflite->n_codes)
        return graph_refuse(graph, -EINVAL, "an operator has code %llu of %u",
                            (unsigned long long)index, tflite->n_codes);
    const struct code *code = &tflite->codes[index];
    uint32_t n_bodies = bodies_of(tflite, table, code->builtin, bodies);
    if (n_bodies > 0)
        return read_call(tflite, copy, code, &inputs, &outputs, bodies, n_bodies, region);
    uint32_t operator_ = graph_add_operator(graph, code->name, "", region, inputs.n, outputs.n);
    if (operator_ == GRAPH_NONE)
        return -ENOMEM;
    graph->operators[operator_].domain = "tflite";
    int error = set_inputs(tflite, copy, operator_, 0, &inputs);
    if (error == 0)
        error = set_outputs(tflite, copy, operator_, 0, &outputs);
    return error != 0 ? error : tflite_infer(graph, flat, table, operator_, tflite->is_resized);
}

/* Nobody makes a tensor of 0 bytes, as the shape that makes a scalar: it is a constant. */
static void settle_empty(struct graph *graph, const struct copy *copy)
{
    for (uint32_t i = 0; i < copy->n_tensors; i++) {
        struct graph_tensor *tensor = &graph->tensors[copy->first_tensor + i];
        uint64_t n;
        if (tensor->role == QUIRE_MODEL_ACTIVATION && tensor->producer == GRAPH_NONE &&
            graph_shape_is_known(tensor) && graph_count(tensor, &n) && n == 0)
            tensor->role = QUIRE_MODEL_CONSTANT;
    }
}

/* The operators of a subgraph whose tensors are there. */
static int run_copy(struct tflite *tflite, struct copy *copy, uint32_t region)
{
    struct flat *flat = &tflite->flat;
    struct flat_vector operators = flat_vector_field(flat, &copy->table, SUBGRAPH_OPERATORS, 4);
    for (uint32_t i = 0; i < operators.n && !flat->broken; i++) {
        struct flat_table table = flat_vector_table(flat, &operators, i);
        int error = read_operator(tflite, copy, &table, region);
        if (error != 0)
            return error;
    }
    settle_empty(tflite->graph, copy);
    return flat->broken ? damaged(tflite) : 0;
}

/* Inputs and outputs of the subgraph that runs. */
static int mark_ends(struct tflite *tflite, const struct copy *copy)
{
    struct graph *graph = tflite->graph;
    for (uint32_t i = 0; i < copy->inputs.n; i++) {
        uint32_t tensor;
        int error = find_tensor(tflite, copy, flat_vector_int(&tflite->flat, &copy->inputs, i),
                                &tensor);
        if (error != 0)
            return error;
        if (tensor != GRAPH_NONE && graph->tensors[tensor].role == QUIRE_MODEL_ACTIVATION)
            graph->tensors[tensor].role = QUIRE_MODEL_INPUT;
    }
    for (uint32_t i = 0; i < copy->outputs.n; i++) {
        uint32_t tensor;
        int error = find_tensor(tflite, copy, flat_vector_int(&tflite->flat, &copy->outputs, i),
                                &tensor);
        if (error != 0)
            return error;
        if (tensor != GRAPH_NONE)
            graph->tensors[tensor].is_output = true;
    }
    return 0;
}

/* Shapes from the user; those of all others follow. */
static int give_shapes(struct tflite *tflite, const struct copy *copy)
{
    struct graph *graph = tflite->graph;
    for (uint32_t i = 0; i < copy->n_tensors && graph->n_shapes > 0; i++) {
        struct graph_tensor *tensor = &graph->tensors[copy->first_tensor + i], old = *tensor;
        int given = graph_give_shape(graph, tensor);
        if (given < 0)
            return given;
        if (given == 0)
            continue;
        tensor->is_open = !tflite_same_shape(tensor, &old) || old.is_open;
        tflite->is_resized = tflite->is_resized || !tflite_same_shape(tensor, &old);
        if (tensor->is_open && !graph_is_dynamic(tensor))
            return graph_refuse(graph, -EINVAL,
                                "--shape %s: that is a weight or a variable, whose shape is the "
                                "file's",
                                tensor->name);
    }
    return 0;
}

int tflite_import(struct graph *graph, const uint8_t *bytes, size_t n_bytes, uint32_t subgraph)
{
    struct tflite tflite = {.graph = graph, .flat = {bytes, n_bytes, false}};
    struct flat_table model = flat_root(&tflite.flat);
    struct copy copy = {0};
    graph->format = "TFLite";
    tflite.subgraphs = flat_vector_field(&tflite.flat, &model, MODEL_SUBGRAPHS, 4);
    tflite.buffers = flat_vector_field(&tflite.flat, &model, MODEL_BUFFERS, 4);
    uint64_t version = flat_unsigned(&tflite.flat, &model, MODEL_VERSION, 4, 0);
    if (tflite.flat.broken)
        return damaged(&tflite);
    if (version != 3)
        return graph_refuse(graph, -ENOTSUP, "the TFLite file has version %llu; 3 is known",
                            (unsigned long long)version);
    int error = read_codes(&tflite, &model);
    if (error == 0 && graph_add_region(graph, GRAPH_NONE, false) == GRAPH_NONE)
        error = -ENOMEM;
    if (error == 0)
        error = begin_copy(&tflite, subgraph, &copy);
    if (error == 0)
        error = mark_ends(&tflite, &copy);
    if (error == 0)
        error = give_shapes(&tflite, &copy);
    if (error == 0)
        error = run_copy(&tflite, &copy, 0);
    return error;
}
