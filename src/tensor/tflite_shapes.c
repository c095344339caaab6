/* SPDX-License-Identifier: Apache-2.0 */
/* tflite_shapes: see tflite_shapes.h. */
#include "tensor/tflite_shapes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { OPERATOR_OPTIONS = 4, OPERATOR_CUSTOM = 5 };

/* What rules use */

void tflite_tell(struct tflite_call *call, const char *name, int64_t value)
{
    struct graph_attribute *attribute = &call->attributes[call->told.n_attributes++];
    *attribute = (struct graph_attribute){.name = name, .kind = GRAPH_INT, .i = value};
    call->told.attributes = call->attributes;
}

void tflite_tell_all(struct tflite_call *call, const char *name, const int64_t *values, uint32_t n)
{
    struct graph_attribute *attribute = &call->attributes[call->told.n_attributes++];
    *attribute = (struct graph_attribute){.name = name, .kind = GRAPH_INTS, .n = n, .ints = values};
    call->told.attributes = call->attributes;
}

int64_t tflite_option(struct tflite_call *call, unsigned field, unsigned n_bytes, int64_t absent)
{
    return flat_signed(call->flat, &call->options, field, n_bytes, absent);
}

const struct graph_tensor *tflite_ranked(const struct tflite_call *call, uint32_t i)
{
    const struct graph_tensor *tensor = shape_in(&call->shape, i);
    return tensor != NULL && tensor->has_rank ? tensor : NULL;
}

int tflite_set(struct tflite_call *call, uint32_t i, uint32_t rank, const int64_t *dims)
{
    const struct graph_tensor *tensor = shape_out(&call->shape, i);
    return tensor == NULL ? 0 : shape_set(&call->shape, i, tensor->type, rank, dims);
}

int tflite_set_by(struct tflite_call *call, uint32_t i)
{
    const struct graph_values *values = shape_values(&call->shape, i);
    if (values == NULL)
        return 0;
    if (values->n > GRAPH_MAX_RANK)
        return tflite_refuse(call, "too many dimensions");
    return tflite_set(call, 0, values->n, values->integers);
}

int tflite_refuse(struct tflite_call *call, const char *why)
{
    return shape_refuse(&call->shape, why);
}

bool tflite_same_shape(const struct graph_tensor *a, const struct graph_tensor *b)
{
    return a->has_rank == b->has_rank && a->rank == b->rank &&
           (a->rank == 0 || memcmp(a->dims, b->dims, a->rank * sizeof *a->dims) == 0);
}

/* Operators that are told as ONNX's, with options or inputs that lie elsewhere */

static int infer_told(struct tflite_call *call)
{
    return shapes_infer_as(call->shape.graph, &call->told);
}

static int concatenation(struct tflite_call *call)
{
    tflite_tell(call, "axis", tflite_option(call, 0, 4, 0));
    return infer_told(call);
}

/* No axes: nothing is reduced, other than in ONNX. */
static int reduce(struct tflite_call *call)
{
    tflite_tell(call, "keepdims", tflite_option(call, 0, 1, 0) != 0);
    tflite_tell(call, "noop_with_empty_axes", 1);
    return infer_told(call);
}

static int squeeze(struct tflite_call *call)
{
    struct flat_vector axes = flat_vector_field(call->flat, &call->options, 0, 4);
    if (axes.n > GRAPH_MAX_RANK)
        return tflite_refuse(call, "too many dimensions");
    for (uint32_t i = 0; i < axes.n; i++)
        call->numbers[i] = flat_vector_int(call->flat, &axes, i);
    if (axes.n > 0)
        tflite_tell_all(call, "axes", call->numbers, axes.n);
    return infer_told(call);
}

static int one_hot(struct tflite_call *call)
{
    tflite_tell(call, "axis", tflite_option(call, 0, 4, 0));
    return infer_told(call);
}

