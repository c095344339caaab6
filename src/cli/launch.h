/* SPDX-License-Identifier: Apache-2.0 */
/* launch: runs the program and stands between it and whoever started `quire`. */
#ifndef QUIRE_CLI_LAUNCH_H
#define QUIRE_CLI_LAUNCH_H

#include <stdint.h>
#include <sys/resource.h>

struct launch_result {
    int exec_error;  /* errno of exec when the program never started; then the rest is 0 */
    int wait_status; /* as of waitpid(2) */
    uint64_t wall_ns;
    struct rusage usage; /* of the program and the children it waited for */
};

struct launch_ticker {               /* what is done now and then while the program runs */
    uint64_t (*tick)(void *context); /* returns when it wants to be called again, sys_now_ns() */
    void *context;
};

/*
 * Runs `path` with the arguments and this process's environment, and blocks until it has ended.
 * Signals that reach this process go on to the program. `ticker` may be NULL; it is called a first
 * time as soon as the program runs, and a last time when it has ended. Returns 0, or a negative
 * errno when no process could be made.
 */
int launch_program(const char *path, char **argv, const struct launch_ticker *ticker,
                   struct launch_result *result);

/* Becomes `path`, a shell's script without "#!" included. Returns only where that failed: errno. */
void launch_execute(const char *path, char **argv);

/* The exit status that a shell would show: the program's own, or 128 + the signal's number. */
int launch_exit_status(const struct launch_result *result);

/* Takes the standard descriptors that are closed, so that nothing else of Quire's can become them.
 * They are close-on-exec: the program finds them closed, as they were. */
void launch_reserve_standard_descriptors(void);

#endif
