/* SPDX-License-Identifier: Apache-2.0 */
/*
 * onnx: reads an ONNX file into a graph.
 *
 *     file --wire_cut()--> skeleton --protobuf-c--> ModelProto --onnx_read_graph()--> graph
 *                                                    nodes: shapes_infer(), one after the other
 *
 * Names belong to scopes: the graph, each body of an If, Loop or Scan (which sees those around it),
 * each call of a function of the model (which does not). Nodes that are not sorted get sorted. What
 * an operator computes from constants alone, and is small, becomes a constant, and the operator is
 * left out.
 *
 * What the operators say of a tensor's shape comes first, then what the file says of it, where that
 * leaves nothing open; the user's word comes before both.
 */
#include "tensor/onnx.h"

#include "tensor/shapes.h"
#include "tensor/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_UNFOLDED (1u << 16) /* bodies and functions, counted as often as they are called */

/* Reading and making tensors */

int onnx_read_input(struct onnx *onnx, const struct onnx_frame *frame, const Onnx__NodeProto *node,
                    const char *name, uint32_t *tensor)
{
    *tensor = GRAPH_NONE;
    if (name[0] == '\0')
        return 0;
    *tensor = onnx_find(onnx, frame->scope, name);
    if (*tensor == GRAPH_NONE)
        return graph_refuse(onnx->graph, -EINVAL,
                            "the operator %s '%s' reads '%s', which nobody makes",
                            node == NULL ? "" : onnx_text(node->op_type),
                            node == NULL ? "" : onnx_text(node->name), name);
    return 0;
}

/* A tensor of this name in the scope. */
static int add_tensor(struct onnx *onnx, uint32_t scope, const char *text, uint32_t *tensor)
{
    struct onnx_name *name = onnx_name(onnx, scope, text);
    *tensor = GRAPH_NONE;
    if (name == NULL)
        return -ENOMEM;
    if (name->tensor != GRAPH_NONE)
        return graph_refuse(onnx->graph, -EINVAL, "'%s' is made twice", text);
    name->tensor = graph_add_tensor(onnx->graph, text, QUIRE_MODEL_UNTYPED);
    *tensor = name->tensor;
    return name->tensor == GRAPH_NONE ? -ENOMEM : 0;
}

int onnx_make_output(struct onnx *onnx, const struct onnx_frame *frame, uint32_t operator_,
                     uint32_t i, const char *name)
{
    uint32_t tensor;
    if (name[0] == '\0')
        return 0;
    int error = add_tensor(onnx, frame->scope, name, &tensor);
    return error != 0 ? error : graph_set_output(onnx->graph, operator_, i, tensor);
}

/* Fills in what is not known from what the file says, and counts where it says otherwise. */
static int merge_declared(struct onnx *onnx, struct graph_tensor *tensor,
                          const Onnx__TypeProto *type)
{
    struct graph_tensor declared = {.name = tensor->name};
    int error = onnx_read_type(onnx, type, &declared);
    if (error != 0)
        return error;
    tensor->is_opaque = tensor->is_opaque || (declared.is_opaque && !tensor->has_rank);
    if (tensor->type == QUIRE_MODEL_UNTYPED)
        tensor->type = declared.type;
    if (!declared.has_rank)
        return 0;
    if (!tensor->has_rank)
        return graph_set_shape(onnx->graph, tensor, declared.rank, declared.dims);
    bool differs = tensor->rank != declared.rank;
    for (uint32_t i = 0; !differs && i < tensor->rank; i++) {
        if (tensor->dims[i] < 0)
            tensor->dims[i] = declared.dims[i];
        else if (declared.dims[i] >= 0 && declared.dims[i] != tensor->dims[i])
            differs = true;
    }
    onnx->graph->n_conflicts += differs && !tensor->is_bound;
    return 0;
}

