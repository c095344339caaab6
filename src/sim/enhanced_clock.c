/* SPDX-License-Identifier: Apache-2.0 */
/*
 * enhanced_clock: CLOCK that would rather not write: second chance with dirty bits.
 *
 *   round 1   the first page that is neither accessed nor dirty; nothing changes
 *   round 2   the first that is dirty and not accessed; accessed bits are cleared on the way
 *   then both again, which finds one
 *
 * Rounds of which it is known that they find nothing are left out; what they would clear is
 * cleared. Source: A. Silberschatz, P. Galvin, G. Gagne, Operating System Concepts, "enhanced
 * second-chance".
 */
#include "sim/ring.h"

#define ACCESSED QUIRE_SIM_FLAGS
#define BITS (ACCESSED | QUIRE_SIM_DIRTY)

struct state {
    struct ring ring;
    uint64_t n_idle[2]; /* not accessed: clean, dirty */
};

static int open_enhanced(struct quire_sim_memory *memory)
{
    return ring_open(&((struct state *)memory->state)->ring);
}

static void close_enhanced(struct quire_sim_memory *memory)
{
    array_free(&((struct state *)memory->state)->ring.frames);
}

/* A write to an idle page has set its dirty bit already: which count it is in, DIRTY_BEFORE says.
 */
#define DIRTY_BEFORE (2 * QUIRE_SIM_FLAGS)

static void hit(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    if (!(memory->flags[page] & ACCESSED))
        state->n_idle[(memory->flags[page] & DIRTY_BEFORE) != 0]--;
    memory->flags[page] |= ACCESSED;
}

static void make_idle(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    const bool is_dirty = memory->flags[page] & QUIRE_SIM_DIRTY;
    memory->flags[page] &= (uint8_t) ~(ACCESSED | DIRTY_BEFORE);
    memory->flags[page] |= is_dirty ? DIRTY_BEFORE : 0;
    state->n_idle[is_dirty]++;
}

static uint32_t take(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    state->n_idle[(memory->flags[page] & QUIRE_SIM_DIRTY) != 0]--;
    memory->flags[page] &= (uint8_t) ~(ACCESSED | DIRTY_BEFORE);
    return ring_take(&state->ring);
}

/* Once round, or until a page with these bits. 0: there is none. */
static uint32_t go_round(struct quire_sim_memory *memory, uint8_t wanted, bool clears)
{
    struct state *state = memory->state;
    for (uint64_t i = 0; i < memory->n_resident; i++) {
        uint32_t page = ring_look(&state->ring);
        if ((memory->flags[page] & BITS) == wanted)
            return take(memory, page);
        if (clears && (memory->flags[page] & ACCESSED))
            make_idle(memory, page);
        ring_step(&state->ring);
    }
    return 0;
}

static uint32_t victim(struct quire_sim_memory *memory, uint32_t incoming)
{
    const struct state *state = memory->state;
    for (;;) {
        uint32_t page = state->n_idle[0] > 0 ? go_round(memory, 0, false) : 0;
        if (page == 0)
            page = go_round(memory, QUIRE_SIM_DIRTY, true);
        if (page != 0)
            return page;
    }
}

static void admit(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    memory->flags[page] |= ACCESSED;
    ring_put(&state->ring, page, (uint32_t *)memory->pages + page);
}

static void forget(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    if (!(memory->flags[page] & ACCESSED))
        state->n_idle[(memory->flags[page] & DIRTY_BEFORE) != 0]--;
    ring_free(&state->ring, ((uint32_t *)memory->pages)[page]);
}

SIM_REPLAY(0, hit, victim, admit)

const struct quire_sim_policy sim_enhanced_clock = {
    .name = "enhanced-clock",
    .about = "second chance with dirty bits: the clean first",
    .page_bytes = sizeof(uint32_t),
    .state_bytes = sizeof(struct state),
    .open = open_enhanced,
    .close = close_enhanced,
    .hit = hit,
    .victim = victim,
    .admit = admit,
    .forget = forget,
    .replay = replay};
