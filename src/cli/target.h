/* SPDX-License-Identifier: Apache-2.0 */
/* target: the run that a command works on while it goes on, named by any process of it. */
#ifndef QUIRE_CLI_TARGET_H
#define QUIRE_CLI_TARGET_H

#include "base/control.h"

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

struct target {
    int pid; /* as it was named */
    struct control *control;
    uint32_t keeper;
};

/* A process id, or 0: the text is none. */
int target_parse_pid(const char *text);

/* The one argument of a command, PID, which argp comes upon or misses. ARGP_ERR_UNKNOWN: it is
 * else. */
error_t target_parse_argument(int key, const char *text, struct argp_state *state, int *pid);

/* Finds the run of process `pid`. EXIT_SUCCESS, or EXIT_FAILURE after a message that says why not.
 */
int target_find(int pid, struct target *target);

/* What the run's processes hold in RAM and on the disk, bytes. */
struct target_memory {
    unsigned n_processes;
    uint64_t share; /* of all of them, shared memory counted once; program text included */
    uint64_t resident, staged, pool, tables, file; /* by Quire's own account */
    uint64_t locked;                               /* of the resident, when they were parked */
};
void target_measure(const struct target *target, struct target_memory *memory);

/*
 * Whose heap and zones are meant by `pid`: the largest process of the run that it launched or
 * keeps; else its own.
 */
int target_largest(int pid);

/* Says why the heap or the zones of a process can't be read from outside; EXIT_FAILURE. */
int target_tell_unreadable(int pid, int error);

/* Whether the process that calls is part of the run. */
bool target_is_own(const struct target *target);

/* Goes up while the run's pagers do anything. */
uint64_t target_work_done(const struct target *target);

#endif
