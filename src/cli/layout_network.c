/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout_network: `quire layout --network FILE`. Which layout each operator of a model had best.
 *
 *     file --quire_model_open--> model --layout_graph--> choices --layout_path--> the fastest way
 *                                           layout_costs (measured here) --^
 */
#include "cli/layout_network.h"

#include "base/size.h"
#include "cli/cli.h"
#include "cli/json_text.h"
#include "cli/layout_path.h"
#include "cli/table.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define MAX_NAME_BYTES 36
#define N_WORDS 5 /* of a row, before its numbers */

struct network {
    struct layout_graph graph;
    struct layout_costs *costs;
    struct layout_path plain, best;
    unsigned n_conversions, n_kernels; /* measured */
};

static int find_paths(struct network *network, struct quire_model *model)
{
    int error = layout_graph_make(model, &network->graph);

    if (error != 0)
        return error;
    network->costs = layout_costs_new(&network->graph);
    if (network->costs == NULL)
        return -ENOMEM;
    error = layout_path_find(&network->graph, network->costs, true, &network->plain);
    if (error == 0)
        error = layout_path_find(&network->graph, network->costs, false, &network->best);
    layout_costs_counts(network->costs, &network->n_conversions, &network->n_kernels);
    return error;
}

static void free_network(struct network *network)
{
    layout_path_free(&network->plain);
    layout_path_free(&network->best);
    layout_costs_free(network->costs);
    layout_graph_free(&network->graph);
}

static double seconds_of(const struct layout_path *path)
{
    return path->kernel_seconds + path->move_seconds;
}

static unsigned count_kind(const struct layout_graph *graph, enum layout_operator_kind kind)
{
    unsigned n = 0;

    for (uint32_t i = 0; i < graph->n_operators; i++)
        n += graph->operators[i].kind == kind;
    return n;
}

/* Text */

static void add_microseconds(struct table *table, double seconds)
{
    char text[32];

    snprintf(text, sizeof text, "%.1f", seconds * 1e6);
    table_add(table, text);
}

/* The end of a long name says most. */
static void add_name(struct table *table, const char *name)
{
    char text[MAX_NAME_BYTES + 4];
    size_t n = strlen(name), first = n > MAX_NAME_BYTES ? n - MAX_NAME_BYTES : 0;

    while ((name[first] & 0xc0) == 0x80) /* in the middle of a character */
        first++;
    snprintf(text, sizeof text, "%s%s", first > 0 ? ".." : "", name + first);
    table_add(table, text);
}

static void add_row(struct table *table, const char *const *words, double seconds, double plain)
{
    for (unsigned i = 0; i < N_WORDS; i++)
        if (i == 1)
            add_name(table, words[i]);
        else
            table_add(table, words[i]);
    add_microseconds(table, seconds);
    if (plain < 0)
        table_add(table, "");
    else
        add_microseconds(table, plain);
}

static void add_moves(struct table *table, const struct network *network, uint32_t step,
                      size_t *next)
{
    const struct layout_path *path = &network->best;

    for (; *next < path->n_moves && path->moves[*next].step == step; ++*next) {
        const struct layout_move *move = &path->moves[*next];
        struct quire_model_tensor tensor;
        quire_model_tensor(network->graph.model, move->tensor, &tensor);
        add_row(table,
                (const char *[N_WORDS]){"convert", tensor.name, network->graph.names[move->from],
                                        network->graph.names[move->to], ""},
                move->seconds, -1);
    }
}

static bool print_steps(const struct network *network)
{
    static const char *const heads[] = {"operator", "name", "reads",   "writes",
                                        "kernel",   "us",   "plain us"};
    const struct layout_graph *graph = &network->graph;
    struct table table = {.n_columns = N_WORDS + 2, .left = 0x1f};
    size_t next = 0;

    for (unsigned i = 0; i < table.n_columns; i++)
        table_add(&table, heads[i]);
    for (uint32_t step = 0; step < graph->n_operators; step++) {
        const struct layout_operator *its = &graph->operators[step];
        const struct layout_step *best = &network->best.steps[step];
        add_moves(&table, network, step, &next);
        if (its->kind == LAYOUT_FIXED)
            continue; /* nothing was chosen */
        add_row(&table,
                (const char *[N_WORDS]){its->type, its->name, graph->names[best->in],
                                        graph->names[best->out],
                                        best->algorithm == NULL ? "" : best->algorithm},
                best->seconds, network->plain.steps[step].seconds);
    }
    add_moves(&table, network, graph->n_operators, &next);
    bool is_good = table_print(&table, 0);
    table_free(&table);
    return is_good;
}

/* " of f32, i8"; "" if none was measured. */
static void list_types(const struct network *network, char *text, size_t room)
{
    bool is_there[QUIRE_LAYOUT_N_TYPES];
    size_t at = 0;

    layout_costs_types(network->costs, is_there);
    text[0] = 0;
    for (int type = 0; type < QUIRE_LAYOUT_N_TYPES; type++)
        if (is_there[type])
            at += (size_t)snprintf(text + at, room - at, "%s%s", at == 0 ? " of " : ", ",
                                   quire_layout_type_name((enum quire_layout_type)type));
}

