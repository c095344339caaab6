/* SPDX-License-Identifier: Apache-2.0 */
/*
 * partition: `quire partition`. Replays a trace of requests against placement policies and tells
 * how each did.
 *
 *     trace text --trace_parse--> trace --replay_run, once a policy--> results --> table, JSON, SVG
 *
 * Exit status 0, or 125: the command line or the trace can't be understood, or a file can't be read
 * or written.
 */
#include "base/size.h"
#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/picture.h"
#include "cli/replay.h"
#include "cli/trace.h"
#include "cli/whole_file.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_POLICIES 16
#define MAX_GRANULE ((uint64_t)1 << 40)
#define DEFAULT_POLICIES "tlsf,first,next,best,worst"

struct arguments {
    const char *trace_path, *svg_path;
    uint64_t space; /* 0: by the trace's peak */
    struct replay_options options;
    bool as_json;
    struct replay_policy policies[MAX_POLICIES];
    unsigned n_policies;
};

static const struct argp_option option_list[] = {
    {"trace", 't', "FILE", 0, "The trace; - is standard input", 0},
    {"policy", 'p', "LIST", 0,
     "Policies, separated by commas: first, next, best, worst, tlsf, fixed:SIZES, "
     "fixed-best:SIZES, fixed-queues:SIZES (default: " DEFAULT_POLICIES ")",
     0},
    {"space", 's', "SIZE", 0,
     "Size of the space for all but fixed partitions (default: 1.25 times the trace's peak)", 0},
    {"granule", 'g', "SIZE", 0, "Round sizes up to multiples of this (default: 1)", 0},
    {"compact", 'c', "SIZE", 0,
     "When a request does not fit, compact, moving at most this much (default: never)", 0},
    {"wait", 'w', NULL, 0, "Let requests without a duration wait too, instead of failing", 0},
    {"json", 'j', NULL, 0, "Print the figures as JSON", 0},
    {"svg", 'm', "FILE", 0, "Draw the memory map over time", 0},
    {0},
};

static const char documentation[] =
    "Replay a trace of requests for memory against placement policies, and print for each how many "
    "failed, how long they waited, what was lost to fragmentation and what compaction moved."
    "\v"
    "SIZES of fixed partitions are joined by +, and may be repeated by NxSIZE: fixed:8x64K+2x1M.\n"
    "  fixed         the first free partition that is large enough\n"
    "  fixed-best    the smallest free one\n"
    "  fixed-queues  the smallest one, free or not: a queue for each size\n"
    "\n"
    "A trace has a line for each event, and # begins a comment:\n"
    "  [@TIME] alloc ID SIZE [for DURATION]\n"
    "  [@TIME] free ID\n"
    "\n"
    "Exit status:\n"
    "  0    the trace was replayed, whatever failed in it\n"
    "  125  the command line or the trace can't be understood, or a file can't be used";

/* Policies */

/* One "NxSIZE" or "SIZE" of `text`, cut out of it. */
static int parse_partitions(const char *text, uint64_t *count, uint64_t *length)
{
    char *end;
    *count = 1;
    const char *cross = strchr(text, 'x');
    if (cross != NULL) {
        errno = 0;
        *count = strtoull(text, &end, 10);
        if (text[0] < '0' || text[0] > '9' || end != cross || errno != 0 || *count == 0 ||
            *count > QUIRE_PARTITION_MAX)
            return -EINVAL;
        text = cross + 1;
    }
    int error = size_parse(text, 0, length);
    return error == 0 && *length == 0 ? -EINVAL : error;
}

