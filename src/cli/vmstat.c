/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmstat: `quire vmstat [DELAY [COUNT]]`. What memory does, line by line; the first line is the
 * average since boot, as vmstat(8) has it. With --replay the lines come from a recording, as fast
 * as they can be read, forwards or backwards.
 *
 * The columns are a table: heading, what it shows, and where that is in a sample or in the rates.
 * Exit status 0; 1 when it can't be read, 125 for a bad command line.
 */
#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/figures.h"
#include "cli/when.h"
#include "observe/recording.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DEFAULT_ROWS 24 /* between headings, where the terminal does not say */
#define TIME_WIDTH 19   /* "2026-11-26T14:30:05" */

enum { KEY_REPLAY = 900, KEY_FROM, KEY_TO, KEY_REVERSE };

struct vmstat_options {
    struct figure_options common;
    uint64_t delay_ms;   /* 0: once, or each sample of a recording */
    unsigned long count; /* 0: for ever */
    const char *replay;  /* a recording, or NULL */
    const char *from, *to;
    bool reverse, time;
};

struct line { /* all that the columns point into */
    struct quire_observe_memory memory;
    struct quire_observe_counters counters;
    struct quire_observe_pressure pressure;
    struct quire_observe_rates rates;
    uint64_t used, cache, swap_used;
    uint64_t wall_ms; /* 0: not known, of a recorded machine */
};

enum kind { COUNT, SIZE, RATE, SIZE_RATE, PERCENT, TIMES };

static const struct column {
    const char *group, *heading, *key;
    enum kind kind;
    size_t offset;
    int width;
    int rank; /* on a narrow terminal the highest go first, down to 1 */
} columns[] = {
#define OF(group, heading, key, kind, member, width, rank)                    \
    {                                                                         \
        group, heading, key, kind, offsetof(struct line, member), width, rank \
    }
    OF("procs", "r", "running", COUNT, counters.running, 3, 0),
    OF("procs", "b", "blocked", COUNT, counters.blocked, 3, 0),
    OF("memory", "used", "used_bytes", SIZE, used, 5, 0),
    OF("memory", "free", "free_bytes", SIZE, memory.free, 5, 1),
    OF("memory", "cache", "cache_bytes", SIZE, cache, 5, 3),
    OF("memory", "avail", "available_bytes", SIZE, memory.available, 5, 0),
    OF("memory", "swap", "swap_used_bytes", SIZE, swap_used, 5, 0),
    OF("swap/s", "in", "swap_in_bytes_a_second", SIZE_RATE, rates.swapped_in, 5, 0),
    OF("swap/s", "out", "swap_out_bytes_a_second", SIZE_RATE, rates.swapped_out, 5, 0),
    OF("blocks/s", "in", "block_in_bytes_a_second", SIZE_RATE, rates.read_in, 5, 5),
    OF("blocks/s", "out", "block_out_bytes_a_second", SIZE_RATE, rates.written_out, 5, 5),
    OF("faults/s", "minor", "minor_faults_a_second", RATE, rates.minor_faults, 6, 0),
    OF("faults/s", "major", "major_faults_a_second", RATE, rates.major_faults, 5, 0),
    OF("reclaim/s", "scan", "scanned_pages_a_second", RATE, rates.scanned, 5, 1),
    OF("reclaim/s", "freed", "reclaimed_pages_a_second", RATE, rates.reclaimed, 5, 7),
    OF("reclaim/s", "direct", "direct_scanned_pages_a_second", RATE, rates.scanned_direct, 6, 8),
    OF("reclaim/s", "stall", "direct_stalls_a_second", RATE, rates.direct_stalls, 5, 2),
    OF("reclaim/s", "refault", "refaults_a_second", RATE, rates.refaults, 7, 7),
    OF("other", "compact", "compact_stalls_a_second", RATE, rates.compact_stalls, 7, 8),
    OF("other", "oom", "oom_kills", TIMES, rates.oom_kills, 3, 8),
    OF("stalled %", "mem", "memory_some_percent", PERCENT, rates.memory_some, 5, 0),
    OF("stalled %", "full", "memory_full_percent", PERCENT, rates.memory_full, 5, 6),
    OF("stalled %", "io", "io_some_percent", PERCENT, rates.io_some, 5, 6),
    OF("cpu %", "us", "cpu_user_percent", PERCENT, rates.cpu_user, 4, 4),
    OF("cpu %", "sy", "cpu_system_percent", PERCENT, rates.cpu_system, 4, 4),
    OF("cpu %", "id", "cpu_idle_percent", PERCENT, rates.cpu_idle, 5, 4),
    OF("cpu %", "wa", "cpu_iowait_percent", PERCENT, rates.cpu_iowait, 4, 2),
    OF("cpu %", "st", "cpu_steal_percent", PERCENT, rates.cpu_steal, 4, 8),
#undef OF
};
#define N_COLUMNS (sizeof columns / sizeof columns[0])
#define MOST_RANK 8

