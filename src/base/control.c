/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control: see control.h.
 *
 * Who may change what: `stats` of a slot are changed by its process only, `held` by that and by who
 * looks at what is shared (the pager's accounts.c), until the process is gone; then by the one who
 * wins the compare-and-swap of pid from the dead pid to REAPING. The run's sums are changed along
 * with them.
 */
#include "base/control.h"

#include "base/checked.h"
#include "base/log.h"
#include "base/process.h"
#include "base/sys.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#define REAPING UINT32_MAX        /* in a slot's pid: somebody takes its holdings back */
#define RESERVED (UINT32_MAX - 1) /* taken for a child that is not there yet */
#define COMING_NS 10000000000ull  /* then it is not expected any more */

static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "shared between processes: atomics must be lock-free");

void *control_swap_space(const struct control *control)
{
    return control->swap_space_offset && control->options.n_touches == 0
               ? (char *)(uintptr_t)control + control->swap_space_offset
               : NULL;
}

struct touches *control_touches(const struct control *control)
{
    return control->options.n_touches > 0
               ? (struct touches *)((char *)(uintptr_t)control + control->swap_space_offset)
               : NULL;
}

static bool is_alive(const struct control_slot *slot, uint32_t pid)
{
    return process_is_alive(pid, atomic_load_explicit(&slot->start_time, memory_order_relaxed));
}

static void raise_peak(_Atomic int64_t *peak, int64_t value)
{
    int64_t seen = atomic_load_explicit(peak, memory_order_relaxed);
    while (value > seen && !atomic_compare_exchange_weak_explicit(
                               peak, &seen, value, memory_order_relaxed, memory_order_relaxed))
        continue;
}

int64_t control_held(const struct control *control)
{
    int64_t sum = atomic_load_explicit(&control->left_behind, memory_order_relaxed);
    const int end = control->options.n_touches > 0 ? CONTROL_POOL : CONTROL_FILE;
    for (int kind = 0; kind < end; kind++)
        sum += atomic_load_explicit(&control->held[kind], memory_order_relaxed);
    return sum;
}

void control_kinds(const _Atomic int64_t held[CONTROL_N_KINDS], int64_t pages[CONTROL_N_KINDS])
{
    static const enum control_kind shared[] = {CONTROL_RESIDENT, CONTROL_POOL, CONTROL_STAGED,
                                               CONTROL_METADATA};
    int64_t missing = 0;
    for (int kind = 0; kind < CONTROL_N_KINDS; kind++)
        pages[kind] = atomic_load_explicit(&held[kind], memory_order_relaxed);
    for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++) {
        int64_t *left = &pages[shared[i]];
        *left += missing;
        missing = *left < 0 ? *left : 0;
        *left -= missing;
    }
}

/* Of what is held of the kind, `now`; on the fault path it is RESIDENT. */
static int64_t told(const struct control *control, enum control_kind kind, int64_t now)
{
    int64_t pages[CONTROL_N_KINDS];
    if (kind == CONTROL_RESIDENT || kind == CONTROL_FILE)
        return now;
    control_kinds(control->held, pages);
    return pages[kind];
}

void control_charge(struct control *control, unsigned slot, enum control_kind kind, int64_t pages)
{
    atomic_fetch_add_explicit(&control->slot[slot].held[kind], pages, memory_order_relaxed);
    int64_t now = atomic_fetch_add_explicit(&control->held[kind], pages, memory_order_relaxed) +
                  pages;
    if (pages <= 0)
        return;
    raise_peak(&control->peak[kind], told(control, kind, now));
    if (kind != CONTROL_FILE)
        raise_peak(&control->peak_held, control_held(control));
}

/*
 * What the slot is charged for and the others have as well, as far as is known: it does not go with
 * its process, and nobody else is charged for it before somebody has looked.
 */
