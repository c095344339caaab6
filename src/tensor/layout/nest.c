/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nest: finds in a box what can be moved at once.
 *
 *     unit      what is contiguous in the source and in the target. If an axis is contiguous in
 *               both, its whole length: from nhwc to nchw16c, 16 channels are a unit of 64 bytes
 *     columns   the axis along which units are contiguous in the source, and what continues it
 *     rows      the same in the target
 *
 * Rows and columns are what the kernels transpose. A chain goes on while its run is shorter than a
 * line of the cache: the 3 x 3 weights of oihw are 9 columns, with the next input channels 144.
 */
#include "tensor/layout/nest.h"

#include "base/checked.h"
#include "tensor/layout/lines.h"

#include <stdlib.h>

#define LINE_BYTES 64
#define LONG_BYTES 512 /* a run of that many is as good as a longer one */

/* Merging */

static bool continues(const struct layout_axis *inner, const struct layout_axis *outer)
{
    return inner->pad == 0 && outer->pad == 0 && outer->from == inner->n * inner->from &&
           outer->to == inner->n * inner->to;
}

static void remove_axis(struct layout_axis *axes, uint32_t *n, uint32_t at)
{
    for (uint32_t i = at; i + 1 < *n; i++)
        axes[i] = axes[i + 1];
    --*n;
}

void nest_merge(struct layout_box *box)
{
    for (uint32_t i = 0; i < box->n_axes; i++) {
        for (uint32_t j = 0; j < box->n_axes; j++) {
            if (i == j || !continues(&box->axes[i], &box->axes[j]))
                continue;
            box->axes[i].n *= box->axes[j].n;
            remove_axis(box->axes, &box->n_axes, j);
            i = UINT32_MAX; /* once more from the first on */
            break;
        }
    }
}

/* Choosing */

static void take_unit(struct nest *nest, int64_t n_bytes)
{
    nest->unit = n_bytes;
    for (uint32_t i = 0; i < nest->n_outer; i++) {
        const struct layout_axis *axis = &nest->outer[i];
        if (axis->from != n_bytes || axis->to != n_bytes)
            continue;
        nest->unit = axis->n * n_bytes;
        nest->pad = axis->pad * n_bytes;
        remove_axis(nest->outer, &nest->n_outer, i);
        return;
    }
}

static void take_axis(struct nest *nest, uint32_t at, struct nest_side *side)
{
    side->axes[side->n_axes++] = nest->outer[at];
    side->n *= nest->outer[at].n;
    remove_axis(nest->outer, &nest->n_outer, at);
}

/* The axis with the least step, of those that don't have to be rows; n_outer: there is none. */
static uint32_t find_least(const struct nest *nest, bool in_target, bool is_for_rows)
{
    uint32_t best = nest->n_outer;
    int64_t least = INT64_MAX;

    for (uint32_t i = 0; i < nest->n_outer; i++) {
        const struct layout_axis *axis = &nest->outer[i];
        int64_t step = llabs(in_target ? axis->to : axis->from);
        if (axis->pad > 0 && !is_for_rows)
            continue;
        if (axis->pad > 0)
            step = 0;
        if (step < least) {
            least = step;
            best = i;
        }
    }
    return best;
}

/* Adds to a side what continues it, while its run is short. */
static void extend(struct nest *nest, struct nest_side *side, bool in_target)
{
    while (side->n_axes > 0 && side->n * nest->unit < LINE_BYTES) {
        uint32_t i = 0;
        while (i < nest->n_outer &&
               ((in_target ? nest->outer[i].to : nest->outer[i].from) != side->n * nest->unit ||
                nest->outer[i].pad > 0))
            i++;
        if (i == nest->n_outer)
            return;
        take_axis(nest, i, side);
    }
}

static bool is_contiguous(const struct nest_side *side, bool in_target, int64_t unit)
{
    return side->n_axes == 0 || (in_target ? side->axes[0].to : side->axes[0].from) == unit;
}

/* What is contiguous in the target has the first choice of rows, then that of the source of
 * columns, then whatever has the shortest steps. */
static void choose_sides(struct nest *nest)
{
    bool is_run = nest->pad > 0 || !is_power_of_two((size_t)nest->unit) || nest->unit > LINE_BYTES;
    uint32_t row = find_least(nest, true, true);

    if (is_run) { /* column by column as they lie in the target */
        if (row < nest->n_outer)
            take_axis(nest, row, &nest->columns);
        return;
    }
    if (row < nest->n_outer && (nest->outer[row].to == nest->unit || nest->outer[row].pad > 0))
        take_axis(nest, row, &nest->rows);
    uint32_t column = find_least(nest, false, false);
    if (column < nest->n_outer)
        take_axis(nest, column, &nest->columns);
    row = find_least(nest, true, true);
    if (nest->rows.n_axes == 0 && row < nest->n_outer)
        take_axis(nest, row, &nest->rows);
    if (nest->rows.n_axes > 0) {
        nest->pad_rows = nest->rows.axes[0].pad;
        nest->row_step = nest->rows.axes[0].to;
    }
    nest->is_linear = is_contiguous(&nest->columns, false, nest->unit) &&
                      is_contiguous(&nest->rows, true, nest->unit);
}

