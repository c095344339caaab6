/* SPDX-License-Identifier: Apache-2.0 */
/*
 * twoq: 2Q. New pages pass through a queue of a quarter; who is used again after it left that
 * queue, while it is remembered (half as many pages as there are frames), is kept by LRU.
 *
 *   new -> IN (FIFO) -> OUT (absent, FIFO) --again--> MAIN (LRU)
 *
 * Source: T. Johnson, D. Shasha, "2Q", VLDB 1994, the full version.
 */
#include "sim/rules.h"

enum { IN, OUT, MAIN };

#define IS_IN QUIRE_SIM_FLAGS
#define IS_OUT (2 * QUIRE_SIM_FLAGS)

struct state {
    uint64_t n_in, n_out, most_in, most_out;
    bool was_out; /* the incoming page */
};

static int open_2q(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    for (uint32_t list = IN; list <= MAIN; list++)
        list_init(memory->pages, list);
    state->most_in = memory->n_frames / 4;
    state->most_out = memory->n_frames / 2;
    return 0;
}

static void hit(struct quire_sim_memory *memory, uint32_t page)
{
    if (memory->flags[page] & IS_IN)
        return;
    list_remove(memory->pages, page);
    list_push(memory->pages, MAIN, page);
}

static void leave_out(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    list_remove(memory->pages, page);
    memory->flags[page] &= (uint8_t)~IS_OUT;
    state->n_out--;
}

static uint32_t victim(struct quire_sim_memory *memory, uint32_t incoming)
{
    struct state *state = memory->state;
    struct link *links = memory->pages;
    state->was_out = (memory->flags[incoming] & IS_OUT) != 0;
    if (state->was_out)
        leave_out(memory, incoming);
    if (state->n_in <= state->most_in && !list_is_empty(links, MAIN))
        return list_pop(links, MAIN);
    uint32_t page = list_pop(links, IN);
    memory->flags[page] &= (uint8_t)~IS_IN;
    state->n_in--;
    if (state->most_out == 0)
        return page;
    if (state->n_out == state->most_out)
        leave_out(memory, list_oldest(links, OUT));
    list_push(links, OUT, page);
    memory->flags[page] |= IS_OUT;
    state->n_out++;
    return page;
}

static void admit(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    const bool was_out = state->was_out || (memory->flags[page] & IS_OUT);
    if (memory->flags[page] & IS_OUT)
        leave_out(memory, page);
    state->was_out = false;
    if (was_out) {
        list_push(memory->pages, MAIN, page);
        return;
    }
    list_push(memory->pages, IN, page);
    memory->flags[page] |= IS_IN;
    state->n_in++;
}

static void forget(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    list_remove(memory->pages, page);
    state->n_in -= (memory->flags[page] & IS_IN) != 0;
}

SIM_REPLAY(sizeof(struct link), hit, victim, admit)

const struct quire_sim_policy sim_2q = {.name = "2q",
                                        .about = "2Q: a queue for the new, LRU for who comes back",
                                        .page_bytes = sizeof(struct link),
                                        .state_bytes = sizeof(struct state),
                                        .open = open_2q,
                                        .hit = hit,
                                        .victim = victim,
                                        .admit = admit,
                                        .forget = forget,
                                        .replay = replay};
