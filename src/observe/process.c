/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process: the files of one process: stat, status, oom_score, cmdline, io. (smaps_rollup: shares.h)
 *
 * stat costs 3 us through a kept descriptor and 8 us through a new one, so each part is read only
 * when it is asked for, and of a process that slept since the last time two small files in place of
 * stat, status and io (idle.h). A descriptor of /proc/PID/stat belongs to the process, not to its
 * number: once the process has ended it reads as ESRCH, also when the number is in use again.
 *
 *   open ENOENT, read ESRCH of stat   the process has ended: the caller leaves it out
 *   EACCES of a part                  its figures are denied
 *
 * Sources: proc(5); Linux's fs/proc/array.c, task_mmu.c.
 */
#include "base/sys.h"
#include "observe/fields.h"
#include "observe/idle.h"
#include "observe/processes.h"
#include "observe/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KERNEL_THREAD 0x00200000u /* PF_KTHREAD, in stat's flags */

#define OF(key, member)                                                   \
    {                                                                     \
        key, offsetof(struct quire_observe_process, member), FIELD_KB_SUM \
    }

static const struct field status_fields[] = {
    OF("VmLck", locked),          OF("VmHWM", rss_peak),   OF("VmRSS", rss),
    OF("RssAnon", rss_anonymous), OF("RssFile", rss_file), OF("RssShmem", rss_shmem),
    OF("VmPTE", page_tables),     OF("VmSwap", swap),
};
#define N_STATUS (sizeof status_fields / sizeof status_fields[0])

#undef OF
#define OF(key, member)                                                   \
    {                                                                     \
        key, offsetof(struct quire_observe_process, member), FIELD_NUMBER \
    }
static const struct field io_fields[] = {
    OF("rchar", io_read_calls),
    OF("read_bytes", io_read_device),
    OF("write_bytes", io_written_device),
};
#define N_IO (sizeof io_fields / sizeof io_fields[0])
#undef OF

static void path_of(char *path, size_t n_bytes, int pid, const char *file)
{
    snprintf(path, n_bytes, "proc/%d/%s", pid, file);
}

/* Reads a part, one record, into the buffer; the path is noted for messages. */
static int read_part(struct quire_observe *observe, int pid, const char *file)
{
    path_of(observe->path, sizeof observe->path, pid, file);
    int fd = sys_openat(observe->root_fd, observe->path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    int error = source_read_record(observe, fd);
    sys_close(fd);
    return error;
}

static bool has_ended(int error)
{
    return error == -ENOENT || error == -ESRCH || error == -ENOTDIR;
}

/* Everything behind the name: from field 3 on, as proc_pid_stat(5) counts. */
static bool take_stat_fields(const char *at, struct quire_observe_process *process)
{
    uint64_t values[43] = {0}, ticks = (uint64_t)sysconf(_SC_CLK_TCK);
    int n = 3;

    for (process->state = *at++; *at == ' '; n++) {
        at++;
        if (n + 1 > 42)
            break;
        if (*at == '-') /* the terminal's group of a process without one */
            at += strcspn(at, " \n");
        else if (!procfs_digits(&at, &values[n + 1]))
            return false;
    }
    if (n < 24) /* all that is used but field 42, which came with Linux 2.6.18 */
        return false;
    process->parent = (int)values[4];
    process->is_kernel_thread = (values[9] & KERNEL_THREAD) != 0;
    process->minor_faults = values[10];
    process->major_faults = values[12];
    process->cpu_ms = (values[14] + values[15]) * 1000 / ticks;
    process->n_threads = values[20];
    process->start_ms = values[22] * 1000 / ticks;
    process->virtual_bytes = values[23];
    process->rss = values[24] * SYS_PAGE_SIZE;
    process->blocked_ms = n >= 42 ? values[42] * 1000 / ticks : QUIRE_OBSERVE_ABSENT;
    return true;
}

/* "PID (NAME) STATE ..."; the name may hold anything, parentheses and line ends too. */
static int take_stat(struct quire_observe *observe, struct quire_observe_process *process)
{
    const char *open = strchr(observe->buffer, '('), *close = strrchr(observe->buffer, ')');
    size_t n = observe->n_bytes;

    observe->line = NULL;
    if (n == 0 || observe->buffer[n - 1] != '\n')
        return source_check(observe);
    if (open == NULL || close == NULL || close < open || close[1] != ' ' ||
        !take_stat_fields(close + 2, process))
        return source_lacks(observe,
                            "line \"PID (NAME) STATE\" with the numbers of proc_pid_stat(5)");
    n = (size_t)(close - open - 1);
    n = n < sizeof process->name ? n : sizeof process->name - 1;
    memcpy(process->name, open + 1, n);
    process->name[n] = '\0';
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)process->name[i] < ' ' || process->name[i] == 0x7f)
            process->name[i] = '?';
    return 0;
}

