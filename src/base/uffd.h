/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uffd: userfaultfd, and the parts of its interface that are newer than Debian 12's header.
 *
 * Source: Linux's Documentation/admin-guide/mm/userfaultfd.rst and ioctl_userfaultfd(2). Constants
 * and layouts are the kernel's ABI.
 */
#ifndef QUIRE_BASE_UFFD_H
#define QUIRE_BASE_UFFD_H

#include <linux/ioctl.h>
#include <linux/types.h>
#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifndef UFFD_FEATURE_MOVE /* Linux 6.8 */
#define UFFD_FEATURE_MOVE (1 << 16)
#define _UFFDIO_MOVE (0x05)
struct uffdio_move {
    __u64 dst;
    __u64 src;
    __u64 len;
#define UFFDIO_MOVE_MODE_DONTWAKE ((__u64)1 << 0)
#define UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES ((__u64)1 << 1)
    __u64 mode;
    __s64 move;
};
#define UFFDIO_MOVE _IOWR(UFFDIO, _UFFDIO_MOVE, struct uffdio_move)
#endif

#ifndef USERFAULTFD_IOC /* Linux 6.1: /dev/userfaultfd */
#define USERFAULTFD_IOC 0xAA
#define USERFAULTFD_IOC_NEW _IO(USERFAULTFD_IOC, 0x00)
#endif

/* How a descriptor that also serves the kernel's own accesses can be had. */
enum uffd_way {
    UFFD_BY_SYSCALL, /* userfaultfd(0): CAP_SYS_PTRACE or vm.unprivileged_userfaultfd=1 */
    UFFD_BY_DEVICE,  /* /dev/userfaultfd is readable and writable */
    UFFD_USER_ONLY,  /* only faults from user mode: not enough for unmodified programs */
    UFFD_CLOSED,     /* not at all: seccomp, or a kernel built without it */
};

/*
 * Opens a userfaultfd (close-on-exec, non-blocking) that serves kernel accesses too, and agrees on
 * the interface with `features`. Returns the descriptor, or -EPERM (no right), -ENOSYS (no such
 * call), -EINVAL (the kernel lacks a feature). *way says how it was opened, or what is open at
 * most.
 */
int uffd_open(uint64_t features, enum uffd_way *way);

/* The features that this kernel offers, through whatever way is open; 0 when none is. */
uint64_t uffd_features(void);

/* Faults on absent pages, and where `writes` on writes to pages that uffd_protect marked. Once more
 * for the same range may add `writes`. */
int uffd_register(int uffd, void *address, size_t n_bytes, bool writes);
int uffd_unregister(int uffd, void *address, size_t n_bytes);
int uffd_wake(int uffd, void *address, size_t n_bytes);
/* Marks what is present there so that the next write faults; or takes that back. */
int uffd_protect(int uffd, void *address, size_t n_bytes, bool protect);

/*
 * Copy and move: the number of bytes done (a prefix), or a negative errno when nothing was done.
 * Nobody is woken: that is for uffd_wake. -EEXIST: the destination is there already. `protect`:
 * the first write faults, as after uffd_protect.
 */
ssize_t uffd_copy(int uffd, void *to, const void *from, size_t n_bytes, bool protect);
/* Moves pages. An absent source page ends it (-ENOENT). */
ssize_t uffd_move(int uffd, void *to, void *from, size_t n_bytes);

#endif
