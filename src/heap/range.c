/* SPDX-License-Identifier: Apache-2.0 */
/*
 * range: a source of pages over one range of addresses, without a pager.
 *
 *   base                            n_committed                        n_pages
 *    | used | warm | clean | used | not touched yet | no access yet ...|
 *             |       ^
 *             '-------' purge: MADV_DONTNEED
 *
 * The buddy system says which pages are free; a bit a page says which may hold something. A page
 * that is freed stays warm: it has its memory, and is the first to be handed out again. How much
 * may be warm:
 *
 *   - at most an eighth of what is used, or WARM_FLOOR_PAGES if that is more. A free that exceeds
 *     it purges down to half of it, the largest blocks first, so the next free is not the next
 *     purge;
 *   - more where a purge was regretted: as many pages as were dropped and wanted again before the
 *     next look at the clock are kept from then on (n_keep), a quarter less with each look. So a
 *     program that fills and drains its memory over and over pays for it once;
 *   - less with time: what was warm and unused for a whole DECAY_NS is purged. Nobody wakes up for
 *     it; the clock is read at every CALLS_A_LOOK-th call;
 *   - a run beyond DROP_PAGES is purged as it is freed.
 *
 * Pages are made accessible in steps of an eighth of what is, so that no huge page is put under a
 * heap of a few hundred KiB where the system puts them everywhere. Beyond HUGE_FLOOR_PAGES steps
 * are whole huge pages, and the system is asked for them: a first touch costs as much for 2 MiB as
 * for 4 KiB. Only a large object that has to be made accessible by itself is left to its first
 * touches, for it may be sparse. Below that, a span that will soon be full gets its memory with one
 * call.
 *
 * Invariants
 *   R1. n_warm = the dirty bits of free pages; n_idle <= n_warm.
 *   R2. A page without its bit reads as zeros.
 *   R3. No page at or after n_committed was ever handed out.
 *
 * Locks: lock, then the buddy system's, then meta's at a fork. Can fail: no pages, or the kernel
 * makes no more accessible; then nothing is changed.
 */
#include "heap/range.h"

#include "base/checked.h"
#include "base/log.h"
#include "base/meta.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define ALIGNMENT ((size_t)2 << 20)            /* of a reserved base: for huge pages */
#define COMMIT_LEAST_PAGES 64u                 /* 256 KiB */
#define COMMIT_MOST_PAGES 4096u                /* 16 MiB */
#define WARM_FLOOR_PAGES 4096u                 /* 16 MiB */
#define WARM_SHARE 8u                          /* of what is used */
#define DROP_PAGES 8192u                       /* 32 MiB */
#define DECAY_NS ((uint64_t)500 * 1000 * 1000) /* half a second */
#define CALLS_A_LOOK 64u
#define HUGE_PAGES ((uint32_t)(ALIGNMENT >> SYS_PAGE_SHIFT))
#define HUGE_FLOOR_PAGES 4096u /* 16 MiB: one page more is at most an eighth of it */
#define HUGE_MOST_WANTED 1024u /* pages of a request for which they are asked for: 4 MiB */
#define REMAP_PAGES 256u /* from here on dropping maps anew, which undoes what moves have split */
#define MAX_MOVED 8192u  /* of the 65530 mappings that a process may have */

#ifndef MREMAP_DONTUNMAP /* Linux 5.7 */
#define MREMAP_DONTUNMAP 4
#endif

static unsigned order_of(size_t n_pages)
{
    unsigned order = log2_floor(n_pages);
    return order < QUIRE_BUDDY_MAX_ORDER ? order : QUIRE_BUDDY_MAX_ORDER;
}

static struct quire_buddy_config config_of(const struct quire_buddy_zone *zone)
{
    return (struct quire_buddy_config){
        .max_order = order_of(zone->n_pages), .n_zones = 1, .zones = zone};
}

static size_t buddy_bytes(size_t n_pages)
{
    const struct quire_buddy_zone zone = {.n_pages = (uint32_t)n_pages, .name = "heap"};
    const struct quire_buddy_config config = config_of(&zone);
    return round_up(quire_buddy_metadata_bytes(&config), SYS_PAGE_SIZE);
}