static void parse_fixed(struct argp_state *state, struct replay_policy *policy, char *sizes)
{
    char *rest;
    policy->lengths = calloc(QUIRE_PARTITION_MAX, sizeof *policy->lengths);
    if (policy->lengths == NULL)
        argp_failure(state, CLI_EXIT_FAILED, ENOMEM, "'%s'", policy->name);
    for (char *one = strtok_r(sizes, "+", &rest); one != NULL; one = strtok_r(NULL, "+", &rest)) {
        uint64_t count = 0, length = 0;
        if (parse_partitions(one, &count, &length) != 0)
            argp_error(state, "'%s' in '%s' is no partition: give SIZE or NxSIZE, as 64K or 8x64K",
                       one, policy->name);
        if (count > QUIRE_PARTITION_MAX - policy->n_partitions)
            argp_error(state, "'%s' has more than %u partitions", policy->name,
                       QUIRE_PARTITION_MAX);
        while (count-- > 0)
            policy->lengths[policy->n_partitions++] = length;
    }
    struct quire_partition_config config = {policy->assignment, policy->n_partitions,
                                            policy->lengths, 0, 0};
    if (policy->n_partitions == 0)
        argp_error(state, "'%s' names no partitions: give their sizes, as fixed:8x64K+1M",
                   policy->name);
    if (quire_partition_metadata_bytes(&config) == 0)
        argp_error(state, "'%s': the sum of the partitions is too large", policy->name);
}

static void parse_policy(struct argp_state *state, struct arguments *arguments, char *text)
{
    static const struct {
        const char *name;
        enum quire_partition_assignment assignment;
    } fixed[] = {{"fixed", QUIRE_PARTITION_FIRST_COME},
                 {"fixed-best", QUIRE_PARTITION_BEST_AVAILABLE},
                 {"fixed-queues", QUIRE_PARTITION_BEST_ONLY}};
    if (arguments->n_policies == MAX_POLICIES)
        argp_error(state, "more than %d policies", MAX_POLICIES);
    struct replay_policy *policy = &arguments->policies[arguments->n_policies++];
    *policy = (struct replay_policy){0};
    policy->name = strdup(text);
    if (policy->name == NULL)
        argp_failure(state, CLI_EXIT_FAILED, ENOMEM, "'%s'", text);
    for (unsigned i = 0; i < QUIRE_EXTENT_N_POLICIES; i++) {
        policy->policy = (enum quire_extent_policy)i;
        if (strcmp(text, quire_extent_policy_name(policy->policy)) == 0)
            return;
    }
    size_t n = strcspn(text, ":");
    policy->is_fixed = true;
    for (unsigned i = 0; i < 3; i++) {
        policy->assignment = fixed[i].assignment;
        if (strlen(fixed[i].name) == n && strncmp(text, fixed[i].name, n) == 0) {
            parse_fixed(state, policy, text + n + (text[n] == ':'));
            return;
        }
    }
    argp_error(state,
               "there is no policy '%s': first, next, best, worst, tlsf, fixed:SIZES, "
               "fixed-best:SIZES and fixed-queues:SIZES are known",
               text);
}

static void parse_policies(struct argp_state *state, struct arguments *arguments, const char *list)
{
    char *copy = strdup(list), *rest;
    if (copy == NULL)
        argp_failure(state, CLI_EXIT_FAILED, ENOMEM, "'%s'", list);
    for (char *one = strtok_r(copy, ",", &rest); one != NULL; one = strtok_r(NULL, ",", &rest))
        parse_policy(state, arguments, one);
    free(copy);
    if (arguments->n_policies == 0)
        argp_error(state, "--policy names none");
}

/* The command line */

