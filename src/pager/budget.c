/* SPDX-License-Identifier: Apache-2.0 */
/*
 * budget: what this process holds against the run's budget, and waiting for room.
 *
 * Room is the budget less what all processes of the run hold. Reclaim starts when it falls below
 * `low` and stops at `high`, so that a fault usually finds room. A fault that finds none waits for
 * the service thread, and where passes of that bring nothing any more, the run is out of room.
 *
 * After a fork, parent and child share pages, which both hold and one is charged for (sharing.c);
 * accounts.c puts that right now and then.
 */
#include "base/log.h"
#include "base/meta.h"
#include "base/proc.h"
#include "pager/reclaim.h"
#include "pager/watch.h"
#include "store/swap.h"

#include <string.h>

#define LOW_SHARE 256 /* low is one part in so many of the budget */
#define LOW_LEAST 64
#define LOW_MOST 4096
#define STAGING_SHARE 64
#define STAGING_LEAST 64
#define STAGING_LEAST_SHARE 16 /* but not more than so much of what a process can have */
#define STAGING_FLOOR 8
#define STAGING_MOST 16384
#define POOL_FLOOR_SHARE 8     /* without a file the pool may grow until so little is left */
#define POOL_FILE_SHARE 4      /* with one, so much: a page from the file costs ten from RAM */
#define POOL_AUTO_SHARE 4      /* and where the budget follows the working set, so much at most */
#define FRUITLESS_PASSES 20    /* in a row, while a fault waits: then there is nothing to be had */
#define FRUITLESS_TIGHT 10     /* then allocations fail, even if the store would take more */
#define TIGHT_NS 200000000u    /* but not before: a disk may be slow, the kernel short of memory */
#define WORTH_ASKING 64        /* pages that another holds */
#define ASKS_PER_PASS 100      /* passes that asked another process and got nothing yet, for one */
#define PATIENCE_NS 500000000u /* before that no wait is in vain: somebody may be preempted */
#define PATIENCE_OF_MANY_NS 20000000000ull /* where several need their turn: patience_ns() */
#define LEFT_NS 1000000000ull              /* after it somebody has looked, if anybody does */
#define WAIT_NS 20000000u
#define SHARE_WAIT_NS 5000000u /* for another process's room, before it is taken from one's own */

_Atomic uint32_t budget_fruitless;
static _Atomic uint32_t n_waiting; /* handlers that wait for room */

static _Atomic int64_t n_pagers = 1; /* armed processes of the run, when last counted */

static int64_t clamp(int64_t value, int64_t least, int64_t most)
{
    return value < least ? least : value > most ? most : value;
}

void budget_watermarks(struct watermarks *marks)
{
    int64_t budget = pager.control ? control_budget(pager.control) : INT32_MAX;
    bool has_file = pager.control && pager.control->options.swap_max_bytes > 0;
    marks->low = clamp(budget / LOW_SHARE, LOW_LEAST, LOW_MOST);
    marks->urgent = marks->low / 2;
    marks->high = 2 * marks->low;
    bool is_to_shrink = pager.control && pager.control->options.max_stall_ppm > 0;
    marks->pool_limit = !has_file      ? budget - budget / POOL_FLOOR_SHARE - marks->high
                        : is_to_shrink ? budget / POOL_AUTO_SHARE
                                       : budget - budget / POOL_FILE_SHARE;
    if (is_watched()) /* what is outside of the window costs it nothing */
        marks->pool_limit = (int64_t)(atomic_load(&pager.control->budget_most_bytes) >>
                                      SYS_PAGE_SHIFT);
    marks->n_pagers = atomic_load_explicit(&n_pagers, memory_order_relaxed);
    int64_t part = budget / marks->n_pagers;
    int64_t least = clamp(part / STAGING_LEAST_SHARE, STAGING_FLOOR, STAGING_LEAST);
    int64_t most = STAGING_MOST;
    if (pager.staging.n_slots > 0) /* the ring is as large as it was when the pager was armed */
        most = pager.staging.n_slots / 2 - STAGING_RESERVE_SLOTS;
    marks->staging = (uint32_t)clamp(part / STAGING_SHARE, least < most ? least : most, most);
}

