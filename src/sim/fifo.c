/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fifo: the page that came in first goes. With some references more RAM means more faults.
 *
 *   tail | 7 | 3 | - | 9 | head       - was unmapped: passed, when its turn comes
 *
 * A ring of a power of two; when it is full, what is resident moves to one of twice as many.
 * Source: L. Belady, R. Nelson, G. Shedler, "An anomaly in space-time characteristics of certain
 * programs running in a paging machine", CACM 12(6), 1969.
 */
#include "sim/array.h"
#include "sim/rules.h"

#include <errno.h>

#define LEAST 1024u

struct state {
    struct array slots; /* uint32_t */
    uint64_t head, tail, n_slots;
};

static uint32_t *slot(const struct state *state, uint64_t at)
{
    return (uint32_t *)state->slots.base + (at & (state->n_slots - 1));
}

/* Room for as many again as are resident. False: no memory. */
static bool make_room(struct quire_sim_memory *memory)
{
    struct state *state = memory->state, larger = {.n_slots = LEAST};
    while (larger.n_slots < 2 * (memory->n_resident + 1))
        larger.n_slots *= 2;
    if (array_grow(&larger.slots, larger.n_slots * sizeof(uint32_t)) != 0)
        return false;
    for (; state->tail < state->head; state->tail++) {
        const uint32_t page = *slot(state, state->tail);
        if (memory->flags[page] & QUIRE_SIM_RESIDENT)
            *slot(&larger, larger.head++) = page;
    }
    array_free(&state->slots);
    *state = larger;
    return true;
}

static int open_fifo(struct quire_sim_memory *memory)
{
    return make_room(memory) ? 0 : -ENOMEM;
}

static void close_fifo(struct quire_sim_memory *memory)
{
    array_free(&((struct state *)memory->state)->slots);
}

static uint32_t victim(struct quire_sim_memory *memory, uint32_t incoming)
{
    struct state *state = memory->state;
    uint32_t page;
    do
        page = *slot(state, state->tail++);
    while (!(memory->flags[page] & QUIRE_SIM_RESIDENT));
    __builtin_prefetch(&memory->flags[*slot(state, state->tail + 2)]);
    return page;
}

static void admit(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    if (state->head - state->tail == state->n_slots && !make_room(memory))
        return;
    *slot(state, state->head++) = page;
}

static void forget(struct quire_sim_memory *memory, uint32_t page)
{
    (void)memory; /* it will not be resident when its turn comes */
    (void)page;
}

SIM_REPLAY(0, NULL, victim, admit)

const struct quire_sim_policy sim_fifo = {.name = "fifo",
                                          .about = "first in, first out",
                                          .state_bytes = sizeof(struct state),
                                          .open = open_fifo,
                                          .close = close_fifo,
                                          .victim = victim,
                                          .admit = admit,
                                          .forget = forget,
                                          .replay = replay};
