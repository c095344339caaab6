/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lru_k: LRU-K. The page whose K-th last use is longest ago goes, those first that have fewer uses,
 * of these the one that was used longest ago. The argument is K, 1 to 8; 2 without one. Uses are
 * remembered while a page is absent; there is no correlated reference period.
 *
 * Source: E. O'Neil, P. O'Neil, G. Weikum, "The LRU-K Page Replacement Algorithm for Database Disk
 * Buffering", SIGMOD 1993.
 */
#include "sim/array.h"
#include "sim/rules.h"

#include <errno.h>

#define MOST_K 8u
#define ENOUGH ((uint64_t)1 << 63) /* of a key: K uses are known */

struct node {
    uint64_t use[MOST_K]; /* 1 + the time; a ring */
    uint32_t n_uses;      /* modulo 2^32, but not 0 again */
    uint32_t at;          /* in the heap */
};

struct state {         /* a binary heap of the resident pages, the next victim first */
    struct array heap; /* uint32_t */
    uint32_t n, k;
};

static struct node *node_of(const struct quire_sim_memory *memory, uint32_t page)
{
    return (struct node *)memory->pages + page;
}

static uint32_t *heap_of(const struct quire_sim_memory *memory)
{
    return ((struct state *)memory->state)->heap.base;
}

static int open_lru_k(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    if (memory->argument > MOST_K)
        return -EINVAL;
    state->k = memory->argument != 0 ? (uint32_t)memory->argument : 2;
    return array_grow(&state->heap, sizeof(uint32_t));
}

static void close_lru_k(struct quire_sim_memory *memory)
{
    array_free(&((struct state *)memory->state)->heap);
}

static uint64_t key(const struct quire_sim_memory *memory, uint32_t page)
{
    const struct state *state = memory->state;
    const struct node *node = node_of(memory, page);
    if (node->n_uses < state->k)
        return node->use[(node->n_uses - 1) % state->k];
    return ENOUGH | node->use[node->n_uses % state->k];
}

static void place(struct quire_sim_memory *memory, uint32_t at, uint32_t page)
{
    heap_of(memory)[at] = page;
    node_of(memory, page)->at = at;
}

static void rise(struct quire_sim_memory *memory, uint32_t at, uint32_t page)
{
    const uint64_t mine = key(memory, page);
    for (; at > 0; at = (at - 1) / 2) {
        uint32_t parent = heap_of(memory)[(at - 1) / 2];
        if (key(memory, parent) <= mine)
            break;
        place(memory, at, parent);
    }
    place(memory, at, page);
}

static void sink(struct quire_sim_memory *memory, uint32_t at, uint32_t page)
{
    const struct state *state = memory->state;
    const uint64_t mine = key(memory, page);
    for (uint64_t child; (child = 2 * (uint64_t)at + 1) < state->n; at = (uint32_t)child) {
        const uint32_t *heap = heap_of(memory);
        if (child + 1 < state->n && key(memory, heap[child + 1]) < key(memory, heap[child]))
            child++;
        if (mine <= key(memory, heap[child]))
            break;
        place(memory, at, heap[child]);
    }
    place(memory, at, page);
}

static void use(struct quire_sim_memory *memory, uint32_t page)
{
    const struct state *state = memory->state;
    struct node *node = node_of(memory, page);
    node->use[node->n_uses % state->k] = memory->now + 1;
    if (++node->n_uses == 0)
        node->n_uses = state->k * (UINT32_MAX / state->k); /* of the same place in the ring */
}

static void hit(struct quire_sim_memory *memory, uint32_t page)
{
    use(memory, page);
    sink(memory, node_of(memory, page)->at, page);
}

static void take_out(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    const uint32_t at = node_of(memory, page)->at, last = heap_of(memory)[--state->n];
    if (last == page)
        return;
    sink(memory, at, last);
    if (node_of(memory, last)->at == at)
        rise(memory, at, last);
}

static uint32_t victim(struct quire_sim_memory *memory, uint32_t incoming)
{
    uint32_t page = heap_of(memory)[0];
    take_out(memory, page);
    return page;
}

static void admit(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    if (array_grow(&state->heap, (state->n + 1) * sizeof(uint32_t)) != 0)
        return;
    use(memory, page);
    rise(memory, state->n++, page);
}

SIM_REPLAY(sizeof(struct node), hit, victim, admit)

const struct quire_sim_policy sim_lru_k = {.name = "lru-k",
                                           .about = "LRU-K: by the K-th last use (lru-k:K; 2)",
                                           .has_argument = true,
                                           .page_bytes = sizeof(struct node),
                                           .state_bytes = sizeof(struct state),
                                           .open = open_lru_k,
                                           .close = close_lru_k,
                                           .hit = hit,
                                           .victim = victim,
                                           .admit = admit,
                                           .forget = take_out,
                                           .replay = replay};
