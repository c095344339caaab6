/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune: `quire tune`. Looks at the machine for a while and says what is worth changing, and why.
 * The rules are the library's (<quire/tune.h>); nothing is changed here.
 *
 * Exit status 0: nothing to change; 2: there is advice; 3: some of it is urgent. 1 when the machine
 * can't be read, 125 for a bad command line.
 */
#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/figures.h"
#include "cli/lines.h"

#include <quire/tune.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_MS 10000
#define TEXT_WIDTH 96 /* or the terminal's, if it is narrower */

enum { STATUS_ADVICE = 2, STATUS_URGENT = 3 };
enum { KEY_BEFORE = 600, KEY_FOR, KEY_RULES };

struct tune_options {
    struct figure_options common;
    const char *before; /* a recorded machine at an earlier time */
    uint64_t for_ms;    /* 0: since boot */
    bool lists_rules, has_time;
};

struct result {
    const struct quire_tune_look *after;
    struct quire_tune_finding *findings;
    size_t n;
    double seconds;
    bool is_since_boot;
};

/* Behind a label; as wide as is easy to read. */
static void print_wrapped(const char *label, const char *text)
{
    const unsigned terminal = figures_width();
    char line[1024];

    snprintf(line, sizeof line, "%s%s", label, text);
    lines_put(stdout, line, terminal > 0 && terminal < TEXT_WIDTH ? terminal : TEXT_WIDTH, 10);
}

static const char *value_text(const struct quire_tune_figure *figure, bool exact,
                              struct figure_text *text)
{
    if (!exact && strncmp(figure->unit, "bytes", 5) == 0) {
        struct figure_text size;
        snprintf(text->buffer, sizeof text->buffer, "%s%s",
                 figure_size((uint64_t)figure->value, &size), figure->unit + 5);
    } else {
        bool is_whole = figure->value >= 99.95 || figure->value == (double)(long long)figure->value;
        snprintf(text->buffer, sizeof text->buffer, "%.*f%s%s", is_whole ? 0 : 1, figure->value,
                 figure->unit[0] == '/' || figure->unit[0] == '\0' ? "" : " ", figure->unit);
    }
    return text->buffer;
}

static void print_finding(const struct quire_tune_finding *finding, bool exact)
{
    char severity[16], what[512];

    snprintf(severity, sizeof severity, "%-7s ", quire_tune_severity_name(finding->severity));
    snprintf(what, sizeof what, "%s: %s", finding->rule, finding->what);
    print_wrapped(severity, what);
    for (unsigned i = 0; i < finding->n_figures; i++)
        printf("  %-8s%14s  %s\n", i == 0 ? "seen" : "",
               value_text(&finding->figures[i], exact, FIGURE), finding->figures[i].name);
    print_wrapped("  why     ", finding->why);
    if (finding->now[0] != '\0')
        print_wrapped("  now     ", finding->now);
    const char *label = "change", *at = finding->change;
    while (*at != '\0') {
        int n = (int)strcspn(at, "\n");
        printf("  %-8s%.*s\n", label, n, at);
        at += n + (at[n] == '\n');
        label = "";
    }
    putchar('\n');
}

static void print_span(double seconds)
{
    if (seconds < 2 * 3600)
        printf("averages since boot, %.0f minutes\n\n", seconds / 60);
    else if (seconds < 2 * 86400)
        printf("averages since boot, %.1f hours\n\n", seconds / 3600);
    else
        printf("averages since boot, %.1f days\n\n", seconds / 86400);
}

static void print_text(const struct result *result, bool exact)
{
    bool has_sysctl = false;

    if (result->is_since_boot)
        print_span(result->seconds);
    else
        printf("looked for %.1f s\n\n", result->seconds);
    for (size_t i = 0; i < result->n; i++) {
        print_finding(&result->findings[i], exact);
        has_sysctl = has_sysctl || strstr(result->findings[i].change, "sysctl -w ") != NULL;
    }
    printf("%zu of %zu rules found something%s\n", result->n, quire_tune_n_rules(),
           result->n > 0 ? "; nothing was changed" : "");
    if (has_sysctl)
        puts("`sysctl -w' lasts until the next boot; what stands behind it, in a file of "
             "/etc/sysctl.d, for ever.");
}

