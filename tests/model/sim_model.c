/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each policy of the simulator against one that was written from its definition, with nothing but
 * vectors that are searched through: faults and write-backs on random references are the same, to
 * the last one. And LRU's curve against the simulation at each size.
 */
#include "policy/policy.h"
#include "policy/protection.h"

#include <quire/sim.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 96u /* pages */
#define N 3000u  /* references */
#define NONE UINT32_MAX

struct reference {
    uint32_t page;
    bool is_write;
};

static struct reference refs[N];

struct vec { /* the oldest first */
    uint32_t at[4 * MOST];
    unsigned n;
};

struct outcome {
    uint64_t faults, writebacks;
};

static bool dirty[MOST], used[MOST];
static struct outcome outcome;
static unsigned n_frames;
static uint64_t argument;

static unsigned find(const struct vec *vec, uint32_t page)
{
    for (unsigned i = 0; i < vec->n; i++)
        if (vec->at[i] == page)
            return i;
    return NONE;
}

static bool has(const struct vec *vec, uint32_t page)
{
    return find(vec, page) != NONE;
}

static uint32_t take_at(struct vec *vec, unsigned i)
{
    uint32_t page = vec->at[i];
    memmove(&vec->at[i], &vec->at[i + 1], (vec->n - i - 1) * sizeof vec->at[0]);
    vec->n--;
    return page;
}

static void put_at(struct vec *vec, unsigned i, uint32_t page)
{
    memmove(&vec->at[i + 1], &vec->at[i], (vec->n - i) * sizeof vec->at[0]);
    vec->at[i] = page;
    vec->n++;
}

static void put(struct vec *vec, uint32_t page)
{
    put_at(vec, vec->n, page);
}

static bool drop(struct vec *vec, uint32_t page)
{
    unsigned i = find(vec, page);
    if (i != NONE)
        take_at(vec, i);
    return i != NONE;
}

static void evicted(uint32_t page)
{
    outcome.writebacks += dirty[page];
    dirty[page] = false;
}

/* ---- each policy: a reference at time t, to a page ---- */

static struct vec a, b, c, d; /* whatever the policy keeps */
static uint64_t number[MOST], stamp[MOST], counter, other;
static uint32_t hand;

static bool lru(uint32_t page, uint64_t t)
{
    bool hit = drop(&a, page);
    if (!hit && a.n == n_frames)
        evicted(take_at(&a, 0));
    put(&a, page);
    return hit;
}

static bool fifo(uint32_t page, uint64_t t)
{
    if (has(&a, page))
        return true;
    if (a.n == n_frames)
        evicted(take_at(&a, 0));
    put(&a, page);
    return false;
}

static bool second_chance(uint32_t page, uint64_t t)
{
    if (has(&a, page))
        return used[page] = true;
    while (a.n == n_frames && used[a.at[0]]) {
        used[a.at[0]] = false;
        put(&a, take_at(&a, 0));
    }
    if (a.n == n_frames)
        evicted(take_at(&a, 0));
    used[page] = false;
    put(&a, page);
    return false;
}

static bool with_the_bit_set(uint32_t page, uint64_t t)
{
    bool hit = second_chance(page, t);
    used[page] = true;
    return hit;
}

static bool sieve(uint32_t page, uint64_t t)
{
    if (has(&a, page))
        return used[page] = true;
    if (a.n == n_frames) {
        for (;; hand++) {
            hand = hand >= a.n ? 0 : hand;
            if (!used[a.at[hand]])
                break;
            used[a.at[hand]] = false;
        }
        evicted(take_at(&a, hand));
        if (hand >= a.n)
            hand = NONE; /* begins anew, even if a page comes there now */
    }
    hand = hand == NONE ? 0 : hand;
    used[page] = false;
    put(&a, page);
    return false;
}

