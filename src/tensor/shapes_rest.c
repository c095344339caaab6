/* SPDX-License-Identifier: Apache-2.0 */
/* shapes_rest: products, reductions, recurrent networks, generators, and operators whose outputs
 * depend on the data, which get their upper bound. */
#include "base/checked.h"
#include "tensor/shapes.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static const struct graph_tensor *ranked(struct shape_call *call, uint32_t i)
{
    const struct graph_tensor *x = shape_in(call, i);
    return x != NULL && x->has_rank ? x : NULL;
}

static enum quire_model_type type_of(struct shape_call *call, uint32_t i)
{
    const struct graph_tensor *x = shape_in(call, i);
    return x == NULL ? QUIRE_MODEL_UNTYPED : x->type;
}

static void mark_bound(struct shape_call *call)
{
    for (uint32_t i = 0; i < call->operator_->n_outputs; i++) {
        if (shape_out(call, i) != NULL)
            shape_out(call, i)->is_bound = true;
    }
}

/* Products */

static int multiply(struct shape_call *call, uint32_t a_at, uint32_t b_at,
                    enum quire_model_type type)
{
    const struct graph_tensor *a = ranked(call, a_at), *b = ranked(call, b_at);
    int64_t dims[GRAPH_MAX_RANK] = {0};
    shape_set_type(call, 0, type);
    if (a == NULL || b == NULL)
        return 0;
    if (a->rank == 0 || b->rank == 0)
        return shape_refuse(call, "a scalar is no matrix");
    bool a_is_vector = a->rank == 1, b_is_vector = b->rank == 1;
    int64_t inner_a = a->dims[a->rank - 1], inner_b = b->dims[b_is_vector ? 0 : b->rank - 2];
    int64_t rows = a_is_vector ? 1 : a->dims[a->rank - 2];
    int64_t columns = b_is_vector ? 1 : b->dims[b->rank - 1];
    if (shape_int(call, "transA", 0) != 0 && !a_is_vector) {
        rows = a->dims[a->rank - 1];
        inner_a = a->dims[a->rank - 2];
    }
    if (shape_int(call, "transB", 0) != 0 && !b_is_vector) {
        columns = b->dims[b->rank - 2];
        inner_b = b->dims[b->rank - 1];
    }
    if (inner_a >= 0 && inner_b >= 0 && inner_a != inner_b)
        return shape_refuse(call, "matrices that do not go together");
    struct graph_tensor outer_a = *a, outer_b = *b;
    outer_a.rank = a->rank > 2 ? a->rank - 2 : 0;
    outer_b.rank = b->rank > 2 ? b->rank - 2 : 0;
    uint32_t rank = 0;
    int error = shape_broadcast(call, &outer_a, &rank, dims);
    if (error == 0)
        error = shape_broadcast(call, &outer_b, &rank, dims);
    if (error != 0)
        return error;
    if (rank + 2 > GRAPH_MAX_RANK)
        return shape_refuse(call, "too many dimensions");
    if (!a_is_vector)
        dims[rank++] = rows;
    if (!b_is_vector)
        dims[rank++] = columns;
    return shape_set(call, 0, type, rank, dims);
}

int shape_matmul(struct shape_call *call)
{
    return multiply(call, 0, 1, type_of(call, 0));
}

int shape_matmul_integer(struct shape_call *call)
{
    return multiply(call, 0, 1, QUIRE_MODEL_I32);
}

int shape_matmul_quantized(struct shape_call *call)
{
    return multiply(call, 0, 3, type_of(call, 7));
}

int shape_gemm(struct shape_call *call)
{
    const struct graph_tensor *a = ranked(call, 0), *b = ranked(call, 1);
    if ((a != NULL && a->rank != 2) || (b != NULL && b->rank != 2))
        return shape_refuse(call, "matrices are wanted");
    return multiply(call, 0, 1, type_of(call, 0));
}

/* One term of Einsum's equation: letters get the dimensions of input i. False: not understood. */
static bool read_term(struct shape_call *call, const char **at, uint32_t i, int64_t *letters)
{
    const struct graph_tensor *x = ranked(call, i);
    uint32_t d = 0;
    for (; **at != '\0' && **at != ',' && **at != '-'; (*at)++) {
        if (**at == ' ')
            continue;
        if (**at < 'A' || **at > 'z' || x == NULL || d >= x->rank)
            return false;
        if (letters[**at - 'A'] < 0 || letters[**at - 'A'] == 1)
            letters[**at - 'A'] = x->dims[d];
        d++;
    }
    return x != NULL && d == x->rank;
}

