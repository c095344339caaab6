/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kinship: see kinship.h.
 *
 * A piece along an axis is in one piece in memory if all dimensions before the axis are 1. Where a
 * slice begins has to be known: from attributes, or from inputs with known contents.
 */
#include "tensor/kinship.h"

#include "tensor/shapes.h"

#include <stdlib.h>
#include <string.h>

static const struct named {
    const char *type;
    enum kinship kinship;
} kinships[] = {
    {"ABS", KINSHIP_ELEMENT},
    {"ADD", KINSHIP_ELEMENT},
    {"ADD_N", KINSHIP_ELEMENT},
    {"Abs", KINSHIP_ELEMENT},
    {"Acos", KINSHIP_ELEMENT},
    {"Acosh", KINSHIP_ELEMENT},
    {"Add", KINSHIP_ELEMENT},
    {"And", KINSHIP_ELEMENT},
    {"Asin", KINSHIP_ELEMENT},
    {"Asinh", KINSHIP_ELEMENT},
    {"Atan", KINSHIP_ELEMENT},
    {"Atanh", KINSHIP_ELEMENT},
    {"BITCAST", KINSHIP_VIEW},
    {"BatchNormalization", KINSHIP_ELEMENT},
    {"CAST", KINSHIP_ELEMENT},
    {"CEIL", KINSHIP_ELEMENT},
    {"CONCATENATION", KINSHIP_JOIN},
    {"COS", KINSHIP_ELEMENT},
    {"Cast", KINSHIP_ELEMENT},
    {"Ceil", KINSHIP_ELEMENT},
    {"Celu", KINSHIP_ELEMENT},
    {"Clip", KINSHIP_ELEMENT},
    {"Concat", KINSHIP_JOIN},
    {"Cos", KINSHIP_ELEMENT},
    {"Cosh", KINSHIP_ELEMENT},
    {"DIV", KINSHIP_ELEMENT},
    {"Div", KINSHIP_ELEMENT},
    {"ELU", KINSHIP_ELEMENT},
    {"EXP", KINSHIP_ELEMENT},
    {"EXPAND_DIMS", KINSHIP_VIEW},
    {"Elu", KINSHIP_ELEMENT},
    {"Erf", KINSHIP_ELEMENT},
    {"Exp", KINSHIP_ELEMENT},
    {"FLOOR", KINSHIP_ELEMENT},
    {"FLOOR_DIV", KINSHIP_ELEMENT},
    {"FLOOR_MOD", KINSHIP_ELEMENT},
    {"Flatten", KINSHIP_VIEW},
    {"Floor", KINSHIP_ELEMENT},
    {"GELU", KINSHIP_ELEMENT},
    {"Gelu", KINSHIP_ELEMENT},
    {"HARD_SWISH", KINSHIP_ELEMENT},
    {"HardSigmoid", KINSHIP_ELEMENT},
    {"HardSwish", KINSHIP_ELEMENT},
    {"Identity", KINSHIP_VIEW},
    {"IsNaN", KINSHIP_ELEMENT},
    {"LEAKY_RELU", KINSHIP_ELEMENT},
    {"LOG", KINSHIP_ELEMENT},
    {"LOGICAL_AND", KINSHIP_ELEMENT},
    {"LOGICAL_NOT", KINSHIP_ELEMENT},
    {"LOGICAL_OR", KINSHIP_ELEMENT},
    {"LOGISTIC", KINSHIP_ELEMENT},
    {"LeakyRelu", KINSHIP_ELEMENT},
    {"Log", KINSHIP_ELEMENT},
    {"MAXIMUM", KINSHIP_ELEMENT},
    {"MINIMUM", KINSHIP_ELEMENT},
    {"MUL", KINSHIP_ELEMENT},
    {"Max", KINSHIP_ELEMENT},
    {"Mean", KINSHIP_ELEMENT},
    {"Min", KINSHIP_ELEMENT},
    {"Mish", KINSHIP_ELEMENT},
    {"Mod", KINSHIP_ELEMENT},
    {"Mul", KINSHIP_ELEMENT},
    {"NEG", KINSHIP_ELEMENT},
    {"Neg", KINSHIP_ELEMENT},
    {"Not", KINSHIP_ELEMENT},
    {"Or", KINSHIP_ELEMENT},
    {"PACK", KINSHIP_JOIN},
    {"POW", KINSHIP_ELEMENT},
    {"PRELU", KINSHIP_ELEMENT},
    {"PRelu", KINSHIP_ELEMENT},
    {"Pow", KINSHIP_ELEMENT},
    {"RELU", KINSHIP_ELEMENT},
    {"RELU6", KINSHIP_ELEMENT},
    {"RELU_0_TO_1", KINSHIP_ELEMENT},
    {"RELU_N1_TO_1", KINSHIP_ELEMENT},
    {"RESHAPE", KINSHIP_VIEW},
    {"ROUND", KINSHIP_ELEMENT},
    {"RSQRT", KINSHIP_ELEMENT},
    {"Reciprocal", KINSHIP_ELEMENT},
    {"Relu", KINSHIP_ELEMENT},
    {"Reshape", KINSHIP_VIEW},
    {"Round", KINSHIP_ELEMENT},
    {"SELECT", KINSHIP_ELEMENT},
    {"SELECT_V2", KINSHIP_ELEMENT},
    {"SIGN", KINSHIP_ELEMENT},
    {"SIN", KINSHIP_ELEMENT},
    {"SLICE", KINSHIP_PARTS},
    {"SPLIT", KINSHIP_PARTS},
    {"SPLIT_V", KINSHIP_PARTS},
    {"SQRT", KINSHIP_ELEMENT},
    {"SQUARE", KINSHIP_ELEMENT},
    {"SQUARED_DIFFERENCE", KINSHIP_ELEMENT},
    {"SQUEEZE", KINSHIP_VIEW},
    {"STRIDED_SLICE", KINSHIP_PARTS},
    {"SUB", KINSHIP_ELEMENT},
    {"Selu", KINSHIP_ELEMENT},
    {"Shrink", KINSHIP_ELEMENT},
    {"Sigmoid", KINSHIP_ELEMENT},
    {"Sign", KINSHIP_ELEMENT},
    {"Sin", KINSHIP_ELEMENT},
    {"Sinh", KINSHIP_ELEMENT},
    {"Slice", KINSHIP_PARTS},
    {"Softplus", KINSHIP_ELEMENT},
    {"Softsign", KINSHIP_ELEMENT},
    {"Split", KINSHIP_PARTS},
    {"Sqrt", KINSHIP_ELEMENT},
    {"Squeeze", KINSHIP_VIEW},
    {"Sub", KINSHIP_ELEMENT},
    {"Sum", KINSHIP_ELEMENT},
    {"TANH", KINSHIP_ELEMENT},
    {"Tan", KINSHIP_ELEMENT},
    {"Tanh", KINSHIP_ELEMENT},
    {"ThresholdedRelu", KINSHIP_ELEMENT},
    {"UNPACK", KINSHIP_PARTS},
    {"Unsqueeze", KINSHIP_VIEW},
    {"Where", KINSHIP_ELEMENT},
    {"Xor", KINSHIP_ELEMENT},
};

