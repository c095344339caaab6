/* SPDX-License-Identifier: Apache-2.0 */
/* find: the kernels that this processor runs, by instruction set and block. */
#include "tensor/conv/kernels.h"

#include <quire/conv.h>

const struct conv_kernels *conv_kernels_find(enum quire_layout_isa *isa, int64_t block)
{
    if (*isa == QUIRE_LAYOUT_BEST)
        *isa = quire_layout_isa_best();
#if defined(__x86_64__)
    if (*isa == QUIRE_LAYOUT_AVX512 && block == 16)
        return &conv_kernels_avx512_16;
    if (*isa == QUIRE_LAYOUT_AVX512)
        *isa = QUIRE_LAYOUT_AVX2;
    if (*isa == QUIRE_LAYOUT_AVX2 && quire_layout_isa_is_here(QUIRE_LAYOUT_AVX2))
        return block == 16 ? &conv_kernels_avx2_16 : block == 8 ? &conv_kernels_avx2_8 : NULL;
#endif
    return block == 16 ? &conv_kernels_portable_16 : block == 8 ? &conv_kernels_portable_8 : NULL;
}

int64_t quire_conv_block(enum quire_layout_isa isa)
{
    if ((unsigned)isa >= QUIRE_LAYOUT_N_ISAS || !quire_layout_isa_is_here(isa))
        return 0;
    if (isa == QUIRE_LAYOUT_BEST)
        isa = quire_layout_isa_best();
    return isa == QUIRE_LAYOUT_AVX512 ? 16 : 8;
}