void budget_count_pagers(void)
{
    uint32_t end = atomic_load(&pager.control->slots_end);
    int64_t n = 0;
    for (uint32_t i = 0; i < end; i++)
        n += pager.control->slot[i].pid != 0 && atomic_load(&pager.control->slot[i].armed);
    atomic_store_explicit(&n_pagers, n > 1 ? n : 1, memory_order_relaxed);
}

int64_t budget_room(void)
{
    if (!pager.control)
        return INT64_MAX;
    return control_budget(pager.control) - control_held(pager.control);
}

void budget_charge(enum control_kind kind, int64_t n_pages)
{
    if (pager.control && n_pages != 0)
        control_charge(pager.control, pager.slot, kind, n_pages);
}

static int64_t held_here(void)
{
    return pager.n_resident + pager.staging.n_pages + pager.pool_charged;
}

void budget_unshare(int64_t n_pages)
{
    int64_t shared = pager.self->shared;
    n_pages = clamp(n_pages, 0, shared > 0 ? shared : 0);
    pager.self->shared -= n_pages;
    budget_charge(CONTROL_RESIDENT, n_pages);
}

void budget_shed(enum control_kind kind, int64_t n_pages)
{
    int64_t held = held_here() + n_pages; /* before */
    budget_charge(kind, -n_pages);
    if (pager.self && pager.self->shared > 0 && held > 0)
        budget_unshare((n_pages * pager.self->shared + held - 1) / held);
}

/*
 * L. What the pool held at the last fork is shared with the other side. A page that is written to
 * becomes this process's own: one more. A page that is given up frees nothing as long as the other
 * has it, so it stays charged until accounts.c has looked.
 */
static void charge_unshared_pool(int64_t now)
{
    int64_t n_pages = pager.pool_shared - now;
    pager.pool_shared = now;
    pager.self->shared -= n_pages;
    budget_charge(CONTROL_RESIDENT, n_pages);
}

static void charge_to(enum control_kind kind, _Atomic int64_t *charged, int64_t now)
{
    int64_t change = now - *charged;
    *charged = now;
    budget_charge(kind, change);
}

/* Quire's own tables: those that base/meta.h counts, and the buddy system's. */
static int64_t metadata_pages(void)
{
    return (int64_t)((meta_bytes() + quire_buddy_metadata_held(pager.buddy)) >> SYS_PAGE_SHIFT);
}

void budget_charge_tables(void)
{
    charge_to(CONTROL_METADATA, &pager.metadata_charged, metadata_pages());
    if (!pager.store)
        return;
    struct store_counts counts;
    store_counts(pager.store, &counts);
    charge_unshared_pool((int64_t)counts.pool_shared_pages);
    charge_to(CONTROL_POOL, &pager.pool_charged, (int64_t)counts.pool_pages);
    charge_to(CONTROL_FILE, &pager.file_charged, (int64_t)(counts.file_held_bytes >> 12));
    atomic_store_explicit(&pager.self->stored_pages, pager.table.n_stored, memory_order_relaxed);
}

bool budget_is_tight(void)
{
    struct watermarks marks;
    if (!pager.control || !atomic_load_explicit(&pager.control->tight, memory_order_relaxed))
        return false;
    budget_watermarks(&marks);
    if (budget_room() < marks.high)
        return true;
    atomic_store(&pager.control->tight, 0); /* the program has given something back */
    return false;
}

bool budget_has_room_to_copy(void)
{
    struct watermarks marks;
    budget_watermarks(&marks);
    return budget_room() - held_here() - pager.metadata_charged >= marks.high;
}

void budget_announce_room(void)
{
    atomic_store(&budget_fruitless, 0);
    if (atomic_load_explicit(&pager.control->tight, memory_order_relaxed))
        atomic_store(&pager.control->tight, 0);
    atomic_fetch_add(&pager.control->room, 1);
    if (atomic_load(&n_waiting) > 0)
        sys_futex_wake(&pager.control->room, INT32_MAX, true);
}

