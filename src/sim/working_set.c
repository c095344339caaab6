/* SPDX-License-Identifier: Apache-2.0 */
/*
 * working_set: Denning's policy, and page-fault frequency: who gives back RAM that is not needed.
 *
 *   ws:T    resident is what was used within the last T references, without an argument 10 times
 *           as many as there are frames
 *   pff:T   at a fault: if the last one is more than T references ago (without an argument, a
 *           hundredth of the frames, at least 10), all pages go that were not used since then
 *
 * Pages stand in the order of their last use, so those that go are at the old end. When all frames
 * are taken the oldest goes, as with LRU. How much RAM was held on average tells resident_sum.
 * Sources: P. Denning, "The Working Set Model for Program Behavior", CACM 11(5), 1968; W. Chu,
 * H. Opderbeck, "The page fault frequency replacement algorithm", AFIPS 1972.
 */
#include "sim/rules.h"

#define LIST 0u

struct state {
    uint64_t window, faulted;
};

/* Each page has two nodes of links: 2 * page in the list, and 2 * page + 1, which holds the time.
 */
static uint64_t *time_of(const struct quire_sim_memory *memory, uint32_t page)
{
    return (uint64_t *)memory->pages + (2 * (size_t)page + 1);
}

static int open_window(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    list_init(memory->pages, LIST);
    state->window = memory->argument != 0 ? memory->argument : 10 * memory->n_frames;
    return 0;
}

static int open_pff(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    list_init(memory->pages, LIST);
    state->window = memory->argument != 0 ? memory->argument : memory->n_frames / 100;
    if (memory->argument == 0 && state->window < 10)
        state->window = 10;
    return 0;
}

/* All that were used before this time for the last time go. */
static void shrink(struct quire_sim_memory *memory, uint64_t since)
{
    struct link *links = memory->pages;
    while (!list_is_empty(links, LIST)) {
        uint32_t page = list_oldest(links, LIST) / 2;
        if (*time_of(memory, page) >= since)
            return;
        list_remove(links, 2 * page);
        quire_sim_evict(memory, page);
    }
}

static void leave_window(struct quire_sim_memory *memory)
{
    const struct state *state = memory->state;
    if (memory->now >= state->window)
        shrink(memory, memory->now - state->window + 1);
}

static void use(struct quire_sim_memory *memory, uint32_t page)
{
    *time_of(memory, page) = memory->now;
    list_push(memory->pages, LIST, 2 * page);
}

static void use_again(struct quire_sim_memory *memory, uint32_t page)
{
    list_remove(memory->pages, 2 * page);
    use(memory, page);
}

static void hit_ws(struct quire_sim_memory *memory, uint32_t page)
{
    use_again(memory, page);
    leave_window(memory);
}

static void admit_ws(struct quire_sim_memory *memory, uint32_t page)
{
    use(memory, page);
    leave_window(memory);
}

static void admit_pff(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    use(memory, page);
    if (memory->now - state->faulted > state->window)
        shrink(memory, state->faulted);
    state->faulted = memory->now;
}

static uint32_t victim(struct quire_sim_memory *memory, uint32_t incoming)
{
    return list_pop(memory->pages, LIST) / 2;
}

static void forget(struct quire_sim_memory *memory, uint32_t page)
{
    list_remove(memory->pages, 2 * page);
}

#define PAGE_BYTES (2 * sizeof(struct link))

static void replay_ws(struct quire_sim_memory *memory, const uint32_t *references, size_t n)
{
    replay_with(memory, references, n, PAGE_BYTES, hit_ws, victim, admit_ws);
}

static void replay_pff(struct quire_sim_memory *memory, const uint32_t *references, size_t n)
{
    replay_with(memory, references, n, PAGE_BYTES, use_again, victim, admit_pff);
}

const struct quire_sim_policy sim_working_set = {
    .name = "ws",
    .about = "working set (ws:WINDOW, references; 10 times the frames)",
    .has_argument = true,
    .page_bytes = PAGE_BYTES,
    .state_bytes = sizeof(struct state),
    .open = open_window,
    .hit = hit_ws,
    .victim = victim,
    .admit = admit_ws,
    .forget = forget,
    .replay = replay_ws};

const struct quire_sim_policy sim_pff = {
    .name = "pff",
    .about = "page-fault frequency (pff:INTERVAL, references; a hundredth of the frames)",
    .has_argument = true,
    .page_bytes = PAGE_BYTES,
    .state_bytes = sizeof(struct state),
    .open = open_pff,
    .hit = use_again,
    .victim = victim,
    .admit = admit_pff,
    .forget = forget,
    .replay = replay_pff};
