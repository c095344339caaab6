/* SPDX-License-Identifier: Apache-2.0 */
/* Fixed partitions, one behaviour a test. */
#include <quire/partition.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h> /* wants the headers above */

static _Alignas(8) unsigned char metadata[4096];
static struct quire_partitions *partitions;
static const uint64_t lengths[] = {50, 100, 100, 400};

static void make(enum quire_partition_assignment assignment)
{
    struct quire_partition_config config = {assignment, 4, lengths, 0, 3};
    assert_int_equal(quire_partition_metadata_bytes(&config), 64 + 24 * (4 + 3));
    assert_int_equal(quire_partition_init(&config, metadata, sizeof metadata, &partitions), 0);
}

/* The partition, or the error. */
static int submit(uint64_t job, uint64_t length)
{
    uint32_t partition;
    int error = quire_partition_submit(partitions, job, length, &partition);
    assert_int_equal(quire_partition_validate(partitions), 0);
    return error != 0 ? error : (int)partition;
}

/* The job that has it next; 0: none. */
static uint64_t release(uint32_t partition)
{
    uint64_t job = 0;
    int result = quire_partition_release(partitions, partition, &job);
    assert_int_equal(result, job != 0);
    assert_int_equal(quire_partition_validate(partitions), 0);
    return job;
}

static void first_come(void **state)
{
    make(QUIRE_PARTITION_FIRST_COME);
    assert_int_equal(submit(1, 60), 1);
    assert_int_equal(submit(2, 100), 2);
    assert_int_equal(submit(3, 10), 0);
    assert_int_equal(submit(4, 10), 3);
    assert_int_equal(submit(5, 300), -EAGAIN);
    assert_int_equal(submit(6, 70), -EAGAIN);
    assert_int_equal(submit(7, 70), -EAGAIN);
    assert_int_equal(submit(8, 70), -ENOSPC);
    assert_int_equal(submit(9, 401), -ENOMEM);
    assert_int_equal(submit(9, 0), -EINVAL);
    assert_int_equal(release(0), 0); /* nobody who waits fits */
    assert_int_equal(release(2), 6); /* overtakes 5, which does not fit */
    assert_int_equal(release(3), 5); /* the first in the queue */
    assert_int_equal(release(1), 7);
    assert_int_equal(release(1), 0);
}

static void best_available(void **state)
{
    make(QUIRE_PARTITION_BEST_AVAILABLE);
    assert_int_equal(submit(1, 40), 0);
    assert_int_equal(submit(2, 40), 1);
    assert_int_equal(submit(3, 90), 2);
    assert_int_equal(submit(4, 40), 3);
    assert_int_equal(submit(5, 40), -EAGAIN);
    assert_int_equal(release(3), 5);
}

static void a_queue_for_each_length(void **state)
{
    make(QUIRE_PARTITION_BEST_ONLY);
    assert_int_equal(submit(1, 40), 0);
    assert_int_equal(submit(2, 40), -EAGAIN); /* though longer ones are free */
    assert_int_equal(submit(3, 60), 1);
    assert_int_equal(submit(4, 60), 2); /* an equal one */
    assert_int_equal(submit(5, 60), -EAGAIN);
    assert_int_equal(release(2), 5);
    assert_int_equal(release(0), 2);
    assert_int_equal(submit(6, 300), 3);
}

static void waste_is_told(void **state)
{
    struct quire_partition_stats stats;
    struct quire_partition_piece piece;
    make(QUIRE_PARTITION_FIRST_COME);
    assert_int_equal(submit(1, 60), 1);
    quire_partition_stats(partitions, &stats);
    assert_int_equal(stats.length, 650);
    assert_int_equal(stats.n_used, 60);
    assert_int_equal(stats.n_wasted, 40);
    assert_int_equal(stats.n_free, 550);
    assert_int_equal(stats.largest, 400);
    assert_int_equal(stats.n_occupied, 1);
    assert_int_equal(quire_partition_find(partitions, 1, &piece), 0);
    assert_int_equal(piece.offset, 50);
    assert_int_equal(piece.job, 1);
    assert_false(piece.is_free);
    assert_int_equal(quire_partition_find(partitions, 4, &piece), -EINVAL);
}

static void equal_partitions(void **state)
{
    struct quire_partition_config config = {QUIRE_PARTITION_FIRST_COME, 3, NULL, 100, 0};
    assert_int_equal(quire_partition_init(&config, metadata, sizeof metadata, &partitions), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(submit((uint64_t)i, 100), i);
    assert_int_equal(submit(9, 1), -ENOSPC);
    config.length = 0;
    assert_int_equal(quire_partition_metadata_bytes(&config), 0);
    config.length = UINT64_MAX / 2;
    assert_int_equal(quire_partition_metadata_bytes(&config), 0);
    config.length = 1;
    assert_int_equal(quire_partition_init(&config, metadata, 100, &partitions), -ENOSPC);
    assert_int_equal(quire_partition_init(&config, metadata + 1, 4000, &partitions), -EINVAL);
}

static void what_is_wrong_is_refused(void **state)
{
    uint64_t job;
    make(QUIRE_PARTITION_FIRST_COME);
    assert_int_equal(quire_partition_release(partitions, 0, &job), -EINVAL);
    assert_int_equal(quire_partition_release(partitions, 4, &job), -EINVAL);
    assert_int_equal(quire_partition_cancel(partitions, 1), -EINVAL);
    assert_int_equal(submit(1, 300), 3);
    assert_int_equal(submit(2, 300), -EAGAIN);
    assert_int_equal(submit(3, 300), -EAGAIN);
    assert_int_equal(quire_partition_cancel(partitions, 2), 0);
    assert_int_equal(quire_partition_cancel(partitions, 2), -EINVAL);
    assert_int_equal(release(3), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_come),
        cmocka_unit_test(best_available),
        cmocka_unit_test(a_queue_for_each_length),
        cmocka_unit_test(waste_is_told),
        cmocka_unit_test(equal_partitions),
        cmocka_unit_test(what_is_wrong_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
