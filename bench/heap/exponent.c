/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exponent: small objects with sizes of falling probability, as glibc's own bench-malloc-thread.
 *
 * Each thread keeps a working set of 1024 objects and replaces a random one at a time. The
 * probability of a size falls with its square root, from 16 bytes to 32 KiB: the mean is some
 * hundred bytes and large ones are rare. Nothing but malloc and free is done.
 *
 *    exponent THREADS REPLACEMENTS
 */
#include "work.h"

#define WORKING_SET 1024
#define N_SIZES 4096
#define MIN_BYTES 16
#define MAX_BYTES 32768

struct worker {
    OWN_LINES uint64_t state, sum;
};

static uint16_t sizes[N_SIZES];
static size_t n_replacements;

/* sizes[u] for a uniform u: by inverting the distribution with density 1 / size^1.5. */
static void make_sizes(void)
{
    size_t size = MIN_BYTES;
    for (size_t i = 0; i < N_SIZES; i++) {
        /* P(size <= s) = 1 - (MIN / s)^(1/2), so s = MIN / (1 - u)^2, cut off at the largest */
        uint64_t left = N_SIZES - i;
        uint64_t wanted = (uint64_t)MIN_BYTES * N_SIZES * N_SIZES / (left * left);
        size = wanted < MAX_BYTES ? (size_t)wanted : MAX_BYTES;
        sizes[i] = (uint16_t)size;
    }
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    static __thread struct {
        char *object;
        size_t n_bytes;
    } set[WORKING_SET];

    for (size_t i = 0; i < n_replacements; i++) {
        uint64_t bits = random_next(&worker->state);
        size_t at = bits % WORKING_SET, n_bytes = sizes[bits >> 20 & (N_SIZES - 1)];
        if (set[at].object != NULL) {
            worker->sum += object_read(set[at].object, set[at].n_bytes);
            free(set[at].object);
        }
        set[at].object = allocate(n_bytes);
        set[at].n_bytes = n_bytes;
        object_mark(set[at].object, n_bytes, i);
    }
    for (size_t i = 0; i < WORKING_SET; i++)
        free(set[i].object);
    return NULL;
}

int main(int argc, char **argv)
{
    struct worker workers[MAX_THREADS];
    size_t n_threads = thread_argument(argc, argv, 1);
    uint64_t sum = 0;

    make_sizes();
    n_replacements = argument(argc, argv, 2, 20000000);
    for (size_t i = 0; i < n_threads; i++)
        workers[i] = (struct worker){i + 1, 0};
    run_threads(n_threads, work, workers, sizeof(workers[0]));
    for (size_t i = 0; i < n_threads; i++)
        sum = mix(sum, workers[i].sum);
    report("exponent", sum);
    return 0;
}
