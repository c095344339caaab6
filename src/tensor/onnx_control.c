/* SPDX-License-Identifier: Apache-2.0 */
/*
 * onnx_control: If, Loop and Scan.
 *
 *     If     Begin(condition)            then ... else ...   End(outputs of both) -> outputs
 *     Loop   Begin(trips, condition, v)  body(i, condition, v) ...   End(condition, v, scanned)
 *     Scan   Begin(v, x)                 body(v, element of x) ...   End(v, scanned)
 *
 * A body's inputs are made by Begin: of an If it has none, it reads what is around it. If the
 * condition of an If is known, only that branch is there.
 */
#include "tensor/onnx.h"

#include "tensor/shapes.h"

#include <errno.h>
#include <string.h>

bool onnx_is_control(const Onnx__NodeProto *node)
{
    const char *type = onnx_text(node->op_type);
    return strcmp(type, "If") == 0 || strcmp(type, "Loop") == 0 || strcmp(type, "Scan") == 0;
}

struct control {
    struct onnx *onnx;
    const struct onnx_frame *outer;
    const Onnx__NodeProto *node;
    const Onnx__GraphProto *bodies[2];
    struct onnx_frame inner[2];
    uint32_t n_bodies, region, begin, end;
};

static const Onnx__GraphProto *body_of(const struct control *control, const char *name)
{
    const Onnx__AttributeProto *attribute = onnx_attribute(control->outer, control->node, name);
    return attribute == NULL ? NULL : attribute->g;
}

static struct graph_tensor *input_of(const struct control *control, uint32_t operator_, uint32_t i)
{
    struct graph *graph = control->onnx->graph;
    const struct graph_operator *here = &graph->operators[operator_];
    if (i >= here->n_inputs || graph_inputs(graph, here)[i] == GRAPH_NONE)
        return NULL;
    return &graph->tensors[graph_inputs(graph, here)[i]];
}

static struct graph_tensor *output_of(const struct control *control, uint32_t operator_, uint32_t i)
{
    struct graph *graph = control->onnx->graph;
    const struct graph_operator *here = &graph->operators[operator_];
    if (i >= here->n_outputs || graph_outputs(graph, here)[i] == GRAPH_NONE)
        return NULL;
    return &graph->tensors[graph_outputs(graph, here)[i]];
}

static int add_operator(struct control *control, enum graph_kind kind, size_t n_inputs,
                        size_t n_outputs, uint32_t *operator_)
{
    struct graph *graph = control->onnx->graph;
    if (n_inputs > GRAPH_MAX_OPERATORS || n_outputs > GRAPH_MAX_OPERATORS)
        return -ENOMEM;
    *operator_ = graph_add_operator(graph, onnx_text(control->node->op_type),
                                    onnx_text(control->node->name), control->outer->region,
                                    (uint32_t)n_inputs, (uint32_t)n_outputs);
    if (*operator_ == GRAPH_NONE)
        return -ENOMEM;
    graph->operators[*operator_].kind = kind;
    return 0;
}

/* Begin, which reads what the node does and makes the inputs of the bodies. */
static int begin(struct control *control, bool repeats)
{
    struct onnx *onnx = control->onnx;
    const Onnx__NodeProto *node = control->node;
    size_t n_made = 0;
    for (uint32_t i = 0; i < control->n_bodies; i++)
        n_made += control->bodies[i]->n_input;
    control->region = graph_add_region(onnx->graph, control->outer->region, repeats);
    if (control->region == GRAPH_NONE)
        return -ENOMEM;
    int error = add_operator(control, GRAPH_BEGIN, node->n_input, n_made, &control->begin);
    if (error != 0)
        return error;
    onnx->graph->regions[control->region].begin = control->begin;
    for (uint32_t i = 0; error == 0 && i < node->n_input; i++) {
        uint32_t at = onnx->graph->operators[control->begin].first_input + i;
        error = onnx_read_input(onnx, control->outer, node, node->input[i],
                                &onnx->graph->links[at]);
    }
    uint32_t made = 0;
    for (uint32_t i = 0; error == 0 && i < control->n_bodies; i++) {
        control->inner[i] = (struct onnx_frame){0, control->region, control->outer->caller,
                                                control->outer->call};
        error = onnx_add_scope(onnx, control->outer->scope, &control->inner[i].scope);
        for (size_t k = 0; error == 0 && k < control->bodies[i]->n_input; k++)
            error = onnx_make_output(onnx, &control->inner[i], control->begin, made++,
                                     onnx_text(control->bodies[i]->input[k]->name));
    }
    return error;
}

