/* SPDX-License-Identifier: Apache-2.0 */
/* sizing: see sizing.h. */
#include "policy/sizing.h"

/*
 * The pager keeps between a 256th and a 128th of the budget free (budget_watermarks()): a budget
 * with twice that is not in force, and one with a 128th more than is held is just reached.
 */
#define ROOM_SHARE 64
#define ROOM_LEAST_BYTES ((uint64_t)1 << 20)
#define GROWTH_SHARE 64                 /* what is held grew by more: the program is growing */
#define GIVE_UP_NS (3 * SIZING_TICK_NS) /* without getting below the budget */
#define REFILL_NS (2 * SIZING_TICK_NS)  /* after a raise: what was evicted comes back */
#define STORM_TIMES 8                   /* the target exceeded so often is not that */
#define RAISE_SHIFT 6                   /* a 64th for each time the target is exceeded, */
#define MOST_SHIFTED 4                  /* and more where raises follow each other */
#define MOST_TIMES 64u                  /* twice as much */
#define MOST_SAVED 20                   /* intervals without stall that may be made up for later */

static uint64_t grown(uint64_t now, uint64_t before)
{
    return now > before ? now - before : 0; /* who adds up may see a sum too small for a moment */
}

uint64_t sizing_busy_ns(const struct sizing_sample *from, const struct sizing_sample *to)
{
    uint64_t wall = grown(to->now_ns, from->now_ns);
    uint64_t threads = grown(to->cpu_ns, from->cpu_ns) + grown(to->stall_ns, from->stall_ns);
    return threads > wall ? threads : wall;
}

static void begin_interval(struct sizing *sizing, const struct sizing_sample *sample)
{
    sizing->began_ns = sample->now_ns;
    sizing->began_held_bytes = sample->held_bytes;
    sizing->stall_ns = sizing->busy_ns = 0;
}

void sizing_init(struct sizing *sizing, uint64_t least_bytes, uint32_t target_ppm,
                 const struct sizing_sample *first)
{
    *sizing = (struct sizing){.least_bytes = least_bytes,
                              .target_ppm = target_ppm,
                              .last = *first,
                              .step = SIZING_LEAST_STEP};
    begin_interval(sizing, first);
}

void sizing_skip(struct sizing *sizing, const struct sizing_sample *sample)
{
    sizing->last = *sample;
    sizing->over_ns = 0;
    begin_interval(sizing, sample);
}

static uint64_t room_for(uint64_t bytes)
{
    uint64_t share = bytes / ROOM_SHARE;
    return share > ROOM_LEAST_BYTES ? share : ROOM_LEAST_BYTES;
}

static uint64_t clamp(const struct sizing *sizing, const struct sizing_sample *sample,
                      uint64_t bytes)
{
    if (bytes < sizing->least_bytes)
        bytes = sizing->least_bytes;
    return bytes < sample->most_bytes ? bytes : sample->most_bytes;
}

static uint64_t keep(const struct sizing *sizing, const struct sizing_sample *sample)
{
    return clamp(sizing, sample, sample->budget_bytes);
}

static uint64_t allowed_ns(const struct sizing *sizing, uint64_t busy_ns)
{
    return busy_ns / 1000 * sizing->target_ppm / 1000;
}

/* How often what an interval allows is contained in the stall since it began. */
static uint64_t excess(const struct sizing *sizing)
{
    uint64_t busy_ns = sizing->busy_ns > SIZING_INTERVAL_NS ? sizing->busy_ns : SIZING_INTERVAL_NS;
    uint64_t allowed = allowed_ns(sizing, busy_ns);
    return allowed > 0 ? sizing->stall_ns / allowed : MOST_TIMES;
}

static void be_careful(struct sizing *sizing)
{
    sizing->step = sizing->step / 2 > SIZING_LEAST_STEP ? sizing->step / 2 : SIZING_LEAST_STEP;
}

static void be_bolder(struct sizing *sizing)
{
    sizing->step = sizing->step * 2 < SIZING_MOST_STEP ? sizing->step * 2 : SIZING_MOST_STEP;
}

/* First what was taken last; if that is not enough, in proportion, and each time by more. */
static uint64_t raise(struct sizing *sizing, const struct sizing_sample *sample)
{
    uint64_t times = excess(sizing), by = sizing->taken_bytes;
    if (by == 0 || times >= STORM_TIMES)
        by += (sample->budget_bytes >> (RAISE_SHIFT - sizing->n_raised)) *
              (times < MOST_TIMES ? times : MOST_TIMES);
    if (by > sample->budget_bytes)
        by = sample->budget_bytes;
    if (sizing->n_raised < MOST_SHIFTED)
        sizing->n_raised++;
    if (sizing->taken_bytes > 0)
        be_careful(sizing);
    sizing->taken_bytes = 0;
    sizing->raised_ns = sample->now_ns;
    begin_interval(sizing, sample);
    return clamp(sizing, sample, sample->budget_bytes + by);
}

