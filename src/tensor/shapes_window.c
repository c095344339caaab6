/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shapes_window: operators that slide a window over the dimensions behind batch and channel, or
 * make these larger and smaller.
 *
 *     out = (in + pads - ((kernel - 1) * dilation + 1)) / stride + 1, rounded down or, by
 *     ceil_mode, up; auto_pad SAME: in / stride, rounded up
 */
#include "tensor/shapes.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST (INT64_C(1) << 40) /* of attributes and dimensions */

struct window {
    uint32_t n; /* dimensions */
    int64_t kernel[GRAPH_MAX_RANK], stride[GRAPH_MAX_RANK], dilation[GRAPH_MAX_RANK];
    int64_t pads[2 * GRAPH_MAX_RANK], more[GRAPH_MAX_RANK]; /* output_padding */
    bool is_same, is_valid, rounds_up;
};

static int read_ints(struct shape_call *call, const char *name, uint32_t want, int64_t absent,
                     int64_t least, int64_t *to)
{
    uint32_t n;
    const int64_t *ints = shape_ints(call, name, &n);
    for (uint32_t i = 0; i < want; i++)
        to[i] = absent;
    if (ints == NULL)
        return 0;
    if (n != want)
        return shape_refuse(call, "strides, dilations, pads or kernel_shape of another rank");
    for (uint32_t i = 0; i < n; i++) {
        if (ints[i] < least || ints[i] > MOST)
            return shape_refuse(call, "strides, dilations, pads or kernel_shape out of range");
        to[i] = ints[i];
    }
    return 0;
}

/* `kernel` holds what follows from the weights, or 0s: the attribute has to be there. */
static int read_window(struct shape_call *call, struct window *window)
{
    int64_t kernel[GRAPH_MAX_RANK];
    const char *automatic = shape_text(call, "auto_pad", "NOTSET");
    int error = read_ints(call, "kernel_shape", window->n, 0, 1, kernel);
    for (uint32_t i = 0; i < window->n; i++) {
        if (kernel[i] > 0)
            window->kernel[i] = kernel[i];
    }
    if (error == 0)
        error = read_ints(call, "strides", window->n, 1, 1, window->stride);
    if (error == 0)
        error = read_ints(call, "dilations", window->n, 1, 1, window->dilation);
    if (error == 0)
        error = read_ints(call, "pads", 2 * window->n, 0, -MOST, window->pads);
    if (error == 0)
        error = read_ints(call, "output_padding", window->n, 0, 0, window->more);
    window->is_same = strncmp(automatic, "SAME", 4) == 0;
    window->is_valid = strcmp(automatic, "VALID") == 0;
    window->rounds_up = shape_int(call, "ceil_mode", 0) != 0;
    return error;
}

static int slide(struct shape_call *call, const struct window *window, uint32_t i, int64_t in,
                 int64_t *out)
{
    int64_t stride = window->stride[i];
    *out = GRAPH_UNKNOWN_DIM;
    if (in < 0 || window->kernel[i] < 1)
        return 0;
    if (in > MOST)
        return shape_refuse(call, "a dimension beyond 2^40");
    if (window->is_same) {
        *out = (in + stride - 1) / stride;
        return 0;
    }
    int64_t padded = in;
    if (!window->is_valid)
        padded += window->pads[i] + window->pads[window->n + i];
    int64_t reach = shape_times(window->kernel[i] - 1, window->dilation[i]);
    if (reach < 0 || reach + 1 > padded)
        return shape_refuse(call, "a window larger than the input");
    int64_t room = padded - reach - 1;
    *out = room / stride + 1;
    if (window->rounds_up && room % stride != 0)
        *out += 1;
    return 0;
}

