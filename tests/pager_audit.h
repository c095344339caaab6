/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pager_audit: recomputes what the pager says of itself.
 *
 * pager_audit() stops the pager between two steps and checks the invariants of pager/internal.h
 * (P2 to P5), of the table, of the regions (R1), and that every page of the arena that the
 * kernel has in memory is one that the pager knows to be resident, so that the budget is honest.
 * It returns NULL or what is wrong.
 */
#ifndef QUIRE_TESTS_PAGER_AUDIT_H
#define QUIRE_TESTS_PAGER_AUDIT_H

#include "pager/copies.h"
#include "pager/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

struct audit_counts {
    int64_t n_resident, n_dead, n_staged, n_ram, n_file, n_busy;
};

static inline void audit_ref(store_ref ref, struct audit_counts *counts)
{
    counts->n_ram += store_tier(ref) == STORE_RAM;
    counts->n_file += store_tier(ref) == STORE_FILE;
}

static inline const char *audit_copy(uint32_t page, page_entry entry, struct audit_counts *counts)
{
    if (!(entry & PAGE_KEPT) != (copies_of(page) == 0))
        return "P6: a mark without a copy, or a copy without a mark";
    if (!(entry & PAGE_KEPT))
        return NULL;
    audit_ref(copies_of(page), counts);
    return page_state(entry) == PAGE_RESIDENT && entry & PAGE_CLEAN
               ? NULL
               : "P6: the copy of a page that may have changed is kept";
}

static inline const char *audit_entry(uint32_t page, page_entry entry, struct audit_counts *counts)
{
    uint64_t payload = page_payload(entry);
    counts->n_dead += (entry & PAGE_DEAD) != 0;
    counts->n_busy += (entry & PAGE_BUSY) != 0;
    const char *wrong = audit_copy(page, entry, counts);
    if (wrong)
        return wrong;
    switch (page_state(entry)) {
    case PAGE_EMPTY:
        return entry & (PAGE_BUSY | PAGE_DEAD) ? NULL : "an empty entry with a payload";
    case PAGE_RESIDENT:
        counts->n_resident++;
        if (!policy_has(&pager.policy, page, payload))
            return "P3: a resident page is not at its place in the policy's queues";
        if (policy_is_freed(payload) && !(entry & PAGE_DEAD))
            return "P3: a page in use is among the freed ones";
        return NULL;
    case PAGE_STAGED:
        counts->n_staged++;
        return pager.staging.page[payload] == page ? NULL : "P4: a slot has another page";
    case PAGE_STORED:
        audit_ref(payload, counts);
        return NULL;
    }
    return "an entry of no state";
}

static inline const char *audit_table(struct audit_counts *counts)
{
    const uint32_t end = pager.n_pages;
    if (table_validate(&pager.table) != 0)
        return "the table is not valid";
    for (uint32_t page = 0; (page = table_next(&pager.table, page, end)) < end; page++) {
        const char *wrong = audit_entry(page, table_get(&pager.table, page), counts);
        if (wrong)
            return wrong;
    }
    return NULL;
}

static inline const char *audit_done(const struct staging *staging)
{
    uint32_t n_done = 0;
    if (staging->tail > staging->packed || staging->packed > staging->head ||
        staging->head - staging->tail > staging->n_slots)
        return "G1: head, packed and tail of the staging area are out of order";
    for (uint64_t at = staging->tail; at < staging->packed; at++) {
        uint32_t page = staging->page[staging_slot(staging, at)];
        if (page != STAGING_HOLE && page != STAGING_ORPHAN)
            return "G2: a page is in a slot that is done with";
        n_done += page == STAGING_ORPHAN;
    }
    return n_done == staging->n_done ? NULL : "G2: n_done is wrong";
}

static inline const char *audit_staging(const struct audit_counts *counts)
{
    uint32_t n_pages = 0, n_orphans = 0;
    const char *wrong = audit_done(&pager.staging);
    if (wrong)
        return wrong;
    for (uint32_t slot = 0; slot < pager.staging.n_slots; slot++) {
        n_pages += pager.staging.page[slot] != STAGING_HOLE;
        n_orphans += pager.staging.page[slot] == STAGING_ORPHAN;
    }
    if (n_pages != pager.staging.n_pages)
        return "G3: n_pages of staging is not the number of its pages and orphans";
    return n_pages - n_orphans == counts->n_staged ? NULL : "P4: slots of pages that are elsewhere";
}

