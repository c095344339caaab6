/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record: `quire record`. Runs a command and writes a trace of what it touches (<quire/trace.h>).
 *
 * Exit status: the command's own, as with `quire run`; 125 when the trace is not whole.
 */
#include "cli/record.h"

#include "base/control.h"
#include "base/size.h"
#include "cli/cli.h"
#include "cli/command_line.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_PATH "quire.trace"

enum { KEY_EVERY = 256, KEY_WINDOW, KEY_PERIOD };

static const struct argp_option option_list[] = {
    {"output", 'o', "FILE", 0, "Where the trace goes (default: " DEFAULT_PATH ")", 0},
    {"every", KEY_EVERY, "access|page|sample", 0,
     "What there is a record of: pages, by Quire's pager (the default); each access, by valgrind; "
     "samples of the processor's, by perf",
     0},
    {"window", KEY_WINDOW, "SIZE", 0,
     "With page: what was touched last and is not seen again at once; a larger one costs the "
     "program less, and says nothing about less RAM (default: 8M, at least 1M)",
     0},
    {"period", KEY_PERIOD, "N", 0, "With sample: one in N (default: perf's)", 0},
    {"quiet", 'q', NULL, 0, "Print no summary", 0},
    {0},
};

static const char documentation[] =
    "Run COMMAND and record which memory it touches, for `quire sim', `quire mrc', `quire tlb' and "
    "`quire advise'."
    "\v"
    "Pages are seen as Quire's pager sees them: heap and anonymous mappings, of COMMAND and all "
    "its children, one record for each touch of a page that is not among the last ones. Accesses "
    "are all of them, instructions too, of the first process alone, and cost a hundred times the "
    "time.\n"
    "\n"
    "Examples:\n"
    "  quire record -o job.trace -- python3 job.py\n"
    "  quire record --every access -o ls.trace -- ls\n"
    "\n"
    "Exit status: that of COMMAND, or\n"
    "  125    Quire itself failed, or the trace is not whole\n"
    "  126    COMMAND can't be executed\n"
    "  127    COMMAND was not found\n"
    "  128+N  COMMAND was ended by signal N";

static void parse_every(struct argp_state *state, struct record_options *options, const char *text)
{
    static const char *const names[] = {"access", "page", "sample"};

    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i]) == 0) {
            options->every = (enum quire_trace_every)i;
            return;
        }
    }
    argp_error(state, "--every %s: it is access, page or sample", text);
}

static void parse_window(struct argp_state *state, struct record_options *options, const char *text)
{
    if (size_parse(text, 0, &options->window_bytes) != 0)
        argp_error(state, "--window %s: that is no size; write it as 16M", text);
    if (options->window_bytes < RECORD_MIN_WINDOW)
        argp_error(state, "--window %s: it takes at least 1M", text);
}

static void parse_period(struct argp_state *state, struct record_options *options, const char *text)
{
    char *end;

    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || n == 0 || n > UINT32_MAX)
        argp_error(state, "--period %s: give a whole number, 1 or more", text);
    options->period = (uint32_t)n;
}

