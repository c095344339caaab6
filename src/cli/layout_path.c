/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout_path: a shortest path. A node is how far the network has run and which layouts each live
 * tensor is there in; an edge is an operator that runs in some layout, as long as its kernel takes
 * and the conversions that it wants before it.
 *
 *     input {nchw} --conv nchw->16c--> {16c} --relu 16c--> {16c} --conv 16c->16c--> ...
 *                  \-convert, conv 16c->16c--> ...            \--convert--> {16c, nchw}
 *
 * A tensor that was converted stays there in both layouts, so that two readers pay once. Nodes that
 * agree in all live tensors are one; and a node is left out where another is ahead of it by more
 * than what is there in fewer layouts can cost later. That leaves few; beyond MAX_NODES of a step,
 * the shortest paths are kept.
 */
#include "cli/layout_path.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SLOTS 24 /* live tensors with a choice; further ones stay as the model has them */
#define MAX_NODES 2048
#define MAX_RIVALS 64 /* that a node is compared with */
#define N_SETS (1 << LAYOUT_N_CHOICES)
#define N_EDGES (LAYOUT_N_CHOICES * LAYOUT_N_CHOICES)
#define NO_SLOT UINT8_MAX

struct node {
    uint8_t there[MAX_SLOTS]; /* bits: the layouts in which the tensor of a slot is there */
    double seconds;
    uint32_t before; /* the node of the step before */
    uint8_t in, out;
};

struct level {
    struct node *nodes;
    uint32_t n;
};

struct search {
    const struct layout_graph *graph;
    struct layout_costs *costs;
    bool only_plain, is_cut, failed;
    uint8_t *slots; /* of each tensor, while it lives */
    bool is_used[MAX_SLOTS];
    struct level *levels; /* 0: before the first operator */
    struct node *next;    /* of the next level, unsorted */
    uint32_t n_next;
    /* What the tensor of a slot may cost more from now on if it is there in the layouts of the
     * first set than in those of the second, seconds at most. */
    double prices[MAX_SLOTS][N_SETS][N_SETS];
};

/* Slots */

static void give_slot(struct search *search, uint32_t tensor)
{
    search->slots[tensor] = NO_SLOT;
    if (!search->graph->tensors[tensor].is_free)
        return;
    for (uint8_t slot = 0; slot < MAX_SLOTS; slot++) {
        if (search->is_used[slot])
            continue;
        search->is_used[slot] = true;
        search->slots[tensor] = slot;
        return;
    }
    search->is_cut = true;
}

static bool dies_at(const struct search *search, uint32_t tensor, uint32_t step)
{
    return search->graph->tensors[tensor].last_step <= step;
}

/* Edges */

/* The quickest conversion from where a tensor is there to another layout. Negative: it failed. */
static double find_conversion(struct layout_costs *costs, uint32_t tensor, uint8_t there,
                              enum layout_choice to, enum layout_choice *from)
{
    double best = -1;

    if ((there >> to & 1) != 0) {
        *from = to;
        return 0;
    }
    for (int choice = 0; choice < LAYOUT_N_CHOICES; choice++) {
        if ((there >> choice & 1) == 0)
            continue;
        double seconds = layout_costs_convert(costs, tensor, (enum layout_choice)choice, to);
        if (seconds >= 0 && (best < 0 || seconds < best)) {
            best = seconds;
            *from = (enum layout_choice)choice;
        }
    }
    return best;
}

static double convert(struct search *search, uint32_t tensor, uint8_t there, enum layout_choice to)
{
    enum layout_choice from;
    double seconds = find_conversion(search->costs, tensor, there, to, &from);

    search->failed |= seconds < 0;
    return seconds;
}

/* In which layout an operator reads an input: a convolution's weights and bias stay as they are. */
static enum layout_choice reads(const struct layout_operator *its, uint32_t input,
                                enum layout_choice in)
{
    return its->kind == LAYOUT_CONV && input > 0 ? LAYOUT_PLAIN : in;
}

