/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evict: takes pages from the program, those that the policy names (policy/policy.h).
 *
 *   policy --victims-> choose ---UFFDIO_MOVE---> staging
 *                       |  |
 *                       |  '--- shared with a fork's other side: straight into the store (pack.c)
 *                       '------ free memory: dropped unread
 *
 * Eviction is one atomic move, so no write can be lost. The move is refused for pages that I/O has
 * pinned and for pages that a fork marked as shared; writing to the latter (MADV_POPULATE_WRITE
 * changes nothing) makes them this process's own. What can't be moved even then goes to the young
 * end of the queue.
 *
 * The lock is held for one run of pages at a time.
 */
#include "base/uffd.h"
#include "pager/reclaim.h"
#include "pager/standing.h"

#include <errno.h>
#include <sys/mman.h>

#define MOST_LOOKED 512 /* pages, for a batch of victims */
#define RESIDENT_LEAST 32
#define SHARED_DEBT 256 /* pages over the budget: copies of shared ones do not stay in RAM then */
#define SHARED_WRITE 48 /* pages stored that others still have, until they go on to the file */

struct leftovers {          /* of an eviction: what could not be moved */
    struct victims refused; /* as busy */
    struct victims shared;  /* with a fork's other side */
    struct victims clean;   /* they need not be moved */
};

#define KINDS (PAGE_DEAD | PAGE_SHARED | PAGE_CLEAN) /* which decide how a page is evicted */

void evict_requeue(uint32_t page)
{
    page_entry entry = table_get(&pager.table, page);
    page_entry kind = entry & (KINDS | PAGE_RAW | PAGE_KEPT);
    if (kind & PAGE_DEAD) {
        policy_free(&pager.policy, page, page_payload(entry));
        return;
    }
    pager_make_resident(page, POLICY_AGAIN);
    if (kind)
        table_set(&pager.table, page, table_get(&pager.table, page) | kind);
}

/*
 * L. After a fork each shared page is passed over once: as long as the others keep the frame,
 * evicting it costs a compressed copy and gains nothing, and many forks are short. But only once,
 * or what the process no longer needs would crowd out what it does.
 */
static bool pass_over_shared(void)
{
    if (pager.n_to_pass_over <= 0)
        return false;
    pager.n_to_pass_over--;
    return true;
}

/*
 * L. A page that did not compress has most likely not changed since: to move it out, try again and
 * move it back at each of its turns is most of the work of a run that is nearly out of room. But
 * now and then it is tried again, because it may have been written to.
 */
static bool pass_over_raw(void)
{
    if (pager.n_raw_to_pass_over == 0)
        return false;
    pager.n_raw_to_pass_over--;
    return true;
}

static bool pass_over(uint32_t page, page_entry entry)
{
    if (entry & PAGE_DEAD)
        return false;
    bool passed = entry & PAGE_SHARED ? pass_over_shared() : entry & PAGE_RAW && pass_over_raw();
    if (passed)
        evict_requeue(page);
    return passed;
}

/* L. Adds a victim where it belongs by its address. */
static void add_victim(struct victims *victims, uint32_t page, uint64_t position)
{
    uint32_t at = victims->n++;
    for (; at > 0 && victims->page[at - 1] > page; at--) {
        victims->page[at] = victims->page[at - 1];
        victims->position[at] = victims->position[at - 1];
    }
    victims->page[at] = page;
    victims->position[at] = position;
}

/*
 * L. Who is to go next: what a stream left behind, else whom the policy names. If all are to go,
 * the order is the one that they are to come back in, and streams have no say.
 */
static bool next_victim(uint32_t *page, uint64_t *position, bool spares_none)
{
    if (spares_none || !drop_behind_pop(&pager.behind, (uint64_t)pager.n_resident, page))
        return policy_next(&pager.policy, page, position);
    page_entry entry = table_get(&pager.table, *page);
    if (!(entry & PAGE_KEPT)) { /* it has changed, or gone */
        *position = UINT64_MAX;
        return true;
    }
    *position = page_payload(entry);
    policy_remove(&pager.policy, *page, *position);
    return true;
}

/*
 * L. Takes victims out of the policy's queues, in order of address. Pages that arrived together are
 * neighbours as a rule, and leave in one move. True: it has looked at some.
 */
static bool choose(struct victims *victims, uint32_t most_pages, uint32_t most_runs,
                   bool spares_none)
{
    uint32_t page, last = UINT32_MAX - 1, n_looked = 0, n_runs = 0;
    uint64_t position;
    victims->n = 0;
    freed_settle();
    while (victims->n < most_pages && n_runs < most_runs && n_looked < MOST_LOOKED &&
           next_victim(&page, &position, spares_none)) {
        page_entry entry = table_get(&pager.table, page);
        if (page_state(entry) != PAGE_RESIDENT || page_payload(entry) != position ||
            entry & PAGE_BUSY)
            continue; /* it is none any more */
        n_looked++;
        if (!spares_none && pass_over(page, entry))
            continue;
        n_runs += page != last + 1;
        last = page;
        add_victim(victims, page, position);
    }
    return n_looked > 0;
}

