/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring_copy: put and get. What can be copied at once is, between two processes that both run, with
 * as few instructions as that takes; all else goes in steps, by way of reserve, commit, peek and
 * release, and waits between them.
 */
#include "share/one_to_one.h"

#include "base/sys.h"

#include <string.h>

#define PIECE_SHARE 4 /* a copy is published by quarters of the ring, so that both sides work */
#define N_COPIES 200  /* of frames that are overwritten again and again */
#define INLINE_BYTES 512u
#define CHUNK_BYTES 64u

/* A part of a copy: as much as fits at once, but not the whole ring. */
static uint64_t piece(const struct quire_ring *ring, uint64_t n_frames)
{
    const uint64_t most = ring->n_frames / PIECE_SHARE;
    return ring_least(n_frames, most > 0 ? most : 1);
}

/* Frames that went in; 0: full; or an error. */
static int64_t put_piece(struct quire_ring *ring, const unsigned char *from, uint64_t n_frames)
{
    void *frames;
    const int64_t n = quire_ring_reserve(ring, piece(ring, n_frames), &frames);

    if (n <= 0)
        return n;
    memcpy(frames, from, (size_t)n * ring->frame_bytes);
    const int error = quire_ring_commit(ring, frames, (uint64_t)n);
    return error ? error : n;
}

static uint64_t deadline_after(uint64_t timeout_ns)
{
    if (timeout_ns == 0 || timeout_ns == QUIRE_RING_FOREVER)
        return timeout_ns;
    const uint64_t now = sys_now_ns();
    return timeout_ns > QUIRE_RING_FOREVER - now ? QUIRE_RING_FOREVER : now + timeout_ns;
}

/* What is left of the time; 0 when it is over. */
static uint64_t left_until(uint64_t deadline_ns)
{
    if (deadline_ns == 0 || deadline_ns == QUIRE_RING_FOREVER)
        return deadline_ns;
    const uint64_t now = sys_now_ns();
    return now < deadline_ns ? deadline_ns - now : 0;
}

/* Before another try. Nobody can make us try for longer than the time that is given. */
static int wait_again(struct quire_ring *ring, uint64_t n_frames, uint64_t deadline_ns)
{
    const uint64_t left_ns = left_until(deadline_ns);
    const int error = quire_ring_wait(ring, n_frames, left_ns);

    return error == 0 && left_ns == 0 ? -ETIMEDOUT : error;
}

static int64_t put_in_steps(struct quire_ring *ring, const void *frames, uint64_t n_frames,
                            uint64_t timeout_ns)
{
    const bool waits = ring->full == QUIRE_RING_WAIT;
    const uint64_t deadline_ns = waits ? deadline_after(timeout_ns) : 0;
    const unsigned char *from = frames;
    uint64_t done = 0;
    int64_t n = 1;

    while (done < n_frames) {
        n = put_piece(ring, from + done * ring->frame_bytes, n_frames - done);
        if (n == 0) {
            if (!waits)
                n = -EAGAIN;
            else
                n = wait_again(ring, piece(ring, n_frames - done), deadline_ns);
        }
        if (n < 0)
            break;
        done += (uint64_t)n;
    }
    if (done > 0 || n > 0)
        return (int64_t)done;
    return n == -ETIMEDOUT && timeout_ns == 0 ? -EAGAIN : n;
}

/* As put_piece. What was overwritten while it was copied is lost, and those that came are tried. */
static int64_t get_piece(struct quire_ring *ring, unsigned char *to, uint64_t n_frames)
{
    for (unsigned i = 0; i < N_COPIES; i++) {
        void *from;
        const int64_t n = quire_ring_peek(ring, n_frames, &from);
        if (n <= 0)
            return n;
        memcpy(to, from, (size_t)n * ring->frame_bytes);
        const int error = quire_ring_release(ring, from, (uint64_t)n);
        if (error != -EOVERFLOW)
            return error ? error : n;
        n_frames = n_frames > 1 ? n_frames / 2 : 1; /* it takes too long for so many */
    }
    return -EOVERFLOW;
}

