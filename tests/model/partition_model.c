/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fixed partitions against an oracle that knows jobs, not partitions: a list of all jobs that are
 * there, each with the time of its arrival and the partition that it has, if any. Whatever happens,
 * the oracle looks at all jobs and all partitions, so its answers are the definitions in
 * quire/partition.h, word by word:
 *
 *   who gets a partition that becomes free   of those that wait and may have it, who came first
 *   which partition a job gets               first-come: the first of those that it may have;
 *                                            best: the shortest of those, the first of equals
 *   what is wasted                           for each job that has a partition, its length less
 *                                            the job's
 *
 * The metadata is moved to another address all the time. QUIRE_TEST_SEED replays a run;
 * QUIRE_TEST_ROUNDS makes it longer.
 */
#include "model_random.h"

#include <errno.h>
#include <quire/partition.h>
#include <stdbool.h>
#include <string.h>

#define MAX_PARTITIONS 24u
#define MAX_JOBS 64u
#define NO_PARTITION UINT32_MAX

static struct quire_partitions *partitions;
static struct quire_partition_config config;
static uint64_t lengths[MAX_PARTITIONS];

static struct job {
    uint64_t job, length;
    uint64_t arrival;
    uint32_t partition; /* NO_PARTITION: it waits */
} jobs[MAX_JOBS];
static unsigned n_jobs;
static uint64_t now;

/* The oracle */

static uint64_t length_of(uint32_t partition)
{
    return config.lengths != NULL ? lengths[partition] : config.length;
}

static struct job *holder(uint32_t partition)
{
    for (unsigned i = 0; i < n_jobs; i++)
        if (jobs[i].partition == partition)
            return &jobs[i];
    return NULL;
}

/* best-only: nothing longer than the shortest that would do at all */
static bool may_have(uint64_t length, uint32_t partition)
{
    if (length > length_of(partition))
        return false;
    for (uint32_t i = 0; i < config.n_partitions; i++)
        if (config.assignment == QUIRE_PARTITION_BEST_ONLY && length_of(i) >= length &&
            length_of(i) < length_of(partition))
            return false;
    return true;
}

static bool fits_somewhere(uint64_t length)
{
    for (uint32_t i = 0; i < config.n_partitions; i++)
        if (length_of(i) >= length)
            return true;
    return false;
}

static unsigned count_waiting(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < n_jobs; i++)
        n += jobs[i].partition == NO_PARTITION;
    return n;
}

/* What a job that arrives now gets. */
static uint32_t expected_partition(uint64_t length)
{
    uint32_t found = NO_PARTITION;
    for (uint32_t i = 0; i < config.n_partitions; i++) {
        if (holder(i) != NULL || !may_have(length, i))
            continue;
        if (found == NO_PARTITION ||
            (config.assignment != QUIRE_PARTITION_FIRST_COME && length_of(i) < length_of(found)))
            found = i;
    }
    return found;
}

/* Who gets a partition that is free now; NULL: nobody. */
static struct job *expected_job(uint32_t partition)
{
    struct job *first = NULL;
    for (unsigned i = 0; i < n_jobs; i++)
        if (jobs[i].partition == NO_PARTITION && may_have(jobs[i].length, partition) &&
            (first == NULL || jobs[i].arrival < first->arrival))
            first = &jobs[i];
    return first;
}

/* Operations */

static void submit(void)
{
    static uint64_t next_job;
    uint64_t length = draw(20) ? 1 + draw(1 + draw(300)) : draw(500), job = ++next_job * 7919;
    uint32_t partition = NO_PARTITION, expected = expected_partition(length);
    if (n_jobs == MAX_JOBS)
        return;
    int result = quire_partition_submit(partitions, job, length, &partition);
    if (length == 0) {
        REQUIRE(result == -EINVAL);
    } else if (!fits_somewhere(length)) {
        REQUIRE(result == -ENOMEM);
    } else if (expected != NO_PARTITION) {
        REQUIRE(result == 0 && partition == expected);
    } else if (count_waiting() == config.max_waiting) {
        REQUIRE(result == -ENOSPC);
    } else {
        REQUIRE(result == -EAGAIN);
    }
    if (result == 0 || result == -EAGAIN)
        jobs[n_jobs++] = (struct job){job, length, ++now, expected};
}

