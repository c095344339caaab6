/* SPDX-License-Identifier: Apache-2.0 */
/* shares: see shares.h. Sources: proc(5); Linux's fs/proc/task_mmu.c. */
#include "observe/shares.h"

#include "base/sys.h"
#include "observe/fields.h"
#include "observe/idle.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define FEW 16 /* of so many, one is few */

/* Sums, because where there is no smaps_rollup (before Linux 4.14) smaps has them by mapping. */
#define OF(key, member)                                    \
    {                                                      \
        key, offsetof(struct shares, member), FIELD_KB_SUM \
    }
static const struct field share_fields[] = {
    OF("Rss", rss),
    OF("Pss", pss),
    OF("Pss_Anon", pss_anonymous),
    OF("Pss_File", pss_file),
    OF("Pss_Shmem", pss_shmem),
    OF("Shared_Clean", shared_clean),
    OF("Shared_Dirty", shared_dirty),
    OF("Private_Clean", private_clean),
    OF("Private_Dirty", private_dirty),
    OF("Referenced", referenced),
    OF("AnonHugePages", huge),
    OF("Private_Hugetlb", private_huge),
    OF("SwapPss", swap_pss),
};
#define N_SHARES (sizeof share_fields / sizeof share_fields[0])
#undef OF

/* ---- who has changed ---- */

static unsigned place_of_name(const char *name)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (; *name != '\0'; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash % SHARES_N_PLACES;
}

static unsigned place_of(int pid)
{
    return (unsigned)pid % SHARES_N_PLACES;
}

void shares_note(struct shares_news *news, const struct quire_observe_process *process)
{
    news->n_named[place_of_name(process->name)]++;
    news->n_children[place_of(process->parent)]++;
}

void shares_note_change(struct shares_news *news, int pid, int parent, const char *name)
{
    news->changed[place_of(pid)] = true;
    news->parents[place_of(parent)] = true;
    news->n_changed[place_of_name(name)]++;
}

bool shares_concern(const struct shares_news *news, const struct quire_observe_process *process)
{
    const unsigned name = place_of_name(process->name), parent = place_of(process->parent);

    return news->changed[place_of(process->pid)] || news->parents[place_of(process->pid)] ||
           (news->changed[parent] && news->n_children[parent] < FEW) ||
           news->n_changed[name] > news->n_named[name] / FEW;
}

/* ---- reading ---- */

static uint64_t sum_of(uint64_t a, uint64_t b)
{
    if (!quire_observe_known(a) || !quire_observe_known(b))
        return quire_observe_known(a) ? a : b;
    return a + b;
}

void shares_take_over(const struct tracked *tracked, struct quire_observe_process *process)
{
    const struct shares *shares = &tracked->shares;

    process->pss = shares->pss;
    process->pss_anonymous = shares->pss_anonymous;
    process->pss_file = shares->pss_file;
    process->pss_shmem = shares->pss_shmem;
    process->shared = sum_of(shares->shared_clean, shares->shared_dirty);
    process->uss = sum_of(sum_of(shares->private_clean, shares->private_dirty),
                          shares->private_huge);
    process->referenced = shares->referenced;
    process->huge = shares->huge;
    process->swap_pss = shares->swap_pss;
}

static void set_path(struct quire_observe *observe, int pid, const char *file)
{
    snprintf(observe->path, sizeof observe->path, "proc/%d/%s", pid, file);
}

/*
 * The record of smaps_rollup. To open it and close it again takes a sixth of what reading takes; a
 * descriptor stays with the memory that it was opened for, and process_read() closes it as soon as
 * the process has run, and may have executed another program.
 */
static int read_rollup(struct quire_observe *observe, struct tracked *tracked, bool may_keep)
{
    int fd = tracked->shares_fd;

    set_path(observe, tracked->pid, "smaps_rollup");
    if (fd < 0)
        fd = sys_openat(observe->root_fd, observe->path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    int error = source_read_record(observe, fd);
    if (error == 0 && may_keep && tracked->idle != NULL) {
        tracked->shares_fd = fd;
    } else {
        sys_close(fd);
        tracked->shares_fd = -1;
    }
    return error;
}

int shares_read(struct quire_observe *observe, struct tracked *tracked, bool may_keep,
                struct quire_observe_process *process)
{
    struct shares *shares = &tracked->shares;
    int error = read_rollup(observe, tracked, may_keep);

    if (error == -ENOENT) {
        set_path(observe, tracked->pid, "smaps");
        error = source_read_raw(observe, observe->root_fd, observe->path);
    }
    fields_clear(share_fields, N_SHARES, shares, source_reason(error));
    if (error == 0 && observe->n_bytes > 0) { /* smaps of who has no memory is empty */
        int problem = source_check(observe);
        if (problem == 0)
            problem = fields_take(observe, share_fields, N_SHARES, ':', shares);
        if (problem < 0)
            return problem;
    }
    tracked->has_shares = true;
    shares_take_over(tracked, process);
    return error == -ENOENT ? -ESRCH : 0;
}
