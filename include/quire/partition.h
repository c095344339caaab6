/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quire/partition.h: fixed partitions of a linear space, and the jobs that wait for them.
 *
 * The space is cut once, into partitions of equal or unequal lengths. A job gets one whole
 * partition that is at least as long as it asks; what it does not need is internal waste. A job
 * that finds none waits. The classic ways to assign:
 *
 *   QUIRE_PARTITION_FIRST_COME      the first partition that is free and long enough; one queue
 *   QUIRE_PARTITION_BEST_AVAILABLE  the shortest that is free and long enough; one queue
 *   QUIRE_PARTITION_BEST_ONLY       the shortest that is long enough, free or not: a queue for each
 *                                   partition length, and longer partitions stay free for others
 *
 * Each queue is served in the order of arrival; a job is overtaken only while nothing that is free
 * would do for it.
 *
 * Metadata is the caller's memory, without pointers, as in quire/extent.h: 64 bytes and 24 for each
 * partition and each job that may wait. Not thread-safe. Nothing allocates, blocks, touches errno
 * or prints, but validate, which logs. Assigning and submitting take O(number of partitions),
 * releasing O(number that wait).
 *
 * Sources: P. Denning, "Virtual memory", Computing Surveys 2(3), 1970; A. Silberschatz, P. Galvin,
 * Operating System Concepts, 2nd and 3rd edition, "multiple partitions" (best-fit-only and
 * best-available-fit).
 */
#ifndef QUIRE_PARTITION_H
#define QUIRE_PARTITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define QUIRE_PARTITION_MAX 65536u  /* partitions */
#define QUIRE_PARTITION_ALIGNMENT 8 /* of the metadata, bytes */

struct quire_partitions; /* lies at the start of the metadata */

enum quire_partition_assignment {
    QUIRE_PARTITION_FIRST_COME,
    QUIRE_PARTITION_BEST_AVAILABLE,
    QUIRE_PARTITION_BEST_ONLY
};

struct quire_partition_config {
    enum quire_partition_assignment assignment;
    uint32_t n_partitions;   /* 1 to QUIRE_PARTITION_MAX */
    const uint64_t *lengths; /* of each, 1 or more, in the order of the space; NULL: all `length` */
    uint64_t length;         /* their sum is below 2^63 */
    uint32_t max_waiting;    /* jobs that may wait at once; 0: none waits */
};

/* Bytes of metadata that init wants; 0 if the configuration is invalid. */
size_t quire_partition_metadata_bytes(const struct quire_partition_config *config);

/*
 * Cuts the space; all partitions are free. Returns 0 and *partitions == metadata; -EINVAL: invalid
 * configuration or alignment; -ENOSPC: metadata_bytes is too small.
 */
int quire_partition_init(const struct quire_partition_config *config, void *metadata,
                         size_t metadata_bytes, struct quire_partitions **partitions)
    __attribute__((warn_unused_result));

/*
 * A job arrives; `job` is the caller's number for it. Returns 0 and *partition; -EAGAIN: it waits,
 * and a release will start it; -ENOMEM: no partition is so long, it would wait for ever; -ENOSPC:
 * it would have to wait, and max_waiting jobs do; -EINVAL: length is 0.
 */
int quire_partition_submit(struct quire_partitions *partitions, uint64_t job, uint64_t length,
                           uint32_t *partition) __attribute__((warn_unused_result));

/*
 * The job in a partition has ended. Returns 1: *job, which waited, has the partition now; 0: it is
 * free; -EINVAL: it was free already, or there is no such partition.
 */
int quire_partition_release(struct quire_partitions *partitions, uint32_t partition, uint64_t *job)
    __attribute__((warn_unused_result));

/* A job that waits goes away. Returns 0; -EINVAL: no such job waits. */
int quire_partition_cancel(struct quire_partitions *partitions, uint64_t job);

struct quire_partition_piece {
    uint64_t offset, length;
    bool is_free;
    uint64_t job;  /* not free: who has it, */
    uint64_t used; /* and what it asked for */
};

/* Returns 0; -EINVAL: there is no such partition. */
int quire_partition_find(const struct quire_partitions *partitions, uint32_t partition,
                         struct quire_partition_piece *piece);

/* At any time  length = n_used + n_wasted + n_free. Units, but where it says otherwise. */
struct quire_partition_stats {
    uint64_t length;
    uint64_t n_used;   /* what jobs asked for */
    uint64_t n_wasted; /* internally: the rest of the partitions that they have */
    uint64_t n_free;
    uint64_t largest;      /* free partition */
    uint32_t n_partitions; /* partitions */
    uint32_t n_occupied;   /* partitions */
    uint32_t n_waiting;    /* jobs */
};

/* O(number of partitions). */
void quire_partition_stats(const struct quire_partitions *partitions,
                           struct quire_partition_stats *stats);

/* Recomputes the counters and checks the queue. 0, or -EUCLEAN with the reason logged. */
int quire_partition_validate(const struct quire_partitions *partitions);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
