/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runner: carries out a schedule of <quire/tensor_schedule.h>.
 *
 *     program                             thread
 *     apply(step): now = step             takes the oldest order whose buffer is not yet touched
 *       drops at once         ---queue--> again, a piece of it at a time; evictions and prefetches
 *       queues the rest
 *
 * Drops are the program's thread's own, because what it writes next must not be lost; the others
 * change no contents, so it does not matter when they are done, and if nobody waits for them any
 * more they are left out. Each order is in the queue at most once: so it never overflows.
 *
 * Locks: `lock` guards what is marked L. The thread holds it while it looks, not while it moves.
 */
#include <quire/tensor_schedule.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PIECE ((size_t)1 << 21) /* bytes between two looks at the time */

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

struct quire_tensor_runner {
    const struct quire_tensor_schedule *schedule;
    const struct quire_tensor_extent *extents;
    size_t *of_step; /* the first order of each step */
    size_t page_bytes;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    uint64_t now;                           /* L: steps since the beginning */
    uint32_t step;                          /* L: which of the schedule's that is */
    size_t *queue;                          /* L: orders, a ring of n_orders */
    uint64_t taken, given;                  /* L: in the queue are those from taken up to given */
    uint64_t *times;                        /* L: of each order: when it was given last */
    bool *is_queued;                        /* L: of each order */
    bool ends;                              /* L */
    struct quire_tensor_runner_stats stats; /* L */
};

/* The pages that lie wholly in a piece of memory; their bytes. */
static size_t inner_pages(const struct quire_tensor_runner *runner, uint32_t buffer, char **start)
{
    const struct quire_tensor_extent *extent = &runner->extents[buffer];
    uintptr_t mask = runner->page_bytes - 1, from = (uintptr_t)extent->address;
    uintptr_t end = (from + extent->n_bytes) & ~mask;
    from = (from + mask) & ~mask;
    *start = (char *)from;
    return end > from ? end - from : 0;
}

/* L. Whether the order is still in time. */
static bool is_in_time(const struct quire_tensor_runner *runner, size_t order)
{
    uint32_t until = runner->schedule->orders[order].until;
    return !runner->ends && (until == 0 || runner->now < runner->times[order] + until);
}

/* L, let go of meanwhile. */
static void carry_out(struct quire_tensor_runner *runner, size_t order)
{
    const struct quire_tensor_order *what = &runner->schedule->orders[order];
    bool evicts = what->move == QUIRE_TENSOR_EVICT;
    uint64_t *done = evicts ? &runner->stats.evicted_bytes : &runner->stats.prefetched_bytes;
    char *at;
    size_t left = inner_pages(runner, what->buffer, &at);
    while (left > 0 && is_in_time(runner, order)) {
        size_t n = left < PIECE ? left : PIECE;
        pthread_mutex_unlock(&runner->lock);
        int error = madvise(at, n, evicts ? MADV_PAGEOUT : MADV_WILLNEED);
        pthread_mutex_lock(&runner->lock);
        runner->stats.failed += error != 0;
        *done += n;
        at += n;
        left -= n;
    }
    runner->stats.late_bytes += left;
}

static void *work(void *context)
{
    struct quire_tensor_runner *runner = context;
    pthread_mutex_lock(&runner->lock);
    while (!runner->ends) {
        if (runner->taken == runner->given) {
            pthread_cond_wait(&runner->wake, &runner->lock);
            continue;
        }
        size_t order = runner->queue[runner->taken++ % runner->schedule->n_orders];
        runner->is_queued[order] = false;
        carry_out(runner, order);
    }
    pthread_mutex_unlock(&runner->lock);
    return NULL;
}

/* L. */
static void drop(struct quire_tensor_runner *runner, uint32_t buffer)
{
    char *start;
    size_t n_bytes = inner_pages(runner, buffer, &start);
    if (n_bytes == 0)
        return;
    pthread_mutex_unlock(&runner->lock);
    int error = madvise(start, n_bytes, MADV_DONTNEED);
    pthread_mutex_lock(&runner->lock);
    runner->stats.failed += error != 0;
    runner->stats.dropped_bytes += error == 0 ? n_bytes : 0;
}

