/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runs: the readers of what runs publish; see published.h.
 *
 *   base/user_directory.h, its places below the root ── run-PID, ...
 *     for each: whose is it? does its keeper live? ── copy, until the count stood still
 *
 * Nothing of a file is trusted: it belongs to the user of its directory and so does the process
 * that it names; numbers are only handed on. What is left of a dead run is removed, by its user or
 * root, on this machine only and not from another pid namespace (invariant P3).
 */
#include "base/proc.h"
#include "base/process.h"
#include "base/sys.h"
#include "observe/processes.h"
#include "observe/published.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_DIRECTORIES 256
#define MAX_RUNS 4096
#define TRIES 1000 /* each fails only if the keeper completes an update meanwhile */
#define IN_FILE(member) offsetof(struct published, member)

struct runs_table {
    struct quire_observe_run *list;
    struct quire_observe_run_process *processes;
    size_t list_room, processes_room;
    struct seen {
        uint64_t device, inode;
    } seen[MAX_DIRECTORIES]; /* directories, during one look: they have several names */
    unsigned n_seen;
    bool is_live; /* this machine: what is left behind may be removed */
    uint64_t pid_namespace, clock_hz;
};

void runs_free(struct runs_table *table)
{
    if (table == NULL)
        return;
    free(table->list);
    free(table->processes);
    free(table);
}

static struct runs_table *table_of(struct quire_observe *observe)
{
    struct stat root, own;

    if (observe->runs != NULL)
        return observe->runs;
    observe->runs = calloc(1, sizeof *observe->runs);
    if (observe->runs == NULL)
        return NULL;
    observe->runs->is_live = fstat(observe->root_fd, &root) == 0 && stat("/", &own) == 0 &&
                             root.st_dev == own.st_dev && root.st_ino == own.st_ino;
    observe->runs->pid_namespace = process_pid_namespace();
    observe->runs->clock_hz = (uint64_t)sysconf(_SC_CLK_TCK);
    return observe->runs;
}

/* Whether it lives, and belongs to the user who says so. */
static bool is_running(struct quire_observe *observe, uint64_t pid, uint64_t start_ticks,
                       uid_t user)
{
    char path[48];
    struct stat info;

    if (pid == 0 || pid > INT_MAX)
        return false;
    snprintf(path, sizeof path, "proc/%d", (int)pid);
    if (fstatat(observe->root_fd, path, &info, 0) != 0 || info.st_uid != user)
        return false;
    snprintf(path, sizeof path, "proc/%d/stat", (int)pid);
    if (source_read_raw(observe, observe->root_fd, path) < 0)
        return false;
    const char *state = proc_stat_field(observe->buffer, 3);
    const char *start = proc_stat_field(observe->buffer, 22);
    return state != NULL && start != NULL && *state != 'Z' && *state != 'X' &&
           proc_number(start) == start_ticks;
}

static bool read_at(int fd, void *buffer, size_t n_bytes, size_t at)
{
    return sys_pread(fd, buffer, n_bytes, (off_t)at) == (ssize_t)n_bytes;
}

/* Between reading the count and what it counts. */
static void order_reads(void)
{
#ifndef __SANITIZE_THREAD__ /* which does not know of fences, and not of other processes */
    atomic_thread_fence(memory_order_acquire);
#endif
}

/*
 * Lets `take` copy what the count that lies `at` says is whole, until the keeper did not count on
 * meanwhile. 0; -EPROTO: cut short; -EAGAIN: it never stands still; or an error of take.
 */
static int copy(int fd, size_t at, int (*take)(int fd, uint64_t count, void *context),
                void *context)
{
    for (unsigned i = 0; i < TRIES; i++) {
        uint64_t before, after;
        if (!read_at(fd, &before, sizeof before, at))
            return -EPROTO;
        order_reads();
        int error = take(fd, before, context);
        order_reads();
        if (!read_at(fd, &after, sizeof after, at))
            return -EPROTO;
        if (before == after)
            return error;
    }
    return -EAGAIN;
}

struct taking {
    struct runs_table *table;
    struct quire_observe_runs *runs;
};

