/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quire/buddy.h: a buddy system over page numbers.
 *
 * It hands out runs of pages and takes them back, in parts if need be. It works on numbers only and
 * never reads or writes the pages themselves, so the same code places memory, file blocks, shared
 * memory or the slots of an arena. What stands behind a page number is its user's affair.
 *
 *   block    2^order pages that begin at a multiple of 2^order, counted from page 0; two blocks of
 *            one order that together form a block of the next are buddies
 *   zone     a range of pages of any length and alignment, with free lists, counters and a lock of
 *            its own; blocks never cross its ends
 *   frontier where the pages of a zone begin that were never used: fresh pages, which need no
 *            metadata, so an unused terabyte costs nothing; it moves by 64 pages or more
 *   cache    blocks of low orders that a thread keeps to itself, taken and given without a lock
 *
 * Order of search: the free block of the smallest order that is large enough, one in the group of
 * 64 pages that was freed to last (they are warm), then fresh pages at the frontier; so the range
 * in use stays compact. A zone fails to give a block only if no such block is free in it, fresh
 * pages included. (What lies in threads' caches is not free.)
 *
 * Metadata is the caller's memory, holds offsets and page numbers only and may lie anywhere. It
 * must read as zeros; a sparse mapping serves best, since only what is used gets touched. Up to the
 * frontier, bytes a page at most:
 *
 *   0.125     a bit for each page: free or not
 *   0.125     what a group of 64 pages is, and the links of the free lists
 *   1         a state byte, written for the first page of a block in use only: what catches a wrong
 *             free. 4096 pages share a page of it, and large blocks touch few of those
 *   0.031     tree form only, for each mobility: the trees, in place of the lists' links
 *
 * That is 1.25 (1.28) bytes a page for small blocks, and 0.27 where blocks are of 16 MiB and more;
 * and a bit for each 4096 bytes of that.
 *
 * Thread safety: all functions but init may be called by any thread, and take one zone's lock for
 * a time that does not depend on the number of pages (exceptions are named). The lock is a futex of
 * one process: metadata in shared memory may be moved between processes, but not used by two at
 * once. Nothing here allocates, prints (but validate, which logs), or touches errno.
 *
 * Sources: K. Knowlton, "A fast storage allocator", CACM 8(10), 1965; D. Knuth, The Art of Computer
 * Programming, vol. 1, 2.5, algorithms R and S. Taking and freeing parts of blocks follows from
 * the decomposition of a range into the fewest blocks, which is unique. Watermarks, mobility, page
 * blocks and the reports are those of the Linux kernel (Documentation/admin-guide/sysctl/vm.rst,
 * Documentation/filesystems/proc.rst). Caches: J. Bonwick, J. Adams, "Magazines and Vmem", USENIX
 * 2001.
 */
#ifndef QUIRE_BUDDY_H
#define QUIRE_BUDDY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define QUIRE_BUDDY_MAX_ORDER 28 /* the highest max_order: blocks of 2^28 pages, 1 TiB */
#define QUIRE_BUDDY_MAX_ZONES 16
#define QUIRE_BUDDY_MAX_ZONE_PAGES (UINT32_MAX - 1023) /* 16 TiB of 4 KiB pages, nearly */
#define QUIRE_BUDDY_NAME_BYTES 16 /* of a zone's name, terminator included; the rest is cut */
#define QUIRE_BUDDY_ALIGNMENT 64  /* of the metadata, bytes */
#define QUIRE_BUDDY_PAGE_BLOCK                                        \
    512u /* pages that have one mobility; 2^max_order if that is less \
          */

typedef uint32_t quire_page; /* a page's number; UINT32_MAX is none */

struct quire_buddy; /* lies at the start of the metadata */

struct quire_buddy_zone {
    quire_page first;
    uint32_t n_pages; /* 1 to QUIRE_BUDDY_MAX_ZONE_PAGES; first + n_pages <= UINT32_MAX */
    const char *name; /* for the reports, copied; NULL: "zone0", "zone1" and so on */
};

/*
 * How free blocks are found. Both find one if there is one, catch the same mistakes and take time
 * that does not depend on how many blocks there are.
 *
 *   LISTS  a list for each order, the block freed last first: the faster, constant time
 *   TREE   complete binary trees with the largest free block below each node, the lowest address
 *          first: a step for each doubling of the zone; what is in use gathers at the bottom
 */
enum quire_buddy_form { QUIRE_BUDDY_LISTS, QUIRE_BUDDY_TREE };

/*
 * How much of a zone is kept for those who may go below its `min` watermark.
 *
 *   NONE   nothing: min = low = high = 0
 *   LINUX  as the kernel does: sqrt(16 * KiB of all zones) KiB, at least 128 KiB, at most 256 MiB,
 *          shared out in proportion to size, is min (a page is taken for 4 KiB); low lies above it,
 *          and high above low, by the larger of min / 4 and 0.1 % of the zone
 */
enum quire_buddy_watermarks { QUIRE_BUDDY_NO_WATERMARKS, QUIRE_BUDDY_LINUX_WATERMARKS };

struct quire_buddy_config {
    unsigned max_order;                   /* of blocks: 0 to QUIRE_BUDDY_MAX_ORDER */
    unsigned n_zones;                     /* 1 to QUIRE_BUDDY_MAX_ZONES */
    const struct quire_buddy_zone *zones; /* disjoint, in any order; read by init only */
    enum quire_buddy_form form;
    bool by_mobility; /* keep free pages apart by mobility; else it is ignored */
    enum quire_buddy_watermarks watermarks;
};

/* How easily what is allocated can be got rid of. The values are those of the kernel, but that 0
 * is movable. */
enum quire_buddy_mobility {
    QUIRE_BUDDY_MOVABLE,
    QUIRE_BUDDY_UNMOVABLE,
    QUIRE_BUDDY_RECLAIMABLE,
    QUIRE_BUDDY_N_MOBILITIES
};

/*
 * What an allocation wants beside its size. A NULL pointer in its place stands for all zero: any
 * zone, in the order of the configuration, movable. Zero the fields you do not name: where more
 * are added, zero will mean what this version does.
 *
 * Zones are tried in order: first those that stay at or above `low`, then those that stay at or
 * above `min`, then, for those who may, the rest.
 */
struct quire_buddy_request {
    unsigned n_zones;                    /* which zones may serve it, the preferred first; 0: all */
    uint8_t zone[QUIRE_BUDDY_MAX_ZONES]; /* indexes into the configuration's zones */
    uint8_t mobility;                    /* enum quire_buddy_mobility */
    bool below_min;                      /* may use what `min` keeps */
};

/* Bytes of metadata that init wants for `config`; 0 if the configuration is invalid. */
size_t quire_buddy_metadata_bytes(const struct quire_buddy_config *config);

/*
 * Makes a buddy system, all of whose pages are fresh, in `metadata`: zeroed, aligned to
 * QUIRE_BUDDY_ALIGNMENT (best to a page), alive as long as the buddy system is used. Touches only
 * the first few hundred bytes for each zone, whatever the number of pages. There is nothing to
 * undo: give the memory back.
 *
 * Returns 0 and *buddy == metadata; -EINVAL: invalid configuration or alignment; -ENOSPC:
 * metadata_bytes is less than quire_buddy_metadata_bytes(); -EEXIST: metadata is not zeroed.
 * Not thread-safe.
 */
int quire_buddy_init(const struct quire_buddy_config *config, void *metadata, size_t metadata_bytes,
                     struct quire_buddy **buddy) __attribute__((warn_unused_result));

/*
 * Takes a block of 2^order pages and stores its first page in *page. `request` may be NULL.
 * Returns 0; -ENOMEM: no zone of the request has one; -EAGAIN: one has, but its `min` watermark
 * keeps it: free something and try again; -EINVAL: order is above max_order, or a zone or the
 * mobility of the request does not exist.
 */
int quire_buddy_alloc(struct quire_buddy *buddy, const struct quire_buddy_request *request,
                      unsigned order, quire_page *page) __attribute__((warn_unused_result));

/*
 * Takes exactly n_pages contiguous pages, 1 to 2^max_order, and stores the first in *page. It is a
 * multiple of align_pages, a power of two up to 2^max_order; 0 stands for the least power of two
 * >= n_pages. A smaller alignment wastes less at the frontier. What is taken is a row of blocks,
 * the fewest that make up the range: free it with quire_buddy_free_range().
 * Returns 0; -ENOMEM: no free block of that alignment and size rounded up to a power of two, and
 * (from 33 pages on) no room at the frontier; -EAGAIN: as quire_buddy_alloc(); -EINVAL: n_pages,
 * align_pages or the request is invalid.
 */
int quire_buddy_alloc_exact(struct quire_buddy *buddy, const struct quire_buddy_request *request,
                            uint32_t n_pages, uint32_t align_pages, quire_page *page)
    __attribute__((warn_unused_result));

/*
 * Gives back the allocated block that begins at `page` and has this order. Returns 0; -EINVAL and
 * nothing is changed: no such block is allocated. So a block that is free already, a page inside
 * a block, a wrong order and a page of no zone are always found out, at constant cost. (What cannot
 * be: that a block was freed and handed out again since.)
 */
int quire_buddy_free(struct quire_buddy *buddy, quire_page page, unsigned order)
    __attribute__((warn_unused_result));

/*
 * Gives back any range of allocated pages of one zone: part of a block, several blocks, or both;
 * what stays of a block is split in the metadata only. Takes time in proportion to the number of
 * blocks in the range. Returns 0; -EINVAL and nothing is changed: n_pages is 0, or some page of the
 * range is not allocated or not in the zone of the first.
 */
int quire_buddy_free_range(struct quire_buddy *buddy, quire_page page, uint32_t n_pages)
    __attribute__((warn_unused_result));

/*
 * Makes a range of n_pages allocated pages new_n_pages long where it lies, by taking the pages
 * behind it. Takes time in proportion to the number of blocks in both. Returns 0; -ENOMEM and
 * nothing is changed: those pages are not all free, or not in the zone; -EINVAL: n_pages is 0,
 * new_n_pages is less, or some page of the range is not allocated.
 */
int quire_buddy_try_extend(struct quire_buddy *buddy, quire_page page, uint32_t n_pages,
                           uint32_t new_n_pages) __attribute__((warn_unused_result));

/*
 * Many blocks of one order under one taking of the lock. alloc: stores up to n first pages in
 * pages[0], pages[1] ... and returns how many, 0 or fewer than n when there is no more (or order
 * or request is invalid). free: gives back n blocks; returns 0, or -EINVAL when some were no
 * allocated block of that order: these are skipped, all others are free then.
 */
size_t quire_buddy_alloc_bulk(struct quire_buddy *buddy, const struct quire_buddy_request *request,
                              unsigned order, quire_page *pages, size_t n);
int quire_buddy_free_bulk(struct quire_buddy *buddy, unsigned order, const quire_page *pages,
                          size_t n);

/*
 * Sets pages aside. reserve: pages that must not be handed out, as those of a hole or a device;
 * all are free, else -EBUSY and nothing is changed. offline: pages that go, in two steps: what is
 * free goes at once; blocks in use that touch the range will go when they are freed, whole, and
 * are counted in *n_pending (pages; may be NULL). Call it again to see how many are left. What lies
 * in threads' caches is left alone and counted: drain them. online: gives pages that are reserved
 * or offline back, or takes back that they were to go. Take time in proportion to the number of
 * blocks. Return 0; -EINVAL: n_pages is 0, or the range does not lie in one zone, or (online) some
 * page is neither set aside nor about to be.
 */
int quire_buddy_reserve(struct quire_buddy *buddy, quire_page page, uint32_t n_pages)
    __attribute__((warn_unused_result));
int quire_buddy_offline(struct quire_buddy *buddy, quire_page page, uint32_t n_pages,
                        uint32_t *n_pending) __attribute__((warn_unused_result));
int quire_buddy_online(struct quire_buddy *buddy, quire_page page, uint32_t n_pages)
    __attribute__((warn_unused_result));

enum quire_buddy_state {
    QUIRE_BUDDY_FRESH,
    QUIRE_BUDDY_FREE,
    QUIRE_BUDDY_ALLOCATED,
    QUIRE_BUDDY_CACHED, /* free, in a thread's cache */
    QUIRE_BUDDY_OFFLINE,
    QUIRE_BUDDY_RESERVED,
};

struct quire_buddy_block {
    enum quire_buddy_state state;
    quire_page head;                    /* first page of the page's block; fresh: the page */
    unsigned order;                     /* of the block; fresh: 0 */
    unsigned zone;                      /* index into the configuration's zones */
    enum quire_buddy_mobility mobility; /* of the page block that the page lies in */
};

/* Tells which block `page` lies in. Returns 0; -EINVAL: it is in no zone. */
int quire_buddy_block(struct quire_buddy *buddy, quire_page page, struct quire_buddy_block *block);

/* Watermarks */

struct quire_buddy_marks {
    uint32_t min, low, high; /* pages */
};

/* Returns 0; -EINVAL: there is no such zone, or not min <= low <= high <= the zone's pages. */
int quire_buddy_marks(struct quire_buddy *buddy, unsigned zone, struct quire_buddy_marks *marks);
int quire_buddy_set_marks(struct quire_buddy *buddy, unsigned zone,
                          const struct quire_buddy_marks *marks)
    __attribute__((warn_unused_result));

/*
 * Calls watch(context, zone, true) when the free and fresh pages of a zone fall below `low`, and
 * with false when they are back at `high`: each once, until the other. In the thread whose call
 * made it so, at its end, with no lock held: `watch` may call this buddy system. One watcher; NULL
 * takes it off, for which no other thread may be in a call. It is a pointer of this process: set it
 * anew after the metadata moved to another.
 */
void quire_buddy_watch(struct quire_buddy *buddy,
                       void (*watch)(void *context, unsigned zone, bool is_low), void *context);

/* Caches of a thread */

/*
 * Blocks of orders 0 to 9 that one thread keeps for what it allocates next: no lock, no search.
 * A cache is the caller's memory, of this process, used by one thread at a time. It takes and gives
 * in batches. Its blocks are free to nobody else: drain it when idle, and before its memory goes.
 */
struct quire_buddy_cache;
#define QUIRE_BUDDY_CACHE_MAX_ORDER 9
size_t quire_buddy_cache_bytes(void);

/*
 * Makes an empty cache in `memory` (aligned to QUIRE_BUDDY_ALIGNMENT, quire_buddy_cache_bytes()
 * long) for allocations that want what `request` says (copied; NULL: as in alloc). It keeps at most
 * max_pages of each order, but up to 4 blocks anyway, and no more than 64 blocks; 0 stands for 512.
 * Returns 0 and *cache == memory; -EINVAL: an invalid request, or alignment.
 */
int quire_buddy_cache_init(struct quire_buddy *buddy, const struct quire_buddy_request *request,
                           uint32_t max_pages, void *memory, struct quire_buddy_cache **cache)
    __attribute__((warn_unused_result));

/*
 * As quire_buddy_alloc and quire_buddy_free, with the cache in between. Orders above 9 pass through
 * it, as does what is freed to a zone or mobility that the cache is not for. A block may be freed
 * to any cache, whoever allocated it. Wrong frees are caught as without, at once; of two threads
 * that free a block at the same time, one is told.
 */
int quire_buddy_cache_alloc(struct quire_buddy_cache *cache, unsigned order, quire_page *page)
    __attribute__((warn_unused_result));
int quire_buddy_cache_free(struct quire_buddy_cache *cache, quire_page page, unsigned order)
    __attribute__((warn_unused_result));

/* Gives all blocks back to their zones; returns how many pages. */
size_t quire_buddy_cache_drain(struct quire_buddy_cache *cache);

/* Reports */

/*
 * The state of one zone, in pages. At any time
 *     n_pages = n_allocated + n_free + n_fresh + n_reserved + n_offline,
 *     n_fresh = first + n_pages - frontier.
 */
struct quire_buddy_counts {
    quire_page first;
    uint32_t n_pages;
    quire_page frontier;
    uint32_t n_allocated; /* what lies in threads' caches included */
    uint32_t n_free;      /* once used, or skipped at the frontier; now free */
    uint32_t n_fresh;     /* never used */
    uint32_t n_reserved, n_offline;
    size_t metadata_bytes; /* what the zone's metadata holds of memory, if it is sparse */
};

/* Returns 0; -EINVAL: there is no such zone. Constant time. */
int quire_buddy_counts(struct quire_buddy *buddy, unsigned zone, struct quire_buddy_counts *counts);

/* The sum of metadata_bytes over the zones. Takes no lock: a few loads. */
size_t quire_buddy_metadata_held(const struct quire_buddy *buddy);

/* Free blocks of each order, for each mobility; without by_mobility all are movable. */
struct quire_buddy_free_blocks {
    uint32_t n_blocks[QUIRE_BUDDY_N_MOBILITIES][QUIRE_BUDDY_MAX_ORDER + 1];
};

/*
 * Counts a zone's free blocks; fresh pages are in none. Here as in the functions below the zone's
 * lock is held for a time in proportion to the number of its blocks. Returns 0; -EINVAL: there is
 * no such zone.
 */
int quire_buddy_free_blocks(struct quire_buddy *buddy, unsigned zone,
                            struct quire_buddy_free_blocks *blocks);

/*
 * Calls visit(context, page, order) for each free block of order min_order and above, by rising
 * address; fresh pages are in no block and not visited. The zone's lock is held meanwhile: nobody
 * can take the block while `visit` works on its pages (to drop their contents, say), and `visit`
 * must not call this buddy system and should be short. It returns false to end the walk. Returns 0;
 * -EINVAL: there is no such zone.
 */
int quire_buddy_each_free(struct quire_buddy *buddy, unsigned zone, unsigned min_order,
                          bool (*visit)(void *context, quire_page page, unsigned order),
                          void *context);

/*
 * How fragmented a zone is for allocations of an order, in thousandths, as the kernel's debugfs
 * shows it (extfrag/). fresh pages are left out of both.
 *
 *   unusable_index       0 to 1000: the part of free pages that is in blocks too small for it
 *   fragmentation_index  -1000: the allocation would succeed; else towards 0 it would fail for lack
 *                        of free pages, towards 1000 for fragmentation
 *
 * Return the index; -EINVAL (which is neither): there is no such zone, or order is above max_order.
 */
int quire_buddy_unusable_index(struct quire_buddy *buddy, unsigned zone, unsigned order);
int quire_buddy_fragmentation_index(struct quire_buddy *buddy, unsigned zone, unsigned order);

/*
 * Writes text as the kernel lays it out: one line a zone with the number of free blocks of each
 * order from 0 to max_order, as /proc/buddyinfo; the same for each mobility, and the number of page
 * blocks of each, as /proc/pagetypeinfo. Fresh pages are left out of the first; the page blocks
 * counted are those up to the frontier. At most n_bytes with the terminator, which is always
 * written if n_bytes > 0. Return the length of the whole text without it, as snprintf does.
 */
size_t quire_buddy_print(struct quire_buddy *buddy, char *buffer, size_t n_bytes);
size_t quire_buddy_print_types(struct quire_buddy *buddy, char *buffer, size_t n_bytes);

/*
 * Recomputes every list, tree and counter from the blocks and checks every invariant; holds each
 * zone's lock for a time in proportion to its used pages. Returns 0, or -EUCLEAN with the reason
 * logged.
 */
int quire_buddy_validate(struct quire_buddy *buddy);

/*
 * fork: take all locks before, release them after, in the parent and in the child, so that the
 * child finds every zone consistent. Between the two no other function may be called by this
 * thread.
 */
void quire_buddy_lock_all(struct quire_buddy *buddy);
void quire_buddy_unlock_all(struct quire_buddy *buddy);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
