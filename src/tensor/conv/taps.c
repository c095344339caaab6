/* SPDX-License-Identifier: Apache-2.0 */
/*
 * taps: where the places of a kernel lie, in packed rows or in the source itself.
 *
 * A blocked source serves as it is if no more than a column of padding is read at either side. Then
 * what lies outside is neither made nor multiplied: taps whose pixels are all dead are left out,
 * others say which are. Of 3x3 over 14 x 14 pixels that is a tenth of all products.
 */
#include "tensor/conv/conv.h"

/* Columns of padding that are really read. */
static int64_t right_of(const struct quire_conv_plan *plan)
{
    const struct quire_conv_shape *shape = &plan->shape;
    return plan->out_width - shape->pad_left + (shape->kernel_width - 1) * shape->dilation_x -
           shape->in_width;
}

bool conv_taps_may_skip(const struct quire_conv_plan *plan)
{
    return conv_is_blocked(&plan->source, plan->kernels->block) && plan->shape.stride_x == 1 &&
           plan->shape.pad_left <= 1 && right_of(plan) <= 1;
}

void conv_taps_fill(const struct quire_conv_plan *plan, struct conv_tap *taps)
{
    const struct quire_conv_shape *shape = &plan->shape;
    const int64_t top = plan->skips ? shape->pad_top : 0, left = plan->skips ? shape->pad_left : 0;
    for (int64_t ky = 0; ky < shape->kernel_height; ky++)
        for (int64_t kx = 0; kx < shape->kernel_width; kx++) {
            int64_t x = kx * shape->dilation_x - left;
            int64_t in_phase = plan->n_phases == 1
                                   ? x
                                   : x % plan->n_phases * plan->packed_columns + x / plan->n_phases;
            *taps++ = (struct conv_tap){
                .in = (ky * shape->dilation_y - top) * plan->pitch_floats +
                      in_phase * plan->in_block,
                .number = (int32_t)(ky * shape->kernel_width + kx),
            };
        }
}

/* Of `n` outputs and the kernel's places in one direction, the pairs that meet an input. */
static int64_t count_live(int64_t n, int64_t n_in, int64_t n_places, int64_t stride,
                          int64_t dilation, int64_t before)
{
    int64_t live = 0;
    for (int64_t k = 0; k < n_places; k++) {
        int64_t first = before - k * dilation; /* of the input's, times the stride */
        int64_t from = first <= 0 ? 0 : conv_ceil(first, stride);
        int64_t to = n_in + first <= 0 ? 0 : conv_ceil(n_in + first, stride);
        to = to < n ? to : n;
        live += to > from ? to - from : 0;
    }
    return live;
}

double conv_taps_count(const struct quire_conv_plan *plan)
{
    const struct quire_conv_shape *s = &plan->shape;
    if (!plan->skips)
        return (double)(plan->out_height * plan->out_width) * (double)conv_taps(s);
    return (double)count_live(plan->out_height, s->in_height, s->kernel_height, s->stride_y,
                              s->dilation_y, s->pad_top) *
           (double)count_live(plan->out_width, s->in_width, s->kernel_width, s->stride_x,
                              s->dilation_x, s->pad_left);
}

int64_t conv_taps_live(const struct quire_conv_plan *plan, const struct conv_tap *all, int64_t y,
                       int64_t n_rows, int64_t x, int64_t n_columns, struct conv_tap *live)
{
    const struct quire_conv_shape *shape = &plan->shape;
    const uint32_t ends = CONV_DEAD_FIRST | CONV_DEAD_LAST;
    int64_t n = 0;
    for (int64_t ky = 0; ky < shape->kernel_height; ky++) {
        uint32_t dead_rows = 0;
        int64_t n_dead = 0;
        for (int64_t r = 0; r < n_rows; r++) {
            int64_t in = (y + r) * shape->stride_y - shape->pad_top + ky * shape->dilation_y;
            if (in < 0 || in >= shape->in_height) {
                dead_rows |= CONV_DEAD_ROW(r);
                n_dead++;
            }
        }
        for (int64_t kx = 0; kx < shape->kernel_width && n_dead < n_rows; kx++) {
            int64_t in = x - shape->pad_left + kx * shape->dilation_x;
            uint32_t is_dead = dead_rows;
            is_dead |= in < 0 ? CONV_DEAD_FIRST : 0;
            is_dead |= in + n_columns > shape->in_width ? CONV_DEAD_LAST : 0;
            if (n_columns == 1 && (is_dead & ends) != 0)
                continue;
            live[n] = all[ky * shape->kernel_width + kx];
            live[n++].is_dead = is_dead;
        }
    }
    return n;
}
