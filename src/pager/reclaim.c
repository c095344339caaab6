/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reclaim: makes room. All of it runs in the service thread.
 *
 *   queue --oldest--> evict ---UFFDIO_MOVE---> staging --oldest--> pack --> RAM pool --> swap file
 *                       |                                            |
 *                       '--- free memory: dropped unread             '--- dead objects: zeroed
 *
 * Eviction is one atomic move, so no write can be lost. The move is refused for pages that I/O has
 * pinned and for pages that a fork marked as shared; writing to the latter (MADV_POPULATE_WRITE
 * changes nothing) makes them this process's own. What can't be moved even then goes to the young
 * end of the queue.
 *
 * The lock is held for one batch at a time and never while compressing or writing: packing works
 * on private copies, taken under the lock, and what happened to the page meanwhile is checked
 * before the result counts (PACKING is still set only if the page never left its slot).
 */
#include "base/checked.h"
#include "base/log.h"
#include "base/meta.h"
#include "base/uffd.h"
#include "pager/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define EVICT_BATCH 32
#define MOST_LOOKED 512 /* pages, for a batch of victims */
#define PACK_BATCH 16
#define STEP_PAGES 16
#define PACKED_BYTES round_up(PACK_BATCH * sizeof(struct store_packed), SYS_PAGE_SIZE)
#define MOST_WRITES 64 /* clusters a pass */
/* Batches a pass: calls and forks wait for its end. */
#define MOST_BATCHES (RECLAIM_PASS_PAGES / EVICT_BATCH)

#define RAW_PATIENCE 15 /* how often, on average, what did not compress is passed over */

#define SHARED_MOST_BYTES (SYS_PAGE_SIZE / 2)
#define SHARED_DEBT 256 /* pages over the budget, at which no more of them are stored */
#define SHARED_WRITE 48 /* pages stored that others still have, until they go on to the file */

#define POOL_LEAST_SHARE 8
#define POOL_LEAST 64    /* pages */
#define POOL_RETREAT 256 /* pages */

struct victims {
    uint32_t n;
    uint32_t page[EVICT_BATCH];
    uint64_t position[EVICT_BATCH]; /* in the queue: who has another by now is no victim any more */
};

struct leftovers {          /* of an eviction: what could not be moved */
    struct victims refused; /* as busy */
    struct victims shared;  /* with a fork's other side */
};

static struct {
    struct store_packer *packer;
    struct store_packed *packed; /* PACK_BATCH of them */
    unsigned char *copies;       /* PACK_BATCH pages */
    bool charged;                /* the above count as used memory */
    struct store_batch *batch;
    bool file_refuses;    /* the last attempt to write on to the file was in vain */
    _Atomic bool is_full; /* the last page that should be stored could not be */
    uint32_t n_raw_to_pass_over;
    uint32_t n_shared_stored; /* and not yet written on */
} work;

int reclaim_init(void)
{
    enum store_codec codec = pager.control->options.codec;
    void *memory = meta_alloc(store_packer_bytes(codec));
    work.packed = meta_map(PACKED_BYTES);
    work.copies = meta_map((size_t)PACK_BATCH << SYS_PAGE_SHIFT);
    if (pager.control->options.swap_max_bytes > 0) {
        work.batch = store_batch_new();
        if (!work.batch)
            return -ENOMEM;
    }
    if (!memory || !work.packed || !work.copies)
        return -ENOMEM;
    work.packer = store_packer_init(memory, codec);
    return work.packer ? 0 : -EINVAL;
}

#define KINDS (PAGE_DEAD | PAGE_SHARED) /* which decide how a page is evicted */

/* L. Back to the young end of the queue: it can't be evicted now. */
static void requeue(uint32_t page)
{
    page_entry kind = table_get(&pager.table, page) & (KINDS | PAGE_RAW);
    pager_make_resident(page);
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
    if (work.n_raw_to_pass_over == 0)
        return false;
    work.n_raw_to_pass_over--;
    return true;
}

static bool pass_over(uint32_t page, page_entry entry)
{
    bool passed = entry & PAGE_SHARED ? pass_over_shared() : entry & PAGE_RAW && pass_over_raw();
    if (passed)
        requeue(page);
    return passed;
}

