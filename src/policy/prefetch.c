/* SPDX-License-Identifier: Apache-2.0 */
/* prefetch: see prefetch.h. */
#include "policy/prefetch.h"

#include <string.h>

#define NONE UINT32_MAX
#define SKIPPED_MOST 32 /* steps that were there already: a stride goes on behind them */
#define RATE_ONE 1024u
#define RATE_WEIGHT 64u
/* A page that is not used costs its own way in, and the way out of another, which may be used. */
#define RATE_ON (RATE_ONE * 3 / 4)
#define RATE_OFF (RATE_ONE * 5 / 8)

static const char *const names[PREFETCH_N_KINDS] = {
    [PREFETCH_ADAPTIVE] = "adaptive",
    [PREFETCH_NONE] = "none",
    [PREFETCH_CLUSTERS] = "cluster",
    [PREFETCH_STRIDES] = "stride",
};

int prefetch_find(const char *name)
{
    for (int kind = 0; kind < PREFETCH_N_KINDS; kind++)
        if (strcmp(names[kind], name) == 0)
            return kind;
    return -1;
}

const char *prefetch_name(enum prefetch_kind kind)
{
    return names[kind];
}

void prefetch_init(struct prefetch *prefetch, enum prefetch_kind kind)
{
    *prefetch = (struct prefetch){.kind = kind};
    prefetch->vote.expected = prefetch->vote.last = NONE;
    prefetch->watch.lot = 1;
    memset(prefetch->watch.page, 0xff, sizeof prefetch->watch.page);
}

/* What is watched */

static void note_watched(struct prefetch *prefetch, uint32_t at, bool was_missed)
{
    uint32_t *rate = &prefetch->watch.rate;
    *rate -= *rate / RATE_WEIGHT;
    if (was_missed) {
        *rate += RATE_ONE / RATE_WEIGHT;
        prefetch->n_used += prefetch->watch.n_brought[at];
    }
    prefetch->watch.pays = *rate >= (prefetch->watch.pays ? RATE_OFF : RATE_ON);
    prefetch->watch.page[at] = NONE;
}

static void look_for_watched(struct prefetch *prefetch, uint32_t page)
{
    for (uint32_t i = 0; i < PREFETCH_WATCHED; i++) {
        if (prefetch->watch.page[i] == page)
            note_watched(prefetch, i, true);
    }
}

/* A number below n. Source: G. Marsaglia, "Xorshift RNGs", 2003. */
static uint32_t draw(struct prefetch *prefetch, uint32_t n)
{
    uint32_t lot = prefetch->watch.lot;
    lot ^= lot << 13;
    lot ^= lot >> 17;
    lot ^= lot << 5;
    prefetch->watch.lot = lot;
    return (uint32_t)((uint64_t)lot * n >> 32);
}

/*
 * The one that was watched longest makes place: it was not missed. The new one stands for all that
 * came along since.
 */
static void watch(struct prefetch *prefetch, uint32_t page)
{
    uint32_t at = prefetch->watch.next++ % PREFETCH_WATCHED;
    if (prefetch->watch.page[at] != NONE)
        note_watched(prefetch, at, false);
    prefetch->watch.page[at] = page;
    prefetch->watch.n_brought[at] = prefetch->watch.n_pending;
    prefetch->watch.n_pending = 0;
    prefetch->watch.n_until = PREFETCH_SAMPLE / 2 + draw(prefetch, PREFETCH_SAMPLE + 1);
}

/* Neighbours */

static void add_run(struct prefetch_plan *plan, uint32_t first, uint32_t end)
{
    if (first >= end)
        return;
    plan->run[plan->n_runs].first = first;
    plan->run[plan->n_runs++].n_pages = end - first;
}

/* All of the block, but for the page that is watched. */
static void plan_cluster(struct prefetch_plan *plan, uint32_t page, uint32_t most)
{
    uint32_t first = page & ~(PREFETCH_CLUSTER - 1), end = first + PREFETCH_CLUSTER;
    if (plan->watch >= first && plan->watch < page) {
        add_run(plan, first, plan->watch);
        first = plan->watch + 1;
    }
    add_run(plan, first, page);
    if (plan->watch > page && plan->watch < end) {
        add_run(plan, plan->watch + 1, end);
        end = plan->watch;
    }
    plan->n_pages = end - page < most ? end - page : most;
}

static void plan_neighbours(struct prefetch *prefetch, struct prefetch_plan *plan, uint32_t page,
                            uint32_t most, bool bring)
{
    plan->by_neighbours = true;
    if (prefetch->watch.n_until > 0)
        prefetch->watch.n_until--;
    if (prefetch->watch.n_until == 0) /* another one of the block; until one is absent */
        plan->watch = page ^ (1 + draw(prefetch, PREFETCH_CLUSTER - 1));
    if (bring)
        plan_cluster(plan, page, most);
}

/* Strides */

/* What more than half of the last n distances are, or 0. */
static int32_t majority(const struct prefetch *prefetch, uint32_t n)
{
    const uint32_t end = prefetch->vote.n;
    int32_t candidate = 0;
    uint32_t lead = 0, n_votes = 0;
    for (uint32_t i = end - n; i != end; i++) {
        int32_t distance = prefetch->vote.distance[i % PREFETCH_HISTORY];
        if (lead == 0)
            candidate = distance;
        lead += distance == candidate ? 1u : -1u;
    }
    for (uint32_t i = end - n; i != end; i++)
        n_votes += prefetch->vote.distance[i % PREFETCH_HISTORY] == candidate;
    return n_votes > n / 2 ? candidate : 0;
}

