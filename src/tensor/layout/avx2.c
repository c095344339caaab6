/* SPDX-License-Identifier: Apache-2.0 */
/*
 * avx2: the kernels with vectors of 32 bytes, two lanes; with fewer rows, those of SSE2.
 */
#include "tensor/layout/kernels.h"

#if defined(__x86_64__)

#define FEATURES "avx2"
#define ANY "x"
#include "tensor/layout/two_lanes.h"

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
