/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fibers: threads that run on stacks of paged memory, with and without a page at their end that may
 * not be touched. A fiber goes down its stack to anywhere, takes and gives memory there, sleeps
 * until its stack has been evicted, or forks, and finds its frames as they were on the way back.
 */
#include "helper.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <ucontext.h>

enum {
    N_THREADS = 2,
    N_FIBERS = 24, /* of a thread */
    STACK_BYTES = 64 << 10,
    FRAME_BYTES = 512,
    LEAST_LEFT = 7 << 10, /* of a stack, for the functions that are called at the deepest */
    FORK_LEFT = 14 << 10,
    N_DESCENTS = 16, /* of a fiber */
    FORK_SHARE = 64, /* one descent in so many */
};

struct thread {
    ucontext_t scheduler;
    struct fiber {
        ucontext_t context;
        char *stack; /* its lowest byte that may be used */
        uint64_t random;
        bool has_ended;
    } fibers[N_FIBERS];
    struct fiber *current;
};

static _Atomic bool is_over;
static __thread struct thread *self;

static uint64_t draw(struct fiber *fiber)
{
    return fiber->random = mix(fiber->random);
}

static void yield(struct fiber *fiber)
{
    struct thread *thread = self;
    EXPECT(swapcontext(&fiber->context, &thread->scheduler) == 0);
}

/* Memory comes and goes, each time by another way into the pager. */
static void take_and_give(struct fiber *fiber)
{
    size_t n_bytes = (16 + draw(fiber) % 48) * PAGE;
    char *mapped = map_pages(n_bytes), *block = malloc(n_bytes);
    EXPECT(block);
    for (size_t at = 0; at < n_bytes; at += PAGE)
        mapped[at] = block[at] = 1;
    if (draw(fiber) % 2)
        EXPECT(madvise(mapped, n_bytes, MADV_DONTNEED) == 0 && mapped[0] == 0);
    if (draw(fiber) % 2)
        block = realloc(block, n_bytes * 2);
    EXPECT(block && block[0] == 1);
    EXPECT(munmap(mapped, n_bytes) == 0);
    free(block);
}

static void fork_here(struct fiber *fiber)
{
    pid_t pid = fork();
    EXPECT(pid >= 0);
    if (pid == 0) {
        take_and_give(fiber);
        usleep(100000); /* or who adds up what processes hold would see some of it twice */
        _exit(7);
    }
    expect_exit(pid, 7);
}

static void at_the_deepest(struct fiber *fiber, size_t left)
{
    if (left >= FORK_LEFT && draw(fiber) % FORK_SHARE == 0)
        fork_here(fiber);
    take_and_give(fiber);
    yield(fiber);
    take_and_give(fiber);
}

__attribute__((noinline)) static void descend(struct fiber *fiber, size_t most_left)
{
    unsigned char frame[FRAME_BYTES];
    const uint64_t seed = draw(fiber);
    pattern_fill(frame, sizeof frame, seed);
    __asm__ volatile("" : : "r"(frame) : "memory");
    size_t left = (size_t)((char *)frame - fiber->stack);
    if (left > most_left)
        descend(fiber, most_left);
    else
        at_the_deepest(fiber, left);
    pattern_check(frame, sizeof frame, seed, "a frame on a fiber's stack");
}

static void run_fiber(void)
{
    struct fiber *fiber = self->current;
    for (int i = 0; i < N_DESCENTS; i++) {
        descend(fiber, LEAST_LEFT + draw(fiber) % (STACK_BYTES - 2 * LEAST_LEFT));
        yield(fiber);
    }
    fiber->has_ended = true;
    yield(fiber);
}

/* Some from malloc, others with a page below that is a trap. */
static void make_stack(struct fiber *fiber, bool is_guarded)
{
    char *memory = is_guarded ? map_pages(STACK_BYTES + PAGE) : malloc(STACK_BYTES);
    EXPECT(memory);
    if (is_guarded)
        EXPECT(mprotect(memory, PAGE, PROT_NONE) == 0);
    fiber->stack = memory + (is_guarded ? PAGE : 0);
}

static void make_fiber(struct fiber *fiber, unsigned number)
{
    make_stack(fiber, number % 2);
    fiber->random = number;
    EXPECT(getcontext(&fiber->context) == 0);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&fiber->context, run_fiber, 0);
}

static void *run_thread(void *argument)
{
    struct thread *thread = self = calloc(1, sizeof *thread);
    unsigned first = (unsigned)(uintptr_t)argument * N_FIBERS;
    EXPECT(thread);
    for (unsigned i = 0; i < N_FIBERS; i++)
        make_fiber(&thread->fibers[i], first + i);
    for (bool any = true; any;) {
        any = false;
        for (unsigned i = 0; i < N_FIBERS; i++) {
            thread->current = &thread->fibers[i];
            if (thread->current->has_ended)
                continue;
            EXPECT(swapcontext(&thread->scheduler, &thread->current->context) == 0);
            any = true;
        }
    }
    return NULL;
}

static void *run_pressure(void *unused)
{
    (void)unused;
    while (!is_over)
        press();
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[N_THREADS], pressure;
    helper_init(argc, argv);
    EXPECT(pthread_create(&pressure, NULL, run_pressure, NULL) == 0);
    for (size_t i = 0; i < N_THREADS; i++)
        EXPECT(pthread_create(&threads[i], NULL, run_thread, (void *)i) == 0);
    for (size_t i = 0; i < N_THREADS; i++)
        EXPECT(pthread_join(threads[i], NULL) == 0);
    is_over = true;
    EXPECT(pthread_join(pressure, NULL) == 0);
    return helper_done();
}
