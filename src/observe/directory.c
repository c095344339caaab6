/* SPDX-License-Identifier: Apache-2.0 */
/*
 * directory: asks the file system for its kind and room, and tries whether a file can be made.
 *
 * The kind is told by the magic number of statfs(2). What is not in the table is taken for an
 * ordinary disk: only what makes a difference to a swap file has to be known, RAM and networks.
 */
#include "observe/directory.h"

#include "base/checked.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { ON_DISK, IN_MEMORY, ON_NETWORK };

static const struct {
    uint32_t magic; /* linux/magic.h and the file systems' own headers */
    const char *name;
    int where;
} kinds[] = {
    {0x01021994, "tmpfs", IN_MEMORY},     {0x858458f6, "ramfs", IN_MEMORY},
    {0x958458f6, "hugetlbfs", IN_MEMORY}, {0x6969, "nfs", ON_NETWORK},
    {0xff534d42, "cifs", ON_NETWORK},     {0xfe534d42, "smb2", ON_NETWORK},
    {0x01021997, "9p", ON_NETWORK},       {0x00c36400, "ceph", ON_NETWORK},
    {0x0bd00bd0, "lustre", ON_NETWORK},   {0x47504653, "gpfs", ON_NETWORK},
    {0x65735546, "fuse", ON_DISK},        {0xef53, "ext4", ON_DISK},
    {0x58465342, "xfs", ON_DISK},         {0x9123683e, "btrfs", ON_DISK},
    {0xf2f52010, "f2fs", ON_DISK},        {0x2fc12fc1, "zfs", ON_DISK},
    {0xca451a4e, "bcachefs", ON_DISK},    {0x794c7630, "overlayfs", ON_DISK},
};

static void name_file_system(uint32_t magic, struct directory_facts *facts)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].magic != magic)
            continue;
        facts->file_system = kinds[i].name;
        facts->in_memory = kinds[i].where == IN_MEMORY;
        facts->on_network = kinds[i].where == ON_NETWORK;
    }
}

int directory_inspect(const char *path, struct directory_facts *facts)
{
    struct statfs file_system;
    struct stat info;

    *facts = (struct directory_facts){.file_system = ""};
    if (stat(path, &info) != 0)
        return -errno;
    if (!S_ISDIR(info.st_mode))
        return -ENOTDIR;
    if (statfs(path, &file_system) != 0)
        return -errno;
    if (!checked_mul((uint64_t)file_system.f_bavail, (uint64_t)file_system.f_bsize,
                     &facts->free_bytes))
        facts->free_bytes = INT64_MAX;
    name_file_system((uint32_t)file_system.f_type, facts);

    int fd = sys_openat(AT_FDCWD, path, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        facts->has_tmpfile = true;
        sys_close(fd);
        return 0;
    }
    /* not every file system has nameless files; a name that is taken away at once does as well */
    if (fd == -EOPNOTSUPP || fd == -EISDIR || fd == -ENOENT)
        return faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) == 0 ? 0 : -errno;
    return fd;
}
