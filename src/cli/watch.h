/* SPDX-License-Identifier: Apache-2.0 */
/* watch: --watch and --count of the commands that show the figures of a moment. */
#ifndef QUIRE_CLI_WATCH_H
#define QUIRE_CLI_WATCH_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

struct watch_options {
    uint64_t ms;         /* 0: once */
    unsigned long count; /* of looks; 0: for ever */
};

/* A child parser; its input is a struct watch_options. */
extern const struct argp watch_argp;

/*
 * Looks and shows once, or again and again until the count is reached, a look fails, or a signal
 * asks to end; a terminal is cleared in between, but for JSON. Returns the status of the last look.
 */
typedef int watch_look(void *context);
int watch_run(const struct watch_options *options, bool as_json, watch_look *look, void *context);

#endif
