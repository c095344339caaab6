/* SPDX-License-Identifier: Apache-2.0 */
/*
 * park: `quire park` and `quire resume`. A run gives up its memory while nobody needs it, and gets
 * it back.
 *
 *   park     order -> the service threads evict everything; under --stop each process stops itself
 *                     then, and this command stops those that Quire reaches by no thread
 *   resume   order -> SIGCONT, to the launcher last -> the service threads bring back what was
 *                     evicted
 *
 * Orders go before signals: a process that is continued must find that it is not to stop any more,
 * and one that is made by a fork while this command runs finds the order to stop. Stopping is over
 * when two looks in a row found every process of the run, and what descends from them, stopped.
 */
#include "base/process.h"
#include "base/size.h"
#include "base/sys.h"
#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/figures.h"
#include "cli/target.h"
#include "observe/running.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_NS 2000000u
#define PATIENCE_NS 10000000000ull /* without any work of the pagers */
#define SIGNAL_AFTER_LOOKS 50      /* a process that has not stopped itself by then is stopped */
#define STOP_LOOKS 5000
#define MOST_PROCESSES 4096

struct park_options {
    int pid;
    bool stop, on_demand, as_json;
};

/* Of the run, and what descends from them: programs that Quire can't serve. */
struct processes {
    unsigned n;
    uint32_t pid[MOST_PROCESSES];
};

static void add_process(struct processes *processes, uint32_t pid)
{
    for (unsigned i = 0; i < processes->n; i++)
        if (processes->pid[i] == pid)
            return;
    if (processes->n < MOST_PROCESSES && pid != (uint32_t)getpid())
        processes->pid[processes->n++] = pid;
}

