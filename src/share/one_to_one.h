/* SPDX-License-Identifier: Apache-2.0 */
/* one_to_one: what is on the way of each frame, inlined. See one_to_one.c for the invariants. */
#ifndef QUIRE_SHARE_ONE_TO_ONE_H
#define QUIRE_SHARE_ONE_TO_ONE_H

#include "share/ring.h"

/* Frames up to the end of the memory. */
static inline uint64_t one_contiguous(const struct quire_ring *ring)
{
    return ring->n_frames - (ring->position & ring->mask);
}

/* Looks at head if fewer than n_frames are known to be free. */
static inline int one_look_for_room(struct quire_ring *ring, uint64_t n_frames, uint64_t *n_free)
{
    *n_free = ring->n_frames - (ring->position - ring->other);
    if (*n_free >= n_frames)
        return 0;
    /* acquire: pairs with the release in one_advance_head */
    const uint64_t head = ring_load(&ring->header->head, memory_order_acquire);
    if (ring->position - head > ring->n_frames)
        return -EPROTO;
    ring->other = head;
    *n_free = ring->n_frames - (ring->position - head);
    return 0;
}

/* Likewise at tail, if fewer are known to be there. Not when overwriting. */
static inline int one_look_for_data(struct quire_ring *ring, uint64_t n_frames, uint64_t *n_there)
{
    *n_there = ring->other - ring->position;
    if (*n_there >= n_frames)
        return 0;
    /* acquire: pairs with the release in one_advance_tail */
    const uint64_t tail = ring_load(&ring->header->tail, memory_order_acquire);
    *n_there = tail - ring->position;
    if (*n_there > ring->n_frames)
        return -EPROTO;
    ring->other = tail;
    return 0;
}

/* Publishes n_frames more. */
static inline void one_advance_tail(struct quire_ring *ring, uint64_t n_frames)
{
    const uint64_t position = ring->position + n_frames;

    ring->position = position;
    ring_store(&ring->header->tail, position, memory_order_release); /* 2 */
    ring_tell(ring, &ring->header->data, position);
}

/* Gives n_frames back. */
static inline void one_advance_head(struct quire_ring *ring, uint64_t n_frames)
{
    const uint64_t position = ring->position + n_frames;

    ring->position = position;
    ring_store(&ring->header->head, position, memory_order_release); /* 2 */
    ring_tell(ring, &ring->header->space, position);
}

#endif
