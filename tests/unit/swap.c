/* SPDX-License-Identifier: Apache-2.0 */
/* swap: claiming, sharing and releasing clusters; opening the file. */
#include "store/swap.h"
#include "store_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h> /* wants the ones above */

#define FILE_BYTES ((uint64_t)256 * SWAP_CLUSTER_BYTES)
#define ME 7
#define OTHER 500

static struct swap_space *space;

static int set_up(void **state)
{
    space = new_space(FILE_BYTES);
    return 0;
}

static int tear_down(void **state)
{
    const int error = swap_validate(space);
    munmap(space, swap_space_bytes(FILE_BYTES));
    return error;
}

static uint32_t claim(unsigned owner, unsigned n)
{
    uint32_t cluster = SWAP_NONE;
    assert_int_equal(swap_claim(space, owner, n, &cluster), n);
    return cluster;
}

static void low_clusters_come_first(void **state)
{
    assert_int_equal(claim(ME, 1), 0);
    assert_int_equal(claim(OTHER, 4), 1);
    assert_int_equal(claim(ME, 1), 5);
    swap_release(space, OTHER, 2);
    assert_int_equal(claim(ME, 1), 2);
    assert_int_equal(claim(ME, 1), 6);
    assert_int_equal(swap_used_bytes(space), 7 * SWAP_CLUSTER_BYTES);
}

static void a_claim_is_one_run(void **state)
{
    claim(ME, 6);
    swap_release(space, ME, 1);
    swap_release(space, ME, 2);
    uint32_t cluster;
    assert_int_equal(swap_claim(space, OTHER, 4, &cluster), 2);
    assert_int_equal(cluster, 1);
}

static void a_full_file_is_full(void **state)
{
    uint32_t cluster;
    for (unsigned i = 0; i < 256; i++)
        assert_int_equal(claim(i, 1), i);
    assert_int_equal(swap_claim(space, ME, 1, &cluster), -ENOSPC);
    assert_int_equal(swap_used_bytes(space), FILE_BYTES);
    swap_release(space, 100, 100);
    assert_int_equal(claim(ME, 1), 100);
}

static void a_release_is_counted_once(void **state)
{
    const uint32_t cluster = claim(ME, 1);
    swap_release(space, OTHER, cluster);
    assert_true(swap_uses(space, ME, cluster));
    swap_release(space, ME, cluster);
    swap_release(space, ME, cluster);
    assert_int_equal(swap_used_bytes(space), 0);
}

static void what_is_shared_stays_until_both_let_go(void **state)
{
    claim(ME, 3);
    swap_share(space, ME, OTHER);
    for (uint32_t c = 0; c < 3; c++)
        assert_true(swap_is_shared(space, c) && swap_uses(space, OTHER, c));
    swap_release(space, ME, 1);
    assert_false(swap_is_shared(space, 1));
    assert_int_equal(claim(ME, 1), 3);
    swap_release(space, OTHER, 1);
    assert_int_equal(claim(ME, 1), 1);
}

static void a_gone_owner_leaves_nothing(void **state)
{
    claim(ME, 10);
    claim(OTHER, 10);
    swap_share(space, ME, 3);
    swap_release_owner(space, ME);
    assert_int_equal(swap_next_used(space, ME, 0), SWAP_NONE);
    assert_int_equal(swap_used_bytes(space), 20 * SWAP_CLUSTER_BYTES);
    swap_release_owner(space, 3);
    assert_int_equal(swap_used_bytes(space), 10 * SWAP_CLUSTER_BYTES);
    assert_int_equal(swap_next_used(space, OTHER, 0), 10);
    assert_int_equal(swap_next_used(space, OTHER, 11), 11);
    assert_int_equal(claim(ME, 1), 0);
}

static void all_owners_can_share(void **state)
{
    claim(0, 2);
    for (unsigned owner = 1; owner < SWAP_OWNERS; owner++)
        swap_share(space, owner - 1, owner);
    assert_int_equal(swap_validate(space), 0);
    for (unsigned owner = 0; owner < SWAP_OWNERS; owner++)
        swap_release_owner(space, owner);
    assert_int_equal(swap_used_bytes(space), 0);
}

