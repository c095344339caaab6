/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wsclock: WSClock. A circle and a hand; the accessed bit renews a page's time of last use. A page
 * that has not been used for as many references as the argument says (without one, for as many as
 * there are frames) has left the working set:
 *
 *   accessed          clear the bit, note the time, go on
 *   old and clean     it goes
 *   old and dirty     write it back, go on; it goes when the hand comes again
 *   young             go on
 *
 * After a whole round without a victim: the first clean page, or the one at the hand.
 * Source: R. Carr, J. Hennessy, "WSClock", SOSP 1981; a write is done at once here.
 */
#include "sim/ring.h"

#define ACCESSED QUIRE_SIM_FLAGS

struct node {
    uint32_t frame;
    uint32_t used; /* time, modulo 2^32 */
};

struct state {
    struct ring ring;
    uint64_t window;
};

static struct node *node_of(const struct quire_sim_memory *memory, uint32_t page)
{
    return (struct node *)memory->pages + page;
}

static int open_wsclock(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    state->window = memory->argument != 0 ? memory->argument : memory->n_frames;
    return ring_open(&state->ring);
}

static void close_wsclock(struct quire_sim_memory *memory)
{
    array_free(&((struct state *)memory->state)->ring.frames);
}

static void hit(struct quire_sim_memory *memory, uint32_t page)
{
    memory->flags[page] |= ACCESSED;
}

/* What the hand makes of a page: does it go? */
static bool look_at(struct quire_sim_memory *memory, uint32_t page)
{
    const struct state *state = memory->state;
    struct node *node = node_of(memory, page);
    if (memory->flags[page] & ACCESSED) {
        memory->flags[page] &= (uint8_t)~ACCESSED;
        node->used = (uint32_t)memory->now;
        return false;
    }
    if ((uint32_t)memory->now - node->used <= state->window)
        return false;
    if (!(memory->flags[page] & QUIRE_SIM_DIRTY))
        return true;
    quire_sim_clean(memory, page);
    return false;
}

static uint32_t victim(struct quire_sim_memory *memory, uint32_t incoming)
{
    struct state *state = memory->state;
    for (uint64_t i = 0; i < memory->n_resident; i++) {
        if (look_at(memory, ring_look(&state->ring)))
            return ring_take(&state->ring);
        ring_step(&state->ring);
    }
    for (uint64_t i = 0; i < memory->n_resident; i++) {
        if (!(memory->flags[ring_look(&state->ring)] & QUIRE_SIM_DIRTY))
            break;
        ring_step(&state->ring);
    }
    return ring_take(&state->ring);
}

static void admit(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    struct node *node = node_of(memory, page);
    node->used = (uint32_t)memory->now;
    memory->flags[page] |= ACCESSED;
    ring_put(&state->ring, page, &node->frame);
}

static void forget(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    ring_free(&state->ring, node_of(memory, page)->frame);
}

SIM_REPLAY(0, hit, victim, admit)

const struct quire_sim_policy sim_wsclock = {
    .name = "wsclock",
    .about = "WSClock (wsclock:WINDOW, references; the frames)",
    .has_argument = true,
    .page_bytes = sizeof(struct node),
    .state_bytes = sizeof(struct state),
    .open = open_wsclock,
    .close = close_wsclock,
    .hit = hit,
    .victim = victim,
    .admit = admit,
    .forget = forget,
    .replay = replay};
