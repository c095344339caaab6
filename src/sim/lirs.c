/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lirs: LIRS. Pages whose last two uses lay close together (LIR) have 99 of 100 frames; the others
 * (HIR) pass through a small queue. A stack of recency tells who is closer than the worst LIR page.
 *
 *   S   young [L h L - h L -] old, always an L     L LIR  h HIR, resident  - HIR, absent
 *   Q   young [h h h] old -> evicted
 *   A   the absent ones of S, oldest absence first: S has at most twice as many as there are frames
 *
 * Source: S. Jiang, X. Zhang, "LIRS: An Efficient Low Inter-reference Recency Set Replacement
 * Policy", SIGMETRICS 2002; the bound on S is of later implementations.
 */
#include "sim/rules.h"

/* Each page has two nodes: 2 * page in S, and 2 * page + 1 in Q or A. */
enum { S = 0, Q = 1, A = 3 };

#define LIR QUIRE_SIM_FLAGS
#define IN_S (2 * QUIRE_SIM_FLAGS)
#define IN_Q (4 * QUIRE_SIM_FLAGS)
#define IN_A (8 * QUIRE_SIM_FLAGS)

struct state {
    uint64_t n_lir, n_s, most_lir;
};

static int open_lirs(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    uint64_t n_hir = memory->n_frames / 100;
    list_init(memory->pages, S);
    list_init(memory->pages, Q);
    list_init(memory->pages, A);
    state->most_lir = memory->n_frames - (n_hir > 0 ? n_hir : 1);
    return 0;
}

static void leave_side(struct quire_sim_memory *memory, uint32_t page)
{
    list_remove(memory->pages, 2 * page + 1);
    memory->flags[page] &= (uint8_t) ~(IN_Q | IN_A);
}

static void enter_side(struct quire_sim_memory *memory, uint32_t list, uint32_t page)
{
    list_push(memory->pages, list, 2 * page + 1);
    memory->flags[page] |= list == Q ? IN_Q : IN_A;
}

static void leave_stack(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    list_remove(memory->pages, 2 * page);
    state->n_s--;
    memory->flags[page] &= (uint8_t) ~(IN_S | LIR);
    if (memory->flags[page] & IN_A)
        leave_side(memory, page);
}

/* To the top of S, from wherever it is. */
static void raise_page(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    if (memory->flags[page] & IN_S)
        list_remove(memory->pages, 2 * page);
    else
        state->n_s++;
    list_push(memory->pages, S, 2 * page);
    memory->flags[page] |= IN_S;
}

/* What lies below the last LIR page says nothing. */
static void prune(struct quire_sim_memory *memory)
{
    const struct link *links = memory->pages;
    for (;;) {
        uint32_t node = list_oldest(links, S);
        if (node == S || node == links[S].older || (memory->flags[node / 2] & LIR))
            return;
        leave_stack(memory, node / 2);
    }
}

/* While there are too many LIR pages, the last one becomes the youngest of Q. */
static void demote(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    while (state->n_lir > state->most_lir) {
        uint32_t page = list_oldest(memory->pages, S) / 2;
        leave_stack(memory, page);
        state->n_lir--;
        enter_side(memory, Q, page);
        prune(memory);
    }
}

static void bound_stack(struct quire_sim_memory *memory)
{
    const struct state *state = memory->state;
    while (state->n_s > 2 * memory->n_frames && !list_is_empty(memory->pages, A))
        leave_stack(memory, list_oldest(memory->pages, A) / 2);
}

static void become_lir(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    memory->flags[page] |= LIR;
    state->n_lir++;
    demote(memory);
}

static void hit(struct quire_sim_memory *memory, uint32_t page)
{
    const struct state *state = memory->state;
    const bool was_in_s = memory->flags[page] & IN_S;
    raise_page(memory, page);
    if (memory->flags[page] & LIR) {
        prune(memory);
    } else if (was_in_s && state->most_lir > 0) {
        leave_side(memory, page);
        become_lir(memory, page);
    } else {
        leave_side(memory, page);
        enter_side(memory, Q, page);
    }
    bound_stack(memory);
}

static uint32_t victim(struct quire_sim_memory *memory, uint32_t incoming)
{
    struct state *state = memory->state;
    uint32_t page;
    if (list_is_empty(memory->pages, Q)) { /* pages were forgotten: there are LIR pages only */
        page = list_oldest(memory->pages, S) / 2;
        leave_stack(memory, page);
        state->n_lir--;
        prune(memory);
        return page;
    }
    page = list_oldest(memory->pages, Q) / 2;
    leave_side(memory, page);
    if (memory->flags[page] & IN_S)
        enter_side(memory, A, page);
    return page;
}

static void admit(struct quire_sim_memory *memory, uint32_t page)
{
    const struct state *state = memory->state;
    const bool was_in_s = memory->flags[page] & IN_S;
    if (was_in_s)
        leave_side(memory, page);
    raise_page(memory, page);
    if (state->n_lir < state->most_lir || (was_in_s && state->most_lir > 0))
        become_lir(memory, page);
    else
        enter_side(memory, Q, page);
    bound_stack(memory);
}

static void forget(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    if (memory->flags[page] & IN_Q)
        leave_side(memory, page);
    state->n_lir -= (memory->flags[page] & LIR) != 0;
    if (memory->flags[page] & IN_S)
        leave_stack(memory, page);
    prune(memory);
}

SIM_REPLAY(2 * sizeof(struct link), hit, victim, admit)

const struct quire_sim_policy sim_lirs = {.name = "lirs",
                                          .about = "LIRS: by the distance of the last two uses",
                                          .page_bytes = 2 * sizeof(struct link),
                                          .state_bytes = sizeof(struct state),
                                          .open = open_lirs,
                                          .hit = hit,
                                          .victim = victim,
                                          .admit = admit,
                                          .forget = forget,
                                          .replay = replay};