/* Belady: of the pages that are never used again a clean one. */
static bool opt(uint32_t page, uint64_t t)
{
    if (has(&a, page))
        return true;
    if (a.n == n_frames) {
        unsigned worst = 0;
        uint64_t farthest = 0;
        for (unsigned i = 0; i < a.n; i++) {
            uint64_t next = t + 1;
            while (next < N && refs[next].page != a.at[i])
                next++;
            next = next == N ? N + !dirty[a.at[i]] : next;
            if (next > farthest) {
                farthest = next;
                worst = i;
            }
        }
        evicted(take_at(&a, worst));
    }
    put(&a, page);
    return false;
}

static bool two_queues(uint32_t page, uint64_t t)
{
    if (has(&a, page)) /* in */
        return true;
    if (drop(&b, page)) { /* main */
        put(&b, page);
        return true;
    }
    bool was_out = drop(&c, page);
    if (a.n + b.n == n_frames) {
        if (a.n > n_frames / 4 || b.n == 0) {
            uint32_t gone = take_at(&a, 0);
            evicted(gone);
            put(&c, gone);
            if (c.n > n_frames / 2)
                take_at(&c, 0);
        } else {
            evicted(take_at(&b, 0));
        }
    }
    put(was_out ? &b : &a, page);
    return false;
}

static bool s3_fifo(uint32_t page, uint64_t t)
{
    if (has(&a, page) || has(&b, page)) {
        number[page] += number[page] < 3;
        return true;
    }
    bool was_ghost = drop(&c, page);
    bool gone = a.n + b.n < n_frames;
    /* Once it is the small queue's turn, it goes on until a page leaves or the queue is empty. */
    while (!gone && b.n <= n_frames - n_frames / 10 && a.n > 0) {
        do {
            uint32_t oldest = take_at(&a, 0);
            gone = number[oldest] < 2;
            if (gone)
                evicted(oldest);
            put(gone ? &c : &b, oldest);
            number[oldest] = 0;
            if (c.n > n_frames * 9 / 10)
                take_at(&c, 0);
        } while (!gone && a.n > 0);
    }
    while (!gone) {
        uint32_t oldest = take_at(&b, 0);
        gone = number[oldest] == 0;
        if (gone)
            evicted(oldest);
        else
            put(&b, oldest);
        number[oldest] -= !gone;
    }
    number[page] = 0;
    put(was_ghost ? &b : &a, page);
    return false;
}

static double target;

/* a T1, b T2, c B1, d B2; as the paper's figure 4 has it. */
static void arc_replace(bool in_b2)
{
    if (a.n > 0 && (a.n > target || (in_b2 && a.n == target) || b.n == 0)) {
        uint32_t gone = take_at(&a, 0);
        evicted(gone);
        put(&c, gone);
    } else {
        uint32_t gone = take_at(&b, 0);
        evicted(gone);
        put(&d, gone);
    }
}

static bool arc(uint32_t page, uint64_t t)
{
    if (drop(&a, page) || drop(&b, page)) {
        put(&b, page);
        return true;
    }
    double n_1 = c.n, n_2 = d.n;
    bool is_full = a.n + b.n == n_frames;
    if (has(&c, page)) {
        target += n_2 > n_1 ? n_2 / n_1 : 1;
        target = target > n_frames ? n_frames : target;
        drop(&c, page);
        if (is_full)
            arc_replace(false);
        put(&b, page);
    } else if (has(&d, page)) {
        target -= n_1 > n_2 ? n_1 / n_2 : 1;
        target = target < 0 ? 0 : target;
        drop(&d, page);
        if (is_full)
            arc_replace(true);
        put(&b, page);
    } else {
        if (is_full && a.n + c.n == n_frames && c.n == 0) {
            evicted(take_at(&a, 0));
        } else if (is_full) {
            if (a.n + c.n == n_frames)
                take_at(&c, 0);
            else if (a.n + b.n + c.n + d.n >= 2 * n_frames)
                take_at(&d, 0);
            arc_replace(false);
        }
        put(&a, page);
    }
    return false;
}