/* L. */
static void give(struct quire_tensor_runner *runner, size_t order)
{
    const struct quire_tensor_order *what = &runner->schedule->orders[order];
    if (what->move == QUIRE_TENSOR_DROP) {
        drop(runner, what->buffer);
        return;
    }
    runner->times[order] = runner->now;
    if (runner->is_queued[order])
        return;
    runner->is_queued[order] = true;
    runner->queue[runner->given++ % runner->schedule->n_orders] = order;
}

int quire_tensor_schedule_apply(struct quire_tensor_runner *runner, uint32_t step)
{
    uint32_t n_steps = runner->schedule->n_steps;
    if (step >= n_steps)
        return -EINVAL;
    pthread_mutex_lock(&runner->lock);
    uint32_t ahead = (step + n_steps - runner->step) % n_steps;
    runner->now += ahead == 0 ? n_steps : ahead;
    runner->step = step;
    for (size_t i = runner->of_step[step]; i < runner->of_step[step + 1]; i++)
        give(runner, i);
    if (runner->given > runner->taken)
        pthread_cond_signal(&runner->wake);
    pthread_mutex_unlock(&runner->lock);
    return 0;
}

/* With all signals blocked: they are the program's threads' to handle. */
static int start(struct quire_tensor_runner *runner)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&runner->thread, NULL, work, runner);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -error;
}

static void free_runner(struct quire_tensor_runner *runner)
{
    pthread_mutex_destroy(&runner->lock);
    pthread_cond_destroy(&runner->wake);
    free(runner->of_step);
    free(runner->queue);
    free(runner->times);
    free(runner->is_queued);
    free(runner);
}

int quire_tensor_runner_open(const struct quire_tensor_schedule *schedule,
                             const struct quire_tensor_extent *extents,
                             struct quire_tensor_runner **result)
{
    struct quire_tensor_runner *runner = calloc(1, sizeof *runner);
    *result = NULL;
    if (runner == NULL)
        return -ENOMEM;
    runner->schedule = schedule;
    runner->extents = extents;
    runner->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    runner->step = schedule->n_steps - 1; /* so that the first one is the next */
    pthread_mutex_init(&runner->lock, NULL);
    pthread_cond_init(&runner->wake, NULL);
    runner->of_step = calloc((size_t)schedule->n_steps + 1, sizeof *runner->of_step);
    runner->queue = calloc(schedule->n_orders + 1, sizeof *runner->queue);
    runner->times = calloc(schedule->n_orders + 1, sizeof *runner->times);
    runner->is_queued = calloc(schedule->n_orders + 1, sizeof *runner->is_queued);
    int error = runner->of_step && runner->queue && runner->times && runner->is_queued ? 0
                                                                                       : -ENOMEM;
    if (error == 0) {
        for (size_t i = 0; i < schedule->n_orders; i++)
            runner->of_step[schedule->orders[i].step + 1] = i + 1;
        for (uint32_t step = 0; step < schedule->n_steps; step++) /* steps without any */
            if (runner->of_step[step + 1] < runner->of_step[step])
                runner->of_step[step + 1] = runner->of_step[step];
        error = start(runner);
    }
    if (error != 0) {
        free_runner(runner);
        return error;
    }
    *result = runner;
    return 0;
}

void quire_tensor_runner_close(struct quire_tensor_runner *runner)
{
    if (runner == NULL)
        return;
    pthread_mutex_lock(&runner->lock);
    runner->ends = true;
    pthread_cond_signal(&runner->wake);
    pthread_mutex_unlock(&runner->lock);
    pthread_join(runner->thread, NULL);
    free_runner(runner);
}

void quire_tensor_runner_stats(struct quire_tensor_runner *runner,
                               struct quire_tensor_runner_stats *stats)
{
    pthread_mutex_lock(&runner->lock);
    *stats = runner->stats;
    pthread_mutex_unlock(&runner->lock);
}
