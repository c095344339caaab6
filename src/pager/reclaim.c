/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reclaim: makes room, by the steps of reclaim.h.
 *
 * Two make room: a handler, a little at a time before it serves a fault (reclaim_step), and the
 * service thread, up to the watermark (reclaim_pass). Whoever has the pass is alone at it.
 *
 * Frames that are packed are released in blocks, so there is a little more room than is counted:
 * reclaim_room().
 */
#include "pager/reclaim.h"

#define MOST_RUNS 32 /* of victims: each is a move */
#define STEP_RUNS 16
#define STEP_PAGES 16
#define STEPS_PER_COUNT 64
/* Batches a pass: calls and forks wait for its end. */
#define MOST_BATCHES (RECLAIM_PASS_PAGES / EVICT_BATCH)

#define POOL_LEAST_SHARE 8
#define POOL_LEAST 64    /* pages */
#define POOL_RETREAT 256 /* pages */

int reclaim_init(void)
{
    int error = writeback_init();
    return error ? error : packing_init();
}

int64_t reclaim_room(void)
{
    return budget_room() + pager.staging.n_done;
}

/* Pages in the pools of the others, but for what they have in common with somebody. */
static int64_t pools_of_others(void)
{
    int64_t sum = 0;
    uint32_t end = pager.control->slots_end;
    for (uint32_t i = 0; i < end; i++) {
        const struct control_slot *slot = &pager.control->slot[i];
        int64_t shared = slot->shared;
        int64_t pool = slot->held[CONTROL_POOL] - (shared > 0 ? shared : 0);
        if (slot != pager.self && pool > 0)
            sum += pool;
    }
    return sum;
}

/*
 * What the pool of this process may grow to, pages. What others have is taken off, but a process
 * can always store something; what it shares with others costs nothing, and to give it up gains
 * nothing.
 */
int64_t reclaim_pool_limit(const struct watermarks *marks)
{
    int64_t limit = marks->pool_limit - pools_of_others() - pager.n_locked;
    int64_t least = marks->pool_limit / POOL_LEAST_SHARE / marks->n_pagers;
    if (least < POOL_LEAST)
        least = POOL_LEAST;
    least += pager.pool_shared;
    return limit > least ? limit : least;
}

/* Staged pages that may still be taken back. */
static uint32_t n_staged(void)
{
    return pager.staging.n_pages - pager.staging.n_done;
}

/*
 * Staging is what went last, of all that leave. Where most are clean, and go without passing
 * through it, what is there would grow old without any use: of the last `most` evictions, those in
 * staging are as many as the average says. In 1/256 pages; of who has the pass.
 */
static uint32_t worth_staging;

static void note_evictions(uint32_t n, uint32_t n_staged, uint32_t most)
{
    uint32_t worn = (uint32_t)((uint64_t)worth_staging * n / (most > 0 ? most : 1));
    worth_staging = (worn < worth_staging ? worth_staging - worn : 0) + (n_staged << 8);
    if (worth_staging >> 8 > most)
        worth_staging = most << 8;
}

/* Evicts the oldest. How many went. */
static uint32_t evict_some(const struct eviction *eviction, const struct watermarks *marks,
                           bool *tried)
{
    const uint64_t head = pager.staging.head;
    uint32_t n = evict_oldest(eviction, tried);
    note_evictions(n, (uint32_t)(pager.staging.head - head), marks->staging);
    return n;
}

/* Packs while more is staged than should be, as many pages as were evicted at most. */
static uint32_t pack_surplus(uint32_t n_evicted, int64_t limit)
{
    uint32_t n_slots = 0, n;
    do {
        if (n_evicted > 0 && n_staged() <= worth_staging >> 8)
            break;
        n = pack_oldest((size_t)limit << SYS_PAGE_SHIFT);
        n_slots += n;
    } while (n > 0 && n_slots < n_evicted);
    return n_slots;
}

/* What free slots of the pool hold is room, too, and the cheapest to make. */
static void compact(void)
{
    bool compacted;
    do {
        lock_take(&pager.lock);
        compacted = store_compact(pager.store, writeback_relocate, NULL);
        if (compacted)
            budget_charge_tables();
        lock_release(&pager.lock);
    } while (compacted);
}

