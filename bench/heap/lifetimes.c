/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lifetimes: random sizes, random lifetimes, as in alloc-test.
 *
 * Each thread has a table of places. A step picks one: an empty place gets a new object, which is
 * written from end to end, a full one is read and freed. The size is random below a random power of
 * two, so that small ones are many and large ones hold most of the bytes.
 *
 *    lifetimes THREADS STEPS [PLACES] [MAX_BITS]
 */
#include "work.h"

struct place {
    char *object;
    size_t n_bytes;
};

struct worker {
    OWN_LINES uint64_t state, sum;
};

static size_t n_steps, n_places, max_bits;

static void fill(struct place *place, uint64_t *state)
{
    place->n_bytes = 1 + random_below(state, (size_t)1 << (3 + random_below(state, max_bits - 2)));
    place->object = allocate(place->n_bytes);
    memset(place->object, (int)place->n_bytes, place->n_bytes);
}

static uint64_t empty(struct place *place)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < place->n_bytes; i += 64)
        sum += (unsigned char)place->object[i];
    free(place->object);
    place->object = NULL;
    return sum;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct place *places = calloc(n_places, sizeof(*places));
    if (places == NULL)
        exit(1);
    for (size_t i = 0; i < n_steps; i++) {
        struct place *place = &places[random_below(&worker->state, n_places)];
        if (place->object == NULL)
            fill(place, &worker->state);
        else
            worker->sum = mix(worker->sum, empty(place));
    }
    for (size_t i = 0; i < n_places; i++)
        if (places[i].object != NULL)
            worker->sum = mix(worker->sum, empty(&places[i]));
    free(places);
    return NULL;
}

int main(int argc, char **argv)
{
    struct worker workers[MAX_THREADS];
    size_t n_threads = thread_argument(argc, argv, 1);
    uint64_t sum = 0;

    n_steps = argument(argc, argv, 2, 10000000);
    n_places = argument(argc, argv, 3, 1 << 16);
    max_bits = argument(argc, argv, 4, 10);
    for (size_t i = 0; i < n_threads; i++)
        workers[i] = (struct worker){i + 1, 0};
    run_threads(n_threads, work, workers, sizeof(workers[0]));
    for (size_t i = 0; i < n_threads; i++)
        sum = mix(sum, workers[i].sum);
    report("lifetimes", sum);
    return 0;
}
