/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings under threads, and under processes that are killed at any time.
 *
 * Each frame says which producer made it and as its how-manieth, and the rest of it follows from
 * that. Consumers check each frame, and that each producer's frames come in order. With threads all
 * must arrive, once each. With processes, kill -9 hits producers and consumers at random and others
 * take their places: one-to-one nothing may be lost and nothing may come twice but what the dead
 * had not released; many-to-many what is lost is counted.
 *
 *   ring_stress [KILLS]                  of each kind of ring
 */
#include <quire/ring.h>

#include "require.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define N_FRAMES 64u
#define MEMORY_BYTES ((size_t)64 << 10)
#define N_EACH 40000u /* frames of a producer, with threads */
#define N_PRODUCERS 2u
#define N_CONSUMERS 2u
#define N_KILLS 150u  /* if not given */
#define LIFE_US 1500u /* at most, before a process is killed */
#define PAYLOAD_WORDS 5u

struct frame {
    uint32_t producer, checksum;
    uint64_t number;
    uint64_t payload[PAYLOAD_WORDS];
};

/* What processes share beside the ring. */
static struct shared {
    _Alignas(QUIRE_RING_ALIGNMENT) unsigned char memory[MEMORY_BYTES];
    _Atomic uint64_t n_made[N_PRODUCERS]; /* committed, or about to be */
    _Atomic uint64_t n_seen;
    _Atomic uint64_t last_seen[N_PRODUCERS];
    _Atomic bool joined[N_PRODUCERS + N_CONSUMERS]; /* by role */
} * shared;

static uint64_t scramble(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static struct frame make_frame(uint32_t producer, uint64_t number)
{
    struct frame frame = {.producer = producer, .number = number};
    for (unsigned i = 0; i < PAYLOAD_WORDS; i++)
        frame.payload[i] = scramble(number * 8 + producer * 3 + i);
    frame.checksum = (uint32_t)scramble(frame.payload[0]);
    return frame;
}

static void check_frame(const struct frame *frame)
{
    const struct frame expected = make_frame(frame->producer, frame->number);
    REQUIRE(frame->producer < N_PRODUCERS);
    REQUIRE(memcmp(frame, &expected, sizeof expected) == 0);
}

static void start_ring(enum quire_ring_kind kind)
{
    const struct quire_ring_config config = {N_FRAMES, sizeof(struct frame), kind, QUIRE_RING_WAIT};
    memset(shared, 0, sizeof *shared);
    REQUIRE(quire_ring_init(&config, shared->memory, MEMORY_BYTES) == 0);
}

static void join_ring(enum quire_ring_side side, struct quire_ring *ring)
{
    REQUIRE(quire_ring_attach(shared->memory, MEMORY_BYTES, side, ring) == 0);
}

/* Threads */

/* Else all would be over for consumers whose one producer ends before another has begun. */
static pthread_barrier_t all_joined;

static void *produce(void *argument)
{
    const uint32_t producer = (uint32_t)(uintptr_t)argument;
    struct quire_ring ring;
    join_ring(QUIRE_RING_PRODUCER, &ring);
    pthread_barrier_wait(&all_joined);
    for (uint64_t number = 1; number <= N_EACH;) {
        struct frame batch[7];
        const unsigned n = 1 + (unsigned)(number % 7);
        for (unsigned i = 0; i < n; i++)
            batch[i] = make_frame(producer, number + i);
        REQUIRE(quire_ring_put(&ring, batch, n, QUIRE_RING_FOREVER) == n);
        number += n;
    }
    quire_ring_detach(&ring);
    return NULL;
}

static void *consume(void *argument)
{
    uint64_t last[N_PRODUCERS] = {0}, n_seen = 0;
    struct quire_ring ring;
    struct frame batch[16];
    int64_t n;
    join_ring(QUIRE_RING_CONSUMER, &ring);
    pthread_barrier_wait(&all_joined);
    while ((n = quire_ring_get(&ring, batch, 16, QUIRE_RING_FOREVER)) > 0) {
        for (int64_t i = 0; i < n; i++) {
            check_frame(&batch[i]);
            REQUIRE(batch[i].number > last[batch[i].producer]);
            last[batch[i].producer] = batch[i].number;
        }
        n_seen += (uint64_t)n;
    }
    REQUIRE(n == 0);
    atomic_fetch_add(&shared->n_seen, n_seen);
    quire_ring_detach(&ring);
    return NULL;
}

/* What produce() makes: whole batches. */
static uint64_t n_made_by_each(void)
{
    uint64_t number = 1;
    while (number <= N_EACH)
        number += 1 + number % 7;
    return number - 1;
}

static void with_threads(enum quire_ring_kind kind)
{
    const unsigned n_each = kind == QUIRE_RING_ONE_TO_ONE ? 1 : N_PRODUCERS;
    pthread_t threads[N_PRODUCERS + N_CONSUMERS];
    start_ring(kind);
    REQUIRE(pthread_barrier_init(&all_joined, NULL, 2 * n_each) == 0);
    for (unsigned i = 0; i < n_each; i++) {
        REQUIRE(pthread_create(&threads[2 * i], NULL, produce, (void *)(uintptr_t)i) == 0);
        REQUIRE(pthread_create(&threads[2 * i + 1], NULL, consume, NULL) == 0);
    }
    for (unsigned i = 0; i < 2 * n_each; i++)
        REQUIRE(pthread_join(threads[i], NULL) == 0);
    REQUIRE(shared->n_seen == n_each * n_made_by_each());
    pthread_barrier_destroy(&all_joined);
}

/* Processes */

/* Goes on where the one before was killed: what it had committed is counted in the ring. */
static _Noreturn void produce_until_killed(uint32_t producer)
{
    struct quire_ring ring;
    join_ring(QUIRE_RING_PRODUCER, &ring);
    atomic_store(&shared->joined[producer], true);
    for (;;) {
        void *place;
        const int64_t n = quire_ring_reserve(&ring, 1, &place);
        REQUIRE(n >= 0);
        if (n == 0) {
            (void)quire_ring_wait(&ring, 1, QUIRE_RING_FOREVER);
            continue;
        }
        *(struct frame *)place = make_frame(producer,
                                            atomic_fetch_add(&shared->n_made[producer], 1) + 1);
        REQUIRE(quire_ring_commit(&ring, place, 1) == 0);
    }
}

static _Noreturn void consume_until_killed(unsigned role)
{
    struct quire_ring ring;
    join_ring(QUIRE_RING_CONSUMER, &ring);
    atomic_store(&shared->joined[role], true);
    for (;;) {
        void *place;
        const int64_t n = quire_ring_peek(&ring, 3, &place);
        REQUIRE(n >= 0);
        if (n == 0) {
            (void)quire_ring_wait(&ring, 1, QUIRE_RING_FOREVER);
            continue;
        }
        const struct frame *frames = place;
        for (int64_t i = 0; i < n; i++) {
            check_frame(&frames[i]);
            _Atomic uint64_t *last = &shared->last_seen[frames[i].producer];
            if (ring.kind == QUIRE_RING_ONE_TO_ONE) /* seen by one who died before the release */
                REQUIRE(frames[i].number > atomic_load(last) - 3 || atomic_load(last) < 3);
            if (frames[i].number > atomic_load(last))
                atomic_store(last, frames[i].number);
            atomic_fetch_add(&shared->n_seen, 1);
        }
        REQUIRE(quire_ring_release(&ring, place, (uint64_t)n) == 0);
    }
}

static pid_t start(unsigned role, unsigned n_producers)
{
    atomic_store(&shared->joined[role], false);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child != 0)
        return child;
    if (role < n_producers)
        produce_until_killed(role);
    consume_until_killed(role);
}