/* a S, b Q, c the absent ones of S by when they went; number: LIR. */
static void lirs_prune(void)
{
    while (a.n > 1 && !number[a.at[0]])
        drop(&c, take_at(&a, 0));
}

static void lirs_promote(uint32_t page, unsigned most)
{
    number[page] = 1;
    if (++counter <= most)
        return;
    uint32_t last = take_at(&a, 0);
    number[last] = 0;
    counter--;
    put(&b, last);
    lirs_prune();
}

static bool lirs(uint32_t page, uint64_t t)
{
    unsigned n_hir = n_frames / 100 > 0 ? n_frames / 100 : 1, most = n_frames - n_hir;
    bool in_s = drop(&a, page), is_lir = number[page], in_q = has(&b, page);
    put(&a, page);
    if (is_lir) {
        lirs_prune();
    } else if (in_q) {
        drop(&b, page);
        if (in_s && most > 0)
            lirs_promote(page, most);
        else
            put(&b, page);
    } else {
        bool was_absent = drop(&c, page);
        if (counter + b.n == n_frames) {
            uint32_t gone = take_at(&b, 0);
            evicted(gone);
            if (has(&a, gone))
                put(&c, gone);
        }
        if (counter < most || (was_absent && most > 0))
            lirs_promote(page, most);
        else
            put(&b, page);
    }
    while (a.n > 2 * n_frames && c.n > 0)
        drop(&a, take_at(&c, 0));
    return is_lir || in_q;
}

static bool lfu(uint32_t page, uint64_t t)
{
    bool hit = has(&a, page);
    if (!hit && a.n == n_frames) {
        unsigned least = 0;
        for (unsigned i = 1; i < a.n; i++) {
            uint32_t x = a.at[i], y = a.at[least];
            if (number[x] < number[y] || (number[x] == number[y] && stamp[x] < stamp[y]))
                least = i;
        }
        evicted(take_at(&a, least));
    }
    if (!hit) {
        put(&a, page);
        number[page] = 0;
    }
    number[page]++;
    stamp[page] = t;
    return hit;
}

/* number: the class; stamp: when it came into it. */
static void nru_enter(uint32_t page, uint64_t class)
{
    number[page] = class;
    stamp[page] = ++counter;
}

static bool nru(uint32_t page, uint64_t t)
{
    bool hit = has(&a, page);
    if (t - other >= (argument != 0 ? argument : n_frames)) {
        other = t;
        for (uint64_t from = counter, old = 0; old <= from; old++)
            for (unsigned i = 0; i < a.n; i++)
                if (stamp[a.at[i]] == old && number[a.at[i]] >= 2)
                    nru_enter(a.at[i], number[a.at[i]] - 2);
    }
    uint64_t class = 2 + dirty[page];
    if (hit && number[page] != class)
        nru_enter(page, class);
    if (hit)
        return true;
    if (a.n == n_frames) {
        unsigned lowest = 0;
        for (unsigned i = 1; i < a.n; i++) {
            uint32_t x = a.at[i], y = a.at[lowest];
            if (number[x] < number[y] || (number[x] == number[y] && stamp[x] < stamp[y]))
                lowest = i;
        }
        evicted(take_at(&a, lowest));
    }
    put(&a, page);
    nru_enter(page, class);
    return false;
}

/* number: the counter. a is kept in the order in which equal ones go. */
static void age_all(void)
{
    struct vec sorted = {.n = 0};
    for (uint64_t value = 0; value < 256; value++)
        for (unsigned i = 0; i < a.n; i++)
            if (number[a.at[i]] == value)
                put(&sorted, a.at[i]);
    a = sorted;
    for (unsigned i = 0; i < a.n; i++) {
        number[a.at[i]] = number[a.at[i]] / 2 + (used[a.at[i]] ? 128 : 0);
        used[a.at[i]] = false;
    }
}

