/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runs: hands out the heap's part of the arena, in runs of pages.
 *
 *   base            committed            heap_pages
 *   | read and write | no access yet      |  mappings ...
 *
 * Pages that the heap frees keep their memory and are marked DEAD: they are handed out again first,
 * since the buddy system prefers what was freed last, and when memory is wanted the dead pages are
 * the first to go, unread (freed.c). Very large runs are dropped at once.
 *
 * While the pager is unarmed, what is handed out is charged to the budget as if it were resident
 * (invariant P1). A request that does not fit purges the dead pages and then arms the pager; from
 * then on handing out is free and faults are charged.
 */
#include "base/checked.h"
#include "base/touches.h"
#include "pager/internal.h"
#include "pager/watch.h"

#include <sys/mman.h>

#define COMMIT_PAGES 4096u    /* heap pages made accessible at a time: 16 MiB */
#define DEAD_MOST_PAGES 8192u /* a freed run beyond this is dropped at once: 32 MiB */
#define DEAD_SHARE 4          /* dead pages are kept up to this part of what is charged, or */
#define DEAD_FLOOR_PAGES 8192 /* so many: 32 MiB */

static const struct quire_buddy_request heap_zone = {.n_zones = 1, .zone = {PAGER_HEAP_ZONE}};

/* L. Drops the contents of [page, end), all of them DEAD and not BUSY. */
static void drop_dead(uint32_t page, uint32_t end)
{
    sys_madvise(page_address(page), (size_t)(end - page) << SYS_PAGE_SHIFT, MADV_DONTNEED);
    if (!is_armed()) {
        pager.n_resident -= end - page;
        budget_charge(CONTROL_RESIDENT, -(int64_t)(end - page));
    }
    pager_forget(page, end);
}

/* L. Drops all dead pages; returns how many there were. */
static size_t purge_dead(void)
{
    const page_entry mask = PAGE_DEAD | PAGE_BUSY;
    uint32_t page = 0, end = pager.heap_pages;
    size_t n_purged = 0;
    while (pager.n_dead > 0 && (page = table_next(&pager.table, page, end)) < end) {
        uint32_t first = page;
        while (page < end && (table_get(&pager.table, page) & mask) == PAGE_DEAD)
            page++;
        if (page == first) {
            page++;
            continue;
        }
        drop_dead(first, page);
        n_purged += page - first;
    }
    return n_purged;
}

bool pager_heap_purge(void)
{
    struct pager_guard guard;
    pager_enter(&guard);
    size_t n_purged = purge_dead();
    pager_leave(&guard);
    return n_purged > 0;
}

static void charge_unarmed(int64_t n_pages)
{
    pager.n_resident += n_pages;
    budget_charge(CONTROL_RESIDENT, n_pages);
}

bool pager_admit(struct pager_guard *guard, int64_t n_pages)
{
    if (is_armed()) /* to fail an allocation is kinder than to end the run when it is touched */
        return !budget_is_tight() && (n_pages <= budget_room() + pager.n_dead ||
                                      !reclaim_is_store_full() || budget_retreat(n_pages));
    if (budget_room() < n_pages && purge_dead() < (size_t)n_pages)
        budget_reap();
    if (budget_room() >= n_pages && !is_watched()) {
        charge_unarmed(n_pages);
        return true;
    }
    pager_leave(guard);
    int error = service_call(SERVICE_ARM, 0, 0, 0);
    pager_enter(guard);
    return !error && is_armed();
}

/* L. Heap pages below `end` become accessible. */
static bool commit(uint32_t end)
{
    if (end <= pager.heap_committed)
        return true;
    uint32_t to = (uint32_t)round_up(end, COMMIT_PAGES);
    if (to > pager.heap_pages)
        to = pager.heap_pages;
    size_t n_bytes = (size_t)(to - pager.heap_committed) << SYS_PAGE_SHIFT;
    if (sys_mprotect(page_address(pager.heap_committed), n_bytes, PROT_READ | PROT_WRITE) < 0)
        return false;
    pager.heap_committed = to;
    pager_tell_used();
    return true;
}

/* L. Dead pages of the range come to life; returns how many, and whether all of it reads as zeros.
 */