static int32_t find_stride(const struct prefetch *prefetch)
{
    for (uint32_t n = PREFETCH_HISTORY / 8; n <= PREFETCH_HISTORY && n <= prefetch->vote.n;
         n *= 2) {
        int32_t found = majority(prefetch, n);
        if (found != 0)
            return found;
    }
    return 0;
}

/* Whether the page is where the stride goes on, perhaps behind some that were there already. */
static bool is_as_expected(const struct prefetch *prefetch, uint32_t page)
{
    int64_t stride = prefetch->vote.found;
    if (prefetch->vote.expected == NONE || stride == 0)
        return false;
    int64_t beyond = (int64_t)page - prefetch->vote.expected;
    return beyond % stride == 0 && beyond / stride >= 0 && beyond / stride <= SKIPPED_MOST;
}

static void note_distance(struct prefetch *prefetch, uint32_t page)
{
    bool expected = is_as_expected(prefetch, page);
    if (expected) {
        prefetch->n_used += prefetch->vote.n_brought;
        if (prefetch->vote.n_ahead < PREFETCH_STRIDE)
            prefetch->vote.n_ahead *= 2;
    } else if (prefetch->vote.n_brought > 0) {
        prefetch->vote.n_ahead = prefetch->vote.n_ahead > 1 ? prefetch->vote.n_ahead / 2 : 1;
    }
    if (prefetch->vote.last != NONE)
        prefetch->vote.distance[prefetch->vote.n++ % PREFETCH_HISTORY] =
            expected ? prefetch->vote.found : (int32_t)(page - prefetch->vote.last);
    prefetch->vote.last = page;
    prefetch->vote.n_brought = 0;
    prefetch->vote.expected = NONE;
}

/* A stride of one page is a window, and any other a number of pages one by one. */
static void plan_stride(struct prefetch *prefetch, struct prefetch_plan *plan, uint32_t page,
                        uint32_t most)
{
    int32_t stride = find_stride(prefetch);
    if (stride != prefetch->vote.found || prefetch->vote.n_ahead == 0)
        prefetch->vote.n_ahead = 1;
    prefetch->vote.found = stride;
    if (stride == 0)
        return;
    plan->by_stride = true;
    if (stride == 1) {
        plan->is_stream = true;
        plan->n_pages = prefetch->vote.n_ahead + 1 < most ? prefetch->vote.n_ahead + 1 : most;
        return;
    }
    for (uint32_t i = 1; i <= prefetch->vote.n_ahead; i++) {
        int64_t next = (int64_t)page + (int64_t)i * stride;
        if (next >= 0 && next < NONE)
            add_run(plan, (uint32_t)next, (uint32_t)next + 1);
    }
}

static bool is_alone(const struct prefetch_plan *plan)
{
    return plan->n_pages == 1 && plan->n_runs == 0;
}

void prefetch_plan(struct prefetch *prefetch, uint32_t page, uint32_t most,
                   struct prefetch_plan *plan)
{
    *plan = (struct prefetch_plan){.n_pages = 1, .watch = NONE};
    if (prefetch->kind == PREFETCH_NONE)
        return;
    look_for_watched(prefetch, page);
    if (prefetch->kind == PREFETCH_ADAPTIVE)
        plan->n_pages = readahead_window(&prefetch->streams, page, most);
    plan->is_stream = plan->n_pages > 1;
    if (prefetch->kind != PREFETCH_CLUSTERS)
        note_distance(prefetch, page);
    if (prefetch->kind != PREFETCH_CLUSTERS && is_alone(plan))
        plan_stride(prefetch, plan, page, most);
    if (prefetch->kind != PREFETCH_STRIDES && is_alone(plan))
        plan_neighbours(prefetch, plan, page, most,
                        prefetch->kind == PREFETCH_CLUSTERS || prefetch->watch.pays);
}

void prefetch_done(struct prefetch *prefetch, const struct prefetch_plan *plan, uint32_t page,
                   uint32_t n_pages, uint32_t n_others, uint32_t n_there, bool absent)
{
    if (prefetch->kind == PREFETCH_ADAPTIVE) {
        readahead_cut(&prefetch->streams, page, n_pages, n_there);
        prefetch->n_used += readahead_used(&prefetch->streams);
    }
    if (plan->by_neighbours)
        prefetch->watch.n_pending += n_pages - 1 + n_others;
    if (absent && plan->watch != NONE)
        watch(prefetch, plan->watch);
    if (n_pages > 1)
        prefetch->vote.last = page + n_pages - 1;
    if (!plan->by_stride)
        return;
    int64_t steps = prefetch->vote.found == 1 ? n_pages : plan->n_runs + 1;
    int64_t next = (int64_t)page + steps * prefetch->vote.found;
    prefetch->vote.n_brought = n_pages - 1 + n_others;
    prefetch->vote.expected = next >= 0 && next < NONE ? (uint32_t)next : NONE;
}
