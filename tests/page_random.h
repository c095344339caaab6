/* SPDX-License-Identifier: Apache-2.0 */
/*
 * page_random: what the model tests of the pager's tables share: random steps that a seed replays,
 * and how one says what is wrong.
 */
#ifndef QUIRE_TESTS_PAGE_RANDOM_H
#define QUIRE_TESTS_PAGE_RANDOM_H

#include "store_pages.h"

static uint64_t seed, random_state;

#define REQUIRE(condition)                                                                   \
    do {                                                                                     \
        if (!(condition)) {                                                                  \
            fprintf(stderr, "%s:%d: %s: not so; QUIRE_TEST_SEED=%llu\n", __FILE__, __LINE__, \
                    #condition, (unsigned long long)seed);                                   \
            abort();                                                                         \
        }                                                                                    \
    } while (0)

static inline uint32_t draw(uint32_t below)
{
    return (uint32_t)(next_random(&random_state) >> 32) % below;
}

static inline void begin_random(void)
{
    seed = test_seed();
    printf("QUIRE_TEST_SEED=%llu\n", (unsigned long long)seed);
    random_state = seed * 2 + 1;
}

#endif
