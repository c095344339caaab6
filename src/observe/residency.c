/* SPDX-License-Identifier: Apache-2.0 */
/*
 * residency: asks the kernel's page tables by PAGEMAP_SCAN, which skips what is not there.
 *
 *   [ address ... walk_end | ... ] one call: until the ranges or the pages of one call are used up
 *
 * The kernel holds the process's mapping lock, shared, while it walks. So that nobody waits long
 * for it, a call ends after MOST_PAGES pages that are there.
 */
#include "observe/residency.h"

#include "base/log.h"
#include "base/pagemap.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>

#define MOST_RANGES 512
#define MOST_PAGES 16384 /* 64 MiB */

static int scan(int fd, uint64_t address, uint64_t end, residency_visit visit, void *context)
{
    struct page_region ranges[MOST_RANGES];

    while (address < end) {
        struct pm_scan_arg scan = {
            .size = sizeof scan,
            .start = address,
            .end = end,
            .vec = (uint64_t)(uintptr_t)ranges,
            .vec_len = MOST_RANGES,
            .max_pages = MOST_PAGES,
            .category_inverted = PAGE_IS_PFNZERO,
            .category_mask = PAGE_IS_PRESENT | PAGE_IS_PFNZERO,
            .return_mask = PAGE_IS_PRESENT,
        };
        int n = sys_ioctl(fd, PAGEMAP_SCAN, &scan);
        if (n == -EINTR)
            continue;
        if (n < 0)
            return n;
        for (int i = 0; i < n; i++)
            visit(context, ranges[i].start, ranges[i].end - ranges[i].start);
        if (scan.walk_end <= address) /* it would never end */
            return -EIO;
        address = scan.walk_end;
    }
    return 0;
}

int residency_scan(pid_t pid, uint64_t address, uint64_t n_bytes, residency_visit visit,
                   void *context)
{
    char path[32];

    log_format(path, sizeof path, "/proc/%d/pagemap", (int)pid);
    int fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    int error = scan(fd, address, address + n_bytes, visit, context);
    sys_close(fd);
    return error;
}
