/* SPDX-License-Identifier: Apache-2.0 */
/*
 * in_place: pages that nobody can write to unseen go into the store from where they are.
 *
 *   shared: a fork's other side has the frame too; to move it away would not free it
 *   clean:  not written to since it came in
 *
 *   lock: copied aside --> packed (no lock) --> lock: still the same? then STORED, frame dropped
 *                                                     else the copy in the store is dropped
 *
 * Both are write-protected with the userfaultfd, also against the kernel's writes and pins. A write
 * to such a page faults, and its handler takes the mark off under the lock: as long as a page has
 * its mark it is what was copied. So no move is needed, which the kernel does page by page, and
 * pages of read-only memory, which can't be moved at all, can go this way.
 */
#include "pager/copies.h"
#include "pager/reclaim.h"

#include <sys/mman.h>

/* L. Whether the victim is what was chosen, and has the mark yet. */
static bool is_marked(const struct victims *victims, uint32_t at, page_entry mark)
{
    return victim_is_unchanged(victims, at) &&
           (table_get(&pager.table, victims->page[at]) & (mark | PAGE_DEAD)) == mark;
}

static void requeue_if_there(const struct victims *victims, uint32_t at)
{
    if (victim_is_unchanged(victims, at))
        evict_requeue(victims->page[at]);
}

/* L. What can't be read where it is must be moved: it is an ordinary page from now on. */
static void unmark(uint32_t page)
{
    sharing_make_own(page);
    evict_requeue(page);
}

/* L. Copies marked victims from *at on aside, as many as there are buffers. */
static void gather(const struct victims *victims, uint32_t *at, page_entry mark,
                   struct packing *packing)
{
    const char *addresses[PACK_BATCH];
    packing->n = 0;
    for (; *at < victims->n && packing->n < PACK_BATCH; ++*at) {
        if (!is_marked(victims, *at, mark)) {
            requeue_if_there(victims, *at);
            continue;
        }
        addresses[packing->n] = page_address(victims->page[*at]);
        packing->page[packing->n] = victims->page[*at];
        packing->from[packing->n++] = *at;
    }
    uint32_t n_read = frames_read_in_place(packing_copy(0), addresses, packing->n);
    for (uint32_t i = n_read; i < packing->n; i++)
        unmark(packing->page[i]);
    packing->n = n_read;
}

/* L. A shared page goes into the store; its frame stays with the others. */
static bool keep_shared(const struct victims *victims, const struct packing *packing, uint32_t i,
                        size_t pool_limit_bytes)
{
    uint32_t page = packing->page[i];
    store_ref ref = 0;
    bool marked = is_marked(victims, packing->from[i], PAGE_SHARED);
    bool stays = sharing_would_copy(page_address(page));
    if (!marked || packing->dead[i] || !packing_pays_twice(i) ||
        !packing_insert(packing, i, pool_limit_bytes, &ref)) {
        requeue_if_there(victims, packing->from[i]);
        return false;
    }
    pager_note_eviction(page);
    table_set(&pager.table, page, page_make(PAGE_STORED, ref));
    sys_madvise(page_address(page), SYS_PAGE_SIZE, MADV_DONTNEED);
    pager.n_resident--;
    budget_charge(CONTROL_RESIDENT, -1);
    if (stays)
        sharing_charge_copy();
    control_count(&pager.self->stats.evictions, 1);
    return true;
}

uint32_t pack_shared(const struct victims *victims, size_t pool_limit_bytes)
{
    struct packing packing;
    uint32_t n_gone = 0, at = 0;
    lock_take(&pager.lock);
    gather(victims, &at, PAGE_SHARED, &packing);
    lock_release(&pager.lock);
    packing_run(&packing);
    lock_take(&pager.lock);
    for (uint32_t i = 0; i < packing.n; i++)
        n_gone += keep_shared(victims, &packing, i, pool_limit_bytes);
    for (; at < victims->n; at++) /* those there were no buffers for */
        requeue_if_there(victims, at);
    budget_charge_tables();
    lock_release(&pager.lock);
    return n_gone;
}

/* Clean pages whose copies are in the store, and whose frames are to be dropped all at once. */
struct leaving {
    bool kept; /* their copies never left the store */
    uint32_t n;
    uint32_t from[EVICT_BATCH]; /* among the victims */
    store_ref ref[EVICT_BATCH]; /* not of kept ones; 0: nothing alive is on it */
};