static uint64_t parse_amount(struct argp_state *state, const char *option, const char *text,
                             uint64_t max)
{
    uint64_t bytes;
    int error = size_parse(text, 0, &bytes);
    if (error == -EINVAL || (error == 0 && bytes == 0))
        argp_error(state, "%s: '%s' is no size above 0, such as 4096, 64K or 1.5G", option, text);
    else if (error != 0 || bytes > max)
        argp_error(state, "%s: '%s' is too large", option, text);
    return bytes;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    struct replay_options *options = &arguments->options;

    switch (key) {
    case 't':
        arguments->trace_path = argument;
        return 0;
    case 'p':
        parse_policies(state, arguments, argument);
        return 0;
    case 's':
        arguments->space = parse_amount(state, "--space", argument, QUIRE_EXTENT_MAX_LENGTH);
        return 0;
    case 'g':
        options->granule = parse_amount(state, "--granule", argument, MAX_GRANULE);
        return 0;
    case 'c':
        options->compact = parse_amount(state, "--compact", argument, INT64_MAX);
        return 0;
    case 'w':
        options->waits = true;
        return 0;
    case 'j':
        arguments->as_json = true;
        return 0;
    case 'm':
        arguments->svg_path = argument;
        options->draws = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s': the trace is given by --trace FILE", argument);
        return 0;
    case ARGP_KEY_END:
        if (arguments->trace_path == NULL)
            argp_error(state, "which trace? --trace FILE names it, --trace - is standard input");
        if (arguments->n_policies == 0)
            parse_policies(state, arguments, DEFAULT_POLICIES);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The trace */

static bool load_trace(const char *path, struct trace *trace)
{
    const char *name = whole_file_name(path);
    char message[TRACE_MESSAGE_BYTES];
    size_t n_bytes;
    char *text = whole_file_read(path, &n_bytes);

    if (text == NULL) {
        cli_error("cannot read the trace %s: %s", name, strerror(errno));
        return false;
    }
    int error = trace_parse(text, n_bytes, trace, message);
    free(text); /* names are not looked at later */
    if (error == -EINVAL)
        cli_error("%s: %s", name, message);
    else if (error != 0)
        cli_error("%s: %s", name, strerror(-error));
    return error == 0;
}

static bool settle_space(struct arguments *arguments, const struct trace *trace, uint64_t *peak)
{
    int error = trace_peak(trace, peak);
    if (error == -ENOMEM) {
        cli_error("the trace: %s", strerror(ENOMEM));
        return false;
    }
    if (error != 0 || *peak > QUIRE_EXTENT_MAX_LENGTH / 2) {
        cli_error("the trace asks for more than %s at once", "32 PiB");
        return false;
    }
    arguments->options.space = arguments->space != 0 ? arguments->space : *peak + *peak / 4;
    return true;
}

/* Output */

static void print_share(const struct replay_share *share)
{
    printf("  %5.1f %5.1f %5.1f", 100 * share->mean, 100 * share->max, 100 * share->end);
}

static void print_text(const struct arguments *arguments, const struct trace *trace, uint64_t peak,
                       const struct replay_result *results)
{
    char buffer[24];
    int width = 6;
    for (unsigned i = 0; i < arguments->n_policies; i++) {
        int its = (int)strlen(arguments->policies[i].name);
        width = its > width ? its : width;
    }
    printf("%u requests, %u lines that free; at most %s asked for at once\n\n", trace->n_requests,
           trace->n_ends, size_format(peak, buffer, sizeof buffer));
    printf("%-*s  %10s  %8s  %10s  %16s  %17s  %17s\n", width, "", "", "", "largest", "waiting",
           "external fragm. %", "internal fragm. %");
    printf("%-*s  %10s  %8s  %10s  %8s %7s  %5s %5s %5s  %5s %5s %5s  %10s  %10s  %11s\n", width,
           "policy", "space", "failures", "failed", "mean", "max", "mean", "max", "end", "mean",
           "max", "end", "moved", "peak use", "highest end");
    for (unsigned i = 0; i < arguments->n_policies; i++) {
        const struct replay_result *result = &results[i];
        char space[24], failed[24], moved[24], used[24], highest[24];
        printf(
            "%-*s  %9s  %8llu  %9s  %8.1f %7llu", width, arguments->policies[i].name,
            size_format(result->space, space, sizeof space), (unsigned long long)result->n_failed,
            result->n_failed > 0 ? size_format(result->largest_failed, failed, sizeof failed) : "-",
            result->wait_mean, (unsigned long long)result->wait_max);
        print_share(&result->external);
        print_share(&result->internal);
        printf("  %10s  %10s  %11s\n", size_format(result->n_moved, moved, sizeof moved),
               size_format(result->peak_used, used, sizeof used),
               size_format(result->highest_end, highest, sizeof highest));
    }
}

static json_t *build_share(const struct replay_share *share)
{
    return json_pack("{s:f, s:f, s:f}", "mean", share->mean, "max", share->max, "end", share->end);
}

static json_t *build_result(const struct replay_policy *policy, const struct replay_result *result)
{
    return json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:{s:I, s:f, s:I}, s:o, s:o, s:I, s:I, s:I, s:I}", "policy",
        policy->name, "space_bytes", (json_int_t)result->space, "placed",
        (json_int_t)result->n_placed, "failures", (json_int_t)result->n_failed,
        "largest_failed_bytes", (json_int_t)result->largest_failed, "waiting", "requests",
        (json_int_t)result->n_waited, "mean", result->wait_mean, "max",
        (json_int_t)result->wait_max, "external_fragmentation", build_share(&result->external),
        "internal_fragmentation", build_share(&result->internal), "moves",
        (json_int_t)result->n_moves, "moved_bytes", (json_int_t)result->n_moved, "peak_used_bytes",
        (json_int_t)result->peak_used, "highest_end_bytes", (json_int_t)result->highest_end);
}

