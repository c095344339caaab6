/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan: `quire plan`. Places buffers in an arena so that its peak is least, or checks a placement.
 *
 *     file --plan_input--> problem --quire_tensor_place--> plan --> figures, JSON, CSV, SVG
 *                                  \-- --verify: quire_tensor_verify --> figures
 *
 * Exit status 0: placed, within the capacity and the budget if they were given, or the placement is
 * sound; 1: proved that there is none such, or the placement is wrong; 2: none was found; 125: the
 * command line or the file can't be understood, or a file can't be read or written.
 */
#include "base/size.h"
#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/json_file.h"
#include "cli/json_text.h"
#include "cli/out_file.h"
#include "cli/plan_input.h"
#include "cli/plan_picture.h"
#include "cli/plan_profile.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_THREADS 64u
#define MAX_SECONDS 1000000.0

enum plan_exit { EXIT_PLACED = 0, EXIT_DOES_NOT_FIT = 1, EXIT_UNDECIDED = 2 };

enum option_key { KEY_SEED = 256, KEY_STEPS, KEY_SPACE, KEY_VERIFY };

struct arguments {
    const char *input_path, *output_path, *svg_path;
    struct quire_tensor_options options;
    struct quire_tensor_space spaces[QUIRE_TENSOR_MAX_SPACES];
    uint32_t n_spaces;
    bool as_json, verifies;
    struct plan_model_options model;
};

static const struct argp_option option_list[] = {
    {"capacity", 'c', "SIZE", 0, "Does it fit in this? (default: what is the least peak?)", 0},
    {"time-limit", 't', "SECONDS", 0,
     "Stop then, with the best so far (default: after a fixed number of steps)", 0},
    {"align", 'a', "SIZE", 0, "Offsets are multiples of this, beside each buffer's own", 0},
    {"threads", 'T', "N", 0, "Search with this many; the plan is the same (default: 1)", 0},
    {"strategy", 's', "NAME", 0,
     "auto, greedy (a few passes) or search (until it is proved, or a limit) (default: auto)", 0},
    {"steps", KEY_STEPS, "N", 0, "Stop after so much work, which no machine's speed changes", 0},
    {"seed", KEY_SEED, "N", 0, "Of the search's random numbers (default: 0)", 0},
    {"space", KEY_SPACE, "NAME[:SIZE]", 0,
     "A memory, the preferred first; again for more. The column `spaces' numbers them from 0", 0},
    {"verify", KEY_VERIFY, NULL, 0, "Check the offsets in FILE instead of planning", 0},
    {"output", 'o', "FILE", 0, "Write the buffers with their offsets as CSV; - is standard output",
     0},
    {"svg", 'm', "FILE", 0, "Draw offset against time", 0},
    {"json", 'j', NULL, 0, "Print the figures and the offsets as JSON", 0},
    {0},
};

static const char documentation[] =
    "Place buffers with known sizes and lifetimes in one arena so that its peak is least, and tell "
    "how far that is from the lower bound; or prove that they do not fit."
    "\v"
    "FILE is a model (.onnx, .tflite) or CSV; - is standard input. The first line of CSV names the "
    "columns, in any order:\n"
    "  id,lower,upper,size    it lives from lower up to but without upper, and has size bytes\n"
    "  alignment              its offset is a multiple of this\n"
    "  offset                 if not empty: it lies there, fixed\n"
    "  gaps                   \"3-5 8-9\": then it is dead, and others may have its memory\n"
    "  group                  never shares memory with others of this number\n"
    "  spaces, weight         \"0+1\": where it may lie; what it gains from an early space\n"
    "\n"
    "Exit status:\n"
    "  0    placed, within --capacity, and within the BUDGET of --recompute or --offload; "
    "--verify: the placement is sound\n"
    "  1    proved that nothing fits in these; --verify: the placement is wrong; --weights: "
    "nothing fits\n"
    "  2    undecided: nothing was found that fits\n"
    "  125  the command line or the file can't be understood, or a file can't be used";

/* The command line */

static uint64_t parse_amount(struct argp_state *state, const char *option, const char *text)
{
    uint64_t bytes = 0;
    int error = size_parse(text, 0, &bytes);
    if (error == -EINVAL || (error == 0 && bytes == 0))
        argp_error(state, "%s: '%s' is no size above 0, such as 4096, 64K or 1.5G", option, text);
    else if (error != 0 || bytes > QUIRE_TENSOR_MAX_SIZE)
        argp_error(state, "%s: '%s' is too large", option, text);
    return bytes;
}

