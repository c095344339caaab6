/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tflite_recurrent: see tflite_shapes.h. Networks with a state, a step at a time ([batch, in]) or
 * whole sequences ([time, batch, in], or batch first: the order is the output's as well).
 *
 *     RNN      weights [units, in]                               -> [..., units]
 *     LSTM     recurrent weights of a gate [cells, outputs]      -> [..., outputs]
 *     SVDF     weights of features [units * rank, in]            -> [batch, units]
 *     both     two directions, in two outputs or side by side in one
 *
 * The state lies in variables of the file, which are for one batch: another is refused, as an
 * interpreter does. Older files, from before there were variables, have the state, and scratch
 * memory, as outputs in front of the result: these are left as the file has them.
 */
#include "tensor/tflite_shapes.h"

#include <string.h>

enum { LSTM_BASIC = 1 }; /* kernel_type: TensorFlow's BasicLSTMCell */
#define MOST_STATES 4

struct cell {                     /* what an operator's inputs are */
    uint32_t rank;                /* of the first one */
    uint32_t batch;               /* its dimension */
    uint32_t in;                  /* weights [..., in]: one of them will do */
    uint32_t out;                 /* weights that say how many outputs there are */
    uint32_t states[MOST_STATES]; /* [batch, ...]; 0: no more */
};

static const struct graph_tensor *matrix(const struct tflite_call *call, uint32_t i)
{
    const struct graph_tensor *tensor = tflite_ranked(call, i);
    return tensor != NULL && tensor->rank == 2 ? tensor : NULL;
}

static bool differ(int64_t a, int64_t b)
{
    return a >= 0 && b >= 0 && a != b;
}

/* The weights that say how many outputs there are; NULL: not known, or *error. */
static const struct graph_tensor *look_at(struct tflite_call *call, const struct cell *cell,
                                          int *error)
{
    const struct graph_tensor *x = tflite_ranked(call, 0), *in = matrix(call, cell->in);
    const struct graph_tensor *out = tflite_ranked(call, cell->out);
    *error = 0;
    if (x == NULL || out == NULL)
        return NULL;
    if (x->rank != cell->rank || out->rank != 2)
        *error = tflite_refuse(call, cell->rank == 3
                                         ? "sequences [time, batch, in] and matrices are wanted"
                                         : "an input [batch, in] and matrices are wanted");
    else if (in != NULL && differ(in->dims[1], x->dims[cell->rank - 1]))
        *error = tflite_refuse(call, "weights for another number of inputs");
    for (unsigned i = 0; *error == 0 && i < MOST_STATES && cell->states[i] != 0; i++) {
        const struct graph_tensor *state = matrix(call, cell->states[i]);
        if (state != NULL && differ(state->dims[0], x->dims[cell->batch]))
            *error = tflite_refuse(call, "the file's state is for another batch");
    }
    return *error == 0 ? out : NULL;
}

/* Output i: the input with another last dimension. */
static int set_last(struct tflite_call *call, uint32_t i, int64_t last)
{
    const struct graph_tensor *x = tflite_ranked(call, 0);
    int64_t dims[GRAPH_MAX_RANK];
    memcpy(dims, x->dims, x->rank * sizeof *dims);
    dims[x->rank - 1] = last;
    return tflite_set(call, i, x->rank, dims);
}

/* The one output, of as many units as dimension d of the weights, by `rank`. */
static int set_only(struct tflite_call *call, const struct cell *cell, uint32_t d, int64_t rank)
{
    int error;
    const struct graph_tensor *out = look_at(call, cell, &error);
    if (out == NULL || call->told.n_outputs != 1)
        return error;
    return set_last(call, 0, out->dims[d] < 0 ? GRAPH_UNKNOWN_DIM : out->dims[d] / rank);
}

/* Two directions: in two outputs, or side by side. `backward`: the other's weights. */
static int set_both(struct tflite_call *call, const struct cell *cell, uint32_t backward,
                    uint32_t d, bool is_merged)
{
    int error;
    const struct graph_tensor *out = look_at(call, cell, &error), *other = matrix(call, backward);
    if (out == NULL || other == NULL)
        return error;
    const int64_t n = out->dims[d], n_other = other->dims[d];
    if (is_merged)
        return set_last(call, 0, n < 0 || n_other < 0 ? GRAPH_UNKNOWN_DIM : n + n_other);
    error = set_last(call, 0, n);
    return error != 0 ? error : set_last(call, 1, n_other);
}

int tflite_rnn(struct tflite_call *call)
{
    static const struct cell cell = {.rank = 2, .batch = 0, .in = 1, .out = 1, .states = {4}};
    return set_only(call, &cell, 0, 1);
}

int tflite_svdf(struct tflite_call *call)
{
    static const struct cell cell = {.rank = 2, .batch = 0, .in = 1, .out = 1, .states = {4}};
    const struct graph_tensor *filters = matrix(call, 1);
    const int64_t rank = tflite_option(call, 0, 4, 0);
    if (rank < 1 || (filters != NULL && filters->dims[0] >= 0 && filters->dims[0] % rank != 0))
        return tflite_refuse(call, "its rank does not divide its filters");
    return set_only(call, &cell, 0, rank);
}

/* Option 0: time comes first. */
int tflite_sequence_rnn(struct tflite_call *call)
{
    const struct cell cell = {3, tflite_option(call, 0, 1, 0) != 0, 1, 1, {4}};
    return set_only(call, &cell, 0, 1);
}

/* Inputs: x, the last outputs [batch, cells], weights [4 cells, in + cells], biases, the state.
 * Outputs: the result, the new state, scratch [batch, in + cells] and [batch, 4 cells]. */
static int basic_lstm(struct tflite_call *call)
{
    static const struct cell cell = {.rank = 2, .batch = 0, .in = 0, .out = 2, .states = {1, 4}};
    int error;
    const struct graph_tensor *out = look_at(call, &cell, &error);
    if (out == NULL)
        return error;
    const int64_t cells = out->dims[0] < 0 ? GRAPH_UNKNOWN_DIM : out->dims[0] / 4;
    const int64_t lasts[] = {cells, cells, out->dims[1], out->dims[0]};
    for (uint32_t i = 0; error == 0 && i < 4 && i < call->told.n_outputs; i++)
        error = set_last(call, i, lasts[i]);
    return error;
}

/* Option 3: which kernel. */
int tflite_lstm(struct tflite_call *call)
{
    static const struct cell cell = {.rank = 2, .batch = 0, .in = 2, .out = 8, .states = {18, 19}};
    if (tflite_option(call, 3, 1, 0) == LSTM_BASIC)
        return basic_lstm(call);
    return set_only(call, &cell, 1, 1);
}

/* Option 3: time comes first. */
int tflite_sequence_lstm(struct tflite_call *call)
{
    const struct cell cell = {3, tflite_option(call, 3, 1, 0) != 0, 2, 8, {18, 19}};
    return set_only(call, &cell, 1, 1);
}

/* Options: 0 time comes first, 2 outputs are merged. */
int tflite_both_rnn(struct tflite_call *call)
{
    const struct cell cell = {3, tflite_option(call, 0, 1, 0) != 0, 1, 1, {4, 8}};
    return set_both(call, &cell, 5, 0, tflite_option(call, 2, 1, 0) != 0);
}

/* Options: 3 outputs are merged, 4 time comes first, which it does where nothing is said. */
int tflite_both_lstm(struct tflite_call *call)
{
    const struct cell cell = {3, tflite_option(call, 4, 1, 1) != 0, 2, 8, {35, 36, 37, 38}};
    return set_both(call, &cell, 25, 1, tflite_option(call, 3, 1, 0) != 0);
}