/* Runs an operator from a node: its inputs are converted, its outputs are there, the dead go. */
static void follow(struct search *search, uint32_t step, struct node *node)
{
    const struct layout_operator *its = &search->graph->operators[step];
    enum layout_choice out = (enum layout_choice)node->out;

    for (uint32_t i = 0; i < its->n_inputs; i++) {
        uint32_t tensor = its->inputs[i];
        if (tensor == QUIRE_MODEL_NONE || !search->graph->tensors[tensor].is_free)
            continue;
        enum layout_choice in = reads(its, i, (enum layout_choice)node->in);
        uint8_t slot = search->slots[tensor];
        uint8_t there = slot == NO_SLOT ? 1 << LAYOUT_PLAIN : node->there[slot];
        node->seconds += convert(search, tensor, there, in);
        if (slot != NO_SLOT)
            node->there[slot] |= (uint8_t)(1 << in);
    }
    for (uint32_t i = 0; i < its->n_outputs; i++) {
        uint32_t tensor = its->outputs[i];
        if (tensor == QUIRE_MODEL_NONE || !search->graph->tensors[tensor].is_free)
            continue;
        uint8_t slot = search->slots[tensor];
        if (slot != NO_SLOT)
            node->there[slot] = (uint8_t)(1 << out);
        else
            node->seconds += convert(search, tensor, (uint8_t)(1 << out), LAYOUT_PLAIN);
    }
}

static void forget_dead(const struct search *search, uint32_t step, struct node *node)
{
    const struct layout_operator *its = &search->graph->operators[step];

    for (uint32_t i = 0; i < its->n_inputs + its->n_outputs; i++) {
        uint32_t tensor = i < its->n_inputs ? its->inputs[i] : its->outputs[i - its->n_inputs];
        if (tensor != QUIRE_MODEL_NONE && search->graph->tensors[tensor].is_free &&
            search->slots[tensor] != NO_SLOT && dies_at(search, tensor, step))
            node->there[search->slots[tensor]] = 0;
    }
}

static bool may_take(const struct search *search, const struct layout_operator *its, int in,
                     int out)
{
    bool is_plain = in == LAYOUT_PLAIN && out == LAYOUT_PLAIN;

    if (search->only_plain || its->kind == LAYOUT_FIXED)
        return is_plain;
    return its->kind == LAYOUT_CONV || (in == out && !(its->bars_blocked && in == LAYOUT_BLOCKED));
}

static void expand(struct search *search, uint32_t step)
{
    const struct layout_operator *its = &search->graph->operators[step];
    const struct level *level = &search->levels[step];

    search->n_next = 0;
    for (int edge = 0; edge < N_EDGES; edge++) {
        int in = edge / LAYOUT_N_CHOICES, out = edge % LAYOUT_N_CHOICES;
        if (!may_take(search, its, in, out))
            continue;
        double seconds = layout_costs_kernel(search->costs, step, (enum layout_choice)in,
                                             (enum layout_choice)out)
                             .seconds;
        if (seconds < 0)
            continue;
        for (uint32_t i = 0; i < level->n; i++) {
            struct node *node = &search->next[search->n_next++];
            *node = level->nodes[i];
            node->before = i;
            node->in = (uint8_t)in;
            node->out = (uint8_t)out;
            node->seconds += seconds;
            follow(search, step, node);
            forget_dead(search, step, node);
        }
    }
    search->failed |= search->n_next == 0;
}

/* Levels */

static int by_tensors(const void *a, const void *b)
{
    const struct node *x = a, *y = b;
    int order = memcmp(x->there, y->there, sizeof x->there);

    return order != 0 ? order : (x->seconds > y->seconds) - (x->seconds < y->seconds);
}

static int by_time(const void *a, const void *b)
{
    const struct node *x = a, *y = b;

    return x->seconds != y->seconds ? (x->seconds > y->seconds) - (x->seconds < y->seconds)
                                    : memcmp(x->there, y->there, sizeof x->there);
}

static void price_slot(struct search *search, uint32_t tensor, double prices[N_SETS][N_SETS])
{
    double least[N_SETS][LAYOUT_N_CHOICES];

    for (int set = 1; set < N_SETS; set++)
        for (int to = 0; to < LAYOUT_N_CHOICES; to++)
            least[set][to] = convert(search, tensor, (uint8_t)set, (enum layout_choice)to);
    /* Whichever layouts are wanted, each costs once what it costs from the nearest that is there.
     */
    for (int set = 0; set < N_SETS; set++)
        for (int other = 0; other < N_SETS; other++) {
            prices[set][other] = set == 0 && other != 0 ? INFINITY : 0;
            for (int to = 0; to < LAYOUT_N_CHOICES && set != 0 && other != 0; to++)
                prices[set][other] += fmax(0, least[set][to] - least[other][to]);
        }
}

static void price_slots(struct search *search)
{
    for (uint32_t t = 0; t < search->graph->n_tensors; t++)
        if (search->slots[t] != NO_SLOT)
            price_slot(search, t, search->prices[search->slots[t]]);
}

