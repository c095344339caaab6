/* SPDX-License-Identifier: Apache-2.0 */
/*
 * many_to_many: a ring among many producers and many consumers.
 *
 * Each frame has a slot, one word: the position that it stands for, who holds it, and its state.
 *
 *              reserve            commit             peek              release
 *   FREE(p) -----------> CLAIMED(p, m) ---> FULL(p) ------> TAKEN(p, m) ---> FREE(p + n_frames)
 *                              |               |                 |                ^
 *                   m is gone  v      overwrite '----------------|----------------|  lost
 *                           SKIP(p) ---- the next consumer ------|----------------|  skipped
 *                                                     m is gone  '----------------'  lost
 *
 * The slot is what counts; tail and head only follow, so that nothing hangs on somebody who died
 * between two steps: who finds that a slot is past the index moves the index on for everybody.
 *
 * 1. A slot's position is congruent to its index modulo n_frames, and never decreases.
 * 2. CLAIMED and TAKEN name a member; only that member changes the word, or who reaped it.
 * 3. slot[tail] is FREE(tail), or the ring is full, or tail lags behind; likewise head and FULL.
 *    An index lags by n_frames at most.
 *
 * Lock-free: a step fails because another's succeeded. N_TRIES bounds what a peer can do that
 * keeps changing words for no purpose.
 */
#include "share/ring.h"

#include "base/log.h"

#define N_TRIES (1u << 12)

enum slot_state { SLOT_FREE, SLOT_CLAIMED, SLOT_FULL, SLOT_TAKEN, SLOT_SKIP };

#define SLOT_POSITION_SHIFT 10
#define SLOT_OWNER_SHIFT 3

static uint64_t slot_word(uint64_t position, unsigned owner, enum slot_state state)
{
    return position << SLOT_POSITION_SHIFT | (uint64_t)owner << SLOT_OWNER_SHIFT | state;
}

static enum slot_state slot_state(uint64_t word)
{
    return (enum slot_state)(word & ((1u << SLOT_OWNER_SHIFT) - 1));
}

static unsigned slot_owner(uint64_t word)
{
    return (unsigned)(word >> SLOT_OWNER_SHIFT) & (QUIRE_RING_MAX_MEMBERS - 1);
}

static uint64_t slot_position(uint64_t word)
{
    return word >> SLOT_POSITION_SHIFT;
}

static _Atomic uint64_t *slots(const struct ring_header *header)
{
    return (_Atomic uint64_t *)(void *)((char *)(uintptr_t)header + sizeof *header);
}

static _Atomic uint64_t *slot_at(const struct quire_ring *ring, uint64_t position)
{
    return &slots(ring->header)[position & ring->mask];
}

void many_init(struct ring_header *header)
{
    for (uint64_t i = 0; i < header->n_frames; i++)
        atomic_store_explicit(&slots(header)[i], slot_word(i, 0, SLOT_FREE), memory_order_relaxed);
}

/* Moves an index on from `position`, unless somebody did. */
static void help(_Atomic uint64_t *index, uint64_t position)
{
    ring_swap(index, &position, position + 1);
}

/* What a slot has to do with a position that an index gave. */
enum turn {
    TURN_NOW,  /* it stands for this position */
    TURN_LATE, /* somebody is a round further: the index lags, or has moved on */
    TURN_FULL, /* it is still used for the round before */
    TURN_BAD,  /* the index has moved on by more, or is impossible */
};

static enum turn turn_of(const struct quire_ring *ring, uint64_t word, uint64_t position)
{
    const int64_t ahead = (int64_t)(slot_position(word) - position);

    if (ahead == 0)
        return TURN_NOW;
    if (ahead == -(int64_t)ring->n_frames)
        return TURN_FULL;
    return ahead == (int64_t)ring->n_frames ? TURN_LATE : TURN_BAD;
}

/* Positions are 54 bits of a word; what does not fit was not written by us. */
static bool read_index(_Atomic uint64_t *index, uint64_t *position)
{
    *position = ring_load(index, memory_order_acquire);
    return *position >> (64 - SLOT_POSITION_SHIFT) == 0;
}

/*
 * Overwriting: the frame of the round before gives way if nobody uses it. Not before head has come
 * to it: it may lag behind who overwrote those before and has not moved it yet, and were it a round
 * behind (3) nobody could tell it from one that is impossible.
 */
