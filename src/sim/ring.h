/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring: frames in a circle and a hand, for CLOCK and its kin.
 *
 *   frame   | 7 | 3 | - | 9 | ...          - free: it leads to the next free one
 *             ^ hand
 *
 * A page comes into the frame of the last victim, which is the one that the hand has just passed;
 * or into one that was never used, or is free because its page was forgotten. Each page knows its
 * frame. Private to src/sim.
 */
#ifndef QUIRE_SIM_RING_H
#define QUIRE_SIM_RING_H

#include "sim/array.h"
#include "sim/rules.h"

#define RING_FREE ((uint32_t)1 << 31)
#define RING_NONE UINT32_MAX
#define RING_BEHIND 4u /* frames that may be read behind the last one */

struct ring {
    struct array frames; /* uint32_t: a page, or RING_FREE and the next free one */
    uint64_t hand, n_used;
    uint32_t free; /* a list; RING_NONE: it is empty */
};

static inline int ring_open(struct ring *ring)
{
    ring->free = RING_NONE;
    return array_grow(&ring->frames, RING_BEHIND * sizeof(uint32_t));
}

static inline uint32_t *ring_frames(const struct ring *ring)
{
    return ring->frames.base;
}

/* The page at the hand; free frames are passed. There must be a page. */
static inline uint32_t ring_look(struct ring *ring)
{
    const uint32_t *frames = ring_frames(ring);
    while (frames[ring->hand] & RING_FREE)
        ring->hand = ring->hand + 1 < ring->n_used ? ring->hand + 1 : 0;
    return frames[ring->hand];
}

static inline void ring_step(struct ring *ring)
{
    ring->hand = ring->hand + 1 < ring->n_used ? ring->hand + 1 : 0;
}

static inline void ring_free(struct ring *ring, uint32_t frame)
{
    ring_frames(ring)[frame] = ring->free == RING_NONE ? RING_NONE : RING_FREE | ring->free;
    ring->free = frame;
}

/* The page at the hand goes. */
static inline uint32_t ring_take(struct ring *ring)
{
    uint32_t page = ring_look(ring);
    ring_free(ring, (uint32_t)ring->hand);
    ring_step(ring);
    return page;
}

/* False: there is no memory for another frame. */
static inline bool ring_put(struct ring *ring, uint32_t page, uint32_t *frame)
{
    if (ring->free != RING_NONE) {
        *frame = ring->free;
        uint32_t next = ring_frames(ring)[*frame];
        ring->free = next == RING_NONE ? RING_NONE : next & ~RING_FREE;
    } else {
        *frame = (uint32_t)ring->n_used;
        if (array_grow(&ring->frames, (ring->n_used + 1 + RING_BEHIND) * sizeof(uint32_t)) != 0)
            return false;
        ring->n_used++;
    }
    ring_frames(ring)[*frame] = page;
    return true;
}

#endif