int onnx_finish_outputs(struct onnx *onnx, const struct onnx_frame *frame, uint32_t operator_)
{
    struct graph *graph = onnx->graph;
    const struct graph_operator *here = &graph->operators[operator_];
    for (uint32_t i = 0; i < here->n_outputs; i++) {
        uint32_t index = graph_outputs(graph, here)[i];
        if (index == GRAPH_NONE)
            continue;
        struct graph_tensor *tensor = &graph->tensors[index];
        const struct onnx_name *name = onnx_name(onnx, frame->scope, tensor->name);
        int error = name == NULL ? -ENOMEM : 0;
        if (error == 0 && name->type != NULL)
            error = merge_declared(onnx, tensor, name->type);
        if (error == 0)
            error = graph_give_shape(graph, tensor);
        if (error < 0)
            return error;
    }
    return 0;
}

/* If all that the last operator makes is known, its outputs are constants and it is not needed. */
static void drop_if_known(struct graph *graph, uint32_t operator_)
{
    const struct graph_operator *here = &graph->operators[operator_];
    const uint32_t *outputs = graph_outputs(graph, here);
    bool is_known = here->n_outputs > 0;
    for (uint32_t i = 0; i < here->n_outputs; i++)
        is_known = is_known && outputs[i] != GRAPH_NONE &&
                   graph->tensors[outputs[i]].values != NULL &&
                   !graph->tensors[outputs[i]].is_bound;
    if (!is_known)
        return;
    for (uint32_t i = 0; i < here->n_outputs; i++) {
        graph->tensors[outputs[i]].role = QUIRE_MODEL_CONSTANT;
        graph->tensors[outputs[i]].producer = GRAPH_NONE;
    }
    graph->n_links = here->first_input;
    graph->n_operators = operator_;
}

/* Nodes */

/* Constant: its output is one, and there is no operator. */
static int read_constant(struct onnx *onnx, const struct onnx_frame *frame,
                         const Onnx__NodeProto *node)
{
    struct graph *graph = onnx->graph;
    struct graph_operator attributes = {0};
    uint32_t index;
    if (node->n_output != 1)
        return graph_refuse(graph, -EINVAL, "a Constant with %zu outputs", node->n_output);
    int error = onnx_read_attributes(onnx, frame, node, &attributes);
    if (error == 0)
        error = add_tensor(onnx, frame->scope, node->output[0], &index);
    if (error != 0)
        return error;
    struct graph_tensor *tensor = &graph->tensors[index];
    tensor->role = QUIRE_MODEL_CONSTANT;
    if (attributes.n_attributes == 0) {
        tensor->is_opaque = true; /* sparse, or strings */
        return 0;
    }
    const struct graph_attribute *value = &attributes.attributes[0];
    int64_t n = value->n;
    switch (value->kind) {
    case GRAPH_TENSOR:
        tensor->type = value->tensor->type;
        tensor->data = value->tensor->data;
        tensor->data_bytes = value->tensor->data_bytes;
        return graph_set_shape(graph, tensor, value->tensor->rank, value->tensor->dims);
    case GRAPH_INT:
    case GRAPH_INTS:
        tensor->type = QUIRE_MODEL_I64;
        tensor->data = (const uint8_t *)(value->kind == GRAPH_INT ? &value->i : value->ints);
        tensor->data_bytes = (value->kind == GRAPH_INT ? 1 : value->n) * sizeof(int64_t);
        return graph_set_shape(graph, tensor, value->kind == GRAPH_INTS, &n);
    case GRAPH_FLOAT:
    case GRAPH_FLOATS:
        tensor->type = QUIRE_MODEL_F32;
        tensor->data = (const uint8_t *)(value->kind == GRAPH_FLOAT ? &value->f : value->floats);
        tensor->data_bytes = (value->kind == GRAPH_FLOAT ? 1 : value->n) * sizeof(float);
        return graph_set_shape(graph, tensor, value->kind == GRAPH_FLOATS, &n);
    default:
        tensor->is_opaque = true;
        return 0;
    }
}

