/* SPDX-License-Identifier: Apache-2.0 */
/*
 * riscv: Sv32, Sv39, Sv48 and Sv57 (Privileged ISA, "Supervisor-Level ISA": "Sv32: Page-Based
 * 32-bit Virtual-Memory Systems" and the sections after it, "Svnapot", "Svpbmt", "Svadu").
 *
 *     63 | 62 61 | 60 .. 54 | 53 .. 10 | 9 8 | 7 6 5 4 3 2 1 0
 *      N |  PBMT | reserved |   PPN    | RSW | D A G U X W R V      Sv32: PPN is 31 .. 10
 *
 * An entry with R, W and X clear leads to a table; any other is a leaf, at any level. The walk
 * below is the algorithm of "Virtual Address Translation Process", steps 2 to 6; its numbers are
 * cited.
 */
#include "mmu/radix.h"

enum {
    PTE_V = 1 << 0,
    PTE_R = 1 << 1,
    PTE_W = 1 << 2,
    PTE_X = 1 << 3,
    PTE_U = 1 << 4,
    PTE_G = 1 << 5,
    PTE_A = 1 << 6,
    PTE_D = 1 << 7,
};
#define PTE_N ((uint64_t)1 << 63)
#define PTE_PBMT_SHIFT 61
#define PTE_PBMT (mmu_mask(PTE_PBMT_SHIFT, 2))
#define PTE_RESERVED mmu_mask(54, 7)
#define NAPOT_SHIFT 16
#define SSTATUS_SUM ((uint64_t)1 << 18)
#define SSTATUS_MXR ((uint64_t)1 << 19)

static uint32_t rights_of(const struct quire_mmu *mmu, uint64_t entry, uint32_t rights)
{
    static const uint8_t types[4] = {QUIRE_MMU_TYPE_DEFAULT, QUIRE_MMU_TYPE_NC, QUIRE_MMU_TYPE_IO,
                                     0};
    uint32_t own = (uint32_t)entry >> 1 & 7; /* R W X are in the order of SR SW SX */

    if (mmu->mxr)
        own |= (own & QUIRE_MMU_SX) != 0 ? (uint32_t)QUIRE_MMU_SR : 0;
    if ((entry & PTE_U) == 0) {
        rights = own;
    } else { /* a supervisor never executes from a user's page, and needs SUM for the rest */
        rights = own << 3 | QUIRE_MMU_USER;
        if (mmu->sum)
            rights |= own & (QUIRE_MMU_SR | QUIRE_MMU_SW);
    }
    rights |= (entry & PTE_G) != 0 ? (uint32_t)QUIRE_MMU_GLOBAL : 0;
    rights |= (uint32_t)(entry & PTE_A) << 2 | (uint32_t)(entry & PTE_D) << 2;
    return rights | (uint32_t)types[entry >> PTE_PBMT_SHIFT & 3] << QUIRE_MMU_TYPE_SHIFT;
}
_Static_assert(QUIRE_MMU_ACCESSED == PTE_A << 2 && QUIRE_MMU_DIRTY == PTE_D << 2,
               "rights_of() shifts them");

/* G of a table holds for all below: it is kept in the path's rights. */
RADIX_INLINE enum radix_kind decode(const struct quire_mmu *mmu, unsigned level, uint64_t entry,
                                    struct radix_path *path, bool is_sv32)
{
    unsigned level_bits = is_sv32 ? 10 : 9;

    if ((entry & PTE_V) == 0) /* step 3 */
        return radix_fault(path, QUIRE_MMU_NOT_PRESENT);
    if ((entry & (PTE_R | PTE_W)) == PTE_W || (entry & mmu->reserved) != 0)
        return radix_fault(path, QUIRE_MMU_RESERVED);
    path->next = mmu_bits(entry, 10, is_sv32 ? 22 : 44) << 12;
    if ((entry & (PTE_R | PTE_X)) == 0) { /* step 4; D, A, U, PBMT and N of a table are reserved */
        if (level == 0 || (entry & (PTE_U | PTE_A | PTE_D)) != 0 ||
            (!is_sv32 && (entry & (PTE_N | PTE_PBMT)) != 0))
            return radix_fault(path, QUIRE_MMU_RESERVED);
        path->rights |= (entry & PTE_G) != 0 ? (uint32_t)QUIRE_MMU_GLOBAL : 0;
        return RADIX_TABLE;
    }
    if ((path->next & mmu_mask(12, level * level_bits)) != 0) /* step 6 */
        return radix_fault(path, QUIRE_MMU_MISALIGNED);
    uint32_t rights = rights_of(mmu, entry, 0) | (path->rights & QUIRE_MMU_GLOBAL);
    if (!is_sv32 && (entry & PTE_PBMT) == PTE_PBMT)
        return radix_fault(path, QUIRE_MMU_RESERVED);
    if (!is_sv32 && (entry & PTE_N) != 0) { /* Svnapot: only 64 KiB, encoded as ppn[3:0] = 1000 */
        if (level != 0 || mmu_bits(path->next, 12, 4) != 8)
            return radix_fault(path, QUIRE_MMU_RESERVED);
        path->next &= ~mmu_mask(12, 4);
        path->page_shift = NAPOT_SHIFT;
        rights |= QUIRE_MMU_CONTIGUOUS;
    }
    path->rights = rights;
    return RADIX_LEAF;
}

