/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring: making a ring, attaching to it, and looking at it. See ring.h for its layout, one_to_one.c
 * and many_to_many.c for how frames change hands, ring_copy.c for put and get.
 */
#include "share/ring.h"

#include "base/checked.h"
#include "base/log.h"
#include "base/sys.h"

#include <string.h>

#define SPIN_START_NS 20000u

static bool is_valid(const struct quire_ring_config *config)
{
    return is_power_of_two(config->n_frames) && config->n_frames <= QUIRE_RING_MAX_FRAMES &&
           config->frame_bytes >= 1 && config->frame_bytes <= QUIRE_RING_MAX_FRAME_BYTES &&
           (unsigned)config->kind <= QUIRE_RING_MANY_TO_MANY &&
           (unsigned)config->full <= QUIRE_RING_OVERWRITE;
}

static size_t frames_offset(const struct quire_ring_config *config)
{
    const uint64_t slot_bytes = config->kind == QUIRE_RING_MANY_TO_MANY ? sizeof(uint64_t) : 0;

    return round_up(sizeof(struct ring_header) + config->n_frames * slot_bytes,
                    QUIRE_RING_ALIGNMENT);
}

size_t quire_ring_bytes(const struct quire_ring_config *config)
{
    size_t n_bytes;

    if (!is_valid(config) || !checked_mul(config->n_frames, config->frame_bytes, &n_bytes) ||
        !checked_add(n_bytes, frames_offset(config), &n_bytes) || n_bytes > (SIZE_MAX >> 2))
        return 0;
    return round_up(n_bytes, QUIRE_RING_ALIGNMENT);
}

int quire_ring_init(const struct quire_ring_config *config, void *memory, size_t n_bytes)
{
    const size_t needed = quire_ring_bytes(config);
    struct ring_header *header = memory;

    if (needed == 0 || (uintptr_t)memory % QUIRE_RING_ALIGNMENT != 0)
        return -EINVAL;
    if (n_bytes < needed)
        return -ENOSPC;
    memset(header, 0, sizeof *header);
    header->version = RING_VERSION;
    header->word_bits = sizeof(void *) * 8;
    header->header_bytes = sizeof *header;
    header->n_frames = config->n_frames;
    header->frame_bytes = config->frame_bytes;
    header->kind = config->kind;
    header->full = config->full;
    header->frames_offset = frames_offset(config);
    header->total_bytes = needed;
    if (config->kind == QUIRE_RING_MANY_TO_MANY)
        many_init(header);
    atomic_thread_fence(memory_order_release); /* who sees the magic sees the rest */
    *(volatile uint64_t *)&header->magic = RING_MAGIC;
    return 0;
}

/* The geometry, read once, and checked against what is mapped. */
static int read_geometry(const struct ring_header *header, size_t n_bytes,
                         struct quire_ring_config *config)
{
    if (n_bytes < sizeof *header || *(const volatile uint64_t *)&header->magic != RING_MAGIC)
        return -EPROTO;
    atomic_thread_fence(memory_order_acquire);
    if (header->version != RING_VERSION || header->word_bits != sizeof(void *) * 8 ||
        header->header_bytes != sizeof *header)
        return -EPROTO;
    config->n_frames = *(const volatile uint64_t *)&header->n_frames;
    config->frame_bytes = *(const volatile uint32_t *)&header->frame_bytes;
    config->kind = (enum quire_ring_kind) * (const volatile uint32_t *)&header->kind;
    config->full = (enum quire_ring_full) * (const volatile uint32_t *)&header->full;
    const size_t needed = quire_ring_bytes(config);
    return needed == 0 || needed > n_bytes ? -EPROTO : 0;
}

int quire_ring_attach(void *memory, size_t n_bytes, enum quire_ring_side side,
                      struct quire_ring *ring)
{
    struct quire_ring_config config;
    int error;

    if ((uintptr_t)memory % QUIRE_RING_ALIGNMENT != 0 || (unsigned)side > QUIRE_RING_OBSERVER)
        return -EINVAL;
    if ((error = read_geometry(memory, n_bytes, &config)) != 0)
        return error;
    *ring = (struct quire_ring){
        .header = memory,
        .frames = (unsigned char *)memory + frames_offset(&config),
        .n_frames = config.n_frames,
        .mask = config.n_frames - 1,
        .frame_bytes = config.frame_bytes,
        .kind = (uint8_t)config.kind,
        .full = (uint8_t)config.full,
        .side = (uint8_t)side,
        .plain = config.kind == QUIRE_RING_ONE_TO_ONE && config.full != QUIRE_RING_OVERWRITE,
        .spin_ns = SPIN_START_NS,
        .event_fd = -1,
        .watch_fd = -1,
    };
    if ((error = ring_join(ring)) != 0)
        return error;
    if (config.kind == QUIRE_RING_ONE_TO_ONE && side != QUIRE_RING_OBSERVER &&
        (error = one_find_position(ring)) != 0)
        quire_ring_detach(ring);
    return error;
}

void quire_ring_detach(struct quire_ring *ring)
{
    if (ring->header != NULL)
        ring_leave(ring);
    quire_ring_forget(ring);
}

void quire_ring_forget(struct quire_ring *ring)
{
    ring->header = NULL;
    ring->frames = NULL;
}

