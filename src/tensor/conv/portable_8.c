/* SPDX-License-Identifier: Apache-2.0 */
/* portable_8: the kernels with vectors of 16 bytes: SSE2, NEON, or whatever there is, for blocks of
 * 8 channels. */
#include "tensor/conv/kernels.h"

#define LANES 4
#define BLOCK 8
#define TARGET
#define KERNELS conv_kernels_portable_8
#include "tensor/conv/instance.h"
