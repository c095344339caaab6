/* SPDX-License-Identifier: Apache-2.0 */
/* fifo: the page that came in first goes. With some references more RAM means more faults: L.
 * Belady, R. Nelson, G. Shedler, "An anomaly in space-time characteristics of certain programs
 * running in a paging machine", CACM 12(6), 1969. */
#include "sim/rules.h"

#define LIST 0u

static int open_fifo(struct quire_sim_memory *memory)
{
    list_init(memory->pages, LIST);
    return 0;
}

static uint32_t victim(struct quire_sim_memory *memory, uint32_t incoming)
{
    struct link *links = memory->pages;
    uint32_t page = list_pop(links, LIST), next = list_oldest(links, LIST);
    __builtin_prefetch(&links[links[next].newer]);
    __builtin_prefetch(&memory->flags[next]);
    return page;
}

static void admit(struct quire_sim_memory *memory, uint32_t page)
{
    list_push(memory->pages, LIST, page);
}

static void forget(struct quire_sim_memory *memory, uint32_t page)
{
    list_remove(memory->pages, page);
}

SIM_REPLAY(0, NULL, victim, admit)

const struct quire_sim_policy sim_fifo = {.name = "fifo",
                                          .about = "first in, first out",
                                          .page_bytes = sizeof(struct link),
                                          .open = open_fifo,
                                          .victim = victim,
                                          .admit = admit,
                                          .forget = forget,
                                          .replay = replay};