int shape_einsum(struct shape_call *call)
{
    const char *at = shape_text(call, "equation", "");
    int64_t letters['z' - 'A' + 1], dims[GRAPH_MAX_RANK];
    uint32_t counts['z' - 'A' + 1] = {0}, rank = 0;
    shape_set_type(call, 0, type_of(call, 0));
    for (uint32_t i = 0; i < sizeof letters / sizeof letters[0]; i++)
        letters[i] = GRAPH_UNKNOWN_DIM;
    for (const char *c = at; *c != '\0' && *c != '-'; c++) {
        if (*c >= 'A' && *c <= 'z')
            counts[*c - 'A']++;
    }
    for (uint32_t i = 0; i < call->operator_->n_inputs; i++) {
        if (!read_term(call, &at, i, letters))
            return 0; /* an ellipsis, or ranks that are not known */
        at += *at == ',';
    }
    if (*at == '\0') { /* no result is named: the letters that stand once, in their order */
        for (uint32_t i = 0; i < sizeof letters / sizeof letters[0]; i++) {
            if (counts[i] == 1 && rank < GRAPH_MAX_RANK)
                dims[rank++] = letters[i];
        }
        return shape_set(call, 0, type_of(call, 0), rank, dims);
    }
    if (at[0] != '-' || at[1] != '>')
        return 0;
    for (at += 2; *at != '\0'; at++) {
        if (*at == ' ')
            continue;
        if (*at < 'A' || *at > 'z' || rank == GRAPH_MAX_RANK)
            return 0;
        dims[rank++] = letters[*at - 'A'];
    }
    return shape_set(call, 0, type_of(call, 0), rank, dims);
}

/* Reductions */

int shape_reduce(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call, 0);
    bool is_axis[GRAPH_MAX_RANK], keeps = shape_int(call, "keepdims", 1) != 0;
    int64_t dims[GRAPH_MAX_RANK];
    uint32_t n, rank = 0;
    shape_set_type(call, 0, type_of(call, 0));
    if (x == NULL)
        return 0;
    int error = shape_axes(call, "axes", 1, x->rank, is_axis, &n);
    if (error != 0 || n == UINT32_MAX)
        return error;
    bool none = n == 0 && shape_int(call, "noop_with_empty_axes", 0) != 0;
    for (uint32_t i = 0; i < x->rank; i++) {
        bool goes = !none && (n == 0 || is_axis[i]);
        if (!goes || keeps)
            dims[rank++] = goes ? 1 : x->dims[i];
    }
    return shape_set(call, 0, x->type, rank, dims);
}

int shape_arg_reduce(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call, 0);
    int64_t dims[GRAPH_MAX_RANK];
    uint32_t axis, rank = 0;
    shape_set_type(call, 0, QUIRE_MODEL_I64);
    if (x == NULL)
        return 0;
    int error = shape_axis(call, shape_int(call, "axis", 0), x->rank, &axis);
    if (error != 0)
        return error;
    for (uint32_t i = 0; i < x->rank; i++) {
        if (i != axis)
            dims[rank++] = x->dims[i];
        else if (shape_int(call, "keepdims", 1) != 0)
            dims[rank++] = 1;
    }
    return shape_set(call, 0, QUIRE_MODEL_I64, rank, dims);
}

/* LSTM, GRU, RNN: Y [length, directions, batch, hidden], Y_h and Y_c [directions, batch, hidden] */
int shape_recurrent(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call, 0), *r = ranked(call, 2);
    int64_t hidden = shape_int(call, "hidden_size", r != NULL && r->rank == 3 ? r->dims[2] : -1);
    int64_t n_directions = strcmp(shape_text(call, "direction", "forward"), "bidirectional") == 0
                               ? 2
                               : 1;
    for (uint32_t i = 0; i < 3; i++)
        shape_set_type(call, i, type_of(call, 0));
    if (x == NULL)
        return 0;
    if (x->rank != 3)
        return shape_refuse(call, "an input of three dimensions is wanted");
    bool batch_first = shape_int(call, "layout", 0) != 0;
    int64_t length = x->dims[batch_first], batch = x->dims[!batch_first];
    int error = batch_first ? shape_set(call, 0, x->type, 4,
                                        (int64_t[]){batch, length, n_directions, hidden})
                            : shape_set(call, 0, x->type, 4,
                                        (int64_t[]){length, n_directions, batch, hidden});
    for (uint32_t i = 1; error == 0 && i < 3; i++)
        error = batch_first
                    ? shape_set(call, i, x->type, 3, (int64_t[]){batch, n_directions, hidden})
                    : shape_set(call, i, x->type, 3, (int64_t[]){n_directions, batch, hidden});
    return error;
}

