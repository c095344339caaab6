/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings in every order of the steps of those who use them (tests/stepping.h), up to a bound of
 * delays. A step is one access to what is shared, a futex, or one half of filling or reading a
 * frame. In some scenarios one of the actors is killed at any step, and reaped.
 *
 * Checked: frames come whole, in order and once; what was committed arrives, but for what a killed
 * consumer had; nobody sleeps while what it waits for is there, and nobody waits for ever; the
 * ring is valid in the end and its counters tell what happened.
 *
 *   ring_stepping [BOUND]                BOUND of delays: 2, if it is not given
 */
#include "stepping.h"

#include "share/ring.h"

#define MEMORY_BYTES 8192u
#define MEMBER_LIMIT 4u
#define FRAME_LIMIT 16u
#define BOUND 2u      /* delays */
#define LIVING_PID 1u /* stands for a process other than this one */

struct frame {
    uint64_t first, second; /* filled and read in two steps */
};

static const struct scenario {
    const char *name;
    enum quire_ring_kind kind;
    enum quire_ring_full full;
    uint64_t n_frames;
    unsigned n_producers, n_consumers;
    unsigned n_each; /* frames of a producer */
    int victim;      /* actor that is killed: producers first; -1: none */
    bool copies;     /* put and get, in place of reserve, commit, peek and release */
} scenarios[] = {
    {"one-to-one", QUIRE_RING_ONE_TO_ONE, QUIRE_RING_WAIT, 2, 1, 1, 3, -1, false},
    {"one-to-one, one frame", QUIRE_RING_ONE_TO_ONE, QUIRE_RING_WAIT, 1, 1, 1, 2, -1, false},
    {"copies", QUIRE_RING_ONE_TO_ONE, QUIRE_RING_WAIT, 2, 1, 1, 3, -1, true},
    {"copies, producer killed", QUIRE_RING_ONE_TO_ONE, QUIRE_RING_WAIT, 2, 1, 1, 3, 0, true},
    {"overwriting", QUIRE_RING_ONE_TO_ONE, QUIRE_RING_OVERWRITE, 2, 1, 1, 4, -1, false},
    {"producer killed", QUIRE_RING_ONE_TO_ONE, QUIRE_RING_WAIT, 2, 1, 1, 3, 0, false},
    {"consumer killed", QUIRE_RING_ONE_TO_ONE, QUIRE_RING_WAIT, 2, 1, 1, 3, 1, false},
    {"two producers", QUIRE_RING_MANY_TO_MANY, QUIRE_RING_WAIT, 2, 2, 1, 2, -1, false},
    {"two consumers", QUIRE_RING_MANY_TO_MANY, QUIRE_RING_WAIT, 2, 1, 2, 2, -1, false},
    {"many overwriting", QUIRE_RING_MANY_TO_MANY, QUIRE_RING_OVERWRITE, 2, 2, 1, 2, -1, false},
    {"many overwriting one frame", QUIRE_RING_MANY_TO_MANY, QUIRE_RING_OVERWRITE, 1, 2, 1, 3, -1,
     false},
    {"one of two producers killed", QUIRE_RING_MANY_TO_MANY, QUIRE_RING_WAIT, 2, 2, 1, 1, 0, false},
    {"one of two consumers killed", QUIRE_RING_MANY_TO_MANY, QUIRE_RING_WAIT, 2, 1, 2, 2, 1, false},
};
#define N_SCENARIOS (sizeof scenarios / sizeof scenarios[0])

static _Alignas(128) unsigned char memory[MEMORY_BYTES];
static const struct scenario *now;
static struct actor actors[STEPPING_ACTORS];
static struct quire_ring rings[MEMBER_LIMIT], observer;
static unsigned n_committed[MEMBER_LIMIT];             /* by each producer */
static unsigned n_seen[MEMBER_LIMIT];                  /* of each producer's */
static uint64_t last_seen[MEMBER_LIMIT][MEMBER_LIMIT]; /* by a consumer, of a producer */
static unsigned n_missed_wakes;
static bool is_killed;

static void fail(const char *why)
{
    stepping_fail(why);
}

