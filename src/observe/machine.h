/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine: how much memory there is to have, as the kernel and its cgroups tell it.
 *
 * `root` stands before every path: "" for this machine, a directory for a made-up one in a test.
 * Nothing here allocates or touches errno. Sources: proc(5), cgroups(7), Linux's
 * Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
 */
#ifndef QUIRE_OBSERVE_MACHINE_H
#define QUIRE_OBSERVE_MACHINE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#define MACHINE_UNLIMITED UINT64_MAX

struct machine_memory {
    uint64_t physical_bytes;
    uint64_t available_bytes; /* the kernel's estimate of what can be had without swapping */
    uint64_t swap_total_bytes, swap_free_bytes; /* the kernel's own swap */
};

/* Reads /proc/meminfo. 0 or a negative errno. */
int machine_memory(const char *root, struct machine_memory *memory);

struct machine_cgroup {
    unsigned version;     /* of the hierarchy that has the memory controller; 0: none was found */
    uint64_t limit_bytes; /* the smallest on the way up to the root, or MACHINE_UNLIMITED */
    char path[PATH_MAX];  /* the directory that sets this limit; "" when none does */
};

/*
 * The memory limit of this process's cgroup: memory.max and memory.high of version 2,
 * memory.limit_in_bytes of version 1, in both where both are mounted, each up to the root of what
 * is visible. A machine without cgroups gives version 0. 0 or a negative errno of /proc/self.
 */
int machine_cgroup(const char *root, struct machine_cgroup *cgroup);

/*
 * Where the hierarchy with the memory controller is mounted, below root, in `top` (PATH_MAX bytes).
 * False: this version of it is not.
 */
bool machine_cgroup_top(const char *root, unsigned version, char *top);

/* What a percentage refers to: the smaller of physical memory and the cgroup's limit; 0: unknown.
 */
uint64_t machine_whole_bytes(const char *root);

#endif
