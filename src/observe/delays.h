/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delays: how long processes that ended had waited, and for what: the kernel's delay accounting,
 * told task by task over netlink (taskstats). Private to Quire.
 *
 * Sources: Linux's Documentation/accounting/delay-accounting.rst, taskstats.rst.
 */
#ifndef QUIRE_OBSERVE_DELAYS_H
#define QUIRE_OBSERVE_DELAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct delays;

struct delay_sums {      /* ns, all threads added up */
    uint64_t swap_in;    /* for pages to come from swap */
    uint64_t thrashing;  /* for pages that were in RAM shortly before */
    uint64_t block_io;   /* for reads: of file pages at a fault, of read(2) */
    uint64_t reclaim;    /* freeing memory, to allocate some */
    uint64_t compaction; /* of memory, to allocate contiguous memory */
    uint64_t copies;     /* of pages shared after a fork */
    uint64_t n_tasks;
};

/*
 * From now on the kernel tells of every task that ends on this machine. 0; -EPERM: CAP_NET_ADMIN is
 * wanted; -ENOENT: this kernel has no taskstats; or another negative errno. Close it after a
 * success.
 */
int delays_open(struct delays **delays) __attribute__((warn_unused_result));

/* Takes what has been told so far; often enough that the kernel's queue does not overflow. */
void delays_drain(struct delays *delays);

/*
 * The sums over all tasks below `ancestor` that have ended since delays_open(); `pids` are n more,
 * sorted, that are known to belong to it. A task can't have waited longer than `most_ns`: kernels
 * have been seen to tell of waits since boot. False: something was lost or left out, and the sums
 * are too small.
 */
bool delays_below(struct delays *delays, int ancestor, const int *pids, size_t n, uint64_t most_ns,
                  struct delay_sums *sums);

void delays_close(struct delays *delays);

#endif
