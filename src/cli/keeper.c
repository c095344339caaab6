/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/keeper.h"

#include "base/sys.h"
#include "cli/autosize.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_MS 200
#define MEND_MS 1000         /* between looks at whether a kill has left the counts wrong */
#define LOOKS_WITHOUT_PID 10 /* a forked child takes its slot at once, or never will */

static void close_range_of(int from, int to)
{
    if (from > to || sys_close_range((unsigned)from, (unsigned)to, 0) == 0)
        return;
    long most = sysconf(_SC_OPEN_MAX); /* before Linux 5.9 */
    for (int fd = from; fd <= to && fd < most; fd++)
        close(fd);
}

/* Whoever waits for the end of a pipe must not wait for this process. */
static void close_all_but(const int *kept, int n_kept)
{
    int from = 0;

    for (int n = 0; n < n_kept; n++) { /* in ascending order */
        int lowest = -1;
        for (int i = 0; i < n_kept; i++)
            if (kept[i] >= from && (lowest < 0 || kept[i] < lowest))
                lowest = kept[i];
        if (lowest < 0)
            break;
        close_range_of(from, lowest - 1);
        from = lowest + 1;
    }
    close_range_of(from, 0x7fffffff);
}

static void mend_if_due(struct control *control)
{
    static struct control_mending mending;
    static uint64_t next_ns;

    if (sys_now_ns() < next_ns)
        return;
    control_mend(control, &mending);
    next_ns = sys_now_ns() + MEND_MS * 1000000ull;
}

/*
 * Until the launcher has ended: nothing is ever written to the pipe. Meanwhile the budget follows
 * the working set, where it is to, the figures are published, and the counts are kept right.
 */
static void outlast_launcher(struct control *control, struct publisher *publisher, int lifeline)
{
    struct pollfd end = {.fd = lifeline, .events = POLLIN};
    bool sizes = autosize_is_wanted(control);
    int n;

    do {
        int ms = publisher != NULL ? publisher_tick(publisher) : MEND_MS;
        if (ms < 0 || ms > MEND_MS)
            ms = MEND_MS;
        n = poll(&end, 1, sizes ? AUTOSIZE_TICK_MS : ms);
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

static _Noreturn void keep(struct control *control, struct seal *seal, struct publisher *publisher,
                           int lifeline)
{
    const struct control_options *options = &control->options;
    const int kept[] = {options->control_fd, options->swap_fd, options->key_fd, lifeline};
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    setsid();
    if (chdir("/") != 0) /* a file system that the run was started in may be unmounted */
        _exit(EXIT_FAILURE);
    prctl(PR_SET_NAME, "quire-keeper");
    close_all_but(kept, sizeof kept / sizeof kept[0]);
    /* The launcher could lock it with the same limit, so this can; and it has it locked as yet. */
    if (seal != NULL && seal_hold(seal) < 0)
        _exit(EXIT_FAILURE);
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

int keeper_start(struct control *control, struct seal *seal, struct publisher *publisher,
                 struct keeper *keeper)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return -errno;
    keeper->pid = fork();
    if (keeper->pid == 0)
        keep(control, seal, publisher, ends[0]);
    int error = keeper->pid < 0 ? -errno : 0;
    close(ends[0]);
    if (error < 0) {
        close(ends[1]);
        return error;
    }
    keeper->lifeline = ends[1];
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
    if (is_needed)
        return;
    waitpid(keeper->pid, NULL, 0);
    if (publisher != NULL)
        publisher_end(publisher);
}
