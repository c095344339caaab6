/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings against an oracle that writes down each position: who holds it, and what it holds.
 *
 * One thread plays up to six members of a ring of either kind and each policy. In every other round
 * a peer that means harm changes words of the header and of the slots between the steps: then the
 * results may be anything, but frames must lie in the ring, and every call must return.
 * QUIRE_TEST_SEED replays a run; QUIRE_TEST_ROUNDS makes it longer.
 */
#include "model_random.h"

#include <errno.h>
#include <quire/ring.h>
#include <string.h>

#define ROUNDS 400u
#define STEPS 600u
#define MEMORY_BYTES ((size_t)64 << 10)
#define GUARD_BYTES 4096u
#define GUARD 0xa5
#define MAX_FRAMES 16u
#define MAX_FRAME_BYTES 24u
#define N_MEMBERS 6u /* even: producers, odd: consumers */
#define MAX_POSITIONS ((STEPS + 1) * MAX_FRAMES)
#define MAX_HOLDS 16u

enum state { NONE, CLAIMED, FULL, TAKEN, DONE };

static _Alignas(4096) unsigned char memory[MEMORY_BYTES + GUARD_BYTES];
static size_t ring_bytes;
static struct quire_ring_config config;
static bool hostile;

static struct position {
    enum state state;
    unsigned member;
    bool skipped;
} at[MAX_POSITIONS];
static uint64_t tail, head, claim, n_lost, n_skipped;

static struct member {
    struct quire_ring ring;
    bool attached;
    struct hold {
        void *frames;
        uint64_t first, n;
    } hold[MAX_HOLDS];
    unsigned n_holds;
} members[N_MEMBERS];

static bool is_many(void)
{
    return config.kind == QUIRE_RING_MANY_TO_MANY;
}

static bool produces(const struct member *member)
{
    return (member - members) % 2 == 0;
}

/* What frame `position` holds. */
static void fill(unsigned char *frame, uint64_t position)
{
    for (uint32_t i = 0; i < config.frame_bytes; i++)
        frame[i] = (unsigned char)((position * 31 + i) * 17);
}

static void check_frames(const void *frames, uint64_t first, uint64_t n)
{
    unsigned char expected[MAX_FRAME_BYTES];
    for (uint64_t i = 0; i < n; i++) {
        fill(expected, first + i);
        REQUIRE(memcmp((const char *)frames + i * config.frame_bytes, expected,
                       config.frame_bytes) == 0);
    }
}

static void check_place(const struct member *member, const void *frames, int64_t n)
{
    const unsigned char *start = frames, *first = member->ring.frames;
    REQUIRE(n >= 0 && (uint64_t)n <= config.n_frames);
    REQUIRE(n == 0 || (start >= first && start + (uint64_t)n * config.frame_bytes <=
                                             first + config.n_frames * config.frame_bytes));
}

/* The oracle */

static uint64_t up_to_the_end(uint64_t position, uint64_t n)
{
    const uint64_t left = config.n_frames - position % config.n_frames;
    return n < left ? n : left;
}

static bool is_free(uint64_t position)
{
    return position < config.n_frames || at[position - config.n_frames].state == DONE;
}

static bool overwrites(void)
{
    return config.full == QUIRE_RING_OVERWRITE;
}

/* Skipped frames are passed over when a consumer comes to them. */
static void pass_skipped(void)
{
    while (head < tail && at[head].state == FULL && at[head].skipped) {
        at[head++].state = DONE;
        n_skipped++;
    }
}

static void drop_oldest(void)
{
    REQUIRE(at[head].state == FULL);
    if (at[head].skipped)
        n_skipped++;
    else
        n_lost++;
    at[head++].state = DONE;
}

static uint64_t expect_reserved(uint64_t n)
{
    uint64_t got = 0;
    if (!is_many() && overwrites())
        return up_to_the_end(tail, n < (config.n_frames + 1) / 2 ? n : (config.n_frames + 1) / 2);
    if (is_many() && overwrites() && !is_free(tail) && at[tail - config.n_frames].state == FULL)
        drop_oldest();
    while (got < up_to_the_end(tail, n) && is_free(tail + got))
        got++;
    return got;
}

static uint64_t expect_peeked(uint64_t n)
{
    uint64_t got = 0;
    pass_skipped();
    while (got < up_to_the_end(head, n) && head + got < tail && at[head + got].state == FULL &&
           (got == 0 || !at[head + got].skipped))
        got++;
    return got;
}

static void mark(uint64_t first, uint64_t n, enum state state, const struct member *member)
{
    for (uint64_t i = first; i < first + n; i++)
        at[i] = (struct position){state, (unsigned)(member - members), false};
}

