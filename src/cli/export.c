/* SPDX-License-Identifier: Apache-2.0 */
/*
 * export: `quire export`. The system's memory, chosen processes and the runs of Quire as metrics,
 * for Prometheus and whatever else reads OpenMetrics.
 *
 *   --listen     http_server ── page() ── a sample, at most --interval old ── export_write()
 *   --textfile   every --interval, or once: the page into a file, in one step
 *
 * Exit status 0, also when a signal ends it; 1 when the machine can't be read, 125 for a bad
 * command line, an address that can't be had, or a file that can't be written.
 */
#include "observe/export.h"
#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/figures.h"
#include "cli/http_server.h"
#include "cli/out_file.h"
#include "cli/ps_columns.h"

#include "base/sys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PROCESSES 1000u
#define MAX_FILTERS 8u
#define FRESH_MS 1000 /* of figures for --listen, without --interval */

enum { KEY_LISTEN = 700, KEY_TEXTFILE, KEY_INTERVAL, KEY_PROCESSES, KEY_PSS, KEY_FORMAT, KEY_ROOT };

struct export_options {
    const char *root, *listen, *textfile;
    uint64_t interval_ms; /* 0: not given */
    unsigned long n_processes;
    struct ps_filter filters[MAX_FILTERS];
    unsigned n_filters;
    bool has_pss, has_count;
    bool has_format; /* else: as the client asks */
    enum metrics_format format;
};

struct exporter {
    const struct export_options *options;
    struct quire_observe *observe;
    struct quire_observe *shares; /* for PSS alone, so that the list above stays */
    struct sample sample;
    struct quire_observe_process chosen[MAX_PROCESSES];
    size_t n_chosen;
    uint64_t taken_ns; /* 0: there is no sample yet */
    double seconds;
};

static bool is_chosen(const struct export_options *options,
                      const struct quire_observe_process *process)
{
    const struct ps_row row = {
        .process = process, .tree_pss = QUIRE_OBSERVE_ABSENT, .tree_rss = QUIRE_OBSERVE_ABSENT};

    for (unsigned i = 0; i < options->n_filters; i++)
        if (!ps_filter_passes(&options->filters[i], &row))
            return false;
    return !process->is_kernel_thread;
}

static uint64_t order(const struct quire_observe_process *process)
{
    return quire_observe_known(process->rss) ? process->rss : 0;
}

/* The largest of those that pass, the largest first. */
static void choose(struct exporter *exporter)
{
    const struct quire_observe_processes *all = &exporter->sample.processes;
    size_t most = exporter->options->n_processes, n = 0;

    for (size_t i = 0; most > 0 && i < all->n; i++) {
        const struct quire_observe_process *process = &all->list[i];
        if (!is_chosen(exporter->options, process))
            continue;
        size_t at = n;
        while (at > 0 && order(&exporter->chosen[at - 1]) < order(process))
            at--;
        if (at == most)
            continue;
        n += n < most;
        memmove(&exporter->chosen[at + 1], &exporter->chosen[at],
                (n - 1 - at) * sizeof exporter->chosen[0]);
        exporter->chosen[at] = *process;
    }
    exporter->n_chosen = n;
}

/* One that has ended meanwhile is shown without. */
static void read_shares(struct exporter *exporter)
{
    struct quire_observe_process one;

    for (size_t i = 0; i < exporter->n_chosen; i++) {
        struct quire_observe_process *process = &exporter->chosen[i];
        if (quire_observe_process(exporter->shares, process->pid, QUIRE_OBSERVE_SHARES, &one) < 0 ||
            one.start_ms != process->start_ms)
            continue;
        process->pss = one.pss;
        process->uss = one.uss;
    }
}

static unsigned wanted_parts(const struct export_options *options)
{
    unsigned parts = QUIRE_OBSERVE_STAT | QUIRE_OBSERVE_RUNS;

    if (options->n_processes > 0)
        parts |= QUIRE_OBSERVE_STATUS | QUIRE_OBSERVE_OOM;
    for (unsigned i = 0; i < options->n_filters; i++)
        parts |= options->filters[i].column->parts;
    return parts;
}

/* Takes a sample unless the last one is fresh. */
static int take(struct exporter *exporter)
{
    uint64_t start_ns = sys_now_ns();
    uint64_t fresh_ms = exporter->options->interval_ms > 0 ? exporter->options->interval_ms
                                                           : FRESH_MS;

    if (exporter->options->listen != NULL && exporter->taken_ns != 0 &&
        start_ns - exporter->taken_ns < fresh_ms * 1000000)
        return 0;
    int error = sample_take(exporter->observe, wanted_parts(exporter->options), NULL,
                            &exporter->sample);
    if (error < 0)
        return error;
    choose(exporter);
    if (exporter->options->has_pss)
        read_shares(exporter);
    exporter->taken_ns = sys_now_ns();
    exporter->seconds = (double)(exporter->taken_ns - start_ns) / 1e9;
    return 0;
}

