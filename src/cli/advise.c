/* SPDX-License-Identifier: Apache-2.0 */
/*
 * advise: `quire advise`. How much RAM a program needs, what less costs, and the `quire run` line.
 *
 *   FILE, or COMMAND: recorded --advise_trace--> curve --advise_model--> budget, policy
 *
 * Exit status 0; 125: the command line or the trace can't be understood, or nothing can be
 * measured. Of a COMMAND that fails its own, and no advice.
 */
#include "cli/advise.h"

#include "base/control.h"
#include "base/size.h"
#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/json_text.h"
#include "cli/options.h"
#include "cli/record.h"
#include "cli/table.h"
#include "cli/temporary.h"
#include "policy/policy.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HUGE_WORTH 1.25

enum { KEY_RAM = 256, KEY_COMPRESSION, KEY_TIME, KEY_WINDOW, KEY_SWAP, KEY_PROBE };

struct options {
    struct advise_question question;
    const char *trace_path, *keep_path, *swap_directory, *probe;
    uint64_t window_bytes;
    bool as_json, has_slowdown;
    char **command;
};

static const struct argp_option option_list[] = {
    {"slowdown", 's', "FACTOR", 0, "How slow it may become: 1.1, 10% (default: 10%)", 0},
    {"ram", KEY_RAM, "SIZE", 0, "Tell what this budget would cost, in place of finding one", 0},
    {"compression", KEY_COMPRESSION, "RATIO", 0,
     "How far contents compress (default: as the recording has seen)", 0},
    {"time", KEY_TIME, "SECONDS", 0,
     "What the program takes with RAM to spare (default: estimated from the recording)", 0},
    {"swap", KEY_SWAP, "DIR|none", 0, "Where the swap file of the run will go", 0},
    {"output", 'o', "FILE", 0, "Keep the trace of COMMAND", 0},
    {"window", KEY_WINDOW, "SIZE", 0, "As that of `quire record' (default: 8M)", 0},
    {"json", 'j', NULL, 0, "Print JSON", 0},
    {"probe", KEY_PROBE, "WHAT", OPTION_HIDDEN, NULL, 0},
    {0},
};

static const char documentation[] =
    "Tell how much RAM a program needs and what less would cost: the curve of faults over RAM, its "
    "knee, the budget for a slowdown, the policy, the page size, and all that as a line for `quire "
    "run'."
    "\v"
    "FILE is a trace (`quire record'); of a COMMAND, one is made first, and its standard output "
    "goes to standard error. What faults take is measured here, at the start.\n"
    "\n"
    "Examples:\n"
    "  quire advise -- python3 job.py\n"
    "  quire record -o job.trace -- python3 job.py\n"
    "  quire advise --slowdown 25% job.trace\n"
    "  quire advise --ram 64M job.trace\n"
    "\n"
    "Exit status:\n"
    "  0    there is advice\n"
    "  125  the command line or the trace can't be understood, or nothing could be measured\n"
    "  else COMMAND failed, with this status";

static double parse_ratio(struct argp_state *state, const char *option, const char *text)
{
    char *end;

    errno = 0;
    double value = strtod(text, &end);
    if (*end == '%' && strcmp(option, "--slowdown") == 0) {
        value = 1 + value / 100;
        end++;
    }
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || !isfinite(value) || value < 1)
        argp_error(state, "%s %s: give a number of 1 or more, such as 1.1%s", option, text,
                   strcmp(option, "--slowdown") == 0 ? ", or a percentage on top" : "");
    return value;
}

static uint64_t parse_seconds(struct argp_state *state, const char *text)
{
    char *end;

    double value = strtod(text, &end);
    if (*text < '0' || *text > '9' || (*end != '\0' && strcmp(end, "s") != 0) || value <= 0 ||
        value > 1e9)
        argp_error(state, "--time %s: give seconds, such as 3.5", text);
    return (uint64_t)(value * 1e9);
}

static uint64_t parse_size(struct argp_state *state, const char *option, const char *text,
                           const char *least_text)
{
    uint64_t bytes = 0, least = 0;

    size_parse(least_text, 0, &least);
    if (size_parse(text, 0, &bytes) != 0)
        argp_error(state, "%s %s: that is no size; write it as 512M or 1.5G", option, text);
    if (bytes < least)
        argp_error(state, "%s %s: it takes at least %s", option, text, least_text);
    return bytes;
}

static void parse_argument(struct argp_state *state, struct options *options, char *argument)
{
    /* behind "--", or with words of its own: a command */
    bool is_command = state->quoted != 0 && state->next > state->quoted;

    if (!is_command && state->next < state->argc)
        argp_error(state,
                   "'%s': a trace stands alone; a command goes behind --: quire advise -- "
                   "%s ...",
                   state->argv[state->next], argument);
    if (is_command)
        options->command = state->argv + state->next - 1;
    else
        options->trace_path = argument;
    state->next = state->argc;
}

