/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault: serves faults. Runs in the handlers' threads (handlers.c).
 *
 * How pages come in: bring.h.
 *
 * The wake-up comes last and without the lock, because who is woken may take the processor from
 * the handler at once. Room is made before the page is brought in, here and not in the service
 * thread, as long as it is a matter of moving and packing a few pages: the faulting thread sleeps,
 * its processor is free and has what is needed in its caches, and no other has to be woken.
 */
#include "base/checked.h"
#include "base/meta.h"
#include "base/touches.h"
#include "base/uffd.h"
#include "pager/bring.h"
#include "pager/watch.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define TOUCH_WINDOW 32u /* pages at most that a first touch brings in: 128 KiB */
#define N_ZEROS TOUCH_WINDOW
#define MOST_SKIPPED 1024u /* pages that are there, in the middle of a stream */
#define MOST_STEPS 2       /* of reclaim before a fault */

static unsigned char *zeros; /* N_ZEROS pages, never written: the kernel's zero page */

/* What came in with a fault on pages from the store and staging. */
struct served {
    struct prefetch_plan plan;
    uint32_t page, end; /* all of it lies in [page, end) */
    uint32_t n_pages;   /* from the one that was missed on */
    uint32_t n_others;
};

static void count_fault(enum control_fault kind, uint32_t n_pages)
{
    control_count(&pager.self->stats.faults[kind], 1);
    if (n_pages > 1)
        control_count(&pager.self->stats.prefetched, n_pages - 1);
}

static void count_hits(uint64_t n_pages)
{
    if (n_pages > 0)
        control_count(&pager.self->stats.prefetch_hits, n_pages);
}

/* L. How many pages from `page` on are there, and will not fault when a stream gets to them. */
static uint32_t n_resident_at(uint32_t page)
{
    uint32_t n = 0;
    while (n < MOST_SKIPPED && page + n < pager.n_pages &&
           page_state(table_get(&pager.table, page + n)) == PAGE_RESIDENT)
        n++;
    return n;
}

static_assert(PREFETCH_MOST <= WINDOW_PAGES, "a window of pages to load holds what is planned");

/* Of its part of the budget. */
static uint32_t most_loaded(void)
{
    struct watermarks marks;
    budget_watermarks(&marks);
    return prefetch_most((uint64_t)(control_budget(pager.control) / marks.n_pagers));
}

/* Locked on entry, unlocked on return, as in all of the functions that serve. */
static struct waiters serve_first_touch(uint32_t page)
{
    const bool alone = pager.prefetch.kind == PREFETCH_NONE;
    uint32_t window = readahead_window(&pager.touch, page, alone ? 1 : TOUCH_WINDOW);
    uint64_t n_used = readahead_used(&pager.touch);
    uint32_t n = bring_within_room(bring_alike(page, PAGE_EMPTY, window));
    if (n < window)
        readahead_cut(&pager.touch, page, n, 0);
    bring_begin(page, n);
    lock_release(&pager.lock);
    uint32_t done = bring_install_writable(page, zeros, n);
    lock_take(&pager.lock);
    bring_finish(page, n, done, &(struct coming){.first = POLICY_FIRST});
    lock_release(&pager.lock);
    count_fault(CONTROL_FAULT_FIRST_TOUCH, done);
    count_hits(n_used);
    return (struct waiters){page, n, true, 0};
}

/* L. What comes in along with the page? */
static void plan(struct served *served, uint32_t page)
{
    *served = (struct served){.page = page, .end = page + 1};
    prefetch_plan(&pager.prefetch, page, most_loaded(), &served->plan);
}

/* L. The fault has been served; returns how many pages of earlier ones are known to be used. */
static uint64_t note_served(struct served *served, uint32_t page)
{
    const uint32_t watch = served->plan.watch;
    bool absent = watch < pager.n_pages &&
                  page_state(table_get(&pager.table, watch)) == PAGE_STORED;
    uint32_t n_there = served->n_pages < served->plan.n_pages
                           ? n_resident_at(page + served->n_pages)
                           : 0;
    prefetch_done(&pager.prefetch, &served->plan, page, served->n_pages, served->n_others, n_there,
                  absent);
    uint64_t n_used = pager.prefetch.n_used;
    pager.prefetch.n_used = 0;
    return n_used;
}