/* The bodies' operators, and End, which reads what they put out. */
static int run(struct control *control)
{
    struct onnx *onnx = control->onnx;
    size_t n_read = 0;
    uint32_t read = 0;
    int error = 0;
    for (uint32_t i = 0; error == 0 && i < control->n_bodies; i++) {
        error = onnx_read_graph(onnx, &control->inner[i], control->bodies[i]);
        n_read += control->bodies[i]->n_output;
    }
    if (error == 0)
        error = add_operator(control, GRAPH_END, n_read, control->node->n_output, &control->end);
    if (error != 0)
        return error;
    onnx->graph->regions[control->region].end = control->end;
    for (uint32_t i = 0; i < control->n_bodies; i++) {
        for (size_t k = 0; error == 0 && k < control->bodies[i]->n_output; k++) {
            uint32_t at = onnx->graph->operators[control->end].first_input + read++;
            error = onnx_read_input(onnx, &control->inner[i], control->node,
                                    onnx_text(control->bodies[i]->output[k]->name),
                                    &onnx->graph->links[at]);
        }
    }
    for (uint32_t i = 0; error == 0 && i < control->node->n_output; i++)
        error = onnx_make_output(onnx, control->outer, control->end, i, control->node->output[i]);
    return error;
}

static int copy_type(struct graph *graph, const struct graph_tensor *from, struct graph_tensor *to)
{
    if (from == NULL || to == NULL)
        return 0;
    to->type = from->type;
    to->is_opaque = from->is_opaque;
    to->is_bound = from->is_bound;
    return from->has_rank ? graph_set_shape(graph, to, from->rank, from->dims) : 0;
}

/* If */

/* The larger of both, dimension by dimension: which branch runs is not known. */
static int unite(struct graph *graph, const struct graph_tensor *a, const struct graph_tensor *b,
                 struct graph_tensor *to)
{
    int64_t dims[GRAPH_MAX_RANK];
    bool differs = false;
    if (a == NULL || b == NULL || to == NULL)
        return 0;
    to->type = a->type == QUIRE_MODEL_UNTYPED ? b->type : a->type;
    to->is_opaque = a->is_opaque || b->is_opaque;
    if (!a->has_rank || !b->has_rank || a->rank != b->rank)
        return 0;
    for (uint32_t i = 0; i < a->rank; i++) {
        bool is_known = a->dims[i] >= 0 && b->dims[i] >= 0;
        dims[i] = !is_known ? GRAPH_UNKNOWN_DIM : a->dims[i] > b->dims[i] ? a->dims[i] : b->dims[i];
        differs = differs || a->dims[i] != b->dims[i];
    }
    to->is_bound = differs || a->is_bound || b->is_bound;
    return graph_set_shape(graph, to, a->rank, dims);
}

static int read_if(struct control *control)
{
    struct graph *graph = control->onnx->graph;
    const Onnx__NodeProto *node = control->node;
    const Onnx__GraphProto *then = body_of(control, "then_branch");
    const Onnx__GraphProto *otherwise = body_of(control, "else_branch");
    uint32_t condition;
    if (then == NULL || otherwise == NULL || node->n_input != 1)
        return graph_refuse(graph, -EINVAL, "an If without a condition or a branch");
    int error = onnx_read_input(control->onnx, control->outer, node, onnx_text(node->input[0]),
                                &condition);
    if (error != 0)
        return error;
    const struct graph_values *values = condition == GRAPH_NONE
                                            ? NULL
                                            : fold_values(graph, &graph->tensors[condition]);
    bool is_known = values != NULL && values->n == 1 && !values->is_real;
    control->n_bodies = is_known ? 1 : 2;
    control->bodies[0] = is_known && values->integers[0] == 0 ? otherwise : then;
    control->bodies[1] = otherwise;
    error = begin(control, false);
    if (error == 0)
        error = run(control);
    for (uint32_t i = 0; error == 0 && i < node->n_output; i++) {
        const struct graph_tensor *a = input_of(control, control->end, i);
        const struct graph_tensor *b = is_known
                                           ? a
                                           : input_of(control, control->end,
                                                      (uint32_t)control->bodies[0]->n_output + i);
        error = unite(graph, a, b, output_of(control, control->end, i));
    }
    return error;
}