static int by_type(const void *key, const void *named)
{
    return strcmp(key, ((const struct named *)named)->type);
}

static const struct graph_tensor *tensor_in(const struct graph *graph,
                                            const struct graph_operator *o, uint32_t i)
{
    uint32_t tensor = i < o->n_inputs ? graph_inputs(graph, o)[i] : GRAPH_NONE;
    return tensor == GRAPH_NONE ? NULL : &graph->tensors[tensor];
}

static const struct graph_tensor *tensor_out(const struct graph *graph,
                                             const struct graph_operator *o, uint32_t i)
{
    uint32_t tensor = i < o->n_outputs ? graph_outputs(graph, o)[i] : GRAPH_NONE;
    return tensor == GRAPH_NONE ? NULL : &graph->tensors[tensor];
}

/* Whether `part` is a piece of `whole` along one axis with nothing but 1s before it. */
static bool is_contiguous(const struct graph_tensor *part, const struct graph_tensor *whole)
{
    bool has_begun = false;
    if (part->rank != whole->rank || part->type != whole->type)
        return false;
    for (uint32_t i = 0; i < whole->rank; i++) {
        if (has_begun && part->dims[i] != whole->dims[i])
            return false;
        has_begun = has_begun || whole->dims[i] != 1;
    }
    return true;
}

static bool is_join(const struct graph *graph, const struct graph_operator *o)
{
    const struct graph_tensor *whole = tensor_out(graph, o, 0);
    uint64_t sum = 0;
    if (whole == NULL || whole->is_bound || graph_type_bits(whole->type) < 8)
        return false;
    for (uint32_t i = 0; i < o->n_inputs; i++) {
        const struct graph_tensor *part = tensor_in(graph, o, i);
        bool may_be_stacked = strcmp(o->type, "PACK") == 0;
        if (part == NULL || part->type != whole->type ||
            (!may_be_stacked && !is_contiguous(part, whole)))
            return false;
        sum += part->n_bytes;
    }
    for (uint32_t i = 0; strcmp(o->type, "PACK") == 0 && i < whole->rank; i++) {
        if (whole->dims[i] == (int64_t)o->n_inputs)
            break; /* stacked along the first axis that is not 1 */
        if (whole->dims[i] != 1)
            return false;
    }
    return sum == whole->n_bytes;
}

enum kinship kinship_of(const struct graph *graph, const struct graph_operator *operator_)
{
    if (operator_->kind != GRAPH_PLAIN)
        return KINSHIP_NONE;
    const struct named *named = bsearch(operator_->type, kinships,
                                        sizeof kinships / sizeof kinships[0], sizeof kinships[0],
                                        by_type);
    if (named == NULL)
        return KINSHIP_NONE;
    const struct graph_tensor *in = tensor_in(graph, operator_, 0);
    const struct graph_tensor *out = tensor_out(graph, operator_, 0);
    if (named->kinship == KINSHIP_VIEW &&
        (in == NULL || out == NULL || in->n_bytes != out->n_bytes || in->type != out->type))
        return KINSHIP_NONE;
    if (named->kinship == KINSHIP_JOIN && !is_join(graph, operator_))
        return KINSHIP_NONE;
    return named->kinship;
}