static bool aging(uint32_t page, uint64_t t)
{
    if (t - other >= (argument != 0 ? argument : n_frames)) {
        other = t;
        age_all();
    }
    if (has(&a, page))
        return used[page] = true;
    if (a.n == n_frames) {
        unsigned lowest = 0;
        for (unsigned i = 1; i < a.n; i++)
            if (number[a.at[i]] < number[a.at[lowest]])
                lowest = i;
        evicted(take_at(&a, lowest));
    }
    number[page] = 128;
    used[page] = false;
    put(&a, page);
    return false;
}

/* Frames in a circle, for the clocks with a hand. */
static void ring_put(uint32_t page, unsigned frame)
{
    if (a.n < n_frames)
        put(&a, page);
    else
        a.at[frame] = page;
}

static unsigned ring_next(unsigned i)
{
    return i + 1 < a.n ? i + 1 : 0;
}

static bool enhanced_clock(uint32_t page, uint64_t t)
{
    unsigned frame = 0;
    if (has(&a, page))
        return used[page] = true;
    for (unsigned round = 0, found = a.n < n_frames; !found; round++) {
        for (unsigned i = 0; i < a.n && !found; i++, hand = ring_next(hand)) {
            uint32_t at = a.at[hand];
            found = !used[at] && dirty[at] == (round % 2 == 1);
            frame = hand;
            if (round % 2 == 1 && !found)
                used[at] = false;
        }
    }
    if (a.n == n_frames)
        evicted(a.at[frame]);
    used[page] = true;
    ring_put(page, frame);
    return false;
}

static bool wsclock(uint32_t page, uint64_t t)
{
    unsigned frame = 0, found = a.n < n_frames;
    if (has(&a, page))
        return used[page] = true;
    for (unsigned i = 0; i < a.n && !found; i++) {
        uint32_t at = a.at[hand];
        if (used[at]) {
            used[at] = false;
            stamp[at] = t;
        } else if (t - stamp[at] > (argument != 0 ? argument : n_frames)) {
            found = !dirty[at];
            outcome.writebacks += dirty[at];
            dirty[at] = false;
        }
        frame = hand;
        hand = found ? hand : ring_next(hand);
    }
    for (unsigned i = 0; i < a.n && !found; i++) {
        found = !dirty[a.at[hand]];
        hand = found ? hand : ring_next(hand);
    }
    if (a.n == n_frames) {
        frame = hand;
        evicted(a.at[frame]);
        hand = ring_next(hand);
    }
    used[page] = true;
    stamp[page] = t;
    ring_put(page, frame);
    return false;
}

static uint64_t history[MOST][N];
static unsigned n_uses[MOST];

static bool lru_k(uint32_t page, uint64_t t)
{
    const unsigned k = argument != 0 ? (unsigned)argument : 2;
    bool hit = has(&a, page);
    if (!hit && a.n == n_frames) {
        unsigned best = 0;
        uint64_t lowest = UINT64_MAX;
        for (unsigned i = 0; i < a.n; i++) {
            uint32_t x = a.at[i];
            uint64_t key = n_uses[x] < k ? history[x][n_uses[x] - 1]
                                         : 2 * N + history[x][n_uses[x] - k];
            if (key < lowest) {
                lowest = key;
                best = i;
            }
        }
        evicted(take_at(&a, best));
    }
    if (!hit)
        put(&a, page);
    history[page][n_uses[page]++] = t;
    return hit;
}

static bool segmented_fifo(uint32_t page, uint64_t t)
{
    unsigned second = (unsigned)((argument != 0 ? argument : 25) * n_frames / 100);
    unsigned most = n_frames - second > 0 ? n_frames - second : 1;
    if (has(&a, page))
        return true;
    bool hit = drop(&b, page);
    if (!hit && a.n + b.n == n_frames)
        evicted(take_at(b.n > 0 ? &b : &a, 0));
    put(&a, page);
    if (a.n > most)
        put(&b, take_at(&a, 0));
    return hit;
}

