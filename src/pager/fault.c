/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault: brings absent pages in. Runs in the handlers' threads (handlers.c).
 *
 * A page on its way in is BUSY. Its handler works without the lock, alone may change the page's
 * entry meanwhile, and wakes whoever waits for the page when all is done:
 *
 *   lock: entry |= BUSY   ->   fill, load, read (no lock)   ->   UFFDIO_COPY
 *                                                                     |
 *   wake   <-   lock: entry = RESIDENT, the stored copy is dropped   <'
 *
 * Pages in staging need no such detour: one UFFDIO_MOVE under the lock brings them back.
 *
 * The wake-up comes last and without the lock, because who is woken may take the processor from
 * the handler at once. Room is made before the page is brought in, here and not in the service
 * thread, as long as it is a matter of moving and packing a few pages: the faulting thread sleeps,
 * its processor is free and has what is needed in its caches, and no other has to be woken.
 */
#include "base/checked.h"
#include "base/meta.h"
#include "base/uffd.h"
#include "pager/copies.h"
#include "pager/internal.h"
#include "pager/window.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define TOUCH_WINDOW 32u /* pages at most that a first touch brings in: 128 KiB */
#define N_ZEROS TOUCH_WINDOW
#define WINDOW_LEAST 16u   /* a window of loaded pages may be at most so large, or one part in */
#define WINDOW_SHARE 128   /* so many of the process's part of the budget, up to WINDOW_PAGES */
#define MOST_SKIPPED 1024u /* pages that are there, in the middle of a stream */
#define COPY_RETRIES 1000
#define WAKE_TRIES 3
#define MOST_STEPS 2 /* of reclaim before a fault */

static unsigned char *zeros; /* N_ZEROS pages, never written: the kernel's zero page */

struct waiters { /* who is to be woken when a fault has been served */
    uint32_t page, n_pages;
    bool first_touch;
    uint64_t waited_ns; /* for room */
};

/* What came in with a fault on pages from the store and staging. */
struct served {
    struct prefetch_plan plan;
    uint32_t page, end; /* all of it lies in [page, end) */
    uint32_t n_pages;   /* from the one that was missed on */
    uint32_t n_others;
};