size_t heap_range_metadata_bytes(size_t n_pages)
{
    return buddy_bytes(n_pages) + round_up(n_pages / 8 + 8, SYS_PAGE_SIZE);
}

static char *page_address(const struct heap_range *range, size_t page)
{
    return range->base + (page << SYS_PAGE_SHIFT);
}

static uint32_t page_of(const struct heap_range *range, const void *address)
{
    return (uint32_t)((size_t)((const char *)address - range->base) >> SYS_PAGE_SHIFT);
}

/* The bits of pages [page, end) that lie in the word of `page`. */
static uint64_t mask_of(uint32_t page, uint32_t end)
{
    uint64_t mask = ~(uint64_t)0 << page % 64;
    if (end / 64 == page / 64)
        mask &= ((uint64_t)1 << end % 64) - 1;
    return mask;
}

/* How many of the pages are dirty; then all are, or none. */
static uint32_t set_dirty(struct heap_range *range, uint32_t page, uint32_t end, bool dirty)
{
    uint32_t n = 0;
    for (; page < end; page = (page | 63) + 1) {
        uint64_t *word = &range->dirty[page / 64], mask = mask_of(page, end);
        n += (uint32_t)__builtin_popcountll(*word & mask);
        *word = dirty ? *word | mask : *word & ~mask;
    }
    return n;
}

static uint32_t count_dirty(const struct heap_range *range, uint32_t page, uint32_t end)
{
    uint32_t n = 0;
    for (; page < end; page = (page | 63) + 1)
        n += (uint32_t)__builtin_popcountll(range->dirty[page / 64] & mask_of(page, end));
    return n;
}