static uint32_t revive(uint32_t page, uint32_t end, bool *zeroed)
{
    uint32_t n_revived = 0;
    *zeroed = true;
    for (; (page = table_next(&pager.table, page, end)) < end; page++) {
        page_entry entry = table_get(&pager.table, page);
        *zeroed = false;
        if (!(entry & PAGE_DEAD))
            continue;
        n_revived++;
        watch_range(page, page + 1, TOUCHES_REVIVED);
        table_set(&pager.table, page, entry & ~PAGE_DEAD);
        if (is_armed())
            policy_reuse(&pager.policy, page, page_payload(entry));
    }
    pager.n_dead -= n_revived;
    return n_revived;
}

/* L. What the pages hold is worthless from now on. */
static void kill_pages(uint32_t page, uint32_t end)
{
    for (; page < end; page++) {
        page_entry entry;
        while ((entry = table_get(&pager.table, page)) & PAGE_BUSY)
            pager_wait_busy();
        if (is_armed() && page_state(entry) != PAGE_RESIDENT) {
            pager_forget(page, page + 1); /* it holds no memory */
        } else if (!(entry & PAGE_DEAD)) {
            table_set(&pager.table, page, entry | PAGE_DEAD);
            pager.n_dead++;
        }
    }
}

/* L. The pages go back to the buddy system; they were charged. */
static void give_back(uint32_t page, uint32_t n_pages)
{
    if (pager.n_locked > 0)
        pager_forget_locks(page, n_pages);
    watch_range(page, page + n_pages, n_pages > DEAD_MOST_PAGES ? TOUCHES_DROPPED : TOUCHES_FREED);
    kill_pages(page, page + n_pages);
    if (is_armed())
        freed_note(page, n_pages);
    if (n_pages > DEAD_MOST_PAGES) {
        if (!is_armed())
            drop_dead(page, page + n_pages);
        else
            purge_dead();
    }
    if (quire_buddy_free_range(pager.buddy, page, n_pages) < 0)
        pager_end_run(CONTROL_FAILED, "internal error: pages %u+%u are not allocated", page,
                      n_pages);
}

/* L. Takes pages that the buddy system gave into use. */
static bool take_into_use(struct pager_guard *guard, uint32_t page, uint32_t n_pages, bool *zeroed)
{
    if (!commit(page + n_pages)) {
        if (quire_buddy_free_range(pager.buddy, page, n_pages) == 0)
            return false;
    }
    int64_t n_new = (int64_t)n_pages - revive(page, page + n_pages, zeroed);
    if (n_new == 0 || pager_admit(guard, n_new))
        return true;
    if (!is_armed()) /* give_back takes the charge away again */
        charge_unarmed(n_new);
    give_back(page, n_pages);
    return false;
}

void *pager_heap_alloc(size_t n_pages, size_t align_pages, bool *zeroed)
{
    if (n_pages == 0 || n_pages > pager.heap_pages / 2 || align_pages > pager.heap_pages / 2)
        return NULL;
    struct pager_guard guard;
    quire_page page;
    void *run = NULL;
    pager_enter(&guard);
    if (quire_buddy_alloc_exact(pager.buddy, &heap_zone, (uint32_t)n_pages, (uint32_t)align_pages,
                                &page) == 0 &&
        take_into_use(&guard, page, (uint32_t)n_pages, zeroed))
        run = page_address(page);
    pager_leave(&guard);
    service_start_if_large();
    return run;
}

void pager_heap_free(void *run, size_t n_pages)
{
    struct pager_guard guard;
    pager_enter(&guard);
    give_back(page_of(run), (uint32_t)n_pages);
    if (!is_armed() && pager.n_dead > DEAD_FLOOR_PAGES &&
        pager.n_dead > pager.n_resident / DEAD_SHARE)
        purge_dead();
    pager_leave(&guard);
}

bool pager_heap_extend(void *run, size_t n_pages, size_t new_n_pages, bool *zeroed)
{
    struct pager_guard guard;
    uint32_t page = page_of(run);
    bool extended = false;
    if (new_n_pages > pager.heap_pages / 2)
        return false;
    pager_enter(&guard);
    if (quire_buddy_try_extend(pager.buddy, page, (uint32_t)n_pages, (uint32_t)new_n_pages) == 0)
        extended = take_into_use(&guard, page + (uint32_t)n_pages,
                                 (uint32_t)(new_n_pages - n_pages), zeroed);
    pager_leave(&guard);
    service_start_if_large();
    return extended;
}

void pager_heap_move(void *from, void *to, size_t n_pages)
{
    pager_move_contents(page_of(from), page_of(to), (uint32_t)n_pages);
}