/* How pages come in. */
struct coming {
    enum policy_arrival first; /* the first of them; the others come beside */
    bool clean;                /* writes to them will fault */
    bool in_stream;            /* read ahead of a thread that runs through them */
    bool in_a_row;             /* what comes before or after them is wanted, too */
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

/*
 * Installs n_pages pages; returns how many are there afterwards, from the first on. 0: the address
 * is mapped no more. *protect: writes to them should fault; false afterwards if some may not.
 */
static uint32_t install(uint32_t page, const unsigned char *contents, uint32_t n_pages,
                        bool *protect)
{
    uint32_t done = 0;
    for (int tries = 0; done < n_pages;) {
        size_t n_bytes = (size_t)(n_pages - done) << SYS_PAGE_SHIFT;
        ssize_t n = uffd_copy(service_uffd, page_address(page + done),
                              contents + ((size_t)done << SYS_PAGE_SHIFT), n_bytes, *protect);
        if (n > 0) {
            done += (uint32_t)((size_t)n >> SYS_PAGE_SHIFT);
        } else if (n == -EEXIST) {
            done++;
            *protect = false;
        } else if (n == -EAGAIN) {
            continue;
        } else if (n == -ENOENT && n_pages - done > 1) {
            n_pages = done + 1; /* the range crosses into another mapping: only the first is due */
        } else if (n == -ENOMEM && tries++ < COPY_RETRIES) {
            sys_sleep_ns(1000000); /* the kernel is short of memory; nobody gains by giving up */
        } else if (n == -ENOENT || n == -ESRCH || done > 0) {
            break;
        } else { /* to go on would be to lose the page */
            pager_end_run(CONTROL_FAILED, "the page at %p could not be brought in (error %d)",
                          (void *)page_address(page), (int)-n);
        }
    }
    return done;
}

static uint32_t install_writable(uint32_t page, const unsigned char *contents, uint32_t n_pages)
{
    bool protect = false;
    return install(page, contents, n_pages, &protect);
}

/* How the i-th page of those that came with a fault came in. */
static enum policy_arrival arrival_of(page_entry entry, uint32_t i, enum policy_arrival first)
{
    if (page_state(entry) == PAGE_EMPTY)
        return POLICY_FIRST;
    return i == 0 ? first : POLICY_BESIDE;
}

/* L. A page came in that the store has a copy of; `behind`: it should leave soon. */
static void keep_or_drop(uint32_t page, store_ref ref, bool clean, bool behind)
{
    if (clean)
        table_set(&pager.table, page, table_get(&pager.table, page) | PAGE_CLEAN);
    if (clean && ((behind && drop_behind_push(&pager.behind, page)) || copies_is_worth(ref)))
        copies_keep(page, ref);
    else
        store_drop(pager.store, ref);
}

/* L. Pages that could not be installed are what they were before. */
static void finish(uint32_t page, uint32_t n_pages, uint32_t n_done, const struct coming *coming)
{
    bool behind = coming->clean && coming->in_stream && n_done > 1 &&
                  drop_behind_wanted(&pager.behind, (uint64_t)pager.n_resident);
    for (uint32_t i = 0; i < n_done; i++) {
        page_entry entry = table_get(&pager.table, page + i);
        pager_make_resident(page + i, arrival_of(entry, i, coming->first));
        if (page_state(entry) == PAGE_STORED)
            keep_or_drop(page + i, page_payload(entry), coming->clean, behind);
    }
    for (uint32_t i = n_done; i < n_pages; i++)
        table_set(&pager.table, page + i, table_get(&pager.table, page + i) & ~PAGE_BUSY);
    pager.n_resident += n_done;
    budget_charge(CONTROL_RESIDENT, n_done);
    pager_busy_done(n_pages);
}

/* L. Marks [page, page + n) busy. */
static void make_busy(uint32_t page, uint32_t n_pages)
{
    for (uint32_t i = 0; i < n_pages; i++)
        table_set(&pager.table, page + i, table_get(&pager.table, page + i) | PAGE_BUSY);
    pager.n_busy += n_pages;
}

/* L. The end of the part of the arena that may be filled along with `page`. */
static uint32_t limit_of(uint32_t page)
{
    if (page < pager.heap_pages)
        return pager.heap_committed;
    const struct region *region = regions_find(&pager.regions, page);
    return region && region->first <= page ? region->first + region->n_pages : page + 1;
}

/* L. How many pages from `page` on, up to `most`, can be brought in the same way. */
static uint32_t alike(uint32_t page, enum page_state state, uint32_t most)
{
    uint32_t n = 1, end = most > 1 ? limit_of(page) : 0;
    while (n < most && page + n < end) {
        page_entry entry = table_get(&pager.table, page + n);
        if (page_state(entry) != state || entry & (PAGE_BUSY | PAGE_DEAD))
            break;
        n++;
    }
    return n;
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

/* A window should be little of what the process can have. */
static uint32_t most_loaded(void)
{
    struct watermarks marks;
    budget_watermarks(&marks);
    int64_t most = control_budget(pager.control) / marks.n_pagers / WINDOW_SHARE;
    if (most > WINDOW_PAGES)
        return WINDOW_PAGES;
    return most > WINDOW_LEAST ? (uint32_t)most : WINDOW_LEAST;
}

/* A window is not worth waiting for: take what room there is, and one page in any case. */
static uint32_t within_room(uint32_t n_pages)
{
    int64_t room = budget_room();
    if (room >= (int64_t)n_pages)
        return n_pages;
    return room > 1 ? (uint32_t)room : 1;
}

/* Locked on entry, unlocked on return, as in all of the functions that serve. */
static struct waiters serve_first_touch(uint32_t page)
{
    const bool alone = pager.prefetch.kind == PREFETCH_NONE;
    uint32_t window = readahead_window(&pager.touch, page, alone ? 1 : TOUCH_WINDOW);
    uint64_t n_used = readahead_used(&pager.touch);
    uint32_t n = within_room(alike(page, PAGE_EMPTY, window));
    if (n < window)
        readahead_cut(&pager.touch, page, n, 0);
    make_busy(page, n);
    lock_release(&pager.lock);
    uint32_t done = install_writable(page, zeros, n);
    lock_take(&pager.lock);
    finish(page, n, done, &(struct coming){.first = POLICY_FIRST});
    lock_release(&pager.lock);
    count_fault(CONTROL_FAULT_FIRST_TOUCH, done);
    count_hits(n_used);
    return (struct waiters){page, n, true, 0};
}

/* L. Pages that lie in consecutive slots come back in one move. */
static uint32_t staged_run(uint32_t page, uint32_t slot, uint32_t most)
{
    uint32_t n = 1;
    while (n < most && page + n < pager.n_pages && slot + n < pager.staging.n_slots &&
           (table_get(&pager.table, page + n) & ~PAGE_PACKING) == page_make(PAGE_STAGED, slot + n))
        n++;
    return n;
}

/* L. The page leaves its slot by copy, where it can't be moved (protection, a fork's mark). */
static bool copy_back(uint32_t page, uint32_t slot)
{
    char *from = staging_address(&pager.staging, slot);
    bool stays = sharing_would_copy(from);
    if (install_writable(page, (unsigned char *)from, 1) != 1)
        return false;
    if (stays)
        sharing_charge_copy();
    sys_madvise(from, SYS_PAGE_SIZE, MADV_DONTNEED);
    return true;
}

/* L. Takes up to n pages back from consecutive slots. Returns how many came. */
static uint32_t take_back(uint32_t page, uint32_t slot, uint32_t n, enum policy_arrival first)
{
    uint32_t done = 0;
    ssize_t moved = frames_move(page_address(page), staging_address(&pager.staging, slot), n);
    if (moved > 0)
        done = (uint32_t)moved;
    else if (copy_back(page, slot))
        done = 1;
    else
        pager_forget(page, page + 1); /* not mapped any more */
    for (uint32_t i = 0; i < done; i++) {
        pager.staging.page[slot + i] = STAGING_HOLE;
        pager_make_resident(page + i, i == 0 ? first : POLICY_BESIDE);
    }
    pager.staging.n_pages -= done;
    pager.n_resident += done;
    /* Resident first: room may look smaller for a moment, never larger. */
    budget_charge(CONTROL_RESIDENT, done);
    budget_charge(CONTROL_STAGED, -(int64_t)done);
    return done;
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
    served.n_pages = staged_run(page, slot, served.plan.n_pages);
    uint64_t n_used = note_served(&served, page);
    uint32_t done = take_back(page, slot, served.n_pages, POLICY_TAKEN_BACK);
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

static _Noreturn void bad_copy(uint32_t page, store_ref ref, int error)
{
    const bool from_file = store_tier(ref) == STORE_FILE;
    pager_end_run(CONTROL_BAD_COPY,
                  "the page at %p did not come back intact from %s (%s); the program was ended "
                  "before it could see it",
                  (void *)page_address(page), from_file ? "the swap file" : "the compressed store",
                  error != -EBADMSG ? "I/O error"
                  : from_file       ? "it is not what was written there"
                                    : "checksum");
}

/*
 * Loads n stored pages, until one is not intact; the first one has to be, if it was asked for.
 * Entries are BUSY: nobody changes them. in_a_row: their neighbours in the file are wanted, too,
 * before or after this.
 */
static uint32_t load(struct window *window, uint32_t page, uint32_t n_pages, bool asked_for,
                     bool in_a_row)
{
    unsigned char *out = window->pages.memory;
    for (uint32_t i = 0; i < n_pages; i++, out += SYS_PAGE_SIZE) {
        store_ref ref = page_payload(table_get_busy(&pager.table, page + i));
        int error;
        window_use(window, in_a_row && n_pages == 1 ? 2 : n_pages, store_tier(ref) == STORE_FILE);
        if (in_a_row)
            error = store_load_through(pager.store, window->loader, ref, page + i, out,
                                       &window->reader);
        else
            error = store_load(pager.store, window->loader, ref, page, out, out + SYS_PAGE_SIZE);
        if (error && (i > 0 || !asked_for))
            return i;
        if (error)
            bad_copy(page, ref, error);
    }
    return n_pages;
}

/* L. Brings n stored pages in; lets go of the lock meanwhile. How many came, from the first on. */
static uint32_t bring_stored(uint32_t page, uint32_t n_pages, bool to_read, struct coming coming)
{
    make_busy(page, n_pages);
    coming.clean = to_read && pager.can_protect && protection_wanted(&pager.protection, n_pages);
    lock_release(&pager.lock);
    struct window *window = window_take();
    uint32_t loaded = load(window, page, n_pages, coming.first == POLICY_FETCHED,
                           coming.in_a_row || n_pages > 1);
    uint32_t done = install(page, window->pages.memory, loaded, &coming.clean);
    window_give(window);
    lock_take(&pager.lock);
    finish(page, n_pages, done, &coming);
    return done;
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
        uint32_t n = alike(page, PAGE_STORED, end - page);
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
    uint32_t n = within_room(alike(page, PAGE_STORED, served.plan.n_pages));
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
    install(page, zeros, 1, &dropped);
    if (dropped)
        sharing_make_own(page);
    lock_release(&pager.lock);
    return (struct waiters){page, 1, true, 0};
}

/* Returns for how long. */
static uint64_t wait_for_room(uint32_t page)
{
    uint64_t start = sys_now_ns();
    handlers_gather(); /* whoever else faults meanwhile needs a handler */
    budget_wait_for_room(page);
    return sys_now_ns() - start;
}

static struct waiters serve_absent(uint32_t page, bool to_read)
{
    uint64_t waited_ns = 0;
    for (;;) {
        lock_take(&pager.lock);
        page_entry entry = table_get(&pager.table, page);
        if (entry & PAGE_BUSY) { /* another handler is at it, and wakes all who wait */
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
    if (entry & PAGE_BUSY) { /* it is being brought in: who does that wakes all who wait */
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

/* Who is not woken sleeps for ever, so a refusal is not taken for an answer. */
static void wake(struct waiters waiters)
{
    for (int tries = 0; waiters.n_pages > 0 && tries < WAKE_TRIES; tries++) {
        if (uffd_wake(service_uffd, page_address(waiters.page),
                      (size_t)waiters.n_pages << SYS_PAGE_SHIFT) == 0)
            return;
    }
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

/* L, of the forking thread: brings in just this page, whether there is room or not. */
static void bring_in(uint32_t page)
{
    page_entry entry = table_get(&pager.table, page);
    if (page_state(entry) == PAGE_RESIDENT) {
        install_writable(page, zeros, 1);
        return;
    }
    if (page_state(entry) == PAGE_STAGED) {
        take_back(page, (uint32_t)page_payload(entry), 1, POLICY_TAKEN_BACK);
        return;
    }
    make_busy(page, 1);
    struct window *window = window_take();
    const unsigned char *contents = zeros;
    if (page_state(entry) == PAGE_STORED) {
        load(window, page, 1, true, false);
        contents = window->pages.memory;
    }
    uint32_t done = install_writable(page, contents, 1);
    window_give(window);
    finish(page, 1, done, &(struct coming){.first = POLICY_FETCHED});
}

bool fault_serve_forker(const struct fault *fault)
{
    if (fault->thread == 0 || atomic_load(&fork_thread) != fault->thread)
        return false;
    uint32_t page = faulting_page(fault);
    if (fault->flags & UFFD_PAGEFAULT_FLAG_WP)
        sharing_make_own(page);
    else
        bring_in(page);
    wake((struct waiters){page, 1, false, 0});
    return true;
}

/*
 * What more RAM would have spared the program: all of the time, but for a first touch only what
 * making room took. Without a budget it would have faulted in the kernel.
 */
static uint64_t stall_of(const struct waiters *waiters, uint64_t made_room_ns, uint64_t duration)
{
    return waiters->first_touch ? made_room_ns + waiters->waited_ns : duration;
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
    uint64_t made_room_ns = make_room(&marks, start);
    struct waiters waiters = fault->flags & UFFD_PAGEFAULT_FLAG_WP
                                 ? serve_write(page)
                                 : serve_absent(page, !(fault->flags & UFFD_PAGEFAULT_FLAG_WRITE));
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
    atomic_fetch_add(n_served, 1);
    wake(waiters);
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
        wake(serve_absent(page, true));
        atomic_store(&service_awaits, 0);
    }
}

/*
 * How many pages from `page` on come in by this step; 0: there is none to come in there. Nobody has
 * asked for them, so one that is not intact stays where it is until somebody does.
 */
static uint32_t fetch_window(uint32_t page, uint32_t most)
{
    lock_take(&pager.lock);
    page_entry entry = table_get(&pager.table, page);
    enum page_state state = page_state(entry);
    struct waiters waiters = {.page = page};
    if (entry & PAGE_BUSY || (state != PAGE_STAGED && state != PAGE_STORED)) {
        lock_release(&pager.lock);
        return 0;
    }
    uint32_t done;
    if (state == PAGE_STAGED) {
        waiters.n_pages = staged_run(page, (uint32_t)page_payload(entry), most);
        done = take_back(page, (uint32_t)page_payload(entry), waiters.n_pages, POLICY_BESIDE);
    } else {
        waiters.n_pages = within_room(alike(page, PAGE_STORED, most));
        done = bring_stored(page, waiters.n_pages, true,
                            (struct coming){.first = POLICY_BESIDE, .in_a_row = true});
        budget_charge_tables();
    }
    lock_release(&pager.lock);
    control_count(&pager.self->stats.resumed, done);
    wake(waiters);
    return waiters.n_pages;
}

bool fault_fetch_evicted(uint32_t page, uint32_t n_pages)
{
    struct watermarks marks;
    budget_watermarks(&marks);
    for (uint32_t end = page + n_pages; (page = table_next(&pager.table, page, end)) < end;) {
        if (budget_room() < marks.high)
            return false;
        uint32_t most = end - page < WINDOW_PAGES ? end - page : WINDOW_PAGES;
        uint32_t n = fetch_window(page, most);
        page += n > 0 ? n : 1;
    }
    return true;
}
