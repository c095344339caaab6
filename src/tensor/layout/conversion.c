/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conversion: from one layout to another, all of it, a part, or in place.
 *
 *     layouts --box--> loop nests without tails --nest--> rows and columns --tiles, kernels--> done
 */
#include "tensor/layout/conversion.h"

#include "tensor/layout/tiles.h"

#include <errno.h>
#include <string.h>

int quire_layout_conversion_init(struct quire_layout_conversion *conversion,
                                 const struct quire_layout *from, const struct quire_layout *to,
                                 const struct quire_layout_options *options)
{
    static const struct quire_layout_options none = {0};
    int error = quire_layout_check(from);

    options = options == NULL ? &none : options;
    if (error == 0)
        error = quire_layout_check(to);
    if (error != 0)
        return error;
    if (from->type != to->type || from->n_dims != to->n_dims ||
        memcmp(from->dims, to->dims, from->n_dims * sizeof from->dims[0]) != 0 ||
        !quire_layout_is_injective(to) || (unsigned)options->isa >= QUIRE_LAYOUT_N_ISAS ||
        (unsigned)options->stores > QUIRE_LAYOUT_STORES_STREAMED)
        return -EINVAL;
    if (!quire_layout_isa_is_here(options->isa))
        return -ENOTSUP;
    size_t to_bytes = quire_layout_bytes(to);
    *conversion = (struct quire_layout_conversion){
        .from = *from,
        .to = *to,
        .from_bytes = quire_layout_bytes(from),
        .to_bytes = to_bytes,
        .isa = (uint8_t)(options->isa == QUIRE_LAYOUT_BEST ? quire_layout_isa_best()
                                                           : options->isa),
        .stores = (uint8_t)(options->stores == QUIRE_LAYOUT_STORES_AUTO &&
                                    to_bytes < QUIRE_LAYOUT_STREAMED_BYTES
                                ? QUIRE_LAYOUT_STORES_CACHED
                                : options->stores),
    };
    return 0;
}

/* Running */

static void visit_box(void *context, const struct layout_box *box)
{
    layout_run_box(context, box);
}

static void run(const struct quire_layout_conversion *conversion, struct layout_job *job)
{
    job->kernels = layout_kernels_of((enum quire_layout_isa)conversion->isa);
    job->stores = (enum quire_layout_stores)conversion->stores;
    job->n_bytes = quire_layout_type_bytes(conversion->from.type);
    layout_each_box(conversion, visit_box, job);
    if (job->stores != QUIRE_LAYOUT_STORES_CACHED && job->kernels->fence != NULL)
        job->kernels->fence();
}

static bool is_aligned(const struct quire_layout_conversion *conversion, const void *buffer)
{
    return buffer != NULL &&
           (uintptr_t)buffer % quire_layout_type_bytes(conversion->from.type) == 0;
}

static bool overlap(const void *a, size_t n_a, const void *b, size_t n_b)
{
    return (uintptr_t)a < (uintptr_t)b + n_b && (uintptr_t)b < (uintptr_t)a + n_a;
}

int quire_layout_convert_part(const struct quire_layout_conversion *conversion, uint32_t part,
                              uint32_t n_parts, const void *source, size_t source_bytes,
                              void *target, size_t target_bytes)
{
    if (part >= n_parts)
        return -EINVAL;
    if (!is_aligned(conversion, source) || !is_aligned(conversion, target) ||
        overlap(source, conversion->from_bytes, target, conversion->to_bytes))
        return -EFAULT;
    if (source_bytes < conversion->from_bytes || target_bytes < conversion->to_bytes)
        return -ENOSPC;
    struct layout_job job = {.source = source,
                             .source_bytes = conversion->from_bytes,
                             .target = target,
                             .part = part,
                             .n_parts = n_parts};
    run(conversion, &job);
    return 0;
}

int quire_layout_convert(const struct quire_layout_conversion *conversion, const void *source,
                         size_t source_bytes, void *target, size_t target_bytes)
{
    return quire_layout_convert_part(conversion, 0, 1, source, source_bytes, target, target_bytes);
}

void layout_trace(const struct quire_layout_conversion *conversion,
                  void (*touch)(void *context, bool is_target, int64_t at, size_t n_bytes),
                  void *context)
{
    struct layout_job job = {.n_parts = 1, .touch = touch, .context = context};

    run(conversion, &job);
}