RADIX_INLINE enum radix_kind decode_32(const struct quire_mmu *mmu, unsigned level, uint64_t entry,
                                       struct radix_path *path)
{
    return decode(mmu, level, entry, path, true);
}

RADIX_INLINE enum radix_kind decode_64(const struct quire_mmu *mmu, unsigned level, uint64_t entry,
                                       struct radix_path *path)
{
    return decode(mmu, level, entry, path, false);
}

RADIX_INLINE struct radix_shape shape_32(const struct quire_mmu *mmu, unsigned half)
{
    return (struct radix_shape){12, 10, 2, 32, 4, false};
}

RADIX_INLINE struct radix_shape shape_39(const struct quire_mmu *mmu, unsigned half)
{
    return (struct radix_shape){12, 9, 3, 39, 8, true};
}

RADIX_INLINE struct radix_shape shape_48(const struct quire_mmu *mmu, unsigned half)
{
    return (struct radix_shape){12, 9, 4, 48, 8, true};
}

RADIX_INLINE struct radix_shape shape_57(const struct quire_mmu *mmu, unsigned half)
{
    return (struct radix_shape){12, 9, 5, 57, 8, true};
}

RADIX_INLINE struct radix_start begin_32(const struct quire_mmu *mmu, uint64_t va)
{
    return (struct radix_start){.va = va,
                                .root = mmu->root,
                                .reason = va >> 32 == 0 ? QUIRE_MMU_OK : QUIRE_MMU_NOT_CANONICAL};
}

RADIX_INLINE struct radix_start begin(const struct quire_mmu *mmu, uint64_t va, unsigned va_bits)
{
    bool is_extended = (uint64_t)((int64_t)(va << (64 - va_bits)) >> (64 - va_bits)) == va;

    return (struct radix_start){.va = mmu_bits(va, 0, va_bits),
                                .root = mmu->root,
                                .reason = is_extended ? QUIRE_MMU_OK : QUIRE_MMU_NOT_CANONICAL};
}

RADIX_INLINE struct radix_start begin_39(const struct quire_mmu *mmu, uint64_t va)
{
    return begin(mmu, va, 39);
}

RADIX_INLINE struct radix_start begin_48(const struct quire_mmu *mmu, uint64_t va)
{
    return begin(mmu, va, 48);
}

RADIX_INLINE struct radix_start begin_57(const struct quire_mmu *mmu, uint64_t va)
{
    return begin(mmu, va, 57);
}

/* Builders */

static uint64_t table(const struct quire_mmu *mmu, unsigned level, uint64_t address)
{
    return address >> mmu->phys_bits == 0 ? address >> 12 << 10 | PTE_V : 0;
}

/* W without R is reserved, so a writable page is readable, too. */
static uint64_t leaf(const struct quire_mmu *mmu, unsigned level, unsigned page_shift,
                     uint64_t address, uint32_t rights)
{
    bool is_napot = mmu->napot && level == 0 && page_shift == NAPOT_SHIFT;
    unsigned bits = mmu->mode == QUIRE_MMU_SV32 ? 10 : 9;
    unsigned type = rights >> QUIRE_MMU_TYPE_SHIFT & 15;

    if ((page_shift != 12 + bits * level && !is_napot) || address >> mmu->phys_bits != 0)
        return 0;
    bool is_user = (rights & (QUIRE_MMU_UR | QUIRE_MMU_UW | QUIRE_MMU_UX | QUIRE_MMU_USER)) != 0;
    uint64_t own = (rights | (is_user ? rights >> 3 : 0)) & QUIRE_MMU_SUPERVISOR;
    if ((own & QUIRE_MMU_SW) != 0 || own == 0)
        own |= QUIRE_MMU_SR;
    uint64_t entry = address >> 12 << 10 | own << 1 | PTE_V | (is_user ? (uint64_t)PTE_U : 0);
    entry |= (rights & QUIRE_MMU_GLOBAL) != 0 ? (uint64_t)PTE_G : 0;
    entry |= (rights & QUIRE_MMU_ACCESSED) >> 2 | (rights & QUIRE_MMU_DIRTY) >> 2;
    if (mmu->pbmt && type == QUIRE_MMU_TYPE_NC)
        entry |= (uint64_t)1 << PTE_PBMT_SHIFT;
    if (mmu->pbmt && type == QUIRE_MMU_TYPE_IO)
        entry |= (uint64_t)2 << PTE_PBMT_SHIFT;
    return is_napot ? entry | PTE_N | (uint64_t)8 << 10 : entry;
}

