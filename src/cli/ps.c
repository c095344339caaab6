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
#include "cli/ps_columns.h"
#include "cli/table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define MAX_COLUMNS 48
#define MAX_FILTERS 16
#define MAX_DEPTH 64 /* of a tree; also ends a circle of parents, which only a forged /proc has */
#define DEFAULT_COLUMNS "pid,user,rss,pss,uss,swap,locked,minor_rate,major_rate,oom,command"
#define RUN_COLUMNS \
    "pid,run,rss,resident,staged,compressed,swap_file,metadata,held,budget,major_rate,command"

enum { KEY_LIST = 256, KEY_RUNS, KEY_FULL };

struct ps_options {
    struct figure_options common;
    const char *column_list;
    const struct ps_column *columns[MAX_COLUMNS];
    unsigned n_columns, n_filters;
    struct ps_filter filters[MAX_FILTERS];
    const struct ps_column *sort;
    bool reverse, tree, all, list, full;
    uint64_t watch_ms;   /* 0: once */
    unsigned long count; /* of samples; 0: for ever */
    unsigned long limit; /* of rows; 0: all */
};

struct view {
    struct ps_row *rows, *ordered;
    size_t n, room, ordered_room;
    long *first_child, *next; /* by row; -1: none */
    size_t links_room, next_room;
};

static bool grow(void *array, size_t *room, size_t n, size_t element_bytes)
{
    void *old, *grown;

    if (n <= *room)
        return true;
    memcpy(&old, array, sizeof old);
    grown = reallocarray(old, n * 2, element_bytes);
    if (grown == NULL)
        return false;
    memcpy(array, &grown, sizeof grown);
    *room = n * 2;
    return true; /* cppcheck-suppress memleak ; it is the array's */
}

static int compare_pid(const void *key, const void *row)
{
    int pid = *(const int *)key, other = ((const struct ps_row *)row)->process->pid;

    return pid < other ? -1 : pid > other;
}

static uint64_t add(uint64_t sum, uint64_t figure)
{
    return quire_observe_known(figure) ? sum + figure : sum;
}

/* Each process's memory counts for it and for all above it. Rows are sorted by pid here. */
static void sum_trees(struct view *view)
{
    for (size_t i = 0; i < view->n; i++) {
        const struct quire_observe_process *process = view->rows[i].process;
        struct ps_row *above = &view->rows[i];
        for (unsigned depth = 0; above != NULL && depth < MAX_DEPTH; depth++) {
            above->tree_pss = add(above->tree_pss, process->pss);
            above->tree_rss = add(above->tree_rss, process->rss);
            view->rows[i].depth = depth;
            above = bsearch(&above->process->parent, view->rows, view->n, sizeof *view->rows,
                            compare_pid);
        }
    }
}

static bool passes(const struct ps_options *options, const struct ps_row *row)
{
    for (unsigned i = 0; i < options->n_filters; i++)
        if (!ps_filter_passes(&options->filters[i], row))
            return false;
    return options->all || !row->process->is_kernel_thread;
}

static const struct ps_options *sorting; /* qsort(3) has no context */

static int compare_rows(const void *a, const void *b)
{
    const struct ps_row *x = a, *y = b;
    int order;

    if (sorting->sort->kind == PS_TEXT) {
        char left[PS_TEXT_BYTES], right[PS_TEXT_BYTES];
        sorting->sort->text(x, left, sizeof left);
        sorting->sort->text(y, right, sizeof right);
        order = strcmp(left, right);
    } else {
        double left = ps_column_value(sorting->sort, x), right = ps_column_value(sorting->sort, y);
        order = left > right ? -1 : left < right; /* the most first */
        if (strcmp(sorting->sort->name, "pid") == 0)
            order = -order;
    }
    if (order == 0)
        order = x->process->pid < y->process->pid ? -1 : x->process->pid > y->process->pid;
    return sorting->reverse ? -order : order;
}

