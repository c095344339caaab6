/* SPDX-License-Identifier: Apache-2.0 */
/* shapes: see shapes.h. Here the operators by name, and what all rules use. */
#include "tensor/shapes.h"

#include "base/checked.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct graph_tensor *shape_in(const struct shape_call *call, uint32_t i)
{
    if (i >= call->operator_->n_inputs)
        return NULL;
    uint32_t tensor = graph_inputs(call->graph, call->operator_)[i];
    return tensor == GRAPH_NONE ? NULL : &call->graph->tensors[tensor];
}

struct graph_tensor *shape_out(const struct shape_call *call, uint32_t i)
{
    if (i >= call->operator_->n_outputs)
        return NULL;
    uint32_t tensor = graph_outputs(call->graph, call->operator_)[i];
    return tensor == GRAPH_NONE ? NULL : &call->graph->tensors[tensor];
}

const struct graph_attribute *shape_attribute(const struct shape_call *call, const char *name)
{
    for (uint32_t i = 0; i < call->operator_->n_attributes; i++) {
        if (strcmp(call->operator_->attributes[i].name, name) == 0)
            return &call->operator_->attributes[i];
    }
    return NULL;
}

int64_t shape_int(const struct shape_call *call, const char *name, int64_t absent)
{
    const struct graph_attribute *attribute = shape_attribute(call, name);
    return attribute != NULL && attribute->kind == GRAPH_INT ? attribute->i : absent;
}

const char *shape_text(const struct shape_call *call, const char *name, const char *absent)
{
    const struct graph_attribute *attribute = shape_attribute(call, name);
    return attribute != NULL && attribute->kind == GRAPH_TEXT ? attribute->text : absent;
}

const int64_t *shape_ints(const struct shape_call *call, const char *name, uint32_t *n)
{
    const struct graph_attribute *attribute = shape_attribute(call, name);
    bool is_there = attribute != NULL && attribute->kind == GRAPH_INTS;
    *n = is_there ? attribute->n : 0;
    return is_there ? attribute->ints : NULL;
}

const struct graph_values *shape_values(const struct shape_call *call, uint32_t i)
{
    struct graph_tensor *tensor = shape_in(call, i);
    const struct graph_values *values = tensor == NULL ? NULL : fold_values(call->graph, tensor);
    return values == NULL || values->is_real ? NULL : values;
}

int shape_set(const struct shape_call *call, uint32_t i, enum quire_model_type type, uint32_t rank,
              const int64_t *dims)
{
    struct graph_tensor *tensor = shape_out(call, i);
    if (tensor == NULL)
        return 0;
    tensor->type = type;
    return graph_set_shape(call->graph, tensor, rank, dims);
}

void shape_set_type(const struct shape_call *call, uint32_t i, enum quire_model_type type)
{
    struct graph_tensor *tensor = shape_out(call, i);
    if (tensor != NULL)
        tensor->type = type;
}

int shape_refuse(const struct shape_call *call, const char *why)
{
    char text[256], all[700] = "";
    for (uint32_t i = 0; i < call->operator_->n_inputs && i < 4; i++) {
        const struct graph_tensor *tensor = shape_in(call, i);
        if (tensor == NULL)
            continue;
        size_t used = strlen(all);
        strncat(all, i > 0 ? ", " : "", sizeof all - used - 1);
        used = strlen(all);
        strncat(all, graph_shape_text(tensor, text, sizeof text), sizeof all - used - 1);
    }
    const struct graph_tensor *out = shape_out(call, 0);
    const struct graph_operator *here = out == NULL || out->producer == GRAPH_NONE
                                            ? call->operator_
                                            : &call->graph->operators[out->producer];
    bool is_named = here->name[0] != '\0' || out == NULL;
    return graph_refuse(call->graph, -EINVAL, "the operator %s%s '%s': %s; its inputs are %s",
                        here->type, is_named ? "" : " that makes",
                        is_named ? here->name : out->name, why, all[0] == '\0' ? "none" : all);
}

