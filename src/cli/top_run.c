/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top_run: the page of one run.
 *
 *   what it is, budget, tiers, faults and how long they took, what was packed
 *   tiers over time: a column a moment, the latest to the right    | as much as is left
 *   slabs of its largest process's heap, by what they waste        | a few rows, if there is room
 *   its processes                                                  | likewise
 */
#include "cli/top.h"

#include "cli/figures.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GRAPH_LEFT 7 /* for the scale */
#define MAX_ROWS 40

static const char *size(uint64_t bytes, struct figure_text *text)
{
    return figure_short(bytes, false, text);
}

static void draw_title(const struct top *top, const struct quire_observe_run *run)
{
    static const char *const orders[] = {"", "  parked", "  parked, stopped", "  comes back"};
    unsigned n = top_put(top, 0, 0, SCREEN_BOLD, "run %u", (unsigned)run->keeper);

    n += top_put(top, 0, n, SCREEN_WARN, "%s", orders[run->order < 4 ? run->order : 0]);
    n += top_put(top, 0, n, SCREEN_PLAIN, "  %s", run->command);
}

static void draw_budget(const struct top *top, const struct quire_observe_run *run)
{
    top_put(top, 1, 0, SCREEN_PLAIN, "budget %6s", size(run->budget, FIGURE));
    top_put_bar(top, 1, 14, 24, (double)run->held, (double)run->budget);
    top_put(top, 1, 39, SCREEN_PLAIN, "held %s  peak %s%s", size(run->held, FIGURE),
            size(run->peak_held, FIGURE), run->max_stall_ppm > 0 ? "  (auto)" : "");
}

static void draw_tiers(const struct top *top, const struct quire_observe_run *run)
{
    unsigned n = 0;

    n += top_put(top, 2, n, SCREEN_PLAIN, "tiers  ");
    n += top_put(top, 2, n, SCREEN_GOOD, "#resident %s  ", size(run->resident, FIGURE));
    n += top_put(top, 2, n, SCREEN_NOTE, "+staged %s  ", size(run->staged, FIGURE));
    n += top_put(top, 2, n, SCREEN_WARN, "=compressed %s  ", size(run->compressed, FIGURE));
    n += top_put(top, 2, n, SCREEN_BAD, ".file %s  ", size(run->file, FIGURE));
    top_put(top, 2, n, SCREEN_PLAIN, "-tables %s", size(run->metadata, FIGURE));
}

static void draw_policies(const struct top *top, const struct quire_observe_run *run)
{
    top_put(top, 3, 0, SCREEN_PLAIN, "policy %s  prefetch %s (%s of %s used)  codec %s%s",
            run->policy, run->prefetch, figure_count(run->prefetch_hits, FIGURE),
            figure_count(run->prefetched_pages, FIGURE), run->codec,
            run->codec_adapts ? " or lz4" : "");
}

/* What happened between the last two publications; zeros before there are two. */
struct happened {
    double seconds, faults[QUIRE_OBSERVE_N_FAULTS], stalled, evicted, packed, written;
};

static double a_second(uint64_t before, uint64_t after, double seconds)
{
    return after > before ? (double)(after - before) / seconds : 0;
}

static struct happened happened(const struct top_past *past)
{
    const struct quire_observe_run *before = &past->older, *after = &past->newer;
    struct happened result = {.seconds = 0};

    if (past->n_known < 2)
        return result;
    result.seconds = (double)(after->at_ns - before->at_ns) / 1e9;
    for (unsigned i = 0; i < QUIRE_OBSERVE_N_FAULTS; i++)
        result.faults[i] = a_second(before->faults[i], after->faults[i], result.seconds);
    result.stalled = a_second(before->stall_ns, after->stall_ns, result.seconds) / 1e7;
    result.evicted = a_second(before->evicted_pages, after->evicted_pages, result.seconds);
    result.packed = a_second(before->packed_pages, after->packed_pages, result.seconds);
    result.written = a_second(before->written_pages, after->written_pages, result.seconds);
    return result;
}