/* From input 0 [N, C, ...] and weights [M, C / group, kernel ...]. */
static int conv(struct shape_call *call, uint32_t weights_at, enum quire_model_type type)
{
    const struct graph_tensor *x = shape_in(call, 0), *w = shape_in(call, weights_at);
    struct window window = {0};
    int64_t dims[GRAPH_MAX_RANK];
    shape_set_type(call, 0, type);
    if (x == NULL || !x->has_rank)
        return 0;
    if (x->rank < 3)
        return shape_refuse(call, "an input of fewer than three dimensions");
    window.n = x->rank - 2;
    dims[0] = x->dims[0];
    dims[1] = GRAPH_UNKNOWN_DIM;
    if (w != NULL && w->has_rank) {
        if (w->rank != x->rank)
            return shape_refuse(call, "weights of another rank than the input");
        dims[1] = w->dims[0];
        int64_t channels = shape_times(w->dims[1], shape_int(call, "group", 1));
        if (channels >= 0 && x->dims[1] >= 0 && channels != x->dims[1])
            return shape_refuse(call, "weights for another number of channels");
        memcpy(window.kernel, w->dims + 2, window.n * sizeof *w->dims);
    }
    int error = read_window(call, &window);
    for (uint32_t i = 0; error == 0 && i < window.n; i++)
        error = slide(call, &window, i, x->dims[2 + i], &dims[2 + i]);
    return error != 0 ? error : shape_set(call, 0, type, x->rank, dims);
}

int shape_conv(struct shape_call *call)
{
    const struct graph_tensor *x = shape_in(call, 0);
    return conv(call, 1, x == NULL ? QUIRE_MODEL_UNTYPED : x->type);
}

int shape_conv_integer(struct shape_call *call)
{
    return conv(call, 1, QUIRE_MODEL_I32);
}

int shape_conv_quantized(struct shape_call *call)
{
    const struct graph_tensor *zero = shape_in(call, 7);
    return conv(call, 3, zero == NULL ? QUIRE_MODEL_UNTYPED : zero->type);
}

static int64_t unslide(const struct window *window, uint32_t i, int64_t in)
{
    if (in < 0 || in > MOST || window->kernel[i] < 1)
        return GRAPH_UNKNOWN_DIM;
    if (window->is_same)
        return shape_times(in, window->stride[i]);
    int64_t reach = shape_times(window->kernel[i] - 1, window->dilation[i]);
    int64_t base = shape_times(in - 1, window->stride[i]);
    if (reach < 0 || base < 0)
        return GRAPH_UNKNOWN_DIM;
    int64_t out = base + window->more[i] + reach + 1;
    if (!window->is_valid)
        out -= window->pads[i] + window->pads[window->n + i];
    return out < 0 ? GRAPH_UNKNOWN_DIM : out;
}

int shape_conv_transpose(struct shape_call *call)
{
    const struct graph_tensor *x = shape_in(call, 0), *w = shape_in(call, 1);
    struct window window = {0};
    int64_t dims[GRAPH_MAX_RANK];
    uint32_t n_given;
    if (x == NULL)
        return 0;
    shape_set_type(call, 0, x->type);
    if (!x->has_rank || w == NULL || !w->has_rank)
        return 0;
    if (x->rank < 3 || w->rank != x->rank)
        return shape_refuse(call, "weights of another rank than the input, or fewer than three");
    window.n = x->rank - 2;
    memcpy(window.kernel, w->dims + 2, window.n * sizeof *w->dims);
    int error = read_window(call, &window);
    if (error != 0)
        return error;
    const int64_t *given = shape_ints(call, "output_shape", &n_given);
    dims[0] = x->dims[0];
    dims[1] = shape_times(w->dims[1], shape_int(call, "group", 1));
    for (uint32_t i = 0; i < window.n; i++) {
        bool is_given = given != NULL && n_given >= window.n;
        dims[2 + i] = is_given ? given[n_given - window.n + i]
                               : unslide(&window, i, x->dims[2 + i]);
    }
    return shape_set(call, 0, x->type, x->rank, dims);
}

int shape_pool(struct shape_call *call)
{
    const struct graph_tensor *x = shape_in(call, 0);
    struct window window = {0};
    int64_t dims[GRAPH_MAX_RANK];
    if (x == NULL)
        return 0;
    shape_set_type(call, 0, x->type);
    shape_set_type(call, 1, QUIRE_MODEL_I64);
    if (!x->has_rank)
        return 0;
    if (x->rank < 3)
        return shape_refuse(call, "an input of fewer than three dimensions");
    window.n = x->rank - 2;
    dims[0] = x->dims[0];
    dims[1] = x->dims[1];
    int error = read_window(call, &window);
    for (uint32_t i = 0; error == 0 && i < window.n; i++)
        error = slide(call, &window, i, x->dims[2 + i], &dims[2 + i]);
    if (error == 0)
        error = shape_set(call, 0, x->type, x->rank, dims);
    return error != 0 ? error : shape_set(call, 1, QUIRE_MODEL_I64, x->rank, dims);
}

