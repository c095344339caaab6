/* SPDX-License-Identifier: Apache-2.0 */
/* nest: a box as rows and columns of units, in tiles, with loops around them. */
#ifndef QUIRE_TENSOR_LAYOUT_NEST_H
#define QUIRE_TENSOR_LAYOUT_NEST_H

#include "tensor/layout/box.h"

/* Of a tile: half of a first-level cache, so that both sides fit. */
#define NEST_TILE_BYTES ((int64_t)16 << 10)
#define NEST_STAGE_BYTES ((int64_t)4 << 10) /* of a tile that is staged */
#define NEST_MAX_LINES 512                  /* rows or columns */
#define NEST_MAX_ROW_BYTES 4096             /* in the source */

/* How a tile is stored. */
enum nest_stores {
    NEST_CACHED,
    NEST_STREAMED, /* past the caches, from the registers: columns lie whole lines apart */
    NEST_GATHERED, /* past the caches; columns begin anywhere, and are long */
    NEST_STAGED    /* past the caches, from a stage: columns lie one behind the other */
};

/* Rows or columns: one or more axes, the first is the fastest. */
struct nest_side {
    uint32_t n_axes;
    struct layout_axis axes[LAYOUT_MAX_AXES];
    int64_t n;    /* the product of their lengths */
    int64_t tile; /* of them in a tile, but the last */
    int64_t n_tiles;
};

struct nest {
    int64_t unit;             /* bytes that are contiguous in both */
    int64_t pad;              /* zeros behind each unit, bytes */
    int64_t pad_rows;         /* rows of zeros below the others; then one tile has all rows */
    struct nest_side columns; /* contiguous in the source, if column_step is `unit` */
    struct nest_side rows;    /* contiguous in the target, if row_step is `unit` */
    int64_t column_step;      /* bytes, in the source */
    int64_t row_step;         /* bytes, in the target */
    bool is_linear;           /* both steps are the unit, and it is 1, 2, 4, ... 64 bytes */
    bool has_row_table, has_column_table; /* lines are not at equal distances */
    enum nest_stores stores;
    bool has_rows_outside; /* tiles go along the columns first */
    uint32_t n_outer;
    struct layout_axis outer[LAYOUT_MAX_AXES]; /* the last is the fastest */
    int64_t n_tiles;
};

/* Of a box of elements of n_bytes. A run that is longer than a tile should have become an axis of
 * shorter ones before. `streams`: past the caches where it can; then `target` is the address of
 * the target, of which only the place in its line counts. */
void nest_make(const struct layout_box *box, int64_t n_bytes, bool streams, uintptr_t target,
               struct nest *nest);

/* Joins axes that are one in both; n_bytes: of the unit inside. */
void nest_merge(struct layout_box *box);

#endif
