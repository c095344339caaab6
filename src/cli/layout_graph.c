/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout_graph: which tensors and operators of a model have a choice of layouts.
 *
 * A convolution's strides and padding are not in <quire/model.h>; they follow from the sizes of
 * what goes in and comes out: the stride is the rounded quotient, the padding what is missing then.
 * Dilation is taken for 1.
 */
#include "cli/layout_graph.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Operators that treat all elements, or all of a channel, alike. */
static const char *const free_types[] = {
    "Relu",
    "LeakyRelu",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Tanh",
    "Clip",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Sum",
    "Max",
    "Min",
    "Exp",
    "Sqrt",
    "Abs",
    "Neg",
    "Elu",
    "Selu",
    "Softplus",
    "Erf",
    "PRelu",
    "BatchNormalization",
    "Identity",
    "Dropout",
    "Cast",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Resize",
    "Upsample",
    "InstanceNormalization",
    "RELU",
    "RELU6",
    "RELU_N1_TO_1",
    "LEAKY_RELU",
    "PRELU",
    "LOGISTIC",
    "TANH",
    "HARD_SWISH",
    "ELU",
    "ADD",
    "SUB",
    "MUL",
    "DIV",
    "MAXIMUM",
    "MINIMUM",
    "MAX_POOL_2D",
    "AVERAGE_POOL_2D",
    "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR",
    "ABS",
    "NEG",
    "SQRT",
    "EXP",
    "QUANTIZE",
    "DEQUANTIZE",
};

static bool is_one_of(const char *type, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(type, list[i]) == 0)
            return true;
    return false;
}

static bool find_type(enum quire_model_type of_model, enum quire_layout_type *type)
{
    switch (of_model) {
    case QUIRE_MODEL_F32:
    case QUIRE_MODEL_I32:
        *type = QUIRE_LAYOUT_F32;
        return true;
    case QUIRE_MODEL_F16:
        *type = QUIRE_LAYOUT_F16;
        return true;
    case QUIRE_MODEL_BF16:
        *type = QUIRE_LAYOUT_BF16;
        return true;
    case QUIRE_MODEL_I8:
    case QUIRE_MODEL_U8:
        *type = QUIRE_LAYOUT_I8;
        return true;
    default:
        return false;
    }
}

static bool is_tflite(const struct layout_graph *graph)
{
    return strcmp(graph->format, "TFLite") == 0;
}

/* Dimensions in the order n c h w. */
static void order_dims(const struct layout_graph *graph, const int64_t *from, int64_t *dims)
{
    static const unsigned char_last[4] = {0, 3, 1, 2};

    for (unsigned d = 0; d < 4; d++)
        dims[d] = from[is_tflite(graph) ? char_last[d] : d];
}

static void find_tensor(const struct layout_graph *graph, uint32_t number)
{
    struct layout_tensor *tensor = &graph->tensors[number];
    struct quire_model_tensor its;

    quire_model_tensor(graph->model, number, &its);
    tensor->n_bytes = its.n_bytes;
    tensor->is_output = its.is_output;
    tensor->is_input = its.role == QUIRE_MODEL_INPUT;
    tensor->is_there = !its.is_opaque && its.n_bytes > 0 &&
                       (its.role == QUIRE_MODEL_ACTIVATION || its.role == QUIRE_MODEL_INPUT);
    if (!tensor->is_there || its.rank != 4 || !find_type(its.type, &tensor->type))
        return;
    order_dims(graph, its.dims, tensor->dims);
    tensor->is_free = true;
    for (int choice = 0; choice < LAYOUT_N_CHOICES; choice++) {
        struct quire_layout layout = layout_graph_layout(graph, number, (enum layout_choice)choice);
        tensor->is_free &= layout.n_dims == 4;
    }
}

struct quire_layout layout_graph_layout(const struct layout_graph *graph, uint32_t tensor,
                                        enum layout_choice choice)
{
    const struct layout_tensor *its = &graph->tensors[tensor];
    struct quire_layout layout = {0};

    if (quire_layout_init(&layout, graph->names[choice], its->type, 4, its->dims) != 0)
        return (struct quire_layout){0}; /* a dimension is 0, or it is too large */
    return layout;
}

/* Convolutions */

static bool find_axis(int64_t in, int64_t out, int64_t kernel, int64_t *stride, int64_t *before,
                      int64_t *after)
{
    *stride = out > 1 ? (in + out / 2) / out : in;
    if (*stride < 1)
        return false; /* transposed, or padded by more than its size */
    int64_t pad = (out - 1) * *stride + kernel - in;
    pad = pad < 0 ? 0 : pad;
    *before = pad / 2;
    *after = pad - *before;
    return true;
}

