/* SPDX-License-Identifier: Apache-2.0 */
/*
 * winograd: F(m x m, 3 x 3).
 *
 *     strip -- B^T d B --> V[position][in block][tile]      a tile is (m + 2)^2 pixels, m apart
 *     V[position] x U[column][position] --> M[position][out block][tile]     matrix products
 *     M -- A^T M A --> m x m pixels of output
 *
 * For each of the (m + 2)^2 positions the products of all channels are one matrix product, tiles by
 * input channels times input channels by output channels, and that is the same tile product as
 * everywhere, with tiles in place of pixels. V is made once for some tiles, as many as leave it in
 * the second-level cache, M for one column at a time.
 */
#include "tensor/conv/conv.h"

struct tiles {
    int64_t first, n; /* in the strip, by rows */
};

static enum conv_winograd kind(int64_t m)
{
    return m == 2 ? CONV_F2 : m == 4 ? CONV_F4 : CONV_F6;
}

static void transform_in(const struct conv_run *run, struct tiles tiles, int64_t m)
{
    const struct quire_conv_plan *plan = run->plan;
    const int64_t block = plan->kernels->block;
    struct conv_winograd_in tile = {.row_stride = plan->in_row_floats,
                                    .stride = plan->position_floats};
    for (int64_t t = 0; t < tiles.n; t++) {
        int64_t y = (tiles.first + t) / plan->tiles_x, x = (tiles.first + t) % plan->tiles_x;
        const float *in = run->strip + y * m * plan->in_row_floats + x * m * block;
        for (int64_t b = 0; b < plan->in_blocks; b++) {
            tile.in = in + b * plan->in_block_floats;
            tile.out = run->gather + (b * tiles.n + t) * block;
            plan->kernels->winograd_in[kind(m)](&tile);
        }
    }
}

static void multiply(const struct conv_run *run, const struct conv_column *column,
                     struct tiles tiles, float *products, int64_t n_positions)
{
    const struct quire_conv_plan *plan = run->plan;
    const int64_t block = plan->kernels->block;
    const struct conv_tap only = {0};
    const int64_t in_channels = (column->n_in_blocks - 1) * block + column->last_channels;
    struct conv_tile tile = {
        .in_block_stride = tiles.n * block,
        .in_blocks = column->n_in_blocks,
        .last_channels = column->last_channels,
        .taps = &only,
        .n_taps = 1,
        .n_kernel_taps = 1,
        .out_block_stride = tiles.n * block,
    };
    for (int64_t k = 0; k < n_positions; k++) {
        tile.in = run->gather + k * plan->position_floats +
                  column->first_in_block * tiles.n * block;
        tile.weights = column->weights + k * in_channels * column->n_blocks * block;
        tile.out = products + k * plan->product_floats;
        conv_multiply_rows(run, &tile, column->n_blocks, 0, 1, tiles.n);
    }
}

static void transform_out(const struct conv_run *run, const struct conv_strip *strip,
                          const struct conv_column *column, struct tiles tiles,
                          const float *products, int64_t m)
{
    const struct quire_conv_plan *plan = run->plan;
    const int64_t block = plan->kernels->block;
    struct conv_winograd_out tile = {.stride = plan->product_floats,
                                     .row_stride = plan->out_width * block};
    for (int64_t b = 0; b < column->n_blocks; b++)
        for (int64_t t = 0; t < tiles.n; t++) {
            int64_t y = (tiles.first + t) / plan->tiles_x * m;
            int64_t x = (tiles.first + t) % plan->tiles_x * m;
            int64_t out = (column->first_block + b) * strip->out_block_stride +
                          (y * plan->out_width + x) * block;
            tile.in = products + (b * tiles.n + t) * block;
            tile.out = strip->out + out;
            tile.n_rows = strip->n_rows - y < m ? strip->n_rows - y : m;
            tile.n_columns = plan->out_width - x < m ? plan->out_width - x : m;
            tile.finish = conv_finish(run, column->first_block + b,
                                      strip->sum == NULL ? NULL : strip->sum + out);
            plan->kernels->winograd_out[kind(m)](&tile);
        }
}

void conv_winograd_strip(const struct conv_run *run, const struct conv_strip *strip)
{
    const struct quire_conv_plan *plan = run->plan;
    const int64_t m = conv_winograd_size(plan->algorithm), n_positions = (m + 2) * (m + 2);
    const int64_t n_tiles = conv_ceil(strip->n_rows, m) * plan->tiles_x;
    const int64_t n_chunks = conv_ceil(n_tiles, plan->chunk_tiles);
    float *products = run->gather + n_positions * plan->position_floats;
    conv_strip_pack(run, strip);
    for (int64_t c = 0; c < n_chunks; c++) {
        struct tiles tiles = {.first = n_tiles * c / n_chunks};
        tiles.n = n_tiles * (c + 1) / n_chunks - tiles.first;
        transform_in(run, tiles, m);
        for (int64_t i = strip->first_column; i < strip->end_column; i++) {
            struct conv_column column = conv_column_at(plan, run->weights, i);
            multiply(run, &column, tiles, products, n_positions);
            transform_out(run, strip, &column, tiles, products, m);
        }
    }
}