static bool overwrite(struct quire_ring *ring, uint64_t word)
{
    const uint64_t old = slot_position(word);
    const enum slot_state state = slot_state(word);
    const uint64_t head = ring_load(&ring->header->head, memory_order_acquire);

    if (ring->full == QUIRE_RING_OVERWRITE && head < old) {
        help(&ring->header->head, head);
        return true;
    }
    if (ring->full != QUIRE_RING_OVERWRITE || (state != SLOT_FULL && state != SLOT_SKIP))
        return false;
    if (ring_swap(slot_at(ring, old), &word, slot_word(old + ring->n_frames, 0, SLOT_FREE))) {
        ring_count(state == SLOT_FULL ? &ring->header->n_lost : &ring->header->n_skipped, 1);
        help(&ring->header->head, old);
    }
    return true;
}

/* 1: the slot at tail was claimed, *position says which; 0: full; -EPROTO. */
static int claim_next(struct quire_ring *ring, uint64_t *position)
{
    struct ring_header *header = ring->header;

    for (unsigned i = 0; i < N_TRIES; i++) {
        uint64_t tail;
        if (!read_index(&header->tail, &tail))
            return -EPROTO;
        uint64_t word = ring_load(slot_at(ring, tail), memory_order_acquire);
        switch (turn_of(ring, word, tail)) {
        case TURN_NOW:
            if (slot_state(word) != SLOT_FREE) {
                help(&header->tail, tail);
            } else if (ring_swap(slot_at(ring, tail), &word,
                                 slot_word(tail, ring->member, SLOT_CLAIMED))) {
                help(&header->tail, tail);
                *position = tail;
                return 1;
            }
            break;
        case TURN_LATE:
            help(&header->tail, tail);
            break;
        case TURN_FULL:
            if (!overwrite(ring, word))
                return 0;
            break;
        case TURN_BAD:
            if (ring_load(&header->tail, memory_order_acquire) == tail)
                return -EPROTO;
        }
    }
    return 0;
}

/* Whether the slot at `position` could be had right behind those before it. */
static bool claim_at(struct quire_ring *ring, uint64_t position)
{
    uint64_t free = slot_word(position, 0, SLOT_FREE);

    if (!ring_swap(slot_at(ring, position), &free, slot_word(position, ring->member, SLOT_CLAIMED)))
        return false;
    help(&ring->header->tail, position);
    return true;
}

int64_t many_reserve(struct quire_ring *ring, uint64_t n_frames, void **frames)
{
    uint64_t first, n = 1;
    const int result = claim_next(ring, &first);

    if (result <= 0)
        return result;
    *frames = ring_frame(ring, first);
    while (n < n_frames && ((first + n) & ring->mask) != 0 && claim_at(ring, first + n))
        n++;
    return (int64_t)n;
}

/* The slots that `frames` begin at; false: they are no frames of the ring. */
static bool find_slots(const struct quire_ring *ring, const void *frames, uint64_t n_frames,
                       uint64_t *index)
{
    const uintptr_t offset = (uintptr_t)frames - (uintptr_t)ring->frames;

    *index = offset / ring->frame_bytes;
    return offset % ring->frame_bytes == 0 && *index < ring->n_frames &&
           n_frames <= ring->n_frames - *index;
}

/* Whether all of them are held by this member in that state. */
static bool are_held(const struct quire_ring *ring, uint64_t index, uint64_t n_frames,
                     enum slot_state state)
{
    for (uint64_t i = index; i < index + n_frames; i++) {
        const uint64_t word = ring_load(slot_at(ring, i), memory_order_relaxed);
        if (slot_state(word) != state || slot_owner(word) != ring->member)
            return false;
    }
    return true;
}

int many_commit(struct quire_ring *ring, void *frames, uint64_t n_frames)
{
    uint64_t index;

    if (!find_slots(ring, frames, n_frames, &index) ||
        !are_held(ring, index, n_frames, SLOT_CLAIMED))
        return -EINVAL;
    for (uint64_t i = index; i < index + n_frames; i++) {
        const uint64_t position = slot_position(ring_load(slot_at(ring, i), memory_order_relaxed));
        /* release: pairs with the acquire in take_next */
        ring_store(slot_at(ring, i), slot_word(position, 0, SLOT_FULL), memory_order_release);
    }
    ring_tell(ring, &ring->header->data, 0);
    return 0;
}

/* What was claimed by somebody who died is nothing. */
static void skip(struct quire_ring *ring, uint64_t word)
{
    const uint64_t position = slot_position(word);

    if (!ring_swap(slot_at(ring, position), &word,
                   slot_word(position + ring->n_frames, 0, SLOT_FREE)))
        return;
    ring_count(&ring->header->n_skipped, 1);
    help(&ring->header->tail, position); /* it may have died before it did */
    help(&ring->header->head, position);
    ring_tell(ring, &ring->header->space, 0);
}

