/* SPDX-License-Identifier: Apache-2.0 */
/*
 * time: `quire time -- COMMAND`. What a command and all below it cost of time and memory.
 *
 *   launcher ── COMMAND ── its children ...
 *      '-- a thread: samples the tree's RSS and PSS while it runs
 *
 * Time, faults and switches are the kernel's sums of the processes that were waited for; peaks of
 * the tree are the highest sample, so a peak shorter than the distance between samples can be
 * missed (the largest process's own is exact). Looking at a large tree takes a while: the distance
 * grows so that it takes at most a fiftieth of a processor. Stalls are the system's while the
 * command ran.
 *
 * What major faults cost in time only the kernel knows, and it may have to be asked to count it:
 * waits.c. Page-cache hits: what read calls got without a device.
 *
 * Exit status: the command's own, as with `quire run`.
 */
#include "base/process.h"
#include "base/sys.h"
#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/figures.h"
#include "cli/json_file.h"
#include "cli/launch.h"
#include "cli/lines.h"
#include "cli/out_file.h"
#include "cli/resolve.h"
#include "cli/waits.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FIRST_MS 10
#define MOST_MS 1000
#define MAX_DEPTH 64

struct time_options {
    const char *json_path, *text_path; /* or NULL */
    FILE *text;                        /* where they go as text; NULL: nowhere */
    bool appends;
    char **command;
};

struct sampler {
    struct quire_observe *observe;
    int self;
    atomic_bool ended;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* the thread's until it has been joined */
    uint64_t peak_rss, peak_pss, n_peak_processes, n_samples;
    int *pids; /* of the tree, while a sample is taken */
    size_t pids_room;
    struct waits waits;
};

struct system_sample {
    struct quire_observe_counters counters;
    struct quire_observe_pressure pressure;
    struct quire_observe_process self; /* its io counts children that were waited for */
    bool is_good;
};

static void read_system(struct quire_observe *observe, struct system_sample *sample)
{
    sample->is_good = quire_observe_counters(observe, &sample->counters) == 0 &&
                      quire_observe_pressure(observe, &sample->pressure) == 0 &&
                      quire_observe_process(observe, (int)process_own_pid(), QUIRE_OBSERVE_IO,
                                            &sample->self) == 0;
}

