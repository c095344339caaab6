/* SPDX-License-Identifier: Apache-2.0 */
/*
 * avx2: the kernels with vectors of 32 bytes, two lanes; with fewer rows, those of SSE2.
 */
#include "tensor/layout/kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define V __m256i
#define LANES 2
#define ANY "x"
#define TARGET __attribute__((target("avx2")))
#define IN static inline __attribute__((always_inline, target("avx2")))
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

LANES_KERNEL(8)
LANES_KERNEL(16)
LANES_KERNEL(32)
LANES_KERNEL(64)
FILL_KERNEL(16)
FILL_KERNEL(32)

/* 16 rows, so that a column of theirs is a line; 8 columns, so that half a line of each row is used
 * up at once. The halves of a line are written one soon after the other. */
IN void lines_32_any(const struct layout_matrix *matrix, const struct layout_part *part,
                     struct layout_form form)
{
    const struct layout_rows rows = matrix->rows;
    const struct layout_columns columns = matrix->columns;
    size_t end_row = part->first_row + part->n_rows;
    size_t end_column = part->first_column + part->n_columns;

    for (size_t r = part->first_row; r < end_row; r += 16)
        for (size_t c = part->first_column; c < end_column; c += 8)
            for (unsigned quarter = 0; quarter < 4; quarter++) {
                size_t row = r + 8 * (quarter % 2), column = c + 4 * (quarter / 2);
                V v[4];
                load_rows(v, 4, rows, form, row, column * 4);
                transpose_32(v);
                store_columns(v, 4, columns, form, column, row * 4, 4);
            }
}
ALL_FORMS(lines_32)

MOVE_KERNEL(32)
MOVE_KERNEL(64)

#define W __m128i
#define weave_load(from) _mm_loadu_si128((const W *)(const void *)(from))
#define weave_store(to, v) _mm_storeu_si128((W *)(void *)(to), v)
#define pick _mm_shuffle_epi8
#define either _mm_or_si128
#include "tensor/layout/weave.h"

static void fence(void)
{
    _mm_sfence();
}

static const struct layout_kernel of_1[] = {{32, 16, lanes_8, LAYOUT_READS_ON}, {0}};
static const struct layout_kernel of_2[] = {{16, 8, lanes_16, LAYOUT_READS_ON}, {0}};
static const struct layout_kernel of_4[] = {
    {16, 8, lines_32, LAYOUT_EXACT}, {8, 4, lanes_32, LAYOUT_READS_ON}, {0}};
static const struct layout_kernel of_8[] = {{4, 2, lanes_64, LAYOUT_READS_ON}, {0}};

const struct layout_kernels layout_kernels_avx2 = {
    .transpose = {of_1, of_2, of_4, of_8},
    .fill = FILLERS,
    .move = {NULL, NULL, NULL, NULL, NULL, move_32, move_64},
    .weave = weave,
    .fence = fence,
    .smaller = &layout_kernels_sse2,
};

#endif
