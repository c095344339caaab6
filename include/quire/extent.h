/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quire/extent.h: placement of extents in a linear space.
 *
 * A space is [0, length) in units that its user chooses: bytes of a file, pages of an arena, slots
 * of a pool. Extents are placed in it without gap or overlap; what lies between them are holes. A
 * hole is coalesced with both its neighbours at once, so two holes never touch. Nothing of the
 * managed space is ever read or written: it may be a file, a device or another process's memory.
 *
 *     | extent | hole |  extent  | extent |   hole   | extent |      hole      |
 *     0                                                                      length
 *
 * An extent is held by its handle, not by its offset: compaction changes offsets, never handles. A
 * handle that is no longer valid is found out at constant cost: freed twice, from another space,
 * made up. (What can't be found out: after 2^32 - 1 further allocations in the space, a
 * freed handle's number may be given out again.)
 *
 * Policies, chosen at init; n holes:
 *
 *                             which hole                                    alloc      free, resize
 *   QUIRE_EXTENT_TLSF         a good fit: two-level segregated fit          O(1)       O(1)
 *   QUIRE_EXTENT_FIRST        the lowest that fits                          O(log n)   O(log n)
 *   QUIRE_EXTENT_NEXT         the lowest that ends above the end of what    O(log n)   O(log n)
 *                             was allocated last; if none, the lowest
 *   QUIRE_EXTENT_BEST         the smallest that fits, the lowest of equals  O(log n)   O(log n)
 *   QUIRE_EXTENT_WORST        the largest, the lowest of equals             O(log n)   O(log n)
 *
 * An extent is placed at the lowest aligned offset of its hole. With an alignment above 1 the last
 * four may look at holes that are long enough but badly aligned, one after the other: O(k log n)
 * for k of those. TLSF's cost stays bounded, and it fails only if
 *   - no hole of its request's size class fits among the first 256 looked at, and
 *   - no hole is at least as long as the class above length + alignment - 1 begins. Classes are
 *     1 unit wide up to 63 units, then at most 1/32 of their length.
 *
 * Metadata is the caller's memory. It holds no pointers, so it may be copied, mapped by several
 * processes at different addresses, or saved with a file and opened again (on a machine of the same
 * byte order). 7.2 KiB, and for each extent that may be held at once 64 bytes (80 for FIRST and
 * NEXT); only what was ever in use is touched.
 *
 * Thread safety: none. One thread at a time may use a space, the caller's lock sees to that.
 * Different spaces are independent. Nothing here allocates, blocks, touches errno or prints, but
 * validate and open, which log why they fail. Metadata found to be corrupt in passing is logged and
 * ends the process before the damage spreads.
 *
 * Sources: M. Masmano, I. Ripoll, A. Crespo, J. Real, "TLSF: a new dynamic memory allocator for
 * real-time systems", ECRTS 2004; D. Knuth, The Art of Computer Programming, vol. 1, 2.5;
 * G. Adelson-Velsky, E. Landis, "An algorithm for the organization of information", 1962.
 */
#ifndef QUIRE_EXTENT_H
#define QUIRE_EXTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define QUIRE_EXTENT_MAX_LENGTH (((uint64_t)1 << 56) - 1) /* of a space, units */
#define QUIRE_EXTENT_MAX_EXTENTS 0x7ffffffeu
#define QUIRE_EXTENT_ALIGNMENT 64 /* of the metadata, bytes */
#define QUIRE_EXTENT_N_SIZES 56   /* of the histogram */

typedef uint64_t quire_extent; /* a handle; 0 is none */

struct quire_extent_space; /* lies at the start of the metadata */

enum quire_extent_policy {
    QUIRE_EXTENT_TLSF,
    QUIRE_EXTENT_FIRST,
    QUIRE_EXTENT_NEXT,
    QUIRE_EXTENT_BEST,
    QUIRE_EXTENT_WORST,
    QUIRE_EXTENT_N_POLICIES
};

/* "tlsf", "first", "next", "best", "worst"; NULL: no such policy. */
const char *quire_extent_policy_name(enum quire_extent_policy policy);

struct quire_extent_config {
    uint64_t length;      /* of the space: 0 to QUIRE_EXTENT_MAX_LENGTH */
    uint32_t max_extents; /* held at once: 1 to QUIRE_EXTENT_MAX_EXTENTS */
    enum quire_extent_policy policy;
};

/* Setting up */

/* Bytes of metadata that init wants for `config`; 0 if the configuration is invalid. */
size_t quire_extent_metadata_bytes(const struct quire_extent_config *config);

/*
 * Makes a space that is one hole, in `metadata`: any contents, aligned to QUIRE_EXTENT_ALIGNMENT,
 * alive as long as the space is used. There is nothing to undo: give the memory back.
 * Returns 0 and *space == metadata; -EINVAL: invalid configuration or alignment; -ENOSPC:
 * metadata_bytes is less than quire_extent_metadata_bytes().
 */
int quire_extent_init(const struct quire_extent_config *config, void *metadata,
                      size_t metadata_bytes, struct quire_extent_space **space)
    __attribute__((warn_unused_result));

/*
 * Goes on with a space whose metadata was copied, mapped or read back, and validates it: O(number
 * of extents). Returns 0 and *space == metadata; -EINVAL: bad alignment, or this is not the
 * metadata of a space made by this version; -ENOSPC: metadata_bytes is less than it needs, see
 * quire_extent_saved_bytes(); -EUCLEAN: it is damaged, with the reason logged.
 */
int quire_extent_open(void *metadata, size_t metadata_bytes, struct quire_extent_space **space)
    __attribute__((warn_unused_result));

/* What has to be saved: the first so many bytes of the metadata say all. */
size_t quire_extent_saved_bytes(const struct quire_extent_space *space);

/*
 * Allows more extents. The metadata must have been made longer where it lies, or copied to a larger
 * buffer. Returns 0; -EINVAL: max_extents is less than before or too large; -ENOSPC:
 * metadata_bytes is less than a space of so many extents needs. O(extents) for FIRST and NEXT,
 * O(1) for the others.
 */
int quire_extent_allow(struct quire_extent_space *space, uint32_t max_extents,
                       size_t metadata_bytes) __attribute__((warn_unused_result));

/* Placing */

/*
 * Places an extent of `length` units, 1 or more, at a multiple of `alignment`, a power of two (1:
 * anywhere). Sets *extent, and *offset unless it is NULL. The alignment is kept by compaction.
 * Returns 0; -ENOMEM: no hole fits; -ENOSPC: max_extents are held already; -EINVAL: length is 0 or
 * alignment is no power of two.
 */
int quire_extent_alloc(struct quire_extent_space *space, uint64_t length, uint64_t alignment,
                       quire_extent *extent, uint64_t *offset) __attribute__((warn_unused_result));

/*
 * Places an extent at exactly [offset, offset + length); compaction may move it anywhere unless it
 * is pinned. O(log n) for FIRST and NEXT; for the others, the number of pieces between `offset` and
 * the place of the last call, so a pass in either direction is O(1) each.
 * Returns as alloc; -ENOMEM: not all of it is free; -EINVAL: length is 0 or it is not in the space.
 */
int quire_extent_alloc_at(struct quire_extent_space *space, uint64_t offset, uint64_t length,
                          quire_extent *extent) __attribute__((warn_unused_result));

/* Gives an extent back. Returns 0; -EINVAL and nothing is changed: there is no such extent. */
int quire_extent_free(struct quire_extent_space *space, quire_extent extent)
    __attribute__((warn_unused_result));

/*
 * Makes an extent shorter or longer where it lies, pinned or not. Returns 0; -ENOMEM and nothing is
 * changed: the hole behind it is too short; -EINVAL: length is 0, or there is no such extent.
 */
int quire_extent_resize(struct quire_extent_space *space, quire_extent extent, uint64_t length)
    __attribute__((warn_unused_result));

/*
 * Moves the end of the space. Returns 0; -EBUSY and nothing is changed: an extent lies beyond the
 * new end (compact first); -EINVAL: above QUIRE_EXTENT_MAX_LENGTH.
 */
int quire_extent_set_length(struct quire_extent_space *space, uint64_t length)
    __attribute__((warn_unused_result));

/*
 * A pinned extent is not moved by compaction. Pins are counted, up to 65535. Returns 0; -EINVAL: no
 * such extent, or (unpin) it is not pinned; -EOVERFLOW: too many pins.
 */
int quire_extent_pin(struct quire_extent_space *space, quire_extent extent);
int quire_extent_unpin(struct quire_extent_space *space, quire_extent extent);

/* Looking */

struct quire_extent_piece {
    quire_extent extent; /* 0: a hole */
    uint64_t offset;
    uint64_t length;
    uint64_t alignment; /* as allocated; holes: 1 */
    uint32_t n_pins;
};

/* Where an extent lies now. Returns 0; -EINVAL: there is no such extent. O(1). */
int quire_extent_find(const struct quire_extent_space *space, quire_extent extent,
                      struct quire_extent_piece *piece);

/*
 * Calls visit(context, piece) for each extent and hole from 0 upwards, until it returns false. It
 * must not change the space.
 */
void quire_extent_each(const struct quire_extent_space *space,
                       bool (*visit)(void *context, const struct quire_extent_piece *piece),
                       void *context);

/* At any time  length = n_used + n_free. Units, but where it says bytes. */
struct quire_extent_stats {
    uint64_t length;
    uint64_t n_used;
    uint64_t n_free;
    uint64_t largest; /* hole */
    uint32_t n_extents;
    uint32_t n_holes;
    uint32_t max_extents;
    size_t metadata_bytes; /* touched so far */
};

/* O(1) for FIRST and NEXT, O(log n) for BEST and WORST; TLSF: the holes in the largest's class. */
void quire_extent_stats(const struct quire_extent_space *space, struct quire_extent_stats *stats);

/*
 * External fragmentation: 1 - largest / n_free, the part of what is free that one request can't
 * get; 0 where nothing is free.
 */
double quire_extent_fragmentation(const struct quire_extent_stats *stats);

/* n_holes[i]: holes of 2^i to 2^(i+1) - 1 units. O(number of extents and holes). */
void quire_extent_histogram(const struct quire_extent_space *space,
                            uint32_t n_holes[QUIRE_EXTENT_N_SIZES]);

/*
 * Recomputes every link, index and counter and checks every invariant, in time O(n log n).
 * Returns 0, or -EUCLEAN with the reason logged. Safe on metadata damaged in any way behind the
 * first bytes that say how long it is, which open compares with metadata_bytes.
 */
int quire_extent_validate(const struct quire_extent_space *space);

/* Relocation */

/*
 * Moves the contents of an extent: `length` units from `from` to `to`, which is lower; the two may
 * overlap, as for memmove. It must not change the space. Returns
 *   0    moved: go on
 *   > 0  moved, and compaction is to stop here
 *   < 0  not moved, what was at `from` is still there: the extent stays, compaction ends, and
 *        returns this
 */
typedef int quire_extent_move(void *context, quire_extent extent, uint64_t from, uint64_t to,
                              uint64_t length);

struct quire_extent_compaction {
    uint64_t wanted; /* a hole at least so long is wanted; 0: compact all */
    uint64_t budget; /* move at most so many units, but always one extent, however long */
    quire_extent_move *move;
    void *context;
    uint64_t n_moved;         /* result: units moved */
    uint32_t n_extents_moved; /* result */
};

/*
 * One step of compaction; call again to go on, the space itself remembers how far it got, and may
 * be used in between. Extents slide downwards over holes and keep their order, their handles and
 * their alignment. Pinned ones stay; nothing jumps over them.
 *
 *   wanted = 0  from the lowest hole upwards, until all holes lie below pinned extents or at the
 *               end (or are gaps that an alignment needs)
 *   wanted > 0  between two holes, so that those and all holes between them become one of at least
 *               `wanted` units: where the fewest units have to be moved for that
 *
 * Returns 0: done, there is no more to move or a hole of `wanted` units; -EAGAIN: budget used up,
 * or `move` stopped it; -ENOMEM (wanted > 0): no amount of sliding makes such a hole; whatever
 * negative value `move` returned. The space is valid and nothing is lost in every case. Looks at
 * each piece once (wanted = 0: those above where it got to; wanted > 0 and
 * alignments that leave gaps: those of the window at each of its holes).
 */
int quire_extent_compact(struct quire_extent_space *space,
                         struct quire_extent_compaction *compaction)
    __attribute__((warn_unused_result));

struct quire_extent_advice {
    bool pays;          /* by the rule below */
    uint64_t n_to_move; /* units that have to be moved: exactly what compact would move */
    uint64_t largest;   /* hole now */
    uint64_t largest_after;
};

/*
 * Tells what compaction for `wanted` (0: of all) would do, without doing it. It pays
 *   wanted > 0  if no hole is long enough now and there is one after
 *   wanted = 0  if at least half of what is free is out of reach for one request (fragmentation
 *               >= 0.5) and the largest hole grows by at least as much as has to be moved
 *
 * Why these numbers: docs/adr/0009. O(number of extents).
 */
void quire_extent_advise(const struct quire_extent_space *space, uint64_t wanted,
                         struct quire_extent_advice *advice);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