static void add_children(struct processes *processes, uint32_t pid)
{
    char path[64];
    unsigned child;

    snprintf(path, sizeof path, "/proc/%u/task/%u/children", pid, pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    while (fscanf(file, "%u", &child) == 1)
        add_process(processes, child);
    fclose(file);
}

static void list_processes(const struct control *control, struct processes *processes)
{
    processes->n = 0;
    for (unsigned i = 0; i < control->slots_end; i++) {
        uint32_t pid = control_living_pid(control, i);
        if (pid != 0)
            add_process(processes, pid);
    }
    for (unsigned i = 0; i < processes->n; i++) /* the list grows meanwhile */
        add_children(processes, processes->pid[i]);
}

/*
 * A process that waits for the kernel stops when that lets go of it: the parent of a vfork when the
 * child executes, which it may have been stopped before.
 */
static bool will_stop(uint32_t pid)
{
    char path[64], line[256];
    unsigned long pending = 0;

    snprintf(path, sizeof path, "/proc/%u/status", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    while (pending == 0 && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "ShdPnd:", 7) == 0)
            pending = strtoul(line + 7, NULL, 16);
    fclose(file);
    return (pending >> (SIGSTOP - 1) & 1) != 0;
}

static bool is_stopped(uint32_t pid)
{
    char state = process_state(pid);
    return state == 'T' || state == 't' || (state == 'D' && will_stop(pid));
}

static bool has_ended(uint32_t pid)
{
    char state = process_state(pid);
    return state == 0 || state == 'Z' || state == 'X';
}

/* Sends the signal to those that are (not) stopped; how many there were. */
static unsigned signal_those(const struct control *control, bool stopped, int signal)
{
    static struct processes processes;
    unsigned n = 0;

    list_processes(control, &processes);
    for (unsigned i = 0; i < processes.n; i++) {
        if (has_ended(processes.pid[i]) || is_stopped(processes.pid[i]) != stopped)
            continue;
        n++;
        if (signal != 0)
            kill((pid_t)processes.pid[i], signal);
    }
    return n;
}

/* Processes that an order has yet to be carried out by; those that are stopped can't. */
static unsigned n_at_work(const struct control *control, uint32_t order, unsigned *n_stopped)
{
    unsigned n = 0;

    *n_stopped = 0;
    for (unsigned i = 0; i < control->slots_end; i++) {
        const struct control_slot *slot = &control->slot[i];
        uint32_t pid = control_living_pid(control, i);
        if (pid == 0 || !atomic_load(&slot->serves) || control_has_done(slot, order))
            continue;
        if (is_stopped(pid))
            ++*n_stopped;
        else
            n++;
    }
    return n;
}

/* Waits until an order is carried out; how many processes have not done it. */
static unsigned await_order(const struct target *target, uint32_t order)
{
    uint64_t work = target_work_done(target), deadline = sys_now_ns() + PATIENCE_NS;
    unsigned n_stopped, n;

    while ((n = n_at_work(target->control, order, &n_stopped)) > 0 && sys_now_ns() < deadline) {
        uint64_t work_now = target_work_done(target);
        if (work_now != work)
            deadline = sys_now_ns() + PATIENCE_NS;
        work = work_now;
        sys_sleep_ns(LOOK_NS);
    }
    return n + n_stopped;
}

/* Until all are stopped. How many are not. */
static unsigned await_stop(const struct control *control)
{
    unsigned n = 0, n_clean = 0;

    for (unsigned look = 0; look < STOP_LOOKS && n_clean < 2; look++) {
        bool by_signal = look % SIGNAL_AFTER_LOOKS == SIGNAL_AFTER_LOOKS - 1;
        n = signal_those(control, false, by_signal ? SIGSTOP : 0);
        n_clean = n == 0 ? n_clean + 1 : 0;
        sys_sleep_ns(LOOK_NS);
    }
    return n;
}

/* As await_stop(), the other way round. */
static unsigned await_continuation(const struct control *control)
{
    unsigned n;

    for (unsigned look = 0; (n = signal_those(control, true, SIGCONT)) > 0 && look < STOP_LOOKS;
         look++)
        sys_sleep_ns(LOOK_NS);
    return n;
}

static uint64_t held_bytes(const struct target_memory *memory)
{
    return memory->resident + memory->staged + memory->pool + memory->tables;
}

static uint64_t unmanaged_bytes(const struct target_memory *memory)
{
    uint64_t held = held_bytes(memory);
    return memory->share > held ? memory->share - held : 0;
}

struct sizes {
    char text[8][32];
};
#define TEXT(i, bytes) size_format((bytes), sizes->text[i], sizeof sizes->text[i])

static void print_text(const struct park_options *options, const char *done,
                       const struct target_memory *before, const struct target_memory *after,
                       uint64_t took_ns)
{
    struct sizes *sizes = &(struct sizes){0};
    uint64_t unlocked = after->resident > after->locked ? after->resident - after->locked : 0;

    printf("%s: the run of process %d, %u process%s, in %.2f s\n", done, options->pid,
           after->n_processes, after->n_processes == 1 ? "" : "es", (double)took_ns / 1e9);
    printf("  RAM         %s before, %s now\n", TEXT(0, before->share), TEXT(1, after->share));
    printf("  of that     %s in use%s%s%s, %s compressed, %s Quire's tables, %s that Quire does "
           "not manage\n",
           TEXT(2, unlocked + after->staged), after->locked > 0 ? ", " : "",
           after->locked > 0 ? TEXT(3, after->locked) : "", after->locked > 0 ? " locked" : "",
           TEXT(4, after->pool), TEXT(5, after->tables), TEXT(6, unmanaged_bytes(after)));
    printf("  swap file   %s\n", TEXT(7, after->file));
}

static json_t *json_of(const struct target_memory *memory)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "ram_bytes",
                     (json_int_t)memory->share, "resident_bytes", (json_int_t)memory->resident,
                     "staged_bytes", (json_int_t)memory->staged, "compressed_bytes",
                     (json_int_t)memory->pool, "metadata_bytes", (json_int_t)memory->tables,
                     "unmanaged_bytes", (json_int_t)unmanaged_bytes(memory), "locked_bytes",
                     (json_int_t)memory->locked, "file_bytes", (json_int_t)memory->file);
}

