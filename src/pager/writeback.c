/* SPDX-License-Identifier: Apache-2.0 */
/*
 * writeback: the oldest stored pages go from the RAM pool on to the swap file.
 *
 * A batch is listed and committed under the lock, and written without it. A write that fails leaves
 * its pages in the pool, is told once, and makes the pool all there is until a write succeeds.
 */
#include "base/log.h"
#include "pager/copies.h"
#include "pager/reclaim.h"

#include <errno.h>

#define MOST_WRITES 64   /* clusters a pass */
#define SMALL_SHARE 2048 /* pages of the budget for each process */

static struct {
    struct store_batch *batch; /* NULL: no file */
    _Atomic bool file_refuses; /* the last attempt to write on to the file was in vain */
} work;

int writeback_init(void)
{
    if (pager.control->options.swap_max_bytes == 0)
        return 0;
    work.batch = store_batch_new();
    return work.batch ? 0 : -ENOMEM;
}

struct scratch *writeback_scratch(void)
{
    return work.batch ? store_batch_scratch(work.batch) : NULL;
}

bool writeback_has_file(void)
{
    return work.batch;
}

bool writeback_is_possible(void)
{
    return work.batch && !work.file_refuses;
}

bool writeback_relocate(void *context, uint32_t page, store_ref old, store_ref new)
{
    page_entry entry = page < pager.n_pages ? table_get(&pager.table, page) : 0;
    if (entry == page_make(PAGE_STORED, old))
        table_set(&pager.table, page, page_make(PAGE_STORED, new));
    else if (entry & PAGE_KEPT && copies_of(page) == old)
        copies_relocate(page, new);
    else
        return false; /* gone, or BUSY: a handler is reading the old copy */
    return true;
}

static void tell_once(int error)
{
    if (atomic_fetch_or(&pager.control->warned, 2) & 2)
        return;
    log_format(pager.control->message, sizeof pager.control->message,
               "the swap file could not be written (%s): pages stay in RAM as long as it lasts",
               error == -ENOSPC   ? "no space left on the device"
               : error == -ENOMEM ? "out of memory"
                                  : "I/O error");
}

/* A long write is quick; but what it is gathered in should be little of what the process has. */
static unsigned most_clusters(void)
{
    struct watermarks marks;
    budget_watermarks(&marks);
    return control_budget(pager.control) / marks.n_pagers < SMALL_SHARE ? 2 : STORE_BATCH_CLUSTERS;
}

/* What the kernel lacks it may have in a moment: that is no reason to refuse allocations. */
static bool refuses(int error)
{
    return error < 0 && error != -ENOMEM && error != -EAGAIN;
}

bool writeback_cluster(void)
{
    if (!work.batch)
        return false;
    store_batch_limit(work.batch, most_clusters());
    lock_take(&pager.lock);
    int n = store_collect(pager.store, work.batch);
    if (n == -ENOSPC && copies_drop_file() > 0)
        n = store_collect(pager.store, work.batch);
    lock_release(&pager.lock);
    work.file_refuses = refuses(n);
    if (n <= 0)
        return false;
    int error = store_write(pager.store, work.batch);
    work.file_refuses = refuses(error);
    if (error)
        tell_once(error);
    lock_take(&pager.lock);
    size_t n_moved = store_commit(pager.store, work.batch, error, writeback_relocate, NULL);
    budget_charge_tables();
    lock_release(&pager.lock);
    control_count(&pager.self->stats.written_pages, n_moved);
    return n_moved > 0;
}

bool writeback_tidy(void)
{
    lock_take(&pager.lock);
    const bool is_sparse = work.batch && store_is_sparse(pager.store);
    lock_release(&pager.lock);
    return is_sparse && writeback_cluster();
}

bool writeback_down_to(int64_t pages)
{
    bool wrote = false;
    for (int i = 0; i < MOST_WRITES && pager.pool_charged > pages; i++) {
        if (!writeback_cluster())
            break;
        wrote = true;
    }
    return wrote;
}
