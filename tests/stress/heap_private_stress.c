/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A private heap, plain and hardened, under threads that allocate, resize, free, and free what
 * others allocated, while one thread trims, counts, and validates the plain one.
 *
 *    heap_private_stress [ROUNDS]
 */
#include <quire/heap.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_WORKERS 4u
#define N_SHARED 512u

static struct quire_heap *heap;
static _Atomic(unsigned char *) shared[N_SHARED];
static unsigned long n_rounds = 30000;
static atomic_bool stopping;

static uint32_t random_next(uint32_t *state) /* xorshift32: G. Marsaglia, 2003 */
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void require(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "heap_private_stress: %s\n", what);
    abort();
}

static void drop(unsigned char *object)
{
    if (object == NULL)
        return;
    for (unsigned i = 1; i < 16; i++)
        require(object[i] == object[0], "an object has changed");
    quire_heap_free(heap, object);
}

static void *work(void *argument)
{
    uint32_t random = 7919u * ((uint32_t)(uintptr_t)argument + 1);
    for (unsigned long i = 0; i < n_rounds; i++) {
        size_t n_bytes = 16 + random_next(&random) % (random % 64 == 0 ? 60000 : 1000);
        unsigned char *object = quire_heap_malloc(heap, n_bytes);
        if (object == NULL)
            continue;
        memset(object, (int)random & 0xff, 16);
        if (random_next(&random) % 8 == 0) {
            unsigned char *other = quire_heap_realloc(heap, object, n_bytes * 2);
            object = other != NULL ? other : object;
        }
        drop(atomic_exchange(&shared[random_next(&random) % N_SHARED], object));
    }
    return NULL;
}

static void *look(void *hardened)
{
    struct quire_heap_counts counts;
    while (!atomic_load(&stopping)) {
        quire_heap_counts(heap, &counts);
        quire_heap_trim(heap);
        if (hardened == NULL)
            require(quire_heap_validate(heap) == 0, "not valid");
    }
    return NULL;
}

static void run(unsigned flags)
{
    const struct quire_heap_config config = {.memory_bytes = (size_t)256 << 20, .flags = flags};
    pthread_t workers[N_WORKERS], looker;
    struct quire_heap_counts counts;

    require(quire_heap_new(&config, &heap) == 0, "no heap");
    atomic_store(&stopping, false);
    pthread_create(&looker, NULL, look, flags & QUIRE_HEAP_HARDENED ? &heap : NULL);
    for (uintptr_t i = 0; i < N_WORKERS; i++)
        pthread_create(&workers[i], NULL, work, (void *)i);
    for (unsigned i = 0; i < N_WORKERS; i++)
        pthread_join(workers[i], NULL);
    atomic_store(&stopping, true);
    pthread_join(looker, NULL);
    for (unsigned i = 0; i < N_SHARED; i++)
        drop(atomic_exchange(&shared[i], NULL));
    quire_heap_trim(heap);
    quire_heap_counts(heap, &counts);
    require(counts.n_small + counts.n_large + counts.used_bytes == 0, "objects were lost");
    require(quire_heap_validate(heap) == 0, "not valid at the end");
    quire_heap_delete(heap);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        n_rounds = strtoul(argv[1], NULL, 10);
    run(0);
    run(QUIRE_HEAP_HARDENED);
    return 0;
}