static json_t *list_lines(const char *text)
{
    json_t *list = json_array();

    while (*text != '\0') {
        size_t n = strcspn(text, "\n");
        json_array_append_new(list, json_stringn_nocheck(text, n));
        text += n + (text[n] == '\n');
    }
    return list;
}

/* Names of processes may be anything: what is no UTF-8 is left out. */
static json_t *text_json(const char *text)
{
    json_t *json = json_string(text);

    return json != NULL ? json : json_string("?");
}

static json_t *finding_json(const struct quire_tune_finding *finding)
{
    json_t *figures = json_array();

    for (unsigned i = 0; i < finding->n_figures; i++)
        json_array_append_new(figures, json_pack("{s:o, s:f, s:s}", "name",
                                                 text_json(finding->figures[i].name), "value",
                                                 finding->figures[i].value, "unit",
                                                 finding->figures[i].unit));
    return json_pack("{s:s, s:s, s:o, s:o, s:o?, s:o, s:o}", "rule", finding->rule, "severity",
                     quire_tune_severity_name(finding->severity), "what", text_json(finding->what),
                     "why", text_json(finding->why), "now",
                     finding->now[0] != '\0' ? text_json(finding->now) : NULL, "change",
                     list_lines(finding->change), "figures", figures);
}

static bool print_json(const struct result *result)
{
    json_t *findings = json_array();

    for (size_t i = 0; i < result->n; i++)
        json_array_append_new(findings, finding_json(&result->findings[i]));
    return figures_print_json(json_pack("{s:s, s:b, s:f, s:I, s:o}", "schema", "quire.tune/1",
                                        "since_boot", result->is_since_boot, "seconds",
                                        result->seconds, "rules", (json_int_t)quire_tune_n_rules(),
                                        "findings", findings),
                              false);
}

static int tell(const struct tune_options *options, const struct result *result)
{
    if (!options->common.as_json)
        print_text(result, options->common.exact);
    else if (!print_json(result))
        return CLI_EXIT_FAILED;
    if (result->n == 0 || result->findings[0].severity == QUIRE_TUNE_NOTE)
        return EXIT_SUCCESS;
    return result->findings[0].severity == QUIRE_TUNE_URGENT ? STATUS_URGENT : STATUS_ADVICE;
}

static int judge(const struct tune_options *options, const struct quire_tune_look *before,
                 const struct quire_tune_look *after)
{
    struct result result = {.after = after, .is_since_boot = before == NULL};

    result.findings = calloc(quire_tune_n_rules(), sizeof *result.findings);
    if (result.findings == NULL) {
        cli_error("out of memory");
        return CLI_EXIT_FAILED;
    }
    result.n = quire_tune_judge(before, after, result.findings, quire_tune_n_rules());
    uint64_t then = before != NULL ? before->counters.uptime_ms : 0;
    result.seconds = ((double)after->counters.uptime_ms - (double)then) / 1e3;
    int status = tell(options, &result);
    free(result.findings);
    return status;
}

/* A look at a machine whose observer is no longer needed. */
static int look_once(const struct figure_options *common, struct quire_tune_look **look)
{
    struct quire_observe *observe = figures_open(common);

    *look = NULL;
    if (observe == NULL)
        return EXIT_FAILURE;
    int error = quire_tune_look(observe, look);
    int status = error < 0 ? figures_failed(observe, error) : EXIT_SUCCESS;
    quire_observe_close(observe);
    return status;
}

