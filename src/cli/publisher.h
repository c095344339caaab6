/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publisher: shows the figures of a run's control block to others, by observe/published.h.
 *
 *   launcher: publisher_open() ── fork of the keeper ── publisher_start()      a file with a name
 *   keeper:   publisher_tick() every now and then ── publisher_end()           its figures; no file
 */
#ifndef QUIRE_CLI_PUBLISHER_H
#define QUIRE_CLI_PUBLISHER_H

#include "base/control.h"
#include "observe/published.h"

struct publisher {
    struct publication publication;
    const struct control *control;
    uint64_t next_ns, interval_ns, next_moment_ns; /* CLOCK_MONOTONIC */
    uint64_t changes;                              /* of the last look: a sum of counters */
    uint64_t launcher;                             /* its pid */
    char command[128];
};

/* In the launcher. A run that can't publish goes on without: publication.problem says why. */
void publisher_open(struct publisher *publisher, const struct control *control,
                    char *const *command);

/* In the launcher, when the keeper is there and the program is not yet. */
void publisher_start(struct publisher *publisher, int keeper);

/* In the keeper: publishes if it is time, and returns in how many ms to come again; -1: never. */
int publisher_tick(struct publisher *publisher);

/* No file any more. */
void publisher_end(struct publisher *publisher);

#endif
