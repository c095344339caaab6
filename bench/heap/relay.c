/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relay: all objects are freed by another thread than the one that made them, as in xmalloc-test.
 *
 * After C. Lever, D. Boreham, "malloc() Performance in a Multithreaded Linux Environment", 2000:
 * producers fill batches with objects of random sizes and put them on a shared list of bounded
 * length, consumers take the batches and free everything.
 *
 *    relay PAIRS BATCHES [MAX_BYTES]
 */
#include "work.h"

#define PER_BATCH 4096
#define MOST_WAITING 8

struct batch {
    struct batch *next;
    struct {
        char *object;
        uint32_t n_bytes;
    } entries[PER_BATCH];
};

struct worker {
    OWN_LINES uint64_t state, sum;
    size_t n_batches;
    int consumes;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t is_fuller = PTHREAD_COND_INITIALIZER, is_emptier = PTHREAD_COND_INITIALIZER;
static struct batch *waiting;
static size_t n_waiting, max_bytes;

static void produce(struct worker *worker)
{
    struct batch *batch = allocate(sizeof(*batch));
    for (size_t i = 0; i < PER_BATCH; i++) {
        size_t n_bytes = 1 + random_below(&worker->state, max_bytes);
        batch->entries[i].n_bytes = (uint32_t)n_bytes;
        batch->entries[i].object = allocate(n_bytes);
        object_mark(batch->entries[i].object, n_bytes, i);
    }
    pthread_mutex_lock(&mutex);
    while (n_waiting == MOST_WAITING)
        pthread_cond_wait(&is_emptier, &mutex);
    batch->next = waiting;
    waiting = batch;
    n_waiting++;
    pthread_cond_signal(&is_fuller);
    pthread_mutex_unlock(&mutex);
}

static void consume(struct worker *worker)
{
    pthread_mutex_lock(&mutex);
    while (n_waiting == 0)
        pthread_cond_wait(&is_fuller, &mutex);
    struct batch *batch = waiting;
    waiting = batch->next;
    n_waiting--;
    pthread_cond_signal(&is_emptier);
    pthread_mutex_unlock(&mutex);
    for (size_t i = 0; i < PER_BATCH; i++) {
        worker->sum += object_read(batch->entries[i].object, batch->entries[i].n_bytes);
        free(batch->entries[i].object);
    }
    free(batch);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    for (size_t i = 0; i < worker->n_batches; i++)
        worker->consumes ? consume(worker) : produce(worker);
    return NULL;
}

int main(int argc, char **argv)
{
    size_t n_pairs = thread_argument(argc, argv, 1);
    struct worker workers[MAX_THREADS];
    uint64_t sum = 0;

    if (n_pairs > MAX_THREADS / 2)
        n_pairs = MAX_THREADS / 2;
    max_bytes = argument(argc, argv, 3, 256);
    for (size_t i = 0; i < 2 * n_pairs; i++)
        workers[i] = (struct worker){i * 77 + 1, 0, argument(argc, argv, 2, 500), i % 2 == 1};
    run_threads(2 * n_pairs, work, workers, sizeof(workers[0]));
    for (size_t i = 0; i < 2 * n_pairs; i++)
        sum += workers[i].sum;
    report("relay", sum);
    return 0;
}
