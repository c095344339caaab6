/* SPDX-License-Identifier: Apache-2.0 */
/*
 * published: the writer's side; see published.h. runs.c has the readers'.
 *
 * Memory order. The keeper stores word by word with release, then the count with release. Who reads
 * a count sees all that it counts; and who has read a word of the update after the next, which goes
 * to the same place, is bound to see that the count has changed.
 */
#include "observe/published.h"

#include "base/process.h"
#include "base/sys.h"
#include "base/user_directory.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static_assert(sizeof(struct quire_observe_run) % 8 == 0, "copied in words");
static_assert(sizeof(struct quire_observe_run_process) % 8 == 0, "copied in words");
static_assert(sizeof(struct quire_observe_run_moment) % 8 == 0, "copied in words");
static_assert(offsetof(struct published, copies) % 8 == 0, "copied in words");

/* The user's own and closed to all others, or -EPERM: somebody else may have made it. */
static int check_directory(int fd)
{
    struct stat info;

    if (fstat(fd, &info) != 0)
        return -errno;
    return info.st_uid == geteuid() && (info.st_mode & 077) == 0 ? 0 : -EPERM;
}

/* Opens it, making its last part if need be: a descriptor or a negative errno. */
static int open_directory(const char *path)
{
    int fd = user_directory_open(path, true);
    int error = fd >= 0 ? check_directory(fd) : fd;
    if (error < 0 && fd >= 0)
        sys_close(fd);
    return error < 0 ? error : fd;
}

static const char *reason(int error)
{
    return error == -EPERM ? "it is not this user's alone (mode 0700)" : strerror(-error);
}

/* The first place that will do: its descriptor and path, or -1 and the problem. */
static int find_directory(char path[USER_DIRECTORY_BYTES], char problem[640])
{
    int fd = -ENOENT;

    if (user_directory_named(path) == 0 &&
        strlen(path) < USER_DIRECTORY_BYTES - 32) /* room for a file's name */
        fd = open_directory(path);
    if (fd >= 0)
        return fd;
    int n = fd != -ENOENT ? snprintf(problem, 640, "%.200s: %s; ", path, reason(fd)) : 0;
    user_directory_of(&user_directory_shared, geteuid(), path);
    fd = open_directory(path);
    if (fd < 0)
        snprintf(problem + n, (size_t)(640 - n), "%s: %s", path, reason(fd));
    else
        problem[0] = '\0';
    return fd < 0 ? -1 : fd;
}

bool publication_directory(char path[USER_DIRECTORY_BYTES], char problem[640])
{
    int fd = find_directory(path, problem);

    if (fd < 0)
        return false;
    sys_close(fd);
    rmdir(path); /* unless there are runs */
    return true;
}

/* A file of all its bytes, which are reserved: a full file system must not end the keeper. */
static int make_file(int directory, struct published **file)
{
    int fd = sys_openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0)
        return fd;
    int error = fchmod(fd, 0600) != 0 ? -errno : -posix_fallocate(fd, 0, sizeof **file);
    if (error == 0) {
        void *at = sys_mmap(NULL, sizeof **file, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        error = sys_is_error(at) ? sys_error(at) : 0;
        *file = at;
    }
    if (error < 0)
        sys_close(fd);
    return error < 0 ? error : fd;
}

/* Whether the run that a file shows is dead: P3. What is no such file is nobody's to remove. */
static bool is_left_behind(int directory, const char *name)
{
    struct published_header header;
    struct stat info;
    int fd = sys_openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0);

    if (fd < 0)
        return false;
    bool is_ours = fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == geteuid() &&
                   sys_pread(fd, &header, sizeof header, 0) == (ssize_t)sizeof header &&
                   memcmp(header.magic, PUBLISHED_MAGIC, sizeof header.magic) == 0 &&
                   header.pid_namespace == process_pid_namespace();
    sys_close(fd);
    return is_ours && header.pid > 0 && header.pid <= INT32_MAX &&
           !process_is_alive((uint32_t)header.pid, header.start_ticks);
}

/* Who starts runs that are killed, and never looks, would fill the place up. */
static void sweep(int directory)
{
    int fd = sys_openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;

    if (list == NULL) {
        if (fd >= 0)
            sys_close(fd);
        return;
    }
    for (const struct dirent *entry; (entry = readdir(list)) != NULL;)
        if (strncmp(entry->d_name, PUBLISHED_PREFIX, strlen(PUBLISHED_PREFIX)) == 0 &&
            is_left_behind(directory, entry->d_name))
            unlinkat(directory, entry->d_name, 0);
    closedir(list);
}