bool budget_retreat(int64_t n_pages)
{
    struct watermarks marks;
    struct control *control = pager.control;
    uint64_t now = atomic_load(&control->budget_bytes);
    budget_watermarks(&marks);
    int64_t wanted = control_held(control) + n_pages + marks.high;
    uint64_t wanted_bytes = wanted > 0 ? (uint64_t)wanted << SYS_PAGE_SHIFT : 0;
    if (wanted_bytes > atomic_load(&control->retreat_bytes))
        return false;
    if (wanted_bytes > now)
        atomic_compare_exchange_strong(&control->budget_bytes, &now, wanted_bytes);
    budget_announce_room();
    return budget_room() >= n_pages;
}

/* What stands in the way, and what to do. */
static const char *why_out_of_room(void)
{
    if (pager.control->options.swap_max_bytes == 0)
        return "there is no swap file (--swap none); raise --ram, or allow a file with --swap DIR";
    if (!writeback_is_possible())
        return "the swap file takes no more; raise --ram or --swap-max";
    return "what is in RAM is locked, pinned, or needed just now; raise --ram";
}

static void out_of_room(void)
{
    int64_t pages[CONTROL_N_KINDS];
    control_kinds(pager.control->held, pages);
    pager_end_run(CONTROL_OUT_OF_ROOM,
                  "out of room: the budget of %lu MiB is full (%ld MiB resident, %ld staged, %ld "
                  "compressed, %ld tables) and %s",
                  (unsigned long)(control_budget(pager.control) >> 8),
                  (long)(pages[CONTROL_RESIDENT] >> 8), (long)(pages[CONTROL_STAGED] >> 8),
                  (long)(pages[CONTROL_POOL] >> 8), (long)(pages[CONTROL_METADATA] >> 8),
                  why_out_of_room());
}

/* So many passes see all that is resident, even if what can be evicted comes last. */
static uint32_t fruitless_most(void)
{
    return FRUITLESS_PASSES + (uint32_t)(pager.n_resident / RECLAIM_PASS_PAGES);
}

bool budget_has_room_for(uint32_t page)
{
    return budget_room() >= 1 || atomic_load(&service_awaits) == (uint64_t)page + 1;
}

/*
 * Where several processes page, room depends on the others: who is asked must get the processor to
 * answer, a child must have been armed, what a fork shares is charged twice until somebody has
 * looked (accounts.c), and who ends has its memory until the kernel has taken it apart. On a busy
 * machine all of that takes seconds.
 */
static uint64_t patience_ns(void)
{
    bool alone = atomic_load_explicit(&n_pagers, memory_order_relaxed) <= 1 &&
                 pager.self->shares != CONTROL_SHARES && !control_somebody_leaves(pager.control);
    return alone ? PATIENCE_NS : PATIENCE_OF_MANY_NS;
}

void budget_wait_for_room(uint32_t page, void (*meanwhile)(void))
{
    control_count(&pager.self->stats.waits_for_room, 1);
    atomic_fetch_add(&n_waiting, 1);
    uint32_t start = atomic_load(&budget_fruitless);
    uint64_t began = sys_now_ns();
    while (!budget_has_room_for(page)) {
        uint32_t turn = atomic_load(&pager.control->room);
        uint32_t fruitless = atomic_load(&budget_fruitless);
        if (fruitless < start) /* there was progress meanwhile */
            start = fruitless;
        if (fruitless > start + fruitless_most() && sys_now_ns() - began > patience_ns() &&
            pager.control->left_behind == 0 && /* else there may be room after the next look */
            !budget_retreat(1))
            out_of_room();
        service_wake();
        sys_futex_wait(&pager.control->room, turn, WAIT_NS, true);
        meanwhile();
    }
    atomic_fetch_sub(&n_waiting, 1);
}

static int64_t evictable(const struct control_slot *slot)
{
    return slot->held[CONTROL_RESIDENT] + slot->held[CONTROL_STAGED] + slot->held[CONTROL_POOL];
}