static int64_t shared_with_others(const struct control *control, const struct control_slot *slot)
{
    int64_t held = 0, shared = 0;
    if (atomic_load(&slot->shares) != CONTROL_SHARES)
        return 0;
    for (int kind = 0; kind < CONTROL_METADATA; kind++)
        held += atomic_load(&slot->held[kind]);
    for (unsigned i = 0; i < control->slots_end; i++) {
        const struct control_slot *other = &control->slot[i];
        if (other != slot && atomic_load(&other->shares) == CONTROL_SHARES)
            shared += atomic_load(&other->shared);
    }
    return held < shared ? held : shared;
}

/* Who looks shares something: where nobody does, nothing is left to be looked at. */
static void forget_left_behind(struct control *control)
{
    for (unsigned i = 0; i < control->slots_end; i++)
        if (atomic_load(&control->slot[i].shares) == CONTROL_SHARES)
            return;
    atomic_store(&control->left_behind, 0);
}

/* Nobody asks its process for anything any more, or looks into it. */
static void withdraw(struct control_slot *slot)
{
    atomic_store(&slot->request, 0);
    atomic_store(&slot->serves, 0);
    atomic_store(&slot->armed, 0);
    atomic_store(&slot->unmanaged_pages, 0);
    atomic_store(&slot->stored_pages, 0);
    for (int zone = 0; zone < CONTROL_N_ZONES; zone++) { /* after exec there are new ones */
        atomic_store(&slot->zone_base[zone], 0);
        atomic_store(&slot->zone_end[zone], 0);
    }
}

/* The slot holds nothing afterwards; its process is gone, or has a new image. */
static void clear_holdings(struct control *control, struct control_slot *slot)
{
    int64_t left = shared_with_others(control, slot);
    if (left > 0) {
        atomic_store(&control->left_ns, sys_now_ns());
        atomic_fetch_add(&control->left_behind, left);
    }
    for (int kind = 0; kind < CONTROL_N_KINDS; kind++) {
        int64_t held = atomic_exchange(&slot->held[kind], 0);
        atomic_fetch_sub(&control->held[kind], held);
    }
    atomic_fetch_add(&control->n_left, 1);
    withdraw(slot);
    atomic_store(&slot->leaves, 0);
    atomic_store(&slot->shares, CONTROL_ALONE);
    atomic_store(&slot->shared, 0);
    forget_left_behind(control);
}

void control_leave(struct control *control, unsigned slot)
{
    struct control_slot *own = &control->slot[slot];
    if (atomic_load(&own->pid) != process_own_pid()) /* a vfork child, in another's memory */
        return;
    atomic_store(&own->leaves, 1);
    withdraw(own);
}

bool control_somebody_leaves(const struct control *control)
{
    bool leaves = false;
    for (unsigned i = 0; i < control->slots_end; i++)
        leaves |= atomic_load(&control->slot[i].leaves) != 0;
    return leaves;
}

void control_set_unmanaged(struct control *control, unsigned slot, uint64_t n_pages)
{
    uint64_t sum = 0;
    atomic_store(&control->slot[slot].unmanaged_pages, n_pages);
    for (unsigned i = 0; i < control->slots_end; i++)
        sum += atomic_load_explicit(&control->slot[i].unmanaged_pages, memory_order_relaxed);
    uint64_t peak = atomic_load(&control->peak_unmanaged_pages);
    while (sum > peak && !atomic_compare_exchange_weak(&control->peak_unmanaged_pages, &peak, sum))
        continue;
}

void control_heat(struct control *control, enum control_zone zone, uint32_t page)
{
    uint32_t at = page >> CONTROL_HEAT_SHIFT;
    if (at >= CONTROL_HEAT_COUNTERS)
        at = CONTROL_HEAT_COUNTERS - 1;
    atomic_fetch_add_explicit(&control->heat[zone][at], 1, memory_order_relaxed);
    uint32_t end = atomic_load_explicit(&control->heat_end[zone], memory_order_relaxed);
    while (end <= at &&
           !atomic_compare_exchange_weak_explicit(&control->heat_end[zone], &end, at + 1,
                                                  memory_order_relaxed, memory_order_relaxed))
        continue;
}

#define N_STATS (sizeof(struct control_stats) / sizeof(_Atomic uint64_t))