static bool print_text(const struct network *network)
{
    const struct layout_graph *graph = &network->graph;
    const struct layout_path *plain = &network->plain, *best = &network->best;
    char before[24], after[24], types[32];

    list_types(network, types, sizeof types);
    uint32_t n_convolutions = count_kind(graph, LAYOUT_CONV);
    printf(
        "model      %s, %u operator%s: %u convolution%s and %u others have a choice of layouts\n",
        graph->format, graph->n_operators, graph->n_operators == 1 ? "" : "s", n_convolutions,
        n_convolutions == 1 ? "" : "s", count_kind(graph, LAYOUT_ANY));
    printf("measured   %u kernels of f32 and %u conversions%s on one core here\n",
           network->n_kernels, network->n_conversions, types);
    printf("plain      %.3g ms, all in %s\n", seconds_of(plain) * 1e3, graph->names[LAYOUT_PLAIN]);
    printf("best       %.3g ms, of which %.3g ms are %zu conversions: %.2f of plain%s\n",
           seconds_of(best) * 1e3, best->move_seconds * 1e3, best->n_moves,
           seconds_of(plain) > 0 ? seconds_of(best) / seconds_of(plain) : 1,
           best->is_shortest ? "; no choice takes less" : "; perhaps another takes less");
    printf("arena      %s with %s, %s now\n\n",
           size_format(plain->arena_peak, before, sizeof before), graph->names[LAYOUT_PLAIN],
           size_format(best->arena_peak, after, sizeof after));
    if (count_kind(graph, LAYOUT_FIXED) == graph->n_operators) {
        printf("nothing here is worth a conversion: no operator has a choice\n");
        return true;
    }
    return print_steps(network);
}

/* JSON */

static json_t *path_json(const struct layout_path *path)
{
    return json_pack("{s:f, s:f, s:f, s:I, s:I}", "seconds", seconds_of(path), "kernel_seconds",
                     path->kernel_seconds, "conversion_seconds", path->move_seconds, "conversions",
                     (json_int_t)path->n_moves, "arena_peak_bytes", (json_int_t)path->arena_peak);
}

static json_t *steps_json(const struct network *network)
{
    const struct layout_graph *graph = &network->graph;
    json_t *list = json_array();

    for (uint32_t step = 0; step < graph->n_operators; step++) {
        const struct layout_step *best = &network->best.steps[step];
        json_t *its = json_pack(
            "{s:o, s:o, s:s, s:s, s:f, s:f}", "operator", json_text(graph->operators[step].type),
            "name", json_text(graph->operators[step].name), "reads", graph->names[best->in],
            "writes", graph->names[best->out], "seconds", best->seconds, "plain_seconds",
            network->plain.steps[step].seconds);
        if (best->algorithm != NULL)
            json_object_set_new(its, "algorithm", json_string(best->algorithm));
        json_array_append_new(list, its);
    }
    return list;
}

static json_t *moves_json(const struct network *network)
{
    json_t *list = json_array();

    for (size_t i = 0; i < network->best.n_moves; i++) {
        const struct layout_move *move = &network->best.moves[i];
        struct quire_model_tensor tensor;
        quire_model_tensor(network->graph.model, move->tensor, &tensor);
        const char *type = quire_layout_type_name(network->graph.tensors[move->tensor].type);
        json_array_append_new(
            list, json_pack("{s:I, s:o, s:s, s:s, s:s, s:f}", "before_step", (json_int_t)move->step,
                            "tensor", json_text(tensor.name), "type", type, "from",
                            network->graph.names[move->from], "to", network->graph.names[move->to],
                            "seconds", move->seconds));
    }
    return list;
}

static json_t *types_json(const struct network *network)
{
    bool is_there[QUIRE_LAYOUT_N_TYPES];
    json_t *list = json_array();

    layout_costs_types(network->costs, is_there);
    for (int type = 0; type < QUIRE_LAYOUT_N_TYPES; type++)
        if (is_there[type])
            json_array_append_new(
                list, json_string(quire_layout_type_name((enum quire_layout_type)type)));
    return list;
}

static bool print_json(const struct network *network)
{
    json_t *root = json_pack(
        "{s:s, s:s, s:s, s:I, s:s, s:I, s:o, s:o, s:o, s:b, s:o, s:o}", "schema",
        "quire.layout-network/1", "format", network->graph.format, "plain_layout",
        network->graph.names[LAYOUT_PLAIN], "measured_kernels", (json_int_t)network->n_kernels,
        "kernel_type", "f32", "measured_conversions", (json_int_t)network->n_conversions,
        "conversion_types", types_json(network), "plain", path_json(&network->plain), "best",
        path_json(&network->best), "shortest", (int)network->best.is_shortest, "steps",
        steps_json(network), "moves", moves_json(network));
    bool is_good = root != NULL && json_dumpf(root, stdout, JSON_INDENT(1)) == 0;

    putchar('\n');
    json_decref(root);
    return is_good;
}

bool layout_network(const char *path, const struct quire_model_options *options, bool as_json)
{
    char message[QUIRE_MODEL_MESSAGE_BYTES];
    struct network network = {0};
    struct quire_model *model;
    int error = quire_model_open(path, options, &model, message);

    if (error != 0) {
        cli_error("%s: %s", path, message);
        return false;
    }
    error = find_paths(&network, model);
    bool is_good = error == 0 && (as_json ? print_json(&network) : print_text(&network));
    if (!is_good)
        cli_error("cannot find layouts for %s: %s", path, strerror(error == 0 ? ENOMEM : -error));
    free_network(&network);
    quire_model_close(model);
    return is_good;
}
