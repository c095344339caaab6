/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conv: what the files of convolution have in common.
 *
 * Work is cut into units, each a strip of output rows of one image, and if that is too few for all
 * threads, some of the output's columns of blocks:
 *
 *     source ---- strip_pack ----> padded, blocked rows ---- kernels ----> output rows
 *             (skipped where the      [in block][row]            (where the destination is not
 *              source will do)        [phase][pixel]              blocked: strip_unpack)
 *
 * With a horizontal stride s, a packed row has its pixels in s phases: first those at 0, s, 2 s
 * ..., then those at 1, s + 1 .... So neighbouring outputs read neighbouring pixels, whatever the
 * stride, and no kernel knows of strides, borders or layouts.
 *
 * A column is one or two blocks of output channels, which a tile computes at the same time, and the
 * range of input blocks that they depend on: all of them, or those of their groups. Weights of
 * pairs in the range that belong to different groups are zeros.
 */
#ifndef QUIRE_TENSOR_CONV_CONV_H
#define QUIRE_TENSOR_CONV_CONV_H

#include "tensor/conv/kernels.h"

#include <quire/conv.h>

#define CONV_MOST_POSITIONS 64 /* of a Winograd tile: (6 + 2)^2 */

struct conv_column {
    int64_t first_block, n_blocks;       /* of the output */
    int64_t first_in_block, n_in_blocks; /* of the input */
    int64_t last_channels;               /* that the last input block really has */
    const float *weights;
};

/* Source that the next strip reads, brought into the second-level cache little by little: runs of
 * lines, equally far apart. */
struct conv_ahead {
    const float *from;
    int64_t run_floats, run_stride, n_runs; /* a multiple of a line each */
    int64_t at;                             /* how far it is, in floats */
};

/* One part of a run. */
struct conv_run {
    const struct quire_conv_plan *plan;
    const float *source, *weights, *bias, *sum;
    float *destination;
    /* Its part of the workspace */
    struct conv_tap *taps, *live_taps;
    float *strip, *gather, *out, *out_sum;
    struct conv_ahead *ahead;
};

/* One unit, and where its output goes: the first row, of the first output block of all. */
struct conv_strip {
    int64_t image, first_row, n_rows;
    int64_t first_column, end_column;
    float *out;
    const float *sum;
    int64_t out_block_stride;
};

/* plan.c */
struct conv_column conv_column_at(const struct quire_conv_plan *plan, const float *weights,
                                  int64_t column);
bool conv_is_blocked(const struct quire_layout *layout, int64_t block);
/* m of F(m x m, 3 x 3); 0: not Winograd. */
int64_t conv_winograd_size(enum quire_conv_algorithm algorithm);
static inline int64_t conv_taps(const struct quire_conv_shape *shape)
{
    return shape->kernel_height * shape->kernel_width;
}
static inline int64_t conv_ceil(int64_t n, int64_t by)
{
    return (n + by - 1) / by;
}

/* run.c: whether a buffer is there and aligned; whether two overlap. */
bool conv_is_usable(const void *buffer, size_t alignment);
bool conv_overlap(const void *a, size_t a_bytes, const void *b, size_t b_bytes);
/* Whether a plan may be run with these: see quire_conv_run(). */
bool conv_are_sound(const struct quire_conv_plan *plan, const float *source, const void *packed,
                    const float *sum, const float *destination, const void *workspace);

/* choose.c: error bounds and expected times. */
double conv_error(const struct quire_conv_shape *shape, enum quire_conv_algorithm algorithm);
double conv_cycles(const struct quire_conv_plan *plan);

/* strip.c: the rows that `strip` needs into run->strip; from the scratch to the destination. */
void conv_strip_pack(const struct conv_run *run, const struct conv_strip *strip);
void conv_strip_pack_sum(const struct conv_run *run, struct conv_strip *strip);
void conv_strip_unpack(const struct conv_run *run, const struct conv_strip *strip);
int64_t conv_strip_in_rows(const struct quire_conv_plan *plan, int64_t n_rows);
/* The source of the strip after this one shall be fetched while this one is computed. */
void conv_strip_look_ahead(const struct conv_run *run, const struct conv_strip *strip);

/* taps.c: whether the source serves as it is, padding skipped. */
bool conv_taps_may_skip(const struct quire_conv_plan *plan);
/* All taps, in a packed row or in the source. */
void conv_taps_fill(const struct quire_conv_plan *plan, struct conv_tap *taps);
/* Of `all` those that a tile has within the source; returns how many. */
int64_t conv_taps_live(const struct quire_conv_plan *plan, const struct conv_tap *all, int64_t y,
                       int64_t n_rows, int64_t x, int64_t n_columns, struct conv_tap *live);
/* Products for one channel of an image, those that are skipped not counted. */
double conv_taps_count(const struct quire_conv_plan *plan);

/* One unit each. */
void conv_direct_strip(const struct conv_run *run, const struct conv_strip *strip);
void conv_im2col_strip(const struct conv_run *run, const struct conv_strip *strip);
void conv_winograd_strip(const struct conv_run *run, const struct conv_strip *strip);
void conv_depthwise_strip(const struct conv_run *run, const struct conv_strip *strip);

/* direct.c: tiles over rows of pixels, all of one column; `tile` has the first pixels, of the row
 * `first_row` of the image. */
void conv_multiply_rows(const struct conv_run *run, const struct conv_tile *tile, int64_t n_blocks,
                        int64_t first_row, int64_t n_rows, int64_t n_columns);

/* What is done to the results of some blocks from `first_block` on, whose first pixel's sum lies at
 * `sum` (NULL: none). */
static inline struct conv_finish conv_finish(const struct conv_run *run, int64_t first_block,
                                             const float *sum)
{
    return (struct conv_finish){
        .bias = run->bias + first_block * run->plan->kernels->block,
        .sum = sum,
        .low = run->plan->low,
        .high = run->plan->high,
        .clamps = run->plan->clamps,
    };
}

#endif