/* As a member, by us; it must not have ended by itself. */
static void end(pid_t child, unsigned role)
{
    int status;
    while (!atomic_load(&shared->joined[role])) {
        REQUIRE(waitpid(child, &status, WNOHANG) == 0);
        usleep(50);
    }
    kill(child, SIGKILL);
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void check_what_is_left(unsigned n_died)
{
    struct quire_ring ring;
    struct quire_ring_stats stats;
    struct frame frame;
    uint64_t n_left = 0;
    join_ring(QUIRE_RING_CONSUMER, &ring);
    quire_ring_reap(&ring);
    REQUIRE(quire_ring_validate(&ring) == 0);
    for (int64_t n; (n = quire_ring_get(&ring, &frame, 1, QUIRE_RING_FOREVER)) > 0; n_left++)
        check_frame(&frame);
    REQUIRE(quire_ring_validate(&ring) == 0 && quire_ring_stats(&ring, &stats) == 0);
    uint64_t n_made = 0;
    for (unsigned i = 0; i < N_PRODUCERS; i++)
        n_made += shared->n_made[i];
    REQUIRE(stats.n_in == stats.n_out && stats.n_producers == 0 && stats.n_consumers == 1);
    REQUIRE(stats.n_died == n_died);
    REQUIRE(stats.n_in - stats.n_skipped <= n_made);
    /* Each death costs what one had in hand at most: a frame to make, three to use. */
    REQUIRE(n_made - (stats.n_in - stats.n_skipped) <= stats.n_died);
    REQUIRE(shared->n_seen + n_left + 3 * (uint64_t)stats.n_died >= stats.n_in - stats.n_skipped);
    quire_ring_detach(&ring);
}

static void with_kills(enum quire_ring_kind kind, unsigned n_kills)
{
    const unsigned n_producers = kind == QUIRE_RING_ONE_TO_ONE ? 1 : N_PRODUCERS;
    const unsigned n = 2 * n_producers;
    pid_t children[N_PRODUCERS + N_CONSUMERS];
    const char *given = getenv("QUIRE_TEST_SEED");
    uint64_t random = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    start_ring(kind);
    for (unsigned i = 0; i < n; i++)
        children[i] = start(i, n_producers);
    for (unsigned k = 0; k < n_kills; k++) {
        random = scramble(random + k);
        usleep((useconds_t)(random % LIFE_US));
        const unsigned victim = (unsigned)(random >> 32) % n;
        end(children[victim], victim);
        children[victim] = start(victim, n_producers);
    }
    for (unsigned i = 0; i < n; i++)
        end(children[i], i);
    check_what_is_left(n_kills + n);
}

int main(int argc, char **argv)
{
    const unsigned n_kills = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : N_KILLS;

    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
    with_threads(QUIRE_RING_ONE_TO_ONE);
    with_threads(QUIRE_RING_MANY_TO_MANY);
    with_kills(QUIRE_RING_ONE_TO_ONE, n_kills);
    with_kills(QUIRE_RING_MANY_TO_MANY, n_kills);
    return 0;
}
