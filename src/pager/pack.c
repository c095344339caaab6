/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pack: the oldest staged pages go into the store.
 *
 *   staging ---copied aside---> scrubbed: dead objects read as zeros ---> packed ---> RAM pool
 *      '--- released, in blocks, when all of a block's pages are packed or taken back
 *
 * The lock is held while pages are copied aside and while the results are noted, never while
 * compressing: packing works on private copies, and what happened to the page meanwhile is checked
 * before the result counts (PACKING is still set only if the page never left its slot).
 *
 * The copies are made by the kernel (frames_read): a frame has just come to its slot, and to read
 * it there would be its first touch at this address, which costs more than the copy.
 */
#include "base/checked.h"
#include "base/meta.h"
#include "pager/reclaim.h"
#include "store/swap.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/uio.h>

#define RAW_PATIENCE 15 /* how often, on average, what did not compress is passed over */
#define PACKED_BYTES round_up(PACK_BATCH * sizeof(struct store_packed), SYS_PAGE_SIZE)
#define WORK_BYTES (PACKED_BYTES + ((size_t)PACK_BATCH << SYS_PAGE_SHIFT))

static struct {
    struct store_packer *packer;
    struct store_packed *packed; /* PACK_BATCH of them */
    unsigned char *copies;       /* PACK_BATCH pages */
    struct scratch *scratch;     /* the above lie there */
    struct scratch own;          /* where there is no file to share one with */
    _Atomic bool is_full;        /* the last page that should be stored could not be */
} work;

int pack_init(void)
{
    enum store_codec codec = pager.control->options.codec;
    void *memory = meta_alloc(store_packer_bytes(codec));
    work.scratch = writeback_scratch();
    if (!work.scratch || work.scratch->n_bytes < WORK_BYTES) {
        work.scratch = &work.own;
        if (scratch_open(&work.own, WORK_BYTES) < 0)
            return -ENOMEM;
    }
    if (!memory)
        return -ENOMEM;
    work.packed = (struct store_packed *)(void *)work.scratch->memory;
    work.copies = work.scratch->memory + PACKED_BYTES;
    work.packer = store_packer_init(memory, codec);
    return work.packer ? 0 : -EINVAL;
}

bool reclaim_is_store_full(void)
{
    return atomic_load_explicit(&work.is_full, memory_order_relaxed);
}

struct packing {
    uint32_t n_slots;          /* from the tail on, holes and orphans included */
    uint32_t n_done;           /* of these, those that are free afterwards */
    uint32_t n;                /* pages copied */
    uint32_t page[PACK_BATCH]; /* and which */
    uint32_t slot[PACK_BATCH];
    bool dead[PACK_BATCH]; /* nothing alive is on it */
};

void pack_rest(void)
{
    scratch_drop(work.scratch);
}

static unsigned char *copy_of(uint32_t i)
{
    return work.copies + ((size_t)i << SYS_PAGE_SHIFT);
}

/* L. Lists the oldest staged pages. */
static void list_oldest(struct packing *packing, const char **addresses)
{
    struct staging *staging = &pager.staging;
    while (staging->packed + packing->n_slots < staging->head && packing->n < PACK_BATCH) {
        uint32_t slot = staging_slot(staging, staging->packed + packing->n_slots);
        uint32_t page = staging->page[slot];
        packing->n_slots++;
        if (page == STAGING_HOLE || page == STAGING_ORPHAN)
            continue;
        addresses[packing->n] = staging_address(staging, slot);
        packing->page[packing->n] = page;
        packing->slot[packing->n++] = slot;
    }
}

/* Copies the oldest staged pages aside. */
static void gather(struct packing *packing)
{
    const char *addresses[PACK_BATCH];
    *packing = (struct packing){0};
    scratch_use(work.scratch, WORK_BYTES);
    lock_take(&pager.lock);
    list_oldest(packing, addresses);
    frames_read(work.copies, addresses, packing->n);
    for (uint32_t i = 0; i < packing->n; i++)
        table_set(&pager.table, packing->page[i],
                  page_make(PAGE_STAGED, packing->slot[i]) | PAGE_PACKING);
    lock_release(&pager.lock);
}

