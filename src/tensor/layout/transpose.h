/* SPDX-License-Identifier: Apache-2.0 */
/* transpose: a tile of elements, or of units of up to 64 bytes, by the kernels that there are. */
#ifndef QUIRE_TENSOR_LAYOUT_TRANSPOSE_H
#define QUIRE_TENSOR_LAYOUT_TRANSPOSE_H

#include "tensor/layout/kernels.h"

#define LAYOUT_LINE_BYTES 64
#define LAYOUT_READ_ON_BYTES 16 /* a kernel reads less than this beyond the end of a row */

/* The matrix is of units of n_bytes (1, 2, 4, ... 64). reads_on: there are LAYOUT_READ_ON_BYTES
 * behind each row that may be read. `streams` of the matrix: stores past the caches where they fill
 * whole lines. */
void layout_transpose_tile(const struct layout_kernels *kernels, const struct layout_matrix *matrix,
                           size_t n_bytes, size_t n_rows, size_t n_columns, bool reads_on);

/* Copies all units, of 1 << unit bytes, as the kernels do that have that size. */
void layout_move(const struct layout_kernels *kernels, unsigned unit,
                 const struct layout_matrix *matrix, size_t n_rows, size_t n_columns);

#endif