static void forget(struct job *job)
{
    *job = jobs[--n_jobs]; /* their order here means nothing */
}

static void release(void)
{
    uint32_t partition = (uint32_t)draw(config.n_partitions + 2);
    uint64_t job = 0;
    struct job *before = partition < config.n_partitions ? holder(partition) : NULL;
    if (before == NULL) {
        REQUIRE(quire_partition_release(partitions, partition, &job) == -EINVAL);
        return;
    }
    forget(before);
    struct job *next = expected_job(partition);
    REQUIRE(quire_partition_release(partitions, partition, &job) == (next != NULL));
    if (next != NULL) {
        REQUIRE(job == next->job);
        next->partition = partition;
    }
}

static void cancel(void)
{
    struct job *job = n_jobs > 0 ? &jobs[draw(n_jobs)] : NULL;
    if (job == NULL || job->partition != NO_PARTITION) { /* a job that has a partition, or none */
        REQUIRE(quire_partition_cancel(partitions, job != NULL ? job->job : 1) == -EINVAL);
        return;
    }
    REQUIRE(quire_partition_cancel(partitions, job->job) == 0);
    forget(job);
}

static void relocate(void)
{
    size_t n_bytes = quire_partition_metadata_bytes(&config);
    struct quire_partitions *copy = malloc(n_bytes);
    REQUIRE(copy != NULL);
    memcpy(copy, partitions, n_bytes);
    memset(partitions, 0xa5, n_bytes);
    free(partitions);
    partitions = copy;
}

static void compare(void)
{
    struct quire_partition_stats stats, expected = {.n_partitions = config.n_partitions};
    uint64_t offset = 0;
    for (uint32_t i = 0; i < config.n_partitions; i++) {
        struct quire_partition_piece piece;
        const struct job *job = holder(i);
        REQUIRE(quire_partition_find(partitions, i, &piece) == 0);
        REQUIRE(piece.offset == offset && piece.length == length_of(i));
        REQUIRE(piece.is_free == (job == NULL));
        REQUIRE(job == NULL || (piece.job == job->job && piece.used == job->length));
        offset += length_of(i);
        if (job != NULL) {
            expected.n_used += job->length;
            expected.n_wasted += length_of(i) - job->length;
            expected.n_occupied++;
        } else {
            expected.n_free += length_of(i);
            expected.largest = length_of(i) > expected.largest ? length_of(i) : expected.largest;
        }
    }
    quire_partition_stats(partitions, &stats);
    REQUIRE(stats.length == offset && stats.n_partitions == expected.n_partitions);
    REQUIRE(stats.n_used == expected.n_used && stats.n_wasted == expected.n_wasted);
    REQUIRE(stats.n_free == expected.n_free && stats.largest == expected.largest);
    REQUIRE(stats.n_occupied == expected.n_occupied && stats.n_waiting == count_waiting());
    REQUIRE(quire_partition_validate(partitions) == 0);
}

static void play(void)
{
    config = (struct quire_partition_config){
        .assignment = (enum quire_partition_assignment)draw(3),
        .n_partitions = 1 + (uint32_t)draw(MAX_PARTITIONS),
        .lengths = draw(4) ? lengths : NULL,
        .length = 1 + draw(300),
        .max_waiting = (uint32_t)draw(20),
    };
    for (unsigned i = 0; i < MAX_PARTITIONS; i++) /* many of them equal */
        lengths[i] = draw(2) ? 50 * (1 + draw(6)) : 1 + draw(300);
    size_t n_bytes = quire_partition_metadata_bytes(&config);
    void *metadata = malloc(n_bytes);
    REQUIRE(metadata != NULL);
    REQUIRE(quire_partition_init(&config, metadata, n_bytes, &partitions) == 0);
    n_jobs = 0;
    unsigned busy = 2 + (unsigned)draw(8);
    for (step = 0; step < 400; step++) {
        unsigned choice = (unsigned)draw(busy + 5);
        if (choice < 4)
            release();
        else if (choice == 4)
            cancel();
        else
            submit();
        if (draw(24) == 0)
            relocate();
        compare();
    }
    free(partitions);
}

int main(void)
{
    unsigned n_rounds = draw_from_seed(300);
    for (round_number = 0; round_number < n_rounds; round_number++)
        play();
    return 0;
}