static void shrink(uint64_t since) /* a is in the order of use; stamp: the last one */
{
    while (a.n > 0 && stamp[a.at[0]] < since)
        evicted(take_at(&a, 0));
}

static bool working_set(uint32_t page, uint64_t t)
{
    const uint64_t window = argument != 0 ? argument : 10 * n_frames;
    bool hit = lru(page, t);
    stamp[page] = t;
    if (t + 1 > window)
        shrink(t + 1 - window);
    return hit;
}

static bool pff(uint32_t page, uint64_t t)
{
    const uint64_t interval = argument != 0 ? argument : 10;
    bool hit = lru(page, t);
    stamp[page] = t;
    if (hit)
        return true;
    if (t - other > interval)
        shrink(other);
    other = t;
    return false;
}

/* number: the generation; a: in the order in which pages joined theirs. */
static bool mglru(uint32_t page, uint64_t t)
{
    if (has(&a, page))
        return used[page] = true;
    if (counter == 0)
        counter = 2; /* the youngest; `other`: the oldest */
    while (a.n == n_frames) {
        if (counter - other + 1 <= 2) {
            counter++;
            for (uint64_t generation = other; generation < counter; generation++)
                for (unsigned i = 0; i < a.n; i++)
                    if (used[a.at[i]] && number[a.at[i]] == generation) {
                        uint32_t moved = take_at(&a, i--);
                        number[moved] = counter;
                        used[moved] = false;
                        put(&a, moved);
                    }
            continue;
        }
        unsigned first = 0;
        while (first < a.n && number[a.at[first]] != other)
            first++;
        if (first == a.n) {
            other++;
            continue;
        }
        uint32_t oldest = take_at(&a, first);
        if (used[oldest]) {
            used[oldest] = false;
            number[oldest] = counter;
            put(&a, oldest);
        } else {
            evicted(oldest);
        }
    }
    number[page] = counter;
    used[page] = false;
    put(&a, page);
    return false;
}

/* ---- CLOCK-Pro: a the circle; hands are pages ---- */

enum { COLD, HOT, TRIAL };
static uint32_t hands[3]; /* hot, cold, test */
static unsigned n_of[3], most_cold;

static uint32_t after(uint32_t page)
{
    unsigned i = find(&a, page) + 1;
    return a.at[i < a.n ? i : 0];
}

static void remove_page(uint32_t page)
{
    uint32_t next = a.n > 1 ? after(page) : NONE;
    for (unsigned i = 0; i < 3; i++)
        hands[i] = hands[i] == page ? next : hands[i];
    drop(&a, page);
}

static void test_step(void)
{
    uint32_t page = hands[2];
    hands[2] = after(page);
    if (number[page] != TRIAL)
        return;
    remove_page(page);
    number[page] = COLD;
    n_of[TRIAL]--;
    most_cold -= most_cold > 1;
}

static uint32_t cold_step(void)
{
    uint32_t page = hands[1], gone = NONE;
    hands[1] = after(page);
    if (number[page] == COLD) {
        n_of[COLD]--;
        number[page] = used[page] ? HOT : TRIAL;
        n_of[number[page]]++;
        gone = used[page] ? NONE : page;
        used[page] = false;
        while (n_of[TRIAL] > n_frames)
            test_step();
    }
    while (n_of[HOT] > n_frames - most_cold) {
        uint32_t hot = hands[0];
        if (number[hot] == HOT && !used[hot]) {
            number[hot] = COLD;
            n_of[HOT]--;
            n_of[COLD]++;
        } else if (number[hot] == HOT) {
            used[hot] = false;
        }
        hands[0] = after(hot);
    }
    return gone;
}

