/* SPDX-License-Identifier: Apache-2.0 */
/* tiles: runs a box, a tile that fits the first-level cache at a time. */
#ifndef QUIRE_TENSOR_LAYOUT_TILES_H
#define QUIRE_TENSOR_LAYOUT_TILES_H

#include "tensor/layout/box.h"
#include "tensor/layout/kernels.h"

struct layout_job {
    const struct layout_kernels *kernels;
    const char *source;
    size_t source_bytes; /* that may be read; never beyond */
    char *target;
    uint32_t part, n_parts;
    enum quire_layout_stores stores;
    size_t n_bytes; /* of an element */
    /* Not NULL: nothing is moved; called instead for each run of bytes, in the order of the work */
    void (*touch)(void *context, bool is_target, int64_t at, size_t n_bytes);
    void *context;
};

void layout_run_box(const struct layout_job *job, const struct layout_box *box);

#endif
