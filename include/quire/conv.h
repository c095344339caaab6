/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quire/conv.h: two-dimensional convolution of f32 tensors whose channels are blocked, and what a
 * network needs around it so that it never leaves that layout.
 *
 *     destination[n][o][y][x] = activation(bias[o] + sum[n][o][y][x] +
 *         sum over i, ky, kx of weights[o][i][ky][kx] *
 *             source[n][i][y * stride - pad_top + ky * dilation][...])
 *
 * How it is used: once plan, once pack the weights, then run as often as there is something to run.
 *
 *     struct quire_conv_plan plan;
 *     int error = quire_conv_plan_init(&plan, &shape, &source_layout, &destination_layout, NULL);
 *     ... allocate plan.weights_bytes and plan.workspace_bytes, aligned to QUIRE_CONV_ALIGNMENT ...
 *     error = quire_conv_pack(&plan, &weights_layout, weights, bias, packed);
 *     error = quire_conv_run(&plan, source, packed, NULL, destination, workspace);
 *
 * Layouts (quire/layout.h). Fastest where both sides are blocked by quire_conv_block() channels:
 * "nchw16c" with AVX-512, else "nchw8c". Whatever other layout of four dimensions is converted on
 * the way, a strip of rows at a time. Tails of blocked destinations are zeros; those of a blocked
 * `sum`, and of the source of depthwise convolution, have to be.
 *
 * Algorithms
 *     direct      register-blocked, for all shapes. Depthwise convolution has a kernel of its own,
 *                 and 1x1 without padding is a matrix product
 *     im2col      each output pixel's inputs copied to a row, then one matrix product: to compare
 *     winograd    F(m x m, 3 x 3) for m = 2, 4, 6; kernels of 3x3, stride 1, dilation 1
 *
 * Error. `error` of a plan bounds the difference from the exact result of the same f32 data:
 *
 *     |y - exact| <= error * L2(x) * L2(w)
 *
 * L2(w) is the largest 2-norm of the weights of an output channel, L2(x) that of a patch of the
 * input: all channels (of a group) of what makes an output pixel, for Winograd of a tile of
 * (m + 2) x (m + 2). It is
 *
 *     error = 2^-24 * (2 * sqrt(K) + 4) * amplification
 *
 * K is the length of the sums (input channels of a group; times the kernel's size, but for
 * Winograd), and the amplification, made from Winograd's matrices, is 1 for direct and im2col, 5
 * for m = 2, 25 for m = 4, 139 for m = 6. It holds with overwhelming probability for rounding
 * errors that are independent (Higham and Mary, 2019), not against data made to break it: then the
 * factor is K in place of 2 sqrt(K). Bias, sum and activation add at most an ulp each. Like any
 * code that fuses multiplications and additions, results differ in last bits between instruction
 * sets; for one plan they are the same in each run, whatever the number of parts.
 *
 * Infinities and NaNs spread: to the tile in Winograd, to the other channels of a block where a
 * group is smaller than a block.
 *
 * Memory is the caller's; nothing here allocates, blocks or prints. Sizes are asked for before:
 * they stand in the plan. Several threads may use one plan and the same packed weights, each with a
 * workspace of its own.
 *
 * Sources: E. Georganas et al., "Anatomy of High-Performance Deep Learning Convolutions on SIMD
 * Architectures", SC 2018 (direct, register blocking over channel blocks); A. Lavin, S. Gray, "Fast
 * Algorithms for Convolutional Neural Networks", CVPR 2016 (Winograd); B. Barabasz et al., "Error
 * Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks", TOMS 2020;
 * N. Higham, T. Mary, "A New Approach to Probabilistic Rounding Error Analysis", SISC 2019.
 */
#ifndef QUIRE_CONV_H
#define QUIRE_CONV_H

#include <quire/layout.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define QUIRE_CONV_ALIGNMENT 64   /* bytes: of every buffer given here but plain ones' 4 */
#define QUIRE_CONV_MAX_PARTS 1024 /* that a run is split into */
#define QUIRE_CONV_MAX_KERNEL 64  /* of a kernel's height and width */
#define QUIRE_CONV_MAX_SIZE ((int64_t)1 << 31) /* of each number in a shape */
#define QUIRE_CONV_DEFAULT_ERROR 1e-3          /* for `max_error` */

struct quire_conv_shape {
    int64_t n_images, in_channels, in_height, in_width; /* 1 or more */
    int64_t out_channels, kernel_height, kernel_width;  /* 1 or more */
    int64_t stride_y, stride_x;                         /* 1 or more */
    int64_t dilation_y, dilation_x;                     /* 1 or more; 1: none */
    int64_t pad_top, pad_bottom, pad_left, pad_right;   /* 0 or more, zeros */
    int64_t groups;                                     /* divides both numbers of channels */
};

