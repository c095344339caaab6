/* SPDX-License-Identifier: Apache-2.0 */
/* remat_score: see remat_score.h. */
#include "tensor/remat_score.h"

#include <math.h>

/* Components */

static uint32_t root_of(struct remat_state *run, uint32_t node)
{
    while (run->parent[node] != node)
        node = run->parent[node] = run->parent[run->parent[node]];
    return node;
}

static void unite(struct remat_state *run, uint32_t a, uint32_t b)
{
    a = root_of(run, run->node[a]);
    b = root_of(run, run->node[b]);
    if (a == b)
        return;
    run->parent[a] = b; /* path halving alone keeps paths short enough */
    run->sum[b] += run->sum[a];
}

uint32_t remat_list_made(const struct remat_state *run, uint32_t value, uint32_t *list)
{
    const struct remat *remat = run->remat;
    uint32_t n = 0;
    for (uint32_t i = remat->uses.first[value]; i < remat->uses.first[value + 1]; i++) {
        const struct program_step *step = &run->program->steps[remat->uses.steps[i]];
        for (uint32_t k = 0; k < step->n_out; k++) {
            uint32_t made = run->program->links[step->first + step->n_in + k];
            if (n == REMAT_MAX_FAN)
                return n;
            if (made != GRAPH_NONE)
                list[n++] = made;
        }
    }
    return n;
}

void remat_join(struct remat_state *run, uint32_t value)
{
    const struct program_step *step = remat_maker(run, value);
    uint32_t made[REMAT_MAX_FAN], n_made = remat_list_made(run, value, made);
    uint32_t room = run->room_nodes;
    run->parent = remat_grow(run, run->parent, run->n_nodes, &room, sizeof *run->parent);
    run->sum = remat_grow(run, run->sum, run->n_nodes, &run->room_nodes, sizeof *run->sum);
    if (run->error != 0)
        return;
    uint32_t node = run->n_nodes++;
    run->parent[node] = run->node[value] = node;
    run->sum[node] = remat_cost(run, value);
    for (uint32_t i = 0; i < step->n_in; i++) {
        uint32_t from = run->program->links[step->first + i];
        if (from != GRAPH_NONE && run->state[from] == REMAT_EVICTED)
            unite(run, from, value);
    }
    for (uint32_t i = 0; i < n_made; i++) {
        if (run->state[made[i]] == REMAT_EVICTED)
            unite(run, made[i], value);
    }
}

void remat_leave(struct remat_state *run, uint32_t value)
{
    run->sum[root_of(run, run->node[value])] -= remat_cost(run, value);
}

/* Scores */

/* The components that a score has counted. */
struct counted {
    uint32_t roots[REMAT_MAX_FAN];
    uint32_t n, n_revived;
    double cost;
};

static void count_component(struct remat_state *run, struct counted *counted, uint32_t value)
{
    uint32_t root = root_of(run, run->node[value]);
    for (uint32_t i = 0; i < counted->n; i++) {
        if (counted->roots[i] == root)
            return;
    }
    if (counted->n < REMAT_MAX_FAN)
        counted->roots[counted->n++] = root;
    counted->cost += run->sum[root];
}

/* What it takes to have all that the value is made of. False: it can't be had. */
static bool count_before(struct remat_state *run, struct counted *counted, uint32_t value)
{
    const struct program_step *step = remat_maker(run, value);
    for (uint32_t i = 0; i < step->n_in; i++) {
        uint32_t from = run->program->links[step->first + i];
        if (from == GRAPH_NONE || run->state[from] == REMAT_RESIDENT)
            continue;
        if (run->state[from] == REMAT_EVICTED) {
            count_component(run, counted, from);
            continue;
        }
        if (run->state[from] == REMAT_LOST || counted->n_revived++ == REMAT_MAX_CHAIN)
            return false;
        counted->cost += remat_cost(run, from);
        if (!count_before(run, counted, from))
            return false;
    }
    return true;
}

/* When it is needed next: by a step, or by what is evicted. */
static uint32_t next_need(const struct remat_state *run, uint32_t value, const uint32_t *made,
                          uint32_t n_made)
{
    uint32_t next = remat_next_use(run, value);
    for (uint32_t i = 0; next == GRAPH_NONE && i < n_made; i++) {
        uint32_t use = run->state[made[i]] == REMAT_EVICTED ? remat_next_use(run, made[i])
                                                            : GRAPH_NONE;
        next = use < next ? use : next;
    }
    return next == GRAPH_NONE ? run->program->n_steps : next;
}

double remat_score(struct remat_state *run, uint32_t value)
{
    struct counted counted = {.cost = remat_cost(run, value)};
    uint32_t made[REMAT_MAX_FAN], n_made = remat_list_made(run, value, made);
    if (!count_before(run, &counted, value))
        return INFINITY;
    for (uint32_t i = 0; i < n_made; i++) {
        if (run->state[made[i]] == REMAT_EVICTED)
            count_component(run, &counted, made[i]);
    }
    uint32_t next = next_need(run, value, made, n_made);
    double steps = next > run->now ? (double)(next - run->now) : 0.5;
    return counted.cost / ((double)remat_bytes(run, value) * steps);
}