static struct waiters serve_staged(uint32_t page, page_entry entry)
{
    uint32_t slot = (uint32_t)page_payload(entry);
    struct served served;
    plan(&served, page);
    served.n_pages = bring_staged_run(page, slot, served.plan.n_pages);
    uint64_t n_used = note_served(&served, page);
    uint32_t done = bring_back(page, slot, served.n_pages, POLICY_TAKEN_BACK);
    lock_release(&pager.lock);
    count_fault(CONTROL_FAULT_STAGING, done);
    count_hits(n_used);
    return (struct waiters){page, served.n_pages, false, 0};
}

static enum control_fault fault_kind(store_ref ref)
{
    switch (store_tier(ref)) {
    case STORE_SAME_FILLED:
        return CONTROL_FAULT_SAME_FILLED;
    case STORE_RAM:
        return CONTROL_FAULT_RAM;
    case STORE_FILE:
        break;
    }
    return CONTROL_FAULT_FILE;
}

/* L. A page that lies within some part of the arena that is in use, and is stored. */
static bool is_stored(uint32_t page)
{
    page_entry entry = page < pager.n_pages ? table_get(&pager.table, page) : 0;
    return page_state(entry) == PAGE_STORED && !(entry & (PAGE_BUSY | PAGE_DEAD));
}

/* L. Nobody asked for these: they come in as long as there is more room than faults need. */
static void bring_others(struct served *served, bool to_read)
{
    struct watermarks marks;
    budget_watermarks(&marks);
    for (uint32_t i = 0; i < served->plan.n_runs; i++) {
        uint32_t page = served->plan.run[i].first, end = page + served->plan.run[i].n_pages;
        while (page < end && !is_stored(page))
            page++;
        if (page == end)
            continue;
        uint32_t n = bring_alike(page, PAGE_STORED, end - page);
        if (budget_room() < (int64_t)n + marks.urgent)
            return;
        served->n_others += bring_stored(page, n, to_read, (struct coming){.first = POLICY_BESIDE});
        if (page < served->page)
            served->page = page;
        if (page + n > served->end)
            served->end = page + n;
    }
}

static struct waiters serve_stored(uint32_t page, page_entry entry, bool to_read)
{
    struct served served;
    plan(&served, page);
    uint32_t n = bring_within_room(bring_alike(page, PAGE_STORED, served.plan.n_pages));
    served.end = page + n;
    const struct coming coming = {.first = POLICY_FETCHED, .in_stream = served.plan.is_stream};
    uint32_t done = bring_stored(page, n, to_read, coming);
    served.n_pages = done > 0 ? done : 1;
    if (done > 0)
        bring_others(&served, to_read);
    uint64_t n_used = note_served(&served, page);
    budget_charge_tables();
    if (done == 0) /* not mapped any more: then nobody wants it */
        pager_forget(page, page + 1);
    lock_release(&pager.lock);
    count_fault(fault_kind(page_payload(entry)), done + served.n_others);
    count_hits(n_used);
    return (struct waiters){served.page, served.end - served.page, false, 0};
}

/*
 * The page was resident as far as the pager knows. Either another fault brought it in meanwhile,
 * or the program dropped it behind the pager's back (a raw system call): zeros are right then.
 */
static struct waiters serve_resident(uint32_t page)
{
    bool dropped = true; /* stays so where zeros were installed */
    bring_install(page, zeros, 1, &dropped);
    if (dropped)
        sharing_make_own(page);
    lock_release(&pager.lock);
    return (struct waiters){page, 1, true, 0};
}

/*
 * The page is on its way out, and the program dropped it behind the pager's back: zeros are what is
 * copied, by who may be waiting for this. To write to them is still forbidden.
 */
static struct waiters serve_read_in_place(uint32_t page)
{
    bool protect = true;
    bring_install(page, zeros, 1, &protect);
    lock_release(&pager.lock);
    return (struct waiters){page, 1, true, 0};
}

/* L. Brings in just this page, which is not BUSY, whether there is room or not. */
static void bring_in(uint32_t page)
{
    page_entry entry = table_get(&pager.table, page);
    if (page_state(entry) == PAGE_RESIDENT) {
        bring_install_writable(page, zeros, 1);
        return;
    }
    if (page_state(entry) == PAGE_STAGED) {
        bring_back(page, (uint32_t)page_payload(entry), 1, POLICY_TAKEN_BACK);
        return;
    }
    bring_begin(page, 1);
    struct window *window = window_take();
    const unsigned char *contents = zeros;
    if (page_state(entry) == PAGE_STORED) {
        bring_loaded(window, page, 1, true, false);
        contents = window->pages.memory;
    }
    uint32_t done = bring_install_writable(page, contents, 1);
    window_give(window);
    bring_finish(page, 1, done, &(struct coming){.first = POLICY_FETCHED});
}

