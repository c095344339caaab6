/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ps: `quire ps`. Processes and their memory: columns by choice, sorted, filtered, as a tree, once
 * or again and again. Only what the columns, the order and the filters need is read.
 *
 *   processes ── rows ── filter ── order: by key, or parents before their children ── table, JSON
 *
 * Exit status 0; 1 when they can't be read, 125 for a bad command line.
 */
#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/moment.h"
#include "cli/ps_rows.h"
#include "cli/table.h"
#include "cli/watch.h"
#include "cli/when.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_COLUMNS 48
#define MAX_FILTERS 16
#define DEFAULT_COLUMNS "pid,user,rss,pss,uss,swap,locked,minor_rate,major_rate,oom,command"
#define TREE_COLUMNS "pid,user,rss,pss,uss,tree,swap,locked,minor_rate,major_rate,oom,command"
#define RUN_COLUMNS \
    "pid,run,rss,resident,staged,compressed,swap_file,metadata,held,budget,major_rate,command"

enum { KEY_LIST = 256, KEY_RUNS, KEY_FULL };

struct ps_options {
    struct figure_options common;
    struct moment_options moment;
    const char *column_list;
    const struct ps_column *columns[MAX_COLUMNS];
    unsigned n_columns;
    struct ps_order order;
    struct ps_filter filters[MAX_FILTERS];
    bool list, full, is_default_order;
    struct watch_options watch;
};

static uint64_t add(uint64_t sum, uint64_t figure)
{
    return quire_observe_known(figure) ? sum + figure : sum;
}

struct totals {
    uint64_t rss, pss, swap;
    size_t n_without_pss;
};

static struct totals totals_of(const struct ps_view *view)
{
    struct totals totals = {0};

    for (size_t i = 0; i < view->n; i++) {
        const struct quire_observe_process *process = view->rows[i].process;
        totals.rss = add(totals.rss, process->rss);
        totals.pss = add(totals.pss, process->pss);
        totals.swap = add(totals.swap, process->swap);
        totals.n_without_pss += process->pss == QUIRE_OBSERVE_DENIED;
    }
    return totals;
}

struct shown { /* what is told of processes, beside these themselves */
    const struct quire_observe_processes *processes;
    unsigned parts;   /* that were read */
    uint64_t wall_ms; /* of a recording; else 0 */
};

static unsigned parts_of(const struct ps_options *options)
{
    unsigned parts = QUIRE_OBSERVE_STAT | options->order.sort->parts;

    for (unsigned i = 0; i < options->n_columns; i++)
        parts |= options->columns[i]->parts;
    for (unsigned i = 0; i < options->order.n_filters; i++)
        parts |= options->filters[i].column->parts;
    if (options->watch.ms > 0)
        parts |= QUIRE_OBSERVE_KEEP_SHARES;
    return parts;
}

static void print_totals(const struct ps_view *view, const struct shown *shown,
                         const struct ps_options *options)
{
    struct totals totals = totals_of(view);
    unsigned wanted = parts_of(options), parts = wanted & shown->parts;
    char time[40];

    printf("%zu process%s, RSS %s", view->n, view->n == 1 ? "" : "es",
           figure_size(totals.rss, FIGURE));
    if (parts & QUIRE_OBSERVE_SHARES)
        printf(", PSS %s", figure_size(totals.pss, FIGURE));
    if (parts & QUIRE_OBSERVE_STATUS)
        printf(", swap %s", figure_size(totals.swap, FIGURE));
    if (shown->wall_ms != 0)
        printf(", %s", when_text(shown->wall_ms, time, sizeof time));
    putchar('\n');
    if (wanted & ~parts & QUIRE_OBSERVE_SHARES)
        printf("PSS and USS were not recorded: `quire log --pss' does\n");
    if (shown->processes->n_denied > 0)
        printf("of %zu the kernel does not show all to this user%s\n", shown->processes->n_denied,
               shown->wall_ms != 0 ? ""
               : geteuid() != 0    ? ": root sees more"
                                   : ", although it is root");
}

static bool print_text(const struct ps_view *view, const struct shown *shown,
                       const struct ps_options *options)
{
    struct table table = {.n_columns = options->n_columns};
    char buffer[PS_TEXT_BYTES];

    for (unsigned i = 0; i < options->n_columns; i++) {
        if (options->columns[i]->kind == PS_TEXT)
            table.left |= (uint64_t)1 << i;
        table_add(&table, options->columns[i]->heading);
    }
    for (size_t row = 0; row < view->n; row++)
        for (unsigned i = 0; i < options->n_columns; i++)
            table_add(&table, ps_column_cell(options->columns[i], &view->rows[row],
                                             options->common.exact, buffer));
    bool good = table_print(&table, options->full ? 0 : figures_width());
    table_free(&table);
    print_totals(view, shown, options);
    return good;
}

