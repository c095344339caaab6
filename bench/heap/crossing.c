/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crossing: random sizes up to some KiB, part of them freed by other threads, as in rptest.
 *
 * Each thread keeps many objects, replaces runs of them, and now and then puts a chain of objects
 * into a slot that the next thread empties. Sizes fall off linearly or not at all, by turns.
 *
 *    crossing THREADS LOOPS [OBJECTS] [MAX_BYTES]
 */
#include "work.h"

struct object {
    struct object *next;
    uint32_t n_bytes, tag;
};

struct worker {
    OWN_LINES uint64_t state, sum, number;
};

static struct object *_Atomic slots[MAX_THREADS];
static size_t n_threads, n_loops, n_objects, max_bytes;

static struct object *make(struct worker *worker, int falling)
{
    size_t n_bytes = random_below(&worker->state, max_bytes - sizeof(struct object) + 1);
    if (falling)
        n_bytes = n_bytes * random_below(&worker->state, 1024) / 1024;
    n_bytes += sizeof(struct object);
    struct object *object = allocate(n_bytes);
    *object = (struct object){NULL, (uint32_t)n_bytes, (uint32_t)(n_bytes * 7)};
    if (n_bytes > sizeof(*object))
        ((char *)object)[n_bytes - 1] = 1;
    return object;
}

static void drop(struct worker *worker, struct object *object)
{
    worker->sum += object->tag ^ object->n_bytes; /* a sum: whoever it is that drops it */
    free(object);
}

/* Whoever finds a chain in its slot frees it. */
static void drop_chain(struct worker *worker, size_t slot)
{
    struct object *object = atomic_exchange(&slots[slot], NULL), *next;
    for (; object != NULL; object = next) {
        next = object->next;
        drop(worker, object);
    }
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct object **objects = calloc(n_objects, sizeof(*objects));
    if (objects == NULL)
        exit(1);
    for (size_t loop = 0; loop < n_loops; loop++) {
        size_t at = random_below(&worker->state, n_objects);
        for (size_t i = 0; i < n_objects / 4; i++) {
            struct object **place = &objects[(at + i * 3) % n_objects];
            if (*place != NULL)
                drop(worker, *place);
            *place = make(worker, loop % 2 == 0);
        }
        struct object *chain = NULL;
        for (size_t i = 0; i < n_objects / 8; i++) {
            struct object *object = make(worker, loop % 2 == 0);
            object->next = chain;
            chain = object;
        }
        size_t other = (worker->number + 1) % n_threads;
        struct object *before = atomic_exchange(&slots[other], chain);
        for (struct object *next; before != NULL; before = next) { /* not yet taken */
            next = before->next;
            drop(worker, before);
        }
        drop_chain(worker, worker->number);
    }
    for (size_t i = 0; i < n_objects; i++)
        if (objects[i] != NULL)
            drop(worker, objects[i]);
    free(objects);
    return NULL;
}

int main(int argc, char **argv)
{
    struct worker workers[MAX_THREADS];
    uint64_t sum = 0;

    n_threads = thread_argument(argc, argv, 1);
    n_loops = argument(argc, argv, 2, 400);
    n_objects = argument(argc, argv, 3, 20000);
    max_bytes = argument(argc, argv, 4, 8000);
    if (max_bytes < sizeof(struct object))
        max_bytes = sizeof(struct object);
    for (size_t i = 0; i < n_threads; i++)
        workers[i] = (struct worker){i + 1, 0, i};
    run_threads(n_threads, work, workers, sizeof(workers[0]));
    for (size_t i = 0; i < n_threads; i++)
        drop_chain(&workers[0], i);
    for (size_t i = 0; i < n_threads; i++)
        sum += workers[i].sum;
    report("crossing", sum);
    return 0;
}