struct layout { /* of lines of text */
    bool exact, has_time;
    int rank; /* columns up to it are shown */
};

static int width_of(const struct layout *layout, const struct column *column)
{
    return column->width + (layout->exact && column->kind == SIZE ? 9 : 0);
}

static bool is_shown(const struct layout *layout, size_t column)
{
    return columns[column].rank <= layout->rank;
}

static int line_width(const struct layout *layout)
{
    int width = layout->has_time ? TIME_WIDTH + 1 : 0;

    for (size_t i = 0; i < N_COLUMNS; i++)
        width += is_shown(layout, i) ? width_of(layout, &columns[i]) + 1 : 0;
    return width - 1;
}

/* As many columns as the terminal has room for; all, where there is none. */
static struct layout layout_of(bool exact, bool has_time)
{
    struct layout layout = {exact, has_time, MOST_RANK};
    const int width = (int)figures_width();

    while (width > 0 && layout.rank > 0 && line_width(&layout) > width)
        layout.rank--;
    return layout;
}

static bool is_rate(const struct column *column)
{
    return column->kind != COUNT && column->kind != SIZE;
}

static uint64_t figure_of(const struct line *line, const struct column *column)
{
    return *(const uint64_t *)(const void *)((const char *)line + column->offset);
}

static double rate_of(const struct line *line, const struct column *column)
{
    return *(const double *)(const void *)((const char *)line + column->offset);
}

static const char *cell(const struct line *line, const struct column *column, bool exact,
                        struct figure_text *text)
{
    if (!is_rate(column))
        return column->kind == SIZE ? figure_short(figure_of(line, column), exact, text)
                                    : figure_count(figure_of(line, column), text);
    double rate = rate_of(line, column);
    if (isnan(rate))
        return "-";
    switch (column->kind) {
    case SIZE_RATE:
        return figure_short((uint64_t)(rate + 0.5), exact, text);
    case PERCENT:
        snprintf(text->buffer, sizeof text->buffer, "%.*f", rate < 99.95 ? 1 : 0, rate);
        return text->buffer;
    case TIMES:
        snprintf(text->buffer, sizeof text->buffer, "%.0f", rate);
        return text->buffer;
    default:
        return figure_rate(rate, text);
    }
}

/* "-----memory-----" over the columns of a group. */
static void print_groups(const struct layout *layout)
{
    static const char dashes[] = "----------------------------------------------------------"
                                 "----------------------------------------------------------";
    bool is_first = true;

    if (layout->has_time)
        printf("%*s ", TIME_WIDTH, "");
    for (size_t first = 0, end; first < N_COLUMNS; first = end) {
        int width = -1, n = (int)strlen(columns[first].group);
        for (end = first; end < N_COLUMNS && columns[end].group == columns[first].group; end++)
            width += is_shown(layout, end) ? width_of(layout, &columns[end]) + 1 : 0;
        int left = width > n ? (width - n) / 2 : 0, right = width > n ? width - n - left : 0;
        if (width < 0)
            continue;
        printf("%s%.*s%.*s%.*s", is_first ? "" : " ", left, dashes, width < n ? width : n,
               columns[first].group, right, dashes);
        is_first = false;
    }
    putchar('\n');
}

static void print_headings(const struct layout *layout)
{
    const char *separator = "";

    print_groups(layout);
    if (layout->has_time)
        printf("%-*s ", TIME_WIDTH, "time");
    for (size_t i = 0; i < N_COLUMNS; i++)
        if (is_shown(layout, i)) {
            printf("%s%*s", separator, width_of(layout, &columns[i]), columns[i].heading);
            separator = " ";
        }
    putchar('\n');
}

static void print_line(const struct line *line, const struct layout *layout)
{
    const char *separator = "";
    char time[40];

    if (layout->has_time)
        printf("%s ", when_text(line->wall_ms, time, sizeof time));
    for (size_t i = 0; i < N_COLUMNS; i++)
        if (is_shown(layout, i)) {
            printf("%s%*s", separator, width_of(layout, &columns[i]),
                   cell(line, &columns[i], layout->exact, FIGURE));
            separator = " ";
        }
    putchar('\n');
}

static bool print_json(const struct line *line, bool is_since_boot)
{
    json_t *json = json_pack("{s:s, s:b, s:f}", "schema", "quire.vmstat/1", "since_boot",
                             is_since_boot, "seconds", line->rates.seconds);

    char time[40];

    if (line->wall_ms != 0)
        json_object_set_new(json, "time", json_string(when_utc(line->wall_ms, time, sizeof time)));
    for (size_t i = 0; i < N_COLUMNS; i++) {
        const struct column *column = &columns[i];
        double rate = is_rate(column) ? rate_of(line, column) : 0;
        json_object_set_new(json, column->key,
                            !is_rate(column) ? figure_json(figure_of(line, column))
                            : isnan(rate)    ? json_null()
                                             : json_real(rate));
    }
    return figures_print_json(json, true);
}

