/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quire/tensor_schedule.h: a computation whose steps are known in advance, in less RAM than its
 * buffers take: what leaves when, and when it comes back.
 *
 *     work: which step touches which buffer --quire_tensor_schedule_make()--> orders
 *                                                                               |
 *     program:  step 0 | step 1 | step 2 ...   --quire_tensor_schedule_apply()--'
 *                  |        |        |           evict, prefetch: another thread, meanwhile
 *                  '--------'--------'--------   drop: at once
 *
 * A pager reacts: it learns from faults, and guesses who is needed last. A network is no surprise:
 * the buffer whose next touch is furthest away leaves (which is optimal), it leaves as soon as its
 * last touch is over, what is dead is dropped and never written anywhere, and what is needed comes
 * back before somebody waits for it.
 *
 * Orders are carried out by madvise(): under `quire run`, Quire's pager does them; without it the
 * kernel, which needs a swap device. They are hints: what was not done, or too late, is done when
 * it is touched. The program's results are the same whatever is done of it.
 *
 * Thread safety: work and schedule are plain memory. One thread at a time uses a runner. Nothing
 * prints. No state is global.
 *
 * Source: L. Belady, "A Study of Replacement Algorithms for Virtual-Storage Computer", 1966; for
 * networks M. Rhu et al., "vDNN", MICRO 2016, which evicts and prefetches layer by layer.
 */
#ifndef QUIRE_TENSOR_SCHEDULE_H
#define QUIRE_TENSOR_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define QUIRE_TENSOR_MAX_STEPS 16777216u /* 2^24 */

struct quire_tensor_touch {
    uint32_t step, buffer;
    bool overwrites; /* what was in the buffer before is not read in this step, nor later. Of
                        several touches of a buffer in a step the first one says */
};

struct quire_tensor_work {
    uint32_t n_steps;                         /* 1 to QUIRE_TENSOR_MAX_STEPS */
    uint32_t n_buffers;                       /* up to 2^24 */
    const uint64_t *sizes;                    /* of each buffer, bytes; their sum is below 2^62 */
    const struct quire_tensor_touch *touches; /* in the order of steps */
    size_t n_touches;
    const bool *kept; /* of each buffer: read after the last step; NULL: none. Not if it repeats */
    bool repeats;     /* after the last step comes the first one again, as in training */
};

enum quire_tensor_move {
    QUIRE_TENSOR_EVICT,    /* it is not touched for a while: to the store */
    QUIRE_TENSOR_PREFETCH, /* it is touched soon */
    QUIRE_TENSOR_DROP      /* what is in it is not read any more */
};

struct quire_tensor_order {
    uint32_t step; /* given before this step begins */
    uint32_t buffer;
    uint32_t until; /* after so many steps, this one counted, it is touched again; 0: never */
    enum quire_tensor_move move;
};

struct quire_tensor_schedule {
    struct quire_tensor_order *orders; /* in the order of steps; of one step drops, evictions, then
                                          prefetches, the soonest needed first */
    size_t n_orders;
    uint32_t n_steps;
    bool repeats;
    uint64_t peak_bytes;  /* most that is in RAM at one step, if all orders are done in time */
    uint64_t floor_bytes; /* most that one step touches: no budget below that is met */
    uint64_t moved_bytes; /* fetched again in all steps together; as many are written out */
    bool fits;            /* peak_bytes is within the budget */
};

/*
 * Works out what is moved when, so that at most `budget` bytes are in RAM. Where more would be, the
 * buffer leaves whose next touch is furthest away (of buffers of one size that moves the least,
 * where the work does not repeat); then each prefetch is moved forward by up to `lead` steps (0: 4)
 * as far as there is room. If the budget is below floor_bytes, as much is done as can be. Returns 0
 * and *schedule, to be freed by quire_tensor_schedule_free(); -EINVAL: the work is out of its range
 * or its touches are out of order; -ENOMEM. Takes O(evictions * (buffers + steps) + touches).
 */
int quire_tensor_schedule_make(const struct quire_tensor_work *work, uint64_t budget, uint32_t lead,
                               struct quire_tensor_schedule *schedule)
    __attribute__((warn_unused_result));

void quire_tensor_schedule_free(struct quire_tensor_schedule *schedule);

/* Where a buffer is. Only pages that lie wholly in it are moved. */
struct quire_tensor_extent {
    void *address;
    size_t n_bytes;
};

struct quire_tensor_runner;

/*
 * Makes ready to carry out a schedule: starts a thread, with all signals blocked. `schedule` and
 * `extents` (one for each buffer; they do not overlap) have to stay as they are until
 * quire_tensor_runner_close(). Returns 0 and *runner; -ENOMEM, -EAGAIN: no thread.
 */
int quire_tensor_runner_open(const struct quire_tensor_schedule *schedule,
                             const struct quire_tensor_extent *extents,
                             struct quire_tensor_runner **runner)
    __attribute__((warn_unused_result));

/* Waits for the order in work; those that are left are forgotten. NULL: nothing happens. */
void quire_tensor_runner_close(struct quire_tensor_runner *runner);

/*
 * Step `step` is about to begin, and all steps before it have ended. Drops at once and hands on the
 * rest: what has not been begun when its buffer is touched again is left out. Steps come in their
 * order; with `repeats` the first one follows the last one. Does not wait for evictions and
 * prefetches, and allocates nothing. Returns 0; -EINVAL: no such step.
 */
int quire_tensor_schedule_apply(struct quire_tensor_runner *runner, uint32_t step);

struct quire_tensor_runner_stats {
    uint64_t evicted_bytes, prefetched_bytes, dropped_bytes; /* asked for */
    uint64_t late_bytes; /* left out, because what they are for had come */
    uint64_t failed;     /* refused by madvise(), such as a kernel that knows no MADV_PAGEOUT */
};

void quire_tensor_runner_stats(struct quire_tensor_runner *runner,
                               struct quire_tensor_runner_stats *stats);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
