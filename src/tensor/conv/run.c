/* SPDX-License-Identifier: Apache-2.0 */
/* run: what was given is checked, then the units of a part are done one after the other. */
#include "tensor/conv/conv.h"

#include <errno.h>
#include <stdint.h>

bool conv_is_usable(const void *buffer, size_t alignment)
{
    return buffer != NULL && (uintptr_t)buffer % alignment == 0;
}

bool conv_overlap(const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
    return (uintptr_t)a < (uintptr_t)b + b_bytes && (uintptr_t)b < (uintptr_t)a + a_bytes;
}

static size_t alignment_of(const struct quire_conv_plan *plan, const struct quire_layout *layout)
{
    return conv_is_blocked(layout, plan->kernels->block) ? QUIRE_CONV_ALIGNMENT : sizeof(float);
}

bool conv_are_sound(const struct quire_conv_plan *plan, const float *source, const void *packed,
                    const float *sum, const float *destination, const void *workspace)
{
    const size_t out_bytes = plan->destination_bytes, work_bytes = plan->workspace_bytes;
    const size_t out_alignment = alignment_of(plan, &plan->destination);
    if (!conv_is_usable(source, alignment_of(plan, &plan->source)) ||
        !conv_is_usable(packed, QUIRE_CONV_ALIGNMENT) ||
        !conv_is_usable(destination, out_alignment) ||
        (sum != NULL && !conv_is_usable(sum, out_alignment)) ||
        (work_bytes > 0 && !conv_is_usable(workspace, QUIRE_CONV_ALIGNMENT)))
        return false;
    if (conv_overlap(destination, out_bytes, source, plan->source_bytes) ||
        conv_overlap(destination, out_bytes, packed, plan->weights_bytes) ||
        (sum != NULL && sum != destination && conv_overlap(destination, out_bytes, sum, out_bytes)))
        return false;
    return work_bytes == 0 ||
           (!conv_overlap(workspace, work_bytes, destination, out_bytes) &&
            !conv_overlap(workspace, work_bytes, source, plan->source_bytes) &&
            !conv_overlap(workspace, work_bytes, packed, plan->weights_bytes) &&
            (sum == NULL || !conv_overlap(workspace, work_bytes, sum, out_bytes)));
}

static void run_unit(const struct conv_run *run, int64_t unit)
{
    const struct quire_conv_plan *plan = run->plan;
    const int64_t split = unit % plan->n_splits, number = unit / plan->n_splits;
    struct conv_strip strip = {
        .image = number / plan->n_strips,
        .first_column = plan->n_columns * split / plan->n_splits,
        .end_column = plan->n_columns * (split + 1) / plan->n_splits,
    };
    const int64_t index = number % plan->n_strips;
    strip.first_row = index * plan->strip_rows;
    strip.n_rows = plan->out_height - strip.first_row < plan->strip_rows
                       ? plan->out_height - strip.first_row
                       : plan->strip_rows;
    if (plan->unpacks) {
        strip.out = run->out;
        strip.out_block_stride = strip.n_rows * plan->out_width * plan->kernels->block;
        if (run->sum != NULL)
            conv_strip_pack_sum(run, &strip);
    } else {
        int64_t at = plan->destination.offset + strip.image * plan->destination.strides[0] +
                     strip.first_row * plan->out_width * plan->kernels->block;
        strip.out = run->destination + at;
        strip.sum = run->sum == NULL ? NULL : run->sum + at;
        strip.out_block_stride = plan->destination.strides[1];
    }
    if (plan->is_depthwise)
        conv_depthwise_strip(run, &strip);
    else if (conv_winograd_size(plan->algorithm) != 0)
        conv_winograd_strip(run, &strip);
    else if (plan->algorithm == QUIRE_CONV_IM2COL)
        conv_im2col_strip(run, &strip);
    else
        conv_direct_strip(run, &strip);
    if (plan->unpacks)
        conv_strip_unpack(run, &strip);
}

/* All sizes are multiples of QUIRE_CONV_ALIGNMENT. */
static float *take(float **from, size_t n_bytes)
{
    float *taken = *from;
    *from += n_bytes / sizeof **from;
    return taken;
}

static void run_part(const struct quire_conv_plan *plan, struct conv_run *run, float *workspace,
                     uint32_t part)
{
    const int64_t n_units = plan->shape.n_images * plan->n_strips * plan->n_splits;
    if (plan->workspace_bytes > 0) {
        float *at = workspace + part * (plan->part_bytes / sizeof *at);
        run->taps = (void *)take(&at, plan->taps_bytes);
        run->live_taps = run->taps + conv_taps(&plan->shape);
        run->strip = take(&at, plan->strip_bytes);
        run->gather = take(&at, plan->gather_bytes);
        run->out = take(&at, plan->out_bytes);
        run->out_sum = take(&at, plan->out_bytes);
    }
    if (plan->taps_bytes > 0)
        conv_taps_fill(plan, run->taps);
    for (int64_t unit = n_units * part / plan->n_parts; unit < n_units * (part + 1) / plan->n_parts;
         unit++)
        run_unit(run, unit);
}

int quire_conv_run_part(const struct quire_conv_plan *plan, const float *source, const void *packed,
                        const float *sum, float *destination, void *workspace, uint32_t part)
{
    if (part >= plan->n_parts || !conv_are_sound(plan, source, packed, sum, destination, workspace))
        return -EINVAL;
    struct conv_ahead ahead = {.n_runs = 0};
    struct conv_run run = {
        .ahead = &ahead,
        .plan = plan,
        .source = source,
        .weights = packed,
        .bias = (const float *)packed + plan->n_columns * plan->column_floats,
        .sum = sum,
        .destination = destination,
    };
    run_part(plan, &run, workspace, part);
    return 0;
}

int quire_conv_run(const struct quire_conv_plan *plan, const float *source, const void *packed,
                   const float *sum, float *destination, void *workspace)
{
    int error = 0;
    for (uint32_t part = 0; part < plan->n_parts && error == 0; part++)
        error = quire_conv_run_part(plan, source, packed, sum, destination, workspace, part);
    return error;
}
