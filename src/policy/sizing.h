/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sizing: finds the smallest budget that a program's progress tolerates.
 *
 *          nothing owed, and an interval has gone by: less by a step
 *         .---------------------------------------------------------.
 *         v                                                         |
 *     budget --- more stall than is owed to an interval: what was --'
 *                taken last is given back at once, then more, as far as
 *                the target is exceeded; the next steps are smaller
 *
 * What a step costs is known only afterwards: if all that it takes is in use, all of it comes back
 * at once, page by page. So the first is small, each that was cheap enough makes the next twice as
 * large, and each that was not half as large.
 *
 * Each stall is owed to the target, and paid off by the time that goes by: nothing more is taken
 * while something is owed. So on the average the stall stays below the target, however much a step
 * cost, and steps follow each other as fast as that allows.
 *
 * Stall is the share of time in which threads wait for pages that more RAM would have spared them:
 *
 *     waited / max(wall time, waited + time on a processor)
 *
 * both summed over all threads. Of one busy thread that is the share of the time that passes; of
 * several, the share of their time; of a service that is mostly idle, again of the time that
 * passes. The kernel's pressure stall information counts alike: of tasks that wait, weighed by the
 * processors that are not idle.
 *
 * Source: Senpai (J. Weiner, 2019), which does this to a cgroup by memory.high and memory.pressure:
 * a target of stall time for each interval, proportional steps down, steps up at once when the
 * target is exceeded. Different here: steps adapt, stall is paid off, the target is a share of the
 * time, and a budget that is not in force yet, or leaves room, tells nothing.
 *
 * A pure function of the samples. Not thread-safe.
 */
#ifndef QUIRE_POLICY_SIZING_H
#define QUIRE_POLICY_SIZING_H

#include <stdbool.h>
#include <stdint.h>

#define SIZING_TICK_NS 100000000ull             /* between samples, about */
#define SIZING_INTERVAL_NS (5 * SIZING_TICK_NS) /* between steps down, at least */
#define SIZING_STEP_SHIFT 8                     /* steps are in parts of the budget of 1/256 */
#define SIZING_LEAST_STEP 2u                    /* 0.8 %; and the first: what it costs is unknown */
#define SIZING_MOST_STEP 24u                    /* 9.4 % */
#define SIZING_PPM 1000000ull

struct sizing_sample { /* of the whole run; counters only grow */
    uint64_t now_ns;
    uint64_t stall_ns; /* threads' waiting */
    uint64_t cpu_ns;   /* time on processors */
    uint64_t held_bytes;
    uint64_t budget_bytes; /* aimed at: as it was returned last, unless others have changed it */
    uint64_t most_bytes;   /* it may become that, by now */
};

struct sizing {
    uint64_t least_bytes;
    uint32_t target_ppm; /* of stall */

    struct sizing_sample last;
    uint64_t stall_ns, busy_ns; /* since the interval began; busy is what stall is a share of */
    int64_t owed_ns;            /* of stall */
    uint64_t began_ns;          /* the interval */
    uint64_t began_held_bytes;  /* what was held then */
    uint64_t taken_bytes;       /* by the last step down, if it has not been given back */
    uint64_t raised_ns;         /* when the budget was raised last */
    uint32_t n_raised;          /* how often since it was lowered; a few */
    uint64_t over_ns,
        least_held_bytes; /* since when more is held than the budget; the least since */
    uint32_t step;        /* in 1/256 */
};

void sizing_init(struct sizing *sizing, uint64_t least_bytes, uint32_t target_ppm,
                 const struct sizing_sample *first);

/* The budget from now on. */
uint64_t sizing_update(struct sizing *sizing, const struct sizing_sample *sample);

/* What the stall between two samples is a share of; see above. */
uint64_t sizing_busy_ns(const struct sizing_sample *from, const struct sizing_sample *to);

/* Nothing that happened since the last sample counts: the program was stopped, or made to page. */
void sizing_skip(struct sizing *sizing, const struct sizing_sample *sample);

#endif
