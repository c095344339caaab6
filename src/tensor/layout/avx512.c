/* SPDX-License-Identifier: Apache-2.0 */
/*
 * avx512: the kernels with vectors of 64 bytes, four lanes; with fewer rows, those of
 * avx512_half.c and of AVX2.
 *
 * 16 x 16 elements of 4 bytes are what nchw16c is made of. They are loaded a line of each row at a
 * time, not a lane: rows whose distance is a power of two share a set of the first-level cache,
 * which has fewer ways than there are rows, so a line would be gone before its next lane is wanted.
 */
#include "tensor/layout/kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define FEATURES "avx512f,avx512bw,avx512dq,avx512vl"
#define V __m512i
#define LANES 4
#define ANY "v"
#define TARGET __attribute__((target(FEATURES)))
#define IN static inline __attribute__((always_inline, target(FEATURES)))
#define load_whole(from) _mm512_loadu_si512(from)
#define store(to, v) _mm512_storeu_si512(to, v)
#define store_past(to, v) _mm512_stream_si512((V *)(void *)(to), v)
#define zero() _mm512_setzero_si512()
#define lane_of(v, l) _mm512_maskz_shuffle_i32x4(0xf, v, v, l)
#define alone(v, l) \
    ((l) == 0 ? lane_of(v, 0) : (l) == 1 ? lane_of(v, 1) : (l) == 2 ? lane_of(v, 2) : lane_of(v, 3))
#define low8 _mm512_unpacklo_epi8
#define high8 _mm512_unpackhi_epi8
#define low16 _mm512_unpacklo_epi16
#define high16 _mm512_unpackhi_epi16
#define low32 _mm512_unpacklo_epi32
#define high32 _mm512_unpackhi_epi32
#define low64 _mm512_unpacklo_epi64
#define high64 _mm512_unpackhi_epi64

IN __m128i load_lane(const char *from)
{
    return _mm_loadu_si128((const __m128i *)from);
}

IN V load(const char *const rows[4])
{
    V v = _mm512_castsi128_si512(load_lane(rows[0]));
    v = _mm512_inserti32x4(v, load_lane(rows[1]), 1);
    v = _mm512_inserti32x4(v, load_lane(rows[2]), 2);
    return _mm512_inserti32x4(v, load_lane(rows[3]), 3);
}

#include "tensor/layout/lanes.h"

LANES_KERNEL(16)
LANES_KERNEL(32)
LANES_KERNEL(64)
FILL_KERNEL(16)
FILL_KERNEL(32)

/* Lane i of result j is lane j of v[i]. */
IN void transpose_lanes(const V v[4], V result[4])
{
    V a = _mm512_shuffle_i32x4(v[0], v[1], 0x44), b = _mm512_shuffle_i32x4(v[0], v[1], 0xee);
    V c = _mm512_shuffle_i32x4(v[2], v[3], 0x44), d = _mm512_shuffle_i32x4(v[2], v[3], 0xee);

    result[0] = _mm512_shuffle_i32x4(a, c, 0x88);
    result[1] = _mm512_shuffle_i32x4(a, c, 0xdd);
    result[2] = _mm512_shuffle_i32x4(b, d, 0x88);
    result[3] = _mm512_shuffle_i32x4(b, d, 0xdd);
}

/* A line of each of 16 rows; then lane i of v[k][j] has element 4 * i + j of rows 4 * k on. Where
 * there are others behind the matrix, rows are short: too short for the processor to see where they
 * go on. So the next one's, `ahead` bytes further, are fetched here. */
IN void load_lines(V v[4][4], struct layout_rows rows, struct layout_form form, size_t row,
                   size_t at, int64_t ahead)
{
    const char *first = rows.first + (int64_t)row * rows.step + at;

    for (unsigned i = 0; i < 16; i++) {
        if (form.has_others)
            _mm_prefetch(first + ahead, _MM_HINT_T0);
        v[i / 4][i % 4] = load_whole(form.row_table ? layout_listed_row(&rows, row + i) + at
                                                    : first);
        STEP(first, rows.step, v[i / 4][i % 4]);
    }
    for (unsigned i = 0; i < 4; i++)
        transpose_32(v[i]);
}