static int batch_matmul(struct tflite_call *call)
{
    tflite_tell(call, "transA", tflite_option(call, 0, 1, 0));
    tflite_tell(call, "transB", tflite_option(call, 1, 1, 0));
    return infer_told(call);
}

/* A condition of one dimension chooses rows: the shape is that of what is chosen from. */
static int select_rows(struct tflite_call *call)
{
    if (call->told.n_inputs < 3)
        return tflite_refuse(call, "a condition and two choices are wanted");
    call->told.first_input++;
    call->told.n_inputs--;
    return infer_told(call);
}

#define SAME "Relu" /* as any other with an output like its input */
#define BROADCAST "Sum"

/* Sorted by name (C's order), for a binary search. `told`: as what its contents are folded, and
 * its shape is inferred where there is no rule. */
static const struct rule {
    const char *type, *told;
    int (*infer)(struct tflite_call *call);
} rules[] = {
    {"ABS", "Abs", NULL},
    {"ADD", "Add", NULL},
    {"ADD_N", BROADCAST, NULL},
    {"ARG_MAX", NULL, tflite_arg_reduce},
    {"ARG_MIN", NULL, tflite_arg_reduce},
    {"ATAN2", BROADCAST, NULL},
    {"AVERAGE_POOL_2D", NULL, tflite_pool_2d},
    {"BATCH_MATMUL", "FusedMatMul", batch_matmul},
    {"BATCH_TO_SPACE_ND", NULL, tflite_batch_to_space},
    {"BIDIRECTIONAL_SEQUENCE_LSTM", NULL, tflite_both_lstm},
    {"BIDIRECTIONAL_SEQUENCE_RNN", NULL, tflite_both_rnn},
    {"BITWISE_XOR", BROADCAST, NULL},
    {"BROADCAST_ARGS", NULL, tflite_broadcast_args},
    {"BROADCAST_TO", "Expand", NULL},
    {"BUCKETIZE", SAME, NULL},
    {"CAST", "Cast", NULL},
    {"CEIL", "Ceil", NULL},
    {"COMPLEX_ABS", SAME, NULL},
    {"CONCATENATION", "Concat", concatenation},
    {"CONV_2D", NULL, tflite_conv_2d},
    {"CONV_3D", NULL, tflite_conv_3d},
    {"CONV_3D_TRANSPOSE", NULL, tflite_shape_in_0},
    {"COS", SAME, NULL},
    {"CUMSUM", SAME, NULL},
    {"Convolution2DTransposeBias", NULL, tflite_transpose_conv_bias},
    {"DENSIFY", SAME, NULL},
    {"DEPTHWISE_CONV_2D", NULL, tflite_depthwise_conv_2d},
    {"DEPTH_TO_SPACE", NULL, tflite_depth_to_space},
    {"DEQUANTIZE", SAME, NULL},
    {"DIV", "Div", NULL},
    {"DYNAMIC_UPDATE_SLICE", SAME, NULL},
    {"ELU", SAME, NULL},
    {"EMBEDDING_LOOKUP", NULL, tflite_embedding_lookup},
    {"EQUAL", "Equal", NULL},
    {"EXP", SAME, NULL},
    {"EXPAND_DIMS", "Unsqueeze", NULL},
    {"FAKE_QUANT", SAME, NULL},
    {"FILL", NULL, tflite_shape_in_0},
    {"FLOOR", "Floor", NULL},
    {"FLOOR_DIV", BROADCAST, NULL},
    {"FLOOR_MOD", "Mod", NULL},
    {"FULLY_CONNECTED", NULL, tflite_fully_connected},
    {"GATHER", "Gather", tflite_gather},
    {"GATHER_ND", "GatherND", NULL},
    {"GELU", SAME, NULL},
    {"GREATER", "Greater", NULL},
    {"GREATER_EQUAL", "GreaterOrEqual", NULL},
    {"HARD_SWISH", SAME, NULL},
    {"HASHTABLE_FIND", NULL, tflite_table_find},
    {"HASHTABLE_LOOKUP", NULL, tflite_table_lookup},
    {"HASHTABLE_SIZE", NULL, tflite_table_size},
    {"IMAG", SAME, NULL},
    {"L2_NORMALIZATION", SAME, NULL},
    {"L2_POOL_2D", NULL, tflite_pool_2d},
    {"LEAKY_RELU", SAME, NULL},
    {"LESS", "Less", NULL},
    {"LESS_EQUAL", "LessOrEqual", NULL},
    {"LOCAL_RESPONSE_NORMALIZATION", SAME, NULL},
    {"LOG", SAME, NULL},
    {"LOGICAL_AND", "And", NULL},
    {"LOGICAL_NOT", "Not", NULL},
    {"LOGICAL_OR", "Or", NULL},
    {"LOGISTIC", SAME, NULL},
    {"LOG_SOFTMAX", SAME, NULL},
    {"LSTM", NULL, tflite_lstm},
    {"MATRIX_DIAG", NULL, tflite_matrix_diag},
    {"MATRIX_SET_DIAG", SAME, NULL},
    {"MAXIMUM", "Max", NULL},
    {"MAX_POOL_2D", NULL, tflite_pool_2d},
    {"MEAN", "ReduceMean", reduce},
    {"MINIMUM", "Min", NULL},
    {"MIRROR_PAD", NULL, tflite_pad},
    {"MUL", "Mul", NULL},
    {"MULTINOMIAL", NULL, tflite_multinomial},
    {"NEG", "Neg", NULL},
    {"NON_MAX_SUPPRESSION_V4", NULL, tflite_non_max_suppression},
    {"NON_MAX_SUPPRESSION_V5", NULL, tflite_non_max_suppression},
    {"NOT_EQUAL", BROADCAST, NULL},
    {"ONE_HOT", "OneHot", one_hot},
    {"PACK", "PACK", tflite_pack},
    {"PAD", NULL, tflite_pad},
    {"PADV2", NULL, tflite_pad},
    {"POW", "Pow", NULL},
    {"PRELU", SAME, NULL},
    {"QUANTIZE", SAME, NULL},
    {"RANDOM_STANDARD_NORMAL", NULL, tflite_shape_in_0},
    {"RANDOM_UNIFORM", NULL, tflite_shape_in_0},
    {"RANGE", "Range", NULL},
    {"RANK", NULL, tflite_scalar},
    {"REAL", SAME, NULL},
    {"REDUCE_ALL", "ReduceMean", reduce},
    {"REDUCE_ANY", "ReduceMean", reduce},
    {"REDUCE_MAX", "ReduceMax", reduce},
    {"REDUCE_MIN", "ReduceMin", reduce},
    {"REDUCE_PROD", "ReduceProd", reduce},
    {"RELU", SAME, NULL},
    {"RELU6", SAME, NULL},
    {"RELU_0_TO_1", SAME, NULL},
    {"RELU_N1_TO_1", SAME, NULL},
    {"RESHAPE", "Reshape", tflite_reshape},
    {"RESIZE_BILINEAR", NULL, tflite_resize},
    {"RESIZE_NEAREST_NEIGHBOR", NULL, tflite_resize},
    {"REVERSE_SEQUENCE", SAME, NULL},
    {"REVERSE_V2", SAME, NULL},
    {"RFFT2D", NULL, tflite_rfft_2d},
    {"RIGHT_SHIFT", BROADCAST, NULL},
    {"RNN", NULL, tflite_rnn},
    {"ROUND", "Round", NULL},
    {"RSQRT", SAME, NULL},
    {"SCATTER_ND", NULL, tflite_shape_in_2},
    {"SELECT", SAME, select_rows},
    {"SELECT_V2", "Where", NULL},
    {"SHAPE", "Shape", NULL},
    {"SIGN", "Sign", NULL},
    {"SIN", SAME, NULL},
    {"SLICE", NULL, tflite_slice},
    {"SOFTMAX", SAME, NULL},
    {"SPACE_TO_BATCH_ND", NULL, tflite_space_to_batch},
    {"SPACE_TO_DEPTH", NULL, tflite_space_to_depth},
    {"SPARSE_TO_DENSE", NULL, tflite_shape_in_1},
    {"SPLIT", NULL, tflite_split},
    {"SPLIT_V", NULL, tflite_split_v},
    {"SQRT", "Sqrt", NULL},
    {"SQUARE", SAME, NULL},
    {"SQUARED_DIFFERENCE", BROADCAST, NULL},
    {"SQUEEZE", "Squeeze", squeeze},
    {"STRIDED_SLICE", NULL, tflite_strided_slice},
    {"SUB", "Sub", NULL},
    {"SUM", "ReduceSum", reduce},
    {"SVDF", NULL, tflite_svdf},
    {"TANH", SAME, NULL},
    {"TILE", "Tile", NULL},
    {"TOPK_V2", NULL, tflite_top_k},
    {"TRANSPOSE", "Transpose", tflite_transpose},
    {"TRANSPOSE_CONV", NULL, tflite_transpose_conv},
    {"UNIDIRECTIONAL_SEQUENCE_LSTM", NULL, tflite_sequence_lstm},
    {"UNIDIRECTIONAL_SEQUENCE_RNN", NULL, tflite_sequence_rnn},
    {"UNIQUE", "Unique", NULL},
    {"UNPACK", NULL, tflite_unpack},
    {"UNSORTED_SEGMENT_MAX", NULL, tflite_segments},
    {"UNSORTED_SEGMENT_MIN", NULL, tflite_segments},
    {"UNSORTED_SEGMENT_PROD", NULL, tflite_segments},
    {"UNSORTED_SEGMENT_SUM", NULL, tflite_segments},
    {"WHERE", NULL, tflite_where},
    {"ZEROS_LIKE", SAME, NULL},
};

