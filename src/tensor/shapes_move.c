/* SPDX-License-Identifier: Apache-2.0 */
/* shapes_move: operators that move, repeat, cut and join what is in their inputs. */
#include "base/checked.h"
#include "tensor/shapes.h"

#include <errno.h>
#include <string.h>

/* The product of dimensions from..to; GRAPH_UNKNOWN_DIM if one is not known. */
static int64_t product(const int64_t *dims, uint32_t from, uint32_t to)
{
    int64_t result = 1;
    for (uint32_t i = from; i < to; i++)
        result = shape_times(result, dims[i]);
    return result;
}

static int unknown_of_rank(struct shape_call *call, enum quire_model_type type, uint32_t rank)
{
    int64_t dims[GRAPH_MAX_RANK];
    if (rank > GRAPH_MAX_RANK)
        return shape_refuse(call, "too many dimensions");
    for (uint32_t i = 0; i < rank; i++)
        dims[i] = GRAPH_UNKNOWN_DIM;
    return shape_set(call, 0, type, rank, dims);
}

/* The input, with its type set on the output; NULL: its rank is not known. */
static const struct graph_tensor *ranked(struct shape_call *call)
{
    const struct graph_tensor *x = shape_in(call, 0);
    if (x == NULL)
        return NULL;
    shape_set_type(call, 0, x->type);
    return x->has_rank ? x : NULL;
}

int shape_reshape(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call), *shape = shape_in(call, 1);
    uint32_t n;
    int64_t dims[GRAPH_MAX_RANK], rest = GRAPH_UNKNOWN_DIM;
    const int64_t *wish = shape_ints(call, "shape", &n);
    const struct graph_values *values = shape_values(call, 1);
    if (wish == NULL && values != NULL) {
        wish = values->integers;
        n = values->n;
    }
    enum quire_model_type type = shape_in(call, 0) == NULL ? QUIRE_MODEL_UNTYPED
                                                           : shape_in(call, 0)->type;
    if (wish == NULL) {
        bool tells = shape != NULL && shape->has_rank && shape->rank == 1 && shape->dims[0] >= 0 &&
                     shape->dims[0] <= GRAPH_MAX_RANK;
        return tells ? unknown_of_rank(call, type, (uint32_t)shape->dims[0]) : 0;
    }
    if (n > GRAPH_MAX_RANK)
        return shape_refuse(call, "too many dimensions");
    int64_t all = x == NULL ? GRAPH_UNKNOWN_DIM : product(x->dims, 0, x->rank), fixed = 1;
    uint32_t open = GRAPH_NONE;
    for (uint32_t i = 0; i < n; i++) {
        dims[i] = wish[i];
        if (wish[i] == 0 && shape_int(call, "allowzero", 0) == 0)
            dims[i] = x != NULL && i < x->rank ? x->dims[i] : GRAPH_UNKNOWN_DIM;
        if (wish[i] == -1 && open != GRAPH_NONE)
            return shape_refuse(call, "two dimensions are left open");
        if (wish[i] == -1)
            open = i;
        else
            fixed = shape_times(fixed, dims[i]);
    }
    if (open != GRAPH_NONE) {
        if (all >= 0 && fixed > 0)
            rest = all / fixed;
        dims[open] = rest;
    }
    int64_t result = product(dims, 0, n);
    if (all >= 0 && result >= 0 && all != result)
        return shape_refuse(call, "the new shape has another number of elements");
    return shape_set(call, 0, type, n, dims);
}

int shape_flatten(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call);
    if (x == NULL)
        return 0;
    int64_t axis = shape_int(call, "axis", 1);
    if (axis < 0)
        axis += x->rank;
    if (axis < 0 || axis > x->rank)
        return shape_refuse(call, "its axis is not one of its input's");
    return shape_set(call, 0, x->type, 2,
                     (int64_t[]){product(x->dims, 0, (uint32_t)axis),
                                 product(x->dims, (uint32_t)axis, x->rank)});
}