static void emit(struct view *view, size_t *n, long row, unsigned depth)
{
    for (; row >= 0; row = view->next[row]) {
        view->ordered[*n] = view->rows[row];
        view->ordered[(*n)++].depth = depth;
        if (depth < MAX_DEPTH)
            emit(view, n, view->first_child[row], depth + 1);
    }
}

struct place {
    int pid;
    long row;
};

static int compare_places(const void *a, const void *b)
{
    int x = ((const struct place *)a)->pid, y = ((const struct place *)b)->pid;

    return x < y ? -1 : x > y;
}

/* Parents before their children; siblings keep their order. */
static bool order_tree(struct view *view)
{
    struct place *places = calloc(view->n + 1, sizeof *places);
    long roots = -1;
    size_t n = 0;

    if (places == NULL || view->rows == NULL ||
        !grow(&view->first_child, &view->links_room, view->n, sizeof *view->first_child) ||
        !grow(&view->next, &view->next_room, view->n, sizeof *view->next) ||
        !grow(&view->ordered, &view->ordered_room, view->n, sizeof *view->ordered)) {
        free(places);
        return false;
    }
    for (size_t i = 0; i < view->n; i++) {
        places[i] = (struct place){view->rows[i].process->pid, (long)i};
        view->first_child[i] = -1;
    }
    qsort(places, view->n, sizeof *places, compare_places);
    for (size_t i = view->n; i-- > 0;) {
        struct place key = {view->rows[i].process->parent, 0};
        const struct place *parent = bsearch(&key, places, view->n, sizeof key, compare_places);
        long *list = parent != NULL && parent->row != (long)i ? &view->first_child[parent->row]
                                                              : &roots;
        view->next[i] = *list;
        *list = (long)i;
    }
    free(places);
    emit(view, &n, roots, 0);
    view->n = n; /* whoever is in a circle of parents is left out */
    memcpy(view->rows, view->ordered, n * sizeof *view->rows);
    return true;
}

static bool arrange(struct view *view, const struct quire_observe_processes *processes,
                    const struct ps_options *options)
{
    size_t n = 0;

    if (!grow(&view->rows, &view->room, processes->n + 1, sizeof *view->rows) || view->rows == NULL)
        return false;
    view->n = processes->n;
    for (size_t i = 0; i < processes->n; i++)
        view->rows[i] = (struct ps_row){.process = &processes->list[i]};
    sum_trees(view);
    for (size_t i = 0; i < view->n; i++) {
        if (!options->tree)
            view->rows[i].depth = 0;
        if (passes(options, &view->rows[i]))
            view->rows[n++] = view->rows[i];
    }
    view->n = n;
    sorting = options;
    qsort(view->rows, view->n, sizeof *view->rows, compare_rows);
    if (options->tree && !order_tree(view))
        return false;
    if (options->limit > 0 && view->n > options->limit)
        view->n = options->limit;
    return true;
}

struct totals {
    uint64_t rss, pss, swap;
    size_t n_without_pss;
};

static struct totals totals_of(const struct view *view)
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

static unsigned parts_of(const struct ps_options *options)
{
    unsigned parts = QUIRE_OBSERVE_STAT | options->sort->parts;

    for (unsigned i = 0; i < options->n_columns; i++)
        parts |= options->columns[i]->parts;
    for (unsigned i = 0; i < options->n_filters; i++)
        parts |= options->filters[i].column->parts;
    return parts;
}

static size_t terminal_width(const struct ps_options *options)
{
    struct winsize size;

    if (options->full || !isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0)
        return 0;
    return size.ws_col;
}