/* One-to-one, overwriting: what lies n_frames behind what is being filled is gone. */
static void lose_overwritten(void)
{
    if (claim <= config.n_frames)
        return;
    while (head < claim - config.n_frames && head < tail) {
        at[head++].state = DONE;
        n_lost++;
    }
}

/* Steps */

static void hold(struct member *member, void *frames, uint64_t first, uint64_t n)
{
    member->hold[member->n_holds++] = (struct hold){frames, first, n};
}

static struct hold let_go(struct member *member)
{
    const unsigned i = (unsigned)draw(member->n_holds);
    const struct hold held = member->hold[i];
    member->hold[i] = member->hold[--member->n_holds];
    return held;
}

static unsigned most_holds(void)
{
    return is_many() ? MAX_HOLDS : 1;
}

static void reserve(struct member *member)
{
    const uint64_t wanted = 1 + draw(config.n_frames + 2);
    void *frames;
    if (member->n_holds == most_holds())
        return;
    const int64_t n = quire_ring_reserve(&member->ring, wanted, &frames);
    if (n < 0 && hostile)
        return;
    check_place(member, frames, n);
    if (hostile) {
        if (n > 0)
            hold(member, frames, 0, (uint64_t)n);
        return;
    }
    REQUIRE((uint64_t)n == expect_reserved(wanted));
    for (int64_t i = 0; i < n; i++)
        fill((unsigned char *)frames + (uint64_t)i * config.frame_bytes, tail + (uint64_t)i);
    if (n == 0)
        return;
    hold(member, frames, tail, (uint64_t)n);
    mark(tail, (uint64_t)n, CLAIMED, member);
    claim = tail + (uint64_t)n > claim ? tail + (uint64_t)n : claim;
    if (is_many())
        tail += (uint64_t)n;
}

static void commit(struct member *member)
{
    if (member->n_holds == 0)
        return;
    const struct hold held = let_go(member);
    const uint64_t n = is_many() ? held.n : 1 + draw(held.n);
    const int error = quire_ring_commit(&member->ring, held.frames, n);
    if (hostile)
        return;
    REQUIRE(error == 0);
    mark(held.first, n, FULL, member);
    if (!is_many())
        tail += n;
}

static void peek(struct member *member)
{
    const uint64_t wanted = 1 + draw(config.n_frames + 2);
    void *frames;
    if (member->n_holds == most_holds())
        return;
    const int64_t n = quire_ring_peek(&member->ring, wanted, &frames);
    if (n < 0 && hostile)
        return;
    check_place(member, frames, n);
    if (hostile) {
        if (n > 0)
            hold(member, frames, 0, (uint64_t)n);
        return;
    }
    if (!is_many() && overwrites())
        lose_overwritten();
    REQUIRE((uint64_t)n == expect_peeked(wanted));
    if (n == 0)
        return;
    check_frames(frames, head, (uint64_t)n);
    hold(member, frames, head, (uint64_t)n);
    if (is_many()) {
        mark(head, (uint64_t)n, TAKEN, member);
        head += (uint64_t)n;
    }
}

static void release(struct member *member)
{
    if (member->n_holds == 0)
        return;
    const struct hold held = let_go(member);
    const uint64_t n = is_many() ? held.n : 1 + draw(held.n);
    const int error = quire_ring_release(&member->ring, held.frames, n);
    if (hostile)
        return;
    if (!is_many() && overwrites()) {
        const bool spoilt = claim > held.first + config.n_frames;
        REQUIRE(error == (spoilt ? -EOVERFLOW : 0));
        n_lost += spoilt ? n : 0;
    } else {
        REQUIRE(error == 0);
    }
    mark(held.first, n, DONE, member);
    if (!is_many())
        head += n;
}

static void copy(struct member *member)
{
    unsigned char frames[(MAX_FRAMES + 2) * MAX_FRAME_BYTES] = {0};
    const uint64_t n = 1 + draw(config.n_frames + 2);
    if (!hostile || (!is_many() && member->n_holds))
        return;
    const int64_t done = produces(member) ? quire_ring_put(&member->ring, frames, n, 0)
                                          : quire_ring_get(&member->ring, frames, n, 0);
    REQUIRE(done <= (int64_t)n);
}

static void detach(struct member *member)
{
    quire_ring_detach(&member->ring);
    member->attached = false;
    for (unsigned i = 0; i < member->n_holds && is_many() && !hostile; i++) {
        const struct hold *held = &member->hold[i];
        for (uint64_t p = held->first; p < held->first + held->n; p++) {
            at[p].skipped = at[p].state == CLAIMED;
            n_lost += at[p].state == TAKEN;
            at[p].state = at[p].state == CLAIMED ? FULL : DONE;
        }
    }
    member->n_holds = 0;
}

