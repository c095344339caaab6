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
 * Rows and columns are found through pointers, so that any strides, and rows of zeros, are the same
 * to it.
 */
#ifndef QUIRE_TENSOR_LAYOUT_KERNELS_H
#define QUIRE_TENSOR_LAYOUT_KERNELS_H

#include <quire/layout.h>

/* Writes n columns (a multiple of the kernel's) of its rows: `at` bytes into each column. `rows`
 * point to the first of these columns' elements, n_bytes from one column to the next. */
typedef void layout_transpose(const char *const *rows, char *const *columns, size_t at, size_t n);

/* As that, of any number of rows; the units are copied as they are. */
typedef void layout_move(const char *const *rows, size_t n_rows, char *const *columns, size_t n);

struct layout_kernel {
    uint32_t n_rows, n_columns; /* a multiple of */
    layout_transpose *run;
};

#define LAYOUT_N_UNITS 7 /* of 1, 2, 4, ... 64 bytes */
#define LAYOUT_N_TRANSPOSED 4

struct layout_kernels {
    /* For units of 1, 2, 4 and 8 bytes, by falling rows, then columns; n_rows 0 ends it */
    const struct layout_kernel *transpose[LAYOUT_N_TRANSPOSED];
    layout_move *move[LAYOUT_N_UNITS]; /* of any shape; NULL: as in `smaller` */
    /* Copies past the caches where the instruction set can; to be followed by fence() */
    void (*stream)(char *to, const char *from, size_t n_bytes);
    void (*fence)(void);
    const struct layout_kernels *smaller; /* what to use where these don't fit; the last: NULL */
};

/* NULL: it is not for this architecture. BEST is not asked for. */
const struct layout_kernels *layout_kernels_of(enum quire_layout_isa isa);

extern const struct layout_kernels layout_kernels_portable;
extern const struct layout_kernels layout_kernels_sse2, layout_kernels_avx2, layout_kernels_avx512;
extern const struct layout_kernels layout_kernels_neon;

#endif