static bool print_text(const struct view *view, const struct quire_observe_processes *processes,
                       const struct ps_options *options)
{
    struct table table = {.n_columns = options->n_columns};
    struct totals totals = totals_of(view);
    unsigned parts = parts_of(options);
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
    bool good = table_print(&table, terminal_width(options));
    table_free(&table);
    printf("%zu process%s, RSS %s", view->n, view->n == 1 ? "" : "es",
           figure_size(totals.rss, FIGURE));
    if (parts & QUIRE_OBSERVE_SHARES)
        printf(", PSS %s", figure_size(totals.pss, FIGURE));
    if (parts & QUIRE_OBSERVE_STATUS)
        printf(", swap %s", figure_size(totals.swap, FIGURE));
    putchar('\n');
    if (processes->n_denied > 0)
        printf("of %zu the kernel does not show all to this user: root sees more\n",
               processes->n_denied);
    return good;
}

static bool print_json(const struct view *view, const struct quire_observe_processes *processes,
                       const struct ps_options *options)
{
    struct totals totals = totals_of(view);
    unsigned parts = parts_of(options);
    json_t *list = json_array();

    for (size_t row = 0; row < view->n; row++) {
        json_t *json = json_object();
        for (unsigned i = 0; i < options->n_columns; i++)
            json_object_set_new(json, options->columns[i]->key,
                                ps_column_json(options->columns[i], &view->rows[row]));
        json_array_append_new(list, json);
    }
    uint64_t pss = parts & QUIRE_OBSERVE_SHARES ? totals.pss : QUIRE_OBSERVE_ABSENT;
    uint64_t swap = parts & QUIRE_OBSERVE_STATUS ? totals.swap : QUIRE_OBSERVE_ABSENT;
    json_t *json = json_pack(
        "{s:s, s:s, s:o, s:{s:I, s:o, s:o, s:o}, s:I, s:I}", "schema", "quire.ps/1", "version",
        QUIRE_VERSION, "processes", list, "totals", "processes", (json_int_t)view->n, "rss_bytes",
        figure_json(totals.rss), "pss_bytes", figure_json(pss), "swap_bytes", figure_json(swap),
        "denied", (json_int_t)processes->n_denied, "vanished", (json_int_t)processes->n_vanished);
    return figures_print_json(json, options->watch_ms > 0);
}

static int show(struct quire_observe *observe, struct view *view, const struct ps_options *options,
                bool clears)
{
    struct quire_observe_processes processes;
    int error = quire_observe_processes(observe, parts_of(options), &processes);

    if (error < 0)
        return figures_failed(observe, error);
    if (!arrange(view, &processes, options)) {
        cli_error("out of memory");
        return CLI_EXIT_FAILED;
    }
    if (clears)
        fputs("\033[H\033[2J", stdout);
    bool good = options->common.as_json ? print_json(view, &processes, options)
                                        : print_text(view, &processes, options);
    return good ? EXIT_SUCCESS : CLI_EXIT_FAILED;
}

/* As many descriptors as are allowed: one a process makes the next sample cheaper. */
static void allow_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int run(struct quire_observe *observe, const struct ps_options *options)
{
    struct view view = {.n = 0};
    bool clears = options->watch_ms > 0 && !options->common.as_json && isatty(STDOUT_FILENO);
    int status;

    if (options->watch_ms > 0) {
        allow_descriptors();
        figures_catch_signals();
    }
    for (unsigned long n = 1;; n++) {
        status = show(observe, &view, options, clears);
        if (status != EXIT_SUCCESS || options->watch_ms == 0 || n == options->count)
            break;
        if (!clears && !options->common.as_json)
            putchar('\n');
        fflush(stdout);
        if (ferror(stdout) || !figures_sleep_ms(options->watch_ms))
            break;
    }
    free(view.rows);
    free(view.ordered);
    free(view.first_child);
    free(view.next);
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
    {"watch", 'w', "SECONDS", OPTION_ARG_OPTIONAL, "Again every SECONDS (2), until ^C", 0},
    {"count", 'n', "N", 0, "With --watch: N times", 0},
    {"full", KEY_FULL, NULL, 0, "Do not cut lines at the terminal's width", 0},
    {"list", KEY_LIST, NULL, 0, "List the columns and what they mean", 0},
    {NULL, 'h', NULL, OPTION_HIDDEN, NULL, -1},
    {0},
};

