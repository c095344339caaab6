/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/keeper.h"

#include "base/sys.h"
#include "cli/autosize.h"
#include "cli/detached.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_MS 200
#define MEND_MS 1000         /* between looks at whether a kill has left the counts wrong */
#define EARLY_MS 100         /* so that it falls together with what else is due once a second */
#define LOOKS_WITHOUT_PID 10 /* a forked child takes its slot at once, or never will */

static void mend_if_due(struct control *control)
{
    static struct control_mending mending;
    static uint64_t next_ns;

    control_collect(control, NULL, NULL);
    if (sys_now_ns() < next_ns)
        return;
    control_mend(control, &mending);
    next_ns = sys_now_ns() + (MEND_MS - EARLY_MS) * 1000000ull;
}

/* Until the launcher ends, ticks are due, or `ms` have passed; as poll(2). */
static int wait_for_end(struct control *control, int lifeline, int ms)
{
    struct pollfd end = {.fd = lifeline, .events = POLLIN};

    if (!autosize_is_wanted(control))
        return poll(&end, 1, ms);
    return poll(&end, 1, autosize_rest(control, (unsigned)ms) ? 0 : AUTOSIZE_TICK_MS);
}

/*
 * Until the launcher has ended: nothing is ever written to the pipe. Meanwhile the budget follows
 * the working set, where it is to, the figures are published, and the counts are kept right.
 */
static void outlast_launcher(struct control *control, struct publisher *publisher, int lifeline)
{
    bool sizes = autosize_is_wanted(control);
    int n;

    do {
        int ms = publisher != NULL ? publisher_tick(publisher) : MEND_MS;
        if (ms < 0 || ms > MEND_MS)
            ms = MEND_MS;
        n = wait_for_end(control, lifeline, ms);
        if (n == 0 && sizes)
            autosize_tick(control);
        mend_if_due(control);
    } while (n == 0 || (n < 0 && errno == EINTR));
}

static void wait_a_little(struct control *control, struct publisher *publisher)
{
    for (int ms = 0; ms < LOOK_MS; ms += AUTOSIZE_TICK_MS) {
        poll(NULL, 0, AUTOSIZE_TICK_MS);
        if (publisher != NULL)
            publisher_tick(publisher);
        if (autosize_is_wanted(control))
            autosize_tick(control);
    }
    mend_if_due(control);
}

/* Until the last process of the run has ended. */
static void outlast(struct control *control, struct publisher *publisher)
{
    int without_pid = 0;

    for (;;) {
        unsigned n_coming;
        unsigned n_alive = control_n_alive(control, &n_coming);
        without_pid = n_alive == 0 ? without_pid + 1 : 0;
        if (n_alive == 0 && (n_coming == 0 || without_pid > LOOKS_WITHOUT_PID))
            return;
        wait_a_little(control, publisher);
    }
}

/* It can be found from now on (observe/running.h), and has all that it keeps. 0 or an errno. */
static int settle_down(struct seal *seal, const int *kept, int n_kept)
{
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    const int error = detached_leave("quire-keeper", kept, n_kept);
    if (error < 0 || seal == NULL)
        return error;
    /* The launcher could lock it with the same limit, so this can; and it has it locked as yet. */
    return seal_hold(seal);
}

static _Noreturn void keep(struct control *control, struct seal *seal, struct publisher *publisher,
                           int lifeline, int report)
{
    const struct control_options *options = &control->options;
    const int kept[] = {options->control_fd, options->swap_fd, options->key_fd, lifeline, report};

    detached_report(report, settle_down(seal, kept, sizeof kept / sizeof kept[0]));
    if (autosize_is_wanted(control))
        autosize_start(control);
    outlast_launcher(control, publisher, lifeline);
    atomic_store(&control->launcher_ended, 1);
    outlast(control, publisher);
    if (publisher != NULL)
        publisher_end(publisher);
    if (seal != NULL)
        seal_destroy(seal);
    _exit(EXIT_SUCCESS);
}

/* Returns when the keeper can be found: the program may be quicker than it, and somebody look for
 * it. Its pid or a negative errno; the pipes' other ends are closed. */
static int start(struct control *control, struct seal *seal, struct publisher *publisher,
                 const int *lifeline, const int *report)
{
    const pid_t pid = fork();
    const int fork_error = pid < 0 ? -errno : 0;

    if (pid == 0) {
        close(lifeline[1]);
        close(report[0]);
        keep(control, seal, publisher, lifeline[0], report[1]);
    }
    close(lifeline[0]);
    close(report[1]);
    const int error = detached_await(report[0]);
    if (fork_error < 0)
        return fork_error;
    if (error < 0)
        waitpid(pid, NULL, 0);
    return error < 0 ? error : pid;
}

int keeper_start(struct control *control, struct seal *seal, struct publisher *publisher,
                 struct keeper *keeper)
{
    int lifeline[2], report[2];

    if (pipe2(lifeline, O_CLOEXEC) != 0)
        return -errno;
    if (pipe2(report, O_CLOEXEC) != 0) {
        const int error = -errno;
        close(lifeline[0]);
        close(lifeline[1]);
        return error;
    }
    keeper->pid = start(control, seal, publisher, lifeline, report);
    if (keeper->pid < 0) {
        close(lifeline[1]);
        return keeper->pid;
    }
    keeper->lifeline = lifeline[1];
    control->options.keeper_pid = keeper->pid;
    if (publisher != NULL)
        publisher_start(publisher, keeper->pid);
    return 0;
}

void keeper_release(const struct keeper *keeper, struct control *control,
                    struct publisher *publisher)
{
    unsigned n_coming;
    bool is_needed = control_n_alive(control, &n_coming) > 0 || n_coming > 0;

    atomic_store(&control->launcher_ended, 1);
    close(keeper->lifeline);
    control_rouse(control);
    if (is_needed)
        return;
    waitpid(keeper->pid, NULL, 0);
    if (publisher != NULL)
        publisher_end(publisher);
}
