/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/ring_keeper.h"

#include "cli/detached.h"
#include "cli/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_MS 10000 /* for members that were never heard of: they attach by themselves */

struct keeper {
    const struct ring_keeping *keeping;
    struct quire_ring ring; /* an observer's */
    struct quire_share_publication *publication;
    unsigned n_users;
    bool removed;
};

static bool is_over(const struct keeper *keeper)
{
    struct quire_ring_stats stats;

    if (keeper->n_users > 0 || keeper->removed)
        return keeper->n_users == 0;
    if (keeper->keeping->stays || quire_ring_stats(&keeper->ring, &stats) != 0)
        return false;
    return stats.had_producer && stats.had_consumer && stats.n_producers == 0 &&
           stats.n_consumers == 0;
}

/* Who leaves last waits until it is told so: the name is gone by then. */
static void on_event(void *context, enum quire_share_event event,
                     const struct quire_share_peer *peer, uint32_t own_pid)
{
    struct keeper *keeper = context;

    if (event == QUIRE_SHARE_JOINED)
        keeper->n_users++;
    if (event == QUIRE_SHARE_LEFT) {
        keeper->n_users--;
        quire_ring_reap_process(&keeper->ring, own_pid);
    }
    if (event == QUIRE_SHARE_REMOVE)
        keeper->removed = true;
    if (event == QUIRE_SHARE_REMOVE || is_over(keeper))
        quire_share_unpublish(keeper->publication);
}

static void keep(struct keeper *keeper, int signals)
{
    const struct quire_share_handlers handlers = {on_event, keeper};
    struct pollfd what[] = {{.fd = quire_share_poll_fd(keeper->publication), .events = POLLIN},
                            {.fd = signals, .events = POLLIN}};

    do {
        const int n = poll(what, 2, LOOK_MS);
        if (n == 0)
            quire_ring_reap(&keeper->ring);
        if (n > 0 && what[1].revents != 0)
            break;
        (void)quire_share_serve(keeper->publication, &handlers);
    } while (!is_over(keeper));
    quire_share_close(keeper->publication);
}

/* In the keeper: the ring, and its name. 0 or a negative errno. */
static int make(struct keeper *keeper)
{
    const struct quire_ring_config *config = &keeper->keeping->config;
    const size_t n_bytes = quire_ring_bytes(config);
    int fds[RING_N_FDS] = {-1, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                           eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    void *memory;
    int error = fds[1] < 0 || fds[2] < 0 ? -errno : 0;

    if (error == 0)
        error = fds[0] = quire_share_memory("quire-ring", n_bytes, 0, &memory);
    if (error >= 0)
        error = quire_ring_init(config, memory, n_bytes);
    if (error == 0)
        error = quire_ring_attach(memory, n_bytes, QUIRE_RING_OBSERVER, &keeper->ring);
    if (error == 0)
        error = quire_share_publish(keeper->keeping->name, RING_TAG, keeper->keeping->mode, fds,
                                    RING_N_FDS, &keeper->publication);
    for (unsigned i = 0; i < RING_N_FDS; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return error;
}

/* Nothing of the shell that started it is held. A descriptor of signals that ask to end, or a
 * negative errno. */
static int leave_the_shell(int report)
{
    const int kept[] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, report};
    sigset_t set;
    const int error = detached_leave("quire-ring", kept, sizeof kept / sizeof kept[0]);
    const int null = error == 0 ? open("/dev/null", O_RDWR | O_CLOEXEC) : error;

    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO && null >= 0; fd++)
        dup2(null, fd);
    if (null < 0)
        return error < 0 ? error : -errno;
    if (null > STDERR_FILENO)
        close(null);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    const int signals = signalfd(-1, &set, SFD_CLOEXEC);
    return signals < 0 ? -errno : signals;
}

static _Noreturn void run_keeper(const struct ring_keeping *keeping, int report)
{
    static struct keeper keeper;

    keeper.keeping = keeping;
    const int signals = leave_the_shell(report);
    detached_report(report, signals < 0 ? signals : make(&keeper));
    keep(&keeper, signals);
    _exit(EXIT_SUCCESS);
}

int ring_keeper_start(const struct ring_keeping *keeping)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return -errno;
    const pid_t child = fork();
    const int fork_error = child < 0 ? -errno : 0;
    if (child == 0) {
        if (fork() == 0) /* the shell's child is gone at once: the keeper is nobody's */
            run_keeper(keeping, ends[1]);
        _exit(EXIT_SUCCESS);
    }
    close(ends[1]);
    if (child > 0)
        waitpid(child, NULL, 0);
    const int error = detached_await(ends[0]);
    return fork_error < 0 ? fork_error : error;
}
