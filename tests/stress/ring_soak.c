/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings among two to eight members, for as long as one likes: `ring_soak [SECONDS]`.
 *
 * Round by round a ring of another kind, size and policy, and members, processes or threads, that
 * put and get by all ways there are, with random numbers of frames at a time. Each frame is checked
 * byte by byte. Each operation's start and end are written down, and the history of a round is
 * checked to be a queue's, by what T. Henzinger, A. Sezgin and V. Vafeiadis, "Aspect-oriented
 * linearizability proofs", CONCUR 2013, show to suffice:
 *
 *   - what is got was put before, whole, and is got once;
 *   - what was put later, after the other's put had ended, is not got before the other;
 *   - all is got, but what the ring counts as lost.
 *
 * (Their fourth, that a get which finds nothing was right, is not promised: behind a frame that is
 * still being filled many-to-many, one that was put already is not to be had yet.)
 *
 * QUIRE_TEST_SEED replays a run's choices, if not its timing.
 */
#include "sanitizers.h"

#include "base/sys.h"

#include <quire/ring.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECONDS 2u /* if not given */
#define MOST_MEMBERS 8u
#define MOST_EACH 4096u /* frames of a producer in a round */
#define MOST_FRAME_BYTES 1024u
#define LEAST_FRAME_BYTES 16u
#define MOST_FRAMES 256u
#define MOST_BATCH 32u
#define MEMORY_BYTES ((size_t)1 << 20)
#define SHORT_NS 20000u

#define REQUIRE(condition)                                                                  \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            fprintf(stderr, "%s:%d: %s: not so; seed %lu, round %lu\n", __FILE__, __LINE__, \
                    #condition, (unsigned long)seed, (unsigned long)n_round);               \
            abort();                                                                        \
        }                                                                                   \
    } while (0)

struct when {
    uint64_t start, end; /* 0: never */
};

static struct shared { /* by all members of a round */
    _Alignas(QUIRE_RING_ALIGNMENT) unsigned char memory[MEMORY_BYTES];
    _Atomic unsigned n_ready;
    struct when put[MOST_MEMBERS][MOST_EACH + 1]; /* by producer and number, from 1 */
    struct when get[MOST_MEMBERS][MOST_EACH + 1]; /* likewise: of the frame, by who got it */
    _Atomic unsigned n_got[MOST_MEMBERS][MOST_EACH + 1];
} * shared;

static uint64_t seed, n_round;
static struct quire_ring_config config;
static unsigned n_producers, n_consumers, n_each;
static bool with_threads;

