/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top_past: the chosen run over time. Its own record of the last minutes comes first, where it can
 * be had; then each sample adds a moment. In a recording the moments are those that were passed.
 *
 * Invariant: the moments rise in at_ns.
 */
#include "cli/top.h"

#include "base/sys.h"

#include <errno.h>
#include <string.h>

#define SLABS_EVERY_NS ((uint64_t)2 * 1000 * 1000 * 1000)

const struct quire_observe_run *top_run(const struct top *top)
{
    if (top->sample == NULL || top->past.keeper == 0)
        return NULL;
    for (size_t i = 0; i < top->sample->runs.n; i++)
        if (top->sample->runs.list[i].keeper == top->past.keeper)
            return &top->sample->runs.list[i];
    return NULL;
}

static void add_moment(struct top_past *past, const struct quire_observe_run *run)
{
    while (past->n > 0 && past->moments[past->n - 1].at_ns >= run->at_ns)
        past->n--; /* back in time */
    if (past->n == QUIRE_OBSERVE_N_MOMENTS) {
        memmove(past->moments, past->moments + 1, (past->n - 1) * sizeof past->moments[0]);
        past->n--;
    }
    past->moments[past->n++] = (struct quire_observe_run_moment){
        .at_ns = run->at_ns,
        .budget = run->budget,
        .resident = run->resident,
        .staged = run->staged,
        .compressed = run->compressed,
        .metadata = run->metadata,
        .file = run->file,
    };
}

/* Two publications, for what happened between them. */
static void keep_two(struct top_past *past, const struct quire_observe_run *run)
{
    if (past->n_known > 0 && past->newer.at_ns == run->at_ns)
        return;
    bool is_later = past->n_known > 0 && past->newer.at_ns < run->at_ns;
    if (is_later)
        past->older = past->newer;
    past->newer = *run;
    past->n_known = is_later ? 2 : 1;
}

static void take_recorded_slabs(struct top *top)
{
    struct top_past *past = &top->past;
    const struct sample_heaps *heaps = &top->sample->heaps;

    past->slabs_pid = 0;
    past->slabs_error = top->sample->parts & SAMPLE_HEAPS ? -ESRCH : -ENODATA;
    for (size_t i = 0; i < heaps->n; i++) {
        if (heaps->list[i].keeper != past->keeper)
            continue;
        past->slabs = heaps->list[i].slabs;
        past->slabs_pid = (int)heaps->list[i].pid;
        past->slabs_error = 0;
    }
}

/* The largest process of the run, whose heap is looked into now and then. */
static void look_at_slabs(struct top *top)
{
    struct top_past *past = &top->past;
    uint64_t now_ns = sys_now_ns();

    if (top->feed->is_recorded)
        take_recorded_slabs(top);
    if (!top->is_this_machine || now_ns < past->slabs_next_ns)
        return;
    past->slabs_pid = sample_largest_process(&top->sample->runs, past->keeper);
    past->slabs_error = past->slabs_pid > 0 ? quire_slabs_read(past->slabs_pid, &past->slabs)
                                            : -ESRCH;
    past->slabs_next_ns = now_ns + SLABS_EVERY_NS;
}

void top_choose_run(struct top *top, uint64_t keeper)
{
    struct top_past *past = &top->past;

    past->keeper = keeper;
    past->n = 0;
    past->n_known = 0;
    past->slabs_pid = 0;
    past->slabs_error = -ENODATA;
    past->slabs_next_ns = 0;
    if (keeper == 0)
        return;
    if (top->observe != NULL &&
        quire_observe_run_history(top->observe, keeper, past->moments, &past->n) < 0)
        past->n = 0; /* it begins now */
    top_follow_run(top);
}

void top_follow_run(struct top *top)
{
    const struct quire_observe_run *run = top_run(top);

    if (run == NULL)
        return;
    keep_two(&top->past, run);
    add_moment(&top->past, run);
    if (top->page == TOP_RUN)
        look_at_slabs(top);
}
