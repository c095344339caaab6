/* SPDX-License-Identifier: Apache-2.0 */
/*
 * belady: see <quire/tensor_schedule.h>.
 *
 *     step      0    1    2    3    4    5    6
 *     touches   A    B    C    D    A
 *                   '---- A's gap ----'
 *                   [evict A                at 1, as its last touch is over then
 *                              [prefetch A  at 2 to 4: as early as there is room
 *
 * Between two touches of a buffer is a gap; in what repeats, also from its last touch to its first.
 * In a gap the buffer stays in RAM, or it is away. At first all stay. Then the steps are gone
 * through: where more is in RAM than the budget, a gap over the step gives way, first one that is
 * dead (it ends with a touch that overwrites, or never), then the one that ends last. So what
 * repeats fits at each step of each round. Prefetches begin as early as the room that is left lets
 * them.
 *
 * Invariant: used[t] is the sum of the sizes of the buffers that are touched at t, or in a gap over
 * t in which they stay.
 */
#include <quire/tensor_schedule.h>

#include <errno.h>
#include <stdlib.h>

#define MAX_BUFFERS (1u << 24)
#define MAX_BYTES ((uint64_t)1 << 62)
#define LEAD 4u

struct meeting { /* all touches of a buffer in a step, and the gap behind it */
    uint32_t step;
    bool overwrites;
    bool is_away;
};

struct held {
    uint32_t first, n; /* meetings, in the order of steps */
    uint32_t now;      /* the last of them up to the step in work; n: there is none yet */
    uint32_t n_met;    /* so many of them in this pass through the steps */
};

struct maker {
    const struct quire_tensor_work *work;
    struct quire_tensor_schedule *schedule;
    struct held *held; /* of each buffer */
    struct meeting *meetings;
    uint64_t *used; /* bytes in RAM at each step */
    uint64_t budget;
    size_t room_orders;
};

/* When the gap behind a buffer's k-th meeting ends, in steps since the round began; what repeats
 * may end it in the next round. `work.n_steps`: with the work. */
static uint64_t gap_end(const struct maker *maker, uint32_t buffer, uint32_t k)
{
    const struct held *held = &maker->held[buffer];
    if (k + 1 < held->n)
        return maker->meetings[held->first + k + 1].step;
    return maker->work->n_steps +
           (maker->work->repeats ? maker->meetings[held->first].step : (uint64_t)0);
}

static bool gap_is_last(const struct maker *maker, uint32_t buffer, uint32_t k)
{
    return !maker->work->repeats && k + 1 == maker->held[buffer].n;
}

/* Nobody will read what is in it. */
static bool gap_is_dead(const struct maker *maker, uint32_t buffer, uint32_t k)
{
    const struct held *held = &maker->held[buffer];
    if (gap_is_last(maker, buffer, k))
        return maker->work->kept == NULL || !maker->work->kept[buffer];
    return maker->meetings[held->first + (k + 1) % held->n].overwrites;
}

static void use(struct maker *maker, uint64_t from, uint64_t end, int64_t n_bytes)
{
    for (uint64_t t = from; t < end; t++)
        maker->used[t % maker->work->n_steps] += (uint64_t)n_bytes;
}

/* The buffer is touched in the step. True: that is a meeting of its own, not more of the last. */
static bool meet(struct maker *maker, uint32_t buffer, uint32_t step)
{
    struct held *held = &maker->held[buffer];
    if (held->n_met > 0 && maker->meetings[held->first + held->n_met - 1].step == step)
        return false;
    held->now = held->n_met++;
    return true;
}

/* Which gap over the step gives way; false: all that is left is touched in this step. */
static bool choose(const struct maker *maker, uint32_t step, uint32_t *buffer)
{
    bool found = false, found_dead = false;
    uint64_t best = 0;
    for (uint32_t b = 0; b < maker->work->n_buffers; b++) {
        const struct held *held = &maker->held[b];
        if (held->now == held->n || maker->work->sizes[b] == 0)
            continue;
        const struct meeting *meeting = &maker->meetings[held->first + held->now];
        if (meeting->step == step || meeting->is_away)
            continue;
        /* From here: a gap that began in the round before ends in this one. */
        uint64_t end = gap_end(maker, b, held->now);
        end -= meeting->step > step ? maker->work->n_steps : 0;
        bool is_dead = gap_is_dead(maker, b, held->now);
        if (!found || (is_dead && !found_dead) || (is_dead == found_dead && end > best)) {
            found = true;
            found_dead = is_dead;
            best = end;
            *buffer = b;
        }
    }
    return found;
}

