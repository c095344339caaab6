/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim: `quire sim`. Replays a trace of references against replacement policies, amounts of RAM and
 * page sizes, and tells what each would have cost.
 *
 *     lists of the command line --every combination--> cases --quire_sim_feed()--> rows
 *
 * Exit status 0, or 125: the command line or the trace can't be understood, or a file can't be read
 * or written.
 */
#include "cli/sim.h"

#include "base/size.h"
#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/ram_list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MOST_POLICIES 64
#define MOST_PAGE_SIZES 32
#define MOST_PROCESSES 4096
#define MOST_LISTS 64
#define DEFAULT_POLICIES "opt,lru,clock,arc,s3-fifo,pager:adaptive"

struct arguments {
    struct trace_input input;
    struct sim_policy_choice policies[MOST_POLICIES];
    size_t n_policies;
    struct ram_list sizes;
    unsigned page_shifts[MOST_PAGE_SIZES];
    size_t n_page_shifts;
    enum quire_sim_prefetch prefetches[QUIRE_SIM_N_PREFETCH];
    size_t n_prefetches;
    enum { GLOBAL, EQUAL, PROPORTIONAL } allocation;
    bool without_fetches, as_json;
    char *lists[MOST_LISTS]; /* allocated: names point into them */
    size_t n_lists;
    const char *svg_path;
};

enum { PREFETCH = 0x200, BY_PROCESS, NO_FETCH, LIST };

static const struct argp_option option_list[] = {
    {"ram", 'r', "LIST", 0,
     "Amounts of RAM, separated by commas: sizes, or pages as 3p; A-B is all from A to B, of pages "
     "each number, of sizes each doubling",
     0},
    {"policy", 'p', "LIST", 0,
     "Policies, some with an argument, as lru-k:3, or all (default: " DEFAULT_POLICIES ")", 0},
    {"list", LIST, NULL, 0, "Tell the policies and their arguments", 0},
    {"page-size", 'P', "LIST", 0, "Page sizes, powers of two from 64 to 1T (default: 4K)", 0},
    {"prefetch", PREFETCH, "LIST", 0,
     "What comes in along with a fault, as of quire run: none, cluster, stride, adaptive "
     "(default: none)",
     0},
    {"by-process", BY_PROCESS, "HOW", OPTION_ARG_OPTIONAL,
     "Give each process a part of the RAM for itself: equal (default) or proportional to its "
     "pages; not from standard input",
     0},
    {"no-fetch", NO_FETCH, NULL, 0, "Leave out fetches of instructions", 0},
    {"json", 'j', NULL, 0, "Print the figures as JSON", 0},
    {"svg", 'm', "FILE", 0, "Draw faults over RAM", 0},
    {0},
};

static const char documentation[] =
    "Replay a trace of memory references against replacement policies, and print for each amount "
    "of RAM and each page size how many faults and write-backs there would have been."
    "\v"
    "Policies named pager:NAME are those of quire run, by the same code, with what user space gets "
    "to know; all others see each reference.\n"
    "\n"
    "A plain trace has a reference a line, [R|W] ADDRESS, decimal or 0x, and # begins a comment:\n"
    "  printf '%s\\n' 1 2 3 4 1 2 5 1 2 3 4 5 |\n"
    "    quire sim --trace - --unit page --ram 3p-5p --policy fifo,lru,opt\n"
    "\n"
    "Exit status:\n"
    "  0    the trace was replayed\n"
    "  125  the command line or the trace can't be understood, or a file can't be used";

/* ---- the command line ---- */

/* Calls one() for each part of a list; the text is copied, and stays. */
static void each(struct argp_state *state, const char *option, const char *list,
                 void (*one)(struct argp_state *state, char *text))
{
    struct arguments *arguments = state->input;
    char *copy = strdup(list), *rest;
    if (copy == NULL)
        argp_failure(state, CLI_EXIT_FAILED, ENOMEM, "%s", option);
    if (arguments->n_lists == MOST_LISTS)
        argp_error(state, "%s: more than %d lists", option, MOST_LISTS);
    arguments->lists[arguments->n_lists++] = copy;
    char *text = strtok_r(copy, ",", &rest);
    if (text == NULL)
        argp_error(state, "%s names nothing", option);
    for (; text != NULL; text = strtok_r(NULL, ",", &rest))
        one(state, text);
}

static void parse_ram(struct argp_state *state, char *text)
{
    struct arguments *arguments = state->input;
    ram_list_add(state, &arguments->sizes, text);
}

