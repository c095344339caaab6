/* SPDX-License-Identifier: Apache-2.0 */
/* strip: rows of the source, padded and blocked; and of the result, to a layout of any kind. */
#include "tensor/conv/conv.h"

#include <string.h>

#define FLOATS_AHEAD 1024 /* a page: longer than memory takes */

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
    return plan->pitch_floats / (plan->packed_columns * plan->in_block);
}

struct range {
    int64_t first, end;
};

/* The packed columns c of a phase whose input, c * n_phases + phase - left, is there. */
static struct range columns_there(const struct quire_conv_plan *plan, int64_t phase)
{
    const int64_t left = plan->shape.pad_left, width = plan->shape.in_width;
    struct range range = {
        .first = phase >= left ? 0 : conv_ceil(left - phase, plan->n_phases),
        .end = width + left <= phase ? 0 : conv_ceil(width + left - phase, plan->n_phases),
    };
    if (range.first > plan->packed_columns)
        range.first = plan->packed_columns;
    if (range.end > plan->packed_columns)
        range.end = plan->packed_columns;
    if (range.end < range.first)
        range.end = range.first;
    return range;
}

/* Zeros, pixels, zeros: one phase of one row of one block. `in` is the input row's first pixel,
 * `there` the packed columns that have pixels. */
static void pack_row(const struct quire_conv_plan *plan, const float *in, int64_t phase,
                     struct range there, float *out)
{
    const int64_t block = plan->in_block, step = plan->n_phases * plan->source.strides[3];
    const int64_t first = there.first, end = there.end;
    const size_t pixel_bytes = (size_t)block * sizeof *out;
    if (first > 0)
        memset(out, 0, (size_t)first * pixel_bytes);
    in += first * step + (phase - plan->shape.pad_left) * plan->source.strides[3];
    if (step == block)
        memcpy(out + first * block, in, (size_t)(end - first) * pixel_bytes);
    else if (block == 1)
        for (int64_t c = first; c < end; c++, in += step)
            out[c] = *in;
    else
        for (int64_t c = first; c < end; c++, in += step)
            memcpy(out + c * block, in, pixel_bytes);
    if (end < plan->packed_columns)
        memset(out + end * block, 0, (size_t)(plan->packed_columns - end) * pixel_bytes);
}

/* What the copy will reach soon: the weights of the last layer have swept the caches. */
static void fetch_ahead(const float *in, const float *out, int64_t n_floats)
{
    const int64_t line = QUIRE_CONV_ALIGNMENT / sizeof *in;
    for (int64_t i = FLOATS_AHEAD; i < FLOATS_AHEAD + n_floats; i += line) {
        __builtin_prefetch(in + i);
        __builtin_prefetch(out + i, 1);
    }
}

/* One phase of one block. `in`: the image's first pixel. */
static void pack_phase(const struct quire_conv_plan *plan, const float *in, int64_t top,
                       int64_t in_rows, int64_t phase, float *out)
{
    const struct range there = columns_there(plan, phase);
    const int64_t row_floats = plan->packed_columns * plan->in_block;
    for (int64_t r = 0; r < in_rows; r++, out += plan->pitch_floats) {
        int64_t y = top + r * plan->row_step;
        if (y < 0 || y >= plan->shape.in_height) {
            memset(out, 0, (size_t)row_floats * sizeof *out);
            continue;
        }
        const float *row = in + y * plan->source.strides[2];
        if (phase == 0)
            fetch_ahead(row, out, plan->pitch_floats);
        pack_row(plan, row, phase, there, out);
    }
}

/* Of a source that is blocked as the strip is. */
static void pack_rows(const struct conv_run *run, const struct conv_strip *strip, int64_t in_rows)
{
    const struct quire_conv_plan *plan = run->plan;
    const int64_t *strides = plan->source.strides;
    const int64_t top = strip->first_row * plan->shape.stride_y - plan->shape.pad_top;
    const float *in = run->source + plan->source.offset + strip->image * strides[0];
    for (int64_t b = 0; b < plan->in_blocks; b++)
        for (int64_t phase = 0; phase < phases_kept(plan); phase++)
            pack_phase(plan, in + b * strides[1], top, in_rows, phase,
                       run->strip + b * plan->in_block_floats +
                           phase * plan->packed_columns * plan->in_block);
}

/* Whether each packed column is one of the source, but for padding at the left. */
static bool ends_within(const struct quire_conv_plan *plan)
{
    for (int64_t phase = 0; phase < phases_kept(plan); phase++)
        if (columns_there(plan, phase).end < plan->packed_columns)
            return false;
    return true;
}