static int take_copy(int fd, uint64_t count, void *context)
{
    struct taking *taking = context;
    struct runs_table *table = taking->table;
    struct quire_observe_run *run = &table->list[taking->runs->n];
    size_t n = taking->runs->n_processes, at = IN_FILE(copies[count % 2]);

    if (!read_at(fd, run, sizeof *run, at + offsetof(struct published_copy, run)) ||
        run->n_alive > PUBLISHED_MAX_PROCESSES)
        return -EPROTO;
    if (!source_grow(&table->processes, &table->processes_room, n + run->n_alive + 1,
                     sizeof *table->processes))
        return -ENOMEM;
    return read_at(fd, table->processes + n, run->n_alive * sizeof *table->processes,
                   at + offsetof(struct published_copy, processes))
               ? 0
               : -EPROTO;
}

static void terminate(struct quire_observe_run *run)
{
    run->command[sizeof run->command - 1] = '\0';
    run->policy[sizeof run->policy - 1] = '\0';
    run->prefetch[sizeof run->prefetch - 1] = '\0';
    run->codec[sizeof run->codec - 1] = '\0';
}

static int take_run(struct quire_observe *observe, int fd, const struct published_header *header,
                    uid_t user, struct quire_observe_runs *runs)
{
    struct runs_table *table = observe->runs;
    struct taking taking = {table, runs};

    if (runs->n == MAX_RUNS ||
        !source_grow(&table->list, &table->list_room, runs->n + 1, sizeof *table->list))
        return -ENOMEM;
    struct quire_observe_run *run = &table->list[runs->n];
    int error = copy(fd, IN_FILE(n_updates), take_copy, &taking);
    if (error < 0)
        return error;
    terminate(run);
    run->keeper = header->pid;
    run->user = user;
    run->start_ms = header->start_ticks * 1000 / table->clock_hz;
    for (size_t i = 0; i < run->n_alive; i++)
        table->processes[runs->n_processes + i].keeper = header->pid;
    runs->n_processes += run->n_alive;
    runs->n++;
    return 0;
}

/* Opens a file of a directory and looks at its header. The descriptor; -EPROTO, -ESRCH: its run is
 * gone; -EXDEV: it is not for us to say. */
static int open_file(struct quire_observe *observe, int directory, const char *name, uid_t user,
                     struct published_header *header)
{
    struct stat info;
    int fd = sys_openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0);
    int error = 0;

    if (fd < 0)
        return fd;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_uid != user ||
        !read_at(fd, header, sizeof *header, 0) ||
        memcmp(header->magic, PUBLISHED_MAGIC, sizeof header->magic) != 0)
        error = -EPROTO;
    else if (header->pid_namespace != observe->runs->pid_namespace && observe->runs->is_live)
        error = -EXDEV;
    else if (!is_running(observe, header->pid, header->start_ticks, user))
        error = -ESRCH;
    else if (header->version != PUBLISHED_VERSION || header->n_bytes != sizeof(struct published))
        error = -EPROTO;
    if (error < 0)
        sys_close(fd);
    return error < 0 ? error : fd;
}

static int look_at(struct quire_observe *observe, int directory, const char *name, uid_t user,
                   struct quire_observe_runs *runs)
{
    struct published_header header;
    int fd = open_file(observe, directory, name, user, &header);
    int error = fd;

    if (fd >= 0) {
        error = take_run(observe, fd, &header, user, runs);
        sys_close(fd);
    }
    if (error == -ESRCH && observe->runs->is_live && unlinkat(directory, name, 0) == 0)
        runs->n_removed++;
    runs->n_unreadable += error == -EPROTO || error == -EAGAIN;
    return error == -ENOMEM ? error : 0;
}

static bool was_seen(struct runs_table *table, const struct stat *info)
{
    for (unsigned i = 0; i < table->n_seen; i++)
        if (table->seen[i].device == info->st_dev && table->seen[i].inode == info->st_ino)
            return true;
    if (table->n_seen == MAX_DIRECTORIES)
        return true;
    table->seen[table->n_seen++] = (struct seen){info->st_dev, info->st_ino};
    return false;
}

/* A directory of a user's, who alone may write there. */
static int look_into(struct quire_observe *observe, const char *path, uid_t user,
                     struct quire_observe_runs *runs)
{
    struct stat info;
    int error = 0;
    int fd = sys_openat(observe->root_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);