/* 1: the slot at head was taken; 0: nothing there; -EPROTO. */
static int take_next(struct quire_ring *ring, uint64_t *position)
{
    struct ring_header *header = ring->header;

    for (unsigned i = 0; i < N_TRIES; i++) {
        uint64_t head;
        if (!read_index(&header->head, &head))
            return -EPROTO;
        uint64_t word = ring_load(slot_at(ring, head), memory_order_acquire);
        switch (turn_of(ring, word, head)) {
        case TURN_NOW:
            if (slot_state(word) == SLOT_FREE || slot_state(word) == SLOT_CLAIMED)
                return 0;
            if (slot_state(word) == SLOT_SKIP) {
                skip(ring, word);
            } else if (slot_state(word) != SLOT_FULL) {
                help(&header->head, head);
            } else if (ring_swap(slot_at(ring, head), &word,
                                 slot_word(head, ring->member, SLOT_TAKEN))) {
                help(&header->head, head);
                *position = head;
                return 1;
            }
            break;
        case TURN_LATE:
            help(&header->head, head);
            break;
        case TURN_FULL: /* empty, and whoever had the slot a round ago has it still */
            return 0;
        case TURN_BAD:
            if (ring_load(&header->head, memory_order_acquire) == head)
                return -EPROTO;
        }
    }
    return 0;
}

static bool take_at(struct quire_ring *ring, uint64_t position)
{
    uint64_t full = slot_word(position, 0, SLOT_FULL);

    if (!ring_swap(slot_at(ring, position), &full, slot_word(position, ring->member, SLOT_TAKEN)))
        return false;
    help(&ring->header->head, position);
    return true;
}

int64_t many_peek(struct quire_ring *ring, uint64_t n_frames, void **frames)
{
    uint64_t first, n = 1;
    const int result = take_next(ring, &first);

    if (result <= 0)
        return result;
    *frames = ring_frame(ring, first);
    while (n < n_frames && ((first + n) & ring->mask) != 0 && take_at(ring, first + n))
        n++;
    return (int64_t)n;
}

int many_release(struct quire_ring *ring, void *frames, uint64_t n_frames)
{
    uint64_t index;

    if (!find_slots(ring, frames, n_frames, &index) || !are_held(ring, index, n_frames, SLOT_TAKEN))
        return -EINVAL;
    for (uint64_t i = index; i < index + n_frames; i++) {
        const uint64_t position = slot_position(ring_load(slot_at(ring, i), memory_order_relaxed));
        /* release: pairs with the acquire in claim_next */
        ring_store(slot_at(ring, i), slot_word(position + ring->n_frames, 0, SLOT_FREE),
                   memory_order_release);
    }
    ring_tell(ring, &ring->header->space, 0);
    return 0;
}

int many_ready(struct quire_ring *ring)
{
    const bool produces = ring->side == QUIRE_RING_PRODUCER;
    uint64_t position;

    if (!read_index(produces ? &ring->header->tail : &ring->header->head, &position))
        return -EPROTO;
    const uint64_t word = ring_load(slot_at(ring, position), memory_order_acquire);
    if (turn_of(ring, word, position) == TURN_FULL)
        return produces && ring->full == QUIRE_RING_OVERWRITE && slot_state(word) == SLOT_FULL;
    if (turn_of(ring, word, position) != TURN_NOW)
        return 1; /* the index lags, or something is wrong: have a closer look */
    return produces || (slot_state(word) != SLOT_FREE && slot_state(word) != SLOT_CLAIMED);
}

void many_abandon(const struct quire_ring *ring, unsigned member)
{
    for (uint64_t i = 0; i < ring->n_frames; i++) {
        uint64_t word = ring_load(slot_at(ring, i), memory_order_acquire);
        const uint64_t position = slot_position(word);
        if (slot_owner(word) != member)
            continue;
        if (slot_state(word) == SLOT_CLAIMED)
            ring_swap(slot_at(ring, i), &word, slot_word(position, 0, SLOT_SKIP));
        else if (slot_state(word) == SLOT_TAKEN &&
                 ring_swap(slot_at(ring, i), &word,
                           slot_word(position + ring->n_frames, 0, SLOT_FREE)))
            ring_count(&ring->header->n_lost, 1);
    }
}

int many_validate(const struct quire_ring *ring)
{
    uint64_t tail, head;

    if (!read_index(&ring->header->tail, &tail) || !read_index(&ring->header->head, &head) ||
        tail - head > ring->n_frames) {
        log_error("ring: its indices are impossible");
        return -EPROTO;
    }
    for (uint64_t i = 0; i < ring->n_frames; i++) {
        const uint64_t word = ring_load(slot_at(ring, i), memory_order_acquire);
        if ((slot_position(word) & ring->mask) != i || slot_state(word) > SLOT_SKIP) {
            log_error("ring: the state of a frame is impossible");
            return -EPROTO;
        }
    }
    return 0;
}
