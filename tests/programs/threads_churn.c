/* SPDX-License-Identifier: Apache-2.0 */
/*
 * threads_churn: threads come and go, allocate, hand blocks to later threads that check and free
 * them, and use thread-local memory and thread-specific destructors.
 */
#include "helper.h"

#include <pthread.h>

enum { N_GENERATIONS = 60, N_AT_ONCE = 8, N_BLOCKS = 400 };

struct block {
    struct block *next;
    size_t n_bytes;
    uint64_t seed;
    unsigned char data[];
};

static struct block *heirloom[N_AT_ONCE]; /* what generation n leaves to generation n + 1 */
static pthread_key_t key;
static __thread char local[2 * 4096];

static void check_and_free(void *chain)
{
    for (struct block *b = chain, *next; b; b = next) {
        next = b->next;
        pattern_check(b->data, b->n_bytes, b->seed, "a block of an earlier thread");
        free(b);
    }
}

static struct block *new_chain(uint64_t seed)
{
    struct block *chain = NULL;
    for (size_t i = 0; i < N_BLOCKS; i++) {
        size_t n_bytes = mix(seed + i) % (i % 50 ? 600 : 60000);
        struct block *b = malloc(sizeof *b + n_bytes);
        EXPECT(b);
        *b = (struct block){chain, n_bytes, seed + i};
        pattern_fill(b->data, n_bytes, seed + i);
        chain = b;
    }
    return chain;
}

static void *live(void *argument)
{
    size_t slot = (size_t)(uintptr_t)argument % N_AT_ONCE;
    uint64_t seed = (uint64_t)(uintptr_t)argument * 1000;
    for (size_t i = 0; i < sizeof local; i++)
        EXPECT(local[i] == 0);
    memset(local, 1, sizeof local);
    check_and_free(heirloom[slot]);
    heirloom[slot] = new_chain(seed);
    pthread_setspecific(key, new_chain(seed + 500)); /* freed when the thread has ended */
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[N_AT_ONCE];
    helper_init(argc, argv);
    EXPECT(pthread_key_create(&key, check_and_free) == 0);
    for (size_t generation = 0; generation < N_GENERATIONS; generation++) {
        for (size_t i = 0; i < N_AT_ONCE; i++)
            EXPECT(pthread_create(&threads[i], NULL, live, (void *)(generation * N_AT_ONCE + i)) ==
                   0);
        if (generation % 10 == 0)
            press();
        for (size_t i = 0; i < N_AT_ONCE; i++)
            EXPECT(pthread_join(threads[i], NULL) == 0);
    }
    for (size_t i = 0; i < N_AT_ONCE; i++)
        check_and_free(heirloom[i]);
    return helper_done();
}