/* Loop */

/* How often it runs, at most; GRAPH_UNKNOWN_DIM: nobody knows. */
static int64_t trips_of(struct control *control, bool *is_bound)
{
    struct graph *graph = control->onnx->graph;
    struct graph_tensor *most = input_of(control, control->begin, 0);
    struct graph_tensor *condition = input_of(control, control->begin, 1);
    struct graph_tensor *next = input_of(control, control->end, 0);
    const struct graph_values *n = most == NULL ? NULL : fold_values(graph, most);
    const struct graph_values *goes_on = next == NULL ? NULL : fold_values(graph, next);
    *is_bound = next != condition && (goes_on == NULL || goes_on->is_real || goes_on->n != 1 ||
                                      goes_on->integers[0] == 0);
    return n == NULL || n->is_real || n->n != 1 || n->integers[0] < 0 ? GRAPH_UNKNOWN_DIM
                                                                      : n->integers[0];
}

static bool is_same_shape(const struct graph_tensor *a, const struct graph_tensor *b)
{
    return a->has_rank && b->has_rank && a->rank == b->rank &&
           (a->rank == 0 || memcmp(a->dims, b->dims, a->rank * sizeof *a->dims) == 0);
}

/* A value that each round hands to the next: known if no round changes its shape. */
static int carry(struct control *control, uint32_t made, uint32_t read, uint32_t output)
{
    struct graph_tensor *first = output_of(control, control->begin, made);
    struct graph_tensor *last = input_of(control, control->end, read);
    struct graph_tensor *to = output_of(control, control->end, output);
    if (first == NULL || last == NULL || to == NULL)
        return 0;
    to->type = first->type;
    to->is_opaque = first->is_opaque;
    to->is_bound = last->is_bound;
    return is_same_shape(first, last)
               ? graph_set_shape(control->onnx->graph, to, last->rank, last->dims)
               : 0;
}

/* What a round puts out, for all rounds together. */
static int gather_rounds(struct control *control, uint32_t read, uint32_t output, int64_t n_rounds,
                         bool is_bound)
{
    struct graph_tensor *each = input_of(control, control->end, read);
    struct graph_tensor *to = output_of(control, control->end, output);
    int64_t dims[GRAPH_MAX_RANK + 1] = {n_rounds};
    if (each == NULL || to == NULL)
        return 0;
    to->type = each->type;
    to->is_bound = is_bound || each->is_bound;
    if (!each->has_rank)
        return 0;
    if (each->rank > 0)
        memcpy(dims + 1, each->dims, each->rank * sizeof *dims);
    return graph_set_shape(control->onnx->graph, to, each->rank + 1, dims);
}

static int read_loop(struct control *control)
{
    struct graph *graph = control->onnx->graph;
    const Onnx__NodeProto *node = control->node;
    bool is_bound;
    control->bodies[0] = body_of(control, "body");
    control->n_bodies = 1;
    if (control->bodies[0] == NULL || node->n_input < 2 ||
        control->bodies[0]->n_input != node->n_input ||
        control->bodies[0]->n_output != node->n_output + 1 || node->n_output + 2 < node->n_input)
        return graph_refuse(graph, -EINVAL, "a Loop whose body does not go with it");
    int error = begin(control, true);
    for (uint32_t i = 0; error == 0 && i < node->n_input; i++) {
        struct graph_tensor *to = output_of(control, control->begin, i);
        if (to != NULL && i < 2) {
            to->type = i == 0 ? QUIRE_MODEL_I64 : QUIRE_MODEL_BOOL;
            error = graph_set_shape(graph, to, 0, NULL);
        } else {
            error = copy_type(graph, input_of(control, control->begin, i), to);
        }
    }
    if (error == 0)
        error = run(control);
    uint32_t n_carried = (uint32_t)node->n_input - 2;
    int64_t n_rounds = error == 0 ? trips_of(control, &is_bound) : 0;
    for (uint32_t i = 0; error == 0 && i < node->n_output; i++)
        error = i < n_carried ? carry(control, i + 2, i + 1, i)
                              : gather_rounds(control, i + 1, i, n_rounds, is_bound);
    return error;
}