int shape_squeeze(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call);
    bool is_axis[GRAPH_MAX_RANK];
    int64_t dims[GRAPH_MAX_RANK];
    uint32_t n, rank = 0;
    if (x == NULL)
        return 0;
    int error = shape_axes(call, "axes", 1, x->rank, is_axis, &n);
    if (error != 0 || n == UINT32_MAX || (n == 0 && !graph_shape_is_known(x)))
        return error;
    bool all_ones = shape_attribute(call, "axes") == NULL && shape_in(call, 1) == NULL;
    for (uint32_t i = 0; i < x->rank; i++) {
        bool goes = all_ones ? x->dims[i] == 1 : is_axis[i];
        if (goes && x->dims[i] > 1)
            return shape_refuse(call, "a dimension that is not 1 can't be left out");
        if (!goes)
            dims[rank++] = x->dims[i];
    }
    return shape_set(call, 0, x->type, rank, dims);
}

int shape_unsqueeze(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call);
    bool is_axis[2 * GRAPH_MAX_RANK] = {0};
    int64_t dims[2 * GRAPH_MAX_RANK];
    uint32_t n, from = 0;
    if (x == NULL)
        return 0;
    uint32_t n_axes;
    if (shape_ints(call, "axes", &n_axes) == NULL) {
        const struct graph_values *values = shape_values(call, 1);
        if (values == NULL)
            return 0;
        n_axes = values->n;
    }
    if (n_axes > GRAPH_MAX_RANK - x->rank)
        return shape_refuse(call, "too many dimensions");
    int error = shape_axes(call, "axes", 1, x->rank + n_axes, is_axis, &n);
    if (error != 0)
        return error;
    for (uint32_t i = 0; i < x->rank + n_axes; i++) {
        if (!is_axis[i] && from == x->rank)
            return shape_refuse(call, "an axis is named twice");
        dims[i] = is_axis[i] ? 1 : x->dims[from++];
    }
    return shape_set(call, 0, x->type, x->rank + n_axes, dims);
}

int shape_transpose(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call);
    uint32_t n;
    int64_t dims[GRAPH_MAX_RANK];
    bool seen[GRAPH_MAX_RANK] = {0};
    if (x == NULL)
        return 0;
    const int64_t *order = shape_ints(call, "perm", &n);
    if (order != NULL && n != x->rank)
        return shape_refuse(call, "perm has another number of dimensions");
    for (uint32_t i = 0; i < x->rank; i++) {
        int64_t from = order == NULL ? (int64_t)(x->rank - 1 - i) : order[i];
        if (from < 0 || from >= x->rank || seen[from])
            return shape_refuse(call, "perm is no permutation");
        seen[from] = true;
        dims[i] = x->dims[from];
    }
    return shape_set(call, 0, x->type, x->rank, dims);
}

int shape_concat(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call);
    int64_t dims[GRAPH_MAX_RANK];
    uint32_t axis;
    if (x == NULL)
        return 0;
    int error = shape_axis(call, shape_int(call, "axis", 1), x->rank, &axis);
    if (error != 0)
        return error;
    memcpy(dims, x->dims, x->rank * sizeof *dims);
    for (uint32_t i = 1; i < call->operator_->n_inputs; i++) {
        const struct graph_tensor *y = shape_in(call, i);
        if (y == NULL || !y->has_rank)
            return unknown_of_rank(call, x->type, x->rank);
        if (y->rank != x->rank)
            return shape_refuse(call, "inputs of different ranks");
        for (uint32_t d = 0; d < x->rank; d++) {
            if (d == axis) {
                int64_t sum = GRAPH_UNKNOWN_DIM;
                if (dims[d] < 0 || y->dims[d] < 0 || !checked_add(dims[d], y->dims[d], &sum))
                    sum = GRAPH_UNKNOWN_DIM;
                dims[d] = sum;
            } else if (dims[d] < 0) {
                dims[d] = y->dims[d];
            } else if (y->dims[d] >= 0 && y->dims[d] != dims[d]) {
                return shape_refuse(call, "shapes that do not go together");
            }
        }
    }
    return shape_set(call, 0, x->type, x->rank, dims);
}