static bool clock_pro(uint32_t page, uint64_t t)
{
    bool is_known = has(&a, page), was_trial = is_known && number[page] == TRIAL;
    if (is_known && !was_trial)
        return used[page] = true;
    if (t == 0)
        most_cold = n_frames;
    if (was_trial) {
        most_cold += most_cold < n_frames;
        remove_page(page);
        n_of[TRIAL]--;
    }
    if (n_of[COLD] + n_of[HOT] == n_frames) {
        uint32_t gone = NONE;
        while (gone == NONE)
            gone = cold_step();
        evicted(gone);
    }
    number[page] = was_trial ? HOT : COLD;
    n_of[number[page]]++;
    used[page] = false;
    if (a.n == 0)
        hands[0] = hands[1] = hands[2] = page;
    put_at(&a, a.n > 1 ? find(&a, hands[0]) : a.n, page);
    return false;
}

/* ---- the pager's: the policies' own code, and staging as a vector ---- */

static struct policy pager;
static policy_place places[MOST];
static policy_mark marks[MOST];
static struct protection protection;
static double worth_staging;
static bool was_there[MOST], clean[MOST]; /* clean: came in to be read */

static policy_mark get_mark(void *context, uint32_t page)
{
    return marks[page];
}

static void set_mark(void *context, uint32_t page, policy_mark mark)
{
    marks[page] = mark;
}

static void set_place(void *context, uint32_t page, policy_place place)
{
    places[page] = place;
}

/* One page leaves. */
static void run_eviction(unsigned staged)
{
    for (;;) {
        uint32_t gone;
        policy_place place;
        /* pages that leave as clean ones make what is staged not worth its frames */
        if (a.n > 0 && (a.n > staged || a.n > worth_staging + 1 || pager.n_held == 0)) {
            evicted(take_at(&a, 0));
            return;
        }
        assert_true(policy_next(&pager, &gone, &place));
        policy_evicted(&pager, gone, place);
        worth_staging -= staged > 0 ? worth_staging / staged : 0;
        worth_staging += !clean[gone] && staged > 0;
        if (clean[gone] || staged == 0) {
            clean[gone] = false;
            evicted(gone);
            return;
        }
        put(&a, gone);
    }
}

static bool run_pager(uint32_t page, enum policy_kind kind, uint64_t t)
{
    static const struct policy_owner owner = {get_mark, set_mark, set_place, NULL};
    if (t == 0)
        assert_int_equal(policy_open(&pager, kind, n_frames, &owner), 0);
    unsigned staged = n_frames / 16 < 8 ? 8 : n_frames / 16; /* below 64 frames' share */
    staged = staged > n_frames / 2 ? n_frames / 2 : staged;
    bool is_resident = policy_has(&pager, page, places[page]) && was_there[page];
    if (is_resident) {
        if (dirty[page] && clean[page]) {
            clean[page] = false;
            protection_failed(&protection);
            policy_touch(&pager, page, places[page]);
        }
        return true;
    }
    bool was_staged = drop(&a, page);
    if (!was_staged && pager.n_held + a.n == n_frames)
        for (unsigned i = 0; i < 1 || i < n_frames / 16; i++)
            run_eviction(staged);
    policy_insert(&pager, page,
                  was_staged        ? POLICY_TAKEN_BACK
                  : was_there[page] ? POLICY_FETCHED
                                    : POLICY_FIRST);
    clean[page] = was_there[page] && !was_staged && !dirty[page] &&
                  protection_wanted(&protection, 1);
    was_there[page] = true;
    return was_staged;
}

#define PAGER(name, kind)                       \
    static bool name(uint32_t page, uint64_t t) \
    {                                           \
        return run_pager(page, kind, t);        \
    }
PAGER(pager_adaptive, POLICY_ADAPTIVE)
PAGER(pager_fifo, POLICY_FIFO)
PAGER(pager_clock, POLICY_CLOCK)
PAGER(pager_2q, POLICY_2Q)
PAGER(pager_s3_fifo, POLICY_S3_FIFO)
PAGER(pager_sieve, POLICY_SIEVE)
PAGER(pager_working_set, POLICY_WORKING_SET)

