/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_slabs: `quire slabs --kernel`: the kernel's slab caches, in the format of a heap's. */
#ifndef QUIRE_CLI_KERNEL_SLABS_H
#define QUIRE_CLI_KERNEL_SLABS_H

#include <stdbool.h>

/* `sort`: a key of `quire slabs`; `all`: caches without slabs, too. Returns the exit status. */
int kernel_slabs_show(const char *root, const char *sort, bool all, bool as_json);

#endif
