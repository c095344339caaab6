/* SPDX-License-Identifier: Apache-2.0 */
/* Memory and cgroup limits of made-up machines: a directory with /proc and /sys/fs/cgroup in it. */
#include "observe/machine.h"

#include "observe/procfs.h"
#include "root.h"

#include <errno.h>
#include <unistd.h>

#define GIB ((uint64_t)1 << 30)

static struct machine_cgroup cgroup(void)
{
    struct machine_cgroup found;

    assert_int_equal(machine_cgroup(root, &found), 0);
    return found;
}

#define MEMINFO                                                                 \
    "MemTotal:        8388608 kB\nMemFree: 1 kB\nMemAvailable:    4194304 kB\n" \
    "SwapTotal:       1048576 kB\nSwapFree:         524288 kB\n"
#define V2_MOUNT "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
#define V1_MOUNT "35 25 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"

static void physical_memory(void **state)
{
    struct machine_memory memory;

    assert_int_equal(machine_memory(root, &memory), -ENOENT);
    assert_int_equal(machine_whole_bytes(root), 0);
    root_put("proc/meminfo", MEMINFO);
    assert_int_equal(machine_memory(root, &memory), 0);
    assert_int_equal(memory.physical_bytes, 8 * GIB);
    assert_int_equal(memory.available_bytes, 4 * GIB);
    assert_int_equal(memory.swap_total_bytes, GIB);
    assert_int_equal(memory.swap_free_bytes, GIB / 2);
    assert_int_equal(machine_whole_bytes(root), 8 * GIB);
}

static void version_2_on_the_way_up(void **state)
{
    root_put("proc/meminfo", MEMINFO);
    root_put("proc/self/cgroup", "0::/a.slice/job.scope\n");
    root_put("proc/self/mountinfo", "1 1 0:1 / / rw - ext4 /dev/vda rw\n" V2_MOUNT);
    root_put("sys/fs/cgroup/a.slice/job.scope/memory.max", "max\n");
    assert_int_equal(cgroup().limit_bytes, MACHINE_UNLIMITED);
    assert_int_equal(cgroup().version, 2);
    root_put("sys/fs/cgroup/a.slice/memory.max", "2147483648\n");
    assert_int_equal(cgroup().limit_bytes, 2 * GIB);
    assert_non_null(strstr(cgroup().path, "/sys/fs/cgroup/a.slice"));
    root_put("sys/fs/cgroup/a.slice/job.scope/memory.high", "1073741824\n");
    assert_int_equal(cgroup().limit_bytes, GIB);
    assert_int_equal(machine_whole_bytes(root), GIB);
    root_put("sys/fs/cgroup/memory.max", "4096\n"); /* a container's own root has one */
    assert_int_equal(cgroup().limit_bytes, 4096);
}

static void version_1_beside_an_empty_version_2(void **state)
{
    root_put("proc/self/cgroup", "5:cpu,cpuacct:/\n4:memory:/x/y\n0::/\n");
    root_put("proc/self/mountinfo",
             "34 25 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n" V1_MOUNT
             "36 25 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    root_put("sys/fs/cgroup/memory/x/y/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(cgroup().limit_bytes, MACHINE_UNLIMITED);
    assert_int_equal(cgroup().version, 1);
    root_put("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "1073741824\n");
    assert_int_equal(cgroup().limit_bytes, GIB);
    assert_int_equal(cgroup().version, 1);
}

static void a_container_sees_its_part_only(void **state)
{
    /* no cgroup namespace: the path is the host's, the mount shows from /docker/ab on */
    root_put("proc/self/cgroup", "4:memory:/docker/ab/job\n");
    root_put("proc/self/mountinfo",
             "35 25 0:30 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
    root_put("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "2147483648\n");
    assert_int_equal(cgroup().limit_bytes, 2 * GIB);
    root_put("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n");
    assert_int_equal(cgroup().limit_bytes, GIB);
    /* a path outside of what is shown: the mount's own directory counts */
    root_put("proc/self/cgroup", "4:memory:/docker/abc\n");
    assert_int_equal(cgroup().limit_bytes, GIB);
    root_put("proc/self/cgroup", "4:memory:/../other\n");
    assert_int_equal(cgroup().limit_bytes, GIB);
}

static void a_mount_with_blanks_in_its_path(void **state)
{
    root_put("proc/self/cgroup", "0::/\n");
    root_put("proc/self/mountinfo", "30 23 0:26 / /sys/fs/my\\040cgroup rw - cgroup2 none rw\n");
    root_put("sys/fs/my cgroup/memory.max", "1073741824\n");
    assert_int_equal(cgroup().limit_bytes, GIB);
}

static void machines_without_cgroups(void **state)
{
    struct machine_cgroup found;

    assert_int_equal(machine_cgroup(root, &found), -ENOENT);
    root_put("proc/self/cgroup", "");
    assert_int_equal(cgroup().version, 0);
    root_put("proc/self/cgroup", "garbage\n:\n::\n0:\n");
    root_put("proc/self/mountinfo", "1 2\n - cgroup2\n1 2 3 4 5 - cgroup2\n-\n");
    assert_int_equal(cgroup().version, 0);
    assert_int_equal(cgroup().limit_bytes, MACHINE_UNLIMITED);
}

static void lines_longer_than_the_buffer(void **state)
{
    static struct procfs_reader reader;
    static char text[3 * PROCFS_LINE_BYTES];
    char path[PATH_MAX];
    size_t n_bytes = 0;

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 3] = '\n';
    text[sizeof text - 2] = 'y';
    root_put("long", text);
    snprintf(path, sizeof path, "%s/long", root);
    assert_int_equal(procfs_open(&reader, path), 0);
    const char *line, *last = NULL;
    for (; (line = procfs_line(&reader)) != NULL; last = line)
        n_bytes += strlen(line);
    assert_int_equal(n_bytes, sizeof text - 2);
    assert_string_equal(last, "y");
    procfs_close(&reader);
}

static void numbers_out_of_range(void **state)
{
    char path[PATH_MAX];
    uint64_t value;

    snprintf(path, sizeof path, "%s/number", root);
    root_put("number", "18446744073709551615\n");
    assert_int_equal(procfs_read_u64(path, &value), 0);
    assert_true(value == UINT64_MAX);
    root_put("number", "18446744073709551616\n");
    assert_int_equal(procfs_read_u64(path, &value), -EINVAL);
    root_put("number", "max\n");
    assert_int_equal(procfs_read_u64(path, &value), -EINVAL);
    root_put("number", "A: 18446744073709551615 kB\nB: x\n");
    assert_int_equal(procfs_read_field(path, "A:", &value), -EINVAL);
    assert_int_equal(procfs_read_field(path, "B:", &value), -EINVAL);
    assert_int_equal(procfs_read_field(path, "C:", &value), -ENOENT);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, root_set_up, root_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(physical_memory),
        TEST(version_2_on_the_way_up),
        TEST(version_1_beside_an_empty_version_2),
        TEST(a_container_sees_its_part_only),
        TEST(a_mount_with_blanks_in_its_path),
        TEST(machines_without_cgroups),
        TEST(lines_longer_than_the_buffer),
        TEST(numbers_out_of_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
