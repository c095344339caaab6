/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The path of `quire layout --network` against all choices of layouts, one by one, in random small
 * networks with random costs. (Costs are whole numbers, so sums are exact.)
 */
#include "cli/layout_path.h"
#include "model_random.h"

#include <string.h>

#define N_ROUNDS 2000
#define MAX_OPERATORS 5
#define MAX_TENSORS (3 * MAX_OPERATORS)
#define N_CHOICES LAYOUT_N_CHOICES

struct network {
    struct layout_graph graph;
    struct layout_tensor tensors[MAX_TENSORS];
    struct layout_operator operators[MAX_OPERATORS];
    uint32_t links[MAX_OPERATORS][4];
    double moves[MAX_TENSORS][N_CHOICES][N_CHOICES], kernels[MAX_OPERATORS][N_CHOICES][N_CHOICES];
};

static struct network network;

/* What the path asks for: costs are drawn, not measured. */

struct layout_costs {
    int none;
};

double layout_costs_convert(struct layout_costs *costs, uint32_t tensor, enum layout_choice from,
                            enum layout_choice to)
{
    (void)costs;
    return network.moves[tensor][from][to];
}

struct layout_kernel_cost layout_costs_kernel(struct layout_costs *costs, uint32_t number,
                                              enum layout_choice in, enum layout_choice out)
{
    (void)costs;
    return (struct layout_kernel_cost){.seconds = network.kernels[number][in][out]};
}

struct quire_layout layout_graph_layout(const struct layout_graph *graph, uint32_t tensor,
                                        enum layout_choice choice)
{
    static const char *const names[] = {"nchw", "nhwc", "nchw16c"};
    struct quire_layout layout;
    REQUIRE(quire_layout_init(&layout, names[choice], QUIRE_LAYOUT_F32, 4,
                              graph->tensors[tensor].dims) == 0);
    return layout;
}

/* A network of operators in a row, each of which reads what was made before. */

static uint32_t add_tensor(bool is_input)
{
    uint32_t number = network.graph.n_tensors++;
    network.tensors[number] = (struct layout_tensor){.is_free = draw(8) > 0,
                                                     .is_there = true,
                                                     .is_input = is_input,
                                                     .dims = {1, 16, 2, 2},
                                                     .n_bytes = 256};
    for (unsigned from = 0; from < N_CHOICES; from++)
        for (unsigned to = 0; to < N_CHOICES; to++)
            network.moves[number][from][to] = from == to ? 0 : 1 + (double)draw(10);
    return number;
}

static void add_operator(void)
{
    uint32_t number = network.graph.n_operators++, n_there = network.graph.n_tensors;
    uint32_t *links = network.links[number];
    struct layout_operator *its = &network.operators[number];
    *its = (struct layout_operator){.kind = (enum layout_operator_kind)draw(3),
                                    .bars_blocked = draw(4) == 0,
                                    .n_inputs = 1 + (uint32_t)draw(2),
                                    .n_outputs = 1 + (uint32_t)draw(2),
                                    .inputs = links,
                                    .outputs = links + 2};
    for (uint32_t i = 0; i < its->n_inputs; i++) {
        links[i] = (uint32_t)draw(n_there);
        network.tensors[links[i]].last_step = number;
    }
    for (uint32_t i = 0; i < its->n_outputs; i++)
        links[2 + i] = add_tensor(false);
    for (unsigned in = 0; in < N_CHOICES; in++)
        for (unsigned out = 0; out < N_CHOICES; out++) {
            bool is_none = its->kind == LAYOUT_CONV && in + out > 0 && draw(5) == 0;
            network.kernels[number][in][out] = is_none ? -1 : (double)draw(40);
        }
}

static void draw_network(void)
{
    memset(&network, 0, sizeof network);
    network.graph.tensors = network.tensors;
    network.graph.operators = network.operators;
    for (uint64_t n = 1 + draw(2); n > 0; n--)
        add_tensor(true);
    for (uint64_t n = 1 + draw(MAX_OPERATORS); n > 0; n--)
        add_operator();
    for (uint32_t t = 0; t < network.graph.n_tensors; t++)
        if (network.tensors[t].last_step == 0 || draw(6) == 0) {
            network.tensors[t].is_output = true;
            network.tensors[t].last_step = network.graph.n_operators;
        }
}

/* All choices */

static double bring(unsigned *there, uint32_t tensor, unsigned to)
{
    double least = 1e9;
    for (unsigned from = 0; from < N_CHOICES; from++)
        if ((there[tensor] >> from & 1) != 0 && network.moves[tensor][from][to] < least)
            least = network.moves[tensor][from][to];
    there[tensor] |= 1u << to;
    return least;
}

static double run(uint32_t number, unsigned in, unsigned out, unsigned *there)
{
    const struct layout_operator *its = &network.operators[number];
    double seconds = network.kernels[number][in][out];
    for (uint32_t i = 0; i < its->n_inputs; i++) {
        bool stays = its->kind == LAYOUT_CONV && i > 0; /* weights, bias */
        if (network.tensors[its->inputs[i]].is_free)
            seconds += bring(there, its->inputs[i], stays ? LAYOUT_PLAIN : in);
    }
    for (uint32_t i = 0; i < its->n_outputs; i++)
        there[its->outputs[i]] = 1u << out;
    return seconds;
}

static bool may_be(const struct layout_operator *its, unsigned in, unsigned out)
{
    switch (its->kind) {
    case LAYOUT_FIXED:
        return in == LAYOUT_PLAIN && out == LAYOUT_PLAIN;
    case LAYOUT_ANY:
        return in == out && !(its->bars_blocked && in == LAYOUT_BLOCKED);
    default:
        return true;
    }
}

static double least_from(uint32_t number, const unsigned *there)
{
    double least = 1e9;
    unsigned now[MAX_TENSORS];
    if (number == network.graph.n_operators) {
        memcpy(now, there, sizeof now);
        least = 0;
        for (uint32_t t = 0; t < network.graph.n_tensors; t++)
            if (network.tensors[t].is_output && network.tensors[t].is_free)
                least += bring(now, t, LAYOUT_PLAIN);
        return least;
    }
    for (unsigned in = 0; in < N_CHOICES; in++)
        for (unsigned out = 0; out < N_CHOICES; out++) {
            if (!may_be(&network.operators[number], in, out) ||
                network.kernels[number][in][out] < 0)
                continue;
            memcpy(now, there, sizeof now);
            double seconds = run(number, in, out, now);
            seconds += least_from(number + 1, now);
            least = seconds < least ? seconds : least;
        }
    return least;
}

int main(void)
{
    unsigned n_rounds = draw_from_seed(N_ROUNDS);
    for (round_number = 0; round_number < n_rounds; round_number++) {
        struct layout_costs costs;
        struct layout_path path;
        unsigned there[MAX_TENSORS];
        draw_network();
        for (unsigned t = 0; t < MAX_TENSORS; t++)
            there[t] = 1u << LAYOUT_PLAIN;
        REQUIRE(layout_path_find(&network.graph, &costs, false, &path) == 0);
        REQUIRE(path.is_shortest);
        REQUIRE(path.kernel_seconds + path.move_seconds == least_from(0, there));
        layout_path_free(&path);
        REQUIRE(layout_path_find(&network.graph, &costs, true, &path) == 0);
        REQUIRE(path.n_moves == 0);
        layout_path_free(&path);
    }
    return 0;
}