static bool side_is_taken(bool producer)
{
    for (unsigned i = producer ? 0 : 1; i < N_MEMBERS; i += 2)
        if (members[i].attached)
            return true;
    return false;
}

static void attach(struct member *member)
{
    const int error = quire_ring_attach(
        memory, ring_bytes, produces(member) ? QUIRE_RING_PRODUCER : QUIRE_RING_CONSUMER,
        &member->ring);
    const bool refused = !is_many() && side_is_taken(produces(member));
    REQUIRE(hostile || error == (refused ? -EBUSY : 0));
    member->attached = error == 0;
    member->n_holds = 0;
    /* As a careful user does: a ring of another geometry than was agreed on is left. */
    if (member->attached && (member->ring.n_frames != config.n_frames ||
                             member->ring.frame_bytes != config.frame_bytes)) {
        REQUIRE(hostile);
        detach(member);
    }
}

/* One-to-one, overwriting: of what is lost, what no consumer has come to yet. */
static uint64_t lost_unseen(void)
{
    if (is_many() || !overwrites() || claim <= config.n_frames + head)
        return 0;
    const uint64_t n = claim - config.n_frames - head;
    return n < tail - head ? n : tail - head;
}

static void check_stats(void)
{
    const uint64_t n_gone = n_lost + lost_unseen();
    struct quire_ring ring;
    struct quire_ring_stats stats;
    REQUIRE(quire_ring_attach(memory, ring_bytes, QUIRE_RING_OBSERVER, &ring) == 0);
    REQUIRE(quire_ring_validate(&ring) == 0 && quire_ring_stats(&ring, &stats) == 0);
    REQUIRE(stats.n_in == tail);
    /* Frames to be skipped, and many-to-many those overwritten, count when somebody comes to them.
     */
    REQUIRE(stats.n_out <= tail && stats.n_skipped <= n_skipped && stats.n_lost <= n_gone);
    if (!overwrites() || !is_many())
        REQUIRE(stats.n_out == head && stats.n_lost == n_gone && stats.n_skipped == n_skipped);
    quire_ring_detach(&ring);
}

/* A word of what is shared becomes something else. */
static void do_harm(void)
{
    const uint64_t offset = draw(ring_bytes / 8);
    uint64_t word;
    memcpy(&word, memory + offset * 8, 8);
    word = draw(3) == 0 ? draw(UINT64_MAX)
           : draw(2)    ? word + draw(64) - 32
                        : word ^ 1ull << draw(64);
    memcpy(memory + offset * 8, &word, 8);
}

static void take_step(void)
{
    struct member *member = &members[draw(N_MEMBERS)];
    if (hostile && draw(4) == 0)
        do_harm();
    if (!member->attached) {
        attach(member);
        return;
    }
    switch (draw(40)) {
    case 0:
        detach(member);
        return;
    case 1:
    case 2:
        copy(member);
        return;
    default:
        if (draw(2))
            produces(member) ? reserve(member) : peek(member);
        else
            produces(member) ? commit(member) : release(member);
    }
}

static void start_round(void)
{
    config = (struct quire_ring_config){
        .n_frames = (uint64_t)1 << draw(5),
        .frame_bytes = (uint32_t[]){1, 3, 8, 24}[draw(4)],
        .kind = (enum quire_ring_kind)draw(2),
        .full = (enum quire_ring_full)draw(3),
    };
    hostile = round_number % 2;
    memset(memory, 0, sizeof memory);
    memset(members, 0, sizeof members);
    memset(at, 0, sizeof at);
    tail = head = claim = n_lost = n_skipped = 0;
    ring_bytes = quire_ring_bytes(&config);
    memset(memory + ring_bytes, GUARD, sizeof memory - ring_bytes);
    REQUIRE(ring_bytes > 0 && quire_ring_init(&config, memory, ring_bytes) == 0);
}

static void play_round(void)
{
    start_round();
    for (step = 0; step < STEPS; step++) {
        take_step();
        if (!hostile && step % 16 == 0)
            check_stats();
    }
    for (size_t i = ring_bytes; i < sizeof memory; i++)
        REQUIRE(memory[i] == GUARD);
}

int main(void)
{
    const unsigned n_rounds = draw_from_seed(ROUNDS);
    for (round_number = 0; round_number < n_rounds; round_number++)
        play_round();
    return 0;
}
