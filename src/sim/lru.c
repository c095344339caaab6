/* SPDX-License-Identifier: Apache-2.0 */
/* lru: the page that was used longest ago goes. */
#include "sim/rules.h"

#define LIST 0u

static int open_lru(struct quire_sim_memory *memory)
{
    list_init(memory->pages, LIST);
    return 0;
}

static void hit(struct quire_sim_memory *memory, uint32_t page)
{
    struct link *links = memory->pages;
    if (links[LIST].older == page)
        return;
    list_remove(links, page);
    list_push(links, LIST, page);
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

SIM_REPLAY(sizeof(struct link), hit, victim, admit)

const struct quire_sim_policy sim_lru = {.name = "lru",
                                         .about = "least recently used",
                                         .page_bytes = sizeof(struct link),
                                         .open = open_lru,
                                         .hit = hit,
                                         .victim = victim,
                                         .admit = admit,
                                         .forget = forget,
                                         .replay = replay,
                                         .is_stack = true};
