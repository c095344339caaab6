/* SPDX-License-Identifier: Apache-2.0 */
/* memory_map: what lay where, and when, as an SVG picture: one band a policy. */
#ifndef QUIRE_CLI_MEMORY_MAP_H
#define QUIRE_CLI_MEMORY_MAP_H

#include "cli/replay.h"

/* `results` have boxes. Returns 0, -ENOMEM, or -EIO: the file can't be written. */
int memory_map_write(const char *path, const char *title, const struct replay_policy *policies,
                     const struct replay_result *results, unsigned n)
    __attribute__((visibility("default")));

#endif
