/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sieve: SIEVE. The hand goes from the old end to the young one, and round; a page that was used
 * is spared once and stays where it is.
 * Source: Y. Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024.
 */
#include "sim/rules.h"

#define LIST 0u
#define USED QUIRE_SIM_FLAGS

struct state {
    uint32_t hand; /* LIST: it begins at the old end */
};

static int open_sieve(struct quire_sim_memory *memory)
{
    list_init(memory->pages, LIST);
    return 0;
}

static void hit(struct quire_sim_memory *memory, uint32_t page)
{
    memory->flags[page] |= USED;
}

static uint32_t victim(struct quire_sim_memory *memory, uint32_t incoming)
{
    struct link *links = memory->pages;
    struct state *state = memory->state;
    for (uint32_t page = state->hand;; page = links[page].newer) {
        if (page == LIST)
            page = list_oldest(links, LIST);
        if (!(memory->flags[page] & USED)) {
            state->hand = links[page].newer;
            list_remove(links, page);
            __builtin_prefetch(&links[links[state->hand].newer]);
            return page;
        }
        memory->flags[page] &= (uint8_t)~USED;
    }
}

static void admit(struct quire_sim_memory *memory, uint32_t page)
{
    memory->flags[page] &= (uint8_t)~USED;
    list_push(memory->pages, LIST, page);
}

static void forget(struct quire_sim_memory *memory, uint32_t page)
{
    struct link *links = memory->pages;
    struct state *state = memory->state;
    if (state->hand == page)
        state->hand = links[page].newer;
    list_remove(links, page);
}

SIM_REPLAY(sizeof(struct link), hit, victim, admit)

const struct quire_sim_policy sim_sieve = {.name = "sieve",
                                           .about = "SIEVE: one hand, the used are spared",
                                           .page_bytes = sizeof(struct link),
                                           .state_bytes = sizeof(struct state),
                                           .open = open_sieve,
                                           .hit = hit,
                                           .victim = victim,
                                           .admit = admit,
                                           .forget = forget,
                                           .replay = replay};
