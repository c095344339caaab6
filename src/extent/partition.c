/* SPDX-License-Identifier: Apache-2.0 */
/*
 * partition: fixed partitions and their queue. See quire/partition.h.
 *
 *     struct quire_partitions | partitions[n_partitions] | waiting[max_waiting]
 *
 * `waiting` has the jobs in the order of their arrival. BEST_ONLY's queues are that one seen
 * through the length of the partition that a job waits for, so no job has to be moved between
 * queues.
 *
 * Invariants, checked by quire_partition_validate():
 *   1. A partition is free or has one job, no longer than the partition.
 *   2. No job waits for which a partition that it may have is free.
 *   3. n_occupied is what the partitions say; n_waiting <= max_waiting.
 *
 * No lock.
 */
#include <quire/partition.h>

#include "base/checked.h"
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define MAX_LENGTH ((uint64_t)INT64_MAX)

struct slot {
    uint64_t length;
    uint64_t used; /* 0: free */
    uint64_t job;
};

struct waiter {
    uint64_t job;
    uint64_t length;
    uint64_t partition_length; /* BEST_ONLY: of those that it waits for */
};

struct quire_partitions {
    uint64_t length;
    uint32_t assignment;
    uint32_t n_partitions;
    uint32_t max_waiting;
    uint32_t n_occupied;
    uint32_t n_waiting;
    uint32_t unused[9];
    struct slot slots[];
};
static_assert(sizeof(struct quire_partitions) == 64, "a layout that is saved");
static_assert(sizeof(struct slot) == 24 && sizeof(struct waiter) == 24, "likewise");

static struct waiter *waiters(const struct quire_partitions *partitions)
{
    return (struct waiter *)(uintptr_t)(partitions->slots + partitions->n_partitions);
}

static bool is_valid(const struct quire_partition_config *config, uint64_t *sum)
{
    *sum = 0;
    if ((unsigned)config->assignment > QUIRE_PARTITION_BEST_ONLY || config->n_partitions == 0 ||
        config->n_partitions > QUIRE_PARTITION_MAX)
        return false;
    for (uint32_t i = 0; i < config->n_partitions; i++) {
        uint64_t length = config->lengths != NULL ? config->lengths[i] : config->length;
        if (length == 0 || !checked_add(*sum, length, sum) || *sum > MAX_LENGTH)
            return false;
    }
    return true;
}

size_t quire_partition_metadata_bytes(const struct quire_partition_config *config)
{
    uint64_t sum;
    if (!is_valid(config, &sum))
        return 0;
    return sizeof(struct quire_partitions) + config->n_partitions * sizeof(struct slot) +
           config->max_waiting * sizeof(struct waiter);
}

int quire_partition_init(const struct quire_partition_config *config, void *metadata,
                         size_t n_bytes, struct quire_partitions **result)
{
    struct quire_partitions *partitions = metadata;
    uint64_t sum;
    if (!is_valid(config, &sum) || (uintptr_t)metadata % QUIRE_PARTITION_ALIGNMENT != 0)
        return -EINVAL;
    if (n_bytes < quire_partition_metadata_bytes(config))
        return -ENOSPC;
    *partitions = (struct quire_partitions){
        .length = sum,
        .assignment = config->assignment,
        .n_partitions = config->n_partitions,
        .max_waiting = config->max_waiting,
    };
    for (uint32_t i = 0; i < config->n_partitions; i++)
        partitions->slots[i] = (struct slot){
            config->lengths != NULL ? config->lengths[i] : config->length, 0, 0};
    *result = partitions;
    return 0;
}

/* The shortest partition that is long enough, the first of equals, or n_partitions. */
static uint32_t shortest(const struct quire_partitions *partitions, uint64_t length, bool free_only)
{
    uint32_t found = partitions->n_partitions;
    for (uint32_t i = 0; i < partitions->n_partitions; i++) {
        const struct slot *slot = &partitions->slots[i];
        if (slot->length < length || (free_only && slot->used != 0))
            continue;
        if (found == partitions->n_partitions || slot->length < partitions->slots[found].length)
            found = i;
    }
    return found;
}

/* The first free partition of a length from `least` to `most`, or n_partitions. */
static uint32_t first_free(const struct quire_partitions *partitions, uint64_t least, uint64_t most)
{
    for (uint32_t i = 0; i < partitions->n_partitions; i++) {
        const struct slot *slot = &partitions->slots[i];
        if (slot->used == 0 && slot->length >= least && slot->length <= most)
            return i;
    }
    return partitions->n_partitions;
}

static void occupy(struct quire_partitions *partitions, uint32_t partition, uint64_t job,
                   uint64_t length)
{
    partitions->slots[partition].job = job;
    partitions->slots[partition].used = length;
    partitions->n_occupied++;
}