static void two_mappings_are_one_space(void **state)
{
    const size_t n_bytes = swap_space_bytes(FILE_BYTES);
    const int fd = memfd_create("space", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, (off_t)n_bytes), 0);
    struct swap_space *a = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    struct swap_space *b = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    swap_space_init(a, FILE_BYTES);
    uint32_t cluster;
    assert_int_equal(swap_claim(a, ME, 1, &cluster), 1);
    assert_int_equal(swap_claim(b, OTHER, 1, &cluster), 1);
    assert_int_equal(cluster, 1);
    swap_release(b, ME, 0);
    assert_int_equal(swap_used_bytes(a), SWAP_CLUSTER_BYTES);
    for (uint64_t use = 1; use < 10; use++) /* K1: counted for all processes together */
        assert_int_equal(swap_new_use(use % 2 == 0 ? a : b), use);
    munmap(a, n_bytes);
    munmap(b, n_bytes);
}

static void sizes_have_limits(void **state)
{
    assert_true(swap_space_bytes(0) > 0);
    assert_true(swap_space_bytes((uint64_t)32 << 40) > 0);
    assert_int_equal(swap_space_bytes((uint64_t)33 << 40), 0);
}

static void the_file_has_no_name(void **state)
{
    const int fd = new_swap_file(FILE_BYTES);
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    assert_int_equal(status.st_nlink, 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    close(fd);
}

static void the_file_can_be_opened_again(void **state)
{
    const int fd = new_swap_file(FILE_BYTES);
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), fd);
    const int again = swap_reopen(path, 0);
    assert_true(again >= 0);
    static _Alignas(4096) unsigned char block[4096];
    memset(block, 0x77, SYS_PAGE_SIZE);
    assert_int_equal(pwrite(fd, block, SYS_PAGE_SIZE, 8192), SYS_PAGE_SIZE);
    memset(block, 0, SYS_PAGE_SIZE);
    assert_int_equal(pread(again, block, SYS_PAGE_SIZE, 8192), SYS_PAGE_SIZE);
    assert_int_equal(block[4095], 0x77);
    close(fd);
    close(again);
    assert_int_equal(swap_reopen("/proc/self/fd/no", 0), -ENOENT);
}

static void a_bad_directory_is_told(void **state)
{
    int fd = -1;
    assert_int_equal(swap_open("/nonexistent/directory", FILE_BYTES, &fd), -ENOENT);
    assert_int_equal(swap_open("/dev/null", FILE_BYTES, &fd), -ENOTDIR);
    assert_int_equal(swap_open("/proc", FILE_BYTES, &fd) < 0, 1);
    if (access("/dev/shm", W_OK) == 0)
        assert_int_equal(swap_open("/dev/shm", FILE_BYTES, &fd), -EOPNOTSUPP);
    assert_int_equal(fd, -1);
    assert_string_equal(swap_open_reason(-ENOTDIR), "it is not a directory");
}

static void idle_clusters_go_back_to_the_disk(void **state)
{
    const int fd = new_swap_file(FILE_BYTES);
    static _Alignas(4096) unsigned char data[SWAP_CLUSTER_BYTES];
    memset(data, 0x33, SWAP_CLUSTER_BYTES);
    claim(ME, 256);
    for (unsigned c = 0; c < 256; c++)
        assert_int_equal(pwrite(fd, data, SWAP_CLUSTER_BYTES, (off_t)(c * SWAP_CLUSTER_BYTES)),
                         SWAP_CLUSTER_BYTES);
    struct stat before, after;
    fstat(fd, &before);
    assert_int_equal(swap_punch(space, OTHER, fd, 1000), 0); /* all are in use */
    for (unsigned c = 1; c < 256; c++)
        swap_release(space, ME, c);
    const size_t n = swap_punch(space, OTHER, fd, 1000);
    assert_in_range(n, 128, 255);
    fstat(fd, &after);
    assert_true((uint64_t)after.st_blocks * 512 <=
                (uint64_t)before.st_blocks * 512 - n * SWAP_CLUSTER_BYTES);
    assert_int_equal(swap_used_bytes(space), SWAP_CLUSTER_BYTES);
    assert_int_equal(swap_punch(space, OTHER, fd, 1000), 0);
    assert_int_equal(pread(fd, data, SWAP_CLUSTER_BYTES, 0), SWAP_CLUSTER_BYTES);
    assert_int_equal(data[5000], 0x33);
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(low_clusters_come_first),
        TEST(a_claim_is_one_run),
        TEST(a_full_file_is_full),
        TEST(a_release_is_counted_once),
        TEST(what_is_shared_stays_until_both_let_go),
        TEST(a_gone_owner_leaves_nothing),
        TEST(all_owners_can_share),
        TEST(two_mappings_are_one_space),
        TEST(sizes_have_limits),
        cmocka_unit_test(the_file_has_no_name),
        cmocka_unit_test(the_file_can_be_opened_again),
        cmocka_unit_test(a_bad_directory_is_told),
        TEST(idle_clusters_go_back_to_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
