/* SPDX-License-Identifier: Apache-2.0 */
/*
 * autosize: see autosize.h.
 *
 * What a thread waits for a page is counted by its pager from the moment when the fault was
 * noticed; that the thread was put to sleep and woken comes on top, and is taken for WAKE_NS a
 * fault.
 *
 * A smaller budget is not set before it is reached: below what the run holds every fault would have
 * to wait. The processes are asked to give back instead, in the background, and the budget follows
 * what they hold downwards.
 *
 *   aim (policy/sizing.h) . . . . .        budget == max(aim, what is held and a little more),
 *   budget  ----.                          and never more than it was, until the aim rises
 *                '----.____
 *   aim     . . . . . . . .
 *
 * While the run is parked its budget stays as it is.
 */
#include "cli/autosize.h"

#include "base/sys.h"
#include "policy/sizing.h"

#include <string.h>
#include <time.h>

#define WAKE_NS 8000u
#define FIRST_RECORD_MS 500u
#define ROOM_SHARE 128 /* of the budget: the pagers stop to evict when so much is free */
#define MOST_ASKED_PAGES 2048
#define QUIET_TICKS 10 /* in which nothing happened: then the keeper rests */

static struct {
    struct sizing sizing;
    uint64_t start_ns, cpu_ns;
    uint64_t aim_bytes, set_bytes; /* the budget that is wanted, and what it was set to last */
    struct {                       /* what each process had used, when last looked at */
        uint32_t pid;
        uint64_t cpu_ns;
    } seen[CONTROL_SLOTS];
    unsigned n_quiet;     /* ticks in a row, in which nothing happened */
    uint64_t recorded_ns; /* the last record */
    struct sizing_sample recorded;
} work;

bool autosize_is_wanted(const struct control *control)
{
    return control->options.max_stall_ppm > 0;
}