static uint64_t parse_number(struct argp_state *state, const char *option, const char *text,
                             uint64_t min, uint64_t max)
{
    char *end;
    errno = 0;
    uint64_t number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number < min ||
        number > max)
        argp_error(state, "%s: '%s' is no number from %" PRIu64 " to %" PRIu64, option, text, min,
                   max);
    return number;
}

static double parse_seconds(struct argp_state *state, const char *text)
{
    char *end;
    double seconds = strtod(text, &end);
    if (text[0] < '.' || text[0] > '9' || *end != '\0' || !(seconds > 0 && seconds <= MAX_SECONDS))
        argp_error(state, "--time-limit: '%s' is no number of seconds, such as 0.5 or 60", text);
    return seconds;
}

static enum quire_tensor_strategy parse_strategy(struct argp_state *state, const char *text)
{
    if (strcmp(text, "auto") == 0)
        return QUIRE_TENSOR_AUTO;
    if (strcmp(text, "greedy") == 0)
        return QUIRE_TENSOR_GREEDY;
    if (strcmp(text, "search") != 0)
        argp_error(state, "there is no strategy '%s': auto, greedy and search are known", text);
    return QUIRE_TENSOR_SEARCH;
}

static void parse_space(struct argp_state *state, struct arguments *arguments, char *text)
{
    if (arguments->n_spaces == QUIRE_TENSOR_MAX_SPACES)
        argp_error(state, "more than %u spaces", QUIRE_TENSOR_MAX_SPACES);
    struct quire_tensor_space *space = &arguments->spaces[arguments->n_spaces++];
    char *colon = strrchr(text, ':');
    space->name = text;
    space->capacity = 0;
    if (colon != NULL) {
        space->capacity = parse_amount(state, "--space", colon + 1);
        *colon = '\0';
    }
}

static void check_arguments(struct argp_state *state, const struct arguments *arguments)
{
    if (arguments->input_path == NULL)
        argp_error(state, "which buffers? give a model, a CSV file, or - for standard input");
    if (arguments->options.capacity != 0 && arguments->n_spaces > 0)
        argp_error(state, "--capacity is of the only space: give --space NAME:SIZE its own");
    if (arguments->as_json && arguments->output_path != NULL &&
        strcmp(arguments->output_path, "-") == 0)
        argp_error(state, "--json and --output - both want standard output");
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    struct quire_tensor_options *options = &arguments->options;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->model;
        return 0;
    case 'c':
        options->capacity = parse_amount(state, "--capacity", argument);
        return 0;
    case 't':
        options->time_limit = parse_seconds(state, argument);
        return 0;
    case 'a':
        options->min_alignment = parse_amount(state, "--align", argument);
        return 0;
    case 'T':
        options->n_threads = (uint32_t)parse_number(state, "--threads", argument, 1, MAX_THREADS);
        return 0;
    case 's':
        options->strategy = parse_strategy(state, argument);
        return 0;
    case KEY_STEPS:
        options->max_steps = parse_number(state, "--steps", argument, 1, UINT64_MAX);
        return 0;
    case KEY_SEED:
        options->seed = parse_number(state, "--seed", argument, 0, UINT64_MAX);
        return 0;
    case KEY_SPACE:
        parse_space(state, arguments, argument);
        return 0;
    case KEY_VERIFY:
        arguments->verifies = true;
        return 0;
    case 'o':
        arguments->output_path = argument;
        return 0;
    case 'm':
        arguments->svg_path = argument;
        return 0;
    case 'j':
        arguments->as_json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->input_path != NULL)
            argp_error(state, "'%s': one file at a time", argument);
        arguments->input_path = argument;
        return 0;
    case ARGP_KEY_END:
        check_arguments(state, arguments);
        arguments->model.time_limit = options->time_limit;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* What is said */

static const char *name_of(const struct quire_tensor_problem *problem, size_t i)
{
    return problem->buffers[i].name;
}

static void tell_fault(const struct plan_input *input, const struct quire_tensor_problem *problem,
                       const struct quire_tensor_fault *fault)
{
    if (fault->kind == QUIRE_TENSOR_TOO_MANY)
        cli_error("%s: %s", input->name, quire_tensor_fault_text(fault->kind));
    else if (fault->first == fault->second)
        cli_error("%s: buffer '%s': %s", input->name, name_of(problem, fault->first),
                  quire_tensor_fault_text(fault->kind));
    else
        cli_error("%s: buffers '%s' and '%s': %s", input->name, name_of(problem, fault->first),
                  name_of(problem, fault->second), quire_tensor_fault_text(fault->kind));
}

