/* SPDX-License-Identifier: Apache-2.0 */
/*
 * belady: see <quire/tensor_schedule.h>.
 *
 *     step      0    1    2    3    4    5    6
 *     touches   A    B    C    D    A
 *               A leaves when D needs room:
 *                    [evict A                 at 1, as its last touch is over then
 *                              [prefetch A    at 3 or 4: as early as there is room
 *
 * A simulation goes through the steps with whole buffers. A step's buffers come in; if they don't
 * fit, first a dead buffer goes (whose next touch overwrites it), then the one whose next touch is
 * furthest away. Each stay of a buffer in RAM, from its coming to its last touch, counts in `used`;
 * what is left of the budget there is what prefetches may begin early in.
 *
 * What repeats is gone through until nothing of the beginning is left (ROUNDS times); the orders
 * are those of the last round.
 */
#include <quire/tensor_schedule.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BUFFERS (1u << 24)
#define MAX_BYTES ((uint64_t)1 << 62)
#define LEAD 4u
#define ROUNDS 3u
#define NEVER UINT64_MAX

struct holding {
    uint32_t first_touch, n_touches; /* in `places` */
    uint64_t came, touched;          /* times; a time is round * n_steps + step */
    bool is_in, has_contents;
};

struct fetch { /* in the last round */
    uint32_t buffer;
    uint64_t gone, needed; /* times */
};

struct simulation {
    const struct quire_tensor_work *work;
    struct quire_tensor_schedule *schedule;
    struct holding *holdings;
    uint32_t *places; /* touches of each buffer, in the order of time */
    size_t *of_step;  /* the first touch of each step */
    uint64_t *used;   /* bytes in RAM at each step, in the steady state */
    struct fetch *fetches;
    size_t n_fetches, room_fetches, room_orders;
    uint64_t budget, in_ram, now;
    bool records; /* this is the last round */
};

static uint64_t size_of(const struct simulation *s, uint32_t buffer)
{
    return s->work->sizes[buffer];
}

/* When a buffer is touched after `time`, and how; NEVER. */
static uint64_t next_touch(const struct simulation *s, uint32_t buffer, uint64_t time,
                           bool *overwrites)
{
    const struct holding *holding = &s->holdings[buffer];
    uint32_t n_steps = s->work->n_steps, low = 0, high = holding->n_touches;
    uint32_t step = (uint32_t)(time % n_steps);
    while (low < high) { /* the first touch in a later step of this round */
        uint32_t middle = low + (high - low) / 2;
        if (s->work->touches[s->places[holding->first_touch + middle]].step <= step)
            low = middle + 1;
        else
            high = middle;
    }
    bool wraps = low == holding->n_touches;
    *overwrites = false;
    if (holding->n_touches == 0 || (wraps && !s->work->repeats))
        return NEVER;
    const struct quire_tensor_touch *touch =
        &s->work->touches[s->places[holding->first_touch + (wraps ? 0 : low)]];
    *overwrites = touch->overwrites;
    return time - step + (wraps ? n_steps : 0) + touch->step;
}

static int add_order(struct simulation *s, uint64_t time, uint32_t buffer, uint64_t until,
                     enum quire_tensor_move move)
{
    struct quire_tensor_schedule *schedule = s->schedule;
    if (schedule->n_orders == s->room_orders) {
        size_t room = s->room_orders == 0 ? 64 : 2 * s->room_orders;
        struct quire_tensor_order *larger = realloc(schedule->orders, room * sizeof *larger);
        if (larger == NULL)
            return -ENOMEM;
        schedule->orders = larger;
        s->room_orders = room;
    }
    schedule->orders[schedule->n_orders++] = (struct quire_tensor_order){
        (uint32_t)(time % s->work->n_steps), buffer, until == NEVER ? 0 : (uint32_t)(until - time),
        move};
    return 0;
}

static int add_fetch(struct simulation *s, uint32_t buffer, uint64_t gone)
{
    if (s->n_fetches == s->room_fetches) {
        size_t room = s->room_fetches == 0 ? 64 : 2 * s->room_fetches;
        struct fetch *larger = realloc(s->fetches, room * sizeof *larger);
        if (larger == NULL)
            return -ENOMEM;
        s->fetches = larger;
        s->room_fetches = room;
    }
    s->fetches[s->n_fetches++] = (struct fetch){buffer, gone, s->now};
    s->schedule->moved_bytes += size_of(s, buffer);
    return 0;
}

