/* SPDX-License-Identifier: Apache-2.0 */
/*
 * summary: the figures of a run, from the control block and the launcher.
 *
 * Text and JSON take every figure from the same functions here, in the same units as the control
 * block has them: pages become bytes, nothing else is derived twice. Peaks are each kind's own
 * highest, so they do not add up to the peak of the sum.
 */
#include "cli/summary.h"

#include "base/size.h"
#include "base/sys.h"
#include "cli/cli.h"
#include "cli/json_file.h"
#include "cli/json_text.h"
#include "cli/lines.h"
#include "observe/machine.h"
#include "policy/policy.h"
#include "policy/prefetch.h"
#include "store/swap.h"

#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t bytes_of(int64_t pages)
{
    return pages > 0 ? (uint64_t)pages << SYS_PAGE_SHIFT : 0;
}

static uint64_t load(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static uint64_t peak_bytes(const struct summary *summary, enum control_kind kind)
{
    return bytes_of(atomic_load_explicit(&summary->control->peak[kind], memory_order_relaxed));
}

/* A cluster that a fork left to several processes is charged to each, and there once. */
static uint64_t peak_file_bytes(const struct summary *summary)
{
    const struct swap_space *space = control_swap_space(summary->control);
    const uint64_t charged = peak_bytes(summary, CONTROL_FILE);
    const uint64_t claimed = space != NULL ? (uint64_t)swap_top(space) * SWAP_CLUSTER_BYTES : 0;

    return charged < claimed ? charged : claimed;
}

static uint64_t peak_held_bytes(const struct summary *summary)
{
    return bytes_of(atomic_load_explicit(&summary->control->peak_held, memory_order_relaxed));
}

static bool follows_working_set(const struct summary *summary)
{
    return summary->control->options.max_stall_ppm > 0;
}

static double stall_percent(const struct summary *summary)
{
    const struct control_sizing *sizing = &summary->control->sizing;
    uint64_t busy = load(&sizing->busy_ns);

    return busy > 0 ? 100.0 * (double)load(&sizing->stall_ns) / (double)busy : 0;
}

static uint64_t unmanaged_bytes(const struct summary *summary)
{
    return load(&summary->control->peak_unmanaged_pages) << SYS_PAGE_SHIFT;
}

static uint64_t count_faults(const struct summary *summary)
{
    uint64_t sum = 0;

    for (int i = 0; i < CONTROL_N_FAULTS; i++)
        sum += load(&summary->totals.faults[i]);
    return sum;
}

static uint64_t mean_wait_ns(const struct summary *summary)
{
    uint64_t n = count_faults(summary);

    return n > 0 ? load(&summary->totals.fault_ns) / n : 0;
}

static uint64_t wait_quantile_ns(const struct summary *summary, unsigned permille)
{
    return control_latency_quantile_ns(&summary->totals, permille);
}

/* Bytes of pages packed by what they became; 0: nothing was packed. */
static double compression_ratio(const struct summary *summary)
{
    uint64_t packed = load(&summary->totals.stored_bytes);
    uint64_t pages = load(&summary->totals.stored_pages);

    return packed > 0 ? (double)pages * (double)SYS_PAGE_SIZE / (double)packed : 0;
}

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

/* "850 ns", "12.3 µs", "4.5 ms", "1.2 s" */
static const char *format_time(uint64_t ns, char *buffer, size_t n_bytes)
{
    if (ns < 1000)
        snprintf(buffer, n_bytes, "%" PRIu64 " ns", ns);
    else if (ns < 1000000)
        snprintf(buffer, n_bytes, "%.1f µs", (double)ns / 1e3);
    else if (ns < 1000000000)
        snprintf(buffer, n_bytes, "%.1f ms", (double)ns / 1e6);
    else
        snprintf(buffer, n_bytes, "%.1f s", (double)ns / 1e9);
    return buffer;
}

/* An estimate from samples, see policy/prefetch.h. */
static uint64_t prefetch_hits(const struct control_stats *totals)
{
    uint64_t n = load(&totals->prefetch_hits), all = load(&totals->prefetched);

    return n < all ? n : all;
}

struct text { /* one formatted amount; as many as a line has can live side by side */
    char buffer[32];
};
#define SIZE_TEXT(bytes) size_format((bytes), (struct text){""}.buffer, sizeof(struct text))
#define TIME_TEXT(ns) format_time((ns), (struct text){""}.buffer, sizeof(struct text))

static void print_end(const struct summary *summary, FILE *to)
{
    const struct launch_result *run = summary->run;
    uint64_t n = load(&summary->control->n_processes);

    if (atomic_load(&summary->control->verdict) != CONTROL_RUNNING)
        fprintf(to, "quire: ended by Quire");
    else if (WIFSIGNALED(run->wait_status))
        fprintf(to, "quire: ended by signal %d (%s)", WTERMSIG(run->wait_status),
                strsignal(WTERMSIG(run->wait_status)));
    else
        fprintf(to, "quire: exit status %d", summary->exit_status);
    fprintf(to, " after %.2f s (user %.2f s, system %.2f s), %" PRIu64 " process%s\n",
            (double)run->wall_ns / 1e9, seconds_of(run->usage.ru_utime),
            seconds_of(run->usage.ru_stime), n, n == 1 ? "" : "es");
}

static void print_budget(const struct summary *summary, FILE *to)
{
    const struct control *control = summary->control;
    const struct control_sizing *sizing = &control->sizing;
    uint64_t now = load(&control->budget_bytes), started = control->options.budget_bytes;

    fprintf(to, "  budget      %s", SIZE_TEXT(started));
    if (!follows_working_set(summary) && now != started)
        fprintf(to, ", %s at the end", SIZE_TEXT(now));
    fprintf(to, ", held %s at most; %s more that Quire does not manage\n",
            SIZE_TEXT(peak_held_bytes(summary)), SIZE_TEXT(unmanaged_bytes(summary)));
    if (!follows_working_set(summary))
        return;
    if (load(&sizing->least_seen_bytes) > 0)
        fprintf(to, "  working set %s at the end, between %s and %s",
                SIZE_TEXT(load(&sizing->last_seen_bytes)),
                SIZE_TEXT(load(&sizing->least_seen_bytes)),
                SIZE_TEXT(load(&sizing->most_seen_bytes)));
    else
        fprintf(to, "  working set not found: it ended too soon");
    fprintf(to, "; waited for pages %.1f %% of the time, %g %% allowed\n", stall_percent(summary),
            control->options.max_stall_ppm / 1e4);
}

static void print_store(const struct summary *summary, FILE *to)
{
    double ratio = compression_ratio(summary);

    fprintf(to, "  compressed  %s at most", SIZE_TEXT(peak_bytes(summary, CONTROL_POOL)));
    if (ratio > 0)
        fprintf(to, ", %.1f : 1", ratio);
    fprintf(to, "; swap file %s at most", SIZE_TEXT(peak_file_bytes(summary)));
    if (summary->swap_directory != NULL)
        fprintf(to, " in %s\n", summary->swap_directory);
    else
        fprintf(to, " (--swap none)\n");
}

/* The kernel makes it when the pager's threads are gone already. */
void summary_tell_of_core_file(const struct summary *summary)
{
    int status = summary->run->wait_status;

    if (WIFSIGNALED(status) && WCOREDUMP(status) && load(&summary->totals.evictions) > 0)
        cli_error("the kernel has made a core file of the program: what was evicted reads as zeros "
                  "there\nfor a whole one run it again with all the RAM that it needs (--ram), or "
                  "write one\nwhile it runs: `quire dump PID'");
}

static void print_all(const void *context, FILE *to)
{
    const struct summary *summary = context;
    const struct control_stats *totals = &summary->totals;

    print_end(summary, to);
    if (load(&summary->control->n_processes) == 0) {
        fprintf(to, "  no process loaded Quire's library: the program ran outside of the budget\n");
        return;
    }
    print_budget(summary, to);
    fprintf(to, "  resident    %s at most, staged %s at most, Quire's own tables %s\n",
            SIZE_TEXT(peak_bytes(summary, CONTROL_RESIDENT)),
            SIZE_TEXT(peak_bytes(summary, CONTROL_STAGED)),
            SIZE_TEXT(peak_bytes(summary, CONTROL_METADATA)));
    print_store(summary, to);
    fprintf(to,
            "  faults      %" PRIu64 " first touch, %" PRIu64 " from staging, %" PRIu64
            " from RAM, %" PRIu64 " from file, %" PRIu64 " same-filled, %" PRIu64 " copied after a "
            "fork, %" PRIu64 " first write\n",
            load(&totals->faults[CONTROL_FAULT_FIRST_TOUCH]),
            load(&totals->faults[CONTROL_FAULT_STAGING]), load(&totals->faults[CONTROL_FAULT_RAM]),
            load(&totals->faults[CONTROL_FAULT_FILE]),
            load(&totals->faults[CONTROL_FAULT_SAME_FILLED]),
            load(&totals->faults[CONTROL_FAULT_COPY]), load(&totals->faults[CONTROL_FAULT_WRITE]));
    fprintf(to, "  waiting     %s for faults in all; mean %s, p50 %s, p99 %s\n",
            TIME_TEXT(load(&totals->fault_ns)), TIME_TEXT(mean_wait_ns(summary)),
            TIME_TEXT(wait_quantile_ns(summary, 500)), TIME_TEXT(wait_quantile_ns(summary, 990)));
    fprintf(to,
            "  pages       %" PRIu64 " evicted, %" PRIu64 " dropped dead, %" PRIu64
            " same-filled, %" PRIu64 " brought in ahead (%" PRIu64 " of them used)\n",
            load(&totals->evictions), load(&totals->dropped_dead), load(&totals->same_filled),
            load(&totals->prefetched), prefetch_hits(totals));
}

void summary_print(const struct summary *summary, FILE *to)
{
    lines_fold(to, 14, print_all, summary);
}

static json_t *json_of(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *build_faults(const struct control_stats *totals)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "first_touch",
                     json_of(load(&totals->faults[CONTROL_FAULT_FIRST_TOUCH])), "staging",
                     json_of(load(&totals->faults[CONTROL_FAULT_STAGING])), "ram",
                     json_of(load(&totals->faults[CONTROL_FAULT_RAM])), "file",
                     json_of(load(&totals->faults[CONTROL_FAULT_FILE])), "same_filled",
                     json_of(load(&totals->faults[CONTROL_FAULT_SAME_FILLED])), "copy",
                     json_of(load(&totals->faults[CONTROL_FAULT_COPY])), "first_write",
                     json_of(load(&totals->faults[CONTROL_FAULT_WRITE])));
}