static void send_away(struct maker *maker, uint32_t buffer)
{
    const struct held *held = &maker->held[buffer];
    struct meeting *meeting = &maker->meetings[held->first + held->now];
    meeting->is_away = true;
    use(maker, meeting->step + (uint64_t)1, gap_end(maker, buffer, held->now),
        -(int64_t)maker->work->sizes[buffer]);
}

static void go_through_steps(struct maker *maker)
{
    const struct quire_tensor_work *work = maker->work;
    size_t at = 0;
    for (uint32_t b = 0; b < work->n_buffers; b++) {
        struct held *held = &maker->held[b];
        bool is_there = work->repeats && held->n > 0; /* since the round before */
        held->now = is_there ? held->n - 1 : held->n;
        held->n_met = 0;
        if (held->n > 0)
            use(maker, is_there ? 0 : maker->meetings[held->first].step, work->n_steps,
                (int64_t)work->sizes[b]);
    }
    for (uint32_t step = 0; step < work->n_steps; step++) {
        uint64_t touched = 0;
        for (; at < work->n_touches && work->touches[at].step == step; at++) {
            if (meet(maker, work->touches[at].buffer, step))
                touched += work->sizes[work->touches[at].buffer];
        }
        if (touched > maker->schedule->floor_bytes)
            maker->schedule->floor_bytes = touched;
        uint32_t buffer;
        while (maker->used[step] > maker->budget && choose(maker, step, &buffer))
            send_away(maker, buffer);
    }
}

/* Orders */

static int add_order(struct maker *maker, uint64_t time, uint32_t buffer, uint64_t until,
                     enum quire_tensor_move move)
{
    struct quire_tensor_schedule *schedule = maker->schedule;
    if (schedule->n_orders == maker->room_orders) {
        size_t room = maker->room_orders == 0 ? 64 : 2 * maker->room_orders;
        struct quire_tensor_order *larger = realloc(schedule->orders, room * sizeof *larger);
        if (larger == NULL)
            return -ENOMEM;
        schedule->orders = larger;
        maker->room_orders = room;
    }
    schedule->orders[schedule->n_orders++] = (struct quire_tensor_order){
        (uint32_t)(time % maker->work->n_steps), buffer, (uint32_t)(until - time), move};
    return 0;
}

/* As early as there is room, up to `lead` steps; not before it is gone. */
static int add_prefetch(struct maker *maker, uint32_t buffer, uint64_t gone, uint64_t needed,
                        uint32_t lead)
{
    uint64_t size = maker->work->sizes[buffer], at = needed, n_steps = maker->work->n_steps;
    while (at > gone && needed - at < lead && maker->used[(at - 1) % n_steps] <= maker->budget &&
           size <= maker->budget - maker->used[(at - 1) % n_steps]) {
        at--;
        maker->used[at % n_steps] += size;
    }
    maker->schedule->moved_bytes += size;
    return add_order(maker, at, buffer, needed, QUIRE_TENSOR_PREFETCH);
}

static int add_gap(struct maker *maker, uint32_t buffer, uint32_t k, uint32_t lead)
{
    const struct meeting *meeting = &maker->meetings[maker->held[buffer].first + k];
    uint64_t gone = meeting->step + (uint64_t)1, end = gap_end(maker, buffer, k);
    bool is_last = gap_is_last(maker, buffer, k), is_dead = gap_is_dead(maker, buffer, k);
    int error = add_order(maker, gone, buffer, is_last ? gone : end,
                          is_dead ? QUIRE_TENSOR_DROP : QUIRE_TENSOR_EVICT);
    if (error == 0 && !is_last && !is_dead)
        error = add_prefetch(maker, buffer, gone, end, lead);
    return error;
}

/* Of gaps that end early first, so that those have the first choice of what room is left. */
static int add_orders(struct maker *maker, uint32_t lead)
{
    const struct quire_tensor_work *work = maker->work;
    int error = 0;
    size_t at = 0;
    for (uint32_t b = 0; b < work->n_buffers; b++)
        maker->held[b].n_met = 0;
    for (uint32_t step = 0; error == 0 && step < work->n_steps; step++) {
        for (; error == 0 && at < work->n_touches && work->touches[at].step == step; at++) {
            uint32_t b = work->touches[at].buffer;
            const struct held *held = &maker->held[b];
            if (!meet(maker, b, step))
                continue;
            uint32_t before = held->now > 0 ? held->now - 1 : held->n - 1;
            bool has_gap = held->now > 0 || work->repeats;
            if (has_gap && maker->meetings[held->first + before].is_away)
                error = add_gap(maker, b, before, lead);
        }
    }
    for (uint32_t b = 0; error == 0 && !work->repeats && b < work->n_buffers; b++) {
        uint32_t n = maker->held[b].n;
        if (n > 0 && maker->meetings[maker->held[b].first + n - 1].is_away)
            error = add_gap(maker, b, n - 1, lead);
    }
    for (uint32_t step = 0; step < work->n_steps; step++)
        if (maker->used[step] > maker->schedule->peak_bytes)
            maker->schedule->peak_bytes = maker->used[step];
    return error;
}

