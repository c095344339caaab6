/* SPDX-License-Identifier: Apache-2.0 */
/*
 * thread: see thread.h.
 *
 *   one mapping:  | guard page | stack, grows down .... | thread-local block |
 *                                                 start ^       ^ thread pointer
 *
 * The thread-local block imitates what compiled code expects around the thread pointer: a
 * pointer to itself (x86-64), the stack protector's canary and the pointer guard, copied from the
 * creator, and zeroes on both sides where libc's and Quire's thread-local variables lie.
 */
#include "base/thread.h"

#include "base/sys.h"

#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define TLS_SIDE_BYTES ((size_t)32 << 10) /* on either side of the thread pointer */
#define ALL_BYTES (SYS_PAGE_SIZE + THREAD_STACK_BYTES + 2 * TLS_SIDE_BYTES)
#define CLONE_TRIES 11 /* with pauses that double: for a second in all */
#define CLONE_PAUSE_NS 1000000ull
#define CLONE_FLAGS_BASE \
    (CLONE_VM | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS)

_Atomic int thread_ids[THREAD_MOST_IDS];

struct start {
    void (*run)(void *argument);
    void *argument;
    bool own_files;
};

static void __attribute__((used)) begin(struct start *start)
{
    if (start->own_files)
        sys_close_range(0, ~0u, 0); /* the copies of the program's descriptors */
    start->run(start->argument);
    sys_exit_thread(0);
}

#if defined(__x86_64__)
static void fill_tls(char *pointer)
{
    uintptr_t canary, pointer_guard;
    __asm__("mov %%fs:0x28, %0" : "=r"(canary));
    __asm__("mov %%fs:0x30, %0" : "=r"(pointer_guard));
    const uintptr_t self = (uintptr_t)pointer;
    memcpy(pointer, &self, sizeof self);
    memcpy(pointer + 0x10, &self, sizeof self);
    memcpy(pointer + 0x28, &canary, sizeof canary);
    memcpy(pointer + 0x30, &pointer_guard, sizeof pointer_guard);
}

static long clone_thread(unsigned long flags, void *stack, void *tls, struct start *start)
{
    long result;
    register void *r10 __asm__("r10") = NULL;
    register void *r8 __asm__("r8") = tls;
    /* The new thread has no frame to return to: it finds its argument in r12 and calls begin. */
    register struct start *r12 __asm__("r12") = start;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %%r12, %%rdi\n\t"
                     "call *%[begin]\n\t"
                     "hlt\n"
                     "1:"
                     : "=a"(result)
                     : "a"(SYS_clone), "D"(flags), "S"(stack), "d"(NULL), "r"(r10), "r"(r8),
                       "r"(r12), [begin] "r"(begin)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
static void fill_tls(char *pointer)
{
    memset(pointer, 0, 16); /* the thread control block's two words; the canary is a global */
}

static long clone_thread(unsigned long flags, void *stack, void *tls, struct start *start)
{
    register long x8 __asm__("x8") = SYS_clone;
    register unsigned long x0 __asm__("x0") = flags;
    register void *x1 __asm__("x1") = stack;
    register void *x2 __asm__("x2") = NULL;
    register void *x3 __asm__("x3") = tls;
    register void *x4 __asm__("x4") = NULL;
    register struct start *x19 __asm__("x19") = start;
    register void (*x20)(struct start *) __asm__("x20") = begin;
    __asm__ volatile("svc 0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, xzr\n\t"
                     "mov x0, x19\n\t"
                     "blr x20\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x19), "r"(x20)
                     : "x30", "memory");
    return (long)x0;
}
#endif

/* A limit on processes may be full, or memory for a stack short, for a moment only. */
static long clone_patiently(unsigned long flags, void *stack, void *tls, struct start *start)
{
    long tid = clone_thread(flags, stack, tls, start);
    for (unsigned i = 1; i < CLONE_TRIES && (tid == -EAGAIN || tid == -ENOMEM); i++) {
        sys_sleep_ns(CLONE_PAUSE_NS << (i - 1));
        tid = clone_thread(flags, stack, tls, start);
    }
    return tid;
}

static void note_id(int tid)
{
    for (unsigned i = 0; i < THREAD_MOST_IDS; i++) {
        int none = 0;
        if (atomic_compare_exchange_strong(&thread_ids[i], &none, tid))
            return;
    }
}

void thread_forget_all(void)
{
    for (unsigned i = 0; i < THREAD_MOST_IDS; i++)
        atomic_store(&thread_ids[i], 0);
}

bool thread_is_own(void)
{
    int self = sys_gettid();
    for (unsigned i = 0; i < THREAD_MOST_IDS; i++)
        if (atomic_load(&thread_ids[i]) == self)
            return true;
    return false;
}

int thread_start(void (*run)(void *argument), void *argument, bool own_files)
{
    char *memory = sys_mmap(NULL, ALL_BYTES, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (sys_is_error(memory))
        return sys_error(memory);
    sys_mprotect(memory, SYS_PAGE_SIZE, PROT_NONE);
    char *stack = memory + SYS_PAGE_SIZE + THREAD_STACK_BYTES;
    char *tls = stack + TLS_SIDE_BYTES;
    fill_tls(tls);
    struct start *start = (struct start *)(void *)(stack - 64);
    *start = (struct start){run, argument, own_files};

    const uint64_t all = ~(uint64_t)0;
    uint64_t before;
    sys_sigprocmask(SIG_SETMASK, &all, &before);
    unsigned long flags = CLONE_FLAGS_BASE | (own_files ? 0 : CLONE_FILES);
    long tid = clone_patiently(flags, start, tls, start);
    sys_sigprocmask(SIG_SETMASK, &before, NULL);
    if (tid < 0)
        sys_munmap(memory, ALL_BYTES);
    else
        note_id((int)tid);
    return (int)tid;
}
