/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top: `quire top`. The system, its processes and the runs of Quire, on the whole screen.
 *
 *   options ── feed ── screen ── { a sample when it is due; a key when it comes; draw }... ── end
 *
 * Everything that can fail does so before the screen is taken, or after it was given back: messages
 * are on a terminal as it was.
 *
 * Exit status 0, by a key or a signal; 1: no terminal that will do, or /proc can't be read;
 * 125: a bad command line.
 */
#include "cli/top.h"

#include "base/sys.h"
#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/figures.h"
#include "cli/target.h"
#include "observe/recording.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_ROOT = 256, KEY_COLUMNS, KEY_RUN, KEY_REPLAY };

struct top_options {
    const char *root;   /* NULL: this machine */
    const char *replay; /* a recording; NULL: live */
    uint64_t delay_ms;
    unsigned long count; /* of samples; 0: until a key ends it */
    const char *sort, *filter;
    unsigned set;
    bool tree, reverse, all;
    int run; /* a process of the run to begin with; 0: none */
};

static const struct argp_option option_list[] = {
    {"delay", 'd', "SECONDS", 0, "Time between samples (default: 1)", 0},
    {"count", 'n', "N", 0, "End after N samples", 0},
    {"columns", KEY_COLUMNS, "SET", 0,
     "Begin with these columns: memory, shares, runs or faults (v changes them)", 0},
    {"sort", 's', "COLUMN", 0, "Order by this column of the set; `quire ps --list' explains them",
     0},
    {"reverse", 'R', NULL, 0, "The least first", 0},
    {"filter", 'f', "TEST", 0, "As `quire ps --filter', or a part of the command", 0},
    {"tree", 't', NULL, 0, "Children below their parents", 0},
    {"all", 'a', NULL, 0, "The kernel's threads, too", 0},
    {"run", KEY_RUN, "PID", 0, "Begin with the page of the run that PID is in", 0},
    {"replay", KEY_REPLAY, "FILE", 0,
     "Play what `quire log' recorded, back and forth in time: Left and Right go by samples, [ and "
     "] by minutes, Space pauses",
     0},
    {"root", KEY_ROOT, "DIR", 0,
     "Watch a recorded machine: DIR/proc and DIR/sys in place of /proc and /sys", 0},
    {0},
};

static const char documentation[] =
    "Watch memory on the whole screen: the system, pressure, processes, and the runs of Quire from "
    "the inside. The key h shows all keys; q quits."
    "\v"
    "Processes that do nothing are looked at in every fourth sample only, so that watching a "
    "thousand of them costs next to nothing. PSS and USS (the columns `shares') cost the most.\n"
    "\n"
    "Examples:\n"
    "  quire top\n"
    "  quire top --columns shares --filter python\n"
    "  quire top --run $(pidof job)\n"
    "  quire top --replay memory.log     what `quire log -o memory.log' recorded\n"
    "\n"
    "Exit status:\n"
    "  0    it was ended by a key, or by SIGINT, SIGTERM, SIGQUIT or SIGHUP\n"
    "  1    there is no terminal, or none that will do, or /proc can't be read; "
    "a message says why\n"
    "  125  the command line can't be understood";

static unsigned parse_set(const char *name, struct argp_state *state)
{
    for (unsigned i = 0; i < top_n_sets; i++)
        if (strcmp(top_sets[i].name, name) == 0)
            return i;
    argp_error(state, "--columns %s: it is memory, shares, runs or faults", name);
    return 0;
}