/*
 * Room but for what tables take: they grow and shrink by a page while pages go round in queues, and
 * that is no progress.
 */
static int64_t room_without_tables(void)
{
    return budget_room() + atomic_load(&pager.control->held[CONTROL_METADATA]);
}

bool reclaim_pass(int64_t wanted)
{
    struct watermarks marks;
    budget_watermarks(&marks);
    int64_t start = room_without_tables(), goal = budget_room() + wanted;
    bool progress = false;
    for (int i = 0; i < MOST_BATCHES; i++) {
        int64_t limit = reclaim_pool_limit(&marks);
        bool tried = true;
        uint32_t n_evicted = 0;
        compact();
        const struct eviction eviction = {EVICT_BATCH, MOST_RUNS, true,
                                          (size_t)limit << SYS_PAGE_SHIFT, NULL};
        if (n_staged() < marks.staging + EVICT_BATCH) /* more would not make room */
            n_evicted = evict_some(&eviction, &marks, &tried);
        if (pager.pool_charged > limit - EVICT_BATCH)
            progress |= writeback_down_to(limit - EVICT_BATCH * 2);
        uint32_t n_slots = pack_surplus(n_evicted, limit);
        progress |= pack_release(false) > 0;
        if (budget_room() >= goal)
            return true;
        if (!tried && n_slots == 0)
            break;
        if (progress)
            budget_announce_room();
    }
    pack_release(true);
    progress |= room_without_tables() > start;
    /* Nothing else is left to give: then the pool goes on to the file, below its limit too. */
    return progress || writeback_down_to(pager.pool_charged - POOL_RETREAT);
}

/* A process that began to page a moment ago finds out here that it is not alone. */
static void count_pagers_now_and_then(void)
{
    static _Atomic uint32_t n_steps;
    if (atomic_fetch_add_explicit(&n_steps, 1, memory_order_relaxed) % STEPS_PER_COUNT == 0)
        budget_count_pagers();
}

void reclaim_step(void)
{
    struct watermarks marks;
    bool tried;
    count_pagers_now_and_then();
    if (budget_is_poor() || !lock_try(&pager.pass))
        return; /* the service thread asks the others first */
    budget_watermarks(&marks);
    int64_t limit = reclaim_pool_limit(&marks), room = budget_room();
    compact();
    /* A full pool has to be written on first, which takes long: the service thread's, when urgent.
     */
    if (pager.pool_charged <= limit - EVICT_BATCH) {
        const struct eviction eviction = {EVICT_BATCH, STEP_RUNS, false,
                                          (size_t)limit << SYS_PAGE_SHIFT, NULL};
        uint32_t n_evicted = 0;
        if (n_staged() < marks.staging + STEP_PAGES)
            n_evicted = evict_some(&eviction, &marks, &tried);
        pack_surplus(n_evicted, limit);
    }
    pack_release(budget_room() < STEP_PAGES);
    if (budget_room() > room)
        budget_announce_room();
    lock_release(&pager.pass);
}

void reclaim_range(uint32_t page, uint32_t n_pages)
{
    struct victims victims;
    struct watermarks marks;
    budget_watermarks(&marks);
    size_t limit = (size_t)reclaim_pool_limit(&marks) << SYS_PAGE_SHIFT;
    uint32_t end = page + n_pages;
    while ((page = table_next(&pager.table, page, end)) < end) {
        lock_take(&pager.lock);
        for (victims.n = 0; victims.n < EVICT_BATCH && page < end; page++) {
            page_entry entry = table_get(&pager.table, page);
            if (page_state(entry) != PAGE_RESIDENT || entry & PAGE_BUSY)
                continue;
            victims.page[victims.n] = page;
            victims.position[victims.n++] = page_payload(entry);
        }
        lock_release(&pager.lock);
        evict_these(&victims, limit);
        if (pager.staging.n_slots - (pager.staging.head - pager.staging.tail) < EVICT_BATCH)
            return; /* a hint: the rest goes when its turn comes */
    }
}
