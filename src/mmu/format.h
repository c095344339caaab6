/* SPDX-License-Identifier: Apache-2.0 */
/* format: what a page-table format has to offer; one table of these a file. */
#ifndef QUIRE_MMU_FORMAT_H
#define QUIRE_MMU_FORMAT_H

#include "mmu/image.h"

#include <quire/mmu.h>

typedef bool mmu_visit(void *context, const struct quire_mmu_mapping *mapping);

struct quire_mmu_format {
    void (*walk)(const struct quire_mmu *mmu, uint64_t va, struct quire_mmu_answer *answer);
    void (*explain)(const struct quire_mmu *mmu, uint64_t va, struct quire_mmu_answer *answer,
                    struct quire_mmu_trace *trace);
    void (*walk_many)(const struct quire_mmu *mmu, const uint64_t *vas,
                      struct quire_mmu_answer *answers, size_t n);
    int (*each)(const struct quire_mmu *mmu, const struct quire_mmu_limits *limits,
                mmu_visit *visit, void *context);
    const char *(*level_name)(const struct quire_mmu *mmu, unsigned level);
    size_t (*describe)(const struct quire_mmu *mmu, const struct quire_mmu_step *step, char *buffer,
                       size_t n_bytes);
    int (*map)(const struct quire_mmu *mmu, struct quire_image *image,
               const struct quire_mmu_frames *frames, uint64_t va, uint64_t address,
               unsigned page_shift, uint32_t rights);
    int (*unmap)(const struct quire_mmu *mmu, struct quire_image *image,
                 const struct quire_mmu_frames *frames, uint64_t va);
    int (*protect)(const struct quire_mmu *mmu, struct quire_image *image, uint64_t va,
                   uint32_t rights);
    int (*touch)(const struct quire_mmu *mmu, struct quire_image *image, uint64_t va,
                 enum quire_mmu_access access);
    uint64_t page_sizes;
};

extern const struct quire_mmu_format mmu_x86_32, mmu_x86_pae, mmu_x86_48, mmu_x86_57, mmu_sv32,
    mmu_sv39, mmu_sv48, mmu_sv57, mmu_arm64, mmu_ppc32, mmu_inverted, mmu_base_limit;

/* n bits of `word` from bit `low` on, and where they lie. */
static inline uint64_t mmu_bits(uint64_t word, unsigned low, unsigned n)
{
    return word >> low & (((uint64_t)1 << n) - 1);
}

static inline uint64_t mmu_mask(unsigned low, unsigned n)
{
    return (((uint64_t)1 << n) - 1) << low;
}

/* Why the entry at `address` can't be had, which image_get() did not get. */
enum quire_mmu_reason mmu_lack(const struct quire_image *image, uint64_t address);

/* As snprintf behind what `buffer` holds already; returns the length of all of it. */
size_t mmu_append(char *buffer, size_t n_bytes, size_t length, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
