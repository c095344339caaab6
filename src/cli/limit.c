/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limit: `quire limit`. Shows or changes the budget of a run that goes on.
 *
 * A lower budget is reached in steps. Below what the run holds each fault has to wait until that
 * much was given up, so the budget follows what is held downwards, a little ahead of it:
 *
 *   held  ------.
 *   budget -----|---.        each step is a fraction of what is left, then it is waited for
 *               '---|---.
 *   target . . . . .'---'--------
 *
 * Until the last step is reached a process that can give up no more raises the budget again
 * (control.h: retreat_bytes) instead of ending the run; then this command tells how far it got.
 */
#include "base/process.h"
#include "base/size.h"
#include "base/sys.h"
#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/figures.h"
#include "cli/target.h"
#include "observe/machine.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP_SHARE 32
#define STEP_LEAST_BYTES ((uint64_t)1 << 20)
#define STEP_MOST_BYTES ((uint64_t)16 << 20)
#define LOOK_NS 10000000u          /* between looks at what is held */
#define PATIENCE_NS 10000000000ull /* without any work of the pagers: then it can't be reached */
#define MARGIN_BYTES ((uint64_t)2 << 20) /* above what is held where it could not */

struct limit_options {
    int pid;
    const char *size_text; /* NULL: only to be shown */
    bool as_json;
};

static uint64_t budget_of(const struct control *control)
{
    return atomic_load(&control->budget_bytes);
}

static uint64_t held_by(const struct control *control)
{
    int64_t pages = control_held(control);
    return pages > 0 ? (uint64_t)pages << SYS_PAGE_SHIFT : 0;
}

static bool follows_working_set(const struct control *control)
{
    return control->options.max_stall_ppm > 0;
}

/*
 * Waits until no more than that is held. False: it can't be reached; is_budget: and at once where a
 * process could not go on with that as the budget, and has raised it.
 */
static bool await(const struct target *target, uint64_t bytes, bool is_budget)
{
    const struct control *control = target->control;
    uint64_t work = target_work_done(target), held = held_by(control);
    uint64_t deadline = sys_now_ns() + PATIENCE_NS;

    while (held_by(control) > bytes) {
        if ((is_budget && budget_of(control) > bytes) || sys_now_ns() > deadline)
            return false;
        uint32_t turn = atomic_load(&control->room);
        if (held_by(control) > bytes)
            sys_futex_wait(&control->room, turn, LOOK_NS, true);
        uint64_t work_now = target_work_done(target), held_now = held_by(control);
        if (work_now != work && held_now < held) {
            deadline = sys_now_ns() + PATIENCE_NS;
            held = held_now;
        }
        work = work_now;
    }
    return true;
}

static uint64_t next_step(uint64_t at, uint64_t target_bytes)
{
    uint64_t step = at / STEP_SHARE;

    if (step < STEP_LEAST_BYTES)
        step = STEP_LEAST_BYTES;
    if (step > STEP_MOST_BYTES)
        step = STEP_MOST_BYTES;
    return at > target_bytes + step ? at - step : target_bytes;
}

/* False: it was not reached; the budget is what could be. */
static bool lower(const struct target *target, uint64_t bytes)
{
    struct control *control = target->control;
    const uint64_t before = budget_of(control);
    uint64_t at = held_by(control);
    bool reached;

    atomic_store(&control->retreat_bytes, before);
    at = at < bytes ? bytes : at < before ? at : before; /* what is free goes at once */
    do {
        at = next_step(at, bytes);
        control_set_budget(control, at);
        reached = await(target, at, true);
    } while (reached && at > bytes);
    if (!reached) {
        uint64_t possible = held_by(control) + MARGIN_BYTES;
        if (budget_of(control) < possible)
            control_set_budget(control, possible < before ? possible : before);
    }
    atomic_store(&control->retreat_bytes, 0);
    return reached;
}

/* Where the budget follows the working set, the keeper brings it down. */
static bool set_most(const struct target *target, uint64_t bytes)
{
    struct control *control = target->control;

    atomic_store(&control->retreat_bytes, bytes);
    atomic_store(&control->sizing.most_bytes, bytes);
    control_rouse(control);
    if (await(target, bytes, false))
        return true;
    uint64_t possible = held_by(control) + MARGIN_BYTES;
    atomic_store(&control->sizing.most_bytes, possible);
    atomic_store(&control->retreat_bytes, possible);
    return false;
}

static bool apply(const struct target *target, uint64_t bytes)
{
    struct control *control = target->control;

    if (follows_working_set(control))
        return set_most(target, bytes);
    if (bytes < budget_of(control))
        return lower(target, bytes);
    control_set_budget(control, bytes);
    return true;
}

static void print_text(const struct target *target, const struct limit_options *options)
{
    const struct control *control = target->control;
    char budget[32], held[32], most[32];

    size_format(budget_of(control), budget, sizeof budget);
    size_format(held_by(control), held, sizeof held);
    size_format(atomic_load(&control->sizing.most_bytes), most, sizeof most);
    printf("budget of the run of process %d: %s", options->pid, budget);
    if (follows_working_set(control))
        printf(" (it follows the working set, up to %s)", most);
    printf("; held: %s\n", held);
}

