/* SPDX-License-Identifier: Apache-2.0 */
/* x86: control registers become a mode (SDM 3A, 4.1.1), and what builders and explanations share.
 */
#include "mmu/x86.h"

#include <stdio.h>

#define CR0_PE 1
#define CR0_WP ((uint64_t)1 << 16)
#define CR0_PG ((uint64_t)1 << 31)
#define CR4_PSE ((uint64_t)1 << 4)
#define CR4_PAE ((uint64_t)1 << 5)
#define CR4_PGE ((uint64_t)1 << 7)
#define CR4_LA57 ((uint64_t)1 << 12)
#define CR4_SMEP ((uint64_t)1 << 20)
#define CR4_SMAP ((uint64_t)1 << 21)
#define CR4_PKE ((uint64_t)1 << 22)
#define EFER_LME ((uint64_t)1 << 8)
#define EFER_LMA ((uint64_t)1 << 10)
#define EFER_NXE ((uint64_t)1 << 11)
#define PAT_AFTER_RESET 0x0007040600070406u /* SDM 3A, 12.12.4 */

static enum quire_mmu_mode mode_of(const struct quire_mmu_x86 *registers)
{
    if ((registers->cr0 & CR0_PG) == 0)
        return QUIRE_MMU_BARE;
    if ((registers->cr4 & CR4_PAE) == 0)
        return QUIRE_MMU_X86_32;
    if ((registers->efer & (EFER_LME | EFER_LMA)) == 0)
        return QUIRE_MMU_X86_PAE;
    return (registers->cr4 & CR4_LA57) != 0 ? QUIRE_MMU_X86_57 : QUIRE_MMU_X86_48;
}

/* What raises #GP when it is loaded (4.1.1, 4.1.2): paging without protection, long mode without
 * PAE. */
static bool is_refused(const struct quire_mmu_x86 *registers)
{
    if ((registers->cr0 & CR0_PG) == 0)
        return false;
    return (registers->cr0 & CR0_PE) == 0 ||
           ((registers->efer & EFER_LME) != 0 && (registers->cr4 & CR4_PAE) == 0);
}

int quire_mmu_init_x86(struct quire_mmu *mmu, const struct quire_image *image,
                       const struct quire_mmu_x86 *registers, unsigned phys_bits)
{
    static const struct quire_mmu_format *const formats[] = {
        [QUIRE_MMU_BARE] = &mmu_base_limit, [QUIRE_MMU_X86_32] = &mmu_x86_32,
        [QUIRE_MMU_X86_PAE] = &mmu_x86_pae, [QUIRE_MMU_X86_48] = &mmu_x86_48,
        [QUIRE_MMU_X86_57] = &mmu_x86_57,
    };
    enum quire_mmu_mode mode = mode_of(registers);
    bool is_long = mode == QUIRE_MMU_X86_48 || mode == QUIRE_MMU_X86_57;

    if (phys_bits > 52 || (phys_bits != 0 && phys_bits < 32) || is_refused(registers))
        return -EINVAL;
    if (phys_bits == 0)
        phys_bits = mode == QUIRE_MMU_X86_32 ? 40 : 52;
    *mmu = (struct quire_mmu){.mode = mode,
                              .image = image,
                              .format = formats[mode],
                              .phys_bits = (uint8_t)phys_bits,
                              .limit = (uint64_t)1 << 32,
                              .base_rights = QUIRE_MMU_ALL,
                              .pat = registers->pat != 0 ? registers->pat : PAT_AFTER_RESET,
                              .pkru = registers->pkru,
                              .nx = (registers->efer & EFER_NXE) != 0 && mode != QUIRE_MMU_X86_32,
                              .wp = (registers->cr0 & CR0_WP) != 0,
                              .smep = (registers->cr4 & CR4_SMEP) != 0,
                              .smap = (registers->cr4 & CR4_SMAP) != 0,
                              .pke = is_long && (registers->cr4 & CR4_PKE) != 0,
                              .pse = (registers->cr4 & CR4_PSE) != 0,
                              .pge = (registers->cr4 & CR4_PGE) != 0};
    /* address bits above the machine's are reserved, and in PAE those up to NX; NX is, unless on */
    mmu->leaf_mask = mmu_mask(12, phys_bits - 12);
    mmu->reserved = mmu_mask(phys_bits, (is_long ? 52 : 63) - phys_bits) | (mmu->nx ? 0 : X86_NX);
    if (mode == QUIRE_MMU_X86_32) {
        unsigned extra = phys_bits < 40 ? phys_bits - 32 : 8; /* 4.3: PSE-36, of a 4 MiB page */
        mmu->reserved = mmu_mask(13 + extra, 9 - extra);
        mmu->root = registers->cr3 & 0xfffff000;
    } else if (mode == QUIRE_MMU_X86_PAE) {
        mmu->root = registers->cr3 & 0xffffffe0;
    } else {
        mmu->root = registers->cr3 & mmu_mask(12, 40);
        if (mode != QUIRE_MMU_BARE && mmu->root >> phys_bits != 0)
            mmu->bad_root = QUIRE_MMU_ROOT;
    }
    return 0;
}

