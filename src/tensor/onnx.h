/* SPDX-License-Identifier: Apache-2.0 */
/* onnx: what the files of the ONNX importer share. */
#ifndef QUIRE_TENSOR_ONNX_H
#define QUIRE_TENSOR_ONNX_H

#include "tensor/graph.h"

#include <onnx.pb-c.h> /* made from onnx.proto when Quire is built */

/* What a name means in a scope: the tensor, and what the file says of its type. */
struct onnx_name {
    const char *text; /* NULL: the slot is free */
    uint32_t scope, tensor;
    const Onnx__TypeProto *type;
};

struct onnx {
    struct graph *graph;
    const uint8_t *bytes;
    size_t n_bytes;
    const char *directory;
    struct onnx_files *files;
    Onnx__ModelProto *model;
    struct onnx_name *names; /* a hash table with open addressing */
    size_t n_names, room_names;
    uint32_t *scopes; /* the parent of each, or GRAPH_NONE */
    uint32_t n_scopes, room_scopes;
    uint32_t n_unfolded, depth;
};

/* Where names are looked up, where operators go, and whose attributes a function's body refers to.
 */
struct onnx_frame {
    uint32_t scope, region;
    const struct onnx_frame *caller;
    const Onnx__NodeProto *call; /* NULL: not in a function */
};

/* onnx_names.c */
int onnx_add_scope(struct onnx *onnx, uint32_t parent, uint32_t *scope);
/* In this scope alone; added if it is new. NULL: no memory. Valid until the next one is added. */
struct onnx_name *onnx_name(struct onnx *onnx, uint32_t scope, const char *text);
/* In this scope or those around it; GRAPH_NONE: there is no such tensor. */
uint32_t onnx_find(const struct onnx *onnx, uint32_t scope, const char *text);
/* A permutation of the nodes in which each stands behind those it reads from; NULL: they do. */
int onnx_order(struct onnx *onnx, size_t n_nodes, Onnx__NodeProto **nodes, uint32_t **order);

/* onnx_tensor.c */
enum quire_model_type onnx_type(int32_t number);
/* A constant's type, shape and contents. */
int onnx_read_tensor(struct onnx *onnx, const Onnx__TensorProto *from, struct graph_tensor *tensor);
/* A type's and shape's, of a tensor; others are opaque. */
int onnx_read_type(struct onnx *onnx, const Onnx__TypeProto *from, struct graph_tensor *tensor);
int onnx_read_attributes(struct onnx *onnx, const struct onnx_frame *frame,
                         const Onnx__NodeProto *node, struct graph_operator *operator_);
/* NULL: there is none of that name. */
const Onnx__AttributeProto *onnx_attribute(const struct onnx_frame *frame,
                                           const Onnx__NodeProto *node, const char *name);

/* onnx_control.c: If, Loop and Scan, whose bodies onnx.c reads. */
bool onnx_is_control(const Onnx__NodeProto *node);
int onnx_read_control(struct onnx *onnx, const struct onnx_frame *frame,
                      const Onnx__NodeProto *node);

/* onnx.c */
int onnx_read_graph(struct onnx *onnx, const struct onnx_frame *frame,
                    const Onnx__GraphProto *graph);
/* The tensor that an operator reads; *tensor is GRAPH_NONE for "", which is left out. */
int onnx_read_input(struct onnx *onnx, const struct onnx_frame *frame, const Onnx__NodeProto *node,
                    const char *name, uint32_t *tensor);
/* A new tensor that output i of the operator makes; "" is left out. */
int onnx_make_output(struct onnx *onnx, const struct onnx_frame *frame, uint32_t operator_,
                     uint32_t i, const char *name);
/* After inference: what the file says of the outputs, and what the user does. */
int onnx_finish_outputs(struct onnx *onnx, const struct onnx_frame *frame, uint32_t operator_);

static inline const char *onnx_text(const char *text)
{
    return text == NULL ? "" : text;
}

#endif