static const char *verdict_name(enum quire_tensor_verdict verdict)
{
    static const char *const names[] = {"placed", "fits", "does not fit", "undecided"};
    return names[verdict];
}

static const char *stop_name(enum quire_tensor_stop stop)
{
    static const char *const names[] = {"done", "steps", "time", "cancelled"};
    return names[stop];
}

static void print_amount(const char *label, uint64_t bytes)
{
    char size[24];
    printf("%-9s  %s (%" PRIu64 " B)", label, size_format(bytes, size, sizeof size), bytes);
}

static void print_text(const struct arguments *arguments, const struct plan_input *input,
                       const struct quire_tensor_plan *plan)
{
    char size[24];
    if (input->model.model != NULL)
        plan_model_print(&input->model);
    printf("buffers    %zu\n", input->table.n_buffers);
    print_amount("bound", plan->bound);
    printf(": no placement has a lower peak\n");
    print_amount("peak", plan->peak);
    if (plan->bound > 0)
        printf(", %.3f of the bound", (double)plan->peak / (double)plan->bound);
    printf("%s\n", plan->peak == plan->bound ? ": proved to be the least" : "");
    if (input->model.model != NULL)
        plan_model_print_budget(&input->model, &arguments->model, plan->peak);
    for (uint32_t s = 0; s < arguments->n_spaces; s++) {
        printf("  %s: %s", arguments->spaces[s].name,
               size_format(plan->peaks[s], size, sizeof size));
        if (arguments->spaces[s].capacity != 0)
            printf(" of %s", size_format(arguments->spaces[s].capacity, size, sizeof size));
        putchar('\n');
    }
    if (plan->verdict != QUIRE_TENSOR_PLACED) {
        printf("verdict    %s", verdict_name(plan->verdict));
        if (arguments->options.capacity != 0)
            printf(" in %s", size_format(arguments->options.capacity, size, sizeof size));
        printf("%s\n", plan->verdict == QUIRE_TENSOR_DOES_NOT_FIT ? ": proved" : "");
    }
    printf("found by   %s, after %.3f s and %" PRIu64 " steps", plan->found_by, plan->seconds,
           plan->n_steps);
    if (plan->stopped == QUIRE_TENSOR_STOP_TIME)
        printf("; stopped by --time-limit");
    else if (plan->stopped == QUIRE_TENSOR_STOP_STEPS)
        printf("; more time may find better (--strategy search --time-limit SECONDS)");
    else if (plan->stopped == QUIRE_TENSOR_STOP_CANCEL)
        printf("; interrupted");
    putchar('\n');
}

