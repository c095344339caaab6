/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dump: `quire dump`. A core file of a process of a run, with what is evicted.
 *
 *   find run -> stop the process's own threads -> what has contents? -> write -> let them go on
 *               (tracee.h)                        (core_memory.h)      (core_file.h)
 *
 * The pager goes on meanwhile: what is evicted it brings back as it is read, and evicts something
 * else for it, so the run stays within its budget. The file is made beside its place and gets its
 * name when it is whole. A watch ends the command if reading does not go on: the thread that reads
 * waits in the kernel, where only the end of the process gets it out.
 */
#include "base/process.h"
#include "base/size.h"
#include "base/sys.h"
#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/core_file.h"
#include "cli/figures.h"
#include "cli/target.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_NS 100000000u
#define PATIENCE_NS 60000000000ull /* without anything being read, or the pagers doing anything */

struct dump_options {
    int pid;
    const char *path; /* NULL: core.PID */
    bool as_json;
};

/* What is told in the end. */
struct dump {
    const struct target *target;
    int pid;
    char path[PATH_MAX], partial[PATH_MAX]; /* "": there is no file yet */
    struct core_file core;
    unsigned n_threads;
    uint64_t evicted_bytes, took_ns;
    _Atomic bool is_over;
};

static struct dump dump;

static void remove_partial(void)
{
    if (dump.partial[0] != '\0')
        unlink(dump.partial);
}

