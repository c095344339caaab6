/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sse2: the kernels with vectors of 16 bytes, one lane.
 */
#include "tensor/layout/kernels.h"

#if defined(__x86_64__)

#include <emmintrin.h>
#include <string.h>

#define V __m128i
#define LANES 1
#define ANY "x"
#define TARGET
#define IN static inline __attribute__((always_inline))
#define load_whole(from) _mm_loadu_si128((const __m128i *)(from))
#define load(rows) load_whole((rows)[0])
#define store(to, v) _mm_storeu_si128((__m128i *)(to), v)
#define store_past(to, v) _mm_stream_si128((__m128i *)(void *)(to), v)
#define zero() _mm_setzero_si128()
#define alone(v, l) (v)
#define low8 _mm_unpacklo_epi8
#define high8 _mm_unpackhi_epi8
#define low16 _mm_unpacklo_epi16
#define high16 _mm_unpackhi_epi16
#define low32 _mm_unpacklo_epi32
#define high32 _mm_unpackhi_epi32
#define low64 _mm_unpacklo_epi64
#define high64 _mm_unpackhi_epi64

IN void store_first(char *to, V v, size_t n_bytes)
{
    int64_t bits = _mm_cvtsi128_si64(v);
    memcpy(to, &bits, n_bytes);
}

#include "tensor/layout/one_lane.h"

static void fence(void)
{
    _mm_sfence();
}

const struct layout_kernels layout_kernels_sse2 = {
    .transpose = {of_1, of_2, of_4, of_8},
    .fill = FILLERS,
    .move = {NULL, NULL, NULL, NULL, move_16, move_32, move_64},
    .fence = fence,
    .smaller = &layout_kernels_portable,
};

#endif
