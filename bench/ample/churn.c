/* SPDX-License-Identifier: Apache-2.0 */
/*
 * churn: a program that does little but malloc and free: churn THREADS STEPS. Sizes as programs
 * have them, most under 256 bytes; lifetimes from at once to a hundred thousand steps.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_SLOTS = 100000, MAX_THREADS = 64 };

static size_t n_steps;

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void *churn(void *argument)
{
    uint64_t state = (uint64_t)(uintptr_t)argument * 0x9e3779b97f4a7c15 + 1, sum = 0;
    unsigned char **slots = calloc(N_SLOTS, sizeof *slots);
    if (!slots)
        exit(2);
    for (size_t i = 0; i < n_steps; i++) {
        uint64_t r = next(&state);
        /* Half of the steps reuse a few slots: objects that live for moments. */
        unsigned char **slot = &slots[r & 1 ? (r >> 8) % 64 : (r >> 8) % N_SLOTS];
        if (*slot)
            sum += (*slot)[0];
        free(*slot);
        size_t n_bytes = 8 + (r >> 32) % ((r >> 4) % 16 ? 248 : 4000);
        *slot = malloc(n_bytes);
        if (!*slot)
            exit(2);
        memset(*slot, (int)(r >> 24), n_bytes < 64 ? n_bytes : 64);
    }
    for (size_t i = 0; i < N_SLOTS; i++)
        free(slots[i]);
    free(slots);
    return (void *)(uintptr_t)sum;
}

int main(int argc, char **argv)
{
    pthread_t threads[MAX_THREADS];
    size_t n_threads = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
    if (n_threads == 0 || n_threads > MAX_THREADS) {
        fputs("usage: churn THREADS STEPS\n", stderr);
        return 2;
    }
    n_steps = strtoul(argv[2], NULL, 10) / n_threads;
    uint64_t sum = 0;
    for (uintptr_t i = 0; i < n_threads; i++)
        if (pthread_create(&threads[i], NULL, churn, (void *)(i + 1)) != 0)
            return 2;
    for (size_t i = 0; i < n_threads; i++) {
        void *result;
        pthread_join(threads[i], &result);
        sum += (uint64_t)(uintptr_t)result;
    }
    printf("%llu\n", (unsigned long long)sum);
    return 0;
}
