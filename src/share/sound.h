/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sound: how a stream of sound lies in shared memory.
 *
 *   offset 0      what it is             written by init, before anybody attaches
 *          128    the client's wishes    written by the client
 *          384    the server's account   written by the server
 *          512    a one-to-one ring of frames (ring.h)
 *
 * What belongs together is written to the one of two slots that nobody is to read, and then a count
 * says which is the last. Who finds the count as it was, after he has read the slot, has read what
 * belongs together; and whoever dies while he writes leaves the last as it was.
 */
#ifndef QUIRE_SHARE_SOUND_H
#define QUIRE_SHARE_SOUND_H

#include "share/one_to_one.h"

#include <quire/sound.h>

#define SOUND_MAGIC 0x444e554f53525151ull /* "QQRSOUND" as the bytes of a little-endian word */
#define SOUND_VERSION 1u
#define SOUND_TRIES 64u /* to read a pair */

struct sound_stamp {
    _Atomic uint64_t count; /* of those that were written; the last is in slot[count % 2] */
    struct {
        _Atomic uint64_t position, time_ns;
    } slot[2];
};

enum sound_flag { SOUND_PAUSED = 1, SOUND_FINISHED = 2 };

struct sound_header {
    uint64_t magic;
    uint32_t version;
    uint16_t word_bits, header_bytes;
    uint64_t n_frames;
    uint32_t rate, frame_bytes, period, silence, way;

    /* The client's */
    _Alignas(128) struct sound_stamp client;
    _Atomic uint64_t flush;  /* frames below this position are not to be played */
    _Atomic uint64_t volume; /* left << 32 | right */
    _Atomic uint64_t latency;
    _Atomic uint32_t flags;                    /* enum sound_flag, bits */
    _Alignas(128) _Atomic uint64_t loop_count; /* as that of a stamp */
    struct {
        _Atomic uint64_t begin, end, turns;
    } loop[2];

    /* The server's */
    _Alignas(128) struct sound_stamp server;
    _Atomic uint64_t n_moved, granted, turns_left;
    _Atomic uint32_t has_begun;
    _Atomic uint64_t n_underruns, underrun_frames, n_overruns, overrun_frames;
};
static_assert(offsetof(struct sound_header, client) == 128, "layout");
static_assert(offsetof(struct sound_header, loop_count) == 256, "layout");
static_assert(offsetof(struct sound_header, server) == 384, "layout");
static_assert(sizeof(struct sound_header) == 512, "layout");

/* The only writer's. */
static inline void sound_stamp_set(struct sound_stamp *stamp, uint64_t position, uint64_t time_ns)
{
    const uint64_t count = ring_load(&stamp->count, memory_order_relaxed) + 1;

    atomic_thread_fence(memory_order_release); /* who reads these sees the count before them */
    ring_store(&stamp->slot[count % 2].position, position, memory_order_relaxed);
    ring_store(&stamp->slot[count % 2].time_ns, time_ns, memory_order_relaxed);
    ring_store(&stamp->count, count, memory_order_release);
}

/* At what latency a client's wish results in. */
static inline uint64_t sound_latency(const struct quire_sound *sound, uint64_t asked)
{
    if (asked == 0 || asked > sound->config.n_frames)
        return sound->config.n_frames;
    return asked > sound->config.period ? asked : sound->config.period;
}

#endif