static int read_stat(struct quire_observe *observe, struct tracked *tracked, bool may_keep,
                     struct quire_observe_process *process)
{
    int fd = tracked->stat_fd, error;

    path_of(observe->path, sizeof observe->path, tracked->pid, "stat");
    if (fd >= 0) {
        error = source_read_record(observe, fd);
        if (error == 0)
            return take_stat(observe, process);
        sys_close(fd); /* it has ended; its number may be another's by now */
        tracked->stat_fd = -1;
    }
    fd = sys_openat(observe->root_fd, observe->path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    error = source_read_record(observe, fd);
    if (may_keep && error == 0)
        tracked->stat_fd = fd;
    else
        sys_close(fd);
    return error < 0 ? error : take_stat(observe, process);
}

/* "Uid:\tREAL\tEFFECTIVE\t..." */
static int take_user(struct quire_observe *observe, struct quire_observe_process *process)
{
    const char *at = observe->line + 4 + strspn(observe->line + 4, "\t ");
    uint64_t real;

    if (procfs_digits(&at, &real)) {
        at += strspn(at, "\t ");
        if (procfs_digits(&at, &process->user))
            return 0;
    }
    return source_bad(observe, "four user ids are expected");
}

static void clear_status(struct quire_observe_process *process, uint64_t reason)
{
    uint64_t rss = process->rss; /* stat has it, too */

    fields_clear(status_fields, N_STATUS, process, reason);
    process->rss = rss;
    process->user = reason;
}

static int read_status(struct quire_observe *observe, struct quire_observe_process *process)
{
    unsigned next = 0;
    uint64_t rss = process->rss;
    int error = read_part(observe, process->pid, "status");

    if (error < 0) {
        clear_status(process, source_reason(error));
        return has_ended(error) ? -ESRCH : 0;
    }
    error = source_check(observe);
    process->rss = QUIRE_OBSERVE_ABSENT; /* fields add up */
    while (error == 0 && source_line(observe) != NULL) {
        if (strncmp(observe->line, "Uid:", 4) == 0)
            error = take_user(observe, process);
        else
            error = fields_take_line(observe, status_fields, N_STATUS, ':', process, &next);
    }
    if (!quire_observe_known(process->rss)) /* of who has no memory */
        process->rss = rss;
    return error;
}

static void read_oom(struct quire_observe *observe, struct quire_observe_process *process)
{
    char path[48];

    path_of(path, sizeof path, process->pid, "oom_score");
    process->oom_score = source_number(observe, path);
    path_of(path, sizeof path, process->pid, "oom_score_adj");
    if (source_read_raw(observe, observe->root_fd, path) < 0)
        return;
    char *end;
    long adjust = strtol(observe->buffer, &end, 10);
    if (end != observe->buffer && (*end == '\n' || *end == '\0'))
        process->oom_adjust = adjust;
}

static int read_io(struct quire_observe *observe, struct quire_observe_process *process)
{
    int error = read_part(observe, process->pid, "io");

    if (error < 0) {
        fields_clear(io_fields, N_IO, process, source_reason(error));
        return 0;
    }
    error = source_check(observe);
    return error < 0 ? error : fields_take(observe, io_fields, N_IO, ':', process);
}

/* The arguments on one line, nothing in them that a terminal would act on. */
static void read_command(struct quire_observe *observe, struct tracked *tracked,
                         const struct quire_observe_process *process)
{
    char path[48];

    free(tracked->command);
    tracked->command = NULL;
    path_of(path, sizeof path, process->pid, "cmdline");
    if (source_read_raw(observe, observe->root_fd, path) < 0)
        return;
    size_t n = observe->n_bytes;
    while (n > 0 && observe->buffer[n - 1] == '\0')
        n--;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)observe->buffer[i];
        if (c == '\0' || c == '\n' || c == '\t')
            observe->buffer[i] = ' ';
        else if (c < ' ' || c == 0x7f)
            observe->buffer[i] = '?';
    }
    tracked->command = strndup(observe->buffer, n);
    memcpy(tracked->name, process->name, sizeof tracked->name);
}

static void clear(struct quire_observe_process *process, int pid)
{
    memset(process, 0xff, sizeof *process); /* all figures absent */
    process->pid = pid;
    process->parent = 0;
    process->state = '?';
    process->is_kernel_thread = false;
    process->minor_rate = process->major_rate = process->cpu_percent = 0;
    process->command = NULL;
    process->name[0] = '\0';
    process->run = 0;
    process->oom_adjust = PROCESS_NO_ADJUST;
}