/* Room */

static int check_work(const struct quire_tensor_work *work)
{
    uint64_t sum = 0;
    if (work->n_steps == 0 || work->n_steps > QUIRE_TENSOR_MAX_STEPS ||
        work->n_buffers > MAX_BUFFERS || work->n_touches >= UINT32_MAX)
        return -EINVAL;
    for (uint32_t b = 0; b < work->n_buffers; b++) {
        if (work->sizes[b] >= MAX_BYTES - sum)
            return -EINVAL;
        sum += work->sizes[b];
    }
    for (size_t i = 0; i < work->n_touches; i++) {
        const struct quire_tensor_touch *touch = &work->touches[i];
        if (touch->step >= work->n_steps || touch->buffer >= work->n_buffers ||
            (i > 0 && touch->step < touch[-1].step))
            return -EINVAL;
    }
    return 0;
}

/* Meetings of each buffer, side by side; there is room for one a touch. */
static void find_meetings(struct maker *maker)
{
    const struct quire_tensor_work *work = maker->work;
    uint32_t at = 0;
    for (size_t i = 0; i < work->n_touches; i++)
        maker->held[work->touches[i].buffer].n++;
    for (uint32_t b = 0; b < work->n_buffers; b++) {
        maker->held[b].first = at;
        at += maker->held[b].n;
        maker->held[b].n = 0;
    }
    for (size_t i = 0; i < work->n_touches; i++) {
        const struct quire_tensor_touch *touch = &work->touches[i];
        struct held *held = &maker->held[touch->buffer];
        if (held->n > 0 && maker->meetings[held->first + held->n - 1].step == touch->step)
            continue;
        maker->meetings[held->first + held->n++] = (struct meeting){touch->step, touch->overwrites,
                                                                    false};
    }
}

static int by_step(const void *a, const void *b)
{
    static const int rank[] = {
        [QUIRE_TENSOR_DROP] = 0, [QUIRE_TENSOR_EVICT] = 1, [QUIRE_TENSOR_PREFETCH] = 2};
    const struct quire_tensor_order *x = a, *y = b;
    if (x->step != y->step)
        return x->step < y->step ? -1 : 1;
    if (x->move != y->move)
        return rank[x->move] - rank[y->move];
    if (x->until != y->until)
        return x->until < y->until ? -1 : 1;
    return x->buffer < y->buffer ? -1 : x->buffer > y->buffer;
}

int quire_tensor_schedule_make(const struct quire_tensor_work *work, uint64_t budget, uint32_t lead,
                               struct quire_tensor_schedule *schedule)
{
    struct maker maker = {.work = work, .schedule = schedule, .budget = budget};
    *schedule = (struct quire_tensor_schedule){.n_steps = work->n_steps, .repeats = work->repeats};
    int error = check_work(work);
    if (error != 0)
        return error;
    maker.held = calloc((size_t)work->n_buffers + 1, sizeof *maker.held);
    maker.meetings = calloc(work->n_touches + 1, sizeof *maker.meetings);
    maker.used = calloc(work->n_steps, sizeof *maker.used);
    error = maker.held && maker.meetings && maker.used ? 0 : -ENOMEM;
    if (error == 0) {
        find_meetings(&maker);
        go_through_steps(&maker);
        error = add_orders(&maker, lead == 0 ? LEAD : lead);
    }
    if (error == 0 && schedule->n_orders > 0)
        qsort(schedule->orders, schedule->n_orders, sizeof *schedule->orders, by_step);
    schedule->fits = schedule->peak_bytes <= budget;
    free(maker.held);
    free(maker.meetings);
    free(maker.used);
    if (error != 0)
        quire_tensor_schedule_free(schedule);
    return error;
}

void quire_tensor_schedule_free(struct quire_tensor_schedule *schedule)
{
    free(schedule->orders);
    *schedule = (struct quire_tensor_schedule){0};
}
