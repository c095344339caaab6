/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock_pro: CLOCK-Pro. One circle of hot pages, cold ones, and cold ones that are absent but still
 * on trial; three hands go round it in the same direction.
 *
 *   cold hand   a cold page that was used becomes hot, another is evicted and goes on trial
 *   hot hand    a hot page that was not used becomes cold
 *   test hand   ends trials, and with each makes the share of cold pages smaller; a page that is
 *               used while on trial makes it larger, and comes back hot
 *
 * At most as many pages are on trial as there are frames.
 * Source: S. Jiang, F. Chen, X. Zhang, "CLOCK-Pro: An Effective Improvement of the CLOCK
 * Replacement", USENIX ATC 2005.
 */
#include "sim/rules.h"

enum { HOT_HAND, COLD_HAND, TEST_HAND, N_HANDS };

#define USED QUIRE_SIM_FLAGS
#define HOT (2 * QUIRE_SIM_FLAGS)
#define TRIAL (4 * QUIRE_SIM_FLAGS)

struct state {
    uint32_t hand[N_HANDS]; /* the page that is next; 0: the circle is empty */
    uint64_t n_hot, n_cold, n_trial, most_cold;
    uint32_t victim; /* that victim() is about to return; 0: none yet */
    bool was_trial;  /* the incoming page */
};

/* In the circle `newer` is where hands go, and what is put in comes last: behind the hot hand. */
static int open_clock_pro(struct quire_sim_memory *memory)
{
    ((struct state *)memory->state)->most_cold = memory->n_frames;
    return 0;
}

static void put(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    struct link *links = memory->pages;
    const uint32_t at = state->hand[HOT_HAND];
    if (at == 0) {
        links[page] = (struct link){page, page};
        for (unsigned i = 0; i < N_HANDS; i++)
            state->hand[i] = page;
        return;
    }
    list_put_after(links, links[at].older, page);
}

static void take_out(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    struct link *links = memory->pages;
    const uint32_t next = links[page].newer != page ? links[page].newer : 0;
    for (unsigned i = 0; i < N_HANDS; i++)
        if (state->hand[i] == page)
            state->hand[i] = next;
    list_remove(links, page);
}

static void step(struct quire_sim_memory *memory, unsigned hand)
{
    struct state *state = memory->state;
    state->hand[hand] = ((struct link *)memory->pages)[state->hand[hand]].newer;
}

static void end_trial(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    memory->flags[page] &= (uint8_t)~TRIAL;
    state->n_trial--;
    take_out(memory, page);
}

static void run_test_hand(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    const uint32_t page = state->hand[TEST_HAND];
    if (!(memory->flags[page] & TRIAL)) {
        step(memory, TEST_HAND);
        return;
    }
    end_trial(memory, page); /* and the hand is at the next one */
    if (state->most_cold > 1)
        state->most_cold--;
}

static void run_hot_hand(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    const uint32_t page = state->hand[HOT_HAND];
    if (memory->flags[page] & HOT) {
        if (!(memory->flags[page] & USED)) {
            memory->flags[page] &= (uint8_t)~HOT;
            state->n_hot--;
            state->n_cold++;
        }
        memory->flags[page] &= (uint8_t)~USED;
    }
    step(memory, HOT_HAND);
}

/* One step; a page that it evicts is the victim. */
static void run_cold_hand(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    const uint32_t page = state->hand[COLD_HAND];
    step(memory, COLD_HAND);
    if (!(memory->flags[page] & (HOT | TRIAL))) {
        state->n_cold--;
        if (memory->flags[page] & USED) {
            memory->flags[page] = (uint8_t)((memory->flags[page] & ~USED) | HOT);
            state->n_hot++;
        } else {
            memory->flags[page] |= TRIAL;
            state->n_trial++;
            state->victim = page;
            while (state->n_trial > memory->n_frames)
                run_test_hand(memory);
        }
    }
    while (state->n_hot > memory->n_frames - state->most_cold)
        run_hot_hand(memory);
}

static void hit(struct quire_sim_memory *memory, uint32_t page)
{
    memory->flags[page] |= USED;
}

/* It is used while on trial. */
static void come_back(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    state->was_trial = (memory->flags[page] & TRIAL) != 0;
    if (!state->was_trial)
        return;
    if (state->most_cold < memory->n_frames)
        state->most_cold++;
    end_trial(memory, page);
}

static uint32_t victim(struct quire_sim_memory *memory, uint32_t incoming)
{
    struct state *state = memory->state;
    come_back(memory, incoming);
    state->victim = 0;
    while (state->victim == 0)
        run_cold_hand(memory);
    return state->victim;
}

static void admit(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    if (memory->flags[page] & TRIAL) /* there was room without a victim */
        come_back(memory, page);
    memory->flags[page] &= (uint8_t) ~(USED | HOT);
    if (state->was_trial) {
        memory->flags[page] |= HOT;
        state->n_hot++;
    } else {
        state->n_cold++;
    }
    state->was_trial = false;
    put(memory, page);
}

static void forget(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    if (memory->flags[page] & HOT)
        state->n_hot--;
    else
        state->n_cold--;
    take_out(memory, page);
}

SIM_REPLAY(0, hit, victim, admit)

const struct quire_sim_policy sim_clock_pro = {.name = "clock-pro",
                                               .about = "CLOCK-Pro: hot, cold and on trial",
                                               .page_bytes = sizeof(struct link),
                                               .state_bytes = sizeof(struct state),
                                               .open = open_clock_pro,
                                               .hit = hit,
                                               .victim = victim,
                                               .admit = admit,
                                               .forget = forget,
                                               .replay = replay};
