/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nru: not recently used. Four classes by the accessed and the dirty bit; a page of the lowest
 * class goes, of these the one that came into the class first. Accessed bits are cleared each time
 * as many references have passed as the argument says, or as there are frames.
 *
 *   0 neither   1 dirty   2 accessed   3 both
 *
 * A page whose bit is cleared joins the class below behind those that are there.
 * Source: the textbooks', as A. Tanenbaum, Modern Operating Systems, 3.4.
 */
#include "sim/rules.h"

#define CLASSES 4u
#define ACCESSED 2u
#define CLASS QUIRE_SIM_FLAGS /* two bits */

struct state {
    uint64_t period, cleared; /* references */
};

static int open_nru(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    for (uint32_t list = 0; list < CLASSES; list++)
        list_init(memory->pages, list);
    state->period = memory->argument != 0 ? memory->argument : memory->n_frames;
    return 0;
}

static void enter(struct quire_sim_memory *memory, uint32_t page, uint32_t class)
{
    memory->flags[page] = (uint8_t)((memory->flags[page] & ~(3 * CLASS)) | class * CLASS);
    list_push(memory->pages, class, page);
}

static void clear_bits(struct quire_sim_memory *memory)
{
    struct link *links = memory->pages;
    struct state *state = memory->state;
    if (memory->now - state->cleared < state->period)
        return;
    state->cleared = memory->now;
    for (uint32_t class = ACCESSED; class < CLASSES; class ++)
        while (!list_is_empty(links, class))
            enter(memory, list_pop(links, class), class - ACCESSED);
}

static void touch(struct quire_sim_memory *memory, uint32_t page)
{
    const uint32_t class = (memory->flags[page] & QUIRE_SIM_DIRTY ? 1 : 0) | ACCESSED;
    if ((memory->flags[page] & 3 * CLASS) / CLASS == class)
        return;
    list_remove(memory->pages, page);
    enter(memory, page, class);
}

static void hit(struct quire_sim_memory *memory, uint32_t page)
{
    clear_bits(memory);
    touch(memory, page);
}

static uint32_t victim(struct quire_sim_memory *memory, uint32_t incoming)
{
    uint32_t class = 0;
    clear_bits(memory);
    while (list_is_empty(memory->pages, class))
        class ++;
    return list_pop(memory->pages, class);
}

static void admit(struct quire_sim_memory *memory, uint32_t page)
{
    clear_bits(memory);
    enter(memory, page, (memory->flags[page] & QUIRE_SIM_DIRTY ? 1 : 0) | ACCESSED);
}

static void forget(struct quire_sim_memory *memory, uint32_t page)
{
    list_remove(memory->pages, page);
}

SIM_REPLAY(sizeof(struct link), hit, victim, admit)

const struct quire_sim_policy sim_nru = {
    .name = "nru",
    .about = "by accessed and dirty bits (nru:INTERVAL, references; the frames)",
    .has_argument = true,
    .page_bytes = sizeof(struct link),
    .state_bytes = sizeof(struct state),
    .open = open_nru,
    .hit = hit,
    .victim = victim,
    .admit = admit,
    .forget = forget,
    .replay = replay};
