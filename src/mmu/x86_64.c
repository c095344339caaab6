/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x86_64: 4-level and 5-level paging (SDM 3A, 4.5; AMD APM 2, 5.3).
 *
 *     63 ... 57 | 56 .. 48 | 47 .. 39 | 38 .. 30 | 29 .. 21 | 20 .. 12 | 11 .. 0
 *      sign     |  PML5E   |  PML4E   |  PDPTE   |   PDE    |   PTE    | offset
 *                                       or 1 GiB   or 2 MiB   4 KiB
 */
#include "mmu/x86.h"

RADIX_INLINE enum radix_kind decode(const struct quire_mmu *mmu, unsigned level, uint64_t entry,
                                    struct radix_path *path)
{
    if ((entry & X86_PRESENT) == 0)
        return radix_fault(path, QUIRE_MMU_NOT_PRESENT);
    if ((entry & mmu->reserved) != 0)
        return radix_fault(path, QUIRE_MMU_RESERVED);
    path->rights = x86_narrow(mmu, entry, path->rights);
    path->next = entry & mmu->leaf_mask;
    if (level > 0 && (entry & X86_LARGE) == 0)
        return RADIX_TABLE;
    bool pat_bit = (entry & X86_LARGE) != 0;
    if (level > 0) {
        pat_bit = (entry & X86_PAT_LARGE) != 0;
        /* PML4E and PML5E have no PS; below it, address bits are reserved but for PAT */
        uint64_t low = mmu_mask(13, 9 * level - 1);
        if (level > 2 || (entry & low) != 0)
            return radix_fault(path, QUIRE_MMU_RESERVED);
        path->next &= ~(uint64_t)X86_PAT_LARGE;
    }
    path->rights = x86_rights(mmu, entry, pat_bit, path->rights);
    return RADIX_LEAF;
}

RADIX_INLINE struct radix_shape shape_48(const struct quire_mmu *mmu, unsigned half)
{
    return (struct radix_shape){12, 9, 4, 48, 8, true};
}

RADIX_INLINE struct radix_shape shape_57(const struct quire_mmu *mmu, unsigned half)
{
    return (struct radix_shape){12, 9, 5, 57, 8, true};
}

RADIX_INLINE struct radix_start begin(const struct quire_mmu *mmu, uint64_t va, unsigned va_bits)
{
    bool is_canonical = (uint64_t)((int64_t)(va << (64 - va_bits)) >> (64 - va_bits)) == va;

    return (struct radix_start){.va = mmu_bits(va, 0, va_bits),
                                .root = mmu->root,
                                .reason = is_canonical ? mmu->bad_root : QUIRE_MMU_NOT_CANONICAL};
}

RADIX_INLINE struct radix_start begin_48(const struct quire_mmu *mmu, uint64_t va)
{
    return begin(mmu, va, 48);
}

RADIX_INLINE struct radix_start begin_57(const struct quire_mmu *mmu, uint64_t va)
{
    return begin(mmu, va, 57);
}

static uint64_t leaf(const struct quire_mmu *mmu, unsigned level, unsigned page_shift,
                     uint64_t address, uint32_t rights)
{
    if (level > 2 || page_shift != 12 + 9 * level || (address & ~mmu->leaf_mask) != 0)
        return 0;
    return address | x86_attributes(mmu, rights, level > 0, true) |
           (level > 0 ? (uint64_t)X86_LARGE : 0);
}

static const char *level_name(const struct quire_mmu *mmu, unsigned level)
{
    static const char *const names[] = {"PTE", "PDE", "PDPTE", "PML4E", "PML5E"};
    return names[level];
}

static const struct radix_format format_48 = {shape_48, begin_48,    decode, x86_table,
                                              leaf,     x86_touched, 1};
static const struct radix_format format_57 = {shape_57, begin_57,    decode, x86_table,
                                              leaf,     x86_touched, 1};
#define SIZES ((uint64_t)1 << 12 | (uint64_t)1 << 21 | (uint64_t)1 << 30)

RADIX_DEFINE(x86_48, format_48, level_name, x86_describe, SIZES);
RADIX_DEFINE(x86_57, format_57, level_name, x86_describe, SIZES);
