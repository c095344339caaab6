/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core_notes: see core_notes.h.
 *
 *   NT_PRSTATUS  NT_PRPSINFO  NT_AUXV  NT_FILE  NT_FPREGSET  [NT_X86_XSTATE]   of the first thread
 *   NT_PRSTATUS  NT_FPREGSET  [NT_X86_XSTATE]                                  of each other one
 *
 * A register set that the kernel does not give for a thread is left out; a debugger does without.
 * Sources: elf(5), core(5); Linux's fs/binfmt_elf.c for the order, and the form of NT_FILE.
 */
#include "cli/core_notes.h"

#include "base/proc.h"
#include "base/sys.h"
#include "observe/procfs.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_REGISTER_BYTES 16384 /* AVX-512, AMX tiles */

struct notes {
    char *bytes;
    size_t n, most;
    bool failed; /* out of memory */
};

static void append(struct notes *notes, const void *bytes, size_t n_bytes)
{
    if (n_bytes == 0)
        return;
    if (notes->n + n_bytes > notes->most) {
        size_t most = (notes->n + n_bytes) * 2;
        char *larger = realloc(notes->bytes, most);
        if (larger == NULL) {
            notes->failed = true;
            return;
        }
        notes->bytes = larger;
        notes->most = most;
    }
    if (bytes != NULL)
        memcpy(notes->bytes + notes->n, bytes, n_bytes);
    else
        memset(notes->bytes + notes->n, 0, n_bytes);
    notes->n += n_bytes;
}

static void pad(struct notes *notes)
{
    append(notes, NULL, -notes->n % 4);
}

static void add_note(struct notes *notes, const char *owner, uint32_t type, const void *content,
                     size_t n_bytes)
{
    const Elf64_Nhdr header = {(uint32_t)strlen(owner) + 1, (uint32_t)n_bytes, type};

    append(notes, &header, sizeof header);
    append(notes, owner, header.n_namesz);
    pad(notes);
    append(notes, content, n_bytes);
    pad(notes);
}

static void add_registers(struct notes *notes, const struct tracee_thread *thread,
                          const char *owner, uint32_t type)
{
    _Alignas(64) char registers[MOST_REGISTER_BYTES];
    long n_bytes = tracee_registers(thread, (int)type, registers, sizeof registers);

    if (n_bytes > 0)
        add_note(notes, owner, type, registers, (size_t)n_bytes);
}

static struct timeval as_time(uint64_t ticks)
{
    const uint64_t a_second = (uint64_t)sysconf(_SC_CLK_TCK);
    return (struct timeval){(time_t)(ticks / a_second),
                            (suseconds_t)(ticks % a_second * 1000000 / a_second)};
}

static uint64_t field(const char *stat, int number)
{
    const char *text = proc_stat_field(stat, number);
    return text != NULL ? proc_number(text) : 0;
}

static void add_status(struct notes *notes, int pid, const struct tracee_thread *thread)
{
    struct elf_prstatus status = {.pr_pid = thread->tid, .pr_fpvalid = 1};
    char path[64], stat[1024];

    status.pr_info.si_signo = status.pr_cursig = (short)thread->signal;
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, thread->tid);
    if (proc_read(path, stat, sizeof stat)) {
        status.pr_ppid = (pid_t)field(stat, 4);
        status.pr_pgrp = (pid_t)field(stat, 5);
        status.pr_sid = (pid_t)field(stat, 6);
        status.pr_utime = as_time(field(stat, 14));
        status.pr_stime = as_time(field(stat, 15));
    }
    (void)tracee_registers(thread, NT_PRSTATUS, &status.pr_reg, sizeof status.pr_reg);
    add_note(notes, "CORE", NT_PRSTATUS, &status, sizeof status);
}

static ssize_t read_file(int pid, const char *name, char *content, size_t n_bytes)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, content, n_bytes);
    close(fd);
    return n;
}

static void add_process(struct notes *notes, int pid)
{
    struct elf_prpsinfo info = {.pr_pid = pid, .pr_sname = 'T'};
    char path[64], stat[1024];

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (proc_read(path, stat, sizeof stat)) {
        info.pr_ppid = (pid_t)field(stat, 4);
        info.pr_pgrp = (pid_t)field(stat, 5);
        info.pr_sid = (pid_t)field(stat, 6);
    }
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    (void)procfs_read_line(path, info.pr_fname, sizeof info.pr_fname);
    ssize_t n = read_file(pid, "cmdline", info.pr_psargs, sizeof info.pr_psargs - 1);
    for (ssize_t i = 0; i + 1 < n; i++)
        if (info.pr_psargs[i] == '\0')
            info.pr_psargs[i] = ' ';
    add_note(notes, "CORE", NT_PRPSINFO, &info, sizeof info);
}

static void add_auxiliary_vector(struct notes *notes, int pid)
{
    char vector[4096];
    ssize_t n = read_file(pid, "auxv", vector, sizeof vector);

    if (n > 0)
        add_note(notes, "CORE", NT_AUXV, vector, (size_t)n);
}

/* Number, unit; start, end, offset of each; then the names. */
static void add_files(struct notes *notes, const struct core_memory *memory)
{
    struct notes table = {.n = 0}, names = {.n = 0};
    uint64_t head[2] = {0, SYS_PAGE_SIZE};

    for (size_t i = 0; i < memory->n_mappings; i++) {
        const struct core_mapping *mapping = &memory->mappings[i];
        if (!core_memory_is_file(mapping))
            continue;
        const uint64_t row[3] = {mapping->start, mapping->end,
                                 mapping->file_offset / SYS_PAGE_SIZE};
        append(&table, row, sizeof row);
        append(&names, mapping->path, strlen(mapping->path) + 1);
        head[0]++;
    }
    struct notes whole = {.n = 0};
    append(&whole, head, sizeof head);
    if (table.n > 0)
        append(&whole, table.bytes, table.n);
    if (names.n > 0)
        append(&whole, names.bytes, names.n);
    if (whole.failed || table.failed || names.failed)
        notes->failed = true;
    else
        add_note(notes, "CORE", NT_FILE, whole.bytes, whole.n);
    free(whole.bytes);
    free(table.bytes);
    free(names.bytes);
}

int core_notes_build(const struct tracee *tracee, const struct core_memory *memory, char **bytes,
                     size_t *n_bytes)
{
    struct notes notes = {.n = 0};

    for (unsigned i = 0; i < tracee->n_threads; i++) {
        const struct tracee_thread *thread = &tracee->threads[i];
        add_status(&notes, tracee->pid, thread);
        if (i == 0) {
            add_process(&notes, tracee->pid);
            add_auxiliary_vector(&notes, tracee->pid);
            add_files(&notes, memory);
        }
        add_registers(&notes, thread, "CORE", NT_FPREGSET);
#if defined(__x86_64__)
        add_registers(&notes, thread, "LINUX", NT_X86_XSTATE);
#elif defined(__aarch64__)
        add_registers(&notes, thread, "LINUX", NT_ARM_TLS);
#endif
    }
    if (notes.failed) {
        free(notes.bytes);
        return -ENOMEM;
    }
    *bytes = notes.bytes;
    *n_bytes = notes.n;
    return 0;
}
