/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runs: what the processes of `quire run` hold, from the run's control block.
 *
 *   a process named quire-keeper ── /proc/KEEPER/fd/N -> /memfd:quire-control ── slots by pid
 *
 * The block is mapped read-only and only looked at: atomics, no locks, nothing of it is trusted but
 * numbers. Another user's keeper is closed to us; its processes show as outside of a run.
 */
#include "base/control.h"
#include "base/sys.h"
#include "observe/processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEEPER "quire-keeper"
#define BLOCK "/memfd:quire-control"

/* The path of the keeper's descriptor of the block. */
static bool find_block(struct quire_observe *observe, int keeper, char *path, size_t n_bytes)
{
    char directory_path[48];
    bool found = false;

    snprintf(directory_path, sizeof directory_path, "proc/%d/fd", keeper);
    int fd = sys_openat(observe->root_fd, directory_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
    if (directory == NULL) {
        if (fd >= 0)
            sys_close(fd);
        return false;
    }
    for (const struct dirent *entry; !found && (entry = readdir(directory)) != NULL;) {
        char target[64];
        ssize_t n = sys_readlinkat(fd, entry->d_name, target, sizeof target);
        found = n >= (ssize_t)strlen(BLOCK) && memcmp(target, BLOCK, strlen(BLOCK)) == 0;
        if (found)
            snprintf(path, n_bytes, "/proc/self/fd/%d/%s/%s", observe->root_fd, directory_path,
                     entry->d_name);
    }
    closedir(directory);
    return found;
}

static int compare_pid(const void *key, const void *element)
{
    int pid = *(const int *)key, other = ((const struct quire_observe_process *)element)->pid;

    return pid < other ? -1 : pid > other;
}

static uint64_t pages(int64_t n)
{
    return n > 0 ? (uint64_t)n << SYS_PAGE_SHIFT : 0;
}

static uint64_t held(const struct control_slot *slot, enum control_kind kind)
{
    return pages(atomic_load_explicit(&slot->held[kind], memory_order_relaxed));
}

/* The process of a slot; NULL: it is gone, or its number belongs to another by now. */
static struct quire_observe_process *process_of(const struct control_slot *slot,
                                                struct quire_observe_process *list, size_t n)
{
    int pid = (int)atomic_load_explicit(&slot->pid, memory_order_relaxed);
    uint64_t ticks = atomic_load_explicit(&slot->start_time, memory_order_relaxed);

    if (pid <= 0)
        return NULL;
    struct quire_observe_process *process = bsearch(&pid, list, n, sizeof *list, compare_pid);
    if (process == NULL ||
        (ticks != 0 && ticks * 1000 / (uint64_t)sysconf(_SC_CLK_TCK) != process->start_ms))
        return NULL;
    return process;
}

static void take_run(const struct control *control, int keeper, struct quire_observe_process *list,
                     size_t n)
{
    uint32_t end = atomic_load_explicit(&control->slots_end, memory_order_relaxed);

    for (uint32_t i = 0; i < end && i < CONTROL_SLOTS; i++) {
        const struct control_slot *slot = &control->slot[i];
        struct quire_observe_process *process = process_of(slot, list, n);
        if (process == NULL)
            continue;
        process->run = keeper;
        process->run_resident = held(slot, CONTROL_RESIDENT);
        process->run_staged = held(slot, CONTROL_STAGED);
        process->run_compressed = held(slot, CONTROL_POOL);
        process->run_metadata = held(slot, CONTROL_METADATA);
        process->run_file = held(slot, CONTROL_FILE);
        process->run_budget = pages(control_budget(control));
        process->run_held = pages(control_held(control));
    }
}

void runs_take(struct quire_observe *observe, struct quire_observe_process *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct control *control;
        char path[384];
        if (strcmp(list[i].name, KEEPER) != 0 ||
            !find_block(observe, list[i].pid, path, sizeof path) ||
            control_view(path, &control) < 0)
            continue;
        take_run(control, list[i].pid, list, n);
        control_unview(control);
    }
}
