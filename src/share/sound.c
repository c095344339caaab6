/* SPDX-License-Identifier: Apache-2.0 */
/* sound: making a stream and attaching to it; the control block. See sound.h for the layout, and
 * sound_frames.c for how frames go through it. */
#include "share/sound.h"

#include "base/checked.h"

#include <string.h>

static bool is_valid(const struct quire_sound_config *config)
{
    return config->rate >= QUIRE_SOUND_MIN_RATE && config->rate <= QUIRE_SOUND_MAX_RATE &&
           config->frame_bytes >= 1 && config->frame_bytes <= QUIRE_SOUND_MAX_FRAME_BYTES &&
           is_power_of_two(config->n_frames) && config->n_frames <= QUIRE_SOUND_MAX_FRAMES &&
           config->period >= 1 && config->period <= config->n_frames &&
           (unsigned)config->way <= QUIRE_SOUND_RECORD;
}

static struct quire_ring_config ring_config(const struct quire_sound_config *config)
{
    return (struct quire_ring_config){config->n_frames, config->frame_bytes, QUIRE_RING_ONE_TO_ONE,
                                      config->way == QUIRE_SOUND_PLAY ? QUIRE_RING_WAIT
                                                                      : QUIRE_RING_FAIL};
}

size_t quire_sound_bytes(const struct quire_sound_config *config)
{
    if (!is_valid(config))
        return 0;
    const struct quire_ring_config ring = ring_config(config);
    const size_t n_bytes = quire_ring_bytes(&ring);
    return n_bytes != 0 ? sizeof(struct sound_header) + n_bytes : 0;
}

static void *ring_memory(struct sound_header *header)
{
    return header + 1;
}

int quire_sound_init(const struct quire_sound_config *config, void *memory, size_t n_bytes)
{
    const size_t needed = quire_sound_bytes(config);
    struct sound_header *header = memory;

    if (needed == 0 || (uintptr_t)memory % QUIRE_RING_ALIGNMENT != 0)
        return -EINVAL;
    if (n_bytes < needed)
        return -ENOSPC;
    memset(header, 0, sizeof *header);
    const struct quire_ring_config ring = ring_config(config);
    const int error = quire_ring_init(&ring, ring_memory(header), n_bytes - sizeof *header);
    if (error != 0)
        return error;
    header->version = SOUND_VERSION;
    header->word_bits = sizeof(void *) * 8;
    header->header_bytes = sizeof *header;
    header->n_frames = config->n_frames;
    header->rate = config->rate;
    header->frame_bytes = config->frame_bytes;
    header->period = config->period;
    header->silence = config->silence;
    header->way = config->way;
    ring_store(&header->volume, (uint64_t)QUIRE_SOUND_FULL_VOLUME << 32 | QUIRE_SOUND_FULL_VOLUME,
               memory_order_relaxed);
    atomic_thread_fence(memory_order_release); /* who sees the magic sees the rest */
    *(volatile uint64_t *)&header->magic = SOUND_MAGIC;
    return 0;
}

/* Read once, and checked against what is mapped. */
static int read_config(const struct sound_header *header, size_t n_bytes,
                       struct quire_sound_config *config)
{
    if (n_bytes < sizeof *header || *(const volatile uint64_t *)&header->magic != SOUND_MAGIC)
        return -EPROTO;
    atomic_thread_fence(memory_order_acquire);
    if (header->version != SOUND_VERSION || header->word_bits != sizeof(void *) * 8 ||
        header->header_bytes != sizeof *header)
        return -EPROTO;
    config->n_frames = *(const volatile uint64_t *)&header->n_frames;
    config->rate = *(const volatile uint32_t *)&header->rate;
    config->frame_bytes = *(const volatile uint32_t *)&header->frame_bytes;
    config->period = *(const volatile uint32_t *)&header->period;
    config->silence = (uint8_t) * (const volatile uint32_t *)&header->silence;
    config->way = (enum quire_sound_way) * (const volatile uint32_t *)&header->way;
    const size_t needed = quire_sound_bytes(config);
    return needed == 0 || needed > n_bytes ? -EPROTO : 0;
}

int quire_sound_attach(void *memory, size_t n_bytes, enum quire_sound_role role,
                       struct quire_sound *sound)
{
    struct quire_sound_config config;
    int error;

    if ((uintptr_t)memory % QUIRE_RING_ALIGNMENT != 0 || (unsigned)role > QUIRE_SOUND_SERVER)
        return -EINVAL;
    if ((error = read_config(memory, n_bytes, &config)) != 0)
        return error;
    *sound = (struct quire_sound){.header = memory, .config = config, .role = role};
    const bool produces = (config.way == QUIRE_SOUND_PLAY) == (role == QUIRE_SOUND_CLIENT);
    error = quire_ring_attach(ring_memory(memory), n_bytes - sizeof(struct sound_header),
                              produces ? QUIRE_RING_PRODUCER : QUIRE_RING_CONSUMER, &sound->ring);
    if (error != 0)
        return error;
    /* The ring's own word for its geometry has to be ours. */
    if (sound->ring.n_frames != config.n_frames || sound->ring.frame_bytes != config.frame_bytes ||
        !sound->ring.plain) {
        quire_ring_detach(&sound->ring);
        return -EPROTO;
    }
    sound->cursor = sound->ring.position;
    if (role == QUIRE_SOUND_CLIENT) /* what one before has wished is over */
        ring_store(&sound->header->flags, 0, memory_order_relaxed);
    return 0;
}

