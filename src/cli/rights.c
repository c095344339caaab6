/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rights: which way to userfaultfd is open, and UFFDIO_MOVE by trying it.
 *
 * The pager has to serve faults that happen inside system calls as well (a read() into an evicted
 * buffer), and the kernel gives that right only to CAP_SYS_PTRACE, to everybody by a sysctl, or to
 * who may open /dev/userfaultfd. `quire run` refuses with the words from here, and `quire doctor`
 * shows the same ones, so the two can't contradict each other.
 */
#include "cli/rights.h"

#include "base/sys.h"
#include "observe/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#define CAPABILITY_SYS_PTRACE 19 /* linux/capability.h */

static bool has_sys_ptrace(void)
{
    struct procfs_reader reader;
    unsigned long long effective = 0;

    if (procfs_open(&reader, "/proc/self/status") < 0)
        return false;
    for (const char *line; (line = procfs_line(&reader)) != NULL;)
        if (strncmp(line, "CapEff:", 7) == 0)
            effective = strtoull(line + 7, NULL, 16);
    procfs_close(&reader);
    return effective >> CAPABILITY_SYS_PTRACE & 1;
}

static void explain_closed(struct rights *rights)
{
    const struct passwd *user = getpwuid(geteuid());

    rights->problem = rights->way == UFFD_USER_ONLY
                          ? "this user may serve only its own code's page faults, not those "
                            "inside system calls"
                          : "the kernel refuses userfaultfd altogether, by a seccomp filter (of a "
                            "container?) or because it was built without it";
    if (access("/dev/userfaultfd", F_OK) == 0)
        snprintf(rights->fix, sizeof rights->fix,
                 "sudo setfacl -m u:%s:rw /dev/userfaultfd\n"
                 "or, for every user: sudo sysctl vm.unprivileged_userfaultfd=1",
                 user != NULL ? user->pw_name : "$USER");
    else if (rights->way == UFFD_USER_ONLY)
        snprintf(rights->fix, sizeof rights->fix, "sudo sysctl vm.unprivileged_userfaultfd=1");
    else
        snprintf(
            rights->fix, sizeof rights->fix,
            "in a container: docker run --device /dev/userfaultfd ..., or --cap-add SYS_PTRACE");
}

void rights_find(struct rights *rights)
{
    uint64_t everybody = 0;

    *rights = (struct rights){.way = UFFD_CLOSED};
    procfs_read_u64("/proc/sys/vm/unprivileged_userfaultfd", &everybody);
    rights->by_sysctl = everybody == 1;
    rights->by_capability = has_sys_ptrace();
    rights->has_move = (uffd_features() & UFFD_FEATURE_MOVE) != 0;

    int uffd = uffd_open(0, &rights->way);
    rights->may_serve = uffd >= 0;
    if (uffd >= 0)
        sys_close(uffd);
    if (!rights->may_serve) {
        explain_closed(rights);
    } else if (!rights->has_move) {
        rights->problem = "the kernel can't move pages (UFFDIO_MOVE): it takes Linux 6.8 or later";
        snprintf(rights->fix, sizeof rights->fix,
                 "on Debian 12: sudo apt install -t bookworm-backports linux-image-%s, and reboot",
#if defined(__aarch64__)
                 "arm64"
#else
                 "amd64"
#endif
        );
    }
}

int rights_try_move(void)
{
    enum uffd_way way;
    int uffd = uffd_open(UFFD_FEATURE_MOVE, &way);

    if (uffd < 0)
        return uffd;
    int error;
    char *pages = sys_mmap(NULL, 2 * SYS_PAGE_SIZE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sys_is_error(pages)) {
        error = sys_error(pages);
        goto close_uffd;
    }
    char *from = pages, *to = pages + SYS_PAGE_SIZE;
    memset(from, 0x5a, SYS_PAGE_SIZE);
    error = uffd_register(uffd, to, SYS_PAGE_SIZE, false);
    if (error < 0)
        goto unmap;
    ssize_t moved = uffd_move(uffd, to, from, SYS_PAGE_SIZE);
    if (moved < 0)
        error = (int)moved;
    else if (moved != (ssize_t)SYS_PAGE_SIZE || to[0] != 0x5a || to[SYS_PAGE_SIZE - 1] != 0x5a)
        error = -EIO;
unmap:
    sys_munmap(pages, 2 * SYS_PAGE_SIZE);
close_uffd:
    sys_close(uffd);
    return error;
}