static unsigned long parse_count(const char *argument, struct argp_state *state)
{
    const unsigned long n = figures_parse_count(argument);

    if (n == 0)
        argp_error(state, "--count %s: that is no whole number above 0", argument);
    return n;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct top_options *options = state->input;

    switch (key) {
    case 'd':
        options->delay_ms = figures_parse_seconds(argument);
        if (options->delay_ms == 0)
            argp_error(state, "--delay %s: that is no number of seconds from 0.001 to 86400",
                       argument);
        return 0;
    case 'n':
        options->count = parse_count(argument, state);
        return 0;
    case KEY_COLUMNS:
        options->set = parse_set(argument, state);
        return 0;
    case 's':
        options->sort = argument;
        return 0;
    case 'R':
        options->reverse = true;
        return 0;
    case 'f':
        options->filter = argument;
        return 0;
    case 't':
        options->tree = true;
        return 0;
    case 'a':
        options->all = true;
        return 0;
    case KEY_RUN:
        options->run = target_parse_pid(argument);
        if (options->run == 0)
            argp_error(state, "--run %s: that is no process id", argument);
        return 0;
    case KEY_ROOT:
        options->root = argument;
        return 0;
    case KEY_REPLAY:
        options->replay = argument;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s': `quire top' takes no arguments; --filter %s shows some processes",
                   argument, argument);
        return 0;
    case ARGP_KEY_END:
        if (options->replay != NULL && options->root != NULL)
            argp_error(state, "--replay and --root: leave out one of both");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static bool open_recording(struct top *top, const char *path)
{
    char message[RECORDING_MESSAGE_BYTES];
    int error = feed_open_recorded(path, &top->feed, message);

    if (error < 0)
        cli_error("cannot replay %s: %s", path, message);
    return error == 0;
}

/* Where the samples come from. False with a message. */
static bool open_feed(struct top *top, const struct top_options *options)
{
    if (options->replay != NULL)
        return open_recording(top, options->replay);
    int error = feed_open_live(options->root, 0, &top->feed);
    if (error < 0) {
        cli_error("cannot read a machine in %s: %s", options->root != NULL ? options->root : "/",
                  strerror(-error));
        return false;
    }
    top->is_this_machine = options->root == NULL;
    return !top->is_this_machine || (top->observe = figures_open(&(struct figure_options){0}));
}

static int tell(struct top *top, int error)
{
    if (error == -ENOMEM)
        cli_error("out of memory");
    else
        cli_error("%s", feed_message(top->feed));
    return EXIT_FAILURE;
}

/* The page of a run, as asked for by --run. False with a message. */
static bool begin_with_run(struct top *top, int pid)
{
    const struct quire_observe_processes *processes = &top->sample->processes;
    const struct quire_observe_runs *runs = &top->sample->runs;
    uint64_t keeper = 0;

    for (size_t i = 0; i < processes->n; i++)
        if (processes->list[i].pid == pid && processes->list[i].run > 0)
            keeper = (uint64_t)processes->list[i].run;
    for (size_t i = 0; i < runs->n; i++)
        if (runs->list[i].keeper == (uint64_t)pid || runs->list[i].launcher == (uint64_t)pid)
            keeper = runs->list[i].keeper;
    if (keeper == 0) {
        cli_error("process %d is in no run of Quire that publishes its figures\n`quire ps --runs' "
                  "lists those that do",
                  pid);
        return false;
    }
    top->page = TOP_RUN;
    top_choose_run(top, keeper);
    return true;
}

static bool is_at_end(const struct feed *feed)
{
    return feed->is_recorded && feed->index + 1 >= feed->n_samples;
}

/* Until it has to end. 0 or a negative errno of the feed. */
static int watch(struct top *top, unsigned long count)
{
    uint64_t last_ns = sys_now_ns();
    unsigned long n = 1;

    for (;;) {
        top_draw(top);
        uint64_t now_ns = sys_now_ns(), due_ns = last_ns + top->delay_ms * 1000000;
        uint64_t left_ms = due_ns > now_ns ? (due_ns - now_ns + 999999) / 1000000 : 0;
        int key = top->screen->wait(top->is_paused ? -1 : (int)left_ms);
        if (key == SCREEN_END)
            return 0;
        if (key != SCREEN_NONE && key != SCREEN_RESIZED) {
            top_key(top, key);
            if (top->has_to_end)
                return 0;
        }
        due_ns = last_ns + top->delay_ms * 1000000; /* the key may have changed that */
        if (top->is_paused || sys_now_ns() < due_ns)
            continue;
        if (n++ == count)
            return 0;
        int error = top_move(top, 1);
        if (error < 0)
            return error;
        top->is_paused = is_at_end(top->feed);
        last_ns = sys_now_ns();
    }
}

static int show(struct top *top, const struct top_options *options)
{
    int error = top_move(top,
                         1); /* so that what can't be read is told before the screen is taken */

    if (error < 0)
        return tell(top, error);
    if (options->run != 0 && !begin_with_run(top, options->run))
        return EXIT_FAILURE;
    const char *problem = top->screen->open();
    if (problem != NULL) {
        cli_error(
            "cannot use the screen: %s\n`quire ps --watch', `quire vmstat 1' and `quire free' "
            "do without",
            problem);
        return EXIT_FAILURE;
    }
    error = watch(top, options->count);
    top->screen->close();
    return error < 0 ? tell(top, error) : EXIT_SUCCESS;
}

/* What the command line says of the list. False with a message. */
static bool settle(struct top *top, const struct top_options *options)
{
    top->delay_ms = options->delay_ms;
    top_use_set(top, options->set);
    top->order.tree = options->tree;
    top->order.reverse = options->reverse;
    top->order.all = options->all;
    if (options->filter != NULL)
        top_set_filter(top, options->filter);
    if (options->sort == NULL || top_sort_by(top, options->sort))
        return true;
    cli_error("--sort %s: the columns `%s' have none of that name: %s", options->sort,
              top_sets[top->set].name, top_sets[top->set].columns);
    return false;
}

int cli_top(int argc, char **argv)
{
    static const struct argp parser = {
        .options = option_list, .parser = parse_option, .doc = documentation};
    static struct top top;
    struct top_options options = {.delay_ms = 1000};

    command_line_parse(&parser, argc, argv, 0, &options);
    if (!settle(&top, &options))
        return CLI_EXIT_FAILED;
    top.screen = screen_load();
    if (top.screen == NULL || !open_feed(&top, &options))
        return EXIT_FAILURE;
    figures_allow_descriptors();
    int status = show(&top, &options);
    feed_close(top.feed);
    quire_observe_close(top.observe);
    ps_rows_free(&top.view);
    return status;
}