/* L. Makes a free range clean; false: the system did not take it. */
static bool drop(struct heap_range *range, uint32_t page, uint32_t n_pages)
{
    char *address = page_address(range, page);
    size_t n_bytes = (size_t)n_pages << SYS_PAGE_SHIFT;
    bool dropped = false;

    if (n_pages >= REMAP_PAGES && range->n_moved > 0) {
        void *same = sys_mmap(address, n_bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
        dropped = !sys_is_error(same);
        range->n_moved -= dropped;
    }
    if (!dropped && sys_madvise(address, n_bytes, MADV_DONTNEED) < 0)
        return false; /* locked by mlockall, say */
    range->n_warm -= set_dirty(range, page, page + n_pages, false);
    return true;
}

struct purge {
    struct heap_range *range;
    uint32_t goal; /* of n_warm */
};

static bool purge_block(void *context, quire_page page, unsigned order)
{
    struct purge *purge = context;
    uint32_t n_pages = (uint32_t)1 << order;

    if (count_dirty(purge->range, page, page + n_pages) > 0)
        drop(purge->range, page, n_pages);
    return purge->range->n_warm > purge->goal;
}

/* L. Drops warm pages until at most `goal` are left. */
static void purge_to(struct heap_range *range, uint32_t goal)
{
    struct purge purge = {range, goal};
    if (range->owned && range->n_warm > goal)
        (void)quire_buddy_each_free(range->buddy, 0, 0, purge_block, &purge);
    if (range->n_idle > range->n_warm)
        range->n_idle = range->n_warm;
}

/* L. From time to time: what was not needed since the last time goes. */
static void decay(struct heap_range *range)
{
    if (++range->n_calls < CALLS_A_LOOK)
        return;
    range->n_calls = 0;
    uint64_t now_ns = sys_now_ns();
    if (now_ns < range->tick_ns + DECAY_NS)
        return;
    range->tick_ns = now_ns;
    range->n_dropped = 0;
    range->n_keep -= range->n_keep / 4;
    if (range->n_idle > 0)
        purge_to(range, range->n_warm - range->n_idle);
    range->n_idle = range->n_warm;
}

static uint32_t warm_limit(const struct heap_range *range)
{
    uint32_t limit = range->n_used / WARM_SHARE;
    limit = limit > WARM_FLOOR_PAGES ? limit : WARM_FLOOR_PAGES;
    return limit > range->n_keep ? limit : range->n_keep;
}

/* L. Too much is warm. */
static void purge_for_room(struct heap_range *range)
{
    uint32_t before = range->n_warm;
    purge_to(range, warm_limit(range) / 2);
    range->n_dropped += before - range->n_warm;
}

/* L. Clean pages are taken that may have been dropped a moment ago. */
static void regret(struct heap_range *range, uint32_t n_clean)
{
    uint32_t n = n_clean < range->n_dropped ? n_clean : range->n_dropped;
    range->n_dropped -= n;
    range->n_keep += 2 * n; /* a purge goes down to half */
    if (range->n_keep > range->n_pages / 2)
        range->n_keep = range->n_pages / 2;
}

static bool has_huge_pages(const struct heap_range *range)
{
    return range->owned && range->n_committed >= HUGE_FLOOR_PAGES;
}

/* L. Pages below `end` become accessible, for a request of n_pages. */
static bool commit(struct heap_range *range, uint32_t end, uint32_t n_pages)
{
    if (end <= range->n_committed)
        return true;
    bool huge = has_huge_pages(range) && n_pages <= HUGE_MOST_WANTED;
    uint32_t step = range->n_committed / 8;
    step = step < COMMIT_LEAST_PAGES ? COMMIT_LEAST_PAGES : step;
    step = step > COMMIT_MOST_PAGES ? COMMIT_MOST_PAGES : step;
    uint32_t granule = huge ? HUGE_PAGES : COMMIT_LEAST_PAGES;
    uint32_t to = (uint32_t)round_up(end, granule);
    if (to < range->n_committed + step)
        to = (uint32_t)round_up(range->n_committed + step, granule);
    if (to > range->n_pages)
        to = range->n_pages;
    size_t n_bytes = (size_t)(to - range->n_committed) << SYS_PAGE_SHIFT;
    char *from = page_address(range, range->n_committed);
    if (sys_mprotect(from, n_bytes, PROT_READ | PROT_WRITE) < 0)
        return false;
    if (huge) /* where it can't, they are small */
        sys_madvise(from, n_bytes, MADV_HUGEPAGE);
    range->n_committed = to;
    return true;
}

/* L. Pages that the buddy system has given are handed out. */
static bool take_into_use(struct heap_range *range, uint32_t page, uint32_t n_pages, bool *zeroed)
{
    uint32_t end = page + n_pages;

    if (!commit(range, end, n_pages)) {
        (void)!quire_buddy_free_range(range->buddy, page, n_pages); /* it was just taken */
        return false;
    }
    uint32_t n_dirty = set_dirty(range, page, end, true);
    range->n_warm -= n_dirty;
    range->n_used += n_pages;
    if (range->n_dropped > 0)
        regret(range, n_pages - n_dirty);
    if (range->n_idle > range->n_warm)
        range->n_idle = range->n_warm;
    *zeroed = n_dirty == 0;
    return true;
}

/* L. As quire_buddy_alloc_exact, by addresses: the base may be less aligned than the run has to be.
 */
static bool take_pages(struct heap_range *range, uint32_t n_pages, uint32_t align_pages,
                       quire_page *page)
{
    uint32_t skew = (uint32_t)((uintptr_t)range->base >> SYS_PAGE_SHIFT) & (align_pages - 1);

    if (skew == 0)
        return quire_buddy_alloc_exact(range->buddy, NULL, n_pages, align_pages, page) == 0;
    if (n_pages > range->n_pages - align_pages)
        return false;
    if (quire_buddy_alloc_exact(range->buddy, NULL, n_pages + align_pages, 1, page) != 0)
        return false;
    uint32_t before = (align_pages - ((*page + skew) & (align_pages - 1))) & (align_pages - 1);
    if (before > 0)
        (void)!quire_buddy_free_range(range->buddy, *page, before);
    *page += before;
    (void)!quire_buddy_free_range(range->buddy, *page + n_pages, align_pages - before);
    return true;
}

static void *range_alloc(void *context, size_t n_pages, size_t align_pages, bool *zeroed)
{
    struct heap_range *range = context;
    quire_page page;
    void *run = NULL;

    if (n_pages == 0 || n_pages > range->n_pages || align_pages > range->n_pages)
        return NULL;
    lock_take(&range->lock);
    if (take_pages(range, (uint32_t)n_pages, (uint32_t)align_pages, &page) &&
        take_into_use(range, page, (uint32_t)n_pages, zeroed))
        run = page_address(range, page);
    decay(range);
    lock_release(&range->lock);
    return run;
}

static void range_free(void *context, void *run, size_t n_pages)
{
    struct heap_range *range = context;
    uint32_t page = page_of(range, run), n = (uint32_t)n_pages;

    lock_take(&range->lock);
    range->n_used -= n;
    range->n_warm += n; /* all have had their bits since they were handed out */
    if (range->owned && n > DROP_PAGES && n > range->n_keep && drop(range, page, n))
        range->n_dropped += n;
    if (quire_buddy_free_range(range->buddy, page, n) < 0)
        log_error("heap: pages %u+%u are not allocated", page, n);
    if (range->n_warm > warm_limit(range))
        purge_for_room(range);
    decay(range);
    lock_release(&range->lock);
}

static bool range_extend(void *context, void *run, size_t n_pages, size_t new_n_pages, bool *zeroed)
{
    struct heap_range *range = context;
    uint32_t page = page_of(range, run);
    bool extended = false;

    if (new_n_pages > range->n_pages)
        return false;
    lock_take(&range->lock);
    if (quire_buddy_try_extend(range->buddy, page, (uint32_t)n_pages, (uint32_t)new_n_pages) == 0)
        extended = take_into_use(range, page + (uint32_t)n_pages, (uint32_t)(new_n_pages - n_pages),
                                 zeroed);
    lock_release(&range->lock);
    return extended;
}

/* Page tables instead of bytes, as mremap(2) does for libc's own large objects. */
static bool move_pages(struct heap_range *range, void *from, void *to, size_t n_bytes)
{
    const int flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;

    lock_take(&range->lock);
    bool may = range->owned && range->n_moved < MAX_MOVED;
    range->n_moved += may;
    lock_release(&range->lock);
    if (!may)
        return false;
    void *moved = sys_mremap(from, n_bytes, n_bytes, flags, to);
    if (!sys_is_error(moved))
        return true;
    lock_take(&range->lock);
    range->n_moved -= range->n_moved > 0;
    lock_release(&range->lock);
    return false;
}

static void range_move(void *context, void *from, void *to, size_t n_pages)
{
    size_t n_bytes = n_pages << SYS_PAGE_SHIFT;
    if (n_pages < REMAP_PAGES || !move_pages(context, from, to, n_bytes))
        memcpy(to, from, n_bytes);
}

/* Harmless where the kernel can't: the first touches do it. */
static void range_populate(void *context, void *run, size_t n_pages)
{
    const struct heap_range *range = context;
    if (range->owned && !has_huge_pages(range))
        sys_madvise(run, n_pages << SYS_PAGE_SHIFT, MADV_POPULATE_WRITE);
}

void heap_range_fill_source(struct heap_range *range, struct heap_source *source)
{
    source->context = range;
    source->base = range->base;
    source->n_pages = range->n_pages;
    source->alloc = range_alloc;
    source->free = range_free;
    source->extend = range_extend;
    source->move = range_move;
    source->populate = range_populate;
}

bool heap_range_purge(struct heap_range *range)
{
    lock_take(&range->lock);
    uint32_t before = range->n_warm;
    purge_to(range, 0);
    bool purged = range->n_warm < before;
    lock_release(&range->lock);
    return purged;
}

size_t heap_range_warm_bytes(struct heap_range *range)
{
    lock_take(&range->lock);
    size_t n_bytes = (size_t)range->n_warm << SYS_PAGE_SHIFT;
    lock_release(&range->lock);
    return n_bytes;
}

void heap_range_over(struct heap_range *range, void *base, size_t n_pages, bool zeroed,
                     void *metadata)
{
    const struct quire_buddy_zone zone = {.n_pages = (uint32_t)n_pages, .name = "heap"};
    const struct quire_buddy_config config = config_of(&zone);

    *range = (struct heap_range){
        .base = base,
        .n_pages = (uint32_t)n_pages,
        .n_committed = (uint32_t)n_pages,
        .dirty = (uint64_t *)(void *)((char *)metadata + buddy_bytes(n_pages)),
        .metadata_bytes = heap_range_metadata_bytes(n_pages),
    };
    /* can't fail: the configuration is made here and the metadata is as it wants it */
    if (quire_buddy_init(&config, metadata, buddy_bytes(n_pages), &range->buddy) != 0)
        __builtin_trap();
    if (!zeroed)
        range->n_warm = (uint32_t)n_pages;
    for (uint32_t page = 0; !zeroed && page < n_pages; page++)
        range->dirty[page / 64] |= (uint64_t)1 << page % 64;
}

static char *reserve(size_t n_bytes)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    char *start = sys_mmap(NULL, n_bytes + ALIGNMENT, PROT_NONE, flags, -1, 0);
    if (sys_is_error(start))
        return NULL;
    char *base = (char *)round_up((uintptr_t)start, ALIGNMENT);
    if (base > start)
        sys_munmap(start, (size_t)(base - start));
    sys_munmap(base + n_bytes, (size_t)(start + ALIGNMENT - base));
    return base;
}

