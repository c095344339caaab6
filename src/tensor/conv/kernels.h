/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernels: what is compiled once for each instruction set and channel block. All work on blocked
 * memory: a pixel is `block` floats, one for each channel of a block.
 *
 *     tile of pixels      x   weights                    =  tile of output
 *     [rows][columns]         [in block][tap][channel]      [out block][rows][columns]
 *     of in_blocks blocks     [out_blocks * block]
 *
 * The product of a tile keeps its output in registers. Direct convolution, 1x1, im2col and
 * Winograd's element-wise products are all made of it.
 */
#ifndef QUIRE_TENSOR_CONV_KERNELS_H
#define QUIRE_TENSOR_CONV_KERNELS_H

#include <quire/conv.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONV_MOST_BLOCK 16   /* channels */
#define CONV_MOST_ROWS 2     /* of a tile */
#define CONV_MOST_COLUMNS 14 /* pixels in a row of a tile */
#define CONV_MOST_BLOCKS 2   /* of output channels in a tile */

/* What is done to a result before it is stored. */
struct conv_finish {
    const float *bias; /* of the first output block; NULL: none */
    const float *sum;  /* to add, at the place of the first output; NULL: none */
    float low, high;
    bool clamps;
};

/* Pixels of a tile that lie outside of the input at one tap. Whole rows, and columns at the ends.
 */
#define CONV_DEAD_FIRST 1u /* column */
#define CONV_DEAD_LAST 2u
#define CONV_DEAD_ROW(row) (4u << (row))

struct conv_tap {
    int64_t in;       /* floats from a pixel to it */
    int32_t number;   /* its weights', in the kernel */
    uint32_t is_dead; /* bits as above */
};

struct conv_tile {
    const float *in;                        /* the first pixel */
    int64_t pixel_floats;                   /* to the next one; but for plain tiles `block` */
    const float *next;                      /* the next tile's, to be fetched early */
    int64_t in_block_stride, in_row_stride; /* floats */
    int64_t in_blocks;
    int64_t last_channels; /* of the last input block, the others have all */
    const struct conv_tap *taps;
    int64_t n_taps;        /* that there are */
    int64_t n_kernel_taps; /* that have weights */
    const float *weights;
    const float *later;  /* weights of the next column, to be fetched meanwhile */
    int64_t later_lines; /* of these at each tap of each block; of a column's first tile: all */
    float *out;
    int64_t out_block_stride, out_row_stride; /* floats; pixels are `block` apart */
    struct conv_finish finish;
};

typedef void conv_multiply(const struct conv_tile *tile);

/* One channel block of depthwise convolution: some rows of output. */
struct conv_depthwise {
    const float *in; /* the block's first pixel */
    int64_t in_height, in_width;
    int64_t kernel_height, kernel_width, stride_y, stride_x, dilation_y, dilation_x;
    int64_t pad_top, pad_left;
    const float *weights; /* [tap][block] */
    float *out;           /* the block's first pixel */
    int64_t out_height, out_width;
    int64_t first_row, n_rows; /* of the output */
    struct conv_finish finish; /* `sum` of the block's first pixel */
};

/* Winograd's transforms of one tile and block. */
struct conv_winograd_in {
    const float *in;
    int64_t row_stride; /* floats */
    float *out;         /* position k at out + k * stride */
    int64_t stride;
};

struct conv_winograd_out {
    const float *in; /* position k at in + k * stride */
    int64_t stride;
    float *out;
    int64_t row_stride;
    int64_t n_rows, n_columns; /* that are wanted, up to m */
    struct conv_finish finish;
};

enum conv_winograd { CONV_F2, CONV_F4, CONV_F6, CONV_N_WINOGRAD };

struct conv_pool {
    const float *in; /* a block's first pixel */
    int64_t in_height, in_width;
    int64_t kernel_height, kernel_width, stride_y, stride_x, dilation_y, dilation_x;
    int64_t pad_top, pad_left;
    float *out;
    int64_t out_height, out_width;
    enum quire_pool kind;
};

struct conv_combine {
    enum quire_combine kind;
    const float *a, *b; /* aligned to a float only */
    float *out;
    int64_t n;
    float low, high;
};

/* A block of channels: out = in * scale + shift. */
struct conv_scale {
    const float *in, *scale, *shift;
    float *out;
    int64_t n_pixels;
    float low, high;
};

/* The tables are other files' of the same instance. */
struct conv_kernels {
    int64_t block;
    /* Pixels in a tile, rows times columns, by the number of output blocks; 0: no such tile. */
    const int64_t (*most_pixels)[CONV_MOST_BLOCKS + 1];
    /* [output blocks - 1][rows - 1][columns - 1]; where the tile is too large, NULL. */
    conv_multiply *const (*multiply)[CONV_MOST_ROWS][CONV_MOST_COLUMNS];
    /* [output blocks - 1][columns - 1]: one row, whose pixels are one channel each. */
    conv_multiply *const (*multiply_plain)[CONV_MOST_COLUMNS];
    void (*const *winograd_in)(const struct conv_winograd_in *);
    void (*const *winograd_out)(const struct conv_winograd_out *);
    void (*depthwise)(const struct conv_depthwise *);
    void (*pool)(const struct conv_pool *);
    void (*combine)(const struct conv_combine *);
    void (*scale)(const struct conv_scale *);
};

extern const struct conv_kernels conv_kernels_avx512_16;
extern const struct conv_kernels conv_kernels_avx2_8, conv_kernels_avx2_16;
extern const struct conv_kernels conv_kernels_portable_8, conv_kernels_portable_16;

/* Those for blocks of that many channels that are the best for an instruction set and that this
 * processor runs; NULL: none. Sets `isa` to the one whose they are. */
const struct conv_kernels *conv_kernels_find(enum quire_layout_isa *isa, int64_t block);

#endif
