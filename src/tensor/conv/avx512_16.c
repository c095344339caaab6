/* SPDX-License-Identifier: Apache-2.0 */
/* avx512_16: the kernels with AVX-512, for blocks of 16 channels. */
#include "tensor/conv/kernels.h"

#if defined(__x86_64__)

#define LANES 16
#define BLOCK 16
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
#define KERNELS conv_kernels_avx512_16
#include "tensor/conv/instance.h"

#endif
