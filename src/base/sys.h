/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sys: every system call that Quire makes.
 *
 * Why not libc's wrappers: Quire's code runs inside somebody else's program, in threads that libc
 * does not know (base/thread.h) and behind interposed functions. So nothing here touches errno,
 * takes a lock, allocates, or is a cancellation point, and none of it can be interposed.
 *
 * Every function returns a value >= 0, or a negative errno. Mappings return the address, or a
 * negative errno cast to a pointer: ask sys_is_error(). All are async-signal-safe and thread-safe.
 *
 * Test builds (-DQUIRE_FAULT_INJECTION) can make the Nth call of a class fail, see sys_inject().
 */
#ifndef QUIRE_BASE_SYS_H
#define QUIRE_BASE_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

#define SYS_PAGE_SHIFT 12
#define SYS_PAGE_SIZE ((size_t)1 << SYS_PAGE_SHIFT) /* the base page, bytes */

static inline bool sys_is_error(const void *address)
{
    return (uintptr_t)address >= (uintptr_t)-4095;
}

static inline int sys_error(const void *address) /* the negative errno in a failed mapping */
{
    return (int)(intptr_t)address;
}

/* Memory. Lengths in bytes. */
void *sys_mmap(void *address, size_t n_bytes, int prot, int flags, int fd, off_t offset);
int sys_munmap(void *address, size_t n_bytes);
int sys_mprotect(void *address, size_t n_bytes, int prot);
int sys_madvise(void *address, size_t n_bytes, int advice);
/*
 * The same for several ranges, after which other processors are told once (Linux 6.16; before that
 * as often as there are ranges). Returns for how many bytes of whole ranges, from the first on, it
 * was done, or the error of the first; on kernels before 6.15 an error.
 */
ssize_t sys_madvise_ranges(const struct iovec *ranges, unsigned n_ranges, int advice);
void *sys_mremap(void *old, size_t old_bytes, size_t new_bytes, int flags, void *address);
int sys_mlock(const void *address, size_t n_bytes);
int sys_mlock2(const void *address, size_t n_bytes, unsigned flags);
int sys_mlockall(int flags);
int sys_munlock(const void *address, size_t n_bytes);
int sys_mincore(const void *address, size_t n_bytes, unsigned char *there); /* a byte a page */
int sys_msync(void *address, size_t n_bytes, int flags);
int sys_memfd_create(const char *name, unsigned flags);

/* Descriptors. */
int sys_openat(int dirfd, const char *path, int flags, unsigned mode);
int sys_close(int fd);
int sys_close_range(unsigned first, unsigned last, unsigned flags);
ssize_t sys_read(int fd, void *buffer, size_t n_bytes);
ssize_t sys_write(int fd, const void *buffer, size_t n_bytes);
ssize_t sys_pread(int fd, void *buffer, size_t n_bytes, off_t offset);
ssize_t sys_pwrite(int fd, const void *buffer, size_t n_bytes, off_t offset);
int sys_ftruncate(int fd, off_t n_bytes);
int sys_fallocate(int fd, int mode, off_t offset, off_t n_bytes);
int sys_fadvise(int fd, off_t offset, off_t n_bytes, int advice);
int sys_ioctl(int fd, unsigned long request, void *argument);
int sys_fcntl(int fd, int command, long argument);
ssize_t sys_readlinkat(int dirfd, const char *path, char *buffer, size_t n_bytes);

/* Threads and processes. */
int sys_getpid(void);
int sys_gettid(void);
int sys_pidfd_open(int pid);
int sys_pidfd_getfd(int pidfd, int fd); /* a copy of that process's descriptor */
int sys_kill(int pid, int signal);
int sys_tgkill(int pid, int tid, int signal);
int sys_unshare(int flags);
int sys_sched_setaffinity(int tid, size_t n_bytes, const unsigned long *mask);
int sys_sched_getaffinity(int tid, size_t n_bytes, unsigned long *mask);
int sys_sched_setscheduler(int tid, int policy); /* with priority 0 */
/* Waits until fd can be read, timeout_ms at most (-1: for ever): 1, 0: time is up, or an error. */
int sys_poll_in(int fd, int timeout_ms);
int sys_sigprocmask(int how, const uint64_t *set, uint64_t *old);
int sys_userfaultfd(int flags);
/* Reads up to n_bytes from pieces of another process's memory, or one's own. */
ssize_t sys_process_vm_readv(int pid, void *local, size_t n_bytes, const struct iovec *remote,
                             unsigned n_remote);
_Noreturn void sys_exit_thread(int status);
_Noreturn void sys_exit_group(int status);

/* Time. */
uint64_t sys_now_ns(void);    /* CLOCK_MONOTONIC */
uint64_t sys_thread_ns(void); /* processor time of the calling thread */
int sys_sleep_ns(uint64_t ns);

/*
 * Futexes; `shared` says whether the word is in memory shared between processes. Wait returns 0
 * when woken, -EAGAIN when *word != expected, -ETIMEDOUT, -EINTR. timeout_ns 0 waits for ever.
 */
int sys_futex_wait(const void *word, uint32_t expected, uint64_t timeout_ns, bool shared);
int sys_futex_wake(const void *word, int n_waiters, bool shared);

/*
 * Fault injection: from now on the `nth` call (1 is the next) of the class returns -error instead
 * of running; 0 switches it off. sys_injected() says how often it fired since. EEXIST for an ioctl:
 * it runs, and says so nowhere.
 *
 * sys_inject_fault() is the same with more to say. `error` 0: the call runs, after a pause of
 * stall_ns, on the first half of its pages where `shorten` says so.
 */
enum sys_class {
    SYS_CLASS_MAP,
    SYS_CLASS_IOCTL,
    SYS_CLASS_READ,
    SYS_CLASS_WRITE,
    SYS_CLASS_GIVE, /* madvise and fallocate, by which memory and disk go back to the system */
    SYS_CLASS_OPEN, /* openat, memfd_create, userfaultfd, fcntl, readlinkat */
    SYS_CLASS_LOCK, /* mlock */
    SYS_CLASS_PEEK, /* process_vm_readv, mincore */
    SYS_CLASS_TASK, /* unshare and what schedules threads */
    SYS_N_CLASSES
};
#ifdef QUIRE_FAULT_INJECTION
struct sys_fault {
    unsigned long nth, n_times; /* from the nth call on, so many */
    int error;
    uint64_t stall_ns;
    bool shorten;
    unsigned long request; /* of ioctls only these; others don't count. 0: all */
    bool in_swap; /* of pread and pwrite those on files without a name only; others don't count */
};
void sys_inject_fault(enum sys_class class, const struct sys_fault *fault);
void sys_inject(enum sys_class class, unsigned long nth, int error);
unsigned long sys_injected(enum sys_class class);
#endif

#endif