static uint64_t scramble(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static uint64_t draw(uint64_t *state, uint64_t below)
{
    return scramble(*state += 0x9e3779b97f4a7c15) % below;
}

/* Frames: who, which, and bytes that follow from that. */

struct head {
    uint32_t producer, number;
    uint64_t key;
};

static uint64_t key_of(uint32_t producer, uint32_t number)
{
    return scramble(n_round << 40 ^ (uint64_t)producer << 32 ^ number);
}

static void fill(unsigned char *frame, uint32_t producer, uint32_t number)
{
    const struct head head = {producer, number, key_of(producer, number)};
    memcpy(frame, &head, sizeof head);
    for (uint32_t i = sizeof head; i < config.frame_bytes; i++)
        frame[i] = (unsigned char)(head.key >> i % 8 * 8) + (unsigned char)i;
}

static struct head check_frame(const unsigned char *frame)
{
    struct head head;
    memcpy(&head, frame, sizeof head);
    REQUIRE(head.producer < n_producers && head.number >= 1 && head.number <= n_each);
    REQUIRE(head.key == key_of(head.producer, head.number));
    for (uint32_t i = sizeof head; i < config.frame_bytes; i++)
        REQUIRE(frame[i] == (unsigned char)((unsigned char)(head.key >> i % 8 * 8) + i));
    return head;
}

/* Members */

static void attach(enum quire_ring_side side, struct quire_ring *ring)
{
    REQUIRE(quire_ring_attach(shared->memory, MEMORY_BYTES, side, ring) == 0);
    atomic_fetch_add(&shared->n_ready, 1); /* or the first would see that the others have left */
    while (atomic_load(&shared->n_ready) < n_producers + n_consumers)
        sys_sleep_ns(SHORT_NS);
}

static bool is_for_later(int64_t result)
{
    return result == 0 || result == -EAGAIN || result == -ETIMEDOUT;
}

/* How many were put from `number` on; in place, or copied. */
static unsigned put_some(struct quire_ring *ring, uint32_t producer, uint32_t number, unsigned n,
                         uint64_t *random)
{
    static _Thread_local unsigned char batch[MOST_BATCH * MOST_FRAME_BYTES];
    void *place;
    int64_t done;

    if (draw(random, 2)) {
        for (unsigned i = 0; i < n; i++)
            fill(batch + i * config.frame_bytes, producer, number + i);
        done = quire_ring_put(ring, batch, n, draw(random, 3) ? QUIRE_RING_FOREVER : SHORT_NS);
        REQUIRE(done > 0 || is_for_later(done));
        return done > 0 ? (unsigned)done : 0;
    }
    done = quire_ring_reserve(ring, n, &place);
    REQUIRE(done >= 0);
    if (done == 0 && config.full == QUIRE_RING_WAIT)
        REQUIRE(is_for_later(quire_ring_wait(ring, 1 + draw(random, n), SHORT_NS)));
    if (done == 0)
        return 0;
    for (unsigned i = 0; i < (unsigned)done; i++)
        fill((unsigned char *)place + i * config.frame_bytes, producer, number + i);
    REQUIRE(quire_ring_commit(ring, place, (uint64_t)done) == 0);
    return (unsigned)done;
}

static void produce(uint32_t producer)
{
    uint64_t random = seed + n_round * 64 + producer;
    struct quire_ring ring;
    attach(QUIRE_RING_PRODUCER, &ring);
    for (uint32_t number = 1; number <= n_each;) {
        const unsigned most = 1 + (unsigned)draw(&random, MOST_BATCH);
        const unsigned n = most < n_each - number + 1 ? most : n_each - number + 1;
        const uint64_t start = sys_now_ns();
        const unsigned done = put_some(&ring, producer, number, n, &random);
        const uint64_t end = sys_now_ns();
        for (unsigned i = 0; i < done; i++)
            shared->put[producer][number + i] = (struct when){start, end};
        number += done;
        if (done == 0 && config.full == QUIRE_RING_FAIL)
            sys_sleep_ns(1000);
    }
    quire_ring_detach(&ring);
}

static void note(const unsigned char *frames, unsigned n, uint64_t start, uint32_t *last)
{
    const uint64_t end = sys_now_ns();
    for (unsigned i = 0; i < n; i++) {
        const struct head head = check_frame(frames + i * config.frame_bytes);
        REQUIRE(atomic_fetch_add(&shared->n_got[head.producer][head.number], 1) == 0);
        REQUIRE(head.number > last[head.producer]);
        last[head.producer] = head.number;
        shared->get[head.producer][head.number] = (struct when){start, end};
    }
}

/* False: the end. */
static bool get_some(struct quire_ring *ring, uint32_t *last, uint64_t *random)
{
    static _Thread_local unsigned char batch[MOST_BATCH * MOST_FRAME_BYTES];
    const unsigned n = 1 + (unsigned)draw(random, MOST_BATCH);
    const uint64_t start = sys_now_ns();
    void *place;
    int64_t done;

    if (draw(random, 2)) {
        done = quire_ring_get(ring, batch, n, draw(random, 3) ? QUIRE_RING_FOREVER : SHORT_NS);
        REQUIRE(done >= 0 || is_for_later(done) || done == -EOVERFLOW);
        if (done > 0)
            note(batch, (unsigned)done, start, last);
        return done != 0;
    }
    done = quire_ring_peek(ring, n, &place);
    REQUIRE(done >= 0);
    if (done == 0) {
        const int error = quire_ring_wait(ring, 1, SHORT_NS);
        REQUIRE(is_for_later(error) || error == -EPIPE);
        return error != -EPIPE;
    }
    memcpy(batch, place, (size_t)done * config.frame_bytes); /* it may be overwritten meanwhile */
    const int error = quire_ring_release(ring, place, (uint64_t)done);
    REQUIRE(error == 0 || (error == -EOVERFLOW && config.full == QUIRE_RING_OVERWRITE));
    if (error == 0)
        note(batch, (unsigned)done, start, last);
    return true;
}

static void consume(uint32_t consumer)
{
    uint64_t random = seed + n_round * 64 + 32 + consumer;
    uint32_t last[MOST_MEMBERS] = {0};
    struct quire_ring ring;
    attach(QUIRE_RING_CONSUMER, &ring);
    while (get_some(&ring, last, &random))
        continue;
    quire_ring_detach(&ring);
}

static void *run_member(void *argument)
{
    const uint32_t i = (uint32_t)(uintptr_t)argument;
    if (i < n_producers)
        produce(i);
    else
        consume(i - n_producers);
    return NULL;
}

static void run_threads(void)
{
    pthread_t threads[MOST_MEMBERS];
    for (uintptr_t i = 0; i < n_producers + n_consumers; i++)
        REQUIRE(pthread_create(&threads[i], NULL, run_member, (void *)i) == 0);
    for (unsigned i = 0; i < n_producers + n_consumers; i++)
        REQUIRE(pthread_join(threads[i], NULL) == 0);
}

static void run_processes(void)
{
    pid_t children[MOST_MEMBERS];
    int status;
    for (uintptr_t i = 0; i < n_producers + n_consumers; i++) {
        REQUIRE((children[i] = fork()) >= 0);
        if (children[i] == 0) {
            run_member((void *)i);
            _exit(0);
        }
    }
    for (unsigned i = 0; i < n_producers + n_consumers; i++)
        REQUIRE(waitpid(children[i], &status, 0) == children[i] && status == 0);
}

/* The history */

static struct event {
    struct when put, get;
    uint64_t latest_get_start; /* of this and those whose put ended before */
} events[MOST_MEMBERS * MOST_EACH];

static int compare_events(const void *a, const void *b)
{
    const struct event *x = a, *y = b;
    return (x->put.end > y->put.end) - (x->put.end < y->put.end);
}

static unsigned collect(void)
{
    unsigned n = 0;
    for (unsigned producer = 0; producer < n_producers; producer++) {
        for (unsigned number = 1; number <= n_each; number++) {
            const struct when put = shared->put[producer][number],
                              get = shared->get[producer][number];
            REQUIRE(put.end != 0);
            if (get.end != 0)
                events[n++] = (struct event){put, get, get.start};
        }
    }
    return n;
}

static void check_history(unsigned n)
{
    qsort(events, n, sizeof events[0], compare_events);
    for (unsigned i = 1; i < n; i++)
        if (events[i].latest_get_start < events[i - 1].latest_get_start)
            events[i].latest_get_start = events[i - 1].latest_get_start;
    for (unsigned i = 0; i < n; i++) {
        unsigned low = 0, high = n; /* those below `low`: their put ended before this one's began */
        while (low < high) {
            const unsigned middle = low + (high - low) / 2;
            if (events[middle].put.end < events[i].put.start)
                low = middle + 1;
            else
                high = middle;
        }
        REQUIRE(events[i].get.end >= events[i].put.start);
        REQUIRE(low == 0 || events[low - 1].latest_get_start <= events[i].get.end);
    }
}

static void check_counters(unsigned n_seen)
{
    struct quire_ring ring;
    struct quire_ring_stats stats;
    REQUIRE(quire_ring_attach(shared->memory, MEMORY_BYTES, QUIRE_RING_OBSERVER, &ring) == 0);
    REQUIRE(quire_ring_validate(&ring) == 0 && quire_ring_stats(&ring, &stats) == 0);
    REQUIRE(stats.n_in == stats.n_out && stats.n_in == (uint64_t)n_producers * n_each);
    REQUIRE(stats.n_producers == 0 && stats.n_consumers == 0 && stats.n_died == 0);
    REQUIRE(stats.n_lost == stats.n_in - n_seen && stats.n_skipped == 0);
    REQUIRE(stats.n_lost == 0 || config.full == QUIRE_RING_OVERWRITE);
}

/* Rounds */

/* A consumer that is overtaken reads what is being written, and throws it away: meant so, but a
   race to ThreadSanitizer. It does not see processes. */
static bool is_race_by_intention(void)
{
    return UNDER_THREAD_SANITIZER && config.kind == QUIRE_RING_ONE_TO_ONE &&
           config.full == QUIRE_RING_OVERWRITE;
}

static void choose(void)
{
    uint64_t random = seed + n_round * 64 + 63;
    config = (struct quire_ring_config){
        .n_frames = (uint64_t)1 << draw(&random, 9),
        .frame_bytes = LEAST_FRAME_BYTES +
                       (uint32_t)draw(&random, draw(&random, 2) ? 48 : MOST_FRAME_BYTES - 16),
        .kind = (enum quire_ring_kind)draw(&random, 2),
        .full = (enum quire_ring_full)draw(&random, 3)};
    n_producers = config.kind == QUIRE_RING_ONE_TO_ONE ? 1 : 1 + (unsigned)draw(&random, 4);
    n_consumers = config.kind == QUIRE_RING_ONE_TO_ONE ? 1 : 1 + (unsigned)draw(&random, 4);
    n_each = 1 + (unsigned)draw(&random, MOST_EACH / n_producers);
    with_threads = draw(&random, 4) == 0 && !is_race_by_intention();
}

static void play_round(void)
{
    choose();
    memset(shared, 0, sizeof *shared);
    REQUIRE(config.n_frames <= MOST_FRAMES);
    REQUIRE(quire_ring_init(&config, shared->memory, MEMORY_BYTES) == 0);
    if (with_threads)
        run_threads();
    else
        run_processes();
    const unsigned n = collect();
    check_history(n);
    check_counters(n);
}

int main(int argc, char **argv)
{
    const char *given = getenv("QUIRE_TEST_SEED");
    const uint64_t seconds = argc > 1 ? strtoull(argv[1], NULL, 10) : SECONDS;
    const uint64_t end = sys_now_ns() + seconds * 1000000000;
    uint64_t n_frames = 0;

    seed = given != NULL ? strtoull(given, NULL, 0) : scramble(sys_now_ns());
    printf("seed %lu\n", (unsigned long)seed);
    fflush(stdout);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
    for (; n_round == 0 || sys_now_ns() < end; n_round++) {
        play_round();
        n_frames += (uint64_t)n_producers * n_each;
    }
    printf("%lu rounds, %lu frames\n", (unsigned long)n_round, (unsigned long)n_frames);
    return 0;
}
