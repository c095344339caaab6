/* SPDX-License-Identifier: Apache-2.0 */
/* cgroup: the files of control groups. Private to src/observe. */
#ifndef QUIRE_OBSERVE_CGROUP_H
#define QUIRE_OBSERVE_CGROUP_H

#include "observe/source.h"

/* Reads the files of one group, whose directory is below the observer's root; no path, no errors:
 * what is not there is absent. */
void cgroup_read(struct quire_observe *observe, const char *directory, unsigned version,
                 struct quire_observe_cgroup *cgroup);

/* The root as a path, for what takes one: the descriptor's own name. */
void cgroup_root_path(const struct quire_observe *observe, char *path, size_t n_bytes);

#endif
