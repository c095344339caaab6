/* SPDX-License-Identifier: Apache-2.0 */
/*
 * two_lanes: what lanes.h wants, for vectors of 32 bytes. The file that includes it, once, says
 * FEATURES, the instruction set, and ANY, the constraint of its registers. Private to
 * src/tensor/layout.
 */
#include <immintrin.h>

#define V __m256i
#define LANES 2
#define TARGET __attribute__((target(FEATURES)))
#define IN static inline __attribute__((always_inline, target(FEATURES)))
#define load_whole(from) _mm256_loadu_si256((const __m256i *)(from))
#define store(to, v) _mm256_storeu_si256((V *)(to), v)
#define store_past(to, v) _mm256_stream_si256((V *)(void *)(to), v)
#define zero() _mm256_setzero_si256()
#define lane_of(v, l) _mm256_zextsi128_si256(_mm256_extracti128_si256(v, l))
#define alone(v, l) ((l) == 0 ? lane_of(v, 0) : lane_of(v, 1))
#define low8 _mm256_unpacklo_epi8
#define high8 _mm256_unpackhi_epi8
#define low16 _mm256_unpacklo_epi16
#define high16 _mm256_unpackhi_epi16
#define low32 _mm256_unpacklo_epi32
#define high32 _mm256_unpackhi_epi32
#define low64 _mm256_unpacklo_epi64
#define high64 _mm256_unpackhi_epi64

IN __m128i load_lane(const char *from)
{
    return _mm_loadu_si128((const __m128i *)from);
}

IN V load(const char *const rows[2])
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(load_lane(rows[0])), load_lane(rows[1]),
                                   1);
}

#include "tensor/layout/lanes.h"