static void draw_faults(const struct top *top)
{
    struct happened now = happened(&top->past);

    top_put(top, 4, 0, SCREEN_PLAIN,
            "faults/s first %s  staging %s  same %s  ram %s  file %s  copy %s  write %s",
            figure_rate(now.faults[QUIRE_OBSERVE_FIRST_TOUCH], FIGURE),
            figure_rate(now.faults[QUIRE_OBSERVE_FROM_STAGING], FIGURE),
            figure_rate(now.faults[QUIRE_OBSERVE_SAME_FILLED], FIGURE),
            figure_rate(now.faults[QUIRE_OBSERVE_FROM_RAM], FIGURE),
            figure_rate(now.faults[QUIRE_OBSERVE_FROM_FILE], FIGURE),
            figure_rate(now.faults[QUIRE_OBSERVE_COPY], FIGURE),
            figure_rate(now.faults[QUIRE_OBSERVE_FIRST_WRITE], FIGURE));
}

static const char *duration(uint64_t ns, struct figure_text *text)
{
    if (ns == 0)
        return "-";
    if (ns < 100000)
        snprintf(text->buffer, sizeof text->buffer, "%.1f us", (double)ns / 1e3);
    else if (ns < 1000000000)
        snprintf(text->buffer, sizeof text->buffer, "%.2f ms", (double)ns / 1e6);
    else
        snprintf(text->buffer, sizeof text->buffer, "%.2f s", (double)ns / 1e9);
    return text->buffer;
}

static void draw_latency(const struct top *top)
{
    const struct top_past *past = &top->past;
    const struct quire_observe_run *before = past->n_known > 1 ? &past->older : NULL;
    struct happened now = happened(past);
    bool is_recent = before != NULL && quire_observe_latency_ns(before, &past->newer, 500) > 0;

    before = is_recent ? before : NULL; /* nothing now: since the start */
    unsigned n = top_put(top, 5, 0, SCREEN_PLAIN, "latency  p50 %s  p99 %s  p99.9 %s %s",
                         duration(quire_observe_latency_ns(before, &past->newer, 500), FIGURE),
                         duration(quire_observe_latency_ns(before, &past->newer, 990), FIGURE),
                         duration(quire_observe_latency_ns(before, &past->newer, 999), FIGURE),
                         is_recent ? "now" : "since its start");
    n += top_put(top, 5, n, SCREEN_PLAIN, "   stalled ");
    top_put(top, 5, n, top_style_of_stall(now.stalled), "%.1f %%", now.stalled);
}

static void draw_work(const struct top *top, const struct quire_observe_run *run)
{
    struct happened now = happened(&top->past);
    double ratio = run->packed_bytes > 0
                       ? 4096.0 * (double)run->packed_pages / (double)run->packed_bytes
                       : 0;

    top_put(top, 6, 0, SCREEN_PLAIN,
            "pages/s  evicted %s  packed %s (%.1f : 1)  written %s  stored %s  others %s",
            figure_rate(now.evicted, FIGURE), figure_rate(now.packed, FIGURE), ratio,
            figure_rate(now.written, FIGURE), size(run->stored, FIGURE),
            size(run->unmanaged, FIGURE));
}

/* ---- tiers over time ---- */

#define N_TIERS 5

static void tiers_of(const struct quire_observe_run_moment *moment, uint64_t tiers[N_TIERS])
{
    tiers[0] = moment->resident;
    tiers[1] = moment->staged;
    tiers[2] = moment->compressed;
    tiers[3] = moment->metadata;
    tiers[4] = moment->file;
}

static uint64_t sum_of(const struct quire_observe_run_moment *moment)
{
    return moment->resident + moment->metadata + moment->staged + moment->compressed + moment->file;
}