/* What depends on the data */

int shape_top_k(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call, 0);
    const struct graph_values *k = shape_values(call, 1);
    int64_t dims[GRAPH_MAX_RANK];
    uint32_t axis;
    shape_set_type(call, 0, type_of(call, 0));
    shape_set_type(call, 1, QUIRE_MODEL_I64);
    if (x == NULL)
        return 0;
    int error = shape_axis(call, shape_int(call, "axis", -1), x->rank, &axis);
    if (error != 0)
        return error;
    memcpy(dims, x->dims, x->rank * sizeof *dims);
    if (k != NULL && k->n == 1)
        dims[axis] = k->integers[0];
    else if (shape_attribute(call, "k") != NULL)
        dims[axis] = shape_int(call, "k", 0);
    else
        mark_bound(call); /* at most all of them */
    error = shape_set(call, 0, x->type, x->rank, dims);
    return error != 0 ? error : shape_set(call, 1, QUIRE_MODEL_I64, x->rank, dims);
}

static int64_t count_of(const struct graph_tensor *x)
{
    int64_t all = 1;
    for (uint32_t i = 0; i < x->rank; i++)
        all = shape_times(all, x->dims[i]);
    return all;
}

int shape_non_zero(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call, 0);
    shape_set_type(call, 0, QUIRE_MODEL_I64);
    if (x == NULL)
        return 0;
    mark_bound(call);
    return shape_set(call, 0, QUIRE_MODEL_I64, 2,
                     (int64_t[]){x->rank > 0 ? x->rank : 1, count_of(x)});
}

int shape_unique(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call, 0);
    shape_set_type(call, 0, type_of(call, 0));
    if (x == NULL)
        return 0;
    int64_t n = count_of(x);
    uint32_t axis;
    int error = 0;
    mark_bound(call);
    if (shape_attribute(call, "axis") != NULL) {
        error = shape_axis(call, shape_int(call, "axis", 0), x->rank, &axis);
        if (error == 0)
            error = shape_set(call, 0, x->type, x->rank, x->dims);
        n = error == 0 ? x->dims[axis] : 0;
    } else {
        error = shape_set(call, 0, x->type, 1, &n);
    }
    for (uint32_t i = 1; error == 0 && i < 4; i++)
        error = shape_set(call, i, QUIRE_MODEL_I64, 1, &n);
    return error;
}

int shape_compress(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call, 0), *condition = ranked(call, 1);
    int64_t dims[GRAPH_MAX_RANK];
    uint32_t axis;
    shape_set_type(call, 0, type_of(call, 0));
    if (x == NULL)
        return 0;
    mark_bound(call);
    int64_t most = condition != NULL && condition->rank == 1 ? condition->dims[0] : -1;
    if (shape_attribute(call, "axis") == NULL) {
        int64_t all = count_of(x);
        if (most >= 0 && all > most)
            all = most;
        return shape_set(call, 0, x->type, 1, &all);
    }
    int error = shape_axis(call, shape_int(call, "axis", 0), x->rank, &axis);
    if (error != 0)
        return error;
    memcpy(dims, x->dims, x->rank * sizeof *dims);
    if (most >= 0 && dims[axis] > most)
        dims[axis] = most;
    return shape_set(call, 0, x->type, x->rank, dims);
}

int shape_non_max_suppression(struct shape_call *call)
{
    const struct graph_tensor *boxes = ranked(call, 0), *scores = ranked(call, 1);
    const struct graph_values *most = shape_values(call, 2);
    shape_set_type(call, 0, QUIRE_MODEL_I64);
    if (boxes == NULL || scores == NULL || boxes->rank != 3 || scores->rank != 3)
        return 0;
    int64_t n = boxes->dims[1];
    if (most != NULL && most->n == 1 && n > most->integers[0])
        n = most->integers[0];
    n = shape_times(n, shape_times(scores->dims[0], scores->dims[1]));
    mark_bound(call);
    return shape_set(call, 0, QUIRE_MODEL_I64, 2, (int64_t[]){n, 3});
}