/* What follows from the figures, and from those of an earlier line; NULL: since boot. */
static void work_out(const struct line *before, struct line *line)
{
    quire_observe_rates(before != NULL ? &before->counters : NULL, &line->counters,
                        before != NULL ? &before->pressure : NULL, &line->pressure, &line->rates);
    line->used = quire_observe_used(&line->memory);
    line->cache = quire_observe_cache(&line->memory);
    line->swap_used = quire_observe_known(line->memory.swap_free)
                          ? line->memory.swap_total - line->memory.swap_free
                          : line->memory.swap_free;
}

static int read_line(struct quire_observe *observe, const struct line *before, struct line *line)
{
    int error = quire_observe_memory(observe, &line->memory);

    line->wall_ms = sample_wall_ms();
    if (error == 0)
        error = quire_observe_counters(observe, &line->counters);
    if (error == 0)
        error = quire_observe_pressure(observe, &line->pressure);
    if (error < 0)
        return error;
    work_out(before, line);
    return 0;
}

static unsigned terminal_rows(void)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row < 4)
        return DEFAULT_ROWS;
    return size.ws_row - 3u;
}

/* The n-th line there is. False: it does not get out. */
static bool show_line(const struct line *line, const struct vmstat_options *options, uint64_t n,
                      bool is_since_boot)
{
    if (options->common.as_json) {
        if (!print_json(line, is_since_boot))
            return false;
    } else {
        const struct layout layout = layout_of(options->common.exact,
                                               options->time || options->replay != NULL);
        if (n % terminal_rows() == 0)
            print_headings(&layout);
        print_line(line, &layout);
    }
    fflush(stdout);
    return ferror(stdout) == 0;
}

static int run(struct quire_observe *observe, const struct vmstat_options *options)
{
    struct line lines[2];
    uint64_t n = 0;

    for (;; n++) {
        struct line *line = &lines[n % 2];
        int error = read_line(observe, n > 0 ? &lines[(n + 1) % 2] : NULL, line);
        if (error < 0)
            return figures_failed(observe, error);
        if (options->common.root != NULL)
            line->wall_ms = 0;
        if (!show_line(line, options, n, n == 0))
            return CLI_EXIT_FAILED;
        if (options->delay_ms == 0 || (options->count > 0 && n + 1 >= options->count) ||
            !figures_sleep_ms(options->delay_ms))
            return EXIT_SUCCESS;
    }
}

/*
 * A line of a recording: forwards, its rates are since the line before; the first, and backwards,
 * since the sample before.
 */
static void take_recorded(const struct sample *sample, const struct line *before, struct line *line)
{
    *line = (struct line){.memory = sample->memory,
                          .counters = sample->counters,
                          .pressure = sample->pressure,
                          .wall_ms = sample->wall_ms};
    work_out(before, line);
    if (before == NULL)
        line->rates = sample->rates;
}

static bool is_due(const struct vmstat_options *options, uint64_t last_ms, uint64_t now_ms)
{
    uint64_t distance = now_ms > last_ms ? now_ms - last_ms : last_ms - now_ms;

    return last_ms == 0 || distance >= options->delay_ms;
}

