/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arm64: AArch64, the EL1&0 translation regime, stage 1 (DDI 0487, D8.2 "Translation process",
 * D8.3 "Translation table descriptor formats", D8.4 "Memory access control").
 *
 *     bit 55 chooses TTBR0 or TTBR1; TCR says for each how many bits, which granule, how the top
 *     byte counts
 *
 *     63 .. 59  | 58 .. 55 | 54  | 53  | 52 | 51  | 50  | 49 .. 12 | 11 | 10 | 9 8 | 7 6 | 5  | 4
 * .. 2 | 1 0 tables':  |          | UXN | PXN | C  | DBM | GP  | address  | nG | AF | SH  | AP  |
 * NS | Attr   | kind NS AP UXN PXN
 *
 * Levels count here as everywhere in mmu/, 0 nearest to the page; the architecture's level is 3
 * less that, and that is what people are told.
 *
 * Left out: EL2 and EL3 (stage 2, VHE), big-endian tables (SCTLR_EL1.EE), the 128-bit descriptors
 * of FEAT_D128, permission indirection (FEAT_S1PIE).
 */
#include "mmu/radix.h"

#define DESCRIPTOR_TABLE 2 /* a table, and at level 0 a page */
#define AF ((uint64_t)1 << 10)
#define NG ((uint64_t)1 << 11)
#define AP_USER ((uint64_t)1 << 6)
#define AP_READ_ONLY ((uint64_t)1 << 7)
#define DBM ((uint64_t)1 << 51)
#define CONTIGUOUS ((uint64_t)1 << 52)
#define PXN ((uint64_t)1 << 53)
#define UXN ((uint64_t)1 << 54)
#define PXN_TABLE ((uint64_t)1 << 59)
#define UXN_TABLE ((uint64_t)1 << 60)
#define AP_TABLE_USER ((uint64_t)1 << 61) /* set: no access for EL0 */
#define AP_TABLE_READ_ONLY ((uint64_t)1 << 62)

#define USER_RIGHTS (QUIRE_MMU_UR | QUIRE_MMU_UW | QUIRE_MMU_UX)

/* D8.3.1: the address that a descriptor holds. `wide`: 52 bits, by LPA2 (DS) or 64 KiB's LPA. */
RADIX_INLINE uint64_t address_of(const struct quire_mmu *mmu, unsigned granule, uint64_t entry)
{
    uint64_t address = entry & mmu_mask(granule, 48 - granule);

    if (mmu->wide && granule == 16)
        address |= mmu_bits(entry, 12, 4) << 48;
    else if (mmu->wide)
        address |= (entry & mmu_mask(48, 2)) | mmu_bits(entry, 8, 2) << 50;
    return address;
}

/* D8.4.1: rights of a page, after what its tables took (path->rights holds what is left). */
RADIX_INLINE uint32_t rights_of(const struct quire_mmu *mmu, uint64_t entry, uint32_t left)
{
    uint32_t rights = QUIRE_MMU_SR | QUIRE_MMU_SX;
    bool is_clean = (entry & AP_READ_ONLY) != 0;
    bool may_write = !is_clean || (mmu->updates_dirty && (entry & DBM) != 0); /* D8.4.6 */

    if (may_write)
        rights |= QUIRE_MMU_SW;
    if ((entry & AP_USER) != 0)
        rights |= QUIRE_MMU_UR | (may_write ? (uint32_t)QUIRE_MMU_UW : 0);
    if ((entry & UXN) == 0) /* execution needs no right to read */
        rights |= QUIRE_MMU_UX;
    if ((entry & PXN) != 0)
        rights &= ~(unsigned)QUIRE_MMU_SX;
    rights &= left;
    if ((rights & QUIRE_MMU_UW) != 0) /* what EL0 may write EL1 does not execute */
        rights &= ~(unsigned)QUIRE_MMU_SX;
    if ((rights & QUIRE_MMU_UR) != 0)
        rights |= QUIRE_MMU_USER;
    rights |= (entry & NG) == 0 ? (uint32_t)QUIRE_MMU_GLOBAL : 0;
    rights |= (entry & AF) != 0 ? (uint32_t)QUIRE_MMU_ACCESSED : 0;
    rights |= !is_clean ? (uint32_t)QUIRE_MMU_DIRTY : 0;
    rights |= (entry & CONTIGUOUS) != 0 ? (uint32_t)QUIRE_MMU_CONTIGUOUS : 0;
    unsigned index = (unsigned)(entry >> 2 & 7);
    return rights | (uint32_t)(mmu->pat >> 4 * index & 15) << QUIRE_MMU_TYPE_SHIFT;
}

