/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aging: not frequently used, with ageing. Each page has a counter of 8 bits; each time as many
 * references have passed as the argument says, or as there are frames, it is shifted right and the
 * accessed bit comes in at the left. The lowest goes, of these the one that reached it first.
 *
 * A page comes in as if its bit had just been shifted in: at 128. Pages stand in a list for each
 * value; a tick empties all of them into the new ones, from the lowest up.
 * Source: A. Tanenbaum, Modern Operating Systems, 3.4, "Simulating LRU in Software".
 */
#include "sim/rules.h"

#define VALUES 256u
#define ACCESSED QUIRE_SIM_FLAGS

struct node {
    uint32_t newer, older; /* 0: none */
    uint8_t value;
};

struct list {
    uint32_t oldest, youngest; /* 0: it is empty */
};

struct state {
    uint64_t period, ticked; /* references */
    struct list list[2][VALUES];
    unsigned now;    /* which of the two */
    uint32_t lowest; /* none below has a page */
};

static struct node *nodes(const struct quire_sim_memory *memory)
{
    return memory->pages;
}

static int open_aging(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    state->period = memory->argument != 0 ? memory->argument : memory->n_frames;
    state->lowest = VALUES - 1;
    return 0;
}

static void push(struct quire_sim_memory *memory, unsigned which, uint32_t page, uint8_t value)
{
    struct state *state = memory->state;
    struct list *list = &state->list[which][value];
    nodes(memory)[page] = (struct node){.older = list->youngest, .value = value};
    if (list->youngest != 0)
        nodes(memory)[list->youngest].newer = page;
    else
        list->oldest = page;
    list->youngest = page;
}

static void take_out(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    const struct node node = nodes(memory)[page];
    struct list *list = &state->list[state->now][node.value];
    if (node.older != 0)
        nodes(memory)[node.older].newer = node.newer;
    else
        list->oldest = node.newer;
    if (node.newer != 0)
        nodes(memory)[node.newer].older = node.older;
    else
        list->youngest = node.older;
}

static void tick(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    const unsigned from = state->now, to = !from;
    if (memory->now - state->ticked < state->period)
        return;
    state->ticked = memory->now;
    for (uint32_t value = 0; value < VALUES; value++) {
        for (uint32_t page = state->list[from][value].oldest, next; page != 0; page = next) {
            const bool accessed = memory->flags[page] & ACCESSED;
            next = nodes(memory)[page].newer;
            memory->flags[page] &= (uint8_t)~ACCESSED;
            push(memory, to, page, (uint8_t)(value >> 1 | (accessed ? 128 : 0)));
        }
        state->list[from][value] = (struct list){0};
    }
    state->now = to;
    state->lowest = 0;
}

static void hit(struct quire_sim_memory *memory, uint32_t page)
{
    tick(memory);
    memory->flags[page] |= ACCESSED;
}

static uint32_t victim(struct quire_sim_memory *memory, uint32_t incoming)
{
    struct state *state = memory->state;
    tick(memory);
    while (state->list[state->now][state->lowest].oldest == 0)
        state->lowest++;
    uint32_t page = state->list[state->now][state->lowest].oldest;
    take_out(memory, page);
    return page;
}

static void admit(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    tick(memory);
    memory->flags[page] &= (uint8_t)~ACCESSED;
    push(memory, state->now, page, 128);
    if (state->lowest > 128)
        state->lowest = 128;
}

SIM_REPLAY(0, hit, victim, admit)

const struct quire_sim_policy sim_aging = {
    .name = "aging",
    .about = "NFU with ageing, 8 bits (aging:INTERVAL, references; the frames)",
    .has_argument = true,
    .page_bytes = sizeof(struct node),
    .state_bytes = sizeof(struct state),
    .open = open_aging,
    .hit = hit,
    .victim = victim,
    .admit = admit,
    .forget = take_out,
    .replay = replay};
