/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tflite_window: see tflite_shapes.h. Tensors are [batch, height, width, channels].
 *
 *     SAME: out = in / stride, rounded up; VALID: (in - reach) / stride + 1, rounded down, where
 *     reach = (kernel - 1) * dilation + 1
 */
#include "tensor/tflite_shapes.h"

#include <errno.h>
#include <string.h>

#define MOST (INT64_C(1) << 40) /* of a dimension, a kernel, a pad */

enum { PADDING_SAME, PADDING_VALID };
enum { CUSTOM_PADDING_SAME = 1 };

static bool is_in_range(int64_t value, int64_t least)
{
    return value >= least && value <= MOST;
}

static int slide(struct tflite_call *call, int64_t in, int64_t kernel, int64_t stride,
                 int64_t dilation, int64_t *out)
{
    *out = GRAPH_UNKNOWN_DIM;
    if (!is_in_range(stride, 1) || !is_in_range(dilation, 1) || in > MOST || kernel > MOST)
        return tflite_refuse(call, "strides, dilations or dimensions out of range");
    if (in < 0 || kernel < 0)
        return 0;
    if (tflite_option(call, 0, 1, PADDING_SAME) == PADDING_SAME) {
        *out = (in + stride - 1) / stride;
        return 0;
    }
    int64_t reach = shape_times(kernel - 1, dilation);
    if (reach < 0 || reach >= in)
        return tflite_refuse(call, "a window larger than the input");
    *out = (in - reach - 1) / stride + 1;
    return 0;
}

/* Leaves the window in the graph, in ONNX's words, for those who ask later (model_window.c). */
static int tell_window(struct tflite_call *call, const int64_t *strides, const int64_t *dilations)
{
    enum { N = 3 };
    struct graph *graph = call->shape.graph;
    struct graph_attribute *attributes = bump_take(&graph->bump, N, sizeof *attributes);
    int64_t *numbers = bump_take(&graph->bump, 4, sizeof *numbers);
    bool is_same = tflite_option(call, 0, 1, PADDING_SAME) == PADDING_SAME;
    if (attributes == NULL || numbers == NULL)
        return -ENOMEM;
    memcpy(numbers, strides, 2 * sizeof *numbers);
    memcpy(numbers + 2, dilations, 2 * sizeof *numbers);
    attributes[0] = (struct graph_attribute){
        .name = "strides", .kind = GRAPH_INTS, .n = 2, .ints = numbers};
    attributes[1] = (struct graph_attribute){
        .name = "dilations", .kind = GRAPH_INTS, .n = 2, .ints = numbers + 2};
    attributes[2] = (struct graph_attribute){
        .name = "auto_pad", .kind = GRAPH_TEXT, .text = is_same ? "SAME_UPPER" : "VALID"};
    graph->operators[call->number].attributes = attributes;
    graph->operators[call->number].n_attributes = N;
    return 0;
}

/* `at`: the fields of the dilations along width and height. Weights [out, height, width, in]. */
static int conv(struct tflite_call *call, unsigned at, int64_t channels)
{
    const struct graph_tensor *x = tflite_ranked(call, 0), *w = tflite_ranked(call, 1);
    const int64_t strides[] = {tflite_option(call, 2, 4, 0), tflite_option(call, 1, 4, 0)};
    const int64_t dilations[] = {tflite_option(call, at + 1, 4, 1), tflite_option(call, at, 4, 1)};
    int64_t dims[4];
    if (x == NULL || w == NULL)
        return 0;
    if (x->rank != 4 || w->rank != 4)
        return tflite_refuse(call, "an input and weights of four dimensions are wanted");
    dims[0] = x->dims[0];
    dims[3] = channels;
    int error = 0;
    for (unsigned i = 0; error == 0 && i < 2; i++)
        error = slide(call, x->dims[1 + i], w->dims[1 + i], strides[i], dilations[i], &dims[1 + i]);
    if (error == 0)
        error = tell_window(call, strides, dilations);
    return error != 0 ? error : tflite_set(call, 0, 4, dims);
}

int tflite_conv_2d(struct tflite_call *call)
{
    const struct graph_tensor *x = tflite_ranked(call, 0), *w = tflite_ranked(call, 1);
    bool is_known = x != NULL && w != NULL && x->rank == 4 && w->rank == 4;
    if (is_known && x->dims[3] > 0 && w->dims[3] > 0 && x->dims[3] % w->dims[3] != 0)
        return tflite_refuse(call, "weights for another number of channels");
    return conv(call, 4, is_known ? w->dims[0] : GRAPH_UNKNOWN_DIM);
}