int heap_range_open(struct heap_range *range, size_t max_pages, size_t min_pages)
{
    for (size_t n_pages = max_pages; n_pages >= min_pages && n_pages > 0; n_pages /= 2) {
        size_t n_bytes = n_pages << SYS_PAGE_SHIFT;
        char *base = reserve(n_bytes);
        if (base == NULL)
            continue;
        void *metadata = meta_map(heap_range_metadata_bytes(n_pages));
        if (metadata == NULL) {
            sys_munmap(base, n_bytes);
            continue;
        }
        heap_range_over(range, base, n_pages, true, metadata);
        range->owned = true;
        range->n_committed = 0;
        return 0;
    }
    return -ENOMEM;
}

void heap_range_close(struct heap_range *range)
{
    meta_unmap(range->buddy, range->metadata_bytes);
    sys_munmap(range->base, (size_t)range->n_pages << SYS_PAGE_SHIFT);
    *range = (struct heap_range){.base = NULL};
}

void heap_range_fork_prepare(struct heap_range *range)
{
    lock_take(&range->lock);
    quire_buddy_lock_all(range->buddy);
    meta_fork_prepare();
}

void heap_range_fork_parent(struct heap_range *range)
{
    meta_fork_done();
    quire_buddy_unlock_all(range->buddy);
    lock_release(&range->lock);
}

