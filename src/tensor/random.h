/* SPDX-License-Identifier: Apache-2.0 */
/* random: numbers that depend on a seed and on nothing else (splitmix64; S. Vigna, 2015). */
#ifndef QUIRE_TENSOR_RANDOM_H
#define QUIRE_TENSOR_RANDOM_H

#include <stdint.h>

struct tensor_random {
    uint64_t state;
};

static inline uint64_t tensor_random_next(struct tensor_random *random)
{
    uint64_t z = (random->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* 0 to n - 1; n is not 0. The bias is below n / 2^32. */
static inline uint32_t tensor_random_below(struct tensor_random *random, uint32_t n)
{
    return (uint32_t)(((tensor_random_next(random) >> 32) * n) >> 32);
}

#endif
