/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams of sound in every order of the steps of client and server (tests/stepping.h), up to a
 * bound of delays. In one scenario the client is killed at any step.
 *
 * Checked: what is heard is what was written, in order, but for what was flushed and for the turns
 * of a loop; the server comes to an end; the state is possible at any time.
 *
 *   sound_stepping [BOUND]               BOUND of delays: 2, if it is not given
 */
#include "stepping.h"

#include "share/sound.h"

#define MEMORY_BYTES 8192u
#define BOUND 2u
#define LIVING_PID 1u /* stands for a process other than this one */
#define MOST_HEARD 16u

enum plot { PLAIN, LOOKED, FLUSHED, LOOPED, PAUSED, KILLED };

static const struct scenario {
    const char *name;
    enum plot plot;
    uint64_t n_frames; /* of the ring */
    unsigned n_written;
} scenarios[] = {
    {"played", PLAIN, 2, 3}, /* more than fit at once */
    {"looked at", LOOKED, 2, 2},     {"flushed", FLUSHED, 4, 4},
    {"looped", LOOPED, 4, 3},        {"paused, and left", PAUSED, 4, 2},
    {"client killed", KILLED, 2, 3},
};
#define N_SCENARIOS (sizeof scenarios / sizeof scenarios[0])

static _Alignas(128) unsigned char memory[MEMORY_BYTES];
static const struct scenario *now;
static struct actor actors[STEPPING_ACTORS];
static struct quire_sound client, server;
static struct quire_ring observer;
static uint64_t heard[MOST_HEARD];
static unsigned n_heard;
static int64_t end_result;
static bool is_killed;

static void fail(const char *why)
{
    stepping_fail(why);
}

/* The client */

static void write_frame(uint64_t number)
{
    if (quire_sound_write(&client, &number, 1, QUIRE_RING_FOREVER) != 1)
        fail("write fails");
}

static void run_client(struct actor *self)
{
    (void)self;
    if (now->plot == LOOPED && quire_sound_set_loop(&client, 1, 2, 1) != 0)
        fail("the loop is refused");
    for (unsigned number = 1; number <= now->n_written; number++) {
        write_frame(number);
        if (now->plot == FLUSHED && number == now->n_written / 2 && quire_sound_flush(&client) != 0)
            fail("flush fails");
    }
    if (now->plot == PAUSED && quire_sound_pause(&client, true) != 0)
        fail("pause fails");
    quire_sound_detach(&client);
}

static void look(void)
{
    struct quire_sound_state state;
    if (quire_sound_state(&server, &state) != 0 || state.n_waiting > now->n_frames ||
        state.n_moved != n_heard || state.server_position > now->n_written)
        fail("the state is impossible");
}

/* The server: as if each period came when there is more than in the last. */
static void run_server(struct actor *self)
{
    (void)self;
    for (;;) {
        uint64_t frame = 0;
        const int64_t n = quire_sound_take(&server, &frame, 1, 1);
        if (n < 0) {
            end_result = n;
            break;
        }
        if (n == 1 && n_heard < MOST_HEARD)
            heard[n_heard++] = frame;
        else if (n == 1 || frame != 0)
            fail("what is no sound is no silence");
        if (now->plot == LOOKED)
            look();
        if (n == 0)
            (void)quire_ring_wait(&server.ring, server.ring.other - server.ring.position + 1,
                                  QUIRE_RING_FOREVER);
    }
    quire_sound_detach(&server);
}

static void kill_client(struct actor *self)
{
    (void)self;
    stepping_call();
    is_killed = actors[0].status != ACTOR_DONE;
    actors[0].status = ACTOR_DONE;
    quire_ring_reap_process(&observer, LIVING_PID);
}

/* An execution */

static void let_it_live(struct quire_ring *ring)
{
    struct ring_member *member = &ring->header->member[ring->member];
    const uint64_t who = atomic_load(&member->who);
    atomic_store(&member->who, (who & UINT32_MAX) | (uint64_t)LIVING_PID << 32);
    atomic_store(&member->start_time, 0);
}

static unsigned prepare(void)
{
    const struct quire_sound_config config = {1000, sizeof(uint64_t), now->n_frames, 1,
                                              0,    QUIRE_SOUND_PLAY};
    memset(memory, 0, sizeof memory);
    memset(actors, 0, sizeof actors);
    n_heard = 0;
    end_result = 0;
    is_killed = false;
    if (quire_sound_init(&config, memory, sizeof memory) != 0 ||
        quire_sound_attach(memory, sizeof memory, QUIRE_SOUND_CLIENT, &client) != 0 ||
        quire_sound_attach(memory, sizeof memory, QUIRE_SOUND_SERVER, &server) != 0 ||
        quire_ring_attach(client.ring.header, sizeof memory - sizeof(struct sound_header),
                          QUIRE_RING_OBSERVER, &observer) != 0 ||
        quire_sound_ask_latency(&client, now->plot == PLAIN ? 0 : now->n_frames) != 0)
        abort();
    client.ring.spin_ns = server.ring.spin_ns = 0;
    actors[0] = (struct actor){.name = "client", .run = run_client};
    actors[1] = (struct actor){.name = "server", .run = run_server};
    if (now->plot != KILLED)
        return 2;
    let_it_live(&client.ring);
    actors[2] = (struct actor){.name = "killer", .run = kill_client};
    return 3;
}

/* Whether frames first, first + 1, ... last were heard at the end, and others before in order. */
static bool is_heard(uint64_t first, uint64_t last)
{
    const uint64_t n = last - first + 1;
    for (unsigned i = 1; i < n_heard; i++)
        if (heard[i] <= heard[i - 1])
            return false;
    return n_heard >= n && heard[n_heard - n] == first && heard[n_heard - 1] == last;
}

static void check_end(void)
{
    static const uint64_t looped[] = {1, 2, 2, 3};
    if (end_result != (is_killed ? -EOWNERDEAD : -EPIPE))
        fail("the end is not told as it was");
    switch (now->plot) {
    case PLAIN:
    case LOOKED:
        if (n_heard != now->n_written || !is_heard(1, now->n_written))
            fail("not all is heard");
        break;
    case FLUSHED:
        if (!is_heard(now->n_written / 2 + 1, now->n_written))
            fail("what was written behind a flush is not heard");
        break;
    case LOOPED:
        if (n_heard != 4 || memcmp(heard, looped, sizeof looped) != 0)
            fail("the loop is not heard as it is");
        break;
    default: /* as much as there was until then */
        for (unsigned i = 0; i < n_heard; i++)
            if (heard[i] != i + 1)
                fail("out of order");
        if (now->plot == KILLED && !is_killed && n_heard != now->n_written)
            fail("not all is heard");
    }
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