/* The buffer was in RAM from its coming to its last touch. */
static void count_stay(struct simulation *s, uint32_t buffer, uint64_t end)
{
    const struct holding *holding = &s->holdings[buffer];
    uint64_t n_steps = s->work->n_steps;
    uint64_t from = holding->came;
    if (!s->records)
        return;
    if (end - from >= n_steps) /* it never leaves */
        from = end + 1 - n_steps;
    for (uint64_t t = from; t <= end; t++)
        s->used[t % n_steps] += size_of(s, buffer);
}

/* A buffer leaves. What is dead, or is overwritten next, is dropped. */
static int leave(struct simulation *s, uint32_t buffer)
{
    struct holding *holding = &s->holdings[buffer];
    bool overwrites;
    uint64_t next = next_touch(s, buffer, holding->touched, &overwrites);
    bool is_kept = next == NEVER && s->work->kept != NULL && s->work->kept[buffer];
    bool is_dead = (next == NEVER && !is_kept) || overwrites;
    count_stay(s, buffer, holding->touched);
    holding->is_in = false;
    holding->has_contents = !is_dead;
    s->in_ram -= size_of(s, buffer);
    if (!s->records)
        return 0;
    return add_order(s, holding->touched + 1, buffer, next,
                     is_dead ? QUIRE_TENSOR_DROP : QUIRE_TENSOR_EVICT);
}

/* Dead ones first, then who is needed last; not what this step touches. False: there is none. */
static bool choose(const struct simulation *s, uint32_t *buffer)
{
    uint64_t best = 0;
    bool found = false, found_dead = false;
    for (uint32_t b = 0; b < s->work->n_buffers; b++) {
        const struct holding *holding = &s->holdings[b];
        bool overwrites;
        if (!holding->is_in || holding->touched == s->now || size_of(s, b) == 0)
            continue;
        uint64_t next = next_touch(s, b, holding->touched, &overwrites);
        bool is_dead = overwrites || (next == NEVER && !(s->work->kept && s->work->kept[b]));
        if (!found || (is_dead && !found_dead) || (is_dead == found_dead && next > best)) {
            found = true;
            found_dead = is_dead;
            best = next;
            *buffer = b;
        }
    }
    return found;
}

static int bring_in(struct simulation *s, const struct quire_tensor_touch *touch)
{
    struct holding *holding = &s->holdings[touch->buffer];
    uint64_t gone = holding->touched + 1;
    holding->touched = s->now;
    if (holding->is_in)
        return 0;
    holding->is_in = true;
    holding->came = s->now;
    s->in_ram += size_of(s, touch->buffer);
    if (!holding->has_contents || touch->overwrites || !s->records)
        return 0;
    return add_fetch(s, touch->buffer, gone);
}

static int go_through_step(struct simulation *s, uint32_t step)
{
    uint64_t touched = 0;
    int error = 0;
    for (size_t i = s->of_step[step]; error == 0 && i < s->of_step[step + 1]; i++) {
        const struct quire_tensor_touch *touch = &s->work->touches[i];
        bool is_again = s->holdings[touch->buffer].touched == s->now;
        touched += is_again ? 0 : size_of(s, touch->buffer);
        error = bring_in(s, touch);
        s->holdings[touch->buffer].has_contents = true;
    }
    if (touched > s->schedule->floor_bytes)
        s->schedule->floor_bytes = touched;
    uint32_t buffer;
    while (error == 0 && s->in_ram > s->budget && choose(s, &buffer))
        error = leave(s, buffer);
    return error;
}

