/* SPDX-License-Identifier: Apache-2.0 */
/* pointwise: pooling and element-wise operations: what was given is checked, then block by block.
 */
#include "tensor/conv/conv.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* One of two tensors of a layout, or both: where blocks are. */
struct blocks {
    const struct conv_kernels *kernels;
    int64_t n_images, n_blocks;
};

static float lowest(enum quire_conv_activation activation)
{
    return activation == QUIRE_CONV_LINEAR ? -INFINITY : 0;
}

static float highest(enum quire_conv_activation activation)
{
    return activation == QUIRE_CONV_RELU6 ? 6 : INFINITY;
}

static int64_t block_of(const struct quire_layout *layout)
{
    return layout->n_dims != 4                            ? 0
           : conv_is_blocked(layout, CONV_MOST_BLOCK)     ? CONV_MOST_BLOCK
           : conv_is_blocked(layout, CONV_MOST_BLOCK / 2) ? CONV_MOST_BLOCK / 2
                                                          : 0;
}

static int check_layout(const struct quire_layout *layout)
{
    int error = quire_layout_check(layout);
    if (error != 0)
        return error;
    return layout->type == QUIRE_LAYOUT_F32 && quire_layout_is_injective(layout) ? 0 : -EINVAL;
}

static int find_blocks(const struct quire_layout *layout, struct blocks *blocks)
{
    enum quire_layout_isa isa = QUIRE_LAYOUT_BEST;
    int64_t block = block_of(layout);
    if (block == 0)
        return -ENOTSUP;
    *blocks = (struct blocks){.kernels = conv_kernels_find(&isa, block),
                              .n_images = layout->dims[0],
                              .n_blocks = conv_ceil(layout->dims[1], block)};
    return 0;
}

/* The place of the first pixel of a block, counted over all images. */
static int64_t first_pixel(const struct quire_layout *layout, const struct blocks *blocks,
                           int64_t number)
{
    return layout->offset + number / blocks->n_blocks * layout->strides[0] +
           number % blocks->n_blocks * layout->strides[1];
}

/* `out` may be `in` itself, or elsewhere altogether. */
static bool are_apart(const void *out, size_t out_bytes, const void *in, size_t in_bytes,
                      bool may_be_same)
{
    return (may_be_same && out == in) || !conv_overlap(out, out_bytes, in, in_bytes);
}

static bool fits(const struct quire_layout *layout, int64_t n, int64_t c, int64_t h, int64_t w)
{
    return layout->n_dims == 4 && layout->dims[0] == n && layout->dims[1] == c &&
           layout->dims[2] == h && layout->dims[3] == w;
}

int quire_pool_run(enum quire_pool kind, const struct quire_conv_shape *shape,
                   const struct quire_layout *source_layout, const float *source,
                   const struct quire_layout *destination_layout, float *destination)
{
    struct quire_conv_shape plain = *shape;
    struct blocks blocks;
    int64_t height, width;
    plain.groups = 1;
    int error = quire_conv_out_size(&plain, &height, &width);
    if (error == 0)
        error = check_layout(destination_layout);
    if (error == 0)
        error = quire_layout_check(source_layout);
    if (error == 0 &&
        ((unsigned)kind >= QUIRE_POOL_N || shape->in_channels != shape->out_channels ||
         source_layout->type != QUIRE_LAYOUT_F32 ||
         !fits(source_layout, shape->n_images, shape->in_channels, shape->in_height,
               shape->in_width) ||
         !fits(destination_layout, shape->n_images, shape->out_channels, height, width)))
        error = -EINVAL;
    if (error == 0)
        error = find_blocks(destination_layout, &blocks);
    if (error == 0 && block_of(source_layout) != blocks.kernels->block)
        error = -ENOTSUP;
    if (error == 0 && (!conv_is_usable(source, QUIRE_CONV_ALIGNMENT) ||
                       !conv_is_usable(destination, QUIRE_CONV_ALIGNMENT) ||
                       conv_overlap(destination, quire_layout_bytes(destination_layout), source,
                                    quire_layout_bytes(source_layout))))
        error = -EINVAL;
    if (error != 0)
        return error;
    struct conv_pool pool = {
        .in_height = shape->in_height,
        .in_width = shape->in_width,
        .kernel_height = shape->kernel_height,
        .kernel_width = shape->kernel_width,
        .stride_y = shape->stride_y,
        .stride_x = shape->stride_x,
        .dilation_y = shape->dilation_y,
        .dilation_x = shape->dilation_x,
        .pad_top = shape->pad_top,
        .pad_left = shape->pad_left,
        .out_height = height,
        .out_width = width,
        .kind = kind,
    };
    for (int64_t i = 0; i < blocks.n_images * blocks.n_blocks; i++) {
        pool.in = source + first_pixel(source_layout, &blocks, i);
        pool.out = destination + first_pixel(destination_layout, &blocks, i);
        blocks.kernels->pool(&pool);
    }
    return 0;
}