/* L. Takes the oldest pages out of the queue, in order of address. True: it has looked at some. */
static bool choose(struct victims *victims, uint32_t most)
{
    uint32_t page, n_looked = 0;
    uint64_t position;
    victims->n = 0;
    while (victims->n < most && n_looked < MOST_LOOKED &&
           fifo_pop(&pager.queue, &page, &position)) {
        page_entry entry = table_get(&pager.table, page);
        if (page_state(entry) != PAGE_RESIDENT || page_payload(entry) != position ||
            entry & PAGE_BUSY)
            continue; /* a stale slot */
        n_looked++;
        if (pass_over(page, entry))
            continue;
        uint32_t at = victims->n++;
        for (; at > 0 && victims->page[at - 1] > page; at--) {
            victims->page[at] = victims->page[at - 1];
            victims->position[at] = victims->position[at - 1];
        }
        victims->page[at] = page;
        victims->position[at] = position;
    }
    return n_looked > 0;
}

/* L. Whether the victim is still what was chosen. */
static bool is_unchanged(const struct victims *victims, uint32_t at)
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
           is_unchanged(victims, at + n) &&
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
    if (kind & PAGE_DEAD) {
        drop(page, n);
        *n_gone += n;
        return n;
    }
    if (kind & PAGE_SHARED) {
        set_aside(&left->shared, victims, at);
        return 1;
    }
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
        requeue(page);
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
    left->refused.n = left->shared.n = 0;
    for (uint32_t at = 0; at < victims->n;) {
        lock_take(&pager.lock);
        at += evict_run(victims, at, left, &n_gone);
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
        if (is_unchanged(stuck, i))
            requeue(stuck->page[i]);
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

struct packing {
    uint32_t n_slots;          /* from the tail on, holes and orphans included */
    uint32_t n_done;           /* of these, those that are free afterwards */
    uint32_t n;                /* pages copied */
    uint32_t page[PACK_BATCH]; /* and which */
    uint32_t slot[PACK_BATCH];
    bool dead[PACK_BATCH]; /* nothing alive is on it */
};

/* What packing works with comes into being when it is first used. */
static void charge_buffers(void)
{
    if (!work.charged)
        meta_charge((long)(PACKED_BYTES + ((size_t)PACK_BATCH << SYS_PAGE_SHIFT)));
    work.charged = true;
}

/* Copies the oldest staged pages aside. */
static void gather(struct packing *packing)
{
    struct staging *staging = &pager.staging;
    *packing = (struct packing){0};
    charge_buffers();
    lock_take(&pager.lock);
    while (staging->tail + packing->n_slots < staging->head && packing->n < PACK_BATCH) {
        uint32_t slot = staging_slot(staging, staging->tail + packing->n_slots);
        uint32_t page = staging->page[slot];
        packing->n_slots++;
        if (page == STAGING_HOLE || page == STAGING_ORPHAN)
            continue;
        memcpy(work.copies + ((size_t)packing->n << SYS_PAGE_SHIFT), staging_address(staging, slot),
               SYS_PAGE_SIZE);
        table_set(&pager.table, page, page_make(PAGE_STAGED, slot) | PAGE_PACKING);
        packing->page[packing->n] = page;
        packing->slot[packing->n++] = slot;
        lock_yield(&pager.lock);
    }
    lock_release(&pager.lock);
}

static void pack(struct packing *packing)
{
    for (uint32_t i = 0; i < packing->n; i++) {
        unsigned char *copy = work.copies + ((size_t)i << SYS_PAGE_SHIFT);
        size_t n_dead = 0;
        if (packing->page[i] < pager.heap_pages && pager.scrub)
            n_dead = pager.scrub(page_address(packing->page[i]), copy);
        packing->dead[i] = n_dead == SYS_PAGE_SIZE;
        if (packing->dead[i])
            continue;
        control_count(&pager.self->stats.scrubbed_bytes, n_dead);
        store_pack(work.packer, copy, &work.packed[i]);
    }
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
    pager_make_resident(page);
    table_set(&pager.table, page, table_get(&pager.table, page) | PAGE_RAW);
    work.n_raw_to_pass_over += RAW_PATIENCE;
    pager.n_resident++;
    budget_charge(CONTROL_RESIDENT, 1);
    budget_charge(CONTROL_STAGED, -1);
    return true;
}

/* Without a file, a page that does not compress takes as much in the store as where it is. */
static bool gains_nothing(const struct store_packed *packed)
{
    return !packed->same && packed->codec == STORE_CODEC_NONE && !work.batch;
}

/* L. Into the store; false when there is no room. */
static bool insert(uint32_t page, const struct store_packed *packed, size_t pool_limit_bytes)
{
    store_ref ref = 0;
    int error = store_insert(pager.store, page, packed, pool_limit_bytes, &ref);
    atomic_store(&work.is_full, error < 0 && (!work.batch || work.file_refuses));
    if (error)
        return false;
    control_count(&pager.self->stats.stored_pages, 1);
    control_count(&pager.self->stats.stored_bytes, packed->same ? 0 : packed->n_bytes);
    control_count(&pager.self->stats.same_filled, packed->same);
    table_set(&pager.table, page, page_make(PAGE_STORED, ref));
    return true;
}

/* L. A staged page that was packed goes into the store; false when there is no room for it. */
static bool keep(uint32_t page, uint32_t slot, const struct store_packed *packed, bool dead,
                 size_t pool_limit_bytes)
{
    if (!dead && gains_nothing(packed)) {
        atomic_store(&work.is_full, true);
        if (put_back(page, slot))
            return true; /* else (read-only, shared by a fork) it must not block the ring */
    }
    if (dead) {
        control_count(&pager.self->stats.dropped_dead, 1);
        table_set(&pager.table, page, 0);
    } else {
        if (!insert(page, packed, pool_limit_bytes))
            return false;
    }
    pager.staging.page[slot] = STAGING_ORPHAN;
    return true;
}

/* Commits what was packed; slots up to the first that could not be kept are free then. */
static void commit(struct packing *packing, size_t pool_limit_bytes)
{
    bool full = false;
    packing->n_done = packing->n_slots;
    lock_take(&pager.lock);
    for (uint32_t i = 0; i < packing->n; i++) {
        uint32_t page = packing->page[i], slot = packing->slot[i];
        lock_yield(&pager.lock); /* a copy into fresh memory of the pool takes a while */
        if (table_get(&pager.table, page) != (page_make(PAGE_STAGED, slot) | PAGE_PACKING))
            continue; /* taken back, or forgotten */
        if (!full && keep(page, slot, &work.packed[i], packing->dead[i], pool_limit_bytes))
            continue;
        table_set(&pager.table, page, page_make(PAGE_STAGED, slot));
        if (!full)
            packing->n_done = (slot - staging_slot(&pager.staging, pager.staging.tail)) &
                              (pager.staging.n_slots - 1);
        full = true;
    }
    budget_charge_tables();
    lock_release(&pager.lock);
}

/* L. Copies shared pages aside: nobody can write to them without losing the mark. */
static void gather_shared(const struct victims *victims, struct packing *packing)
{
    for (uint32_t i = 0; i < victims->n && packing->n < PACK_BATCH; i++) {
        uint32_t page = victims->page[i];
        void *copy = work.copies + ((size_t)packing->n << SYS_PAGE_SHIFT);
        /* By system call: the program may have forbidden itself to read it. */
        if (is_unchanged(victims, i) && table_get(&pager.table, page) & PAGE_SHARED &&
            frames_is_there(page_address(page)) &&
            sys_process_vm_readv(sys_getpid(), copy, page_address(page), SYS_PAGE_SIZE) ==
                SYS_PAGE_SIZE) {
            packing->page[packing->n] = page;
            packing->slot[packing->n++] = i;
        } else if (is_unchanged(victims, i)) {
            requeue(page);
        }
    }
}

/*
 * A shared page's frame stays with the others, so for now the copy in the store is a loss. It pays
 * when the others have stored theirs as well, and by then each of them holds a copy.
 */
static bool shared_gains_nothing(const struct store_packed *packed)
{
    return !packed->same && packed->n_bytes > SHARED_MOST_BYTES && !work.batch;
}

/* L. A shared page goes straight into the store; its frame stays with the others. */
static bool keep_shared(const struct victims *victims, const struct packing *packing, uint32_t at,
                        size_t pool_limit_bytes)
{
    uint32_t page = packing->page[at], i = packing->slot[at];
    if (!is_unchanged(victims, i) || !(table_get(&pager.table, page) & PAGE_SHARED))
        return false;
    bool stays = sharing_would_copy(page_address(page));
    if (shared_gains_nothing(&work.packed[at]) ||
        !insert(page, &work.packed[at], pool_limit_bytes)) {
        requeue(page);
        return false;
    }
    sys_madvise(page_address(page), SYS_PAGE_SIZE, MADV_DONTNEED);
    pager.n_resident--;
    budget_charge(CONTROL_RESIDENT, -1);
    if (stays)
        sharing_charge_copy();
    control_count(&pager.self->stats.evictions, 1);
    return true;
}

/* Stores shared pages without staging them, as many as there are buffers. Returns how many. */
static uint32_t store_shared(const struct victims *victims, size_t pool_limit_bytes)
{
    struct packing packing = {0};
    uint32_t n_gone = 0;
    charge_buffers();
    lock_take(&pager.lock);
    gather_shared(victims, &packing);
    lock_release(&pager.lock);
    for (uint32_t i = 0; i < packing.n; i++)
        store_pack(work.packer, work.copies + ((size_t)i << SYS_PAGE_SHIFT), &work.packed[i]);
    lock_take(&pager.lock);
    for (uint32_t i = 0; i < packing.n; i++)
        n_gone += keep_shared(victims, &packing, i, pool_limit_bytes);
    for (uint32_t i = 0; i < victims->n; i++) /* those there were no buffers for */
        if (packing.n == PACK_BATCH && is_unchanged(victims, i))
            requeue(victims->page[i]);
    budget_charge_tables();
    lock_release(&pager.lock);
    return n_gone;
}

static bool relocate(void *context, uint32_t page, store_ref old, store_ref new)
{
    if (page >= pager.n_pages || table_get(&pager.table, page) != page_make(PAGE_STORED, old))
        return false; /* gone, or BUSY: a handler is reading the old copy */
    table_set(&pager.table, page, page_make(PAGE_STORED, new));
    return true;
}

static void tell_once(int error)
{
    if (atomic_fetch_or(&pager.control->warned, 2) & 2)
        return;
    log_format(pager.control->message, sizeof pager.control->message,
               "the swap file could not be written (%s): pages stay in RAM as long as it lasts",
               error == -ENOSPC ? "no space left on the device" : "I/O error");
}

/* Writes one cluster of the oldest stored pages on to the file; false when none went. */
static bool write_cluster(void)
{
    if (!work.batch)
        return false;
    lock_take(&pager.lock);
    int n = store_collect(pager.store, work.batch);
    lock_release(&pager.lock);
    work.file_refuses = n < 0;
    if (n <= 0)
        return false;
    int error = store_write(pager.store, work.batch);
    work.file_refuses = error < 0;
    if (error)
        tell_once(error);
    lock_take(&pager.lock);
    size_t n_moved = store_commit(pager.store, work.batch, error, relocate, NULL);
    budget_charge_tables();
    lock_release(&pager.lock);
    control_count(&pager.self->stats.written_pages, n_moved);
    return n_moved > 0;
}

/*
 * Evicts shared pages; with a file their copies go there before they are many. Each is a loss until
 * the others have evicted it as well, and what is lost at any time must stay little.
 */
static uint32_t evict_shared(const struct victims *victims, int64_t pool_limit)
{
    if (budget_room() < -SHARED_DEBT) {
        requeue_all(victims);
        return 0;
    }
    uint32_t n_gone = store_shared(victims, (size_t)pool_limit << SYS_PAGE_SHIFT);
    work.n_shared_stored += n_gone;
    if (work.n_shared_stored >= SHARED_WRITE) {
        work.n_shared_stored = 0;
        write_cluster();
    }
    return n_gone;
}

/*
 * Tries to evict up to `most` of the oldest pages. Returns how many went; *tried: were there any?
 * `may_fault`: this thread may touch the program's memory and write to the file, which a handler
 * must not.
 */
static uint32_t evict_batch(uint32_t most, bool may_fault, int64_t pool_limit, bool *tried)
{
    struct victims victims;
    struct leftovers left;
    lock_take(&pager.lock);
    uint64_t n_free_slots = pager.staging.n_slots - (pager.staging.head - pager.staging.tail);
    *tried = choose(&victims, n_free_slots < most ? (uint32_t)n_free_slots : most);
    lock_release(&pager.lock);
    uint32_t n_gone = evict(&victims, &left);
    if (left.shared.n > 0 && may_fault)
        n_gone += evict_shared(&left.shared, pool_limit);
    else
        requeue_all(&left.shared);
    if (left.refused.n > 0 && may_fault)
        n_gone += evict_refused(&left.refused);
    else
        requeue_all(&left.refused);
    return n_gone;
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

/* The memory of the slots that are done goes back to the system. Returns how many pages it was. */
static uint32_t release_slots(uint32_t n_slots)
{
    struct staging *staging = &pager.staging;
    uint32_t first = staging_slot(staging, staging->tail);
    uint32_t to_end = staging->n_slots - first, n = n_slots < to_end ? n_slots : to_end;
    uint32_t n_stay = staged_for_others(n_slots);
    sys_madvise(staging_address(staging, first), (size_t)n << SYS_PAGE_SHIFT, MADV_DONTNEED);
    if (n < n_slots)
        sys_madvise(staging->base, (size_t)(n_slots - n) << SYS_PAGE_SHIFT, MADV_DONTNEED);
    uint32_t n_freed = 0;
    lock_take(&pager.lock);
    for (uint32_t i = 0; i < n_slots; i++) {
        uint32_t slot = staging_slot(staging, staging->tail + i);
        n_freed += staging->page[slot] == STAGING_ORPHAN;
        staging->page[slot] = STAGING_HOLE;
    }
    staging->tail += n_slots;
    staging->n_pages -= n_freed;
    budget_charge(CONTROL_STAGED, -(int64_t)n_freed);
    for (uint32_t i = 0; i < n_stay; i++)
        sharing_charge_copy();
    lock_release(&pager.lock);
    return n_freed;
}

/* Packs some of the oldest staged pages. *n_slots: how far the tail went. */
static uint32_t pack_batch(int64_t pool_limit, uint32_t *n_slots)
{
    struct packing packing;
    gather(&packing);
    pack(&packing);
    commit(&packing, (size_t)pool_limit << SYS_PAGE_SHIFT);
    *n_slots = packing.n_done;
    return packing.n_done > 0 ? release_slots(packing.n_done) : 0;
}

/* Empties the pool down to `pages`. */
static bool write_down_to(int64_t pages)
{
    bool wrote = false;
    for (int i = 0; i < MOST_WRITES && pager.pool_charged > pages; i++) {
        if (!write_cluster())
            break;
        wrote = true;
    }
    return wrote;
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
static int64_t pool_limit(const struct watermarks *marks)
{
    int64_t limit = marks->pool_limit - pools_of_others() - pager.n_locked;
    int64_t least = marks->pool_limit / POOL_LEAST_SHARE / marks->n_pagers;
    if (least < POOL_LEAST)
        least = POOL_LEAST;
    least += pager.pool_shared;
    return limit > least ? limit : least;
}

bool reclaim_is_store_full(void)
{
    return atomic_load_explicit(&work.is_full, memory_order_relaxed);
}

bool reclaim_pass(int64_t wanted)
{
    struct watermarks marks;
    budget_watermarks(&marks);
    int64_t start = budget_room(), goal = start + wanted;
    bool progress = false;
    for (int i = 0; i < MOST_BATCHES; i++) {
        int64_t limit = pool_limit(&marks);
        uint32_t n_slots = 0;
        bool tried = true;
        uint32_t n_evicted = 0;
        if (pager.staging.n_pages < marks.staging + EVICT_BATCH) /* more would not make room */
            n_evicted = evict_batch(EVICT_BATCH, true, limit, &tried);
        if (pager.pool_charged > limit - PACK_BATCH)
            progress |= write_down_to(limit - PACK_BATCH * 2);
        bool surplus = pager.staging.n_pages > marks.staging || n_evicted == 0;
        if (surplus && pack_batch(limit, &n_slots) > 0)
            progress = true;
        if (budget_room() >= goal)
            return true;
        if (!tried && n_slots == 0)
            break;
        if (progress)
            budget_announce_room();
    }
    progress |= budget_room() > start;
    /* Nothing else is left to give: then the pool goes on to the file, below its limit too. */
    return progress || write_down_to(pager.pool_charged - POOL_RETREAT);
}

void reclaim_step(void)
{
    struct watermarks marks;
    uint32_t n_slots;
    bool tried, progress = false;
    if (budget_is_poor() || !lock_try(&pager.pass))
        return; /* the service thread asks the others first */
    budget_watermarks(&marks);
    int64_t limit = pool_limit(&marks);
    /* A full pool has to be written on first, which takes long: the service thread's, when urgent.
     */
    if (pager.pool_charged <= limit - PACK_BATCH) {
        uint32_t n_staged = pager.staging.n_pages;
        int64_t room = budget_room();
        if (n_staged < marks.staging + STEP_PAGES)
            progress = evict_batch(STEP_PAGES, false, limit, &tried) > 0;
        if (n_staged > marks.staging || !progress)
            pack_batch(limit, &n_slots);
        if (budget_room() > room)
            budget_announce_room();
    }
    lock_release(&pager.pass);
}

void reclaim_range(uint32_t page, uint32_t n_pages)
{
    struct victims victims;
    struct leftovers left;
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
        evict(&victims, &left);
        requeue_all(&left.refused);
        requeue_all(&left.shared);
        if (pager.staging.n_slots - (pager.staging.head - pager.staging.tail) < EVICT_BATCH)
            return; /* a hint: the rest goes when its turn comes */
    }
}
