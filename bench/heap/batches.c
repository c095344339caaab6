/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batches: blocks of objects of each size, freed in changing orders, as in sh6bench and sh8bench.
 *
 * A round goes through sizes with falling counts (many small ones, few large ones), allocates a
 * batch of each and frees it: at once, backwards, every other one first, or, with more than one
 * thread, by the next thread. Every third batch is kept for some rounds.
 *
 *    batches THREADS ROUNDS [MAX_BYTES]
 */
#include "work.h"

#define KEPT 64
#define MOST 2000

struct batch {
    size_t n, n_bytes;
    char **objects;
};

struct worker {
    OWN_LINES uint64_t state, sum, number;
    struct batch kept[KEPT];
};

static struct batch *_Atomic passed[MAX_THREADS];
static size_t n_threads, n_rounds, max_bytes;

static struct batch make(struct worker *worker, size_t n_bytes)
{
    size_t n = 1 + MOST * 8 / (n_bytes + 7) + random_below(&worker->state, 16);
    struct batch batch = {n, n_bytes, allocate(n * sizeof(char *))};
    for (size_t i = 0; i < n; i++) {
        batch.objects[i] = allocate(n_bytes);
        object_mark(batch.objects[i], n_bytes, i);
    }
    return batch;
}

static void drop(struct worker *worker, struct batch *batch, unsigned order)
{
    size_t n = batch->n;
    for (size_t i = 0; i < n; i++) {
        size_t at = order == 0        ? i
                    : order == 1      ? n - 1 - i
                    : i < (n + 1) / 2 ? i * 2
                                      : (i - (n + 1) / 2) * 2 + 1;
        worker->sum += object_read(batch->objects[at], batch->n_bytes);
        free(batch->objects[at]);
    }
    free(batch->objects);
    *batch = (struct batch){0, 0, NULL};
}

static void drop_passed(struct worker *worker, struct batch *batch)
{
    if (batch == NULL)
        return;
    drop(worker, batch, 0);
    free(batch);
}

static void pass(struct worker *worker, struct batch batch)
{
    struct batch *copy = allocate(sizeof(*copy));
    *copy = batch;
    drop_passed(worker, atomic_exchange(&passed[(worker->number + 1) % n_threads], copy));
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    unsigned turn = 0;
    for (size_t round = 0; round < n_rounds; round++)
        for (size_t n_bytes = 2; n_bytes < max_bytes; n_bytes += 1 + n_bytes / 4, turn++) {
            struct batch batch = make(worker, n_bytes);
            if (turn % 3 == 0) {
                struct batch *place = &worker->kept[random_below(&worker->state, KEPT)];
                if (place->n > 0)
                    drop(worker, place, turn % 2);
                *place = batch;
            } else if (n_threads > 1 && turn % 3 == 1) {
                pass(worker, batch);
            } else {
                drop(worker, &batch, turn / 3 % 3);
            }
            drop_passed(worker, atomic_exchange(&passed[worker->number], NULL));
        }
    for (size_t i = 0; i < KEPT; i++)
        if (worker->kept[i].n > 0)
            drop(worker, &worker->kept[i], 0);
    return NULL;
}

int main(int argc, char **argv)
{
    static struct worker workers[MAX_THREADS];
    uint64_t sum = 0;

    n_threads = thread_argument(argc, argv, 1);
    n_rounds = argument(argc, argv, 2, 500);
    max_bytes = argument(argc, argv, 3, 1000);
    for (size_t i = 0; i < n_threads; i++)
        workers[i].state = workers[i].number = i;
    run_threads(n_threads, work, workers, sizeof(workers[0]));
    for (size_t i = 0; i < n_threads; i++)
        drop_passed(&workers[0], atomic_exchange(&passed[i], NULL));
    for (size_t i = 0; i < n_threads; i++)
        sum += workers[i].sum;
    report("batches", sum);
    return 0;
}