static struct sim_policy_choice *new_choice(struct argp_state *state)
{
    struct arguments *arguments = state->input;
    if (arguments->n_policies == MOST_POLICIES)
        argp_error(state, "--policy: more than %d", MOST_POLICIES);
    return &arguments->policies[arguments->n_policies++];
}

static void parse_policy(struct argp_state *state, char *text)
{
    const struct quire_sim_policy *each_of_all;
    for (unsigned i = 0; strcmp(text, "all") == 0; i++) {
        if ((each_of_all = quire_sim_policies(i)) == NULL)
            return;
        *new_choice(state) = (struct sim_policy_choice){each_of_all->name, each_of_all, 0};
    }
    struct sim_policy_choice *choice = new_choice(state);
    choice->name = text;
    int error = quire_sim_find_policy(text, &choice->policy, &choice->argument);
    if (error == -ENOENT)
        argp_error(state, "there is no policy '%s'; quire sim --list tells them", text);
    if (error != 0)
        argp_error(state,
                   "--policy: '%s': this policy takes no argument, or that is no number above 0",
                   text);
}

static void parse_page_size(struct argp_state *state, char *text)
{
    struct arguments *arguments = state->input;
    const unsigned shift = trace_input_page_shift(state, text);
    if (arguments->n_page_shifts == MOST_PAGE_SIZES)
        argp_error(state, "--page-size: more than %d", MOST_PAGE_SIZES);
    arguments->page_shifts[arguments->n_page_shifts++] = shift;
}

static void parse_prefetch(struct argp_state *state, char *text)
{
    struct arguments *arguments = state->input;
    for (unsigned i = 0; i < QUIRE_SIM_N_PREFETCH; i++) {
        if (strcmp(quire_sim_prefetch_name((enum quire_sim_prefetch)i), text) != 0)
            continue;
        if (arguments->n_prefetches == QUIRE_SIM_N_PREFETCH)
            argp_error(state, "--prefetch: one is named twice");
        arguments->prefetches[arguments->n_prefetches++] = (enum quire_sim_prefetch)i;
        return;
    }
    argp_error(state, "--prefetch is none, cluster, stride or adaptive, not '%s'", text);
}

static void settle(struct argp_state *state)
{
    struct arguments *arguments = state->input;
    if (arguments->sizes.n == 0)
        argp_error(state, "how much RAM? --ram 64M-4G tries sizes, --ram 3p-8p numbers of pages; "
                          "quire mrc finds out for all at once");
    if (arguments->n_policies == 0)
        each(state, "--policy", DEFAULT_POLICIES, parse_policy);
    if (arguments->n_page_shifts == 0)
        arguments->page_shifts[arguments->n_page_shifts++] = 12;
    if (arguments->n_prefetches == 0)
        arguments->prefetches[arguments->n_prefetches++] = QUIRE_SIM_PREFETCH_NONE;
    if (arguments->sizes.n * arguments->n_policies * arguments->n_page_shifts *
            arguments->n_prefetches >
        QUIRE_SIM_MAX_CASES)
        argp_error(state, "more than %d combinations of the lists", QUIRE_SIM_MAX_CASES);
    if (arguments->allocation != GLOBAL && strcmp(arguments->input.path, "-") == 0)
        argp_error(state, "--by-process reads the trace twice: give a file, not standard input");
}

