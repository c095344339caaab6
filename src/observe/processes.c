/* SPDX-License-Identifier: Apache-2.0 */
/*
 * processes: all processes, sample after sample.
 *
 *   /proc ── readdir ── numbers, sorted ──┐
 *                                         merge by pid ── process_read ── list, rates ── shares
 *   tracked: what the last sample knew ───┘                    '-- tracked of the next sample
 *
 * PSS and USS come last, when it is known who has changed what it has mapped (shares.h).
 *
 * Invariants
 *   T1  tracked is sorted by pid, each pid once
 *   T2  the descriptors kept, up to four a process, are at most max_kept: half of what the process
 *       may have open
 *
 * A command is read again when the process's name changes, and every COMMAND_EVERY samples because
 * a program may change its arguments.
 */
#include "observe/processes.h"

#include "base/sys.h"
#include "observe/idle.h"
#include "observe/shares.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define COMMAND_EVERY 16
/* QUIRE_OBSERVE_LAZY: from so many samples without work on, every so many are looked at. */
#define STILL_SAMPLES 3
#define STAT_EVERY 4
#define PARTS_EVERY 16
/* QUIRE_OBSERVE_KEEP_SHARES: of whom nothing has changed, every so many. */
#define SHARES_EVERY 4

struct process_table {
    struct tracked *tracked, *next; /* the last sample's, the one to come */
    size_t n_tracked, tracked_room, n_next, next_room;
    struct quire_observe_process *list;
    size_t list_room;
    int *pids;
    size_t pids_room, n_pids;
    size_t n_kept, max_kept;
    unsigned n_samples;
    struct shares_news news; /* of this sample */
};

static size_t n_descriptors(const struct tracked *tracked)
{
    return (tracked->stat_fd >= 0) + (tracked->shares_fd >= 0) +
           (tracked->idle != NULL ? IDLE_N_DESCRIPTORS : 0);
}

static void forget(struct process_table *table, struct tracked *tracked)
{
    table->n_kept -= n_descriptors(tracked);
    if (tracked->stat_fd >= 0)
        sys_close(tracked->stat_fd);
    if (tracked->shares_fd >= 0)
        sys_close(tracked->shares_fd);
    idle_close(tracked->idle);
    free(tracked->command);
    free(tracked->last);
}

void processes_free(struct process_table *table)
{
    if (table == NULL)
        return;
    for (size_t i = 0; i < table->n_tracked; i++)
        forget(table, &table->tracked[i]);
    free(table->tracked);
    free(table->next);
    free(table->list);
    free(table->pids);
    free(table);
}

static struct process_table *table_of(struct quire_observe *observe)
{
    struct rlimit limit;

    if (observe->processes == NULL) {
        observe->processes = calloc(1, sizeof *observe->processes);
        if (observe->processes == NULL)
            return NULL;
    }
    /* looked at each time: the caller may have raised it */
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        observe->processes->max_kept = limit.rlim_cur > (rlim_t)1 << 20 ? (size_t)1 << 19
                                                                        : limit.rlim_cur / 2;
    return observe->processes;
}

static int parse_pid(const char *name)
{
    long pid = 0;

    for (; *name >= '0' && *name <= '9'; name++) {
        pid = pid * 10 + (*name - '0');
        if (pid > INT_MAX)
            return 0;
    }
    return *name == '\0' ? (int)pid : 0;
}

static int compare_pids(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;

    return x < y ? -1 : x > y;
}

static int list_pids(struct quire_observe *observe, struct process_table *table)
{
    DIR *directory;
    int error = source_open_directory(observe->root_fd, "proc", &directory);
    bool is_sorted = true;

    if (error < 0)
        return source_failed(observe, "proc", error);
    table->n_pids = 0;
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        int pid = entry->d_name[0] >= '1' && entry->d_name[0] <= '9' ? parse_pid(entry->d_name) : 0;
        if (pid == 0)
            continue;
        if (!source_grow(&table->pids, &table->pids_room, table->n_pids + 1, sizeof(int))) {
            closedir(directory);
            return -ENOMEM;
        }
        is_sorted = is_sorted && (table->n_pids == 0 || table->pids[table->n_pids - 1] < pid);
        table->pids[table->n_pids++] = pid;
    }
    closedir(directory);
    if (table->n_pids == 0 && faccessat(observe->root_fd, "proc/meminfo", F_OK, 0) != 0)
        return source_failed(observe, "proc/meminfo", -ENOENT); /* it is no /proc */
    if (!is_sorted) /* the kernel lists them in order; other file systems do not */
        qsort(table->pids, table->n_pids, sizeof(int), compare_pids);
    return 0;
}