static void add_stats(struct control_stats *sum, const struct control_stats *stats)
{
    _Atomic uint64_t *to = (_Atomic uint64_t *)sum;
    const _Atomic uint64_t *from = (const _Atomic uint64_t *)stats;
    for (size_t i = 0; i < N_STATS; i++)
        control_count(&to[i], atomic_load_explicit(&from[i], memory_order_relaxed));
}

unsigned control_n_alive(const struct control *control, unsigned *n_coming)
{
    unsigned n = 0;
    *n_coming = 0;
    for (unsigned i = 0; i < control->slots_end; i++) {
        uint32_t pid = atomic_load(&control->slot[i].pid);
        if (pid == RESERVED)
            ++*n_coming;
        else if (pid != 0 && pid != REAPING && is_alive(&control->slot[i], pid))
            n++;
    }
    return n;
}

static bool holds_something(const struct control_slot *slot)
{
    bool holds = false;
    for (int kind = 0; kind < CONTROL_N_KINDS; kind++)
        holds |= atomic_load(&slot->held[kind]) != 0;
    return holds;
}

/* Nobody's holdings: others put right what it is charged for, and may be late for its end. */
static bool is_ended(const struct control_slot *slot, uint32_t pid)
{
    if (pid == 0)
        return holds_something(slot);
    return pid < RESERVED && !is_alive(slot, pid);
}

/* One alone gets it; *pid: whose slot it was. */
static bool seize(struct control_slot *slot, uint32_t *pid)
{
    *pid = atomic_load(&slot->pid);
    return is_ended(slot, *pid) && atomic_compare_exchange_strong(&slot->pid, pid, REAPING);
}

unsigned control_collect(struct control *control, void (*gone)(void *context, unsigned slot),
                         void *context)
{
    unsigned n_collected = 0;
    uint32_t pid;
    for (unsigned i = 0; i < control->slots_end; i++) {
        struct control_slot *slot = &control->slot[i];
        if (atomic_load(&slot->leaves) == 0 || !seize(slot, &pid))
            continue;
        clear_holdings(control, slot);
        if (gone)
            gone(context, i);
        atomic_store(&slot->pid, pid);
        n_collected++;
    }
    return n_collected;
}

unsigned control_reap(struct control *control, void (*gone)(void *context, unsigned slot),
                      void *context)
{
    unsigned n_freed = 0;
    uint32_t pid;
    for (unsigned i = 0; i < control->slots_end; i++) {
        struct control_slot *slot = &control->slot[i];
        if (!seize(slot, &pid))
            continue;
        clear_holdings(control, slot);
        add_stats(&control->ended, &slot->stats);
        memset(&slot->stats, 0, sizeof slot->stats);
        if (gone)
            gone(context, i);
        atomic_store(&slot->pid, 0);
        n_freed++;
    }
    return n_freed;
}

/* Who compares n_processes sees by it, or by control_is_coming(), that it is about to be taken. */
static int take_slot(struct control *control, uint32_t pid)
{
    unsigned i = 0;
    for (uint32_t free = 0; i < CONTROL_SLOTS; i++, free = 0)
        if (atomic_compare_exchange_strong(&control->slot[i].pid, &free, pid))
            break;
    if (i == CONTROL_SLOTS)
        return -EAGAIN;
    atomic_store(&control->slot[i].reserved_ns, sys_now_ns());
    uint32_t end = atomic_load(&control->slots_end);
    while (end <= i && !atomic_compare_exchange_weak(&control->slots_end, &end, i + 1))
        continue;
    atomic_fetch_add(&control->n_processes, 1);
    return (int)i;
}

int control_reserve(struct control *control)
{
    const int slot = take_slot(control, RESERVED);
    if (slot >= 0)
        atomic_store(&control->slot[slot].shares, CONTROL_SHARES);
    return slot;
}

bool control_is_coming(const struct control *control, unsigned slot)
{
    return atomic_load(&control->slot[slot].pid) == RESERVED &&
           sys_now_ns() - atomic_load(&control->slot[slot].reserved_ns) < COMING_NS;
}