static void parse_by_process(struct argp_state *state, const char *text)
{
    struct arguments *arguments = state->input;
    if (text != NULL && strcmp(text, "equal") != 0 && strcmp(text, "proportional") != 0)
        argp_error(state, "--by-process is equal or proportional, not '%s'", text);
    arguments->allocation = text != NULL && text[0] == 'p' ? PROPORTIONAL : EQUAL;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->input;
        return 0;
    case 'r':
        each(state, "--ram", argument, parse_ram);
        return 0;
    case 'p':
        each(state, "--policy", argument, parse_policy);
        return 0;
    case 'P':
        each(state, "--page-size", argument, parse_page_size);
        return 0;
    case PREFETCH:
        each(state, "--prefetch", argument, parse_prefetch);
        return 0;
    case BY_PROCESS:
        parse_by_process(state, argument);
        return 0;
    case NO_FETCH:
        arguments->without_fetches = true;
        return 0;
    case LIST:
        sim_print_policies();
        exit(EXIT_SUCCESS);
    case 'j':
        arguments->as_json = true;
        return 0;
    case 'm':
        arguments->svg_path = argument;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s': the trace is given by --trace FILE", argument);
        return 0;
    case ARGP_KEY_END:
        settle(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- cases ---- */

static struct sim_row make_row(const struct arguments *arguments, size_t page, size_t policy,
                               size_t prefetch, size_t size)
{
    const struct sim_policy_choice *choice = &arguments->policies[policy];
    const unsigned shift = arguments->page_shifts[page];
    return (struct sim_row){
        .choice = choice,
        .config = {.policy = choice->policy,
                   .argument = choice->argument,
                   .ram_bytes = ram_bytes(arguments->sizes.amounts[size], shift),
                   .page_shift = shift,
                   .prefetch = arguments->prefetches[prefetch],
                   .is_local = arguments->allocation != GLOBAL}};
}

static bool is_less_than_a_page(const struct sim_row *row)
{
    return row->config.ram_bytes >> row->config.page_shift == 0;
}

/*
 * Every combination; OPT knows no prefetching, and is there once. Where others remain, those are
 * left out that have no room for a page: page sizes side by side need not share all amounts. The
 * number of rows.
 */
static size_t make_rows(const struct arguments *arguments, struct sim_row *rows)
{
    size_t n = 0, n_small = 0;
    for (size_t page = 0; page < arguments->n_page_shifts; page++)
        for (size_t policy = 0; policy < arguments->n_policies; policy++)
            for (size_t prefetch = 0; prefetch < arguments->n_prefetches; prefetch++)
                for (size_t size = 0; size < arguments->sizes.n; size++) {
                    rows[n] = make_row(arguments, page, policy, prefetch, size);
                    const bool is_opt = strcmp(rows[n].config.policy->name, "opt") == 0;
                    if (is_opt && prefetch > 0)
                        continue;
                    if (is_opt)
                        rows[n].config.prefetch = QUIRE_SIM_PREFETCH_NONE;
                    n_small += is_less_than_a_page(&rows[n++]);
                }
    if (n_small == 0 || n_small == n)
        return n;
    cli_error("note: left out where --ram is less than a page: %zu of %zu combinations", n_small,
              n);
    size_t n_kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!is_less_than_a_page(&rows[i]))
            rows[n_kept++] = rows[i];
    return n_kept;
}

static void tell_bad_row(const struct sim_row *row, const struct quire_trace_info *info, int error)
{
    char page[24], ram[24], unit[24];
    const unsigned shift = row->config.page_shift,
                   unit_shift = info->unit_shift > info->granule ? info->unit_shift : info->granule;
    size_format((uint64_t)1 << shift, page, sizeof page);
    size_format(row->config.ram_bytes, ram, sizeof ram);
    if (error != -EINVAL)
        cli_error("cannot simulate: %s", strerror(-error));
    else if (shift < unit_shift)
        cli_error("the trace counts in units of %s, so pages can't be of %s",
                  size_format((uint64_t)1 << unit_shift, unit, sizeof unit), page);
    else if (is_less_than_a_page(row))
        cli_error("--ram %s is less than a page of %s", ram, page);
    else if (row->config.ram_bytes >> shift > QUIRE_SIM_MAX_PAGES)
        cli_error("--ram %s is more than %u pages of %s", ram, QUIRE_SIM_MAX_PAGES, page);
    else if (row->config.is_local && strcmp(row->config.policy->name, "opt") == 0)
        cli_error("opt looks at the whole trace, and can't be simulated by process");
    else
        cli_error("the argument of '%s' is out of its range; quire sim --list tells it",
                  row->choice->name);
}

/* ---- by process ---- */

struct census {
    struct quire_sim_share shares[MOST_PROCESSES];
    struct quire_sim *sims[MOST_PROCESSES]; /* to count pages by; NULL: no need to */
    struct quire_trace_info info;
    size_t n;
    bool counts_pages;
};

static int take_census(void *context, const struct quire_trace_record *records, size_t n,
                       const struct quire_trace *trace)
{
    struct census *census = context;
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        if (records[i].kind >= QUIRE_TRACE_MAP)
            continue;
        while (k < census->n && census->shares[k].process != records[i].process)
            k++;
        if (k == MOST_PROCESSES)
            return -E2BIG;
        if (k == census->n) {
            census->shares[census->n++] = (struct quire_sim_share){records[i].process, 1};
            const struct quire_sim_case one = {
                .policy = quire_sim_policies(1), .ram_bytes = (uint64_t)1 << 40, .page_shift = 12};
            size_t bad;
            int error = census->counts_pages
                            ? quire_sim_open(&one, 1, &census->info, NULL, &census->sims[k], &bad)
                            : 0;
            if (error)
                return error;
        }
        if (census->sims[k] != NULL) {
            int error = quire_sim_feed(census->sims[k], &records[i], 1, trace);
            if (error)
                return error;
        }
    }
    return 0;
}

