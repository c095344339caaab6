/* SPDX-License-Identifier: Apache-2.0 */
/*
 * one_to_one: a ring between one producer and one consumer.
 *
 *          head            tail        claim
 *            |---- full ----|-- reserved --|---- free ----|        head + n_frames
 *
 * Each side owns its index, keeps it in its view, and only ever writes the shared copy; it reads
 * the other's when what it remembers of it does not do. (Overwriting, the producer has no use for
 * head and remembers claim in its place.)
 *
 * 1. tail - head <= n_frames, but when overwriting.
 * 2. The frames in [head, tail) are the consumer's, the others the producer's: tail is stored with
 *    release after they were filled, head after they were used, and read with acquire.
 * 3. Overwriting, the producer takes what it wants, so frames below claim - n_frames may change:
 *    claim is stored before they do (a release fence between), and the consumer reads claim after
 *    it has used frames (an acquire fence between) to find out whether they did.
 *
 * Nothing here loops.
 */
#include "share/one_to_one.h"

int one_find_position(struct quire_ring *ring)
{
    const uint64_t tail = ring_load(&ring->header->tail, memory_order_acquire);
    const uint64_t head = ring_load(&ring->header->head, memory_order_acquire);

    ring->position = ring->side == QUIRE_RING_PRODUCER ? tail : head;
    ring->other = ring->side == QUIRE_RING_PRODUCER ? head : tail;
    if (ring->side == QUIRE_RING_PRODUCER && ring->full == QUIRE_RING_OVERWRITE)
        ring->other = ring_load(&ring->header->claim, memory_order_relaxed);
    if (ring->full != QUIRE_RING_OVERWRITE && tail - head > ring->n_frames)
        return -EPROTO;
    return (int64_t)(tail - head) < 0 ? -EPROTO : 0;
}

/* Overwriting: frames may be filled up to there. What was is for good, committed or not. */
static void claim(struct quire_ring *ring, uint64_t end)
{
    if ((int64_t)(end - ring->other) > 0)
        ring->other = end;
    ring_store(&ring->header->claim, ring->other, memory_order_relaxed);
    atomic_thread_fence(memory_order_release); /* 3 */
}

int64_t one_reserve(struct quire_ring *ring, uint64_t n_frames, void **frames)
{
    uint64_t n_free;

    if (ring->full == QUIRE_RING_OVERWRITE)
        n_free = ring->n_frames > 1 ? ring->n_frames / 2 : 1;
    else if (one_look_for_room(ring, n_frames, &n_free) != 0)
        return -EPROTO;
    const uint64_t n = ring_least(ring_least(n_frames, n_free), one_contiguous(ring));
    if (ring->full == QUIRE_RING_OVERWRITE)
        claim(ring, ring->position + n);
    *frames = ring_frame(ring, ring->position);
    ring->held = n;
    return (int64_t)n;
}

int one_commit(struct quire_ring *ring, uint64_t n_frames)
{
    ring->held = 0;
    one_advance_tail(ring, n_frames);
    return 0;
}

static void lose(struct quire_ring *ring, uint64_t n_frames)
{
    ring_count(&ring->header->n_lost, n_frames);
}

/* Overwriting: goes on with the oldest frame that is there still. */
static int catch_up(struct quire_ring *ring, uint64_t tail)
{
    uint64_t claim = ring_load(&ring->header->claim, memory_order_relaxed);

    if ((int64_t)(claim - tail) < 0)
        claim = tail; /* tail was read first; or it is before the first reserve */
    const uint64_t behind = claim - ring->position;
    if ((int64_t)behind < 0)
        return -EPROTO;
    if (behind <= ring->n_frames)
        return 0;
    const uint64_t oldest = claim - ring->n_frames,
                   next = (int64_t)(tail - oldest) < 0 ? tail : oldest;
    lose(ring, next - ring->position);
    ring->position = next;
    ring_store(&ring->header->head, next, memory_order_release); /* the next consumer's start */
    return 0;
}

static int look_for_data(struct quire_ring *ring, uint64_t n_frames, uint64_t *n_there)
{
    if (ring->full != QUIRE_RING_OVERWRITE)
        return one_look_for_data(ring, n_frames, n_there);
    /* acquire: pairs with the release in one_advance_tail */
    const uint64_t tail = ring_load(&ring->header->tail, memory_order_acquire);
    if ((int64_t)(tail - ring->position) < 0 || catch_up(ring, tail) != 0)
        return -EPROTO;
    *n_there = tail - ring->position;
    ring->other = tail;
    return *n_there > ring->n_frames ? -EPROTO : 0;
}

int64_t one_peek(struct quire_ring *ring, uint64_t n_frames, void **frames)
{
    uint64_t n_there;

    if (look_for_data(ring, n_frames, &n_there) != 0)
        return -EPROTO;
    ring->held = ring_least(ring_least(n_frames, n_there), one_contiguous(ring));
    *frames = ring_frame(ring, ring->position);
    return (int64_t)ring->held;
}

static bool was_overwritten(const struct quire_ring *ring)
{
    atomic_thread_fence(memory_order_acquire); /* 3 */
    const uint64_t claim = ring_load(&ring->header->claim, memory_order_relaxed);
    return (int64_t)(claim - ring->position) > (int64_t)ring->n_frames;
}

int one_release(struct quire_ring *ring, uint64_t n_frames)
{
    const bool spoilt = ring->full == QUIRE_RING_OVERWRITE && was_overwritten(ring);

    ring->held = 0;
    if (spoilt)
        lose(ring, n_frames);
    one_advance_head(ring, n_frames);
    return spoilt ? -EOVERFLOW : 0;
}

int one_ready(struct quire_ring *ring, uint64_t n_frames)
{
    uint64_t n;

    if (ring->side == QUIRE_RING_PRODUCER && ring->full == QUIRE_RING_OVERWRITE)
        return 1;
    if (ring->side == QUIRE_RING_PRODUCER ? one_look_for_room(ring, n_frames, &n)
                                          : look_for_data(ring, n_frames, &n))
        return -EPROTO;
    return n >= n_frames;
}
