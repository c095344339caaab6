/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork_tree: a deep chain of forks and a broad one, with memory that is resident, evicted and
 * untouched when the fork happens. Each process checks what it inherited, changes its own copy and
 * checks that nobody else's changes show.
 */
#include "helper.h"

#include <pthread.h>

enum { DEPTH = 5, BREADTH = 3, N_BYTES = 4 << 20 };

static unsigned char *own;

/* A child's part: inherited contents are as `seed` says; its own copy gets another pattern. */
static void take_over(uint64_t seed, uint64_t new_seed)
{
    pattern_check(own, N_BYTES, seed, "inherited");
    pattern_fill(own, N_BYTES / 2, new_seed);
    pattern_check(own, N_BYTES / 2, new_seed, "the half it changed");
}

static void descend(int depth, uint64_t seed)
{
    if (depth == 0)
        return;
    pid_t pid = fork();
    EXPECT(pid >= 0);
    if (pid == 0) {
        pattern_check(own, N_BYTES, seed, "inherited");
        pattern_fill(own, N_BYTES, seed + 1);
        if (depth % 2)
            press(); /* so that some fork with everything evicted, some not */
        descend(depth - 1, seed + 1);
        pattern_check(own, N_BYTES, seed + 1, "a child's own, after its children");
        _exit(0);
    }
    expect_exit(pid, 0);
}

static void broad(uint64_t seed)
{
    pid_t pids[BREADTH];
    for (int i = 0; i < BREADTH; i++) {
        EXPECT((pids[i] = fork()) >= 0);
        if (pids[i] == 0) {
            pattern_check(own, N_BYTES, seed, "inherited beside siblings");
            pattern_fill(own, N_BYTES, seed + 100 + (uint64_t)i);
            press();
            pattern_check(own, N_BYTES, seed + 100 + (uint64_t)i, "own, beside siblings");
            _exit(0);
        }
    }
    press();
    for (int i = 0; i < BREADTH; i++)
        expect_exit(pids[i], 0);
}

static void *busy(void *stop)
{
    while (!__atomic_load_n((int *)stop, __ATOMIC_RELAXED)) {
        char *block = malloc(100000);
        EXPECT(block);
        memset(block, 1, 100000);
        free(block);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    helper_init(argc, argv);
    own = malloc(N_BYTES);
    EXPECT(own);
    pattern_fill(own, N_BYTES, 7);
    descend(DEPTH, 7);
    pattern_check(own, N_BYTES, 7, "the first process's own");
    press();
    broad(7);
    pattern_check(own, N_BYTES, 7, "the first process's own");

    /* Forks while other threads allocate: the child is alone and must be able to go on. */
    pthread_t thread;
    int stop = 0;
    EXPECT(pthread_create(&thread, NULL, busy, &stop) == 0);
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();
        EXPECT(pid >= 0);
        if (pid == 0) {
            free(malloc(200000));
            take_over(7, 8);
            _exit(0);
        }
        expect_exit(pid, 0);
    }
    stop = 1;
    pthread_join(thread, NULL);
    pattern_check(own, N_BYTES, 7, "the first process's own");
    return helper_done();
}
