/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mmu: hands over to the format, and what is the same for all: names, checks of an access, runs of
 * mappings that are one.
 */
#include "mmu/format.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static const char *const mode_names[QUIRE_MMU_N_MODES] = {
    "bare", "base-limit", "x86-32", "x86-pae", "x86-48", "x86-57",  "sv32",
    "sv39", "sv48",       "sv57",   "arm64",   "ppc32",  "inverted"};

static const char *const type_names[QUIRE_MMU_N_TYPES] = {"-",  "wb",  "wt", "wc", "wp",
                                                          "uc", "uc-", "nc", "io", "dev"};

static const struct {
    const char *name, *text;
} reasons[QUIRE_MMU_N_REASONS] = {
    {"ok", "it is translated"},
    {"not-canonical", "the address has bits above those that are translated"},
    {"disabled", "there are no tables for this half of the addresses"},
    {"not-present", "the entry is not valid"},
    {"reserved-bit", "a reserved bit or encoding is in the entry"},
    {"misaligned", "a large page is not aligned to its size"},
    {"address-size", "the entry's address is larger than the machine allows"},
    {"bad-root", "the root's address is larger than the machine allows"},
    {"outside-image", "the entry lies outside of the image"},
    {"not-in-dump", "the dump has left out the page that the entry lies in"},
    {"damaged-page", "the dump's page that the entry lies in can't be unpacked"},
    {"out-of-bounds", "the address is at or above the limit"},
    {"no-match", "no entry is for this page"},
    {"broken-chain", "the chain of entries leaves the table, or has no end"},
    {"no-read", "reading is not allowed"},
    {"no-write", "writing is not allowed"},
    {"no-execute", "executing is not allowed"},
    {"protection-key", "the protection key denies it"},
    {"not-accessed", "the accessed flag is clear, and the hardware does not set it"},
    {"not-dirty", "the dirty flag is clear, and the hardware does not set it"},
};

const char *quire_mmu_mode_name(enum quire_mmu_mode mode)
{
    return (unsigned)mode < QUIRE_MMU_N_MODES ? mode_names[mode] : NULL;
}

const char *quire_mmu_type_name(enum quire_mmu_type type)
{
    return (unsigned)type < QUIRE_MMU_N_TYPES ? type_names[type] : NULL;
}

const char *quire_mmu_reason_name(enum quire_mmu_reason reason)
{
    return (unsigned)reason < QUIRE_MMU_N_REASONS ? reasons[reason].name : NULL;
}

const char *quire_mmu_reason_text(enum quire_mmu_reason reason)
{
    return (unsigned)reason < QUIRE_MMU_N_REASONS ? reasons[reason].text : NULL;
}

enum quire_mmu_reason mmu_lack(const struct quire_image *image, uint64_t address)
{
    uint64_t n_bytes;

    switch (image_lacks(image, address, &n_bytes)) {
    case -ENOENT:
        return QUIRE_MMU_NOT_IN_DUMP;
    case -EIO:
    case -ENOTSUP:
        return QUIRE_MMU_DAMAGED_PAGE;
    default:
        return QUIRE_MMU_OUTSIDE;
    }
}

size_t mmu_append(char *buffer, size_t n_bytes, size_t length, const char *format, ...)
{
    va_list arguments;
    size_t at = length < n_bytes ? length : n_bytes;

    va_start(arguments, format);
    int n = vsnprintf(n_bytes > 0 ? buffer + at : NULL, n_bytes - at, format, arguments);
    va_end(arguments);
    return length + (n > 0 ? (size_t)n : 0);
}

int quire_mmu_init_mode(struct quire_mmu *mmu, const struct quire_image *image,
                        enum quire_mmu_mode mode, uint64_t root, unsigned phys_bits)
{
    /* PE, WP, PG; PSE and PGE, with PAE and LA57; LME, LMA, NXE */
    struct quire_mmu_x86 x86 = {.cr0 = 0x80010001, .cr3 = root, .cr4 = 0x90};
    struct quire_mmu_riscv riscv = {.extensions = QUIRE_MMU_SVNAPOT | QUIRE_MMU_SVPBMT |
                                                  QUIRE_MMU_SVADU};
    /* 48 bits, 4 KiB and inner shareable both, 48 bits of output */
    struct quire_mmu_arm64 arm64 = {.tcr = 0x5b5103510, .ttbr0 = root, .ttbr1 = root};

