/* SPDX-License-Identifier: Apache-2.0 */
/* replay: a trace against one policy, and what came of it. */
#ifndef QUIRE_CLI_REPLAY_H
#define QUIRE_CLI_REPLAY_H

#include "cli/trace.h"

#include <quire/extent.h>
#include <quire/partition.h>

struct replay_policy {
    char *name; /* as on the command line; allocated */
    bool is_fixed;
    enum quire_extent_policy policy;            /* not fixed */
    enum quire_partition_assignment assignment; /* fixed: */
    uint64_t *lengths;                          /* allocated */
    uint32_t n_partitions;
};

struct replay_options {
    uint64_t space;   /* bytes; not for fixed partitions */
    uint64_t granule; /* sizes are rounded up to its multiples; not for fixed partitions */
    uint64_t compact; /* bytes moved at most when something does not fit; 0: never */
    bool waits;       /* what has no duration waits too */
    bool draws;       /* fill in `boxes` */
};

struct replay_share { /* a fraction over time */
    double mean, max, end;
};

/* What lay where from when to when. */
struct replay_box {
    uint64_t begin, end; /* time */
    uint64_t offset, length, used;
    uint32_t request;
};

struct replay_result {
    uint64_t space;
    uint64_t n_placed;
    uint64_t n_failed; /* refused, never served, or freed while it waited */
    uint64_t largest_failed;
    uint64_t n_waited; /* placed later than it came */
    double wait_mean;  /* of all that were placed */
    uint64_t wait_max;
    struct replay_share external, internal;
    uint64_t peak_used;   /* asked for by what was placed */
    uint64_t highest_end; /* of what was placed: so much of the space was needed */
    uint64_t n_moved;     /* bytes */
    uint64_t n_moves;
    uint64_t first_time, last_time;
    struct replay_box *boxes; /* allocated */
    size_t n_boxes;
};

/* Returns 0; -ENOMEM. Free the result in any case. */
int replay_run(const struct trace *trace, const struct replay_policy *policy,
               const struct replay_options *options, struct replay_result *result);
void replay_free(struct replay_result *result);

#endif