/* Uptime in ms, or 0: what lives on has then no rate. */
static uint64_t uptime_ms(struct quire_observe *observe)
{
    if (source_read_raw(observe, observe->root_fd, "proc/uptime") < 0)
        return 0;
    return (uint64_t)(strtod(observe->buffer, NULL) * 1000);
}

static double rate(uint64_t now, uint64_t then, double seconds)
{
    return seconds > 0 && quire_observe_known(now) && now >= then ? (double)(now - then) / seconds
                                                                  : 0;
}

/* Since the sample before, else since the start of the process. */
static void settle_rates(struct tracked *tracked, uint64_t now_ns, uint64_t uptime,
                         struct quire_observe_process *process)
{
    if (tracked->at_ns != 0 && tracked->start_ms == process->start_ms) {
        double seconds = (double)(now_ns - tracked->at_ns) / 1e9;
        process->minor_rate = rate(process->minor_faults, tracked->minor_faults, seconds);
        process->major_rate = rate(process->major_faults, tracked->major_faults, seconds);
        process->cpu_percent = rate(process->cpu_ms, tracked->cpu_ms, seconds) / 10;
    } else if (uptime > process->start_ms) {
        double seconds = (double)(uptime - process->start_ms) / 1e3;
        process->minor_rate = rate(process->minor_faults, 0, seconds);
        process->major_rate = rate(process->major_faults, 0, seconds);
        process->cpu_percent = rate(process->cpu_ms, 0, seconds) / 10;
    }
    tracked->start_ms = process->start_ms;
    tracked->minor_faults = process->minor_faults;
    tracked->major_faults = process->major_faults;
    tracked->cpu_ms = process->cpu_ms;
    tracked->at_ns = now_ns;
}

static bool is_denied(const struct quire_observe_process *process)
{
    return process->rss == QUIRE_OBSERVE_DENIED || process->pss == QUIRE_OBSERVE_DENIED ||
           process->swap == QUIRE_OBSERVE_DENIED || process->io_read_calls == QUIRE_OBSERVE_DENIED;
}

/* Takes the process over into the next sample's tracked. False: no memory. */
static bool follow(struct process_table *table, const struct tracked *tracked)
{
    if (!source_grow(&table->next, &table->next_room, table->n_next + 1, sizeof *table->next))
        return false;
    table->next[table->n_next++] = *tracked;
    return true;
}

static bool is_due(const struct process_table *table, int pid, unsigned every)
{
    return ((unsigned)pid + table->n_samples) % every == 0;
}

static bool is_same(const struct quire_observe_process *a, const struct quire_observe_process *b)
{
    return a->start_ms == b->start_ms && a->cpu_ms == b->cpu_ms && a->rss == b->rss &&
           a->minor_faults == b->minor_faults && a->major_faults == b->major_faults &&
           a->virtual_bytes == b->virtual_bytes && a->state == b->state && a->parent == b->parent;
}

static bool may_keep(const struct process_table *table)
{
    return table->n_kept + IDLE_N_DESCRIPTORS + 1 < table->max_kept;
}

static int read_all(struct quire_observe *observe, struct tracked *tracked, unsigned parts,
                    struct quire_observe_process *process)
{
    return process_read(observe, tracked, parts, may_keep(observe->processes), process);
}

/* Reads no more of a process than it takes to see that it still does nothing. */
static int read_lazily(struct quire_observe *observe, struct tracked *tracked, unsigned parts,
                       struct quire_observe_process *process)
{
    const struct process_table *table = observe->processes;
    bool is_still = tracked->last != NULL && tracked->n_still >= STILL_SAMPLES &&
                    tracked->last_parts == parts;
    int error = 0;

    if (is_still && !is_due(table, tracked->pid, PARTS_EVERY)) {
        tracked->was_read = is_due(table, tracked->pid, STAT_EVERY);
        if (tracked->was_read)
            error = read_all(observe, tracked, QUIRE_OBSERVE_STAT | (parts & QUIRE_OBSERVE_COMMAND),
                             process);
        else
            *process = *tracked->last;
        if (error < 0 || is_same(process, tracked->last)) {
            if (error == 0)
                *process = *tracked->last;
            process->command = tracked->command;
            return error;
        }
    }
    tracked->was_read = true;
    error = read_all(observe, tracked, parts, process);
    if (error < 0)
        return error;
    if (tracked->last == NULL)
        tracked->last = calloc(1, sizeof *tracked->last); /* without, it is read each time */
    if (tracked->last == NULL)
        return 0;
    tracked->n_still = is_same(process, tracked->last) ? tracked->n_still + 1 : 0;
    tracked->last_parts = parts;
    *tracked->last = *process;
    return 0;
}

