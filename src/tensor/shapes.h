/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shapes: the types and shapes of an ONNX operator's outputs, from its inputs.
 *
 *     shapes.c          the table of operators; types; helpers
 *     shapes_window.c   convolutions, pooling, resizing, padding
 *     shapes_move.c     reshape, transpose, slice, concat, gather and other moving
 *     shapes_rest.c     products, reductions, recurrent networks, what depends on the data
 *     fold.c            known contents: shapes are computed by operators, too
 *
 * A function sets what it can tell and leaves the rest unknown; it refuses, with a message, what
 * contradicts itself. Dimensions that depend on the data get their upper bound, and `is_bound`.
 */
#ifndef QUIRE_TENSOR_SHAPES_H
#define QUIRE_TENSOR_SHAPES_H

#include "tensor/graph.h"

struct shape_call {
    struct graph *graph;
    const struct graph_operator *operator_;
};

typedef int (*shape_rule)(struct shape_call *call);

/* Sets the outputs of the operator. 0, or a negative errno with a message. */
int shapes_infer(struct graph *graph, uint32_t operator_);
/* The same in two steps, of an operator that need not be in the graph, of any domain. */
int shapes_infer_as(struct graph *graph, const struct graph_operator *operator_);
int shapes_finish(struct graph *graph, const struct graph_operator *operator_);

/* NULL: it is left out, or there are fewer. */
struct graph_tensor *shape_in(const struct shape_call *call, uint32_t i);
struct graph_tensor *shape_out(const struct shape_call *call, uint32_t i);
const struct graph_attribute *shape_attribute(const struct shape_call *call, const char *name);
int64_t shape_int(const struct shape_call *call, const char *name, int64_t absent);
const char *shape_text(const struct shape_call *call, const char *name, const char *absent);
/* The integers of an attribute; *n is 0 and NULL returned when it is left out. */
const int64_t *shape_ints(const struct shape_call *call, const char *name, uint32_t *n);
/* Known integer contents of an input, or NULL. */
const struct graph_values *shape_values(const struct shape_call *call, uint32_t i);

/* Sets an output's type and shape; nothing happens when it is left out. */
int shape_set(const struct shape_call *call, uint32_t i, enum quire_model_type type, uint32_t rank,
              const int64_t *dims);
/* Its type alone. */
void shape_set_type(const struct shape_call *call, uint32_t i, enum quire_model_type type);
int shape_refuse(const struct shape_call *call, const char *why);
/* From -rank..rank-1 to 0..rank-1; -EINVAL with a message. */
int shape_axis(const struct shape_call *call, int64_t axis, uint32_t rank, uint32_t *result);
/* Axes of an attribute or of input i; *n is UINT32_MAX when they are not known. */
int shape_axes(const struct shape_call *call, const char *name, uint32_t i, uint32_t rank,
               bool *is_axis, uint32_t *n);
/* ONNX's numbers for types; QUIRE_MODEL_UNTYPED for others. */
enum quire_model_type shape_type_number(int64_t number);
/* a * b, or GRAPH_UNKNOWN_DIM when one is not known, or the product does not fit. */
int64_t shape_times(int64_t a, int64_t b);
/* How many elements start:end:step takes of n, after the rules of ONNX's Slice; step is not 0. */
int64_t shape_slice_length(int64_t n, int64_t start, int64_t end, int64_t step);

int shape_broadcast(const struct shape_call *call, const struct graph_tensor *a, uint32_t *rank,
                    int64_t *dims);

int shape_conv(struct shape_call *call);
int shape_conv_integer(struct shape_call *call);
int shape_conv_quantized(struct shape_call *call);
int shape_conv_transpose(struct shape_call *call);
int shape_pool(struct shape_call *call);
int shape_pool_global(struct shape_call *call);
int shape_unpool(struct shape_call *call);
int shape_roi_pool(struct shape_call *call);
int shape_roi_align(struct shape_call *call);
int shape_resize(struct shape_call *call);
int shape_pad(struct shape_call *call);
int shape_grid_sample(struct shape_call *call);
int shape_depth_to_space(struct shape_call *call);
int shape_space_to_depth(struct shape_call *call);

int shape_reshape(struct shape_call *call);
int shape_flatten(struct shape_call *call);
int shape_squeeze(struct shape_call *call);
int shape_unsqueeze(struct shape_call *call);
int shape_transpose(struct shape_call *call);
int shape_concat(struct shape_call *call);
int shape_split(struct shape_call *call);
int shape_slice(struct shape_call *call);
int shape_gather(struct shape_call *call);
int shape_gather_nd(struct shape_call *call);
int shape_like_second(struct shape_call *call);
int shape_tile(struct shape_call *call);
int shape_expand(struct shape_call *call);

int shape_matmul(struct shape_call *call);
int shape_matmul_integer(struct shape_call *call);
int shape_matmul_quantized(struct shape_call *call);
int shape_gemm(struct shape_call *call);
int shape_einsum(struct shape_call *call);
int shape_reduce(struct shape_call *call);
int shape_arg_reduce(struct shape_call *call);
int shape_recurrent(struct shape_call *call);
int shape_top_k(struct shape_call *call);
int shape_non_zero(struct shape_call *call);
int shape_unique(struct shape_call *call);
int shape_compress(struct shape_call *call);
int shape_non_max_suppression(struct shape_call *call);
int shape_one_hot(struct shape_call *call);
int shape_range(struct shape_call *call);
int shape_constant_of_shape(struct shape_call *call);
int shape_shape(struct shape_call *call);
int shape_size(struct shape_call *call);
int shape_random(struct shape_call *call);
int shape_multinomial(struct shape_call *call);
int shape_det(struct shape_call *call);
int shape_window(struct shape_call *call);
int shape_dft(struct shape_call *call);
int shape_stft(struct shape_call *call);
int shape_mel(struct shape_call *call);
int shape_loss(struct shape_call *call);
int shape_layer_norm(struct shape_call *call);
int shape_batch_norm(struct shape_call *call);

/* Known contents of the operator's outputs, where all of its inputs' are. 0 or a negative errno. */
int fold(struct graph *graph, const struct graph_operator *operator_);
/* Of a constant whose bytes are in the file, or NULL: too many, of no number type, no memory. */
const struct graph_values *fold_values(struct graph *graph, struct graph_tensor *tensor);

#endif