/* Whether a rival is ahead by as much as what it lacks may cost. */
static bool is_beaten(const struct search *search, const struct node *node,
                      const struct node *rival)
{
    double seconds = rival->seconds;

    for (unsigned slot = 0; slot < MAX_SLOTS && seconds <= node->seconds; slot++)
        if (search->is_used[slot])
            seconds += search->prices[slot][rival->there[slot]][node->there[slot]];
    return seconds <= node->seconds;
}

/* Leaves out of n nodes, the shortest path first, those that one before them beats. */
static uint32_t drop_beaten(struct search *search, uint32_t n)
{
    uint32_t n_kept = 0;

    price_slots(search);
    for (uint32_t i = 0; i < n; i++) {
        bool beaten = false;
        for (uint32_t k = 0; k < n_kept && k < MAX_RIVALS && !beaten; k++)
            beaten = is_beaten(search, &search->next[i], &search->next[k]);
        if (!beaten)
            search->next[n_kept++] = search->next[i];
    }
    return n_kept;
}

/* Of nodes that agree, the shortest path; of all, the MAX_NODES shortest. */
static bool keep(struct search *search, struct level *level)
{
    uint32_t n = 0;

    qsort(search->next, search->n_next, sizeof *search->next, by_tensors);
    for (uint32_t i = 0; i < search->n_next; i++)
        if (i == 0 || memcmp(search->next[i].there, search->next[n - 1].there,
                             sizeof search->next[i].there) != 0)
            search->next[n++] = search->next[i];
    qsort(search->next, n, sizeof *search->next, by_time);
    if (n > 1)
        n = drop_beaten(search, n);
    search->is_cut |= n > MAX_NODES;
    level->n = n < MAX_NODES ? n : MAX_NODES;
    level->nodes = malloc((level->n + 1) * sizeof *level->nodes);
    if (level->nodes != NULL)
        memcpy(level->nodes, search->next, level->n * sizeof *level->nodes);
    return level->nodes != NULL;
}

static void give_slots(struct search *search, uint32_t step)
{
    const struct layout_operator *its = &search->graph->operators[step];

    for (uint32_t i = 0; i < its->n_outputs; i++)
        if (its->outputs[i] != QUIRE_MODEL_NONE)
            give_slot(search, its->outputs[i]);
}

static void take_slots(struct search *search, uint32_t step)
{
    const struct layout_operator *its = &search->graph->operators[step];

    for (uint32_t i = 0; i < its->n_inputs + its->n_outputs; i++) {
        uint32_t tensor = i < its->n_inputs ? its->inputs[i] : its->outputs[i - its->n_inputs];
        if (tensor == QUIRE_MODEL_NONE || search->slots[tensor] == NO_SLOT ||
            !dies_at(search, tensor, step))
            continue;
        search->is_used[search->slots[tensor]] = false;
        search->slots[tensor] = NO_SLOT;
    }
}

/* Inputs are there as the model has them. */
static bool begin(struct search *search)
{
    const struct layout_graph *graph = search->graph;
    bool *is_made = calloc(graph->n_tensors + 1, sizeof *is_made);
    struct node start = {.seconds = 0};

    if (is_made == NULL)
        return false;
    memset(search->slots, NO_SLOT, graph->n_tensors);
    for (uint32_t step = 0; step < graph->n_operators; step++)
        for (uint32_t i = 0; i < graph->operators[step].n_outputs; i++)
            if (graph->operators[step].outputs[i] != QUIRE_MODEL_NONE)
                is_made[graph->operators[step].outputs[i]] = true;
    for (uint32_t i = 0; i < graph->n_tensors; i++) {
        if (is_made[i] || !graph->tensors[i].is_free)
            continue;
        give_slot(search, i);
        if (search->slots[i] != NO_SLOT)
            start.there[search->slots[i]] = 1 << LAYOUT_PLAIN;
    }
    free(is_made);
    search->next[0] = start;
    search->n_next = 1;
    return keep(search, &search->levels[0]);
}

/* Outputs are wanted as the model has them. */
static uint32_t find_end(struct search *search)
{
    const struct level *last = &search->levels[search->graph->n_operators];
    uint32_t best = 0;
    double least = -1;

    for (uint32_t i = 0; i < last->n; i++) {
        double seconds = last->nodes[i].seconds;
        for (uint32_t t = 0; t < search->graph->n_tensors; t++) {
            if (search->graph->tensors[t].is_output && search->slots[t] != NO_SLOT)
                seconds += convert(search, t, last->nodes[i].there[search->slots[t]], LAYOUT_PLAIN);
        }
        if (least < 0 || seconds < least) {
            least = seconds;
            best = i;
        }
    }
    return best;
}

