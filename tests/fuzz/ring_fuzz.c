/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hostile peer of a ring, and of a stream of sound, under libFuzzer: between the steps of one
 * member it writes what it likes to all that is shared.
 *
 * The input is a script: first what is made, then step by step what the member does or the peer
 * writes. Results may be anything; each call must return, and touch nothing but the memory of the
 * ring, which ends where the allocation does.
 */
#include <quire/sound.h>

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_BYTES ((size_t)64 << 10)
#define SHORT_NS 500u
#define HEADER_BYTES 1024u /* where small changes do most */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static struct {
    const uint8_t *at;
    size_t left;
} script;

static unsigned char *memory;
static size_t memory_bytes;
static unsigned char buffer[BUFFER_BYTES];

static uint64_t next(unsigned n)
{
    uint64_t value = 0;
    for (; n > 0 && script.left > 0; n--, script.left--)
        value = value << 8 | *script.at++;
    return value;
}

/* Any word, a small step of one, or a bit of one. */
static void do_harm(void)
{
    const unsigned how = (unsigned)next(1);
    const size_t span = how & 1 ? memory_bytes - 7 : HEADER_BYTES;
    const size_t offset = how & 1 ? next(2) % span : next(1) * 8 % span;
    uint64_t word;
    memcpy(&word, memory + offset, 8);
    switch (how >> 1 & 3) {
    case 0:
        word = next(8);
        break;
    case 1:
        word += (uint64_t)(int64_t)(int8_t)next(1);
        break;
    case 2:
        word ^= 1ull << next(1) % 64;
        break;
    default:
        word = how & 8 ? UINT64_MAX - next(1) : next(1);
    }
    memcpy(memory + offset, &word, 8);
}

/* Frames that a ring gave are in its memory: ASan looks. */
static void use(void *frames, int64_t n, uint32_t frame_bytes)
{
    if (n > 0)
        memset(frames, 0x5a, (size_t)n * frame_bytes);
}

/* What a buffer of ours bears. */
static uint64_t some_frames(uint32_t frame_bytes)
{
    const uint64_t n = next(1);
    return n < BUFFER_BYTES / frame_bytes ? n : BUFFER_BYTES / frame_bytes;
}

/* Rings */

static struct quire_ring ring;
static enum quire_ring_side side;
static bool attached;
static void *held;
static int64_t n_held;

static void attach_ring(void)
{
    attached = quire_ring_attach(memory, memory_bytes, side, &ring) == 0;
    n_held = 0;
}

static void begin(void)
{
    void *frames;
    const uint64_t n = next(1);
    const int64_t got = side == QUIRE_RING_PRODUCER ? quire_ring_reserve(&ring, n, &frames)
                                                    : quire_ring_peek(&ring, n, &frames);
    if (got <= 0)
        return;
    use(frames, got, ring.frame_bytes);
    held = frames;
    n_held = got;
}

static void end(void)
{
    const uint64_t n = next(1);
    if (n_held <= 0)
        return;
    use(held, n_held, ring.frame_bytes);
    (void)(side == QUIRE_RING_PRODUCER ? quire_ring_commit(&ring, held, n)
                                       : quire_ring_release(&ring, held, n));
    n_held = 0;
}

static void copy(void)
{
    const uint64_t n = some_frames(ring.frame_bytes), timeout_ns = next(1) & 1 ? SHORT_NS : 0;
    const int64_t done = side == QUIRE_RING_PRODUCER ? quire_ring_put(&ring, buffer, n, timeout_ns)
                                                     : quire_ring_get(&ring, buffer, n, timeout_ns);
    if (done > (int64_t)n)
        abort();
}

static void step_ring(void)
{
    struct quire_ring_stats stats;
    switch (next(1) % 10) {
    case 0:
    case 1:
        begin();
        break;
    case 2:
    case 3:
        end();
        break;
    case 4:
        copy();
        break;
    case 5:
        (void)quire_ring_wait(&ring, next(1), next(1) & 1 ? SHORT_NS : 0);
        break;
    case 6:
        (void)quire_ring_stats(&ring, &stats);
        (void)quire_ring_validate(&ring);
        break;
    case 7:
        (void)quire_ring_arm(&ring);
        break;
    case 8:
        (void)(next(1) & 1 ? quire_ring_reap(&ring)
                           : quire_ring_reap_process(&ring, (uint32_t)next(2)));
        break;
    default:
        quire_ring_detach(&ring);
        attached = false;
    }
}

