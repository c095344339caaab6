/* SPDX-License-Identifier: Apache-2.0 */
/*
 * threads_ended: threads that end, or leave, in the middle of a fault: cancelled at any
 * instruction, ended by pthread_exit() in a signal handler, or thrown out of the access by
 * siglongjmp(). The memory that they read is right before and after, and others can go on with it.
 */
#include "helper.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

enum { N_ROUNDS = 24, N_READERS = 3, STRIDE = 4096 * 7, MOST_DELAY_NS = 400000 };

enum way { BY_CANCEL, BY_EXIT, BY_JUMP, N_WAYS };

static unsigned char *memory;
static size_t n_bytes;
static _Thread_local sigjmp_buf out;
static _Thread_local volatile bool may_jump;

static void end_thread(int signal)
{
    (void)signal;
    pthread_exit(NULL);
}

static void jump(int signal)
{
    (void)signal;
    if (may_jump)
        siglongjmp(out, 1);
}

/* Reads a byte of many pages, most of which are not there. Nothing in it takes a lock. */
static void read_on(uint64_t seed)
{
    for (size_t i = mix(seed) % n_bytes;; i = (i + STRIDE) % n_bytes)
        if (((volatile unsigned char *)memory)[i] != pattern_byte(1, i))
            fail("byte %zu is wrong", i);
}

static void *reader(void *argument)
{
    uint64_t seed = (uint64_t)(uintptr_t)argument;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    if (sigsetjmp(out, 1) == 0) {
        may_jump = true;
        read_on(seed);
    }
    return NULL; /* thrown out */
}

static void end(pthread_t thread, enum way way, uint64_t delay_ns)
{
    nanosleep(&(struct timespec){0, (long)delay_ns}, NULL);
    if (way == BY_CANCEL) {
        EXPECT(pthread_cancel(thread) == 0);
    } else {
        /* It may not have come to where it can be thrown out yet. */
        int status;
        while ((status = pthread_kill(thread, way == BY_EXIT ? SIGUSR1 : SIGUSR2)) == 0 &&
               pthread_tryjoin_np(thread, NULL) != 0)
            nanosleep(&(struct timespec){0, 1000000}, NULL);
        EXPECT(status == 0);
        return;
    }
    EXPECT(pthread_join(thread, NULL) == 0);
}

int main(int argc, char **argv)
{
    EXPECT(argc == 2);
    n_bytes = strtoul(argv[1], NULL, 10) * MIB;
    memory = malloc(n_bytes);
    EXPECT(memory);
    pattern_fill(memory, n_bytes, 1);
    EXPECT(sigaction(SIGUSR1, &(struct sigaction){.sa_handler = end_thread}, NULL) == 0);
    EXPECT(sigaction(SIGUSR2, &(struct sigaction){.sa_handler = jump}, NULL) == 0);
    for (uint64_t round = 0; round < N_ROUNDS; round++) {
        pthread_t threads[N_READERS];
        for (uint64_t i = 0; i < N_READERS; i++)
            EXPECT(pthread_create(&threads[i], NULL, reader,
                                  (void *)(uintptr_t)(round * N_READERS + i)) == 0);
        for (uint64_t i = 0; i < N_READERS; i++)
            end(threads[i], (enum way)((round + i) % N_WAYS),
                mix(round * N_READERS + i) % MOST_DELAY_NS);
        unsigned char *own = malloc(MIB); /* what allocates goes on as well */
        EXPECT(own);
        pattern_fill(own, MIB, round);
        pattern_check(own, MIB, round, "new memory");
        free(own);
    }
    pattern_check(memory, n_bytes, 1, "all of it");
    printf("OK\n");
    return 0;
}
