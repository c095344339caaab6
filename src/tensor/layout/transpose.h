/* SPDX-License-Identifier: Apache-2.0 */
/* transpose: a tile of elements, or of units of up to 64 bytes, by the kernels that there are. */
#ifndef QUIRE_TENSOR_LAYOUT_TRANSPOSE_H
#define QUIRE_TENSOR_LAYOUT_TRANSPOSE_H

#include "tensor/layout/kernels.h"

#define LAYOUT_LINE_BYTES 64
#define LAYOUT_READ_ON_BYTES 16 /* a kernel reads less than this beyond the end of a row */

#define LAYOUT_MAX_CUTS 24

/* How a tile was cut into what kernels do. Most tiles of a conversion are cut as the one before. */
struct layout_cuts {
    size_t n_rows, n_columns, off; /* of that tile; off: its first column's place in a line */
    bool reads_on, is_known;       /* the latter: there are all cuts of it */
    uint32_t n;
    struct layout_cut {
        layout_transpose *run;
        struct layout_part part;
        bool streams;
    } list[LAYOUT_MAX_CUTS];
};

/* The matrix, and the others behind it, are of units of n_bytes (1, 2, 4, ... 64). reads_on: there
 * are LAYOUT_READ_ON_BYTES behind each row that may be read. `streams` of the matrix: stores past
 * the caches where they fill whole lines. `cuts`: not known at first; then of a tile with the same
 * kernels, units, tables and distances of rows and columns. */
void layout_transpose_tile(const struct layout_kernels *kernels, struct layout_cuts *cuts,
                           const struct layout_matrix *matrix, size_t n_bytes, size_t n_rows,
                           size_t n_columns, bool reads_on);

/* Copies all units, of 1 << unit bytes, as the kernels do that have that size. */
void layout_move(const struct layout_kernels *kernels, unsigned unit,
                 const struct layout_matrix *matrix, size_t n_rows, size_t n_columns);

#endif