/* Whether smaps_rollup is read of everybody each time. */
static bool reads_all_shares(unsigned parts)
{
    return (parts & QUIRE_OBSERVE_SHARES) &&
           !(parts & (QUIRE_OBSERVE_LAZY | QUIRE_OBSERVE_KEEP_SHARES));
}

/* Whether it has other pages than the sample before saw, as far as counts tell. */
static void look_for_change(struct process_table *table, struct tracked *tracked,
                            const struct quire_observe_process *process)
{
    struct pages_seen *seen = &tracked->seen;
    bool is_same = tracked->at_ns != 0 && tracked->start_ms == process->start_ms &&
                   seen->minor_faults == process->minor_faults &&
                   seen->major_faults == process->major_faults && seen->rss == process->rss &&
                   seen->virtual_bytes == process->virtual_bytes;

    if (process->is_kernel_thread)
        return;
    shares_note(&table->news, process);
    if (is_same)
        return;
    *seen = (struct pages_seen){process->parent,       process->minor_faults,
                                process->major_faults, process->virtual_bytes,
                                process->rss,          ""};
    memcpy(seen->name, process->name, sizeof seen->name);
    shares_note_change(&table->news, process->pid, process->parent, process->name);
}

static int sample_one(struct quire_observe *observe, struct tracked *tracked, unsigned parts,
                      uint64_t uptime, struct quire_observe_processes *processes)
{
    struct process_table *table = observe->processes;
    size_t n_before = n_descriptors(tracked);
    unsigned now = reads_all_shares(parts) ? parts : parts & ~(unsigned)QUIRE_OBSERVE_SHARES;

    if (!source_grow(&table->list, &table->list_room, processes->n + 1, sizeof *table->list))
        return -ENOMEM;
    if ((unsigned)tracked->pid % COMMAND_EVERY == table->n_samples % COMMAND_EVERY)
        tracked->name[0] = '\0';
    struct quire_observe_process *process = &table->list[processes->n];
    int error = parts & QUIRE_OBSERVE_LAZY ? read_lazily(observe, tracked, now, process)
                                           : read_all(observe, tracked, now, process);
    table->n_kept += n_descriptors(tracked) - n_before;
    if (error < 0)
        return error;
    if (parts & QUIRE_OBSERVE_SHARES)
        look_for_change(table, tracked, process);
    if (!(parts & QUIRE_OBSERVE_LAZY) || tracked->was_read)
        settle_rates(tracked, processes->at_ns, uptime, process);
    processes->n++;
    return 0;
}

/* A process that ends takes its share of what it had in common with others. */
static void bury(struct process_table *table, struct tracked *tracked)
{
    if (tracked->at_ns != 0)
        shares_note_change(&table->news, tracked->pid, tracked->seen.parent, tracked->seen.name);
    forget(table, tracked);
}

static int sample_all(struct quire_observe *observe, unsigned parts,
                      struct quire_observe_processes *processes)
{
    struct process_table *table = observe->processes;
    uint64_t uptime = uptime_ms(observe);
    size_t old = 0;
    int error = 0;

    for (size_t i = 0; i < table->n_pids; i++) {
        struct tracked tracked = {.pid = table->pids[i], .stat_fd = -1, .shares_fd = -1};
        while (old < table->n_tracked && table->tracked[old].pid < tracked.pid)
            bury(table, &table->tracked[old++]);
        if (old < table->n_tracked && table->tracked[old].pid == tracked.pid)
            tracked = table->tracked[old++];
        if (error == 0)
            error = sample_one(observe, &tracked, parts, uptime, processes);
        if (error == 0 && !follow(table, &tracked))
            error = -ENOMEM;
        if (error == -ESRCH)
            processes->n_vanished++;
        if (error < 0)
            bury(table, &tracked);
        error = error == -ESRCH ? 0 : error;
    }
    while (old < table->n_tracked)
        bury(table, &table->tracked[old++]);
    return error;
}

/* PSS and the like of one process: as they are now, or were when they were read last. */
static int sample_shares(struct quire_observe *observe, struct tracked *tracked, unsigned parts,
                         struct quire_observe_process *process)
{
    struct process_table *table = observe->processes;
    const unsigned every = parts & QUIRE_OBSERVE_LAZY ? PARTS_EVERY : SHARES_EVERY;