static const struct quire_observe_process *find(const struct quire_observe_processes *processes,
                                                int pid)
{
    size_t low = 0, high = processes->n;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (processes->list[middle].pid < pid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < processes->n && processes->list[low].pid == pid ? &processes->list[low] : NULL;
}

static bool is_below(const struct quire_observe_processes *processes,
                     const struct quire_observe_process *process, int ancestor)
{
    for (unsigned depth = 0; process != NULL && depth < MAX_DEPTH; depth++) {
        if (process->parent == ancestor)
            return true;
        process = find(processes, process->parent);
    }
    return false;
}

static bool note_pid(struct sampler *sampler, size_t n, int pid)
{
    if (n == sampler->pids_room) {
        size_t room = n > 0 ? 2 * n : 64;
        int *pids = realloc(sampler->pids, room * sizeof *pids);
        if (pids == NULL)
            return false;
        sampler->pids = pids;
        sampler->pids_room = room;
    }
    sampler->pids[n] = pid;
    return true;
}

/* RSS comes with the list; PSS is read of the tree alone. */
static void take_sample(struct sampler *sampler)
{
    struct quire_observe_processes processes;
    struct quire_observe_process one;
    uint64_t rss = 0, pss = 0, n = 0;

    if (quire_observe_processes(sampler->observe, QUIRE_OBSERVE_STAT, &processes) < 0)
        return;
    for (size_t i = 0; i < processes.n; i++) {
        const struct quire_observe_process *process = &processes.list[i];
        if (!is_below(&processes, process, sampler->self) || !note_pid(sampler, n, process->pid))
            continue;
        waits_note(&sampler->waits, process);
        rss += quire_observe_known(process->rss) ? process->rss : 0;
        n++;
    }
    for (uint64_t i = 0; i < n; i++)
        if (quire_observe_process(sampler->observe, sampler->pids[i], QUIRE_OBSERVE_SHARES, &one) ==
                0 &&
            quire_observe_known(one.pss))
            pss += one.pss;
    sampler->n_samples += n > 0;
    sampler->peak_rss = rss > sampler->peak_rss ? rss : sampler->peak_rss;
    sampler->peak_pss = pss > sampler->peak_pss ? pss : sampler->peak_pss;
    sampler->n_peak_processes = n > sampler->n_peak_processes ? n : sampler->n_peak_processes;
}

static void *sample_until_end(void *context)
{
    struct sampler *sampler = context;
    uint64_t wait_ms = FIRST_MS;

    pthread_mutex_lock(&sampler->lock);
    while (!atomic_load(&sampler->ended)) {
        struct timespec until;
        uint64_t start_ns = sys_thread_ns();
        take_sample(sampler);
        waits_drain(&sampler->waits);
        wait_ms = (sys_thread_ns() - start_ns) / 1000000 * 50;
        wait_ms = wait_ms < FIRST_MS ? FIRST_MS : wait_ms > MOST_MS ? MOST_MS : wait_ms;
        clock_gettime(CLOCK_REALTIME, &until);
        uint64_t ns = (uint64_t)until.tv_nsec + wait_ms * 1000000;
        until.tv_sec += (time_t)(ns / 1000000000);
        until.tv_nsec = (long)(ns % 1000000000);
        pthread_cond_timedwait(&sampler->wake, &sampler->lock, &until);
    }
    pthread_mutex_unlock(&sampler->lock);
    return NULL;
}

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static uint64_t delta(uint64_t before, uint64_t after)
{
    if (!quire_observe_known(before) || !quire_observe_known(after))
        return quire_observe_known(before) ? after : before;
    return after > before ? after - before : 0;
}

struct report {
    const struct launch_result *run;
    const struct sampler *sampler;
    int exit_status;
    bool is_good; /* the rest is known */
    uint64_t read_calls, read_device, written_device, swapped_in, swapped_out;
    uint64_t memory_some_us, memory_full_us, io_some_us, io_full_us;
};

static void fill_in(struct report *report, const struct system_sample *before,
                    const struct system_sample *after)
{
    report->is_good = before->is_good && after->is_good;
    if (!report->is_good)
        return;
    report->read_calls = delta(before->self.io_read_calls, after->self.io_read_calls);
    report->read_device = delta(before->self.io_read_device, after->self.io_read_device);
    report->written_device = delta(before->self.io_written_device, after->self.io_written_device);
    report->swapped_in = delta(before->counters.swapped_in, after->counters.swapped_in);
    report->swapped_out = delta(before->counters.swapped_out, after->counters.swapped_out);
    report->memory_some_us = delta(before->pressure.memory_some.total_us,
                                   after->pressure.memory_some.total_us);
    report->memory_full_us = delta(before->pressure.memory_full.total_us,
                                   after->pressure.memory_full.total_us);
    report->io_some_us = delta(before->pressure.io_some.total_us, after->pressure.io_some.total_us);
    report->io_full_us = delta(before->pressure.io_full.total_us, after->pressure.io_full.total_us);
}

/*
 * The part of what calls read that no device had to be asked for, 0 to 1; below 0: not known. What
 * is read ahead, or for mapped files, is no call's, so it is at least so much.
 */
static double cache_hits(const struct report *report)
{
    if (!report->is_good || !quire_observe_known(report->read_calls) ||
        !quire_observe_known(report->read_device) || report->read_calls == 0)
        return -1;
    if (report->read_device >= report->read_calls)
        return 0;
    return 1 - (double)report->read_device / (double)report->read_calls;
}

static const char *seconds_text(uint64_t us, struct figure_text *text)
{
    if (!quire_observe_known(us))
        return figure_count(us, text);
    snprintf(text->buffer, sizeof text->buffer, "%.3f s", (double)us / 1e6);
    return text->buffer;
}

static double seconds_of_ns(uint64_t ns)
{
    return (double)ns / 1e9;
}

static void print_waits(const struct waits *waits, const struct rusage *usage, FILE *to)
{
    const struct delay_sums *sums = &waits->sums;

    switch (waits->source) {
    case WAITS_TASKSTATS:
        fprintf(to,
                "  waiting     for pages from swap %.3f s, for pages lost a moment before %.3f s, "
                "for block I/O %.3f s; to free memory %.3f s, to compact it %.3f s",
                seconds_of_ns(sums->swap_in), seconds_of_ns(sums->thrashing),
                seconds_of_ns(sums->block_io), seconds_of_ns(sums->reclaim),
                seconds_of_ns(sums->compaction));
        if (usage->ru_majflt > 0)
            fprintf(to, "; %.3f ms a major fault at most",
                    seconds_of_ns(sums->swap_in + sums->block_io) * 1e3 / (double)usage->ru_majflt);
        fputs(waits->is_complete ? "\n" : " (some are missing)\n", to);
        return;
    case WAITS_STAT:
        fprintf(to, "  waiting     for block I/O at least %.3f s; more is not known: %s\n",
                seconds_of_ns(sums->block_io), waits->reason);
        return;
    default:
        fprintf(to, "  waiting     for major faults: not known: %s\n", waits->reason);
    }
}

/* A peak that no sample met is known of the largest process alone. */
static void print_memory(const struct report *report, FILE *to)
{
    const struct sampler *sampler = report->sampler;
    const uint64_t largest = (uint64_t)report->run->usage.ru_maxrss * 1024;

    fprintf(to, "  memory      largest process %s; all together ", figure_size(largest, FIGURE));
    if (sampler->n_samples == 0) {
        fprintf(to, "not known: it was over too soon\n");
        return;
    }
    fprintf(to, "at once %s%s PSS, %s RSS in %s process%s (%s sample%s)\n",
            sampler->peak_rss < largest ? "at least " : "", figure_size(sampler->peak_pss, FIGURE),
            figure_size(sampler->peak_rss, FIGURE), figure_count(sampler->n_peak_processes, FIGURE),
            sampler->n_peak_processes == 1 ? "" : "es", figure_count(sampler->n_samples, FIGURE),
            sampler->n_samples == 1 ? "" : "s");
}

static void print_text(const void *context, FILE *to)
{
    const struct report *report = context;
    const struct rusage *usage = &report->run->usage;
    double wall = (double)report->run->wall_ns / 1e9;
    double busy = seconds_of(usage->ru_utime) + seconds_of(usage->ru_stime);

    fprintf(to,
            "quire: exit status %d after %.3f s: user %.3f s, system %.3f s, %.0f %% of a "
            "processor\n",
            report->exit_status, wall, seconds_of(usage->ru_utime), seconds_of(usage->ru_stime),
            wall > 0 ? 100 * busy / wall : 0);
    print_memory(report, to);
    fprintf(to, "  faults      %ld minor, %ld major; switches: %ld waiting, %ld preempted\n",
            usage->ru_minflt, usage->ru_majflt, usage->ru_nvcsw, usage->ru_nivcsw);
    print_waits(&report->sampler->waits, usage, to);
    if (!report->is_good)
        return;
    fprintf(to, "  files       %s read by calls, %s from devices; %s written to devices",
            figure_size(report->read_calls, FIGURE), figure_size(report->read_device, FIGURE),
            figure_size(report->written_device, FIGURE));
    double hits = cache_hits(report);
    if (hits >= 0)
        fprintf(to, "; %.1f %% came from the page cache", hits * 100);
    fputc('\n', to);
    fprintf(to,
            "  meanwhile   the system swapped in %s, out %s; waited for memory: some %s, all "
            "%s; for I/O: some %s, all %s\n",
            figure_size(report->swapped_in, FIGURE), figure_size(report->swapped_out, FIGURE),
            seconds_text(report->memory_some_us, FIGURE),
            seconds_text(report->memory_full_us, FIGURE), seconds_text(report->io_some_us, FIGURE),
            seconds_text(report->io_full_us, FIGURE));
}

static json_t *waits_json(const struct waits *waits)
{
    const struct {
        const char *key;
        uint64_t ns;
        bool in_stat;
    } figures[] = {{"swap_in_seconds", waits->sums.swap_in, false},
                   {"thrashing_seconds", waits->sums.thrashing, false},
                   {"block_io_seconds", waits->sums.block_io, true},
                   {"reclaim_seconds", waits->sums.reclaim, false},
                   {"compaction_seconds", waits->sums.compaction, false}};
    json_t *json = json_pack("{s:s?, s:s?}", "source", waits_source_name(waits->source), "problem",
                             waits->reason);

    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        bool is_known = waits->source == WAITS_TASKSTATS ||
                        (waits->source == WAITS_STAT && figures[i].in_stat);
        json_object_set_new(json, figures[i].key,
                            is_known ? json_real(seconds_of_ns(figures[i].ns)) : json_null());
    }
    return json;
}