    switch (mode) {
    case QUIRE_MMU_BARE:
        x86.cr0 = 1;
        return quire_mmu_init_x86(mmu, image, &x86, phys_bits);
    case QUIRE_MMU_X86_57:
        x86.cr4 |= 0x1000;
        __attribute__((fallthrough));
    case QUIRE_MMU_X86_48:
        x86.efer = 0x500;
        __attribute__((fallthrough));
    case QUIRE_MMU_X86_PAE:
        x86.cr4 |= 0x20;
        x86.efer |= 0x800;
        __attribute__((fallthrough));
    case QUIRE_MMU_X86_32:
        return quire_mmu_init_x86(mmu, image, &x86, phys_bits);
    case QUIRE_MMU_SV32:
        riscv.satp = (uint64_t)1 << 31 | (root >> 12 & 0x3fffff);
        return quire_mmu_init_riscv(mmu, image, &riscv, phys_bits);
    case QUIRE_MMU_SV39:
    case QUIRE_MMU_SV48:
    case QUIRE_MMU_SV57:
        riscv.satp = (uint64_t)(8 + (mode - QUIRE_MMU_SV39)) << 60 | mmu_bits(root, 12, 44);
        return quire_mmu_init_riscv(mmu, image, &riscv, phys_bits);
    case QUIRE_MMU_ARM64:
        return quire_mmu_init_arm64(mmu, image, &arm64, phys_bits);
    case QUIRE_MMU_INVERTED:
        return quire_mmu_init_inverted(mmu, image, root, 0);
    default:
        return -EINVAL;
    }
}

/* Translation */

void quire_mmu_translate(const struct quire_mmu *mmu, uint64_t va, struct quire_mmu_answer *answer,
                         struct quire_mmu_trace *trace)
{
    if (trace == NULL)
        mmu->format->walk(mmu, va, answer);
    else
        mmu->format->explain(mmu, va, answer, trace);
}

void quire_mmu_translate_many(const struct quire_mmu *mmu, const uint64_t *vas,
                              struct quire_mmu_answer *answers, size_t n)
{
    mmu->format->walk_many(mmu, vas, answers, n);
}

/* SDM 3A, 4.6.2: the key is looked at for data of user pages. */
static bool is_denied_by_key(const struct quire_mmu *mmu, const struct quire_mmu_answer *answer,
                             enum quire_mmu_access access, bool is_user)
{
    unsigned deny = mmu->pkru >> 2 * (answer->rights >> QUIRE_MMU_KEY_SHIFT & 15);

    if (!mmu->pke || access == QUIRE_MMU_EXECUTE || (answer->rights & QUIRE_MMU_USER) == 0)
        return false;
    return (deny & 1) != 0 ||
           ((deny & 2) != 0 && access == QUIRE_MMU_WRITE && (is_user || mmu->wp));
}

enum quire_mmu_reason quire_mmu_check(const struct quire_mmu *mmu,
                                      const struct quire_mmu_answer *answer,
                                      enum quire_mmu_access access, bool is_user)
{
    bool has_flags = mmu->mode >= QUIRE_MMU_SV32 && mmu->mode <= QUIRE_MMU_ARM64;
    unsigned wanted = 1u << access << (is_user ? 3 : 0);
    bool faults = has_flags && !mmu->updates;

    if (answer->reason != QUIRE_MMU_OK)
        return (enum quire_mmu_reason)answer->reason;
    /* DDI 0487, D8.15.6: an access flag fault comes before one of permission */
    if (faults && (answer->rights & QUIRE_MMU_ACCESSED) == 0)
        return QUIRE_MMU_NOT_ACCESSED;
    if ((answer->rights & wanted) == 0)
        return is_denied_by_key(mmu, answer, access, is_user)
                   ? QUIRE_MMU_KEY
                   : (enum quire_mmu_reason)(QUIRE_MMU_NO_READ + access);
    if (faults && mmu->mode != QUIRE_MMU_ARM64 && access == QUIRE_MMU_WRITE &&
        (answer->rights & QUIRE_MMU_DIRTY) == 0)
        return QUIRE_MMU_NOT_DIRTY;
    return QUIRE_MMU_OK;
}

const char *quire_mmu_level_name(const struct quire_mmu *mmu, unsigned level)
{
    return mmu->format->level_name(mmu, level);
}

size_t quire_mmu_describe(const struct quire_mmu *mmu, const struct quire_mmu_step *step,
                          char *buffer, size_t n_bytes)
{
    return mmu->format->describe(mmu, step, buffer, n_bytes);
}