/* The budget over time, where it followed the working set: else null. */
static json_t *build_working_set(const struct summary *summary)
{
    const struct control *control = summary->control;
    const struct control_sizing *sizing = &control->sizing;
    json_t *samples = json_array();
    int bad = 0;

    if (!follows_working_set(summary)) {
        json_decref(samples);
        return json_null();
    }
    for (unsigned i = 0; i < atomic_load(&sizing->n_sizes) && i < CONTROL_N_SIZES; i++) {
        const struct control_size *size = &sizing->size[i];
        bad |= json_array_append_new(
            samples, json_pack("{s:f, s:o, s:o, s:f}", "seconds", atomic_load(&size->at_ms) / 1e3,
                               "budget_bytes", json_of(load(&size->budget_bytes)), "held_bytes",
                               json_of(load(&size->held_bytes)), "stall_percent",
                               atomic_load(&size->stall_ppm) / 1e4));
    }
    json_t *json = json_pack("{s:f, s:f, s:o, s:o, s:o, s:o}", "max_stall_percent",
                             control->options.max_stall_ppm / 1e4, "stall_percent",
                             stall_percent(summary), "end_bytes",
                             json_of(load(&sizing->last_seen_bytes)), "least_bytes",
                             json_of(load(&sizing->least_seen_bytes)), "most_bytes",
                             json_of(load(&sizing->most_seen_bytes)), "samples", samples);
    if (bad == 0)
        return json;
    json_decref(json);
    return NULL;
}

