/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lanes: vectors of floats for what is compiled once for each instruction set. Who includes it has
 * defined
 *
 *     LANES    floats in a vector
 *     BLOCK    channels in a block, a multiple of the lanes
 *     TARGET   the attribute that functions have
 */
#include "tensor/conv/kernels.h"

#include <math.h>

#if LANES > 4
#include <immintrin.h>
#endif

#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if defined __SANITIZE_ADDRESS__ || __has_feature(address_sanitizer) || \
    __has_feature(thread_sanitizer)
#define UNROLL /* each access is checked: unrolled, that is minutes of compiling */
#elif defined __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif
#define INLINE static inline __attribute__((always_inline)) TARGET

#define BLOCK_VECTORS (BLOCK / LANES)

typedef float vec __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t vec_bits __attribute__((vector_size(LANES * sizeof(int32_t))));

INLINE vec load(const float *from)
{
    return *(const vec *)from;
}

INLINE void store(float *to, vec value)
{
    *(vec *)to = value;
}

/* A broadcast: x - 0 is x for every x, and compilers know it (x + 0 is not, for -0). */
INLINE vec all(float value)
{
    return value - (vec){0};
}

/* NaNs stay: of two that can't be compared, the instructions return the second. */
#if LANES == 16
#define MOST_OF(a, b) (vec) _mm512_max_ps((__m512)(a), (__m512)(b))
#define LEAST_OF(a, b) (vec) _mm512_min_ps((__m512)(a), (__m512)(b))
#elif LANES == 8
#define MOST_OF(a, b) (vec) _mm256_max_ps((__m256)(a), (__m256)(b))
#define LEAST_OF(a, b) (vec) _mm256_min_ps((__m256)(a), (__m256)(b))
#else
INLINE vec choose(vec_bits which, vec yes, vec no)
{
    return (vec)((which & (vec_bits)yes) | (~which & (vec_bits)no));
}
#define MOST_OF(a, b) choose((a) > (b), a, b)
#define LEAST_OF(a, b) choose((a) < (b), a, b)
#endif

INLINE vec clamp(vec value, float low, float high)
{
    return LEAST_OF(all(high), MOST_OF(all(low), value));
}

/* `bias` and `sum` are where they are for this vector. */
INLINE vec finished(const struct conv_finish *finish, vec value, const float *bias,
                    const float *sum)
{
    if (bias != NULL)
        value += load(bias);
    if (sum != NULL)
        value += load(sum);
    return finish->clamps ? clamp(value, finish->low, finish->high) : value;
}