/* D8.3.1.1: at which levels a block may stand; `level` counts from the page. */
RADIX_INLINE bool has_block(const struct quire_mmu *mmu, unsigned granule, unsigned level)
{
    if (level == 0 || level == 1)
        return true;
    if (granule == 12)
        return level == 2 || (level == 3 && mmu->wide);
    return level == 2 && mmu->wide;
}

RADIX_INLINE struct radix_shape shape(const struct quire_mmu *mmu, unsigned half)
{
    const struct quire_mmu_half *its = &mmu->halves[half];
    return (struct radix_shape){its->page_shift, its->bits, its->n_levels, its->va_bits, 8, false};
}

RADIX_INLINE enum radix_kind decode(const struct quire_mmu *mmu, unsigned level, uint64_t entry,
                                    struct radix_path *path)
{
    const struct quire_mmu_half *half = &mmu->halves[path->half];
    unsigned granule = half->page_shift;
    bool is_table = (entry & DESCRIPTOR_TABLE) != 0;

    if ((entry & 1) == 0)
        return radix_fault(path, QUIRE_MMU_NOT_PRESENT);
    if (is_table ? false : level == 0 || !has_block(mmu, granule, level))
        return radix_fault(path, QUIRE_MMU_RESERVED);
    path->next = address_of(mmu, granule, entry);
    if (path->next >> mmu->oa_bits != 0) /* D8.2.4 */
        return radix_fault(path, QUIRE_MMU_ADDRESS_SIZE);
    if (is_table && level > 0) {
        if (half->flat)
            return RADIX_TABLE;
        if ((entry & AP_TABLE_USER) != 0) /* D8.4.1.2 */
            path->rights &= ~(unsigned)(QUIRE_MMU_UR | QUIRE_MMU_UW);
        if ((entry & AP_TABLE_READ_ONLY) != 0)
            path->rights &= ~(unsigned)(QUIRE_MMU_UW | QUIRE_MMU_SW);
        if ((entry & UXN_TABLE) != 0)
            path->rights &= ~(unsigned)QUIRE_MMU_UX;
        if ((entry & PXN_TABLE) != 0)
            path->rights &= ~(unsigned)QUIRE_MMU_SX;
        return RADIX_TABLE;
    }
    path->next &= ~mmu_mask(0, path->page_shift);
    path->rights = rights_of(mmu, entry, path->rights);
    return RADIX_LEAF;
}

/* D8.2.1: bits above the half's have to be all its own, but for a top byte that is ignored. */
RADIX_INLINE struct radix_start begin(const struct quire_mmu *mmu, uint64_t va)
{
    unsigned which = (unsigned)(va >> 55 & 1);
    const struct quire_mmu_half *half = &mmu->halves[which];
    unsigned top = half->ignores_top ? 56 : 64;
    uint64_t above = which == 1 ? ~va : va;
    uint8_t reason = QUIRE_MMU_OK;

    if (mmu_bits(above, half->va_bits, top - half->va_bits) != 0)
        reason = QUIRE_MMU_NOT_CANONICAL;
    else if (half->is_disabled)
        reason = QUIRE_MMU_DISABLED;
    else if (half->root >> mmu->oa_bits != 0)
        reason = QUIRE_MMU_ROOT;
    return (struct radix_start){.va = mmu_bits(va, 0, half->va_bits),
                                .root = half->root,
                                .half = (uint8_t)which,
                                .reason = reason};
}

/* Builders */

static uint64_t spread(const struct quire_mmu *mmu, uint64_t address)
{
    unsigned granule = mmu->halves[0].page_shift;

    if (address >> mmu->oa_bits != 0)
        return 0;
    if (mmu->wide && granule == 16)
        return (address & mmu_mask(16, 32)) | mmu_bits(address, 48, 4) << 12;
    if (mmu->wide)
        return (address & mmu_mask(12, 38)) | mmu_bits(address, 50, 2) << 8;
    return address;
}

static uint64_t table(const struct quire_mmu *mmu, unsigned level, uint64_t address)
{
    return address >> mmu->oa_bits == 0 ? spread(mmu, address) | 3 : 0;
}