/* The faults by how long they took: only the classes that any fell into. */
static json_t *build_histogram(const struct control_stats *totals)
{
    json_t *bounds = json_array(), *counts = json_array();
    int bad = bounds == NULL || counts == NULL;

    for (unsigned i = 0; i < CONTROL_N_LATENCY_BUCKETS; i++) {
        uint64_t n = load(&totals->latency[i]);
        if (n == 0)
            continue;
        bad |= json_array_append_new(bounds, json_of(control_latency_bound_ns(i)));
        bad |= json_array_append_new(counts, json_of(n));
    }
    json_t *json = bad ? NULL : json_pack("{s:O, s:O}", "upper_ns", bounds, "faults", counts);
    json_decref(bounds);
    json_decref(counts);
    return json;
}

static json_t *build_fault_wait(const struct summary *summary)
{
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o}", "mean_ns", json_of(mean_wait_ns(summary)), "p50_ns",
        json_of(wait_quantile_ns(summary, 500)), "p99_ns", json_of(wait_quantile_ns(summary, 990)),
        "total_ns", json_of(load(&summary->totals.fault_ns)), "stall_ns",
        json_of(load(&summary->totals.stall_ns)), "histogram", build_histogram(&summary->totals));
}

#define SET(key, value) (bad |= json_object_set_new(json, (key), (value)))

