/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring_wait: how a side waits for the other, and how it is woken.
 *
 *    ready? --no--> spin a little --> say what is wanted --> ready? --no--> sleep a nap --> ready?
 *      ^                                                                                     |no
 *      '-------------- woken, or time to look whether the other side lives <-- sleep <-------'
 *
 * The other side stores its index and then looks whether somebody wants to be told, without a fence
 * between, since that would cost more than all the rest of a commit: so it may look before its
 * store is seen by one who is about to sleep. A store stays in a processor's buffer for less time
 * than a nap takes: after that, either the frame is seen, or the wish was seen by each later
 * commit. Who polls has no nap: rings with events fence (quire_ring_set_events).
 *
 * It spins for as long as that has paid lately: it costs a wake-up (some 30 us across processors)
 * to sleep too early, and a processor's time to sleep too late.
 */
#include "share/ring.h"

#include "base/relax.h"
#include "base/sys.h"

#include <limits.h>

#define SPIN_LEAST_NS 1000u
#define SPIN_MOST_NS 60000u  /* two wake-ups: never much worse than to have slept at once */
#define SPIN_PAUSES 20u      /* between looks at the clock */
#define PREEMPTED_NS 200000u /* between looks at the clock: somebody else wants the processor */
#define NAP_NS 1000000u
#define ROOM_SHARE 4 /* of a full ring, to be free before its producer is woken from a nap */

void ring_ring(struct quire_ring *ring, struct ring_bell *bell)
{
    const uint32_t wanted = atomic_exchange(&bell->wanted, 0);

    if (wanted & RING_SLEEPER) {
        atomic_fetch_add(&bell->turn, 1);
        sys_futex_wake(&bell->turn, INT_MAX, true);
    }
    if ((wanted & RING_POLLER) && ring->event_fd >= 0) {
        const uint64_t one = 1;
        (void)sys_write(ring->event_fd, &one, sizeof one); /* a full counter is readable too */
    }
}

static struct ring_bell *own_bell(const struct quire_ring *ring)
{
    return ring->side == QUIRE_RING_PRODUCER ? &ring->header->space : &ring->header->data;
}

/*
 * Where the other side's index has to be. A producer whose ring is full naps until a part of it is
 * free, or each frame that is released would cost a wake-up.
 */
static uint64_t goal(const struct quire_ring *ring, uint64_t n_frames, bool is_nap)
{
    if (ring->kind == QUIRE_RING_MANY_TO_MANY)
        return 0;
    if (is_nap && ring->side == QUIRE_RING_PRODUCER && n_frames < ring->n_frames / ROOM_SHARE)
        n_frames = ring->n_frames / ROOM_SHARE;
    return ring->side == QUIRE_RING_PRODUCER ? ring->position + n_frames - ring->n_frames
                                             : ring->position + n_frames;
}

static int is_ready(struct quire_ring *ring, uint64_t n_frames)
{
    return ring->kind == QUIRE_RING_MANY_TO_MANY ? many_ready(ring) : one_ready(ring, n_frames);
}

/* As is_ready; and an error when it never will be. */
static int is_ready_or_over(struct quire_ring *ring, uint64_t n_frames)
{
    int ready = is_ready(ring, n_frames);

    if (ready != 0)
        return ready;
    const int gone = ring_other_side(ring);
    if (gone == 0)
        return 0;
    ready = is_ready(ring, n_frames); /* what it did last */
    return ready != 0 ? ready : gone;
}

static uint64_t spin_time(const struct quire_ring *ring)
{
    return __atomic_load_n(&ring->spin_ns, __ATOMIC_RELAXED);
}

static void spin_longer(struct quire_ring *ring, bool longer)
{
    uint64_t ns = spin_time(ring);

    if (ns == 0)
        return; /* a test's */
    ns = longer ? ns * 2 : ns / 2;
    ns = ns < SPIN_LEAST_NS ? SPIN_LEAST_NS : ns > SPIN_MOST_NS ? SPIN_MOST_NS : ns;
    __atomic_store_n(&ring->spin_ns, ns, __ATOMIC_RELAXED);
}

/*
 * 0: in vain. Who is preempted while he spins stops: he takes the time of others, perhaps of the
 * one he waits for, and is woken later for it.
 */
