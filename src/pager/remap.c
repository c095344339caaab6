/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remap: contents change their addresses without being copied.
 *
 * Unarmed, the kernel's mremap moves the page tables. Armed, the page's entry is moved, whatever
 * its state, and where the page is resident its frame is moved by UFFDIO_MOVE, so that a cold array
 * can be grown without one of its pages being brought in. That needs the descriptor: the service
 * thread does it.
 */
#include "base/checked.h"
#include "base/touches.h"
#include "base/uffd.h"
#include "pager/internal.h"
#include "pager/watch.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* L. One resident page; when it can't be moved (pinned) its contents are copied. */
static void move_resident(uint32_t from, uint32_t to)
{
    ssize_t moved;
    for (int tries = 0; tries < 2; tries++) {
        moved = frames_move(page_address(to), page_address(from), 1);
        if (moved != -EBUSY)
            break;
        sys_madvise(page_address(from), SYS_PAGE_SIZE, MADV_POPULATE_WRITE);
    }
    if (moved > 0)
        return;
    /* ENOENT: dropped behind the pager's back; the new page reads as zeros, too. */
    if (moved != -ENOENT &&
        uffd_copy(service_uffd, page_address(to), page_address(from), SYS_PAGE_SIZE, false) < 0)
        pager_end_run(CONTROL_FAILED, "the page at %p could not be moved (error %d)",
                      (void *)page_address(from), (int)-moved);
    sys_madvise(page_address(from), SYS_PAGE_SIZE, MADV_DONTNEED);
}

/* L. Moves one entry, which is not BUSY, to where there is none. */
static void move_entry(uint32_t from, uint32_t to)
{
    page_entry entry = table_get(&pager.table, from);
    watch_range(from, from + 1, TOUCHES_DROPPED);
    if (entry & (PAGE_SHARED | PAGE_CLEAN)) /* or to write to it would fault */
        sharing_make_own(from);
    if (page_state(entry) == PAGE_RESIDENT)
        policy_remove(&pager.policy, from, page_payload(entry));
    table_set(&pager.table, from, 0);
    switch (page_state(entry)) {
    case PAGE_EMPTY:
        break;
    case PAGE_RESIDENT:
        move_resident(from, to);
        pager_make_resident(to, POLICY_FIRST);
        break;
    case PAGE_STAGED: /* not PACKING any more: what is being packed has the old page's number */
        pager.staging.page[page_payload(entry)] = to;
        table_set(&pager.table, to, page_make(PAGE_STAGED, page_payload(entry)));
        break;
    case PAGE_STORED: {
        store_ref ref = store_rename(pager.store, page_payload(entry), from, to);
        table_set(&pager.table, to, page_make(PAGE_STORED, ref));
        break;
    }
    }
    watch_range(to, to + 1, TOUCHES_REVIVED);
}

static bool is_busy(uint32_t page)
{
    return table_get(&pager.table, page) & PAGE_BUSY;
}

/* L. Forgets what the pages hold, and waits until none is BUSY. */
static void clear(uint32_t page, uint32_t n_pages)
{
    pager_forget(page, page + n_pages);
    sys_madvise(page_address(page), (size_t)n_pages << SYS_PAGE_SHIFT, MADV_DONTNEED);
}

/*
 * While this waits for one page zeros may come in where others are to go: whoever runs through
 * fresh memory below is served ahead.
 */
void move_pages(uint32_t from, uint32_t to, uint32_t n_pages)
{
    uint32_t end = from + n_pages, page = from;
    lock_take(&pager.lock);
    clear(to, n_pages);
    while ((page = table_next(&pager.table, page, end)) < end) {
        const uint32_t there = to + (page - from);
        if (is_busy(page) || is_busy(there)) {
            pager_wait_busy();
            continue;
        }
        if (table_get(&pager.table, there) != 0)
            clear(there, 1);
        move_entry(page, there);
    }
    lock_release(&pager.lock);
}

/* Unarmed: the kernel moves the pages; the old addresses stay reserved and accessible. */
static bool move_by_kernel(uint32_t from, uint32_t to, uint32_t n_pages)
{
    size_t n_bytes = (size_t)n_pages << SYS_PAGE_SHIFT;
    struct pager_guard guard;
    pager_enter(&guard);
    bool armed = is_armed();
    void *moved = NULL;
    if (!armed)
        moved = sys_mremap(page_address(from), n_bytes, n_bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
                           page_address(to));
    if (!armed && !sys_is_error(moved))
        sys_mmap(page_address(from), n_bytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    else if (!armed)
        memcpy(page_address(to), page_address(from), n_bytes);
    pager_leave(&guard);
    return !armed;
}

void pager_move_contents(uint32_t from, uint32_t to, uint32_t n_pages)
{
    if (move_by_kernel(from, to, n_pages))
        return;
    service_call(SERVICE_MOVE, from, to, n_pages);
}
