/* SPDX-License-Identifier: Apache-2.0 */
/* avx2_8: the kernels with AVX2, for blocks of 8 channels. */
#include "tensor/conv/kernels.h"

#if defined(__x86_64__)

#define LANES 8
#define BLOCK 8
#define TARGET __attribute__((target("avx2,fma")))
#define KERNELS conv_kernels_avx2_8
#include "tensor/conv/instance.h"

#endif