/* A part of a tensor: one image, channels, rows and columns from `first` on, some steps apart.
 * False: its layout has blocks that this would cut. */
static bool cut(const struct quire_layout *whole, const int64_t first[4], const int64_t dims[4],
                int64_t row_step, int64_t column_step, struct quire_layout *part)
{
    for (uint32_t d = 0; d < 4; d++)
        if (quire_layout_block_size(whole, d) != 1 &&
            (d != 1 || first[1] % quire_layout_block_size(whole, 1) != 0))
            return false;
    *part = *whole;
    part->offset = quire_layout_place(whole, first);
    memcpy(part->dims, dims, 4 * sizeof *dims);
    part->strides[2] *= row_step;
    part->strides[3] *= column_step;
    return true;
}

/* Rows of a strip, from `at` floats on: blocks and rows are so far apart. */
static struct quire_layout strip_layout(const int64_t dims[4], int64_t block, int64_t at,
                                        int64_t block_stride, int64_t row_stride)
{
    struct quire_layout layout = {
        .type = QUIRE_LAYOUT_F32,
        .n_dims = 4,
        .strides = {block_stride * ((dims[1] + block - 1) / block), block_stride, row_stride,
                    block},
        .offset = at,
        .n_blocks = block > 1 ? 1 : 0,
        .blocks = {{.dim = 1, .size = (uint32_t)block}},
    };
    memcpy(layout.dims, dims, 4 * sizeof *dims);
    return layout;
}

static void copy_elements(const struct quire_layout *from, const float *source,
                          const struct quire_layout *to, float *target)
{
    int64_t i[4] = {0};
    for (i[1] = 0; i[1] < to->dims[1]; i[1]++)
        for (i[2] = 0; i[2] < to->dims[2]; i[2]++)
            for (i[3] = 0; i[3] < to->dims[3]; i[3]++)
                target[quire_layout_place(to, i)] = source[quire_layout_place(from, i)];
}

static void convert(const struct quire_conv_plan *plan, const struct quire_layout *from,
                    const float *source, const struct quire_layout *to, float *target)
{
    const struct quire_layout_options options = {.isa = plan->isa,
                                                 .stores = QUIRE_LAYOUT_STORES_CACHED};
    struct quire_layout_conversion conversion;
    if (quire_layout_conversion_init(&conversion, from, to, &options) != 0 ||
        quire_layout_convert(&conversion, source, quire_layout_bytes(from), target,
                             quire_layout_bytes(to)) != 0)
        copy_elements(from, source, to, target);
}

/* Pixel by pixel, from a layout with blocks of rows or columns: slow, and nobody has those. */
static void pack_pixels(const struct conv_run *run, int64_t image, int64_t top, int64_t in_rows)
{
    const struct quire_conv_plan *plan = run->plan;
    const struct quire_conv_shape *shape = &plan->shape;
    const int64_t block = plan->in_block, columns = plan->packed_columns;
    int64_t i[] = {image, 0, 0, 0};
    for (i[1] = 0; i[1] < shape->in_channels; i[1]++)
        for (int64_t r = 0; r < in_rows; r++)
            for (int64_t at = 0; at < phases_kept(plan) * columns; at++) {
                i[2] = top + r * plan->row_step;
                i[3] = at % columns * plan->n_phases + at / columns - shape->pad_left;
                if (i[2] >= 0 && i[2] < shape->in_height && i[3] >= 0 && i[3] < shape->in_width)
                    run->strip[i[1] / block * plan->in_block_floats + r * plan->pitch_floats +
                               at * block + i[1] % block] =
                        run->source[quire_layout_place(&plan->source, i)];
            }
}

static void pack_any(const struct conv_run *run, const struct conv_strip *strip, int64_t in_rows)
{
    const struct quire_conv_plan *plan = run->plan;
    const struct quire_conv_shape *shape = &plan->shape;
    const int64_t block = plan->in_block;
    const int64_t top = strip->first_row * shape->stride_y - shape->pad_top;
    int64_t first_row = top >= 0 ? 0 : conv_ceil(-top, plan->row_step);
    int64_t end_row = conv_ceil(shape->in_height - top, plan->row_step);
    if (end_row > in_rows)
        end_row = in_rows;
    if (first_row > 0 || end_row < in_rows || shape->pad_left > 0 || !ends_within(plan))
        memset(run->strip, 0,
               (size_t)(plan->in_blocks * plan->in_block_floats) * sizeof *run->strip);
    for (int64_t phase = 0; phase < phases_kept(plan); phase++) {
        struct range columns = columns_there(plan, phase);
        int64_t first[] = {strip->image, 0, top + first_row * plan->row_step,
                           columns.first * plan->n_phases + phase - shape->pad_left};
        int64_t dims[] = {1, shape->in_channels, end_row - first_row, columns.end - columns.first};
        struct quire_layout from, to;
        if (dims[2] <= 0 || dims[3] <= 0)
            continue;
        if (!cut(&plan->source, first, dims, plan->row_step, plan->n_phases, &from)) {
            pack_pixels(run, strip->image, top, in_rows);
            return;
        }
        to = strip_layout(dims, block,
                          first_row * plan->pitch_floats +
                              (phase * plan->packed_columns + columns.first) * block,
                          plan->in_block_floats, plan->pitch_floats);
        convert(plan, &from, run->source, &to, run->strip);
    }
}

