/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pager: its state, how the program's threads get at it, and what all of its files need.
 *
 * Why entering is more than taking a lock: while the pager is armed, a fault may have to wait for
 * the lock. So whoever holds it must not fault on managed memory. A program's thread could in three
 * ways, and pager_enter() closes each: by a signal handler that runs in between (signals are
 * blocked), by its own stack, where that was made of managed memory (standing.h), and by touching
 * the program's data (nothing here does).
 */
#include "base/checked.h"
#include "base/log.h"
#include "base/meta.h"
#include "pager/copies.h"
#include "pager/internal.h"
#include "pager/standing.h"
#include "pages/shown.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

#define ARENA_MAX_PAGES (1u << 28) /* 1 TiB of addresses */
#define ARENA_MIN_PAGES (1u << 16) /* 256 MiB, where the address space is limited */
#define ARENA_ALIGNMENT ((size_t)1 << 30)
#define MAX_REGIONS (1u << 17)

struct pager pager;

static char *reserve(size_t n_bytes)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    char *start = sys_mmap(NULL, n_bytes + ARENA_ALIGNMENT, PROT_NONE, flags, -1, 0);
    if (sys_is_error(start))
        return NULL;
    char *base = (char *)round_up((size_t)start, ARENA_ALIGNMENT);
    if (base > start)
        sys_munmap(start, (size_t)(base - start));
    sys_munmap(base + n_bytes, (size_t)(start + ARENA_ALIGNMENT - base));
    return base;
}

static int reserve_arena(void)
{
    for (uint32_t n_pages = ARENA_MAX_PAGES; n_pages >= ARENA_MIN_PAGES; n_pages /= 2) {
        pager.base = reserve((size_t)n_pages << SYS_PAGE_SHIFT);
        if (pager.base) {
            pager.n_pages = n_pages;
            pager.heap_pages = n_pages / 2;
            return 0;
        }
    }
    return -ENOMEM;
}

static int init_buddy(void)
{
    const struct quire_buddy_zone zones[] = {
        {0, pager.heap_pages, "heap"}, /* PAGER_HEAP_ZONE */
        {pager.heap_pages, pager.n_pages - pager.heap_pages, "mappings"},
    };
    const struct quire_buddy_config config = {
        .max_order = log2_floor(pager.heap_pages) - 1, .n_zones = 2, .zones = zones};
    size_t n_bytes = quire_buddy_metadata_bytes(&config);
    void *metadata = meta_map(n_bytes);
    int error = metadata ? quire_buddy_init(&config, metadata, n_bytes, &pager.buddy) : -ENOMEM;
    if (!error)
        buddy_show(pager.buddy);
    return error;
}

void pager_tell_arena(void)
{
    pager_tell_used();
    atomic_store(&pager.self->zone_base[CONTROL_ZONE_HEAP], (uint64_t)(uintptr_t)pager.base);
    atomic_store(&pager.self->zone_base[CONTROL_ZONE_MAPPINGS],
                 (uint64_t)(uintptr_t)page_address(pager.heap_pages));
}

int pager_init(struct control *control, pager_scrub scrub)
{
    pager.scrub = scrub;
    int error = reserve_arena();
    if (!error)
        error = init_buddy();
    if (!error)
        error = table_init(&pager.table, pager.n_pages);
    if (!error)
        error = regions_init(&pager.regions, MAX_REGIONS);
    if (error || !control)
        return error;
    int slot = control_join(control);
    if (slot < 0)
        return slot;
    pager.control = control;
    pager.slot = (unsigned)slot;
    pager.self = &control->slot[slot];
    pager_tell_arena();
    budget_collect();
    return 0;
}

void pager_exit(void)
{
    if (!pager.control)
        return;
    budget_sample_unmanaged();
    control_leave(pager.control, pager.slot);
}

bool pager_is_armed(void)
{
    return is_armed();
}

void *pager_heap_base(void)
{
    return pager.base;
}

size_t pager_heap_pages(void)
{
    return pager.heap_pages;
}

static bool is_in_arena(const char *address)
{
    return address >= pager.base && address < page_address(pager.n_pages);
}

bool pager_is_resident(const void *address)
{
    return !is_armed() || !is_in_arena(address) ||
           page_state(table_get(&pager.table, page_of(address))) == PAGE_RESIDENT;
}

void pager_enter(struct pager_guard *guard)
{
    const uint64_t all = ~(uint64_t)0;
    guard->masked = false;
    guard->standing = 0;
    if (!is_armed()) {
        lock_take(&pager.lock);
        if (!is_armed())
            return;
        lock_release(&pager.lock);
    }
    sys_sigprocmask(SIG_SETMASK, &all, &guard->signals);
    guard->masked = true;
    guard->standing = standing_begin(STACK_BELOW, STACK_ABOVE);
    lock_take(&pager.lock);
}