/* stat itself is denied: /proc is mounted with hidepid=1. */
static void deny(struct quire_observe_process *process)
{
    process->name[0] = '?';
    process->name[1] = '\0';
    process->rss = process->virtual_bytes = process->minor_faults = process->major_faults =
        process->cpu_ms = process->start_ms = QUIRE_OBSERVE_DENIED;
}

/*
 * What only the process itself can change, or who takes its memory: it need not be read again while
 * it sleeps.
 */
#define KEPT_PARTS (QUIRE_OBSERVE_STAT | QUIRE_OBSERVE_STATUS | QUIRE_OBSERVE_IO)

/* Takes them over from the look before. False: they have to be read. */
static bool take_kept(const struct idle *idle, const struct idle_look *look, unsigned parts,
                      struct quire_observe_process *process)
{
    if (!look->is_idle || (parts & KEPT_PARTS & ~idle->parts) != 0 ||
        ((parts & QUIRE_OBSERVE_STATUS) && !look->is_same_memory))
        return false;
    *process = idle->figures;
    process->rss = look->resident_pages * SYS_PAGE_SIZE;
    if (!(parts & QUIRE_OBSERVE_STATUS))
        clear_status(process, QUIRE_OBSERVE_ABSENT);
    if (!(parts & QUIRE_OBSERVE_IO))
        fields_clear(io_fields, N_IO, process, QUIRE_OBSERVE_ABSENT);
    return true;
}

void process_settle_rss(struct quire_observe *observe, struct quire_observe_process *process)
{
    uint64_t pages;

    if (!process->is_kernel_thread && quire_observe_known(process->rss) &&
        idle_resident(observe, process->pid, &pages))
        process->rss = pages * SYS_PAGE_SIZE;
}

static void settle_rss(struct quire_observe *observe, const struct idle_look *look,
                       struct quire_observe_process *process)
{
    if (look->resident_pages == UINT64_MAX || process->is_kernel_thread)
        process_settle_rss(observe, process);
    else if (quire_observe_known(process->rss))
        process->rss = look->resident_pages * SYS_PAGE_SIZE;
}

static int read_kept(struct quire_observe *observe, struct tracked *tracked, unsigned parts,
                     bool may_keep, struct quire_observe_process *process)
{
    struct idle_look look = {.resident_pages = UINT64_MAX};

    /* who is looked at for the second time is watched */
    if (tracked->idle == NULL && tracked->stat_fd >= 0 && may_keep && !tracked->has_no_idle)
        tracked->has_no_idle = (tracked->idle = idle_open(observe, tracked->pid)) == NULL;
    if (tracked->idle != NULL)
        look = idle_look_at(tracked->idle);
    if (!look.is_idle && tracked->shares_fd >= 0) { /* it may have executed another program */
        sys_close(tracked->shares_fd);
        tracked->shares_fd = -1;
    }
    if (tracked->idle != NULL && take_kept(tracked->idle, &look, parts, process))
        return 0;
    int error = read_stat(observe, tracked, may_keep, process);
    bool is_denied = error == -EACCES || error == -EPERM;
    if (is_denied)
        deny(process);
    else if (error < 0)
        return has_ended(error)    ? -ESRCH
               : error == -EBADMSG ? error
                                   : source_failed(observe, observe->path, error);
    error = 0;
    if (parts & QUIRE_OBSERVE_STATUS)
        error = read_status(observe, process);
    else if (!(parts & QUIRE_OBSERVE_SHARES))
        settle_rss(observe, &look, process);
    if (error == 0 && (parts & QUIRE_OBSERVE_IO))
        error = read_io(observe, process);
    if (error == 0 && tracked->idle != NULL && !is_denied)
        idle_note(tracked->idle, &look, parts & KEPT_PARTS, process);
    return error;
}

int process_read(struct quire_observe *observe, struct tracked *tracked, unsigned parts,
                 bool may_keep, struct quire_observe_process *process)
{
    clear(process, tracked->pid);
    int error = read_kept(observe, tracked,
                          (parts & (KEPT_PARTS | QUIRE_OBSERVE_SHARES)) | QUIRE_OBSERVE_STAT,
                          may_keep, process);
    if (error == 0 && (parts & QUIRE_OBSERVE_OOM))
        read_oom(observe, process);
    if (error == 0 && (parts & QUIRE_OBSERVE_COMMAND)) {
        if (tracked->command == NULL || strcmp(tracked->name, process->name) != 0)
            read_command(observe, tracked, process);
        process->command = tracked->command;
    }
    return error;
}
