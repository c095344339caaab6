/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring_bench: `quire ring bench`. A ring, a pipe and a Unix socket between two processes.
 *
 *     sender --- messages of one size, numbered, contents checked ---> receiver
 *
 * The ways take turns, round by round, since where two processors are put decides as much as the
 * way does. Throughput: as many as go in a slice of time. Latency: one message now and then, with
 * the time at which it was sent.
 */
#include "base/sys.h"
#include "cli/cli.h"
#include "cli/figures.h"
#include "cli/ring.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_WAYS 4
#define N_ROUNDS 5
#define RING_BYTES ((uint64_t)4 << 20)
#define LEAST_FRAMES 4
#define BATCH 64u
#define SLICE_NS 60000000u
#define PACE_NS 100000u /* between messages whose latency is measured */
#define N_LATENCIES 400u
#define END UINT64_MAX

static const size_t sizes[] = {8, 64, 1024, 65536, 1048576};
#define N_SIZES (sizeof sizes / sizeof sizes[0])

enum way { RING_BATCHED, RING, PIPE, SOCKET };
static const char *const way_names[N_WAYS] = {"ring, batched", "ring", "pipe", "unix stream"};

/* One connection, seen from one of its ends. */
struct channel {
    enum way way;
    size_t n_bytes; /* of a message */
    int ends[2];    /* receiver's, sender's */
    void *memory;
    size_t memory_bytes;
    struct quire_ring ring;
    unsigned char *place; /* batched: frames at hand */
    uint64_t n_held, n_used;
};

/* What the receiver tells. */
struct result {
    uint64_t n_messages, time_ns;
    uint32_t latency_ns[N_LATENCIES];
    uint32_t n_latencies;
    bool garbled;
};

static bool is_ring(const struct channel *channel)
{
    return channel->way == RING || channel->way == RING_BATCHED;
}

static uint64_t frames_for(size_t n_bytes)
{
    const uint64_t n = RING_BYTES / n_bytes;
    return n > LEAST_FRAMES ? n : LEAST_FRAMES;
}

