/* SPDX-License-Identifier: Apache-2.0 */
/*
 * portable: the kernels in plain C, and which instruction set has which.
 */
#include "tensor/layout/kernels.h"

#include <string.h>

/* One unit at a time; the compiler knows its size. */
LAYOUT_INLINE void move_units(const struct layout_matrix *matrix, size_t n_rows, size_t n_columns,
                              size_t unit)
{
    for (size_t c = 0; c < n_columns; c++) {
        char *to = layout_column(matrix, matrix->has_column_table, c);
        for (size_t r = 0; r < n_rows; r++, to += unit)
            memcpy(to, layout_row(matrix, matrix->has_row_table, r) + c * unit, unit);
    }
}

#define MOVE(unit)                                                                               \
    static void move_##unit(const struct layout_matrix *matrix, size_t n_rows, size_t n_columns) \
    {                                                                                            \
        move_units(matrix, n_rows, n_columns, unit);                                             \
    }
MOVE(1)
MOVE(2)
MOVE(4)
MOVE(8)
MOVE(16)
MOVE(32)
MOVE(64)

static const struct layout_kernel none[] = {{0}};

const struct layout_kernels layout_kernels_portable = {
    .transpose = {none, none, none, none},
    .move = {move_1, move_2, move_4, move_8, move_16, move_32, move_64},
};

const struct layout_kernels *layout_kernels_of(enum quire_layout_isa isa)
{
    switch (isa) {
    case QUIRE_LAYOUT_PORTABLE:
        return &layout_kernels_portable;
#if defined(__x86_64__)
    case QUIRE_LAYOUT_SSE2:
        return &layout_kernels_sse2;
    case QUIRE_LAYOUT_AVX2:
        return &layout_kernels_avx2;
    case QUIRE_LAYOUT_AVX512:
        return &layout_kernels_avx512;
#elif defined(__aarch64__)
    case QUIRE_LAYOUT_NEON:
        return &layout_kernels_neon;
#endif
    default:
        return NULL;
    }
}