/*
 * The service thread makes room, and may hit upon a page itself that somebody has dropped
 * meanwhile. Where every handler waits for that room nobody would serve it.
 */
static void serve_awaited(void)
{
    struct waiters waiters = {.n_pages = 0};
    lock_take(&pager.lock);
    const uint64_t awaited = atomic_load(&service_awaits);
    const uint32_t page = (uint32_t)(awaited - 1);
    if (awaited > 0 && !(table_get(&pager.table, page) & PAGE_BUSY)) {
        bring_in(page);
        sharing_make_own(page);
        waiters = (struct waiters){page, 1, false, 0};
    }
    lock_release(&pager.lock);
    bring_wake(waiters);
}

/* Returns for how long. */
static uint64_t wait_for_room(uint32_t page)
{
    uint64_t start = sys_now_ns();
    handlers_gather(); /* whoever else faults meanwhile needs a handler */
    budget_wait_for_room(page, serve_awaited);
    return sys_now_ns() - start;
}

static struct waiters serve_absent(uint32_t page, bool to_read)
{
    uint64_t waited_ns = 0;
    for (;;) {
        lock_take(&pager.lock);
        page_entry entry = table_get(&pager.table, page);
        if (page_state(entry) == PAGE_RESIDENT && entry & PAGE_BUSY && pager.reads_in_place)
            return serve_read_in_place(page);
        if (entry & PAGE_BUSY) { /* another handler is at it, and wakes all who wait */
            pager.n_busy_met++;
            lock_release(&pager.lock);
            return (struct waiters){page, 0, false, waited_ns};
        }
        enum page_state state = page_state(entry);
        if (state == PAGE_STAGED)
            return serve_staged(page, entry);
        if (state == PAGE_RESIDENT)
            return serve_resident(page);
        if (budget_has_room_for(page)) {
            struct waiters waiters = state == PAGE_EMPTY ? serve_first_touch(page)
                                                         : serve_stored(page, entry, to_read);
            waiters.waited_ns = waited_ns;
            return waiters;
        }
        lock_release(&pager.lock);
        waited_ns += wait_for_room(page);
    }
}

/* A write to what is clean, or to what a fork left shared. */
static struct waiters serve_write(uint32_t page)
{
    lock_take(&pager.lock);
    while (table_get(&pager.table, page) & PAGE_SHARED && !budget_has_room_for(page) &&
           sharing_would_copy(page_address(page))) {
        lock_release(&pager.lock);
        wait_for_room(page);
        lock_take(&pager.lock);
    }
    page_entry entry = table_get(&pager.table, page);
    if (entry & PAGE_BUSY) { /* it comes or goes: who is at that wakes all who wait */
        pager.n_busy_met++;
        lock_release(&pager.lock);
        return (struct waiters){page, 0, false, 0};
    }
    if (entry & PAGE_CLEAN) {
        protection_failed(&pager.protection);
        policy_touch(&pager.policy, page, page_payload(entry));
    }
    sharing_make_own(page);
    lock_release(&pager.lock);
    count_fault(entry & PAGE_CLEAN ? CONTROL_FAULT_WRITE : CONTROL_FAULT_COPY, 1);
    return (struct waiters){page, 1, false, 0};
}

/* Returns how long that took. */
static uint64_t make_room(const struct watermarks *marks, uint64_t start)
{
    if (reclaim_room() >= marks->low)
        return 0;
    for (int i = 0; i < MOST_STEPS && reclaim_room() < marks->low; i++)
        reclaim_step();
    return sys_now_ns() - start;
}

static uint32_t faulting_page(const struct fault *fault)
{
    uintptr_t base = (uintptr_t)pager.base;
    if (fault->address < base ||
        fault->address >= base + ((size_t)pager.n_pages << SYS_PAGE_SHIFT)) {
        /* Nobody but the pager knows the staging area, and it never touches an absent slot. */
        pager_end_run(CONTROL_FAILED, "internal error: a fault at 0x%lx outside of the arena",
                      (unsigned long)fault->address);
    }
    return page_of((char *)fault->address);
}

