/* SPDX-License-Identifier: Apache-2.0 */
/*
 * graph: a neural network in one form, whichever file it came from.
 *
 *     tflite.c -->              .- sharing.c   who may lie in whose bytes
 *                 graph --------+- reorder.c     another order of execution
 *     onnx.c ---->  |           '- steps.c     lifetimes, recomputation, offloading
 *                   shapes*.c: what is in a tensor, and of which shape
 *
 * Operators stand in the order of execution. Those in the body of an If, a Loop or a call stand
 * where they run, between two operators of kind GRAPH_BEGIN and GRAPH_END:
 *
 *     Begin(condition) -> body's inputs | body ... | End(body's outputs) -> the If's outputs
 *
 * and belong to a region of their own, so that lifetimes, sharing and order need to know nothing
 * of bodies but this: what a body that may run again reads from outside lives until its End.
 *
 * Invariants (graph_validate()):
 *   G1  a tensor that an operator reads is a constant, an input, a variable, or made by an operator
 *       that stands before it
 *   G2  at most one operator makes a tensor
 *   G3  an operator's region is that of a Begin before it and an End behind it
 *   G4  all dimensions are known and at least 0, and n_bytes is what they say
 *
 * All memory is of graph.bump, but the three tables that grow.
 */
#ifndef QUIRE_TENSOR_GRAPH_H
#define QUIRE_TENSOR_GRAPH_H

#include "tensor/bump.h"

#include <quire/model.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GRAPH_NONE UINT32_MAX
#define GRAPH_MAX_RANK 32u
#define GRAPH_MAX_OPERATORS (1u << 24)
#define GRAPH_MAX_TENSORS (1u << 26)
#define GRAPH_MAX_DEPTH 32u                 /* of bodies within bodies */
#define GRAPH_MAX_BYTES ((uint64_t)1 << 56) /* of a tensor */
#define GRAPH_UNKNOWN_DIM INT64_C(-1)

/* Contents that are known, of a small tensor: what shapes are computed from. */
struct graph_values {
    uint32_t n;
    bool is_real; /* reals, or integers */
    int64_t *integers;
    double *reals;
};

struct graph_tensor {
    const char *name; /* never NULL */
    enum quire_model_type type;
    enum quire_model_role role;
    bool has_rank, is_output;
    bool is_bound;  /* dimensions are upper bounds: they depend on the data */
    bool is_opaque; /* a sequence, a map, a resource: nothing of it is in the arena */
    bool is_given;  /* the user gave its shape */
    bool is_open;   /* of TFLite: the shape in the file is not to be relied on */
    uint32_t rank;
    int64_t *dims;
    const struct graph_values *values; /* NULL: not known */
    const uint8_t *data;               /* of a constant: in the file as it lies, or NULL */
    uint64_t data_bytes, n_bytes;
    uint32_t producer; /* operator, or GRAPH_NONE */
};

enum graph_attribute_kind {
    GRAPH_INT,
    GRAPH_FLOAT,
    GRAPH_TEXT,
    GRAPH_INTS,
    GRAPH_FLOATS,
    GRAPH_TENSOR,
    GRAPH_TYPE /* a type with, perhaps, a shape: `tensor` has them, without contents */
};

struct graph_attribute {
    const char *name;
    enum graph_attribute_kind kind;
    uint32_t n; /* of ints, floats */
    int64_t i;
    float f;
    const char *text;
    const int64_t *ints;
    const float *floats;
    const struct graph_tensor *tensor;
};

enum graph_kind { GRAPH_PLAIN, GRAPH_BEGIN, GRAPH_END };

struct graph_operator {
    const char *type, *name; /* as "Conv", "CONV_2D"; name may be "" */
    const char *domain;      /* "": ONNX's own; "tflite" */
    enum graph_kind kind;
    uint32_t region;
    uint32_t first_input, n_inputs;   /* in graph.links; GRAPH_NONE: left out */
    uint32_t first_output, n_outputs; /* likewise */
    const struct graph_attribute *attributes;
    uint32_t n_attributes;
    double cost; /* arithmetic operations */
};

struct graph_region {
    uint32_t parent;     /* GRAPH_NONE: this is the outermost, 0 */
    uint32_t begin, end; /* operators */
    bool repeats;        /* may run more than once */
};

