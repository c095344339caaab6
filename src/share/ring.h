/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring: how a ring lies in shared memory, and what the files of rings share.
 *
 *   offset 0      geometry               written by init, before anybody attaches
 *          128    tail, claim            written by producers
 *          256    head                   written by consumers
 *          384    data, space            bells: who waits sets them, the other side rings them
 *          512    members                each by itself, or by who reaps it
 *          ...    slot[n_frames]         many-to-many only
 *          ...    frames                 a slot's, or those between head and tail: its holder
 *
 * Indices count frames since the start and never wrap in practice: at 10^9 frames a second, 2^54
 * takes half a year of seconds times ten.
 *
 * Whatever is read here may have been written by a peer that means harm: nothing read twice is
 * expected to be the same, and nothing is used as an index, a length or a bound of a loop
 * unchecked. What does not change lies in the view (struct quire_ring).
 *
 * Each access to what others write goes through ring_load and the like, where a test can let
 * another go first (base/stepping.h).
 */
#ifndef QUIRE_SHARE_RING_H
#define QUIRE_SHARE_RING_H

#include "base/stepping.h"

#include <quire/ring.h>

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>

#define RING_MAGIC 0x474e495245524951ull /* "QIRERING" as the bytes of a little-endian word */
#define RING_VERSION 1u

enum ring_waiting { RING_SLEEPER = 1, RING_POLLER = 2 };

/* Rung when an index reaches `goal`, if somebody wants it. */
struct ring_bell {
    _Atomic uint32_t wanted; /* enum ring_waiting, bits */
    _Atomic uint32_t turn;   /* futex: goes up when it is rung for sleepers */
    _Atomic uint64_t goal;
};

enum ring_member_state {
    RING_MEMBER_FREE,
    RING_MEMBER_JOINING,
    RING_MEMBER_OPEN,
    RING_MEMBER_REAPED
};

struct ring_member {
    _Atomic uint64_t who; /* pid << 32 | side << 8 | state; 0: free. Reaped: the reaper's pid */
    _Atomic uint64_t start_time;    /* of the process: tells a reused pid */
    _Atomic uint64_t pid_namespace; /* in which the pid is meant */
    _Atomic uint64_t processor;     /* the only one that it may run on, from 1; 0: it has several */
};

struct ring_header {
    uint64_t magic;
    uint32_t version;
    uint16_t word_bits, header_bytes;
    uint64_t n_frames;
    uint32_t frame_bytes, kind, full;
    uint32_t pad;
    uint64_t frames_offset, total_bytes; /* from the header's start */

    /* n_frames >= tail - head, but overwriting; claim >= tail */
    _Alignas(128) _Atomic uint64_t tail; /* frames below it are there */
    _Atomic uint64_t claim;              /* overwriting, one-to-one: those below it may change */
    _Alignas(128) _Atomic uint64_t head; /* frames below it are done with */
    _Atomic uint64_t n_lost, n_skipped;
    _Alignas(128) struct ring_bell data;
    struct ring_bell space;
    _Atomic uint32_t had;  /* bits: sides that had a member; above: goes up with each */
    _Atomic uint32_t died; /* bits: sides whose last member died, and nobody came since */
    _Atomic uint32_t n_died;
    _Alignas(128) struct ring_member member[QUIRE_RING_MAX_MEMBERS];
};
static_assert(offsetof(struct ring_header, tail) == 128, "layout");
static_assert(offsetof(struct ring_header, head) == 256, "layout");
static_assert(offsetof(struct ring_header, data) == 384, "layout");
static_assert(offsetof(struct ring_header, member) == 512, "layout");
static_assert(sizeof(struct ring_header) == 512 + 32 * QUIRE_RING_MAX_MEMBERS, "layout");

#define ring_load(object, order) (stepping_call(), atomic_load_explicit(object, order))
#define ring_store(object, value, order) \
    (stepping_call(), atomic_store_explicit(object, value, order))
#define ring_swap(object, expected, value) /* compare and exchange */ \
    (stepping_call(), atomic_compare_exchange_strong(object, expected, value))
#define ring_count(object, n) \
    (stepping_call(), (void)atomic_fetch_add_explicit(object, n, memory_order_relaxed))

static inline unsigned char *ring_frame(const struct quire_ring *ring, uint64_t position)
{
    return ring->frames + (position & ring->mask) * ring->frame_bytes;
}

static inline uint64_t ring_least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The bells (ring_wait.c) */

/* What one side does after it has moved its index to `at`. Inlined: it runs for each frame. */
void ring_ring(struct quire_ring *ring, struct ring_bell *bell);

static inline void ring_tell(struct quire_ring *ring, struct ring_bell *bell, uint64_t at)
{
    if (ring->fences)
        atomic_thread_fence(memory_order_seq_cst);
    if (__builtin_expect(ring_load(&bell->wanted, memory_order_relaxed) != 0, 0) &&
        (int64_t)(at - ring_load(&bell->goal, memory_order_relaxed)) >= 0)
        ring_ring(ring, bell);
}

/* Members (ring_members.c) */

int ring_join(struct quire_ring *ring); /* as quire_ring_attach; sets ring->member */
void ring_leave(struct quire_ring *ring);
unsigned ring_n_members(const struct quire_ring *ring, enum quire_ring_side side);
/* 0, or why the side that `ring` needs is gone: -EPIPE, -EOWNERDEAD. */
int ring_other_side(const struct quire_ring *ring);
/* Whether somebody of the other side can run while this member spins. */
bool ring_runs_beside(const struct quire_ring *ring);

/* One-to-one (one_to_one.c), many-to-many (many_to_many.c) */

int64_t one_reserve(struct quire_ring *ring, uint64_t n_frames, void **frames);
int one_commit(struct quire_ring *ring, uint64_t n_frames);
int64_t one_peek(struct quire_ring *ring, uint64_t n_frames, void **frames);
int one_release(struct quire_ring *ring, uint64_t n_frames);
/* 1: n_frames can be had; 0; -EPROTO */
int one_ready(struct quire_ring *ring, uint64_t n_frames);
/* Where it goes on, when it attaches; -EPROTO: the indices are impossible. */
int one_find_position(struct quire_ring *ring);

void many_init(struct ring_header *header);
int64_t many_reserve(struct quire_ring *ring, uint64_t n_frames, void **frames);
int many_commit(struct quire_ring *ring, void *frames, uint64_t n_frames);
int64_t many_peek(struct quire_ring *ring, uint64_t n_frames, void **frames);
int many_release(struct quire_ring *ring, void *frames, uint64_t n_frames);
int many_ready(struct quire_ring *ring);
/* Gives up what a member that is gone, or leaves, had reserved or was using. */
void many_abandon(const struct quire_ring *ring, unsigned member);
int many_validate(const struct quire_ring *ring);

#endif