bool fault_serve_forker(const struct fault *fault)
{
    if (fault->thread == 0 || atomic_load(&fork_thread) != fault->thread)
        return false;
    uint32_t page = faulting_page(fault);
    lock_take(&fork_serving);
    const bool is_forkers = atomic_load(&fork_thread) == fault->thread;
    if (is_forkers && fault->flags & UFFD_PAGEFAULT_FLAG_WP)
        sharing_make_own(page);
    else if (is_forkers)
        bring_in(page);
    lock_release(&fork_serving);
    if (is_forkers)
        bring_wake((struct waiters){page, 1, false, 0});
    return is_forkers;
}

/*
 * What more RAM would have spared the program: all of the time, but for a first touch only what
 * making room took. Without a budget it would have faulted in the kernel.
 */
static uint64_t stall_of(const struct waiters *waiters, uint64_t made_room_ns, uint64_t duration)
{
    return waiters->first_touch ? made_room_ns + waiters->waited_ns : duration;
}

/* In a recorded run: what a fault finds. In others nobody asks, and the lock is not worth taking.
 */
static enum page_state state_before(uint32_t page)
{
    if (!is_watched())
        return PAGE_RESIDENT;
    lock_take(&pager.lock);
    const enum page_state state = page_state(table_get(&pager.table, page));
    lock_release(&pager.lock);
    return state;
}

/* It found the page in this state; another thread's fault may have been quicker. */
static void note_touch(uint32_t page, const struct fault *fault, enum page_state before)
{
    const bool is_protection = fault->flags & UFFD_PAGEFAULT_FLAG_WP;
    if (before == PAGE_RESIDENT && !is_protection)
        return;
    watch_touch(page,
                is_protection || fault->flags & UFFD_PAGEFAULT_FLAG_WRITE ? TOUCHES_WRITE : 0);
}

void fault_serve(_Atomic uint32_t *n_served, const struct fault *fault)
{
    uint64_t start = sys_now_ns();
    struct watermarks marks;
    uint32_t page = faulting_page(fault);
    if (fault_serve_forker(fault)) {
        atomic_fetch_add(n_served, 1);
        return;
    }
    budget_watermarks(&marks);
    const enum page_state before = state_before(page);
    uint64_t made_room_ns = make_room(&marks, start);
    struct waiters waiters = fault->flags & UFFD_PAGEFAULT_FLAG_WP
                                 ? serve_write(page)
                                 : serve_absent(page, !(fault->flags & UFFD_PAGEFAULT_FLAG_WRITE));
    if (waiters.n_pages > 0)
        note_touch(page, fault, before);
    if (reclaim_room() < marks.urgent)
        service_wake();
    uint64_t duration = sys_now_ns() - start;
    control_count(&pager.self->stats.fault_ns, duration);
    control_count(&pager.self->stats.stall_ns, stall_of(&waiters, made_room_ns, duration));
    control_count(&pager.self->stats.latency[control_latency_bucket(duration)], 1);
    if (page < pager.heap_pages)
        control_heat(pager.control, CONTROL_ZONE_HEAP, page);
    else
        control_heat(pager.control, CONTROL_ZONE_MAPPINGS, page - pager.heap_pages);
    control_rouse(pager.control);
    atomic_fetch_add(n_served, 1);
    bring_wake(waiters);
}

int fault_init(void)
{
    if (!zeros)
        zeros = meta_map((size_t)N_ZEROS << SYS_PAGE_SHIFT);
    return zeros ? windows_init(pager.control->options.codec) : -ENOMEM;
}

void fault_fetch(uint32_t page, uint32_t n_pages)
{
    struct watermarks marks;
    budget_watermarks(&marks);
    for (uint32_t end = page + n_pages; (page = table_next(&pager.table, page, end)) < end;
         page++) {
        if (budget_room() < marks.high)
            return; /* a hint is not worth evicting for */
        enum page_state state = page_state(table_get(&pager.table, page));
        if (state != PAGE_STAGED && state != PAGE_STORED)
            continue;
        /* Room may be gone again, and this thread is the one that makes it: no wait. */
        atomic_store(&service_awaits, (uint64_t)page + 1);
        bring_wake(serve_absent(page, true));
        atomic_store(&service_awaits, 0);
    }
}