static bool find_shape(const struct layout_graph *graph, struct layout_operator *its)
{
    struct quire_model_tensor weights;
    const struct layout_tensor *in = &graph->tensors[its->input];
    const struct layout_tensor *out = &graph->tensors[its->output];
    struct quire_conv_shape *shape = &its->shape;
    bool is_depthwise = strcmp(its->type, "DEPTHWISE_CONV_2D") == 0;
    int64_t height, width;

    if (its->inputs[1] == QUIRE_MODEL_NONE)
        return false;
    quire_model_tensor(graph->model, its->inputs[1], &weights);
    if (weights.rank != 4 || !in->is_free || !out->is_free || in->dims[0] != out->dims[0])
        return false;
    bool is_last = is_tflite(graph); /* o h w i; depthwise: 1 h w o */
    int64_t in_group = is_depthwise ? 1 : weights.dims[is_last ? 3 : 1];
    if (in_group < 1 || in->dims[1] % in_group != 0)
        return false;
    quire_conv_shape_init(shape, in->dims[0], in->dims[1], in->dims[2], in->dims[3], out->dims[1],
                          1);
    shape->groups = in->dims[1] / in_group;
    shape->kernel_height = weights.dims[is_last ? 1 : 2];
    shape->kernel_width = weights.dims[is_last ? 2 : 3];
    return find_axis(in->dims[2], out->dims[2], shape->kernel_height, &shape->stride_y,
                     &shape->pad_top, &shape->pad_bottom) &&
           find_axis(in->dims[3], out->dims[3], shape->kernel_width, &shape->stride_x,
                     &shape->pad_left, &shape->pad_right) &&
           quire_conv_out_size(shape, &height, &width) == 0 && height == out->dims[2] &&
           width == out->dims[3];
}

/* Whether any layout will do, for all of its activations alike. */
static bool takes_any(const struct layout_graph *graph, const struct layout_operator *its)
{
    static const size_t n_types = sizeof free_types / sizeof free_types[0];
    uint32_t n_free = 0;

    if (!is_one_of(its->type, free_types, n_types))
        return false;
    for (uint32_t i = 0; i < its->n_inputs + its->n_outputs; i++) {
        uint32_t tensor = i < its->n_inputs ? its->inputs[i] : its->outputs[i - its->n_inputs];
        if (tensor == QUIRE_MODEL_NONE || !graph->tensors[tensor].is_there)
            continue;
        if (!graph->tensors[tensor].is_free)
            return false;
        n_free++;
    }
    return n_free > 1;
}

static void find_operator(const struct layout_graph *graph, uint32_t number,
                          struct layout_operator *its)
{
    struct quire_model_operator operator_;

    quire_model_operator(graph->model, number, &operator_);
    *its = (struct layout_operator){.type = operator_.type,
                                    .name = operator_.name,
                                    .n_inputs = operator_.n_inputs,
                                    .n_outputs = operator_.n_outputs,
                                    .inputs = operator_.inputs,
                                    .outputs = operator_.outputs};
    bool is_conv = strcmp(its->type, "Conv") == 0 || strcmp(its->type, "CONV_2D") == 0 ||
                   strcmp(its->type, "DEPTHWISE_CONV_2D") == 0;
    if (is_conv && its->n_inputs >= 2 && its->n_outputs == 1 &&
        its->inputs[0] != QUIRE_MODEL_NONE && its->outputs[0] != QUIRE_MODEL_NONE) {
        its->input = its->inputs[0];
        its->output = its->outputs[0];
        if (find_shape(graph, its))
            its->kind = LAYOUT_CONV;
    } else if (takes_any(graph, its)) {
        its->kind = LAYOUT_ANY;
    }
}

static int find_order(struct layout_graph *graph)
{
    struct quire_model_schedule schedule;
    int error = quire_model_schedule(graph->model, NULL, &schedule);
    uint32_t n = 0;

    if (error != 0)
        return error;
    for (size_t i = 0; i < schedule.n_steps && n < graph->n_operators; i++)
        if (schedule.steps[i].action == QUIRE_MODEL_RUN &&
            schedule.steps[i].operator_ != QUIRE_MODEL_NONE)
            find_operator(graph, schedule.steps[i].operator_, &graph->operators[n++]);
    graph->n_operators = n;
    quire_model_schedule_free(&schedule);
    for (uint32_t step = 0; step < n; step++)
        for (uint32_t i = 0; i < graph->operators[step].n_inputs; i++)
            if (graph->operators[step].inputs[i] != QUIRE_MODEL_NONE)
                graph->tensors[graph->operators[step].inputs[i]].last_step = step;
    for (uint32_t i = 0; i < graph->n_tensors; i++)
        if (graph->tensors[i].is_output)
            graph->tensors[i].last_step = n;
    return 0;
}

int layout_graph_make(struct quire_model *model, struct layout_graph *graph)
{
    struct quire_model_facts facts;

    quire_model_facts(model, &facts);
    *graph = (struct layout_graph){.model = model,
                                   .format = facts.format,
                                   .n_tensors = facts.n_tensors,
                                   .n_operators = facts.n_operators};
    snprintf(graph->blocked, sizeof graph->blocked, "nchw%dc",
             (int)quire_conv_block(QUIRE_LAYOUT_BEST));
    graph->names[LAYOUT_PLAIN] = is_tflite(graph) ? "nhwc" : "nchw";
    graph->names[LAYOUT_OTHER] = is_tflite(graph) ? "nchw" : "nhwc";
    graph->names[LAYOUT_BLOCKED] = graph->blocked;
    graph->tensors = calloc(graph->n_tensors + 1, sizeof *graph->tensors);
    graph->operators = calloc(graph->n_operators + 1, sizeof *graph->operators);
    if (graph->tensors == NULL || graph->operators == NULL) {
        layout_graph_free(graph);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < graph->n_tensors; i++)
        find_tensor(graph, i);
    int error = find_order(graph);
    if (error != 0)
        layout_graph_free(graph);
    return error;
}

void layout_graph_free(struct layout_graph *graph)
{
    free(graph->tensors);
    free(graph->operators);
    graph->tensors = NULL;
    graph->operators = NULL;
}