    if (process->is_kernel_thread)
        return 0;
    if (!reads_all_shares(parts) && tracked->has_shares && !shares_concern(&table->news, process) &&
        !is_due(table, tracked->pid, every)) {
        shares_take_over(tracked, process);
        return 0;
    }
    size_t n_before = n_descriptors(tracked);
    int error = shares_read(observe, tracked, may_keep(table), process);
    table->n_kept += n_descriptors(tracked) - n_before;
    if (error < 0 || !reads_all_shares(parts) || (parts & QUIRE_OBSERVE_STATUS))
        return error;
    if (quire_observe_known(tracked->shares.rss))
        process->rss = tracked->shares.rss;
    else
        process_settle_rss(observe, process);
    return 0;
}

static int sample_all_shares(struct quire_observe *observe, unsigned parts,
                             struct quire_observe_processes *processes)
{
    struct process_table *table = observe->processes;
    size_t n = 0;
    int error = 0;

    for (size_t i = 0; i < processes->n; i++) {
        if (error == 0)
            error = sample_shares(observe, &table->next[i], parts, &table->list[i]);
        if (error < 0) {
            processes->n_vanished += error == -ESRCH;
            bury(table, &table->next[i]);
            error = error == -ESRCH ? 0 : error;
            continue;
        }
        table->next[n] = table->next[i];
        table->list[n++] = table->list[i];
    }
    processes->n = table->n_next = n;
    return error;
}

static void swap_tracked(struct process_table *table)
{
    struct tracked *spare = table->tracked;
    size_t spare_room = table->tracked_room;

    table->tracked = table->next;
    table->tracked_room = table->next_room;
    table->n_tracked = table->n_next;
    table->next = spare;
    table->next_room = spare_room;
    table->n_next = 0;
    table->n_samples++;
}

int quire_observe_processes(struct quire_observe *observe, unsigned parts,
                            struct quire_observe_processes *processes)
{
    struct process_table *table = table_of(observe);
    struct quire_observe_runs runs;

    *processes = (struct quire_observe_processes){.at_ns = sys_now_ns()};
    if (table == NULL)
        return -ENOMEM;
    int error = list_pids(observe, table);
    if (error < 0)
        return error;
    memset(&table->news, 0, sizeof table->news);
    error = sample_all(observe, parts, processes);
    if (error == 0 && (parts & QUIRE_OBSERVE_SHARES))
        error = sample_all_shares(observe, parts, processes);
    swap_tracked(table);
    processes->list = table->list;
    for (size_t i = 0; i < processes->n; i++)
        processes->n_denied += is_denied(&table->list[i]);
    if (error == 0 && (parts & QUIRE_OBSERVE_RUNS) && quire_observe_runs(observe, &runs) == 0)
        runs_join(observe, &runs, table->list, processes->n);
    return error;
}

int quire_observe_process(struct quire_observe *observe, int pid, unsigned parts,
                          struct quire_observe_process *process)
{
    struct process_table *table = table_of(observe);
    struct tracked tracked = {.pid = pid, .stat_fd = -1, .shares_fd = -1};

    if (table == NULL)
        return -ENOMEM;
    if (pid <= 0)
        return -ESRCH;
    int error = process_read(observe, &tracked, parts & ~(unsigned)QUIRE_OBSERVE_SHARES, false,
                             process);
    if (error == 0 && (parts & QUIRE_OBSERVE_SHARES) && !process->is_kernel_thread)
        error = shares_read(observe, &tracked, false, process);
    if (error == 0)
        settle_rates(&tracked, sys_now_ns(), uptime_ms(observe), process);
    /* the command goes to a tracked process, or to one of its own, so that it outlives this call */
    if (table->n_tracked == 0 && error == 0 && tracked.command != NULL &&
        source_grow(&table->tracked, &table->tracked_room, 1, sizeof tracked)) {
        table->tracked[table->n_tracked++] = tracked;
        return 0;
    }
    for (size_t i = 0; error == 0 && i < table->n_tracked && tracked.command != NULL; i++) {
        if (table->tracked[i].pid != pid && i + 1 < table->n_tracked)
            continue;
        free(table->tracked[i].command);
        table->tracked[i].command = tracked.command;
        table->tracked[i].name[0] = '\0'; /* to be read anew */
        return 0;
    }
    free(tracked.command);
    return error;
}
