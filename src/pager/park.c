/* SPDX-License-Identifier: Apache-2.0 */
/*
 * park: a process that nobody needs for a while gives up its memory, and gets it back.
 *
 *   order PARK, PARK_AND_STOP                           order RESUME
 *     EVICT: all that is resident, the oldest first        FETCH: from the list's end, what was
 * used |    '--> noted as runs of pages ------------->    |      last first, as long as there is
 * room WRITE: the pool goes on to the file                  DONE: the list is given back
 *       |
 *     DONE: what packing works in goes back;
 *       |   order_done says so to the command
 *     (stop: SIGSTOP to this process)
 *
 * Carried out by the service thread in portions, so that calls and forks of the program are
 * answered in between. The program may go on meanwhile and touch pages: those come back, and some
 * may be evicted a second time; EVICT ends when most of what it evicts is such.
 *
 * A process stops itself, at the moment when nothing is left to evict, because the thread that
 * evicts stops with it. Who is continued while the order still stands (by `fg`, or anybody's
 * SIGCONT) takes that for the order's end: otherwise what it forks would stop.
 *
 * Under the order PARK_AND_STOP a process that a fork has just made does the same, since its slot
 * begins with no order carried out.
 */
#include "base/meta.h"
#include "pager/reclaim.h"
#include "pager/window.h"

#include <signal.h>

#define MOST_RUNS 32       /* of victims: each is a move */
#define POOL_PAGES 1024    /* the pool grows to that before it is written on to the file */
#define MOST_BATCHES 32    /* a portion */
#define MOST_FETCHED 1024u /* pages, a portion */
#define MOST_ROUNDS 64 /* through all that is resident: of shared pages a quarter goes in each */
#define WORTH_SHARE 32 /* a round in which less goes than one page in so many is the last */

enum phase { IDLE, EVICT, WRITE, FETCH, STOP };

static struct {
    uint32_t order; /* what is being carried out */
    enum phase phase;
    struct evicted evicted;
    unsigned n_rounds;
    int64_t round_began; /* with so many resident pages */
    uint64_t round_ends; /* when so many pages have had their turn */
} park;

void evicted_note(struct evicted *evicted, const struct victims *victims)
{
    evicted->n_pages += victims->n;
    for (uint32_t i = 0; evicted->runs && i < victims->n; i++) {
        struct evicted_run *last = evicted->n_runs > 0 ? &evicted->runs[evicted->n_runs - 1] : NULL;
        if (last && last->page + last->n_pages == victims->page[i]) {
            last->n_pages++;
            continue;
        }
        size_t end = (evicted->n_runs + 1) * sizeof *evicted->runs;
        if (end > evicted->n_bytes)
            return; /* the rest comes back on demand */
        if (end > evicted->charged_bytes) {
            meta_charge((long)SYS_PAGE_SIZE);
            evicted->charged_bytes += SYS_PAGE_SIZE;
        }
        evicted->runs[evicted->n_runs++] = (struct evicted_run){victims->page[i], 1};
    }
}

static void forget_evicted(void)
{
    struct evicted *evicted = &park.evicted;
    if (evicted->runs)
        meta_unmap(evicted->runs, evicted->n_bytes);
    meta_charge(-(long)evicted->charged_bytes);
    *evicted = (struct evicted){0};
}

static void begin_round(void)
{
    lock_take(&pager.lock);
    park.round_began = pager.n_resident;
    lock_release(&pager.lock);
    park.round_ends = park.evicted.n_pages + (uint64_t)park.round_began;
    park.n_rounds++;
}

static void begin_eviction(void)
{
    forget_evicted();
    park.n_rounds = 0;
    begin_round();
    /* Each page is noted once, or a little more often; without the list they return on demand. */
    park.evicted.n_bytes = ((size_t)park.round_began + RECLAIM_PASS_PAGES) *
                           sizeof(struct evicted_run);
    park.evicted.runs = meta_map(park.evicted.n_bytes);
    park.phase = EVICT;
}

/* Where there is a file the pool need not grow: what is in it is going to be written anyway. */
static int64_t small_pool(int64_t most)
{
    int64_t limit = pager.pool_charged > POOL_PAGES ? pager.pool_charged : POOL_PAGES;
    return writeback_is_possible() && limit < most ? limit : most;
}