static int print(const struct park_options *options, const char *done,
                 const struct target_memory *before, const struct target_memory *after,
                 uint64_t took_ns)
{
    if (!options->as_json) {
        print_text(options, done, before, after, took_ns);
        return EXIT_SUCCESS;
    }
    json_t *json = json_pack("{s:s, s:i, s:s, s:i, s:f, s:o, s:o}", "version", QUIRE_VERSION, "pid",
                             options->pid, "done", done, "processes", (int)after->n_processes,
                             "seconds", (double)took_ns / 1e9, "before", json_of(before), "after",
                             json_of(after));
    return figures_print_json(json, false) ? EXIT_SUCCESS : CLI_EXIT_FAILED;
}

static int park(const struct target *target, const struct park_options *options)
{
    struct target_memory before, after;
    unsigned n_running = 0;

    if (control_order_kind(atomic_load(&target->control->order)) == CONTROL_PARK_AND_STOP &&
        signal_those(target->control, false, 0) == 0) {
        cli_error("the run of process %d is parked and stopped already\ncontinue it by: quire "
                  "resume %d",
                  options->pid, options->pid);
        return EXIT_FAILURE;
    }
    target_measure(target, &before);
    uint64_t start = sys_now_ns();
    uint32_t order = control_give_order(target->control,
                                        options->stop ? CONTROL_PARK_AND_STOP : CONTROL_PARK);
    unsigned n_left = await_order(target, order);
    if (options->stop)
        n_running = await_stop(target->control);
    uint64_t took_ns = sys_now_ns() - start;
    target_measure(target, &after);
    int status = print(options, options->stop ? "parked and stopped" : "parked", &before, &after,
                       took_ns);
    if (n_left > 0)
        cli_error("%u process%s not given up memory: stopped already, or without an answer for "
                  "10 s\ncontinue %s, and park again",
                  n_left, n_left == 1 ? " has" : "es have", n_left == 1 ? "it" : "them");
    if (n_running > 0)
        cli_error("%u process%s not be stopped: init of a container, or another user's", n_running,
                  n_running == 1 ? " could" : "es could");
    return n_left + n_running > 0 ? EXIT_FAILURE : status;
}

static void continue_launcher(const struct target *target)
{
    int launcher = running_launcher(target->control, target->keeper);

    if (launcher > 0 && is_stopped((uint32_t)launcher))
        kill(launcher, SIGCONT);
}

static bool is_parked(uint32_t order)
{
    enum control_order_kind kind = control_order_kind(order);

    return order != 0 && kind != CONTROL_RESUME && kind != CONTROL_ON_DEMAND;
}

static int resume(const struct target *target, const struct park_options *options)
{
    struct control *control = target->control;
    struct target_memory before, after;
    uint32_t was = atomic_load(&control->order);
    unsigned n_stopped = 0, n_left = 0;

    if (!is_parked(was)) {
        cli_error("the run of process %d is not parked", options->pid);
        return EXIT_FAILURE;
    }
    target_measure(target, &before);
    uint64_t start = sys_now_ns();
    uint32_t order = control_give_order(control,
                                        options->on_demand ? CONTROL_ON_DEMAND : CONTROL_RESUME);
    if (control_order_kind(was) == CONTROL_PARK_AND_STOP) {
        n_stopped = await_continuation(control);
        continue_launcher(target);
    }
    if (n_stopped == 0)
        n_left = await_order(target, order);
    uint64_t took_ns = sys_now_ns() - start;
    target_measure(target, &after);
    int status = print(options, "resumed", &before, &after, took_ns);
    if (n_stopped > 0)
        cli_error("%u process%s not be continued: not permitted", n_stopped,
                  n_stopped == 1 ? " could" : "es could");
    if (n_left > 0)
        cli_error("%u process%s not brought back memory: stopped, or without an answer for 10 s",
                  n_left, n_left == 1 ? " has" : "es have");
    return n_stopped + n_left > 0 ? EXIT_FAILURE : status;
}