static int set_memory(const struct summary *summary, json_t *json)
{
    const struct control *control = summary->control;
    double ratio = compression_ratio(summary);
    int bad = 0;

    SET("budget_bytes", json_of(control->options.budget_bytes));
    SET("end_budget_bytes", json_of(load(&control->budget_bytes)));
    SET("working_set", build_working_set(summary));
    SET("swap_max_bytes", json_of(control->options.swap_max_bytes));
    SET("peak_held_bytes", json_of(peak_held_bytes(summary)));
    SET("peak_needed_bytes", json_of(sampler_peak_needed_bytes(summary->sampler)));
    SET("peak_resident_bytes", json_of(peak_bytes(summary, CONTROL_RESIDENT)));
    SET("peak_staged_bytes", json_of(peak_bytes(summary, CONTROL_STAGED)));
    SET("peak_compressed_bytes", json_of(peak_bytes(summary, CONTROL_POOL)));
    SET("peak_metadata_bytes", json_of(peak_bytes(summary, CONTROL_METADATA)));
    SET("peak_file_bytes", json_of(peak_file_bytes(summary)));
    SET("compression_ratio", ratio > 0 ? json_real(ratio) : json_null());
    SET("unmanaged_rss_bytes", json_of(unmanaged_bytes(summary)));
    return bad;
}

static int set_counts(const struct summary *summary, json_t *json)
{
    const struct control_stats *totals = &summary->totals;
    int bad = 0;

    SET("faults", build_faults(totals));
    SET("fault_wait", build_fault_wait(summary));
    SET("evictions", json_of(load(&totals->evictions)));
    SET("dropped_dead_pages", json_of(load(&totals->dropped_dead)));
    SET("scrubbed_bytes", json_of(load(&totals->scrubbed_bytes)));
    SET("same_filled_pages", json_of(load(&totals->same_filled)));
    SET("compressed_pages", json_of(load(&totals->stored_pages)));
    SET("written_pages", json_of(load(&totals->written_pages)));
    SET("prefetched_pages", json_of(load(&totals->prefetched)));
    SET("prefetch_hits", json_of(prefetch_hits(totals)));
    SET("waits_for_room", json_of(load(&totals->waits_for_room)));
    SET("processes", json_of(load(&summary->control->n_processes)));
    return bad;
}

