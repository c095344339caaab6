/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weights_axis: which axis of a weight the channels of the output are on.
 *
 *     Conv [M, C/group, kH, kW]       0      CONV_2D [out, h, w, in]             0
 *     ConvTranspose [C, M/group, ..]  1      DEPTHWISE_CONV_2D [1, h, w, out]    last
 *     MatMul [.., K, N]               last   FULLY_CONNECTED [out, in]           0
 *     Gemm [K, N], transB [N, K]      1, 0   BATCH_MATMUL [.., K, N]             last
 *     LSTM, GRU, RNN [dir, gates, ..] 1      CONV_3D [d, h, w, in, out]          last
 *
 * Everything else: 0, as in Gather of an embedding [rows, width].
 */
#include "tensor/weights.h"

#include <string.h>

static bool is(const struct graph_operator *o, const char *type)
{
    return strcmp(o->type, type) == 0;
}

static const struct graph_attribute *attribute(const struct graph_operator *o, const char *name)
{
    for (uint32_t i = 0; i < o->n_attributes; i++) {
        if (strcmp(o->attributes[i].name, name) == 0)
            return &o->attributes[i];
    }
    return NULL;
}

static uint32_t last_axis(const struct graph_tensor *tensor)
{
    return tensor->rank > 0 ? tensor->rank - 1 : 0;
}

/* Of a tensor that is the operator's input `i`. */
static uint32_t axis_for(const struct graph_operator *o, uint32_t i,
                         const struct graph_tensor *tensor)
{
    if (is(o, "ConvTranspose") || is(o, "LSTM") || is(o, "GRU") || is(o, "RNN"))
        return i > 0 ? 1 : 0;
    if (is(o, "Gemm")) {
        const struct graph_attribute *turned = attribute(o, "transB");
        return i == 1 && (turned == NULL || turned->i == 0) ? 1 : 0;
    }
    if (is(o, "MatMul") || is(o, "BATCH_MATMUL"))
        return i == 1 || tensor->rank < 2 ? last_axis(tensor) : tensor->rank - 2;
    if (is(o, "DEPTHWISE_CONV_2D") || is(o, "CONV_3D"))
        return last_axis(tensor);
    return 0;
}

static bool only_prepares(const struct graph_operator *o)
{
    static const char *const types[] = {"Identity", "Cast",       "DequantizeLinear",
                                        "CAST",     "DEQUANTIZE", "DENSIFY"};
    for (unsigned i = 0; i < sizeof types / sizeof *types; i++) {
        if (is(o, types[i]))
            return true;
    }
    return false;
}

/* Output dimension j is input dimension perm[j]; without perm the order is reversed. */
static uint32_t axis_before_transpose(const struct graph_operator *o, uint32_t axis, uint32_t rank)
{
    const struct graph_attribute *perm = attribute(o, "perm");
    if (perm == NULL || perm->kind != GRAPH_INTS)
        return axis < rank ? rank - 1 - axis : 0;
    int64_t before = axis < perm->n ? perm->ints[axis] : 0;
    return before >= 0 && before < rank ? (uint32_t)before : 0;
}

void weights_find_axes(const struct graph *graph, uint32_t *axes)
{
    memset(axes, 0, (size_t)graph->n_tensors * sizeof *axes);
    /* Backwards: the first reader has the last word, and readers of results come before makers. */
    for (uint32_t k = graph->n_operators; k-- > 0;) {
        const struct graph_operator *o = &graph->operators[k];
        const uint32_t *in = graph_inputs(graph, o), *out = graph_outputs(graph, o);
        uint32_t made = o->n_outputs > 0 && out[0] != GRAPH_NONE ? axes[out[0]] : 0;
        for (uint32_t i = 0; i < o->n_inputs; i++) {
            if (in[i] == GRAPH_NONE)
                continue;
            const struct graph_tensor *tensor = &graph->tensors[in[i]];
            uint32_t axis = only_prepares(o)     ? made
                            : is(o, "Transpose") ? axis_before_transpose(o, made, tensor->rank)
                                                 : axis_for(o, i, tensor);
            axes[in[i]] = axis;
        }
    }
    for (uint32_t i = 0; i < graph->n_tensors; i++) {
        const struct graph_tensor *tensor = &graph->tensors[i];
        if (tensor->rank < 2 || axes[i] >= tensor->rank)
            axes[i] = tensor->rank;
    }
}
