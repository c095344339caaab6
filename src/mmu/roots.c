/* SPDX-License-Identifier: Apache-2.0 */
/*
 * roots: which pages of an image may be the root of a tree of tables.
 *
 *     each page --as a root--> a bounded part of its mappings --> how many are good, how many can't
 * be
 *
 * A page of data, taken for a table, shows reserved bits and entries outside the image at once: its
 * look is ended there, so a scan reads little more than the image. A table of a lower level, taken
 * for the root, leads to pages of data in the end and shows there. What is left is ranked: a
 * kernel's tables map their own frames (through its map of all memory, or an entry that points to
 * its table), and the upper half of the addresses.
 */
#include "mmu/format.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define UPPER_TABLES 128 /* looked into at most, of each half */
#define LOWER_TABLES 64
#define LEAST_BITS 33
#define LEAST_BITS_ARM64 40
#define MAX_ROOT_BYTES 65536
#define PATIENCE 4 /* bad entries before a page is given up that has no good ones */

struct look {
    const struct quire_image *image;
    struct quire_mmu_root *root;
    uint64_t n_outside, outside_end; /* runs of addresses; where the last one ends */
};

static bool visit(void *context, const struct quire_mmu_mapping *mapping)
{
    struct look *look = context;
    struct quire_mmu_root *root = look->root;

    if (mapping->reason != QUIRE_MMU_OK) {
        root->n_bad++;
        return root->n_bad < PATIENCE + root->n_pages / 8;
    }
    if (root->root - mapping->address < mapping->n_bytes)
        root->maps_itself = true;
    if (image_range_at(look->image, mapping->address) != NULL) {
        root->n_pages++;
    } else { /* a device, which may have many pages, or nothing */
        look->n_outside += mapping->address != look->outside_end;
        look->outside_end = mapping->address + mapping->n_bytes;
    }
    return look->n_outside < 4 * PATIENCE + root->n_pages;
}

static void judge(const struct quire_mmu *mmu, struct quire_mmu_root *root)
{
    struct look look = {.image = mmu->image, .root = root};
    unsigned bits = quire_mmu_va_bits(mmu);
    uint64_t middle = (uint64_t)1 << (bits - 1);
    uint64_t sign = bits < 64 && mmu->format != &mmu_x86_32 && mmu->format != &mmu_x86_pae &&
                            mmu->format != &mmu_sv32 && mmu->format != &mmu_arm64
                        ? ~(uint64_t)0 << bits
                        : 0;
    uint64_t end = sign != 0 ? UINT64_MAX : middle * 2 - 1;
    struct quire_mmu_limits upper = {.range = {sign | middle, end}, .max_tables = UPPER_TABLES};
    struct quire_mmu_limits lower = {.range = {0, middle - 1}, .max_tables = LOWER_TABLES};

    root->score = 0;
    if (quire_mmu_each(mmu, &upper, visit, &look) == -ECANCELED)
        return;
    bool has_upper = root->n_pages > 0;
    if (quire_mmu_each(mmu, &lower, visit, &look) == -ECANCELED || root->n_pages == 0)
        return;
    double good = (double)root->n_pages;
    double part = good / (good + 4 * (double)root->n_bad + (double)look.n_outside);
    root->score = part * (0.4 + (root->maps_itself ? 0.35 : 0) + (has_upper ? 0.15 : 0) +
                          0.1 * good / (good + 64));
}

/* Keeps the best, sorted. */
static size_t keep(struct quire_mmu_root *roots, size_t n, size_t max,
                   const struct quire_mmu_root *root)
{
    size_t at = n;

    while (at > 0 && roots[at - 1].score < root->score)
        at--;
    if (at >= max)
        return n;
    if (n == max)
        n--;
    memmove(&roots[at + 1], &roots[at], (n - at) * sizeof roots[0]);
    roots[at] = *root;
    return n + 1;
}

/* Entries beyond what the image holds are bad; a machine has devices up to twice as far. On AArch64
 * they lie where they like: 40 bits are what its smaller machines have. */
static unsigned bits_of(const struct quire_image *image, unsigned least)
{
    const struct quire_image_range *last = &image->ranges[image->n_ranges - 1];
    uint64_t highest = last->start + last->n_bytes - 1; /* 0: the image is one byte */
    unsigned bits = 64 - (unsigned)__builtin_clzll(highest | 1) + 1;
    return bits < least ? least : bits > 52 ? 52 : bits;
}