static const struct {
    const char *name;
    bool (*touch)(uint32_t page, uint64_t t); /* was it there? */
} models[] = {{"opt", opt},
              {"lru", lru},
              {"fifo", fifo},
              {"clock", second_chance},
              {"second-chance", with_the_bit_set},
              {"enhanced-clock", enhanced_clock},
              {"nru", nru},
              {"nru:7", nru},
              {"lfu", lfu},
              {"aging", aging},
              {"aging:5", aging},
              {"2q", two_queues},
              {"lru-k", lru_k},
              {"lru-k:3", lru_k},
              {"arc", arc},
              {"lirs", lirs},
              {"clock-pro", clock_pro},
              {"s3-fifo", s3_fifo},
              {"sieve", sieve},
              {"mglru", mglru},
              {"segmented-fifo", segmented_fifo},
              {"segmented-fifo:60", segmented_fifo},
              {"wsclock", wsclock},
              {"wsclock:9", wsclock},
              {"ws", working_set},
              {"ws:20", working_set},
              {"pff", pff},
              {"pff:3", pff},
              {"pager:adaptive", pager_adaptive},
              {"pager:fifo", pager_fifo},
              {"pager:clock", pager_clock},
              {"pager:2q", pager_2q},
              {"pager:s3-fifo", pager_s3_fifo},
              {"pager:sieve", pager_sieve},
              {"pager:working-set", pager_working_set}};
#define N_MODELS (sizeof models / sizeof models[0])

static void forget_all(void)
{
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    memset(&c, 0, sizeof c);
    memset(&d, 0, sizeof d);
    memset(dirty, 0, sizeof dirty);
    memset(used, 0, sizeof used);
    memset(number, 0, sizeof number);
    memset(stamp, 0, sizeof stamp);
    memset(n_uses, 0, sizeof n_uses);
    memset(n_of, 0, sizeof n_of);
    memset(places, 0, sizeof places);
    memset(marks, 0, sizeof marks);
    memset(was_there, 0, sizeof was_there);
    memset(clean, 0, sizeof clean);
    protection = (struct protection){0};
    worth_staging = 0;
    counter = other = 0;
    hand = 0;
    target = 0;
    outcome = (struct outcome){0};
}

static struct outcome run_model(size_t which)
{
    forget_all();
    for (uint64_t t = 0; t < N; t++) {
        /* Hits see the write; the evicted page's own does not count for the one that comes. */
        dirty[refs[t].page] |= refs[t].is_write;
        outcome.faults += !models[which].touch(refs[t].page, t);
    }
    if (pager.rules != NULL)
        policy_close(&pager);
    return outcome;
}

static unsigned below(unsigned *seed, unsigned n)
{
    return (unsigned)rand_r(seed) % n;
}

/* Random, skewed, loops a little larger than the RAM, phases. */
static void make_references(unsigned *seed, unsigned n_pages)
{
    const unsigned kind = below(seed, 5), length = 1 + below(seed, n_pages);
    const unsigned writes = below(seed, 3);
    for (unsigned i = 0; i < N; i++) {
        unsigned page = below(seed, n_pages);
        if (kind == 1)
            page = below(seed, page + 1);
        else if (kind == 2)
            page = i % length;
        else if (kind == 3 && below(seed, 4) != 0)
            page = (i / 300 * 7 + below(seed, 9)) % n_pages;
        else if (kind == 4)
            page = below(seed, 3) == 0 ? i % n_pages : below(seed, 1 + n_pages / 4);
        refs[i] = (struct reference){page, writes > 0 && below(seed, writes == 1 ? 8 : 2) == 0};
    }
}