int shape_axis(const struct shape_call *call, int64_t axis, uint32_t rank, uint32_t *result)
{
    int64_t from_front = axis < 0 ? axis + (int64_t)rank : axis;
    *result = 0;
    if (axis < -(int64_t)rank || from_front >= (int64_t)rank)
        return shape_refuse(call, "its axis is not one of its input's");
    *result = (uint32_t)from_front;
    return 0;
}

int shape_axes(const struct shape_call *call, const char *name, uint32_t i, uint32_t rank,
               bool *is_axis, uint32_t *n)
{
    const int64_t *axes = shape_ints(call, name, n);
    if (axes == NULL && shape_in(call, i) != NULL) {
        const struct graph_values *values = shape_values(call, i);
        *n = values == NULL ? UINT32_MAX : values->n;
        axes = values == NULL ? NULL : values->integers;
    }
    memset(is_axis, 0, rank * sizeof *is_axis);
    for (uint32_t k = 0; axes != NULL && k < *n; k++) {
        uint32_t axis;
        int error = shape_axis(call, axes[k], rank, &axis);
        if (error != 0)
            return error;
        is_axis[axis] = true;
    }
    return 0;
}

int64_t shape_times(int64_t a, int64_t b)
{
    int64_t product;
    return a < 0 || b < 0 || !checked_mul(a, b, &product) ? GRAPH_UNKNOWN_DIM : product;
}

/* dims becomes the common shape of itself and a's. */
int shape_broadcast(const struct shape_call *call, const struct graph_tensor *a, uint32_t *rank,
                    int64_t *dims)
{
    uint32_t more = a->rank > *rank ? a->rank - *rank : 0;
    if (more > 0) {
        memmove(dims + more, dims, *rank * sizeof *dims);
        for (uint32_t i = 0; i < more; i++)
            dims[i] = 1;
        *rank = a->rank;
    }
    for (uint32_t i = 0; i < a->rank; i++) {
        int64_t *dim = &dims[*rank - a->rank + i], other = a->dims[i];
        if (*dim == 1 || (*dim < 0 && other > 1))
            *dim = other;
        else if (other != 1 && other >= 0 && *dim >= 0 && other != *dim)
            return shape_refuse(call, "shapes that do not go together");
    }
    return 0;
}

/* Rules that are shared by many operators */

static int same(struct shape_call *call)
{
    const struct graph_tensor *input = shape_in(call, 0);
    if (input == NULL)
        return 0;
    shape_set_type(call, 0, input->type);
    return input->has_rank ? shape_set(call, 0, input->type, input->rank, input->dims) : 0;
}

static int same_typed(struct shape_call *call, enum quire_model_type type)
{
    int error = same(call);
    shape_set_type(call, 0, type);
    return error;
}

static int same_bool(struct shape_call *call)
{
    return same_typed(call, QUIRE_MODEL_BOOL);
}

/* Variadic: the common shape of inputs first.. on. */
static int broadcast(struct shape_call *call, uint32_t first, enum quire_model_type type)
{
    int64_t dims[GRAPH_MAX_RANK] = {0};
    uint32_t rank = 0;
    shape_set_type(call, 0, type);
    for (uint32_t i = first; i < call->operator_->n_inputs; i++) {
        const struct graph_tensor *input = shape_in(call, i);
        if (input == NULL || !input->has_rank)
            return 0;
        int error = shape_broadcast(call, input, &rank, dims);
        if (error != 0)
            return error;
    }
    return shape_set(call, 0, type, rank, dims);
}

static enum quire_model_type type_of(const struct shape_call *call, uint32_t i)
{
    const struct graph_tensor *input = shape_in(call, i);
    return input == NULL ? QUIRE_MODEL_UNTYPED : input->type;
}

static int binary(struct shape_call *call)
{
    return broadcast(call, 0, type_of(call, 0));
}

static int compare(struct shape_call *call)
{
    return broadcast(call, 0, QUIRE_MODEL_BOOL);
}