/* A process that begins now has nothing to bring back or to evict; but it is to stop, too. */
static void begin_orders(struct control *control, struct control_slot *slot)
{
    uint32_t order = atomic_load(&control->order);
    bool stops = control_order_kind(order) == CONTROL_PARK_AND_STOP;
    atomic_store(&slot->order_done, stops ? 0 : order);
}

void control_adopt(struct control *control, unsigned slot)
{
    uint32_t pid = process_own_pid();
    begin_orders(control, &control->slot[slot]);
    atomic_store(&control->slot[slot].start_time, process_start_time(pid));
    atomic_store(&control->slot[slot].pid, pid);
}

void control_unreserve(struct control *control, unsigned slot)
{
    atomic_store(&control->slot[slot].shares, CONTROL_ALONE);
    atomic_store(&control->slot[slot].pid, 0);
}

void control_enroll(struct control *control, uint32_t pid)
{
    if (pid == 0)
        pid = process_own_pid();
    else if (!process_shares_pids())
        return; /* the caller's number for it is not the others' */
    for (unsigned i = 0; i < control->slots_end; i++)
        if (atomic_load(&control->slot[i].pid) == pid && is_alive(&control->slot[i], pid))
            return;
    uint64_t start_time = process_start_time(pid);
    int slot = start_time > 0 && start_time != PROCESS_IS_ZOMBIE ? take_slot(control, RESERVED)
                                                                 : -1;
    if (slot < 0)
        return; /* it has ended, or will be refused when it joins */
    atomic_store(&control->slot[slot].start_time, start_time);
    begin_orders(control, &control->slot[slot]);
    atomic_store(&control->slot[slot].pid, pid);
}

int control_join(struct control *control)
{
    uint32_t pid = process_own_pid();
    for (unsigned i = 0; i < control->slots_end; i++) {
        struct control_slot *slot = &control->slot[i];
        if (atomic_load(&slot->pid) == pid && is_alive(slot, pid)) {
            clear_holdings(control, slot);
            begin_orders(control, slot);
            return (int)i;
        }
    }
    int slot = take_slot(control, RESERVED);
    if (slot < 0 && control_reap(control, NULL, NULL) > 0)
        slot = take_slot(control, RESERVED);
    if (slot >= 0)
        control_adopt(control, (unsigned)slot);
    return slot;
}

/* Processes that can be asked for something sleep on a word of their own. */
static void wake(struct control_slot *slot)
{
    atomic_fetch_add(&slot->wake, 1);
    sys_futex_wake(&slot->wake, 1, true);
}

static void wake_all(struct control *control)
{
    for (unsigned i = 0; i < control->slots_end; i++)
        if (atomic_load(&control->slot[i].pid) != 0 && atomic_load(&control->slot[i].serves))
            wake(&control->slot[i]);
}

void control_ask(struct control_slot *slot, uint32_t n_pages)
{
    uint32_t none = 0;
    if (atomic_compare_exchange_strong(&slot->request, &none, n_pages))
        wake(slot);
}

void control_set_budget(struct control *control, uint64_t bytes)
{
    uint64_t most = atomic_load(&control->budget_most_bytes);
    atomic_store(&control->budget_bytes, bytes < most ? bytes : most);
    wake_all(control);
    atomic_fetch_add(&control->room, 1);
    sys_futex_wake(&control->room, INT32_MAX, true);
}

static uint32_t next_order(uint32_t order, enum control_order_kind kind)
{
    uint32_t number = (order >> CONTROL_ORDER_BITS) + 1;
    return number << CONTROL_ORDER_BITS | (uint32_t)kind;
}

uint32_t control_give_order(struct control *control, enum control_order_kind kind)
{
    uint32_t before = atomic_load(&control->order), order;
    do
        order = next_order(before, kind);
    while (!atomic_compare_exchange_weak(&control->order, &before, order));
    wake_all(control);
    return order;
}

bool control_has_done(const struct control_slot *slot, uint32_t order)
{
    uint32_t done = atomic_load(&slot->order_done);
    return (int32_t)(done - order) >= 0; /* numbers go round */
}

void control_end_order(struct control *control, uint32_t order)
{
    atomic_compare_exchange_strong(&control->order, &order, next_order(order, CONTROL_NO_ORDER));
}

