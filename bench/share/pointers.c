/* SPDX-License-Identifier: Apache-2.0 */
/* pointers: Quire's rings and Concurrency Kit's (Debian: libck-dev), and how all are measured. */
#include "pointers.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_CK
#include <ck_ring.h>
#endif

#define ALIGNMENT 128u

/* Quire */

static struct quire_ring_config config_of(enum quire_ring_kind kind)
{
    return (struct quire_ring_config){POINTER_FRAMES, sizeof(void *), kind, QUIRE_RING_WAIT};
}

static size_t one_bytes(void)
{
    const struct quire_ring_config config = config_of(QUIRE_RING_ONE_TO_ONE);
    return quire_ring_bytes(&config);
}

static size_t many_bytes(void)
{
    const struct quire_ring_config config = config_of(QUIRE_RING_MANY_TO_MANY);
    return quire_ring_bytes(&config);
}

static bool init_one(void *memory)
{
    const struct quire_ring_config config = config_of(QUIRE_RING_ONE_TO_ONE);
    return quire_ring_init(&config, memory, one_bytes()) == 0;
}

static bool init_many(void *memory)
{
    const struct quire_ring_config config = config_of(QUIRE_RING_MANY_TO_MANY);
    return quire_ring_init(&config, memory, many_bytes()) == 0;
}

static inline unsigned put(void *ring, uintptr_t *array, unsigned n)
{
    const int64_t done = quire_ring_put(ring, array, n, 0);
    return done > 0 ? (unsigned)done : 0;
}

static inline unsigned get(void *ring, uintptr_t *array, unsigned n)
{
    const int64_t done = quire_ring_get(ring, array, n, 0);
    return done > 0 ? (unsigned)done : 0;
}

/* Each thread has a view of its own. */
#define QUIRE_SIDES(name)                                                                \
    static void name##_send(struct pointer_run *run)                                     \
    {                                                                                    \
        struct quire_ring ring;                                                          \
        if (quire_ring_attach(run->ring, SIZE_MAX / 2, QUIRE_RING_PRODUCER, &ring) != 0) \
            abort();                                                                     \
        name##_send_with(run, &ring);                                                    \
        quire_ring_detach(&ring);                                                        \
    }                                                                                    \
    static void name##_receive(struct pointer_run *run)                                  \
    {                                                                                    \
        struct quire_ring ring;                                                          \
        if (quire_ring_attach(run->ring, SIZE_MAX / 2, QUIRE_RING_CONSUMER, &ring) != 0) \
            abort();                                                                     \
        name##_receive_with(run, &ring);                                                 \
        quire_ring_detach(&ring);                                                        \
    }

POINTER_LOOPS(one, 1, put, get)
QUIRE_SIDES(one)
POINTER_LOOPS(burst, 32, put, get)
QUIRE_SIDES(burst)

static const struct pointer_way quire_pointer = {.name = "quire, one by one",
                                                 .is_quire = true,
                                                 .n_bytes = one_bytes,
                                                 .init = init_one,
                                                 .send = one_send,
                                                 .receive = one_receive};
static const struct pointer_way quire_pointer_burst = {.name = "quire, bursts of 32",
                                                       .is_quire = true,
                                                       .n_bytes = one_bytes,
                                                       .init = init_one,
                                                       .send = burst_send,
                                                       .receive = burst_receive};
static const struct pointer_way quire_pointer_many = {.name = "quire, many, bursts of 32",
                                                      .is_quire = true,
                                                      .n_bytes = many_bytes,
                                                      .init = init_many,
                                                      .send = burst_send,
                                                      .receive = burst_receive};

/* Concurrency Kit */

#ifdef HAVE_CK

struct ck {
    struct ck_ring ring;
    struct ck_ring_buffer buffer[POINTER_FRAMES];
};

static size_t ck_bytes(void)
{
    return sizeof(struct ck);
}

static bool ck_init(void *memory)
{
    ck_ring_init(&((struct ck *)memory)->ring, POINTER_FRAMES);
    return true;
}

static inline unsigned ck_put(void *ring, uintptr_t *array, unsigned n)
{
    struct ck *ck = ring;
    (void)n;
    return ck_ring_enqueue_spsc(&ck->ring, ck->buffer, (void *)array[0]);
}

static inline unsigned ck_get(void *ring, uintptr_t *array, unsigned n)
{
    struct ck *ck = ring;
    (void)n;
    return ck_ring_dequeue_spsc(&ck->ring, ck->buffer, (void *)array);
}

POINTER_LOOPS(ck, 1, ck_put, ck_get)
POINTER_PLAIN(ck)

static const struct pointer_way ck_one = {.name = "ck_ring, one by one",
                                          .n_bytes = ck_bytes,
                                          .init = ck_init,
                                          .send = ck_send,
                                          .receive = ck_receive};

#else

static const struct pointer_way ck_one = {
    .name = "ck_ring, one by one",
    .absent = "libck-dev is not installed, or was not when this was set up"};

#endif

const struct pointer_way *const pointer_ways[] = {
    &quire_pointer, &quire_pointer_burst, &quire_pointer_many, &ck_one,
    &rte_one,       &rte_burst,           &rte_many_burst,
};
const unsigned n_pointer_ways = sizeof pointer_ways / sizeof pointer_ways[0];

/* Measuring */

struct thread_job {
    const struct pointer_way *way;
    struct pointer_run run;
    enum side side;
};

static void *run_thread(void *argument)
{
    struct thread_job *job = argument;

    measure_pin(job->side);
    if (job->side == SENDER)
        job->way->send(&job->run);
    else
        job->way->receive(&job->run);
    return NULL;
}

bool pointers_measure(const struct pointer_way *way, bool timed, struct result *result)
{
    memset(result, 0, sizeof *result);
    if ((result->why_not = way->absent) != NULL)
        return false;
    const size_t n_bytes = (way->n_bytes() + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    void *memory = aligned_alloc(ALIGNMENT, n_bytes);
    if (memory == NULL)
        return false;
    memset(memory, 0, n_bytes);
    bool well = way->init(memory);
    struct thread_job jobs[2];
    pthread_t threads[2];
    for (int side = SENDER; well && side <= RECEIVER; side++) {
        jobs[side] = (struct thread_job){way, {memory, timed, result}, (enum side)side};
        if (pthread_create(&threads[side], NULL, run_thread, &jobs[side]) != 0)
            abort(); /* the other would wait for ever */
    }
    for (int side = SENDER; well && side <= RECEIVER; side++)
        pthread_join(threads[side], NULL);
    free(memory);
    result->failed = !well || result->garbled;
    return !result->failed;
}
