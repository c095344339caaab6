/* SPDX-License-Identifier: Apache-2.0 */
/*
 * work: what the programs of this folder share.
 *
 * Each program does a fixed amount of work, given by its arguments, and prints one line with a
 * checksum that depends on what it wrote into its objects and read back, and on nothing else: not
 * on addresses, nor on how threads were scheduled. So two allocators did the same work, and right,
 * when the lines are the same.
 */
#ifndef QUIRE_BENCH_HEAP_WORK_H
#define QUIRE_BENCH_HEAP_WORK_H

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_THREADS 64
#define OWN_LINES _Alignas(128) /* what a thread writes shares no cache line with another's */

/* splitmix64: G. L. Steele, D. Lea, C. H. Flood, "Fast Splittable Pseudorandom Number Generators",
 * 2014 */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline size_t random_below(uint64_t *state, size_t n)
{
    return (size_t)((random_next(state) >> 32) * (uint64_t)n >> 32);
}

static inline uint64_t mix(uint64_t sum, uint64_t value)
{
    return (sum ^ value) * 0x100000001b3u + (sum >> 29);
}

static inline void *allocate(size_t n_bytes)
{
    void *object = malloc(n_bytes);
    if (object == NULL) {
        fprintf(stderr, "out of memory for %zu bytes\n", n_bytes);
        exit(1);
    }
    return object;
}

/* Writes the ends of an object, as its owner would, and reads them back when it is done with. */
static inline void object_mark(char *object, size_t n_bytes, uint64_t tag)
{
    object[0] = (char)tag;
    object[n_bytes - 1] = (char)(tag ^ n_bytes);
}

static inline uint64_t object_read(const char *object, size_t n_bytes)
{
    return (uint64_t)(unsigned char)object[0] << 8 | (unsigned char)object[n_bytes - 1];
}

static inline size_t argument(int argc, char **argv, int i, size_t otherwise)
{
    return argc > i ? (size_t)strtoull(argv[i], NULL, 10) : otherwise;
}

static inline size_t thread_argument(int argc, char **argv, int i)
{
    size_t n = argument(argc, argv, i, 1);
    return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : n;
}

static inline void report(const char *name, uint64_t sum)
{
    printf("%s %016" PRIx64 "\n", name, sum);
}

/* Runs n threads, each with its own element of an array, and waits for all. */
static inline void run_threads(size_t n, void *(*body)(void *), void *elements,
                               size_t element_bytes)
{
    pthread_t ids[MAX_THREADS];
    for (size_t i = 0; i < n; i++)
        if (pthread_create(&ids[i], NULL, body, (char *)elements + i * element_bytes) != 0)
            exit(1);
    for (size_t i = 0; i < n; i++)
        pthread_join(ids[i], NULL);
}

#endif