static void check(struct argp_state *state, struct options *options)
{
    if (options->probe != NULL)
        return;
    if (options->trace_path == NULL && options->command == NULL)
        argp_error(state, "on what? give a trace, or a command behind --");
    if (options->command == NULL && (options->keep_path != NULL || options->window_bytes != 0))
        argp_error(state, "--output and --window have a meaning with a COMMAND only");
    if (options->question.ram_bytes != 0 && options->has_slowdown)
        argp_error(state, "--ram and --slowdown: leave out one of both");
    if (options->trace_path != NULL && strcmp(options->trace_path, "-") == 0)
        argp_error(state, "a trace is read more than once: give a file, not standard input");
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;

    switch (key) {
    case 's':
        options->question.slowdown = parse_ratio(state, "--slowdown", argument);
        options->has_slowdown = true;
        return 0;
    case KEY_RAM:
        options->question.ram_bytes = parse_size(state, "--ram", argument, "8M");
        return 0;
    case KEY_COMPRESSION:
        options->question.compression = parse_ratio(state, "--compression", argument);
        return 0;
    case KEY_TIME:
        options->question.base_ns = parse_seconds(state, argument);
        return 0;
    case KEY_WINDOW:
        options->window_bytes = parse_size(state, "--window", argument, "1M");
        return 0;
    case KEY_SWAP:
        options->swap_directory = strcmp(argument, "none") == 0 ? NULL : argument;
        return 0;
    case KEY_PROBE:
        options->probe = argument;
        return 0;
    case 'o':
        options->keep_path = argument;
        return 0;
    case 'j':
        options->as_json = true;
        return 0;
    case ARGP_KEY_ARG:
        parse_argument(state, options, argument);
        return 0;
    case ARGP_KEY_END:
        check(state, options);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- what comes out ---- */

static const char *policy_of(const struct advise_point *point)
{
    return strchr(point->policy->name, ':') + 1;
}

/* "quire run --ram 48M --policy gclock -- job": what is the default is left out. */
static void write_line(const struct advise *advise, const struct options *options, char *line,
                       size_t n_bytes)
{
    const struct advise_point *choice = &advise->choices[advise->chosen];
    char policy[48] = "", swap[300] = "";

    if (advise->chosen != 0)
        snprintf(policy, sizeof policy, " --policy %s", policy_of(choice));
    if (options->swap_directory == NULL)
        snprintf(swap, sizeof swap, " --swap none");
    else if (strcmp(options->swap_directory, run_options_default_swap()) != 0)
        snprintf(swap, sizeof swap, " --swap %s", options->swap_directory);
    uint64_t bytes = choice->ram_bytes;
    bool is_mib = bytes % (1u << 20) == 0;
    snprintf(line, n_bytes, "quire run --ram %llu%s%s%s -- %s",
             (unsigned long long)(is_mib ? bytes >> 20 : bytes), is_mib ? "M" : "", policy, swap,
             advise->trace->command[0] != '\0' ? advise->trace->command : "COMMAND");
}

static void add_number(struct table *table, const char *format, double value)
{
    char text[32];

    snprintf(text, sizeof text, format, value);
    table_add(table, text);
}

static void add_point(struct table *table, const struct advise *advise,
                      const struct advise_point *point, const char *note)
{
    char size[24];
    double slowdown = advise_slowdown(advise, point),
           faults = (double)(point->first + point->again);

    table_add(table, size_format(point->ram_bytes, size, sizeof size));
    add_number(table, "%.0f", faults);
    add_number(table, "%.0f", (double)point->least);
    if (point->most != ADVISE_UNKNOWN)
        add_number(table, "%.0f", (double)point->most);
    else
        table_add(table, "-");
    add_number(table, "%.3f s", point->stall_ns / 1e9);
    if (slowdown > 0) {
        add_number(table, "%.0f", faults / (advise->base_ns * slowdown / 1e9));
        add_number(table, "%.2f", slowdown);
    } else {
        table_add(table, "-");
        table_add(table, "-");
    }
    add_number(table, "%.0f %%", 100 * point->in_file);
    table_add(table, note);
}

static bool print_curve(const struct advise *advise)
{
    static const char *const heads[] = {"  RAM",    "faults",   "least",   "most", "waiting",
                                        "faults/s", "slowdown", "in file", ""};
    struct table table = {.n_columns = sizeof heads / sizeof heads[0], .left = 256};
    uint64_t budget = advise->choices[advise->chosen].ram_bytes;

    for (unsigned i = 0; i < table.n_columns; i++)
        table_add(&table, heads[i]);
    for (unsigned i = 0; i < advise->n_points; i++) {
        const struct advise_point *point = &advise->points[i];
        bool is_knee = i == advise->knee, is_budget = point->ram_bytes == budget;
        add_point(&table, advise, point,
                  is_knee && is_budget ? "<- knee, budget"
                  : is_knee            ? "<- knee"
                  : is_budget          ? "<- budget"
                                       : "");
    }
    bool good = table_print(&table, 0);
    table_free(&table);
    return good;
}

static void print_program(const struct advise *advise)
{
    const struct advise_trace *trace = advise->trace;
    char touched[24], peak[24], huge[24];

    printf("program    %s\n", trace->command[0] != '\0' ? trace->command : trace->path);
    printf("memory     %s touched, %s at once; %s at once if pages had 2 MiB\n",
           size_format(trace->touched_bytes, touched, sizeof touched),
           size_format(trace->peak_bytes, peak, sizeof peak),
           size_format(trace->peak_huge_bytes, huge, sizeof huge));
    printf("contents   compress %.1f : 1%s\n", advise->compression,
           advise->is_compression_known ? "" : ", as assumed: say --compression RATIO");
    if (advise->base_ns > 0)
        printf("time       %.2f s with RAM to spare\n", advise->base_ns / 1e9);
    else
        printf("time       not known from this trace: say --time SECONDS for slowdowns\n");
    printf("here       a fault from RAM takes %.1f µs, on new memory %.1f µs, a page that comes "
           "along %.1f µs",
           advise->costs.ram / 1e3, advise->costs.first / 1e3, advise->costs.stream / 1e3);
    if (advise->costs.file > 0)
        printf(", from the swap file %.1f µs", advise->costs.file / 1e3);
    printf("\n\n");
}

static void print_choice(const struct advise *advise, const struct options *options)
{
    const struct advise_point *choice = &advise->choices[advise->chosen];
    const struct advise_point *usual = &advise->choices[0];
    const struct advise_trace *trace = advise->trace;
    double slowdown = advise_slowdown(advise, choice);
    char size[24], line[QUIRE_TRACE_MAX_COMMAND + 512];

    printf("\nbudget     %s: %llu faults", size_format(choice->ram_bytes, size, sizeof size),
           (unsigned long long)(choice->first + choice->again));
    if (choice->most != ADVISE_UNKNOWN)
        printf(" (%llu to %llu)", (unsigned long long)choice->least,
               (unsigned long long)choice->most);
    printf(", %llu of them on new memory; %.3f s waiting", (unsigned long long)choice->first,
           choice->stall_ns / 1e9);
    if (slowdown > 0)
        printf(", %.2f times the time", slowdown);
    if (advise_is_steep(choice))
        printf("\n           the curve is steep here (%.0f with %s less, %.0f with as much more): "
               "expect any count of the range",
               choice->with_less,
               size_format(advise_size_error(choice->ram_bytes), size, sizeof size),
               choice->with_more);
    if (!advise_is_told(advise, choice))
        printf("\n           or more: less is resident than the recording's window of %s, within "
               "which nothing was seen",
               size_format(trace->note.window_bytes, size, sizeof size));
    if (!choice->fits)
        printf(
            "\n           but it can't hold what is in use: allocations would fail. Let it swap, "
            "or take more");
    printf("\npolicy     %s", policy_of(choice));
    if (advise->chosen != 0 && choice->stall_ns < usual->stall_ns)
        printf(", %.0f %% less waiting than with %s",
               100 * (1 - choice->stall_ns / usual->stall_ns), policy_of(usual));
    double huge = (double)trace->peak_huge_bytes / (double)trace->peak_bytes;
    printf("\npage size  4 KiB, which `quire run' pages by; with RAM to spare huge pages would "
           "take %.2f times the memory%s\n",
           huge, huge <= HUGE_WORTH ? " and fewer TLB misses: madvise" : "");
    write_line(advise, options, line, sizeof line);
    printf("\n%s\n", line);
}

static json_t *point_json(const struct advise *advise, const struct advise_point *point)
{
    double slowdown = advise_slowdown(advise, point);
    json_t *json = json_pack("{s:I, s:s, s:I, s:I, s:I, s:I, s:f, s:f}", "ram_bytes",
                             (json_int_t)point->ram_bytes, "policy", policy_of(point), "faults",
                             (json_int_t)(point->first + point->again), "first_touch_faults",
                             (json_int_t)point->first, "again_faults", (json_int_t)point->again,
                             "prefetched", (json_int_t)point->ahead, "in_file", point->in_file,
                             "stall_seconds", point->stall_ns / 1e9);

    json_object_set_new(json, "faults_least", json_integer((json_int_t)point->least));
    json_object_set_new(json, "faults_most",
                        point->most != ADVISE_UNKNOWN ? json_integer((json_int_t)point->most)
                                                      : json_null());
    json_object_set_new(json, "steep", json_boolean(advise_is_steep(point)));
    json_object_set_new(json, "fits", json_boolean(point->fits));
    json_object_set_new(json, "slowdown", slowdown > 0 ? json_real(slowdown) : json_null());
    json_object_set_new(json, "faults_per_second",
                        slowdown > 0 ? json_real((double)(point->first + point->again) * 1e9 /
                                                 (advise->base_ns * slowdown))
                                     : json_null());
    return json;
}

static json_t *points_json(const struct advise *advise, const struct advise_point *points,
                           unsigned n)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < n; i++)
        json_array_append_new(list, point_json(advise, &points[i]));
    return list;
}

