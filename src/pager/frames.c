/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frames: where the kernel says that frames are, and moving them.
 *
 * What UFFDIO_MOVE says when it did not do all is not the whole truth. Where memory compaction
 * makes it repeat a step, Linux 6.18 moves the pages, goes on from where it began, and says EEXIST
 * (docs/adr/0005-moves-are-checked.md). To believe it would leave frames where nobody looks for
 * them, and zeros where they came from. So the page map is asked how far such a move got.
 *
 * What /proc tells of a process it tells through one of its threads. /proc/self is main's, which
 * may have ended while others go on, and tells nothing then.
 */
#include "base/uffd.h"
#include "pager/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>

/* Descriptors in the file table of the pager's threads; -1: not opened yet. */
static int pagemap = -1;
static int memory = -1; /* its memory */

void frames_fork_child(void)
{
    pagemap = memory = -1; /* those were the parent's, in a file table that this process has not */
}

static bool look_up(const void *address, uint64_t *map)
{
    if (pagemap < 0)
        pagemap = sys_openat(AT_FDCWD, "/proc/thread-self/pagemap", O_RDONLY | O_CLOEXEC, 0);
    off_t offset = (off_t)((uintptr_t)address >> SYS_PAGE_SHIFT) * 8;
    return pagemap >= 0 && sys_pread(pagemap, map, sizeof *map, offset) == sizeof *map;
}

uint64_t frames_look_up(const void *address)
{
    uint64_t map;
    return look_up(address, &map) ? map : 0;
}

/* Without /proc (a chroot) mincore() knows as well, but for what the kernel swapped out itself. */
bool frames_is_there(const void *address)
{
    uint64_t map;
    unsigned char there;
    if (look_up(address, &map))
        return map & PAGEMAP_PRESENT;
    return sys_mincore(address, SYS_PAGE_SIZE, &there) == 0 && (there & 1);
}

/* How many pages from `done` on have left `from` for `to`, whatever the kernel said. */
static uint32_t uncounted(const char *to, const char *from, uint32_t done, uint32_t n_pages)
{
    uint32_t n = done;
    while (n < n_pages && frames_is_there(to + ((size_t)n << SYS_PAGE_SHIFT)) &&
           !frames_is_there(from + ((size_t)n << SYS_PAGE_SHIFT)))
        n++;
    return n - done;
}

ssize_t frames_move(char *to, char *from, uint32_t n_pages)
{
    uint32_t done = 0;
    while (done < n_pages) {
        size_t offset = (size_t)done << SYS_PAGE_SHIFT;
        ssize_t moved = uffd_move(service_uffd, to + offset, from + offset,
                                  (size_t)(n_pages - done) << SYS_PAGE_SHIFT);
        uint32_t n = moved > 0 ? (uint32_t)((size_t)moved >> SYS_PAGE_SHIFT) : 0;
        if (done + n == n_pages)
            return n_pages;
        done += n;
        uint32_t more = uncounted(to, from, done, n_pages);
        done += more;
        if (moved < 0 && moved != -EAGAIN && more == 0)
            return done > 0 ? (ssize_t)done : moved;
    }
    return n_pages;
}

/*
 * By way of the kernel, which has all frames mapped already. Here a frame that has just been moved
 * would have to be mapped first: 4.7 µs a page on a virtual machine with shadow page tables, where
 * this takes 0.7. False: the kernel forbids it (a container's seccomp filter), or the pages can't
 * be read at all.
 *
 * Not for frames that a fork left to several: Linux pins what it reads like this, and from 5.19 on
 * it makes whose page that is a copy first, of which nobody is told (docs/adr/0057).
 */
static uint32_t read_together(unsigned char *copies, const char *const *addresses, uint32_t n_pages)
{
    struct iovec there[FRAMES_MOST_READ];
    unsigned n = 0;
    for (uint32_t i = 0; i < n_pages; i++) {
        if (i > 0 && addresses[i] == addresses[i - 1] + SYS_PAGE_SIZE)
            there[n - 1].iov_len += SYS_PAGE_SIZE;
        else
            there[n++] = (struct iovec){(void *)(uintptr_t)addresses[i], SYS_PAGE_SIZE};
    }
    const ssize_t got = sys_process_vm_readv(sys_gettid(), copies,
                                             (size_t)n_pages << SYS_PAGE_SHIFT, there, n);
    return got > 0 ? (uint32_t)((size_t)got >> SYS_PAGE_SHIFT) : 0;
}