int quire_partition_submit(struct quire_partitions *partitions, uint64_t job, uint64_t length,
                           uint32_t *partition)
{
    uint32_t none = partitions->n_partitions, found;
    if (length == 0)
        return -EINVAL;
    uint32_t smallest = shortest(partitions, length, false);
    if (smallest == none)
        return -ENOMEM;
    uint64_t its_length = partitions->slots[smallest].length;
    if (partitions->assignment == QUIRE_PARTITION_FIRST_COME)
        found = first_free(partitions, length, MAX_LENGTH);
    else if (partitions->assignment == QUIRE_PARTITION_BEST_AVAILABLE)
        found = shortest(partitions, length, true);
    else
        found = first_free(partitions, its_length, its_length);
    if (found != none) {
        occupy(partitions, found, job, length);
        *partition = found;
        return 0;
    }
    if (partitions->n_waiting == partitions->max_waiting)
        return -ENOSPC;
    waiters(partitions)[partitions->n_waiting++] = (struct waiter){job, length, its_length};
    return -EAGAIN;
}

static bool may_have(const struct quire_partitions *partitions, const struct waiter *waiter,
                     uint64_t length)
{
    if (partitions->assignment == QUIRE_PARTITION_BEST_ONLY)
        return waiter->partition_length == length;
    return waiter->length <= length;
}

static void leave_queue(struct quire_partitions *partitions, uint32_t i)
{
    struct waiter *waiting = waiters(partitions);
    partitions->n_waiting--;
    memmove(waiting + i, waiting + i + 1, (partitions->n_waiting - i) * sizeof *waiting);
}

int quire_partition_release(struct quire_partitions *partitions, uint32_t partition, uint64_t *job)
{
    if (partition >= partitions->n_partitions || partitions->slots[partition].used == 0)
        return -EINVAL;
    struct slot *slot = &partitions->slots[partition];
    slot->used = 0;
    slot->job = 0;
    partitions->n_occupied--;
    for (uint32_t i = 0; i < partitions->n_waiting; i++) {
        struct waiter waiter = waiters(partitions)[i];
        if (may_have(partitions, &waiter, slot->length)) {
            leave_queue(partitions, i);
            occupy(partitions, partition, waiter.job, waiter.length);
            *job = waiter.job;
            return 1;
        }
    }
    return 0;
}

int quire_partition_cancel(struct quire_partitions *partitions, uint64_t job)
{
    for (uint32_t i = 0; i < partitions->n_waiting; i++) {
        if (waiters(partitions)[i].job == job) {
            leave_queue(partitions, i);
            return 0;
        }
    }
    return -EINVAL;
}

int quire_partition_find(const struct quire_partitions *partitions, uint32_t partition,
                         struct quire_partition_piece *piece)
{
    uint64_t offset = 0;
    if (partition >= partitions->n_partitions)
        return -EINVAL;
    for (uint32_t i = 0; i < partition; i++)
        offset += partitions->slots[i].length;
    const struct slot *slot = &partitions->slots[partition];
    *piece = (struct quire_partition_piece){offset, slot->length, slot->used == 0, slot->job,
                                            slot->used};
    return 0;
}

void quire_partition_stats(const struct quire_partitions *partitions,
                           struct quire_partition_stats *stats)
{
    *stats = (struct quire_partition_stats){
        .length = partitions->length,
        .n_partitions = partitions->n_partitions,
        .n_occupied = partitions->n_occupied,
        .n_waiting = partitions->n_waiting,
    };
    for (uint32_t i = 0; i < partitions->n_partitions; i++) {
        const struct slot *slot = &partitions->slots[i];
        if (slot->used == 0) {
            stats->n_free += slot->length;
            stats->largest = slot->length > stats->largest ? slot->length : stats->largest;
        } else {
            stats->n_used += slot->used;
            stats->n_wasted += slot->length - slot->used;
        }
    }
}

static int wrong(unsigned invariant, const char *what)
{
    log_error("partitions: %s (invariant %u)", what, invariant);
    return -EUCLEAN;
}

int quire_partition_validate(const struct quire_partitions *partitions)
{
    uint32_t n_occupied = 0;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < partitions->n_partitions; i++) {
        const struct slot *slot = &partitions->slots[i];
        n_occupied += slot->used != 0;
        sum += slot->length;
        if (slot->used > slot->length)
            return wrong(1, "a job is longer than its partition");
    }
    if (n_occupied != partitions->n_occupied || sum != partitions->length ||
        partitions->n_waiting > partitions->max_waiting)
        return wrong(3, "a counter is not what the partitions add up to");
    for (uint32_t i = 0; i < partitions->n_partitions; i++)
        for (uint32_t j = 0; partitions->slots[i].used == 0 && j < partitions->n_waiting; j++)
            if (may_have(partitions, &waiters(partitions)[j], partitions->slots[i].length))
                return wrong(2, "a job waits although a partition is free for it");
    return 0;
}
