/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_slabs: the kernel's slab caches, in the format of `quire slabs --pid`. */
#ifndef QUIRE_CLI_KERNEL_SLABS_H
#define QUIRE_CLI_KERNEL_SLABS_H

#include "cli/moment.h"
#include "cli/watch.h"

#include <stdbool.h>

struct kernel_slabs_options {
    const char *root; /* of a recorded machine; NULL: this one */
    struct moment_options moment;
    struct watch_options watch;
    const char *sort; /* a key of `quire slabs --sort` */
    bool all, as_json;
};

/* Prints them. The exit status. */
int kernel_slabs_show(const struct kernel_slabs_options *options);

#endif
