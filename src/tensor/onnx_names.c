/* SPDX-License-Identifier: Apache-2.0 */
/* onnx_names: what names mean in which scope, and the order in which nodes can run. */
#include "tensor/onnx.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(uint32_t scope, const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u ^ scope; /* FNV-1a */
    for (; *text != '\0'; text++)
        hash = (hash ^ (uint8_t)*text) * 0x100000001b3u;
    return hash ^ hash >> 29;
}

int onnx_add_scope(struct onnx *onnx, uint32_t parent, uint32_t *scope)
{
    if (onnx->n_scopes == onnx->room_scopes) {
        uint32_t room = onnx->room_scopes == 0 ? 16 : 2 * onnx->room_scopes;
        uint32_t *larger = realloc(onnx->scopes, room * sizeof *larger);
        if (larger == NULL)
            return -ENOMEM;
        onnx->scopes = larger;
        onnx->room_scopes = room;
    }
    onnx->scopes[onnx->n_scopes] = parent;
    *scope = onnx->n_scopes++;
    return 0;
}

static struct onnx_name *slot_of(const struct onnx *onnx, uint32_t scope, const char *text)
{
    size_t mask = onnx->room_names - 1;
    for (size_t i = hash_of(scope, text) & mask;; i = (i + 1) & mask) {
        struct onnx_name *name = &onnx->names[i];
        if (name->text == NULL || (name->scope == scope && strcmp(name->text, text) == 0))
            return name;
    }
}

static bool grow(struct onnx *onnx)
{
    struct onnx old = *onnx;
    onnx->room_names = old.room_names == 0 ? 256 : 2 * old.room_names;
    onnx->names = calloc(onnx->room_names, sizeof *onnx->names);
    if (onnx->names == NULL) {
        onnx->names = old.names;
        onnx->room_names = old.room_names;
        return false;
    }
    for (size_t i = 0; i < old.room_names; i++) {
        if (old.names[i].text != NULL)
            *slot_of(onnx, old.names[i].scope, old.names[i].text) = old.names[i];
    }
    free(old.names);
    return true;
}

struct onnx_name *onnx_name(struct onnx *onnx, uint32_t scope, const char *text)
{
    if (2 * (onnx->n_names + 1) > onnx->room_names && !grow(onnx))
        return NULL;
    struct onnx_name *name = slot_of(onnx, scope, text);
    if (name->text == NULL) {
        *name = (struct onnx_name){text, scope, GRAPH_NONE, NULL};
        onnx->n_names++;
    }
    return name;
}

uint32_t onnx_find(const struct onnx *onnx, uint32_t scope, const char *text)
{
    for (; scope != GRAPH_NONE && onnx->room_names > 0; scope = onnx->scopes[scope]) {
        const struct onnx_name *name = slot_of(onnx, scope, text);
        if (name->text != NULL && name->tensor != GRAPH_NONE)
            return name->tensor;
    }
    return GRAPH_NONE;
}

/* Order */

struct sorter {
    struct onnx table;         /* only its names: which node makes a tensor */
    uint32_t *n_waits;         /* of each node: inputs that are not made yet */
    uint32_t *first, *readers; /* of each node: who reads from it */
    uint32_t node;
    size_t n_edges;
    bool is_sorted, fills;
};

/* Calls for each name that the node reads, in its bodies too. */
static void each_use(struct sorter *sorter, const Onnx__NodeProto *node)
{
    for (size_t i = 0; i < node->n_input; i++) {
        const struct onnx_name *name = slot_of(&sorter->table, 0, node->input[i]);
        if (name->text == NULL || node->input[i][0] == '\0')
            continue;
        uint32_t maker = name->tensor;
        if (maker >= sorter->node)
            sorter->is_sorted = false;
        if (sorter->fills)
            sorter->readers[--sorter->first[maker + 1]] = sorter->node;
        else if (sorter->first != NULL)
            sorter->first[maker + 1]++;
        if (sorter->n_waits != NULL && !sorter->fills)
            sorter->n_waits[sorter->node]++;
        sorter->n_edges++;
    }
    for (size_t i = 0; i < node->n_attribute; i++) {
        const Onnx__GraphProto *body = node->attribute[i]->g;
        for (size_t k = 0; body != NULL && k < body->n_node; k++)
            each_use(sorter, body->node[k]);
    }
}