static int by_type(const void *key, const void *rule)
{
    return strcmp(key, ((const struct rule *)rule)->type);
}

/* Outputs */

/* Infers outputs whose shapes have been forgotten. Types are the file's. */
static int infer(struct tflite_call *call, const struct graph_tensor *old)
{
    const struct rule *rule = bsearch(call->told.type, rules, sizeof rules / sizeof rules[0],
                                      sizeof rules[0], by_type);
    if (rule == NULL)
        return 0;
    if (rule->told != NULL)
        call->told.type = rule->told;
    int error = rule->infer != NULL ? rule->infer(call) : infer_told(call);
    for (uint32_t i = 0; i < call->told.n_outputs; i++) {
        if (shape_out(&call->shape, i) != NULL)
            shape_out(&call->shape, i)->type = old[i].type;
    }
    return error != 0 ? error : shapes_finish(call->shape.graph, &call->told);
}

static const struct graph_tensor *first_open_input(const struct graph *graph)
{
    for (uint32_t i = 0; i < graph->n_tensors; i++) {
        if (graph->tensors[i].role == QUIRE_MODEL_INPUT && graph->tensors[i].is_open)
            return &graph->tensors[i];
    }
    return NULL;
}

/* To what a rule said against the sizes that stand in for those that the file leaves open. */
static void hint_at_input(struct graph *graph)
{
    const struct graph_tensor *input = first_open_input(graph);
    char why[QUIRE_MODEL_MESSAGE_BYTES];
    if (input == NULL)
        return;
    memcpy(why, graph->message, sizeof why);
    graph_refuse(graph, 0,
                 "%.700s\nthe file leaves sizes open: give those that you want, "
                 "as --shape '%.100s=...', in numbers joined by x",
                 why, input->name);
}

