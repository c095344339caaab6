/* SPDX-License-Identifier: Apache-2.0 */
/*
 * isa: which instruction sets this processor has, of those that layouts and kernels are written
 * for.
 */
#include <quire/layout.h>

#include <stddef.h>

const char *quire_layout_isa_name(enum quire_layout_isa isa)
{
    static const char *const names[QUIRE_LAYOUT_N_ISAS] = {
        [QUIRE_LAYOUT_BEST] = "best", [QUIRE_LAYOUT_PORTABLE] = "portable",
        [QUIRE_LAYOUT_SSE2] = "sse2", [QUIRE_LAYOUT_NEON] = "neon",
        [QUIRE_LAYOUT_AVX2] = "avx2", [QUIRE_LAYOUT_AVX512] = "avx512",
    };

    return (unsigned)isa < QUIRE_LAYOUT_N_ISAS ? names[isa] : NULL;
}

bool quire_layout_isa_is_here(enum quire_layout_isa isa)
{
    switch (isa) {
    case QUIRE_LAYOUT_BEST:
    case QUIRE_LAYOUT_PORTABLE:
        return true;
#if defined(__x86_64__)
    case QUIRE_LAYOUT_SSE2:
        return true;
    case QUIRE_LAYOUT_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case QUIRE_LAYOUT_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#elif defined(__aarch64__)
    case QUIRE_LAYOUT_NEON:
        return true;
#endif
    default:
        return false;
    }
}

enum quire_layout_isa quire_layout_isa_best(void)
{
    enum quire_layout_isa isa = QUIRE_LAYOUT_N_ISAS;

    while (!quire_layout_isa_is_here(--isa))
        continue;
    return isa;
}
