/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lru: the page that was used longest ago goes.
 *
 *   tail | 7 | 3 | 7 | 9 | 3 | head      latest[7] = 2, latest[3] = 4: who goes first is 7
 *
 * Each use is noted at the head of a log, which is faster than a linked list: it is written and
 * read in order, and what is asked of its pages can be fetched ahead. A page's latest entry counts;
 * those before it are passed when they are the oldest. When the log is full the entries that count
 * move to its begin, and take half of it at most.
 */
#include "sim/array.h"
#include "sim/rules.h"

#include <errno.h>

#define LEAST 1024u
#define AHEAD 16u /* entries; as many may be read behind the head */
#define NEVER UINT32_MAX

struct state {
    struct array log; /* uint32_t: pages */
    uint32_t tail, head, n_slots;
};

/* Only what counts stays, and there is room for as many. False: no memory. */
static bool make_room(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    uint32_t *latest = memory->pages, *log = state->log.base, n = 0;
    for (uint32_t at = state->tail; at < state->head; at++) {
        __builtin_prefetch(&latest[log[at + AHEAD]]);
        const uint32_t page = log[at];
        if (latest[page] != at)
            continue;
        log[n] = page;
        latest[page] = n++;
    }
    state->tail = 0;
    state->head = n;
    const size_t wanted = 2 * (size_t)n + LEAST;
    if (wanted > state->n_slots && wanted < NEVER &&
        array_grow(&state->log, (wanted + AHEAD) * sizeof *log) == 0)
        state->n_slots = (uint32_t)wanted;
    return n < state->n_slots;
}

static int open_lru(struct quire_sim_memory *memory)
{
    return make_room(memory) ? 0 : -ENOMEM;
}

static void close_lru(struct quire_sim_memory *memory)
{
    array_free(&((struct state *)memory->state)->log);
}

static void admit(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    if (state->head == state->n_slots && !make_room(memory))
        return;
    ((uint32_t *)state->log.base)[state->head] = page;
    ((uint32_t *)memory->pages)[page] = state->head++;
}

static void hit(struct quire_sim_memory *memory, uint32_t page)
{
    const struct state *state = memory->state;
    if (((const uint32_t *)memory->pages)[page] + 1 != state->head)
        admit(memory, page);
}

static uint32_t victim(struct quire_sim_memory *memory, uint32_t incoming)
{
    struct state *state = memory->state;
    const uint32_t *latest = memory->pages, *log = state->log.base;
    for (;;) {
        const uint32_t at = state->tail++;
        __builtin_prefetch(&latest[log[at + AHEAD]]);
        __builtin_prefetch(&memory->flags[log[at + AHEAD / 4]]);
        if (latest[log[at]] == at)
            return log[at];
    }
}

static void forget(struct quire_sim_memory *memory, uint32_t page)
{
    ((uint32_t *)memory->pages)[page] = NEVER;
}

SIM_REPLAY(sizeof(uint32_t), hit, victim, admit)

const struct quire_sim_policy sim_lru = {.name = "lru",
                                         .about = "least recently used",
                                         .page_bytes = sizeof(uint32_t),
                                         .state_bytes = sizeof(struct state),
                                         .open = open_lru,
                                         .close = close_lru,
                                         .hit = hit,
                                         .victim = victim,
                                         .admit = admit,
                                         .forget = forget,
                                         .replay = replay,
                                         .is_stack = true};