int shape_pool_global(struct shape_call *call)
{
    const struct graph_tensor *x = shape_in(call, 0);
    int64_t dims[GRAPH_MAX_RANK];
    if (x == NULL)
        return 0;
    shape_set_type(call, 0, x->type);
    if (!x->has_rank)
        return 0;
    for (uint32_t i = 0; i < x->rank; i++)
        dims[i] = i < 2 ? x->dims[i] : 1;
    return shape_set(call, 0, x->type, x->rank, dims);
}

int shape_unpool(struct shape_call *call)
{
    const struct graph_tensor *x = shape_in(call, 0);
    const struct graph_values *given = shape_values(call, 2);
    struct window window = {0};
    int64_t dims[GRAPH_MAX_RANK];
    if (x == NULL)
        return 0;
    shape_set_type(call, 0, x->type);
    if (shape_in(call, 2) != NULL)
        return given == NULL || given->n > GRAPH_MAX_RANK
                   ? 0
                   : shape_set(call, 0, x->type, given->n, given->integers);
    if (!x->has_rank || x->rank < 3)
        return 0;
    window.n = x->rank - 2;
    int error = read_window(call, &window);
    dims[0] = x->dims[0];
    dims[1] = x->dims[1];
    for (uint32_t i = 0; i < window.n; i++)
        dims[2 + i] = unslide(&window, i, x->dims[2 + i]);
    return error != 0 ? error : shape_set(call, 0, x->type, x->rank, dims);
}

/* Regions of interest: [number of them, C, height, width]. */
static int roi(struct shape_call *call, int64_t height, int64_t width)
{
    const struct graph_tensor *x = shape_in(call, 0), *rois = shape_in(call, 1);
    if (x == NULL)
        return 0;
    shape_set_type(call, 0, x->type);
    if (rois == NULL || !x->has_rank || !rois->has_rank || x->rank != 4 || rois->rank != 2)
        return 0;
    return shape_set(call, 0, x->type, 4, (int64_t[]){rois->dims[0], x->dims[1], height, width});
}

int shape_roi_pool(struct shape_call *call)
{
    uint32_t n;
    const int64_t *pooled = shape_ints(call, "pooled_shape", &n);
    return pooled == NULL || n != 2 ? 0 : roi(call, pooled[0], pooled[1]);
}

int shape_roi_align(struct shape_call *call)
{
    return roi(call, shape_int(call, "output_height", 1), shape_int(call, "output_width", 1));
}

/* Factors: reals of an input or, in Upsample's first versions, an attribute. */
static int resize_by(struct shape_call *call, const struct graph_tensor *x, uint32_t n,
                     const double *scales, const float *scales_f)
{
    int64_t dims[GRAPH_MAX_RANK];
    if (n != x->rank)
        return shape_refuse(call, "as many scales as dimensions are wanted");
    for (uint32_t i = 0; i < n; i++) {
        double scale = scales != NULL ? (double)(float)scales[i] : (double)scales_f[i];
        double size = floor((double)x->dims[i] * scale);
        if (!(scale > 0) || size > 0x1p40)
            return shape_refuse(call, "scales out of range");
        dims[i] = x->dims[i] < 0 ? GRAPH_UNKNOWN_DIM : (int64_t)size;
    }
    return shape_set(call, 0, x->type, x->rank, dims);
}