static inline const char *audit_store(const struct audit_counts *counts)
{
    struct store_counts said;
    if (store_validate(pager.store) != 0)
        return "the store is not valid";
    store_counts(pager.store, &said);
    if ((int64_t)said.n_ram != counts->n_ram || (int64_t)said.n_file != counts->n_file)
        return "the store holds another number of pages than the table names";
    return (int64_t)said.pool_pages == pager.pool_charged ? NULL : "the pool is charged wrongly";
}

static inline const char *audit_charges(void)
{
    const struct control_slot *self = pager.self;
    if (self->held[CONTROL_RESIDENT] != pager.n_resident - self->shared)
        return "P2: resident pages are charged wrongly";
    if (self->held[CONTROL_STAGED] != pager.staging.n_pages)
        return "staged pages are charged wrongly";
    if (self->held[CONTROL_POOL] != pager.pool_charged ||
        self->held[CONTROL_METADATA] != pager.metadata_charged)
        return "pool or metadata are charged wrongly";
    return NULL;
}

static inline const char *audit_regions(void)
{
    uint32_t end = 0, n_locked = 0;
    for (uint32_t i = 0; i < pager.regions.count; i++) {
        const struct region *region = &pager.regions.array[i];
        if (region->first < end || region->n_pages == 0)
            return "R1: regions overlap or are out of order";
        end = region->first + region->n_pages;
        n_locked += (region->flags & REGION_LOCKED) != 0;
    }
    return n_locked == pager.regions.n_locked ? NULL : "regions: n_locked";
}

/* Pages in memory that the pager does not know of would be missing from the budget. */
static inline const char *audit_present(int pagemap, uint32_t page, uint32_t end)
{
    uint64_t maps[512];
    for (; page < end; page += 512) {
        uint32_t n = end - page < 512 ? end - page : 512;
        off_t offset = (off_t)((uintptr_t)page_address(page) >> SYS_PAGE_SHIFT) * 8;
        if (pread(pagemap, maps, n * sizeof maps[0], offset) != (ssize_t)(n * sizeof maps[0]))
            return "/proc/thread-self/pagemap can't be read";
        for (uint32_t i = 0; i < n; i++) {
            bool present = maps[i] >> 63 & 1;
            if (present && page_state(table_get(&pager.table, page + i)) != PAGE_RESIDENT)
                return "a page is in memory that is not counted as resident";
        }
    }
    return NULL;
}

static inline const char *audit_arena(void)
{
    const char *wrong = NULL;
    int pagemap = open("/proc/thread-self/pagemap", O_RDONLY | O_CLOEXEC);
    for (unsigned zone = 0; zone < 2 && !wrong; zone++) {
        struct quire_buddy_counts counts;
        if (quire_buddy_counts(pager.buddy, zone, &counts) < 0)
            wrong = "quire_buddy_counts";
        else
            wrong = audit_present(pagemap, counts.first, counts.frontier);
    }
    close(pagemap);
    return wrong;
}

static inline const char *audit_all(void)
{
    struct audit_counts counts = {0};
    const char *wrong = audit_regions();
    if (!wrong && quire_buddy_validate(pager.buddy) != 0)
        wrong = "the buddy system is not valid";
    if (wrong || !is_armed())
        return wrong;
    if (policy_validate(&pager.policy) != 0)
        return "the policy's queues are not valid";
    wrong = audit_table(&counts);
    if (!wrong && counts.n_resident != pager.n_resident)
        wrong = "P2: n_resident is not the number of resident entries";
    const uint64_t n_queued = pager.policy.n_held + policy_n_freed(&pager.policy);
    if (!wrong && (int64_t)n_queued != pager.n_resident)
        wrong = "P3: other pages are in the policy's queues";
    if (!wrong && (counts.n_dead != pager.n_dead || counts.n_busy != pager.n_busy))
        wrong = "n_dead or n_busy (P5) is not what the table says";
    if (!wrong)
        wrong = audit_staging(&counts);
    if (!wrong)
        wrong = audit_store(&counts);
    if (!wrong)
        wrong = audit_charges();
    return wrong ? wrong : audit_arena();
}

static inline const char *pager_audit(void)
{
    struct pager_guard guard;
    lock_take(&pager.pass);
    pager_enter(&guard);
    while (pager.n_busy > 0)
        pager_wait_busy();
    const char *wrong = audit_all();
    pager_leave(&guard);
    lock_release(&pager.pass);
    return wrong;
}

#endif
