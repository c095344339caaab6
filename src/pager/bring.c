/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bring: see bring.h.
 *
 * An error of the store ends the run: a page that can't be brought back intact is never replaced by
 * another. An address that is mapped no more is no error: nobody wants the page then.
 */
#include "pager/bring.h"

#include "base/stepping.h"
#include "base/uffd.h"
#include "pager/copies.h"

#include <errno.h>
#include <sys/mman.h>

#define COPY_RETRIES 1000
#define WAKE_TRIES 3

uint32_t bring_install(uint32_t page, const unsigned char *contents, uint32_t n_pages,
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

uint32_t bring_install_writable(uint32_t page, const unsigned char *contents, uint32_t n_pages)
{
    bool protect = false;
    return bring_install(page, contents, n_pages, &protect);
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
void bring_finish(uint32_t page, uint32_t n_pages, uint32_t n_done, const struct coming *coming)
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

void bring_begin(uint32_t page, uint32_t n_pages)
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

uint32_t bring_alike(uint32_t page, enum page_state state, uint32_t most)
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

uint32_t bring_within_room(uint32_t n_pages)
{
    int64_t room = budget_room();
    if (room >= (int64_t)n_pages)
        return n_pages;
    return room > 1 ? (uint32_t)room : 1;
}

uint32_t bring_staged_run(uint32_t page, uint32_t slot, uint32_t most)
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
    if (bring_install_writable(page, (unsigned char *)from, 1) != 1)
        return false;
    if (stays)
        sharing_charge_copy();
    sys_madvise(from, SYS_PAGE_SIZE, MADV_DONTNEED);
    return true;
}

uint32_t bring_back(uint32_t page, uint32_t slot, uint32_t n, enum policy_arrival first)
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

/* A page that is to be loaded, and which of the window's it is. */
struct wanted {
    store_ref ref;
    uint32_t at;
};

/*
 * In the order of their references, so that what lies together is read together: neighbours may
 * lie in clusters that take turns. An insertion sort, since most are in order.
 */
static void list_wanted(struct wanted *wanted, uint32_t page, uint32_t n_pages)
{
    for (uint32_t i = 0; i < n_pages; i++) {
        store_ref ref = page_payload(table_get_busy(&pager.table, page + i));
        uint32_t at = i;
        for (; at > 0 && store_tier(ref) == STORE_FILE && wanted[at - 1].ref > ref; at--)
            wanted[at] = wanted[at - 1];
        wanted[at] = (struct wanted){ref, i};
    }
}

/* The pages from the i-th on that lie in one cluster of the file: the last of them. */
static uint32_t last_together(const struct wanted *wanted, uint32_t i, uint32_t n_pages)
{
    while (i + 1 < n_pages && store_are_together(wanted[i].ref, wanted[i + 1].ref))
        i++;
    return i;
}

uint32_t bring_loaded(struct window *window, uint32_t page, uint32_t n_pages, bool asked_for,
                      bool in_a_row)
{
    struct wanted wanted[WINDOW_PAGES];
    uint32_t n_intact = n_pages, n_read = 0;
    list_wanted(wanted, page, n_pages);
    stepping_call(); /* a place in the store is read without the lock that it was learnt under */
    for (uint32_t i = 0; i < n_pages; i++) {
        const store_ref ref = wanted[i].ref;
        const uint32_t at = wanted[i].at;
        int error;
        const bool from_file = store_tier(ref) == STORE_FILE;
        window_use(window, in_a_row && n_pages == 1 ? 2 : n_pages, from_file);
        if (from_file && n_pages > 1 && i >= n_read) {
            n_read = last_together(wanted, i, n_pages) + 1;
            store_read_ahead(pager.store, ref, wanted[n_read - 1].ref, &window->reader);
        }
        unsigned char *out = window->pages.memory + ((size_t)at << SYS_PAGE_SHIFT);
        if (in_a_row)
            error = store_load_through(pager.store, window->loader, ref, page + at, out,
                                       &window->reader);
        else
            error = store_load(pager.store, window->loader, ref, page, out, out + SYS_PAGE_SIZE);
        if (error && at == 0 && asked_for)
            bad_copy(page, ref, error);
        if (error && at < n_intact)
            n_intact = at;
    }
    return n_intact;
}

uint32_t bring_stored(uint32_t page, uint32_t n_pages, bool to_read, struct coming coming)
{
    const uint32_t n_unprotected = pager.n_unprotected;
    bring_begin(page, n_pages);
    coming.clean = to_read && pager.can_protect && protection_wanted(&pager.protection, n_pages);
    const bool is_protected = coming.clean;
    lock_release(&pager.lock);
    struct window *window = window_take();
    uint32_t loaded = bring_loaded(window, page, n_pages, coming.first == POLICY_FETCHED,
                                   coming.in_a_row || n_pages > 1);
    uint32_t done = bring_install(page, window->pages.memory, loaded, &coming.clean);
    window_give(window);
    lock_take(&pager.lock);
    coming.clean = coming.clean && pager.n_unprotected == n_unprotected;
    if (is_protected && !coming.clean)
        sharing_unprotect(page, done);
    bring_finish(page, n_pages, done, &coming);
    return done;
}

void bring_wake(struct waiters waiters)
{
    for (int tries = 0; waiters.n_pages > 0 && tries < WAKE_TRIES; tries++) {
        if (uffd_wake(service_uffd, page_address(waiters.page),
                      (size_t)waiters.n_pages << SYS_PAGE_SHIFT) == 0)
            return;
    }
}
