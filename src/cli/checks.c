/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checks: each function looks at one subject and fills in one struct check.
 *
 * A check tries the thing itself where it can (makes a userfaultfd, moves a page, reserves the
 * addresses, makes a nameless file, sets up a ring) and reads settings only to say how to change
 * them: a setting is a guess, a trial is not.
 */
#include "cli/checks.h"

#include "base/size.h"
#include "base/sys.h"
#include "cli/options.h"
#include "cli/preload.h"
#include "cli/rights.h"
#include "observe/directory.h"
#include "observe/machine.h"
#include "observe/procfs.h"
#include "observe/published.h"
#include "store/seal.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/io_uring.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

/* The managed range, in addresses: what the library asks for, and the least it starts with. */
#define ARENA_MOST_BYTES ((size_t)1 << 40)
#define ARENA_LEAST_BYTES ((size_t)256 << 20)
#define ARENA_ALIGNMENT ((size_t)1 << 30)
#define SMALL_ROOM_BYTES ((uint64_t)1 << 30)
#define DEFAULT_MAX_MAPS 65530u

#define FILL(check, field, ...) snprintf((check)->field, sizeof(check)->field, __VA_ARGS__)

static void check_kernel(struct check *check)
{
    struct utsname kernel;
    unsigned major = 0, minor = 0;

    uname(&kernel);
    sscanf(kernel.release, "%u.%u", &major, &minor);
    FILL(check, found, "Linux %s, %s", kernel.release, kernel.machine);
    if (major > 6 || (major == 6 && minor >= 8))
        return;
    check->status = CHECK_WARN; /* a distribution may have it in an older one: `move` decides */
    FILL(check, means, "Quire was made for Linux 6.8 and later");
}

static void check_userfaultfd(struct check *check)
{
    struct rights rights;

    rights_find(&rights);
    if (!rights.may_serve) {
        check->status = CHECK_NO;
        FILL(check, found, "%s", rights.problem);
        FILL(check, means, "`quire run' refuses to start");
        FILL(check, fix, "%s", rights.fix);
        return;
    }
    FILL(check, found, "open, by %s",
         rights.way == UFFD_BY_DEVICE ? "/dev/userfaultfd"
         : rights.by_sysctl           ? "vm.unprivileged_userfaultfd=1"
         : getuid() == 0              ? "being root"
                                      : "CAP_SYS_PTRACE");
    if (rights.way == UFFD_BY_SYSCALL && !rights.by_sysctl)
        FILL(check, means,
             "a program that gives up its privileges can't be paged after its next "
             "fork or exec");
}

static void check_move(struct check *check)
{
    struct rights rights;

    rights_find(&rights);
    if (!rights.has_move) {
        check->status = CHECK_NO;
        FILL(check, found, "the kernel does not offer it");
        FILL(check, means, "`quire run' refuses to start: it evicts pages by UFFDIO_MOVE");
        FILL(check, fix, "%s", rights.may_serve ? rights.fix : "");
        return;
    }
    int error = rights.may_serve ? rights_try_move() : 0;
    if (error == 0) {
        FILL(check, found, rights.may_serve ? "works (tried)" : "offered by the kernel");
        return;
    }
    check->status = CHECK_NO;
    FILL(check, found, "offered, but it failed: %s", strerror(-error));
    FILL(check, means, "`quire run' could not evict a page");
}

static void check_library(struct check *check)
{
    char path[PATH_MAX], problem[300];

    if (preload_find(PRELOAD_PAGED, path, problem, sizeof problem) == 0) {
        FILL(check, found, "%.290s", path);
        return;
    }
    check->status = CHECK_NO;
    FILL(check, found, "%.*s", (int)strcspn(problem, "\n"), problem);
    FILL(check, means, "`quire run' refuses to start");
    const char *fix = strchr(problem, '\n');
    FILL(check, fix, "%s", fix != NULL ? fix + 1 : "");
}

static void check_memory(struct check *check)
{
    struct machine_memory memory;
    char physical[32], available[32];

    if (machine_memory("", &memory) < 0) {
        check->status = CHECK_WARN;
        FILL(check, found, "/proc/meminfo can't be read");
        FILL(check, means, "--ram needs a size: a percentage has nothing to refer to");
        return;
    }
    FILL(check, found, "%s, %s of it available",
         size_format(memory.physical_bytes, physical, sizeof physical),
         size_format(memory.available_bytes, available, sizeof available));
}

