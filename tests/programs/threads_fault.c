/* SPDX-License-Identifier: Apache-2.0 */
/*
 * threads_fault: many threads fault at once, on the same pages and on their own, and write to
 * words of the same page. No write may be lost, whoever evicts the page in between.
 */
#include "helper.h"

#include <pthread.h>
#include <stdatomic.h>

enum { N_THREADS = 12, N_SHARED_PAGES = 12000, N_WORDS = 4096 / 8 };

static _Atomic uint64_t *shared; /* word t of each page belongs to thread t, the last to all */
static pthread_barrier_t barrier;

static void *fault(void *argument)
{
    size_t me = (size_t)(uintptr_t)argument;
    pthread_barrier_wait(&barrier);
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < N_SHARED_PAGES; i++) {
            /* Half of the threads walk together, the others criss-cross. */
            size_t page = me & 1 ? i : mix(i * N_THREADS + me) % N_SHARED_PAGES;
            _Atomic uint64_t *word = shared + page * N_WORDS;
            atomic_fetch_add_explicit(&word[me], page + 1, memory_order_relaxed);
            atomic_fetch_add_explicit(&word[N_WORDS - 1], page + 1, memory_order_relaxed);
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[N_THREADS];
    helper_init(argc, argv);
    shared = map_pages(N_SHARED_PAGES * PAGE);
    pthread_barrier_init(&barrier, NULL, N_THREADS);
    for (size_t i = 0; i < N_THREADS; i++)
        EXPECT(pthread_create(&threads[i], NULL, fault, (void *)i) == 0);
    press();
    for (size_t i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);

    uint64_t n_visits = 0;
    for (size_t page = 0; page < N_SHARED_PAGES; page++) {
        _Atomic uint64_t *word = shared + page * N_WORDS;
        uint64_t sum = 0;
        for (size_t t = 0; t < N_THREADS; t++) {
            EXPECT(word[t] % (page + 1) == 0);
            EXPECT(!(t & 1) || word[t] == 3 * (page + 1));
            sum += word[t];
        }
        if (sum != word[N_WORDS - 1])
            fail("page %zu: the threads' own words add up to %llu, the common one holds %llu", page,
                 (unsigned long long)sum, (unsigned long long)word[N_WORDS - 1]);
        n_visits += sum / (page + 1);
    }
    EXPECT(n_visits == (uint64_t)3 * N_THREADS * N_SHARED_PAGES);
    return helper_done();
}
