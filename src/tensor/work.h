/* SPDX-License-Identifier: Apache-2.0 */
/*
 * work: how much has been done, and when to stop.
 *
 * Searches count steps: a step is about one look at one buffer, some ten nanoseconds. The clock and
 * the caller are asked every WORK_SLICE steps. What a search decides must depend on steps only.
 */
#ifndef QUIRE_TENSOR_WORK_H
#define QUIRE_TENSOR_WORK_H

#include <stdbool.h>
#include <stdint.h>

#define WORK_SLICE 8192u

/* The first placement, and the check of any, beside making the instance, which takes `ns`. */
#define TENSOR_FIRST_NS(ns) ((ns)*3 / 4)
#define TENSOR_CHECK_NS(ns) ((ns)*5 / 4)

/* Making the instance, the first placement and its check, beside the quick placement (quick.h). */
#define TENSOR_ALL_NS(quick_ns) ((quick_ns)*6)

struct tensor_solution; /* portfolio.h */

/* What all threads of a call share. */
struct tensor_limits {
    uint64_t deadline_ns;       /* of CLOCK_MONOTONIC; UINT64_MAX: none */
    const int *cancel;          /* the caller's; or NULL */
    int stopped;                /* atomic: an enum quire_tensor_stop, 0 while it goes on */
    int (*poll)(void *context); /* in the caller's thread: not 0 stops; or NULL */
    void *poll_context;
    uint64_t pass_ns; /* what a look at all buffers takes on this machine, about; 0: no time */
    const struct tensor_solution *best; /* what there is, for the caller's thread; or NULL */
};

/* A thread's own. */
struct tensor_work {
    struct tensor_limits *limits;
    uint64_t n_steps;
    uint64_t quota;     /* n_steps at which this piece of work is over */
    uint64_t next_look; /* n_steps at which the clock is asked */
    bool is_caller;     /* this is the caller's thread */
    /* Lanes: those after the first that gave the final answer stop. NULL: there are none. */
    const uint32_t *final_lane; /* atomic */
    uint32_t lane;
};

uint64_t tensor_now_ns(void);

/* Whether what takes `more_ns` would end behind the deadline. */
bool tensor_is_late(const struct tensor_limits *limits, uint64_t more_ns);

/* Whether there is time for a pass over all items, which does not ask the clock; if not, it is over
 * for all threads. */
bool tensor_has_time(struct tensor_limits *limits);

/* Asks the clock and the caller. Whether to stop. */
bool tensor_work_look(struct tensor_work *work);

/* Counts. Whether to stop: the quota is used up, or a limit is met. */
static inline bool tensor_work_spend(struct tensor_work *work, uint64_t n_steps)
{
    work->n_steps += n_steps;
    if (__builtin_expect(work->n_steps >= work->next_look, 0) && tensor_work_look(work))
        return true;
    return work->n_steps >= work->quota;
}

/* Whether a limit is met, the quota apart. */
static inline bool tensor_work_is_stopped(const struct tensor_work *work)
{
    return __atomic_load_n(&work->limits->stopped, __ATOMIC_RELAXED) != 0;
}

#endif
