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
 *
 * All regimes are tried at a page before the next one: a compressed dump is unpacked once, and an
 * image larger than RAM read once.
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
#define PDPT_BYTES 32
#define EPD0 (1u << 7) /* of TCR_EL1: TTBR0's half is switched off */
#define FEW_PAGES 8
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
    /* one page that happens to map itself says little */
    double marks = (root->maps_itself ? 0.35 : 0) + (has_upper ? 0.15 : 0);
    double score = part * (0.4 + marks * good / (good + FEW_PAGES) + 0.1 * good / (good + 64));
    root->score = (double)(unsigned)(score * 100 + 0.5) / 100; /* what is as good is the same */
}

/* A table of the second level is a good root of a mode with a level less, but has fewer pages. */
static bool is_better(const struct quire_mmu_root *one, const struct quire_mmu_root *other)
{
    return one->score > other->score ||
           (one->score >= other->score && one->n_pages > other->n_pages);
}

/* Keeps the best, sorted. */
static size_t keep(struct quire_mmu_root *roots, size_t n, size_t max,
                   const struct quire_mmu_root *root)
{
    size_t at = n;

    while (at > 0 && is_better(root, &roots[at - 1]))
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

/* Each page in turn is the root of its mmu. */
struct candidate {
    struct quire_mmu mmu;
    uint64_t step;   /* roots are at multiples of it */
    uint64_t n_root; /* the bytes of a first level, all that a root has to have */
};

struct search {
    const struct quire_image *image;
    struct candidate candidates[QUIRE_MMU_MAX_REGIMES];
    unsigned n_candidates;
    uint64_t step, largest_step;
    const struct quire_image_range *hint;
    struct quire_mmu_root *roots;
    size_t n, max;
};

/* On AArch64 it may be a few entries. */
static uint64_t root_bytes(const struct quire_mmu *mmu, uint64_t step)
{
    const struct quire_mmu_half *half = &mmu->halves[0];

    if (mmu->format != &mmu_arm64)
        return step;
    return (uint64_t)8 << (half->va_bits - half->page_shift - (half->n_levels - 1) * half->bits);
}

static int init_candidate(struct candidate *candidate, const struct quire_image *image,
                          const struct quire_mmu_regime *regime, unsigned phys_bits)
{
    const enum quire_mmu_mode mode = regime->mode;
    struct quire_mmu *mmu = &candidate->mmu;
    int error;

    if (mode < QUIRE_MMU_X86_32 || mode > QUIRE_MMU_ARM64)
        return -EINVAL;
    if (phys_bits == 0 && mode != QUIRE_MMU_X86_32 && mode != QUIRE_MMU_SV32)
        phys_bits = bits_of(image, mode == QUIRE_MMU_ARM64 ? LEAST_BITS_ARM64 : LEAST_BITS);
    if (mode == QUIRE_MMU_ARM64 && regime->tcr != 0)
        error = quire_mmu_init_arm64(
            mmu, image, &(struct quire_mmu_arm64){.tcr = regime->tcr & ~(uint64_t)EPD0}, phys_bits);
    else
        error = quire_mmu_init_mode(mmu, image, mode, 0, phys_bits);
    if (error != 0)
        return error;
    /* the four entries of PAE may begin at any 32 bytes, but a page of them says nothing */
    candidate->step = mode == QUIRE_MMU_X86_PAE ? PDPT_BYTES
                      : mode == QUIRE_MMU_ARM64 ? quire_mmu_root_bytes(mmu)
                                                : 4096;
    candidate->n_root = root_bytes(mmu, candidate->step);
    return 0;
}

/* The place that every candidate whose step it is a multiple of has its root at. */
static void search_at(struct search *search, uint64_t address, uint64_t n_left)
{
    unsigned char room[MAX_ROOT_BYTES];
    const unsigned char *bytes = NULL;
    uint64_t n_got = 0;

    for (unsigned i = 0; i < search->n_candidates; i++) {
        struct candidate *candidate = &search->candidates[i];
        struct quire_mmu *mmu = &candidate->mmu;
        const uint64_t n_root = candidate->n_root;
        if ((address & (candidate->step - 1)) != 0 || n_left < candidate->step)
            continue;
        if (n_got < n_root) {
            bytes = image_get(search->image, address, n_root, &search->hint, room);
            n_got = bytes != NULL ? n_root : 0;
        }
        if (n_got < n_root || is_blank(bytes, n_root) ||
            (candidate->step == PDPT_BYTES && !is_like_pdpt(bytes, mmu->reserved)))
            continue;
        struct quire_mmu_root root = {.root = address, .regime = i};
        mmu->root = mmu->halves[0].root = mmu->halves[1].root = address;
        judge(mmu, &root);
        if (root.score > 0)
            search->n = keep(search->roots, search->n, search->max, &root);
    }
}

static void search_range(struct search *search, const struct quire_image_range *range)
{
    const uint64_t step = search->step, extent = image_extent(range);
    uint64_t at = -range->start & (step - 1), end = at; /* from the range's start on */

    for (; at <= extent && extent - at >= step; at += step) {
        if (at >= end) { /* on to what is there, but not over the begin of a larger root */
            const uint64_t data = image_next_data(search->image, range, at, &end);
            const uint64_t root = (range->start + data) & ~(search->largest_step - 1);
            if (extent - data < step)
                break;
            if (root - range->start < extent && root - range->start > at)
                at = root - range->start;
        }
        search_at(search, range->start + at, extent - at);
    }
}

size_t quire_mmu_find_roots(const struct quire_image *image, const struct quire_mmu_regime *regimes,
                            size_t n_regimes, unsigned phys_bits, struct quire_mmu_root *roots,
                            size_t max)
{
    struct search search = {.image = image, .step = UINT64_MAX, .roots = roots, .max = max};

    if (image->n_ranges == 0 || max == 0 || n_regimes == 0 || n_regimes > QUIRE_MMU_MAX_REGIMES)
        return 0;
    for (size_t i = 0; i < n_regimes; i++) {
        struct candidate *candidate = &search.candidates[search.n_candidates++];
        if (init_candidate(candidate, image, &regimes[i], phys_bits) != 0)
            return 0;
        search.step = candidate->step < search.step ? candidate->step : search.step;
        if (candidate->step > search.largest_step)
            search.largest_step = candidate->step;
    }
    for (size_t i = 0; i < image->n_ranges; i++)
        search_range(&search, &image->ranges[i]);
    return search.n;
}