static int set_end(const struct summary *summary, json_t *json)
{
    const struct launch_result *run = summary->run;
    int bad = 0;

    SET("wall_seconds", json_real((double)run->wall_ns / 1e9));
    SET("user_seconds", json_real(seconds_of(run->usage.ru_utime)));
    SET("system_seconds", json_real(seconds_of(run->usage.ru_stime)));
    SET("exit_status", json_integer(summary->exit_status));
    SET("ended_by", atomic_load(&summary->control->verdict) == CONTROL_RUNNING
                        ? json_null()
                        : json_string(summary->control->message));
    return bad;
}

/* As given or the default; null where the budget is fixed. */
static json_t *build_max_stall(const struct summary *summary)
{
    const char *text = summary->options->max_stall_text;

    if (!follows_working_set(summary))
        return json_null();
    return json_text(text != NULL ? text : OPTIONS_DEFAULT_MAX_STALL);
}

/* Whether others could look on; if not though it was wanted, why. */
static json_t *build_publication(const struct summary *summary)
{
    const char *problem = summary->published != NULL ? summary->published->problem : "";
    bool is_published = summary->published != NULL && problem[0] == '\0';

    return json_pack("{s:b, s:o, s:o}", "is_published", is_published, "file",
                     is_published ? json_text(summary->published->path) : json_null(), "problem",
                     problem[0] != '\0' ? json_text(problem) : json_null());
}

static json_t *build_options(const struct summary *summary)
{
    const struct run_options *options = summary->options;
    const struct control_options *settled = &summary->control->options;

    return json_pack(
        "{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:b}", "policy",
        policy_name((enum policy_kind)settled->policy), "prefetch",
        prefetch_name((enum prefetch_kind)settled->prefetch), "ram",
        json_text(options->ram_text != NULL ? options->ram_text : OPTIONS_DEFAULT_RAM), "max_stall",
        build_max_stall(summary), "swap",
        options->swap_directory != NULL ? json_text(options->swap_directory) : json_null(),
        "swap_max",
        options->swap_max_text != NULL ? json_text(options->swap_max_text) : json_null(), "codec",
        json_text(options->codec_text != NULL ? options->codec_text : "auto"), "harden",
        options->harden);
}

json_t *summary_machine(void)
{
    struct utsname name;

    return json_pack("{s:o, s:o, s:o}", "memory_bytes", json_of(machine_whole_bytes("")),
                     "processors", json_integer(sysconf(_SC_NPROCESSORS_ONLN)), "kernel",
                     json_text(uname(&name) == 0 ? name.release : ""));
}

/* "2026-11-25T18:30:00Z" */
static json_t *build_start_time(const struct summary *summary)
{
    char text[32];
    struct tm parts;
    time_t at = time(NULL) - (time_t)(summary->run->wall_ns / 1000000000u);

    if (gmtime_r(&at, &parts) == NULL || strftime(text, sizeof text, "%FT%TZ", &parts) == 0)
        return json_null();
    return json_string(text);
}

static json_t *build_json(const struct summary *summary)
{
    json_t *json = json_object();
    int bad = 0;

    SET("format", json_string(SUMMARY_FORMAT));
    SET("format_version", json_integer(SUMMARY_FORMAT_VERSION));
    SET("version", json_string(QUIRE_VERSION));
    SET("started", build_start_time(summary));
    SET("command", json_text_list(summary->options->command));
    SET("options", build_options(summary));
    SET("machine", summary_machine());
    SET("publication", build_publication(summary));
    bad |= set_memory(summary, json) | set_counts(summary, json) | set_end(summary, json);
    SET("process_list", sampler_processes(summary->sampler));
    SET("timeline", sampler_timeline(summary->sampler));
    if (bad) {
        json_decref(json);
        return NULL;
    }
    return json;
}

#undef SET

int summary_write_json(const struct summary *summary, const char *path)
{
    json_t *json = build_json(summary);
    int error = json_file_write(json, path);

    json_decref(json);
    return error;
}
