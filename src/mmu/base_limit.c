/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base_limit: dynamic relocation with bounds, and no translation at all.
 *
 *     virtual 0 ... limit - 1  -->  physical base ... base + limit - 1      else: out of bounds
 */
#include "mmu/format.h"

#include <errno.h>

static void walk(const struct quire_mmu *mmu, uint64_t va, struct quire_mmu_answer *answer)
{
    bool good = va < mmu->limit;

    *answer = (struct quire_mmu_answer){.address = good ? mmu->root + va : 0,
                                        .rights = good ? mmu->base_rights : 0,
                                        .reason = good ? QUIRE_MMU_OK : QUIRE_MMU_BOUNDS,
                                        .page_shift = 0};
}

static void explain(const struct quire_mmu *mmu, uint64_t va, struct quire_mmu_answer *answer,
                    struct quire_mmu_trace *trace)
{
    trace->n_steps = 0;
    walk(mmu, va, answer);
}

static void walk_many(const struct quire_mmu *mmu, const uint64_t *vas,
                      struct quire_mmu_answer *answers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        walk(mmu, vas[i], &answers[i]);
}

static int each(const struct quire_mmu *mmu, const struct quire_mmu_limits *limits,
                mmu_visit *visit, void *context)
{
    struct quire_mmu_mapping mapping = {
        .address = mmu->root, .n_bytes = mmu->limit, .rights = mmu->base_rights};

    if (mmu->limit == 0 || limits->range.first >= mmu->limit ||
        limits->range.first > limits->range.last)
        return 0;
    return visit(context, &mapping) ? 0 : -ECANCELED;
}

static const char *level_name(const struct quire_mmu *mmu, unsigned level)
{
    return "limit";
}

static size_t describe(const struct quire_mmu *mmu, const struct quire_mmu_step *step, char *buffer,
                       size_t n_bytes)
{
    return mmu_append(buffer, n_bytes, 0, "%s", "");
}

int quire_mmu_init_base_limit(struct quire_mmu *mmu, uint64_t base, uint64_t limit, uint32_t rights)
{
    if (limit != 0 && base + (limit - 1) < base)
        return -EINVAL;
    *mmu = (struct quire_mmu){.mode = QUIRE_MMU_BASE_LIMIT,
                              .format = &mmu_base_limit,
                              .root = base,
                              .limit = limit,
                              .phys_bits = 64,
                              .base_rights = rights & QUIRE_MMU_ALL};
    return 0;
}

const struct quire_mmu_format mmu_base_limit = {
    .walk = walk,
    .explain = explain,
    .walk_many = walk_many,
    .each = each,
    .level_name = level_name,
    .describe = describe,
};
