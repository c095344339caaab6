/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tflite_shapes: the shapes of a TFLite operator's outputs, from its inputs.
 *
 * The file has a shape for each tensor, and these hold for one size of the inputs. A tensor is open
 * (graph.h) whose shape the user gave otherwise, or whose signature leaves a dimension open, and so
 * is what is made of it: its shape is inferred anew, as an interpreter does it. All others are
 * inferred too, but what the file says stands; where it differs it is counted as a conflict.
 *
 *     tflite_shapes.c    operators by name; those that mean the same as one of ONNX's are told as
 *                        such (shapes.h), with their options as attributes
 *     tflite_window.c    convolutions, pooling, resizing and padding: channels come last
 *     tflite_move.c      slices, packing, gathering and what else moves
 *     tflite_recurrent.c networks with a state
 *
 * Sources: the schema of TFLite, version 3, and the documentation of TensorFlow's operators.
 */
#ifndef QUIRE_TENSOR_TFLITE_SHAPES_H
#define QUIRE_TENSOR_TFLITE_SHAPES_H

#include "tensor/flat.h"
#include "tensor/shapes.h"

#define TFLITE_MAX_ATTRIBUTES 3u

struct tflite_call {
    struct shape_call shape;    /* of `told` */
    struct graph_operator told; /* the operator in ONNX's words */
    struct graph_attribute attributes[TFLITE_MAX_ATTRIBUTES];
    int64_t numbers[GRAPH_MAX_RANK]; /* of an attribute */
    struct flat *flat;
    struct flat_table options;
    struct flat_vector custom; /* options of a custom operator, bytes */
    uint32_t number;           /* of the operator in the graph */
};

/*
 * Sets the open outputs of an operator whose inputs are set. `table`: the operator's. `is_resized`:
 * the user gave a shape that is not the file's, so what can't be inferred is refused. 0 or a
 * negative errno with a message.
 */
int tflite_infer(struct graph *graph, struct flat *flat, const struct flat_table *table,
                 uint32_t operator_, bool is_resized);

/* Gives `to` the shape of `from`, and its contents if `keeps_values`, if one of them is open. */
int tflite_hand_over(struct graph *graph, uint32_t from, uint32_t to, bool keeps_values);
bool tflite_same_shape(const struct graph_tensor *a, const struct graph_tensor *b);

/* Adds an attribute to `told`. */
void tflite_tell(struct tflite_call *call, const char *name, int64_t value);
void tflite_tell_all(struct tflite_call *call, const char *name, const int64_t *values, uint32_t n);
/* An integer option of n_bytes; `absent` if it is left out. */
int64_t tflite_option(struct tflite_call *call, unsigned field, unsigned n_bytes, int64_t absent);
/* Input i if its rank is known, or NULL. */
const struct graph_tensor *tflite_ranked(const struct tflite_call *call, uint32_t i);
/* Sets output i: its type is the file's. */
int tflite_set(struct tflite_call *call, uint32_t i, uint32_t rank, const int64_t *dims);
/* Sets output 0 to the shape that input i holds, if that is known. */
int tflite_set_by(struct tflite_call *call, uint32_t i);
int tflite_refuse(struct tflite_call *call, const char *why);

int tflite_conv_2d(struct tflite_call *call);
int tflite_depthwise_conv_2d(struct tflite_call *call);
int tflite_conv_3d(struct tflite_call *call);
int tflite_pool_2d(struct tflite_call *call);
int tflite_transpose_conv(struct tflite_call *call);
int tflite_transpose_conv_bias(struct tflite_call *call);
int tflite_resize(struct tflite_call *call);
int tflite_pad(struct tflite_call *call);
int tflite_space_to_depth(struct tflite_call *call);
int tflite_depth_to_space(struct tflite_call *call);
int tflite_space_to_batch(struct tflite_call *call);
int tflite_batch_to_space(struct tflite_call *call);

int tflite_fully_connected(struct tflite_call *call);
int tflite_reshape(struct tflite_call *call);
int tflite_slice(struct tflite_call *call);
int tflite_strided_slice(struct tflite_call *call);
int tflite_pack(struct tflite_call *call);
int tflite_unpack(struct tflite_call *call);
int tflite_split(struct tflite_call *call);
int tflite_split_v(struct tflite_call *call);
int tflite_transpose(struct tflite_call *call);
int tflite_gather(struct tflite_call *call);
int tflite_arg_reduce(struct tflite_call *call);
int tflite_top_k(struct tflite_call *call);
int tflite_where(struct tflite_call *call);
int tflite_embedding_lookup(struct tflite_call *call);
int tflite_shape_in_0(struct tflite_call *call);
int tflite_shape_in_1(struct tflite_call *call);
int tflite_shape_in_2(struct tflite_call *call);
int tflite_non_max_suppression(struct tflite_call *call);
int tflite_segments(struct tflite_call *call);
int tflite_matrix_diag(struct tflite_call *call);
int tflite_rfft_2d(struct tflite_call *call);
int tflite_scalar(struct tflite_call *call);
int tflite_broadcast_args(struct tflite_call *call);
int tflite_multinomial(struct tflite_call *call);
int tflite_table_lookup(struct tflite_call *call);
int tflite_table_find(struct tflite_call *call);
int tflite_table_size(struct tflite_call *call);

int tflite_rnn(struct tflite_call *call);
int tflite_lstm(struct tflite_call *call);
int tflite_svdf(struct tflite_call *call);
int tflite_sequence_rnn(struct tflite_call *call);
int tflite_sequence_lstm(struct tflite_call *call);
int tflite_both_rnn(struct tflite_call *call);
int tflite_both_lstm(struct tflite_call *call);

#endif
