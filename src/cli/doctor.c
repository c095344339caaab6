/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor: `quire doctor`. Prints the checks and the verdict: does `quire run` work here?
 *
 * Exit status 0 when it does, 1 when a check says no, 125 for a bad command line.
 */
#include "cli/checks.h"
#include "cli/cli.h"
#include "cli/command_line.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const status_names[] = {
    [CHECK_OK] = "ok", [CHECK_WARN] = "warn", [CHECK_NO] = "no"};

/* The lines of `text`, each behind the label or, from the second on, behind as much blank. */
static void print_lines(const char *label, const char *text)
{
    for (const char *line = text; line[0] != '\0'; label = "") {
        int n = (int)strcspn(line, "\n");
        printf("      %-15s%s%.*s\n", label, "", n, line);
        line += n + (line[n] == '\n');
    }
}

static void print_check(const struct check *check)
{
    printf("%-5s %-15s%s\n", status_names[check->status], check->name, check->found);
    print_lines("", check->means);
    if (check->fix[0] != '\0')
        print_lines("  to open it:", check->fix);
}

static void print_text(const struct check *checks, size_t n, bool works)
{
    for (size_t i = 0; i < n; i++)
        print_check(&checks[i]);
    printf("\n%s\n", works ? "`quire run' works here."
                           : "`quire run' does not work here: see what says \"no\" above.");
}

static json_t *build_check(const struct check *check)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", check->name, "status",
                     status_names[check->status], "found", check->found, "means", check->means,
                     "fix", check->fix);
}

static bool print_json(const struct check *checks, size_t n, bool works)
{
    json_t *list = json_array();
    int bad = list == NULL;

    for (size_t i = 0; i < n; i++)
        bad |= json_array_append_new(list, build_check(&checks[i]));
    json_t *json = json_pack("{s:s, s:b, s:o}", "version", QUIRE_VERSION, "works", works, "checks",
                             list);
    bad |= json == NULL || json_dumpf(json, stdout, JSON_INDENT(2)) != 0;
    putchar('\n');
    json_decref(json);
    return !bad;
}

static const struct argp_option option_list[] = {
    {"json", 'j', NULL, 0, "Print the checks as JSON", 0},
    {0},
};

static const char documentation[] =
    "Tell in plain words what this machine allows, what that means for `quire run', and the exact "
    "command that opens what is closed."
    "\v"
    "Each check says ok, warn (it works, with a difference you should know) or no.\n"
    "\n"
    "Exit status:\n"
    "  0    `quire run' works here\n"
    "  1    it does not\n"
    "  125  the command line can't be understood";

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    bool *as_json = state->input;

    switch (key) {
    case 'j':
        *as_json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s': `quire doctor' takes no arguments", argument);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int cli_doctor(int argc, char **argv)
{
    static const struct argp parser = {
        .options = option_list, .parser = parse_option, .doc = documentation};
    static struct check checks[CHECKS_MAX];
    bool as_json = false, works = true;

    command_line_parse(&parser, argc, argv, ARGP_IN_ORDER, &as_json);
    size_t n = checks_run(checks);
    for (size_t i = 0; i < n; i++)
        works = works && checks[i].status != CHECK_NO;
    if (!as_json)
        print_text(checks, n, works);
    else if (!print_json(checks, n, works)) {
        cli_error("cannot build the JSON: out of memory");
        return CLI_EXIT_FAILED;
    }
    return works ? EXIT_SUCCESS : EXIT_FAILURE;
}
