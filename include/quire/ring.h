/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quire/ring.h: rings in memory that threads or processes share: streams of bytes, or frames.
 *
 * A ring is a queue of frames, all of one size; frames of one byte make it a byte stream. It lies
 * in memory that its user provides: a block of a heap (quire/share.h), a memfd, an array. There are
 * no pointers in it, so each process maps it wherever it likes.
 *
 *     | header: geometry, indices, members | states of frames* | frame 0 | frame 1 | ... |
 *                                            * many-to-many only
 *
 * Each thread or process that uses a ring attaches to it on one side, and gets a view of its own
 * (struct quire_ring), which it passes to all calls. Frames are written and read in place:
 *
 *     producer   quire_ring_reserve -> fill -> quire_ring_commit
 *     consumer   quire_ring_peek    -> use  -> quire_ring_release
 *
 * or copied by quire_ring_put and quire_ring_get, which wait where they have to.
 *
 * Progress, with n frames a call (the time to copy them comes on top):
 *
 *                                   one-to-one             many-to-many
 *   reserve, commit, peek, release  wait-free, O(1)        lock-free, O(n) when alone
 *   put, get with time-out 0        wait-free              lock-free
 *   wait, put, get with another     spins, then sleeps on a futex; the other side wakes it
 *
 * When a ring is full (enum quire_ring_full) a producer waits, or is told so, or overwrites what is
 * oldest; what consumers lose by that is counted. One-to-one, the producer then goes on whatever
 * the consumer does, and the consumer finds out afterwards, at release, that what it used was
 * overwritten under it.
 *
 * A peer is not trusted. The geometry is read once, at attach, and checked; each index that a peer
 * can write is checked each time it is read, and an impossible one gives -EPROTO. A hostile peer
 * can stall the ring and garble what is in it, and can pretend to have died, but it can't make the
 * other side read or write outside of the frames, loop for ever or crash. Memory that a peer could
 * truncate is the one exception: use sealed memfds, as quire/share.h does.
 *
 * A peer that dies, at any instruction, leaves the ring as its last commit or release did. It is
 * noticed by whoever waits, within QUIRE_RING_LOOK_NS: from its process id, or from a descriptor
 * that tells (quire_ring_watch), where ids mean nothing because it is in another pid namespace. Its
 * place is free then. Many-to-many, frames that it had reserved are skipped, and frames that it
 * used are lost with it; both are counted.
 *
 * Thread safety: a one-to-one view is used by one thread at a time. A many-to-many view may be used
 * by several threads at once, but for detach, watch and set_events.
 * Nothing allocates or touches errno; only wait, put and get block.
 *
 * Sources: L. Lamport, "Proving the correctness of multiprocess programs", 1977 (one-to-one); each
 * side keeps a copy of the other's index as in J. Giacomoni, T. Moseley, M. Vachharajani,
 * "FastForward for efficient pipeline parallelism", PPoPP 2008, and P. Lee, T. Bu, G.
 * Chandranmenon, "A lock-free, cache-efficient multi-core synchronization mechanism", IPDPS 2010;
 * frames that carry their position as in D. Vyukov, "Bounded MPMC queue", and helping as in M.
 * Michael, M. Scott, PODC 1996 (many-to-many); H. Boehm, "Can seqlocks get along with programming
 * language memory models?", MSPC 2012 (overwriting).
 */
#ifndef QUIRE_RING_H
#define QUIRE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define QUIRE_RING_ALIGNMENT 128                  /* of the memory, bytes */
#define QUIRE_RING_MAX_FRAMES ((uint64_t)1 << 40) /* a power of two */
#define QUIRE_RING_MAX_FRAME_BYTES ((uint32_t)1 << 30)
#define QUIRE_RING_MAX_MEMBERS 64u    /* attached at once, both sides together */
#define QUIRE_RING_FOREVER UINT64_MAX /* a time-out */
#define QUIRE_RING_LOOK_NS 100000000u /* who waits looks so often whether its peers still live */