/* Without gaps: as many bytes as elements and tails. */
static bool is_dense(const struct quire_layout *layout)
{
    size_t n_bytes = sizeof(float);
    for (uint32_t d = 0; d < layout->n_dims; d++) {
        int64_t block = quire_layout_block_size(layout, d);
        n_bytes *= (size_t)(conv_ceil(layout->dims[d], block) * block);
    }
    return layout->offset == 0 && n_bytes == quire_layout_bytes(layout);
}

int quire_combine_run(enum quire_combine kind, enum quire_conv_activation activation,
                      const struct quire_layout *layout, const float *a, const float *b,
                      float *destination)
{
    enum quire_layout_isa isa = QUIRE_LAYOUT_BEST;
    int error = check_layout(layout);
    if (error != 0)
        return error;
    const size_t n_bytes = quire_layout_bytes(layout);
    const size_t alignment = block_of(layout) == 0 ? sizeof(float) : QUIRE_CONV_ALIGNMENT;
    if ((unsigned)kind >= QUIRE_COMBINE_N || (unsigned)activation >= QUIRE_CONV_N_ACTIVATIONS)
        return -EINVAL;
    if (!is_dense(layout))
        return -ENOTSUP;
    if (!conv_is_usable(a, alignment) || !conv_is_usable(b, alignment) ||
        !conv_is_usable(destination, alignment) ||
        !are_apart(destination, n_bytes, a, n_bytes, true) ||
        !are_apart(destination, n_bytes, b, n_bytes, true))
        return -EINVAL;
    const struct conv_combine all = {
        .kind = kind,
        .a = a,
        .b = b,
        .out = destination,
        .n = (int64_t)(n_bytes / sizeof(float)),
        .low = lowest(activation),
        .high = highest(activation),
    };
    conv_kernels_find(&isa, quire_conv_block(QUIRE_LAYOUT_BEST))->combine(&all);
    return 0;
}

int quire_scale_run(const float *scale, const float *shift, enum quire_conv_activation activation,
                    const struct quire_layout *layout, const float *source, float *destination)
{
    struct blocks blocks;
    int error = check_layout(layout);
    if (error == 0 && (unsigned)activation >= QUIRE_CONV_N_ACTIVATIONS)
        error = -EINVAL;
    if (error == 0)
        error = find_blocks(layout, &blocks);
    if (error != 0)
        return error;
    const size_t n_bytes = quire_layout_bytes(layout);
    const size_t each_bytes = (size_t)layout->dims[1] * sizeof(float);
    if (!conv_is_usable(source, QUIRE_CONV_ALIGNMENT) ||
        !conv_is_usable(destination, QUIRE_CONV_ALIGNMENT) ||
        !are_apart(destination, n_bytes, source, n_bytes, true) ||
        (scale != NULL && (!conv_is_usable(scale, sizeof *scale) ||
                           conv_overlap(destination, n_bytes, scale, each_bytes))) ||
        (shift != NULL && (!conv_is_usable(shift, sizeof *shift) ||
                           conv_overlap(destination, n_bytes, shift, each_bytes))))
        return -EINVAL;
    for (int64_t i = 0; i < blocks.n_images * blocks.n_blocks; i++) {
        _Alignas(QUIRE_CONV_ALIGNMENT) float factors[CONV_MOST_BLOCK] = {0},
                                             shifts[CONV_MOST_BLOCK] = {0};
        const int64_t block = blocks.kernels->block, first = i % blocks.n_blocks * block;
        for (int64_t c = 0; c < block && first + c < layout->dims[1]; c++) {
            factors[c] = scale == NULL ? 1 : scale[first + c];
            shifts[c] = shift == NULL ? 0 : shift[first + c];
        }
        const int64_t at = first_pixel(layout, &blocks, i);
        const struct conv_scale all = {
            .in = source + at,
            .scale = factors,
            .shift = shifts,
            .out = destination + at,
            .n_pixels = layout->dims[2] * layout->dims[3],
            .low = lowest(activation),
            .high = highest(activation),
        };
        blocks.kernels->scale(&all);
    }
    return 0;
}
