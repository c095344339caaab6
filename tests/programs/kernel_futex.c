/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel_futex: mutexes, condition variables, semaphores and raw futex words in paged memory, which
 * is evicted while threads wait on it. A wait is by address: it must survive the page's travels.
 */
#include "helper.h"

#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>

enum { N_THREADS = 6, N_ROUNDS = 5 };

struct shared { /* on pages of their own, so that each travels alone */
    _Alignas(4096) pthread_mutex_t mutex;
    _Alignas(4096) pthread_cond_t condition;
    _Alignas(4096) uint64_t generation;
    _Alignas(4096) sem_t arrived;
    _Alignas(4096) _Atomic uint32_t word;
    _Alignas(4096) uint64_t sum;
};

static struct shared *shared;

static long futex(_Atomic uint32_t *word, int operation, uint32_t value,
                  const struct timespec *limit)
{
    return syscall(SYS_futex, word, operation, value, limit, NULL, 0);
}

static void *waiter(void *argument)
{
    uint64_t me = (uint64_t)(uintptr_t)argument;
    for (uint64_t round = 1; round <= N_ROUNDS; round++) {
        pthread_mutex_lock(&shared->mutex);
        sem_post(&shared->arrived);
        while (shared->generation < round)
            pthread_cond_wait(&shared->condition, &shared->mutex);
        shared->sum += me * round;
        pthread_mutex_unlock(&shared->mutex);
    }
    sem_post(&shared->arrived);
    while (shared->word == 0)
        futex(&shared->word, FUTEX_WAIT_PRIVATE, 0, NULL);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[N_THREADS];
    helper_init(argc, argv);
    shared = aligned_alloc(PAGE, sizeof *shared);
    EXPECT(shared);
    memset(shared, 0, sizeof *shared);
    pthread_mutex_init(&shared->mutex, NULL);
    pthread_cond_init(&shared->condition, NULL);
    sem_init(&shared->arrived, 0, 0);
    for (uintptr_t i = 0; i < N_THREADS; i++)
        EXPECT(pthread_create(&threads[i], NULL, waiter, (void *)(i + 1)) == 0);

    uint64_t expected = 0;
    for (uint64_t round = 1; round <= N_ROUNDS; round++) {
        for (int i = 0; i < N_THREADS; i++)
            EXPECT(sem_wait(&shared->arrived) == 0);
        press(); /* all of them sleep in the kernel meanwhile */
        pthread_mutex_lock(&shared->mutex);
        shared->generation = round;
        pthread_cond_broadcast(&shared->condition);
        pthread_mutex_unlock(&shared->mutex);
        expected += round * (N_THREADS * (N_THREADS + 1) / 2);
    }
    for (int i = 0; i < N_THREADS; i++)
        EXPECT(sem_wait(&shared->arrived) == 0);
    press();

    /* A word that is evicted and does not hold what is expected; one that nobody wakes. */
    const struct timespec limit = {.tv_nsec = 20000000};
    EXPECT(futex(&shared->word, FUTEX_WAIT_PRIVATE, 7, NULL) == -1 && errno == EAGAIN);
    press();
    EXPECT(futex(&shared->word, FUTEX_WAIT, 0, &limit) == -1 && errno == ETIMEDOUT);

    shared->word = 1;
    futex(&shared->word, FUTEX_WAKE_PRIVATE, N_THREADS, NULL);
    for (int i = 0; i < N_THREADS; i++)
        EXPECT(pthread_join(threads[i], NULL) == 0);
    EXPECT(shared->sum == expected);
    return helper_done();
}