static uint64_t frame_of(unsigned producer, unsigned number)
{
    return (uint64_t)(producer + 1) << 32 | number;
}

/* Who was woken by the clock alone had been forgotten. */
static int wait_for_turn(struct actor *self, struct quire_ring *ring)
{
    self->timed_out = false;
    const int error = quire_ring_wait(ring, 1, QUIRE_RING_FOREVER);
    if (error == 0 && self->timed_out)
        n_missed_wakes++;
    return error;
}

/* False: it is full. */
static bool put_frame(struct quire_ring *ring, unsigned producer, unsigned number)
{
    const struct frame frame = {frame_of(producer, number), frame_of(producer, number)};
    const unsigned before = n_committed[producer];
    n_committed[producer] = number; /* from here on it may arrive */
    const int64_t n = quire_ring_put(ring, &frame, 1, 0);
    if (n != 1)
        n_committed[producer] = before;
    if (n != 1 && n != -EAGAIN && n != -EPIPE && n != -EOWNERDEAD)
        fail("put fails");
    return n == 1;
}

static void produce_copies(struct actor *self, struct quire_ring *ring, unsigned producer)
{
    for (unsigned number = 1; number <= now->n_each;) {
        if (put_frame(ring, producer, number))
            number++;
        else if (wait_for_turn(self, ring) != 0)
            break;
    }
}

static void produce(struct actor *self)
{
    const unsigned producer = (unsigned)(uintptr_t)self->context;
    struct quire_ring *ring = &rings[producer];
    if (now->copies) {
        produce_copies(self, ring, producer);
        quire_ring_detach(ring);
        return;
    }
    for (unsigned number = 1; number <= now->n_each;) {
        void *place;
        const int64_t n = quire_ring_reserve(ring, 1, &place);
        if (n < 0)
            fail("reserve fails");
        if (n == 0 && wait_for_turn(self, ring) != 0)
            break; /* nobody will read */
        if (n <= 0)
            continue;
        struct frame *frame = place;
        frame->first = frame_of(producer, number);
        stepping_call();
        frame->second = frame->first;
        n_committed[producer] = number++; /* from here on it may arrive */
        if (quire_ring_commit(ring, place, 1) != 0)
            fail("commit fails");
    }
    quire_ring_detach(ring);
}

static void look_at(unsigned consumer, const struct frame *frame)
{
    const unsigned producer = (unsigned)(frame->first >> 32) - 1;
    const unsigned number = (unsigned)frame->first;
    if (frame->first != frame->second || producer >= now->n_producers)
        fail("a frame is not whole");
    else if (number <= last_seen[consumer][producer] || number > n_committed[producer])
        fail("a frame comes twice, or out of order, or too early");
    else {
        last_seen[consumer][producer] = number;
        n_seen[producer]++;
    }
}

static void consume_copies(struct actor *self, struct quire_ring *ring, unsigned consumer)
{
    for (;;) {
        struct frame frame;
        const int64_t n = quire_ring_get(ring, &frame, 1, 0);
        if (n == 1)
            look_at(consumer, &frame);
        else if (n != -EAGAIN && n != 0 && n != -EOWNERDEAD)
            fail("get fails");
        else if (n != -EAGAIN || wait_for_turn(self, ring) != 0)
            break;
    }
}

static void consume(struct actor *self)
{
    const unsigned consumer = (unsigned)(uintptr_t)self->context;
    struct quire_ring *ring = &rings[consumer];
    if (now->copies) {
        consume_copies(self, ring, consumer);
        quire_ring_detach(ring);
        return;
    }
    for (;;) {
        void *place;
        const int64_t n = quire_ring_peek(ring, 1, &place);
        if (n < 0)
            fail("peek fails");
        if (n == 0 && wait_for_turn(self, ring) != 0)
            break; /* nobody will write */
        if (n <= 0)
            continue;
        struct frame copy = {.first = ((struct frame *)place)->first};
        stepping_call();
        copy.second = ((struct frame *)place)->second;
        const int error = quire_ring_release(ring, place, 1);
        if (error == 0)
            look_at(consumer, &copy);
        else if (error != -EOVERFLOW || now->full != QUIRE_RING_OVERWRITE)
            fail("release fails");
    }
    quire_ring_detach(ring);
}

