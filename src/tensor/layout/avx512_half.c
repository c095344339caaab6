/* SPDX-License-Identifier: Apache-2.0 */
/*
 * avx512_half: kernels with vectors of 32 bytes and the 32 registers that AVX-512 has for them: 16
 * rows by 16 columns of bytes are 16 registers, and another few to work with. Only these, and those
 * of 2 bytes, are better for it; what is not here is done as AVX2 does.
 */
#include "tensor/layout/kernels.h"

#if defined(__x86_64__)

#define FEATURES "avx2,avx512f,avx512bw,avx512dq,avx512vl"
#define ANY "v"
#include "tensor/layout/two_lanes.h"

LANES_KERNEL(8)
LANES_KERNEL(16)

static const struct layout_kernel of_1[] = {{32, 16, lanes_8, LAYOUT_READS_ON}, {0}};
static const struct layout_kernel of_2[] = {{16, 8, lanes_16, LAYOUT_READS_ON}, {0}};
static const struct layout_kernel none[] = {{0}};

const struct layout_kernels layout_kernels_avx512_half = {
    .transpose = {of_1, of_2, none, none},
    .smaller = &layout_kernels_avx2,
};

#endif