/* One column: which tier each row from the bottom up shows. */
static void draw_column(const struct top *top, unsigned row, unsigned n_rows, unsigned column,
                        const struct quire_observe_run_moment *moment, double scale)
{
    static const char *const marks[N_TIERS] = {"#", "+", "=", "-", "."};
    static const enum screen_style styles[N_TIERS] = {SCREEN_GOOD, SCREEN_NOTE, SCREEN_WARN,
                                                      SCREEN_PLAIN, SCREEN_BAD};
    uint64_t tiers[N_TIERS], sum = 0;
    unsigned done = 0;

    tiers_of(moment, tiers);
    for (unsigned tier = 0; tier < N_TIERS; tier++) {
        sum += tiers[tier];
        unsigned to = (unsigned)((double)sum / scale * n_rows + 0.5);
        for (; done < to && done < n_rows; done++)
            top->screen->put(row + n_rows - 1 - done, column, 1, styles[tier], marks[tier]);
    }
}

static void draw_graph(const struct top *top, unsigned row, unsigned n_rows, unsigned n_columns)
{
    const struct top_past *past = &top->past;
    size_t room = n_columns > GRAPH_LEFT ? n_columns - GRAPH_LEFT : 0;
    size_t n = past->n < room ? past->n : room, first = past->n - n;
    uint64_t most = 1;

    for (size_t i = first; i < past->n; i++) {
        uint64_t sum = sum_of(&past->moments[i]), budget = past->moments[i].budget;
        most = sum > most ? sum : most;
        most = budget > most ? budget : most;
    }
    if (n_rows < 2 || n == 0)
        return;
    top_put(top, row, 0, SCREEN_PLAIN, "%6s", size(most, FIGURE));
    top_put(top, row + n_rows - 1, 0, SCREEN_PLAIN, "%6s", "0");
    /* the budget, where it lies now */
    unsigned level = (unsigned)((double)past->moments[past->n - 1].budget / (double)most * n_rows);
    level = level < n_rows ? level : n_rows - 1;
    if (level > 0 && level < n_rows - 1)
        top_put(top, row + n_rows - 1 - level, 0, SCREEN_DIM, "budget");
    for (size_t i = 0; i < n; i++)
        draw_column(top, row, n_rows, (unsigned)(GRAPH_LEFT + room - n + i),
                    &past->moments[first + i], (double)most);
}

/* ---- slabs ---- */

static uint64_t waste_of(const struct quire_slabs *slabs, unsigned i)
{
    const struct quire_slabs_class *class = &slabs->classes[i];

    return class->n_pages * slabs->page_bytes - class->n_active * class->object_bytes;
}

static void draw_slabs(const struct top *top, unsigned row, unsigned n_rows)
{
    const struct top_past *past = &top->past;
    const struct quire_slabs *slabs = &past->slabs;
    bool is_shown[QUIRE_SLABS_MAX_CLASSES] = {false};
    uint64_t held = 0, waste = 0;

    if (n_rows == 0)
        return;
    if (past->slabs_error < 0 || past->slabs_pid == 0) {
        top_put(top, row, 0, SCREEN_DIM, "slabs  %s",
                past->slabs_error == -ENODATA ? "not in this recording"
                : past->slabs_error == -EPERM || past->slabs_error == -EACCES
                    ? "denied: be its user or root"
                    : "no heap of Quire to look into now");
        return;
    }
    for (unsigned i = 0; i < slabs->n_classes; i++) {
        held += slabs->classes[i].n_pages * slabs->page_bytes;
        waste += waste_of(slabs, i);
    }
    top_put(top, row, 0, SCREEN_PLAIN, "slabs  of %d: hold %s, waste %s; large objects %zu, %s",
            past->slabs_pid, size(held, FIGURE), size(waste, FIGURE), slabs->n_large,
            size(slabs->large_pages * slabs->page_bytes, FIGURE));
    for (unsigned line = 1; line < n_rows; line++) { /* the class with the most waste comes next */
        int best = -1;
        for (unsigned i = 0; i < slabs->n_classes; i++)
            if (!is_shown[i] && slabs->classes[i].n_spans > 0 &&
                (best < 0 || waste_of(slabs, i) > waste_of(slabs, (unsigned)best)))
                best = (int)i;
        if (best < 0)
            break;
        const struct quire_slabs_class *class = &slabs->classes[best];
        is_shown[best] = true;
        top_put(top, row + line, 0, SCREEN_PLAIN,
                "%7zu B  active %-8zu cached %-6zu of %-8zu held %-6s waste %s",
                class->object_bytes, class->n_active, class->n_cached, class->n_objects,
                size(class->n_pages * slabs->page_bytes, FIGURE),
                size(waste_of(slabs, (unsigned)best), FIGURE));
    }
}