    if (fd < 0)
        return 0;
    DIR *directory = fstat(fd, &info) == 0 && info.st_uid == user && (info.st_mode & 022) == 0 &&
                             !was_seen(observe->runs, &info)
                         ? fdopendir(fd)
                         : NULL;
    if (directory == NULL) {
        sys_close(fd);
        return 0;
    }
    for (const struct dirent *entry; error == 0 && (entry = readdir(directory)) != NULL;)
        if (strncmp(entry->d_name, PUBLISHED_PREFIX, strlen(PUBLISHED_PREFIX)) == 0)
            error = look_at(observe, fd, entry->d_name, user, runs);
    closedir(directory);
    return error;
}

static const struct user_directory_place *const places[] = {&user_directory_session,
                                                            &user_directory_shared};
#define N_PLACES (sizeof places / sizeof places[0])

/* An absolute path, seen from the root. */
static const char *below_root(const char *path)
{
    return path + 1;
}

/* Root sees all users' directories in a place. */
static int look_at_all(struct quire_observe *observe, const struct user_directory_place *place,
                       struct quire_observe_runs *runs)
{
    int error = 0;
    DIR *directory;

    if (source_open_directory(observe->root_fd, below_root(place->parent), &directory) < 0)
        return 0;
    for (const struct dirent *entry; error == 0 && (entry = readdir(directory)) != NULL;) {
        char path[USER_DIRECTORY_BYTES];
        int64_t user = user_directory_owner(place, entry->d_name);
        if (user < 0)
            continue;
        user_directory_of(place, (uint32_t)user, path);
        error = look_into(observe, below_root(path), (uid_t)user, runs);
    }
    closedir(directory);
    return error;
}

static int compare_runs(const void *a, const void *b)
{
    uint64_t x = ((const struct quire_observe_run *)a)->keeper;
    uint64_t y = ((const struct quire_observe_run *)b)->keeper;

    return x < y ? -1 : x > y;
}

static int compare_processes(const void *a, const void *b)
{
    uint64_t x = ((const struct quire_observe_run_process *)a)->pid;
    uint64_t y = ((const struct quire_observe_run_process *)b)->pid;

    return x < y ? -1 : x > y;
}

int quire_observe_runs(struct quire_observe *observe, struct quire_observe_runs *runs)
{
    struct runs_table *table = table_of(observe);
    uid_t user = geteuid();
    char path[USER_DIRECTORY_BYTES];
    int error = 0;

    *runs = (struct quire_observe_runs){.n = 0};
    if (table == NULL)
        return -ENOMEM;
    table->n_seen = 0;
    if (table->is_live && user_directory_named(path) == 0)
        error = look_into(observe, path, user, runs); /* absolute: the root does not count */
    for (size_t i = 0; error == 0 && i < N_PLACES; i++) {
        user_directory_of(places[i], user, path);
        error = user == 0 ? look_at_all(observe, places[i], runs)
                          : look_into(observe, below_root(path), user, runs);
    }
    if (error < 0)
        return error;
    if (runs->n > 0)
        qsort(table->list, runs->n, sizeof *table->list, compare_runs);
    if (runs->n_processes > 0)
        qsort(table->processes, runs->n_processes, sizeof *table->processes, compare_processes);
    runs->list = table->list;
    runs->processes = table->processes;
    return 0;
}

/* One run's file, in whatever directory it is. */
struct search {
    uint64_t keeper;
    struct quire_observe_run_moment *moments;
    size_t n;
};

static int take_moments(int fd, uint64_t count, void *context)
{
    struct quire_observe_run_moment ring[PUBLISHED_N_SLOTS];
    struct search *search = context;

    if (!read_at(fd, ring, sizeof ring, IN_FILE(history)))
        return -EPROTO;
    search->n = count < QUIRE_OBSERVE_N_MOMENTS ? count : QUIRE_OBSERVE_N_MOMENTS;
    for (size_t i = 0; i < search->n; i++)
        search->moments[i] = ring[(count - search->n + i) % PUBLISHED_N_SLOTS];
    return 0;
}