/* What load_lines() has made, column by column: 16 elements of 4 bytes each. */
IN void store_lines(V v[4][4], struct layout_columns columns, struct layout_form form,
                    size_t column, size_t at)
{
    char *to = columns.first + (int64_t)column * columns.step + at;

    for (unsigned j = 0; j < 4; j++) {
        V results[4];
        transpose_lanes((const V[]){v[0][j], v[1][j], v[2][j], v[3][j]}, results);
        char *next = to;
        for (unsigned i = 0; i < 4; i++) {
            char *here = form.column_table ? columns.first + columns.table[column + 4 * i + j] + at
                                           : next;
            if (form.streams)
                store_past(here, results[i]);
            else
                store(here, results[i]);
            STEP(next, 4 * columns.step, results[i]);
        }
        STEP(to, columns.step, results[3]);
    }
}

IN void lines_32_any(const struct layout_matrix *matrix, const struct layout_part *part,
                     struct layout_form form)
{
    const struct layout_columns columns = matrix->columns;
    size_t end_row = part->first_row + part->n_rows;
    size_t end_column = part->first_column + part->n_columns;

    for (size_t r = part->first_row; r < end_row; r += 16) {
        for (size_t c = part->first_column; c < end_column; c += 16) {
            V v[4][4];
            load_lines(v, matrix->rows, form, r, c * 4, matrix->rows_apart);
            store_lines(v, columns, form, c, r * 4);
        }
    }
}
ALL_FORMS(lines_32)

/* 16 columns that begin anywhere in a line, for stores past the caches, which want whole ones. Of
 * each column the 16 elements before are kept: a line is the last of them and the first of the
 * next.
 *
 *     blocks of 16 rows    |aaaaaaaaaaaaaaaa|bbbbbbbbbbbbbbbb|...
 *     lines              ...|aaaaaaaaaaaabbbb|bbbbbbbbbbbb...
 */
struct shifted {
    V kept[16];
    V places[16];    /* of the elements of a line, in what is kept (0 to 15) and in what is next */
    char *lines[16]; /* where the line lies that a column begins in */
    unsigned before[16]; /* elements of that line that lie before the column */
};

IN void begin_shifted(struct shifted *its, const struct layout_matrix *matrix, size_t column)
{
    const V all = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);

    for (unsigned c = 0; c < 16; c++) {
        char *to = layout_column(matrix, false, column + c);
        its->before[c] = (unsigned)((uintptr_t)to % sizeof(V) / 4);
        its->lines[c] = to - 4 * its->before[c];
        its->places[c] = _mm512_add_epi32(all, _mm512_set1_epi32(16 - (int)its->before[c]));
    }
}

IN V shift_line(const struct shifted *its, unsigned c, V next)
{
    return _mm512_permutex2var_epi32(its->kept[c], its->places[c], next);
}

/* The rows from `row` on of 16 columns. */
IN void shift_block(struct shifted *its, const struct layout_matrix *matrix, bool has_table,
                    size_t row, size_t column)
{
    V v[4][4], results[4];

    load_lines(v, matrix->rows, (struct layout_form){.row_table = has_table}, row, column * 4, 0);
    for (unsigned j = 0; j < 4; j++) {
        transpose_lanes((const V[]){v[0][j], v[1][j], v[2][j], v[3][j]}, results);
        for (unsigned i = 0; i < 4; i++) {
            unsigned c = 4 * i + j;
            if (row == 0)
                _mm512_mask_storeu_epi32(its->lines[c] + 4 * its->before[c],
                                         (__mmask16)(0xffff >> its->before[c]), results[i]);
            else
                store_past(its->lines[c] + row * 4, shift_line(its, c, results[i]));
            its->kept[c] = results[i];
        }
    }
}

IN void shift_lines_any(const struct layout_matrix *matrix, bool has_table, size_t n_rows,
                        size_t n_columns)
{
    struct shifted its[4];

    for (size_t k = 0; k < n_columns / 16; k++)
        begin_shifted(&its[k], matrix, 16 * k);
    for (size_t k = 0; k < n_columns / 16; k++)
        shift_block(&its[k], matrix, has_table, 0, 16 * k);
    for (size_t r = 16; r < n_rows; r += 16)
        for (size_t k = 0; k < n_columns / 16; k++)
            shift_block(&its[k], matrix, has_table, r, 16 * k);
    for (size_t k = 0; k < n_columns / 16; k++)
        for (unsigned c = 0; c < 16; c++)
            _mm512_mask_storeu_epi32(its[k].lines[c] + n_rows * 4,
                                     (__mmask16)((1U << its[k].before[c]) - 1),
                                     shift_line(&its[k], c, zero()));
}