static void kill_one(struct actor *self)
{
    stepping_call();
    struct actor *victim = &actors[now->victim];
    is_killed = victim->status != ACTOR_DONE;
    victim->status = ACTOR_DONE;
    quire_ring_reap_process(&observer, LIVING_PID);
}

/* An execution */

static void attach(unsigned i)
{
    const enum quire_ring_side side = i < now->n_producers ? QUIRE_RING_PRODUCER
                                                           : QUIRE_RING_CONSUMER;
    if (quire_ring_attach(memory, sizeof memory, side, &rings[i]) != 0)
        abort();
    rings[i].spin_ns = 0;
    if ((int)i != now->victim)
        return;
    struct ring_member *member = &rings[i].header->member[rings[i].member];
    const uint64_t who = atomic_load(&member->who);
    atomic_store(&member->who, (who & UINT32_MAX) | (uint64_t)LIVING_PID << 32);
    atomic_store(&member->start_time, 0);
}

static unsigned prepare(void)
{
    const struct quire_ring_config config = {now->n_frames, sizeof(struct frame), now->kind,
                                             now->full};
    const unsigned n = now->n_producers + now->n_consumers;
    memset(memory, 0, sizeof memory);
    memset(actors, 0, sizeof actors);
    memset(n_committed, 0, sizeof n_committed);
    memset(n_seen, 0, sizeof n_seen);
    memset(last_seen, 0, sizeof last_seen);
    n_missed_wakes = 0;
    is_killed = false;
    if (quire_ring_init(&config, memory, sizeof memory) != 0 ||
        quire_ring_attach(memory, sizeof memory, QUIRE_RING_OBSERVER, &observer) != 0)
        abort();
    for (unsigned i = 0; i < n; i++) {
        attach(i);
        actors[i] = (struct actor){.name = i < now->n_producers ? "producer" : "consumer",
                                   .run = i < now->n_producers ? produce : consume,
                                   .context = (void *)(uintptr_t)i};
    }
    if (now->victim >= 0)
        actors[n] = (struct actor){.name = "killer", .run = kill_one};
    return n + (now->victim >= 0);
}

static void check_end(void)
{
    struct quire_ring_stats stats;
    unsigned n_made = 0, n_arrived = 0;
    if (quire_ring_validate(&observer) != 0 || quire_ring_stats(&observer, &stats) != 0) {
        fail("the ring is not valid");
        return;
    }
    for (unsigned i = 0; i < now->n_producers; i++) {
        n_made += n_committed[i];
        n_arrived += n_seen[i];
        if ((int)i != now->victim && now->n_consumers > (now->victim >= (int)now->n_producers) &&
            n_committed[i] != now->n_each)
            fail("a producer could not finish");
    }
    if (n_missed_wakes > 0 && !is_killed)
        fail("one who waits was not woken");
    if (!is_killed && (stats.n_in != n_made || stats.n_out != n_made ||
                       stats.n_lost + n_arrived != n_made || stats.n_skipped != 0))
        fail("the counters do not agree");
    if (now->full != QUIRE_RING_OVERWRITE && now->victim < 0 && n_arrived != n_made)
        fail("a frame was lost");
    /* The victim takes what it had in hand with it. */
    if (is_killed && now->victim < (int)now->n_producers && n_arrived + 1 < n_made)
        fail("more was lost than the killed producer was making");
    if (is_killed && now->victim >= (int)now->n_producers && now->n_consumers > 1 &&
        n_arrived + stats.n_lost + 1 < n_made)
        fail("more was lost than the killed consumer was using");
}

int main(int argc, char **argv)
{
    const unsigned n_delays = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : BOUND;

    for (unsigned i = 0; i < N_SCENARIOS; i++) {
        now = &scenarios[i];
        const unsigned long n = stepping_explore(now->name, actors, n_delays, prepare, check_end);
        printf("%-30s %lu schedules\n", now->name, n);
    }
    return 0;
}