void quire_ring_watch(struct quire_ring *ring, int fd)
{
    ring->watch_fd = fd;
}

void quire_ring_set_events(struct quire_ring *ring, int notify_fd)
{
    ring->event_fd = notify_fd;
    ring->fences = notify_fd >= 0;
}

/* Frames in place */

static bool is_many(const struct quire_ring *ring)
{
    return ring->kind == QUIRE_RING_MANY_TO_MANY;
}

static bool may_begin(const struct quire_ring *ring, enum quire_ring_side side, uint64_t n_frames)
{
    return ring->side == side && n_frames > 0 && ring->held == 0;
}

static bool may_end(const struct quire_ring *ring, enum quire_ring_side side, const void *frames,
                    uint64_t n_frames)
{
    if (ring->side != side || n_frames == 0)
        return false;
    return is_many(ring) || (n_frames <= ring->held && frames == ring_frame(ring, ring->position));
}

int64_t quire_ring_reserve(struct quire_ring *ring, uint64_t n_frames, void **frames)
{
    if (!may_begin(ring, QUIRE_RING_PRODUCER, n_frames))
        return -EINVAL;
    return is_many(ring) ? many_reserve(ring, n_frames, frames)
                         : one_reserve(ring, n_frames, frames);
}

int quire_ring_commit(struct quire_ring *ring, void *frames, uint64_t n_frames)
{
    if (!may_end(ring, QUIRE_RING_PRODUCER, frames, n_frames))
        return -EINVAL;
    return is_many(ring) ? many_commit(ring, frames, n_frames) : one_commit(ring, n_frames);
}

int64_t quire_ring_peek(struct quire_ring *ring, uint64_t n_frames, void **frames)
{
    if (ring->side != QUIRE_RING_CONSUMER || n_frames == 0)
        return -EINVAL; /* to peek again, at more, is allowed */
    return is_many(ring) ? many_peek(ring, n_frames, frames) : one_peek(ring, n_frames, frames);
}

int quire_ring_release(struct quire_ring *ring, void *frames, uint64_t n_frames)
{
    if (!may_end(ring, QUIRE_RING_CONSUMER, frames, n_frames))
        return -EINVAL;
    return is_many(ring) ? many_release(ring, frames, n_frames) : one_release(ring, n_frames);
}

/* Looking */

/* Overwriting, one-to-one: frames that are gone, and that the consumer has not come across yet. */
static uint64_t n_overwritten(const struct quire_ring *ring, uint64_t tail, uint64_t head)
{
    if (ring->full != QUIRE_RING_OVERWRITE || is_many(ring))
        return 0;
    const uint64_t claim = ring_load(&ring->header->claim, memory_order_relaxed);
    const int64_t n_behind = (int64_t)(claim - head - ring->n_frames);
    return n_behind > 0 ? ring_least((uint64_t)n_behind, tail - head) : 0;
}

int quire_ring_stats(const struct quire_ring *ring, struct quire_ring_stats *stats)
{
    const struct ring_header *header = ring->header;
    const uint32_t had = ring_load(&header->had, memory_order_relaxed);

    *stats = (struct quire_ring_stats){
        .config = {.n_frames = ring->n_frames,
                   .frame_bytes = ring->frame_bytes,
                   .kind = (enum quire_ring_kind)ring->kind,
                   .full = (enum quire_ring_full)ring->full},
        .n_out = ring_load(&header->head, memory_order_acquire),
        .n_lost = ring_load(&header->n_lost, memory_order_relaxed),
        .n_skipped = ring_load(&header->n_skipped, memory_order_relaxed),
        .n_producers = ring_n_members(ring, QUIRE_RING_PRODUCER),
        .n_consumers = ring_n_members(ring, QUIRE_RING_CONSUMER),
        .n_died = ring_load(&header->n_died, memory_order_relaxed),
        .had_producer = had & 1u << QUIRE_RING_PRODUCER,
        .had_consumer = had & 1u << QUIRE_RING_CONSUMER,
    };
    stats->n_in = ring_load(&header->tail, memory_order_acquire);
    if ((int64_t)(stats->n_in - stats->n_out) < 0)
        return -EPROTO;
    stats->n_lost += n_overwritten(ring, stats->n_in, stats->n_out);
    return 0;
}

int quire_ring_validate(const struct quire_ring *ring)
{
    const struct ring_header *header = ring->header;
    struct quire_ring_config config;
    struct quire_ring_stats stats;

    if (read_geometry(header, SIZE_MAX, &config) != 0 || config.n_frames != ring->n_frames ||
        config.frame_bytes != ring->frame_bytes || (uint8_t)config.kind != ring->kind ||
        (uint8_t)config.full != ring->full) {
        log_error("ring: its header was changed");
        return -EPROTO;
    }
    if (is_many(ring))
        return many_validate(ring);
    if (quire_ring_stats(ring, &stats) != 0 ||
        (ring->full != QUIRE_RING_OVERWRITE && stats.n_in - stats.n_out > ring->n_frames)) {
        log_error("ring: its indices are impossible: %lu in, %lu out", (unsigned long)stats.n_in,
                  (unsigned long)stats.n_out);
        return -EPROTO;
    }
    return 0;
}