static void pack_all(int64_t most)
{
    int64_t limit = small_pool(most);
    for (;;) {
        if (pager.pool_charged > limit - EVICT_BATCH && !writeback_down_to(limit / 2))
            limit = most;
        if (pack_oldest((size_t)limit << SYS_PAGE_SHIFT) > 0)
            continue;
        if (limit == most)
            break;
        limit = most;
    }
    pack_release(true);
}

/* All that was resident has had its turn. Is another round worth it? */
static bool is_last_round(void)
{
    int64_t left = pager.n_resident, gone = park.round_began - left;
    return left == 0 || park.n_rounds >= MOST_ROUNDS || gone * WORTH_SHARE < park.round_began;
}

static void evict_portion(void)
{
    struct watermarks marks;
    bool tried = true;
    budget_watermarks(&marks);
    for (int i = 0; i < MOST_BATCHES && park.evicted.n_pages < park.round_ends && tried; i++) {
        int64_t most = reclaim_pool_limit(&marks);
        const struct eviction eviction = {EVICT_BATCH, MOST_RUNS, true,
                                          (size_t)most << SYS_PAGE_SHIFT, &park.evicted};
        evict_oldest(&eviction, &tried);
        pack_all(most);
    }
    budget_announce_room();
    if (tried && park.evicted.n_pages < park.round_ends)
        return;
    if (tried && !is_last_round())
        begin_round();
    else
        park.phase = WRITE;
}

/* The last of an order's work is done. */
static void finish(void)
{
    lock_take(&pager.lock);
    budget_charge_tables();
    lock_release(&pager.lock);
    park.phase = control_order_kind(park.order) == CONTROL_PARK_AND_STOP ? STOP : IDLE;
    if (park.phase == IDLE)
        atomic_store(&pager.self->order_done, park.order);
}

static void write_portion(void)
{
    if (writeback_is_possible() && writeback_down_to(0))
        return; /* there may be more */
    packing_rest();
    windows_drop();
    atomic_store(&pager.self->locked_pages, (uint32_t)pager.n_locked);
    budget_sample_unmanaged();
    finish();
}

static void fetch_portion(void)
{
    struct evicted *evicted = &park.evicted;
    bool has_room = true;
    for (uint32_t n = 0; evicted->n_runs > 0 && has_room && n < MOST_FETCHED;) {
        struct evicted_run *last = &evicted->runs[evicted->n_runs - 1];
        uint32_t most = last->n_pages < MOST_FETCHED ? last->n_pages : MOST_FETCHED;
        last->n_pages -= most;
        has_room = fetch_evicted(last->page + last->n_pages, most);
        evicted->n_runs -= last->n_pages == 0;
        n += most;
    }
    if (evicted->n_runs > 0 && has_room)
        return;
    forget_evicted();
    finish();
}

static void begin(uint32_t order)
{
    park.order = order;
    switch (control_order_kind(order)) {
    case CONTROL_PARK:
    case CONTROL_PARK_AND_STOP:
        if (!is_armed()) /* it can't be */
            break;
        begin_eviction();
        return;
    case CONTROL_RESUME:
        park.phase = FETCH;
        return;
    case CONTROL_ON_DEMAND:
        forget_evicted();
        break;
    case CONTROL_NO_ORDER:
        break;
    }
    finish();
}

bool park_has_work(void)
{
    return park.phase != IDLE ||
           atomic_load(&pager.control->order) != atomic_load(&pager.self->order_done);
}

bool park_wants_paging(void)
{
    enum control_order_kind kind = control_order_kind(atomic_load(&pager.control->order));
    return park_has_work() && (kind == CONTROL_PARK || kind == CONTROL_PARK_AND_STOP);
}

void park_step(void)
{
    uint32_t order = atomic_load(&pager.control->order);
    if (order != park.order)
        begin(order);
    else if (park.phase == EVICT)
        evict_portion();
    else if (park.phase == WRITE)
        write_portion();
    else if (park.phase == FETCH)
        fetch_portion();
}

void park_stop_if_due(void)
{
    if (park.phase != STOP)
        return;
    park.phase = IDLE;
    atomic_store(&pager.self->order_done, park.order);
    if (atomic_load(&pager.control->order) != park.order)
        return;
    /* To this thread, so that it does not go on a little further until another one has noticed. */
    sys_tgkill(sys_getpid(), sys_gettid(), SIGSTOP);
    control_end_order(pager.control, park.order); /* by now this process is continued */
}

void park_fork_child(void)
{
    park.phase = IDLE;
    park.order = atomic_load(&pager.self->order_done);
}