static json_t *build_json(const struct report *report)
{
    const struct rusage *usage = &report->run->usage;
    json_t *json = json_pack(
        "{s:s, s:s, s:i, s:f, s:f, s:f, s:I, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I}", "schema",
        "quire.time/1", "version", QUIRE_VERSION, "exit_status", report->exit_status,
        "wall_seconds", (double)report->run->wall_ns / 1e9, "user_seconds",
        seconds_of(usage->ru_utime), "system_seconds", seconds_of(usage->ru_stime),
        "largest_process_rss_bytes", (json_int_t)usage->ru_maxrss * 1024, "peak_pss_bytes",
        figure_json(report->sampler->peak_pss), "peak_rss_bytes",
        figure_json(report->sampler->peak_rss), "peak_processes",
        figure_json(report->sampler->n_peak_processes), "samples",
        figure_json(report->sampler->n_samples), "minor_faults", (json_int_t)usage->ru_minflt,
        "major_faults", (json_int_t)usage->ru_majflt, "voluntary_switches",
        (json_int_t)usage->ru_nvcsw, "involuntary_switches", (json_int_t)usage->ru_nivcsw);
    const struct {
        const char *key;
        uint64_t figure;
    } more[] = {{"read_bytes", report->read_calls},
                {"read_device_bytes", report->read_device},
                {"written_device_bytes", report->written_device},
                {"system_swapped_in_bytes", report->swapped_in},
                {"system_swapped_out_bytes", report->swapped_out},
                {"system_memory_some_us", report->memory_some_us},
                {"system_memory_full_us", report->memory_full_us},
                {"system_io_some_us", report->io_some_us},
                {"system_io_full_us", report->io_full_us}};

    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
        json_object_set_new(json, more[i].key,
                            report->is_good ? figure_json(more[i].figure) : json_null());
    double hits = cache_hits(report);
    json_object_set_new(json, "page_cache_hits", hits >= 0 ? json_real(hits) : json_null());
    json_object_set_new(json, "waits", waits_json(&report->sampler->waits));
    return json;
}

