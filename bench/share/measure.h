/* SPDX-License-Identifier: Apache-2.0 */
/* measure: one measurement of one way, between two processes on two processors where there are. */
#ifndef QUIRE_BENCH_MEASURE_H
#define QUIRE_BENCH_MEASURE_H

#include "way.h"

enum measurement {
    THROUGHPUT, /* as many messages as go in a slice of time */
    POLLED,     /* latency: one each 5 us, the receiver polls */
    BUSY,       /* latency: the same, the receiver blocks */
    ASLEEP,     /* latency: one each 200 us, the receiver blocks */
    IDLE,       /* nothing is sent for a while */
    N_MEASUREMENTS
};

#define MOST_LATENCIES 4000u

struct result { /* lies in memory that both processes share */
    const char *why_not;
    uint64_t n_messages, time_ns;
    uint64_t cpu_ns[2]; /* by side */
    uint32_t latency_ns[MOST_LATENCIES];
    uint32_t n_latencies;
    bool garbled, failed;
};

/* Where members run: the first two processors that we may have, or the one. */
void measure_pin(enum side side);
unsigned measure_n_processors(void);
/* From now on nothing else runs where members do, unless it has such a priority, too. False:
 * root's. */
bool measure_take_real_time(void);

/* `ends`: only the first and last word of each message are written and checked, not all.
 * False: result->why_not says whether this can't be (absent, too large), or result->failed is set:
 * it ended in an error, hung, or a message did not come as it was sent. */
bool measure(const struct way *way, size_t n_bytes, enum measurement what, bool ends,
             struct result *result);

/* What both do when nobody waits for the other: the one fills messages, the other checks some, each
 * in memory of its own. n_messages is that of the slower. */
bool measure_memory(size_t n_bytes, struct result *result);

#endif