static void pack(struct packing *packing)
{
    for (uint32_t i = 0; i < packing->n; i++) {
        unsigned char *copy = copy_of(i);
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
    pager.n_raw_to_pass_over += RAW_PATIENCE;
    pager.n_resident++;
    budget_charge(CONTROL_RESIDENT, 1);
    budget_charge(CONTROL_STAGED, -1);
    return true;
}

/* Without a file, a page that does not compress takes as much in the store as where it is. */
static bool gains_nothing(const struct store_packed *packed)
{
    return !packed->same && packed->codec == STORE_CODEC_NONE && !writeback_has_file();
}

/* L. Into the store; false when there is no room. */
static bool insert(uint32_t page, const struct store_packed *packed, size_t pool_limit_bytes)
{
    store_ref ref = 0;
    int error = store_insert(pager.store, page, packed, pool_limit_bytes, &ref);
    atomic_store(&work.is_full, error < 0 && !writeback_is_possible());
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

/* L. The slots up to there are done with. */
static void advance(uint32_t n_slots)
{
    struct staging *staging = &pager.staging;
    for (uint32_t i = 0; i < n_slots; i++)
        staging->n_done += staging->page[staging_slot(staging, staging->packed + i)] ==
                           STAGING_ORPHAN;
    staging->packed += n_slots;
}

/* Notes what was packed; slots up to the first that could not be kept are done with. */
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
            packing->n_done = (slot - staging_slot(&pager.staging, pager.staging.packed)) &
                              (pager.staging.n_slots - 1);
        full = true;
    }
    advance(packing->n_done);
    budget_charge_tables();
    lock_release(&pager.lock);
}

/* By system call: the program may have forbidden itself to read it. */
static bool read_page(unsigned char *copy, uint32_t page)
{
    const struct iovec from = {page_address(page), SYS_PAGE_SIZE};
    return frames_is_there(from.iov_base) &&
           sys_process_vm_readv(sys_getpid(), copy, SYS_PAGE_SIZE, &from, 1) == SYS_PAGE_SIZE;
}

/* L. Copies shared pages aside: nobody can write to them without losing the mark. */
static void gather_shared(const struct victims *victims, struct packing *packing)
{
    for (uint32_t i = 0; i < victims->n && packing->n < PACK_BATCH; i++) {
        uint32_t page = victims->page[i];
        if (victim_is_unchanged(victims, i) && table_get(&pager.table, page) & PAGE_SHARED &&
            read_page(copy_of(packing->n), page)) {
            packing->page[packing->n] = page;
            packing->slot[packing->n++] = i;
        } else if (victim_is_unchanged(victims, i)) {
            evict_requeue(page);
        }
    }
}

/* L. A shared page goes straight into the store; its frame stays with the others. */
static bool keep_shared(const struct victims *victims, const struct packing *packing, uint32_t at,
                        size_t pool_limit_bytes)
{
    uint32_t page = packing->page[at], i = packing->slot[at];
    if (!victim_is_unchanged(victims, i) || !(table_get(&pager.table, page) & PAGE_SHARED))
        return false;
    bool stays = sharing_would_copy(page_address(page));
    if (gains_nothing(&work.packed[at]) || !insert(page, &work.packed[at], pool_limit_bytes)) {
        evict_requeue(page);
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

uint32_t pack_shared(const struct victims *victims, size_t pool_limit_bytes)
{
    struct packing packing = {0};
    uint32_t n_gone = 0;
    scratch_use(work.scratch, WORK_BYTES);
    lock_take(&pager.lock);
    gather_shared(victims, &packing);
    lock_release(&pager.lock);
    for (uint32_t i = 0; i < packing.n; i++)
        store_pack(work.packer, copy_of(i), &work.packed[i]);
    lock_take(&pager.lock);
    for (uint32_t i = 0; i < packing.n; i++)
        n_gone += keep_shared(victims, &packing, i, pool_limit_bytes);
    for (uint32_t i = 0; i < victims->n; i++) /* those there were no buffers for */
        if (packing.n == PACK_BATCH && victim_is_unchanged(victims, i))
            evict_requeue(victims->page[i]);
    budget_charge_tables();
    lock_release(&pager.lock);
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
    gather(&packing);
    pack(&packing);
    commit(&packing, pool_limit_bytes);
    return packing.n_done;
}
