/* SPDX-License-Identifier: Apache-2.0 */
/* portable_16: the kernels with vectors of 16 bytes: SSE2, NEON, or whatever there is, for blocks
 * of 16 channels. */
#include "tensor/conv/kernels.h"

#define LANES 4
#define BLOCK 16
#define TARGET
#define KERNELS conv_kernels_portable_16
#include "tensor/conv/instance.h"