static const char documentation[] =
    "Show the memory of processes: resident (RSS), resident with shared pages divided among their "
    "users (PSS), what would be freed by their end (USS), swapped out, locked, faults, and the OOM "
    "killer's score."
    "\v"
    "Rates are since the start of the process; with --watch, from the second time on, since the "
    "time before. PSS and USS are read only where a column, the order or a filter needs them: they "
    "cost the most.\n"
    "\n"
    "Examples:\n"
    "  quire ps -l 10\n"
    "  quire ps -o pid,rss,major_rate,command -s major_rate --watch=1\n"
    "  quire ps --tree -o pid,pss,tree,command -f 'user=postgres'\n"
    "  quire ps --runs\n"
    "\n"
    "Exit status:\n"
    "  0    the processes were printed\n"
    "  1    they can't be read; a message says why\n"
    "  125  the command line can't be understood";

static unsigned long parse_count(const char *argument, const char *option, struct argp_state *state)
{
    char *end;

    errno = 0;
    unsigned long n = strtoul(argument, &end, 10);
    if (errno != 0 || *argument < '0' || *argument > '9' || *end != '\0' || n == 0)
        argp_error(state, "%s %s: that is no whole number above 0", option, argument);
    return n;
}

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

    if (options->n_filters == MAX_FILTERS)
        argp_error(state, "--filter: more than %d", MAX_FILTERS);
    if (!ps_filter_parse(argument, &options->filters[options->n_filters++], &problem))
        argp_error(state, "--filter '%s': %s", argument, problem);
}

/* The default order: the dearest figure that is shown anyway. */
static void settle(struct argp_state *state)
{
    struct ps_options *options = state->input;

    parse_columns(options->column_list != NULL ? options->column_list : DEFAULT_COLUMNS, state);
    if (options->count > 0 && options->watch_ms == 0)
        argp_error(state, "--count has no meaning without --watch");
    for (unsigned i = 0; options->sort == NULL && i < options->n_columns; i++)
        if (strcmp(options->columns[i]->name, "pss") == 0)
            options->sort = options->columns[i];
    if (options->sort == NULL)
        options->sort = ps_column_find("rss", 3);
}

static error_t parse_common(int key, char *argument, struct argp_state *state)
{
    struct ps_options *options = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->common;
        return 0;
    case 'h':
        argp_state_help(state, stdout, ARGP_HELP_STD_HELP);
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
        options->sort = ps_column_find(argument, strlen(argument));
        if (options->sort == NULL)
            argp_error(state, "--sort: there is no column '%s'; `quire ps --list' lists them",
                       argument);
        return 0;
    case 'f':
        parse_filter(argument, state);
        return 0;
    case 'w':
        options->watch_ms = argument != NULL ? figures_parse_seconds(argument) : 2000;
        if (options->watch_ms == 0)
            argp_error(state, "--watch=%s: that is no number of seconds from 0.001 to 86400",
                       argument);
        return 0;
    case 'n':
        options->count = parse_count(argument, "--count", state);
        return 0;
    case 'l':
        options->limit = parse_count(argument, "--limit", state);
        return 0;
    case 'r':
        options->reverse = true;
        return 0;
    case 't':
        options->tree = true;
        return 0;
    case 'a':
        options->all = true;
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
    static const struct argp_child children[] = {{&figures_argp, 0, NULL, 0}, {0}};
    static const struct argp parser = {
        .options = option_list, .parser = parse_option, .doc = documentation, .children = children};
    static struct ps_options options;

    argp_err_exit_status = CLI_EXIT_FAILED;
    if (argp_parse(&parser, argc, argv, 0, NULL, &options) != 0)
        return CLI_EXIT_FAILED;
    if (options.list) {
        list_columns();
        return EXIT_SUCCESS;
    }
    struct quire_observe *observe = figures_open(&options.common);
    if (observe == NULL)
        return EXIT_FAILURE;
    int status = run(observe, &options);
    quire_observe_close(observe);
    return status;
}