static int make(struct exporter *exporter, enum metrics_format format, struct metrics *metrics)
{
    *metrics = (struct metrics){.format = format};
    int error = take(exporter);

    if (error < 0)
        return error;
    const struct export_page page = {&exporter->sample, exporter->chosen, exporter->n_chosen,
                                     exporter->seconds};
    export_write(&page, metrics);
    if (!metrics->failed)
        return 0;
    free(metrics->text);
    metrics->text = NULL;
    return -ENOMEM;
}

static void make_page(void *context, const char *accept, struct http_page *page)
{
    struct exporter *exporter = context;
    const bool wants_open = strstr(accept, "application/openmetrics-text") != NULL;
    enum metrics_format format = exporter->options->has_format ? exporter->options->format
                                 : wants_open                  ? METRICS_OPENMETRICS
                                                               : METRICS_PROMETHEUS;
    struct metrics metrics;
    int error = make(exporter, format, &metrics);

    if (error < 0) {
        figures_failed(exporter->observe, error); /* to the log; the client is told 500 */
        return;
    }
    *page = (struct http_page){metrics.text, metrics.n_bytes, metrics_content_type(format)};
}

static int listen_failed(const char *address, int error)
{
    if (error == -EINVAL)
        cli_error("'%s' is no address to listen at\n"
                  "give a numeric one and a port: 127.0.0.1:9435, [::1]:9435, localhost:9435",
                  address);
    else
        cli_error("cannot listen at %s: %s%s", address, strerror(-error),
                  error == -EADDRINUSE ? "\nanother program does; take another port, or 0 for any"
                  : error == -EACCES   ? "\nports below 1024 are root's; take a higher one"
                                       : "");
    return CLI_EXIT_FAILED;
}

static int serve(struct exporter *exporter)
{
    const char *address = exporter->options->listen;
    struct http_server server;
    int error = http_server_listen(address, &server);

    if (error < 0)
        return listen_failed(address, error);
    if (!http_server_is_loopback(address))
        cli_error("note: other machines can reach this address, and names of programs are shown "
                  "to whoever asks");
    fprintf(stderr, "quire: figures at http://%s/metrics\n", server.address);
    error = http_server_run(&server, make_page, exporter);
    http_server_close(&server);
    if (error == 0)
        return EXIT_SUCCESS;
    cli_error("cannot serve at %s: %s", server.address, strerror(-error));
    return CLI_EXIT_FAILED;
}

static int write_file(struct exporter *exporter)
{
    const struct export_options *options = exporter->options;
    const char *path = strcmp(options->textfile, "-") == 0 ? "/dev/stdout" : options->textfile;
    struct metrics metrics;

    do {
        int error = make(exporter, options->format, &metrics);
        if (error < 0)
            return figures_failed(exporter->observe, error);
        error = out_file_write(metrics.text, metrics.n_bytes, path);
        free(metrics.text);
        if (error < 0) {
            cli_error("cannot write the figures to %s: %s\n"
                      "name another file by --textfile",
                      path, strerror(-error));
            return CLI_EXIT_FAILED;
        }
    } while (options->interval_ms > 0 && figures_sleep_ms(options->interval_ms));
    return EXIT_SUCCESS;
}

static const struct argp_option option_list[] = {
    {"listen", KEY_LISTEN, "ADDRESS:PORT", 0,
     "Serve the figures at http://ADDRESS:PORT/metrics until it is ended; port 0 takes a free one",
     0},
    {"textfile", KEY_TEXTFILE, "FILE", 0,
     "Write the figures to FILE, in one step; - is standard output", 0},
    {"interval", KEY_INTERVAL, "SECONDS", 0,
     "With --textfile: write again and again (default: once). With --listen: how old figures may "
     "be (default: 1)",
     0},
    {"processes", KEY_PROCESSES, "N", 0,
     "Figures of the N largest processes by RSS, too (default: 0, or 1000 with --filter)", 0},
    {"filter", 'f', "TEST", 0,
     "Only of processes of whom TEST is true, as of `quire ps': name=postgres, rss>1G; several: "
     "all must be",
     0},
    {"pss", KEY_PSS, NULL, 0, "PSS and USS of these processes, which costs more", 0},
    {"format", KEY_FORMAT, "FORMAT", 0,
     "openmetrics, prometheus or json (default: what the client asks for; openmetrics in a file)",
     0},
    {"json", 'j', NULL, 0, "As --format json; to standard output, if nothing else is said", 0},
    {"root", KEY_ROOT, "DIR", 0,
     "Read a recorded machine: DIR/proc and DIR/sys in place of /proc and /sys", 90},
    {0},
};

