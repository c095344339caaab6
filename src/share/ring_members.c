/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring_members: who is attached to a ring, and what becomes of those who died.
 *
 *   FREE --join--> JOINING --> OPEN --leave--> FREE
 *                     |          |
 *                     '--- gone -'--reap--> REAPED by --> FREE
 *                                              '-- the reaper is gone --> REAPED by another
 *
 * One-to-one, the places are fixed: 0 is the producer's, 1 the consumer's. Observers have none.
 *
 * 1. What a member holds is given up before its place is free, so that a place names one member.
 * 2. Each step of a reaper may be done again by another.
 */
#include "share/ring.h"

#include "base/process.h"
#include "base/sys.h"

#define NO_MEMBER UINT8_MAX
#define N_MASK_WORDS 16 /* of processors */
#define WORD_BITS 64u
#define REAPER_NAP_NS 200000u
#define REAPER_LOOKS 10000u /* for two seconds and more: it may be preempted */

static uint64_t who_word(uint32_t pid, enum quire_ring_side side, enum ring_member_state state)
{
    return (uint64_t)pid << 32 | (uint64_t)side << 8 | (uint64_t)state;
}

static enum ring_member_state state_of(uint64_t who)
{
    return (enum ring_member_state)(who & 0xff);
}

static enum quire_ring_side side_of(uint64_t who)
{
    return (enum quire_ring_side)(who >> 8 & 0xff);
}

static uint32_t pid_of(uint64_t who)
{
    return (uint32_t)(who >> 32);
}

static unsigned n_places(const struct quire_ring *ring)
{
    return ring->kind == QUIRE_RING_ONE_TO_ONE ? 2 : QUIRE_RING_MAX_MEMBERS;
}

static unsigned count(const struct quire_ring *ring, enum quire_ring_side side, bool reaped_too)
{
    const struct ring_member *member = ring->header->member;
    unsigned n = 0;

    stepping_call();
    for (unsigned i = 0; i < n_places(ring); i++) {
        const uint64_t who = atomic_load_explicit(&member[i].who, memory_order_acquire);
        const enum ring_member_state state = state_of(who);
        n += side_of(who) == side && state != RING_MEMBER_FREE &&
             (reaped_too || state != RING_MEMBER_REAPED);
    }
    return n;
}

unsigned ring_n_members(const struct quire_ring *ring, enum quire_ring_side side)
{
    return count(ring, side, false);
}

int ring_other_side(const struct quire_ring *ring)
{
    const enum quire_ring_side other = ring->side == QUIRE_RING_PRODUCER ? QUIRE_RING_CONSUMER
                                                                         : QUIRE_RING_PRODUCER;
    const uint32_t bit = 1u << other;

    if (!(ring_load(&ring->header->had, memory_order_acquire) & bit) ||
        count(ring, other, true) > 0) /* what one held is not given up yet */
        return 0;
    return ring_load(&ring->header->died, memory_order_acquire) & bit ? -EOWNERDEAD : -EPIPE;
}

/* Both sides are to look again, whatever they wait for. */
static void tell_all(struct quire_ring *ring)
{
    atomic_thread_fence(memory_order_seq_cst);
    ring_ring(ring, &ring->header->data);
    ring_ring(ring, &ring->header->space);
}

static bool is_gone(const struct ring_member *member, uint64_t who)
{
    const uint64_t here = process_pid_namespace();
    const uint64_t there = ring_load(&member->pid_namespace, memory_order_acquire);
    const bool known = state_of(who) == RING_MEMBER_OPEN;
    const uint64_t start_time = known ? ring_load(&member->start_time, memory_order_acquire) : 0;

    return state_of(who) != RING_MEMBER_FREE && (!known || here == there) &&
           !process_is_alive(pid_of(who), start_time);
}

/* Frees the place of a member that is gone. False: somebody else does. */
static bool reap(struct quire_ring *ring, unsigned index, uint64_t who)
{
    struct ring_header *header = ring->header;
    struct ring_member *member = &header->member[index];
    const enum quire_ring_side side = side_of(who);
    const uint64_t mine = who_word(process_own_pid(), side, RING_MEMBER_REAPED);

    if (!ring_swap(&member->who, &who, mine))
        return false;
    if (ring->kind == QUIRE_RING_MANY_TO_MANY)
        many_abandon(ring, index); /* 1 */
    if (side < QUIRE_RING_OBSERVER && ring_n_members(ring, side) == 0)
        atomic_fetch_or(&header->died, 1u << side);
    atomic_fetch_add(&header->n_died, 1);
    ring_store(&member->who, 0, memory_order_release);
    tell_all(ring);
    return true;
}

/* The members of one process, or (pid 0) those whose process is gone. */
static unsigned reap_all(struct quire_ring *ring, uint32_t pid)
{
    unsigned n = 0;

    for (unsigned i = 0; i < QUIRE_RING_MAX_MEMBERS; i++) {
        const struct ring_member *member = &ring->header->member[i];
        const uint64_t who = ring_load(&member->who, memory_order_acquire);
        if (state_of(who) != RING_MEMBER_FREE && (pid ? pid_of(who) == pid : is_gone(member, who)))
            n += reap(ring, i, who);
    }
    return n;
}

unsigned quire_ring_reap(struct quire_ring *ring)
{
    return reap_all(ring, 0);
}

