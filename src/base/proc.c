/* SPDX-License-Identifier: Apache-2.0 */
/* proc: see proc.h. */
#include "base/proc.h"

#include "base/sys.h"

#include <fcntl.h>
#include <string.h>

bool proc_read(const char *path, char *text, size_t size)
{
    int fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    ssize_t n = sys_read(fd, text, size - 1);
    sys_close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    return true;
}

uint64_t proc_number(const char *at)
{
    uint64_t value = 0;
    for (; *at >= '0' && *at <= '9'; at++)
        value = value * 10 + (uint64_t)(*at - '0');
    return value;
}

const char *proc_stat_field(const char *text, int field)
{
    const char *at = strrchr(text, ')');
    for (int here = 2; at && here < field; here++)
        at = strchr(at + 1, ' ');
    return at ? at + 1 : NULL;
}