static bool print_json(const struct target *target, const struct limit_options *options)
{
    const struct control *control = target->control;
    json_t *most = follows_working_set(control)
                       ? json_integer((json_int_t)atomic_load(&control->sizing.most_bytes))
                       : json_null();
    json_t *json = json_pack("{s:s, s:i, s:I, s:I, s:I, s:o}", "version", QUIRE_VERSION, "pid",
                             options->pid, "budget_bytes", (json_int_t)budget_of(control),
                             "start_budget_bytes", (json_int_t)control->options.budget_bytes,
                             "held_bytes", (json_int_t)held_by(control), "auto_most_bytes", most);

    return figures_print_json(json, false);
}

static const struct argp_option option_list[] = {
    {"json", 'j', NULL, 0, "Print the figures as JSON", 0},
    {0},
};

static const char documentation[] =
    "Show the budget of a run while it goes on, or change it to SIZE. PID is any process of the "
    "run, or the `quire' that started it. A lower budget is reached step by step, and waited for; "
    "the run goes on meanwhile."
    "\v"
    "Sizes take K, M, G and T, powers of 1024; a percentage is of the machine's memory, or of the "
    "cgroup's limit. Where the run was started by --ram auto, SIZE is what its budget may grow "
    "to.\n"
    "\n"
    "Examples:\n"
    "  quire limit 1234\n"
    "  quire limit $(pidof redis-server) 256M\n"
    "\n"
    "Exit status:\n"
    "  0    the budget was shown, or is SIZE now\n"
    "  1    the process can't be reached, or the run can't do with so little; a message says "
    "which\n"
    "  125  the command line can't be understood";

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct limit_options *options = state->input;

    switch (key) {
    case 'j':
        options->as_json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 1)
            argp_error(state, "'%s': there is a PID and a SIZE already", argument);
        if (state->arg_num == 1)
            options->size_text = argument;
        else if ((options->pid = target_parse_pid(argument)) == 0)
            argp_error(state, "'%s' is no process id", argument);
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which process? give its PID");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* What the command line alone tells. False after a message. */
static bool parse_bytes(const char *text, uint64_t *bytes)
{
    uint64_t whole_bytes = machine_whole_bytes("");
    char size[32], least[32];
    int error = size_parse(text, whole_bytes, bytes);

    if (error == -ERANGE)
        cli_error("%s: that is %s", text,
                  strchr(text, '%') != NULL ? "over 100 %" : "more than any machine has");
    else if (error < 0)
        cli_error("%s: that is no size\nwrite it as 512M, 1.5G or 25%%", text);
    else if (*bytes < CONTROL_MIN_BUDGET_BYTES)
        cli_error("%s: a budget of %s is too small\nit takes at least %s", text,
                  size_format(*bytes, size, sizeof size),
                  size_format(CONTROL_MIN_BUDGET_BYTES, least, sizeof least));
    else
        return true;
    return false;
}

static bool is_possible(const struct target *target, const char *text, uint64_t bytes)
{
    uint64_t most_bytes = atomic_load(&target->control->budget_most_bytes);
    char most[32];

    if (bytes <= most_bytes)
        return true;
    cli_error("%s: the budget of this run can't be more than %s: it has address space, or the "
              "machine memory, for no more",
              text, size_format(most_bytes, most, sizeof most));
    return false;
}

static int tell_not_reached(const struct target *target, const char *text)
{
    const char *reason = "no more of what it holds can be given up";
    char budget[32];

    for (unsigned i = 0; i < target->control->slots_end; i++)
        if (process_state(control_living_pid(target->control, i)) == 'T')
            reason = "it has stopped processes, which give up nothing; continue them first";
    cli_error("the run of process %d can't do with %s: %s\nits budget is %s now", target->pid, text,
              reason, size_format(budget_of(target->control), budget, sizeof budget));
    return EXIT_FAILURE;
}

int cli_limit(int argc, char **argv)
{
    static const struct argp parser = {.options = option_list,
                                       .parser = parse_option,
                                       .args_doc = "PID [SIZE|PERCENT]",
                                       .doc = documentation};
    struct limit_options options = {0};
    struct target target;
    uint64_t bytes = 0;

    command_line_parse(&parser, argc, argv, 0, &options);
    if (options.size_text != NULL && !parse_bytes(options.size_text, &bytes))
        return CLI_EXIT_FAILED;
    if (target_find(options.pid, &target) != EXIT_SUCCESS)
        return EXIT_FAILURE;
    if (options.size_text != NULL) {
        if (!is_possible(&target, options.size_text, bytes))
            return EXIT_FAILURE;
        if (!apply(&target, bytes))
            return tell_not_reached(&target, options.size_text);
    }
    if (!options.as_json) {
        print_text(&target, &options);
    } else if (!print_json(&target, &options)) {
        return CLI_EXIT_FAILED;
    }
    return EXIT_SUCCESS;
}