/* The attribute index whose type it is; the first if none is. */
static uint64_t attribute(const struct quire_mmu *mmu, uint32_t rights)
{
    unsigned type = rights >> QUIRE_MMU_TYPE_SHIFT & 15;

    for (unsigned i = 0; i < 8; i++)
        if ((mmu->pat >> 4 * i & 15) == type)
            return i;
    return 0;
}

static uint64_t leaf(const struct quire_mmu *mmu, unsigned level, unsigned page_shift,
                     uint64_t address, uint32_t rights)
{
    const struct quire_mmu_half *half = &mmu->halves[0];

    if (page_shift != half->page_shift + half->bits * level || address >> mmu->oa_bits != 0 ||
        !has_block(mmu, half->page_shift, level))
        return 0;
    uint64_t entry = spread(mmu, address) | (level == 0 ? 3 : 1) | attribute(mmu, rights) << 2;
    if ((rights & (QUIRE_MMU_UR | QUIRE_MMU_UW | QUIRE_MMU_USER)) != 0)
        entry |= AP_USER;
    if ((rights & (QUIRE_MMU_SW | QUIRE_MMU_UW)) == 0)
        entry |= AP_READ_ONLY;
    else if (mmu->updates_dirty) /* writable, and clean until it is written to */
        entry |= DBM | ((rights & QUIRE_MMU_DIRTY) == 0 ? AP_READ_ONLY : 0);
    if ((rights & QUIRE_MMU_SX) == 0)
        entry |= PXN;
    if ((rights & QUIRE_MMU_UX) == 0)
        entry |= UXN;
    if ((rights & QUIRE_MMU_GLOBAL) == 0)
        entry |= NG;
    if ((rights & QUIRE_MMU_ACCESSED) != 0)
        entry |= AF;
    if (!mmu->wide || half->page_shift == 16)
        entry |= (uint64_t)3 << 8; /* inner shareable, where these bits are not the address's */
    return entry;
}

/* D8.4.6: AF with TCR.HA, and the dirty state with TCR.HD, of the last descriptor alone. */
static uint64_t touched(const struct quire_mmu *mmu, unsigned level, bool is_leaf, uint64_t entry,
                        bool is_write)
{
    if (!is_leaf || !mmu->updates)
        return entry;
    if (is_write && mmu->updates_dirty && (entry & DBM) != 0)
        entry &= ~AP_READ_ONLY;
    return entry | AF;
}

static const char *level_name(const struct quire_mmu *mmu, unsigned level)
{
    static const char *const names[] = {"level 3", "level 2", "level 1", "level 0", "level -1"};
    return names[level];
}

static size_t describe(const struct quire_mmu *mmu, const struct quire_mmu_step *step, char *buffer,
                       size_t n_bytes)
{
    uint64_t entry = step->entry;
    static const char *const aps[] = {"EL1 rw", "EL1 rw EL0 rw", "EL1 r-", "EL1 r- EL0 r-"};
    static const struct {
        uint64_t bit;
        const char *word;
    } leaf_flags[] = {{UXN, " UXN"}, {PXN, " PXN"}, {CONTIGUOUS, " Contiguous"},
                      {DBM, " DBM"}, {AF, " AF"},   {NG, " nG"}},
      table_flags[] = {{AP_TABLE_USER, " no EL0"},
                       {AP_TABLE_READ_ONLY, " read-only"},
                       {UXN_TABLE, " UXN"},
                       {PXN_TABLE, " PXN"}};

    if ((entry & 1) == 0)
        return mmu_append(buffer, n_bytes, 0,
                          entry == 0 ? "empty" : "invalid, the rest is software's");
    if (step->level > 0 && (entry & DESCRIPTOR_TABLE) != 0) {
        size_t n = mmu_append(buffer, n_bytes, 0, "table");
        for (unsigned i = 0; i < 4; i++)
            if ((entry & table_flags[i].bit) != 0)
                n = mmu_append(buffer, n_bytes, n, "%s", table_flags[i].word);
        return n;
    }
    size_t n = mmu_append(buffer, n_bytes, 0, "%s %s Attr %u",
                          (entry & DESCRIPTOR_TABLE) != 0 ? "page" : "block", aps[entry >> 6 & 3],
                          (unsigned)(entry >> 2 & 7));
    for (unsigned i = 0; i < 6; i++)
        if ((entry & leaf_flags[i].bit) != 0)
            n = mmu_append(buffer, n_bytes, n, "%s", leaf_flags[i].word);
    return n;
}

/* Registers: TCR_EL1 (D19.2.139), MAIR_EL1 (D19.2.97), TTBR0_EL1 */

