/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model_window: the window of a convolution, as its attributes say it.
 *
 * ONNX's are in the file. Those of TFLite are told in the same words when it is read
 * (tflite_window.c).
 */
#include "tensor/model.h"
#include "tensor/shapes.h"

#include <errno.h>
#include <string.h>

static const struct convolution {
    const char *type;
    uint32_t weights;
    uint32_t height, in; /* dimensions of the weights; the width is behind the height */
    bool is_last;        /* channels are the last dimension */
    bool is_depthwise;
} convolutions[] = {
    {"Conv", 1, 2, 1, false, false},
    {"ConvInteger", 1, 2, 1, false, false},
    {"QLinearConv", 3, 2, 1, false, false},
    {"CONV_2D", 1, 1, 3, true, false},
    {"DEPTHWISE_CONV_2D", 1, 1, 3, true, true},
};

static const struct convolution *find(const char *type)
{
    for (size_t i = 0; i < sizeof convolutions / sizeof convolutions[0]; i++)
        if (strcmp(convolutions[i].type, type) == 0)
            return &convolutions[i];
    return NULL;
}

/* An attribute of n numbers; without it they stay as they are. */
static void take(const struct shape_call *call, const char *name, int64_t *numbers, uint32_t n)
{
    uint32_t n_there;
    const int64_t *ints = shape_ints(call, name, &n_there);

    if (n_there == n)
        memcpy(numbers, ints, n * sizeof *numbers);
}

/* "Same": as many outputs as strides in the input; the odd one is behind, or before. */
static void pad_same(struct quire_model_window *window, const int64_t *in, const int64_t *out,
                     bool is_lower)
{
    for (unsigned i = 0; i < 2; i++) {
        int64_t reach = (window->kernel[i] - 1) * window->dilation[i] + 1;
        int64_t pad = (out[i] - 1) * window->stride[i] + reach - in[i];
        pad = pad < 0 ? 0 : pad;
        window->before[i] = (pad + is_lower) / 2;
        window->behind[i] = pad - window->before[i];
    }
}

static void read_window(const struct shape_call *call, const int64_t *in, const int64_t *out,
                        struct quire_model_window *window)
{
    const char *automatic = shape_text(call, "auto_pad", "NOTSET");
    int64_t pads[4] = {0};

    window->stride[0] = window->stride[1] = window->dilation[0] = window->dilation[1] = 1;
    take(call, "strides", window->stride, 2);
    take(call, "dilations", window->dilation, 2);
    take(call, "pads", pads, 4);
    if (strncmp(automatic, "SAME", 4) == 0) {
        pad_same(window, in, out, strcmp(automatic, "SAME_LOWER") == 0);
    } else if (strcmp(automatic, "VALID") != 0) {
        memcpy(window->before, pads, sizeof window->before);
        memcpy(window->behind, pads + 2, sizeof window->behind);
    }
}

static const struct graph_tensor *four_dimensions(const struct graph_tensor *tensor)
{
    return tensor != NULL && tensor->has_rank && tensor->rank == 4 ? tensor : NULL;
}

int quire_model_window(const struct quire_model *model, uint32_t index,
                       struct quire_model_window *window)
{
    const struct graph *graph = &model->graph;
    const struct graph_operator *operator_ = &graph->operators[index];
    const struct convolution *its = find(operator_->type);
    struct shape_call call = {.graph = (struct graph *)graph, .operator_ = operator_};

    if (its == NULL)
        return -ENOTSUP;
    const struct graph_tensor *x = four_dimensions(shape_in(&call, 0));
    const struct graph_tensor *w = four_dimensions(shape_in(&call, its->weights));
    const struct graph_tensor *y = four_dimensions(shape_out(&call, 0));
    if (x == NULL || w == NULL || y == NULL)
        return -ENOTSUP;
    int64_t channels = x->dims[its->is_last ? 3 : 1];
    int64_t in_group = its->is_depthwise ? 1 : w->dims[its->in];
    if (in_group < 1 || channels % in_group != 0)
        return -ENOTSUP;
    uint32_t height = its->is_last ? 1 : 2;
    *window = (struct quire_model_window){.weights = its->weights, .groups = channels / in_group};
    memcpy(window->kernel, w->dims + its->height, sizeof window->kernel);
    read_window(&call, x->dims + height, y->dims + height, window);
    return 0;
}
