/* SPDX-License-Identifier: Apache-2.0 */
/* instance: all kernels of one instruction set and block, as KERNELS. lanes.h says what is to be
 * defined. */
#include "tensor/conv/lanes.h"

#include "tensor/conv/depthwise.h"
#include "tensor/conv/multiply.h"
#include "tensor/conv/pointwise.h"
#include "tensor/conv/winograd_tiles.h"

const struct conv_kernels KERNELS = {
    .block = BLOCK,
    .most_pixels = &most_pixels,
    .multiply = multiply_tiles,
    .multiply_plain = multiply_plain_tiles,
    .winograd_in = winograd_in,
    .winograd_out = winograd_out,
    .depthwise = depthwise,
    .pool = pool,
    .combine = combine,
    .scale = scale,
};
