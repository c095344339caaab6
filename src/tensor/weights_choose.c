/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weights_choose: a scheme for each tensor, so that all fit and the noises' sum is least: the
 * multiple-choice knapsack problem.
 *
 *     noise |x            A tensor's choices, and the hull below them. What the hull is made of are
 *           | \           steps: so many bytes more, so much noise less. All tensors' steps in the
 *           |  x          order of noise a byte, taken while there is room, and a part of the one
 *           |   ' .  x    that no longer fits: no choice has less noise than that.
 *           |______' x_ bytes
 *
 * Depth first over the tensors, the largest first, so that small ones fill what is left; of each
 * the choice with the best bound first. A branch ends where its bound says that it can't be better
 * than the best so far. After a fixed amount of work the search ends unproved.
 *
 * Source: E. Zemel, "An O(n) Algorithm for the Linear Multiple Choice Knapsack Problem", 1984 (the
 * bound); H. Kellerer, U. Pferschy, D. Pisinger, "Knapsack Problems", 2004, chapter 11.
 */
#include "tensor/weights.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define MAX_WORK 100000000u /* steps looked at for bounds: a tenth of a second */
#define MAX_DEPTH 4000u     /* tensors with a choice: with more there is only the first choice */
#define ALL ((1u << QUIRE_WEIGHTS_N_SCHEMES) - 1)

struct option {
    uint64_t n_bytes;
    double noise;
    enum quire_weights_scheme scheme;
};

struct item { /* a tensor */
    size_t tensor;
    unsigned n;
    struct option options[QUIRE_WEIGHTS_N_SCHEMES]; /* more bytes, less noise */
    enum quire_weights_scheme best;                 /* in the best choice so far */
};

struct step { /* along a hull */
    uint32_t item;
    uint64_t n_bytes;
    double noise; /* less */
};

struct search {
    struct item *items; /* with something to choose */
    uint32_t n_items;
    uint64_t fixed_bytes; /* of all others */
    struct step *steps;   /* the best first */
    uint32_t n_steps;
    uint64_t *rest_bytes; /* of items from k on, each by its smallest option */
    double *rest_noise;
    uint8_t *now; /* option of each item on the path */
    double best_noise;
    uint64_t work;
    bool is_cut;
};

static int by_bytes(const void *a, const void *b)
{
    const struct option *x = a, *y = b;
    if (x->n_bytes != y->n_bytes)
        return x->n_bytes < y->n_bytes ? -1 : 1;
    return x->noise < y->noise ? -1 : x->noise > y->noise;
}

static int by_stake(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    uint64_t at_x = x->options[x->n - 1].n_bytes - x->options[0].n_bytes;
    uint64_t at_y = y->options[y->n - 1].n_bytes - y->options[0].n_bytes;
    if (at_x != at_y)
        return at_x > at_y ? -1 : 1;
    return x->tensor < y->tensor ? -1 : x->tensor > y->tensor;
}

static int by_gain(const void *a, const void *b)
{
    const struct step *x = a, *y = b;
    double at_x = x->noise * (double)y->n_bytes, at_y = y->noise * (double)x->n_bytes;
    if (at_x != at_y)
        return at_x > at_y ? -1 : 1;
    return x->item < y->item ? -1 : x->item > y->item;
}

/* The options that no other one beats in both. */
static void set_options(struct item *item, const struct quire_weights_tensor *tensor,
                        uint32_t schemes)
{
    unsigned n = 0;
    for (unsigned s = 0; s < QUIRE_WEIGHTS_N_SCHEMES; s++) {
        if (tensor->costs[s].applies && (schemes >> s & 1 || s == QUIRE_WEIGHTS_KEEP))
            item->options[n++] = (struct option){tensor->costs[s].n_bytes, tensor->costs[s].noise,
                                                 s};
    }
    qsort(item->options, n, sizeof *item->options, by_bytes);
    item->n = 0;
    for (unsigned i = 0; i < n; i++) {
        if (item->n == 0 || item->options[i].noise < item->options[item->n - 1].noise)
            item->options[item->n++] = item->options[i];
    }
}

static double slope(const struct option *from, const struct option *to)
{
    return (from->noise - to->noise) / (double)(to->n_bytes - from->n_bytes);
}

/* The steps from each corner of the hull to the steepest next one. */
static void add_steps(struct search *search, uint32_t k)
{
    const struct item *item = &search->items[k];
    for (unsigned at = 0; at + 1 < item->n;) {
        unsigned next = at + 1;
        for (unsigned i = at + 2; i < item->n; i++) {
            if (slope(&item->options[at], &item->options[i]) >=
                slope(&item->options[at], &item->options[next]))
                next = i;
        }
        search->steps[search->n_steps++] = (struct step){
            k, item->options[next].n_bytes - item->options[at].n_bytes,
            item->options[at].noise - item->options[next].noise};
        at = next;
    }
}

/* The least noise that items from k on can have within these bytes. */
static double bound(const struct search *search, uint32_t k, uint64_t room)
{
    double noise = search->rest_noise[k];
    room -= search->rest_bytes[k];
    for (uint32_t i = 0; i < search->n_steps; i++) {
        const struct step *step = &search->steps[i];
        if (step->item < k)
            continue;
        if (step->n_bytes > room)
            return noise - step->noise * ((double)room / (double)step->n_bytes);
        room -= step->n_bytes;
        noise -= step->noise;
    }
    return noise;
}

static void keep_best(struct search *search, double noise)
{
    search->best_noise = noise;
    for (uint32_t i = 0; i < search->n_items; i++)
        search->items[i].best = search->items[i].options[search->now[i]].scheme;
}