static uint64_t cpu_of(uint32_t pid)
{
    struct timespec time;
    clockid_t clock;

    if (clock_getcpuclockid((pid_t)pid, &clock) != 0 || clock_gettime(clock, &time) != 0)
        return 0;
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Adds what the processes have used since the last look. */
static void look_at_processors(const struct control *control)
{
    for (unsigned i = 0; i < control->slots_end; i++) {
        uint32_t pid = atomic_load(&control->slot[i].pid);
        if (pid == 0 || pid > INT32_MAX)
            continue;
        uint64_t now = cpu_of(pid), before = work.seen[i].pid == pid ? work.seen[i].cpu_ns : 0;
        if (now > before)
            work.cpu_ns += now - before;
        work.seen[i].pid = pid;
        work.seen[i].cpu_ns = now > before ? now : before;
    }
}

static uint64_t stall_of(const struct control_stats *stats)
{
    uint64_t n_faults = 0;

    for (int kind = 0; kind < CONTROL_N_FAULTS; kind++)
        if (kind != CONTROL_FAULT_FIRST_TOUCH)
            n_faults += atomic_load_explicit(&stats->faults[kind], memory_order_relaxed);
    return atomic_load_explicit(&stats->stall_ns, memory_order_relaxed) + n_faults * WAKE_NS;
}

static uint64_t stall_in_all(const struct control *control)
{
    uint64_t stall_ns = stall_of(&control->ended);

    for (unsigned i = 0; i < control->slots_end; i++)
        stall_ns += stall_of(&control->slot[i].stats);
    return stall_ns;
}

static struct sizing_sample take_sample(const struct control *control)
{
    int64_t held = control_held(control);
    struct sizing_sample sample = {
        .now_ns = sys_now_ns() - work.start_ns,
        .stall_ns = stall_in_all(control),
        .held_bytes = held > 0 ? (uint64_t)held << SYS_PAGE_SHIFT : 0,
        .budget_bytes = work.aim_bytes,
        .most_bytes = atomic_load(&control->sizing.most_bytes),
    };

    look_at_processors(control);
    sample.cpu_ns = work.cpu_ns;
    return sample;
}

static void copy(struct control_size *to, const struct control_size *from)
{
    atomic_store(&to->at_ms, atomic_load(&from->at_ms));
    atomic_store(&to->stall_ppm, atomic_load(&from->stall_ppm));
    atomic_store(&to->budget_bytes, atomic_load(&from->budget_bytes));
    atomic_store(&to->held_bytes, atomic_load(&from->held_bytes));
}

/* The record is full: every second one goes, and from now on half as many come. */
static void thin_out(struct control_sizing *record)
{
    for (unsigned i = 0; i < CONTROL_N_SIZES / 2; i++) {
        struct control_size *first = &record->size[2 * i], *second = first + 1;
        uint32_t stall = (atomic_load(&first->stall_ppm) + atomic_load(&second->stall_ppm)) / 2;
        copy(&record->size[i], second);
        atomic_store(&record->size[i].stall_ppm, stall);
    }
    atomic_store(&record->n_sizes, CONTROL_N_SIZES / 2);
    atomic_store(&record->interval_ms, 2 * atomic_load(&record->interval_ms));
}

static void record(struct control *control, const struct sizing_sample *sample)
{
    struct control_sizing *to = &control->sizing;
    uint64_t due_ns = work.recorded_ns + (uint64_t)atomic_load(&to->interval_ms) * 1000000u;

    if (sample->now_ns < due_ns || atomic_load(&control->launcher_ended)) /* who would read it? */
        return;
    uint64_t stall = sample->stall_ns > work.recorded.stall_ns
                         ? sample->stall_ns - work.recorded.stall_ns
                         : 0;
    uint64_t busy = sizing_busy_ns(&work.recorded, sample);
    unsigned n = atomic_load(&to->n_sizes);
    struct control_size *size = &to->size[n];
    atomic_store(&size->at_ms, (uint32_t)(sample->now_ns / 1000000u));
    atomic_store(&size->stall_ppm, busy > 0 ? (uint32_t)(stall * SIZING_PPM / busy) : 0);
    atomic_store(&size->budget_bytes, atomic_load(&control->budget_bytes));
    atomic_store(&size->held_bytes, sample->held_bytes);
    atomic_store(&to->n_sizes, n + 1);
    if (n + 1 == CONTROL_N_SIZES)
        thin_out(to);
    work.recorded = *sample;
    work.recorded_ns = sample->now_ns;
}

static void note_extremes(struct control_sizing *to, uint64_t held_bytes)
{
    uint64_t least = atomic_load(&to->least_seen_bytes);

    if (least == 0 || held_bytes < least)
        atomic_store(&to->least_seen_bytes, held_bytes);
    if (held_bytes > atomic_load(&to->most_seen_bytes))
        atomic_store(&to->most_seen_bytes, held_bytes);
    atomic_store(&to->last_seen_bytes, held_bytes);
}

static int64_t evictable(const struct control_slot *slot)
{
    return slot->held[CONTROL_RESIDENT] + slot->held[CONTROL_STAGED] + slot->held[CONTROL_POOL];
}

/* Each process is asked for its part of so many pages. */
static void ask_for(struct control *control, int64_t n_pages)
{
    int64_t sum = 0;

    for (unsigned i = 0; i < control->slots_end; i++)
        if (atomic_load(&control->slot[i].serves) && evictable(&control->slot[i]) > 0)
            sum += evictable(&control->slot[i]);
    for (unsigned i = 0; i < control->slots_end && sum > 0; i++) {
        struct control_slot *slot = &control->slot[i];
        int64_t part = evictable(slot) > 0 ? n_pages * evictable(slot) / sum : 0;
        if (atomic_load(&slot->serves) && part > 0)
            control_ask(slot, (uint32_t)(part < MOST_ASKED_PAGES ? part : MOST_ASKED_PAGES));
    }
}

static uint64_t with_room(uint64_t bytes)
{
    return bytes + bytes / ROOM_SHARE;
}

/* The budget, as far towards what is wanted as what is held allows. */
static void pursue_aim(struct control *control, uint64_t held_bytes)
{
    uint64_t budget = atomic_load(&control->budget_bytes), wanted = work.aim_bytes;

    if (wanted < budget && with_room(held_bytes) > wanted) {
        ask_for(control, (int64_t)((with_room(held_bytes) - wanted) >> SYS_PAGE_SHIFT));
        wanted = with_room(held_bytes) < budget ? with_room(held_bytes) : budget;
    }
    if (wanted != budget)
        control_set_budget(control, wanted);
    work.set_bytes = wanted;
}

static bool is_parked(const struct control *control)
{
    enum control_order_kind kind = control_order_kind(atomic_load(&control->order));
    return kind == CONTROL_PARK || kind == CONTROL_PARK_AND_STOP;
}

void autosize_start(struct control *control)
{
    work.start_ns = sys_now_ns();
    work.aim_bytes = work.set_bytes = atomic_load(&control->budget_bytes);
    struct sizing_sample first = take_sample(control);
    sizing_init(&work.sizing, CONTROL_MIN_BUDGET_BYTES, control->options.max_stall_ppm, &first);
    work.recorded = first;
    atomic_store(&control->sizing.interval_ms, FIRST_RECORD_MS);
}

void autosize_tick(struct control *control)
{
    uint64_t budget = atomic_load(&control->budget_bytes);
    if (budget > work.set_bytes) /* a process was out of room, and has raised it */
        work.aim_bytes = budget;
    struct sizing_sample before = work.sizing.last, sample = take_sample(control);

    if (is_parked(control)) {
        sizing_skip(&work.sizing, &sample);
    } else {
        work.aim_bytes = sizing_update(&work.sizing, &sample);
        pursue_aim(control, sample.held_bytes);
        if (work.set_bytes < control->options.budget_bytes && sample.held_bytes > 0)
            note_extremes(&control->sizing, sample.held_bytes);
    }
    bool is_quiet = sample.stall_ns == before.stall_ns && sample.held_bytes == before.held_bytes &&
                    budget == atomic_load(&control->budget_bytes);
    work.n_quiet = is_quiet ? work.n_quiet + 1 : 0;
    uint64_t stall = sample.stall_ns > before.stall_ns ? sample.stall_ns - before.stall_ns : 0;
    atomic_fetch_add(&control->sizing.stall_ns, stall);
    atomic_fetch_add(&control->sizing.busy_ns, sizing_busy_ns(&before, &sample));
    record(control, &sample);
}

bool autosize_rest(struct control *control, unsigned ms)
{
    if (work.n_quiet < QUIET_TICKS)
        return false;
    control_rest_begins(control);
    if (stall_in_all(control) != work.sizing.last.stall_ns)
        ms = 0;
    control_rest(control, (uint64_t)ms * 1000000u + 1);
    return true;
}