/* Scan */

/* Axis k of the scanned inputs or outputs. */
static int64_t axis_of(const struct control *control, const char *name, uint32_t k)
{
    const Onnx__AttributeProto *axes = onnx_attribute(control->outer, control->node, name);
    return axes != NULL && k < axes->n_ints ? axes->ints[k] : 0;
}

/* An element of a scanned input: without the axis that is scanned, whose length is *n_rounds. */
static int take_element(struct control *control, uint32_t i, int64_t axis, int64_t *n_rounds)
{
    const struct graph_tensor *from = input_of(control, control->begin, i);
    struct graph_tensor *to = output_of(control, control->begin, i);
    int64_t dims[GRAPH_MAX_RANK];
    uint32_t rank = 0;
    if (from == NULL || to == NULL)
        return 0;
    to->type = from->type;
    if (!from->has_rank)
        return 0;
    if (axis < 0)
        axis += from->rank;
    if (axis < 0 || axis >= from->rank)
        return graph_refuse(control->onnx->graph, -EINVAL,
                            "a Scan along an axis that is not there");
    *n_rounds = from->dims[axis];
    for (uint32_t d = 0; d < from->rank; d++) {
        if (d != axis)
            dims[rank++] = from->dims[d];
    }
    return graph_set_shape(control->onnx->graph, to, rank, dims);
}

static int read_scan(struct control *control)
{
    struct graph *graph = control->onnx->graph;
    const Onnx__NodeProto *node = control->node;
    const Onnx__AttributeProto *n_scanned = onnx_attribute(control->outer, node, "num_scan_inputs");
    int64_t n_rounds = GRAPH_UNKNOWN_DIM;
    control->bodies[0] = body_of(control, "body");
    control->n_bodies = 1;
    if (graph->opset < 9)
        return graph_refuse(graph, -ENOTSUP,
                            "a Scan of operator set 8, which has an axis for "
                            "batches: convert the model to set 9 or later");
    if (control->bodies[0] == NULL || n_scanned == NULL || n_scanned->i < 0 ||
        (uint64_t)n_scanned->i > node->n_input || control->bodies[0]->n_input != node->n_input ||
        control->bodies[0]->n_output != node->n_output)
        return graph_refuse(graph, -EINVAL, "a Scan whose body does not go with it");
    uint32_t n_carried = (uint32_t)(node->n_input - (uint64_t)n_scanned->i);
    int error = begin(control, true);
    for (uint32_t i = 0; error == 0 && i < node->n_input; i++) {
        if (i < n_carried)
            error = copy_type(graph, input_of(control, control->begin, i),
                              output_of(control, control->begin, i));
        else
            error = take_element(control, i, axis_of(control, "scan_input_axes", i - n_carried),
                                 &n_rounds);
    }
    if (error == 0)
        error = run(control);
    for (uint32_t i = 0; error == 0 && i < node->n_output; i++) {
        if (i < n_carried)
            error = carry(control, i, i, i);
        else if (axis_of(control, "scan_output_axes", i - n_carried) == 0)
            error = gather_rounds(control, i, i, n_rounds, false);
    }
    return error;
}

int onnx_read_control(struct onnx *onnx, const struct onnx_frame *frame,
                      const Onnx__NodeProto *node)
{
    struct control control = {.onnx = onnx, .outer = frame, .node = node};
    const char *type = onnx_text(node->op_type);
    int error = strcmp(type, "If") == 0     ? read_if(&control)
                : strcmp(type, "Loop") == 0 ? read_loop(&control)
                                            : read_scan(&control);
    return error != 0 ? error : onnx_finish_outputs(onnx, frame, control.end);
}
