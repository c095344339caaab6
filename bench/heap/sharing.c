/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sharing: does an allocator make threads share cache lines? As cache-thrash and cache-scratch.
 *
 * After E. D. Berger et al., "Hoard: A Scalable Memory Allocator for Multithreaded Applications",
 * 2000. Each thread allocates a small object, writes it many times, and frees it, over and over.
 * `thrash`: that alone shows whether neighbours are given to different threads (active sharing).
 * `scratch`: before, the main thread gives each one of a row of neighbours, which it frees; then
 * malloc should not give it that one's neighbours' line back (passive sharing).
 *
 *    sharing thrash|scratch THREADS ROUNDS [WRITES] [BYTES]
 */
#include "work.h"

struct worker {
    OWN_LINES char *gift;
    uint64_t sum;
};

static size_t n_rounds, n_writes, n_bytes;

static void *work(void *argument)
{
    struct worker *worker = argument;
    free(worker->gift);
    for (size_t round = 0; round < n_rounds; round++) {
        volatile unsigned char *object = allocate(n_bytes);
        memset((char *)object, (int)round, n_bytes);
        for (size_t i = 0; i < n_writes; i++)
            object[i % n_bytes] = (unsigned char)(object[i % n_bytes] + i);
        worker->sum = mix(worker->sum, object[n_bytes - 1]);
        free((char *)object);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct worker workers[MAX_THREADS] = {{NULL, 0}};
    size_t n_threads = thread_argument(argc, argv, 2);
    uint64_t sum = 0;

    n_rounds = argument(argc, argv, 3, 2000);
    n_writes = argument(argc, argv, 4, 20000);
    n_bytes = argument(argc, argv, 5, 8);
    for (size_t i = 0; argc > 1 && strcmp(argv[1], "scratch") == 0 && i < n_threads; i++)
        workers[i].gift = memset(allocate(n_bytes), 1, n_bytes);
    run_threads(n_threads, work, workers, sizeof(workers[0]));
    for (size_t i = 0; i < n_threads; i++)
        sum = mix(sum, workers[i].sum);
    report("sharing", sum);
    return 0;
}
