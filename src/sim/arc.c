/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arc: ARC. Two LRU lists, of pages seen once and more often, with as many pages remembered of
 * each as its part could have held; a hit there moves the target between the two.
 *
 *   T1 (once) -> B1 (absent)      p: what T1 should hold
 *   T2 (often) -> B2 (absent)
 *
 * Source: N. Megiddo, D. Modha, "ARC: A Self-Tuning, Low Overhead Replacement Cache", FAST 2003.
 */
#include "sim/rules.h"

enum { T1, T2, B1, B2, N_LISTS };

#define WHERE QUIRE_SIM_FLAGS /* three bits: 1 + the list; 0: none */
#define WHERE_MASK (7 * WHERE)

struct state {
    uint64_t n[N_LISTS];
    double target;
    bool was_ghost, was_in_b2; /* the incoming page */
};

static int open_arc(struct quire_sim_memory *memory)
{
    for (uint32_t list = T1; list < N_LISTS; list++)
        list_init(memory->pages, list);
    return 0;
}

static void enter(struct quire_sim_memory *memory, uint32_t list, uint32_t page)
{
    struct state *state = memory->state;
    list_push(memory->pages, list, page);
    memory->flags[page] = (uint8_t)((memory->flags[page] & ~WHERE_MASK) | (list + 1) * WHERE);
    state->n[list]++;
}

static void leave(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    state->n[(memory->flags[page] & WHERE_MASK) / WHERE - 1]--;
    list_remove(memory->pages, page);
    memory->flags[page] &= (uint8_t)~WHERE_MASK;
}

static void hit(struct quire_sim_memory *memory, uint32_t page)
{
    leave(memory, page);
    enter(memory, T2, page);
}

/* REPLACE of the paper. */
static uint32_t replace(struct quire_sim_memory *memory)
{
    const struct state *state = memory->state;
    const double n_once = (double)state->n[T1];
    bool from_once = state->n[T1] > 0 &&
                     (n_once > state->target || (n_once == state->target && state->was_in_b2));
    uint32_t from = from_once || state->n[T2] == 0 ? T1 : T2;
    uint32_t page = list_oldest(memory->pages, from);
    leave(memory, page);
    enter(memory, from + 2, page);
    return page;
}

/* A hit among the remembered: the target moves. Cases II and III. */
static void adapt(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    const uint32_t list = (memory->flags[page] & WHERE_MASK) / WHERE;
    state->was_ghost = list > B1;
    state->was_in_b2 = list == B2 + 1;
    if (!state->was_ghost)
        return;
    const double n_1 = (double)state->n[B1], n_2 = (double)state->n[B2];
    if (state->was_in_b2) {
        double step = n_1 > n_2 ? n_1 / n_2 : 1;
        state->target = state->target > step ? state->target - step : 0;
    } else {
        double step = n_2 > n_1 ? n_2 / n_1 : 1;
        double most = (double)memory->n_frames;
        state->target = state->target + step < most ? state->target + step : most;
    }
    leave(memory, page);
}

/* Case IV: it is in no list. */
static uint32_t make_room(struct quire_sim_memory *memory)
{
    const struct state *state = memory->state;
    uint64_t n_1 = state->n[T1] + state->n[B1];
    if (n_1 >= memory->n_frames) {
        if (state->n[B1] == 0) { /* T1 is all there is: its oldest is not remembered */
            uint32_t page = list_oldest(memory->pages, T1);
            leave(memory, page);
            return page;
        }
        leave(memory, list_oldest(memory->pages, B1));
    } else if (n_1 + state->n[T2] + state->n[B2] >= 2 * memory->n_frames && state->n[B2] > 0) {
        leave(memory, list_oldest(memory->pages, B2));
    }
    return replace(memory);
}

static uint32_t victim(struct quire_sim_memory *memory, uint32_t incoming)
{
    const struct state *state = memory->state;
    adapt(memory, incoming);
    return state->was_ghost ? replace(memory) : make_room(memory);
}

static void admit(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    if (memory->flags[page] & WHERE_MASK) /* there was room without a victim */
        adapt(memory, page);
    enter(memory, state->was_ghost ? T2 : T1, page);
    state->was_ghost = false;
    state->was_in_b2 = false;
}

SIM_REPLAY(sizeof(struct link), hit, victim, admit)

const struct quire_sim_policy sim_arc = {.name = "arc",
                                         .about = "ARC: recency and frequency, self-tuning",
                                         .page_bytes = sizeof(struct link),
                                         .state_bytes = sizeof(struct state),
                                         .open = open_arc,
                                         .hit = hit,
                                         .victim = victim,
                                         .admit = admit,
                                         .forget = leave,
                                         .replay = replay};