static void on_signal(int signal_number)
{
    remove_partial();
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* A thread: ends the command when nothing goes on any more. */
static void *watch(void *nothing)
{
    uint64_t done = 0, work = 0, deadline = sys_now_ns() + PATIENCE_NS;

    while (!atomic_load(&dump.is_over)) {
        uint64_t done_now = atomic_load(&dump.core.n_done_bytes);
        uint64_t work_now = target_work_done(dump.target);
        if (done_now != done || work_now != work)
            deadline = sys_now_ns() + PATIENCE_NS;
        done = done_now;
        work = work_now;
        if (sys_now_ns() > deadline) {
            cli_error("process %d: its pager has not answered for %llu s, so no more of it can be "
                      "read\nit goes on now; try again",
                      dump.pid, PATIENCE_NS / 1000000000);
            remove_partial();
            _exit(EXIT_FAILURE);
        }
        sys_sleep_ns(LOOK_NS);
    }
    return nothing;
}

/* The process that is meant: a launcher stands for its program, where that is one process. */
static int choose_process(const struct target *target)
{
    int chosen = 0;
    unsigned n = 0;

    for (unsigned i = 0; i < target->control->slots_end; i++) {
        int pid = (int)control_living_pid(target->control, i);
        if (pid == target->pid)
            return pid;
        if (pid != 0) {
            chosen = pid;
            n++;
        }
    }
    if (n == 1)
        return chosen;
    cli_error("process %d is the `quire' of a run of %u processes: name one of these\n"
              "`quire ps' shows them",
              target->pid, n);
    return 0;
}

static int tell_not_stopped(int pid, int error)
{
    int tracer = error == -EPERM ? tracee_tracer(pid) : 0;

    if (tracer != 0)
        cli_error("process %d is traced by process %d (a debugger, strace), so it can't be stopped "
                  "for a dump\nend that first",
                  pid, tracer);
    else if (error == -EPERM || error == -EACCES)
        cli_error("cannot stop process %d: not permitted\nbe its user or root; a restriction of "
                  "ptrace (kernel.yama.ptrace_scope) counts too",
                  pid);
    else if (error == -ETIMEDOUT)
        cli_error("process %d can't be stopped: one of its threads waits in the kernel and can't "
                  "be interrupted\ntry again; the parent of a vfork can be dumped when its child "
                  "has executed",
                  pid);
    else if (error == -ESRCH)
        cli_error("process %d has ended", pid);
    else if (error == -EPROTONOSUPPORT)
        cli_error("the Quire library in process %d is of another version than this command\nuse "
                  "the `quire' that it was started by",
                  pid);
    else
        cli_error("cannot look into process %d: %s", pid, strerror(-error));
    return EXIT_FAILURE;
}

static int tell_not_written(int error)
{
    if (error == -ESRCH)
        cli_error("process %d has ended while it was dumped", dump.pid);
    else if (error == -E2BIG)
        cli_error("process %d has more mappings than a core file can have segments", dump.pid);
    else if (error == -EFBIG)
        cli_error(
            "cannot write %s: a file of that length is not possible there\nraise `ulimit -f', "
            "or write to another file system by -o FILE",
            dump.path);
    else
        cli_error("cannot write %s: %s\nwrite to another place by -o FILE", dump.path,
                  strerror(-error));
    return EXIT_FAILURE;
}

static int open_partial(void)
{
    struct stat info;

    if (stat(dump.path, &info) == 0 && !S_ISREG(info.st_mode))
        return S_ISDIR(info.st_mode) ? -EISDIR : -EINVAL;
    if (snprintf(dump.partial, sizeof dump.partial, "%s.XXXXXX", dump.path) >=
        (int)sizeof dump.partial) {
        dump.partial[0] = '\0';
        return -ENAMETOOLONG;
    }
    int fd = mkostemp(dump.partial, O_CLOEXEC); /* mode 0600 */
    if (fd < 0) {
        dump.partial[0] = '\0';
        return -errno;
    }
    return fd;
}

static int write_file(const struct core_memory *memory, const struct tracee *tracee)
{
    pthread_t watcher;

    int fd = open_partial();
    if (fd < 0)
        return fd;
    dump.core = (struct core_file){
        .fd = fd, .pid = dump.pid, .memory = memory, .tracee = tracee, .n_done_bytes = 0};
    if (pthread_create(&watcher, NULL, watch, NULL) != 0) {
        close(fd);
        return -EAGAIN;
    }
    int error = core_file_write(&dump.core);
    atomic_store(&dump.is_over, true);
    pthread_join(watcher, NULL);
    if (close(fd) != 0 && error == 0)
        error = -errno;
    if (error == 0 && rename(dump.partial, dump.path) != 0)
        error = -errno;
    return error;
}

static int write_stopped(const struct arena *arena, const struct tracee *tracee)
{
    struct core_memory memory = {.n_runs = 0};
    int error = core_memory_find(&memory, arena);

    if (error < 0)
        return tell_not_stopped(dump.pid, error);
    dump.n_threads = tracee->n_threads;
    dump.evicted_bytes = memory.evicted_bytes;
    error = write_file(&memory, tracee);
    core_memory_free(&memory);
    if (error < 0) {
        remove_partial();
        return tell_not_written(error);
    }
    return EXIT_SUCCESS;
}

static int make(void)
{
    struct arena arena;
    struct tracee tracee;
    uint64_t start = sys_now_ns();
    int error = arena_find(dump.pid, &arena);

    if (error < 0)
        return tell_not_stopped(dump.pid, error);
    error = tracee_stop(&tracee, dump.pid, &arena);
    if (error < 0)
        return tell_not_stopped(dump.pid, error);
    int status = write_stopped(&arena, &tracee);
    tracee_release(&tracee);
    dump.took_ns = sys_now_ns() - start;
    return status;
}

static void print_text(void)
{
    char text[3][32];

    printf("dumped: process %d, %u thread%s, in %.2f s, to %s\n", dump.pid, dump.n_threads,
           dump.n_threads == 1 ? "" : "s", (double)dump.took_ns / 1e9, dump.path);
    printf("  memory      %s, of that %s were evicted; %s written\n",
           size_format(atomic_load(&dump.core.n_done_bytes), text[0], sizeof text[0]),
           size_format(dump.evicted_bytes, text[1], sizeof text[1]),
           size_format(dump.core.written_bytes, text[2], sizeof text[2]));
}

static bool print_json(void)
{
    json_t *json = json_pack(
        "{s:s, s:i, s:s, s:i, s:I, s:I, s:I, s:I, s:f}", "version", QUIRE_VERSION, "pid", dump.pid,
        "file", dump.path, "threads", (int)dump.n_threads, "memory_bytes",
        (json_int_t)atomic_load(&dump.core.n_done_bytes), "evicted_bytes",
        (json_int_t)dump.evicted_bytes, "written_bytes", (json_int_t)dump.core.written_bytes,
        "unreadable_bytes", (json_int_t)dump.core.unreadable_bytes, "seconds",
        (double)dump.took_ns / 1e9);

    return figures_print_json(json, false);
}

static const struct argp_option option_list[] = {
    {"output", 'o', "FILE", 0, "Write to FILE, and replace it if it is there (default: core.PID)",
     0},
    {"json", 'j', NULL, 0, "Print the figures as JSON", 0},
    {0},
};

static const char documentation[] =
    "Write a core file of process PID of a run, with what is evicted, for a debugger. A core file "
    "of the kernel's, and a debugger that looks at the process itself, have nothing of that. The "
    "process stands still meanwhile, and then goes on; its run stays within its budget."
    "\v"
    "The file has holes where memory was never touched: `ls -s' tells what it takes. It holds all "
    "that the process knows, secrets included, and only its owner may read it.\n"
    "\n"
    "Examples:\n"
    "  quire dump 1234\n"
    "  quire dump -o before.core $(pidof server); gdb server before.core\n"
    "\n"
    "Exit status:\n"
    "  0    the file is written\n"
    "  1    the process can't be reached or stopped, or the file can't be written, or a part of "
    "the memory can't be read; a message says which\n"
    "  125  the command line can't be understood";

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct dump_options *options = state->input;

    switch (key) {
    case 'o':
        options->path = argument;
        return 0;
    case 'j':
        options->as_json = true;
        return 0;
    default:
        return target_parse_argument(key, argument, state, &options->pid);
    }
}