/* The other process that holds most is asked to give back. NULL: no other holds much. */
static struct control_slot *ask_another(int64_t wanted)
{
    struct control_slot *most = NULL;
    uint32_t end = atomic_load(&pager.control->slots_end);
    for (uint32_t i = 0; i < end; i++) {
        struct control_slot *slot = &pager.control->slot[i];
        if (slot == pager.self || slot->pid == 0 || !atomic_load(&slot->serves))
            continue;
        if (!most || evictable(slot) > evictable(most))
            most = slot;
    }
    if (!most || evictable(most) < WORTH_ASKING)
        return NULL;
    control_ask(most, (uint32_t)wanted);
    return most;
}

bool budget_is_poor(void)
{
    int64_t n = atomic_load_explicit(&n_pagers, memory_order_relaxed);
    return n > 1 && held_here() < control_budget(pager.control) / n / 2;
}

bool budget_ask_for_share(int64_t wanted)
{
    uint32_t turn = atomic_load(&pager.control->room);
    if (!ask_another(wanted))
        return false;
    sys_futex_wait(&pager.control->room, turn, SHARE_WAIT_NS, true);
    return budget_room() >= wanted;
}

static void release_swap_of(void *context, unsigned slot)
{
    struct swap_space *space = control_swap_space(pager.control);
    if (space)
        swap_release_owner(space, slot);
}

/* Whoever would have looked has ended, or shares nothing any more. */
static void void_left_behind(void)
{
    int64_t left = pager.control->left_behind;
    if (left != 0 && sys_now_ns() - pager.control->left_ns > LEFT_NS)
        atomic_compare_exchange_strong(&pager.control->left_behind, &left, 0);
}

bool budget_reap(void)
{
    if (!pager.control)
        return false;
    void_left_behind();
    return control_reap(pager.control, release_swap_of, NULL) > 0;
}

void budget_collect(void)
{
    control_collect(pager.control, release_swap_of, NULL);
}

/*
 * A pass counts as fruitless only if nobody else made room meanwhile, and if who was asked for room
 * has tried in vain as well. While it has not answered (it may have to write to a disk first)
 * passes count for little, but in the end they do.
 */
void budget_no_progress(int64_t wanted)
{
    static struct {
        const struct control_slot *slot; /* who was asked last */
        uint32_t n_answered, n_asked, turn;
        uint64_t since_ns; /* there has been no room */
    } seen;
    uint32_t turn = atomic_load(&pager.control->room);
    const struct control_slot *asked = ask_another(wanted);
    uint32_t n_answered = asked ? atomic_load(&asked->n_answered) : 0;
    if (turn != seen.turn || seen.since_ns == 0) {
        seen.n_asked = 0;
        seen.since_ns = sys_now_ns();
    } else if (!asked || (asked == seen.slot && n_answered != seen.n_answered) ||
               ++seen.n_asked % ASKS_PER_PASS == 0) {
        atomic_fetch_add(&budget_fruitless, 1);
    }
    seen.slot = asked;
    seen.n_answered = n_answered;
    seen.turn = turn;
    bool is_stuck = atomic_load(&budget_fruitless) > FRUITLESS_TIGHT &&
                    sys_now_ns() - seen.since_ns > TIGHT_NS;
    if (!asked && (reclaim_is_store_full() || is_stuck) && !budget_retreat(wanted))
        atomic_store(&pager.control->tight, 1);
    sys_sleep_ns(asked ? 2000000 : 1000000);
}

/* Anonymous pages of this process by /proc/.../statm: resident less those of files. */
static int64_t anonymous_pages(void)
{
    char text[128];
    if (!proc_read("/proc/thread-self/statm", text, sizeof text))
        return 0;
    const char *resident = strchr(text, ' ');
    const char *of_files = resident ? strchr(resident + 1, ' ') : NULL;
    if (!of_files)
        return 0;
    return (int64_t)(proc_number(resident + 1) - proc_number(of_files + 1));
}

/*
 * Unarmed, what was handed out is an upper bound of what is resident, so the difference says
 * little: then it is a lower bound of what is not managed.
 */
void budget_sample_unmanaged(void)
{
    int64_t held = held_here() + metadata_pages();
    int64_t unmanaged = anonymous_pages() - held;
    control_set_unmanaged(pager.control, pager.slot, unmanaged > 0 ? (uint64_t)unmanaged : 0);
}
