/* SPDX-License-Identifier: Apache-2.0 */
/* moment: one moment of a recording (`quire log'), for commands that show one: --replay and --at.
 */
#ifndef QUIRE_CLI_MOMENT_H
#define QUIRE_CLI_MOMENT_H

#include "observe/feed.h"

#include <argp.h>

struct moment_options {
    const char *replay; /* NULL: now, of this machine */
    const char *at;     /* as when_parse() has it; NULL: the last one */
};

/* A child parser; its input is a struct moment_options. */
extern const struct argp moment_argp;

/*
 * The sample then, or the last before; valid until the feed is closed. NULL with a message, and
 * *status: what to end with.
 */
const struct sample *moment_open(const struct moment_options *options, struct feed **feed,
                                 int *status);

/* Says of a sample that does not have what is to be shown why. Returns EXIT_FAILURE. */
int moment_lacks(const char *what, int error);

#endif
