/* SPDX-License-Identifier: Apache-2.0 */
/* heap_random: the random operations of the heaps' model tests, and how one says what is wrong. */
#ifndef QUIRE_TESTS_HEAP_RANDOM_H
#define QUIRE_TESTS_HEAP_RANDOM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t seed;
static unsigned long operation;

static inline uint64_t random_next(void) /* xorshift64*: S. Vigna, 2016 */
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return seed * 2685821657736338717u;
}

static inline void require(bool condition, const char *what)
{
    if (condition)
        return;
    printf("operation %lu: %s\n", operation, what);
    fflush(stdout);
    abort();
}

#endif
