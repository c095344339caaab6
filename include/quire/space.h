/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quire/space.h: virtual address spaces, over any format of quire/mmu.h, with frames from the buddy
 * system (quire/buddy.h). A machine to simulate with, and to learn from.
 *
 *     space A: areas, page tables --.
 *     space B: areas, page tables --+--> frames, counted: private, shared, or copied on write
 *
 * Pages have 4 KiB, or what the format's smallest is. What is mapped is filled with zeros at the
 * first access. A clone shares all frames until one side writes. Accessed and dirty flags are set
 * as the hardware does it. Frames hold real bytes, in memory of the image.
 *
 * Thread safety: one thread at a time for all spaces of a memory. The areas' array is the caller's;
 * nothing here allocates but frames.
 */
#ifndef QUIRE_SPACE_H
#define QUIRE_SPACE_H

#include <quire/buddy.h>
#include <quire/mmu.h>
#include <quire/tlb.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define QUIRE_SPACE_FRAME_BYTES 4096u

struct quire_space_memory {
    struct quire_image *image; /* all frames lie in writable memory of it */
    uint64_t start;            /* physical address of frame 0, a multiple of 64 KiB, not 0 */
    uint32_t n_frames;
    struct quire_buddy *buddy; /* frame i is its page i */
    uint32_t *references;      /* of each frame; zeros at first */
};

struct quire_space_area {
    uint64_t va, n_bytes;
    uint32_t rights; /* enum quire_mmu_rights */
    bool is_shared;  /* a clone writes to the same frames */
};

struct quire_space_counts {
    uint64_t n_accesses, n_refused;
    uint64_t n_zero_fills, n_copies, n_reuses; /* write to the last copy: no need to copy */
    uint64_t n_flushes; /* of pages, after a change that takes something away */
};

struct quire_space {
    struct quire_space_memory *memory;
    struct quire_mmu mmu;
    struct quire_tlb *tlb; /* NULL: none */
    uint32_t asid;
    uint32_t page_bytes; /* the format's smallest page */
    uint32_t n_areas, max_areas;
    struct quire_space_area *areas; /* sorted, disjoint */
    struct quire_space_counts counts;
};

/* A table of zeros, for the root of a format: physical address, or 0: there is no frame. */
uint64_t quire_space_take_table(struct quire_space_memory *memory, uint64_t n_bytes);
void quire_space_give_table(struct quire_space_memory *memory, uint64_t address, uint64_t n_bytes);

/*
 * An empty space: `mmu` has been set up over the memory's image with an empty root, which stays the
 * caller's. Returns 0; -EINVAL: the mmu has no pages (BARE, BASE_LIMIT).
 */
int quire_space_init(struct quire_space *space, struct quire_space_memory *memory,
                     const struct quire_mmu *mmu, struct quire_tlb *tlb, uint32_t asid,
                     struct quire_space_area *areas, uint32_t max_areas)
    __attribute__((warn_unused_result));

/* Unmaps all. */
void quire_space_deinit(struct quire_space *space);

/*
 * An area of pages that come at the first access. Returns 0; -EINVAL: not made of pages, or empty;
 * -EEXIST: it overlaps another area; -ENOSPC: there are max_areas.
 */
int quire_space_map(struct quire_space *space, uint64_t va, uint64_t n_bytes, uint32_t rights,
                    bool is_shared) __attribute__((warn_unused_result));

/* Takes a range away; areas are cut. Returns 0; -EINVAL; -ENOSPC: no room for the second half. */
int quire_space_unmap(struct quire_space *space, uint64_t va, uint64_t n_bytes)
    __attribute__((warn_unused_result));

/* Changes the rights of a range that is mapped as a whole. Returns 0; -EINVAL; -ENOENT: it is not;
 * -ENOSPC: no room for the parts. */
int quire_space_protect(struct quire_space *space, uint64_t va, uint64_t n_bytes, uint32_t rights)
    __attribute__((warn_unused_result));

/*
 * Maps the frames of a range of `from` at the same addresses in `to`: both write to the same. The
 * range lies in one area of `from`; pages that are not there yet come now. Returns 0; -EINVAL;
 * -ENOENT; -EEXIST; -ENOSPC; -ENOMEM; -EBUSY: the format can't map a frame twice (inverted). On
 * failure pages that were mapped in `to` are unmapped again.
 */
int quire_space_share(struct quire_space *from, struct quire_space *to, uint64_t va,
                      uint64_t n_bytes) __attribute__((warn_unused_result));

/* Makes the empty `to` a copy of `from`, as fork(2): private pages are copied on write. Returns as
 * share does; on failure `to` is empty. */
int quire_space_clone(struct quire_space *from, struct quire_space *to)
    __attribute__((warn_unused_result));

/*
 * An access of one byte: translates (by the TLB, if there is one), resolves page faults, sets
 * accessed and dirty flags. Returns 0 and the physical address; -EFAULT: no area, or not its
 * rights; -ENOMEM: no frame.
 */
int quire_space_access(struct quire_space *space, uint64_t va, enum quire_mmu_access access,
                       bool is_user, uint64_t *address) __attribute__((warn_unused_result));

/* Copies bytes in or out by the user's accesses. Return as access; what was copied before stays. */
int quire_space_read(struct quire_space *space, uint64_t va, void *bytes, size_t n_bytes)
    __attribute__((warn_unused_result));
int quire_space_write(struct quire_space *space, uint64_t va, const void *bytes, size_t n_bytes)
    __attribute__((warn_unused_result));

/* Checks areas, that tables map nothing outside of them, and frames in use. 0 or -EUCLEAN. */
int quire_space_validate(struct quire_space *space);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