static void check(struct argp_state *state, struct record_options *options)
{
    if (options->window_bytes != 0 && options->every != QUIRE_TRACE_EVERY_PAGE)
        argp_error(state, "--window has a meaning with --every page only");
    if (options->period != 0 && options->every != QUIRE_TRACE_EVERY_SAMPLE)
        argp_error(state, "--period has a meaning with --every sample only");
    if (options->window_bytes == 0)
        options->window_bytes = RECORD_DEFAULT_WINDOW;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct record_options *options = state->input;

    switch (key) {
    case 'o':
        options->path = argument;
        return 0;
    case 'q':
        options->quiet = true;
        return 0;
    case KEY_EVERY:
        parse_every(state, options, argument);
        return 0;
    case KEY_WINDOW:
        parse_window(state, options, argument);
        return 0;
    case KEY_PERIOD:
        parse_period(state, options, argument);
        return 0;
    case ARGP_KEY_ARG: /* the rest is the command's */
        options->command = state->argv + state->next - 1;
        state->next = state->argc;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "there is no COMMAND to run");
        return 0;
    case ARGP_KEY_END:
        check(state, options);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* A file that may be executed; directories may, too. */
static bool is_program(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISREG(info.st_mode) && access(path, X_OK) == 0;
}

bool record_find_tool(const char *name, char *path)
{
    const char *directories = getenv("PATH");

    if (strchr(name, '/') != NULL) {
        snprintf(path, PATH_MAX, "%s", name);
        return access(path, F_OK) == 0;
    }
    for (const char *at = directories, *end; at != NULL; at = end != NULL ? end + 1 : NULL) {
        end = strchr(at, ':');
        int n = (int)(end != NULL ? end - at : (ptrdiff_t)strlen(at));
        if (snprintf(path, PATH_MAX, "%.*s/%s", n, at, name) < PATH_MAX && is_program(path))
            return true;
    }
    return false;
}

int record_check_command(const char *command)
{
    char path[PATH_MAX];

    if (!record_find_tool(command, path)) {
        cli_error("cannot find the command '%s'%s", command,
                  strchr(command, '/') != NULL ? "" : " in PATH");
        return CLI_EXIT_NOT_FOUND;
    }
    if (is_program(path))
        return 0;
    cli_error("cannot run %s: it is not executable", path);
    return CLI_EXIT_NOT_EXECUTABLE;
}

static void print_summary(const struct record_options *options,
                          const struct record_summary *summary, uint64_t n_bytes)
{
    char text[24], size[24], window[24];

    fprintf(stderr, "quire: %llu %s", (unsigned long long)summary->n_records,
            options->every == QUIRE_TRACE_EVERY_PAGE     ? "touches"
            : options->every == QUIRE_TRACE_EVERY_ACCESS ? "accesses"
                                                         : "samples");
    if (options->every == QUIRE_TRACE_EVERY_PAGE)
        fprintf(stderr, " of %llu pages (%s) by %llu process%s, window %s",
                (unsigned long long)summary->n_pages,
                size_format(summary->n_pages << 12, size, sizeof size),
                (unsigned long long)summary->n_processes, summary->n_processes == 1 ? "" : "es",
                size_format(options->window_bytes, window, sizeof window));
    fprintf(stderr, "; %s in %s\n", size_format(n_bytes, text, sizeof text), options->path);
    if (summary->n_lost > 0)
        fprintf(stderr, "       %llu more were lost with processes that were killed\n",
                (unsigned long long)summary->n_lost);
}

int record(const struct record_options *options)
{
    struct record_file file;
    struct record_summary summary = {.exit_status = 0};
    uint64_t n_bytes;

    if (!record_file_open(&file, options))
        return CLI_EXIT_FAILED;
    int status = options->every == QUIRE_TRACE_EVERY_PAGE ? record_touches(options, &file, &summary)
                 : options->every == QUIRE_TRACE_EVERY_ACCESS
                     ? record_lackey(options, &file, &summary)
                     : record_perf(options, &file, &summary);
    if (status != 0) {
        record_file_discard(&file);
        return status;
    }
    if (!record_file_finish(&file, &n_bytes))
        return CLI_EXIT_FAILED;
    if (!options->quiet)
        print_summary(options, &summary, n_bytes);
    return summary.exit_status;
}

int cli_record(int argc, char **argv)
{
    static const struct argp parser = {.options = option_list,
                                       .parser = parse_option,
                                       .args_doc = "[--] COMMAND [ARG...]",
                                       .doc = documentation};
    struct record_options options = {.path = DEFAULT_PATH, .every = QUIRE_TRACE_EVERY_PAGE};

    command_line_parse(&parser, argc, argv, ARGP_IN_ORDER, &options);
    return record(&options);
}