/* 4 bits for each of the eight attributes. */
static uint64_t types_of(uint64_t mair)
{
    uint64_t types = 0;

    for (unsigned i = 0; i < 8; i++) {
        unsigned attribute_byte = (unsigned)(mair >> 8 * i & 0xff);
        unsigned inner = attribute_byte & 15, type = QUIRE_MMU_TYPE_DEFAULT;
        if (attribute_byte >> 4 == 0)
            type = (attribute_byte & 3) == 0 ? QUIRE_MMU_TYPE_DEVICE : QUIRE_MMU_TYPE_DEFAULT;
        else if (inner == 4)
            type = QUIRE_MMU_TYPE_NC;
        else if ((inner & 12) == 8 || (inner < 4 && inner > 0))
            type = QUIRE_MMU_TYPE_WT;
        else if (inner > 4)
            type = QUIRE_MMU_TYPE_WB;
        types |= (uint64_t)type << 4 * i;
    }
    return types;
}

static int init_half(struct quire_mmu *mmu, unsigned which, uint64_t tcr, uint64_t ttbr)
{
    static const uint8_t granules[2][4] = {{12, 16, 14, 0}, {0, 14, 12, 16}}; /* TG0, TG1 */
    struct quire_mmu_half *half = &mmu->halves[which];
    unsigned up = which * 16;
    unsigned granule = granules[which][mmu_bits(tcr, which == 0 ? 14 : 30, 2)];
    unsigned size = (unsigned)mmu_bits(tcr, up, 6);
    bool ds = mmu_bits(tcr, 59, 1) != 0;

    half->is_disabled = mmu_bits(tcr, 7 + up, 1) != 0;
    half->ignores_top = mmu_bits(tcr, 37 + which, 1) != 0;
    half->flat = mmu_bits(tcr, 41 + which, 1) != 0;
    unsigned least = granule == 16 || ds ? 12 : 16; /* FEAT_LVA, FEAT_LPA2 */
    if (half->is_disabled && (granule == 0 || size < least || size > 48)) {
        granule = 12;
        size = 16;
    }
    if (granule == 0 || size < least || size > (granule == 16 ? 47u : 48u)) /* FEAT_TTST */
        return -EINVAL;
    half->page_shift = (uint8_t)granule;
    half->bits = (uint8_t)(granule - 3);
    half->va_bits = (uint8_t)(64 - size);
    half->n_levels = (uint8_t)((half->va_bits - granule + half->bits - 1) / half->bits);
    bool is_wide = granule == 16 ? mmu_bits(tcr, 32, 3) == 6 : ds;
    half->root = ttbr & mmu_mask(is_wide ? 6 : 1, is_wide ? 42 : 47);
    if (is_wide)
        half->root |= mmu_bits(ttbr, 2, 4) << 48;
    unsigned top = half->va_bits - granule - half->bits * (half->n_levels - 1u);
    half->root &= ~mmu_mask(0, top + 3); /* the table is aligned to its size */
    mmu->wide |= is_wide;
    return 0;
}

int quire_mmu_init_arm64(struct quire_mmu *mmu, const struct quire_image *image,
                         const struct quire_mmu_arm64 *registers, unsigned phys_bits)
{
    static const uint8_t sizes[8] = {32, 36, 40, 42, 44, 48, 52, 52};
    uint64_t tcr = registers->tcr;

    *mmu = (struct quire_mmu){.mode = QUIRE_MMU_ARM64,
                              .image = image,
                              .format = &mmu_arm64,
                              .updates = mmu_bits(tcr, 39, 1) != 0,
                              .updates_dirty = mmu_bits(tcr, 39, 2) == 3,
                              .pat = registers->has_mair ? types_of(registers->mair) : 0};
    int error = init_half(mmu, 0, tcr, registers->ttbr0);
    if (error == 0)
        error = init_half(mmu, 1, tcr, registers->ttbr1);
    unsigned size = sizes[mmu_bits(tcr, 32, 3)];
    if (size > 48 && !mmu->wide)
        size = 48;
    if (error != 0 || phys_bits > 52 || (phys_bits != 0 && phys_bits < 20))
        return -EINVAL;
    mmu->oa_bits = (uint8_t)(phys_bits != 0 && phys_bits < size ? phys_bits : size);
    mmu->phys_bits = mmu->oa_bits;
    return 0;
}

static const struct radix_format format = {shape, begin, decode, table, leaf, touched, 2};

RADIX_DEFINE(arm64, format, level_name, describe, 0);