static json_t *build_buffers(const struct plan_input *input, const struct quire_tensor_plan *plan)
{
    json_t *list = json_array();
    for (size_t i = 0; i < input->table.n_buffers; i++) {
        json_t *one = json_pack("{s:o, s:I, s:i}", "id", json_text(input->table.buffers[i].name),
                                "offset", (json_int_t)plan->offsets[i], "space",
                                (int)plan->spaces[i]);
        if (one == NULL || json_array_append_new(list, one) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *build_spaces(const struct arguments *arguments, const struct quire_tensor_plan *plan)
{
    json_t *list = json_array();
    for (uint32_t s = 0; s < plan->n_spaces; s++) {
        const struct quire_tensor_space *space = &arguments->spaces[s];
        bool is_named = s < arguments->n_spaces;
        json_t *one = json_pack(
            "{s:o, s:I, s:I}", "name", is_named ? json_text(space->name) : json_null(),
            "capacity_bytes",
            (json_int_t)(is_named ? space->capacity : arguments->options.capacity), "peak_bytes",
            (json_int_t)plan->peaks[s]);
        if (one == NULL || json_array_append_new(list, one) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static bool print_json(const struct arguments *arguments, const struct plan_input *input,
                       const struct quire_tensor_plan *plan)
{
    json_t *json = json_pack("{s:s, s:s, s:i, s:s, s:s, s:b, s:I, s:I, s:I, s:f, s:s, s:o, s:o}",
                             "schema", "quire.plan/1", "version", QUIRE_VERSION, "format", 1,
                             "verdict", verdict_name(plan->verdict), "stopped",
                             stop_name(plan->stopped), "proved", (int)plan->is_proved, "peak_bytes",
                             (json_int_t)plan->peak, "bound_bytes", (json_int_t)plan->bound,
                             "steps", (json_int_t)plan->n_steps, "seconds", plan->seconds,
                             "found_by", plan->found_by, "spaces", build_spaces(arguments, plan),
                             "buffers", build_buffers(input, plan));
    if (json != NULL && input->model.model != NULL &&
        json_object_set_new(json, "model",
                            plan_model_json(&input->model, &arguments->model, plan->peak)) != 0) {
        json_decref(json);
        json = NULL;
    }
    return json_print(json);
}

/* Files */

static bool write_file(const char *what, const char *path, char *text, size_t n_bytes, int error)
{
    if (error == 0 && strcmp(path, "-") == 0)
        error = fwrite(text, 1, n_bytes, stdout) == n_bytes ? 0 : -EIO;
    else if (error == 0)
        error = out_file_write(text, n_bytes, path);
    free(text);
    if (error != 0)
        cli_error("cannot write the %s %s: %s", what, path, strerror(-error));
    return error == 0;
}

static bool write_files(const struct arguments *arguments, const struct plan_input *input,
                        const struct quire_tensor_problem *problem, const uint64_t *offsets,
                        const uint32_t *spaces)
{
    char *text = NULL, title[200];
    const char *name = strrchr(input->name, '/');
    size_t n_bytes = 0;
    bool is_good = true;

    if (arguments->output_path != NULL) {
        int error = quire_tensor_table_write(problem, offsets, spaces, &text, &n_bytes);
        is_good = write_file("plan", arguments->output_path, text, n_bytes, error);
    }
    if (arguments->svg_path != NULL) {
        snprintf(title, sizeof title, "quire plan: %s", name != NULL ? name + 1 : input->name);
        int error = plan_picture(problem, offsets, spaces, arguments->options.capacity, title,
                                 &text, &n_bytes);
        is_good = write_file("picture", arguments->svg_path, text, n_bytes, error) && is_good;
    }
    if (arguments->model.profile_path != NULL && input->model.model != NULL) {
        snprintf(title, sizeof title, "quire plan: %s", name != NULL ? name + 1 : input->name);
        struct quire_model_wishes wishes = arguments->model.wishes;
        wishes.costs = input->model.costs;
        wishes.time_limit = arguments->options.time_limit;
        int error = plan_profile(input->model.model, &wishes, title, &text, &n_bytes);
        is_good = write_file("profile", arguments->model.profile_path, text, n_bytes, error) &&
                  is_good;
    }
    return is_good;
}

/* The two jobs */

static int interrupted; /* atomic: SIGINT asks for the best so far */

static void interrupt(int signal)
{
    (void)signal;
    __atomic_store_n(&interrupted, 1, __ATOMIC_RELAXED);
}

/* 0, 1 or 2, as documentation[] says. */
static int status_of(const struct arguments *arguments, const struct plan_input *input,
                     const struct quire_tensor_plan *plan)
{
    enum plan_budget budget = input->model.model == NULL
                                  ? PLAN_BUDGET_NONE
                                  : plan_model_budget(&input->model, &arguments->model, plan->peak);
    if (plan->verdict == QUIRE_TENSOR_DOES_NOT_FIT || budget == PLAN_BUDGET_IMPOSSIBLE)
        return EXIT_DOES_NOT_FIT;
    return plan->verdict == QUIRE_TENSOR_UNDECIDED || budget == PLAN_BUDGET_NOT_MET ? EXIT_UNDECIDED
                                                                                    : EXIT_PLACED;
}

/* The techniques have had their part of the time. */
static void take_time(struct quire_tensor_options *options, double seconds)
{
    const double least = 1e-6;
    if (options->time_limit > 0)
        options->time_limit = options->time_limit - seconds > least ? options->time_limit - seconds
                                                                    : least;
}

static int place(struct arguments *arguments, const struct plan_input *input,
                 const struct quire_tensor_problem *problem)
{
    struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESETHAND};
    struct quire_tensor_plan plan;
    struct quire_tensor_fault fault;

    sigaction(SIGINT, &action, NULL); /* a second one ends the program */
    arguments->options.cancel = &interrupted;
    take_time(&arguments->options, input->model.seconds);
    int error = quire_tensor_place(problem, &arguments->options, &plan, &fault);
    if (error == -EINVAL && fault.kind != QUIRE_TENSOR_SOUND) {
        tell_fault(input, problem, &fault);
        return CLI_EXIT_FAILED;
    }
    if (error != 0) {
        cli_error("cannot plan %s: %s", input->name,
                  error == -EUCLEAN ? "the plan failed its own check; please report this"
                                    : strerror(-error));
        return CLI_EXIT_FAILED;
    }
    bool is_good = write_files(arguments, input, problem, plan.offsets, plan.spaces);
    if (arguments->as_json)
        is_good = print_json(arguments, input, &plan) && is_good;
    else if (arguments->output_path == NULL || strcmp(arguments->output_path, "-") != 0)
        print_text(arguments, input, &plan);
    int status = status_of(arguments, input, &plan);
    quire_tensor_plan_free(&plan);
    return is_good ? status : CLI_EXIT_FAILED;
}

static bool print_check(const struct arguments *arguments, const struct plan_input *input,
                        const struct quire_tensor_problem *problem, uint64_t peak,
                        const struct quire_tensor_fault *fault)
{
    bool is_sound = fault->kind == QUIRE_TENSOR_SOUND;
    if (!arguments->as_json) {
        if (!is_sound) {
            tell_fault(input, problem, fault);
            return true;
        }
        printf("buffers    %zu\n", input->table.n_buffers);
        print_amount("peak", peak);
        printf("\nverdict    sound\n");
        return true;
    }
    json_t *json = json_pack("{s:s, s:s, s:i, s:b, s:s}", "schema", "quire.plan-check/1", "version",
                             QUIRE_VERSION, "format", 1, "sound", (int)is_sound, "reason",
                             quire_tensor_fault_text(fault->kind));
    int bad = json == NULL;
    if (is_sound)
        bad |= json_object_set_new(json, "peak_bytes", json_integer((json_int_t)peak));
    else
        bad |= json_object_set_new(json, "buffers",
                                   json_pack("[o, o]", json_text(name_of(problem, fault->first)),
                                             json_text(name_of(problem, fault->second))));
    if (bad) {
        json_decref(json);
        json = NULL;
    }
    return json_print(json);
}

static int verify(const struct arguments *arguments, struct plan_input *input,
                  struct quire_tensor_problem *problem)
{
    struct quire_tensor_fault fault = {QUIRE_TENSOR_SOUND, 0, 0};
    size_t n = problem->n_buffers;
    uint64_t peak = 0, *offsets = malloc((n + 1) * sizeof *offsets);

    if (offsets == NULL || (!input->table.has_offsets && n > 0)) {
        free(offsets);
        cli_error("%s: %s", input->name,
                  offsets == NULL ? strerror(ENOMEM)
                                  : "there is nothing to verify: the column `offset' is not there, "
                                    "or some field of it is empty");
        return CLI_EXIT_FAILED;
    }
    for (size_t i = 0; i < n; i++) { /* here they are what is to be checked, not a condition */
        offsets[i] = input->table.buffers[i].offset;
        input->table.buffers[i].is_fixed = false;
    }
    int error = quire_tensor_verify(problem, offsets, input->table.spaces,
                                    arguments->options.capacity, arguments->options.min_alignment,
                                    &peak, &fault);
    bool is_good = error != -ENOMEM;
    if (!is_good)
        cli_error("cannot verify %s: %s", input->name, strerror(ENOMEM));
    if (error == 0)
        is_good = write_files(arguments, input, problem, offsets, input->table.spaces);
    if (is_good)
        is_good = print_check(arguments, input, problem, peak, &fault);
    free(offsets);
    return !is_good || error == -EINVAL ? CLI_EXIT_FAILED
           : error == 0                 ? EXIT_PLACED
                                        : EXIT_DOES_NOT_FIT;
}

int cli_plan(int argc, char **argv)
{
    static const struct argp_child children[] = {{&plan_model_argp, 0, "Models:", 0}, {0}};
    static const struct argp parser = {.options = option_list,
                                       .parser = parse_option,
                                       .args_doc = "FILE",
                                       .doc = documentation,
                                       .children = children};
    static struct arguments arguments;
    struct plan_input input;

    command_line_parse(&parser, argc, argv, 0, &arguments);
    int status = CLI_EXIT_FAILED;
    if (plan_input_read(arguments.input_path, &arguments.model, &input)) {
        if (input.model.model == NULL && plan_model_is_wanted(&arguments.model)) {
            cli_error("%s is CSV: --shape, --subgraph, --inplace, --reorder, --recompute, "
                      "--offload, --bandwidth, --speed, --costs, --curve, --weights and --profile "
                      "are of a model",
                      input.name);
            plan_input_free(&input);
            return CLI_EXIT_FAILED;
        }
        if (input.model.model != NULL && plan_model_tells(&arguments.model)) {
            status = plan_model_tell(&arguments.model, &input.model, arguments.as_json);
            plan_input_free(&input);
            return status;
        }
        struct quire_tensor_problem problem = {input.table.buffers, input.table.n_buffers,
                                               arguments.spaces, arguments.n_spaces};
        status = arguments.verifies ? verify(&arguments, &input, &problem)
                                    : place(&arguments, &input, &problem);
    }
    plan_input_free(&input);
    return status;
}