static void all_uses(struct sorter *sorter, size_t n_nodes, Onnx__NodeProto **nodes)
{
    sorter->n_edges = 0;
    for (size_t i = 0; i < n_nodes; i++) {
        sorter->node = (uint32_t)i;
        each_use(sorter, nodes[i]);
    }
}

static int sort(struct onnx *onnx, struct sorter *sorter, size_t n_nodes, Onnx__NodeProto **nodes,
                uint32_t *order)
{
    size_t n_ready = 0, done = 0;
    all_uses(sorter, n_nodes, nodes); /* counts */
    for (size_t i = 0; i < n_nodes; i++)
        sorter->first[i + 1] += sorter->first[i];
    sorter->first[n_nodes + 1] = sorter->first[n_nodes];
    sorter->readers = calloc(sorter->n_edges + 1, sizeof *sorter->readers);
    if (sorter->readers == NULL)
        return -ENOMEM;
    sorter->fills = true;
    all_uses(sorter, n_nodes, nodes); /* first[maker + 1] becomes where maker's readers begin */
    for (size_t i = 0; i < n_nodes; i++) {
        if (sorter->n_waits[i] == 0)
            order[n_ready++] = (uint32_t)i;
    }
    while (done < n_ready) {
        uint32_t maker = order[done++];
        size_t end = maker + 1 == n_nodes ? sorter->n_edges : sorter->first[maker + 2];
        for (size_t k = sorter->first[maker + 1]; k < end; k++) {
            if (--sorter->n_waits[sorter->readers[k]] == 0)
                order[n_ready++] = sorter->readers[k];
        }
    }
    for (size_t i = 0; i < n_nodes; i++) {
        if (sorter->n_waits[i] > 0)
            return graph_refuse(onnx->graph, -EINVAL,
                                "operators wait for each other's outputs in a circle; one of them "
                                "is %s '%s'",
                                onnx_text(nodes[i]->op_type), onnx_text(nodes[i]->name));
    }
    return 0;
}

int onnx_order(struct onnx *onnx, size_t n_nodes, Onnx__NodeProto **nodes, uint32_t **order)
{
    struct sorter sorter = {.is_sorted = true};
    int error = n_nodes > GRAPH_MAX_OPERATORS || !grow(&sorter.table) ? -ENOMEM : 0;
    *order = NULL;
    for (size_t i = 0; error == 0 && i < n_nodes; i++) {
        for (size_t k = 0; error == 0 && k < nodes[i]->n_output; k++) {
            struct onnx_name *name = onnx_name(&sorter.table, 0, nodes[i]->output[k]);
            if (name == NULL)
                error = -ENOMEM;
            else
                name->tensor = (uint32_t)i;
        }
    }
    if (error == 0)
        all_uses(&sorter, n_nodes, nodes);
    if (error == 0 && !sorter.is_sorted) {
        sorter.first = calloc(n_nodes + 2, sizeof *sorter.first);
        sorter.n_waits = calloc(n_nodes + 1, sizeof *sorter.n_waits);
        *order = bump_take(&onnx->graph->bump, n_nodes, sizeof **order);
        error = sorter.first == NULL || sorter.n_waits == NULL || *order == NULL
                    ? -ENOMEM
                    : sort(onnx, &sorter, n_nodes, nodes, *order);
    }
    free(sorter.table.names);
    free(sorter.first);
    free(sorter.n_waits);
    free(sorter.readers);
    return error;
}
