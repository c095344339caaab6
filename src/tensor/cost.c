/* SPDX-License-Identifier: Apache-2.0 */
/* cost: see cost.h. Reals, because sizes are bounded but products of them are not. */
#include "tensor/cost.h"

#include <string.h>

static const struct graph_tensor *tensor_at(const struct graph *graph, const uint32_t *list,
                                            uint32_t n, uint32_t i)
{
    return i < n && list[i] != GRAPH_NONE && !graph->tensors[list[i]].is_opaque
               ? &graph->tensors[list[i]]
               : NULL;
}

static const struct graph_tensor *in(const struct graph *graph, const struct graph_operator *o,
                                     uint32_t i)
{
    return tensor_at(graph, graph_inputs(graph, o), o->n_inputs, i);
}

static double count(const struct graph_tensor *tensor)
{
    double n = 1;
    for (uint32_t i = 0; tensor != NULL && i < tensor->rank; i++)
        n *= (double)tensor->dims[i];
    return tensor == NULL ? 0 : n;
}

static double dim(const struct graph_tensor *tensor, int64_t i)
{
    if (i < 0)
        i += tensor->rank;
    return i < 0 || i >= tensor->rank ? 1 : (double)tensor->dims[i];
}

static bool is(const struct graph_operator *o, const char *type)
{
    return strcmp(o->type, type) == 0;
}

static bool starts(const struct graph_operator *o, const char *type)
{
    return strncmp(o->type, type, strlen(type)) == 0;
}

/* Everything that is read or made once. */
static double touched(const struct graph *graph, const struct graph_operator *o)
{
    double n = 0;
    for (uint32_t i = 0; i < o->n_inputs; i++)
        n += count(tensor_at(graph, graph_inputs(graph, o), o->n_inputs, i));
    for (uint32_t i = 0; i < o->n_outputs; i++)
        n += count(tensor_at(graph, graph_outputs(graph, o), o->n_outputs, i));
    return n;
}

static double onnx_cost(const struct graph *graph, const struct graph_operator *o, double out)
{
    const struct graph_tensor *x = in(graph, o, 0), *w = in(graph, o, 1);
    if (w == NULL || x == NULL)
        return touched(graph, o);
    if (is(o, "ConvTranspose")) /* each element of the input meets all weights of its channel */
        return 2 * count(x) * count(w) / dim(w, 0);
    if (is(o, "QLinearConv") && in(graph, o, 3) != NULL)
        w = in(graph, o, 3);
    if (starts(o, "Conv") || is(o, "QLinearConv") || is(o, "FusedConv"))
        return 2 * out * count(w) / dim(w, 0);
    if (is(o, "Gemm") || starts(o, "MatMul") || is(o, "QLinearMatMul") || is(o, "FusedMatMul"))
        return 2 * out * dim(x, x->rank > 1 ? -1 : 0);
    if (is(o, "LSTM") || is(o, "GRU") || is(o, "RNN"))
        return 2 * dim(x, 0) * dim(x, 1) * (count(w) + count(in(graph, o, 2)));
    if (is(o, "Einsum"))
        return 2 * count(x) * dim(w, -1);
    return touched(graph, o);
}

static double tflite_cost(const struct graph *graph, const struct graph_operator *o, double out)
{
    const struct graph_tensor *x = in(graph, o, 0), *w = in(graph, o, 1);
    if (w == NULL)
        return touched(graph, o);
    if (is(o, "CONV_2D") || is(o, "CONV_3D"))
        return 2 * out * count(w) / dim(w, 0);
    if (is(o, "DEPTHWISE_CONV_2D"))
        return 2 * out * dim(w, 1) * dim(w, 2);
    if ((is(o, "TRANSPOSE_CONV") || is(o, "CONV_3D_TRANSPOSE")) && in(graph, o, 2) != NULL)
        return 2 * count(in(graph, o, 2)) * count(w) / dim(w, -1);
    if (is(o, "FULLY_CONNECTED"))
        return 2 * out * dim(w, -1);
    if (is(o, "BATCH_MATMUL") && x != NULL)
        return 2 * out * dim(x, -1);
    return touched(graph, o);
}

void cost_estimate(struct graph *graph)
{
    for (uint32_t i = 0; i < graph->n_operators; i++) {
        struct graph_operator *o = &graph->operators[i];
        double out = count(tensor_at(graph, graph_outputs(graph, o), o->n_outputs, 0));
        if (o->kind != GRAPH_PLAIN)
            o->cost = touched(graph, o);
        else if (is(o, "Reshape") || is(o, "RESHAPE") || is(o, "Identity"))
            o->cost = 0;
        else
            o->cost = strcmp(o->domain, "tflite") == 0 ? tflite_cost(graph, o, out)
                                                       : onnx_cost(graph, o, out);
    }
}