static size_t make_ring(void)
{
    const struct quire_ring_config config = {
        (uint64_t)1 << next(1) % 6, (uint32_t[]){1, 3, 8, 100}[next(1) % 4],
        (enum quire_ring_kind)(next(1) % 2), (enum quire_ring_full)(next(1) % 3)};
    side = (enum quire_ring_side)(next(1) % 2);
    memory_bytes = quire_ring_bytes(&config);
    memory = aligned_alloc(QUIRE_RING_ALIGNMENT, memory_bytes);
    if (memory == NULL)
        return 0;
    memset(memory, 0, memory_bytes);
    return quire_ring_init(&config, memory, memory_bytes) == 0;
}

static void play_ring(void)
{
    attached = false;
    while (script.left > 0) {
        if (next(1) % 3 == 0)
            do_harm();
        else if (!attached)
            attach_ring();
        else
            step_ring();
    }
    if (attached)
        quire_ring_detach(&ring);
}

/* Sound */

static struct quire_sound sound;
static enum quire_sound_role role;

static void move(void)
{
    const uint64_t n = some_frames(sound.config.frame_bytes), time = next(1);
    int64_t done;
    if (role == QUIRE_SOUND_SERVER)
        done = sound.config.way == QUIRE_SOUND_PLAY ? quire_sound_take(&sound, buffer, n, time)
                                                    : quire_sound_give(&sound, buffer, n, time);
    else
        done = sound.config.way == QUIRE_SOUND_PLAY
                   ? quire_sound_write(&sound, buffer, n, time & 1 ? SHORT_NS : 0)
                   : quire_sound_read(&sound, buffer, n, time & 1 ? SHORT_NS : 0);
    if (done > (int64_t)n)
        abort();
}

static void step_sound(void)
{
    struct quire_sound_state state;
    switch (next(1) % 8) {
    case 0:
        (void)quire_sound_state(&sound, &state);
        break;
    case 1:
        (void)quire_sound_flush(&sound);
        break;
    case 2:
        (void)quire_sound_set_loop(&sound, next(1), next(1), next(1));
        break;
    case 3:
        (void)(next(1) & 1 ? quire_sound_finish(&sound) : quire_sound_drain(&sound, SHORT_NS));
        break;
    case 4:
        (void)quire_sound_ask_latency(&sound, next(1));
        break;
    case 5:
        quire_sound_detach(&sound);
        attached = false;
        break;
    default:
        move();
    }
}

static size_t make_sound(void)
{
    struct quire_sound_config config = {
        48000, (uint32_t[]){1, 2, 6, 8}[next(1) % 4], (uint64_t)1 << next(1) % 6, 1,
        0,     (enum quire_sound_way)(next(1) % 2)};
    config.period = (uint32_t)(1 + next(1) % config.n_frames);
    role = (enum quire_sound_role)(next(1) % 2);
    memory_bytes = quire_sound_bytes(&config);
    memory = aligned_alloc(QUIRE_RING_ALIGNMENT, memory_bytes);
    if (memory == NULL)
        return 0;
    memset(memory, 0, memory_bytes);
    return quire_sound_init(&config, memory, memory_bytes) == 0;
}

static void play_sound(void)
{
    attached = false;
    while (script.left > 0) {
        if (next(1) % 3 == 0)
            do_harm();
        else if (!attached)
            attached = quire_sound_attach(memory, memory_bytes, role, &sound) == 0;
        else
            step_sound();
    }
    if (attached)
        quire_sound_detach(&sound);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    script.at = data;
    script.left = n_bytes;
    if (next(1) & 1) {
        if (make_sound())
            play_sound();
    } else if (make_ring()) {
        play_ring();
    }
    free(memory);
    memory = NULL;
    return 0;
}
