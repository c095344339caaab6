/* SPDX-License-Identifier: Apache-2.0 */
/*
 * packing: copies of pages are scrubbed, compressed and put into the store.
 *
 * It works on private copies and without the lock; whoever copied the pages makes sure that the
 * result still counts when he inserts it.
 */
#include "base/checked.h"
#include "pager/reclaim.h"
#include "pager/watch.h"
#include "pager/window.h"
#include "policy/coding.h"

#include <errno.h>

#define PACKED_BYTES round_up(PACK_BATCH * sizeof(struct store_packed), SYS_PAGE_SIZE)
#define WORK_BYTES (PACKED_BYTES + ((size_t)PACK_BATCH << SYS_PAGE_SHIFT))

#define DENSE_LEAST 256 /* pages of its own in the pool, or zstd's contexts cost too much */
#define SHORT_SHARE 4   /* the pool is short of room when it has less than so much of it left */

static struct {
    struct store_packer *packer; /* NULL: not made yet, or given back */
    struct scratch memory;       /* where it lies */
    struct coding coding;        /* whether zstd pays, where that is not given */
    bool is_short;               /* the pool will be full soon, and there is nothing behind it */
    struct store_packed *packed; /* PACK_BATCH of them */
    unsigned char *copies;       /* PACK_BATCH pages */
    struct scratch *scratch;     /* the above lie there */
    struct scratch own;          /* where there is no file to share one with */
    _Atomic bool is_full;        /* see reclaim_is_store_full() */
    uint32_t n_unpaid;           /* L: pages in a row that would have gained nothing there */
} work;

/* What zstd needs is used only where zstd is. */
static struct store_packer *packer_for(enum store_codec codec)
{
    if (!work.packer || codec > store_packer_codec(work.packer)) {
        windows_expect(codec);
        scratch_use(&work.memory, store_packing_bytes(codec));
        work.packer = store_packer_init(work.memory.memory, codec);
    }
    return work.packer;
}

static void warm_up(enum store_codec most)
{
    scratch_use(&work.memory, store_packer_bytes(most));
    store_packer_warm_up(store_packer_init(work.memory.memory, most));
    scratch_drop(&work.memory);
}

static void drop_packer(void)
{
    work.packer = NULL;
    scratch_drop(&work.memory);
}

int packing_init(void)
{
    const enum store_codec most = pager.control->options.codec;
    work.scratch = writeback_scratch();
    if (!work.scratch || work.scratch->n_bytes < WORK_BYTES) {
        work.scratch = &work.own;
        if (scratch_open(&work.own, WORK_BYTES) < 0)
            return -ENOMEM;
    }
    if (scratch_open(&work.memory, store_packer_bytes(most)) < 0)
        return -ENOMEM;
    work.packed = (struct store_packed *)(void *)work.scratch->memory;
    work.copies = work.scratch->memory + PACKED_BYTES;
    warm_up(most);
    return 0;
}

void packing_rest(void)
{
    drop_packer();
    scratch_drop(work.scratch);
}

bool reclaim_is_store_full(void)
{
    return atomic_load_explicit(&work.is_full, memory_order_relaxed);
}

unsigned char *packing_copy(uint32_t i)
{
    scratch_use(work.scratch, WORK_BYTES);
    return work.copies + ((size_t)i << SYS_PAGE_SHIFT);
}

static void pack_by_both(const unsigned char *page, struct store_packed *packed)
{
    store_pack_by(packer_for(STORE_CODEC_ZSTD), STORE_CODEC_LZ4, page, packed);
    const uint32_t quick_bytes = packed->n_bytes;
    if (packed->same)
        return;
    store_pack_by(work.packer, STORE_CODEC_ZSTD, page, packed);
    coding_note(&work.coding, quick_bytes, packed->n_bytes, work.is_short);
}

static void pack(const unsigned char *page, struct store_packed *packed)
{
    enum store_codec codec = pager.control->options.codec;
    if (pager.control->options.codec_adapts) {
        const bool is_small = pager.pool_charged - pager.pool_shared < DENSE_LEAST;
        if (!is_small && coding_samples(&work.coding)) {
            pack_by_both(page, packed);
            return;
        }
        if (is_small || !coding_is_dense(&work.coding))
            codec = STORE_CODEC_LZ4;
    }
    store_pack_by(packer_for(codec), codec, page, packed);
}

void packing_scrub(struct packing *packing)
{
    for (uint32_t i = 0; i < packing->n; i++) {
        size_t n_dead = 0;
        if (packing->page[i] < pager.heap_pages && pager.scrub)
            n_dead = pager.scrub(page_address(packing->page[i]), packing_copy(i));
        packing->dead[i] = n_dead == SYS_PAGE_SIZE;
        if (!packing->dead[i])
            control_count(&pager.self->stats.scrubbed_bytes, n_dead);
    }
}

void packing_compress(const struct packing *packing)
{
    for (uint32_t i = 0; i < packing->n; i++)
        if (!packing->dead[i])
            pack(packing_copy(i), &work.packed[i]);
}

/* A file takes any page, and a recorded run's window is made room in by whatever goes. */
static bool takes_any(void)
{
    return writeback_has_file() || is_watched();
}

/*
 * Else, a page that does not compress gains nothing in the store. One of them says little of the
 * others; where a whole batch is like that, allocations had better fail while there is room.
 */
bool packing_pays(uint32_t i)
{
    const struct store_packed *packed = &work.packed[i];
    bool pays = packed->same || packed->codec != STORE_CODEC_NONE || takes_any();
    if (!pays && ++work.n_unpaid >= PACK_BATCH)
        atomic_store(&work.is_full, true);
    return pays;
}

/*
 * A shared page's frame stays with the others, so the copy in the store is a loss until the others
 * have stored theirs as well, and by then each of them holds a copy.
 */
bool packing_pays_twice(uint32_t i)
{
    const struct store_packed *packed = &work.packed[i];
    return packed->same || packed->n_bytes <= SYS_PAGE_SIZE / 2 || takes_any();
}

bool packing_insert(const struct packing *packing, uint32_t i, size_t pool_limit_bytes,
                    store_ref *ref)
{
    const struct store_packed *packed = &work.packed[i];
    const int64_t pool_bytes = pager.pool_charged << SYS_PAGE_SHIFT;
    work.is_short = !writeback_is_possible() &&
                    pool_bytes > (int64_t)(pool_limit_bytes - pool_limit_bytes / SHORT_SHARE);
    int error = store_insert(pager.store, packing->page[i], packed, pool_limit_bytes, ref);
    atomic_store(&work.is_full, error < 0 && !writeback_is_possible());
    if (error)
        return false;
    work.n_unpaid = 0;
    control_count(&pager.self->stats.stored_pages, 1);
    control_count(&pager.self->stats.stored_bytes, packed->same ? 0 : packed->n_bytes);
    control_count(&pager.self->stats.same_filled, packed->same);
    return true;
}