/* Who is there, and how many pages each has. */
static bool count_processes(const struct arguments *arguments, struct census *census)
{
    struct quire_trace *trace = trace_input_open(&arguments->input);
    if (trace == NULL)
        return false;
    census->info = *quire_trace_info(trace);
    census->counts_pages = arguments->allocation == PROPORTIONAL;
    bool good = trace_input_read(trace, take_census, census);
    for (size_t i = 0; i < census->n && census->sims[i] != NULL; i++) {
        if (good && quire_sim_finish(census->sims[i]) == 0)
            census->shares[i].parts = quire_sim_result(census->sims[i], 0)->cold_faults;
        quire_sim_close(census->sims[i]);
    }
    quire_trace_close(trace);
    return good;
}

/* ---- the whole ---- */

static int take(void *context, const struct quire_trace_record *records, size_t n,
                const struct quire_trace *trace)
{
    return quire_sim_feed(context, records, n, trace);
}

static struct quire_sim *open_sim(const struct sim_row *rows, size_t n,
                                  const struct quire_trace_info *info,
                                  const struct quire_sim_options *options)
{
    struct quire_sim_case *cases = calloc(n, sizeof *cases);
    struct quire_sim *sim = NULL;
    size_t bad = 0;
    for (size_t i = 0; cases != NULL && i < n; i++)
        cases[i] = rows[i].config;
    int error = cases != NULL ? quire_sim_open(cases, n, info, options, &sim, &bad) : -ENOMEM;
    if (error)
        tell_bad_row(&rows[bad], info, error);
    free(cases);
    return error ? NULL : sim;
}

static bool replay(const struct arguments *arguments, struct quire_trace *trace,
                   struct sim_row *rows, size_t n)
{
    static struct census census;
    if (arguments->allocation != GLOBAL && !count_processes(arguments, &census))
        return false;
    const struct quire_sim_options options = {.without_fetches = arguments->without_fetches,
                                              .shares = census.shares,
                                              .n_shares = census.n};
    struct quire_sim *sim = open_sim(rows, n, quire_trace_info(trace), &options);
    if (sim == NULL)
        return false;
    bool good = trace_input_read(trace, take, sim);
    if (good && quire_sim_finish(sim) != 0) {
        cli_error("cannot simulate: out of memory");
        good = false;
    }
    for (size_t i = 0; i < n && good; i++)
        rows[i].counts = *quire_sim_result(sim, i);
    quire_sim_close(sim);
    return good;
}

static bool print(const struct arguments *arguments, const struct quire_trace *trace,
                  struct sim_row *rows, size_t n)
{
    char title[120];
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < n; i++)
        least = rows[i].config.ram_bytes < least ? rows[i].config.ram_bytes : least;
    sim_find_anomalies(rows, n);
    trace_input_tell_gaps(trace, arguments->as_json ? least : 0);
    bool good = arguments->as_json ? sim_print_json(rows, n)
                                   : sim_print_text(rows, n, quire_trace_info(trace));
    if (!good)
        cli_error("cannot print the figures: out of memory");
    snprintf(title, sizeof title, "quire sim: %s", trace_input_name(&arguments->input));
    return good && (arguments->svg_path == NULL || sim_draw(rows, n, title, arguments->svg_path));
}

int cli_sim(int argc, char **argv)
{
    static const struct argp_child children[] = {{&trace_input_argp, 0, NULL, 0}, {0}};
    static const struct argp parser = {
        .options = option_list, .parser = parse_option, .doc = documentation, .children = children};
    static struct arguments arguments;

    command_line_parse(&parser, argc, argv, ARGP_IN_ORDER, &arguments);
    struct sim_row *rows = calloc(QUIRE_SIM_MAX_CASES, sizeof *rows);
    if (rows == NULL) {
        cli_error("cannot simulate: out of memory");
        return CLI_EXIT_FAILED;
    }
    struct quire_trace *trace = trace_input_open(&arguments.input);
    size_t n = make_rows(&arguments, rows);
    bool good = trace != NULL && replay(&arguments, trace, rows, n) &&
                print(&arguments, trace, rows, n);
    quire_trace_close(trace);
    free(rows);
    for (size_t i = 0; i < arguments.n_lists; i++)
        free(arguments.lists[i]);
    return good ? EXIT_SUCCESS : CLI_EXIT_FAILED;
}