int shape_resize(struct shape_call *call)
{
    const struct graph_tensor *x = shape_in(call, 0);
    if (x == NULL)
        return 0;
    shape_set_type(call, 0, x->type);
    if (!x->has_rank)
        return 0;
    bool is_new = strcmp(call->operator_->type, "Resize") == 0 && call->graph->opset >= 11;
    const struct graph_values *sizes = is_new ? shape_values(call, 3) : NULL;
    if (sizes != NULL && sizes->n == x->rank)
        return shape_set(call, 0, x->type, x->rank, sizes->integers);
    struct graph_tensor *factors = shape_in(call, is_new ? 2 : 1);
    const struct graph_values *scales = factors == NULL ? NULL : fold_values(call->graph, factors);
    if (scales != NULL && scales->is_real && scales->n > 0)
        return resize_by(call, x, scales->n, scales->reals, NULL);
    const struct graph_attribute *old = shape_attribute(call, "scales");
    if (old != NULL && old->kind == GRAPH_FLOATS)
        return resize_by(call, x, old->n, NULL, old->floats);
    int64_t unknown[GRAPH_MAX_RANK];
    for (uint32_t i = 0; i < x->rank; i++)
        unknown[i] = GRAPH_UNKNOWN_DIM;
    return shape_set(call, 0, x->type, x->rank, unknown);
}

int shape_pad(struct shape_call *call)
{
    const struct graph_tensor *x = shape_in(call, 0);
    uint32_t n = 0;
    int64_t dims[GRAPH_MAX_RANK];
    if (x == NULL)
        return 0;
    shape_set_type(call, 0, x->type);
    if (!x->has_rank)
        return 0;
    const int64_t *pads = shape_ints(call, "pads", &n);
    if (pads == NULL)
        pads = shape_ints(call, "paddings", &n);
    const struct graph_values *values = shape_values(call, 1);
    if (pads == NULL && values != NULL) {
        pads = values->integers;
        n = values->n;
    }
    if (pads != NULL && n != 2 * x->rank)
        return shape_refuse(call, "two pads for each dimension are wanted");
    for (uint32_t i = 0; i < x->rank; i++) {
        dims[i] = GRAPH_UNKNOWN_DIM;
        if (pads == NULL || x->dims[i] < 0)
            continue;
        if (llabs(pads[i]) > MOST || llabs(pads[x->rank + i]) > MOST || x->dims[i] > MOST ||
            x->dims[i] + pads[i] + pads[x->rank + i] < 0)
            return shape_refuse(call, "pads out of range");
        dims[i] = x->dims[i] + pads[i] + pads[x->rank + i];
    }
    return shape_set(call, 0, x->type, x->rank, dims);
}

int shape_grid_sample(struct shape_call *call)
{
    const struct graph_tensor *x = shape_in(call, 0), *grid = shape_in(call, 1);
    int64_t dims[GRAPH_MAX_RANK];
    if (x == NULL)
        return 0;
    shape_set_type(call, 0, x->type);
    if (grid == NULL || !x->has_rank || !grid->has_rank || x->rank < 3 || grid->rank != x->rank)
        return 0;
    dims[0] = x->dims[0];
    dims[1] = x->dims[1];
    for (uint32_t i = 2; i < x->rank; i++)
        dims[i] = grid->dims[i - 1];
    return shape_set(call, 0, x->type, x->rank, dims);
}

static int blocks(struct shape_call *call, bool grows)
{
    const struct graph_tensor *x = shape_in(call, 0);
    int64_t block = shape_int(call, "blocksize", 0), dims[4];
    if (x == NULL)
        return 0;
    shape_set_type(call, 0, x->type);
    if (!x->has_rank)
        return 0;
    if (x->rank != 4 || block < 1 || block > (1 << 20))
        return shape_refuse(call, "four dimensions and a block size of 1 or more are wanted");
    dims[0] = x->dims[0];
    int64_t square = block * block;
    if (grows)
        dims[1] = x->dims[1] < 0 ? GRAPH_UNKNOWN_DIM : x->dims[1] / square;
    else
        dims[1] = shape_times(x->dims[1], square);
    for (uint32_t i = 2; i < 4; i++)
        dims[i] = grows            ? shape_times(x->dims[i], block)
                  : x->dims[i] < 0 ? GRAPH_UNKNOWN_DIM
                                   : x->dims[i] / block;
    return shape_set(call, 0, x->type, 4, dims);
}

int shape_depth_to_space(struct shape_call *call)
{
    return blocks(call, true);
}

int shape_space_to_depth(struct shape_call *call)
{
    return blocks(call, false);
}