static int tell(const struct report *report, const struct time_options *options)
{
    if (options->text != NULL)
        lines_fold(options->text, 14, print_text, report);
    if (options->text_path != NULL && (fflush(options->text) != 0 || ferror(options->text))) {
        cli_error("cannot write the figures to %s: %s", options->text_path, strerror(errno));
        return report->exit_status == EXIT_SUCCESS ? CLI_EXIT_FAILED : report->exit_status;
    }
    if (options->json_path == NULL)
        return report->exit_status;
    json_t *json = build_json(report);
    int error = json_file_write(json, options->json_path);
    json_decref(json);
    if (error == 0)
        return report->exit_status;
    cli_error("cannot write the figures to %s: %s", options->json_path, strerror(-error));
    return report->exit_status == EXIT_SUCCESS ? CLI_EXIT_FAILED : report->exit_status;
}

/* The thread starts with all signals blocked: they are the launcher's. */
static bool start_sampler(struct sampler *sampler, pthread_t *thread)
{
    sigset_t all, old;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    bool good = pthread_create(thread, NULL, sample_until_end, sampler) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return good;
}

static void stop_sampler(struct sampler *sampler, pthread_t thread)
{
    pthread_mutex_lock(&sampler->lock);
    atomic_store(&sampler->ended, true);
    pthread_cond_signal(&sampler->wake);
    pthread_mutex_unlock(&sampler->lock);
    pthread_join(thread, NULL);
}

static int measure(const struct time_options *options, const char *path,
                   struct quire_observe *observe)
{
    struct sampler sampler = {.self = (int)process_own_pid(), /* as /proc counts */
                              .lock = PTHREAD_MUTEX_INITIALIZER,
                              .wake = PTHREAD_COND_INITIALIZER};
    struct launch_result result;
    struct system_sample before, after;
    pthread_t thread;

