/* SPDX-License-Identifier: Apache-2.0 */
/*
 * work: the limits of a call.
 *
 * `stopped` is set once and never cleared; who sees it ends. Relaxed: it orders nothing, and
 * threads are joined before what they made is read.
 */
#include "tensor/work.h"
#include <quire/tensor.h>

#include <time.h>

uint64_t tensor_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

bool tensor_is_late(const struct tensor_limits *limits, uint64_t more_ns)
{
    return limits->deadline_ns != UINT64_MAX && tensor_now_ns() + more_ns >= limits->deadline_ns;
}

bool tensor_has_time(struct tensor_limits *limits)
{
    if (__atomic_load_n(&limits->stopped, __ATOMIC_RELAXED) != 0)
        return false;
    if (!tensor_is_late(limits, limits->pass_ns))
        return true;
    __atomic_store_n(&limits->stopped, QUIRE_TENSOR_STOP_TIME, __ATOMIC_RELAXED);
    return false;
}

bool tensor_work_look(struct tensor_work *work)
{
    struct tensor_limits *limits = work->limits;
    int reason = 0;

    work->next_look = work->n_steps + WORK_SLICE;
    if (tensor_work_is_stopped(work) ||
        (work->final_lane != NULL &&
         __atomic_load_n(work->final_lane, __ATOMIC_RELAXED) < work->lane))
        return true;
    if (limits->cancel != NULL && __atomic_load_n(limits->cancel, __ATOMIC_RELAXED) != 0)
        reason = QUIRE_TENSOR_STOP_CANCEL;
    else if (work->is_caller && limits->poll != NULL && limits->poll(limits->poll_context) != 0)
        reason = QUIRE_TENSOR_STOP_CANCEL;
    else if (limits->deadline_ns != UINT64_MAX && tensor_now_ns() >= limits->deadline_ns)
        reason = QUIRE_TENSOR_STOP_TIME;
    if (reason == 0)
        return false;
    __atomic_store_n(&limits->stopped, reason, __ATOMIC_RELAXED);
    return true;
}