static void check_cgroup(struct check *check)
{
    struct machine_cgroup cgroup;
    char limit[32], half[32];

    if (machine_cgroup("", &cgroup) < 0 || cgroup.version == 0) {
        FILL(check, found, "no memory cgroup is visible");
        return;
    }
    if (cgroup.limit_bytes == MACHINE_UNLIMITED) {
        FILL(check, found, "version %u, no limit", cgroup.version);
        return;
    }
    FILL(check, found, "version %u, limit %s (%.200s)", cgroup.version,
         size_format(cgroup.limit_bytes, limit, sizeof limit), cgroup.path);
    FILL(check, means,
         "percentages refer to the smaller of this and the machine's memory: --ram "
         "50%% is %s",
         size_format(machine_whole_bytes("") / 2, half, sizeof half));
}

/* The largest range that can be reserved the way the library does it, halving from its wish. */
static size_t find_reservable(void)
{
    for (size_t n_bytes = ARENA_MOST_BYTES; n_bytes >= ARENA_LEAST_BYTES; n_bytes /= 2) {
        void *range = sys_mmap(NULL, n_bytes + ARENA_ALIGNMENT, PROT_NONE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (!sys_is_error(range)) {
            sys_munmap(range, n_bytes + ARENA_ALIGNMENT);
            return n_bytes;
        }
    }
    return 0;
}

static void check_addresses(struct check *check)
{
    size_t n_bytes = find_reservable();
    uint64_t overcommit = 0;
    char text[32];

    procfs_read_u64("/proc/sys/vm/overcommit_memory", &overcommit);
    if (n_bytes == 0)
        FILL(check, found, "none can be reserved");
    else
        FILL(check, found, "%s can be reserved; vm.overcommit_memory=%" PRIu64,
             size_format(n_bytes, text, sizeof text), overcommit);
    if (n_bytes < ARENA_MOST_BYTES) {
        check->status = n_bytes == 0 ? CHECK_NO : CHECK_WARN;
        FILL(check, means,
             n_bytes == 0 ? "`quire run' needs addresses for all a program may use"
                          : "a process can't use more memory than half of that");
        FILL(check, fix, "ulimit -v unlimited");
    } else if (overcommit == 2) {
        check->status = CHECK_WARN;
        FILL(check, means,
             "the kernel counts what is mapped, not what is used: allocations fail "
             "at its limit, however much would fit in the budget");
        FILL(check, fix, "sudo sysctl vm.overcommit_memory=0");
    }
}

static void check_maps(struct check *check)
{
    uint64_t max_maps = 0;

    if (procfs_read_u64("/proc/sys/vm/max_map_count", &max_maps) < 0) {
        FILL(check, found, "vm.max_map_count can't be read");
        return;
    }
    FILL(check, found, "vm.max_map_count=%" PRIu64, max_maps);
    if (max_maps >= DEFAULT_MAX_MAPS)
        return;
    check->status = CHECK_WARN;
    FILL(check, means, "a program with many small mappings may run out of them");
    FILL(check, fix, "sudo sysctl vm.max_map_count=%u", DEFAULT_MAX_MAPS);
}

static void check_locked_memory(struct check *check)
{
    struct rlimit limit;
    char text[32] = "no limit";

    getrlimit(RLIMIT_MEMLOCK, &limit);
    if (limit.rlim_cur != RLIM_INFINITY)
        size_format(limit.rlim_cur, text, sizeof text);
    FILL(check, found, "%s", text);
    if (limit.rlim_cur != RLIM_INFINITY)
        FILL(check, means,
             "for programs that call mlock: what they lock stays in the budget; Quire "
             "itself locks one page, outside of them");
}

/* Whether a line of /proc/swaps names a device like this. */
static bool has_swap_device(const char *name)
{
    struct procfs_reader reader;
    bool found = false;

    if (procfs_open(&reader, "/proc/swaps") < 0)
        return false;
    for (const char *line; !found && (line = procfs_line(&reader)) != NULL;)
        found = line[0] == '/' && strstr(line, name) != NULL;
    procfs_close(&reader);
    return found;
}

static void check_kernel_swap(struct check *check)
{
    struct machine_memory memory = {0};
    char zswap[8] = "", total[32], free_text[32];

    machine_memory("", &memory);
    procfs_read_line("/sys/module/zswap/parameters/enabled", zswap, sizeof zswap);
    if (memory.swap_total_bytes == 0) {
        FILL(check, found, "none");
        return;
    }
    FILL(check, found, "%s, %s free%s%s", size_format(memory.swap_total_bytes, total, sizeof total),
         size_format(memory.swap_free_bytes, free_text, sizeof free_text),
         has_swap_device("zram") ? ", on zram" : "", zswap[0] == 'Y' ? ", behind zswap" : "");
    FILL(check, means, "the kernel may swap too; a budget below the free RAM keeps it from that");
}

static void check_swap_directory(struct check *check)
{
    const char *directory = run_options_default_swap();
    struct directory_facts facts;
    char room[32];

    if (strcmp(directory, "none") == 0) {
        FILL(check, found, "none (QUIRE_SWAP_DIR)");
        FILL(check, means, "what does not fit in the budget compressed fails to be allocated");
        return;
    }
    int error = directory_inspect(directory, &facts);
    if (error < 0) {
        check->status = CHECK_NO;
        FILL(check, found, "%.200s: %s", directory, strerror(-error));
    } else {
        FILL(check, found, "%.200s%s%s, room for %s", directory,
             facts.file_system[0] != '\0' ? " on " : "", facts.file_system,
             size_format(facts.free_bytes, room, sizeof room));
    }
    if (error == 0 && facts.in_memory) {
        check->status = CHECK_NO;
        FILL(check, means, "files there stay in RAM, so `quire run' refuses to swap to it");
    } else if (error < 0 || facts.free_bytes < (uint64_t)32 << 20) {
        check->status = CHECK_NO;
        FILL(check, means, "`quire run' needs another directory, or --swap none");
    } else if (facts.free_bytes < SMALL_ROOM_BYTES) {
        check->status = CHECK_WARN;
        FILL(check, means, "little room for what does not fit in the budget");
    } else if (facts.on_network) {
        check->status = CHECK_WARN;
        FILL(check, means, "pages come back over the network: slow, and lost with the connection");
    }
    if (check->status != CHECK_OK)
        FILL(check, fix, "export QUIRE_SWAP_DIR=DIR\nor: quire run --swap DIR|none ...");
}

/* Makes one, as the launcher does, and throws it away. */
static void check_swap_key(struct check *check)
{
    struct seal *seal;
    int fd = seal_prepare();

    if (fd == 0)
        fd = seal_create(seal_best_cipher(), &seal);
    if (fd >= 0) {
        close(fd);
        seal_destroy(seal);
        FILL(check, found, "%s; a page for the key can be locked (tried)",
             seal_cipher_name(seal_best_cipher()));
        return;
    }
    check->status = CHECK_NO;
    FILL(check, found, "can't be made: %s",
         fd == -EPERM ? "no memory may be locked" : strerror(-fd));
    FILL(check, means, "`quire run' refuses to write to a file what it can't seal");
    FILL(check, fix, "%squire run --swap none ...", fd == -EPERM ? "ulimit -l 64\nor: " : "");
}

static void check_io_uring(struct check *check)
{
    struct io_uring_params parameters = {0};
    uint64_t disabled = 0;
    long ring = syscall(SYS_io_uring_setup, 2, &parameters);

    if (ring >= 0) {
        close((int)ring);
        FILL(check, found, "works (tried)");
        return;
    }
    FILL(check, found, "not available: %s", strerror(errno));
    FILL(check, means, "programs that want it have to do without; Quire itself does not use it");
    if (procfs_read_u64("/proc/sys/kernel/io_uring_disabled", &disabled) == 0 && disabled > 0)
        FILL(check, fix, "sudo sysctl kernel.io_uring_disabled=0");
}

static void check_publishing(struct check *check)
{
    char path[512], problem[640];

    if (publication_directory(path, problem)) {
        FILL(check, found, "runs show their figures in %.200s", path);
        return;
    }
    check->status = CHECK_WARN;
    FILL(check, found, "not possible: %.250s", problem);
    FILL(check, means, "runs work, but `quire top', `ps' and `zones' don't show them");
    FILL(check, fix, "export XDG_RUNTIME_DIR=DIR   (a directory of this user's, mode 0700)");
}

static void check_seccomp(struct check *check)
{
    uint64_t mode = 0;

    if (procfs_read_field("/proc/self/status", "Seccomp:", &mode) < 0 || mode == 0) {
        FILL(check, found, "no filter");
        return;
    }
    FILL(check, found, "a filter is active, as in a container");
    FILL(check, means, "what it forbids shows in the checks above");
}

static const struct {
    const char *name;
    void (*run)(struct check *check);
} all[] = {
    {"kernel", check_kernel},
    {"userfaultfd", check_userfaultfd},
    {"move", check_move},
    {"library", check_library},
    {"memory", check_memory},
    {"cgroup", check_cgroup},
    {"addresses", check_addresses},
    {"mappings", check_maps},
    {"locked memory", check_locked_memory},
    {"kernel swap", check_kernel_swap},
    {"swap directory", check_swap_directory},
    {"swap key", check_swap_key},
    {"io_uring", check_io_uring},
    {"publishing", check_publishing},
    {"seccomp", check_seccomp},
};
#define N_ALL (sizeof all / sizeof all[0])
_Static_assert(N_ALL <= CHECKS_MAX, "raise CHECKS_MAX");

size_t checks_run(struct check checks[CHECKS_MAX])
{
    for (size_t i = 0; i < N_ALL; i++) {
        checks[i] = (struct check){.name = all[i].name, .status = CHECK_OK};
        all[i].run(&checks[i]);
    }
    return N_ALL;
}
