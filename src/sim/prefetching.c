/* SPDX-License-Identifier: Apache-2.0 */
/* prefetching: see prefetching.h. Pages have 32 bits there: the low ones of their numbers. */
#include "sim/prefetching.h"

#include "sim/rules.h"

#include <errno.h>
#include <stdlib.h>

#define TOUCH_WINDOW 32u /* as in pager/fault.c */
#define MOST_SKIPPED \
    1024u /* pages that are there, in the middle of a stream: as in pager/fault.c */

static const enum prefetch_kind kinds[QUIRE_SIM_N_PREFETCH] = {
    [QUIRE_SIM_PREFETCH_NONE] = PREFETCH_NONE,
    [QUIRE_SIM_PREFETCH_CLUSTER] = PREFETCH_CLUSTERS,
    [QUIRE_SIM_PREFETCH_STRIDE] = PREFETCH_STRIDES,
    [QUIRE_SIM_PREFETCH_ADAPTIVE] = PREFETCH_ADAPTIVE};

const char *quire_sim_prefetch_name(enum quire_sim_prefetch prefetch)
{
    return prefetch_name(kinds[prefetch]);
}

int prefetching_open(struct prefetching *prefetching, enum quire_sim_prefetch kind,
                     uint64_t n_pages)
{
    prefetching->most = prefetch_most(n_pages);
    if (kind == QUIRE_SIM_PREFETCH_NONE)
        return 0;
    prefetching->prefetch = malloc(sizeof *prefetching->prefetch);
    if (prefetching->prefetch == NULL)
        return -ENOMEM;
    prefetch_init(prefetching->prefetch, kinds[kind]);
    return 0;
}

void prefetching_close(struct prefetching *prefetching)
{
    free(prefetching->prefetch);
}

static void bring(struct quire_sim_memory *memory, uint32_t page, uint8_t flags)
{
    if (memory->n_resident >= memory->n_frames)
        replay_evict(memory, memory->policy->victim(memory, page));
    replay_arrive(memory, page, flags);
    memory->policy->admit(memory, page);
}

struct neighbour {
    uint64_t base; /* the upper bits of page numbers */
    uint32_t owner;
    uint32_t end; /* of numbers that have been touched; others are known to a batch that goes on */
};

static struct neighbour neighbour_of(const struct prefetching *prefetching,
                                     const struct pages *pages, uint32_t page)
{
    return (struct neighbour){pages_key(pages, page) & ~(uint64_t)UINT32_MAX,
                              pages_owner(pages, page), prefetching->end};
}

/* The page beside one that was missed, if it was ever there; 0: it was not. */
static uint32_t find(const struct pages *pages, const struct neighbour *near, uint32_t low)
{
    const uint32_t page = pages_look(pages, near->base | low, near->owner);
    return page < near->end ? page : 0;
}

static bool is_new(const struct quire_sim_memory *memory, uint32_t page)
{
    return memory->policy->is_new != NULL && memory->policy->is_new(memory, page);
}

static bool is_armed(const struct quire_sim_memory *memory)
{
    return memory->policy->is_armed == NULL || memory->policy->is_armed(memory);
}

/* Brings it in, if it is absent, and new or not. Never so much that the missed page goes again. */
static bool bring_ahead(struct quire_sim_memory *memory, uint32_t page, bool new)
{
    if (page == 0 || (memory->flags[page] & QUIRE_SIM_RESIDENT) || is_new(memory, page) != new)
        return false;
    bring(memory, page, QUIRE_SIM_AHEAD);
    memory->counts.prefetched++;
    return true;
}

/* How many from `page` on are there, and will not be missed when a stream gets to them. */
static uint32_t count_there(const struct quire_sim_memory *memory, const struct pages *pages,
                            const struct neighbour *near, uint32_t page)
{
    uint32_t n = 0;
    for (uint32_t next; page + n >= page && n < MOST_SKIPPED; n++) {
        next = find(pages, near, page + n);
        if (next == 0 || !(memory->flags[next] & QUIRE_SIM_RESIDENT))
            break;
    }
    return n;
}

