/* SPDX-License-Identifier: Apache-2.0 */
/* choose: what an algorithm's error is bounded by, and how long it should take. */
#include "tensor/conv/conv.h"
#include "tensor/conv/points.h"

#include <math.h>

double conv_error(const struct quire_conv_shape *shape, enum quire_conv_algorithm algorithm)
{
    const double unit = 0x1p-24, amplifications[] = {CONV_AMPLIFICATION_2, CONV_AMPLIFICATION_4,
                                                     CONV_AMPLIFICATION_6};
    const int64_t m = conv_winograd_size(algorithm);
    double n_terms = (double)(shape->in_channels / shape->groups);
    double amplification = 1;
    if (m == 0)
        n_terms *= (double)conv_taps(shape);
    else
        amplification = amplifications[m / 2 - 1];
    return unit * (2 * sqrt(n_terms) + 4) * amplification;
}

/*
 * Cycles of a processor that does one multiply-add of a block in each, which is what they are all
 * designed for; the others take the same multiple of it everywhere. The constants were
 * measured (bench/layout): what a tile's transforms cost, and how many floats of weights
 * come from beyond the second-level cache in a cycle.
 */
double conv_cycles(const struct quire_conv_plan *plan)
{
    static const double tile_in[] = {60, 170, 420}, tile_out[] = {50, 150, 330};
    const double l2_floats = 128 << 10, floats_a_cycle = 2, pack = 4;
    const struct quire_conv_shape *shape = &plan->shape;
    const double block = (double)plan->kernels->block;
    const double in_pixels = (double)(shape->n_images * plan->in_blocks) *
                             (double)(shape->in_height * shape->in_width);
    const int64_t m = conv_winograd_size(plan->algorithm);
    double cycles = plan->multiplications / block + (plan->packs ? pack * in_pixels : 0);
    if (plan->algorithm == QUIRE_CONV_IM2COL)
        cycles += in_pixels * pack * (double)conv_taps(shape);
    double weights = (double)plan->column_floats * (double)plan->n_columns;
    if (m == 0)
        return cycles;
    const double tiles = (double)shape->n_images *
                         (double)(conv_ceil(plan->out_height, m) * plan->tiles_x);
    cycles += tiles * ((double)plan->in_blocks * tile_in[m / 2 - 1] +
                       (double)plan->out_blocks * tile_out[m / 2 - 1]);
    if (weights > l2_floats)
        cycles += weights / floats_a_cycle * ceil(tiles / (double)plan->chunk_tiles) * 0.5;
    return cycles;
}
