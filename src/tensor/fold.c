/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fold: known contents of small tensors.
 *
 * Models compute shapes with operators: Shape, Gather, Concat and the like, some in real numbers.
 * What these compute from known contents is known, too. Integers are 64 bits and wrap; what can't
 * be computed (a division by 0) is not known.
 */
#include "base/checked.h"
#include "tensor/arithmetic.h"
#include "tensor/shapes.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define MAX_VALUES 4096u

/* Contents of constants */

static struct graph_values *new_values(struct graph *graph, uint32_t n, bool is_real)
{
    struct graph_values *values = bump_take(&graph->bump, 1, sizeof *values);
    if (values == NULL)
        return NULL;
    values->n = n;
    values->is_real = is_real;
    if (is_real)
        values->reals = bump_take(&graph->bump, n, sizeof *values->reals);
    else
        values->integers = bump_take(&graph->bump, n, sizeof *values->integers);
    return values->reals == NULL && values->integers == NULL ? NULL : values;
}

static bool is_real_type(enum quire_model_type type)
{
    return type == QUIRE_MODEL_F32 || type == QUIRE_MODEL_F64;
}

static bool is_integer_type(enum quire_model_type type)
{
    return (type >= QUIRE_MODEL_I8 && type <= QUIRE_MODEL_BOOL);
}

static int64_t read_integer(const uint8_t *from, enum quire_model_type type)
{
    uint32_t n_bytes = graph_type_bits(type) / 8;
    bool is_signed = type <= QUIRE_MODEL_I64;
    uint64_t value = 0;
    memcpy(&value, from, n_bytes);
    unsigned shift = 64 - 8 * n_bytes;
    return is_signed ? (int64_t)(value << shift) >> shift : (int64_t)value;
}

static double read_real(const uint8_t *from, enum quire_model_type type)
{
    float single;
    double value;
    if (type == QUIRE_MODEL_F64) {
        memcpy(&value, from, sizeof value);
        return value;
    }
    memcpy(&single, from, sizeof single);
    return (double)single;
}

const struct graph_values *fold_values(struct graph *graph, struct graph_tensor *tensor)
{
    uint64_t n;
    if (tensor->values != NULL || tensor->data == NULL || !graph_shape_is_known(tensor) ||
        !graph_count(tensor, &n) || n > MAX_VALUES)
        return tensor->values;
    bool is_real = is_real_type(tensor->type);
    if (!is_real && !is_integer_type(tensor->type))
        return NULL;
    size_t size = graph_type_bits(tensor->type) / 8;
    if (tensor->data_bytes < n * size)
        return NULL;
    struct graph_values *values = new_values(graph, (uint32_t)n, is_real);
    if (values == NULL)
        return NULL;
    for (uint32_t i = 0; i < n; i++) {
        if (is_real)
            values->reals[i] = read_real(tensor->data + i * size, tensor->type);
        else
            values->integers[i] = read_integer(tensor->data + i * size, tensor->type);
    }
    tensor->values = values;
    return values;
}

/* Element by element */

/* The element of `tensor` that goes with element i of `out`, by the rules of broadcasting. */
static uint32_t broadcast_index(const struct graph_tensor *out, const struct graph_tensor *tensor,
                                uint32_t i)
{
    uint64_t index = 0, stride = 1, rest = i;
    for (uint32_t d = 0; d < out->rank; d++) {
        uint64_t size = (uint64_t)out->dims[out->rank - 1 - d], at = rest % size;
        rest /= size;
        if (d >= tensor->rank)
            continue;
        uint64_t own = (uint64_t)tensor->dims[tensor->rank - 1 - d];
        index += (own == 1 ? 0 : at) * stride;
        stride *= own;
    }
    return (uint32_t)index;
}

