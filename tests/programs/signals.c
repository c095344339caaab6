/* SPDX-License-Identifier: Apache-2.0 */
/*
 * signals: handlers that touch evicted memory while the program faults, run on an alternate stack
 * that is itself evicted, are nested, and leave by siglongjmp; a SIGSEGV handler still gets the
 * faults that are the program's own, with the right address.
 */
#include "helper.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>

enum { N_PAGES = 600, ALTERNATE_BYTES = 128 << 10 };

static volatile uint64_t *evicted; /* what handlers touch: one word a page counts visits */
static volatile sig_atomic_t n_ticks, is_ticking;
static const struct itimerval next_tick = {.it_value.tv_usec = 1000};
static volatile char *alternate;
static sigjmp_buf *back; /* in paged memory, too */
static void *volatile faulted;

static int on_alternate_stack(void)
{
    volatile char here;
    return &here >= alternate && &here < alternate + ALTERNATE_BYTES;
}

static void tick(int signal)
{
    (void)signal;
    int saved = errno;
    if (!on_alternate_stack())
        fail("the handler does not run on its stack");
    for (int i = 0; i < 20; i++)
        evicted[(size_t)((n_ticks * 20 + i) % N_PAGES) * 512]++;
    n_ticks++;
    if (is_ticking) /* anew: however slow this was, the program then gets on for a moment */
        setitimer(ITIMER_REAL, &next_tick, NULL);
    errno = saved;
}

static void leave(int signal)
{
    (void)signal;
    siglongjmp(*back, 1);
}

static void segv(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)context;
    faulted = info->si_addr;
    siglongjmp(*back, 2);
}

static void install(int signal, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK | SA_RESTART};
    EXPECT(sigaction(signal, &action, NULL) == 0);
}

/* A timer strikes while the program pages to and fro. */
static void under_fire(void)
{
    const struct itimerval off = {0};
    install(SIGALRM, tick);
    is_ticking = 1;
    EXPECT(setitimer(ITIMER_REAL, &next_tick, NULL) == 0);
    errno = 12345;
    for (int i = 0; i < 4 || n_ticks < 50; i++)
        press();
    EXPECT(errno == 12345);
    is_ticking = 0;
    EXPECT(setitimer(ITIMER_REAL, &off, NULL) == 0);
    uint64_t sum = 0;
    for (size_t page = 0; page < N_PAGES; page++)
        sum += evicted[page * 512];
    EXPECT(sum == (uint64_t)n_ticks * 20);
}

static void jumps(void)
{
    static volatile int n_back;
    install(SIGUSR1, leave);
    for (volatile int i = 0; i < 100; i++) {
        if (i % 25 == 0)
            press();
        if (sigsetjmp(*back, 1) == 0)
            raise(SIGUSR1);
        else
            n_back++;
    }
    EXPECT(n_back == 100);
}

static void own_faults(void)
{
    struct sigaction action = {.sa_sigaction = segv, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    EXPECT(sigaction(SIGSEGV, &action, NULL) == 0);
    char *guarded = map_pages(4 * PAGE);
    pattern_fill(guarded, 4 * PAGE, 1);
    EXPECT(mprotect(guarded + PAGE, PAGE, PROT_NONE) == 0);
    press();
    if (sigsetjmp(*back, 1) == 0) {
        *(volatile char *)(guarded + PAGE + 5) = 1;
        fail("a write to protected memory went through");
    }
    EXPECT(faulted == guarded + PAGE + 5);
    EXPECT(munmap(guarded + 2 * PAGE, PAGE) == 0);
    if (sigsetjmp(*back, 1) == 0) {
        (void)*(volatile char *)(guarded + 2 * PAGE + 9);
        fail("a read of unmapped memory went through");
    }
    EXPECT(faulted == guarded + 2 * PAGE + 9);
    EXPECT(mprotect(guarded + PAGE, PAGE, PROT_READ) == 0);
    pattern_check(guarded, 2 * PAGE, 1, "memory that was protected while evicted");
}

int main(int argc, char **argv)
{
    helper_init(argc, argv);
    evicted = map_pages(N_PAGES * PAGE);
    alternate = malloc(ALTERNATE_BYTES);
    back = malloc(sizeof *back);
    EXPECT(alternate && back);
    stack_t stack = {.ss_sp = (void *)alternate, .ss_size = ALTERNATE_BYTES};
    EXPECT(sigaltstack(&stack, NULL) == 0);
    under_fire();
    jumps();
    own_faults();
    return helper_done();
}