void quire_sound_detach(struct quire_sound *sound)
{
    if (sound->role == QUIRE_SOUND_CLIENT)
        (void)quire_sound_finish(sound);
    quire_ring_detach(&sound->ring);
}

/* Control */

static bool is_client(const struct quire_sound *sound)
{
    return sound->role == QUIRE_SOUND_CLIENT;
}

static bool plays(const struct quire_sound *sound)
{
    return sound->config.way == QUIRE_SOUND_PLAY;
}

static uint32_t least_volume(uint32_t volume)
{
    return volume < QUIRE_SOUND_FULL_VOLUME ? volume : QUIRE_SOUND_FULL_VOLUME;
}

int quire_sound_set_volume(struct quire_sound *sound, uint32_t left, uint32_t right)
{
    if (!is_client(sound))
        return -EINVAL;
    ring_store(&sound->header->volume, (uint64_t)least_volume(left) << 32 | least_volume(right),
               memory_order_relaxed);
    return 0;
}

static void set_flag(struct sound_header *header, enum sound_flag flag, bool on)
{
    if (on)
        atomic_fetch_or(&header->flags, flag);
    else
        atomic_fetch_and(&header->flags, ~(uint32_t)flag);
}

int quire_sound_pause(struct quire_sound *sound, bool pause)
{
    if (!is_client(sound))
        return -EINVAL;
    set_flag(sound->header, SOUND_PAUSED, pause);
    return 0;
}

int quire_sound_finish(struct quire_sound *sound)
{
    if (!is_client(sound) || !plays(sound))
        return -EINVAL;
    set_flag(sound->header, SOUND_FINISHED, true);
    return 0;
}

int quire_sound_flush(struct quire_sound *sound)
{
    void *frames;
    int64_t n;

    if (!is_client(sound))
        return -EINVAL;
    if (plays(sound)) {
        ring_store(&sound->header->flush, sound->ring.position, memory_order_release);
        return 0;
    }
    for (unsigned i = 0; i < 2; i++) { /* what is there now: up to the memory's end, and behind */
        n = quire_ring_peek(&sound->ring, sound->config.n_frames, &frames);
        if (n < 0 || (n > 0 && quire_ring_release(&sound->ring, frames, (uint64_t)n) != 0))
            return -EPROTO;
    }
    return 0;
}

int quire_sound_set_loop(struct quire_sound *sound, uint64_t begin, uint64_t end, uint64_t turns)
{
    struct sound_header *header = sound->header;
    const uint64_t count = ring_load(&header->loop_count, memory_order_relaxed) + 1;

    if (!is_client(sound) || !plays(sound) || begin >= end || end - begin > sound->config.n_frames)
        return -EINVAL;
    if (begin < ring_load(&sound->ring.header->head, memory_order_acquire))
        return -ESTALE;
    atomic_thread_fence(memory_order_release); /* who reads these sees the count before them */
    ring_store(&header->loop[count % 2].begin, begin, memory_order_relaxed);
    ring_store(&header->loop[count % 2].end, end, memory_order_relaxed);
    ring_store(&header->loop[count % 2].turns, turns, memory_order_relaxed);
    ring_store(&header->loop_count, count, memory_order_release);
    return 0;
}

int quire_sound_ask_latency(struct quire_sound *sound, uint64_t n_frames)
{
    if (!is_client(sound))
        return -EINVAL;
    ring_store(&sound->header->latency, n_frames, memory_order_relaxed);
    return 0;
}

/* Looking */

static int read_stamp(const struct sound_stamp *stamp, uint64_t *position, uint64_t *time_ns)
{
    for (unsigned i = 0; i < SOUND_TRIES; i++) {
        const uint64_t count = ring_load(&stamp->count, memory_order_acquire);
        *position = ring_load(&stamp->slot[count % 2].position, memory_order_relaxed);
        *time_ns = ring_load(&stamp->slot[count % 2].time_ns, memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        if (ring_load(&stamp->count, memory_order_relaxed) == count)
            return 0;
    }
    return -EAGAIN;
}

static uint64_t look(const _Atomic uint64_t *figure)
{
    return ring_load(figure, memory_order_relaxed);
}

int quire_sound_state(const struct quire_sound *sound, struct quire_sound_state *state)
{
    const struct sound_header *header = sound->header;
    const uint64_t volume = look(&header->volume);
    const uint32_t flags = ring_load(&header->flags, memory_order_relaxed);
    struct quire_ring_stats ring;

    *state = (struct quire_sound_state){
        .n_moved = look(&header->n_moved),
        .n_underruns = look(&header->n_underruns),
        .underrun_frames = look(&header->underrun_frames),
        .n_overruns = look(&header->n_overruns),
        .overrun_frames = look(&header->overrun_frames),
        .asked_latency = look(&header->latency),
        .granted_latency = look(&header->granted),
        .loop_turns = look(&header->turns_left),
        .left_volume = least_volume((uint32_t)(volume >> 32)),
        .right_volume = least_volume((uint32_t)volume),
        .is_paused = flags & SOUND_PAUSED,
        .is_finished = flags & SOUND_FINISHED,
        .has_begun = ring_load(&header->has_begun, memory_order_relaxed) != 0,
    };
    if (quire_ring_stats(&sound->ring, &ring) != 0)
        return -EPROTO;
    state->n_waiting = ring_least(ring.n_in - ring.n_out, sound->config.n_frames);
    const int error = read_stamp(&header->client, &state->client_position, &state->client_time_ns);
    return error != 0
               ? error
               : read_stamp(&header->server, &state->server_position, &state->server_time_ns);
}
