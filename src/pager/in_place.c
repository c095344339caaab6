/* SPDX-License-Identifier: Apache-2.0 */
/*
 * in_place: pages that nobody can write to unseen go into the store from where they are.
 *
 *   shared: a fork's other side has the frame too; to move it away would not free it
 *   clean:  not written to since it came in
 *
 *   copied aside, packed --> lock: still the same? --> frames dropped (clean: BUSY) --> STORED
 *                                  else the copy is dropped
 *
 * Both are write-protected with the userfaultfd, also against the kernel's writes and pins. A write
 * to such a page faults, and its handler takes the mark off under the lock: as long as a page has
 * its mark it is what was copied. So no move is needed, which the kernel does page by page, and
 * pages of read-only memory, which can't be moved at all, can go this way.
 */
#include "pager/bring.h"
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
static void unmark(const struct victims *victims, uint32_t at, page_entry mark)
{
    if (is_marked(victims, at, mark))
        sharing_make_own(victims->page[at]);
    requeue_if_there(victims, at);
}

/* L. Marked victims from *at on, as many as there are buffers. */
static void list_marked(const struct victims *victims, uint32_t *at, page_entry mark,
                        struct packing *packing)
{
    packing->n = 0;
    for (; *at < victims->n && packing->n < PACK_BATCH; ++*at) {
        if (!is_marked(victims, *at, mark)) {
            requeue_if_there(victims, *at);
            continue;
        }
        packing->page[packing->n] = victims->page[*at];
        packing->from[packing->n++] = *at;
    }
}

/*
 * Copies marked victims from *at on aside. One that is written to meanwhile, or is another page by
 * then, has lost its mark, or its position, when its copy is looked at again.
 */
static void gather(const struct victims *victims, uint32_t *at, page_entry mark,
                   struct packing *packing)
{
    const char *addresses[PACK_BATCH];
    lock_take(&pager.lock);
    list_marked(victims, at, mark, packing);
    lock_release(&pager.lock);
    for (uint32_t i = 0; i < packing->n; i++)
        addresses[i] = page_address(packing->page[i]);
    const uint32_t n_read = frames_read_in_place(packing_copy(0), addresses, packing->n);
    if (n_read == packing->n)
        return;
    lock_take(&pager.lock);
    for (uint32_t i = n_read; i < packing->n; i++)
        unmark(victims, packing->from[i], mark);
    lock_release(&pager.lock);
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
    gather(victims, &at, PAGE_SHARED, &packing);
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
_Static_assert(EVICT_BATCH <= FRAMES_MOST_DROPPED, "all that leave go by one call");

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

static void stay(const struct victims *victims, const struct leaving *leaving, uint32_t at)
{
    if (leaving->ref[at] && !leaving->kept)
        store_drop(pager.store, leaving->ref[at]);
    requeue_if_there(victims, leaving->from[at]);
}

/*
 * L. From here on they are BUSY, but for those that were written to: who writes to one now waits.
 * What is left in `leaving` is to be dropped.
 */
static void close_up(const struct victims *victims, struct leaving *leaving)
{
    const page_entry mark = PAGE_CLEAN | (leaving->kept ? PAGE_KEPT : 0);
    uint32_t n = 0;
    for (uint32_t i = 0; i < leaving->n; i++) {
        if (!is_marked(victims, leaving->from[i], mark)) {
            stay(victims, leaving, i);
            continue;
        }
        bring_begin(victims->page[leaving->from[i]], 1);
        leaving->from[n] = leaving->from[i];
        leaving->ref[n++] = leaving->ref[i];
    }
    leaving->n = n;
}

/* L. It is where its copy is, or nowhere if it is dead. */
static void note_gone(const struct leaving *leaving, uint32_t at, uint32_t page)
{
    const store_ref ref = leaving->kept ? copies_hand_over(page) : leaving->ref[at];
    pager_note_eviction(page);
    table_set(&pager.table, page, ref ? page_make(PAGE_STORED, ref) : 0);
    if (!ref)
        control_count(&pager.self->stats.dropped_dead, 1);
}

/* L. They are BUSY no more. How many went. */
static uint32_t note_left(const struct victims *victims, const struct leaving *leaving,
                          const bool *gone)
{
    uint32_t n_gone = 0;
    for (uint32_t i = 0; i < leaving->n; i++) {
        const uint32_t page = victims->page[leaving->from[i]];
        table_set(&pager.table, page, table_get(&pager.table, page) & ~PAGE_BUSY);
        if (gone[i])
            note_gone(leaving, i, page);
        else
            stay(victims, leaving, i);
        n_gone += gone[i];
    }
    pager.n_resident -= n_gone;
    budget_charge(CONTROL_RESIDENT, -(int64_t)n_gone);
    control_count(&pager.self->stats.evictions, n_gone);
    pager_busy_done(leaving->n);
    return n_gone;
}

/* The frames go, but for those that were written to meanwhile, or are locked. */
static uint32_t leave(const struct victims *victims, struct leaving *leaving)
{
    char *addresses[FRAMES_MOST_DROPPED];
    bool gone[FRAMES_MOST_DROPPED];
    if (leaving->n == 0)
        return 0;
    lock_take(&pager.lock);
    close_up(victims, leaving);
    const uint32_t n_met = pager.n_busy_met;
    lock_release(&pager.lock);
    for (uint32_t i = 0; i < leaving->n; i++)
        addresses[i] = page_address(victims->page[leaving->from[i]]);
    frames_drop(addresses, leaving->n, gone);
    lock_take(&pager.lock);
    const uint32_t n_gone = note_left(victims, leaving, gone);
    const bool met = pager.n_busy_met != n_met;
    lock_release(&pager.lock);
    for (uint32_t i = 0; met && i < leaving->n; i++)
        bring_wake((struct waiters){victims->page[leaving->from[i]], 1, false, 0});
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
        gather(victims, &at, PAGE_CLEAN, &packing);
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
