/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quire/shared_heap.h: blocks of memory that processes share, counted by reference.
 *
 *     table (a memfd)   | header, lock | members | blocks: place, length, who holds it | extents |
 *     data  (a memfd)   | block |  hole  |   block   | block |        hole                       |
 *
 * A heap is two memfds. Its members, processes that trust each other, map both: any of them
 * allocates, holds and drops blocks. Who is not to be trusted gets the data alone (quire_share_send
 * with the first descriptor) and is told where a block lies, by offset and length; it can garble
 * what is in the blocks, if the heap was not made read-only for others, and nothing else. Neither
 * can be truncated. Everybody maps them wherever they like.
 *
 * A block lives as long as one member holds it. Within a process holds are counted; across
 * processes each member is one bit. A member that is killed, at any instruction, leaves the table
 * as it was before its last step or after it; its holds are dropped when somebody notices
 * (quire_shared_heap_reap, or whoever needs room or joins).
 *
 * To hand a block over: hold it, tell the other its name, let it hold it, drop it. A name that is
 * out of date is found out (but for one in 2^32 reuses of its place).
 *
 * Thread safety: all calls may be made by several threads of a member, but for join and leave.
 * alloc, hold, drop and grow take a lock that members share; it is a robust one. A fork's child is
 * no member: it forgets the parent's heap (quire_shared_heap_forget) and joins by itself.
 *
 * Placement is TLSF's (quire/extent.h), and the units are QUIRE_SHARED_HEAP_UNIT bytes.
 */
#ifndef QUIRE_SHARED_HEAP_H
#define QUIRE_SHARED_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define QUIRE_SHARED_HEAP_UNIT 64u        /* bytes: blocks are multiples of it, and aligned to it */
#define QUIRE_SHARED_HEAP_MAX_MEMBERS 64u /* at once */
#define QUIRE_SHARED_HEAP_MAX_BLOCKS (1u << 20)

struct quire_shared_heap; /* a process's view, on its heap */

enum quire_shared_heap_fd {
    QUIRE_SHARED_HEAP_DATA,
    QUIRE_SHARED_HEAP_TABLE,
    QUIRE_SHARED_HEAP_FDS
};

struct quire_shared_heap_config {
    uint64_t n_bytes;    /* of data, now: rounded up to pages */
    uint64_t max_bytes;  /* it may grow to that; less than n_bytes: it is of fixed size */
    uint32_t max_blocks; /* at once; 1 to QUIRE_SHARED_HEAP_MAX_BLOCKS */
    bool read_only;      /* nobody who maps the data from now on can write: the creator alone */
};

struct quire_block {
    uint32_t index, stamp;   /* its name in the table */
    uint64_t offset, length; /* in the data, bytes; for who has no table */
};

/*
 * Makes a heap, and joins it. Returns 0; -EINVAL: configuration; -EOPNOTSUPP: read_only, and the
 * kernel has no such seal (Linux 5.1); -ENOMEM, -EMFILE and the like.
 */
int quire_shared_heap_create(const struct quire_shared_heap_config *config,
                             struct quire_shared_heap **heap) __attribute__((warn_unused_result));

/* The descriptors, to be handed over: both to a member, the first to somebody else. They stay the
 * heap's. */
void quire_shared_heap_fds(const struct quire_shared_heap *heap, int fds[QUIRE_SHARED_HEAP_FDS]);

/*
 * Joins with descriptors that were handed over, which stay the caller's. Returns 0; -EPROTO: that
 * is no heap, or not one of this version and word size; -EPERM: it could be truncated; -EUSERS:
 * too many members; -EUCLEAN: it is damaged, with the reason logged; or from the kernel.
 */
int quire_shared_heap_join(const int fds[QUIRE_SHARED_HEAP_FDS], struct quire_shared_heap **heap)
    __attribute__((warn_unused_result));

/* Drops what this process holds, and leaves. NULL is allowed. */
void quire_shared_heap_leave(struct quire_shared_heap *heap);

/* In a fork's child: frees the view, and changes nothing for the parent. */
void quire_shared_heap_forget(struct quire_shared_heap *heap);

/*
 * Allocates a block of `length` bytes, rounded up to units, at a multiple of `alignment` (a power
 * of two up to 2^30), and holds it once. Its contents are what was there before: zeros, or
 * somebody's. Returns 0; -ENOMEM: no hole fits; -ENOSPC: max_blocks are there; -EINVAL; -EUCLEAN.
 */
int quire_shared_heap_alloc(struct quire_shared_heap *heap, uint64_t length, uint64_t alignment,
                            struct quire_block *block) __attribute__((warn_unused_result));

/*
 * Holds a block that somebody holds. Returns 0, and sets offset and length; -ENOENT: there is no
 * such block any more; -EOVERFLOW: 2^32 - 1 holds.
 */
int quire_shared_heap_hold(struct quire_shared_heap *heap, struct quire_block *block)
    __attribute__((warn_unused_result));

/* Drops one hold; the last one of all frees the block. Returns 0; -ENOENT: this process has none.
 */
int quire_shared_heap_drop(struct quire_shared_heap *heap, const struct quire_block *block);

/* Where a block that this process holds lies here; NULL: it does not hold it. */
void *quire_shared_heap_address(const struct quire_shared_heap *heap,
                                const struct quire_block *block);

/*
 * For who has the data alone: where [offset, offset + length) lies, or NULL if it is not within the
 * n_bytes mapped at `data`. Whatever a peer says may be passed here.
 */
void *quire_shared_heap_at(void *data, size_t n_bytes, uint64_t offset, uint64_t length);

/* Makes the data longer. 0; -EINVAL: beyond max_bytes, or shorter; -EUCLEAN; or from the kernel. */
int quire_shared_heap_grow(struct quire_shared_heap *heap, uint64_t n_bytes)
    __attribute__((warn_unused_result));

/* Drops what members hold that are gone. Returns how many were found; -EUCLEAN. */
int quire_shared_heap_reap(struct quire_shared_heap *heap);

struct quire_shared_heap_stats { /* n_bytes = used_bytes + free_bytes */
    uint64_t n_bytes, max_bytes, used_bytes, free_bytes, largest_free_bytes;
    uint32_t n_blocks, max_blocks, n_members;
    uint64_t n_recovered; /* times that a member died with the lock, and the extents were rebuilt */
};
int quire_shared_heap_stats(struct quire_shared_heap *heap, struct quire_shared_heap_stats *stats);

/* Every invariant of the table; 0, or -EUCLEAN with the reason logged. */
int quire_shared_heap_validate(struct quire_shared_heap *heap);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