static const struct graph_values *fold_arithmetic(struct shape_call *call, enum arithmetic what,
                                                  uint32_t n)
{
    struct graph_tensor *x = shape_in(call, 0), *y = shape_in(call, 1);
    const struct graph_tensor *out = shape_out(call, 0);
    const struct graph_values *a = x == NULL ? NULL : fold_values(call->graph, x);
    const struct graph_values *b = y == NULL ? NULL : fold_values(call->graph, y);
    bool is_unary = arithmetic_is_unary(what);
    if (a == NULL || (!is_unary && (b == NULL || a->is_real != b->is_real)) ||
        call->operator_->n_inputs > 2)
        return NULL;
    bool is_comparison = arithmetic_is_comparison(what);
    struct graph_values *to = new_values(call->graph, n, !is_comparison && a->is_real);
    for (uint32_t i = 0; to != NULL && i < n; i++) {
        uint32_t at_a = broadcast_index(out, x, i);
        uint32_t at_b = is_unary ? 0 : broadcast_index(out, y, i);
        if (!arithmetic_compute(what, a, at_a, is_unary ? NULL : b, at_b, to, i))
            return NULL;
    }
    return to;
}

/* Copies element `from` of `values` to `at`. */
static void take(struct graph_values *to, uint32_t at, const struct graph_values *values,
                 uint32_t from)
{
    if (to->is_real)
        to->reals[at] = values->reals[from];
    else
        to->integers[at] = values->integers[from];
}

/* Moving */

static const struct graph_values *fold_cast(struct shape_call *call,
                                            const struct graph_values *from, uint32_t n)
{
    enum quire_model_type type = shape_out(call, 0)->type;
    if (!is_real_type(type) && !is_integer_type(type))
        return NULL;
    struct graph_values *to = new_values(call->graph, n, is_real_type(type));
    for (uint32_t i = 0; to != NULL && i < n; i++) {
        if (to->is_real) {
            to->reals[i] = arithmetic_real(from, i);
        } else if (from->is_real) {
            if (!(fabs(from->reals[i]) < 0x1p62))
                return NULL;
            to->integers[i] = type == QUIRE_MODEL_BOOL ? from->reals[i] != 0
                                                       : (int64_t)from->reals[i];
        } else {
            to->integers[i] = type == QUIRE_MODEL_BOOL ? from->integers[i] != 0 : from->integers[i];
        }
    }
    return to;
}

/* Offsets of the elements of a tensor: strides of a row-major layout. */
static void strides_of(const struct graph_tensor *tensor, uint32_t *strides)
{
    uint32_t stride = 1;
    for (uint32_t d = tensor->rank; d-- > 0;) {
        strides[d] = stride;
        stride *= (uint32_t)tensor->dims[d];
    }
}

static const struct graph_values *fold_gather(struct shape_call *call,
                                              const struct graph_values *from, uint32_t n)
{
    const struct graph_values *indices = shape_values(call, 1);
    const struct graph_tensor *x = shape_in(call, 0);
    uint32_t axis, inner = 1;
    if (indices == NULL || indices->n == 0 ||
        shape_axis(call, shape_int(call, "axis", 0), x->rank, &axis) != 0)
        return NULL;
    for (uint32_t d = axis + 1; d < x->rank; d++)
        inner *= (uint32_t)x->dims[d];
    uint32_t length = (uint32_t)x->dims[axis];
    struct graph_values *to = new_values(call->graph, n, from->is_real);
    for (uint32_t i = 0; to != NULL && i < n; i++) {
        uint32_t within = i % inner, k = i / inner % indices->n, outer = i / inner / indices->n;
        int64_t index = indices->integers[k];
        if (index < 0)
            index += length;
        if (index < 0 || index >= length)
            return NULL;
        take(to, i, from, (outer * length + (uint32_t)index) * inner + within);
    }
    return to;
}