    if (quire_observe_open("", &sampler.observe) < 0) {
        cli_error("cannot read /proc");
        return CLI_EXIT_FAILED;
    }
    waits_begin(&sampler.waits, observe);
    read_system(observe, &before);
    bool samples = start_sampler(&sampler, &thread);
    int error = launch_program(path, options->command, NULL, &result);
    read_system(observe, &after);
    if (samples)
        stop_sampler(&sampler, thread);
    waits_end(&sampler.waits, sampler.self);
    free(sampler.pids);
    quire_observe_close(sampler.observe);
    if (error < 0) {
        cli_error("cannot start %s: %s", path, strerror(-error));
        return CLI_EXIT_FAILED;
    }
    if (result.exec_error != 0) {
        cli_error("cannot run %s: %s", path, strerror(result.exec_error));
        return result.exec_error == ENOENT || result.exec_error == ENOTDIR
                   ? CLI_EXIT_NOT_FOUND
                   : CLI_EXIT_NOT_EXECUTABLE;
    }
    struct report report = {
        .run = &result, .sampler = &sampler, .exit_status = launch_exit_status(&result)};
    fill_in(&report, &before, &after);
    return tell(&report, options);
}

static const struct argp_option option_list[] = {
    {"output", 'o', "FILE", 0,
     "Write the figures to FILE, not to standard error; - is standard output", 0},
    {"append", 'a', NULL, 0, "With --output: behind what is in FILE already", 0},
    {"json", 'j', "FILE", 0, "Write the figures as JSON to FILE; as text only with --output", 0},
    {"verbose", 'v', NULL, 0, "All figures, as time -v: that is the default", 0},
    {0},
};

static const char documentation[] =
    "Run COMMAND and tell what it and all processes below it cost: time, the peak of their memory "
    "together, faults, what was read and written, and how long the system waited for memory and "
    "I/O meanwhile."
    "\v"
    "The figures go to standard error. PSS counts a page that several share once in all. Peaks of "
    "all together are the highest of samples.\n"
    "\n"
    "Examples:\n"
    "  quire time -- make -j8\n"
    "  quire time --json figures.json ./solver input\n"
    "  quire time -a -o times.log ./nightly\n"
    "\n"
    "Exit status: that of COMMAND, or\n"
    "  125    Quire itself failed\n"
    "  126    COMMAND can't be executed\n"
    "  127    COMMAND was not found\n"
    "  128+N  COMMAND was ended by signal N";

static const char *path_of(const char *argument)
{
    return strcmp(argument, "-") == 0 ? "/dev/stdout" : argument;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct time_options *options = state->input;

    switch (key) {
    case 'o':
        options->text_path = path_of(argument);
        return 0;
    case 'a':
        options->appends = true;
        return 0;
    case 'j':
        options->json_path = path_of(argument);
        return 0;
    case 'v':
        return 0;
    case ARGP_KEY_ARG: /* the rest is the command's */
        options->command = state->argv + state->next - 1;
        state->next = state->argc;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "there is no COMMAND to run");
        return 0;
    case ARGP_KEY_END:
        if (options->appends && options->text_path == NULL)
            argp_error(state, "--append goes with --output FILE");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Files that can't be written are found out before the command runs. */
static bool open_outputs(struct time_options *options)
{
    int error = options->json_path != NULL ? out_file_check(options->json_path) : 0;

    if (error < 0) {
        cli_error("cannot write the figures to %s: %s\nname another file by --json FILE",
                  options->json_path, strerror(-error));
        return false;
    }
    options->text = options->json_path == NULL ? stderr : NULL;
    if (options->text_path == NULL)
        return true;
    options->text = fopen(options->text_path, options->appends ? "ae" : "we");
    if (options->text == NULL)
        cli_error("cannot write the figures to %s: %s\nname another file by --output FILE",
                  options->text_path, strerror(errno));
    return options->text != NULL;
}

int cli_time(int argc, char **argv)
{
    static const struct argp parser = {.options = option_list,
                                       .parser = parse_option,
                                       .args_doc = "[--] COMMAND [ARG...]",
                                       .doc = documentation};
    struct time_options options = {.json_path = NULL};
    char path[PATH_MAX];

    command_line_parse(&parser, argc, argv, ARGP_IN_ORDER, &options);
    int status = resolve_command(options.command[0], path, sizeof path);
    if (status != 0)
        return status;
    if (!open_outputs(&options))
        return CLI_EXIT_FAILED;
    struct quire_observe *observe = figures_open(&(struct figure_options){.root = NULL});
    if (observe == NULL)
        return CLI_EXIT_FAILED;
    status = measure(&options, path, observe);
    quire_observe_close(observe);
    if (options.text_path != NULL)
        fclose(options.text);
    return status;
}