static bool run_search(struct search *search, struct layout_path *path)
{
    uint32_t n = search->graph->n_operators;

    if (!begin(search))
        return false;
    for (uint32_t step = 0; step < n; step++) {
        give_slots(search, step);
        expand(search, step);
        if (search->failed || !keep(search, &search->levels[step + 1]))
            return false;
        take_slots(search, step);
    }
    uint32_t at = find_end(search);
    for (uint32_t step = n; step-- > 0;) {
        const struct node *node = &search->levels[step + 1].nodes[at];
        path->steps[step].in = (enum layout_choice)node->in;
        path->steps[step].out = (enum layout_choice)node->out;
        at = node->before;
    }
    path->is_shortest = !search->is_cut;
    return !search->failed;
}

/* What the path does */

struct replay {
    const struct layout_graph *graph;
    struct layout_costs *costs;
    struct layout_path *path;
    uint8_t *there;
    int64_t (*lives)[LAYOUT_N_CHOICES][2]; /* of each tensor in each layout: first and last tick */
    size_t room;
    struct quire_tensor_buffer *buffers;
    size_t n_buffers, room_buffers;
};

static bool add_buffer(struct replay *replay, int64_t first, int64_t last, uint64_t size)
{
    if (replay->n_buffers == replay->room_buffers) {
        size_t room = 2 * replay->room_buffers + 64;
        struct quire_tensor_buffer *more = realloc(replay->buffers, room * sizeof *more);
        if (more == NULL)
            return false;
        replay->buffers = more;
        replay->room_buffers = room;
    }
    replay->buffers[replay->n_buffers++] = (struct quire_tensor_buffer){
        .lower = first, .upper = last + 1, .size = size, .alignment = QUIRE_CONV_ALIGNMENT};
    return true;
}

/* Ticks: 2 * step is for the conversions before an operator, 2 * step + 1 for the operator. */
static void use(struct replay *replay, uint32_t tensor, enum layout_choice choice, int64_t tick)
{
    int64_t *life = replay->lives[tensor][choice];

    if (life[1] < 0)
        life[0] = tick;
    life[1] = tick > life[1] ? tick : life[1];
}

static bool move_to(struct replay *replay, uint32_t step, uint32_t tensor, enum layout_choice to)
{
    struct layout_path *path = replay->path;
    enum layout_choice from = to;
    double seconds = find_conversion(replay->costs, tensor, replay->there[tensor], to, &from);

    if (from == to)
        return true;
    if (path->n_moves == replay->room) {
        size_t room = 2 * replay->room + 64;
        struct layout_move *more = realloc(path->moves, room * sizeof *more);
        if (more == NULL)
            return false;
        path->moves = more;
        replay->room = room;
    }
    path->moves[path->n_moves++] = (struct layout_move){step, tensor, from, to, seconds};
    path->move_seconds += seconds;
    replay->there[tensor] |= (uint8_t)(1 << to);
    use(replay, tensor, from, 2 * (int64_t)step);
    use(replay, tensor, to, 2 * (int64_t)step);
    return true;
}

static bool replay_step(struct replay *replay, uint32_t number)
{
    const struct layout_operator *its = &replay->graph->operators[number];
    struct layout_step *step = &replay->path->steps[number];
    int64_t tick = 2 * (int64_t)number + 1;

    for (uint32_t i = 0; i < its->n_inputs; i++) {
        uint32_t tensor = its->inputs[i];
        if (tensor == QUIRE_MODEL_NONE || !replay->graph->tensors[tensor].is_there)
            continue;
        bool is_free = replay->graph->tensors[tensor].is_free;
        enum layout_choice in = is_free ? reads(its, i, step->in) : LAYOUT_PLAIN;
        if (is_free && !move_to(replay, number, tensor, in))
            return false;
        use(replay, tensor, in, tick);
    }
    for (uint32_t i = 0; i < its->n_outputs; i++) {
        uint32_t tensor = its->outputs[i];
        if (tensor == QUIRE_MODEL_NONE || !replay->graph->tensors[tensor].is_there)
            continue;
        bool is_free = replay->graph->tensors[tensor].is_free;
        use(replay, tensor, is_free ? step->out : LAYOUT_PLAIN, tick);
        replay->there[tensor] = (uint8_t)(1 << (is_free ? step->out : LAYOUT_PLAIN));
    }
    struct layout_kernel_cost cost = layout_costs_kernel(replay->costs, number, step->in,
                                                         step->out);
    step->seconds = cost.seconds;
    step->algorithm = cost.algorithm;
    replay->path->kernel_seconds += cost.seconds;
    return cost.workspace_bytes == 0 || add_buffer(replay, tick, tick, cost.workspace_bytes);
}

