/* SPDX-License-Identifier: Apache-2.0 */
/* lines: stores past the caches of what begins anywhere: gathered in a stage, a line at a time. */
#ifndef QUIRE_TENSOR_LAYOUT_LINES_H
#define QUIRE_TENSOR_LAYOUT_LINES_H

#include "tensor/layout/transpose.h"

/* The kernels have to have fence(), to be called when all is done. */

/* Copies a run. */
void layout_stream_run(const struct layout_kernels *kernels, char *to, const char *from,
                       size_t n_bytes);

#define LAYOUT_MAX_STREAMS 64 /* columns */

/* As layout_transpose_tile(), of up to LAYOUT_MAX_STREAMS columns at equal distances, each longer
 * than some lines. */
void layout_stream_tile(const struct layout_kernels *kernels, struct layout_cuts *cuts,
                        const struct layout_matrix *matrix, size_t n_bytes, size_t n_rows,
                        size_t n_columns, bool reads_on);

#endif
