/* SPDX-License-Identifier: Apache-2.0 */
/* x86: what the four paging modes of x86 share: bits of entries, types, words for people. */
#ifndef QUIRE_MMU_X86_H
#define QUIRE_MMU_X86_H

#include "mmu/radix.h"

/* SDM 3A, 4.5, tables 4-14 to 4-20; the same bits in all modes. */
enum {
    X86_PRESENT = 1 << 0,
    X86_WRITE = 1 << 1,
    X86_USER = 1 << 2,
    X86_PWT = 1 << 3,
    X86_PCD = 1 << 4,
    X86_ACCESSED = 1 << 5,
    X86_DIRTY = 1 << 6,
    X86_LARGE = 1 << 7, /* of a table's entry; PAT of a 4 KiB page */
    X86_GLOBAL = 1 << 8,
    X86_PAT_LARGE = 1 << 12,
};
#define X86_NX ((uint64_t)1 << 63)

/* SDM 3A, 4.6.1: each level can only take rights away. */
RADIX_INLINE uint32_t x86_narrow(const struct quire_mmu *mmu, uint64_t entry, uint32_t rights)
{
    if ((entry & X86_WRITE) == 0)
        rights &= ~(unsigned)(QUIRE_MMU_UW | QUIRE_MMU_SW);
    if ((entry & X86_USER) == 0)
        rights &= ~(unsigned)(QUIRE_MMU_UR | QUIRE_MMU_UW | QUIRE_MMU_UX);
    if ((entry & X86_NX) != 0)
        rights &= ~(unsigned)(QUIRE_MMU_SX | QUIRE_MMU_UX);
    return rights;
}

/* SDM 3A, 4.6 (CR0.WP, SMEP, SMAP), 4.6.2 (protection keys), 4.9.2 (PAT). */
RADIX_INLINE uint32_t x86_rights(const struct quire_mmu *mmu, uint64_t entry, bool pat_bit,
                                 uint32_t rights)
{
    static const uint8_t types[8] = {
        QUIRE_MMU_TYPE_UC, QUIRE_MMU_TYPE_WC,      0, 0, QUIRE_MMU_TYPE_WT, QUIRE_MMU_TYPE_WP,
        QUIRE_MMU_TYPE_WB, QUIRE_MMU_TYPE_UC_MINUS};
    bool is_user = (rights & QUIRE_MMU_UR) != 0;
    unsigned index = (unsigned)(entry >> 3 & 3) | (pat_bit ? 4u : 0u);

    if (!mmu->wp)
        rights |= QUIRE_MMU_SW;
    if (is_user) {
        rights |= QUIRE_MMU_USER;
        if (mmu->smep)
            rights &= ~(unsigned)QUIRE_MMU_SX;
        if (mmu->smap)
            rights &= ~(unsigned)(QUIRE_MMU_SR | QUIRE_MMU_SW);
        if (mmu->pke) {
            unsigned key = (unsigned)(entry >> 59 & 15), deny = mmu->pkru >> 2 * key;
            rights |= key << QUIRE_MMU_KEY_SHIFT;
            if ((deny & 1) != 0)
                rights &= ~(unsigned)(QUIRE_MMU_SR | QUIRE_MMU_SW | QUIRE_MMU_UR | QUIRE_MMU_UW);
            if ((deny & 2) != 0)
                rights &= ~(unsigned)(QUIRE_MMU_UW | (mmu->wp ? QUIRE_MMU_SW : 0));
        }
    }
    if (mmu->pge && (entry & X86_GLOBAL) != 0)
        rights |= QUIRE_MMU_GLOBAL;
    rights |= (uint32_t)(entry & X86_ACCESSED) << 3 | (uint32_t)(entry & X86_DIRTY) << 3;
    return rights | (uint32_t)types[mmu->pat >> 8 * index & 7] << QUIRE_MMU_TYPE_SHIFT;
}
_Static_assert(QUIRE_MMU_ACCESSED == X86_ACCESSED << 3 && QUIRE_MMU_DIRTY == X86_DIRTY << 3,
               "x86_rights() shifts them");

/* What builders of all modes write into an entry; the address and size are the caller's. */
uint64_t x86_attributes(const struct quire_mmu *mmu, uint32_t rights, bool is_large, bool has_nx);
uint64_t x86_table(const struct quire_mmu *mmu, unsigned level, uint64_t address);
uint64_t x86_touched(const struct quire_mmu *mmu, unsigned level, bool is_leaf, uint64_t entry,
                     bool is_write);
size_t x86_describe(const struct quire_mmu *mmu, const struct quire_mmu_step *step, char *buffer,
                    size_t n_bytes);

#endif