static bool is_blank(const unsigned char *bytes, uint64_t n)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0;
}

/* Four entries, empty or good. */
static bool is_like_pdpt(const unsigned char *bytes, uint64_t reserved)
{
    for (unsigned i = 0; i < 4; i++) {
        uint64_t entry;
        memcpy(&entry, bytes + 8 * i, sizeof entry);
        entry = le64toh(entry);
        if (entry != 0 && ((entry & 1) == 0 || (entry & (reserved | 0x1c6)) != 0))
            return false;
    }
    return true;
}

struct search {
    struct quire_mmu *mmu; /* its root is each page in turn */
    uint64_t step;
    const struct quire_image_range *hint;
    struct quire_mmu_root *roots;
    size_t n, max;
};

/* The entries of the first level, which on AArch64 may be few: all that a root has to have. */
static uint64_t root_bytes(const struct quire_mmu *mmu, uint64_t step)
{
    const struct quire_mmu_half *half = &mmu->halves[0];

    if (mmu->format != &mmu_arm64)
        return step;
    return (uint64_t)8 << (half->va_bits - half->page_shift - (half->n_levels - 1) * half->bits);
}

static void search_range(struct search *search, const struct quire_image_range *range)
{
    struct quire_mmu *mmu = search->mmu;
    const uint64_t step = search->step, extent = image_extent(range);
    const uint64_t n_root = root_bytes(mmu, step);
    unsigned char room[MAX_ROOT_BYTES];
    uint64_t at = -range->start & (step - 1), end = at; /* from the range's start on */

    for (; at <= extent && extent - at >= step; at += step) {
        if (at >= end) {
            at += (image_next_data(mmu->image, range, at, &end) - at) & ~(step - 1);
            if (extent - at < step)
                break;
        }
        const unsigned char *bytes = image_get(mmu->image, range->start + at, n_root, &search->hint,
                                               room);
        if (bytes == NULL || is_blank(bytes, n_root) ||
            (step == 32 && !is_like_pdpt(bytes, mmu->reserved)))
            continue;
        struct quire_mmu_root root = {.root = range->start + at};
        mmu->root = mmu->halves[0].root = mmu->halves[1].root = root.root;
        judge(mmu, &root);
        if (root.score > 0)
            search->n = keep(search->roots, search->n, search->max, &root);
    }
}

static size_t search_image(struct quire_mmu *mmu, uint64_t step, struct quire_mmu_root *roots,
                           size_t max)
{
    struct search search = {.mmu = mmu, .step = step, .roots = roots, .max = max};

    for (size_t i = 0; i < mmu->image->n_ranges; i++)
        search_range(&search, &mmu->image->ranges[i]);
    return search.n;
}

size_t quire_mmu_find_roots(const struct quire_image *image, enum quire_mmu_mode mode,
                            unsigned phys_bits, struct quire_mmu_root *roots, size_t max)
{
    struct quire_mmu mmu;

    if (image->n_ranges == 0 || max == 0 || mode < QUIRE_MMU_X86_32 || mode > QUIRE_MMU_ARM64)
        return 0;
    if (phys_bits == 0 && mode != QUIRE_MMU_X86_32 && mode != QUIRE_MMU_SV32)
        phys_bits = bits_of(image, mode == QUIRE_MMU_ARM64 ? LEAST_BITS_ARM64 : LEAST_BITS);
    if (quire_mmu_init_mode(&mmu, image, mode, 0, phys_bits) != 0)
        return 0;
    /* the four entries of PAE may begin at any 32 bytes, but a page of them says nothing */
    return search_image(&mmu, mode == QUIRE_MMU_X86_PAE ? 32 : 4096, roots, max);
}

size_t quire_mmu_find_roots_arm64(const struct quire_image *image, uint64_t tcr, unsigned phys_bits,
                                  struct quire_mmu_root *roots, size_t max)
{
    const struct quire_mmu_arm64 registers = {.tcr = tcr & ~(uint64_t)(1u << 7)}; /* not EPD0 */
    struct quire_mmu mmu;

    if (image->n_ranges == 0 || max == 0 ||
        quire_mmu_init_arm64(&mmu, image, &registers,
                             phys_bits != 0 ? phys_bits : bits_of(image, LEAST_BITS_ARM64)) != 0)
        return 0;
    return search_image(&mmu, quire_mmu_root_bytes(&mmu), roots, max);
}
