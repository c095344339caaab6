/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch: fork, exec, wait, and signals in between.
 *
 *   shell ── launcher ── program            all in one process group, on one terminal
 *              │   └── blocks all signals and takes them one by one with sigwaitinfo()
 *              └── waits; stops and continues as the program does
 *
 * Signals. What the terminal generates (^C, ^\, ^Z, a resize) reaches every member of the group by
 * itself, so the launcher swallows its own copy. Whatever else is sent to the launcher's process id
 * is meant for the program and is passed on, values of sigqueue(3) included. SIGKILL and SIGSTOP
 * can't be seen. Blocked signals are queued even where they are ignored, so the launcher's own
 * dispositions do not matter, and process 1 of a container gets its SIGTERM too.
 *
 * Job control. A program stopped by SIGTSTP, SIGTTIN or SIGTTOU, or by SIGSTOP in the terminal's
 * foreground, stops the launcher by the same signal, so that the shell sees its job stopped. A
 * SIGCONT for the launcher goes on to a program that is still stopped.
 *
 * The program starts with the signal mask and dispositions that the launcher had, and with no
 * descriptor of Quire's: all of them are close-on-exec. If the launcher is killed, the program
 * lives on: nothing ties its life to the launcher's.
 */
#include "cli/launch.h"

#include "base/sys.h"
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct launcher {
    pid_t program;
    sigset_t all, original_mask;
    struct sigaction original_chld;
    bool program_stopped;
    bool continue_wanted;               /* a SIGCONT came that the program may not have got */
    const struct launch_ticker *ticker; /* NULL: none */
    uint64_t next_tick_ns;
};

void launch_reserve_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR | O_CLOEXEC) < 0)
            return;
}

/* A script without "#!": the shell runs it, as execvp(3) and the shells have it. */
static void exec_by_shell(const char *path, char **argv)
{
    size_t n = 0;

    while (argv[n] != NULL)
        n++;
    char **script = calloc(n + 2, sizeof *script);
    if (script == NULL || n == 0)
        return;
    script[0] = (char[]){"/bin/sh"};
    script[1] = (char *)(uintptr_t)path;
    memcpy(script + 2, argv + 1, n * sizeof *script); /* the terminating NULL included */
    execv(script[0], script);
}

void launch_execute(const char *path, char **argv)
{
    execv(path, argv);
    if (errno == ENOEXEC)
        exec_by_shell(path, argv);
}

/* In the child: becomes the program, or tells why not through `report`. */
static _Noreturn void become_program(const struct launcher *launcher, const char *path, char **argv,
                                     int report)
{
    sigaction(SIGCHLD, &launcher->original_chld, NULL);
    sigprocmask(SIG_SETMASK, &launcher->original_mask, NULL);
    launch_execute(path, argv);
    int error = errno;
    while (write(report, &error, sizeof error) < 0 && errno == EINTR)
        ;
    _exit(CLI_EXIT_FAILED);
}

/* Blocks until exec has closed the pipe or has failed; returns its errno or 0. */
static int read_exec_error(int report)
{
    int error = 0;
    ssize_t n;

    do
        n = read(report, &error, sizeof error);
    while (n < 0 && errno == EINTR);
    return n == sizeof error ? error : 0;
}

/* The terminal sends these to the whole group; SI_KERNEL tells its own from kill(2)'s. */
static bool is_from_terminal(const siginfo_t *info)
{
    switch (info->si_signo) {
    case SIGINT:
    case SIGQUIT:
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU:
    case SIGWINCH:
        return info->si_code == SI_KERNEL;
    default:
        return false;
    }
}

static void pass_on(struct launcher *launcher, const siginfo_t *info)
{
    if (info->si_signo == SIGCHLD || is_from_terminal(info))
        return;
    if (info->si_signo == SIGCONT)
        launcher->continue_wanted = true; /* the program may be running again already */
    else if (info->si_code == SI_QUEUE)
        sigqueue(launcher->program, info->si_signo, info->si_value);
    else
        kill(launcher->program, info->si_signo);
}

static bool is_terminals_foreground(void)
{
    int terminal = open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (terminal < 0)
        return false;
    bool foreground = tcgetpgrp(terminal) == getpgrp();
    close(terminal);
    return foreground;
}

