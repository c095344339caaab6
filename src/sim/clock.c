/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock: CLOCK, which is FIFO with a second chance: the hand passes a page that was used, once.
 *
 * The touch that brings a page in sets its accessed bit, or it does not: hardware and textbooks do
 * (second-chance), caches and their simulators do not (clock), and fault less where pages are used
 * once. Source: F. Corbató, "A paging experiment with the Multics system", 1968.
 */
#include "sim/ring.h"

#define USED QUIRE_SIM_FLAGS

static int open_clock(struct quire_sim_memory *memory)
{
    return ring_open(memory->state);
}

static void close_clock(struct quire_sim_memory *memory)
{
    array_free(&((struct ring *)memory->state)->frames);
}

static void hit(struct quire_sim_memory *memory, uint32_t page)
{
    memory->flags[page] |= USED;
}

static uint32_t victim(struct quire_sim_memory *memory, uint32_t incoming)
{
    struct ring *ring = memory->state;
    for (;;) {
        uint32_t page = ring_look(ring);
        __builtin_prefetch(
            &memory->flags[ring_frames(ring)[ring->hand + RING_BEHIND] & ~RING_FREE]);
        if (!(memory->flags[page] & USED))
            return ring_take(ring);
        memory->flags[page] &= (uint8_t)~USED;
        ring_step(ring);
    }
}

static void admit(struct quire_sim_memory *memory, uint32_t page)
{
    memory->flags[page] &= (uint8_t)~USED;
    ring_put(memory->state, page, (uint32_t *)memory->pages + page);
}

static void admit_used(struct quire_sim_memory *memory, uint32_t page)
{
    admit(memory, page);
    memory->flags[page] |= USED;
}

static void forget(struct quire_sim_memory *memory, uint32_t page)
{
    ring_free(memory->state, ((uint32_t *)memory->pages)[page]);
}

SIM_REPLAY(sizeof(uint32_t), hit, victim, admit)

const struct quire_sim_policy sim_clock = {.name = "clock",
                                           .about = "FIFO with a second chance for the used",
                                           .page_bytes = sizeof(uint32_t),
                                           .state_bytes = sizeof(struct ring),
                                           .open = open_clock,
                                           .close = close_clock,
                                           .hit = hit,
                                           .victim = victim,
                                           .admit = admit,
                                           .forget = forget,
                                           .replay = replay};

static void replay_used(struct quire_sim_memory *memory, const uint32_t *references, size_t n)
{
    replay_with(memory, references, n, sizeof(uint32_t), hit, victim, admit_used);
}

const struct quire_sim_policy sim_second_chance = {
    .name = "second-chance",
    .about = "CLOCK as textbooks have it: the touch that brings a page in counts",
    .page_bytes = sizeof(uint32_t),
    .state_bytes = sizeof(struct ring),
    .open = open_clock,
    .close = close_clock,
    .hit = hit,
    .victim = victim,
    .admit = admit_used,
    .forget = forget,
    .replay = replay_used};