struct branch {
    unsigned option;
    double bound; /* nothing in it has less noise */
};

/* What may still be better than the best, the most promising first; their number. */
static unsigned find_branches(struct search *search, uint32_t k, uint64_t room, double noise,
                              struct branch *branches)
{
    const struct item *item = &search->items[k];
    unsigned n = 0;
    for (unsigned i = 0; i < item->n; i++) {
        uint64_t n_bytes = item->options[i].n_bytes;
        if (n_bytes > room || room - n_bytes < search->rest_bytes[k + 1])
            continue;
        struct branch branch = {i, noise + item->options[i].noise +
                                       bound(search, k + 1, room - n_bytes)};
        unsigned at = n++;
        for (; at > 0 && branches[at - 1].bound > branch.bound; at--)
            branches[at] = branches[at - 1];
        branches[at] = branch;
        search->work += search->n_steps + 1;
    }
    return n;
}

/* The choices of items before k are made, with this noise. */
static void descend(struct search *search, uint32_t k, uint64_t room, double noise)
{
    struct branch branches[QUIRE_WEIGHTS_N_SCHEMES];
    if (k == search->n_items) {
        if (noise < search->best_noise)
            keep_best(search, noise);
        return;
    }
    unsigned n = find_branches(search, k, room, noise, branches);
    for (unsigned b = 0; b < n && branches[b].bound < search->best_noise; b++) {
        if (search->work >= MAX_WORK) {
            search->is_cut = true;
            return;
        }
        const struct option *option = &search->items[k].options[branches[b].option];
        search->now[k] = (uint8_t)branches[b].option;
        descend(search, k + 1, room - option->n_bytes, noise + option->noise);
    }
}

/* A first choice: whole steps in their order, as far as they fit. */
static void choose_greedily(struct search *search, uint64_t room)
{
    double noise = 0;
    room -= search->rest_bytes[0];
    for (uint32_t k = 0; k < search->n_items; k++)
        search->now[k] = 0;
    for (uint32_t i = 0; i < search->n_steps; i++) {
        const struct step *step = &search->steps[i];
        const struct item *item = &search->items[step->item];
        uint64_t from = item->options[search->now[step->item]].n_bytes;
        for (unsigned o = search->now[step->item] + 1u; o < item->n; o++) {
            if (item->options[o].n_bytes - from == step->n_bytes && step->n_bytes <= room) {
                search->now[step->item] = (uint8_t)o;
                room -= step->n_bytes;
                break;
            }
        }
    }
    for (uint32_t k = 0; k < search->n_items; k++)
        noise += search->items[k].options[search->now[k]].noise;
    keep_best(search, noise);
}

static int make_search(struct search *search, struct quire_weights *weights, uint32_t schemes)
{
    size_t n = weights->n_tensors;
    if (n >= UINT32_MAX / QUIRE_WEIGHTS_N_SCHEMES)
        return -ENOMEM;
    search->items = calloc(n + 1, sizeof *search->items);
    search->steps = calloc(n * QUIRE_WEIGHTS_N_SCHEMES + 1, sizeof *search->steps);
    search->rest_bytes = calloc(n + 1, sizeof *search->rest_bytes);
    search->rest_noise = calloc(n + 1, sizeof *search->rest_noise);
    search->now = calloc(n + 1, sizeof *search->now);
    if (!search->items || !search->steps || !search->rest_bytes || !search->rest_noise ||
        !search->now)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct item *item = &search->items[search->n_items];
        item->tensor = i;
        set_options(item, &weights->tensors[i], schemes);
        weights->tensors[i].chosen = item->options[0].scheme;
        if (item->n > 1)
            search->n_items++;
        else
            search->fixed_bytes += item->options[0].n_bytes;
    }
    qsort(search->items, search->n_items, sizeof *search->items, by_stake);
    for (uint32_t k = search->n_items; k-- > 0;) {
        search->rest_bytes[k] = search->rest_bytes[k + 1] + search->items[k].options[0].n_bytes;
        search->rest_noise[k] = search->rest_noise[k + 1] + search->items[k].options[0].noise;
        add_steps(search, k);
    }
    qsort(search->steps, search->n_steps, sizeof *search->steps, by_gain);
    return 0;
}

int quire_weights_choose(struct quire_weights *weights, uint64_t max_bytes, uint32_t schemes,
                         struct quire_weights_choice *choice)
{
    struct search search = {0};
    *choice = (struct quire_weights_choice){0};
    int error = make_search(&search, weights, schemes == 0 ? ALL : schemes);
    if (error == 0) {
        choice->least_bytes = search.fixed_bytes + search.rest_bytes[0];
        if (max_bytes < choice->least_bytes) {
            error = -ENOSPC;
            max_bytes = choice->least_bytes;
        }
        uint64_t room = max_bytes - search.fixed_bytes;
        choice->least_noise = fmax(bound(&search, 0, room), 0);
        choose_greedily(&search, room);
        search.is_cut = search.n_items > MAX_DEPTH;
        if (!search.is_cut)
            descend(&search, 0, room, 0);
        for (uint32_t k = 0; k < search.n_items; k++)
            weights->tensors[search.items[k].tensor].chosen = search.items[k].best;
        for (size_t i = 0; i < weights->n_tensors; i++)
            weights_total_add(&choice->total, &weights->tensors[i], weights->tensors[i].chosen);
        choice->is_proved = !search.is_cut;
        if (choice->is_proved)
            choice->least_noise = choice->total.noise;
    }
    free(search.items);
    free(search.steps);
    free(search.rest_bytes);
    free(search.rest_noise);
    free(search.now);
    return error;
}