TARGET static void shift_lines(const struct layout_matrix *matrix, size_t n_rows, size_t n_columns)
{
    if (matrix->has_row_table)
        shift_lines_any(matrix, true, n_rows, n_columns);
    else
        shift_lines_any(matrix, false, n_rows, n_columns);
}

/* Blocks of 4 rows whose columns lie one behind the other: four columns are a vector. */
IN void store_tight(char *to, const V v[4], int64_t step, struct layout_form form)
{
    V results[4];

    transpose_lanes(v, results);
    for (unsigned i = 0; i < 4; i++)
        if (form.streams)
            store_past(to + i * step, results[i]);
        else
            store(to + i * step, results[i]);
}

IN void tight_32_4_any(const struct layout_matrix *matrix, const struct layout_part *part,
                       struct layout_form form)
{
    size_t end_column = part->first_column + part->n_columns;

    for (size_t c = part->first_column; c < end_column; c += 16) {
        V v[4];
        for (unsigned i = 0; i < 4; i++)
            v[i] = load_whole(layout_row(matrix, form.row_table, i) + c * 4);
        transpose_32(v); /* lane l of v[j] is column 4 * l + j */
        store_tight(matrix->columns.first + c * 16, v, sizeof(V), form);
    }
}
ALL_FORMS(tight_32_4)

/* Of 8 rows: two columns are a vector. */
IN void tight_32_8_any(const struct layout_matrix *matrix, const struct layout_part *part,
                       struct layout_form form)
{
    size_t end_column = part->first_column + part->n_columns;

    for (size_t c = part->first_column; c < end_column; c += 16) {
        V v[2][4];
        for (unsigned i = 0; i < 8; i++)
            v[i / 4][i % 4] = load_whole(layout_row(matrix, form.row_table, i) + c * 4);
        transpose_32(v[0]);
        transpose_32(v[1]);
        char *to = matrix->columns.first + c * 32;
        store_tight(to, (const V[]){v[0][0], v[1][0], v[0][1], v[1][1]}, 2 * sizeof(V), form);
        store_tight(to + sizeof(V), (const V[]){v[0][2], v[1][2], v[0][3], v[1][3]}, 2 * sizeof(V),
                    form);
    }
}
ALL_FORMS(tight_32_8)

/* The way back: 16 rows of 4, and of 8, that lie one behind the other. */
IN void apart_32_4_any(const struct layout_matrix *matrix, const struct layout_part *part,
                       struct layout_form form)
{
    size_t end_row = part->first_row + part->n_rows;

    for (size_t r = part->first_row; r < end_row; r += 16) {
        const char *from = matrix->rows.first + r * 16;
        V v[4], rows[4];
        for (unsigned i = 0; i < 4; i++)
            v[i] = load_whole(from + i * sizeof(V));
        transpose_lanes(v, rows); /* lane l of rows[j] is row 4 * l + j */
        transpose_32(rows);
        store_columns(rows, 4, matrix->columns, form, 0, r * 4, 4);
    }
}
ALL_FORMS(apart_32_4)

IN void apart_32_8_any(const struct layout_matrix *matrix, const struct layout_part *part,
                       struct layout_form form)
{
    size_t end_row = part->first_row + part->n_rows;

    for (size_t r = part->first_row; r < end_row; r += 16) {
        const char *from = matrix->rows.first + r * 32;
        V v[8], a[4], b[4];
        for (unsigned i = 0; i < 8; i++)
            v[i] = load_whole(from + i * sizeof(V));
        transpose_lanes((const V[]){v[0], v[2], v[4], v[6]}, a);
        transpose_lanes((const V[]){v[1], v[3], v[5], v[7]}, b);
        V left[4] = {a[0], a[2], b[0], b[2]}, right[4] = {a[1], a[3], b[1], b[3]};
        transpose_32(left);
        transpose_32(right);
        store_columns(left, 4, matrix->columns, form, 0, r * 4, 4);
        store_columns(right, 4, matrix->columns, form, 4, r * 4, 4);
    }
}
ALL_FORMS(apart_32_8)