uint64_t x86_attributes(const struct quire_mmu *mmu, uint32_t rights, bool is_large, bool has_nx)
{
    uint64_t entry = X86_PRESENT;
    unsigned type = rights >> QUIRE_MMU_TYPE_SHIFT & 15, index = 0;
    static const uint8_t encodings[QUIRE_MMU_N_TYPES] = {
        [QUIRE_MMU_TYPE_DEFAULT] = 6, [QUIRE_MMU_TYPE_WB] = 6, [QUIRE_MMU_TYPE_WT] = 4,
        [QUIRE_MMU_TYPE_WC] = 1,      [QUIRE_MMU_TYPE_WP] = 5, [QUIRE_MMU_TYPE_UC] = 0,
        [QUIRE_MMU_TYPE_UC_MINUS] = 7};

    if ((rights & (QUIRE_MMU_UW | QUIRE_MMU_SW)) != 0)
        entry |= X86_WRITE;
    if ((rights & (QUIRE_MMU_UR | QUIRE_MMU_UW | QUIRE_MMU_UX | QUIRE_MMU_USER)) != 0)
        entry |= X86_USER;
    if (has_nx && mmu->nx && (rights & (QUIRE_MMU_UX | QUIRE_MMU_SX)) == 0)
        entry |= X86_NX;
    if ((rights & QUIRE_MMU_GLOBAL) != 0)
        entry |= X86_GLOBAL;
    entry |= (rights & QUIRE_MMU_ACCESSED) >> 3 | (rights & QUIRE_MMU_DIRTY) >> 3;
    if (mmu->pke)
        entry |= (uint64_t)(rights >> QUIRE_MMU_KEY_SHIFT & 15) << 59;
    if (type < QUIRE_MMU_N_TYPES) /* the first slot of the PAT that has it; else the first of all */
        while (index < 8 && (mmu->pat >> 8 * index & 7) != encodings[type])
            index++;
    index &= 7;
    entry |= (uint64_t)(index & 3) << 3;
    if ((index & 4) != 0)
        entry |= is_large ? (uint64_t)X86_PAT_LARGE : (uint64_t)X86_LARGE;
    return entry;
}

uint64_t x86_table(const struct quire_mmu *mmu, unsigned level, uint64_t address)
{
    return (address & ~mmu->leaf_mask) == 0 ? address | X86_PRESENT | X86_WRITE | X86_USER : 0;
}

/* SDM 3A, 4.8: the accessed flag in every entry on the way, the dirty flag in the last. */
uint64_t x86_touched(const struct quire_mmu *mmu, unsigned level, bool is_leaf, uint64_t entry,
                     bool is_write)
{
    return entry | X86_ACCESSED | (is_leaf && is_write ? (uint64_t)X86_DIRTY : 0);
}

size_t x86_describe(const struct quire_mmu *mmu, const struct quire_mmu_step *step, char *buffer,
                    size_t n_bytes)
{
    uint64_t entry = step->entry;
    bool is_large = step->level > 0 && (entry & X86_LARGE) != 0;
    bool is_leaf = step->level == 0 || step->kind == QUIRE_MMU_STEP_PAGE;
    static const struct {
        unsigned bit;
        const char *word;
    } flags[] = {{3, " PWT"}, {4, " PCD"}, {5, " A"}, {6, " D"}, {8, " G"}};

    if ((entry & X86_PRESENT) == 0)
        return mmu_append(buffer, n_bytes, 0, entry == 0 ? "empty" : "P=0, the rest is software's");
    bool is_pdpte = mmu->mode == QUIRE_MMU_X86_PAE && step->level == 2;
    size_t n = mmu_append(buffer, n_bytes, 0, "P%s",
                          is_pdpte                   ? ""
                          : (entry & X86_WRITE) != 0 ? " RW"
                                                     : " R-");
    n = mmu_append(buffer, n_bytes, n, "%s", is_pdpte ? "" : (entry & X86_USER) != 0 ? " U" : " S");
    for (unsigned i = 0; i < 5; i++)
        if ((entry >> flags[i].bit & 1) != 0 && (is_leaf || flags[i].bit < 6))
            n = mmu_append(buffer, n_bytes, n, "%s", flags[i].word);
    if (is_large)
        n = mmu_append(buffer, n_bytes, n, " PS%s", (entry & X86_PAT_LARGE) != 0 ? " PAT" : "");
    else if (step->level == 0 && (entry & X86_LARGE) != 0)
        n = mmu_append(buffer, n_bytes, n, " PAT");
    if (mmu->mode != QUIRE_MMU_X86_32 && (entry & X86_NX) != 0)
        n = mmu_append(buffer, n_bytes, n, " NX");
    if (is_leaf && mmu->pke)
        n = mmu_append(buffer, n_bytes, n, " key %u", (unsigned)(entry >> 59 & 15));
    return n;
}

/* SDM 3A, 4.7, figure 4-12: present, write, user, reserved bit, fetch, protection key. */
int quire_mmu_x86_error(const struct quire_mmu *mmu, enum quire_mmu_reason reason,
                        enum quire_mmu_access access, bool is_user)
{
    int code = (access == QUIRE_MMU_WRITE ? 2 : 0) | (is_user ? 4 : 0);

    if (reason == QUIRE_MMU_OK)
        return 0xffff;
    if (reason == QUIRE_MMU_NOT_CANONICAL || reason == QUIRE_MMU_ROOT ||
        mmu->mode < QUIRE_MMU_X86_32 || mmu->mode > QUIRE_MMU_X86_57)
        return -1;
    if (access == QUIRE_MMU_EXECUTE && (mmu->nx || mmu->smep))
        code |= 16;
    if (reason == QUIRE_MMU_RESERVED)
        return code | 9;
    if (reason == QUIRE_MMU_KEY)
        return code | 33;
    return reason >= QUIRE_MMU_NO_READ ? code | 1 : code;
}