static int place(struct replay *replay)
{
    const struct layout_graph *graph = replay->graph;
    struct quire_tensor_plan plan;

    for (uint32_t t = 0; t < graph->n_tensors; t++) {
        for (int choice = 0; choice < LAYOUT_N_CHOICES; choice++) {
            const int64_t *life = replay->lives[t][choice];
            uint64_t size = graph->tensors[t].n_bytes;
            if (life[1] < 0)
                continue;
            if (graph->tensors[t].is_free) {
                struct quire_layout layout = layout_graph_layout(graph, t,
                                                                 (enum layout_choice)choice);
                size = quire_layout_bytes(&layout);
            }
            if (!add_buffer(replay, life[0], life[1], size))
                return -ENOMEM;
        }
    }
    int error = quire_tensor_place(
        &(struct quire_tensor_problem){replay->buffers, replay->n_buffers, NULL, 0},
        &(struct quire_tensor_options){0}, &plan, NULL);
    if (error == 0) {
        replay->path->arena_peak = plan.peak;
        quire_tensor_plan_free(&plan);
    }
    return error;
}

static int replay_path(const struct layout_graph *graph, struct layout_costs *costs,
                       struct layout_path *path)
{
    struct replay replay = {.graph = graph, .costs = costs, .path = path};
    int64_t end = 2 * (int64_t)graph->n_operators;
    bool is_good;

    replay.there = malloc(graph->n_tensors + 1);
    replay.lives = malloc((graph->n_tensors + 1) * sizeof *replay.lives);
    is_good = replay.there != NULL && replay.lives != NULL;
    if (is_good) {
        memset(replay.there, 1 << LAYOUT_PLAIN, graph->n_tensors);
        memset(replay.lives, 0xff, (graph->n_tensors + 1) * sizeof *replay.lives);
        for (uint32_t t = 0; t < graph->n_tensors; t++) /* inputs are handed in at the start */
            if (graph->tensors[t].is_there && graph->tensors[t].is_input)
                use(&replay, t, LAYOUT_PLAIN, 0);
    }
    for (uint32_t step = 0; is_good && step < graph->n_operators; step++)
        is_good = replay_step(&replay, step);
    for (uint32_t t = 0; is_good && t < graph->n_tensors; t++) {
        const struct layout_tensor *tensor = &graph->tensors[t];
        if (!tensor->is_output || !tensor->is_there)
            continue;
        is_good = !tensor->is_free || move_to(&replay, graph->n_operators, t, LAYOUT_PLAIN);
        use(&replay, t, LAYOUT_PLAIN, end);
    }
    int error = is_good ? place(&replay) : -ENOMEM;
    free(replay.there);
    free(replay.lives);
    free(replay.buffers);
    return error;
}

int layout_path_find(const struct layout_graph *graph, struct layout_costs *costs, bool only_plain,
                     struct layout_path *path)
{
    uint32_t n = graph->n_operators;
    struct search search = {.graph = graph, .costs = costs, .only_plain = only_plain};

    *path = (struct layout_path){.steps = calloc(n + 1, sizeof *path->steps)};
    search.slots = malloc(graph->n_tensors + 1);
    search.levels = calloc((size_t)n + 1, sizeof *search.levels);
    search.next = malloc((size_t)MAX_NODES * N_EDGES * sizeof *search.next);
    bool is_good = path->steps != NULL && search.slots != NULL && search.levels != NULL &&
                   search.next != NULL && run_search(&search, path);
    for (uint32_t i = 0; search.levels != NULL && i <= n; i++)
        free(search.levels[i].nodes);
    free(search.levels);
    free(search.slots);
    free(search.next);
    int error = is_good ? replay_path(graph, costs, path) : -ENOMEM;
    if (error != 0)
        layout_path_free(path);
    return error;
}

void layout_path_free(struct layout_path *path)
{
    free(path->steps);
    free(path->moves);
    *path = (struct layout_path){0};
}