int shape_split(struct shape_call *call)
{
    const struct graph_tensor *x = shape_in(call, 0);
    int64_t dims[GRAPH_MAX_RANK];
    uint32_t axis, n, n_out = call->operator_->n_outputs;
    if (x == NULL)
        return 0;
    for (uint32_t i = 0; i < n_out; i++)
        shape_set_type(call, i, x->type);
    if (!x->has_rank)
        return 0;
    int error = shape_axis(call, shape_int(call, "axis", 0), x->rank, &axis);
    const int64_t *parts = shape_ints(call, "split", &n);
    const struct graph_values *values = shape_values(call, 1);
    if (parts == NULL && values != NULL) {
        parts = values->integers;
        n = values->n;
    }
    if (error == 0 && parts != NULL && n != n_out)
        error = shape_refuse(call, "another number of parts than of outputs");
    memcpy(dims, x->dims, x->rank * sizeof *dims);
    int64_t whole = error == 0 ? x->dims[axis] : 0, sum = 0;
    for (uint32_t i = 0; error == 0 && i < n_out; i++) {
        bool is_known = parts != NULL || (shape_in(call, 1) == NULL && whole >= 0);
        int64_t even = whole < 0 ? 0 : (whole + n_out - 1) / n_out;
        int64_t here = parts != NULL ? parts[i] : even;
        if (parts == NULL && i == n_out - 1)
            here = whole - even * (n_out - 1);
        if (is_known && (here < 0 || !checked_add(sum, here, &sum)))
            return shape_refuse(call, "parts of a negative length");
        dims[axis] = is_known ? here : GRAPH_UNKNOWN_DIM;
        error = shape_set(call, i, x->type, x->rank, dims);
    }
    if (error == 0 && parts != NULL && whole >= 0 && sum != whole)
        error = shape_refuse(call, "parts that are not the whole");
    return error;
}

static int64_t clamp(int64_t value, int64_t least, int64_t most)
{
    return value < least ? least : value > most ? most : value;
}

int64_t shape_slice_length(int64_t n, int64_t start, int64_t end, int64_t step)
{
    if (start < 0)
        start += n;
    if (end < 0 && end >= -n)
        end += n;
    else if (end < -n)
        end = step > 0 ? 0 : -1;
    if (step > 0) {
        start = clamp(start, 0, n);
        end = clamp(end, 0, n);
        return end <= start ? 0 : (end - start - 1) / step + 1;
    }
    start = clamp(start, 0, n - 1);
    end = clamp(end, -1, n - 1);
    if (step == INT64_MIN)
        step++;
    return start <= end ? 0 : (start - end - 1) / -step + 1;
}

static const int64_t *ints_of(struct shape_call *call, const char *name, uint32_t i, uint32_t *n)
{
    const int64_t *ints = shape_ints(call, name, n);
    const struct graph_values *values = shape_values(call, i);
    if (ints == NULL && values != NULL) {
        *n = values->n;
        ints = values->integers;
    }
    return ints;
}

int shape_slice(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call);
    uint32_t n_starts, n_ends, n_axes, n_steps;
    int64_t dims[GRAPH_MAX_RANK];
    if (x == NULL)
        return 0;
    const int64_t *starts = ints_of(call, "starts", 1, &n_starts);
    const int64_t *ends = ints_of(call, "ends", 2, &n_ends);
    const int64_t *axes = ints_of(call, "axes", 3, &n_axes);
    const int64_t *steps = ints_of(call, "steps", 4, &n_steps);
    bool axes_known = axes != NULL || shape_in(call, 3) == NULL;
    if (!axes_known)
        return unknown_of_rank(call, x->type, x->rank);
    if (axes == NULL) {
        const struct graph_tensor *list = shape_in(call, 1);
        n_axes = starts != NULL ? n_starts : x->rank;
        if (starts == NULL && list != NULL && graph_shape_is_known(list) && list->rank == 1)
            n_axes = (uint32_t)clamp(list->dims[0], 0, x->rank);
    }
    if ((starts != NULL && n_starts != n_axes) || (ends != NULL && n_ends != n_axes) ||
        (steps != NULL && n_steps != n_axes))
        return shape_refuse(call, "starts, ends, axes and steps of different lengths");
    memcpy(dims, x->dims, x->rank * sizeof *dims);
    for (uint32_t i = 0; i < n_axes; i++) {
        uint32_t axis;
        int error = shape_axis(call, axes == NULL ? (int64_t)i : axes[i], x->rank, &axis);
        int64_t step = steps == NULL ? 1 : steps[i];
        if (error == 0 && step == 0)
            error = shape_refuse(call, "a step of 0");
        if (error != 0)
            return error;
        bool is_known = starts != NULL && ends != NULL && x->dims[axis] >= 0 &&
                        (steps != NULL || shape_in(call, 4) == NULL);
        if (is_known)
            dims[axis] = shape_slice_length(x->dims[axis], starts[i], ends[i], step);
        else if (shape_out(call, 0) != NULL)
            shape_out(call, 0)->is_bound = true; /* at most all of it */
    }
    return shape_set(call, 0, x->type, x->rank, dims);
}