bool frames_read(unsigned char *copies, const char *const *addresses, uint32_t n_pages)
{
    return n_pages == 0 || read_together(copies, addresses, n_pages) == n_pages;
}

/* By /proc/.../mem, which says EIO of an absent page, and reads what the program may not. */
static uint32_t read_run(unsigned char *copies, const char *const *addresses, uint32_t n_pages)
{
    uint32_t n = 1;
    if (memory < 0)
        memory = sys_openat(AT_FDCWD, "/proc/thread-self/mem", O_RDONLY | O_CLOEXEC, 0);
    while (n < n_pages && addresses[n] == addresses[n - 1] + SYS_PAGE_SIZE)
        n++;
    const ssize_t got = sys_pread(memory, copies, (size_t)n << SYS_PAGE_SHIFT,
                                  (off_t)(uintptr_t)addresses[0]);
    return got > 0 ? (uint32_t)((size_t)got >> SYS_PAGE_SHIFT) : 0;
}

/*
 * One call for all where it may fault: the program may have dropped pages by raw system calls, and
 * a lone handler would wait for itself.
 */
uint32_t frames_read_in_place(unsigned char *copies, const char *const *addresses, uint32_t n_pages,
                              bool shared)
{
    const bool together = !shared && handlers_are_several();
    uint32_t done = together ? read_together(copies, addresses, n_pages) : 0, n = 1;
    for (; done < n_pages && n > 0; done += n)
        n = read_run(copies + ((size_t)done << SYS_PAGE_SHIFT), addresses + done, n_pages - done);
    return done;
}

/* How many pages from the first on are neighbours. */
static uint32_t run_length(char *const *addresses, uint32_t n_pages)
{
    uint32_t n = 1;
    while (n < n_pages && addresses[n] == addresses[n - 1] + SYS_PAGE_SIZE)
        n++;
    return n;
}

/*
 * Of neighbours. At one that is locked the kernel stops, and does not say where: what it had
 * dropped before can be dropped once more.
 */
static bool drop_run(char *address, uint32_t n_pages, bool *gone)
{
    const bool all = sys_madvise(address, (size_t)n_pages << SYS_PAGE_SHIFT, MADV_DONTNEED) == 0;
    for (uint32_t i = 0; i < n_pages; i++, address += SYS_PAGE_SIZE)
        gone[i] = all || sys_madvise(address, SYS_PAGE_SIZE, MADV_DONTNEED) == 0;
    return all;
}

/*
 * By one call, where the kernel can: other processors, and a hypervisor, are told of all pages at
 * once. Returns how many went, from the first on.
 */
static uint32_t drop_together(char *const *addresses, uint32_t n_pages)
{
    struct iovec ranges[FRAMES_MOST_DROPPED];
    unsigned n_ranges = 0;
    for (uint32_t at = 0, n; at < n_pages; at += n) {
        n = run_length(addresses + at, n_pages - at);
        ranges[n_ranges++] = (struct iovec){addresses[at], (size_t)n << SYS_PAGE_SHIFT};
    }
    const ssize_t done = n_ranges > 1 ? sys_madvise_ranges(ranges, n_ranges, MADV_DONTNEED) : 0;
    return done > 0 ? (uint32_t)((size_t)done >> SYS_PAGE_SHIFT) : 0;
}

void frames_drop(char *const *addresses, uint32_t n_pages, bool *gone)
{
    static _Atomic bool cannot; /* drop several ranges by one call */
    const uint32_t n_together = cannot ? 0 : drop_together(addresses, n_pages);
    for (uint32_t i = 0; i < n_together; i++)
        gone[i] = true;
    for (uint32_t at = n_together, n; at < n_pages; at += n) {
        n = run_length(addresses + at, n_pages - at);
        const bool all = drop_run(addresses[at], n, gone + at);
        if (at == 0 && all && n < n_pages)
            cannot = true;
    }
}