static bool print_json(const struct arguments *arguments, const struct trace *trace, uint64_t peak,
                       const struct replay_result *results)
{
    json_t *list = json_array();
    int bad = list == NULL;
    for (unsigned i = 0; i < arguments->n_policies; i++)
        bad |= json_array_append_new(list, build_result(&arguments->policies[i], &results[i]));
    json_t *json = json_pack("{s:s, s:i, s:i, s:I, s:o}", "version", QUIRE_VERSION, "requests",
                             (int)trace->n_requests, "frees", (int)trace->n_ends, "peak_bytes",
                             (json_int_t)peak, "policies", list);
    bad |= json == NULL || json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) != 0;
    putchar('\n');
    json_decref(json);
    return !bad;
}

static bool draw(const struct arguments *arguments, const struct replay_result *results)
{
    char title[100];
    const char *name = strrchr(arguments->trace_path, '/');
    name = name != NULL ? name + 1 : arguments->trace_path;
    snprintf(title, sizeof title, "quire partition: %s",
             strcmp(name, "-") == 0 ? "standard input" : name);
    return picture_memory_map(arguments->svg_path, title, arguments->policies, results,
                              arguments->n_policies);
}

int cli_partition(int argc, char **argv)
{
    static const struct argp parser = {
        .options = option_list, .parser = parse_option, .doc = documentation};
    static struct arguments arguments = {.options = {.granule = 1}};
    static struct replay_result results[MAX_POLICIES];
    struct trace trace = {0};
    uint64_t peak = 0;

    command_line_parse(&parser, argc, argv, ARGP_IN_ORDER, &arguments);
    bool good = load_trace(arguments.trace_path, &trace) && settle_space(&arguments, &trace, &peak);
    for (unsigned i = 0; good && i < arguments.n_policies; i++) {
        int error = replay_run(&trace, &arguments.policies[i], &arguments.options, &results[i]);
        if (error != 0)
            cli_error("cannot replay against '%s': %s", arguments.policies[i].name,
                      strerror(-error));
        good = error == 0;
    }
    if (good && !arguments.as_json)
        print_text(&arguments, &trace, peak, results);
    else if (good && !(good = print_json(&arguments, &trace, peak, results)))
        cli_error("cannot build the JSON: out of memory");
    if (good && arguments.svg_path != NULL) /* the figures are there, whatever becomes of it */
        good = draw(&arguments, results);
    for (unsigned i = 0; i < arguments.n_policies; i++) {
        replay_free(&results[i]);
        free(arguments.policies[i].lengths);
        free(arguments.policies[i].name);
    }
    trace_free(&trace);
    return good ? EXIT_SUCCESS : CLI_EXIT_FAILED;
}