/* The first index that a slice takes of each dimension; false: not known, or not one by one. */
static bool slice_starts(const struct shape_call *call, const struct graph_tensor *whole,
                         const struct graph_tensor *part, int64_t *starts)
{
    const struct graph_operator *o = call->operator_;
    bool is_lite = strcmp(o->domain, "tflite") == 0;
    const struct graph_values *begin = shape_values(call, 1);
    const struct graph_values *steps = shape_values(call, is_lite ? 3 : 4);
    const struct graph_values *axes = is_lite ? NULL : shape_values(call, 3);
    uint32_t n, n_axes;
    const int64_t *list = shape_ints(call, "starts", &n), *axis = shape_ints(call, "axes", &n_axes);
    memset(starts, 0, whole->rank * sizeof *starts);
    if (list == NULL && begin != NULL) {
        list = begin->integers;
        n = begin->n;
    }
    if (axis == NULL && axes != NULL)
        axis = axes->integers;
    if (list == NULL || n > whole->rank || (axis == NULL && shape_in(call, 3) != NULL && !is_lite))
        return false;
    if (shape_in(call, is_lite ? 3 : 4) != NULL && steps == NULL && strcmp(o->type, "SLICE") != 0)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        int64_t at = axis == NULL ? i : axis[i] < 0 ? axis[i] + whole->rank : axis[i];
        if (at < 0 || at >= whole->rank ||
            (steps != NULL && i < steps->n && steps->integers[i] != 1))
            return false;
        starts[at] = list[i] < 0 ? list[i] + whole->dims[at] : list[i];
        if (starts[at] < 0 || starts[at] + part->dims[at] > whole->dims[at])
            return false;
    }
    return true;
}

static bool slice_offset(const struct graph *graph, const struct graph_operator *o,
                         uint64_t *offset)
{
    /* Known contents may have to be read first, which takes memory of the graph. */
    struct shape_call call = {(struct graph *)(uintptr_t)graph, o};
    const struct graph_tensor *whole = tensor_in(graph, o, 0), *part = tensor_out(graph, o, 0);
    int64_t starts[GRAPH_MAX_RANK];
    uint64_t at = 0;
    if (whole == NULL || part == NULL || part->is_bound || whole->is_bound ||
        graph_type_bits(whole->type) < 8 || !is_contiguous(part, whole) ||
        !slice_starts(&call, whole, part, starts))
        return false;
    for (uint32_t i = 0; i < whole->rank; i++)
        at = at * (uint64_t)whole->dims[i] + (uint64_t)starts[i];
    *offset = at * (graph_type_bits(whole->type) / 8);
    return *offset + part->n_bytes <= whole->n_bytes;
}

static bool split_offset(const struct graph *graph, const struct graph_operator *o, uint32_t i,
                         uint32_t *input, uint64_t *offset)
{
    /* TFLite's SPLIT has its axis in front. */
    *input = strcmp(o->type, "SPLIT") == 0 ? 1 : 0;
    const struct graph_tensor *whole = tensor_in(graph, o, *input);
    bool is_unpack = strcmp(o->type, "UNPACK") == 0;
    uint64_t at = 0, sum = 0;
    if (whole == NULL || whole->is_bound || graph_type_bits(whole->type) < 8)
        return false;
    for (uint32_t k = 0; k < o->n_outputs; k++) {
        const struct graph_tensor *part = tensor_out(graph, o, k);
        if (part == NULL || part->type != whole->type ||
            (!is_unpack && !is_contiguous(part, whole)))
            return false;
        at += k < i ? part->n_bytes : 0;
        sum += part->n_bytes;
    }
    for (uint32_t k = 0; is_unpack && k < whole->rank; k++) {
        if (whole->dims[k] == (int64_t)o->n_outputs)
            break;
        if (whole->dims[k] != 1)
            return false;
    }
    *offset = at;
    return sum == whole->n_bytes;
}

bool kinship_part(const struct graph *graph, const struct graph_operator *operator_, uint32_t i,
                  uint32_t *input, uint64_t *offset)
{
    *input = 0;
    if (strstr(operator_->type, "lice") != NULL || strstr(operator_->type, "LICE") != NULL)
        return i == 0 && slice_offset(graph, operator_, offset);
    return split_offset(graph, operator_, i, input, offset);
}

bool kinship_element(const struct graph *graph, const struct graph_operator *operator_, uint32_t i)
{
    const struct graph_tensor *in = tensor_in(graph, operator_, i);
    const struct graph_tensor *out = tensor_out(graph, operator_, 0);
    if (in == NULL || out == NULL || in->is_bound || out->is_bound || in->n_bytes != out->n_bytes ||
        graph_type_bits(in->type) != graph_type_bits(out->type) || in->rank != out->rank)
        return false;
    return in->rank == 0 || memcmp(in->dims, out->dims, in->rank * sizeof *in->dims) == 0;
}
