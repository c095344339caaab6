/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x86_32: two levels of 32-bit entries (SDM 3A, 4.3).
 *
 *     31 .. 22 | 21 .. 12 | 11 .. 0
 *       PDE    |   PTE    | offset
 *     or 4 MiB with CR4.PSE, whose bits 20:13 are bits 39:32 of the address (PSE-36)
 */
#include "mmu/x86.h"

RADIX_INLINE enum radix_kind decode(const struct quire_mmu *mmu, unsigned level, uint64_t entry,
                                    struct radix_path *path)
{
    if ((entry & X86_PRESENT) == 0)
        return radix_fault(path, QUIRE_MMU_NOT_PRESENT);
    path->rights = x86_narrow(mmu, entry, path->rights);
    path->next = entry & 0xfffff000;
    if (level == 1 && ((entry & X86_LARGE) == 0 || !mmu->pse))
        return RADIX_TABLE;
    bool pat_bit = (entry & X86_LARGE) != 0;
    if (level == 1) {
        if ((entry & mmu->reserved) != 0)
            return radix_fault(path, QUIRE_MMU_RESERVED);
        pat_bit = (entry & X86_PAT_LARGE) != 0;
        path->next = (entry & 0xffc00000) | mmu_bits(entry, 13, 8) << 32;
    }
    path->rights = x86_rights(mmu, entry, pat_bit, path->rights);
    return RADIX_LEAF;
}

RADIX_INLINE struct radix_shape shape(const struct quire_mmu *mmu, unsigned half)
{
    return (struct radix_shape){12, 10, 2, 32, 4, false};
}

RADIX_INLINE struct radix_start begin(const struct quire_mmu *mmu, uint64_t va)
{
    return (struct radix_start){.va = va,
                                .root = mmu->root,
                                .reason = va >> 32 == 0 ? QUIRE_MMU_OK : QUIRE_MMU_NOT_CANONICAL};
}

static uint64_t table(const struct quire_mmu *mmu, unsigned level, uint64_t address)
{
    return address >> 32 == 0 ? address | X86_PRESENT | X86_WRITE | X86_USER : 0;
}

static uint64_t leaf(const struct quire_mmu *mmu, unsigned level, unsigned page_shift,
                     uint64_t address, uint32_t rights)
{
    if (page_shift != 12 + 10 * level || (level == 1 && !mmu->pse) ||
        address >> (level == 0            ? 32
                    : mmu->phys_bits < 40 ? mmu->phys_bits
                                          : 40) !=
            0)
        return 0;
    uint64_t attributes = x86_attributes(mmu, rights, level > 0, false);
    if (level == 0)
        return address | attributes;
    return (address & 0xffc00000) | mmu_bits(address, 32, 8) << 13 | attributes | X86_LARGE;
}

static const char *level_name(const struct quire_mmu *mmu, unsigned level)
{
    return level == 0 ? "PTE" : "PDE";
}

static const struct radix_format format = {shape, begin, decode, table, leaf, x86_touched, 1};

RADIX_DEFINE(x86_32, format, level_name, x86_describe, (uint64_t)1 << 12 | (uint64_t)1 << 22);
