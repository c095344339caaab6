/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tracee: a process of a run whose own threads stand still while Quire's in it go on.
 *
 * Stopped one by one by ptrace(2), not by a signal: a signal would stop the pager's threads, too,
 * and then nobody would bring back what is evicted. Nothing of it shows in the process afterwards,
 * but that some system calls end with EINTR, as after any stop (signal(7)).
 */
#ifndef QUIRE_CLI_TRACEE_H
#define QUIRE_CLI_TRACEE_H

#include "observe/arena.h"

#include <stdbool.h>
#include <sys/procfs.h>

struct tracee_thread {
    int tid;
    int signal; /* that was on its way to it, and still is */
    bool stands;
};

struct tracee {
    int pid;
    const struct arena *arena;
    struct tracee_thread *threads; /* the first is the process's first, while that lives */
    unsigned n_threads, most_threads;
};

/*
 * Stops all threads but Quire's, none of them inside of the pager. 0; -EPERM: not permitted, or
 * another program traces it (see *tracer: its id, or 0); -ESRCH: it has ended; -ETIMEDOUT: a thread
 * waits in the kernel and can't be stopped; -ENOMEM. After an error nothing is stopped any more.
 */
int tracee_stop(struct tracee *tracee, int pid, const struct arena *arena);
int tracee_tracer(int pid); /* who traces it, or 0 */
void tracee_release(struct tracee *tracee);

/* Reads a register set (NT_PRSTATUS, NT_FPREGSET, NT_X86_XSTATE, ...). Its bytes, or -errno. */
long tracee_registers(const struct tracee_thread *thread, int type, void *buffer, size_t n_bytes);

#endif