static int go_through(struct simulation *s)
{
    const struct quire_tensor_work *work = s->work;
    unsigned n_rounds = work->repeats ? ROUNDS : 1;
    int error = 0;
    for (uint32_t b = 0; b < work->n_buffers; b++)
        s->holdings[b].touched = NEVER; /* not in this step, whichever that is */
    for (unsigned round = 0; error == 0 && round < n_rounds; round++) {
        s->records = round + 1 == n_rounds;
        for (uint32_t step = 0; error == 0 && step < work->n_steps; step++) {
            s->now = (uint64_t)round * work->n_steps + step;
            error = go_through_step(s, step);
        }
    }
    /* In a steady state each stay ends once a round: what is left are those that never end. */
    uint64_t last_round = s->now + 1 - work->n_steps;
    for (uint32_t b = 0; error == 0 && b < work->n_buffers; b++) {
        if (s->holdings[b].is_in && (!work->repeats || s->holdings[b].came < last_round))
            count_stay(s, b, s->now);
    }
    return error;
}

/* Prefetches begin as early as there is room, up to `lead` steps; those that are needed first have
 * the first choice. */
static int place_fetches(struct simulation *s, uint32_t lead)
{
    uint64_t n_steps = s->work->n_steps;
    int error = 0;
    for (size_t i = 0; error == 0 && i < s->n_fetches; i++) {
        const struct fetch *fetch = &s->fetches[i];
        uint64_t size = size_of(s, fetch->buffer), at = fetch->needed;
        while (at > 0 && at - 1 >= fetch->gone && fetch->needed - at < lead &&
               fetch->needed - at + 1 < n_steps &&
               s->used[(at - 1) % n_steps] + size <= s->budget) {
            at--;
            s->used[at % n_steps] += size;
        }
        error = add_order(s, at, fetch->buffer, fetch->needed, QUIRE_TENSOR_PREFETCH);
    }
    for (uint64_t t = 0; t < n_steps; t++)
        if (s->used[t] > s->schedule->peak_bytes)
            s->schedule->peak_bytes = s->used[t];
    return error;
}

/* Room */

static int index_touches(struct simulation *s)
{
    const struct quire_tensor_work *work = s->work;
    uint64_t sum = 0;
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
        s->of_step[touch->step + 1]++;
        s->holdings[touch->buffer].n_touches++;
    }
    for (uint32_t step = 0; step < work->n_steps; step++)
        s->of_step[step + 1] += s->of_step[step];
    uint32_t at = 0;
    for (uint32_t b = 0; b < work->n_buffers; b++) {
        s->holdings[b].first_touch = at;
        at += s->holdings[b].n_touches;
        s->holdings[b].n_touches = 0;
    }
    for (size_t i = 0; i < work->n_touches; i++) {
        struct holding *holding = &s->holdings[work->touches[i].buffer];
        s->places[holding->first_touch + holding->n_touches++] = (uint32_t)i;
    }
    return 0;
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
    struct simulation s = {.work = work, .schedule = schedule, .budget = budget};
    *schedule = (struct quire_tensor_schedule){.n_steps = work->n_steps, .repeats = work->repeats};
    if (work->n_steps == 0 || work->n_steps > QUIRE_TENSOR_MAX_STEPS ||
        work->n_buffers > MAX_BUFFERS || work->n_touches > UINT32_MAX)
        return -EINVAL;
    s.holdings = calloc((size_t)work->n_buffers + 1, sizeof *s.holdings);
    s.places = malloc((work->n_touches + 1) * sizeof *s.places);
    s.of_step = calloc((size_t)work->n_steps + 1, sizeof *s.of_step);
    s.used = calloc(work->n_steps, sizeof *s.used);
    int error = s.holdings && s.places && s.of_step && s.used ? index_touches(&s) : -ENOMEM;
    if (error == 0)
        error = go_through(&s);
    if (error == 0)
        error = place_fetches(&s, lead == 0 ? LEAD : lead);
    if (error == 0 && schedule->n_orders > 0)
        qsort(schedule->orders, schedule->n_orders, sizeof *schedule->orders, by_step);
    schedule->fits = schedule->peak_bytes <= budget;
    free(s.holdings);
    free(s.places);
    free(s.of_step);
    free(s.used);
    free(s.fetches);
    if (error != 0)
        quire_tensor_schedule_free(schedule);
    return error;
}

void quire_tensor_schedule_free(struct quire_tensor_schedule *schedule)
{
    free(schedule->orders);
    *schedule = (struct quire_tensor_schedule){0};
}