int shape_one_hot(struct shape_call *call)
{
    const struct graph_tensor *indices = ranked(call, 0);
    struct graph_tensor *depth_in = shape_in(call, 1);
    int64_t dims[GRAPH_MAX_RANK + 1], depth = GRAPH_UNKNOWN_DIM;
    uint32_t axis;
    shape_set_type(call, 0, type_of(call, 2));
    if (indices == NULL)
        return 0;
    const struct graph_values *values = depth_in == NULL ? NULL
                                                         : fold_values(call->graph, depth_in);
    if (values != NULL && values->n == 1 && (!values->is_real || fabs(values->reals[0]) < 0x1p40))
        depth = values->is_real ? (int64_t)values->reals[0] : values->integers[0];
    int error = shape_axis(call, shape_int(call, "axis", -1), indices->rank + 1, &axis);
    if (error != 0)
        return error;
    for (uint32_t i = 0; i <= indices->rank; i++)
        dims[i] = i == axis ? depth : indices->dims[i - (i > axis)];
    return shape_set(call, 0, type_of(call, 2), indices->rank + 1, dims);
}

/* Generators */

int shape_range(struct shape_call *call)
{
    const struct graph_values *values[3];
    int64_t n = GRAPH_UNKNOWN_DIM;
    shape_set_type(call, 0, type_of(call, 0));
    for (uint32_t i = 0; i < 3; i++) {
        struct graph_tensor *x = shape_in(call, i);
        values[i] = x == NULL ? NULL : fold_values(call->graph, x);
        if (values[i] == NULL || values[i]->n != 1)
            return shape_set(call, 0, type_of(call, 0), 1, &n);
    }
    double part[3];
    for (uint32_t i = 0; i < 3; i++)
        part[i] = values[i]->is_real ? values[i]->reals[0] : (double)values[i]->integers[0];
    double steps = ceil((part[1] - part[0]) / part[2]);
    if (!(fabs(steps) < 0x1p40))
        return shape_refuse(call, "a range without an end");
    n = steps < 0 ? 0 : (int64_t)steps;
    return shape_set(call, 0, type_of(call, 0), 1, &n);
}

int shape_constant_of_shape(struct shape_call *call)
{
    const struct graph_values *shape = shape_values(call, 0);
    const struct graph_attribute *value = shape_attribute(call, "value");
    enum quire_model_type type = value != NULL && value->kind == GRAPH_TENSOR ? value->tensor->type
                                                                              : QUIRE_MODEL_F32;
    shape_set_type(call, 0, type);
    if (shape == NULL)
        return 0;
    if (shape->n > GRAPH_MAX_RANK)
        return shape_refuse(call, "too many dimensions");
    return shape_set(call, 0, type, shape->n, shape->integers);
}

int shape_shape(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call, 0);
    shape_set_type(call, 0, QUIRE_MODEL_I64);
    if (x == NULL)
        return 0;
    int64_t rank = x->rank, start = shape_int(call, "start", 0), end = shape_int(call, "end", rank);
    if (start < 0)
        start += rank;
    if (end < 0)
        end += rank;
    start = start < 0 ? 0 : start > rank ? rank : start;
    end = end < 0 ? 0 : end > rank ? rank : end;
    int64_t n = end > start ? end - start : 0;
    return shape_set(call, 0, QUIRE_MODEL_I64, 1, &n);
}

int shape_size(struct shape_call *call)
{
    return shape_set(call, 0, QUIRE_MODEL_I64, 0, NULL);
}

int shape_random(struct shape_call *call)
{
    uint32_t n;
    const int64_t *shape = shape_ints(call, "shape", &n);
    enum quire_model_type type = shape_type_number(shape_int(call, "dtype", 1));
    shape_set_type(call, 0, type);
    return shape == NULL ? 0 : shape_set(call, 0, type, n, shape);
}

int shape_multinomial(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call, 0);
    enum quire_model_type type = shape_type_number(shape_int(call, "dtype", 6));
    shape_set_type(call, 0, type);
    if (x == NULL || x->rank != 2)
        return 0;
    return shape_set(call, 0, type, 2, (int64_t[]){x->dims[0], shape_int(call, "sample_size", 1)});
}

int shape_det(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call, 0);
    shape_set_type(call, 0, type_of(call, 0));
    if (x == NULL)
        return 0;
    if (x->rank < 2)
        return shape_refuse(call, "a matrix is wanted");
    return shape_set(call, 0, x->type, x->rank - 2, x->dims);
}