enum quire_ring_kind { QUIRE_RING_ONE_TO_ONE, QUIRE_RING_MANY_TO_MANY };
enum quire_ring_full { QUIRE_RING_WAIT, QUIRE_RING_FAIL, QUIRE_RING_OVERWRITE };
enum quire_ring_side { QUIRE_RING_PRODUCER, QUIRE_RING_CONSUMER, QUIRE_RING_OBSERVER };

struct quire_ring_config {
    uint64_t n_frames;    /* a power of two up to QUIRE_RING_MAX_FRAMES */
    uint32_t frame_bytes; /* 1: a byte stream; up to QUIRE_RING_MAX_FRAME_BYTES */
    enum quire_ring_kind kind;
    enum quire_ring_full full;
};

/* A view. Its fields are not for users; it may not be copied while it is attached. */
struct quire_ring {
    struct ring_header *header;
    unsigned char *frames;
    uint64_t n_frames, mask;
    uint32_t frame_bytes;
    uint8_t kind, full, side, member;
    uint64_t position; /* one-to-one: of this side, frames since the start */
    uint64_t other;    /* of the other side, when last looked at; or what was claimed */
    uint64_t held;     /* frames that were reserved or peeked and not given back */
    uint64_t spin_ns;  /* before it sleeps */
    int event_fd, watch_fd;
    bool fences;        /* the other side polls */
    bool plain;         /* one-to-one, nothing is overwritten */
    uint16_t processor; /* the only one that it may run on, from 1; 0: there are several */
};

/* Setting up */

/* Bytes that init wants; 0 if the configuration is invalid, or its size overflows. */
size_t quire_ring_bytes(const struct quire_ring_config *config);

/*
 * Makes an empty ring in `memory`: aligned to QUIRE_RING_ALIGNMENT, all zeros or a ring that nobody
 * is attached to. Returns 0; -EINVAL: configuration or alignment; -ENOSPC: n_bytes is too little.
 */
int quire_ring_init(const struct quire_ring_config *config, void *memory, size_t n_bytes)
    __attribute__((warn_unused_result));

/*
 * Attaches to a ring as a producer, a consumer, or an observer, who may only look and reap.
 * n_bytes is what is really mapped. An observer's mapping may be read-only, and then it can't reap.
 * Returns 0; -EINVAL: alignment; -EPROTO: there is no ring, or not one of this version, word size
 * and byte order, or it claims to be longer than n_bytes; -EBUSY: it is one-to-one, and
 * somebody who lives is on this side already; -EUSERS: too many members.
 */
int quire_ring_attach(void *memory, size_t n_bytes, enum quire_ring_side side,
                      struct quire_ring *ring) __attribute__((warn_unused_result));

/*
 * Leaves; what was reserved and not committed is dropped. When the last of a side has left, the
 * other side is told. When both sides have come and gone, the next to come begins anew: it waits
 * for the other side, and does not find that it has gone.
 */
void quire_ring_detach(struct quire_ring *ring);

/*
 * After a fork, in the child: the view is the parent's still, and the child attaches by itself if
 * it wants to use the ring. This forgets the view without detaching the parent.
 */
void quire_ring_forget(struct quire_ring *ring);

/*
 * A descriptor that becomes readable, or hangs up, when the other side's process ends (a pidfd, the
 * end of a socket or pipe); -1 for none. It is looked at while waiting and stays the caller's.
 */
void quire_ring_watch(struct quire_ring *ring, int fd);

/*
 * For poll loops. `notify_fd`: an eventfd that is written to when the other side has asked for it
 * by quire_ring_arm; both sides give the same pair. -1: nobody polls. Must be set before the other
 * side arms. Commits and releases cost a fence more then.
 */
void quire_ring_set_events(struct quire_ring *ring, int notify_fd);

/*
 * Asks for an event as soon as a frame can be peeked, or reserved. Returns 1: it can already, don't
 * sleep; 0: poll the eventfd, read it, and look again.
 */
int quire_ring_arm(struct quire_ring *ring);

/* Producing */