static const struct graph_values *fold_concat(struct shape_call *call, uint32_t n)
{
    const struct graph_tensor *out = shape_out(call, 0);
    struct graph_values *to = NULL;
    uint32_t axis, inner = 1, at_axis = 0;
    if (shape_axis(call, shape_int(call, "axis", 1), out->rank, &axis) != 0)
        return NULL;
    for (uint32_t d = axis + 1; d < out->rank; d++)
        inner *= (uint32_t)out->dims[d];
    for (uint32_t i = 0; i < call->operator_->n_inputs; i++) {
        struct graph_tensor *x = shape_in(call, i);
        const struct graph_values *from = fold_values(call->graph, x);
        if (from == NULL)
            return NULL;
        if (to == NULL)
            to = new_values(call->graph, n, from->is_real);
        if (to == NULL || to->is_real != from->is_real)
            return NULL;
        uint32_t row = (uint32_t)x->dims[axis] * inner, out_row = (uint32_t)out->dims[axis] * inner;
        for (uint32_t k = 0; k < from->n; k++)
            take(to, k / row * out_row + at_axis * inner + k % row, from, k);
        at_axis += (uint32_t)x->dims[axis];
    }
    return to;
}

/* TFLite's PACK of numbers: a list of them. */
static const struct graph_values *fold_pack(struct shape_call *call, uint32_t n)
{
    struct graph_values *to = NULL;
    for (uint32_t i = 0; i < call->operator_->n_inputs && i < n; i++) {
        struct graph_tensor *x = shape_in(call, i);
        const struct graph_values *from = x == NULL ? NULL : fold_values(call->graph, x);
        if (from == NULL || from->n != 1 || n != call->operator_->n_inputs)
            return NULL;
        if (to == NULL)
            to = new_values(call->graph, n, from->is_real);
        if (to == NULL || to->is_real != from->is_real)
            return NULL;
        take(to, i, from, 0);
    }
    return to;
}

static const struct graph_values *fold_slice(struct shape_call *call,
                                             const struct graph_values *from, uint32_t n)
{
    const struct graph_tensor *x = shape_in(call, 0);
    uint32_t n_starts, n_axes, n_steps;
    const int64_t *starts = shape_ints(call, "starts", &n_starts);
    const int64_t *axes = shape_ints(call, "axes", &n_axes);
    const struct graph_values *values = shape_values(call, 1), *steps = shape_values(call, 4);
    if (starts == NULL && values != NULL) {
        starts = values->integers;
        n_starts = values->n;
    }
    if (axes == NULL && shape_values(call, 3) != NULL)
        axes = shape_values(call, 3)->integers;
    n_steps = steps == NULL ? 0 : steps->n;
    /* One dimension is enough for shapes. */
    if (x->rank != 1 || starts == NULL || n_starts != 1 || (axes != NULL && axes[0] > 0))
        return NULL;
    int64_t step = n_steps == 1 ? steps->integers[0] : 1, length = x->dims[0], at = starts[0];
    if (at < 0)
        at += length;
    at = at < 0 ? 0 : at > length ? length : at;
    if (step < 0 && at > length - 1)
        at = length - 1;
    struct graph_values *to = new_values(call->graph, n, from->is_real);
    for (uint32_t i = 0; to != NULL && i < n; i++, at += step) {
        if (at < 0 || at >= length)
            return NULL;
        take(to, i, from, (uint32_t)at);
    }
    return to;
}

static const struct graph_values *fold_transpose(struct shape_call *call,
                                                 const struct graph_values *from, uint32_t n)
{
    const struct graph_tensor *x = shape_in(call, 0), *out = shape_out(call, 0);
    uint32_t n_order, strides[GRAPH_MAX_RANK];
    const int64_t *order = shape_ints(call, "perm", &n_order);
    strides_of(x, strides);
    struct graph_values *to = new_values(call->graph, n, from->is_real);
    for (uint32_t i = 0; to != NULL && i < n; i++) {
        uint32_t rest = i, at = 0;
        for (uint32_t d = out->rank; d-- > 0;) {
            uint32_t axis = order == NULL ? x->rank - 1 - d : (uint32_t)order[d];
            at += rest % (uint32_t)out->dims[d] * strides[axis];
            rest /= (uint32_t)out->dims[d];
        }
        take(to, i, from, at);
    }
    return to;
}

static const struct graph_values *fold_expand(struct shape_call *call,
                                              const struct graph_values *from, uint32_t n)
{
    const struct graph_tensor *x = shape_in(call, 0), *out = shape_out(call, 0);
    struct graph_values *to = new_values(call->graph, n, from->is_real);
    for (uint32_t i = 0; to != NULL && i < n; i++)
        take(to, i, from, broadcast_index(out, x, i));
    return to;
}

