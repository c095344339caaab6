/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pack: the oldest staged pages go into the store.
 *
 *   staging ---copied aside---> packing.c ---> RAM pool
 *      '--- released, in blocks, when all of a block's pages are packed or taken back
 *
 * The lock is held while pages are copied aside and while the results are noted, never while
 * compressing: what happened to the page meanwhile is checked before the result counts (PACKING is
 * still set only if the page never left its slot).
 */
#include "pager/reclaim.h"

#include <string.h>
#include <sys/mman.h>

#define RAW_PATIENCE 15 /* how often, on average, what did not compress is passed over */

/* L. Lists the oldest staged pages. Returns the number of slots, holes and orphans included. */
static uint32_t list_oldest(struct packing *packing, const char **addresses)
{
    struct staging *staging = &pager.staging;
    uint32_t n_slots = 0;
    while (staging->packed + n_slots < staging->head && packing->n < PACK_BATCH) {
        uint32_t slot = staging_slot(staging, staging->packed + n_slots);
        uint32_t page = staging->page[slot];
        n_slots++;
        if (page == STAGING_HOLE || page == STAGING_ORPHAN)
            continue;
        addresses[packing->n] = staging_address(staging, slot);
        packing->page[packing->n] = page;
        packing->from[packing->n++] = slot;
    }
    return n_slots;
}

/* Copies the oldest staged pages aside; how many slots that were. */
static uint32_t gather(struct packing *packing)
{
    const char *addresses[PACK_BATCH];
    unsigned char *copies = packing_copy(0);
    packing->n = 0;
    lock_take(&pager.lock);
    uint32_t n_slots = list_oldest(packing, addresses);
    /* pages of before a fork have two sides yet, maybe: frames_read() would copy their frames */
    const bool are_own = pager.staging.packed >= pager.staging.shared_head;
    const bool read = are_own && frames_read(copies, addresses, packing->n);
    for (uint32_t i = 0; i < packing->n; i++) {
        if (!read)
            memcpy(copies + ((size_t)i << SYS_PAGE_SHIFT), addresses[i], SYS_PAGE_SIZE);
        table_set(&pager.table, packing->page[i],
                  page_make(PAGE_STAGED, packing->from[i]) | PAGE_PACKING);
    }
    lock_release(&pager.lock);
    return n_slots;
}

/*
 * L. Without a file, a page that does not compress gains nothing in the store: it goes back to
 * where it was, as the youngest. False: it stays in its slot.
 */
static bool put_back(uint32_t page, uint32_t slot)
{
    if (frames_move(page_address(page), staging_address(&pager.staging, slot), 1) <= 0)
        return false;
    pager.staging.page[slot] = STAGING_HOLE;
    pager.staging.n_pages--;
    pager_make_resident(page, POLICY_AGAIN);
    table_set(&pager.table, page, table_get(&pager.table, page) | PAGE_RAW);
    pager.n_raw_to_pass_over += RAW_PATIENCE;
    pager.n_resident++;
    budget_charge(CONTROL_RESIDENT, 1);
    budget_charge(CONTROL_STAGED, -1);
    return true;
}

/* L. A staged page that was packed goes into the store; false when there is no room for it. */
static bool keep(const struct packing *packing, uint32_t i, size_t pool_limit_bytes)
{
    uint32_t page = packing->page[i], slot = packing->from[i];
    if (packing->dead[i]) {
        control_count(&pager.self->stats.dropped_dead, 1);
        table_set(&pager.table, page, 0);
    } else {
        store_ref ref = 0;
        if (!packing_pays(i) && put_back(page, slot))
            return true; /* else (read-only, shared by a fork) it must not block the ring */
        if (!packing_insert(packing, i, pool_limit_bytes, &ref))
            return false;
        table_set(&pager.table, page, page_make(PAGE_STORED, ref));
    }
    pager.staging.page[slot] = STAGING_ORPHAN;
    return true;
}

/* L. The slots up to there are done with. */
static void advance(uint32_t n_slots)
{
    struct staging *staging = &pager.staging;
    for (uint32_t i = 0; i < n_slots; i++)
        staging->n_done += staging->page[staging_slot(staging, staging->packed + i)] ==
                           STAGING_ORPHAN;
    staging->packed += n_slots;
}

/*
 * Notes what was packed of n_slots slots; those up to the first that could not be kept are done
 * with. Returns how many.
 */
static uint32_t commit(const struct packing *packing, uint32_t n_slots, size_t pool_limit_bytes)
{
    uint32_t n_done = n_slots;
    bool full = false;
    lock_take(&pager.lock);
    for (uint32_t i = 0; i < packing->n; i++) {
        uint32_t page = packing->page[i], slot = packing->from[i];
        lock_yield(&pager.lock); /* a copy into fresh memory of the pool takes a while */
        if (table_get(&pager.table, page) != (page_make(PAGE_STAGED, slot) | PAGE_PACKING))
            continue; /* taken back, or forgotten */
        if (!full && keep(packing, i, pool_limit_bytes))
            continue;
        table_set(&pager.table, page, page_make(PAGE_STAGED, slot));
        if (!full)
            n_done = (slot - staging_slot(&pager.staging, pager.staging.packed)) &
                     (pager.staging.n_slots - 1);
        full = true;
    }
    advance(n_done);
    budget_charge_tables();
    lock_release(&pager.lock);
    return n_done;
}

/* How many of the oldest slots' frames stay, because a fork's other side has them as well. */
static uint32_t staged_for_others(uint32_t n_slots)
{
    struct staging *staging = &pager.staging;
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_slots && staging->tail + i < staging->shared_head; i++) {
        uint32_t slot = staging_slot(staging, staging->tail + i);
        n += staging->page[slot] == STAGING_ORPHAN &&
             sharing_would_copy(staging_address(staging, slot));
    }
    return n;
}

/* The next n_slots slots from the tail on lie side by side, and are done with. */
static uint32_t release(uint32_t n_slots)
{
    struct staging *staging = &pager.staging;
    uint32_t first = staging_slot(staging, staging->tail), n_freed = 0;
    uint32_t n_stay = staged_for_others(n_slots);
    sys_madvise(staging_address(staging, first), (size_t)n_slots << SYS_PAGE_SHIFT, MADV_DONTNEED);
    lock_take(&pager.lock);
    for (uint32_t i = 0; i < n_slots; i++) {
        n_freed += staging->page[first + i] == STAGING_ORPHAN;
        staging->page[first + i] = STAGING_HOLE;
    }
    staging->tail += n_slots;
    staging->n_pages -= n_freed;
    staging->n_done -= n_freed;
    budget_charge(CONTROL_STAGED, -(int64_t)n_freed);
    for (uint32_t i = 0; i < n_stay; i++)
        sharing_charge_copy();
    lock_release(&pager.lock);
    return n_freed;
}

uint32_t pack_release(bool all)
{
    struct staging *staging = &pager.staging;
    uint32_t n_freed = 0;
    for (;;) {
        uint64_t n = staging->packed - staging->tail;
        uint64_t to_block_end = STAGING_BLOCK - staging->tail % STAGING_BLOCK;
        if (n == 0 || (n < to_block_end && !all))
            return n_freed;
        n_freed += release((uint32_t)(n < to_block_end ? n : to_block_end));
    }
}

uint32_t pack_oldest(size_t pool_limit_bytes)
{
    struct packing packing;
    uint32_t n_slots = gather(&packing);
    packing_scrub(&packing);
    packing_compress(&packing);
    return commit(&packing, n_slots, pool_limit_bytes);
}