static int where(struct shape_call *call)
{
    return broadcast(call, 0, type_of(call, 1));
}

static int dropout(struct shape_call *call)
{
    const struct graph_tensor *input = shape_in(call, 0);
    int error = same(call);
    if (error != 0 || input == NULL || !input->has_rank)
        return error;
    return shape_set(call, 1, call->graph->opset < 10 ? input->type : QUIRE_MODEL_BOOL, input->rank,
                     input->dims);
}

/* ONNX's numbers for types. */
enum quire_model_type shape_type_number(int64_t number)
{
    static const enum quire_model_type types[] = {
        QUIRE_MODEL_UNTYPED, QUIRE_MODEL_F32, QUIRE_MODEL_U8,  QUIRE_MODEL_I8,     QUIRE_MODEL_U16,
        QUIRE_MODEL_I16,     QUIRE_MODEL_I32, QUIRE_MODEL_I64, QUIRE_MODEL_STRING, QUIRE_MODEL_BOOL,
        QUIRE_MODEL_F16,     QUIRE_MODEL_F64, QUIRE_MODEL_U32, QUIRE_MODEL_U64,    QUIRE_MODEL_C64,
        QUIRE_MODEL_C128,    QUIRE_MODEL_BF16};
    return number >= 0 && (size_t)number < sizeof types / sizeof types[0] ? types[number]
                                                                          : QUIRE_MODEL_UNTYPED;
}

static int cast(struct shape_call *call)
{
    return same_typed(call, shape_type_number(shape_int(call, "to", 0)));
}

static int cast_like(struct shape_call *call)
{
    return same_typed(call, type_of(call, 1));
}

/* "dtype" says the type, or it is the input's. */
static int same_dtype(struct shape_call *call)
{
    int64_t number = shape_int(call, "dtype", 0);
    return same_typed(call, number == 0 ? type_of(call, 0) : shape_type_number(number));
}

static int quantize(struct shape_call *call)
{
    return same_typed(call, shape_in(call, 2) == NULL ? QUIRE_MODEL_U8 : type_of(call, 2));
}

static int quantize_dynamically(struct shape_call *call)
{
    int error = same_typed(call, QUIRE_MODEL_U8);
    if (error == 0)
        error = shape_set(call, 1, QUIRE_MODEL_F32, 0, NULL);
    return error != 0 ? error : shape_set(call, 2, QUIRE_MODEL_U8, 0, NULL);
}

static int dequantize(struct shape_call *call)
{
    return same_typed(call, QUIRE_MODEL_F32);
}

/* Sequences and the like: outside of the arena. */
static int opaque(struct shape_call *call)
{
    for (uint32_t i = 0; i < call->operator_->n_outputs; i++) {
        struct graph_tensor *tensor = shape_out(call, i);
        if (tensor != NULL)
            tensor->is_opaque = true;
    }
    return 0;
}

static int opaque_length(struct shape_call *call)
{
    return shape_set(call, 0, QUIRE_MODEL_I64, 0, NULL);
}

static int opaque_test(struct shape_call *call)
{
    return shape_set(call, 0, QUIRE_MODEL_BOOL, 0, NULL);
}

static int opaque_or_same(struct shape_call *call)
{
    const struct graph_tensor *input = shape_in(call, 0);
    return input != NULL && input->is_opaque ? opaque(call) : same(call);
}