static bool print_json(const struct advise *advise, const struct options *options)
{
    const struct advise_trace *trace = advise->trace;
    char line[QUIRE_TRACE_MAX_COMMAND + 512];

    write_line(advise, options, line, sizeof line);
    json_t *json = json_pack(
        "{s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:f, s:b, s:{s:f, s:f, s:f, s:f}, s:o, s:o, s:o, s:o, "
        "s:f, s:b, s:o}",
        "schema", "quire.advise/1", "version", QUIRE_VERSION, "command", json_text(trace->command),
        "references", (json_int_t)trace->references, "touched_bytes",
        (json_int_t)trace->touched_bytes, "peak_bytes", (json_int_t)trace->peak_bytes,
        "peak_huge_bytes", (json_int_t)trace->peak_huge_bytes, "compression", advise->compression,
        "compression_known", (int)advise->is_compression_known, "fault_ns", "ram",
        advise->costs.ram, "first_touch", advise->costs.first, "along", advise->costs.stream,
        "file", advise->costs.file, "curve", points_json(advise, advise->points, advise->n_points),
        "policies", points_json(advise, advise->choices, advise->n_choices), "knee",
        point_json(advise, &advise->points[advise->knee]), "advice",
        point_json(advise, &advise->choices[advise->chosen]), "tolerance", ADVISE_TOLERANCE,
        "slowdown_met", (int)advise->is_met, "run", json_text(line));
    bool bad = json == NULL;
    json_object_set_new(json, "base_seconds",
                        advise->base_ns > 0 ? json_real(advise->base_ns / 1e9) : json_null());
    bad |= json == NULL || json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) != 0;
    puts("");
    json_decref(json);
    return !bad;
}

