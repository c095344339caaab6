/* SPDX-License-Identifier: Apache-2.0 */
/* waits: what a command and all below it waited for memory and for devices, as far as it is told.
 */
#ifndef QUIRE_CLI_WAITS_H
#define QUIRE_CLI_WAITS_H

#include "observe/delays.h"

#include <quire/observe.h>

enum waits_source {
    WAITS_UNKNOWN,
    WAITS_TASKSTATS, /* each task's delays, at its end: complete */
    WAITS_STAT, /* /proc/PID/stat: block I/O of processes while they were looked at: at least */
};

struct waits_process {
    int pid;
    uint64_t start_ms, blocked_ms; /* as last seen */
};

struct waits {
    enum waits_source source;
    const char *reason; /* that it is not more: a sentence; NULL with taskstats */
    struct delays *delays;
    struct waits_process *list; /* the command's processes that were seen, by pid */
    size_t n, room;
    bool is_complete;
    uint64_t start_ns;
    struct delay_sums sums; /* after waits_end() */
};

/* Before the command starts. */
void waits_begin(struct waits *waits, struct quire_observe *observe);
/* A process of the command, each time that it is looked at. */
void waits_note(struct waits *waits, const struct quire_observe_process *process);
/* Now and then, while it runs. */
void waits_drain(struct waits *waits);
/* When it has ended; `self`: whose child it was. */
void waits_end(struct waits *waits, int self);

const char *waits_source_name(enum waits_source source); /* NULL: unknown */

#endif
