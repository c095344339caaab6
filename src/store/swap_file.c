/* SPDX-License-Identifier: Apache-2.0 */
/*
 * swap_file: making and opening the swap file.
 *
 * The file has no name (O_TMPFILE), so it is gone when the last process of the run is, however
 * that ends; where the file system knows no such files it is created and unlinked at once. It is
 * opened with O_DIRECT where that works, since the page cache would be a second copy in RAM
 * of what was put out to save RAM. A first block is written and read back to find out: some file
 * systems take the flag and refuse the I/O.
 *
 * Opening runs in the launcher only, so unlike the rest of the store it may use libc and errno.
 */
#include "base/checked.h"
#include "base/log.h"
#include "base/meta.h"
#include "store/swap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#define FILE_MODE 0600
#define ENOUGH_ROOM_BYTES ((uint64_t)64 << 20) /* less than this on the disk is a full disk */
#define NAME_TRIES 16

/* For file systems without O_TMPFILE. */
static int create_unlinked(const char *directory)
{
    int dir = sys_openat(AT_FDCWD, directory, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (dir < 0)
        return dir;
    int fd = -EEXIST;
    for (unsigned i = 0; i < NAME_TRIES && fd == -EEXIST; i++) {
        char name[64];
        log_format(name, sizeof(name), ".quire-swap-%d-%lx", sys_getpid(),
                   (unsigned long)sys_now_ns());
        fd = sys_openat(dir, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, FILE_MODE);
        if (fd >= 0) {
            if (unlinkat(dir, name, 0) != 0) {
                const int error = -errno;
                sys_close(fd);
                fd = error;
            }
        }
    }
    sys_close(dir);
    return fd;
}

static int create(const char *directory)
{
    int fd = sys_openat(AT_FDCWD, directory, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, FILE_MODE);
    if (fd == -EOPNOTSUPP || fd == -EISDIR || fd == -EINVAL)
        fd = create_unlinked(directory);
    return fd;
}

static int check_room(int fd, uint64_t max_bytes)
{
    struct statfs fs;
    if (fstatfs(fd, &fs) != 0)
        return -errno;
    if (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC)
        return -EOPNOTSUPP;
    const uint64_t needed = max_bytes < ENOUGH_ROOM_BYTES ? max_bytes : ENOUGH_ROOM_BYTES;
    return (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize < needed ? -ENOSPC : 0;
}

/* Writes a page to the start of the file and reads it back. */
static int try_io(int fd)
{
    unsigned char *page = meta_map(SYS_PAGE_SIZE);
    if (page == NULL)
        return -ENOMEM;
    memset(page, 0x5a, SYS_PAGE_SIZE);
    ssize_t n = sys_pwrite(fd, page, SYS_PAGE_SIZE, 0);
    if (n == (ssize_t)SYS_PAGE_SIZE)
        n = sys_pread(fd, page, SYS_PAGE_SIZE, 0);
    meta_unmap(page, SYS_PAGE_SIZE);
    if (n < 0)
        return (int)n;
    return n == (ssize_t)SYS_PAGE_SIZE ? 0 : -EIO;
}

int swap_open(const char *directory, uint64_t max_bytes, int *fd)
{
    const int file = create(directory);
    if (file < 0)
        return file;
    int error = check_room(file, max_bytes);
    if (error == 0) {
        const int flags = sys_fcntl(file, F_GETFL, 0);
        error = flags < 0 ? flags : sys_fcntl(file, F_SETFL, flags | O_DIRECT);
        if (error >= 0)
            error = try_io(file);
        if (error == -EINVAL && flags >= 0) { /* no O_DIRECT here: buffered, then */
            error = sys_fcntl(file, F_SETFL, flags & ~O_DIRECT);
            if (error >= 0)
                error = try_io(file);
        }
    }
    if (error < 0) {
        sys_close(file);
        return error;
    }
    *fd = file;
    return 0;
}

const char *swap_open_reason(int error)
{
    switch (error) {
    case -ENOENT:
        return "the directory does not exist";
    case -ENOTDIR:
        return "it is not a directory";
    case -EACCES:
    case -EPERM:
        return "the directory is not writable for you";
    case -EROFS:
        return "its file system is mounted read-only";
    case -EOPNOTSUPP:
        return "its file system lies in RAM; choose a directory on a disk";
    case -ENOSPC:
    case -EDQUOT:
        return "its file system is full, or your quota is used up";
    case -EMFILE:
    case -ENFILE:
        return "too many files are open";
    case -EIO:
        return "the disk failed on a first block";
    default:
        return "the file could not be opened";
    }
}

int swap_reopen(const char *path, int flags)
{
    flags |= O_RDWR | O_CLOEXEC;
    const int fd = sys_openat(AT_FDCWD, path, flags | O_DIRECT, 0);
    return fd == -EINVAL ? sys_openat(AT_FDCWD, path, flags, 0) : fd;
}
