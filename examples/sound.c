/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sound from one process to another (quire/sound.h): a client writes samples as it gets to it, a
 * server plays them in real time, a period every 5 ms. What is missing at that moment is an
 * underrun, which one would hear. How much has to be under way for a client that is late now and
 * then?
 *
 *     cc -o sound sound.c $(pkg-config --cflags --libs quire) -lm && ./sound [FILE.wav [HEARD.raw]]
 *
 * FILE.wav is a PCM file; without one a tone is made up. Every byte must arrive as it was sent;
 * HEARD.raw gets what the server played, without the silence in between.
 */
#include <errno.h>
#include <math.h>
#include <quire/share.h>
#include <quire/sound.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_MS 5
#define MOST_MS 80
#define LATE_MS 12   /* for so long the writer does something else ... */
#define LATE_EACH 10 /* ... at each tenth period */

struct sound {
    uint32_t rate; /* frames a second */
    uint32_t frame_bytes;
    uint8_t silence; /* bytes of 8 bits are unsigned */
    unsigned char *samples;
    size_t n_bytes;
};

struct heard { /* what the server played, in memory that both share */
    uint64_t n_frames;
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
            sound->silence = little_endian(chunk + 14, 2) == 8 ? 128 : 0;
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
    return (struct sound){48000, 4, 0, (unsigned char *)samples, sizeof samples};
}

static void sleep_until(struct timespec *next, unsigned ms)
{
    next->tv_nsec += (long)ms * 1000000;
    next->tv_sec += next->tv_nsec / 1000000000;
    next->tv_nsec %= 1000000000;
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL);
}

/* The server: a period at a time, when it is due. It mixes and plays what it gets; here it is kept.
 */
static void play(struct quire_sound *stream, struct heard *heard)
{
    const uint32_t period = stream->config.period, frame_bytes = stream->config.frame_bytes;
    struct timespec next;
    int64_t n;

    clock_gettime(CLOCK_MONOTONIC, &next);
    while ((n = quire_sound_take(stream, heard->samples + heard->n_frames * frame_bytes, period,
                                 0)) >= 0) {
        heard->n_frames += (uint64_t)n;
        sleep_until(&next, PERIOD_MS);
    }
    check(n == -EPIPE ? 0 : n, "playing");
}

/* The client. */
static void write_all(struct quire_sound *stream, const struct sound *sound)
{
    const uint64_t n_frames = sound->n_bytes / sound->frame_bytes;
    const uint64_t period = stream->config.period;
    const struct timespec late = {0, LATE_MS * 1000000L};

    for (uint64_t at = 0, turn = 1; at < n_frames; turn++) {
        const uint64_t n = n_frames - at < period ? n_frames - at : period;
        check(quire_sound_write(stream, sound->samples + at * sound->frame_bytes, n,
                                QUIRE_RING_FOREVER),
              "writing");
        at += n;
        if (turn % LATE_EACH == 0)
            nanosleep(&late, NULL);
    }
    check(quire_sound_finish(stream), "finishing");
    check(quire_sound_drain(stream, QUIRE_RING_FOREVER), "draining");
}

static uint64_t power_of_two_from(uint64_t n)
{
    uint64_t power = 1;
    while (power < n)
        power *= 2;
    return power;
}

static struct quire_sound_config config_of(const struct sound *sound, unsigned most_ms)
{
    return (struct quire_sound_config){
        .rate = sound->rate,
        .frame_bytes = sound->frame_bytes,
        .n_frames = power_of_two_from((uint64_t)sound->rate * most_ms / 1000),
        .period = sound->rate * PERIOD_MS / 1000,
        .silence = sound->silence,
        .way = QUIRE_SOUND_PLAY,
    };
}

static bool pass_through(const struct sound *sound, unsigned latency_ms, struct heard *heard)
{
    const struct quire_sound_config config = config_of(sound, MOST_MS);
    const size_t n_bytes = quire_sound_bytes(&config);
    struct quire_sound stream;
    struct quire_sound_state state;
    void *memory;
    int status;

    const int fd = quire_share_memory("sound", n_bytes, 0, &memory);
    check(fd, "memory");
    check(quire_sound_init(&config, memory, n_bytes), "stream");
    heard->n_frames = 0;
    const pid_t server = fork();
    if (server == 0) {
        check(quire_sound_attach(memory, n_bytes, QUIRE_SOUND_SERVER, &stream), "server");
        play(&stream, heard);
        quire_sound_detach(&stream);
        _exit(0);
    }
    check(quire_sound_attach(memory, n_bytes, QUIRE_SOUND_CLIENT, &stream), "client");
    check(quire_sound_ask_latency(&stream, (uint64_t)sound->rate * latency_ms / 1000), "latency");
    write_all(&stream, sound);
    check(quire_sound_state(&stream, &state), "state");
    quire_sound_detach(&stream);
    waitpid(server, &status, 0);

    const bool same = status == 0 && heard->n_frames * sound->frame_bytes == sound->n_bytes &&
                      memcmp(heard->samples, sound->samples, sound->n_bytes) == 0;
    printf("%6.1f ms  %9llu  %7.1f ms  %s\n", (double)state.granted_latency * 1000 / sound->rate,
           (unsigned long long)state.n_underruns,
           (double)state.underrun_frames * 1000 / sound->rate, same ? "whole" : "GARBLED");
    munmap(memory, n_bytes);
    close(fd);
    return same;
}

static void save(const char *path, const struct heard *heard, uint32_t frame_bytes)
{
    FILE *stream = fopen(path, "wb");
    const size_t n_bytes = heard->n_frames * frame_bytes;
    const bool done = stream != NULL && fwrite(heard->samples, 1, n_bytes, stream) == n_bytes;

    check((stream != NULL && fclose(stream) != 0) || !done ? -errno : 0, path);
}

int main(int argc, char **argv)
{
    static const unsigned latencies_ms[] = {5, 10, 20, 40, MOST_MS};
    const struct sound sound = argc > 1 ? read_wav(argv[1]) : make_tone();
    bool same = true;
    void *heard;

    const int fd = quire_share_memory(
        "heard", sizeof(struct heard) + sound.n_bytes + sound.rate * sound.frame_bytes, 0, &heard);
    check(fd, "memory");
    printf(
        "%.2f s of sound, played in periods of %d ms; the client is late by %d ms now and then\n",
        (double)sound.n_bytes / sound.frame_bytes / sound.rate, PERIOD_MS, LATE_MS);
    puts("   buffer  underruns     silence  arrived");
    for (unsigned i = 0; i < sizeof latencies_ms / sizeof latencies_ms[0]; i++)
        same &= pass_through(&sound, latencies_ms[i], heard);
    if (argc > 2)
        save(argv[2], heard, sound.frame_bytes);
    return same ? 0 : 1;
}