static uint64_t touched(const struct quire_mmu *mmu, unsigned level, bool is_leaf, uint64_t entry,
                        bool is_write)
{
    if (!is_leaf || !mmu->updates)
        return entry;
    return entry | PTE_A | (is_write ? (uint64_t)PTE_D : 0);
}

static const char *level_name(const struct quire_mmu *mmu, unsigned level)
{
    static const char *const names[] = {"level 0", "level 1", "level 2", "level 3", "level 4"};
    return names[level];
}

static size_t describe(const struct quire_mmu *mmu, const struct quire_mmu_step *step, char *buffer,
                       size_t n_bytes)
{
    uint64_t entry = step->entry;
    static const char letters[] = "VRWXUGAD";
    static const char *const types[] = {"", " NC", " IO", " PBMT=3"};
    char flags[9];

    if ((entry & PTE_V) == 0)
        return mmu_append(buffer, n_bytes, 0, entry == 0 ? "empty" : "V=0, the rest is software's");
    for (unsigned i = 0; i < 8; i++)
        flags[i] = (entry >> i & 1) != 0 ? letters[i] : '-';
    flags[8] = '\0';
    size_t n = mmu_append(buffer, n_bytes, 0, "%s PPN 0x%llx", flags,
                          (unsigned long long)mmu_bits(entry, 10, 44));
    if (mmu->mode != QUIRE_MMU_SV32)
        n = mmu_append(buffer, n_bytes, n, "%s%s", types[entry >> PTE_PBMT_SHIFT & 3],
                       (entry & PTE_N) != 0 ? " N" : "");
    return n;
}

int quire_mmu_init_riscv(struct quire_mmu *mmu, const struct quire_image *image,
                         const struct quire_mmu_riscv *registers, unsigned phys_bits)
{
    static const struct quire_mmu_format *const formats[] = {&mmu_sv39, &mmu_sv48, &mmu_sv57};
    uint64_t satp = registers->satp;
    unsigned mode = (unsigned)(satp >> 60), max_bits = 56;

    *mmu = (struct quire_mmu){.mode = QUIRE_MMU_BARE,
                              .image = image,
                              .format = &mmu_base_limit,
                              .limit = UINT64_MAX,
                              .base_rights = QUIRE_MMU_ALL,
                              .sum = (registers->sstatus & SSTATUS_SUM) != 0,
                              .mxr = (registers->sstatus & SSTATUS_MXR) != 0,
                              .napot = (registers->extensions & QUIRE_MMU_SVNAPOT) != 0,
                              .pbmt = (registers->extensions & QUIRE_MMU_SVPBMT) != 0,
                              .updates = (registers->extensions & QUIRE_MMU_SVADU) != 0};
    if (satp >> 31 == 1) { /* RV32: MODE is bit 31, PPN has 22 bits */
        mmu->mode = QUIRE_MMU_SV32;
        mmu->format = &mmu_sv32;
        mmu->root = mmu_bits(satp, 0, 22) << 12;
        max_bits = 34;
    } else if (mode >= 8 && mode <= 10) {
        mmu->mode = (enum quire_mmu_mode)(QUIRE_MMU_SV39 + (mode - 8));
        mmu->format = formats[mode - 8];
        mmu->root = mmu_bits(satp, 0, 44) << 12;
        mmu->reserved = PTE_RESERVED | (mmu->napot ? 0 : PTE_N) | (mmu->pbmt ? 0 : PTE_PBMT);
    } else if (mode != 0) {
        return -EINVAL;
    }
    if (phys_bits > max_bits || (phys_bits != 0 && phys_bits < 20))
        return -EINVAL;
    mmu->phys_bits = (uint8_t)(phys_bits != 0 ? phys_bits : max_bits);
    return 0;
}

static const struct radix_format format_32 = {shape_32, begin_32, decode_32, table,
                                              leaf,     touched,  1};
static const struct radix_format format_39 = {shape_39, begin_39, decode_64, table,
                                              leaf,     touched,  1};
static const struct radix_format format_48 = {shape_48, begin_48, decode_64, table,
                                              leaf,     touched,  1};
static const struct radix_format format_57 = {shape_57, begin_57, decode_64, table,
                                              leaf,     touched,  1};
#define SIZE(shift) ((uint64_t)1 << (shift))
#define SIZES (SIZE(12) | SIZE(16) | SIZE(21) | SIZE(30))

RADIX_DEFINE(sv32, format_32, level_name, describe, SIZE(12) | SIZE(22));
RADIX_DEFINE(sv39, format_39, level_name, describe, SIZES);
RADIX_DEFINE(sv48, format_48, level_name, describe, SIZES | SIZE(39));
RADIX_DEFINE(sv57, format_57, level_name, describe, SIZES | SIZE(39) | SIZE(48));
