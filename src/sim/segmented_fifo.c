/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segmented_fifo: FIFO with a second segment, as VMS had it: what leaves the first is unmapped, and
 * still there for a while; touched again it is mapped anew, which is a soft fault, and begins anew.
 *
 *   first (FIFO) -> second -> evicted         the argument: the second's share of the frames, in
 *     ^---- touched ---'                      hundredths; 25 without one
 *
 * Source: R. Turner, H. Levy, "Segmented FIFO Page Replacement", SIGMETRICS 1981. As the pager runs
 * it, with its own shares: pager:fifo.
 */
#include "sim/rules.h"

#include <errno.h>

enum { FIRST, SECOND };

#define IN_SECOND QUIRE_SIM_FLAGS

struct state {
    uint64_t n_first, most_first;
};

static int open_segmented(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    const uint64_t percent = memory->argument != 0 ? memory->argument : 25;
    if (percent > 100)
        return -EINVAL;
    list_init(memory->pages, FIRST);
    list_init(memory->pages, SECOND);
    state->most_first = memory->n_frames - memory->n_frames * percent / 100;
    if (state->most_first == 0)
        state->most_first = 1;
    return 0;
}

static void enter(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    memory->flags[page] &= (uint8_t)~IN_SECOND;
    list_push(memory->pages, FIRST, page);
    if (++state->n_first <= state->most_first)
        return;
    uint32_t oldest = list_pop(memory->pages, FIRST);
    memory->flags[oldest] |= IN_SECOND;
    list_push(memory->pages, SECOND, oldest);
    state->n_first--;
}

static void hit(struct quire_sim_memory *memory, uint32_t page)
{
    if (!(memory->flags[page] & IN_SECOND))
        return;
    memory->counts.soft_faults++;
    list_remove(memory->pages, page);
    enter(memory, page);
}

static uint32_t victim(struct quire_sim_memory *memory, uint32_t incoming)
{
    struct state *state = memory->state;
    struct link *links = memory->pages;
    if (!list_is_empty(links, SECOND))
        return list_pop(links, SECOND);
    state->n_first--;
    return list_pop(links, FIRST);
}

static void forget(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    state->n_first -= !(memory->flags[page] & IN_SECOND);
    list_remove(memory->pages, page);
}

SIM_REPLAY(0, hit, victim, enter)

const struct quire_sim_policy sim_segmented_fifo = {
    .name = "segmented-fifo",
    .about = "FIFO with a second segment (segmented-fifo:PERCENT; 25)",
    .has_argument = true,
    .page_bytes = sizeof(struct link),
    .state_bytes = sizeof(struct state),
    .open = open_segmented,
    .hit = hit,
    .victim = victim,
    .admit = enter,
    .forget = forget,
    .replay = replay};