bool victim_is_unchanged(const struct victims *victims, uint32_t at)
{
    page_entry entry = table_get(&pager.table, victims->page[at]);
    return page_state(entry) == PAGE_RESIDENT && !(entry & PAGE_BUSY) &&
           page_payload(entry) == victims->position[at];
}

/* L. How many victims from `at` on are neighbours, unchanged, and of the kind of the first. */
static uint32_t run_length(const struct victims *victims, uint32_t at, page_entry kind)
{
    uint32_t n = 0;
    while (at + n < victims->n && victims->page[at + n] == victims->page[at] + n &&
           victim_is_unchanged(victims, at + n) &&
           (table_get(&pager.table, victims->page[at + n]) & KINDS) == kind)
        n++;
    return n;
}

/* L. Free memory has its turn: its contents are nothing to anybody. */
static void drop(uint32_t page, uint32_t n_pages)
{
    sys_madvise(page_address(page), (size_t)n_pages << SYS_PAGE_SHIFT, MADV_DONTNEED);
    pager_forget(page, page + n_pages);
    control_count(&pager.self->stats.dropped_dead, n_pages);
}

/* L. The pages are in staging now. */
static void stage(uint32_t page, uint32_t n_pages)
{
    uint32_t slot = staging_slot(&pager.staging, pager.staging.head);
    for (uint32_t i = 0; i < n_pages; i++) {
        pager_note_eviction(page + i);
        pager.staging.page[slot + i] = page + i;
        table_set(&pager.table, page + i, page_make(PAGE_STAGED, slot + i));
    }
    pager.staging.head += n_pages;
    pager.staging.n_pages += n_pages;
    pager.n_resident -= n_pages;
    budget_charge(CONTROL_STAGED, n_pages);
    budget_charge(CONTROL_RESIDENT, -(int64_t)n_pages);
    control_count(&pager.self->stats.evictions, n_pages);
}

/* L. Moves a run into staging; returns how many went, or the error of the first. */
static ssize_t move_out(uint32_t page, uint32_t n_pages)
{
    n_pages = staging_room(&pager.staging, n_pages);
    if (n_pages == 0)
        return -ENOSPC;
    uint32_t slot = staging_slot(&pager.staging, pager.staging.head);
    ssize_t moved = frames_move(staging_address(&pager.staging, slot), page_address(page), n_pages);
    if (moved == -EINVAL && n_pages > 1) /* the run crosses into another mapping of the kernel's */
        return move_out(page, 1);
    if (moved <= 0)
        return moved;
    stage(page, (uint32_t)moved);
    return moved;
}

static void set_aside(struct victims *to, const struct victims *from, uint32_t at)
{
    to->page[to->n] = from->page[at];
    to->position[to->n++] = from->position[at];
}

/* L. How many of the pages lie in memory that the program may not write to just now. */
static uint32_t read_only_run(uint32_t page, uint32_t n_pages)
{
    const struct region *region = page < pager.heap_pages ? NULL
                                                          : regions_find(&pager.regions, page);
    if (!region || region->first > page || region_prot(region) & PROT_WRITE)
        return 0;
    const uint32_t n = region->first + region->n_pages - page;
    return n < n_pages ? n : n_pages;
}

/*
 * L. Memory that is not writable can't be moved. Protected, it need not be: like what has not been
 * written to since it came in, it leaves from where it is. How many pages became such.
 */
static uint32_t make_clean(uint32_t page, uint32_t n_pages)
{
    const uint32_t n = pager.can_protect ? read_only_run(page, n_pages) : 0;
    if (n == 0 ||
        uffd_protect(service_uffd, page_address(page), (size_t)n << SYS_PAGE_SHIFT, true) < 0)
        return 0;
    for (uint32_t i = 0; i < n; i++)
        table_set(&pager.table, page + i, table_get(&pager.table, page + i) | PAGE_CLEAN);
    return n;
}

/*
 * L. Evicts the run of victims that begins at `at`; *n_gone counts those that went. Returns how
 * many are dealt with. A page that is refused as busy is added to `refused`.
 */
static uint32_t evict_run(const struct victims *victims, uint32_t at, struct leftovers *left,
                          uint32_t *n_gone)
{
    uint32_t page = victims->page[at];
    page_entry kind = table_get(&pager.table, page) & KINDS;
    uint32_t n = run_length(victims, at, kind);
    if (n == 0)
        return 1; /* it has changed: touched, freed or unmapped */
    n = standing_before(page, n);
    if (n == 0) {
        evict_requeue(page);
        return 1;
    }
    if (kind & PAGE_DEAD) {
        drop(page, n);
        *n_gone += n;
        return n;
    }
    if (kind & (PAGE_SHARED | PAGE_CLEAN)) {
        set_aside(kind & PAGE_SHARED ? &left->shared : &left->clean, victims, at);
        return 1;
    }
    const uint32_t n_clean = make_clean(page, n);
    for (uint32_t i = 0; i < n_clean; i++)
        set_aside(&left->clean, victims, at + i);
    if (n_clean > 0)
        return n_clean;
    ssize_t moved = move_out(page, n);
    if (moved > 0) {
        *n_gone += (uint32_t)moved;
        return (uint32_t)moved;
    }
    if (moved == -EBUSY) {
        set_aside(&left->refused, victims, at);
    } else if (moved == -ENOENT) { /* dropped behind the pager's back */
        pager_forget(page, page + 1);
    } else {
        evict_requeue(page);
    }
    return 1;
}