static int read_plain(struct onnx *onnx, const struct onnx_frame *frame,
                      const Onnx__NodeProto *node)
{
    struct graph *graph = onnx->graph;
    if (node->n_input > GRAPH_MAX_OPERATORS || node->n_output > GRAPH_MAX_OPERATORS)
        return -ENOMEM;
    uint32_t operator_ = graph_add_operator(graph, onnx_text(node->op_type), onnx_text(node->name),
                                            frame->region, (uint32_t)node->n_input,
                                            (uint32_t)node->n_output);
    if (operator_ == GRAPH_NONE)
        return -ENOMEM;
    graph->operators[operator_].domain = onnx_text(node->domain);
    int error = onnx_read_attributes(onnx, frame, node, &graph->operators[operator_]);
    for (uint32_t i = 0; error == 0 && i < node->n_input; i++)
        error = onnx_read_input(onnx, frame, node, node->input[i],
                                &graph->links[graph->operators[operator_].first_input + i]);
    for (uint32_t i = 0; error == 0 && i < node->n_output; i++)
        error = onnx_make_output(onnx, frame, operator_, i, node->output[i]);
    if (error == 0)
        error = shapes_infer(graph, operator_);
    if (error == 0)
        error = onnx_finish_outputs(onnx, frame, operator_);
    if (error == 0)
        drop_if_known(graph, operator_);
    return error;
}

static int read_nodes(struct onnx *onnx, const struct onnx_frame *frame, size_t n,
                      Onnx__NodeProto **nodes);

/* A function of the model: its nodes, in a scope of their own, once for each call. */
static int read_function(struct onnx *onnx, const struct onnx_frame *frame,
                         const Onnx__NodeProto *node, const Onnx__FunctionProto *function)
{
    struct onnx_frame inner = {GRAPH_NONE, frame->region, frame, node};
    if (onnx->depth == GRAPH_MAX_DEPTH || onnx->n_unfolded++ == MAX_UNFOLDED)
        return graph_refuse(onnx->graph, -ENOTSUP,
                            "functions call each other more than %u deep, "
                            "or %u times",
                            GRAPH_MAX_DEPTH, MAX_UNFOLDED);
    int error = onnx_add_scope(onnx, GRAPH_NONE, &inner.scope);
    for (size_t i = 0; error == 0 && i < function->n_input && i < node->n_input; i++) {
        uint32_t tensor;
        error = onnx_read_input(onnx, frame, node, node->input[i], &tensor);
        struct onnx_name *name = error == 0 ? onnx_name(onnx, inner.scope, function->input[i])
                                            : NULL;
        if (name != NULL)
            name->tensor = tensor;
        else if (error == 0)
            error = -ENOMEM;
    }
    onnx->depth++;
    if (error == 0)
        error = read_nodes(onnx, &inner, function->n_node, function->node);
    onnx->depth--;
    for (size_t i = 0; error == 0 && i < function->n_output && i < node->n_output; i++) {
        uint32_t tensor = onnx_find(onnx, inner.scope, function->output[i]);
        struct onnx_name *name = onnx_name(onnx, frame->scope, node->output[i]);
        if (name == NULL)
            return -ENOMEM;
        if (tensor == GRAPH_NONE || name->tensor != GRAPH_NONE)
            return graph_refuse(onnx->graph, -EINVAL,
                                "the function %s makes no '%s', or it is "
                                "made twice",
                                onnx_text(function->name), function->output[i]);
        name->tensor = tensor;
    }
    return error;
}

static const Onnx__FunctionProto *find_function(const struct onnx *onnx,
                                                const Onnx__NodeProto *node)
{
    for (size_t i = 0; i < onnx->model->n_functions; i++) {
        const Onnx__FunctionProto *function = onnx->model->functions[i];
        if (strcmp(onnx_text(function->name), onnx_text(node->op_type)) == 0 &&
            strcmp(onnx_text(function->domain), onnx_text(node->domain)) == 0)
            return function;
    }
    return NULL;
}

