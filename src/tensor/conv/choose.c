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
 * Cycles of a processor that does one multiply-add of a block in each, which is what the tiles are
 * designed for; others take the same multiple of it everywhere. The constants were measured
 * (bench/layout/convolutions): what a tile's transforms and the packing of a pixel cost, and how
 * fast weights come from beyond the second-level cache, while products are computed.
 */
double conv_cycles(const struct quire_conv_plan *plan)
{
    static const double tile_in[] = {80, 340, 840}, tile_out[] = {65, 300, 660};
    const double pack = 4, tile_of_products = 200; /* to begin it and to store it */
    const double near_floats = 128 << 10,
                 far_floats = 3 << 20;            /* second level, a part of the third */
    const double near_rate = 2.5, far_rate = 1.2; /* floats in a cycle */
    const struct quire_conv_shape *shape = &plan->shape;
    const int64_t m = conv_winograd_size(plan->algorithm);
    const double in_pixels = (double)(shape->n_images * plan->in_blocks) *
                             (double)(shape->in_height * shape->in_width);
    double products = plan->multiplications / (double)plan->kernels->block;
    double packing = plan->packs ? (plan->in_block == 1 ? 1 : pack) * in_pixels : 0;
    if (plan->algorithm == QUIRE_CONV_IM2COL)
        packing += pack * in_pixels * (double)conv_taps(shape);
    if (m == 0)
        return products + packing +
               tile_of_products * (double)(shape->n_images * plan->out_height * plan->out_width) *
                   (double)plan->n_columns / CONV_MOST_COLUMNS;
    const double tiles = (double)shape->n_images *
                         (double)(conv_ceil(plan->out_height, m) * plan->tiles_x);
    const double weights = (double)plan->column_floats * (double)plan->n_columns;
    const double streamed = weights * ceil(tiles / (double)plan->chunk_tiles) /
                            (weights > far_floats ? far_rate : near_rate);
    if (weights > near_floats && streamed > products)
        products = streamed;
    products += tile_of_products * tiles * (double)plan->n_columns * (double)((m + 2) * (m + 2)) /
                CONV_MOST_COLUMNS;
    return products + packing +
           tiles * ((double)plan->in_blocks * tile_in[m / 2 - 1] +
                    (double)plan->out_blocks * tile_out[m / 2 - 1]);
}