static bool print_json(const struct ps_view *view, const struct shown *shown,
                       const struct ps_options *options)
{
    struct totals totals = totals_of(view);
    unsigned parts = parts_of(options) & shown->parts;
    json_t *list = json_array();
    char time[40];

    for (size_t row = 0; row < view->n; row++) {
        json_t *json = json_object();
        for (unsigned i = 0; i < options->n_columns; i++)
            json_object_set_new(json, options->columns[i]->key,
                                ps_column_json(options->columns[i], &view->rows[row]));
        json_array_append_new(list, json);
    }
    uint64_t pss = parts & QUIRE_OBSERVE_SHARES ? totals.pss : QUIRE_OBSERVE_ABSENT;
    uint64_t swap = parts & QUIRE_OBSERVE_STATUS ? totals.swap : QUIRE_OBSERVE_ABSENT;
    json_t *json = json_pack("{s:s, s:s, s:o, s:{s:I, s:o, s:o, s:o}, s:I, s:I}", "schema",
                             "quire.ps/1", "version", QUIRE_VERSION, "processes", list, "totals",
                             "processes", (json_int_t)view->n, "rss_bytes", figure_json(totals.rss),
                             "pss_bytes", figure_json(pss), "swap_bytes", figure_json(swap),
                             "denied", (json_int_t)shown->processes->n_denied, "vanished",
                             (json_int_t)shown->processes->n_vanished);
    if (shown->wall_ms != 0)
        json_object_set_new(json, "time", json_string(when_utc(shown->wall_ms, time, sizeof time)));
    return figures_print_json(json, options->watch.ms > 0);
}

static int show(struct ps_view *view, const struct shown *shown, const struct ps_options *options)
{
    if (!ps_rows_arrange(view, shown->processes, &options->order)) {
        cli_error("out of memory");
        return CLI_EXIT_FAILED;
    }
    bool good = options->common.as_json ? print_json(view, shown, options)
                                        : print_text(view, shown, options);
    return good ? EXIT_SUCCESS : CLI_EXIT_FAILED;
}

struct live {
    const struct ps_options *options;
    struct quire_observe *observe;
    struct ps_view view;
};

static int show_live(void *context)
{
    struct live *live = context;
    struct quire_observe_processes processes;
    const struct shown shown = {.processes = &processes, .parts = parts_of(live->options)};
    int error = quire_observe_processes(live->observe, shown.parts, &processes);

    if (error < 0)
        return figures_failed(live->observe, error);
    return show(&live->view, &shown, live->options);
}

static int show_recorded(struct ps_options *options)
{
    struct ps_view view = {.n = 0};
    struct feed *feed;
    int status;
    const struct sample *sample = moment_open(&options->moment, &feed, &status);

    if (sample == NULL)
        return status;
    const struct shown shown = {&sample->processes, sample->parts, sample->wall_ms};
    if (options->is_default_order && !(sample->parts & QUIRE_OBSERVE_SHARES))
        options->order.sort = ps_column_find("rss", 3);
    status = sample->has_processes ? show(&view, &shown, options) : moment_lacks("processes", 0);
    ps_rows_free(&view);
    feed_close(feed);
    return status;
}

static void list_columns(void)
{
    for (size_t i = 0; i < ps_n_columns; i++)
        printf("%-15s %-9s %s\n", ps_columns[i].name, ps_columns[i].heading, ps_columns[i].help);
}

static const struct argp_option option_list[] = {
    {"columns", 'o', "LIST", 0, "Show these columns, separated by commas; --list names them", 0},
    {"sort", 's', "COLUMN", 0, "Order by this column, the most first (default: pss, else rss)", 0},
    {"reverse", 'r', NULL, 0, "The least first", 0},
    {"filter", 'f', "TEST", 0,
     "Show those of whom it is true: COLUMN and =, !=, ~ (holds), <, >, <= or >= and a value, as "
     "rss>100M or name~python; several: all must be",
     0},
    {"tree", 't', NULL, 0, "Children below their parents", 0},
    {"all", 'a', NULL, 0, "The kernel's threads, too", 0},
    {"limit", 'l', "N", 0, "The first N rows only", 0},
    {"runs", KEY_RUNS, NULL, 0, "The processes of `quire run' and what Quire holds of each", 0},
    {"full", KEY_FULL, NULL, 0, "Do not cut lines at the terminal's width", 0},
    {"list", KEY_LIST, NULL, 0, "List the columns and what they mean", 0},
    {0},
};

