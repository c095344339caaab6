/* SPDX-License-Identifier: Apache-2.0 */
/* layout_graph: a model as what may lie in one layout or another. */
#ifndef QUIRE_CLI_LAYOUT_GRAPH_H
#define QUIRE_CLI_LAYOUT_GRAPH_H

#include <quire/conv.h>
#include <quire/layout.h>
#include <quire/model.h>

/* What is chosen from. PLAIN is the model's own: nchw of ONNX, nhwc of TFLite. */
enum layout_choice { LAYOUT_PLAIN, LAYOUT_OTHER, LAYOUT_BLOCKED, LAYOUT_N_CHOICES };

struct layout_tensor {
    bool is_free;    /* may lie in any: an activation of four dimensions */
    bool is_there;   /* takes memory: made by an operator or handed in */
    int64_t dims[4]; /* n c h w */
    enum quire_layout_type type;
    uint64_t n_bytes; /* as the model has it */
    bool is_input, is_output;
    uint32_t last_step; /* that reads it */
};

enum layout_operator_kind {
    LAYOUT_FIXED, /* wants its tensors as the model has them */
    LAYOUT_ANY,   /* goes along any layout that all of its tensors have */
    LAYOUT_CONV   /* has a kernel for each pair of layouts */
};

struct layout_operator {
    enum layout_operator_kind kind;
    bool bars_blocked; /* of ANY: its tensors don't begin where blocks do */
    const char *type, *name;
    uint32_t input, output; /* of CONV: the activations */
    uint32_t n_inputs, n_outputs;
    const uint32_t *inputs, *outputs; /* tensors, or QUIRE_MODEL_NONE */
    struct quire_conv_shape shape;
};

struct layout_graph {
    struct quire_model *model;
    const char *format;
    const char *names[LAYOUT_N_CHOICES]; /* "nchw", "nhwc", "nchw16c" */
    char blocked[16];
    uint32_t n_tensors, n_operators;
    struct layout_tensor *tensors;
    struct layout_operator *operators; /* in the order in which they run */
};

/* Returns 0; -ENOMEM. `graph` does not own the model. */
int layout_graph_make(struct quire_model *model, struct layout_graph *graph);
void layout_graph_free(struct layout_graph *graph);

/* The layout of a free tensor by choice. */
struct quire_layout layout_graph_layout(const struct layout_graph *graph, uint32_t tensor,
                                        enum layout_choice choice);

#endif
