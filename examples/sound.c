/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sound through a ring: one process writes samples as it gets to it, another plays them in real
 * time, a period every 5 ms. When the ring is empty at that moment, that is an underrun, which one
 * would hear. How large does the ring have to be for a writer that is late now and then?
 *
 *     cc -o sound sound.c $(pkg-config --cflags --libs quire) && ./sound [FILE.wav]
 *
 * FILE is a PCM file; without one a tone is made up. Every byte must arrive as it was sent.
 */
#include <errno.h>
#include <math.h>
#include <quire/ring.h>
#include <quire/share.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_MS 5
#define LATE_MS 12   /* for so long the writer does something else ... */
#define LATE_EACH 10 /* ... at each tenth period */

struct sound {
    uint32_t rate; /* frames a second */
    uint32_t frame_bytes;
    unsigned char *samples;
    size_t n_bytes;
};

struct played { /* what the player tells, in memory that both share */
    uint64_t n_frames, n_underruns;
    unsigned char samples[];
};

static void check(int64_t result, const char *what)
{
    if (result >= 0)
        return;
    fprintf(stderr, "sound: %s: %s\n", what, strerror((int)-result));
    exit(1);
}

static uint32_t little_endian(const unsigned char *bytes, unsigned n)
{
    uint32_t value = 0;
    for (unsigned i = n; i-- > 0;)
        value = value << 8 | bytes[i];
    return value;
}

/* The chunks "fmt " and "data" of a RIFF file. */
static void find_chunks(const unsigned char *file, size_t n_bytes, struct sound *sound)
{
    for (size_t at = 12; at + 8 <= n_bytes;) {
        const size_t length = little_endian(file + at + 4, 4);
        const unsigned char *chunk = file + at + 8;
        const size_t room = n_bytes - at - 8;
        if (memcmp(file + at, "fmt ", 4) == 0 && length >= 16 && room >= 16) {
            sound->rate = little_endian(chunk + 4, 4);
            sound->frame_bytes = little_endian(chunk + 12, 2);
        } else if (memcmp(file + at, "data", 4) == 0) {
            sound->samples = (unsigned char *)(uintptr_t)chunk;
            sound->n_bytes = length < room ? length : room;
        }
        if (length >= room)
            break;
        at += 8 + length + length % 2;
    }
}

static struct sound read_wav(const char *path)
{
    static unsigned char file[16 << 20];
    struct sound sound = {0};
    FILE *stream = fopen(path, "rb");
    check(stream == NULL ? -errno : 0, path);
    const size_t n = fread(file, 1, sizeof file, stream);
    fclose(stream);
    if (n > 12 && memcmp(file, "RIFF", 4) == 0 && memcmp(file + 8, "WAVE", 4) == 0)
        find_chunks(file, n, &sound);
    if (sound.rate < 1000 || sound.rate > 1000000 || sound.frame_bytes == 0 ||
        sound.n_bytes < sound.frame_bytes) {
        fprintf(stderr, "sound: %s is no PCM file of up to 16 MiB\n", path);
        exit(1);
    }
    sound.n_bytes -= sound.n_bytes % sound.frame_bytes;
    return sound;
}

static struct sound make_tone(void)
{
    static int16_t samples[48000 / 3][2];
    const size_t n = sizeof samples / sizeof samples[0];
    for (size_t i = 0; i < n; i++) {
        samples[i][0] = (int16_t)(20000 * sin((double)i * 0.0576)); /* A4 */
        samples[i][1] = (int16_t)(20000 * sin((double)i * 0.0726));
    }
    return (struct sound){48000, 4, (unsigned char *)samples, sizeof samples};
}

static void sleep_until(struct timespec *next, unsigned ms)
{
    next->tv_nsec += (long)ms * 1000000;
    next->tv_sec += next->tv_nsec / 1000000000;
    next->tv_nsec %= 1000000000;
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL);
}

