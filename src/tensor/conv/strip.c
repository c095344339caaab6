/* SPDX-License-Identifier: Apache-2.0 */
/* strip: rows of the source, padded and blocked; and of the result, to a layout of any kind. */
#include "tensor/conv/conv.h"

#include <string.h>

void conv_strip_taps(const struct quire_conv_plan *plan, int64_t *taps)
{
    const struct quire_conv_shape *shape = &plan->shape;
    const int64_t block = plan->kernels->block;
    for (int64_t ky = 0; ky < shape->kernel_height; ky++)
        for (int64_t kx = 0; kx < shape->kernel_width; kx++) {
            int64_t x = kx * shape->dilation_x;
            *taps++ = ky * shape->dilation_y * plan->pitch_floats +
                      (x % plan->n_phases * plan->packed_columns + x / plan->n_phases) * block;
        }
}

/* Rows that a strip of so many output rows reads. */
int64_t conv_strip_in_rows(const struct quire_conv_plan *plan, int64_t n_rows)
{
    const struct quire_conv_shape *shape = &plan->shape;
    const int64_t m = conv_winograd_size(plan->algorithm);
    if (m != 0)
        return conv_ceil(n_rows, m) * m + shape->kernel_height - 1;
    return (n_rows - 1) * (shape->stride_y / plan->row_step) +
           (shape->kernel_height - 1) * shape->dilation_y + 1;
}

/* Of a kernel of width 1 the first alone. */
static int64_t phases_kept(const struct quire_conv_plan *plan)
{
    return plan->pitch_floats / (plan->packed_columns * plan->kernels->block);
}

/* Zeros, pixels, zeros: one phase of one row of one block. `in` is the input row's first pixel. */
static void pack_row(const struct quire_conv_plan *plan, const float *in, int64_t phase, float *out)
{
    const int64_t block = plan->kernels->block, step = plan->n_phases;
    const int64_t left = plan->shape.pad_left, width = plan->shape.in_width;
    const size_t pixel_bytes = (size_t)block * sizeof *out;
    /* Columns c whose input c * step + phase - left is there. */
    int64_t first = phase >= left ? 0 : conv_ceil(left - phase, step);
    int64_t end = conv_ceil(width + left - phase, step);
    if (width + left <= phase)
        end = 0;
    if (first > plan->packed_columns)
        first = plan->packed_columns;
    if (end > plan->packed_columns)
        end = plan->packed_columns;
    if (end < first)
        end = first;
    memset(out, 0, (size_t)first * pixel_bytes);
    in += (first * step + phase - left) * block;
    if (step == 1)
        memcpy(out + first * block, in, (size_t)(end - first) * pixel_bytes);
    else
        for (int64_t c = first; c < end; c++, in += step * block)
            memcpy(out + c * block, in, pixel_bytes);
    memset(out + end * block, 0, (size_t)(plan->packed_columns - end) * pixel_bytes);
}

static void pack_blocked(const struct conv_run *run, const struct conv_strip *strip,
                         int64_t in_rows)
{
    const struct quire_conv_plan *plan = run->plan;
    const struct quire_conv_shape *shape = &plan->shape;
    const int64_t block = plan->kernels->block;
    const int64_t top = strip->first_row * shape->stride_y - shape->pad_top;
    for (int64_t b = 0; b < plan->in_blocks; b++) {
        const float *in = run->source + plan->source.offset +
                          strip->image * plan->source.strides[0] + b * plan->source.strides[1];
        for (int64_t r = 0; r < in_rows; r++) {
            int64_t y = top + r * plan->row_step;
            float *out = run->strip + b * plan->in_block_floats + r * plan->pitch_floats;
            if (y < 0 || y >= shape->in_height) {
                memset(out, 0, (size_t)plan->pitch_floats * sizeof *out);
                continue;
            }
            for (int64_t phase = 0; phase < phases_kept(plan); phase++)
                pack_row(plan, in + y * shape->in_width * block, phase,
                         out + phase * plan->packed_columns * block);
        }
    }
}

static void pack_any(const struct conv_run *run, const struct conv_strip *strip, int64_t in_rows)
{
    const struct quire_conv_plan *plan = run->plan;
    const struct quire_conv_shape *shape = &plan->shape;
    const int64_t block = plan->kernels->block;
    const int64_t top = strip->first_row * shape->stride_y - shape->pad_top;
    memset(run->strip, 0, (size_t)(plan->in_blocks * plan->in_block_floats) * sizeof *run->strip);
    for (int64_t c = 0; c < shape->in_channels; c++)
        for (int64_t r = 0; r < in_rows; r++) {
            int64_t y = top + r * plan->row_step;
            float *out = run->strip + c / block * plan->in_block_floats + r * plan->pitch_floats +
                         c % block;
            if (y < 0 || y >= shape->in_height)
                continue;
            for (int64_t x = 0; x < shape->in_width; x++) {
                int64_t at = x + shape->pad_left;
                int64_t index[] = {strip->image, c, y, x};
                if (at / plan->n_phases < plan->packed_columns &&
                    at % plan->n_phases < phases_kept(plan))
                    out[(at % plan->n_phases * plan->packed_columns + at / plan->n_phases) *
                        block] = run->source[quire_layout_place(&plan->source, index)];
            }
        }
}

void conv_strip_pack(const struct conv_run *run, const struct conv_strip *strip)
{
    int64_t in_rows = conv_strip_in_rows(run->plan, strip->n_rows);
    if (conv_is_blocked(&run->plan->source, run->plan->kernels->block))
        pack_blocked(run, strip, in_rows);
    else
        pack_any(run, strip, in_rows);
}

/* The channels of a unit's columns. */
static int64_t channel_of(const struct quire_conv_plan *plan, int64_t column)
{
    const int64_t block = plan->kernels->block;
    if (column == plan->n_columns)
        return plan->shape.out_channels;
    return block * (plan->is_depthwise ? column : conv_column_at(plan, NULL, column).first_block);
}

static void move_out(const struct conv_run *run, const struct conv_strip *strip, float *to,
                     const float *from, bool is_sum)
{
    const struct quire_conv_plan *plan = run->plan;
    const int64_t block = plan->kernels->block;
    const int64_t end = channel_of(plan, strip->end_column);
    for (int64_t c = channel_of(plan, strip->first_column); c < end; c++)
        for (int64_t y = 0; y < strip->n_rows; y++)
            for (int64_t x = 0; x < plan->out_width; x++) {
                int64_t index[] = {strip->image, c, strip->first_row + y, x};
                int64_t place = quire_layout_place(&plan->destination, index);
                int64_t at = c / block * strip->out_block_stride +
                             (y * plan->out_width + x) * block + c % block;
                if (is_sum)
                    to[at] = from[place];
                else
                    to[place] = from[at];
            }
}

void conv_strip_pack_sum(const struct conv_run *run, struct conv_strip *strip)
{
    move_out(run, strip, run->out_sum, run->sum, true);
    strip->sum = run->out_sum;
}

void conv_strip_unpack(const struct conv_run *run, const struct conv_strip *strip)
{
    move_out(run, strip, run->destination, strip->out, false);
}