uint32_t control_living_pid(const struct control *control, unsigned slot)
{
    uint32_t pid = atomic_load(&control->slot[slot].pid);
    return pid != 0 && pid < RESERVED && is_alive(&control->slot[slot], pid) ? pid : 0;
}

void control_set_verdict(struct control *control, enum control_verdict verdict, const char *message)
{
    uint32_t running = CONTROL_RUNNING;
    if (!atomic_compare_exchange_strong(&control->verdict, &running, verdict))
        return;
    log_format(control->message, sizeof control->message, "%s", message);
}

void control_kill_all(struct control *control)
{
    uint32_t self = process_own_pid();
    bool can_kill = process_shares_pids();
    for (unsigned i = 0; can_kill && i < control->slots_end; i++) {
        uint32_t pid = atomic_load(&control->slot[i].pid);
        if (pid != 0 && pid < RESERVED && pid != self && is_alive(&control->slot[i], pid))
            sys_kill((int)pid, SIGKILL);
    }
    sys_kill(sys_getpid(), SIGKILL);
}

unsigned control_mend(struct control *control, struct control_mending *mending)
{
    unsigned n_mended = 0;
    for (int kind = 0; kind < CONTROL_N_KINDS; kind++) {
        int64_t difference = atomic_load(&control->held[kind]);
        for (unsigned i = 0; i < control->slots_end; i++)
            difference -= atomic_load(&control->slot[i].held[kind]);
        bool is_same = difference != 0 && difference == mending->difference[kind];
        mending->difference[kind] = difference;
        mending->n_looks[kind] = is_same ? mending->n_looks[kind] + 1 : 1;
        if (!is_same || mending->n_looks[kind] < CONTROL_MEND_LOOKS)
            continue;
        atomic_fetch_sub(&control->held[kind], difference);
        mending->difference[kind] = 0;
        n_mended++;
    }
    return n_mended;
}

void control_rest_begins(struct control *control)
{
    atomic_store(&control->keeper_rests, 1);
}

void control_rest(struct control *control, uint64_t timeout_ns)
{
    sys_futex_wait(&control->keeper_rests, 1, timeout_ns, true);
    atomic_store(&control->keeper_rests, 0);
}

void control_rouse_keeper(struct control *control)
{
    if (atomic_exchange(&control->keeper_rests, 0) != 0)
        sys_futex_wake(&control->keeper_rests, 1, true);
}

void control_totals(const struct control *control, struct control_stats *totals)
{
    memset(totals, 0, sizeof *totals);
    add_stats(totals, &control->ended);
    for (unsigned i = 0; i < control->slots_end; i++)
        add_stats(totals, &control->slot[i].stats);
}

#define LATENCY_FLOOR_SHIFT 6 /* 64 ns */

unsigned control_latency_bucket(uint64_t ns)
{
    if (ns < (1u << LATENCY_FLOOR_SHIFT))
        return 0;
    unsigned power = log2_floor(ns);
    unsigned quarter = (unsigned)(ns >> (power - 2)) & 3;
    unsigned bucket = (power - LATENCY_FLOOR_SHIFT) * 4 + quarter;
    return bucket < CONTROL_N_LATENCY_BUCKETS ? bucket : CONTROL_N_LATENCY_BUCKETS - 1;
}

uint64_t control_latency_bound_ns(unsigned bucket)
{
    unsigned power = bucket / 4 + LATENCY_FLOOR_SHIFT;
    return ((uint64_t)(bucket % 4) + 5) << (power - 2);
}

uint64_t control_latency_quantile_ns(const struct control_stats *stats, unsigned permille)
{
    uint64_t total = 0, below = 0;
    for (unsigned i = 0; i < CONTROL_N_LATENCY_BUCKETS; i++)
        total += stats->latency[i];
    for (unsigned i = 0; i < CONTROL_N_LATENCY_BUCKETS; i++) {
        below += stats->latency[i];
        if (total > 0 && below * 1000 >= total * permille)
            return control_latency_bound_ns(i);
    }
    return 0;
}