static int run(const struct tune_options *options)
{
    struct figure_options earlier = {.root = options->before};
    struct quire_tune_look *before = NULL, *after = NULL;
    int status = EXIT_SUCCESS;

    if (options->before != NULL || options->for_ms > 0)
        status = look_once(options->before != NULL ? &earlier : &options->common, &before);
    if (status == EXIT_SUCCESS && options->before == NULL && options->for_ms > 0) {
        if (!options->common.as_json)
            fprintf(stderr, "looking for %.1f s ...\n", (double)options->for_ms / 1e3);
        figures_catch_signals(); /* ^C: judge what was seen so far */
        figures_sleep_ms(options->for_ms);
    }
    if (status == EXIT_SUCCESS)
        status = look_once(&options->common, &after);
    if (status == EXIT_SUCCESS && before != NULL &&
        after->counters.uptime_ms < before->counters.uptime_ms) {
        cli_error("%s was recorded later than the other: swap both", options->before);
        status = CLI_EXIT_FAILED;
    }
    if (status == EXIT_SUCCESS)
        status = judge(options, before, after);
    quire_tune_look_free(before);
    quire_tune_look_free(after);
    return status;
}

static int list_rules(const struct tune_options *options)
{
    json_t *list = json_array();

    for (size_t i = 0; i < quire_tune_n_rules(); i++) {
        const struct quire_tune_rule *rule = quire_tune_rule_at(i);
        if (options->common.as_json)
            json_array_append_new(
                list, json_pack("{s:s, s:s}", "rule", rule->name, "about", rule->about));
        else
            printf("%-22s %s\n", rule->name, rule->about);
    }
    if (!options->common.as_json) {
        json_decref(list);
        return EXIT_SUCCESS;
    }
    return figures_print_json(
               json_pack("{s:s, s:o}", "schema", "quire.tune-rules/1", "rules", list), false)
               ? EXIT_SUCCESS
               : CLI_EXIT_FAILED;
}

static const struct argp_option option_list[] = {
    {"for", KEY_FOR, "SECONDS", 0,
     "Look for so long; 0: judge by the averages since boot (default: 10, and 0 with --root)", 0},
    {"before", KEY_BEFORE, "DIR", 0,
     "With --root: the same machine as it was recorded earlier, to judge what happened in between",
     0},
    {"list", KEY_RULES, NULL, 0, "List the rules, and look at nothing", 0},
    {0},
};

static const char documentation[] =
    "Look at the machine for a while and say what about its memory is worth changing: what was "
    "seen, why it matters, the setting as it is, and the command that changes it. Nothing is "
    "changed."
    "\v"
    "What happens rarely needs a longer look, or --for 0. Run it while the machine does what it is "
    "there for: an idle one has nothing to say.\n"
    "\n"
    "Examples:\n"
    "  quire tune --for 60\n"
    "  quire tune --for 0 --json\n"
    "  quire tune --before machine.1 --root machine.2\n"
    "\n"
    "Exit status:\n"
    "  0    there is nothing to change, or only notes\n"
    "  1    the machine can't be read; a message says why\n"
    "  2    there is advice\n"
    "  3    some of it is urgent\n"
    "  125  the command line can't be understood";

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct tune_options *options = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->common;
        return 0;
    case KEY_FOR:
        options->has_time = true;
        options->for_ms = strcmp(argument, "0") == 0 ? 0 : figures_parse_seconds(argument);
        if (strcmp(argument, "0") != 0 && options->for_ms < 1000)
            argp_error(state, "'%s' is no time to look: 0, or from 1 to 86400 seconds", argument);
        return 0;
    case KEY_BEFORE:
        options->before = argument;
        return 0;
    case KEY_RULES:
        options->lists_rules = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s': `quire tune' takes options only", argument);
        return 0;
    case ARGP_KEY_END:
        if (options->before != NULL && (options->common.root == NULL || options->has_time))
            argp_error(state, "--before goes with --root, and without --for");
        if (!options->has_time && options->common.root != NULL)
            options->for_ms = 0;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int cli_tune(int argc, char **argv)
{
    static const struct argp_child children[] = {{&figures_argp, 0, NULL, 0}, {0}};
    static const struct argp parser = {
        .options = option_list, .parser = parse_option, .doc = documentation, .children = children};
    struct tune_options options = {.for_ms = DEFAULT_MS};

    command_line_parse(&parser, argc, argv, 0, &options);
    return options.lists_rules ? list_rules(&options) : run(&options);
}
