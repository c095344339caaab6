/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sharing: the frames that a fork left to two processes.
 *
 * The kernel copies a shared frame when either side writes to it, and tells nobody. So where the
 * pager is armed, what is resident at a fork is write-protected with the userfaultfd, in the parent
 * before the fork and in the child when it is armed: the first write to each page faults, is
 * charged, waits for room like any other fault, and only then may the kernel copy.
 *
 *   fork: RESIDENT ---> RESIDENT | SHARED, protected
 *   write, or eviction: not SHARED any more, one page more is charged
 *   nothing is shared any more (accounts.c): protection and flags go
 *
 * What both sides hold is charged once between them: its `shared` (base/control.h) is the part
 * of what a process holds that others are charged for. The page map tells whether a frame still has
 * two sides: who is the last to write to it or to evict it takes or frees the frame itself, and is
 * charged nothing. accounts.c puts right what this leaves unseen.
 *
 * Kernels without userfaultfd write protection on this architecture: the looks alone.
 */
#include "base/uffd.h"
#include "pager/copies.h"
#include "pager/internal.h"
#include "pager/standing.h"

static void protect(uint32_t from, uint32_t to, bool on)
{
    if (from < to)
        uffd_protect(service_uffd, page_address(from), (size_t)(to - from) << SYS_PAGE_SHIFT, on);
}

void sharing_unprotect(uint32_t page, uint32_t n_pages)
{
    protect(page, page + n_pages, false);
}

static int protect_range(uint32_t from, uint32_t to)
{
    protect(from, to, true);
    return 0;
}

static int unprotect_range(uint32_t from, uint32_t to)
{
    protect(from, to, false);
    return 0;
}

/* L. The page is neither shared nor clean any more, but for `flags`. */
static void clear_flags(uint32_t page, page_entry flags)
{
    copies_drop(page);
    page_entry entry = table_get(&pager.table, page);
    if ((entry & (PAGE_SHARED | PAGE_CLEAN)) != flags)
        table_set(&pager.table, page, (entry & ~(PAGE_SHARED | PAGE_CLEAN)) | flags);
}

static void set_flags(bool shared)
{
    uint32_t page = 0;
    while ((page = table_next(&pager.table, page, pager.n_pages)) < pager.n_pages) {
        if (page_state(table_get(&pager.table, page)) == PAGE_RESIDENT)
            clear_flags(page, shared ? PAGE_SHARED : 0);
        page++;
    }
}

/* Who has written there since all was protected is the one that is to fork, maybe, and waits. */
static void set_own(uint32_t from, uint32_t to)
{
    protect(from, to, false);
    for (uint32_t page = from; page < to; page++)
        clear_flags(page, 0);
    uffd_wake(service_uffd, page_address(from), (size_t)(to - from) << SYS_PAGE_SHIFT);
}

void sharing_protect(void)
{
    pager.shares = true;
    if (!pager.can_protect)
        return;
    pager.sees_writes = true;
    standing_turn_begins();
    arena_each_range(protect_range);
    set_flags(true);
    standing_each(set_own);
    standing_turn_ends();
}

void sharing_protect_all(void)
{
    frames_fork_child();
    pager.shares = true;
    pager.sees_writes = pager.can_protect;
    if (!pager.can_protect)
        return;
    arena_each_range(protect_range);
    set_flags(true);
}

/*
 * Pages that are being brought in just now may be protected already, and lose it here before they
 * get their mark: who brings them looks whether this came in between.
 */
void sharing_end(void)
{
    pager.shares = false;
    pager.pool_shared = 0;
    if (pager.store)
        store_share(pager.store, false);
    if (!pager.sees_writes)
        return;
    set_flags(false);
    arena_each_range(unprotect_range);
    pager.n_unprotected++;
}

bool sharing_would_copy(const void *address)
{
    return pager.shares && !(frames_look_up(address) & PAGEMAP_EXCLUSIVE);
}

void sharing_charge_copy(void)
{
    pager.self->shared--;
    budget_charge(CONTROL_RESIDENT, 1);
}

void sharing_make_own(uint32_t page)
{
    page_entry entry = table_get(&pager.table, page);
    clear_flags(page, 0);
    if (entry & PAGE_SHARED) {
        if (sharing_would_copy(page_address(page)))
            sharing_charge_copy();
    }
    protect(page, page + 1, false);
}
