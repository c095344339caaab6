/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3_fifo: S3-FIFO. New pages pass through a small queue (a tenth); who was used twice there goes
 * on to the main one, others leave and are remembered (as many as nine tenths of the frames).
 *
 *   new -> SMALL --used twice--> MAIN, round again for each use, up to three
 *             '----> GHOST (absent) --again--> MAIN
 *
 * Source: J. Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023; threshold
 * and sizes as its authors' simulator has them.
 */
#include "sim/rules.h"

enum { SMALL, MAIN, GHOST };

#define USE QUIRE_SIM_FLAGS /* two bits: how often, up to three times */
#define USES (3 * USE)
#define IN_MAIN (4 * USE)
#define IN_GHOST (8 * USE)
#define PROMOTED (2 * USE)

struct state {
    uint64_t n_small, n_main, n_ghost, most_main, most_ghost;
    bool was_ghost; /* the incoming page */
};

static int open_s3_fifo(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    for (uint32_t list = SMALL; list <= GHOST; list++)
        list_init(memory->pages, list);
    state->most_main = memory->n_frames - memory->n_frames / 10;
    state->most_ghost = memory->n_frames * 9 / 10;
    return 0;
}

static void hit(struct quire_sim_memory *memory, uint32_t page)
{
    if ((memory->flags[page] & USES) != USES)
        memory->flags[page] += USE;
}

static void leave_ghost(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    list_remove(memory->pages, page);
    memory->flags[page] &= (uint8_t)~IN_GHOST;
    state->n_ghost--;
}

static void remember(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    if (state->most_ghost == 0)
        return;
    if (state->n_ghost == state->most_ghost)
        leave_ghost(memory, list_oldest(memory->pages, GHOST));
    list_push(memory->pages, GHOST, page);
    memory->flags[page] |= IN_GHOST;
    state->n_ghost++;
}

static void to_main(struct quire_sim_memory *memory, uint32_t page, uint8_t uses)
{
    struct state *state = memory->state;
    memory->flags[page] = (uint8_t)((memory->flags[page] & ~USES) | IN_MAIN | uses);
    list_push(memory->pages, MAIN, page);
    state->n_main++;
}

/* False: all went on to the main queue. */
static bool from_small(struct quire_sim_memory *memory, uint32_t *page)
{
    struct state *state = memory->state;
    struct link *links = memory->pages;
    while (state->n_small > 0) {
        *page = list_pop(links, SMALL);
        __builtin_prefetch(&memory->flags[list_oldest(links, SMALL)]);
        state->n_small--;
        if ((memory->flags[*page] & USES) < PROMOTED) {
            remember(memory, *page);
            return true;
        }
        to_main(memory, *page, 0);
    }
    return false;
}

static uint32_t from_main(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    struct link *links = memory->pages;
    for (;;) {
        uint32_t page = list_pop(links, MAIN);
        const uint8_t uses = memory->flags[page] & USES;
        __builtin_prefetch(&links[links[list_oldest(links, MAIN)].newer]);
        __builtin_prefetch(&memory->flags[list_oldest(links, MAIN)]);
        state->n_main--;
        if (uses == 0) {
            memory->flags[page] &= (uint8_t)~IN_MAIN;
            return page;
        }
        to_main(memory, page, (uint8_t)(uses - USE));
    }
}

static uint32_t victim(struct quire_sim_memory *memory, uint32_t incoming)
{
    struct state *state = memory->state;
    uint32_t page;
    state->was_ghost = (memory->flags[incoming] & IN_GHOST) != 0;
    if (state->was_ghost)
        leave_ghost(memory, incoming);
    if (state->n_main > state->most_main || !from_small(memory, &page))
        page = from_main(memory);
    return page;
}

static void admit(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    const bool was_ghost = state->was_ghost || (memory->flags[page] & IN_GHOST);
    if (memory->flags[page] & IN_GHOST)
        leave_ghost(memory, page);
    state->was_ghost = false;
    memory->flags[page] &= (uint8_t) ~(USES | IN_MAIN);
    if (was_ghost) {
        to_main(memory, page, 0);
        return;
    }
    list_push(memory->pages, SMALL, page);
    state->n_small++;
}

static void forget(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    list_remove(memory->pages, page);
    if (memory->flags[page] & IN_MAIN)
        state->n_main--;
    else
        state->n_small--;
}

SIM_REPLAY(sizeof(struct link), hit, victim, admit)

const struct quire_sim_policy sim_s3_fifo = {.name = "s3-fifo",
                                             .about = "S3-FIFO: small, main and ghost queues",
                                             .page_bytes = sizeof(struct link),
                                             .state_bytes = sizeof(struct state),
                                             .open = open_s3_fifo,
                                             .hit = hit,
                                             .victim = victim,
                                             .admit = admit,
                                             .forget = forget,
                                             .replay = replay};