/* `first` dimensions of a, all of b, and those of a from `then` on. */
static int spliced(struct shape_call *call, const struct graph_tensor *a, uint32_t first,
                   const int64_t *middle, uint32_t n_middle, uint32_t then)
{
    int64_t dims[2 * GRAPH_MAX_RANK];
    uint32_t rank = first + n_middle + (a->rank - then);
    if (rank > GRAPH_MAX_RANK)
        return shape_refuse(call, "too many dimensions");
    memcpy(dims, a->dims, first * sizeof *dims);
    memcpy(dims + first, middle, n_middle * sizeof *dims);
    memcpy(dims + first + n_middle, a->dims + then, (a->rank - then) * sizeof *dims);
    return shape_set(call, 0, a->type, rank, dims);
}

int shape_gather(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call), *indices = shape_in(call, 1);
    uint32_t axis;
    if (x == NULL || indices == NULL || !indices->has_rank)
        return 0;
    int error = shape_axis(call, shape_int(call, "axis", 0), x->rank, &axis);
    return error != 0 ? error : spliced(call, x, axis, indices->dims, indices->rank, axis + 1);
}

int shape_gather_nd(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call), *indices = shape_in(call, 1);
    int64_t n_batch = shape_int(call, "batch_dims", 0);
    if (x == NULL || indices == NULL || !indices->has_rank || indices->rank == 0)
        return 0;
    int64_t depth = indices->dims[indices->rank - 1];
    if (depth < 0)
        return 0;
    if (n_batch < 0 || n_batch >= indices->rank || depth > x->rank - n_batch)
        return shape_refuse(call, "indices longer than the input has dimensions");
    return spliced(call, x, 0, indices->dims, indices->rank - 1, (uint32_t)(n_batch + depth));
}

/* Of input 0's type and input 1's shape. */
int shape_like_second(struct shape_call *call)
{
    const struct graph_tensor *x = shape_in(call, 0), *like = shape_in(call, 1);
    if (x == NULL)
        return 0;
    shape_set_type(call, 0, x->type);
    return like == NULL || !like->has_rank ? 0
                                           : shape_set(call, 0, x->type, like->rank, like->dims);
}

int shape_tile(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call);
    const struct graph_values *repeats = shape_values(call, 1);
    int64_t dims[GRAPH_MAX_RANK];
    if (x == NULL)
        return 0;
    if (repeats == NULL || call->operator_->n_inputs > 2)
        return unknown_of_rank(call, x->type, x->rank);
    if (repeats->n != x->rank)
        return shape_refuse(call, "one repeat for each dimension is wanted");
    for (uint32_t i = 0; i < x->rank; i++)
        dims[i] = shape_times(x->dims[i], repeats->integers[i]);
    return shape_set(call, 0, x->type, x->rank, dims);
}

int shape_expand(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call);
    const struct graph_values *wish = shape_values(call, 1);
    int64_t dims[GRAPH_MAX_RANK];
    if (x == NULL || wish == NULL)
        return 0;
    if (wish->n > GRAPH_MAX_RANK)
        return shape_refuse(call, "too many dimensions");
    uint32_t rank = wish->n;
    memcpy(dims, wish->integers, rank * sizeof *dims);
    int error = shape_broadcast(call, x, &rank, dims);
    return error != 0 ? error : shape_set(call, 0, x->type, rank, dims);
}