static uint64_t lower(struct sizing *sizing, const struct sizing_sample *sample)
{
    uint64_t base = sample->held_bytes + room_for(sample->held_bytes) / 2;
    if (base > sample->budget_bytes)
        base = sample->budget_bytes;
    sizing->n_raised = 0;
    if (base < sample->budget_bytes / 2) { /* nobody uses that, and what is growing has time to */
        begin_interval(sizing, sample);
        sizing->taken_bytes = 0;
        return clamp(sizing, sample, sample->budget_bytes / 2);
    }
    if (sizing->taken_bytes > 0) /* it did not cost more than is allowed, or it was given back */
        be_bolder(sizing);
    uint64_t by = (base >> SIZING_STEP_SHIFT) * sizing->step;
    uint64_t budget = clamp(sizing, sample, base > by ? base - by : 0);
    begin_interval(sizing, sample);
    sizing->taken_bytes = grown(base, budget);
    return budget;
}

/* More is held than the budget allows. Not for long: then no more can be given up. */
static uint64_t wait_for_it(struct sizing *sizing, const struct sizing_sample *sample)
{
    if (sizing->over_ns == 0 || sample->held_bytes < sizing->least_held_bytes) {
        sizing->over_ns = sample->now_ns;
        sizing->least_held_bytes = sample->held_bytes;
    }
    if (sample->now_ns - sizing->over_ns < GIVE_UP_NS)
        return keep(sizing, sample);
    sizing->over_ns = sizing->taken_bytes = 0;
    sizing->raised_ns = sample->now_ns;
    if (sizing->owed_ns < 0)
        sizing->owed_ns = 0;
    sizing->owed_ns += (int64_t)allowed_ns(sizing, MOST_SAVED * SIZING_INTERVAL_NS);
    be_careful(sizing);
    begin_interval(sizing, sample);
    return clamp(sizing, sample, sample->held_bytes + 2 * room_for(sample->held_bytes));
}

static void account(struct sizing *sizing, const struct sizing_sample *sample)
{
    uint64_t stall_ns = grown(sample->stall_ns, sizing->last.stall_ns);
    uint64_t busy_ns = sizing_busy_ns(&sizing->last, sample);
    int64_t most_saved = -(int64_t)allowed_ns(sizing, MOST_SAVED * SIZING_INTERVAL_NS);
    sizing->stall_ns += stall_ns;
    sizing->busy_ns += busy_ns;
    sizing->owed_ns += (int64_t)stall_ns - (int64_t)allowed_ns(sizing, busy_ns);
    if (sizing->owed_ns < most_saved)
        sizing->owed_ns = most_saved;
    sizing->last = *sample;
}

/* Some stall is due to what was evicted coming back into the room that was given. */
static bool is_refilling(const struct sizing *sizing, const struct sizing_sample *sample)
{
    return sizing->raised_ns > 0 && sample->now_ns - sizing->raised_ns < REFILL_NS &&
           excess(sizing) < STORM_TIMES;
}

uint64_t sizing_update(struct sizing *sizing, const struct sizing_sample *sample)
{
    bool fills = sample->held_bytes > sizing->last.held_bytes;
    account(sizing, sample);
    bool has_room = sample->held_bytes + room_for(sample->budget_bytes) < sample->budget_bytes;
    if (!(has_room && fills) && excess(sizing) >= 1 && !is_refilling(sizing, sample))
        return raise(sizing, sample);
    if (sample->held_bytes > sample->budget_bytes)
        return wait_for_it(sizing, sample);
    sizing->over_ns = 0;
    if (sample->held_bytes < sizing->began_held_bytes)
        sizing->began_held_bytes = sample->held_bytes; /* what was never touched counts no more */
    if (sample->now_ns - sizing->began_ns < SIZING_INTERVAL_NS)
        return keep(sizing, sample);
    bool grows = sample->held_bytes >
                 sizing->began_held_bytes + sizing->began_held_bytes / GROWTH_SHARE;
    if (!(has_room && grows) && sizing->owed_ns <= 0)
        return lower(sizing, sample);
    begin_interval(sizing, sample);
    return keep(sizing, sample);
}