static bool open_channel(struct channel *channel, enum way way, size_t n_bytes)
{
    const struct quire_ring_config config = {frames_for(n_bytes), (uint32_t)n_bytes,
                                             QUIRE_RING_ONE_TO_ONE, QUIRE_RING_WAIT};

    *channel = (struct channel){.way = way, .n_bytes = n_bytes, .ends = {-1, -1}};
    if (way == PIPE)
        return pipe(channel->ends) == 0;
    if (way == SOCKET)
        return socketpair(AF_UNIX, SOCK_STREAM, 0, channel->ends) == 0;
    channel->memory_bytes = quire_ring_bytes(&config);
    channel->memory = mmap(NULL, channel->memory_bytes, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    return channel->memory != MAP_FAILED &&
           quire_ring_init(&config, channel->memory, channel->memory_bytes) == 0;
}

static void close_channel(struct channel *channel)
{
    if (is_ring(channel))
        munmap(channel->memory, channel->memory_bytes);
    for (int i = 0; i < 2; i++)
        if (channel->ends[i] >= 0)
            close(channel->ends[i]);
}

static bool take_side(struct channel *channel, enum quire_ring_side side)
{
    const int other = side == QUIRE_RING_PRODUCER ? 0 : 1;

    if (is_ring(channel))
        return quire_ring_attach(channel->memory, channel->memory_bytes, side, &channel->ring) == 0;
    close(channel->ends[other]);
    channel->ends[other] = -1;
    return true;
}

/* A whole message through a descriptor. False: the end, or an error. */
static bool transfer(int fd, unsigned char *message, size_t n_bytes, bool writes)
{
    for (size_t done = 0; done < n_bytes;) {
        const ssize_t n = writes ? sys_write(fd, message + done, n_bytes - done)
                                 : sys_read(fd, message + done, n_bytes - done);
        if (n <= 0 && n != -EINTR)
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static bool flush_batch(struct channel *channel)
{
    const uint64_t n = channel->n_used;

    channel->n_held = channel->n_used = 0;
    if (n == 0)
        return true;
    return (channel->ring.side == QUIRE_RING_PRODUCER
                ? quire_ring_commit(&channel->ring, channel->place, n)
                : quire_ring_release(&channel->ring, channel->place, n)) == 0;
}

/* The next frame of a batch, in place; NULL: the end. */
static unsigned char *next_in_batch(struct channel *channel)
{
    struct quire_ring *ring = &channel->ring;
    const bool produces = ring->side == QUIRE_RING_PRODUCER;

    while (channel->n_used == channel->n_held) {
        void *place;
        if (!flush_batch(channel))
            return NULL;
        const int64_t n = produces ? quire_ring_reserve(ring, BATCH, &place)
                                   : quire_ring_peek(ring, BATCH, &place);
        if (n < 0 || (n == 0 && quire_ring_wait(ring, 1, QUIRE_RING_FOREVER) != 0))
            return NULL;
        channel->place = place;
        channel->n_held = (uint64_t)n;
    }
    return channel->place + channel->n_used++ * channel->n_bytes;
}

static bool send_message(struct channel *channel, unsigned char *message)
{
    if (channel->way == RING_BATCHED) {
        unsigned char *place = next_in_batch(channel);
        if (place != NULL)
            memcpy(place, message, channel->n_bytes);
        return place != NULL;
    }
    if (channel->way == RING)
        return quire_ring_put(&channel->ring, message, 1, QUIRE_RING_FOREVER) == 1;
    return transfer(channel->ends[1], message, channel->n_bytes, true);
}

/* Where the message is; `buffer` if it had to be copied. NULL: the end. */
static unsigned char *receive_message(struct channel *channel, unsigned char *buffer)
{
    if (channel->way == RING_BATCHED)
        return next_in_batch(channel);
    if (channel->way == RING)
        return quire_ring_get(&channel->ring, buffer, 1, QUIRE_RING_FOREVER) == 1 ? buffer : NULL;
    return transfer(channel->ends[0], buffer, channel->n_bytes, false) ? buffer : NULL;
}

/* The first and the last word of a message say which it is. */
static void stamp(unsigned char *message, size_t n_bytes, uint64_t word)
{
    memcpy(message, &word, sizeof word);
    memcpy(message + n_bytes - sizeof word, &word, sizeof word);
}

static bool read_stamp(const unsigned char *message, size_t n_bytes, uint64_t *word)
{
    uint64_t last;

    memcpy(word, message, sizeof *word);
    memcpy(&last, message + n_bytes - sizeof last, sizeof last);
    return *word == last;
}

static void count_messages(struct channel *channel, unsigned char *buffer, struct result *result)
{
    uint64_t word, start = 0;
    unsigned char *message;

    while ((message = receive_message(channel, buffer)) != NULL) {
        if (!read_stamp(message, channel->n_bytes, &word) ||
            (word != END && word != result->n_messages))
            result->garbled = true;
        if (word == END || result->garbled)
            break;
        if (result->n_messages++ == 0)
            start = sys_now_ns();
    }
    result->time_ns = sys_now_ns() - start;
}

static void time_messages(struct channel *channel, unsigned char *buffer, struct result *result)
{
    uint64_t word;
    unsigned char *message;

    while ((message = receive_message(channel, buffer)) != NULL) {
        const uint64_t now = sys_now_ns();
        if (!read_stamp(message, channel->n_bytes, &word))
            result->garbled = true;
        if (word == END || result->garbled || result->n_latencies == N_LATENCIES)
            break;
        result->latency_ns[result->n_latencies++] = (uint32_t)(now - word);
    }
}

static _Noreturn void receive(struct channel *channel, bool timed, struct result *result)
{
    unsigned char *buffer = calloc(1, channel->n_bytes);

    if (buffer == NULL || !take_side(channel, QUIRE_RING_CONSUMER))
        _exit(EXIT_FAILURE);
    if (timed)
        time_messages(channel, buffer, result);
    else
        count_messages(channel, buffer, result);
    if (is_ring(channel))
        quire_ring_detach(&channel->ring);
    _exit(EXIT_SUCCESS);
}

static void send_many(struct channel *channel, unsigned char *message)
{
    const uint64_t end = sys_now_ns() + SLICE_NS;

    for (uint64_t i = 0; i % 16 != 0 || sys_now_ns() < end; i++) {
        stamp(message, channel->n_bytes, i);
        if (!send_message(channel, message))
            return;
    }
}

static void send_now_and_then(struct channel *channel, unsigned char *message)
{
    for (unsigned i = 0; i < N_LATENCIES; i++) {
        const uint64_t next = sys_now_ns() + PACE_NS;
        while (sys_now_ns() < next)
            continue;
        stamp(message, channel->n_bytes, sys_now_ns());
        if (!send_message(channel, message) || (is_ring(channel) && !flush_batch(channel)))
            return;
    }
}

static void send_all(struct channel *channel, bool timed)
{
    unsigned char *message = calloc(1, channel->n_bytes);

    if (message == NULL || !take_side(channel, QUIRE_RING_PRODUCER))
        return;
    if (timed)
        send_now_and_then(channel, message);
    else
        send_many(channel, message);
    stamp(message, channel->n_bytes, END);
    send_message(channel, message);
    if (is_ring(channel)) {
        flush_batch(channel);
        quire_ring_detach(&channel->ring);
    }
    free(message);
}

/* False: it failed, or a message was garbled. */
static bool measure(enum way way, size_t n_bytes, bool timed, struct result *result)
{
    struct channel channel;
    int status = -1;

    memset(result, 0, sizeof *result);
    if (!open_channel(&channel, way, n_bytes))
        return false;
    const pid_t child = fork();
    if (child == 0)
        receive(&channel, timed, result);
    if (child > 0) {
        send_all(&channel, timed);
        close_channel(&channel);
        waitpid(child, &status, 0);
    }
    return status == 0 && !result->garbled;
}

/* The figures */

struct figures {
    double messages[N_ROUNDS]; /* a second */
    uint32_t latency_ns[N_ROUNDS * N_LATENCIES];
    unsigned n_latencies;
};

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int compare_words(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double quantile_us(const struct figures *figures, unsigned permille)
{
    const unsigned n = figures->n_latencies;
    return n == 0 ? 0 : figures->latency_ns[(uint64_t)(n - 1) * permille / 1000] / 1000.0;
}

static bool measure_size(size_t n_bytes, struct result *result, struct figures *figures)
{
    memset(figures, 0, N_WAYS * sizeof *figures);
    for (unsigned round = 0; round < N_ROUNDS; round++) {
        for (enum way way = 0; way < N_WAYS; way++) {
            struct figures *these = &figures[way];
            if (!measure(way, n_bytes, false, result))
                return false;
            these->messages[round] = (double)result->n_messages * 1e9 / (double)result->time_ns;
            if (!measure(way, n_bytes, true, result))
                return false;
            memcpy(these->latency_ns + these->n_latencies, result->latency_ns,
                   result->n_latencies * sizeof result->latency_ns[0]);
            these->n_latencies += result->n_latencies;
        }
    }
    for (enum way way = 0; way < N_WAYS; way++) {
        qsort(figures[way].messages, N_ROUNDS, sizeof(double), compare_doubles);
        qsort(figures[way].latency_ns, figures[way].n_latencies, sizeof(uint32_t), compare_words);
    }
    return true;
}

static void print_size(size_t n_bytes, const struct figures *figures)
{
    for (enum way way = 0; way < N_WAYS; way++) {
        const double rate = figures[way].messages[N_ROUNDS / 2];
        printf("%9zu  %-14s %10.3g %8.3g %9.1f %9.1f %9.1f\n", n_bytes, way_names[way], rate / 1e6,
               rate * (double)n_bytes / 1e9, quantile_us(&figures[way], 500),
               quantile_us(&figures[way], 990), quantile_us(&figures[way], 999));
    }
    fflush(stdout);
}

static void add_json(json_t *lines, size_t n_bytes, const struct figures *figures)
{
    for (enum way way = 0; way < N_WAYS; way++)
        json_array_append_new(lines,
                              json_pack("{s:I, s:s, s:f, s:f, s:f, s:f}", "message_bytes",
                                        (json_int_t)n_bytes, "way", way_names[way],
                                        "messages_per_second", figures[way].messages[N_ROUNDS / 2],
                                        "latency_p50_us", quantile_us(&figures[way], 500),
                                        "latency_p99_us", quantile_us(&figures[way], 990),
                                        "latency_p999_us", quantile_us(&figures[way], 999)));
}

int ring_bench(int argc, char **argv)
{
    static struct figures figures[N_WAYS];
    const bool as_json = ring_parse_json(
        argc, argv,
        "Measure a ring, a pipe and a Unix socket between two processes, in turns: medians of "
        "throughput, and the latency of a message on its way, one at a time."
        "\v"
        "Exit status:\n"
        "  0    they were measured, and every message arrived whole and in order\n"
        "  1    one did not, or memory or descriptors were lacking\n"
        "  125  the command line can't be understood");
    struct result *result;

    signal(SIGPIPE, SIG_IGN);
    result = mmap(NULL, sizeof *result, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    json_t *lines = as_json ? json_array() : NULL;
    if (!as_json)
        puts("    bytes  way            M msg/s     GB/s    p50 us    p99 us  p99.9 us");
    for (size_t i = 0; i < N_SIZES; i++) {
        if (result == MAP_FAILED || !measure_size(sizes[i], result, figures)) {
            cli_error("%zu bytes: a message did not arrive as it was sent, or there was no memory",
                      sizes[i]);
            return EXIT_FAILURE;
        }
        if (as_json)
            add_json(lines, sizes[i], figures);
        else
            print_size(sizes[i], figures);
    }
    return !as_json ||
                   figures_print_json(json_pack("{s:s, s:s, s:o}", "schema", "quire.ring-bench/1",
                                                "version", QUIRE_VERSION, "lines", lines),
                                      false)
               ? EXIT_SUCCESS
               : EXIT_FAILURE;
}