/*
 * Evicts victims. The lock is let go of after each run: a move makes the other processors forget
 * the page's address, which takes microseconds that a fault should not have to wait.
 */
static uint32_t evict(const struct victims *victims, struct leftovers *left)
{
    uint32_t n_gone = 0;
    left->refused.n = left->shared.n = left->clean.n = 0;
    for (uint32_t at = 0; at < victims->n;) {
        lock_take(&pager.lock);
        standing_turn_begins();
        at += evict_run(victims, at, left, &n_gone);
        standing_turn_ends();
        lock_release(&pager.lock);
    }
    return n_gone;
}

/* Breaks the sharing that a fork left behind, without changing a byte. */
static void make_own(const struct victims *refused)
{
    for (uint32_t i = 0; i < refused->n; i++) {
        atomic_store(&service_awaits, (uint64_t)refused->page[i] + 1);
        sys_madvise(page_address(refused->page[i]), SYS_PAGE_SIZE, MADV_POPULATE_WRITE);
    }
    atomic_store(&service_awaits, 0);
}

/* To the young end: these can't be evicted now. */
static void requeue_all(const struct victims *stuck)
{
    if (stuck->n == 0)
        return;
    lock_take(&pager.lock);
    for (uint32_t i = 0; i < stuck->n; i++)
        if (victim_is_unchanged(stuck, i))
            evict_requeue(stuck->page[i]);
    lock_release(&pager.lock);
}

static uint32_t evict_refused(const struct victims *refused)
{
    struct leftovers stuck;
    make_own(refused);
    lock_take(&pager.lock);
    if (!pager.sees_writes)
        budget_unshare(refused->n);
    lock_release(&pager.lock);
    uint32_t n_gone = evict(refused, &stuck);
    requeue_all(&stuck.refused);
    return n_gone;
}

/*
 * Evicts shared pages; with a file their copies go there before they are many. Each copy is a loss
 * until the others have evicted the page as well, and what is lost at any time must stay little.
 * But where a run is over its budget already (each child of a fork brings tables of its own) shared
 * pages may be all there is to give: then their copies go on to the file at once, or there are
 * none.
 */
static uint32_t evict_shared(const struct victims *victims, size_t pool_limit_bytes)
{
    static uint32_t n_stored; /* and not yet written on; of who has the pass */
    const bool is_in_debt = budget_room() < -SHARED_DEBT;
    uint32_t n_gone = pack_shared(victims, pool_limit_bytes,
                                  !is_in_debt || writeback_is_possible());
    n_stored += n_gone;
    if (n_stored >= SHARED_WRITE || is_in_debt) {
        n_stored = 0;
        writeback_cluster();
    }
    return n_gone;
}

/* Evicts victims of all kinds. */
static uint32_t evict_all(const struct victims *victims, size_t pool_limit_bytes, bool may_fault)
{
    struct leftovers left;
    uint32_t n_gone = evict(victims, &left);
    if (left.shared.n > 0 && may_fault)
        n_gone += evict_shared(&left.shared, pool_limit_bytes);
    else
        requeue_all(&left.shared);
    if (left.clean.n > 0)
        n_gone += pack_clean(&left.clean, pool_limit_bytes);
    if (left.refused.n > 0 && may_fault)
        n_gone += evict_refused(&left.refused);
    else
        requeue_all(&left.refused);
    return n_gone;
}

void evict_these(const struct victims *victims, size_t pool_limit_bytes)
{
    evict_all(victims, pool_limit_bytes, false);
}

/*
 * L. An instruction may need several pages at a time, so what came in last must stay, or a process
 * that has next to nothing would evict one to bring in the other for ever.
 */
static uint32_t most_pages(const struct eviction *eviction)
{
    int64_t most = pager.n_resident - (eviction->evicted ? 0 : RESIDENT_LEAST);
    int64_t n_free = (int64_t)(pager.staging.n_slots - (pager.staging.head - pager.staging.tail));
    if (n_free < most)
        most = n_free;
    if (most > eviction->most_pages)
        most = eviction->most_pages;
    return most > 0 ? (uint32_t)most : 0;
}

uint32_t evict_oldest(const struct eviction *eviction, bool *tried)
{
    struct victims victims;
    lock_take(&pager.lock);
    *tried = choose(&victims, most_pages(eviction), eviction->most_runs, eviction->evicted != NULL);
    lock_release(&pager.lock);
    if (eviction->evicted)
        evicted_note(eviction->evicted, &victims);
    return evict_all(&victims, eviction->pool_limit_bytes, eviction->may_fault);
}
