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
 *   frontier the first page of a zone that was never handed out. Pages from here on are fresh: they
 *            need no metadata, so an unused terabyte costs nothing
 *
 * Order of search: the free block of the smallest order that is large enough, the one freed last
 * first (its pages are warm), then fresh pages at the frontier; so the range in use stays compact.
 * A zone fails to give a block only if no such block is free in it, fresh pages included.
 *
 * Metadata is the caller's memory, holds offsets and page numbers only and may lie anywhere. It
 * must read as zeros; a sparse mapping serves best, since only what is used gets touched:
 *
 *   1 byte    a page of address space handed out so far, at most: only the heads of blocks have a
 *             byte written, but every 4096th page shares a page of metadata with its neighbours
 *   12 bytes  for 512 pages, once one of them heads a free block
 *   8 bytes   a page of each 512 in which a block below order 9 was ever free
 *
 * That is 1.02 bytes a page for a use in runs of 2 MiB and more, 9.02 at worst.
 *
 * Thread safety: all functions but init may be called by any thread, and take one zone's lock for
 * a time that does not depend on the number of pages (exceptions are named). The lock is a futex of
 * one process: metadata in shared memory may be moved between processes, but not used by two at
 * once. Nothing here allocates, prints (but validate, which logs), or touches errno.
 *
 * Sources: K. Knowlton, "A fast storage allocator", CACM 8(10), 1965; D. Knuth, The Art of Computer
 * Programming, vol. 1, 2.5, algorithms R and S. Taking and freeing parts of blocks follows from
 * the decomposition of a range into the fewest blocks, which is unique.
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
#define QUIRE_BUDDY_NAME_BYTES 16 /* of a zone's name, terminator included; the rest is cut */
#define QUIRE_BUDDY_ALIGNMENT 64  /* of the metadata, bytes */

typedef uint32_t quire_page; /* a page's number; UINT32_MAX is none */

struct quire_buddy; /* lies at the start of the metadata */

struct quire_buddy_zone {
    quire_page first;
    uint32_t n_pages; /* 1 or more; first + n_pages <= UINT32_MAX */
    const char *name; /* for quire_buddy_print, copied; NULL: "zone0", "zone1" and so on */
};

struct quire_buddy_config {
    unsigned max_order;                   /* of blocks: 0 to QUIRE_BUDDY_MAX_ORDER */
    unsigned n_zones;                     /* 1 to QUIRE_BUDDY_MAX_ZONES */
    const struct quire_buddy_zone *zones; /* disjoint, in any order; read by init only */
};

/*
 * Which zones may serve an allocation, the preferred one first. A list of n = 0 zones, as a NULL
 * pointer in its place, stands for all zones in the order of the configuration. Zero the fields
 * you do not name: where more are added, zero will mean what this version does.
 */
struct quire_buddy_zonelist {
    unsigned n;
    uint8_t zone[QUIRE_BUDDY_MAX_ZONES]; /* indexes into the configuration's zones */
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
 * Takes the block of 2^order pages that `from` finds first and stores its first page in *page.
 * Returns 0; -ENOMEM: no zone of the list has one; -EINVAL: order is above max_order or a zone
 * of the list does not exist.
 */
int quire_buddy_alloc(struct quire_buddy *buddy, const struct quire_buddy_zonelist *from,
                      unsigned order, quire_page *page) __attribute__((warn_unused_result));

/*
 * Takes exactly n_pages contiguous pages, 1 to 2^max_order, and stores the first in *page. It is a
 * multiple of align_pages, a power of two up to 2^max_order; 0 stands for the least power of two
 * >= n_pages. A smaller alignment wastes less at the frontier. What is taken is a row of blocks,
 * the fewest that make up the range: free it with quire_buddy_free_range().
 * Returns 0; -ENOMEM: no free block of that alignment and size rounded up to a power of two, and
 * no room at the frontier; -EINVAL: n_pages, align_pages or the zone list is invalid.
 */
int quire_buddy_alloc_exact(struct quire_buddy *buddy, const struct quire_buddy_zonelist *from,
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

enum quire_buddy_state { QUIRE_BUDDY_FRESH, QUIRE_BUDDY_FREE, QUIRE_BUDDY_ALLOCATED };

struct quire_buddy_block {
    enum quire_buddy_state state;
    quire_page head; /* first page of the block that the page lies in; fresh: the page */
    unsigned order;  /* of the block; fresh: 0 */
    unsigned zone;   /* index into the configuration's zones */
};

/* Tells which block `page` lies in. Returns 0; -EINVAL: it is in no zone. */
int quire_buddy_block(struct quire_buddy *buddy, quire_page page, struct quire_buddy_block *block);

/*
 * The state of one zone, in pages. At any time
 *     n_pages = n_allocated + n_free + n_fresh,   n_fresh = first + n_pages - frontier,
 *     n_free  = the sum of n_blocks[k] * 2^k.
 */
struct quire_buddy_counts {
    quire_page first;
    uint32_t n_pages;
    quire_page frontier;
    uint32_t n_allocated;
    uint32_t n_free;                              /* once used, now free */
    uint32_t n_fresh;                             /* never used */
    uint32_t n_blocks[QUIRE_BUDDY_MAX_ORDER + 1]; /* free blocks of each order */
    size_t metadata_bytes; /* what the zone's metadata holds of memory, if it is sparse */
};

/* Returns 0; -EINVAL: there is no such zone. Constant time. */
int quire_buddy_counts(struct quire_buddy *buddy, unsigned zone, struct quire_buddy_counts *counts);

/* The sum of metadata_bytes over the zones. Takes no lock: a few loads. */
size_t quire_buddy_metadata_held(const struct quire_buddy *buddy);

/*
 * Calls visit(context, page, order) for each free block of order min_order and above, the largest
 * first; fresh pages are on no list and not visited. The zone's lock is held meanwhile: nobody can
 * take the block while `visit` works on its pages (to drop their contents, say), and `visit` must
 * not call this buddy system and should be short. It returns false to end the walk. Returns 0;
 * -EINVAL: there is no such zone.
 */
int quire_buddy_each_free(struct quire_buddy *buddy, unsigned zone, unsigned min_order,
                          bool (*visit)(void *context, quire_page page, unsigned order),
                          void *context);

/*
 * Writes one line a zone as /proc/buddyinfo lays them out: the number of free blocks of each
 * order from 0 to max_order, fresh pages left out. At most n_bytes with the terminator, which is
 * always written if n_bytes > 0. Returns the length of the whole text without it, as snprintf does.
 */
size_t quire_buddy_print(struct quire_buddy *buddy, char *buffer, size_t n_bytes);

/*
 * Recomputes every list and counter from the blocks and checks every invariant; holds each zone's
 * lock for a time in proportion to its used pages. Returns 0, or -EUCLEAN with the reason logged.
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