static const struct graph_values *fold_where(struct shape_call *call, uint32_t n)
{
    struct graph_tensor *x = shape_in(call, 1), *y = shape_in(call, 2);
    const struct graph_tensor *condition = shape_in(call, 0), *out = shape_out(call, 0);
    const struct graph_values *which = shape_values(call, 0);
    const struct graph_values *a = x == NULL ? NULL : fold_values(call->graph, x);
    const struct graph_values *b = y == NULL ? NULL : fold_values(call->graph, y);
    if (which == NULL || a == NULL || b == NULL || a->is_real != b->is_real)
        return NULL;
    struct graph_values *to = new_values(call->graph, n, a->is_real);
    for (uint32_t i = 0; to != NULL && i < n; i++) {
        if (which->integers[broadcast_index(out, condition, i)] != 0)
            take(to, i, a, broadcast_index(out, x, i));
        else
            take(to, i, b, broadcast_index(out, y, i));
    }
    return to;
}

/* Generators and sums */

static const struct graph_values *fold_shape(struct shape_call *call, uint32_t n)
{
    const struct graph_tensor *x = shape_in(call, 0);
    int64_t start = shape_int(call, "start", 0);
    if (x == NULL || !graph_shape_is_known(x))
        return NULL;
    if (start < 0)
        start += x->rank;
    start = start < 0 ? 0 : start;
    struct graph_values *to = new_values(call->graph, n, false);
    for (uint32_t i = 0; to != NULL && i < n; i++)
        to->integers[i] = x->dims[start + i];
    return to;
}

static const struct graph_values *fold_size(struct shape_call *call)
{
    const struct graph_tensor *x = shape_in(call, 0);
    uint64_t n;
    if (x == NULL || !graph_shape_is_known(x) || !graph_count(x, &n))
        return NULL;
    struct graph_values *to = new_values(call->graph, 1, false);
    if (to != NULL)
        to->integers[0] = (int64_t)n;
    return to;
}

static const struct graph_values *fold_range(struct shape_call *call, uint32_t n)
{
    struct graph_tensor *first = shape_in(call, 0), *delta = shape_in(call, 2);
    const struct graph_values *a = first == NULL ? NULL : fold_values(call->graph, first);
    const struct graph_values *b = delta == NULL ? NULL : fold_values(call->graph, delta);
    if (a == NULL || b == NULL || a->is_real != b->is_real)
        return NULL;
    struct graph_values *to = new_values(call->graph, n, a->is_real);
    for (uint32_t i = 0; to != NULL && i < n; i++) {
        if (to->is_real)
            to->reals[i] = a->reals[0] + i * b->reals[0];
        else
            to->integers[i] = (int64_t)((uint64_t)a->integers[0] + i * (uint64_t)b->integers[0]);
    }
    return to;
}

static const struct graph_values *fold_constant_of_shape(struct shape_call *call, uint32_t n)
{
    const struct graph_attribute *value = shape_attribute(call, "value");
    struct graph_tensor one = {.name = ""};
    const struct graph_values *from = NULL;
    if (value != NULL && value->kind == GRAPH_TENSOR) {
        one = *value->tensor;
        from = fold_values(call->graph, &one);
        if (from == NULL || from->n != 1)
            return NULL;
    }
    struct graph_values *to = new_values(call->graph, n, from == NULL || from->is_real);
    for (uint32_t i = 0; to != NULL && from != NULL && i < n; i++)
        take(to, i, from, 0);
    return to;
}

/* ReduceProd, ReduceSum, ReduceMin, ReduceMax of all elements: the count of a shape. */
static const struct graph_values *fold_reduce(struct shape_call *call,
                                              const struct graph_values *from, uint32_t n,
                                              enum arithmetic what)
{
    if (n != 1 || from->n == 0)
        return NULL;
    struct graph_values *to = new_values(call->graph, 1, from->is_real);
    if (to == NULL)
        return NULL;
    take(to, 0, from, 0);
    for (uint32_t i = 1; i < from->n; i++) {
        if (!arithmetic_compute(what, to, 0, from, i, to, 0))
            return NULL;
    }
    return to;
}

