/* SPDX-License-Identifier: Apache-2.0 */
/* detached: see detached.h. */
#include "cli/detached.h"

#include "base/sys.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

static void close_range_of(int from, int to)
{
    if (from > to || sys_close_range((unsigned)from, (unsigned)to, 0) == 0)
        return;
    long most = sysconf(_SC_OPEN_MAX); /* before Linux 5.9 */
    for (int fd = from; fd <= to && fd < most; fd++)
        close(fd);
}

static void close_all_but(const int *kept, int n_kept)
{
    int from = 0;

    for (int n = 0; n < n_kept; n++) { /* in ascending order */
        int lowest = -1;
        for (int i = 0; i < n_kept; i++)
            if (kept[i] >= from && (lowest < 0 || kept[i] < lowest))
                lowest = kept[i];
        if (lowest < 0)
            break;
        close_range_of(from, lowest - 1);
        from = lowest + 1;
    }
    close_range_of(from, 0x7fffffff);
}

int detached_leave(const char *name, const int *kept, int n_kept)
{
    setsid();
    if (chdir("/") != 0)
        return -errno;
    prctl(PR_SET_NAME, name);
    close_all_but(kept, n_kept);
    return 0;
}

void detached_report(int report, int error)
{
    if (sys_write(report, &error, sizeof error) != sizeof error || error < 0)
        _exit(EXIT_FAILURE);
    close(report);
}

int detached_await(int report)
{
    int error;
    ssize_t n;

    do
        n = sys_read(report, &error, sizeof error);
    while (n == -EINTR);
    close(report);
    return n == sizeof error ? error : -ECHILD;
}