static const char documentation[] =
    "Export the system's memory, chosen processes and the runs of Quire as metrics, in "
    "OpenMetrics, Prometheus' text format or JSON: either serve them over HTTP, or write them to a "
    "file."
    "\v"
    "Examples:\n"
    "  quire export --listen 127.0.0.1:9435 --processes 20\n"
    "  quire export --textfile /var/lib/node_exporter/quire.prom --interval 15 \\\n"
    "      --format prometheus\n"
    "  quire export --textfile - -f name=postgres --pss\n"
    "  quire export --json | jq -r '.families[].name'\n"
    "\n"
    "Exit status:\n"
    "  0    the figures were written, or a signal ended it\n"
    "  1    they can't be read; a message says why\n"
    "  125  the command line can't be understood, or they can't be served or written";

static void parse_format(const char *argument, struct argp_state *state)
{
    static const char *const names[] = {[METRICS_OPENMETRICS] = "openmetrics",
                                        [METRICS_PROMETHEUS] = "prometheus",
                                        [METRICS_JSON] = "json"};
    struct export_options *options = state->input;

    options->has_format = false;
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(argument, names[i]) != 0)
            continue;
        options->format = (enum metrics_format)i;
        options->has_format = true;
    }
    if (!options->has_format)
        argp_error(state, "'%s' is no format: openmetrics, prometheus or json", argument);
}

static void parse_processes(const char *argument, struct argp_state *state)
{
    struct export_options *options = state->input;
    char *end;

    errno = 0;
    options->n_processes = strtoul(argument, &end, 10);
    options->has_count = true;
    if (errno != 0 || *argument < '0' || *argument > '9' || *end != '\0' ||
        options->n_processes > MAX_PROCESSES)
        argp_error(state, "'%s' is no number of processes: 0 to %u", argument, MAX_PROCESSES);
}

static void parse_filter(const char *argument, struct argp_state *state)
{
    struct export_options *options = state->input;
    const char *problem;

    if (options->n_filters == MAX_FILTERS)
        argp_error(state, "there are more than %u filters", MAX_FILTERS);
    if (!ps_filter_parse(argument, &options->filters[options->n_filters], &problem))
        argp_error(state, "'%s' is no test: %s", argument, problem);
    options->n_filters++;
}

static void check(struct argp_state *state)
{
    struct export_options *options = state->input;

    if (options->has_format && options->format == METRICS_JSON && options->listen == NULL &&
        options->textfile == NULL)
        options->textfile = "-";
    if ((options->listen == NULL) == (options->textfile == NULL))
        argp_error(state, "give --listen ADDRESS:PORT, or --textfile FILE");
    if (options->n_filters > 0 && !options->has_count)
        options->n_processes = MAX_PROCESSES;
    if (options->has_pss && options->n_processes == 0)
        argp_error(state, "--pss is about processes: give --processes N or --filter TEST, too");
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct export_options *options = state->input;

    switch (key) {
    case KEY_LISTEN:
        options->listen = argument;
        return 0;
    case KEY_TEXTFILE:
        options->textfile = argument;
        return 0;
    case KEY_INTERVAL:
        options->interval_ms = figures_parse_seconds(argument);
        if (options->interval_ms == 0)
            argp_error(state, "'%s' is no interval: a number of seconds, from 0.001 to 86400",
                       argument);
        return 0;
    case KEY_PROCESSES:
        parse_processes(argument, state);
        return 0;
    case 'f':
        parse_filter(argument, state);
        return 0;
    case KEY_PSS:
        options->has_pss = true;
        return 0;
    case KEY_FORMAT:
        parse_format(argument, state);
        return 0;
    case 'j':
        parse_format("json", state);
        return 0;
    case KEY_ROOT:
        options->root = argument;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s': `quire export' takes options only", argument);
        return 0;
    case ARGP_KEY_END:
        check(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int cli_export(int argc, char **argv)
{
    static const struct argp parser = {
        .options = option_list, .parser = parse_option, .doc = documentation};
    struct export_options options = {.root = NULL};
    int status = EXIT_FAILURE;

    command_line_parse(&parser, argc, argv, 0, &options);
    const struct figure_options figures = {.root = options.root};
    struct exporter *exporter = calloc(1, sizeof *exporter);
    if (exporter == NULL) {
        cli_error("out of memory");
        return EXIT_FAILURE;
    }
    exporter->options = &options;
    exporter->observe = figures_open(&figures);
    exporter->shares = exporter->observe != NULL ? figures_open(&figures) : NULL;
    if (exporter->shares != NULL) {
        figures_catch_signals();
        status = options.listen != NULL ? serve(exporter) : write_file(exporter);
    }
    quire_observe_close(exporter->shares);
    quire_observe_close(exporter->observe);
    free(exporter);
    return status;
}