/* In each lane, 4 x 4 bytes change rows for columns; and so do the 4 x 4 elements of 4 bytes. */
IN V turn_lanes(V v)
{
    return _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2,
                                                                       6, 10, 14, 3, 7, 11, 15)));
}

IN V turn_elements(V v)
{
    return _mm512_permutexvar_epi32(
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), v);
}

/* 16 rows of bytes, whose columns lie one behind the other: as elements of 4 bytes, and these taken
 * apart. */
IN void lines_8_any(const struct layout_matrix *matrix, const struct layout_part *part,
                    struct layout_form form)
{
    size_t end_column = part->first_column + part->n_columns;

    for (size_t c = part->first_column; c < end_column; c += 64) {
        V v[4][4];
        load_lines(v, matrix->rows, form, part->first_row, c, matrix->rows_apart);
        char *to = matrix->columns.first + c * 16;
        for (unsigned j = 0; j < 4; j++) {
            V results[4];
            transpose_lanes((const V[]){v[0][j], v[1][j], v[2][j], v[3][j]}, results);
            for (unsigned i = 0; i < 4; i++) {
                V columns = turn_elements(turn_lanes(results[i]));
                if (form.streams)
                    store_past(to + (4 * i + j) * sizeof(V), columns);
                else
                    store(to + (4 * i + j) * sizeof(V), columns);
            }
        }
    }
}
ALL_FORMS(lines_8)

/* The way back: 64 rows of 16 bytes that lie one behind the other. Four of them are a vector, that
 * is made a row of 16 elements of 4 bytes. */
IN void apart_8_any(const struct layout_matrix *matrix, const struct layout_part *part,
                    struct layout_form form)
{
    size_t end_row = part->first_row + part->n_rows;

    for (size_t r = part->first_row; r < end_row; r += 64) {
        const char *from = matrix->rows.first + r * 16;
        V v[4][4];
        for (unsigned i = 0; i < 16; i++)
            v[i / 4][i % 4] = turn_lanes(turn_elements(load_whole(from + i * sizeof(V))));
        for (unsigned i = 0; i < 4; i++)
            transpose_32(v[i]);
        store_lines(v, matrix->columns, form, 0, r);
    }
}
ALL_FORMS(apart_8)

MOVE_KERNEL(64)

TARGET static void pad_lines(const struct layout_matrix *matrix, size_t n_bytes, int64_t apart,
                             size_t n_columns)
{
    const __mmask64 mask = ((__mmask64)1 << n_bytes) - 1;
    const int64_t step = matrix->columns.step;
    const char *from = matrix->rows.first;
    char *to = matrix->columns.first;

    for (size_t c = 0; c < n_columns; c++, from += apart, to += step)
        store(to, _mm512_maskz_loadu_epi8(mask, from));
}

static void fence(void)
{
    _mm_sfence();
}

static const struct layout_kernel of_1[] = {
    {64, 16, apart_8, LAYOUT_TIGHT_ROWS}, {16, 64, lines_8, LAYOUT_TIGHT}, {0}};
static const struct layout_kernel of_2[] = {{32, 8, lanes_16, LAYOUT_READS_ON}, {0}};
static const struct layout_kernel of_4[] = {{16, 16, lines_32, LAYOUT_EXACT},
                                            {16, 8, apart_32_8, LAYOUT_TIGHT_ROWS},
                                            {16, 4, apart_32_4, LAYOUT_TIGHT_ROWS},
                                            {16, 4, lanes_32, LAYOUT_READS_ON},
                                            {8, 16, tight_32_8, LAYOUT_TIGHT},
                                            {4, 16, tight_32_4, LAYOUT_TIGHT},
                                            {0}};
static const struct layout_kernel of_8[] = {{8, 2, lanes_64, LAYOUT_READS_ON}, {0}};

const struct layout_kernels layout_kernels_avx512 = {
    .transpose = {of_1, of_2, of_4, of_8},
    .fill = FILLERS,
    .move = {NULL, NULL, NULL, NULL, NULL, NULL, move_64},
    .pad_lines = pad_lines,
    .shift_lines = shift_lines,
    .fence = fence,
    .most_streams = 48,
    .smaller = &layout_kernels_avx512_half,
};

#endif
