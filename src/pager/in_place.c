/* SPDX-License-Identifier: Apache-2.0 */
/*
 * in_place: pages that nobody can write to unseen go into the store from where they are.
 *
 *   shared: a fork's other side has the frame too; to move it away would not free it
 *   clean:  not written to since it came in
 *
 *   RESIDENT --> BUSY --> copied aside, packed --> frames dropped, all by one call --> STORED
 *                             '---------- what does not pay, or is locked --------> RESIDENT
 *
 * Both are write-protected with the userfaultfd, also against the kernel's writes and pins. Who
 * writes to one that is BUSY faults, and waits until it has left; who frees or unmaps it waits,
 * too. So what was copied is what the page holds, no move is needed, which the kernel does page by
 * page, and pages of read-only memory, which can't be moved at all, can go this way. The lock is
 * not held while the kernel reads and drops: to tell other processors of a dropped frame takes
 * longer than all else.
 */
#include "pager/bring.h"
#include "pager/copies.h"
#include "pager/reclaim.h"

struct leaver {
    uint32_t page;
    enum { GOES, STAYS, UNREADABLE } outcome;
    store_ref ref;  /* of the copy that was made; 0: there is none */
    bool is_kept;   /* an older copy never left the store: none needs to be made */
    bool is_copied; /* the others have the frame yet: the copy comes on top of it */
};

/* Pages on their way out, BUSY. */
struct leaving {
    page_entry mark; /* PAGE_SHARED or PAGE_CLEAN */
    bool may_store;  /* else only what needs no copy goes */
    uint32_t n;
    uint32_t n_met; /* how many faults had met BUSY pages before */
    struct leaver one[EVICT_BATCH];
};
_Static_assert(EVICT_BATCH <= FRAMES_MOST_DROPPED, "all that leave go by one call");

/* L. Whether the victim is what was chosen, and has the mark yet. */
static bool is_marked(const struct victims *victims, uint32_t at, page_entry mark)
{
    return victim_is_unchanged(victims, at) &&
           (table_get(&pager.table, victims->page[at]) & (mark | PAGE_DEAD)) == mark;
}

/* Closes victims that have the mark, up to `most`. */
static void close_up(const struct victims *victims, uint32_t most, struct leaving *leaving)
{
    leaving->n = 0;
    lock_take(&pager.lock);
    leaving->n_met = pager.n_busy_met;
    for (uint32_t at = 0; at < victims->n && leaving->n < most; at++) {
        const uint32_t page = victims->page[at];
        if (!is_marked(victims, at, leaving->mark))
            continue;
        leaving->one[leaving->n++] = (struct leaver){
            .page = page, .is_kept = table_get(&pager.table, page) & PAGE_KEPT};
        bring_begin(page, 1);
    }
    pager.reads_in_place = true;
    lock_release(&pager.lock);
}

/* L. Those for which there was no place among them. */
static void requeue_others(const struct victims *victims)
{
    for (uint32_t at = 0; at < victims->n; at++)
        if (victim_is_unchanged(victims, at))
            evict_requeue(victims->page[at]);
}

/* Copies pages from *at on aside, as many as there are buffers, of which the store has none yet. */
static void gather(struct leaving *leaving, uint32_t *at, struct packing *packing)
{
    const char *addresses[PACK_BATCH];
    uint32_t n = 0;
    for (; *at < leaving->n && n < PACK_BATCH; ++*at) {
        if (leaving->one[*at].is_kept)
            continue;
        addresses[n] = page_address(leaving->one[*at].page);
        packing->page[n] = leaving->one[*at].page;
        packing->from[n++] = *at;
    }
    packing->n = frames_read_in_place(packing_copy(0), addresses, n, leaving->mark == PAGE_SHARED);
    for (uint32_t i = packing->n; i < n; i++)
        leaving->one[packing->from[i]].outcome = UNREADABLE;
}

/* L. Whether the i-th that was packed gains room. Dead ones need no copy, whoever has the frame. */
static bool pays(const struct leaving *leaving, const struct packing *packing, uint32_t i)
{
    if (packing->dead[i] || !leaving->may_store)
        return packing->dead[i];
    return leaving->mark == PAGE_SHARED ? packing_pays_twice(i) : packing_pays(i);
}