static int play(struct feed *feed, const struct vmstat_options *options, uint64_t from_ms,
                uint64_t to_ms)
{
    uint64_t n = 0, last_ms = 0, index;
    const struct sample *sample;
    struct line lines[2];
    int error = feed_seek(feed, options->reverse ? to_ms : from_ms, &sample);

    while (error == 0 && (options->count == 0 || n < options->count)) {
        bool is_within = sample->wall_ms >= from_ms && sample->wall_ms <= to_ms;
        if (is_within && is_due(options, last_ms, sample->wall_ms)) {
            last_ms = sample->wall_ms;
            struct line *line = &lines[n % 2];
            take_recorded(sample, n == 0 || options->reverse ? NULL : &lines[(n + 1) % 2], line);
            if (!show_line(line, options, n++, sample->is_since_boot))
                return CLI_EXIT_FAILED;
        }
        index = feed->index;
        error = feed_move(feed, options->reverse ? -1 : 1, &sample);
        if (error == 0 && feed->index == index) /* the end */
            break;
    }
    if (error < 0)
        cli_error("%s", feed_message(feed));
    else if (n == 0)
        cli_error("there is no sample between --from and --to; `quire log --info' tells what there "
                  "is");
    return error < 0 || n == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static bool parse_when(const char *option, const char *text, const struct feed *feed, uint64_t *ms)
{
    if (text == NULL || when_parse(text, feed->last_ms, ms))
        return true;
    cli_error("%s '%s' is no time: 14:30, 14:30:05, 2026-11-26T14:30 or -10m", option, text);
    return false;
}

static int replay(const struct vmstat_options *options)
{
    char message[RECORDING_MESSAGE_BYTES];
    uint64_t from_ms = 0, to_ms = UINT64_MAX;
    struct feed *feed;
    int status = CLI_EXIT_FAILED;

    if (feed_open_recorded(options->replay, &feed, message) < 0) {
        cli_error("%s", message);
        return EXIT_FAILURE;
    }
    if (parse_when("--from", options->from, feed, &from_ms) &&
        parse_when("--to", options->to, feed, &to_ms))
        status = play(feed, options, from_ms, to_ms);
    feed_close(feed);
    return status;
}

static const struct argp_option option_list[] = {
    {"replay", KEY_REPLAY, "FILE", 0,
     "Show the samples of a recording of `quire log', DELAY seconds apart at least", 0},
    {"from", KEY_FROM, "TIME", 0,
     "With --replay: from there on; 14:30, 2026-11-26T14:30, or -10m before its end", 0},
    {"to", KEY_TO, "TIME", 0, "With --replay: up to there", 0},
    {"time", 't', NULL, 0, "The time before each line; of a recording it is there anyway", 0},
    {"reverse", KEY_REVERSE, NULL, 0, "With --replay: the last first", 0},
    {0},
};

static const char documentation[] =
    "Show run queue, memory, swapping, block I/O, faults, reclaim, compaction, OOM kills, and how "
    "much time was lost waiting for memory. The first line is the average since boot; then comes a "
    "line every DELAY seconds, COUNT lines in all."
    "\v"
    "Sizes are bytes, in K, M and G; all rates are a second. r and b: processes that run, that "
    "wait for I/O. faults: minor ones need no device, major ones do. reclaim: pages looked at, "
    "freed, looked at by those who needed them themselves (direct), how often that made an "
    "allocation wait (stall), and pages that came back soon after they were dropped (refault). "
    "stalled: the part "
    "of the time that some, or all (full), processes waited.\n"
    "\n"
    "Examples:\n"
    "  quire vmstat\n"
    "  quire vmstat 1        a line a second, until ^C\n"
    "  quire vmstat 0.5 10 --json\n"
    "  quire vmstat --replay memory.log --from 14:30 60\n"
    "\n"
    "Exit status:\n"
    "  0    the figures were printed\n"
    "  1    they can't be read; a message says why\n"
    "  125  the command line can't be understood";

static void parse_argument(const char *argument, struct argp_state *state)
{
    struct vmstat_options *options = state->input;

    if (state->arg_num == 0) {
        options->delay_ms = figures_parse_seconds(argument);
        if (options->delay_ms == 0)
            argp_error(state, "'%s' is no delay: a number of seconds, from 0.001 to 86400",
                       argument);
    } else if (state->arg_num == 1) {
        options->count = figures_parse_count(argument);
        if (options->count == 0)
            argp_error(state, "'%s' is no count: a whole number above 0", argument);
    } else {
        argp_error(state, "'%s': `quire vmstat' takes a delay and a count, no more", argument);
    }
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct vmstat_options *options = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->common;
        return 0;
    case KEY_REPLAY:
        options->replay = argument;
        return 0;
    case KEY_FROM:
        options->from = argument;
        return 0;
    case KEY_TO:
        options->to = argument;
        return 0;
    case KEY_REVERSE:
        options->reverse = true;
        return 0;
    case 't':
        options->time = true;
        return 0;
    case ARGP_KEY_END:
        if (options->replay == NULL &&
            (options->from != NULL || options->to != NULL || options->reverse))
            argp_error(state, "--from, --to and --reverse go with --replay FILE");
        if (options->replay != NULL && options->common.root != NULL)
            argp_error(state, "--replay and --root contradict: leave out one of both");
        if (options->time && options->common.root != NULL)
            argp_error(state, "--time: a machine of --root does not tell when it was recorded");
        return 0;
    case ARGP_KEY_ARG:
        parse_argument(argument, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int cli_vmstat(int argc, char **argv)
{
    static const struct argp_child children[] = {{&figures_argp, 0, NULL, 0}, {0}};
    static const struct argp parser = {.options = option_list,
                                       .parser = parse_option,
                                       .args_doc = "[DELAY [COUNT]]",
                                       .doc = documentation,
                                       .children = children};
    struct vmstat_options options = {.delay_ms = 0};

    command_line_parse(&parser, argc, argv, 0, &options);
    if (options.replay != NULL)
        return replay(&options);
    struct quire_observe *observe = figures_open(&options.common);
    if (observe == NULL)
        return EXIT_FAILURE;
    figures_catch_signals();
    int status = run(observe, &options);
    quire_observe_close(observe);
    return status;
}