static int64_t get_in_steps(struct quire_ring *ring, void *frames, uint64_t n_frames,
                            uint64_t timeout_ns)
{
    const uint64_t deadline_ns = deadline_after(timeout_ns);

    for (;;) {
        int64_t n = get_piece(ring, frames, n_frames);
        if (n > 0 && (uint64_t)n < n_frames) { /* what lies behind the end of the memory */
            const int64_t more = get_piece(ring,
                                           (unsigned char *)frames + (size_t)n * ring->frame_bytes,
                                           n_frames - (uint64_t)n);
            return more > 0 ? n + more : n;
        }
        if (n != 0)
            return n;
        n = wait_again(ring, 1, deadline_ns);
        if (n == -EPIPE)
            return 0;
        if (n < 0)
            return n == -ETIMEDOUT && timeout_ns == 0 ? -EAGAIN : n;
    }
}

/* At once */

/* Few pointers, or small frames: a call of memcpy would take longer than the copy. */
static inline void copy(unsigned char *to, const unsigned char *from, size_t n_bytes)
{
    if (n_bytes == sizeof(uint64_t)) {
        memcpy(to, from, sizeof(uint64_t));
        return;
    }
    if (n_bytes > INLINE_BYTES || n_bytes % sizeof(uint64_t) != 0) {
        memcpy(to, from, n_bytes);
        return;
    }
    for (; n_bytes >= CHUNK_BYTES; n_bytes -= CHUNK_BYTES, to += CHUNK_BYTES, from += CHUNK_BYTES)
        memcpy(to, from, CHUNK_BYTES);
    for (; n_bytes > 0;
         n_bytes -= sizeof(uint64_t), to += sizeof(uint64_t), from += sizeof(uint64_t))
        memcpy(to, from, sizeof(uint64_t));
}

static inline bool may_copy(const struct quire_ring *ring, enum quire_ring_side side)
{
    return ring->plain && ring->side == side && ring->held == 0;
}

/* Whether nothing can be said but -EAGAIN: who is asked not to wait may be asked often. */
static inline bool is_asked_again(const struct quire_ring *ring, uint64_t timeout_ns)
{
    const struct ring_member *places = ring->header->member;
    const struct ring_member *other = &places[ring->side == QUIRE_RING_PRODUCER ? 1 : 0];

    return timeout_ns == 0 && ring_load(&other->who, memory_order_acquire) != 0;
}

int64_t quire_ring_put(struct quire_ring *ring, const void *frames, uint64_t n_frames,
                       uint64_t timeout_ns)
{
    uint64_t n_free;

    if (may_copy(ring, QUIRE_RING_PRODUCER) && n_frames == piece(ring, n_frames) &&
        one_look_for_room(ring, n_frames, &n_free) == 0) {
        if (n_free >= n_frames && n_frames <= one_contiguous(ring)) {
            copy(ring_frame(ring, ring->position), frames, (size_t)n_frames * ring->frame_bytes);
            one_advance_tail(ring, n_frames);
            return (int64_t)n_frames;
        }
        if (n_free == 0 && is_asked_again(ring, timeout_ns))
            return -EAGAIN;
    }
    return put_in_steps(ring, frames, n_frames, timeout_ns);
}

int64_t quire_ring_get(struct quire_ring *ring, void *frames, uint64_t n_frames,
                       uint64_t timeout_ns)
{
    uint64_t n_there;

    if (may_copy(ring, QUIRE_RING_CONSUMER) && n_frames > 0 &&
        one_look_for_data(ring, n_frames, &n_there) == 0) {
        const uint64_t n = ring_least(n_there, n_frames);
        if (n > 0 && n <= one_contiguous(ring)) {
            copy(frames, ring_frame(ring, ring->position), (size_t)n * ring->frame_bytes);
            one_advance_head(ring, n);
            return (int64_t)n;
        }
        if (n == 0 && is_asked_again(ring, timeout_ns))
            return -EAGAIN;
    }
    return get_in_steps(ring, frames, n_frames, timeout_ns);
}
