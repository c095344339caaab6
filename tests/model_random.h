/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model_random: what the model tests of pages/ and extent/ share: rounds of random steps that a
 * seed replays, and how one says what is wrong.
 */
#ifndef QUIRE_TESTS_MODEL_RANDOM_H
#define QUIRE_TESTS_MODEL_RANDOM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t seed, random_state;
static unsigned round_number, step;

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: not so in round %u, step %u; QUIRE_TEST_SEED=%llu\n",      \
                    __FILE__, __LINE__, #condition, round_number, step, (unsigned long long)seed); \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static inline uint64_t draw(uint64_t below) /* xorshift64*: S. Vigna, 2016 */
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return ((random_state * 0x2545f4914f6cdd1d) >> 16) % below;
}

/* QUIRE_TEST_SEED, or another one each time; returns QUIRE_TEST_ROUNDS, or n_rounds. */
static inline unsigned draw_from_seed(unsigned n_rounds)
{
    const char *text = getenv("QUIRE_TEST_SEED"), *rounds = getenv("QUIRE_TEST_ROUNDS");
    seed = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
    printf("QUIRE_TEST_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    random_state = seed * 0x9e3779b97f4a7c15 + 1;
    if (random_state == 0) /* from which there is no way out */
        random_state = 1;
    return rounds ? (unsigned)strtoul(rounds, NULL, 0) : n_rounds;
}

#endif
