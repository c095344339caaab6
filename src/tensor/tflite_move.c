/* SPDX-License-Identifier: Apache-2.0 */
/* tflite_move: see tflite_shapes.h. Operators that are not quite like one of ONNX's. */
#include "base/checked.h"
#include "tensor/tflite_shapes.h"

#include <errno.h>
#include <string.h>

static int delegate(struct tflite_call *call, const char *type)
{
    call->told.type = type;
    return shapes_infer_as(call->shape.graph, &call->told);
}

static void mark_bound(struct tflite_call *call)
{
    if (shape_out(&call->shape, 0) != NULL)
        shape_out(&call->shape, 0)->is_bound = true;
}

/* The only number that input i holds, or GRAPH_UNKNOWN_DIM. */
static int64_t scalar(const struct tflite_call *call, uint32_t i)
{
    const struct graph_values *values = shape_values(&call->shape, i);
    return values == NULL || values->n != 1 ? GRAPH_UNKNOWN_DIM : values->integers[0];
}

/* The axis that input i holds. 1: it is not known. */
static int axis_in(struct tflite_call *call, uint32_t i, uint32_t rank, uint32_t *axis)
{
    const struct graph_values *values = shape_values(&call->shape, i);
    if (values == NULL || values->n != 1)
        return 1;
    return shape_axis(&call->shape, values->integers[0], rank, axis);
}

/* Weights [units, in]: rows of the input's last dimension, or of as many elements. */
int tflite_fully_connected(struct tflite_call *call)
{
    const struct graph_tensor *x = tflite_ranked(call, 0), *w = tflite_ranked(call, 1);
    int64_t dims[GRAPH_MAX_RANK], all = 1;
    if (x == NULL || w == NULL)
        return 0;
    if (x->rank == 0 || w->rank != 2)
        return tflite_refuse(call, "an input and a matrix of weights are wanted");
    if (tflite_option(call, 2, 1, 0) != 0) {
        if (x->dims[x->rank - 1] >= 0 && w->dims[1] >= 0 && x->dims[x->rank - 1] != w->dims[1])
            return tflite_refuse(call, "weights for another number of inputs");
        memcpy(dims, x->dims, x->rank * sizeof *dims);
        dims[x->rank - 1] = w->dims[0];
        return tflite_set(call, 0, x->rank, dims);
    }
    for (uint32_t i = 0; i < x->rank; i++)
        all = shape_times(all, x->dims[i]);
    if (all >= 0 && w->dims[1] > 0 && all % w->dims[1] != 0)
        return tflite_refuse(call, "weights for another number of inputs");
    all = all < 0 || w->dims[1] < 1 ? GRAPH_UNKNOWN_DIM : all / w->dims[1];
    return tflite_set(call, 0, 2, (int64_t[]){all, w->dims[0]});
}

/* The new shape is the second input, or in the options. A 0 means 0. */
int tflite_reshape(struct tflite_call *call)
{
    const struct graph_values *wish = shape_values(&call->shape, 1);
    struct flat_vector option = flat_vector_field(call->flat, &call->options, 0, 4);
    uint32_t n = wish != NULL ? wish->n : option.n;
    if (wish == NULL && (shape_in(&call->shape, 1) != NULL || option.at == 0))
        return 0;
    if (n > GRAPH_MAX_RANK)
        return tflite_refuse(call, "too many dimensions");
    for (uint32_t i = 0; i < n; i++)
        call->numbers[i] = wish != NULL ? wish->integers[i]
                                        : flat_vector_int(call->flat, &option, i);
    tflite_tell_all(call, "shape", call->numbers, n);
    tflite_tell(call, "allowzero", 1);
    call->told.n_inputs = 1;
    return delegate(call, "Reshape");
}

/* Contents of a slice of one dimension are told as ONNX's. */
static void tell_slice(struct tflite_call *call, int64_t start)
{
    call->told.type = "Slice";
    call->told.n_inputs = 1;
    call->numbers[0] = start;
    tflite_tell_all(call, "starts", call->numbers, 1);
}