/* Sorted by name (C's order), for a binary search. */
static const struct rule {
    const char *type;
    shape_rule infer;
} rules[] = {
    {"Abs", same},
    {"Acos", same},
    {"Acosh", same},
    {"Add", binary},
    {"And", compare},
    {"ArgMax", shape_arg_reduce},
    {"ArgMin", shape_arg_reduce},
    {"Asin", same},
    {"Asinh", same},
    {"Atan", same},
    {"Atanh", same},
    {"AveragePool", shape_pool},
    {"BatchNormalization", shape_batch_norm},
    {"Bernoulli", same_dtype},
    {"BiasGelu", same},
    {"BitShift", binary},
    {"BlackmanWindow", shape_window},
    {"Cast", cast},
    {"CastLike", cast_like},
    {"Ceil", same},
    {"Celu", same},
    {"Clip", same},
    {"Compress", shape_compress},
    {"Concat", shape_concat},
    {"ConstantOfShape", shape_constant_of_shape},
    {"Conv", shape_conv},
    {"ConvInteger", shape_conv_integer},
    {"ConvTranspose", shape_conv_transpose},
    {"Cos", same},
    {"Cosh", same},
    {"CumSum", same},
    {"DFT", shape_dft},
    {"DepthToSpace", shape_depth_to_space},
    {"DequantizeLinear", dequantize},
    {"Det", shape_det},
    {"Div", binary},
    {"Dropout", dropout},
    {"DynamicQuantizeLinear", quantize_dynamically},
    {"Einsum", shape_einsum},
    {"Elu", same},
    {"Equal", compare},
    {"Erf", same},
    {"Exp", same},
    {"Expand", shape_expand},
    {"EyeLike", same_dtype},
    {"FastGelu", same},
    {"Flatten", shape_flatten},
    {"Floor", same},
    {"FusedConv", shape_conv},
    {"FusedMatMul", shape_matmul},
    {"GRU", shape_recurrent},
    {"Gather", shape_gather},
    {"GatherElements", shape_like_second},
    {"GatherND", shape_gather_nd},
    {"Gelu", same},
    {"Gemm", shape_gemm},
    {"GlobalAveragePool", shape_pool_global},
    {"GlobalLpPool", shape_pool_global},
    {"GlobalMaxPool", shape_pool_global},
    {"Greater", compare},
    {"GreaterOrEqual", compare},
    {"GridSample", shape_grid_sample},
    {"GroupNormalization", same},
    {"HammingWindow", shape_window},
    {"HannWindow", shape_window},
    {"HardSigmoid", same},
    {"HardSwish", same},
    {"HardTanh", same},
    {"Hardmax", same},
    {"Identity", opaque_or_same},
    {"InstanceNormalization", same},
    {"IsInf", same_bool},
    {"IsNaN", same_bool},
    {"LRN", same},
    {"LSTM", shape_recurrent},
    {"LayerNormalization", shape_layer_norm},
    {"LeakyRelu", same},
    {"Less", compare},
    {"LessOrEqual", compare},
    {"Log", same},
    {"LogSoftmax", same},
    {"LpNormalization", same},
    {"LpPool", shape_pool},
    {"MatMul", shape_matmul},
    {"MatMulInteger", shape_matmul_integer},
    {"Max", binary},
    {"MaxPool", shape_pool},
    {"MaxRoiPool", shape_roi_pool},
    {"MaxUnpool", shape_unpool},
    {"Mean", binary},
    {"MeanVarianceNormalization", same},
    {"MelWeightMatrix", shape_mel},
    {"Min", binary},
    {"Mish", same},
    {"Mod", binary},
    {"Mul", binary},
    {"Multinomial", shape_multinomial},
    {"Neg", same},
    {"NegativeLogLikelihoodLoss", shape_loss},
    {"NonMaxSuppression", shape_non_max_suppression},
    {"NonZero", shape_non_zero},
    {"Not", same},
    {"OneHot", shape_one_hot},
    {"Optional", opaque},
    {"OptionalHasElement", opaque_test},
    {"Or", compare},
    {"PRelu", same},
    {"Pad", shape_pad},
    {"Pow", binary},
    {"QLinearConv", shape_conv_quantized},
    {"QLinearMatMul", shape_matmul_quantized},
    {"QuantizeLinear", quantize},
    {"QuickGelu", same},
    {"RNN", shape_recurrent},
    {"RandomNormal", shape_random},
    {"RandomNormalLike", same_dtype},
    {"RandomUniform", shape_random},
    {"RandomUniformLike", same_dtype},
    {"Range", shape_range},
    {"Reciprocal", same},
    {"ReduceL1", shape_reduce},
    {"ReduceL2", shape_reduce},
    {"ReduceLogSum", shape_reduce},
    {"ReduceLogSumExp", shape_reduce},
    {"ReduceMax", shape_reduce},
    {"ReduceMean", shape_reduce},
    {"ReduceMin", shape_reduce},
    {"ReduceProd", shape_reduce},
    {"ReduceSum", shape_reduce},
    {"ReduceSumSquare", shape_reduce},
    {"Relu", same},
    {"Reshape", shape_reshape},
    {"Resize", shape_resize},
    {"ReverseSequence", same},
    {"RoiAlign", shape_roi_align},
    {"Round", same},
    {"STFT", shape_stft},
    {"Scatter", same},
    {"ScatterElements", same},
    {"ScatterND", same},
    {"Selu", same},
    {"SequenceConstruct", opaque},
    {"SequenceEmpty", opaque},
    {"SequenceErase", opaque},
    {"SequenceInsert", opaque},
    {"SequenceLength", opaque_length},
    {"Shape", shape_shape},
    {"Shrink", same},
    {"Sigmoid", same},
    {"Sign", same},
    {"Sin", same},
    {"Sinh", same},
    {"Size", shape_size},
    {"SkipLayerNormalization", same},
    {"Slice", shape_slice},
    {"Softmax", same},
    {"SoftmaxCrossEntropyLoss", shape_loss},
    {"Softplus", same},
    {"Softsign", same},
    {"SpaceToDepth", shape_space_to_depth},
    {"Split", shape_split},
    {"SplitToSequence", opaque},
    {"Sqrt", same},
    {"Squeeze", shape_squeeze},
    {"Sub", binary},
    {"Sum", binary},
    {"Tan", same},
    {"Tanh", same},
    {"ThresholdedRelu", same},
    {"Tile", shape_tile},
    {"TopK", shape_top_k},
    {"Transpose", shape_transpose},
    {"Trilu", same},
    {"Unique", shape_unique},
    {"Unsqueeze", shape_unsqueeze},
    {"Upsample", shape_resize},
    {"Where", where},
    {"Xor", compare},
};