/* Signals */

static int64_t scalar(struct shape_call *call, uint32_t i)
{
    const struct graph_values *values = shape_values(call, i);
    return values == NULL || values->n != 1 ? GRAPH_UNKNOWN_DIM : values->integers[0];
}

int shape_window(struct shape_call *call)
{
    int64_t n = scalar(call, 0);
    return shape_set(call, 0, shape_type_number(shape_int(call, "output_datatype", 1)), 1, &n);
}

int shape_dft(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call, 0);
    int64_t dims[GRAPH_MAX_RANK];
    uint32_t axis;
    shape_set_type(call, 0, type_of(call, 0));
    if (x == NULL || x->rank < 2)
        return 0;
    int error = shape_axis(call, shape_int(call, "axis", 1), x->rank, &axis);
    if (error != 0)
        return error;
    memcpy(dims, x->dims, x->rank * sizeof *dims);
    dims[x->rank - 1] = 2;
    if (shape_in(call, 1) != NULL)
        dims[axis] = scalar(call, 1);
    if (shape_int(call, "onesided", 0) != 0 && dims[axis] >= 0)
        dims[axis] = dims[axis] / 2 + 1;
    return shape_set(call, 0, x->type, x->rank, dims);
}

int shape_stft(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call, 0), *window = ranked(call, 2);
    int64_t step = scalar(call, 1), length = scalar(call, 3), n = GRAPH_UNKNOWN_DIM;
    shape_set_type(call, 0, type_of(call, 0));
    if (x == NULL || x->rank < 2)
        return 0;
    if (length < 0 && window != NULL && window->rank == 1)
        length = window->dims[0];
    if (step > 0 && length > 0 && x->dims[1] >= length)
        n = (x->dims[1] - length) / step + 1;
    int64_t bins = length < 0                            ? length
                   : shape_int(call, "onesided", 1) != 0 ? length / 2 + 1
                                                         : length;
    return shape_set(call, 0, x->type, 4, (int64_t[]){x->dims[0], n, bins, 2});
}

int shape_mel(struct shape_call *call)
{
    int64_t n_bins = scalar(call, 0), length = scalar(call, 1);
    return shape_set(call, 0, shape_type_number(shape_int(call, "output_datatype", 1)), 2,
                     (int64_t[]){length < 0 ? length : length / 2 + 1, n_bins});
}

/* Training */

int shape_loss(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call, 0), *target = ranked(call, 1);
    bool is_none = strcmp(shape_text(call, "reduction", "mean"), "none") == 0;
    int error = 0;
    shape_set_type(call, 0, type_of(call, 0));
    if (!is_none)
        error = shape_set(call, 0, type_of(call, 0), 0, NULL);
    else if (target != NULL)
        error = shape_set(call, 0, type_of(call, 0), target->rank, target->dims);
    if (error == 0 && x != NULL)
        error = shape_set(call, 1, x->type, x->rank, x->dims);
    return error;
}

int shape_layer_norm(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call, 0);
    int64_t dims[GRAPH_MAX_RANK];
    uint32_t axis;
    shape_set_type(call, 0, type_of(call, 0));
    if (x == NULL)
        return 0;
    int error = shape_axis(call, shape_int(call, "axis", -1), x->rank, &axis);
    if (error == 0)
        error = shape_set(call, 0, x->type, x->rank, x->dims);
    for (uint32_t i = 0; error == 0 && i < x->rank; i++)
        dims[i] = i < axis ? x->dims[i] : 1;
    for (uint32_t i = 1; error == 0 && i < 3; i++)
        error = shape_set(call, i, QUIRE_MODEL_F32, x->rank, dims);
    return error;
}

int shape_batch_norm(struct shape_call *call)
{
    const struct graph_tensor *x = ranked(call, 0);
    shape_set_type(call, 0, type_of(call, 0));
    if (x == NULL)
        return 0;
    int error = shape_set(call, 0, x->type, x->rank, x->dims);
    for (uint32_t i = 1; error == 0 && i < 5; i++) {
        const struct graph_tensor *like = ranked(call, i < 3 ? i + 2 : i);
        shape_set_type(call, i, type_of(call, i < 3 ? i + 2 : i));
        if (like != NULL)
            error = shape_set(call, i, like->type, like->rank, like->dims);
    }
    return error;
}