static int spin(struct quire_ring *ring, uint64_t n_frames, uint64_t deadline_ns)
{
    if (spin_time(ring) == 0 || !ring_runs_beside(ring))
        return 0;
    uint64_t now = sys_now_ns(), before;
    const uint64_t end = ring_least(now + spin_time(ring), deadline_ns);
    int ready = 0;

    while (ready == 0 && now < end) {
        for (unsigned i = 0; i < SPIN_PAUSES && ready == 0; i++) {
            ready = is_ready(ring, n_frames);
            relax();
        }
        before = now;
        now = sys_now_ns();
        if (now - before > PREEMPTED_NS) {
            spin_longer(ring, false);
            return ready;
        }
    }
    if (ready != 0)
        spin_longer(ring, true);
    return ready;
}

/* Whether the descriptor that is watched tells that the other side is gone. */
static bool watch_tells(const struct quire_ring *ring)
{
    return ring->watch_fd >= 0 && sys_poll_in(ring->watch_fd, 0) != 0; /* readable, or hung up */
}

/* Sleeps once. `is_nap`: see the top. */
static void sleep_until(struct quire_ring *ring, uint32_t turn, uint64_t deadline_ns, bool is_nap)
{
    const uint64_t now = sys_now_ns(), longest = is_nap ? NAP_NS : QUIRE_RING_LOOK_NS;

    if (now >= deadline_ns)
        return;
    const int error = sys_futex_wait(&own_bell(ring)->turn, turn,
                                     ring_least(deadline_ns - now, longest), true);
    if (error == -ETIMEDOUT && !is_nap)
        quire_ring_reap(ring);
    else if (error == 0)
        spin_longer(ring, sys_now_ns() - now < (uint64_t)2 * SPIN_MOST_NS);
}

static int sleep_for(struct quire_ring *ring, uint64_t n_frames, uint64_t deadline_ns)
{
    struct ring_bell *bell = own_bell(ring);

    for (bool is_nap = true;; is_nap = false) {
        const uint32_t turn = ring_load(&bell->turn, memory_order_acquire);
        ring_store(&bell->goal, goal(ring, n_frames, is_nap), memory_order_relaxed);
        atomic_fetch_or(&bell->wanted, RING_SLEEPER);
        const int ready = is_ready_or_over(ring, n_frames);
        if (ready != 0)
            return ready;
        if (watch_tells(ring))
            return -EOWNERDEAD;
        if (sys_now_ns() >= deadline_ns)
            return -ETIMEDOUT;
        sleep_until(ring, turn, deadline_ns, is_nap);
    }
}

int quire_ring_wait(struct quire_ring *ring, uint64_t n_frames, uint64_t timeout_ns)
{
    if (ring->side == QUIRE_RING_OBSERVER)
        return -EINVAL;
    n_frames = ring_least(n_frames, ring->n_frames);
    /* A producer is told at once that nobody will read: is_ready alone would let it go on. */
    int ready = ring->side == QUIRE_RING_PRODUCER ? ring_other_side(ring) : 0;
    if (ready == 0)
        ready = is_ready_or_over(ring, n_frames);
    if (ready == 0 && timeout_ns == 0)
        return -ETIMEDOUT;
    const uint64_t now = ready == 0 ? sys_now_ns() : 0;
    const uint64_t deadline_ns = timeout_ns > UINT64_MAX - now ? UINT64_MAX : now + timeout_ns;
    if (ready == 0)
        ready = spin(ring, n_frames, deadline_ns);
    if (ready == 0)
        ready = sleep_for(ring, n_frames, deadline_ns);
    return ready == 1 ? 0 : ready;
}

int quire_ring_arm(struct quire_ring *ring)
{
    struct ring_bell *bell = own_bell(ring);

    if (ring->side == QUIRE_RING_OBSERVER)
        return -EINVAL;
    ring_store(&bell->goal, goal(ring, 1, false), memory_order_relaxed);
    atomic_fetch_or(&bell->wanted, RING_POLLER); /* its fence pairs with that of ring_tell */
    const int ready = is_ready_or_over(ring, 1);
    return ready == 0 ? 0 : 1;
}
