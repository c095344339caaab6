/* SPDX-License-Identifier: Apache-2.0 */
/* sys: see sys.h. One instruction a call; the kernel's answer goes back untouched. */
#include "base/sys.h"

#include "base/stepping.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#if defined(__x86_64__)
static long call6(long n, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
static long call6(long n, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
}
#else
#error "Quire knows the system call instruction of x86-64 and arm64 only"
#endif

#define CALL(n, a, b, c, d, e, f) \
    call6((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

#ifdef QUIRE_FAULT_INJECTION
#include <linux/ioctl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

static struct {
    _Atomic unsigned long nth; /* 0: off */
    _Atomic unsigned long n_calls, fired;
    struct sys_fault fault;
} injections[SYS_N_CLASSES];

void sys_inject_fault(enum sys_class class, const struct sys_fault *fault)
{
    atomic_store(&injections[class].nth, 0);
    injections[class].fault = *fault;
    atomic_store(&injections[class].fired, 0);
    atomic_store(&injections[class].n_calls, 0);
    atomic_store(&injections[class].nth, fault->nth);
}

void sys_inject(enum sys_class class, unsigned long nth, int error)
{
    sys_inject_fault(class, &(struct sys_fault){.nth = nth, .n_times = 1, .error = error});
}

unsigned long sys_injected(enum sys_class class)
{
    return atomic_load(&injections[class].fired);
}

/* The fault that this call of the class is to suffer, or NULL. */
static const struct sys_fault *injected_fault(enum sys_class class)
{
    const unsigned long nth = atomic_load(&injections[class].nth);
    if (nth == 0)
        return NULL;
    const unsigned long n = atomic_fetch_add(&injections[class].n_calls, 1) + 1;
    if (n < nth || n - nth >= injections[class].fault.n_times)
        return NULL;
    atomic_fetch_add(&injections[class].fired, 1);
    return &injections[class].fault;
}

static int injected_error(enum sys_class class)
{
    const struct sys_fault *fault = injections[class].fault.in_swap ? NULL : injected_fault(class);
    return fault != NULL ? -fault->error : 0;
}

static int injected_request(unsigned long request)
{
    const unsigned long only = injections[SYS_CLASS_IOCTL].fault.request;
    return only == 0 || only == request ? injected_error(SYS_CLASS_IOCTL) : 0;
}

static bool is_swap(int fd)
{
    struct stat status;
    return CALL(SYS_fstat, fd, &status, 0, 0, 0, 0) == 0 && S_ISREG(status.st_mode) &&
           (status.st_mode & 0777) == 0600 && status.st_nlink == 0;
}

/* In a pread or a pwrite: what it is to return, or 0: it runs, perhaps on less. */
static int injected_into(enum sys_class class, int fd, size_t *n_bytes)
{
    if (injections[class].fault.in_swap && !is_swap(fd))
        return 0;
    const struct sys_fault *fault = injected_fault(class);
    if (fault == NULL)
        return 0;
    if (fault->stall_ns > 0)
        sys_sleep_ns(fault->stall_ns);
    if (fault->shorten && *n_bytes > SYS_PAGE_SIZE)
        *n_bytes = *n_bytes / 2 / SYS_PAGE_SIZE * SYS_PAGE_SIZE;
    return -fault->error;
}

/* As a kernel does that does it and denies it. */
static void ioctl_secretly(int fd, unsigned long request, const void *argument)
{
    char copy[1 << _IOC_SIZEBITS];
    memcpy(copy, argument, _IOC_SIZE(request));
    CALL(SYS_ioctl, fd, request, copy, 0, 0, 0);
}
#else
static inline void ioctl_secretly(int fd, unsigned long request, const void *argument)
{
}

static inline int injected_error(enum sys_class class)
{
    return 0;
}

static inline int injected_request(unsigned long request)
{
    return 0;
}

static inline int injected_into(enum sys_class class, int fd, size_t *n_bytes)
{
    return 0;
}
#endif

void *sys_mmap(void *address, size_t n_bytes, int prot, int flags, int fd, off_t offset)
{
    int error = injected_error(SYS_CLASS_MAP);
    if (error)
        return (void *)(intptr_t)error;
    return (void *)CALL(SYS_mmap, address, n_bytes, prot, flags, fd, offset);
}

int sys_munmap(void *address, size_t n_bytes)
{
    return (int)CALL(SYS_munmap, address, n_bytes, 0, 0, 0, 0);
}

int sys_mprotect(void *address, size_t n_bytes, int prot)
{
    int error = injected_error(SYS_CLASS_MAP);
    return error ? error : (int)CALL(SYS_mprotect, address, n_bytes, prot, 0, 0, 0);
}

int sys_madvise(void *address, size_t n_bytes, int advice)
{
    const int error = injected_error(SYS_CLASS_GIVE);
    stepping_call();
    if (advice == MADV_POPULATE_WRITE)
        stepping_populate(address);
    return error ? error : (int)CALL(SYS_madvise, address, n_bytes, advice, 0, 0, 0);
}

#define PIDFD_SELF_THREAD (-10000) /* Linux 6.15; the process has none once main has ended */

ssize_t sys_madvise_ranges(const struct iovec *ranges, unsigned n_ranges, int advice)
{
    const int error = injected_error(SYS_CLASS_GIVE);
    stepping_call();
    return error ? error
                 : (ssize_t)CALL(SYS_process_madvise, PIDFD_SELF_THREAD, ranges, n_ranges, advice,
                                 0, 0);
}

void *sys_mremap(void *old, size_t old_bytes, size_t new_bytes, int flags, void *address)
{
    int error = injected_error(SYS_CLASS_MAP);
    if (error)
        return (void *)(intptr_t)error;
    return (void *)CALL(SYS_mremap, old, old_bytes, new_bytes, flags, address, 0);
}

int sys_mlock(const void *address, size_t n_bytes)
{
    const int error = injected_error(SYS_CLASS_LOCK);
    return error ? error : (int)CALL(SYS_mlock, address, n_bytes, 0, 0, 0, 0);
}

int sys_mlock2(const void *address, size_t n_bytes, unsigned flags)
{
    return (int)CALL(SYS_mlock2, address, n_bytes, flags, 0, 0, 0);
}

int sys_mlockall(int flags)
{
    return (int)CALL(SYS_mlockall, flags, 0, 0, 0, 0, 0);
}

int sys_munlock(const void *address, size_t n_bytes)
{
    return (int)CALL(SYS_munlock, address, n_bytes, 0, 0, 0, 0);
}

int sys_mincore(const void *address, size_t n_bytes, unsigned char *there)
{
    const int error = injected_error(SYS_CLASS_PEEK);
    return error ? error : (int)CALL(SYS_mincore, address, n_bytes, there, 0, 0, 0);
}

int sys_msync(void *address, size_t n_bytes, int flags)
{
    return (int)CALL(SYS_msync, address, n_bytes, flags, 0, 0, 0);
}

int sys_memfd_create(const char *name, unsigned flags)
{
    const int error = injected_error(SYS_CLASS_OPEN);
    return error ? error : (int)CALL(SYS_memfd_create, name, flags, 0, 0, 0, 0);
}

int sys_openat(int dirfd, const char *path, int flags, unsigned mode)
{
    const int error = injected_error(SYS_CLASS_OPEN);
    return error ? error : (int)CALL(SYS_openat, dirfd, path, flags, mode, 0, 0);
}

int sys_close(int fd)
{
    return (int)CALL(SYS_close, fd, 0, 0, 0, 0, 0);
}

int sys_close_range(unsigned first, unsigned last, unsigned flags)
{
    return (int)CALL(SYS_close_range, first, last, flags, 0, 0, 0);
}

ssize_t sys_read(int fd, void *buffer, size_t n_bytes)
{
    int error = injected_error(SYS_CLASS_READ);
    return error ? error : CALL(SYS_read, fd, buffer, n_bytes, 0, 0, 0);
}

ssize_t sys_write(int fd, const void *buffer, size_t n_bytes)
{
    return CALL(SYS_write, fd, buffer, n_bytes, 0, 0, 0);
}

ssize_t sys_pread(int fd, void *buffer, size_t n_bytes, off_t offset)
{
    int error = injected_into(SYS_CLASS_READ, fd, &n_bytes);
    return error ? error : CALL(SYS_pread64, fd, buffer, n_bytes, offset, 0, 0);
}

ssize_t sys_pwrite(int fd, const void *buffer, size_t n_bytes, off_t offset)
{
    int error = injected_into(SYS_CLASS_WRITE, fd, &n_bytes);
    stepping_call();
    return error ? error : CALL(SYS_pwrite64, fd, buffer, n_bytes, offset, 0, 0);
}

int sys_ftruncate(int fd, off_t n_bytes)
{
    int error = injected_error(SYS_CLASS_WRITE);
    return error ? error : (int)CALL(SYS_ftruncate, fd, n_bytes, 0, 0, 0, 0);
}

int sys_fallocate(int fd, int mode, off_t offset, off_t n_bytes)
{
    const int error = injected_error(SYS_CLASS_GIVE);
    return error ? error : (int)CALL(SYS_fallocate, fd, mode, offset, n_bytes, 0, 0);
}

int sys_fadvise(int fd, off_t offset, off_t n_bytes, int advice)
{
    return (int)CALL(SYS_fadvise64, fd, offset, n_bytes, advice, 0, 0);
}

int sys_ioctl(int fd, unsigned long request, void *argument)
{
    int error = injected_request(request);
    stepping_call();
    if (error == -EEXIST)
        ioctl_secretly(fd, request, argument);
    return error ? error : (int)CALL(SYS_ioctl, fd, request, argument, 0, 0, 0);
}

int sys_fcntl(int fd, int command, long argument)
{
    const int error = injected_error(SYS_CLASS_OPEN);
    return error ? error : (int)CALL(SYS_fcntl, fd, command, argument, 0, 0, 0);
}

ssize_t sys_readlinkat(int dirfd, const char *path, char *buffer, size_t n_bytes)
{
    const int error = injected_error(SYS_CLASS_OPEN);
    return error ? error : CALL(SYS_readlinkat, dirfd, path, buffer, n_bytes, 0, 0);
}

int sys_getpid(void)
{
    return (int)CALL(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

int sys_gettid(void)
{
    return (int)CALL(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

int sys_pidfd_open(int pid)
{
    return (int)CALL(SYS_pidfd_open, pid, 0, 0, 0, 0, 0);
}

int sys_pidfd_getfd(int pidfd, int fd)
{
    return (int)CALL(SYS_pidfd_getfd, pidfd, fd, 0, 0, 0, 0);
}

int sys_kill(int pid, int signal)
{
    return (int)CALL(SYS_kill, pid, signal, 0, 0, 0, 0);
}

int sys_tgkill(int pid, int tid, int signal)
{
    return (int)CALL(SYS_tgkill, pid, tid, signal, 0, 0, 0);
}

int sys_unshare(int flags)
{
    const int error = injected_error(SYS_CLASS_TASK);
    return error ? error : (int)CALL(SYS_unshare, flags, 0, 0, 0, 0, 0);
}

int sys_sched_setaffinity(int tid, size_t n_bytes, const unsigned long *mask)
{
    const int error = injected_error(SYS_CLASS_TASK);
    return error ? error : (int)CALL(SYS_sched_setaffinity, tid, n_bytes, mask, 0, 0, 0);
}

int sys_sched_getaffinity(int tid, size_t n_bytes, unsigned long *mask)
{
    const int error = injected_error(SYS_CLASS_TASK);
    return error ? error : (int)CALL(SYS_sched_getaffinity, tid, n_bytes, mask, 0, 0, 0);
}

int sys_sched_setscheduler(int tid, int policy)
{
    const int priority = 0; /* all of struct sched_param */
    const int error = injected_error(SYS_CLASS_TASK);
    return error ? error : (int)CALL(SYS_sched_setscheduler, tid, policy, &priority, 0, 0, 0);
}

int sys_poll_in(int fd, int timeout_ms)
{
    struct pollfd what = {.fd = fd, .events = POLLIN};
    struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000};
    int n = (int)CALL(SYS_ppoll, &what, 1, timeout_ms < 0 ? NULL : &timeout, NULL, 8, 0);
    return n > 0 && !(what.revents & POLLIN) ? -EIO : n;
}

int sys_sigprocmask(int how, const uint64_t *set, uint64_t *old)
{
    return (int)CALL(SYS_rt_sigprocmask, how, set, old, sizeof(uint64_t), 0, 0);
}

int sys_userfaultfd(int flags)
{
    const int error = injected_error(SYS_CLASS_OPEN);
    return error ? error : (int)CALL(SYS_userfaultfd, flags, 0, 0, 0, 0, 0);
}

ssize_t sys_process_vm_readv(int pid, void *local, size_t n_bytes, const struct iovec *remote,
                             unsigned n_remote)
{
    struct iovec here = {local, n_bytes};
    const int error = injected_error(SYS_CLASS_PEEK);
    return error ? error : CALL(SYS_process_vm_readv, pid, &here, 1, remote, n_remote, 0);
}

void sys_exit_thread(int status)
{
    for (;;)
        CALL(SYS_exit, status, 0, 0, 0, 0, 0);
}

void sys_exit_group(int status)
{
    for (;;)
        CALL(SYS_exit_group, status, 0, 0, 0, 0, 0);
}

uint64_t sys_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now); /* the vDSO's: no kernel, no errno on this clock */
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t sys_thread_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

int sys_sleep_ns(uint64_t ns)
{
    struct timespec time = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    return (int)CALL(SYS_nanosleep, &time, NULL, 0, 0, 0, 0);
}

int sys_futex_wait(const void *word, uint32_t expected, uint64_t timeout_ns, bool shared)
{
    int result = 0;
    if (stepping_futex_wait(word, expected, timeout_ns, &result))
        return result;
    struct timespec time = {(time_t)(timeout_ns / 1000000000u), (long)(timeout_ns % 1000000000u)};
    int operation = FUTEX_WAIT | (shared ? 0 : FUTEX_PRIVATE_FLAG);
    return (int)CALL(SYS_futex, word, operation, expected, timeout_ns ? &time : NULL, 0, 0);
}

int sys_futex_wake(const void *word, int n_waiters, bool shared)
{
    stepping_futex_wake(word, n_waiters);
    int operation = FUTEX_WAKE | (shared ? 0 : FUTEX_PRIVATE_FLAG);
    return (int)CALL(SYS_futex, word, operation, n_waiters, 0, 0, 0);
}