/* Sets strides, dilation and groups to 1 and the padding to (kernel - 1) / 2. */
void quire_conv_shape_init(struct quire_conv_shape *shape, int64_t n_images, int64_t in_channels,
                           int64_t in_height, int64_t in_width, int64_t out_channels,
                           int64_t kernel);

/*
 * The size of what comes out; either pointer may be NULL. Returns 0; -EINVAL: a number is out of
 * its range, the groups don't divide the channels, or the kernel is larger than the padded input;
 * -EOVERFLOW: a tensor has more than QUIRE_LAYOUT_MAX_BYTES.
 */
int quire_conv_out_size(const struct quire_conv_shape *shape, int64_t *height, int64_t *width);

enum quire_conv_algorithm {
    QUIRE_CONV_AUTO, /* the one that should be the fastest within `max_error` */
    QUIRE_CONV_DIRECT,
    QUIRE_CONV_IM2COL,
    QUIRE_CONV_WINOGRAD_2,
    QUIRE_CONV_WINOGRAD_4,
    QUIRE_CONV_WINOGRAD_6,
    QUIRE_CONV_N_ALGORITHMS
};

/* "auto", "direct", "im2col", "winograd2", ...; static. NULL: no such algorithm. */
const char *quire_conv_algorithm_name(enum quire_conv_algorithm algorithm);

enum quire_conv_activation {
    QUIRE_CONV_LINEAR,
    QUIRE_CONV_RELU,  /* max(x, 0) */
    QUIRE_CONV_RELU6, /* min(max(x, 0), 6) */
    QUIRE_CONV_N_ACTIVATIONS
};

struct quire_conv_options {
    enum quire_conv_algorithm algorithm;
    enum quire_conv_activation activation;
    enum quire_layout_isa isa; /* QUIRE_LAYOUT_BEST: what this processor has */
    double max_error;          /* for AUTO: see above; 0: QUIRE_CONV_DEFAULT_ERROR */
    uint32_t n_parts;          /* to be run at the same time by as many threads; 0: 1 */
};

/* Read it, do not write to it. Has no pointers into other memory of the caller: may be copied. */
struct quire_conv_plan {
    enum quire_conv_algorithm algorithm; /* the one that was chosen */
    enum quire_layout_isa isa;           /* likewise */
    double error;                        /* see above */
    size_t weights_bytes;                /* of the packed weights and bias */
    size_t workspace_bytes;              /* for all parts; may be 0 */
    size_t source_bytes, destination_bytes;
    double multiplications; /* that the algorithm does, transforms not counted */
    uint32_t n_parts;
    struct quire_conv_shape shape;
    int64_t out_height, out_width;
    struct quire_layout source, destination;

    /* The rest is private. Lengths are in floats. */
    const struct conv_kernels *kernels;
    float low, high;
    bool clamps, is_depthwise, is_flat, packs, skips, unpacks;
    int64_t in_block;     /* channels of a block of what tiles read */
    int64_t pixel_floats; /* there, from one pixel of a tile to the next */
    int64_t in_blocks, out_blocks;
    int64_t column_blocks, n_columns, column_floats; /* of output blocks at the same time */
    int64_t strip_rows, n_strips, n_splits;          /* units of work */
    int64_t n_phases, packed_columns, row_step;      /* of packed rows */
    int64_t pitch_floats, in_row_floats, in_block_floats;
    int64_t tiles_x, chunk_tiles, position_floats, product_floats; /* Winograd */
    size_t part_bytes, taps_bytes, strip_bytes, gather_bytes, out_bytes;
};

/* Channels in a block that this processor's kernels like best, 8 or 16; 0: there is no such isa
 * here. */
int64_t quire_conv_block(enum quire_layout_isa isa);

/*
 * Plans. The layouts are f32, have four dimensions (n c h w) and those that the shape has;
 * `options` may be NULL. Whatever has no kernel of its own for an instruction set runs with
 * the best below it. Returns 0; -EINVAL: the shape, a layout or an option is not valid, or the
 * layouts do not fit the shape; -ENOTSUP: the algorithm does not do this shape, or there is no such
 * isa here; -ERANGE: AUTO, and no algorithm is within `max_error`; -EOVERFLOW: too large.
 */
int quire_conv_plan_init(struct quire_conv_plan *plan, const struct quire_conv_shape *shape,
                         const struct quire_layout *source, const struct quire_layout *destination,
                         const struct quire_conv_options *options)
    __attribute__((warn_unused_result));