/* What an output becomes: inferred, or what it was before. */
static int settle(struct tflite_call *call, struct graph_tensor *tensor,
                  const struct graph_tensor *old, bool is_open, bool is_resized)
{
    struct graph *graph = call->shape.graph;
    struct graph_tensor inferred = *tensor;
    bool is_known = graph_shape_is_known(&inferred), is_same = tflite_same_shape(&inferred, old);
    if (is_open && is_known && !old->is_given) {
        tensor->is_open = true;
        return 0;
    }
    *tensor = *old;
    tensor->is_open = is_open;
    tensor->values = is_same ? inferred.values : NULL;
    if (old->is_given)
        return 0;
    if (is_known && !is_same && !inferred.is_bound)
        graph->n_conflicts++;
    if (!is_open || (!is_resized && graph_shape_is_known(old)))
        return 0;
    return graph_refuse(graph, -EDESTADDRREQ,
                        "what the operator %s makes of another size can't be told: "
                        "give its shape by --shape '%s=...', in numbers joined by x",
                        graph->operators[tensor->producer].type, old->name);
}

static int settle_all(struct tflite_call *call, const struct graph_tensor *old, bool is_open,
                      bool is_resized)
{
    int error = 0;
    for (uint32_t i = 0; error == 0 && i < call->told.n_outputs; i++) {
        struct graph_tensor *tensor = shape_out(&call->shape, i);
        if (tensor != NULL)
            error = settle(call, tensor, &old[i], is_open || old[i].is_open, is_resized);
    }
    return error;
}

