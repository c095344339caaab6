/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report_run: see report_run.h.
 *
 *   what the run publishes --build_json--> as `quire run --stats' writes it --report_read--> report
 *
 * The same format and the same checks as for a file, so that there is one page. What the run does
 * not publish is left out or null: how it ended, the map of its addresses.
 */
#include "cli/report_run.h"

#include "base/control.h"
#include "base/sys.h"
#include "cli/json_text.h"
#include "cli/summary.h"

#include <quire/observe.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct run_view { /* all that is known of it */
    struct quire_observe *observe;
    struct quire_observe_run run;
    const struct quire_observe_run_process *processes; /* of all runs */
    size_t n_processes;
    struct quire_observe_run_moment moments[QUIRE_OBSERVE_N_MOMENTS];
    size_t n_moments;
    double wall_s;   /* since its start */
    uint64_t now_ns; /* then, CLOCK_MONOTONIC */
};

static double seconds_at(const struct run_view *view, uint64_t at_ns)
{
    return view->wall_s - ((double)view->now_ns - (double)at_ns) / 1e9;
}

static bool is_of(const struct quire_observe_runs *runs, const struct quire_observe_run *run,
                  uint64_t pid)
{
    if (run->keeper == pid || run->launcher == pid)
        return true;
    for (size_t i = 0; i < runs->n_processes; i++)
        if (runs->processes[i].keeper == run->keeper && runs->processes[i].pid == pid)
            return true;
    return false;
}

/* 0 or -ESRCH. */
static int find_run(struct run_view *view, int pid)
{
    struct quire_observe_runs runs;
    struct timespec up;
    int error = quire_observe_runs(view->observe, &runs);
    const struct quire_observe_run *run = NULL;

    for (size_t i = 0; error == 0 && run == NULL && i < runs.n; i++)
        if (is_of(&runs, &runs.list[i], (uint64_t)pid))
            run = &runs.list[i];
    if (run == NULL)
        return error < 0 ? error : -ESRCH;
    view->run = *run;
    view->processes = runs.processes;
    view->n_processes = runs.n_processes;
    clock_gettime(CLOCK_BOOTTIME, &up);
    view->now_ns = sys_now_ns();
    view->wall_s = (double)up.tv_sec + (double)up.tv_nsec / 1e9 - (double)run->start_ms / 1e3;
    if (quire_observe_run_history(view->observe, run->keeper, view->moments, &view->n_moments) < 0)
        view->n_moments = 0; /* it has just ended: its last figures are there */
    return 0;
}

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

#define SET(key, value) (bad |= json_object_set_new(json, (key), (value)))

static const char *const fault_keys[QUIRE_OBSERVE_N_FAULTS] = {
    [QUIRE_OBSERVE_FIRST_TOUCH] = "first_touch", [QUIRE_OBSERVE_FROM_STAGING] = "staging",
    [QUIRE_OBSERVE_SAME_FILLED] = "same_filled", [QUIRE_OBSERVE_FROM_RAM] = "ram",
    [QUIRE_OBSERVE_FROM_FILE] = "file",          [QUIRE_OBSERVE_COPY] = "copy",
    [QUIRE_OBSERVE_FIRST_WRITE] = "first_write"};

static int set_counts(const struct run_view *view, json_t *json)
{
    const struct quire_observe_run *run = &view->run;
    json_t *faults = json_object(), *bounds = json_array(), *counts = json_array();
    uint64_t n_faults = 0;
    int bad = 0;

    for (int i = 0; i < QUIRE_OBSERVE_N_FAULTS; i++) {
        bad |= json_object_set_new(faults, fault_keys[i], number(run->faults[i]));
        n_faults += run->faults[i];
    }
    for (unsigned i = 0; i < QUIRE_OBSERVE_N_LATENCIES; i++) {
        if (run->latency[i] == 0)
            continue;
        bad |= json_array_append_new(bounds, number(control_latency_bound_ns(i)));
        bad |= json_array_append_new(counts, number(run->latency[i]));
    }
    SET("faults", faults);
    SET("fault_wait",
        json_pack("{s:o, s:o, s:o, s:o, s:{s:o, s:o}}", "mean_ns",
                  number(n_faults > 0 ? run->fault_ns / n_faults : 0), "p50_ns",
                  number(quire_observe_latency_ns(NULL, run, 500)), "p99_ns",
                  number(quire_observe_latency_ns(NULL, run, 990)), "total_ns",
                  number(run->fault_ns), "histogram", "upper_ns", bounds, "faults", counts));
    SET("processes", number(run->n_processes));
    SET("waits_for_room", number(run->waits_for_room));
    SET("evictions", number(run->evicted_pages));
    SET("dropped_dead_pages", number(run->dead_pages));
    SET("written_pages", number(run->written_pages));
    SET("same_filled_pages", number(run->same_filled_pages));
    return bad;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static int set_memory(const struct run_view *view, json_t *json)
{
    const struct quire_observe_run *run = &view->run;
    uint64_t needed = run->resident + run->staged + run->stored, compressed = run->compressed,
             file = run->file, unmanaged = run->unmanaged;
    int bad = 0;

    for (size_t i = 0; i < view->n_moments; i++) {
        const struct quire_observe_run_moment *moment = &view->moments[i];
        needed = larger(needed, moment->resident + moment->staged + moment->stored);
        compressed = larger(compressed, moment->compressed);
        file = larger(file, moment->file);
        unmanaged = larger(unmanaged, moment->unmanaged);
    }
    SET("budget_bytes", number(run->budget));
    SET("swap_max_bytes", number(run->swap_most));
    SET("peak_held_bytes", number(run->peak_held));
    SET("peak_needed_bytes", number(needed));
    SET("peak_compressed_bytes", number(compressed));
    SET("peak_file_bytes", number(file));
    SET("unmanaged_rss_bytes", number(unmanaged));
    SET("compression_ratio", run->packed_bytes > 0
                                 ? json_real((double)run->packed_pages * (double)SYS_PAGE_SIZE /
                                             (double)run->packed_bytes)
                                 : json_null());
    return bad;
}

/* A list of one member of each moment, by its place in the struct. */
static json_t *series_of(const struct run_view *view, size_t offset)
{
    json_t *list = json_array();
    double last_s = 0;
    uint64_t value;

    for (size_t i = 0; i < view->n_moments; i++) {
        double at_s = seconds_at(view, view->moments[i].at_ns);
        if (at_s <= last_s)
            continue;
        last_s = at_s;
        memcpy(&value, (const char *)&view->moments[i] + offset, sizeof value);
        json_array_append_new(list, offset == offsetof(struct quire_observe_run_moment, at_ns)
                                        ? json_real(at_s)
                                        : number(value));
    }
    return list;
}

static json_t *build_timeline(const struct run_view *view)
{
#define OF(key, member)                                        \
    {                                                          \
        key, offsetof(struct quire_observe_run_moment, member) \
    }
    static const struct {
        const char *key;
        size_t offset;
    } series[] = {
        OF("seconds", at_ns),
        OF("resident_bytes", resident),
        OF("staged_bytes", staged),
        OF("compressed_bytes", compressed),
        OF("metadata_bytes", metadata),
        OF("unmanaged_bytes", unmanaged),
        OF("stored_page_bytes", stored),
        OF("file_bytes", file),
        OF("faults_first_touch", faults[QUIRE_OBSERVE_FIRST_TOUCH]),
        OF("faults_staging", faults[QUIRE_OBSERVE_FROM_STAGING]),
        OF("faults_same_filled", faults[QUIRE_OBSERVE_SAME_FILLED]),
        OF("faults_ram", faults[QUIRE_OBSERVE_FROM_RAM]),
        OF("faults_file", faults[QUIRE_OBSERVE_FROM_FILE]),
        OF("faults_copy", faults[QUIRE_OBSERVE_COPY]),
        OF("faults_first_write", faults[QUIRE_OBSERVE_FIRST_WRITE]),
        OF("evictions", evicted_pages),
        OF("packed_pages", packed_pages),
        OF("packed_bytes", packed_bytes),
        OF("fault_wait_ns", fault_ns),
    };
#undef OF
    json_t *json = json_object();
    int bad = 0;

    for (size_t i = 0; i < sizeof series / sizeof series[0]; i++)
        SET(series[i].key, series_of(view, series[i].offset));
    SET("heat", json_array());
    SET("heat_problem", json_null());
    if (bad == 0)
        return json;
    json_decref(json);
    return NULL;
}

/* Those that live; *cpu_s: what they have used of the processors. */
static json_t *build_processes(const struct run_view *view, double *cpu_s)
{
    json_t *list = json_array();

    for (size_t i = 0; i < view->n_processes; i++) {
        const struct quire_observe_run_process *part = &view->processes[i];
        struct quire_observe_process process;
        if (part->keeper != view->run.keeper ||
            quire_observe_process(view->observe, (int)part->pid, QUIRE_OBSERVE_STAT, &process) < 0)
            continue;
        double first_s = ((double)process.start_ms - (double)view->run.start_ms) / 1e3;
        *cpu_s += (double)process.cpu_ms / 1e3;
        json_array_append_new(
            list,
            json_pack("{s:o, s:o, s:f, s:f, s:o, s:o, s:o}", "pid", number(part->pid), "name",
                      json_text(process.name), "first_seconds", first_s > 0 ? first_s : 0.0,
                      "last_seconds", view->wall_s, "peak_held_bytes",
                      number(part->resident + part->staged + part->compressed + part->metadata),
                      "faults", number(part->faults), "fault_wait_ns", number(part->fault_ns)));
    }
    return list;
}

static json_t *build_start_time(const struct run_view *view)
{
    char text[32];
    struct tm parts;
    time_t at = time(NULL) - (time_t)view->wall_s;

    if (gmtime_r(&at, &parts) == NULL || strftime(text, sizeof text, "%FT%TZ", &parts) == 0)
        return json_null();
    return json_string(text);
}

static json_t *build_json(const struct run_view *view)
{
    const struct quire_observe_run *run = &view->run;
    json_t *json = json_object();
    double cpu_s = 0;
    int bad = 0;

    SET("format", json_string(SUMMARY_FORMAT));
    SET("format_version", json_integer(SUMMARY_FORMAT_VERSION));
    SET("version", json_string(QUIRE_VERSION));
    SET("started", build_start_time(view));
    SET("command", json_pack("[o]", json_text(run->command)));
    SET("options",
        json_pack("{s:s, s:s, s:s, s:o}", "policy", run->policy, "prefetch", run->prefetch, "codec",
                  run->codec, "swap_max_bytes", number(run->swap_most)));
    SET("machine", summary_machine());
    bad |= set_memory(view, json) | set_counts(view, json);
    SET("process_list", build_processes(view, &cpu_s));
    SET("timeline", build_timeline(view));
    SET("wall_seconds", json_real(view->wall_s));
    SET("user_seconds", json_real(cpu_s)); /* /proc/PID/stat, together */
    SET("system_seconds", json_real(0));
    SET("exit_status", json_null());
    SET("ended_by", json_null());
    if (bad == 0)
        return json;
    json_decref(json);
    return NULL;
}

#undef SET

int report_of_run(struct report *report, int pid, char *message)
{
    static struct run_view view; /* some 40 KiB */
    int error = quire_observe_open(NULL, &view.observe);

    if (error < 0) {
        snprintf(message, REPORT_MESSAGE_BYTES, "cannot read /proc: %s", strerror(-error));
        return error;
    }
    error = find_run(&view, pid);
    if (error == -ESRCH)
        snprintf(message, REPORT_MESSAGE_BYTES,
                 "process %d is in no run of Quire that publishes its figures\n`quire ps --runs' "
                 "lists those that do",
                 pid);
    json_t *json = error == 0 ? build_json(&view) : NULL;
    quire_observe_close(view.observe);
    if (error < 0)
        return error;
    return json != NULL ? report_read(report, json, message) : -ENOMEM;
}