/* Takes a period at a time, when it is due, from the moment that the ring is full first. */
static void play(struct quire_ring *ring, const struct sound *sound, struct played *played)
{
    const uint64_t period = (uint64_t)sound->rate * PERIOD_MS / 1000;
    struct timespec next;
    int64_t n;

    (void)quire_ring_wait(ring, UINT64_MAX, QUIRE_RING_FOREVER); /* or all of it, if it is short */
    clock_gettime(CLOCK_MONOTONIC, &next);
    do {
        unsigned char *to = played->samples + played->n_frames * sound->frame_bytes;
        n = quire_ring_get(ring, to, period, 0);
        if (n > 0)
            played->n_frames += (uint64_t)n;
        if (n == -EAGAIN ||
            (n > 0 && (uint64_t)n < period && quire_ring_wait(ring, 1, 0) != -EPIPE))
            played->n_underruns++;
        sleep_until(&next, PERIOD_MS);
    } while (n > 0 || n == -EAGAIN);
    check(n, "playing");
}

static void write_all(struct quire_ring *ring, const struct sound *sound)
{
    const uint64_t n_frames = sound->n_bytes / sound->frame_bytes;
    const uint64_t period = (uint64_t)sound->rate * PERIOD_MS / 1000;
    const struct timespec late = {0, LATE_MS * 1000000L};

    for (uint64_t at = 0, turn = 1; at < n_frames; turn++) {
        const uint64_t n = n_frames - at < period ? n_frames - at : period;
        check(quire_ring_put(ring, sound->samples + at * sound->frame_bytes, n, QUIRE_RING_FOREVER),
              "writing");
        at += n;
        if (turn % LATE_EACH == 0)
            nanosleep(&late, NULL);
    }
}

static uint64_t power_of_two_from(uint64_t n)
{
    uint64_t power = 1;
    while (power < n)
        power *= 2;
    return power;
}

static bool pass_through(const struct sound *sound, unsigned buffer_ms)
{
    const struct quire_ring_config config = {
        power_of_two_from((uint64_t)sound->rate * buffer_ms / 1000), sound->frame_bytes,
        QUIRE_RING_ONE_TO_ONE, QUIRE_RING_WAIT};
    const size_t ring_bytes = quire_ring_bytes(&config);
    const size_t played_bytes = sizeof(struct played) + sound->n_bytes + sound->rate;
    struct quire_ring ring;
    void *memory, *shared;
    int status;

    const int fd = quire_share_memory("sound", ring_bytes, 0, &memory);
    check(fd, "memory");
    const int played_fd = quire_share_memory("played", played_bytes, 0, &shared);
    check(played_fd, "memory");
    check(quire_ring_init(&config, memory, ring_bytes), "ring");
    const pid_t player = fork();
    if (player == 0) {
        check(quire_ring_attach(memory, ring_bytes, QUIRE_RING_CONSUMER, &ring), "player");
        play(&ring, sound, shared);
        quire_ring_detach(&ring);
        _exit(0);
    }
    check(quire_ring_attach(memory, ring_bytes, QUIRE_RING_PRODUCER, &ring), "writer");
    write_all(&ring, sound);
    quire_ring_detach(&ring);
    waitpid(player, &status, 0);

    const struct played *played = shared;
    const bool same = status == 0 && played->n_frames * sound->frame_bytes == sound->n_bytes &&
                      memcmp(played->samples, sound->samples, sound->n_bytes) == 0;
    printf("%6.1f ms  %9llu  %s\n", (double)config.n_frames * 1000 / sound->rate,
           (unsigned long long)played->n_underruns, same ? "whole" : "GARBLED");
    munmap(memory, ring_bytes);
    munmap(shared, played_bytes);
    close(fd);
    close(played_fd);
    return same;
}

int main(int argc, char **argv)
{
    static const unsigned buffers_ms[] = {5, 10, 20, 40, 80};
    const struct sound sound = argc > 1 ? read_wav(argv[1]) : make_tone();
    bool same = true;

    printf(
        "%.2f s of sound, played in periods of %d ms; the writer is late by %d ms now and then\n",
        (double)sound.n_bytes / sound.frame_bytes / sound.rate, PERIOD_MS, LATE_MS);
    puts("   buffer  underruns  arrived");
    for (unsigned i = 0; i < sizeof buffers_ms / sizeof buffers_ms[0]; i++)
        same &= pass_through(&sound, buffers_ms[i]);
    return same ? 0 : 1;
}