/* L. What was packed goes into the store beside what is there yet. */
static void insert_clean(const struct victims *victims, const struct packing *packing,
                         size_t pool_limit_bytes, struct leaving *leaving)
{
    for (uint32_t i = 0; i < packing->n; i++) {
        store_ref ref = 0;
        bool marked = is_marked(victims, packing->from[i], PAGE_CLEAN);
        if (!marked ||
            (!packing->dead[i] &&
             (!packing_pays(i) || !packing_insert(packing, i, pool_limit_bytes, &ref)))) {
            requeue_if_there(victims, packing->from[i]);
            continue;
        }
        leaving->from[leaving->n] = packing->from[i];
        leaving->ref[leaving->n++] = ref;
    }
}

/* L. The run of those from `at` on that are neighbours and still marked; lists their pages. */
static uint32_t run_length(const struct victims *victims, const struct leaving *leaving,
                           uint32_t at, uint32_t *pages)
{
    uint32_t n = 0;
    const page_entry mark = PAGE_CLEAN | (leaving->kept ? PAGE_KEPT : 0);
    while (at + n < leaving->n && is_marked(victims, leaving->from[at + n], mark)) {
        pages[n] = victims->page[leaving->from[at + n]];
        if (pages[n] != pages[0] + n)
            break;
        n++;
    }
    return n;
}

static void stay(const struct victims *victims, const struct leaving *leaving, uint32_t at)
{
    if (leaving->ref[at] && !leaving->kept)
        store_drop(pager.store, leaving->ref[at]);
    requeue_if_there(victims, leaving->from[at]);
}

/* L. Their frames are gone. */
static void note_gone(const struct leaving *leaving, uint32_t at, const uint32_t *pages, uint32_t n)
{
    uint32_t n_dead = 0;
    for (uint32_t i = 0; i < n; i++) {
        store_ref ref = leaving->kept ? copies_hand_over(pages[i]) : leaving->ref[at + i];
        pager_note_eviction(pages[i]);
        table_set(&pager.table, pages[i], ref ? page_make(PAGE_STORED, ref) : 0);
        n_dead += ref == 0;
    }
    pager.n_resident -= n;
    budget_charge(CONTROL_RESIDENT, -(int64_t)n);
    control_count(&pager.self->stats.evictions, n);
    control_count(&pager.self->stats.dropped_dead, n_dead);
}

/*
 * L. Drops the frames of a run; how many went. At one that is locked the kernel stops, and does not
 * say where: what it had dropped before can be dropped once more.
 */
static uint32_t drop_run(const struct victims *victims, const struct leaving *leaving, uint32_t at,
                         const uint32_t *pages, uint32_t n)
{
    uint32_t n_gone = 0;
    if (sys_madvise(page_address(pages[0]), (size_t)n << SYS_PAGE_SHIFT, MADV_DONTNEED) == 0) {
        note_gone(leaving, at, pages, n);
        return n;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (sys_madvise(page_address(pages[i]), SYS_PAGE_SIZE, MADV_DONTNEED) == 0) {
            note_gone(leaving, at + i, &pages[i], 1);
            n_gone++;
        } else {
            stay(victims, leaving, at + i);
        }
    }
    return n_gone;
}

/* The frames go, but for those that were written to meanwhile, or are locked. */
static uint32_t leave(const struct victims *victims, const struct leaving *leaving)
{
    uint32_t pages[EVICT_BATCH], n_gone = 0, n;
    for (uint32_t at = 0; at < leaving->n; at += n) {
        lock_take(&pager.lock);
        n = run_length(victims, leaving, at, pages);
        if (n > 0) {
            n_gone += drop_run(victims, leaving, at, pages, n);
        } else {
            stay(victims, leaving, at);
            n = 1;
        }
        lock_release(&pager.lock);
    }
    return n_gone;
}

/* Those of which the store has a copy yet only need to go. */
static uint32_t leave_kept(const struct victims *victims)
{
    struct leaving leaving = {.kept = true};
    lock_take(&pager.lock);
    for (uint32_t at = 0; at < victims->n; at++) {
        if (is_marked(victims, at, PAGE_CLEAN | PAGE_KEPT))
            leaving.from[leaving.n++] = at;
    }
    lock_release(&pager.lock);
    return leave(victims, &leaving);
}

uint32_t pack_clean(const struct victims *victims, size_t pool_limit_bytes)
{
    struct packing packing;
    struct leaving leaving = {0};
    uint32_t n_gone = leave_kept(victims), at = 0;
    while (at < victims->n) {
        lock_take(&pager.lock);
        gather(victims, &at, PAGE_CLEAN, &packing);
        lock_release(&pager.lock);
        packing_run(&packing);
        lock_take(&pager.lock);
        insert_clean(victims, &packing, pool_limit_bytes, &leaving);
        lock_release(&pager.lock);
    }
    n_gone += leave(victims, &leaving);
    lock_take(&pager.lock);
    budget_charge_tables();
    lock_release(&pager.lock);
    return n_gone;
}