/* What the strip after this one reads. */
void conv_strip_look_ahead(const struct conv_run *run, const struct conv_strip *strip)
{
    const struct quire_conv_plan *plan = run->plan;
    const struct quire_conv_shape *shape = &plan->shape;
    const int64_t block = plan->kernels->block;
    const int64_t first = (strip->first_row + strip->n_rows) * shape->stride_y - shape->pad_top;
    int64_t end = first + conv_strip_in_rows(plan, strip->n_rows) * plan->row_step;
    if (end > shape->in_height)
        end = shape->in_height;
    run->ahead->n_runs = 0;
    if (first < 0 || first >= end || !conv_is_blocked(&plan->source, block))
        return;
    *run->ahead = (struct conv_ahead){
        .from = run->source + plan->source.offset + strip->image * plan->source.strides[0] +
                first * shape->in_width * block,
        .run_floats = (end - first) * shape->in_width * block,
        .run_stride = plan->source.strides[1],
        .n_runs = plan->in_blocks,
    };
}

void conv_strip_pack(const struct conv_run *run, const struct conv_strip *strip)
{
    int64_t in_rows = conv_strip_in_rows(run->plan, strip->n_rows);
    if (conv_is_blocked(&run->plan->source, run->plan->kernels->block) ||
        (run->plan->in_block == 1 && run->plan->source.n_blocks == 0))
        pack_rows(run, strip, in_rows);
    else
        pack_any(run, strip, in_rows);
    conv_strip_look_ahead(run, strip);
}

/* The channels of a unit's columns. */
static int64_t channel_of(const struct quire_conv_plan *plan, int64_t column)
{
    const int64_t block = plan->kernels->block;
    if (column == plan->n_columns)
        return plan->shape.out_channels;
    return block * (plan->is_depthwise ? column : conv_column_at(plan, NULL, column).first_block);
}

/* Blocked scratch to a unit's part of the destination, or the same part of the sum to scratch. */
static void move(const struct conv_run *run, const struct conv_strip *strip, float *scratch,
                 bool is_out)
{
    const struct quire_conv_plan *plan = run->plan;
    const int64_t block = plan->kernels->block;
    const int64_t channel = channel_of(plan, strip->first_column);
    int64_t first[] = {strip->image, channel, strip->first_row, 0};
    int64_t dims[] = {1, channel_of(plan, strip->end_column) - channel, strip->n_rows,
                      plan->out_width};
    struct quire_layout part,
        rows = strip_layout(dims, block, channel / block * strip->out_block_stride,
                            strip->out_block_stride, plan->out_width * block);
    bool is_cut = cut(&plan->destination, first, dims, 1, 1, &part);
    if (is_cut && is_out)
        convert(plan, &rows, scratch, &part, run->destination);
    else if (is_cut)
        convert(plan, &part, run->sum, &rows, scratch);
    for (int64_t i = 0; !is_cut && i < dims[1] * dims[2] * dims[3]; i++) {
        int64_t c = i / (dims[2] * dims[3]), y = i / dims[3] % dims[2], x = i % dims[3];
        int64_t place = quire_layout_place(
            &plan->destination, (int64_t[]){strip->image, channel + c, strip->first_row + y, x});
        int64_t at = quire_layout_place(&rows, (int64_t[]){0, c, y, x});
        if (is_out)
            run->destination[place] = scratch[at];
        else
            scratch[at] = run->sum[place];
    }
}

void conv_strip_pack_sum(const struct conv_run *run, struct conv_strip *strip)
{
    move(run, strip, run->out_sum, false);
    strip->sum = run->out_sum;
}

void conv_strip_unpack(const struct conv_run *run, const struct conv_strip *strip)
{
    move(run, strip, strip->out, true);
}