struct graph {
    struct bump bump;
    struct graph_tensor *tensors;
    struct graph_operator *operators;
    struct graph_region *regions;
    uint32_t *links;
    uint32_t n_tensors, n_operators, n_regions, n_links;
    uint32_t room_tensors, room_operators, room_regions, room_links;
    int64_t opset;                          /* of ONNX's own operators */
    const char *format;                     /* "ONNX", "TFLite" */
    const struct quire_model_shape *shapes; /* the user's */
    size_t n_shapes;
    bool *shape_used;     /* of each */
    uint32_t n_conflicts; /* shapes in the file that are not what follows from the inputs */
    uint32_t n_bounds;    /* tensors whose dimensions are upper bounds */
    char *message;        /* QUIRE_MODEL_MESSAGE_BYTES */
};

/* Writes the reason of a refusal, and returns `error`. */
int graph_refuse(struct graph *graph, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void graph_init(struct graph *graph, const struct quire_model_options *options, char *message);
void graph_free(struct graph *graph);

/* The index; GRAPH_NONE: no memory, or too many. `name` has to last. */
uint32_t graph_add_tensor(struct graph *graph, const char *name, enum quire_model_type type);
uint32_t graph_add_region(struct graph *graph, uint32_t parent, bool repeats);
/* An operator with room for inputs and outputs, all GRAPH_NONE. */
uint32_t graph_add_operator(struct graph *graph, const char *type, const char *name,
                            uint32_t region, uint32_t n_inputs, uint32_t n_outputs);
/* Makes `tensor` the operator's output `i`. -EINVAL with a message: another operator makes it. */
int graph_set_output(struct graph *graph, uint32_t operator_, uint32_t i, uint32_t tensor);

/* Sets a shape; -ENOMEM, or -EINVAL with a message. NULL with rank 0 is a scalar. */
int graph_set_shape(struct graph *graph, struct graph_tensor *tensor, uint32_t rank,
                    const int64_t *dims);
/* The user's shape for a tensor, if there is one: 1 when it was set, 0 when not, or an error. */
int graph_give_shape(struct graph *graph, struct graph_tensor *tensor);
/* What the user says a named dimension ("batch") is, or GRAPH_UNKNOWN_DIM. */
int64_t graph_given_dim(struct graph *graph, const char *name);

bool graph_shape_is_known(const struct graph_tensor *tensor);
/* False: it does not fit. Dimensions have to be known. */
bool graph_count(const struct graph_tensor *tensor, uint64_t *n_elements);
uint32_t graph_type_bits(enum quire_model_type type); /* 0: no fixed size */
/* "[1, 3, ?]" into `text`. */
const char *graph_shape_text(const struct graph_tensor *tensor, char *text, size_t n_bytes);

/* Computes n_bytes of all tensors, or says which has no size and how to give it one. */
int graph_settle(struct graph *graph);
/* 0; -EINVAL: G1 does not hold, which a file can bring about; -EUCLEAN: another one. */
int graph_validate(struct graph *graph);

/* NULL stays NULL: a graph may have operators and no link at all. */
static inline const uint32_t *graph_links_from(const struct graph *graph, uint32_t first)
{
    return first == 0 ? graph->links : graph->links + first;
}

static inline const uint32_t *graph_inputs(const struct graph *graph,
                                           const struct graph_operator *operator_)
{
    return graph_links_from(graph, operator_->first_input);
}

static inline const uint32_t *graph_outputs(const struct graph *graph,
                                            const struct graph_operator *operator_)
{
    return graph_links_from(graph, operator_->first_output);
}

/* Whether the tensor has bytes in the arena: it is computed, or handed in. */
static inline bool graph_is_dynamic(const struct graph_tensor *tensor)
{
    return tensor->role == QUIRE_MODEL_ACTIVATION || tensor->role == QUIRE_MODEL_INPUT;
}

/* Whether region `inner` is `outer` or lies within it. */
bool graph_is_within(const struct graph *graph, uint32_t inner, uint32_t outer);

/* The importers. `bytes` have to last as long as the graph; `directory`: of external data. */
int tflite_import(struct graph *graph, const uint8_t *bytes, size_t n_bytes, uint32_t subgraph);

struct onnx_files; /* external data, mapped */
int onnx_import(struct graph *graph, const uint8_t *bytes, size_t n_bytes, const char *directory,
                struct onnx_files **files);
void onnx_files_close(struct onnx_files *files);

#endif