static void feed(struct quire_sim *sim, struct quire_mrc *mrc)
{
    static struct quire_trace_record records[N];
    for (unsigned i = 0; i < N; i++)
        records[i] = (struct quire_trace_record){.address = (uint64_t)refs[i].page << 12 | 5,
                                                 .kind = refs[i].is_write ? QUIRE_TRACE_WRITE
                                                                          : QUIRE_TRACE_READ};
    for (unsigned i = 0, n; i < N; i += n) { /* batches of any size */
        n = i % 1500 + 1 < N - i ? i % 1500 + 1 : N - i;
        if (sim != NULL)
            assert_int_equal(quire_sim_feed(sim, records + i, n, NULL), 0);
        if (mrc != NULL)
            assert_int_equal(quire_mrc_feed(mrc, records + i, n, NULL), 0);
    }
}

static const struct quire_trace_info info = {.is_spatial = true, .has_writes = true};

static void simulate(struct quire_sim_counts results[N_MODELS])
{
    struct quire_sim_case cases[N_MODELS];
    struct quire_sim *sim;
    size_t bad;
    for (size_t i = 0; i < N_MODELS; i++) {
        cases[i] = (struct quire_sim_case){.ram_bytes = (uint64_t)n_frames << 12, .page_shift = 12};
        assert_int_equal(
            quire_sim_find_policy(models[i].name, &cases[i].policy, &cases[i].argument), 0);
    }
    assert_int_equal(quire_sim_open(cases, N_MODELS, &info, NULL, &sim, &bad), 0);
    feed(sim, NULL);
    assert_int_equal(quire_sim_finish(sim), 0);
    for (size_t i = 0; i < N_MODELS; i++)
        results[i] = *quire_sim_result(sim, i);
    quire_sim_close(sim);
}

static uint64_t count_pages(void)
{
    bool seen[MOST] = {false};
    uint64_t n = 0;
    for (unsigned i = 0; i < N; i++) {
        n += !seen[refs[i].page];
        seen[refs[i].page] = true;
    }
    return n;
}

static void policies_are_their_models(void **state)
{
    (void)state;
    const char *given = getenv("SIM_MODEL_SEED");
    const unsigned first = given != NULL ? (unsigned)atoi(given) : 1,
                   last = given != NULL ? first : 25;
    for (unsigned seed = first; seed <= last; seed++) {
        struct quire_sim_counts results[N_MODELS];
        unsigned random = seed;
        make_references(&random, 2 + below(&random, MOST - 2));
        n_frames = 1 + below(&random, seed % 2 ? 12 : 70);
        simulate(results);
        for (size_t i = 0; i < N_MODELS; i++) {
            const struct quire_sim_policy *policy;
            assert_int_equal(quire_sim_find_policy(models[i].name, &policy, &argument), 0);
            struct outcome wanted = run_model(i);
            if (results[i].faults != wanted.faults || results[i].writebacks != wanted.writebacks)
                fail_msg("seed %u, %u frames, %s: %lu faults and %lu write-backs, the model has "
                         "%lu and %lu",
                         seed, n_frames, models[i].name, (unsigned long)results[i].faults,
                         (unsigned long)results[i].writebacks, (unsigned long)wanted.faults,
                         (unsigned long)wanted.writebacks);
            assert_int_equal(results[i].references, N);
            assert_int_equal(results[i].cold_faults, count_pages());
            assert_true(results[i].resident_max <= n_frames);
            assert_true(results[0].faults <= results[i].faults); /* OPT's are the fewest */
        }
    }
}

static void the_curve_is_lru_at_each_size(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 8; seed++) {
        const struct quire_mrc_options options = {.page_shift = 12};
        struct quire_mrc *mrc;
        unsigned random = seed;
        make_references(&random, MOST);
        assert_int_equal(quire_mrc_open(&options, &info, &mrc), 0);
        feed(NULL, mrc);
        assert_int_equal(quire_mrc_finish(mrc), 0);
        for (n_frames = 1; n_frames <= MOST + 2; n_frames++)
            assert_int_equal(quire_mrc_faults(mrc, n_frames), run_model(1).faults);
        assert_int_equal(quire_mrc_pages(mrc), count_pages());
        quire_mrc_close(mrc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(policies_are_their_models),
        cmocka_unit_test(the_curve_is_lru_at_each_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
