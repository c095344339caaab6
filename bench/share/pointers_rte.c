/* SPDX-License-Identifier: Apache-2.0 */
/* pointers_rte: DPDK's ring, in memory of ours (Debian: libdpdk-dev). */
#include "pointers.h"

#ifdef HAVE_RTE

#include <rte_ring.h>

static size_t n_bytes(void)
{
    return (size_t)rte_ring_get_memsize(POINTER_FRAMES);
}

static bool init_one(void *memory)
{
    return rte_ring_init(memory, "one", POINTER_FRAMES, RING_F_SP_ENQ | RING_F_SC_DEQ) == 0;
}

static bool init_many(void *memory)
{
    return rte_ring_init(memory, "many", POINTER_FRAMES, 0) == 0;
}

static inline unsigned put_one(void *ring, uintptr_t *array, unsigned n)
{
    (void)n;
    return rte_ring_sp_enqueue(ring, (void *)array[0]) == 0;
}

static inline unsigned get_one(void *ring, uintptr_t *array, unsigned n)
{
    (void)n;
    return rte_ring_sc_dequeue(ring, (void **)array) == 0;
}

static inline unsigned put_burst(void *ring, uintptr_t *array, unsigned n)
{
    return rte_ring_sp_enqueue_burst(ring, (void **)array, n, NULL);
}

static inline unsigned get_burst(void *ring, uintptr_t *array, unsigned n)
{
    return rte_ring_sc_dequeue_burst(ring, (void **)array, n, NULL);
}

static inline unsigned put_many(void *ring, uintptr_t *array, unsigned n)
{
    return rte_ring_mp_enqueue_burst(ring, (void **)array, n, NULL);
}

static inline unsigned get_many(void *ring, uintptr_t *array, unsigned n)
{
    return rte_ring_mc_dequeue_burst(ring, (void **)array, n, NULL);
}

POINTER_LOOPS(one, 1, put_one, get_one)
POINTER_PLAIN(one)
POINTER_LOOPS(burst, 32, put_burst, get_burst)
POINTER_PLAIN(burst)
POINTER_LOOPS(many, 32, put_many, get_many)
POINTER_PLAIN(many)

const struct pointer_way rte_one = {.name = "rte_ring, one by one",
                                    .n_bytes = n_bytes,
                                    .init = init_one,
                                    .send = one_send,
                                    .receive = one_receive};
const struct pointer_way rte_burst = {.name = "rte_ring, bursts of 32",
                                      .n_bytes = n_bytes,
                                      .init = init_one,
                                      .send = burst_send,
                                      .receive = burst_receive};
const struct pointer_way rte_many_burst = {.name = "rte_ring, many, bursts of 32",
                                           .n_bytes = n_bytes,
                                           .init = init_many,
                                           .send = many_send,
                                           .receive = many_receive};

#else

#define ABSENT "libdpdk-dev is not installed, or was not when this was set up"
const struct pointer_way rte_one = {.name = "rte_ring, one by one", .absent = ABSENT};
const struct pointer_way rte_burst = {.name = "rte_ring, bursts of 32", .absent = ABSENT};
const struct pointer_way rte_many_burst = {.name = "rte_ring, many, bursts of 32",
                                           .absent = ABSENT};

#endif
