/* SPDX-License-Identifier: Apache-2.0 */
/* sim: what the parts of `quire sim` share: what was asked for, and printing what came of it. */
#ifndef QUIRE_CLI_SIM_H
#define QUIRE_CLI_SIM_H

#include "cli/trace_input.h"

#include <quire/sim.h>

#include <stdbool.h>

struct sim_policy_choice {
    const char *name; /* as it was given */
    const struct quire_sim_policy *policy;
    uint64_t argument;
};

/* A result: a case, what it was asked for by, and its counts. */
struct sim_row {
    const struct sim_policy_choice *choice;
    struct quire_sim_case config;
    struct quire_sim_counts counts;
    const struct sim_row *anomaly; /* less RAM, fewer faults, all else the same; NULL: none */
};

/* Sets `anomaly` of those that have one: the row with the fewest faults. */
void sim_find_anomalies(struct sim_row *rows, size_t n);

bool sim_print_text(const struct sim_row *rows, size_t n, const struct quire_trace_info *info);
bool sim_print_json(const struct sim_row *rows, size_t n);
/* False with a message. */
bool sim_draw(const struct sim_row *rows, size_t n, const char *title, const char *path);

/* All policies with a line about each. */
void sim_print_policies(void);

#endif