enum { KEY_STOP = 256, KEY_ON_DEMAND };

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct park_options *options = state->input;

    switch (key) {
    case KEY_STOP:
        options->stop = true;
        return 0;
    case KEY_ON_DEMAND:
        options->on_demand = true;
        return 0;
    case 'j':
        options->as_json = true;
        return 0;
    default:
        return target_parse_argument(key, argument, state, &options->pid);
    }
}

static const struct argp_option park_option_list[] = {
    {"stop", KEY_STOP, NULL, 0,
     "Stop all processes of the run, too, until `quire resume' (or fg, or SIGCONT) continues them",
     0},
    {"json", 'j', NULL, 0, "Print the figures as JSON", 0},
    {0},
};

static const char park_documentation[] =
    "Take the memory of a run that is idle: everything is evicted, and written to the swap file "
    "where there is one. PID is any process of the run, or the `quire' that started it. What the "
    "run touches comes back by itself."
    "\v"
    "What stays: program text, libraries and stacks, memory that the program locked or that I/O "
    "uses at the moment, Quire's own tables, without a swap file the compressed pages, and what "
    "processes hold that have less than 4 MiB.\n"
    "\n"
    "Examples:\n"
    "  quire park $(pidof redis-server)\n"
    "  quire park --stop 1234; sleep 3600; quire resume 1234\n"
    "\n"
    "Exit status:\n"
    "  0    done\n"
    "  1    the process can't be reached, or a part of the run could not be parked; a message says "
    "why\n"
    "  125  the command line can't be understood";

static const struct argp_option resume_option_list[] = {
    {"on-demand", KEY_ON_DEMAND, NULL, 0,
     "Bring nothing back at once: pages return when they are touched", 0},
    {"json", 'j', NULL, 0, "Print the figures as JSON", 0},
    {0},
};

static const char resume_documentation[] =
    "Continue a run that was parked, and bring back at once what was evicted then, the last used "
    "first, as far as there is room in its budget. PID is any process of the run, or the `quire' "
    "that started it."
    "\v"
    "Examples:\n"
    "  quire resume 1234\n"
    "  quire resume --on-demand $(pidof redis-server)\n"
    "\n"
    "Exit status:\n"
    "  0    done\n"
    "  1    the process can't be reached, or its run is not parked, or a part of it could not be "
    "resumed; a message says why\n"
    "  125  the command line can't be understood";

static int start(int argc, char **argv, const struct argp *parser, struct park_options *options,
                 struct target *target)
{
    command_line_parse(parser, argc, argv, 0, options);
    if (target_find(options->pid, target) != EXIT_SUCCESS)
        return EXIT_FAILURE;
    if (!target_is_own(target))
        return EXIT_SUCCESS;
    cli_error("this command is a part of the run itself\nstart it from outside of `quire run'");
    return EXIT_FAILURE;
}

int cli_park(int argc, char **argv)
{
    static const struct argp parser = {.options = park_option_list,
                                       .parser = parse_option,
                                       .args_doc = "PID",
                                       .doc = park_documentation};
    struct park_options options = {0};
    struct target target;
    int status = start(argc, argv, &parser, &options, &target);

    return status == EXIT_SUCCESS ? park(&target, &options) : status;
}

int cli_resume(int argc, char **argv)
{
    static const struct argp parser = {.options = resume_option_list,
                                       .parser = parse_option,
                                       .args_doc = "PID",
                                       .doc = resume_documentation};
    struct park_options options = {0};
    struct target target;
    int status = start(argc, argv, &parser, &options, &target);

    return status == EXIT_SUCCESS ? resume(&target, &options) : status;
}
