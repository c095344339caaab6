/* SPDX-License-Identifier: Apache-2.0 */
/*
 * out_file: writes beside the file and renames, where there is a file to replace.
 *
 *   nothing, a regular file     DIR/.NAME.XXXXXX --rename--> DIR/NAME    all or nothing
 *   a pipe, a device            open and write
 *   this process's fd 1 or 2    write there: /dev/stdout may be a regular file that the
 *                               program's output is in, and must not be replaced
 *
 * A symbolic link is followed first, so that it stays a link.
 */
#include "cli/out_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The standard descriptor that the path is open as, or -1. */
static int own_descriptor(const struct stat *target)
{
    struct stat own;

    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
        if (fstat(fd, &own) == 0 && own.st_dev == target->st_dev && own.st_ino == target->st_ino)
            return fd;
    return -1;
}

struct target {
    int fd; /* write here, or -1: replace `path` */
    bool close_fd;
    char path[PATH_MAX]; /* behind symbolic links */
};

static int find_target(const char *path, struct target *target)
{
    struct stat info;

    target->fd = -1;
    target->close_fd = false;
    if (stat(path, &info) != 0) {
        if (errno != ENOENT)
            return -errno;
        if (strlen(path) >= sizeof target->path)
            return -ENAMETOOLONG;
        memcpy(target->path, path, strlen(path) + 1);
        return 0;
    }
    if (S_ISDIR(info.st_mode))
        return -EISDIR;
    target->fd = own_descriptor(&info);
    if (target->fd >= 0)
        return 0;
    if (S_ISREG(info.st_mode)) {
        /* it will be replaced, but a file that bars writing is not ours to replace */
        return access(path, W_OK) == 0 && realpath(path, target->path) != NULL ? 0 : -errno;
    }
    target->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    target->close_fd = true;
    return target->fd >= 0 ? 0 : -errno;
}

/* Makes a new file beside `path`; its name goes to `name`. */
static int open_beside(const char *path, char *name)
{
    const char *slash = strrchr(path, '/');
    int n_directory = slash != NULL ? (int)(slash - path) + 1 : 0;
    int n = snprintf(name, PATH_MAX, "%.*s.%.200s.XXXXXX", n_directory, path, path + n_directory);

    if (n < 0 || n >= PATH_MAX)
        return -ENAMETOOLONG;
    int fd = mkostemp(name, O_CLOEXEC);
    return fd >= 0 ? fd : -errno;
}

int out_file_check(const char *path)
{
    struct stat info;
    struct target target;
    char name[PATH_MAX];

    /* a pipe is not opened before it is needed: that would wait for its reader, and end for it */
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))
        return own_descriptor(&info) >= 0 || access(path, W_OK) == 0 ? 0 : -errno;
    int error = find_target(path, &target);
    if (error < 0 || target.fd >= 0)
        return error;
    int fd = open_beside(target.path, name);
    if (fd < 0)
        return fd;
    unlink(name);
    close(fd);
    return 0;
}

static int write_all(int fd, const char *text, size_t n_bytes)
{
    while (n_bytes > 0) {
        ssize_t n = write(fd, text, n_bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        text += n;
        n_bytes -= (size_t)n;
    }
    return 0;
}

static int replace(const char *path, const char *text, size_t n_bytes)
{
    char name[PATH_MAX];
    struct stat old;
    int fd = open_beside(path, name);

    if (fd < 0)
        return fd;
    mode_t mask = umask(0);
    umask(mask);
    int error = write_all(fd, text, n_bytes);
    if (error == 0 && fchmod(fd, stat(path, &old) == 0 ? old.st_mode & 07777 : 0666 & ~mask) != 0)
        error = -errno;
    if (close(fd) != 0 && error == 0)
        error = -errno;
    if (error == 0 && rename(name, path) != 0)
        error = -errno;
    if (error != 0)
        unlink(name);
    return error;
}

int out_file_write(const char *text, size_t n_bytes, const char *path)
{
    struct target target;
    int error = find_target(path, &target);

    if (error != 0)
        return error;
    if (target.fd < 0)
        error = replace(target.path, text, n_bytes);
    else
        error = write_all(target.fd, text, n_bytes);
    if (target.fd >= 0 && target.close_fd)
        close(target.fd);
    return error;
}