/* L. What was packed goes into the store beside what is there yet. */
static void insert(struct leaving *leaving, const struct packing *packing, size_t pool_limit_bytes)
{
    for (uint32_t i = 0; i < packing->n; i++) {
        struct leaver *one = &leaving->one[packing->from[i]];
        if (!pays(leaving, packing, i) ||
            (!packing->dead[i] && !packing_insert(packing, i, pool_limit_bytes, &one->ref)))
            one->outcome = STAYS;
        else if (leaving->mark == PAGE_SHARED)
            one->is_copied = sharing_would_copy(page_address(one->page));
    }
}

static void pack_all(struct leaving *leaving, size_t pool_limit_bytes)
{
    struct packing packing;
    uint32_t at = 0;
    do {
        gather(leaving, &at, &packing);
        packing_scrub(&packing);
        if (leaving->may_store)
            packing_compress(&packing);
        lock_take(&pager.lock);
        insert(leaving, &packing, pool_limit_bytes);
        pager.reads_in_place = at < leaving->n;
        lock_release(&pager.lock);
    } while (at < leaving->n);
}

/* Drops the frames of those that go, but for locked ones. */
static void drop(struct leaving *leaving)
{
    char *addresses[EVICT_BATCH];
    uint32_t from[EVICT_BATCH], n = 0;
    bool gone[EVICT_BATCH];
    for (uint32_t i = 0; i < leaving->n; i++) {
        if (leaving->one[i].outcome != GOES)
            continue;
        from[n] = i;
        addresses[n++] = page_address(leaving->one[i].page);
    }
    frames_drop(addresses, n, gone);
    for (uint32_t i = 0; i < n; i++)
        if (!gone[i])
            leaving->one[from[i]].outcome = STAYS;
}

/* L. It is where its copy is, or nowhere if nothing alive is on it. */
static void note_gone(const struct leaver *one)
{
    const store_ref ref = one->is_kept ? copies_hand_over(one->page) : one->ref;
    pager_note_eviction(one->page);
    table_set(&pager.table, one->page, ref ? page_make(PAGE_STORED, ref) : 0);
    if (!ref)
        control_count(&pager.self->stats.dropped_dead, 1);
    if (one->is_copied)
        sharing_charge_copy();
}

/* L. What can't be read where it is must be moved: it is an ordinary page from now on. */
static void note_stays(const struct leaver *one)
{
    if (one->ref)
        store_drop(pager.store, one->ref);
    if (one->outcome == UNREADABLE)
        sharing_make_own(one->page);
    evict_requeue(one->page);
}

/* L. They are BUSY no more. How many went. */
static uint32_t settle(const struct leaving *leaving)
{
    uint32_t n_gone = 0;
    for (uint32_t i = 0; i < leaving->n; i++) {
        const struct leaver *one = &leaving->one[i];
        table_set(&pager.table, one->page, table_get(&pager.table, one->page) & ~PAGE_BUSY);
        if (one->outcome == GOES)
            note_gone(one);
        else
            note_stays(one);
        n_gone += one->outcome == GOES;
    }
    pager.n_resident -= n_gone;
    budget_charge(CONTROL_RESIDENT, -(int64_t)n_gone);
    control_count(&pager.self->stats.evictions, n_gone);
    pager_busy_done(leaving->n);
    return n_gone;
}

/* How many went. Whoever met one of them meanwhile tries again. */
static uint32_t open_up(const struct victims *victims, const struct leaving *leaving)
{
    lock_take(&pager.lock);
    const uint32_t n_gone = settle(leaving);
    const bool was_met = pager.n_busy_met != leaving->n_met;
    requeue_others(victims);
    budget_charge_tables();
    lock_release(&pager.lock);
    for (uint32_t i = 0; was_met && i < leaving->n; i++)
        bring_wake((struct waiters){leaving->one[i].page, 1, false, 0});
    return n_gone;
}

static uint32_t pack_marked(const struct victims *victims, struct leaving *leaving, uint32_t most,
                            size_t pool_limit_bytes)
{
    close_up(victims, most, leaving);
    pack_all(leaving, pool_limit_bytes);
    drop(leaving);
    return open_up(victims, leaving);
}

uint32_t pack_shared(const struct victims *victims, size_t pool_limit_bytes, bool may_store)
{
    struct leaving leaving = {.mark = PAGE_SHARED, .may_store = may_store};
    return pack_marked(victims, &leaving, PACK_BATCH, pool_limit_bytes);
}

uint32_t pack_clean(const struct victims *victims, size_t pool_limit_bytes)
{
    struct leaving leaving = {.mark = PAGE_CLEAN, .may_store = true};
    return pack_marked(victims, &leaving, EVICT_BATCH, pool_limit_bytes);
}
