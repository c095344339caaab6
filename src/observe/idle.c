/* SPDX-License-Identifier: Apache-2.0 */
/* idle: see idle.h. */
#include "observe/idle.h"

#include "base/sys.h"
#include "observe/procfs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOT_KNOWN UINT64_MAX

static int open_of(struct quire_observe *observe, int pid, const char *file)
{
    char path[48];

    snprintf(path, sizeof path, "proc/%d/%s", pid, file);
    return sys_openat(observe->root_fd, path, O_RDONLY | O_CLOEXEC, 0);
}

/* The first n numbers of a file of one line. */
static bool read_numbers(int fd, uint64_t *numbers, unsigned n)
{
    char text[160];
    ssize_t n_bytes = fd >= 0 ? sys_pread(fd, text, sizeof text - 1, 0) : -1;
    const char *at = text;

    if (n_bytes <= 0)
        return false;
    text[n_bytes] = '\0';
    for (unsigned i = 0; i < n; i++, at += *at == ' ')
        if (!procfs_digits(&at, &numbers[i]))
            return false;
    return true;
}

struct idle *idle_open(struct quire_observe *observe, int pid)
{
    struct idle *idle = calloc(1, sizeof *idle);

    if (idle == NULL)
        return NULL;
    idle->schedstat_fd = open_of(observe, pid, "schedstat");
    idle->statm_fd = open_of(observe, pid, "statm");
    if (idle->schedstat_fd >= 0 && idle->statm_fd >= 0)
        return idle;
    idle_close(idle);
    return NULL;
}

void idle_close(struct idle *idle)
{
    if (idle == NULL)
        return;
    if (idle->schedstat_fd >= 0)
        sys_close(idle->schedstat_fd);
    if (idle->statm_fd >= 0)
        sys_close(idle->statm_fd);
    free(idle);
}

struct idle_look idle_look_at(const struct idle *idle)
{
    struct idle_look look = {.n_runs = NOT_KNOWN, .resident_pages = NOT_KNOWN};
    uint64_t numbers[3];

    if (!read_numbers(idle->schedstat_fd, numbers, 3))
        return look;
    look.n_runs = numbers[2];
    look.run_ns = numbers[0];
    if (idle->n_runs > 0 && idle->figures.is_kernel_thread) {
        look.resident_pages = look.shared_pages = 0; /* it never has any */
    } else if (read_numbers(idle->statm_fd, numbers, 3)) {
        look.resident_pages = numbers[1];
        look.shared_pages = numbers[2];
    }
    look.is_idle = idle->n_runs > 0 && look.n_runs == idle->n_runs && look.run_ns == idle->run_ns &&
                   look.resident_pages != NOT_KNOWN;
    look.is_same_memory = look.is_idle && look.resident_pages == idle->resident_pages &&
                          look.shared_pages == idle->shared_pages;
    return look;
}

static bool may_be_idle(const struct quire_observe_process *process)
{
    return process->n_threads == 1 && process->state != 'R' && process->state != '?';
}

void idle_note(struct idle *idle, const struct idle_look *look, unsigned parts,
               const struct quire_observe_process *process)
{
    idle->n_runs = 0;
    if (look->n_runs == NOT_KNOWN || !may_be_idle(process))
        return;
    idle->n_runs = look->n_runs;
    idle->run_ns = look->run_ns;
    idle->resident_pages = look->resident_pages;
    idle->shared_pages = look->shared_pages;
    idle->parts = parts;
    idle->figures = *process;
}

bool idle_resident(struct quire_observe *observe, int pid, uint64_t *pages)
{
    int fd = open_of(observe, pid, "statm");
    uint64_t numbers[2];
    bool good = read_numbers(fd, numbers, 2);

    if (fd >= 0)
        sys_close(fd);
    if (good)
        *pages = numbers[1];
    return good;
}
