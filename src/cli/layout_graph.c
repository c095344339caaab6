/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout_graph: which tensors and operators of a model have a choice of layouts.
 *
 *     convolution       each pair of layouts
 *     element by element, or by pixel: any layout that all of its tensors have
 *     padding           likewise, where no channels are added
 *     concatenation,    likewise; the blocked one only where each piece is made of whole blocks
 *     splitting
 *     all others        as the model has it
 */
#include "cli/layout_graph.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PIECES 64 /* tensors of an operator that is not a convolution */

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

/* Those that are one of these where no channel is added. */
static const char *const pad_types[] = {"Pad", "PAD", "PADV2", "MIRROR_PAD"};

/* Those that put tensors together, or take one apart. */
static const char *const join_types[] = {"Concat", "CONCATENATION"};
static const char *const split_types[] = {"Split", "SPLIT", "SPLIT_V"};

static bool find_text(const char *type, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(type, list[i]) == 0)
            return true;
    return false;
}

#define IS_ONE_OF(type, list) find_text(type, list, sizeof(list) / sizeof((list)[0]))

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

/* Whether it is one that there are kernels for. */
static bool find_conv(const struct layout_graph *graph, uint32_t number,
                      struct layout_operator *its)
{
    struct quire_conv_shape *shape = &its->shape;
    struct quire_model_window window;
    int64_t height, width;

    if (quire_model_window(graph->model, number, &window) != 0)
        return false;
    its->input = its->inputs[0];
    its->output = its->outputs[0];
    const struct layout_tensor *in = &graph->tensors[its->input];
    const struct layout_tensor *out = &graph->tensors[its->output];
    if (!in->is_free || !out->is_free || in->dims[0] != out->dims[0])
        return false;
    *shape = (struct quire_conv_shape){
        .n_images = in->dims[0],
        .in_channels = in->dims[1],
        .in_height = in->dims[2],
        .in_width = in->dims[3],
        .out_channels = out->dims[1],
        .kernel_height = window.kernel[0],
        .kernel_width = window.kernel[1],
        .stride_y = window.stride[0],
        .stride_x = window.stride[1],
        .dilation_y = window.dilation[0],
        .dilation_x = window.dilation[1],
        .pad_top = window.before[0],
        .pad_bottom = window.behind[0],
        .pad_left = window.before[1],
        .pad_right = window.behind[1],
        .groups = window.groups,
    };
    return quire_conv_out_size(shape, &height, &width) == 0 && height == out->dims[2] &&
           width == out->dims[3];
}

/* The activations among some tensors; false: one of them has no choice of layouts. */
static bool list_free(const struct layout_graph *graph, const uint32_t *tensors, uint32_t n,
                      const struct layout_tensor **list, uint32_t *n_listed)
{
    for (uint32_t i = 0; i < n; i++) {
        if (tensors[i] == QUIRE_MODEL_NONE || !graph->tensors[tensors[i]].is_there)
            continue;
        if (!graph->tensors[tensors[i]].is_free || *n_listed == MAX_PIECES)
            return false;
        list[(*n_listed)++] = &graph->tensors[tensors[i]];
    }
    return true;
}

static bool have_same_channels(const struct layout_tensor *const *list, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++)
        if (list[i]->dims[0] != list[0]->dims[0] || list[i]->dims[1] != list[0]->dims[1])
            return false;
    return true;
}

/* Whether pieces of the channels begin where blocks do. */
static bool are_blocks(const struct layout_tensor *const *list, uint32_t n)
{
    for (uint32_t i = 0; i + 1 < n; i++)
        if (list[i]->dims[1] % quire_conv_block(QUIRE_LAYOUT_BEST) != 0)
            return false;
    return true;
}

/* Whether any layout will do, for all of its activations alike; `bars_blocked`: but that one. */
static bool takes_any(const struct layout_graph *graph, struct layout_operator *its)
{
    const struct layout_tensor *list[MAX_PIECES];
    uint32_t n_in = 0;
    bool joins = IS_ONE_OF(its->type, join_types), splits = IS_ONE_OF(its->type, split_types);
    bool pads = IS_ONE_OF(its->type, pad_types);

    if (!joins && !splits && !pads && !IS_ONE_OF(its->type, free_types))
        return false;
    if (!list_free(graph, its->inputs, its->n_inputs, list, &n_in))
        return false;
    uint32_t n = n_in;
    if (!list_free(graph, its->outputs, its->n_outputs, list, &n) || n < 2)
        return false;
    bool are_same = have_same_channels(list, n);
    if (joins)
        its->bars_blocked = !are_same && !are_blocks(list, n_in);
    if (splits)
        its->bars_blocked = !are_same && !are_blocks(list + n_in, n - n_in);
    return !pads || are_same;
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
    if (find_conv(graph, number, its))
        its->kind = LAYOUT_CONV;
    else if (takes_any(graph, its))
        its->kind = LAYOUT_ANY;
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