static int by_type(const void *key, const void *rule)
{
    return strcmp(key, ((const struct rule *)rule)->type);
}

/* What depends on an upper bound is one. */
static void spread_bounds(struct shape_call *call)
{
    bool is_bound = false;
    for (uint32_t i = 0; i < call->operator_->n_inputs; i++)
        is_bound = is_bound || (shape_in(call, i) != NULL && shape_in(call, i)->is_bound);
    for (uint32_t i = 0; is_bound && i < call->operator_->n_outputs; i++) {
        if (shape_out(call, i) != NULL)
            shape_out(call, i)->is_bound = true;
    }
}

static bool is_known_domain(const char *domain)
{
    return domain[0] == '\0' || strcmp(domain, "ai.onnx") == 0 ||
           strcmp(domain, "com.microsoft") == 0;
}

static const struct rule *find_rule(const struct graph_operator *operator_)
{
    return bsearch(operator_->type, rules, sizeof rules / sizeof rules[0], sizeof rules[0],
                   by_type);
}

int shapes_infer_as(struct graph *graph, const struct graph_operator *operator_)
{
    struct shape_call call = {graph, operator_};
    const struct rule *rule = find_rule(operator_);
    return rule == NULL ? 0 : rule->infer(&call);
}

int shapes_finish(struct graph *graph, const struct graph_operator *operator_)
{
    struct shape_call call = {graph, operator_};
    spread_bounds(&call);
    return fold(graph, operator_);
}

int shapes_infer(struct graph *graph, uint32_t operator_)
{
    const struct graph_operator *here = &graph->operators[operator_];
    if (!is_known_domain(here->domain) || find_rule(here) == NULL)
        return 0;
    int error = shapes_infer_as(graph, here);
    return error != 0 ? error : shapes_finish(graph, here);
}
