/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernels: what an instruction set has for conversions: transposing a few rows at a time, moving
 * units, storing past the caches.
 *
 * A kernel takes n_rows rows of elements and a number of columns, and writes column by column:
 *
 *     row 0   a b c d ...            column 0   a e ...
 *     row 1   e f g h ...    -->     column 1   b f ...
 *     ...                            ...
 *
 * Rows begin at equal distances in the source, and columns in the target; or anywhere, and a table
 * tells. So any strides, and rows of zeros, are the same to it.
 */
#ifndef QUIRE_TENSOR_LAYOUT_KERNELS_H
#define QUIRE_TENSOR_LAYOUT_KERNELS_H

#include <quire/layout.h>

struct layout_rows {
    const char *first;
    int64_t step;         /* bytes */
    const int64_t *table; /* how far behind `first` each begins; the step doesn't count then */
};

struct layout_columns {
    char *first;
    int64_t step;
    const int64_t *table;
};

struct layout_matrix {
    struct layout_rows rows;
    struct layout_columns columns;
    size_t n_others; /* matrices behind this one that differ in where they begin, so far apart: */
    int64_t rows_apart, columns_apart;
    bool has_row_table, has_column_table; /* the latter only along with the former */
    bool streams; /* stores past the caches: what is written begins and ends at lines */
};

/* A rectangle of it. */
struct layout_part {
    size_t first_row, n_rows, first_column, n_columns;
};

/* Of it and of the others behind it. */
typedef void layout_transpose(const struct layout_matrix *matrix, const struct layout_part *part);

/* All of it, not of the others; the units are copied as they are. */
typedef void layout_mover(const struct layout_matrix *matrix, size_t n_rows, size_t n_columns);

/* What a matrix has, as constants that the compiler knows: kernels have code for each. */
struct layout_form {
    bool row_table, column_table, streams;
    bool has_others; /* told where the next one's rows may be fetched while this one's are read */
};

#define LAYOUT_INLINE static inline __attribute__((always_inline))

/* Rows of zeros are listed, too, and lie in an object of their own. */
LAYOUT_INLINE const char *layout_listed_row(const struct layout_rows *rows, size_t number)
{
    return (const char *)((uintptr_t)rows->first + (uintptr_t)rows->table[number]);
}

LAYOUT_INLINE const char *layout_row(const struct layout_matrix *matrix, bool has_table,
                                     size_t number)
{
    return has_table ? layout_listed_row(&matrix->rows, number)
                     : matrix->rows.first + (int64_t)number * matrix->rows.step;
}

LAYOUT_INLINE char *layout_column(const struct layout_matrix *matrix, bool has_table, size_t number)
{
    return matrix->columns.first +
           (has_table ? matrix->columns.table[number] : (int64_t)number * matrix->columns.step);
}

enum layout_kernel_kind {
    LAYOUT_EXACT,
    LAYOUT_READS_ON, /* the last columns may be fewer: then the rows are read beyond them, up to the
                        multiple, and that is not written */
    LAYOUT_TIGHT,    /* only for columns of its n_rows that lie one behind the other */
    LAYOUT_TIGHT_ROWS /* only for rows of its n_columns that do */
};

/* Takes multiples of n_rows and n_columns. */
struct layout_kernel {
    uint32_t n_rows, n_columns;
    layout_transpose *run;
    enum layout_kernel_kind kind;
};

#define LAYOUT_MAX_WOVEN 4

/* Few streams and one in which their units lie by turns (the channels of an image in NCHW and in
 * NHWC). A group is 16 bytes of each; byte b of output k is byte masks[k][j][b] of that input j
 * where it is below 16. */
struct layout_weave {
    uint32_t n;    /* streams, 2 to LAYOUT_MAX_WOVEN */
    bool is_woven; /* the input is; otherwise the output */
    const char *in[LAYOUT_MAX_WOVEN];
    char *out[LAYOUT_MAX_WOVEN];
    int64_t in_step, out_step; /* bytes, from group to group */
    uint8_t masks[LAYOUT_MAX_WOVEN][LAYOUT_MAX_WOVEN][16];
};

/* Few rows, and columns that have zeros behind what is of them (three channels in blocks of 16). */
struct layout_filler {
    uint32_t n_rows, n_columns; /* at most so many rows; multiples of so many columns */
    size_t n_bytes;             /* columns, with their zeros, are of multiples of so many bytes */
    /* The first rows of the table. Columns begin at equal distances; fill_bytes: of a column */
    void (*run)(const struct layout_matrix *matrix, size_t n_rows, size_t n_columns,
                size_t fill_bytes);
};

#define LAYOUT_N_UNITS 7 /* of 1, 2, 4, ... 64 bytes */
#define LAYOUT_N_TRANSPOSED 4

struct layout_kernels {
    /* For units of 1, 2, 4 and 8 bytes, by falling rows, then columns; n_rows 0 ends it */
    const struct layout_kernel *transpose[LAYOUT_N_TRANSPOSED];
    struct layout_filler fill[LAYOUT_N_TRANSPOSED]; /* the same; n_rows 0: as in `smaller` */
    layout_mover *move[LAYOUT_N_UNITS];             /* of any shape; NULL: as in `smaller` */
    void (*weave)(const struct layout_weave *weave, size_t n_groups); /* NULL: as in `smaller` */
    /* Columns of one unit of n_bytes each, so many bytes apart in the row, and zeros behind it up
     * to a line. NULL: it has nothing better than plain C */
    void (*pad_lines)(const struct layout_matrix *matrix, size_t n_bytes, int64_t apart,
                      size_t n_columns);
    /* All columns of elements of 4 bytes, a multiple of 16 of them and 64 at most, at equal
     * distances and beginning anywhere, of the first rows, a multiple of 16. Past the caches. NULL:
     * none */
    void (*shift_lines)(const struct layout_matrix *matrix, size_t n_rows, size_t n_columns);
    /* To be called after stores past the caches. NULL: the instruction set has none */
    void (*fence)(void);
    size_t most_streams; /* pages that stores past the caches go to by turns; those of `smaller` are
                            faster for more. 0: any */
    const struct layout_kernels *smaller; /* what to use where these don't fit; the last: NULL */
};

/* NULL: it is not for this architecture. BEST is not asked for. */
const struct layout_kernels *layout_kernels_of(enum quire_layout_isa isa);

extern const struct layout_kernels layout_kernels_portable;
extern const struct layout_kernels layout_kernels_sse2, layout_kernels_avx2;
extern const struct layout_kernels layout_kernels_avx512_half, layout_kernels_avx512;
extern const struct layout_kernels layout_kernels_neon;

#endif
