/* SPDX-License-Identifier: Apache-2.0 */
/* direct: convolution as products of tiles, column by column of output blocks. */
#include "tensor/conv/conv.h"

#define LINE_FLOATS 16
#define LINES_AHEAD 48 /* for a tile: as many as can be on their way, and enough for all shapes */
#define MOST_LATER ((int64_t)80 << 10)  /* floats of a column: a third of the second level */
#define FAR_FLOATS ((int64_t)128 << 10) /* of all columns: more than it holds beside the rest */

static void fetch_ahead(struct conv_ahead *ahead)
{
    for (int i = 0; i < LINES_AHEAD && ahead->n_runs > 0; i++) {
        __builtin_prefetch(ahead->from + ahead->at, 0, 2);
        ahead->at += LINE_FLOATS;
        if (ahead->at >= ahead->run_floats) {
            ahead->at = 0;
            ahead->from += ahead->run_stride;
            ahead->n_runs--;
        }
    }
}

/* Of a tile over the source: its first row and column of the output. */
static void leave_dead_taps(const struct conv_run *run, int64_t y, int64_t n_rows, int64_t x,
                            int64_t n_columns, struct conv_tile *tile)
{
    tile->n_taps = conv_taps_live(run->plan, run->taps, y, n_rows, x, n_columns, run->live_taps);
    tile->taps = run->live_taps;
}

/* Of the lines that all tiles fetch, one tile's. */
static void share_later(const struct conv_tile *all, int64_t number, int64_t n_tiles,
                        struct conv_tile *tile)
{
    int64_t from = all->later_lines * number / n_tiles;
    int64_t n_lines = all->later_lines * (number + 1) / n_tiles - from;
    tile->later = all->later + from * LINE_FLOATS;
    tile->later_lines = tile->n_taps == 0 ? 0 : conv_ceil(n_lines, tile->in_blocks * tile->n_taps);
}

/* Two rows share a tile where one would leave half of it empty. */
void conv_multiply_rows(const struct conv_run *run, const struct conv_tile *first, int64_t n_blocks,
                        int64_t first_row, int64_t n_rows, int64_t n_columns)
{
    const struct conv_kernels *kernels = run->plan->kernels;
    const int64_t block = kernels->block, most = (*kernels->most_pixels)[n_blocks];
    const int64_t widest = most < CONV_MOST_COLUMNS ? most : CONV_MOST_COLUMNS;
    const int64_t pixel = run->plan->pixel_floats;
    const bool is_plain = run->plan->in_block == 1;
    const bool is_narrow = 2 * n_columns <= most || 2 * widest <= most;
    const int64_t rows_at_once = is_narrow && n_rows > 1 && !is_plain ? 2 : 1;
    const int64_t room = rows_at_once * widest <= most ? widest : most / 2;
    const int64_t n_tiles = conv_ceil(n_columns, room);
    struct conv_tile tile = *first;
    tile.pixel_floats = pixel;
    for (int64_t y = 0; y < n_rows; y += rows_at_once) {
        int64_t rows = n_rows - y < rows_at_once ? n_rows - y : rows_at_once;
        for (int64_t i = 0, x = 0, end; i < n_tiles; i++, x = end) {
            end = n_columns * (i + 1) / n_tiles;
            int64_t out = y * first->out_row_stride + x * block;
            tile.in = first->in + y * first->in_row_stride + x * pixel;
            tile.out = first->out + out;
            tile.finish.sum = first->finish.sum == NULL ? NULL : first->finish.sum + out;
            tile.next = end < n_columns     ? first->in + y * first->in_row_stride + end * pixel
                        : y + rows < n_rows ? first->in + (y + rows) * first->in_row_stride
                                            : first->in;
            if (run->plan->skips)
                leave_dead_taps(run, first_row + y, rows, x, end - x, &tile);
            fetch_ahead(run->ahead);
            if (first->later_lines > 0)
                share_later(first, y / rows_at_once * n_tiles + i,
                            conv_ceil(n_rows, rows_at_once) * n_tiles, &tile);
            if (is_plain)
                kernels->multiply_plain[n_blocks - 1][end - x - 1](&tile);
            else
                kernels->multiply[n_blocks - 1][rows - 1][end - x - 1](&tile);
        }
    }
}

/* What the next column will read, if it comes from beyond the second level and has room there
 * beside this one; NULL: does not. */
static const float *next_weights(const struct conv_run *run, const struct conv_strip *strip,
                                 int64_t column)
{
    const struct quire_conv_plan *plan = run->plan;
    const bool is_last = column + 1 == strip->end_column;
    if (plan->column_floats > MOST_LATER || plan->column_floats * plan->n_columns < FAR_FLOATS ||
        (is_last && strip->first_row + strip->n_rows == plan->out_height))
        return NULL;
    return run->weights + (is_last ? strip->first_column : column + 1) * plan->column_floats;
}

void conv_direct_strip(const struct conv_run *run, const struct conv_strip *strip)
{
    const struct quire_conv_plan *plan = run->plan;
    const int64_t block = plan->kernels->block;
    const float *in = run->strip;
    if (plan->packs) {
        conv_strip_pack(run, strip);
    } else {
        in = run->source + plan->source.offset + strip->image * plan->source.strides[0] +
             strip->first_row * plan->in_row_floats;
        if (plan->skips)
            conv_strip_look_ahead(run, strip);
    }
    for (int64_t i = strip->first_column; i < strip->end_column; i++) {
        struct conv_column column = conv_column_at(plan, run->weights, i);
        int64_t out = column.first_block * strip->out_block_stride;
        const float *sum = strip->sum == NULL ? NULL : strip->sum + out;
        const float *next = next_weights(run, strip, i);
        struct conv_tile tile = {
            .in = in + column.first_in_block * plan->in_block_floats,
            .in_block_stride = plan->in_block_floats,
            .in_row_stride = plan->in_row_floats,
            .in_blocks = column.n_in_blocks,
            .last_channels = column.last_channels,
            .taps = run->taps,
            .n_taps = conv_taps(&plan->shape),
            .n_kernel_taps = conv_taps(&plan->shape),
            .weights = column.weights,
            .later = next,
            .later_lines = next == NULL ? 0 : plan->column_floats / LINE_FLOATS,
            .out = strip->out + out,
            .out_block_stride = strip->out_block_stride,
            .out_row_stride = plan->out_width * block,
            .finish = conv_finish(run, column.first_block, sum),
        };
        if (plan->is_flat)
            conv_multiply_rows(run, &tile, column.n_blocks, 0, 1, strip->n_rows * plan->out_width);
        else
            conv_multiply_rows(run, &tile, column.n_blocks, strip->first_row, strip->n_rows,
                               plan->out_width);
    }
}