static int advise_on(const struct options *options, const char *path)
{
    static struct advise advise;
    struct advise_trace trace;
    int status = CLI_EXIT_FAILED;

    if (advise_read(path, &trace) && advise_measure(options->swap_directory, &advise.costs) &&
        advise_find(&trace, &options->question, &advise)) {
        bool good = true;
        if (options->as_json) {
            good = print_json(&advise, options);
        } else {
            print_program(&advise);
            good = print_curve(&advise);
            print_choice(&advise, options);
        }
        status = good ? EXIT_SUCCESS : CLI_EXIT_FAILED;
    }
    advise_trace_free(&trace);
    return status;
}

/* The command's standard output goes to standard error while it is recorded. */
static int record_command(const struct options *options, const char *path)
{
    const struct record_options how = {
        .path = path,
        .every = QUIRE_TRACE_EVERY_PAGE,
        .window_bytes = options->window_bytes != 0 ? options->window_bytes : RECORD_DEFAULT_WINDOW,
        .quiet = true,
        .command = options->command};
    int kept = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

    if (kept < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {
        cli_error("cannot pass on the command's output: %s", strerror(errno));
        return CLI_EXIT_FAILED;
    }
    int status = record(&how);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    return status;
}

static int record_and_advise(const struct options *options)
{
    char temporary[PATH_MAX];
    const char *path = options->keep_path != NULL ? options->keep_path : temporary;

    if (options->keep_path == NULL && temporary_file("advise", temporary) != 0)
        return CLI_EXIT_FAILED;
    int status = record_command(options, path);
    if (status != 0)
        cli_error("the command failed (exit status %d): no advice on that", status);
    else
        status = advise_on(options, path);
    if (options->keep_path == NULL)
        unlink(temporary);
    return status;
}

int cli_advise(int argc, char **argv)
{
    static const struct argp parser = {.options = option_list,
                                       .parser = parse_option,
                                       .args_doc = "FILE\n-- COMMAND [ARG...]",
                                       .doc = documentation};
    struct options options = {.question = {.slowdown = 1.1},
                              .swap_directory = run_options_default_swap()};

    command_line_parse(&parser, argc, argv, ARGP_IN_ORDER, &options);
    if (options.probe != NULL)
        return advise_probe(options.probe);
    options.question.has_file = options.swap_directory != NULL;
    return options.command != NULL ? record_and_advise(&options)
                                   : advise_on(&options, options.trace_path);
}