int tflite_infer(struct graph *graph, struct flat *flat, const struct flat_table *table,
                 uint32_t operator_, bool is_resized)
{
    struct tflite_call call = {
        .flat = flat, .told = graph->operators[operator_], .number = operator_};
    struct graph_tensor *old = calloc((size_t)call.told.n_outputs + 1, sizeof *old);
    bool is_open = false, is_any_open;
    if (old == NULL)
        return -ENOMEM;
    call.shape = (struct shape_call){graph, &call.told};
    call.options = flat_table_field(flat, table, OPERATOR_OPTIONS);
    call.custom = flat_vector_field(flat, table, OPERATOR_CUSTOM, 1);
    for (uint32_t i = 0; i < call.told.n_inputs; i++)
        is_open = is_open ||
                  (shape_in(&call.shape, i) != NULL && shape_in(&call.shape, i)->is_open);
    is_any_open = is_open;
    for (uint32_t i = 0; i < call.told.n_outputs; i++) {
        struct graph_tensor *tensor = shape_out(&call.shape, i);
        if (tensor == NULL)
            continue;
        old[i] = *tensor;
        is_any_open = is_any_open || tensor->is_open;
        tensor->has_rank = false;
        tensor->rank = 0;
    }
    int error = infer(&call, old);
    if (error == -EINVAL && !is_any_open && !is_resized) {
        for (uint32_t i = 0; i < call.told.n_outputs; i++) {
            if (shape_out(&call.shape, i) != NULL)
                *shape_out(&call.shape, i) = old[i];
        }
        graph->message[0] = '\0';
        graph->n_conflicts++;
        error = 0;
    } else if (error == 0) {
        error = settle_all(&call, old, is_open, is_resized);
    } else if (error == -EINVAL && !is_resized) {
        hint_at_input(graph);
    }
    free(old);
    return error;
}

int tflite_hand_over(struct graph *graph, uint32_t from, uint32_t to, bool keeps_values)
{
    if (from == GRAPH_NONE || to == GRAPH_NONE)
        return 0;
    const struct graph_tensor *source = &graph->tensors[from];
    struct graph_tensor *target = &graph->tensors[to];
    if (!graph_is_dynamic(target) || target->is_given || (!source->is_open && !target->is_open) ||
        !source->has_rank)
        return 0;
    target->is_open = true;
    target->is_bound = target->is_bound || source->is_bound;
    target->values = keeps_values ? source->values : NULL;
    return graph_set_shape(graph, target, source->rank, source->dims);
}