static const char documentation[] =
    "Show the memory of processes: resident (RSS), resident with shared pages divided among their "
    "users (PSS), what would be freed by their end (USS), swapped out, locked, faults, and the OOM "
    "killer's score."
    "\v"
    "Rates are since the start of the process; with --watch, from the second time on, since the "
    "time before; with --replay since the sample before. PSS and USS are read only where a column, "
    "the order or a filter needs them: they "
    "cost the most.\n"
    "\n"
    "Examples:\n"
    "  quire ps -l 10\n"
    "  quire ps -o pid,rss,major_rate,command -s major_rate --watch=1\n"
    "  quire ps --tree -o pid,pss,tree,command -f 'user=postgres'\n"
    "  quire ps --runs\n"
    "  quire ps --replay memory.log --at 14:30 -l 5\n"
    "\n"
    "Exit status:\n"
    "  0    the processes were printed\n"
    "  1    they can't be read; a message says why\n"
    "  125  the command line can't be understood";

static void parse_columns(const char *list, struct argp_state *state)
{
    struct ps_options *options = state->input;

    options->n_columns = 0;
    for (const char *at = list;; at++) {
        size_t n = strcspn(at, ",");
        const struct ps_column *column = ps_column_find(at, n);
        if (column == NULL)
            argp_error(state, "--columns: there is no column '%.*s'; `quire ps --list' lists them",
                       (int)n, at);
        if (options->n_columns == MAX_COLUMNS)
            argp_error(state, "--columns: more than %d columns", MAX_COLUMNS);
        options->columns[options->n_columns++] = column;
        at += n;
        if (*at == '\0')
            break;
    }
}

static void parse_filter(const char *argument, struct argp_state *state)
{
    struct ps_options *options = state->input;
    const char *problem;

    if (options->order.n_filters == MAX_FILTERS)
        argp_error(state, "--filter: more than %d", MAX_FILTERS);
    if (!ps_filter_parse(argument, &options->filters[options->order.n_filters++], &problem))
        argp_error(state, "--filter '%s': %s", argument, problem);
}

/* The default order: the dearest figure that is shown anyway. */
static void settle(struct argp_state *state)
{
    struct ps_options *options = state->input;

    if (options->column_list == NULL)
        options->column_list = options->order.tree ? TREE_COLUMNS : DEFAULT_COLUMNS;
    parse_columns(options->column_list, state);
    if (options->moment.replay != NULL && (options->common.root != NULL || options->watch.ms > 0))
        argp_error(state, "--replay goes neither with --root nor with --watch; `quire top "
                          "--replay' plays a recording");
    options->is_default_order = options->order.sort == NULL;
    for (unsigned i = 0; options->order.sort == NULL && i < options->n_columns; i++)
        if (strcmp(options->columns[i]->name, "pss") == 0)
            options->order.sort = options->columns[i];
    if (options->order.sort == NULL)
        options->order.sort = ps_column_find("rss", 3);
}

static error_t parse_common(int key, char *argument, struct argp_state *state)
{
    struct ps_options *options = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->common;
        state->child_inputs[1] = &options->moment;
        state->child_inputs[2] = &options->watch;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s': `quire ps' takes no arguments; --filter pid=%s shows one process",
                   argument, argument);
        return 0;
    case ARGP_KEY_END:
        settle(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct ps_options *options = state->input;

    switch (key) {
    case 'o':
        options->column_list = argument;
        return 0;
    case KEY_RUNS:
        options->column_list = options->column_list ? options->column_list : RUN_COLUMNS;
        parse_filter("run>0", state);
        return 0;
    case 's':
        options->order.sort = ps_column_find(argument, strlen(argument));
        if (options->order.sort == NULL)
            argp_error(state, "--sort: there is no column '%s'; `quire ps --list' lists them",
                       argument);
        return 0;
    case 'f':
        parse_filter(argument, state);
        return 0;
    case 'l':
        options->order.limit = figures_parse_count(argument);
        if (options->order.limit == 0)
            argp_error(state, "--limit %s: that is no whole number above 0", argument);
        return 0;
    case 'r':
        options->order.reverse = true;
        return 0;
    case 't':
        options->order.tree = true;
        return 0;
    case 'a':
        options->order.all = true;
        return 0;
    case KEY_FULL:
        options->full = true;
        return 0;
    case KEY_LIST:
        options->list = true;
        return 0;
    default:
        return parse_common(key, argument, state);
    }
}

int cli_ps(int argc, char **argv)
{
    static const struct argp_child children[] = {
        {&figures_argp, 0, NULL, 0}, {&moment_argp, 0, NULL, 0}, {&watch_argp, 0, NULL, 0}, {0}};
    static const struct argp parser = {
        .options = option_list, .parser = parse_option, .doc = documentation, .children = children};
    static struct ps_options options;

    options.order.filters = options.filters;
    command_line_parse(&parser, argc, argv, 0, &options);
    if (options.list) {
        list_columns();
        return EXIT_SUCCESS;
    }
    if (options.moment.replay != NULL)
        return show_recorded(&options);
    struct live live = {.options = &options, .observe = figures_open(&options.common)};
    if (live.observe == NULL)
        return EXIT_FAILURE;
    int status = watch_run(&options.watch, options.common.as_json, show_live, &live);
    ps_rows_free(&live.view);
    quire_observe_close(live.observe);
    return status;
}