int tflite_slice(struct tflite_call *call)
{
    const struct graph_tensor *x = tflite_ranked(call, 0);
    const struct graph_values *begin = shape_values(&call->shape, 1);
    const struct graph_values *size = shape_values(&call->shape, 2);
    int64_t dims[GRAPH_MAX_RANK];
    if (x == NULL)
        return 0;
    if ((begin != NULL && begin->n != x->rank) || (size != NULL && size->n != x->rank))
        return tflite_refuse(call, "a begin and a size of each dimension are wanted");
    for (uint32_t i = 0; i < x->rank; i++) {
        int64_t whole = x->dims[i], from = begin == NULL ? 0 : begin->integers[i], end = 0;
        dims[i] = size == NULL ? -1 : size->integers[i];
        if (dims[i] < 0) {
            dims[i] = whole < 0 ? GRAPH_UNKNOWN_DIM : whole - from;
            if (begin == NULL || size == NULL)
                mark_bound(call); /* at most all of it */
        }
        if (from < 0 ||
            (whole >= 0 && (from > whole || !checked_add(from, dims[i], &end) || end > whole)))
            return tflite_refuse(call, "a slice beyond the input");
    }
    int error = tflite_set(call, 0, x->rank, dims);
    if (error == 0 && x->rank == 1 && begin != NULL)
        tell_slice(call, begin->integers[0]);
    return error;
}

struct strides {
    const struct graph_values *begin, *end, *step;
    int64_t from_start, to_end, ellipsis, new_axis, shrink; /* masks */
    bool is_relative;                                       /* ends are counted from begins */
};

/* How many elements dimension i of the specification takes of n. */
static int64_t strided_length(struct tflite_call *call, const struct strides *strides, uint32_t i,
                              int64_t n)
{
    int64_t bit = INT64_C(1) << i, step = strides->step == NULL ? 1 : strides->step->integers[i];
    bool from_start = (strides->from_start & bit) != 0, to_end = (strides->to_end & bit) != 0;
    if (n < 0)
        return GRAPH_UNKNOWN_DIM;
    if (strides->step == NULL || (!from_start && strides->begin == NULL) ||
        (!to_end && strides->end == NULL)) {
        mark_bound(call);
        return n;
    }
    int64_t begin = from_start ? (step > 0 ? 0 : INT64_MAX) : strides->begin->integers[i];
    int64_t end = to_end ? (step > 0 ? INT64_MAX : INT64_MIN) : strides->end->integers[i];
    if (strides->is_relative && !from_start && !to_end && !checked_add(begin, end, &end))
        end = INT64_MAX;
    return shape_slice_length(n, begin, end, step);
}

static int slice_strided(struct tflite_call *call, const struct graph_tensor *x,
                         const struct strides *strides, uint32_t n)
{
    int64_t dims[2 * GRAPH_MAX_RANK];
    uint32_t rank = 0, from = 0, taken = 0;
    for (uint32_t i = 0; i < n; i++)
        taken += ((strides->new_axis | strides->ellipsis) >> i & 1) == 0;
    for (uint32_t i = 0; i < n; i++) {
        bool skips = (strides->ellipsis >> i & 1) != 0;
        if (skips) {
            for (uint32_t k = taken; k < x->rank && from < x->rank; k++)
                dims[rank++] = x->dims[from++];
        } else if ((strides->new_axis >> i & 1) != 0) {
            dims[rank++] = 1;
        } else if (from == x->rank) {
            return tflite_refuse(call, "more slices than dimensions");
        } else if (strides->step != NULL && strides->step->integers[i] == 0) {
            return tflite_refuse(call, "a step of 0");
        } else if ((strides->shrink >> i & 1) != 0) {
            from++;
        } else {
            dims[rank++] = strided_length(call, strides, i, x->dims[from++]);
        }
    }
    while (from < x->rank)
        dims[rank++] = x->dims[from++];
    return rank > GRAPH_MAX_RANK ? tflite_refuse(call, "too many dimensions")
                                 : tflite_set(call, 0, rank, dims);
}