void pager_leave(struct pager_guard *guard)
{
    lock_release(&pager.lock);
    standing_end(guard->standing);
    if (guard->masked)
        sys_sigprocmask(SIG_SETMASK, &guard->signals, NULL);
}

void pager_wait_busy(void)
{
    uint32_t turn = atomic_load(&pager.busy_turn);
    atomic_fetch_add(&pager.busy_waiters, 1);
    lock_release(&pager.lock);
    sys_futex_wait(&pager.busy_turn, turn, 0, false);
    atomic_fetch_sub(&pager.busy_waiters, 1);
    lock_take(&pager.lock);
}

void pager_busy_done(uint32_t n_pages)
{
    pager.n_busy -= n_pages; /* P5 */
    atomic_fetch_add(&pager.busy_turn, 1);
    if (atomic_load(&pager.busy_waiters) > 0)
        sys_futex_wake(&pager.busy_turn, INT32_MAX, false);
}

static policy_mark get_mark(void *context, uint32_t page)
{
    (void)context;
    return table_mark(&pager.table, page);
}

static void set_mark(void *context, uint32_t page, policy_mark mark)
{
    (void)context;
    table_set_mark(&pager.table, page, mark);
}

static void set_place(void *context, uint32_t page, policy_place place)
{
    (void)context;
    page_entry flags = table_get(&pager.table, page) & PAGE_FLAGS_MASK;
    table_set(&pager.table, page, page_make(PAGE_RESIDENT, place) | flags);
}

int pager_open_policy(uint64_t most_resident)
{
    static const struct policy_owner owner = {get_mark, set_mark, set_place, NULL};
    const struct control_options *options = &pager.control->options;
    prefetch_init(&pager.prefetch, (enum prefetch_kind)options->prefetch);
    return policy_open(&pager.policy, (enum policy_kind)options->policy,
                       most_resident + POLICY_LEAST_ROOM, &owner);
}

void pager_make_resident(uint32_t page, enum policy_arrival arrival)
{
    page_entry entry = table_get(&pager.table, page);
    if (page_state(entry) == PAGE_RESIDENT)
        policy_remove(&pager.policy, page, page_payload(entry));
    table_set(&pager.table, page, page_make(PAGE_RESIDENT, 0));
    policy_insert(&pager.policy, page, arrival);
}

void pager_note_eviction(uint32_t page)
{
    policy_evicted(&pager.policy, page, page_payload(table_get(&pager.table, page)));
}

static void forget_page(uint32_t page, page_entry entry)
{
    switch (page_state(entry)) {
    case PAGE_EMPTY:
        break;
    case PAGE_RESIDENT:
        policy_remove(&pager.policy, page, page_payload(entry));
        copies_drop(page);
        pager.n_resident--;
        if (entry & PAGE_SHARED)
            pager.self->shared--; /* the frame stays, and who is charged for it is: accounts.c */
        else if (pager.sees_writes)
            budget_charge(CONTROL_RESIDENT, -1);
        else
            budget_shed(CONTROL_RESIDENT, 1);
        break;
    case PAGE_STAGED:
        /* The slot's memory stays, and stays charged, until the tail of the ring comes by. */
        pager.staging.page[page_payload(entry)] = STAGING_ORPHAN;
        break;
    case PAGE_STORED:
        store_drop(pager.store, page_payload(entry));
        break;
    }
    if (entry & PAGE_DEAD)
        pager.n_dead--;
    table_set(&pager.table, page, 0);
}

/* L. Those that are not BUSY; true: there are no others. */
static bool forget_idle(uint32_t page, uint32_t end)
{
    bool all = true;
    for (; (page = table_next(&pager.table, page, end)) < end; page++) {
        page_entry entry = table_get(&pager.table, page);
        if (entry & PAGE_BUSY)
            all = false;
        else
            forget_page(page, entry);
    }
    return all;
}

static bool is_idle(uint32_t page, uint32_t end)
{
    for (; (page = table_next(&pager.table, page, end)) < end; page++)
        if (table_get(&pager.table, page) & PAGE_BUSY)
            return false;
    return true;
}

void pager_wait_idle(uint32_t page, uint32_t end)
{
    while (!is_idle(page, end))
        pager_wait_busy();
}

/* While this waits for one page, others that it has been at may come in again. */
void pager_forget(uint32_t page, uint32_t end)
{
    while (!forget_idle(page, end))
        pager_wait_busy();
    if (pager.store)
        budget_charge_tables();
}

void pager_end_run(enum control_verdict verdict, const char *format, ...)
{
    char message[256];
    va_list arguments;
    va_start(arguments, format);
    log_vformat(message, sizeof message, format, arguments);
    va_end(arguments);
    control_set_verdict(pager.control, verdict, message);
    if (atomic_load(&pager.control->launcher_ended))
        log_error("%s", message);
    control_kill_all(pager.control);
    sys_exit_group(125);
}