static int find_in(struct quire_observe *observe, const char *path, struct search *search)
{
    struct published_header header;
    struct stat info;
    char name[32];
    int error = -ESRCH;
    int directory = sys_openat(observe->root_fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);

    if (directory < 0)
        return -ESRCH;
    snprintf(name, sizeof name, PUBLISHED_PREFIX "%d", (int)search->keeper);
    if (fstat(directory, &info) == 0)
        error = open_file(observe, directory, name, info.st_uid, &header);
    sys_close(directory);
    if (error < 0)
        return -ESRCH;
    int fd = error;
    error = copy(fd, IN_FILE(n_moments), take_moments, search);
    sys_close(fd);
    return error < 0 ? -ESRCH : 0;
}

int quire_observe_run_history(struct quire_observe *observe, uint64_t keeper,
                              struct quire_observe_run_moment *moments, size_t *n)
{
    struct search search = {.keeper = keeper, .moments = moments};
    struct runs_table *table = table_of(observe);
    char path[USER_DIRECTORY_BYTES];
    struct stat info;
    int error = -ESRCH;

    *n = 0;
    if (table == NULL)
        return -ENOMEM;
    if (keeper == 0 || keeper > INT_MAX)
        return -ESRCH;
    if (table->is_live && user_directory_named(path) == 0)
        error = find_in(observe, path, &search);
    snprintf(path, sizeof path, "proc/%d", (int)keeper);
    bool has_owner = fstatat(observe->root_fd, path, &info, 0) == 0;
    for (size_t i = 0; has_owner && error == -ESRCH && i < N_PLACES; i++) {
        user_directory_of(places[i], info.st_uid, path);
        error = find_in(observe, below_root(path), &search);
    }
    *n = error == 0 ? search.n : 0;
    return error;
}

/* ---- processes and their runs ---- */

static const struct quire_observe_run *run_of(const struct quire_observe_runs *runs,
                                              uint64_t keeper)
{
    struct quire_observe_run key = {.keeper = keeper};

    return bsearch(&key, runs->list, runs->n, sizeof key, compare_runs);
}

static int compare_pid(const void *key, const void *element)
{
    int pid = *(const int *)key, other = ((const struct quire_observe_process *)element)->pid;

    return pid < other ? -1 : pid > other;
}

void runs_join(struct quire_observe *observe, const struct quire_observe_runs *runs,
               struct quire_observe_process *list, size_t n)
{
    for (size_t i = 0; i < runs->n_processes; i++) {
        const struct quire_observe_run_process *part = &runs->processes[i];
        const struct quire_observe_run *run = run_of(runs, part->keeper);
        int pid = part->pid <= INT_MAX ? (int)part->pid : 0;
        struct quire_observe_process *process = bsearch(&pid, list, n, sizeof *list, compare_pid);
        uint64_t start_ms = part->start_ticks * 1000 / observe->runs->clock_hz;
        if (process == NULL || run == NULL ||
            (start_ms != 0 && start_ms != process->start_ms)) /* its number is another's by now */
            continue;
        process->run = (int)run->keeper;
        process->run_resident = part->resident;
        process->run_staged = part->staged;
        process->run_compressed = part->compressed;
        process->run_metadata = part->metadata;
        process->run_file = part->file;
        process->run_budget = run->budget;
        process->run_held = run->held;
    }
}

/* ---- how long faults took ---- */

#define FLOOR_SHIFT 6 /* the first bucket ends at 64 ns and more; four of them a power of two */

static uint64_t bound_ns(unsigned bucket)
{
    return ((uint64_t)(bucket % 4) + 5) << (bucket / 4 + FLOOR_SHIFT - 2);
}

uint64_t quire_observe_latency_ns(const struct quire_observe_run *before,
                                  const struct quire_observe_run *after, unsigned permille)
{
    uint64_t counts[QUIRE_OBSERVE_N_LATENCIES], total = 0, below = 0;

    for (unsigned i = 0; i < QUIRE_OBSERVE_N_LATENCIES; i++) {
        uint64_t then = before != NULL ? before->latency[i] : 0;
        counts[i] = after->latency[i] > then ? after->latency[i] - then : 0;
        total += counts[i];
    }
    for (unsigned i = 0; total > 0 && i < QUIRE_OBSERVE_N_LATENCIES; i++) {
        below += counts[i];
        if (below * 1000 >= total * permille)
            return bound_ns(i);
    }
    return 0;
}