void heap_range_fork_child(struct heap_range *range)
{
    meta_fork_done();
    quire_buddy_unlock_all(range->buddy);
    lock_reset(&range->lock);
}

static bool add_used(void *context, quire_page page, unsigned order)
{
    struct purge *sum = context; /* the goal counts up here */
    sum->goal += count_dirty(sum->range, page, page + ((uint32_t)1 << order));
    return true;
}

int heap_range_validate(struct heap_range *range)
{
    struct quire_buddy_counts counts;
    struct purge sum = {range, 0};
    const char *wrong = NULL;

    lock_take(&range->lock);
    if (quire_buddy_validate(range->buddy) != 0 ||
        quire_buddy_counts(range->buddy, 0, &counts) != 0)
        wrong = "the pages' buddy system is not valid";
    else if (counts.n_allocated != range->n_used)
        wrong = "used pages are miscounted";
    else if (count_dirty(range, range->n_committed, range->n_pages) > 0)
        wrong = "a page was handed out that can't be accessed";
    (void)quire_buddy_each_free(range->buddy, 0, 0, add_used, &sum);
    if (wrong == NULL)
        sum.goal += count_dirty(range, counts.frontier, range->n_pages);
    if (wrong == NULL && (sum.goal != range->n_warm || range->n_idle > range->n_warm))
        wrong = "warm pages are miscounted";
    lock_release(&range->lock);
    if (wrong != NULL)
        log_error("heap: %s (%u)", wrong, range->n_warm);
    return wrong == NULL ? 0 : -EUCLEAN;
}
