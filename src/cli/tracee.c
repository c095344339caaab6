/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tracee: see tracee.h.
 *
 *   list threads --> seize and interrupt each that is new --> wait until all stand --> list again,
 *        ^                                                                     until none is new
 *        '--- let those go on a little that are inside of the pager, where they may hold its lock
 *
 * A thread inside of the pager blocks every signal, those included that libc never blocks, while
 * the pager is armed (src/pager/pager.c); before that nobody needs the pager to read its memory. A
 * thread that blocks so much for long does it for itself: MOST_ROUNDS.
 *
 * If this process is killed, the kernel lets all threads go on.
 */
#include "cli/tracee.h"

#include "base/sys.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define LOOK_NS 1000000u
#define PATIENCE_NS 10000000000ull /* for a thread to stop */
#define MOST_ROUNDS 500
#define UNBLOCKABLE (1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1))

static bool is_known(const struct tracee *tracee, int tid)
{
    for (unsigned i = 0; i < tracee->n_threads; i++)
        if (tracee->threads[i].tid == tid)
            return true;
    return false;
}

static int add(struct tracee *tracee, int tid)
{
    if (tracee->n_threads == tracee->most_threads) {
        unsigned most = tracee->most_threads * 2 + 16;
        struct tracee_thread *larger = realloc(tracee->threads, most * sizeof *larger);
        if (larger == NULL)
            return -ENOMEM;
        tracee->threads = larger;
        tracee->most_threads = most;
    }
    if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) != 0)
        return errno == ESRCH ? 0 : -errno;
    tracee->threads[tracee->n_threads++] = (struct tracee_thread){.tid = tid};
    return ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) != 0 && errno != ESRCH ? -errno : 0;
}

static bool is_one_of(const int *ids, int tid)
{
    for (unsigned i = 0; i < ARENA_MOST_THREADS; i++)
        if (ids[i] == tid)
            return true;
    return false;
}

/* Seizes what is not known yet; how many that were, or an error. */
static int add_new_threads(struct tracee *tracee)
{
    char path[64];
    int own[ARENA_MOST_THREADS], n = 0;

    snprintf(path, sizeof path, "/proc/%d/task", tracee->pid);
    DIR *directory = opendir(path);
    if (directory == NULL)
        return errno == ENOENT ? -ESRCH : -errno;
    /* Read after the directory was opened: who is listed there was noted before. */
    int error = arena_threads(tracee->arena, own);
    for (struct dirent *entry; error == 0 && (entry = readdir(directory)) != NULL;) {
        int tid = atoi(entry->d_name);
        if (tid <= 0 || is_one_of(own, tid) || is_known(tracee, tid))
            continue;
        error = add(tracee, tid);
        n++;
    }
    closedir(directory);
    return error < 0 ? error : n;
}

static void forget(struct tracee *tracee, unsigned i)
{
    memmove(&tracee->threads[i], &tracee->threads[i + 1],
            (--tracee->n_threads - i) * sizeof *tracee->threads);
}

/* Takes in that threads stand, or have ended. How many do not stand. */
static unsigned look(struct tracee *tracee)
{
    unsigned n_running = 0;

    for (unsigned i = 0; i < tracee->n_threads; i++) {
        struct tracee_thread *thread = &tracee->threads[i];
        int status;
        if (thread->stands)
            continue;
        pid_t pid = waitpid(thread->tid, &status, __WALL | WNOHANG);
        if (pid == 0) {
            n_running++;
        } else if (pid < 0 || !WIFSTOPPED(status)) {
            forget(tracee, i--);
        } else {
            thread->stands = true;
            thread->signal = status >> 16 != 0 ? 0 : WSTOPSIG(status); /* an event, or a signal */
        }
    }
    return n_running;
}

static int await_all(struct tracee *tracee)
{
    uint64_t deadline = sys_now_ns() + PATIENCE_NS;

    while (look(tracee) > 0) {
        if (sys_now_ns() > deadline)
            return -ETIMEDOUT;
        sys_sleep_ns(LOOK_NS);
    }
    return tracee->n_threads > 0 ? 0 : -ESRCH;
}

static int stop_all(struct tracee *tracee)
{
    int n_new;

    do {
        n_new = add_new_threads(tracee);
        int error = n_new < 0 ? n_new : await_all(tracee);
        if (error < 0)
            return error;
    } while (n_new > 0);
    return 0;
}

static bool is_in_pager(const struct tracee_thread *thread)
{
    uint64_t mask = 0;

    return ptrace(PTRACE_GETSIGMASK, thread->tid, (void *)sizeof mask, &mask) == 0 &&
           (mask | UNBLOCKABLE) == ~0ull;
}

/* How many threads were inside of the pager, and have gone on a little. */
static unsigned let_out(struct tracee *tracee)
{
    unsigned n = 0;

    for (unsigned i = 0; i < tracee->n_threads; i++) {
        struct tracee_thread *thread = &tracee->threads[i];
        if (!is_in_pager(thread) ||
            ptrace(PTRACE_CONT, thread->tid, NULL, (void *)(intptr_t)thread->signal) != 0)
            continue;
        *thread = (struct tracee_thread){.tid = thread->tid};
        n++;
    }
    if (n == 0)
        return 0;
    sys_sleep_ns(LOOK_NS);
    for (unsigned i = 0; i < tracee->n_threads; i++)
        if (!tracee->threads[i].stands)
            ptrace(PTRACE_INTERRUPT, tracee->threads[i].tid, NULL, NULL);
    return n;
}

int tracee_stop(struct tracee *tracee, int pid, const struct arena *arena)
{
    *tracee = (struct tracee){.pid = pid, .arena = arena};
    int error = stop_all(tracee);

    for (unsigned i = 0; error == 0 && i < MOST_ROUNDS && let_out(tracee) > 0; i++)
        error = stop_all(tracee);
    if (error < 0)
        tracee_release(tracee);
    return error;
}

int tracee_tracer(int pid)
{
    char path[64], line[128];
    int tracer = 0;

    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof line, file) != NULL && sscanf(line, "TracerPid: %d", &tracer) != 1)
        ;
    fclose(file);
    return tracer;
}

/* One that does not stand can't be let go of; that happens when this process ends. */
void tracee_release(struct tracee *tracee)
{
    for (unsigned i = 0; i < tracee->n_threads; i++)
        ptrace(PTRACE_DETACH, tracee->threads[i].tid, NULL,
               (void *)(intptr_t)tracee->threads[i].signal);
    free(tracee->threads);
    tracee->threads = NULL;
    tracee->n_threads = tracee->most_threads = 0;
}

long tracee_registers(const struct tracee_thread *thread, int type, void *buffer, size_t n_bytes)
{
    struct iovec set = {buffer, n_bytes};

    if (ptrace(PTRACE_GETREGSET, thread->tid, (void *)(intptr_t)type, &set) != 0)
        return -errno;
    return (long)set.iov_len;
}