static int read_node(struct onnx *onnx, const struct onnx_frame *frame, const Onnx__NodeProto *node)
{
    const Onnx__FunctionProto *function = find_function(onnx, node);
    if (function != NULL)
        return read_function(onnx, frame, node, function);
    if (strcmp(onnx_text(node->op_type), "Constant") == 0)
        return read_constant(onnx, frame, node);
    if (onnx_is_control(node))
        return onnx_read_control(onnx, frame, node);
    return read_plain(onnx, frame, node);
}

static int read_nodes(struct onnx *onnx, const struct onnx_frame *frame, size_t n,
                      Onnx__NodeProto **nodes)
{
    uint32_t *order;
    int error = onnx_order(onnx, n, nodes, &order);
    for (size_t i = 0; error == 0 && i < n; i++)
        error = read_node(onnx, frame, nodes[order == NULL ? i : order[i]]);
    return error;
}

/* Graphs */

static int read_initializer(struct onnx *onnx, const struct onnx_frame *frame,
                            const Onnx__TensorProto *from)
{
    uint32_t index;
    int error = add_tensor(onnx, frame->scope, onnx_text(from->name), &index);
    if (error != 0)
        return error;
    onnx->graph->tensors[index].role = QUIRE_MODEL_CONSTANT;
    return onnx_read_tensor(onnx, from, &onnx->graph->tensors[index]);
}

/* Contents are indices and values; what is known here is the shape of the whole. */
static int read_sparse(struct onnx *onnx, const struct onnx_frame *frame,
                       const Onnx__SparseTensorProto *from)
{
    uint32_t index;
    if (from->values == NULL)
        return graph_refuse(onnx->graph, -EINVAL, "a sparse constant without values");
    int error = add_tensor(onnx, frame->scope, onnx_text(from->values->name), &index);
    if (error != 0)
        return error;
    struct graph_tensor *tensor = &onnx->graph->tensors[index];
    tensor->role = QUIRE_MODEL_CONSTANT;
    tensor->type = onnx_type(from->values->data_type);
    return graph_set_shape(onnx->graph, tensor,
                           from->n_dims > UINT32_MAX ? UINT32_MAX : (uint32_t)from->n_dims,
                           from->dims);
}

static int note_types(struct onnx *onnx, const struct onnx_frame *frame, size_t n,
                      Onnx__ValueInfoProto **infos)
{
    for (size_t i = 0; i < n; i++) {
        struct onnx_name *name = onnx_name(onnx, frame->scope, onnx_text(infos[i]->name));
        if (name == NULL)
            return -ENOMEM;
        name->type = infos[i]->type;
    }
    return 0;
}

int onnx_read_graph(struct onnx *onnx, const struct onnx_frame *frame,
                    const Onnx__GraphProto *graph)
{
    if (onnx->depth == GRAPH_MAX_DEPTH || onnx->n_unfolded++ == MAX_UNFOLDED)
        return graph_refuse(onnx->graph, -ENOTSUP, "graphs lie in graphs more than %u deep",
                            GRAPH_MAX_DEPTH);
    onnx->depth++;
    int error = note_types(onnx, frame, graph->n_value_info, graph->value_info);
    if (error == 0)
        error = note_types(onnx, frame, graph->n_output, graph->output);
    for (size_t i = 0; error == 0 && i < graph->n_initializer; i++)
        error = read_initializer(onnx, frame, graph->initializer[i]);
    for (size_t i = 0; error == 0 && i < graph->n_sparse_initializer; i++)
        error = read_sparse(onnx, frame, graph->sparse_initializer[i]);
    if (error == 0)
        error = read_nodes(onnx, frame, graph->n_node, graph->node);
    onnx->depth--;
    return error;
}