/* ---- processes ---- */

/* As the system has it; NULL: it has ended, and nobody has taken its place in the run yet. */
static const struct quire_observe_process *find(const struct top *top, uint64_t pid)
{
    const struct quire_observe_processes *processes = &top->sample->processes;

    for (size_t i = 0; i < processes->n; i++)
        if ((uint64_t)processes->list[i].pid == pid)
            return &processes->list[i];
    return NULL;
}

static size_t count_processes(const struct top *top)
{
    const struct quire_observe_runs *runs = &top->sample->runs;
    size_t n = 0;

    for (size_t i = 0; i < runs->n_processes; i++)
        n += runs->processes[i].keeper == top->past.keeper &&
             find(top, runs->processes[i].pid) != NULL;
    return n;
}

static void draw_processes(const struct top *top, unsigned row, unsigned n_rows)
{
    const struct quire_observe_runs *runs = &top->sample->runs;
    unsigned line = 1;

    if (n_rows < 2)
        return;
    char heading[128];
    snprintf(heading, sizeof heading, "%8s %-16s %8s %8s %8s %8s %10s", "PID", "NAME", "RESIDENT",
             "STAGED", "COMPR", "FILE", "FAULTS");
    top->screen->put(row, 0, 1000, SCREEN_HEADING, heading);
    for (size_t i = 0; i < runs->n_processes && line < n_rows; i++) {
        const struct quire_observe_run_process *process = &runs->processes[i];
        const struct quire_observe_process *known = find(top, process->pid);
        if (process->keeper != top->past.keeper || known == NULL)
            continue;
        top_put(top, row + line++, 0, SCREEN_PLAIN, "%8u %-16.16s %8s %8s %8s %8s %10s",
                (unsigned)process->pid, known->name, size(process->resident, FIGURE),
                size(process->staged, FIGURE), size(process->compressed, FIGURE),
                size(process->file, FIGURE), figure_count(process->faults, FIGURE));
    }
}

void top_draw_run(struct top *top, unsigned n_rows, unsigned n_columns)
{
    const struct quire_observe_run *run = top_run(top);
    const unsigned head = 7;

    if (run == NULL) { /* its last figures stay, so that they can be read */
        run = &top->past.newer;
        snprintf(top->message, sizeof top->message, "run %u has ended; Esc goes back",
                 (unsigned)top->past.keeper);
    }
    draw_title(top, run);
    draw_budget(top, run);
    draw_tiers(top, run);
    draw_policies(top, run);
    draw_faults(top);
    draw_latency(top);
    draw_work(top, run);
    unsigned left = n_rows > head ? n_rows - head : 0;
    unsigned processes = (unsigned)count_processes(top) + 1;
    processes = processes < left / 4 ? processes : left / 4;
    processes = processes > 1 ? processes : 0;
    unsigned slabs = left / 4 < 6 ? left / 4 : 6, graph = left - processes - slabs;
    draw_graph(top, head, graph, n_columns);
    draw_slabs(top, head + graph, slabs);
    draw_processes(top, head + graph + slabs, processes);
}
