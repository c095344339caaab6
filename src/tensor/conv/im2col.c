/* SPDX-License-Identifier: Apache-2.0 */
/*
 * im2col: the inputs of each output pixel copied side by side, then one matrix product.
 *
 * The matrix is blocked as tensors are: [in block * taps + tap][pixel][channel], so that the
 * product is that of a 1x1 convolution, and the packed weights are direct convolution's.
 */
#include "tensor/conv/conv.h"

#include <string.h>

/* Only the channels that are there: a tail may hold anything. */
static void gather_row(float *out, const float *in, int64_t n_pixels, int64_t block,
                       int64_t n_channels)
{
    if (n_channels == block) {
        memcpy(out, in, (size_t)(n_pixels * block) * sizeof *out);
        return;
    }
    for (int64_t p = 0; p < n_pixels; p++)
        for (int64_t c = 0; c < block; c++)
            out[p * block + c] = c < n_channels ? in[p * block + c] : 0;
}

static void gather(const struct conv_run *run, const struct conv_strip *strip)
{
    const struct quire_conv_plan *plan = run->plan;
    const int64_t block = plan->kernels->block, n_taps = conv_taps(&plan->shape);
    const int64_t row_floats = plan->out_width * block;
    const int64_t tail = plan->shape.in_channels - (plan->in_blocks - 1) * block;
    float *out = run->gather;
    for (int64_t b = 0; b < plan->in_blocks; b++)
        for (int64_t t = 0; t < n_taps; t++) {
            const float *in = run->strip + b * plan->in_block_floats + run->taps[t].in;
            for (int64_t y = 0; y < strip->n_rows; y++, out += row_floats)
                gather_row(out, in + y * plan->in_row_floats, plan->out_width, block,
                           b + 1 < plan->in_blocks ? block : tail);
        }
}

void conv_im2col_strip(const struct conv_run *run, const struct conv_strip *strip)
{
    const struct quire_conv_plan *plan = run->plan;
    const int64_t block = plan->kernels->block, n_taps = conv_taps(&plan->shape);
    const int64_t n_pixels = strip->n_rows * plan->out_width;
    const struct conv_tap only = {0};
    conv_strip_pack(run, strip);
    gather(run, strip);
    for (int64_t i = strip->first_column; i < strip->end_column; i++) {
        struct conv_column column = conv_column_at(plan, run->weights, i);
        int64_t out = column.first_block * strip->out_block_stride;
        const float *sum = strip->sum == NULL ? NULL : strip->sum + out;
        struct conv_tile tile = {
            .in = run->gather + column.first_in_block * n_taps * n_pixels * block,
            .in_block_stride = n_pixels * block,
            .in_blocks = column.n_in_blocks * n_taps,
            .last_channels = block,
            .taps = &only,
            .n_taps = 1,
            .n_kernel_taps = 1,
            .weights = column.weights,
            .out = strip->out + out,
            .out_block_stride = strip->out_block_stride,
            .finish = conv_finish(run, column.first_block, sum),
        };
        conv_multiply_rows(run, &tile, column.n_blocks, 0, 1, n_pixels);
    }
}