/* Weights [1, height, width, channels of the output]. */
int tflite_depthwise_conv_2d(struct tflite_call *call)
{
    const struct graph_tensor *x = tflite_ranked(call, 0), *w = tflite_ranked(call, 1);
    bool is_known = x != NULL && w != NULL && x->rank == 4 && w->rank == 4;
    if (is_known && x->dims[3] > 0 && w->dims[3] >= 0 && w->dims[3] % x->dims[3] != 0)
        return tflite_refuse(call, "weights for another number of channels");
    return conv(call, 5, is_known ? w->dims[3] : GRAPH_UNKNOWN_DIM);
}

/* Weights [depth, height, width, in, out]. */
int tflite_conv_3d(struct tflite_call *call)
{
    static const unsigned strides[] = {1, 3, 2}, dilations[] = {5, 7, 6};
    const struct graph_tensor *x = tflite_ranked(call, 0), *w = tflite_ranked(call, 1);
    int64_t dims[5];
    if (x == NULL || w == NULL)
        return 0;
    if (x->rank != 5 || w->rank != 5)
        return tflite_refuse(call, "an input and weights of five dimensions are wanted");
    dims[0] = x->dims[0];
    dims[4] = w->dims[4];
    for (unsigned i = 0; i < 3; i++) {
        int error = slide(call, x->dims[1 + i], w->dims[i], tflite_option(call, strides[i], 4, 0),
                          tflite_option(call, dilations[i], 4, 1), &dims[1 + i]);
        if (error != 0)
            return error;
    }
    return tflite_set(call, 0, 5, dims);
}

int tflite_pool_2d(struct tflite_call *call)
{
    const struct graph_tensor *x = tflite_ranked(call, 0);
    int64_t dims[4];
    if (x == NULL)
        return 0;
    if (x->rank != 4)
        return tflite_refuse(call, "an input of four dimensions is wanted");
    memcpy(dims, x->dims, sizeof dims);
    int64_t width = tflite_option(call, 3, 4, 0), height = tflite_option(call, 4, 4, 0);
    if (width < 1 || height < 1)
        return tflite_refuse(call, "a window of no size");
    int error = slide(call, x->dims[1], height, tflite_option(call, 2, 4, 0), 1, &dims[1]);
    if (error == 0)
        error = slide(call, x->dims[2], width, tflite_option(call, 1, 4, 0), 1, &dims[2]);
    return error != 0 ? error : tflite_set(call, 0, 4, dims);
}

/* The whole shape is its first input. */
int tflite_transpose_conv(struct tflite_call *call)
{
    return tflite_set_by(call, 0);
}

/* MediaPipe's own: padding, and strides along width and height, are in its custom options. */
int tflite_transpose_conv_bias(struct tflite_call *call)
{
    const struct graph_tensor *x = tflite_ranked(call, 0), *w = tflite_ranked(call, 1);
    int64_t dims[4];
    if (x == NULL || w == NULL)
        return 0;
    if (x->rank != 4 || w->rank != 4 || call->custom.n < 12)
        return tflite_refuse(call, "four dimensions and 12 bytes of options are wanted");
    struct flat_vector options = {call->custom.at, 3};
    int32_t padding = flat_vector_int(call->flat, &options, 0);
    dims[0] = x->dims[0];
    dims[3] = w->dims[0];
    for (uint32_t i = 0; i < 2; i++) {
        int64_t stride = flat_vector_int(call->flat, &options, 2 - i), in = x->dims[1 + i];
        if (stride < 1 || in > MOST || w->dims[1 + i] > MOST)
            return tflite_refuse(call, "strides or dimensions out of range");
        dims[1 + i] = shape_times(in, stride);
        if (padding != CUSTOM_PADDING_SAME && in > 0)
            dims[1 + i] = shape_times(in - 1, stride) + w->dims[1 + i];
    }
    return tflite_set(call, 0, 4, dims);
}

