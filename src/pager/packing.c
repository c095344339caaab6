/* SPDX-License-Identifier: Apache-2.0 */
/*
 * packing: copies of pages are scrubbed, compressed and put into the store.
 *
 * It works on private copies and without the lock; whoever copied the pages makes sure that the
 * result still counts when he inserts it.
 */
#include "base/checked.h"
#include "base/meta.h"
#include "pager/reclaim.h"

#include <errno.h>

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

int packing_init(void)
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

void packing_rest(void)
{
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

void packing_run(struct packing *packing)
{
    for (uint32_t i = 0; i < packing->n; i++) {
        unsigned char *copy = packing_copy(i);
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

/* Without a file, a page that does not compress gains nothing in the store. */
bool packing_pays(uint32_t i)
{
    const struct store_packed *packed = &work.packed[i];
    bool pays = packed->same || packed->codec != STORE_CODEC_NONE || writeback_has_file();
    if (!pays)
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
    return packed->same || packed->n_bytes <= SYS_PAGE_SIZE / 2 || writeback_has_file();
}

bool packing_insert(const struct packing *packing, uint32_t i, size_t pool_limit_bytes,
                    store_ref *ref)
{
    const struct store_packed *packed = &work.packed[i];
    int error = store_insert(pager.store, packing->page[i], packed, pool_limit_bytes, ref);
    atomic_store(&work.is_full, error < 0 && !writeback_is_possible());
    if (error)
        return false;
    control_count(&pager.self->stats.stored_pages, 1);
    control_count(&pager.self->stats.stored_bytes, packed->same ? 0 : packed->n_bytes);
    control_count(&pager.self->stats.same_filled, packed->same);
    return true;
}