/* Inputs are the whole, begins, ends and steps. */
int tflite_strided_slice(struct tflite_call *call)
{
    const struct graph_tensor *x = tflite_ranked(call, 0), *list = tflite_ranked(call, 1);
    struct strides strides = {shape_values(&call->shape, 1),    shape_values(&call->shape, 2),
                              shape_values(&call->shape, 3),    tflite_option(call, 0, 4, 0),
                              tflite_option(call, 1, 4, 0),     tflite_option(call, 2, 4, 0),
                              tflite_option(call, 3, 4, 0),     tflite_option(call, 4, 4, 0),
                              tflite_option(call, 5, 1, 0) != 0};
    if (x == NULL || list == NULL || list->rank != 1 || list->dims[0] < 0)
        return 0;
    uint32_t n = (uint32_t)list->dims[0];
    if (list->dims[0] > GRAPH_MAX_RANK || (strides.end != NULL && strides.end->n != n) ||
        (strides.step != NULL && strides.step->n != n) ||
        (strides.ellipsis & (strides.ellipsis - 1)) != 0)
        return tflite_refuse(call, "begins, ends and steps of different lengths");
    int error = slice_strided(call, x, &strides, n);
    bool is_plain = x->rank == 1 && n == 1 && strides.begin != NULL && strides.step != NULL &&
                    strides.step->integers[0] == 1 && (strides.ellipsis | strides.new_axis) == 0;
    if (error == 0 && is_plain)
        tell_slice(call, (strides.from_start & 1) != 0 ? 0 : strides.begin->integers[0]);
    return error;
}

int tflite_pack(struct tflite_call *call)
{
    const struct graph_tensor *x = tflite_ranked(call, 0);
    int64_t dims[GRAPH_MAX_RANK];
    uint32_t axis;
    if (x == NULL)
        return 0;
    if (x->rank == GRAPH_MAX_RANK)
        return tflite_refuse(call, "too many dimensions");
    int error = shape_axis(&call->shape, tflite_option(call, 1, 4, 0), x->rank + 1, &axis);
    if (error != 0)
        return error;
    for (uint32_t i = 0; i < call->told.n_inputs; i++) {
        const struct graph_tensor *y = tflite_ranked(call, i);
        if (y == NULL)
            return 0;
        if (graph_shape_is_known(x) && graph_shape_is_known(y) && !tflite_same_shape(x, y))
            return tflite_refuse(call, "shapes that do not go together");
    }
    for (uint32_t i = 0; i <= x->rank; i++)
        dims[i] = i == axis ? (int64_t)call->told.n_inputs : x->dims[i - (i > axis)];
    return tflite_set(call, 0, x->rank + 1, dims);
}

/* x without its dimension `axis`, on all outputs. */
static int without(struct tflite_call *call, const struct graph_tensor *x, uint32_t axis)
{
    int64_t dims[GRAPH_MAX_RANK];
    uint32_t rank = 0;
    int error = 0;
    for (uint32_t i = 0; i < x->rank; i++) {
        if (i != axis)
            dims[rank++] = x->dims[i];
    }
    for (uint32_t i = 0; error == 0 && i < call->told.n_outputs; i++)
        error = tflite_set(call, i, rank, dims);
    return error;
}

int tflite_unpack(struct tflite_call *call)
{
    const struct graph_tensor *x = tflite_ranked(call, 0);
    uint32_t axis;
    if (x == NULL)
        return 0;
    int error = shape_axis(&call->shape, tflite_option(call, 1, 4, 0), x->rank, &axis);
    if (error == 0 && x->dims[axis] >= 0 && x->dims[axis] != call->told.n_outputs)
        error = tflite_refuse(call, "another number of parts than of outputs");
    return error != 0 ? error : without(call, x, axis);
}

