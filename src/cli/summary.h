/* SPDX-License-Identifier: Apache-2.0 */
/* summary: what a run came to, as a few lines of text and as JSON. */
#ifndef QUIRE_CLI_SUMMARY_H
#define QUIRE_CLI_SUMMARY_H

#include "base/control.h"
#include "cli/launch.h"
#include "cli/options.h"
#include "cli/sampler.h"
#include "observe/published.h"

#include <jansson.h>
#include <stdio.h>

/*
 * Of the JSON, as docs/stats.md describes it. The version goes up when a key changes its meaning or
 * goes; a new key alone does not change it.
 */
#define SUMMARY_FORMAT "quire-run"
#define SUMMARY_FORMAT_VERSION 1

struct summary {
    const struct control *control;
    struct control_stats totals; /* of all processes, living and gone */
    const struct run_options *options;
    const struct launch_result *run;
    const struct sampler *sampler;       /* NULL: no JSON is written */
    int exit_status;                     /* of `quire run` */
    const char *swap_directory;          /* NULL: none */
    const struct publication *published; /* NULL: that was not wanted */
};

/* Says so, where the kernel made a core file of the program that lacks evicted pages. */
void summary_tell_of_core_file(const struct summary *summary);

void summary_print(const struct summary *summary, FILE *to);

/* Writes the figures as json_file_write() does: 0 or a negative errno. */
int summary_write_json(const struct summary *summary, const char *path);

/* The "machine" of the figures, of this one. NULL: no memory. */
json_t *summary_machine(void);

#endif
