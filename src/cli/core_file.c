/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core_file: see core_file.h.
 *
 *   ELF header | program headers: PT_NOTE, PT_LOAD... | notes | segment | segment ...
 *                                                               ^ each begins at a page
 *
 * What is never written to is a hole: pages without contents, and such as hold zeros. Memory is
 * read by process_vm_readv(2), which waits for the pager; where it may not read (a mapping without
 * access), by /proc/PID/mem, which may, and can't wait: what is evicted there stays a hole and is
 * counted. A read asks for WINDOW_BYTES at a time, since the kernel pins what one call reads, and
 * pinned pages can't be evicted to make room for the next.
 *
 * Source: System V ABI (gABI) chapter 4; core(5).
 */
#include "cli/core_file.h"

#include "base/sys.h"
#include "cli/core_notes.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WINDOW_BYTES ((size_t)32 * SYS_PAGE_SIZE)
#define MOST_SEGMENTS (PN_XNUM - 2)

#if defined(__aarch64__)
#define MACHINE EM_AARCH64
#else
#define MACHINE EM_X86_64
#endif

static uint64_t to_page(uint64_t at)
{
    return (at + SYS_PAGE_SIZE - 1) & ~(uint64_t)(SYS_PAGE_SIZE - 1);
}

static int write_at(int fd, const void *bytes, size_t n_bytes, uint64_t offset)
{
    for (size_t done = 0; done < n_bytes;) {
        ssize_t n = pwrite(fd, (const char *)bytes + done, n_bytes - done, (off_t)(offset + done));
        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* Header, program headers and notes. *end: where the first segment may begin. */
static int write_head(struct core_file *core, Elf64_Phdr *headers, const char *notes,
                      size_t n_note_bytes)
{
    const size_t n = core->memory->n_segments + 1;
    Elf64_Ehdr header = {.e_type = ET_CORE,
                         .e_machine = MACHINE,
                         .e_version = EV_CURRENT,
                         .e_phoff = sizeof header,
                         .e_ehsize = sizeof header,
                         .e_phentsize = sizeof *headers,
                         .e_phnum = (uint16_t)n};
    uint64_t at = sizeof header + n * sizeof *headers;

    memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    headers[0] = (Elf64_Phdr){
        .p_type = PT_NOTE, .p_offset = at, .p_filesz = n_note_bytes, .p_align = 4};
    at = to_page(at + n_note_bytes);
    for (size_t i = 1; i < n; i++) {
        const struct core_segment *segment = &core->memory->segments[i - 1];
        headers[i] = (Elf64_Phdr){.p_type = PT_LOAD,
                                  .p_flags = segment->flags,
                                  .p_offset = at,
                                  .p_vaddr = segment->start,
                                  .p_filesz = segment->file_bytes,
                                  .p_memsz = segment->end - segment->start,
                                  .p_align = SYS_PAGE_SIZE};
        at += segment->file_bytes;
    }
    int error = write_at(core->fd, &header, sizeof header, 0);
    if (error == 0)
        error = write_at(core->fd, headers, n * sizeof *headers, sizeof header);
    if (error == 0)
        error = write_at(core->fd, notes, n_note_bytes, headers[0].p_offset);
    if (error == 0 && ftruncate(core->fd, (off_t)at) != 0)
        error = -errno;
    return error;
}

static bool is_zero(const char *bytes, size_t n_bytes)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, n_bytes - 1) == 0;
}

/* Pages in a row that are not all zeros go out at a time. */
static int write_pages(struct core_file *core, const char *bytes, size_t n_bytes, uint64_t offset)
{
    for (size_t at = 0, end; at < n_bytes; at = end) {
        end = at + SYS_PAGE_SIZE;
        if (is_zero(bytes + at, SYS_PAGE_SIZE))
            continue;
        while (end < n_bytes && !is_zero(bytes + end, SYS_PAGE_SIZE))
            end += SYS_PAGE_SIZE;
        int error = write_at(core->fd, bytes + at, end - at, offset + at);
        if (error < 0)
            return error;
        core->written_bytes += end - at;
    }
    return 0;
}