static bool is_one_of(const char *type, const char *const *names)
{
    while (*names != NULL && strcmp(type, *names) != 0)
        names++;
    return *names != NULL;
}

static const struct graph_values *fold_moved(struct shape_call *call, uint32_t n)
{
    static const char *const views[] = {"Identity", "Reshape", "Squeeze", "Unsqueeze",
                                        "Flatten",  "Dropout", NULL};
    const char *type = call->operator_->type;
    struct graph_tensor *x = shape_in(call, 0);
    const struct graph_values *from = x == NULL ? NULL : fold_values(call->graph, x);
    if (from == NULL)
        return NULL;
    if (is_one_of(type, views))
        return from->n == n ? from : NULL;
    if (strcmp(type, "Cast") == 0)
        return fold_cast(call, from, n);
    if (strcmp(type, "Gather") == 0)
        return fold_gather(call, from, n);
    if (strcmp(type, "Slice") == 0)
        return fold_slice(call, from, n);
    if (strcmp(type, "Transpose") == 0)
        return fold_transpose(call, from, n);
    if (strcmp(type, "Expand") == 0)
        return fold_expand(call, from, n);
    if (strcmp(type, "ReduceProd") == 0)
        return fold_reduce(call, from, n, ARITHMETIC_MUL);
    if (strcmp(type, "ReduceSum") == 0)
        return fold_reduce(call, from, n, ARITHMETIC_ADD);
    if (strcmp(type, "ReduceMin") == 0)
        return fold_reduce(call, from, n, ARITHMETIC_MIN);
    if (strcmp(type, "ReduceMax") == 0)
        return fold_reduce(call, from, n, ARITHMETIC_MAX);
    return NULL;
}

static const struct graph_values *fold_one(struct shape_call *call, uint32_t n)
{
    const char *type = call->operator_->type;
    enum arithmetic what;
    if (arithmetic_of(type, &what))
        return fold_arithmetic(call, what, n);
    if (strcmp(type, "Shape") == 0)
        return fold_shape(call, n);
    if (strcmp(type, "Size") == 0)
        return fold_size(call);
    if (strcmp(type, "Concat") == 0)
        return fold_concat(call, n);
    if (strcmp(type, "PACK") == 0)
        return fold_pack(call, n);
    if (strcmp(type, "Where") == 0)
        return fold_where(call, n);
    if (strcmp(type, "Range") == 0)
        return fold_range(call, n);
    if (strcmp(type, "ConstantOfShape") == 0)
        return fold_constant_of_shape(call, n);
    return fold_moved(call, n);
}

/* Split: of one dimension, as shapes have it. */
static int fold_split(struct shape_call *call)
{
    struct graph_tensor *x = shape_in(call, 0);
    const struct graph_values *from = x == NULL ? NULL : fold_values(call->graph, x);
    uint32_t at = 0;
    if (from == NULL || x->rank != 1)
        return 0;
    for (uint32_t i = 0; i < call->operator_->n_outputs; i++) {
        struct graph_tensor *out = shape_out(call, i);
        if (out == NULL || !graph_shape_is_known(out) || out->dims[0] > from->n - at)
            return 0;
        struct graph_values *to = new_values(call->graph, (uint32_t)out->dims[0], from->is_real);
        if (to == NULL)
            return -ENOMEM;
        for (uint32_t k = 0; k < to->n; k++)
            take(to, k, from, at + k);
        out->values = to;
        at += to->n;
    }
    return 0;
}

int fold(struct graph *graph, const struct graph_operator *operator_)
{
    struct shape_call call = {graph, operator_};
    struct graph_tensor *out = shape_out(&call, 0);
    uint64_t n;
    if (strcmp(operator_->type, "Split") == 0)
        return fold_split(&call);
    if (out == NULL || operator_->n_outputs != 1 || !graph_shape_is_known(out) ||
        !graph_count(out, &n) || n > MAX_VALUES)
        return 0;
    out->values = fold_one(&call, (uint32_t)n);
    return 0;
}