int tflite_arg_reduce(struct tflite_call *call)
{
    const struct graph_tensor *x = tflite_ranked(call, 0);
    uint32_t axis;
    int error = x == NULL ? 1 : axis_in(call, 1, x->rank, &axis);
    return error > 0 ? 0 : error < 0 ? error : without(call, x, axis);
}

/* Inputs are the axis and the whole. */
int tflite_split(struct tflite_call *call)
{
    const struct graph_tensor *x = tflite_ranked(call, 1);
    int64_t dims[GRAPH_MAX_RANK], n = call->told.n_outputs;
    uint32_t axis;
    int error = x == NULL ? 1 : axis_in(call, 0, x->rank, &axis);
    if (error != 0)
        return error > 0 ? 0 : error;
    memcpy(dims, x->dims, x->rank * sizeof *dims);
    if (n > 0 && dims[axis] >= 0) {
        if (dims[axis] % n != 0)
            return tflite_refuse(call, "parts that are not the whole");
        dims[axis] /= n;
    }
    for (uint32_t i = 0; error == 0 && i < n; i++)
        error = tflite_set(call, i, x->rank, dims);
    return error;
}

/* Inputs are the whole, sizes of which one may be -1, and the axis. */
int tflite_split_v(struct tflite_call *call)
{
    const struct graph_tensor *x = tflite_ranked(call, 0);
    const struct graph_values *sizes = shape_values(&call->shape, 1);
    int64_t dims[GRAPH_MAX_RANK], sum = 0;
    uint32_t axis;
    int error = x == NULL || sizes == NULL ? 1 : axis_in(call, 2, x->rank, &axis);
    if (error != 0)
        return error > 0 ? 0 : error;
    if (sizes->n != call->told.n_outputs)
        return tflite_refuse(call, "another number of parts than of outputs");
    memcpy(dims, x->dims, x->rank * sizeof *dims);
    int64_t whole = x->dims[axis];
    for (uint32_t i = 0; i < sizes->n; i++) {
        if (sizes->integers[i] >= 0 && !checked_add(sum, sizes->integers[i], &sum))
            return tflite_refuse(call, "parts that are not the whole");
    }
    if (whole >= 0 && sum > whole)
        return tflite_refuse(call, "parts that are not the whole");
    for (uint32_t i = 0; error == 0 && i < sizes->n; i++) {
        int64_t rest = whole < 0 ? GRAPH_UNKNOWN_DIM : whole - sum;
        dims[axis] = sizes->integers[i] >= 0 ? sizes->integers[i] : rest;
        error = tflite_set(call, i, x->rank, dims);
    }
    return error;
}

int tflite_transpose(struct tflite_call *call)
{
    const struct graph_values *order = shape_values(&call->shape, 1);
    if (order == NULL)
        return 0;
    tflite_tell_all(call, "perm", order->integers, order->n);
    call->told.n_inputs = 1;
    return delegate(call, "Transpose");
}

int tflite_gather(struct tflite_call *call)
{
    const struct graph_tensor *x = tflite_ranked(call, 0), *indices = tflite_ranked(call, 1);
    int64_t dims[2 * GRAPH_MAX_RANK], n_batch = tflite_option(call, 1, 4, 0);
    uint32_t axis, rank = 0;
    if (n_batch == 0) {
        tflite_tell(call, "axis", tflite_option(call, 0, 4, 0));
        return delegate(call, "Gather");
    }
    if (x == NULL || indices == NULL)
        return 0;
    int error = shape_axis(&call->shape, tflite_option(call, 0, 4, 0), x->rank, &axis);
    if (error != 0)
        return error;
    if (n_batch < 0)
        n_batch += indices->rank;
    if (n_batch < 0 || n_batch > indices->rank || n_batch > axis)
        return tflite_refuse(call, "more batches than dimensions");
    for (uint32_t i = 0; i < axis; i++)
        dims[rank++] = x->dims[i];
    for (uint32_t i = (uint32_t)n_batch; i < indices->rank; i++)
        dims[rank++] = indices->dims[i];
    for (uint32_t i = axis + 1; i < x->rank; i++)
        dims[rank++] = x->dims[i];
    return rank > GRAPH_MAX_RANK ? tflite_refuse(call, "too many dimensions")
                                 : tflite_set(call, 0, rank, dims);
}

