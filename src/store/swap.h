/* SPDX-License-Identifier: Apache-2.0 */
/*
 * swap: the swap file of a run, and which process uses which part of it.
 *
 * The file is cut in clusters. A cluster is written once, by the process that claimed it, then only
 * read, until its last user releases it; after a fork parent and child both use it. Who uses what
 * stands in `struct swap_space`, in memory that the processes of a run share and map at different
 * addresses. Each process is one owner, a number.
 *
 * Thread safety: any process may do anything at any time, and may be killed at any instruction.
 * Functions that take an owner want to be called by one thread at a time for that owner;
 * swap_punch() may run beside the others. None blocks, allocates, or touches errno, but
 * swap_open(), which is for the launcher.
 */
#ifndef QUIRE_STORE_SWAP_H
#define QUIRE_STORE_SWAP_H

#include "base/sys.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SWAP_CLUSTER_BYTES ((size_t)64 << 10)
#define SWAP_OWNERS 512
#define SWAP_NONE UINT32_MAX

struct swap_space;

/* How much zeroed shared memory a space takes; most of it stays untouched. 0: too large a file. */
size_t swap_space_bytes(uint64_t max_file_bytes);

/* In zeroed memory of that size, aligned to 64 bytes. A part of a cluster at the end is unused. */
void swap_space_init(struct swap_space *space, uint64_t max_file_bytes);

uint32_t swap_n_clusters(const struct swap_space *space);
uint32_t swap_top(const struct swap_space *space); /* at and above it none was ever claimed */

/* A number for one use of a cluster, from 1 on: no other in this run, of any process, has it. */
uint64_t swap_new_use(struct swap_space *space);

/*
 * Claims free clusters for `owner`, low ones first: up to `n_wanted` that follow each other from
 * *cluster on. Returns how many, or -ENOSPC when there is no free cluster.
 */
int swap_claim(struct swap_space *space, unsigned owner, unsigned n_wanted, uint32_t *cluster);

/* All that `from` uses is used by `to` as well, which uses nothing yet. */
void swap_share(struct swap_space *space, unsigned from, unsigned to);

/* `owner` uses the cluster no more; nothing happens if it did not. */
void swap_release(struct swap_space *space, unsigned owner, uint32_t cluster);

/* Releases all that an owner used, whose process is gone, and mends what it was killed in. */
void swap_release_owner(struct swap_space *space, unsigned owner);

bool swap_uses(const struct swap_space *space, unsigned owner, uint32_t cluster);
bool swap_is_shared(const struct swap_space *space, uint32_t cluster); /* by two owners or more */

/* The first cluster from `cluster` on that the owner uses, or SWAP_NONE. */
uint32_t swap_next_used(const struct swap_space *space, unsigned owner, uint32_t cluster);

/* Bytes of the file in use by anyone, counted now. */
uint64_t swap_used_bytes(const struct swap_space *space);

/*
 * Gives the disk back what lies idle: free clusters that were written once. While there are few of
 * them it does nothing, since they are about to be written again. Looks at the highest first and
 * punches about `n_max` at most. Best effort; returns how many.
 */
size_t swap_punch(struct swap_space *space, unsigned owner, int fd, size_t n_max);

/* Checks that the counts equal the owners' bits. Only while no other process does anything. */
int swap_validate(const struct swap_space *space);

/*
 * The launcher: opens a swap file without a name in `directory`, unbuffered where that is possible,
 * and sets *fd. Returns 0 or a negative errno that swap_open_reason() puts in words: -EOPNOTSUPP
 * when the file system lies in memory, -ENOSPC when it is nearly full.
 */
int swap_open(const char *directory, uint64_t max_bytes, int *fd);
const char *swap_open_reason(int error);

/*
 * A process of the run: opens the launcher's file through `path` (/proc/PID/fd/N) with a
 * description of its own. `flags` are added to those it needs. The descriptor or a negative errno.
 */
int swap_reopen(const char *path, int flags);

#endif