int tflite_resize(struct tflite_call *call)
{
    const struct graph_tensor *x = tflite_ranked(call, 0);
    const struct graph_values *size = shape_values(&call->shape, 1);
    int64_t unknown = GRAPH_UNKNOWN_DIM;
    if (x == NULL)
        return 0;
    if (x->rank != 4 || (size != NULL && size->n != 2))
        return tflite_refuse(call, "an input of four dimensions and a size of two are wanted");
    return tflite_set(call, 0, 4,
                      (int64_t[]){x->dims[0], size == NULL ? unknown : size->integers[0],
                                  size == NULL ? unknown : size->integers[1], x->dims[3]});
}

int tflite_pad(struct tflite_call *call)
{
    const struct graph_tensor *x = tflite_ranked(call, 0);
    const struct graph_values *pads = shape_values(&call->shape, 1);
    int64_t dims[GRAPH_MAX_RANK];
    if (x == NULL)
        return 0;
    if (pads != NULL && pads->n != 2 * x->rank)
        return tflite_refuse(call, "two pads for each dimension are wanted");
    for (uint32_t i = 0; i < x->rank; i++) {
        dims[i] = GRAPH_UNKNOWN_DIM;
        if (pads == NULL || x->dims[i] < 0)
            continue;
        int64_t before = pads->integers[2 * i], behind = pads->integers[2 * i + 1];
        if (!is_in_range(before, 0) || !is_in_range(behind, 0) || x->dims[i] > MOST)
            return tflite_refuse(call, "pads out of range");
        dims[i] = before + x->dims[i] + behind;
    }
    return tflite_set(call, 0, x->rank, dims);
}

/* Blocks */

static int64_t divide(int64_t a, int64_t b)
{
    return a < 0 || b < 1 ? GRAPH_UNKNOWN_DIM : a / b;
}

static int blocks(struct tflite_call *call, bool grows)
{
    const struct graph_tensor *x = tflite_ranked(call, 0);
    int64_t block = tflite_option(call, 0, 4, 0), dims[4];
    if (x == NULL)
        return 0;
    if (x->rank != 4 || block < 1 || block > (1 << 20))
        return tflite_refuse(call, "four dimensions and a block size of 1 or more are wanted");
    dims[0] = x->dims[0];
    for (uint32_t i = 1; i < 3; i++)
        dims[i] = grows ? shape_times(x->dims[i], block) : divide(x->dims[i], block);
    dims[3] = grows ? divide(x->dims[3], block * block) : shape_times(x->dims[3], block * block);
    return tflite_set(call, 0, 4, dims);
}

int tflite_space_to_depth(struct tflite_call *call)
{
    return blocks(call, false);
}

int tflite_depth_to_space(struct tflite_call *call)
{
    return blocks(call, true);
}

/* Dimensions 1.. are cut into blocks that become batches, after padding; or back, and cropped. */
static int batches(struct tflite_call *call, bool to_batch)
{
    const struct graph_tensor *x = tflite_ranked(call, 0);
    const struct graph_values *block = shape_values(&call->shape, 1);
    const struct graph_values *rim = shape_values(&call->shape, 2);
    int64_t dims[GRAPH_MAX_RANK];
    if (x == NULL || block == NULL || rim == NULL)
        return 0;
    if (block->n >= x->rank || rim->n != 2 * block->n)
        return tflite_refuse(call, "blocks and rims of its inner dimensions are wanted");
    memcpy(dims, x->dims, x->rank * sizeof *dims);
    for (uint32_t i = 0; i < block->n; i++) {
        int64_t size = block->integers[i], in = x->dims[1 + i];
        int64_t before = rim->integers[2 * i], behind = rim->integers[2 * i + 1];
        if (!is_in_range(size, 1) || !is_in_range(before, 0) || !is_in_range(behind, 0) ||
            in > MOST)
            return tflite_refuse(call, "blocks or rims out of range");
        dims[0] = to_batch ? shape_times(dims[0], size) : divide(dims[0], size);
        if (to_batch) {
            if (in >= 0 && (in + before + behind) % size != 0)
                return tflite_refuse(call, "blocks that don't divide the padded input");
            dims[1 + i] = in < 0 ? in : (in + before + behind) / size;
        } else {
            int64_t whole = shape_times(in, size);
            if (whole >= 0 && whole < before + behind)
                return tflite_refuse(call, "more is cropped than there is");
            dims[1 + i] = whole < 0 ? whole : whole - before - behind;
        }
    }
    return tflite_set(call, 0, x->rank, dims);
}

int tflite_space_to_batch(struct tflite_call *call)
{
    return batches(call, true);
}

int tflite_batch_to_space(struct tflite_call *call)
{
    return batches(call, false);
}