/* As in pager/fault.c; but what was never touched can't come along. */
static void bring_new(struct prefetching *prefetching, struct quire_sim_memory *memory,
                      const struct pages *pages, uint32_t missed)
{
    const struct neighbour near = neighbour_of(prefetching, pages, missed);
    const uint32_t page = (uint32_t)pages_key(pages, missed),
                   window = readahead_window(&prefetching->touch, page, TOUCH_WINDOW);
    uint32_t n = 1;
    for (; n < window && n < memory->n_frames / 4 && page + n > page; n++) {
        const uint32_t next = find(pages, &near, page + n);
        if (next != 0 && !bring_ahead(memory, next, true))
            break;
    }
    if (n < window)
        readahead_cut(&prefetching->touch, page, n, 0);
}

static void bring_others(struct prefetching *prefetching, struct quire_sim_memory *memory,
                         const struct pages *pages, uint32_t missed)
{
    const struct neighbour near = neighbour_of(prefetching, pages, missed);
    const uint32_t page = (uint32_t)pages_key(pages, missed);
    const uint32_t most = memory->n_frames / 4 < prefetching->most
                              ? (uint32_t)(memory->n_frames / 4)
                              : prefetching->most;
    uint32_t window[PREFETCH_MOST] = {missed}, n_pages = 1, n_others = 0;
    struct prefetch_plan plan;
    if (page == UINT32_MAX || most == 0)
        return;
    prefetch_plan(prefetching->prefetch, page, most, &plan);
    for (; n_pages < plan.n_pages && page + n_pages > page; n_pages++) {
        window[n_pages] = find(pages, &near, page + n_pages);
        if (!bring_ahead(memory, window[n_pages], false))
            break;
    }
    if (plan.is_stream && memory->policy->streamed != NULL)
        memory->policy->streamed(memory, window, n_pages);
    const uint32_t n_there = n_pages < plan.n_pages
                                 ? count_there(memory, pages, &near, page + n_pages)
                                 : 0;
    for (uint32_t i = 0; i < plan.n_runs; i++)
        for (uint32_t k = 0; k < plan.run[i].n_pages; k++)
            n_others += bring_ahead(memory, find(pages, &near, plan.run[i].first + k), false);
    uint32_t watched = plan.watch != UINT32_MAX ? find(pages, &near, plan.watch) : 0;
    prefetch_done(prefetching->prefetch, &plan, page, n_pages, n_others, n_there,
                  watched != 0 && !(memory->flags[watched] & QUIRE_SIM_RESIDENT));
}

void prefetching_replay(struct prefetching *prefetching, struct quire_sim_memory *memory,
                        const struct pages *pages, const uint32_t *references, size_t n)
{
    for (size_t i = 0; i < n; i++, memory->now++) {
        const uint32_t page = reference_page(references[i]);
        const uint8_t dirty = references[i] & REFERENCE_WRITE ? QUIRE_SIM_DIRTY : 0;
        uint8_t *flags = &memory->flags[page];
        if (*flags & QUIRE_SIM_RESIDENT) {
            memory->counts.prefetch_hits += (*flags & QUIRE_SIM_AHEAD) != 0;
            *flags = (uint8_t)((*flags & ~QUIRE_SIM_AHEAD) | dirty);
            if (memory->policy->hit != NULL)
                memory->policy->hit(memory, page);
        } else {
            memory->counts.faults++;
            if (memory->sizes != NULL)
                memory->counts.fault_bytes += memory->sizes[i];
            const bool is_first = page >= prefetching->end, was_new = is_new(memory, page);
            bring(memory, page, dirty);
            if (is_first)
                prefetching->end = page + 1;
            else if (was_new && is_armed(memory))
                bring_new(prefetching, memory, pages, page);
            else if (!was_new)
                bring_others(prefetching, memory, pages, page);
        }
        memory->counts.resident_sum += memory->n_resident;
    }
}
