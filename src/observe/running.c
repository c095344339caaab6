/* SPDX-License-Identifier: Apache-2.0 */
/* running: see running.h. */
#include "observe/running.h"

#include "base/log.h"
#include "base/process.h"
#include "base/sys.h"
#include "observe/procfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_NAME "/memfd:quire-control"
#define KEEPER_NAME "quire-keeper"

/* "START-END PERM OFFSET DEV INODE NAME" of the block: its inode, else 0. */
static uint64_t inode_of_block(const char *line)
{
    unsigned long long inode;
    const char *name = strchr(line, '/');

    if (name == NULL || strncmp(name, BLOCK_NAME, strlen(BLOCK_NAME)) != 0)
        return 0;
    return sscanf(line, "%*x-%*x %*4s %*x %*x:%*x %llu", &inode) == 1 ? inode : 0;
}

/* Of the control block that the process has mapped. 0 or a negative errno; *inode 0: of none. */
static int find_inode(int pid, uint64_t *inode)
{
    struct procfs_reader reader;
    char path[64];

    *inode = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    int error = procfs_open(&reader, path);
    if (error < 0)
        return error == -ENOENT ? -ESRCH : error;
    for (const char *line; *inode == 0 && (line = procfs_line(&reader)) != NULL;)
        *inode = inode_of_block(line);
    procfs_close(&reader);
    return 0;
}

static bool is_keeper(const char *pid)
{
    char path[64], name[32];

    snprintf(path, sizeof path, "/proc/%.16s/comm", pid);
    return procfs_read_line(path, name, sizeof name) == 0 && strcmp(name, KEEPER_NAME) == 0;
}

/* Maps the block if this keeper has it. 0, -ENOENT: it has not, or a negative errno. */
static int attach_through(const char *keeper, uint64_t inode, struct control **control)
{
    char path[64], entry[96];
    struct stat info;
    int result = -ENOENT;

    snprintf(path, sizeof path, "/proc/%.16s/fd", keeper);
    DIR *directory = opendir(path);
    if (directory == NULL)
        return -errno;
    for (struct dirent *file; result == -ENOENT && (file = readdir(directory)) != NULL;) {
        snprintf(entry, sizeof entry, "%s/%.16s", path, file->d_name);
        char target[64];
        ssize_t n = readlink(entry, target, sizeof target - 1);
        if (n <= 0)
            continue;
        target[n] = '\0';
        if (strncmp(target, BLOCK_NAME, strlen(BLOCK_NAME)) == 0 && stat(entry, &info) == 0 &&
            info.st_ino == inode)
            result = control_attach(entry, control);
    }
    closedir(directory);
    return result;
}

static int attach(uint64_t inode, struct control **control, uint32_t *keeper)
{
    int result = -ENXIO;
    DIR *processes = opendir("/proc");

    if (processes == NULL)
        return -errno;
    for (struct dirent *process; result != 0 && (process = readdir(processes)) != NULL;) {
        if (process->d_name[0] < '1' || process->d_name[0] > '9' || !is_keeper(process->d_name))
            continue;
        int error = attach_through(process->d_name, inode, control);
        if (error == 0 || error == -EPROTO)
            result = error;
        *keeper = (uint32_t)strtoul(process->d_name, NULL, 10);
        if (error == -EPROTO)
            break;
    }
    closedir(processes);
    return result;
}

int running_find(int pid, struct control **control, uint32_t *keeper)
{
    uint64_t inode;
    int error = find_inode(pid, &inode);

    if (error < 0)
        return error;
    return inode == 0 ? -ENOENT : attach(inode, control, keeper);
}

int running_launcher(const struct control *control, uint32_t keeper)
{
    uint64_t inode = 0, own = 0;

    if (atomic_load(&control->launcher_ended) != 0)
        return 0;
    int pid = (int)process_parent(keeper);
    if (pid <= 1 || find_inode(pid, &inode) < 0 || find_inode((int)keeper, &own) < 0)
        return 0;
    return inode == own && inode != 0 ? pid : 0;
}

int running_process_memory(uint32_t pid, uint64_t *resident, uint64_t *share)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%u/smaps_rollup", pid);
    int error = procfs_read_field(path, "Rss:", resident);
    return error < 0 ? error : procfs_read_field(path, "Pss:", share);
}