/* A file in the first place that will do, or a negative errno; -ENOENT: that place is gone. */
static int make_in_directory(struct publication *publication)
{
    struct stat info;
    int directory = find_directory(publication->path, publication->problem);

    if (directory < 0)
        return directory;
    sweep(directory);
    int fd = make_file(directory, &publication->file);
    if (fd < 0 && fstat(directory, &info) == 0 && info.st_nlink == 0)
        fd = -ENOENT; /* some file systems call that another error */
    sys_close(directory);
    return fd;
}

bool publication_open(struct publication *publication)
{
    int fd = -ENOENT;

    *publication = (struct publication){.fd = -1};
    /* The directory may go, with the last run that was in it, before the file is made. */
    for (unsigned i = 0; i < USER_DIRECTORY_TRIES && fd == -ENOENT; i++)
        fd = make_in_directory(publication);
    if (fd < 0) {
        publication->file = NULL;
        if (publication->problem[0] == '\0')
            snprintf(publication->problem, sizeof publication->problem, "%s: %s", publication->path,
                     strerror(-fd));
        return false;
    }
    publication->fd = fd;
    return true;
}

static void unmap(struct publication *publication)
{
    sys_munmap(publication->file, sizeof *publication->file);
    publication->file = NULL;
}

/* The directory may have gone with the last run that was in it. 0 or an errno. */
static int link_file(const char *self, char *path, size_t directory_bytes)
{
    for (unsigned i = 0; i < USER_DIRECTORY_TRIES; i++) {
        if (linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0)
            return 0;
        if (errno != ENOENT)
            break;
        path[directory_bytes] = '\0';
        (void)!mkdir(path, 0700);
        path[directory_bytes] = '/';
    }
    return errno;
}

void publication_name(struct publication *publication, int keeper)
{
    struct published *file = publication->file;
    char self[48];
    size_t n = strlen(publication->path);

    if (file == NULL)
        return;
    file->header = (struct published_header){
        .version = PUBLISHED_VERSION,
        .n_bytes = sizeof *file,
        .pid = (uint64_t)keeper,
        .start_ticks = process_start_time((uint32_t)keeper),
        .pid_namespace = process_pid_namespace(),
    };
    memcpy(file->header.magic, PUBLISHED_MAGIC, sizeof file->header.magic);
    snprintf(self, sizeof self, "/proc/self/fd/%d", publication->fd);
    snprintf(publication->path + n, sizeof publication->path - n, "/" PUBLISHED_PREFIX "%d",
             keeper);
    unlink(publication->path); /* of a dead process of this number */
    int error = link_file(self, publication->path, n);
    sys_close(publication->fd);
    publication->fd = -1;
    if (error == 0)
        return;
    snprintf(publication->problem, sizeof publication->problem, "%s: %s", publication->path,
             strerror(error));
    unmap(publication);
}

static void store_words(void *to, const void *from, size_t n_bytes)
{
    _Atomic uint64_t *out = to;
    const uint64_t *in = from;

    for (size_t i = 0; i < n_bytes / 8; i++)
        atomic_store_explicit(&out[i], in[i], memory_order_release); /* the readers' fence */
}

void publication_update(struct publication *publication, struct quire_observe_run *run,
                        const struct quire_observe_run_process *processes)
{
    struct published *file = publication->file;

    if (file == NULL)
        return;
    run->n_updates = atomic_load_explicit(&file->n_updates, memory_order_relaxed) + 1;
    struct published_copy *copy = &file->copies[run->n_updates % 2];
    store_words(&copy->run, run, sizeof *run);
    store_words(copy->processes, processes, run->n_alive * sizeof *processes);
    atomic_store_explicit(&file->n_updates, run->n_updates, memory_order_release);
}

void publication_add_moment(struct publication *publication,
                            const struct quire_observe_run_moment *moment)
{
    struct published *file = publication->file;

    if (file == NULL)
        return;
    uint64_t n = atomic_load_explicit(&file->n_moments, memory_order_relaxed);
    store_words(&file->history[n % PUBLISHED_N_SLOTS], moment, sizeof *moment);
    atomic_store_explicit(&file->n_moments, n + 1, memory_order_release);
}

void publication_remove(struct publication *publication)
{
    struct published_header header = {.start_ticks = 0};

    if (publication->file == NULL)
        return;
    int fd = sys_openat(AT_FDCWD, publication->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd >= 0) {
        (void)!sys_pread(fd, &header, sizeof header, 0);
        sys_close(fd);
    }
    if (fd >= 0 && header.start_ticks == publication->file->header.start_ticks) {
        char *slash = strrchr(publication->path, '/');
        unlink(publication->path);
        *slash = '\0';
        rmdir(publication->path); /* unless there are other runs */
        *slash = '/';
    }
    unmap(publication);
}
