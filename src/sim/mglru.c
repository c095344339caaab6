/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mglru: generations, as in Linux's multi-gen LRU for anonymous memory, without its tiers.
 *
 *   youngest  | g+3 | g+2 | g+1 | g |  oldest       a page comes into the youngest
 *
 * Victims come from the oldest generation; one whose accessed bit is set goes to the youngest
 * instead, and the bit is cleared. When only two generations are left, a new one begins: all pages
 * whose bits are set go there (the walk of the page tables), and the bits are cleared.
 * Source: Linux, Documentation/mm/multigen_lru.rst.
 */
#include "sim/rules.h"

#define GENERATIONS 4u
#define LEAST 2u
#define ACCESSED QUIRE_SIM_FLAGS

struct state {
    uint64_t youngest, oldest; /* generations; list: the number modulo GENERATIONS */
};

static int open_mglru(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    for (uint32_t list = 0; list < GENERATIONS; list++)
        list_init(memory->pages, list);
    state->youngest = LEAST;
    return 0;
}

static void hit(struct quire_sim_memory *memory, uint32_t page)
{
    memory->flags[page] |= ACCESSED;
}

static void enter(struct quire_sim_memory *memory, uint32_t page)
{
    const struct state *state = memory->state;
    memory->flags[page] &= (uint8_t)~ACCESSED;
    list_push(memory->pages, (uint32_t)(state->youngest % GENERATIONS), page);
}

/* A new generation: who was used joins it, from the oldest on. */
static void age(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    struct link *links = memory->pages;
    state->youngest++;
    for (uint64_t generation = state->oldest; generation < state->youngest; generation++) {
        const uint32_t list = (uint32_t)(generation % GENERATIONS);
        for (uint32_t page = list_oldest(links, list), next; page != list; page = next) {
            next = links[page].newer;
            if (!(memory->flags[page] & ACCESSED))
                continue;
            list_remove(links, page);
            enter(memory, page);
        }
    }
}

static uint32_t victim(struct quire_sim_memory *memory, uint32_t incoming)
{
    struct state *state = memory->state;
    struct link *links = memory->pages;
    for (;;) {
        const uint32_t list = (uint32_t)(state->oldest % GENERATIONS);
        if (state->youngest - state->oldest + 1 <= LEAST) {
            age(memory);
            continue;
        }
        if (list_is_empty(links, list)) {
            state->oldest++;
            continue;
        }
        uint32_t page = list_pop(links, list);
        if (!(memory->flags[page] & ACCESSED))
            return page;
        enter(memory, page);
    }
}

static void forget(struct quire_sim_memory *memory, uint32_t page)
{
    list_remove(memory->pages, page);
}

SIM_REPLAY(0, hit, victim, enter)

const struct quire_sim_policy sim_mglru = {.name = "mglru",
                                           .about = "generations, as Linux's multi-gen LRU",
                                           .page_bytes = sizeof(struct link),
                                           .state_bytes = sizeof(struct state),
                                           .open = open_mglru,
                                           .hit = hit,
                                           .victim = victim,
                                           .admit = enter,
                                           .forget = forget,
                                           .replay = replay};