unsigned quire_ring_reap_process(struct quire_ring *ring, uint32_t pid)
{
    return pid ? reap_all(ring, pid) : 0;
}

/*
 * Whether a place can be taken: it is free, or was that of a member that is gone. It may be that
 * somebody else is at giving up what that one held, at this very moment; `patient` waits for it.
 */
static bool vacate(struct quire_ring *ring, unsigned index, bool patient)
{
    const struct ring_member *member = &ring->header->member[index];

    for (unsigned looks = 0; looks < REAPER_LOOKS; looks++) {
        const uint64_t who = ring_load(&member->who, memory_order_acquire);
        if (state_of(who) == RING_MEMBER_FREE)
            return true;
        if (is_gone(member, who))
            reap(ring, index, who);
        else if (state_of(who) == RING_MEMBER_REAPED && patient)
            sys_sleep_ns(REAPER_NAP_NS);
        else
            return false;
    }
    return false;
}

static bool take_place(struct quire_ring *ring, unsigned index, bool patient)
{
    struct ring_member *member = &ring->header->member[index];
    const uint32_t pid = process_own_pid();
    uint64_t who = 0;

    if (!vacate(ring, index, patient))
        return false;
    if (!ring_swap(&member->who, &who, who_word(pid, ring->side, RING_MEMBER_JOINING)))
        return false;
    ring_store(&member->start_time, process_start_time(pid), memory_order_relaxed);
    ring_store(&member->pid_namespace, process_pid_namespace(), memory_order_relaxed);
    ring_store(&member->processor, ring->processor, memory_order_relaxed);
    ring_store(&member->who, who_word(pid, ring->side, RING_MEMBER_OPEN), memory_order_release);
    ring->member = (uint8_t)index;
    return true;
}

/* The only processor that this thread may run on, from 1; 0: it has several. */
static uint16_t only_processor(void)
{
    unsigned long mask[N_MASK_WORDS] = {0};
    unsigned n = 0, last = 0;

    if (sys_sched_getaffinity(0, sizeof mask, mask) < 0)
        return 0;
    for (unsigned i = 0; i < N_MASK_WORDS; i++) {
        n += (unsigned)__builtin_popcountl(mask[i]);
        if (mask[i] != 0)
            last = i * WORD_BITS + (unsigned)__builtin_ctzl(mask[i]);
    }
    return n == 1 ? (uint16_t)(last + 1) : 0;
}

bool ring_runs_beside(const struct quire_ring *ring)
{
    const struct ring_member *member = ring->header->member;

    if (ring->processor == 0)
        return true;
    for (unsigned i = 0; i < n_places(ring); i++) {
        const uint64_t who = ring_load(&member[i].who, memory_order_acquire);
        if (state_of(who) == RING_MEMBER_OPEN && side_of(who) != ring->side &&
            ring_load(&member[i].processor, memory_order_relaxed) != ring->processor)
            return true;
    }
    return false;
}

static int find_place(struct quire_ring *ring)
{
    if (ring->kind == QUIRE_RING_ONE_TO_ONE)
        return take_place(ring, ring->side, true) ? 0 : -EBUSY;
    for (unsigned i = 0; i < 2 * QUIRE_RING_MAX_MEMBERS; i++) /* at first without waiting */
        if (take_place(ring, i % QUIRE_RING_MAX_MEMBERS, i >= QUIRE_RING_MAX_MEMBERS))
            return 0;
    return -EUSERS;
}

#define HAD_BOTH (1u << QUIRE_RING_PRODUCER | 1u << QUIRE_RING_CONSUMER)
#define HAD_TURN (1u << 8) /* `had` is never the same again, once somebody has joined */

/* Both sides have come and gone: whoever comes now begins anew, and waits for the other. */
static void begin_anew(const struct quire_ring *ring)
{
    struct ring_header *header = ring->header;
    uint32_t had = ring_load(&header->had, memory_order_acquire);

    if ((had & HAD_BOTH) == HAD_BOTH && count(ring, QUIRE_RING_PRODUCER, true) == 0 &&
        count(ring, QUIRE_RING_CONSUMER, true) == 0)
        ring_swap(&header->had, &had, (had & ~HAD_BOTH) + HAD_TURN);
}

static void remember_side(struct ring_header *header, enum quire_ring_side side)
{
    uint32_t had = ring_load(&header->had, memory_order_relaxed);

    while (!ring_swap(&header->had, &had, (had | 1u << side) + HAD_TURN))
        continue;
}

int ring_join(struct quire_ring *ring)
{
    ring->member = NO_MEMBER;
    if (ring->side == QUIRE_RING_OBSERVER)
        return 0;
    ring->processor = only_processor();
    begin_anew(ring);
    const int error = find_place(ring);
    if (error)
        return error;
    atomic_fetch_and(&ring->header->died, ~(1u << ring->side));
    remember_side(ring->header, (enum quire_ring_side)ring->side);
    return 0;
}

void ring_leave(struct quire_ring *ring)
{
    if (ring->member == NO_MEMBER)
        return;
    if (ring->kind == QUIRE_RING_MANY_TO_MANY)
        many_abandon(ring, ring->member); /* 1 */
    ring_store(&ring->header->member[ring->member].who, 0, memory_order_release);
    tell_all(ring);
    ring->member = NO_MEMBER;
}
