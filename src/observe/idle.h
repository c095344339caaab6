/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idle: tells that a process has not run since it was looked at, for a fifth of what looking costs.
 * Private to src/observe.
 *
 *   schedstat: how often and how long it had a processor ── as before: so is what only it changes
 *   statm: its resident pages                            ── as before: so is what reclaim changes
 *
 * A count is taken before the figures that go with it, so that what runs in between is seen the
 * next time. A process that was not asleep then, or has several threads (schedstat is that of the
 * first), is never taken for idle; nor is any where the kernel doesn't count. The time alone stands
 * still up to a tick while a process runs; the count alone would miss one that was about to sleep
 * and runs on.
 *
 * Source: Linux's fs/proc/base.c (proc_pid_schedstat), kernel/sched/stats.h (sched_info_arrive).
 */
#ifndef QUIRE_OBSERVE_IDLE_H
#define QUIRE_OBSERVE_IDLE_H

#include "observe/source.h"

#define IDLE_N_DESCRIPTORS 2

struct idle { /* of one process */
    int schedstat_fd, statm_fd;
    uint64_t n_runs, run_ns; /* when `figures` were read; n_runs 0: never */
    uint64_t resident_pages, shared_pages;
    unsigned parts; /* of the figures */
    struct quire_observe_process figures;
};

struct idle_look {                                         /* one look at a process */
    uint64_t n_runs, run_ns, resident_pages, shared_pages; /* UINT64_MAX: not known */
    bool is_idle;                                          /* it has not run, and */
    bool is_same_memory;                                   /* has as much memory */
};

/* On the heap; NULL: the files can't be opened, or there is no memory. */
struct idle *idle_open(struct quire_observe *observe, int pid);
void idle_close(struct idle *idle);

/* Before any other file of the process is read. */
struct idle_look idle_look_at(const struct idle *idle);

/* Notes what was read of it after that look; `parts` as of quire_observe_processes(). */
void idle_note(struct idle *idle, const struct idle_look *look, unsigned parts,
               const struct quire_observe_process *process);

/*
 * The resident pages of a process, by statm. Those of stat leave out, since Linux 6.2, what each
 * processor has counted by itself: up to megabytes. False: they can't be read.
 */
bool idle_resident(struct quire_observe *observe, int pid, uint64_t *pages);

#endif