unsigned quire_mmu_va_bits(const struct quire_mmu *mmu)
{
    static const uint8_t bits[QUIRE_MMU_N_MODES] = {64, 64, 32, 32, 48, 57, 32,
                                                    39, 48, 57, 0,  32, 44};
    return mmu->mode == QUIRE_MMU_ARM64 ? mmu->halves[0].va_bits : bits[mmu->mode];
}

uint64_t quire_mmu_root_bytes(const struct quire_mmu *mmu)
{
    if (mmu->mode == QUIRE_MMU_ARM64)
        return (uint64_t)1 << mmu->halves[0].page_shift;
    return mmu->mode >= QUIRE_MMU_X86_32 && mmu->mode <= QUIRE_MMU_SV57 ? 4096 : 0;
}

uint64_t quire_mmu_page_sizes(const struct quire_mmu *mmu)
{
    const struct quire_mmu_half *half = &mmu->halves[0];
    uint64_t sizes = mmu->format->page_sizes;

    if (mmu->mode == QUIRE_MMU_X86_32 && !mmu->pse)
        return (uint64_t)1 << 12;
    if (mmu->mode >= QUIRE_MMU_SV39 && mmu->mode <= QUIRE_MMU_SV57 && !mmu->napot)
        return sizes & ~((uint64_t)1 << 16);
    if (mmu->mode != QUIRE_MMU_ARM64)
        return sizes;
    unsigned n = half->page_shift == 12 ? (mmu->wide ? 4 : 3) : mmu->wide ? 3 : 2;
    for (unsigned level = 0; level < n && level < half->n_levels; level++)
        sizes |= (uint64_t)1 << (half->page_shift + level * half->bits);
    return sizes;
}

/* All mappings */

int quire_mmu_each(const struct quire_mmu *mmu, const struct quire_mmu_limits *limits,
                   bool (*visit)(void *context, const struct quire_mmu_mapping *mapping),
                   void *context)
{
    return mmu->format->each(mmu, limits, visit, context);
}

struct merger {
    struct quire_mmu_mapping run; /* n_bytes 0: none yet */
    bool (*visit)(void *context, const struct quire_mmu_mapping *mapping);
    void *context;
};

static bool merge(void *context, const struct quire_mmu_mapping *mapping)
{
    struct merger *merger = context;
    struct quire_mmu_mapping *run = &merger->run;

    if (__builtin_expect(run->n_bytes != 0 && mapping->va == run->va + run->n_bytes &&
                             mapping->rights == run->rights && mapping->reason == run->reason &&
                             mapping->page_shift == run->page_shift &&
                             (mapping->reason != QUIRE_MMU_OK ||
                              mapping->address == run->address + run->n_bytes) &&
                             mapping->va != 0,
                         1)) {
        run->n_bytes += mapping->n_bytes;
        return true;
    }
    bool goes_on = run->n_bytes == 0 || merger->visit(merger->context, run);
    *run = *mapping;
    return goes_on;
}

int quire_mmu_each_merged(const struct quire_mmu *mmu, const struct quire_mmu_limits *limits,
                          bool (*visit)(void *context, const struct quire_mmu_mapping *mapping),
                          void *context)
{
    struct merger merger = {.visit = visit, .context = context};
    int error = quire_mmu_each(mmu, limits, merge, &merger);

    if (error != -ECANCELED && merger.run.n_bytes != 0 && !visit(context, &merger.run))
        return -ECANCELED;
    return error;
}

/* Building */

int quire_mmu_map(const struct quire_mmu *mmu, struct quire_image *image,
                  const struct quire_mmu_frames *frames, uint64_t va, uint64_t address,
                  unsigned page_shift, uint32_t rights)
{
    if (mmu->format->map == NULL)
        return -EINVAL;
    return mmu->format->map(mmu, image, frames, va, address, page_shift, rights);
}

int quire_mmu_unmap(const struct quire_mmu *mmu, struct quire_image *image,
                    const struct quire_mmu_frames *frames, uint64_t va)
{
    if (mmu->format->unmap == NULL)
        return -ENOENT;
    return mmu->format->unmap(mmu, image, frames, va);
}

int quire_mmu_protect(const struct quire_mmu *mmu, struct quire_image *image, uint64_t va,
                      uint32_t rights)
{
    if (mmu->format->protect == NULL)
        return -ENOENT;
    return mmu->format->protect(mmu, image, va, rights);
}

int quire_mmu_touch(const struct quire_mmu *mmu, struct quire_image *image, uint64_t va,
                    enum quire_mmu_access access)
{
    return mmu->format->touch == NULL ? 0 : mmu->format->touch(mmu, image, va, access);
}