/*
 * Up to n_frames frames to fill, contiguous in memory, at *frames. What lies at the end of the ring
 * is given first, so it may be fewer than are free. Returns their number; 0: full; -EPROTO;
 * -EINVAL: not a producer, n_frames is 0, or (one-to-one) frames are reserved still.
 * Overwriting, one-to-one: at most half of the ring at a time.
 */
int64_t quire_ring_reserve(struct quire_ring *ring, uint64_t n_frames, void **frames);

/*
 * Publishes the first n_frames of what was reserved at `frames`. One-to-one the rest is given back;
 * many-to-many each frame has to be committed, in any order and number, by anybody. Returns 0;
 * -EINVAL: that was not reserved.
 */
int quire_ring_commit(struct quire_ring *ring, void *frames, uint64_t n_frames);

/* Consuming: likewise. Overwriting, one-to-one: what is peeked may change at any time. */
int64_t quire_ring_peek(struct quire_ring *ring, uint64_t n_frames, void **frames);

/* Returns 0; -EINVAL; -EOVERFLOW: overwriting, one-to-one: it was overwritten meanwhile, so what
 * was read of it may be anything. It is released, and counted as lost. */
int quire_ring_release(struct quire_ring *ring, void *frames, uint64_t n_frames);

/* Waiting */

/*
 * Until n_frames can be reserved or peeked (cut down to the size of the ring). Returns 0;
 * -ETIMEDOUT; -EPIPE: never, the other side was there and is gone; -EOWNERDEAD: likewise, it died;
 * -EPROTO. A consumer is told only when less than n_frames are left; a producer at once.
 */
int quire_ring_wait(struct quire_ring *ring, uint64_t n_frames, uint64_t timeout_ns);

/*
 * Copies n_frames in. With QUIRE_RING_WAIT it waits for room, timeout_ns at most in all; else it
 * does not wait. Returns how many went in; if none did: -EAGAIN: full (and it does not wait);
 * -ETIMEDOUT, -EPIPE, -EOWNERDEAD, -EPROTO, -EINVAL.
 */
int64_t quire_ring_put(struct quire_ring *ring, const void *frames, uint64_t n_frames,
                       uint64_t timeout_ns) __attribute__((warn_unused_result));

/*
 * Copies up to n_frames out as soon as there is one. Returns how many; 0: empty, and all producers
 * have left; -EAGAIN: empty (time-out 0); -ETIMEDOUT; -EOWNERDEAD: empty, and the last producer
 * died; -EOVERFLOW: overwriting: it is overwritten faster than it can be copied; -EPROTO, -EINVAL.
 */
int64_t quire_ring_get(struct quire_ring *ring, void *frames, uint64_t n_frames,
                       uint64_t timeout_ns) __attribute__((warn_unused_result));

/* Looking */

struct quire_ring_stats {
    struct quire_ring_config config;
    uint64_t n_in, n_out; /* frames since the start; the rest is in the ring, or lost */
    uint64_t n_lost;      /* overwritten before they were read, or lost with who had them */
    uint64_t n_skipped;   /* reserved by producers that died, and never committed */
    uint32_t n_producers, n_consumers; /* attached */
    uint32_t n_died;                   /* members, so far */
    bool had_producer, had_consumer;   /* since the start */
};

/* Consistent for a ring at rest; while it is used each figure is right for itself. -EPROTO. */
int quire_ring_stats(const struct quire_ring *ring, struct quire_ring_stats *stats);

/*
 * Looks for members whose process is gone, and frees what they had. Waiting does it by itself.
 * Returns how many were found.
 */
unsigned quire_ring_reap(struct quire_ring *ring);

/*
 * For who knows by other means that a process is gone (its socket hung up): as reap, for all its
 * members. `pid` as that process knows it.
 */
unsigned quire_ring_reap_process(struct quire_ring *ring, uint32_t pid);

/* Whether the header is possible: geometry, indices, states. 0, or -EPROTO with the reason logged.
 */
int quire_ring_validate(const struct quire_ring *ring);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