/* Stops this process as the program was stopped; returns when it is continued. */
static void stop_likewise(int signal)
{
    struct sigaction old, stop = {.sa_handler = SIG_DFL};
    sigset_t only;

    if (signal == SIGSTOP) { /* without a shell at the terminal nobody would continue both */
        if (is_terminals_foreground())
            raise(SIGSTOP);
        return;
    }
    sigemptyset(&only);
    sigaddset(&only, signal);
    sigaction(signal, &stop, &old);
    raise(signal);
    sigprocmask(SIG_UNBLOCK, &only, NULL); /* stops here; not in an orphaned group, rightly */
    sigprocmask(SIG_BLOCK, &only, NULL);
    sigaction(signal, &old, NULL);
}

/* Takes in what has happened to children. True when the program has ended. */
static bool has_ended(struct launcher *launcher, struct launch_result *result)
{
    struct rusage usage;
    int status;
    pid_t pid;

    /* any child: this may be process 1 of a container, to which orphans fall */
    while ((pid = wait4(-1, &status, WNOHANG | WUNTRACED | WCONTINUED, &usage)) != 0) {
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid < 0)
            return true;
        if (pid != launcher->program)
            continue;
        launcher->program_stopped = WIFSTOPPED(status);
        if (WIFSTOPPED(status)) {
            stop_likewise(WSTOPSIG(status));
        } else if (!WIFCONTINUED(status)) {
            result->wait_status = status;
            result->usage = usage;
            return true;
        }
    }
    return false;
}

/* The next signal, as sigwaitinfo(2) has it; or 0 when it was time for a tick. */
static int next_signal(struct launcher *launcher, siginfo_t *info)
{
    if (launcher->ticker == NULL)
        return sigwaitinfo(&launcher->all, info);
    uint64_t now_ns = sys_now_ns(), left_ns = 0;
    if (now_ns >= launcher->next_tick_ns)
        launcher->next_tick_ns = launcher->ticker->tick(launcher->ticker->context);
    else
        left_ns = launcher->next_tick_ns - now_ns;
    struct timespec timeout = {(time_t)(left_ns / 1000000000u), (long)(left_ns % 1000000000u)};
    return sigtimedwait(&launcher->all, info, &timeout);
}

static void wait_for_end(struct launcher *launcher, struct launch_result *result)
{
    siginfo_t info;

    while (!has_ended(launcher, result)) {
        if (launcher->continue_wanted && launcher->program_stopped)
            kill(launcher->program, SIGCONT);
        launcher->continue_wanted = false;
        if (next_signal(launcher, &info) > 0)
            pass_on(launcher, &info);
    }
    if (launcher->ticker != NULL)
        launcher->ticker->tick(launcher->ticker->context);
}

static int start_program(struct launcher *launcher, const char *path, char **argv, int *exec_error)
{
    int report[2];

    if (pipe2(report, O_CLOEXEC) != 0)
        return -errno;
    launcher->program = fork();
    if (launcher->program < 0) {
        int error = -errno;
        close(report[0]);
        close(report[1]);
        return error;
    }
    if (launcher->program == 0)
        become_program(launcher, path, argv, report[1]);
    close(report[1]);
    *exec_error = read_exec_error(report[0]);
    close(report[0]);
    return 0;
}

int launch_program(const char *path, char **argv, const struct launch_ticker *ticker,
                   struct launch_result *result)
{
    struct launcher launcher = {.program = -1, .ticker = ticker};
    struct sigaction plain = {.sa_handler = SIG_DFL};

    *result = (struct launch_result){.exec_error = 0};
    sigfillset(&launcher.all);
    sigprocmask(SIG_BLOCK, &launcher.all, &launcher.original_mask);
    /* ignored by whoever started us, it would reap the program before we can */
    sigaction(SIGCHLD, &plain, &launcher.original_chld);
    uint64_t start_ns = sys_now_ns();
    int error = start_program(&launcher, path, argv, &result->exec_error);
    if (error == 0) {
        wait_for_end(&launcher, result);
        result->wall_ns = sys_now_ns() - start_ns;
    }
    sigaction(SIGCHLD, &launcher.original_chld, NULL);
    signal(SIGPIPE, SIG_IGN); /* a closed standard error must not change the exit status */
    sigprocmask(SIG_SETMASK, &launcher.original_mask, NULL);
    return error;
}

int launch_exit_status(const struct launch_result *result)
{
    return WIFSIGNALED(result->wait_status) ? CLI_EXIT_SIGNAL + WTERMSIG(result->wait_status)
                                            : WEXITSTATUS(result->wait_status);
}