static bool may_be_dumped(const struct target *target, int pid)
{
    char state = process_state((uint32_t)pid);

    if (target_is_own(target))
        cli_error("this command is a part of the run itself\nstart it from outside of `quire run'");
    else if (state == 'T')
        cli_error("process %d is stopped, and so is its pager, which has to bring back what is "
                  "evicted\ncontinue it first: quire resume %d, or kill -CONT %d",
                  pid, pid, pid);
    else
        return true;
    return false;
}

int cli_dump(int argc, char **argv)
{
    static const struct argp parser = {
        .options = option_list, .parser = parse_option, .args_doc = "PID", .doc = documentation};
    static struct target target;
    struct dump_options options = {0};

    command_line_parse(&parser, argc, argv, 0, &options);
    if (target_find(options.pid, &target) != EXIT_SUCCESS)
        return EXIT_FAILURE;
    int pid = choose_process(&target);
    if (pid == 0 || !may_be_dumped(&target, pid))
        return EXIT_FAILURE;
    dump.target = &target;
    dump.pid = pid;
    int n = options.path != NULL ? snprintf(dump.path, sizeof dump.path, "%s", options.path)
                                 : snprintf(dump.path, sizeof dump.path, "core.%d", pid);
    if (n >= (int)sizeof dump.path) {
        cli_error("-o: that name is too long");
        return CLI_EXIT_FAILED;
    }
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    signal(SIGHUP, on_signal);
    int status = make();
    if (status != EXIT_SUCCESS)
        return status;
    if (!options.as_json)
        print_text();
    else if (!print_json())
        return CLI_EXIT_FAILED;
    if (dump.core.unreadable_bytes == 0)
        return EXIT_SUCCESS;
    char text[32];
    cli_error("%s of process %d are left out: memory that it has forbidden itself to read, and "
              "that is evicted\nthe rest is in the file",
              size_format(dump.core.unreadable_bytes, text, sizeof text), pid);
    return EXIT_FAILURE;
}
