/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x86_pae: 32-bit addresses, 64-bit entries (SDM 3A, 4.4).
 *
 *     31 30 | 29 .. 21 | 20 .. 12 | 11 .. 0
 *     PDPTE |   PDE    |   PTE    | offset
 *             or 2 MiB   4 KiB
 *
 * The processor loads the four PDPTEs with CR3. They have neither rights nor an accessed flag.
 */
#include "mmu/x86.h"

/* Bits 2:1 and 8:5. But bit 5: the processor looks at it when CR3 is loaded only, and QEMU, up to
 * 7.2 at least, sets it there as if it were the accessed flag: images have it. */
#define PDPTE_RESERVED (mmu_mask(1, 2) | mmu_mask(6, 3) | X86_NX)

RADIX_INLINE enum radix_kind decode(const struct quire_mmu *mmu, unsigned level, uint64_t entry,
                                    struct radix_path *path)
{
    if ((entry & X86_PRESENT) == 0)
        return radix_fault(path, QUIRE_MMU_NOT_PRESENT);
    if ((entry & (level == 2 ? mmu->reserved | PDPTE_RESERVED : mmu->reserved)) != 0)
        return radix_fault(path, QUIRE_MMU_RESERVED);
    path->next = entry & mmu->leaf_mask;
    if (level == 2)
        return RADIX_TABLE;
    path->rights = x86_narrow(mmu, entry, path->rights);
    if (level == 1 && (entry & X86_LARGE) == 0)
        return RADIX_TABLE;
    bool pat_bit = (entry & (level == 1 ? (uint64_t)X86_PAT_LARGE : (uint64_t)X86_LARGE)) != 0;
    if (level == 1) {
        if ((entry & mmu_mask(13, 8)) != 0)
            return radix_fault(path, QUIRE_MMU_RESERVED);
        path->next &= ~(uint64_t)X86_PAT_LARGE;
    }
    path->rights = x86_rights(mmu, entry, pat_bit, path->rights);
    return RADIX_LEAF;
}

RADIX_INLINE struct radix_shape shape(const struct quire_mmu *mmu, unsigned half)
{
    return (struct radix_shape){12, 9, 3, 32, 8, false};
}

RADIX_INLINE struct radix_start begin(const struct quire_mmu *mmu, uint64_t va)
{
    return (struct radix_start){.va = va,
                                .root = mmu->root,
                                .reason = va >> 32 == 0 ? QUIRE_MMU_OK : QUIRE_MMU_NOT_CANONICAL};
}

static uint64_t table(const struct quire_mmu *mmu, unsigned level, uint64_t address)
{
    if (level < 2)
        return x86_table(mmu, level, address);
    return (address & ~mmu->leaf_mask) == 0 ? address | X86_PRESENT : 0;
}

static uint64_t leaf(const struct quire_mmu *mmu, unsigned level, unsigned page_shift,
                     uint64_t address, uint32_t rights)
{
    if (level > 1 || page_shift != 12 + 9 * level || (address & ~mmu->leaf_mask) != 0)
        return 0;
    return address | x86_attributes(mmu, rights, level > 0, true) |
           (level > 0 ? (uint64_t)X86_LARGE : 0);
}

static uint64_t touched(const struct quire_mmu *mmu, unsigned level, bool is_leaf, uint64_t entry,
                        bool is_write)
{
    return level == 2 ? entry : x86_touched(mmu, level, is_leaf, entry, is_write);
}

static const char *level_name(const struct quire_mmu *mmu, unsigned level)
{
    static const char *const names[] = {"PTE", "PDE", "PDPTE"};
    return names[level];
}

static const struct radix_format format = {shape, begin, decode, table, leaf, touched, 1};

RADIX_DEFINE(x86_pae, format, level_name, x86_describe, (uint64_t)1 << 12 | (uint64_t)1 << 21);