/* The inputs of the whole model: those that no initializer has. */
static int read_inputs(struct onnx *onnx, uint32_t scope, const Onnx__GraphProto *graph)
{
    for (size_t i = 0; i < graph->n_initializer; i++) {
        struct onnx_name *name = onnx_name(onnx, scope, onnx_text(graph->initializer[i]->name));
        if (name == NULL)
            return -ENOMEM;
        name->type = NULL;
        name->tensor = 0; /* for a moment: it is one */
    }
    int error = 0;
    for (size_t i = 0; error == 0 && i < graph->n_input; i++) {
        const char *text = onnx_text(graph->input[i]->name);
        uint32_t index;
        if (onnx_name(onnx, scope, text) == NULL)
            return -ENOMEM;
        if (onnx_find(onnx, scope, text) != GRAPH_NONE)
            continue;
        error = add_tensor(onnx, scope, text, &index);
        if (error != 0)
            return error;
        struct graph_tensor *tensor = &onnx->graph->tensors[index];
        tensor->role = QUIRE_MODEL_INPUT;
        error = onnx_read_type(onnx, graph->input[i]->type, tensor);
        if (error == 0)
            error = graph_give_shape(onnx->graph, tensor);
        error = error > 0 ? 0 : error;
    }
    for (size_t i = 0; error == 0 && i < graph->n_initializer; i++)
        onnx_name(onnx, scope, onnx_text(graph->initializer[i]->name))->tensor = GRAPH_NONE;
    return error;
}

static int read_model(struct onnx *onnx)
{
    struct onnx_frame frame = {0, 0, NULL, NULL};
    const Onnx__GraphProto *graph = onnx->model->graph;
    if (graph == NULL)
        return graph_refuse(onnx->graph, -EINVAL, "the ONNX file has no graph");
    onnx->graph->opset = 1;
    for (size_t i = 0; i < onnx->model->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *set = onnx->model->opset_import[i];
        if (onnx_text(set->domain)[0] == '\0' || strcmp(set->domain, "ai.onnx") == 0)
            onnx->graph->opset = set->version;
    }
    int error = onnx_add_scope(onnx, GRAPH_NONE, &frame.scope);
    if (error == 0 && graph_add_region(onnx->graph, GRAPH_NONE, false) == GRAPH_NONE)
        error = -ENOMEM;
    if (error == 0)
        error = read_inputs(onnx, frame.scope, graph);
    if (error == 0)
        error = onnx_read_graph(onnx, &frame, graph);
    for (size_t i = 0; error == 0 && i < graph->n_output; i++) {
        uint32_t tensor;
        error = onnx_read_input(onnx, &frame, NULL, onnx_text(graph->output[i]->name), &tensor);
        if (error == 0 && tensor != GRAPH_NONE)
            onnx->graph->tensors[tensor].is_output = true;
    }
    return error;
}

/* Strings of the message are used by the graph: they are allocated in its bump. */
static void *take(void *bump, size_t n_bytes)
{
    return bump_take(bump, 1, n_bytes);
}

static void keep(void *bump, void *bytes)
{
    (void)bump, (void)bytes;
}

int onnx_import(struct graph *graph, const uint8_t *bytes, size_t n_bytes, const char *directory,
                struct onnx_files **files)
{
    struct onnx onnx = {.graph = graph, .bytes = bytes, .n_bytes = n_bytes, .directory = directory};
    ProtobufCAllocator allocator = {take, keep, &graph->bump};
    struct wire_skeleton skeleton;
    size_t where;
    graph->format = "ONNX";
    int error = wire_cut(bytes, n_bytes, &onnx__model_proto__descriptor,
                         &onnx__tensor_proto__descriptor, &skeleton, &where);
    if (error == -EINVAL)
        graph_refuse(graph, error, "the ONNX file is damaged at byte %zu of %zu; is it complete?",
                     where, n_bytes);
    if (error == 0) {
        onnx.model = onnx__model_proto__unpack(&allocator, skeleton.n_bytes, skeleton.bytes);
        if (onnx.model == NULL)
            error = graph_refuse(graph, -EINVAL,
                                 "the ONNX file is damaged: its messages do not "
                                 "follow onnx.proto");
    }
    free(skeleton.bytes);
    if (error == 0)
        error = read_model(&onnx);
    *files = onnx.files;
    free(onnx.names);
    free(onnx.scopes);
    return error;
}
