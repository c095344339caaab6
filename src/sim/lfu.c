/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lfu: least frequently used since it came in; of these the one that was used longest ago.
 *
 *   uses     1 <-> 2 <-> 5 <-> ...        those that a page has, in order: groups
 *            |     |     |
 *            old   old   old              pages, the last use at the young end
 *
 * Everything is O(1). Source: K. Shah, A. Mitra, D. Matani, "An O(1) algorithm for implementing the
 * LFU cache eviction scheme", 2010.
 */
#include "sim/array.h"
#include "sim/rules.h"

struct node {
    uint32_t newer, older; /* 0: none */
    uint32_t group;
};

struct group {
    uint64_t uses;
    uint32_t oldest, youngest;
    uint32_t fewer, more; /* groups; 0, which is none's, is before the first and behind the last */
};

struct state {
    struct array groups;
    uint32_t n_groups, free; /* a list by `more` */
};

static struct group *groups(const struct quire_sim_memory *memory)
{
    return ((struct state *)memory->state)->groups.base;
}

static int open_lfu(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    state->n_groups = 1;
    return array_grow(&state->groups, sizeof(struct group));
}

static void close_lfu(struct quire_sim_memory *memory)
{
    array_free(&((struct state *)memory->state)->groups);
}

/* A group behind another one. 0: no memory. */
static uint32_t new_group(struct quire_sim_memory *memory, uint32_t fewer, uint64_t uses)
{
    struct state *state = memory->state;
    uint32_t group = state->free;
    if (group != 0)
        state->free = groups(memory)[group].more;
    else if (array_grow(&state->groups, (state->n_groups + 1) * sizeof(struct group)) == 0)
        group = state->n_groups++;
    else
        return 0;
    const uint32_t more = groups(memory)[fewer].more;
    groups(memory)[group] = (struct group){.uses = uses, .fewer = fewer, .more = more};
    groups(memory)[fewer].more = group;
    groups(memory)[more].fewer = group;
    return group;
}

static void enter(struct quire_sim_memory *memory, uint32_t group, uint32_t page)
{
    struct node *nodes = memory->pages;
    struct group *at = &groups(memory)[group];
    nodes[page] = (struct node){.older = at->youngest, .group = group};
    if (at->youngest != 0)
        nodes[at->youngest].newer = page;
    else
        at->oldest = page;
    at->youngest = page;
}

/* A group that loses its last page goes. */
static void leave(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    struct node *nodes = memory->pages;
    const struct node node = nodes[page];
    struct group *at = &groups(memory)[node.group];
    if (node.older != 0)
        nodes[node.older].newer = node.newer;
    else
        at->oldest = node.newer;
    if (node.newer != 0)
        nodes[node.newer].older = node.older;
    else
        at->youngest = node.older;
    if (at->oldest != 0)
        return;
    groups(memory)[at->fewer].more = at->more;
    groups(memory)[at->more].fewer = at->fewer;
    at->more = state->free;
    state->free = node.group;
}

static void hit(struct quire_sim_memory *memory, uint32_t page)
{
    const struct node *node = (struct node *)memory->pages + page;
    const uint32_t group = node->group;
    const uint64_t uses = groups(memory)[group].uses + 1;
    uint32_t more = groups(memory)[group].more;
    if (more == 0 || groups(memory)[more].uses != uses)
        more = new_group(memory, group, uses);
    if (more == 0)
        return; /* no memory: this use is not counted */
    leave(memory, page);
    enter(memory, more, page);
}

static uint32_t victim(struct quire_sim_memory *memory, uint32_t incoming)
{
    uint32_t page = groups(memory)[groups(memory)[0].more].oldest;
    leave(memory, page);
    return page;
}

static void admit(struct quire_sim_memory *memory, uint32_t page)
{
    uint32_t first = groups(memory)[0].more;
    if (first == 0 || groups(memory)[first].uses != 1)
        first = new_group(memory, 0, 1);
    enter(memory, first, page);
}

SIM_REPLAY(sizeof(struct node), hit, victim, admit)

const struct quire_sim_policy sim_lfu = {.name = "lfu",
                                         .about = "least frequently used",
                                         .page_bytes = sizeof(struct node),
                                         .state_bytes = sizeof(struct state),
                                         .open = open_lfu,
                                         .close = close_lfu,
                                         .hit = hit,
                                         .victim = victim,
                                         .admit = admit,
                                         .forget = leave,
                                         .replay = replay};
