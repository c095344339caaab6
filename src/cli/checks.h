/* SPDX-License-Identifier: Apache-2.0 */
/* checks: what `quire doctor` looks at, one check a subject. */
#ifndef QUIRE_CLI_CHECKS_H
#define QUIRE_CLI_CHECKS_H

#include <stddef.h>

enum check_status {
    CHECK_OK,
    CHECK_WARN, /* works, with a difference that the user should know */
    CHECK_NO,   /* `quire run` can't work like this */
};

struct check {
    const char *name; /* stable, for scripts */
    enum check_status status;
    char found[300]; /* what the machine says */
    char means[300]; /* what that means for `quire run`; "" when it means nothing special */
    char fix[400];   /* commands, one a line; "" when there is nothing to open */
};

#define CHECKS_MAX 24

/* Runs every check; returns how many. */
size_t checks_run(struct check checks[CHECKS_MAX]);

#endif