int tflite_top_k(struct tflite_call *call)
{
    const struct graph_tensor *x = tflite_ranked(call, 0);
    int64_t dims[GRAPH_MAX_RANK], k = scalar(call, 1);
    if (x == NULL)
        return 0;
    if (x->rank == 0)
        return tflite_refuse(call, "a scalar has no largest");
    memcpy(dims, x->dims, x->rank * sizeof *dims);
    dims[x->rank - 1] = k;
    int error = tflite_set(call, 0, x->rank, dims);
    return error != 0 ? error : tflite_set(call, 1, x->rank, dims);
}

/* The places of what is true: as many as there are at most. */
int tflite_where(struct tflite_call *call)
{
    const struct graph_tensor *x = tflite_ranked(call, 0);
    int64_t all = 1;
    if (x == NULL || call->told.n_inputs != 1)
        return 0;
    for (uint32_t i = 0; i < x->rank; i++)
        all = shape_times(all, x->dims[i]);
    mark_bound(call);
    return tflite_set(call, 0, 2, (int64_t[]){all, x->rank});
}

int tflite_embedding_lookup(struct tflite_call *call)
{
    const struct graph_tensor *indices = tflite_ranked(call, 0), *table = tflite_ranked(call, 1);
    int64_t dims[GRAPH_MAX_RANK];
    if (indices == NULL || table == NULL)
        return 0;
    if (indices->rank != 1 || table->rank < 2)
        return tflite_refuse(call, "a list of rows and a table are wanted");
    memcpy(dims, table->dims, table->rank * sizeof *dims);
    dims[0] = indices->dims[0];
    return tflite_set(call, 0, table->rank, dims);
}

int tflite_shape_in_0(struct tflite_call *call)
{
    return tflite_set_by(call, 0);
}

int tflite_shape_in_1(struct tflite_call *call)
{
    return tflite_set_by(call, 1);
}

int tflite_shape_in_2(struct tflite_call *call)
{
    return tflite_set_by(call, 2);
}

/* Boxes, scores, how many at most: which boxes, their scores (version 5), how many. */
int tflite_non_max_suppression(struct tflite_call *call)
{
    int64_t n = scalar(call, 2);
    uint32_t last = call->told.n_outputs - 1;
    int error = 0;
    if (call->told.n_outputs < 2)
        return 0;
    for (uint32_t i = 0; error == 0 && i < last; i++)
        error = tflite_set(call, i, 1, &n);
    return error != 0 ? error : tflite_set(call, last, 0, NULL);
}

/* Data, the segment of each, how many segments. */
int tflite_segments(struct tflite_call *call)
{
    const struct graph_tensor *x = tflite_ranked(call, 0), *ids = tflite_ranked(call, 1);
    int64_t dims[GRAPH_MAX_RANK];
    uint32_t rank = 0;
    if (x == NULL || ids == NULL)
        return 0;
    if (ids->rank == 0 || ids->rank > x->rank)
        return tflite_refuse(call, "more dimensions of segments than of data");
    dims[rank++] = scalar(call, 2);
    for (uint32_t i = ids->rank; i < x->rank; i++)
        dims[rank++] = x->dims[i];
    return tflite_set(call, 0, rank, dims);
}