/* Tiles */

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* So many as fill `bytes`, whole lines where there are several tiles. */
static void set_tile(struct nest_side *side, int64_t unit, int64_t bytes)
{
    int64_t line = unit < LINE_BYTES ? LINE_BYTES / unit : 1;
    int64_t tile = smaller(bytes / unit, NEST_MAX_LINES);

    tile = tile < line ? line : tile - tile % line;
    side->tile = smaller(tile, side->n);
    side->n_tiles = (side->n + side->tile - 1) / side->tile;
}

static void set_whole(struct nest_side *side)
{
    side->tile = side->n;
    side->n_tiles = 1;
}

static void set_tiles(struct nest *nest)
{
    struct nest_side *columns = &nest->columns, *rows = &nest->rows;
    int64_t unit = nest->unit + nest->pad, n_rows = rows->n + nest->pad_rows, side = LINE_BYTES;
    bool has_short_rows = columns->n * unit <= LONG_BYTES;
    bool has_short_columns = n_rows * unit <= LONG_BYTES || nest->pad_rows > 0;
    /* a line that is used up at once needs no tile to be kept in the cache for */
    bool needs_none = nest->is_linear && nest->stores != NEST_STAGED && !nest->has_row_table;
    int64_t bytes = nest->stores == NEST_STAGED ? NEST_STAGE_BYTES : NEST_TILE_BYTES;

    if (needs_none && (has_short_rows || has_short_columns)) {
        set_whole(columns);
        set_whole(rows);
    } else if (has_short_columns) {
        set_whole(rows);
        set_tile(columns, unit, smaller(bytes / n_rows, NEST_MAX_ROW_BYTES));
    } else if (has_short_rows) {
        set_whole(columns);
        set_tile(rows, unit, bytes / columns->n);
    } else { /* a square */
        while (side * side * 4 / unit <= bytes)
            side *= 2;
        set_tile(columns, unit, side);
        set_tile(rows, unit, bytes / columns->tile);
    }
    nest->has_rows_outside = rows->n_tiles >= columns->n_tiles;
    nest->n_tiles = rows->n_tiles * columns->n_tiles;
    for (uint32_t i = 0; i < nest->n_outer; i++)
        nest->n_tiles *= nest->outer[i].n;
}

/* The loop with the longest steps in the target is the outermost. */
static void sort_outer(struct nest *nest)
{
    for (uint32_t i = 1; i < nest->n_outer; i++) {
        struct layout_axis axis = nest->outer[i];
        uint32_t at = i;
        for (; at > 0 && llabs(nest->outer[at - 1].to) < llabs(axis.to); at--)
            nest->outer[at] = nest->outer[at - 1];
        nest->outer[at] = axis;
    }
}

/* Whether tiles of whole columns lie one behind the other in the target. */
static bool is_sequential(const struct nest *nest)
{
    int64_t column = (nest->rows.n + nest->pad_rows) * (nest->unit + nest->pad);

    return nest->columns.n_axes == 1 && nest->columns.axes[0].to == column &&
           (column <= LONG_BYTES || nest->pad_rows > 0);
}

static enum nest_stores choose_stores(const struct nest *nest, uintptr_t first)
{
    int64_t column = (nest->rows.n + nest->pad_rows) * nest->unit;
    bool are_lines = nest->is_linear && column % LINE_BYTES == 0;

    if (nest->row_step != nest->unit || nest->has_column_table)
        return NEST_CACHED;
    /* several of these columns are a line; the vectors of all instruction sets divide them */
    bool divide_lines = nest->is_linear && (column == LINE_BYTES / 2 || column == LINE_BYTES / 4);
    if (is_sequential(nest) && !(first % LINE_BYTES == 0 && (are_lines || divide_lines)))
        return NEST_STAGED;
    if (is_sequential(nest))
        return NEST_STREAMED;
    if (!nest->is_linear || nest->columns.n_axes == 0)
        return NEST_CACHED;
    if (nest->columns.axes[0].to % LINE_BYTES == 0)
        return NEST_STREAMED;
    return column >= LONG_BYTES && nest->columns.n <= LAYOUT_MAX_STREAMS ? NEST_GATHERED
                                                                         : NEST_CACHED;
}

void nest_make(const struct layout_box *box, int64_t n_bytes, bool streams, uintptr_t target,
               struct nest *nest)
{
    nest->columns.n = nest->rows.n = 1;
    nest->columns.n_axes = nest->rows.n_axes = 0;
    nest->pad = nest->pad_rows = 0;
    nest->is_linear = false;
    nest->stores = NEST_CACHED;
    nest->n_outer = box->n_axes;
    for (uint32_t i = 0; i < box->n_axes; i++)
        nest->outer[i] = box->axes[i];
    take_unit(nest, n_bytes);
    nest->column_step = nest->row_step = nest->unit;
    choose_sides(nest);
    if (nest->columns.n_axes > 0)
        nest->column_step = nest->columns.axes[0].from;
    if (nest->is_linear) {
        extend(nest, &nest->columns, false);
        if (nest->pad_rows == 0)
            extend(nest, &nest->rows, true);
    }
    nest->has_column_table = nest->columns.n_axes > 1;
    nest->has_row_table = nest->rows.n_axes > 1 || nest->pad_rows > 0 || nest->has_column_table;
    if (streams)
        nest->stores = choose_stores(nest, target + (uintptr_t)box->to);
    sort_outer(nest);
    set_tiles(nest);
}
