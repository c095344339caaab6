/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pointers: rings that carry pointers from thread to thread: Quire's with frames of 8 bytes,
 * Concurrency Kit's and DPDK's.
 *
 * A way's loops are made by POINTER_LOOPS, so that what a peer inlines is inlined here.
 */
#ifndef QUIRE_BENCH_POINTERS_H
#define QUIRE_BENCH_POINTERS_H

#include "base/relax.h"
#include "base/sys.h"
#include "measure.h"

#define POINTER_FRAMES 4096u
#ifndef POINTER_SLICE_NS
#define POINTER_SLICE_NS 50000000u
#endif
#define POINTER_PACE_NS 2000u
#define POINTER_END UINTPTR_MAX

struct pointer_run {
    void *ring;
    bool timed;            /* one each 2 us, with the time as its value; else as many as go */
    struct result *result; /* of the receiver */
};

struct pointer_way {
    const char *name;
    const char *absent; /* why it is not in this build; else NULL */
    bool is_quire;
    size_t (*n_bytes)(void); /* of its memory */
    bool (*init)(void *memory);
    void (*send)(struct pointer_run *run);
    void (*receive)(struct pointer_run *run);
};

extern const struct pointer_way *const pointer_ways[];
extern const unsigned n_pointer_ways;
extern const struct pointer_way rte_one, rte_burst, rte_many_burst;

/* False: it failed, or a pointer was lost. */
bool pointers_measure(const struct pointer_way *way, bool timed, struct result *result);

/*
 * NAME_send and NAME_receive. put(ring, array, n) and get(ring, array, n) move up to n pointers and
 * return how many.
 */
#define POINTER_LOOPS(name, burst, put, get)                                              \
    static void name##_put_all(void *ring, uintptr_t *array, unsigned n)                  \
    {                                                                                     \
        for (unsigned done = 0; done < n;) {                                              \
            const unsigned now = put(ring, array + done, n - done);                       \
            done += now;                                                                  \
            if (now == 0)                                                                 \
                relax();                                                                  \
        }                                                                                 \
    }                                                                                     \
    static void name##_send_with(struct pointer_run *run, void *ring)                     \
    {                                                                                     \
        uintptr_t array[burst], end = POINTER_END;                                        \
        uint64_t now = sys_now_ns(), number = 0;                                          \
        const uint64_t until = now + POINTER_SLICE_NS;                                    \
        for (unsigned turn = 0; turn % 64 != 0 || sys_now_ns() < until; turn++) {         \
            for (unsigned i = 0; i < (burst); i++)                                        \
                array[i] = ++number;                                                      \
            if (run->timed) {                                                             \
                for (now += POINTER_PACE_NS; sys_now_ns() < now;)                         \
                    continue;                                                             \
                array[0] = now = sys_now_ns();                                            \
            }                                                                             \
            name##_put_all(ring, array, run->timed ? 1 : (burst));                        \
        }                                                                                 \
        name##_put_all(ring, &end, 1);                                                    \
    }                                                                                     \
    static void name##_receive_with(struct pointer_run *run, void *ring)                  \
    {                                                                                     \
        struct result *result = run->result;                                              \
        uintptr_t array[burst];                                                           \
        uint64_t number = 0, start = 0;                                                   \
        for (;;) {                                                                        \
            const unsigned n = get(ring, array, burst);                                   \
            if (n == 0) {                                                                 \
                relax();                                                                  \
                continue;                                                                 \
            }                                                                             \
            if (start == 0)                                                               \
                start = sys_now_ns();                                                     \
            if (array[n - 1] == POINTER_END && (n == 1 || run->timed))                    \
                break;                                                                    \
            if (run->timed) {                                                             \
                if (result->n_latencies < MOST_LATENCIES)                                 \
                    result->latency_ns[result->n_latencies++] = (uint32_t)(sys_now_ns() - \
                                                                           array[0]);     \
                continue;                                                                 \
            }                                                                             \
            const bool is_last = array[n - 1] == POINTER_END;                             \
            for (unsigned i = 0; i < n - is_last; i++)                                    \
                result->garbled |= array[i] != ++number;                                  \
            if (is_last)                                                                  \
                break;                                                                    \
        }                                                                                 \
        result->n_messages = number;                                                      \
        result->time_ns = sys_now_ns() - start;                                           \
    }

/* Where threads use the ring as it is. */
#define POINTER_PLAIN(name)                             \
    static void name##_send(struct pointer_run *run)    \
    {                                                   \
        name##_send_with(run, run->ring);               \
    }                                                   \
    static void name##_receive(struct pointer_run *run) \
    {                                                   \
        name##_receive_with(run, run->ring);            \
    }

#endif
