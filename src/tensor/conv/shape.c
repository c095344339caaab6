/* SPDX-License-Identifier: Apache-2.0 */
/* shape: what a convolution is asked to do, and names. */
#include "base/checked.h"

#include <quire/conv.h>

#include <errno.h>

void quire_conv_shape_init(struct quire_conv_shape *shape, int64_t n_images, int64_t in_channels,
                           int64_t in_height, int64_t in_width, int64_t out_channels,
                           int64_t kernel)
{
    int64_t pad = kernel > 0 ? (kernel - 1) / 2 : 0;
    *shape = (struct quire_conv_shape){
        .n_images = n_images,
        .in_channels = in_channels,
        .in_height = in_height,
        .in_width = in_width,
        .out_channels = out_channels,
        .kernel_height = kernel,
        .kernel_width = kernel,
        .stride_y = 1,
        .stride_x = 1,
        .dilation_y = 1,
        .dilation_x = 1,
        .pad_top = pad,
        .pad_bottom = pad,
        .pad_left = pad,
        .pad_right = pad,
        .groups = 1,
    };
}

static bool are_within(const int64_t *numbers, unsigned n, int64_t least, int64_t most)
{
    for (unsigned i = 0; i < n; i++)
        if (numbers[i] < least || numbers[i] > most)
            return false;
    return true;
}

static bool fits(int64_t a, int64_t b, int64_t c, int64_t d)
{
    const uint64_t most = QUIRE_LAYOUT_MAX_BYTES / sizeof(float);
    uint64_t product;
    return checked_mul((uint64_t)a, (uint64_t)b, &product) &&
           checked_mul(product, (uint64_t)c, &product) &&
           checked_mul(product, (uint64_t)d, &product) && product <= most;
}

/* The numbers are in their ranges, so that nothing here overflows. */
static int64_t out_size(int64_t in, int64_t pads, int64_t kernel, int64_t dilation, int64_t stride)
{
    int64_t reach = (kernel - 1) * dilation + 1;
    return in + pads < reach ? 0 : (in + pads - reach) / stride + 1;
}

int quire_conv_out_size(const struct quire_conv_shape *shape, int64_t *height, int64_t *width)
{
    const int64_t sizes[] = {shape->n_images, shape->in_channels,  shape->in_height,
                             shape->in_width, shape->out_channels, shape->groups};
    const int64_t kernels[] = {shape->kernel_height, shape->kernel_width};
    const int64_t steps[] = {shape->stride_y, shape->stride_x, shape->dilation_y,
                             shape->dilation_x};
    const int64_t pads[] = {shape->pad_top, shape->pad_bottom, shape->pad_left, shape->pad_right};
    if (!are_within(sizes, 6, 1, QUIRE_CONV_MAX_SIZE) ||
        !are_within(kernels, 2, 1, QUIRE_CONV_MAX_KERNEL) ||
        !are_within(steps, 4, 1, QUIRE_CONV_MAX_SIZE) ||
        !are_within(pads, 4, 0, QUIRE_CONV_MAX_SIZE) || shape->in_channels % shape->groups != 0 ||
        shape->out_channels % shape->groups != 0)
        return -EINVAL;
    int64_t h = out_size(shape->in_height, shape->pad_top + shape->pad_bottom, shape->kernel_height,
                         shape->dilation_y, shape->stride_y);
    int64_t w = out_size(shape->in_width, shape->pad_left + shape->pad_right, shape->kernel_width,
                         shape->dilation_x, shape->stride_x);
    if (h < 1 || w < 1)
        return -EINVAL;
    int64_t padded_height = shape->in_height + shape->pad_top + shape->pad_bottom;
    int64_t padded_width = shape->in_width + shape->pad_left + shape->pad_right;
    if (!fits(shape->n_images, shape->in_channels, padded_height, padded_width) ||
        !fits(shape->n_images, shape->out_channels, h, w) ||
        !fits(shape->out_channels, shape->in_channels / shape->groups, shape->kernel_height,
              shape->kernel_width))
        return -EOVERFLOW;
    if (height != NULL)
        *height = h;
    if (width != NULL)
        *width = w;
    return 0;
}

const char *quire_conv_algorithm_name(enum quire_conv_algorithm algorithm)
{
    static const char *const names[QUIRE_CONV_N_ALGORITHMS] = {
        "auto", "direct", "im2col", "winograd2", "winograd4", "winograd6"};
    return (unsigned)algorithm < QUIRE_CONV_N_ALGORITHMS ? names[algorithm] : NULL;
}