/* One page, by either way. False: the kernel gives it by none. */
static bool read_page(const struct core_file *core, int memory_fd, uint64_t address, char *page)
{
    struct iovec remote = {(void *)(uintptr_t)address, SYS_PAGE_SIZE};

    if (sys_process_vm_readv(core->pid, page, SYS_PAGE_SIZE, &remote, 1) == (ssize_t)SYS_PAGE_SIZE)
        return true;
    return memory_fd >= 0 &&
           pread(memory_fd, page, SYS_PAGE_SIZE, (off_t)address) == (ssize_t)SYS_PAGE_SIZE;
}

static int read_window(struct core_file *core, int memory_fd, uint64_t address, char *bytes,
                       size_t n_bytes)
{
    struct iovec remote = {(void *)(uintptr_t)address, n_bytes};
    ssize_t n = sys_process_vm_readv(core->pid, bytes, n_bytes, &remote, 1);

    if (n == -ESRCH)
        return -ESRCH;
    size_t at = n > 0 ? (size_t)n & ~(SYS_PAGE_SIZE - 1) : 0;
    for (; at < n_bytes; at += SYS_PAGE_SIZE) {
        if (read_page(core, memory_fd, address + at, bytes + at))
            continue;
        memset(bytes + at, 0, SYS_PAGE_SIZE);
        core->unreadable_bytes += SYS_PAGE_SIZE;
    }
    return 0;
}

/* Addresses [start, end), which stand at `offset` of the file. */
static int copy(struct core_file *core, int memory_fd, uint64_t start, uint64_t end,
                uint64_t offset)
{
    _Alignas(64) char bytes[WINDOW_BYTES];

    for (uint64_t at = start; at < end; at += WINDOW_BYTES) {
        size_t n_bytes = end - at < WINDOW_BYTES ? (size_t)(end - at) : WINDOW_BYTES;
        int error = read_window(core, memory_fd, at, bytes, n_bytes);
        if (error == 0)
            error = write_pages(core, bytes, n_bytes, offset + (at - start));
        if (error < 0)
            return error;
        atomic_fetch_add(&core->n_done_bytes, n_bytes);
    }
    return 0;
}

/* The runs that lie in the segment, *first being the first that may; or its only page. */
static int write_segment(struct core_file *core, int memory_fd, const struct core_segment *segment,
                         uint64_t offset, size_t *first)
{
    const struct core_memory *memory = core->memory;
    const uint64_t end = segment->start + segment->file_bytes;

    while (*first < memory->n_runs && memory->runs[*first].end <= segment->start)
        ++*first;
    if (segment->is_head)
        return copy(core, memory_fd, segment->start, end, offset);
    for (size_t i = *first; i < memory->n_runs && memory->runs[i].start < end; i++) {
        struct core_run run = memory->runs[i];
        if (run.start < segment->start)
            run.start = segment->start;
        if (run.end > end)
            run.end = end;
        int error = copy(core, memory_fd, run.start, run.end,
                         offset + (run.start - segment->start));
        if (error < 0)
            return error;
    }
    return 0;
}

static int write_memory(struct core_file *core, const Elf64_Phdr *headers)
{
    char path[64];
    size_t first = 0;
    int error = 0;

    snprintf(path, sizeof path, "/proc/%d/mem", core->pid);
    int memory_fd = open(path, O_RDONLY | O_CLOEXEC);
    for (size_t i = 0; error == 0 && i < core->memory->n_segments; i++)
        error = write_segment(core, memory_fd, &core->memory->segments[i], headers[i + 1].p_offset,
                              &first);
    if (memory_fd >= 0)
        close(memory_fd);
    return error;
}

int core_file_write(struct core_file *core)
{
    char *notes;
    size_t n_note_bytes;

    if (core->memory->n_segments > MOST_SEGMENTS)
        return -E2BIG;
    int error = core_notes_build(core->tracee, core->memory, &notes, &n_note_bytes);
    if (error < 0)
        return error;
    Elf64_Phdr *headers = calloc(core->memory->n_segments + 1, sizeof *headers);
    error = headers == NULL ? -ENOMEM : write_head(core, headers, notes, n_note_bytes);
    if (error == 0)
        error = write_memory(core, headers);
    free(headers);
    free(notes);
    return error;
}