int tflite_matrix_diag(struct tflite_call *call)
{
    const struct graph_tensor *x = tflite_ranked(call, 0);
    int64_t dims[GRAPH_MAX_RANK];
    if (x == NULL)
        return 0;
    if (x->rank == 0 || x->rank == GRAPH_MAX_RANK)
        return tflite_refuse(call, "one dimension or more are wanted");
    memcpy(dims, x->dims, x->rank * sizeof *dims);
    dims[x->rank] = dims[x->rank - 1];
    return tflite_set(call, 0, x->rank + 1, dims);
}

int tflite_rfft_2d(struct tflite_call *call)
{
    const struct graph_tensor *x = tflite_ranked(call, 0);
    const struct graph_values *length = shape_values(&call->shape, 1);
    int64_t dims[GRAPH_MAX_RANK];
    if (x == NULL || length == NULL)
        return 0;
    if (x->rank < 2 || length->n != 2)
        return tflite_refuse(call, "two dimensions and their lengths are wanted");
    memcpy(dims, x->dims, x->rank * sizeof *dims);
    dims[x->rank - 2] = length->integers[0];
    dims[x->rank - 1] = length->integers[1] < 0 ? -1 : length->integers[1] / 2 + 1;
    return tflite_set(call, 0, x->rank, dims);
}

int tflite_scalar(struct tflite_call *call)
{
    return tflite_set(call, 0, 0, NULL);
}

/* The longer of two shapes, known only where both have one known length: their common shape is the
 * contents of the output. */
int tflite_broadcast_args(struct tflite_call *call)
{
    const struct graph_tensor *a = tflite_ranked(call, 0), *b = tflite_ranked(call, 1);
    if (a == NULL || b == NULL)
        return 0;
    if (a->rank != 1 || b->rank != 1)
        return tflite_refuse(call, "two shapes of one dimension are wanted");
    bool is_known = a->dims[0] >= 0 && b->dims[0] >= 0;
    int64_t n = is_known ? (a->dims[0] > b->dims[0] ? a->dims[0] : b->dims[0]) : GRAPH_UNKNOWN_DIM;
    return tflite_set(call, 0, 1, &n);
}

/* Logits [batch, classes] and how many samples: [batch, samples]. */
int tflite_multinomial(struct tflite_call *call)
{
    const struct graph_tensor *x = tflite_ranked(call, 0);
    const struct graph_values *n = shape_values(&call->shape, 1);
    if (x == NULL || n == NULL)
        return 0;
    if (x->rank != 2 || n->n != 1 || n->integers[0] < 0)
        return tflite_refuse(call, "logits of two dimensions and a number of samples are wanted");
    return tflite_set(call, 0, 2, (int64_t[]){x->dims[0], n->integers[0]});
}

/* Keys asked for [n], keys, values [keys, ...]: what was found [n, ...], and whether [n]. */
int tflite_table_lookup(struct tflite_call *call)
{
    const struct graph_tensor *wanted = tflite_ranked(call, 0), *values = tflite_ranked(call, 2);
    int64_t dims[GRAPH_MAX_RANK];
    if (wanted == NULL || values == NULL)
        return 0;
    if (wanted->rank != 1 || values->rank == 0)
        return tflite_refuse(call, "keys of one dimension and rows of values are wanted");
    memcpy(dims, values->dims, values->rank * sizeof *dims);
    dims[0] = wanted->dims[0];
    int error = tflite_set(call, 0, values->rank, dims);
    return error != 0 ? error : tflite_set(call, 1, 1, dims);
}

/* As many as there are keys that are asked for, the second input. */
int tflite_table_find(struct tflite_call *call)
{
    const struct graph_tensor *keys = tflite_ranked(call, 1);
    return keys == NULL ? 0 : tflite_set(call, 0, keys->rank, keys->dims);
}

int tflite_table_size(struct tflite_call *call)
{
    return tflite_set(call, 0, 1, (int64_t[]){1});
}