/*
 * Brings weights into the order that the plan's algorithm wants. `layout`: f32, dimensions o, i /
 * groups, h, w; strides and blocks as they may be. `bias`: out_channels floats; NULL: zeros.
 * `packed`: weights_bytes, aligned. Returns 0; -EINVAL: a pointer is NULL or not aligned, buffers
 * overlap, or the layout does not fit; nothing was written then.
 */
int quire_conv_pack(const struct quire_conv_plan *plan, const struct quire_layout *layout,
                    const float *weights, const float *bias, void *packed)
    __attribute__((warn_unused_result));

/*
 * Runs it all in the calling thread. `sum`: NULL, or a tensor of the destination's layout that is
 * added before the activation; it may be the destination itself. Blocked tensors, the packed
 * weights and the workspace are aligned to QUIRE_CONV_ALIGNMENT, others to 4 bytes. What is written
 * may not overlap anything else that is given. Returns 0; -EINVAL: one of these does not hold;
 * nothing was written then.
 */
int quire_conv_run(const struct quire_conv_plan *plan, const float *source, const void *packed,
                   const float *sum, float *destination, void *workspace)
    __attribute__((warn_unused_result));

/* The same, one of n_parts, 0 <= part < n_parts, all with the same buffers. Threads may run
 * different parts at the same time; when all are done, the destination is complete. */
int quire_conv_run_part(const struct quire_conv_plan *plan, const float *source, const void *packed,
                        const float *sum, float *destination, void *workspace, uint32_t part)
    __attribute__((warn_unused_result));

/*
 * Products of matrices, by the same tiles: C = A B, row by row; A is m x k, B k x n, and lda, ldb,
 * ldc are the floats from one row to the next. B is packed each time; where it stays the same, a
 * 1x1 convolution over nhwc is the same without that.
 */

/* Bytes of the workspace; 0: a size is below 1, or a matrix is larger than a tensor may be. */
size_t quire_matrix_workspace_bytes(int64_t m, int64_t n, int64_t k);

/* In the calling thread. Returns 0; -EINVAL: a size is below 1, a row longer than its distance, a
 * matrix NULL or not aligned to 4 bytes, the workspace not aligned to QUIRE_CONV_ALIGNMENT, or what
 * is written overlaps anything else; -EOVERFLOW: too large; -ENOSPC: the workspace is too small.
 * Nothing was written then. */
int quire_matrix_multiply(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
                          const float *b, int64_t ldb, float *c, int64_t ldc, void *workspace,
                          size_t workspace_bytes) __attribute__((warn_unused_result));

/*
 * What stands between convolutions. Tensors are f32 of four dimensions, blocked by 8 or 16 channels
 * (for quire_combine(): in any layout without gaps); source and destination have the same layout
 * but for heights and widths. In place is fine where the sizes are the same; otherwise what is
 * written may not overlap what is read. Blocked ones are aligned to QUIRE_CONV_ALIGNMENT, others to
 * 4 bytes. All return 0; -EINVAL: one of these does not hold, or a layout, shape or number is not
 * valid; -ENOTSUP: a layout is not one of these. Nothing was written then.
 */

enum quire_pool {
    QUIRE_POOL_MAX,
    QUIRE_POOL_AVERAGE,        /* of the pixels that are there */
    QUIRE_POOL_AVERAGE_PADDED, /* padding counts as zeros */
    QUIRE_POOL_N
};

/* The shape's numbers of channels are the same, its groups are not looked at. A window that meets
 * no pixel gives zeros. Of what a maximum makes of NaNs nothing is promised. */
int quire_pool_run(enum quire_pool kind, const struct quire_conv_shape *shape,
                   const struct quire_layout *source_layout, const float *source,
                   const struct quire_layout *destination_layout, float *destination)
    __attribute__((warn_unused_result));

enum quire_combine {
    QUIRE_COMBINE_ADD,
    QUIRE_COMBINE_MULTIPLY,
    QUIRE_COMBINE_MAX,
    QUIRE_COMBINE_N
};

/* destination = activation(a op b), element by element. */
int quire_combine_run(enum quire_combine kind, enum quire_conv_activation activation,
                      const struct quire_layout *layout, const float *a, const float *b,
                      float *destination) __attribute__((warn_unused_result));

/* destination = activation(source * scale[c] + shift[c]): batch normalisation, where it was not
 * folded into weights. `scale`, `shift`: as many floats as channels; NULL: ones, zeros. */
int quire_scale_run(const float *scale, const float *shift, enum quire_conv_activation activation,
                    const struct quire_layout *layout, const float *source, float *destination)
    __attribute__((warn_unused_result));

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
