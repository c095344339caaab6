/* SPDX-License-Identifier: Apache-2.0 */
/* user_directory: see user_directory.h. */
#include "base/user_directory.h"

#include "base/proc.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const struct user_directory_place user_directory_session = {"/run/user", "", "/quire"};
const struct user_directory_place user_directory_shared = {"/dev/shm", "quire-", ""};

void user_directory_of(const struct user_directory_place *place, uint32_t user,
                       char path[USER_DIRECTORY_BYTES])
{
    snprintf(path, USER_DIRECTORY_BYTES, "%s/%s%u%s", place->parent, place->prefix, (unsigned)user,
             place->suffix);
}

int64_t user_directory_owner(const struct user_directory_place *place, const char *entry)
{
    const size_t n = strlen(place->prefix);

    if (strncmp(entry, place->prefix, n) != 0)
        return -1;
    entry += n;
    if (*entry == '\0' || strlen(entry) > 10 || strspn(entry, "0123456789") != strlen(entry))
        return -1;
    const uint64_t user = proc_number(entry);
    return user < UINT32_MAX ? (int64_t)user : -1;
}

int user_directory_named(char path[USER_DIRECTORY_BYTES])
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");

    path[0] = '\0';
    if (runtime == NULL || runtime[0] != '/')
        return -ENOENT;
    const int n = snprintf(path, USER_DIRECTORY_BYTES, "%s/quire", runtime);
    return n < 0 || n >= USER_DIRECTORY_BYTES ? -ENAMETOOLONG : 0;
}

/* What is made may be gone before it is opened: others remove it when they leave it empty. */
int user_directory_open(const char *path, bool make)
{
    int fd = -ENOENT;

    for (unsigned i = 0; i < (make ? USER_DIRECTORY_TRIES : 1) && fd == -ENOENT; i++) {
        if (make && mkdir(path, 0700) != 0 && errno != EEXIST)
            return -errno;
        fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    }
    return fd == -ELOOP || fd == -ENOTDIR ? -EPERM : fd;
}
