/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tiles: runs a box. A tile is read row by row, transposed in registers, and written column by
 * column; it fits the first-level cache, so that no line is fetched twice.
 *
 *     source --kernels--> target                        stores through the caches, or past them
 *     source --kernels--> lines of columns --> target   past them: columns begin anywhere
 *     source --kernels--> stage --> target              past them: columns are short
 *
 * A store past the caches has to fill its line at once: transpose.c stores whole lines, lines.c
 * gathers them; the stage, on the stack, has a tile that is contiguous in the target. Rows of zeros
 * (a tail) are rows like others that lie in `zeros`.
 */
#include "tensor/layout/tiles.h"

#include "base/checked.h"
#include "tensor/layout/lines.h"
#include "tensor/layout/nest.h"
#include "tensor/layout/transpose.h"

#include <assert.h>
#include <string.h>

#define RUN_BYTES NEST_TILE_BYTES /* longer runs are several */
#define SHORT_BYTES 128

static const char zeros[NEST_MAX_ROW_BYTES + LAYOUT_READ_ON_BYTES];
static_assert(NEST_MAX_ROW_BYTES >= 4 * QUIRE_LAYOUT_MAX_BLOCK, "the longest tail of a unit");

/* Where the loop stands, and what of it this tile is. */
struct tile {
    int64_t row, column;                /* counted in tiles */
    int64_t digits[LAYOUT_MAX_AXES];    /* of the outer axes */
    int64_t from, to;                   /* bytes, of the loops outside alone */
    size_t n_rows, n_columns;           /* without rows of zeros */
    int64_t first_row;                  /* in the source */
    int64_t first_column;               /* in the target */
    int64_t row_base, column_base;      /* with tables: what the places below begin at */
    int64_t row_at[2 * NEST_MAX_LINES]; /* rows of zeros, too */
    int64_t column_at[NEST_MAX_LINES];
    int64_t last_row; /* the largest of row_at */
    bool is_listed;   /* places stay from tile to tile where a tile has all rows (columns) */
    size_t n_others;  /* tiles behind it that are done along with it */
    struct layout_cuts cuts;
};

/* Finding a tile */

static int64_t step_of(const struct layout_axis *axis, bool in_target)
{
    return in_target ? axis->to : axis->from;
}

/* Where a line of a side lies. */
static int64_t place_of(const struct nest_side *side, bool in_target, int64_t line)
{
    int64_t at = 0;

    for (uint32_t k = 0; k < side->n_axes && line > 0; k++) {
        int64_t n = side->axes[k].n, left = line / n;
        at += (line - left * n) * step_of(&side->axes[k], in_target);
        line = left;
    }
    return at;
}

/* The offsets of lines `first` up to first + n. */
static void list_offsets(const struct nest_side *side, bool in_target, int64_t first, size_t n,
                         int64_t *offsets)
{
    int64_t step = side->n_axes == 0 ? 0 : step_of(&side->axes[0], in_target);
    int64_t length = side->n_axes == 0 ? 1 : side->axes[0].n;

    for (size_t i = 0; i < n;) {
        int64_t at = place_of(side, in_target, first + (int64_t)i);
        int64_t in_axis = length - (first + (int64_t)i) % length;
        for (; i < n && in_axis > 0; in_axis--, i++, at += step)
            offsets[i] = at;
    }
}

static size_t tile_length(const struct nest_side *side, int64_t first)
{
    int64_t left = side->n - first;

    return (size_t)(left < side->tile ? left : side->tile);
}

static void start_at(const struct nest *nest, const struct layout_box *box, int64_t number,
                     struct tile *tile)
{
    int64_t *inner = nest->has_rows_outside ? &tile->column : &tile->row;
    int64_t *outer = nest->has_rows_outside ? &tile->row : &tile->column;
    int64_t n_inner = nest->has_rows_outside ? nest->columns.n_tiles : nest->rows.n_tiles;
    int64_t n_outer = nest->has_rows_outside ? nest->rows.n_tiles : nest->columns.n_tiles;

    *inner = number % n_inner;
    number /= n_inner;
    *outer = number % n_outer;
    number /= n_outer;
    tile->from = box->from;
    tile->to = box->to;
    for (uint32_t i = nest->n_outer; i-- > 0;) {
        tile->digits[i] = number % nest->outer[i].n;
        number /= nest->outer[i].n;
        tile->from += tile->digits[i] * nest->outer[i].from;
        tile->to += tile->digits[i] * nest->outer[i].to;
    }
}

/* Behind the tile and the others that were done along with it. */
static void go_on(const struct nest *nest, struct tile *tile)
{
    int64_t *inner = nest->has_rows_outside ? &tile->column : &tile->row;
    int64_t *outer = nest->has_rows_outside ? &tile->row : &tile->column;
    int64_t n_inner = nest->has_rows_outside ? nest->columns.n_tiles : nest->rows.n_tiles;
    int64_t n_outer = nest->has_rows_outside ? nest->rows.n_tiles : nest->columns.n_tiles;

    if (tile->n_others > 0) { /* they are of the innermost loop */
        const struct layout_axis *axis = &nest->outer[nest->n_outer - 1];
        tile->digits[nest->n_outer - 1] += (int64_t)tile->n_others;
        tile->from += (int64_t)tile->n_others * axis->from;
        tile->to += (int64_t)tile->n_others * axis->to;
    }
    if (++*inner < n_inner)
        return;
    *inner = 0;
    if (++*outer < n_outer)
        return;
    *outer = 0;
    for (uint32_t i = nest->n_outer; i-- > 0;) {
        tile->from += nest->outer[i].from;
        tile->to += nest->outer[i].to;
        if (++tile->digits[i] < nest->outer[i].n)
            return;
        tile->digits[i] = 0;
        tile->from -= nest->outer[i].n * nest->outer[i].from;
        tile->to -= nest->outer[i].n * nest->outer[i].to;
    }
}

static void find_lines(const struct nest *nest, struct tile *tile)
{
    const struct nest_side *columns = &nest->columns, *rows = &nest->rows;
    int64_t row = tile->row * rows->tile, column = tile->column * columns->tile;
    int64_t from = tile->from + place_of(columns, false, column);
    int64_t to = tile->to + place_of(rows, true, row);

    tile->n_rows = tile_length(rows, row);
    tile->n_columns = tile_length(columns, column);
    tile->first_row = from + place_of(rows, false, row);
    tile->first_column = to + place_of(columns, true, column);
    tile->row_base = from;
    tile->column_base = to;
    if (nest->has_row_table && !(tile->is_listed && rows->n_tiles == 1)) {
        list_offsets(rows, false, row, tile->n_rows, tile->row_at);
        tile->last_row = tile->row_at[0];
        for (size_t i = 1; i < tile->n_rows; i++)
            if (tile->row_at[i] > tile->last_row)
                tile->last_row = tile->row_at[i];
    }
    if (nest->has_column_table && !(tile->is_listed && columns->n_tiles == 1))
        list_offsets(columns, true, column, tile->n_columns, tile->column_at);
    tile->is_listed = true;
}

static int64_t first_step(const struct nest_side *side, bool in_target)
{
    return side->n_axes == 0 ? 0 : step_of(&side->axes[0], in_target);
}

static int64_t row_at(const struct nest *nest, const struct tile *tile, size_t number)
{
    return nest->has_row_table ? tile->row_base + tile->row_at[number]
                               : tile->first_row + (int64_t)number * first_step(&nest->rows, false);
}

static int64_t column_at(const struct nest *nest, const struct tile *tile, size_t number)
{
    return nest->has_column_table
               ? tile->column_base + tile->column_at[number]
               : tile->first_column + (int64_t)number * first_step(&nest->columns, true);
}

/* Moving a tile */

typedef uint64_t vector __attribute__((vector_size(16)));

/* Short runs, by moves that overlap: a call of memcpy() takes longer than they do. */
LAYOUT_INLINE void copy(char *to, const char *from, size_t n)
{
    if (n > SHORT_BYTES) {
        memcpy(to, from, n);
    } else if (n >= 16) {
        for (size_t i = 0; i + 16 <= n; i += 16)
            memcpy(to + i, from + i, 16);
        memcpy(to + n - 16, from + n - 16, 16);
    } else if (n >= 8) {
        memcpy(to, from, 8);
        memcpy(to + n - 8, from + n - 8, 8);
    } else if (n >= 4) {
        memcpy(to, from, 4);
        memcpy(to + n - 4, from + n - 4, 4);
    } else {
        for (size_t i = 0; i < n; i++)
            to[i] = from[i];
    }
}

/* Units of any size and steps. */
static void move_strided(const struct nest *nest, const struct layout_matrix *matrix, size_t n_rows,
                         size_t n_columns)
{
    size_t unit = (size_t)nest->unit, pad = (size_t)nest->pad;

    for (size_t c = 0; c < n_columns; c++) {
        char *to = layout_column(matrix, matrix->has_column_table, c);
        for (size_t r = 0; r < n_rows; r++, to += nest->row_step) {
            const char *from = layout_row(matrix, matrix->has_row_table, r);
            if (from != zeros)
                from += (int64_t)c * nest->column_step;
            copy(to, from, unit);
            if (pad > 0)
                copy(to + unit, zeros, pad);
        }
    }
}

/* Short units with zeros behind them, as N_VECTORS vectors, which are read whole and masked. */
LAYOUT_INLINE void pad_by_masks(const struct nest *nest, const struct layout_matrix *matrix,
                                size_t n_columns, unsigned n_vectors)
{
    const char *from = matrix->rows.first;
    char *to = matrix->columns.first;
    vector masks[LAYOUT_LINE_BYTES / sizeof(vector)] = {0};

    memset(masks, 0xff, (size_t)nest->unit);
    for (size_t c = 0; c < n_columns; c++) {
        for (unsigned i = 0; i < n_vectors; i++) {
            vector v;
            memcpy(&v, from + i * sizeof v, sizeof v);
            v &= masks[i];
            memcpy(to + i * sizeof v, &v, sizeof v);
        }
        from += nest->column_step;
        to += matrix->columns.step;
    }
}

static void pad_units(const struct layout_job *job, const struct nest *nest,
                      const struct layout_matrix *matrix, size_t n_columns)
{
    size_t n_vectors = (size_t)(nest->unit + nest->pad) / sizeof(vector);

    if (n_vectors == 4 && job->kernels->pad_lines != NULL)
        job->kernels->pad_lines(matrix, (size_t)nest->unit, nest->column_step, n_columns);
    else if (n_vectors == 4)
        pad_by_masks(nest, matrix, n_columns, 4);
    else if (n_vectors == 2)
        pad_by_masks(nest, matrix, n_columns, 2);
    else
        pad_by_masks(nest, matrix, n_columns, 1);
}

/* Whether pad_units() may do it: one row, of vectors, and enough to read behind its last unit. */
static bool is_padded(const struct layout_job *job, const struct nest *nest,
                      const struct tile *tile)
{
    int64_t last = tile->first_row + (int64_t)(tile->n_columns - 1) * nest->column_step;
    int64_t whole = nest->unit + nest->pad;

    return nest->pad > 0 && (whole == 16 || whole == 32 || whole == 64) && tile->n_rows == 1 &&
           nest->pad_rows == 0 && !nest->has_row_table && nest->column_step > 0 &&
           last + whole <= (int64_t)job->source_bytes;
}

/* Whether so many bytes from the start of each row on may be read, and a few behind them. */
static bool reads_on(const struct layout_job *job, const struct nest *nest, const struct tile *tile,
                     int64_t rows_apart, size_t n_bytes)
{
    int64_t last = tile->row_base + tile->last_row;

    if (!nest->has_row_table) {
        int64_t first = row_at(nest, tile, 0);
        last = row_at(nest, tile, tile->n_rows - 1);
        last = last > first ? last : first;
    }
    if (rows_apart > 0)
        last += (int64_t)tile->n_others * rows_apart;
    return (size_t)last + n_bytes + LAYOUT_READ_ON_BYTES <= job->source_bytes;
}

#define END_BYTES 1024 /* of a row */

struct end {
    char bytes[END_BYTES + 2 * LAYOUT_READ_ON_BYTES]; /* the last rows, and room behind them */
};

/* Makes of a tile at the end of the source one whose rows can all be read on: those that can't
 * stand in a copy. False: they are too long. */
static bool copy_end(const struct layout_job *job, const struct nest *nest, struct tile *tile,
                     struct layout_matrix *matrix, struct end *end)
{
    const size_t n_bytes = tile->n_columns * (size_t)nest->unit;
    const char *source_end = job->source + job->source_bytes;
    const char *first_copied = source_end;

    if (tile->n_rows > NEST_MAX_LINES || n_bytes > END_BYTES)
        return false;
    for (size_t i = 0; i < tile->n_rows; i++) {
        const char *row = layout_row(matrix, matrix->has_row_table, i);
        if (!matrix->has_row_table)
            tile->row_at[i] = row - matrix->rows.first;
        if ((size_t)(source_end - row) < n_bytes + LAYOUT_READ_ON_BYTES && row < first_copied)
            first_copied = row;
    }
    size_t n_copied = (size_t)(source_end - first_copied);
    memcpy(end->bytes, first_copied, n_copied);
    for (size_t i = 0; i < tile->n_rows; i++)
        if (layout_listed_row(&matrix->rows, i) >= first_copied)
            tile->row_at[i] += (int64_t)((uintptr_t)end->bytes - (uintptr_t)first_copied);
    matrix->has_row_table = true;
    tile->is_listed = false;
    return true;
}

/* Whether a column is so few rows, and zeros behind them, that there is a kernel for it. */
static const struct layout_filler *find_filler(const struct layout_job *job,
                                               const struct nest *nest, const struct tile *tile)
{
    size_t unit = (size_t)nest->unit, n_bytes = (tile->n_rows + (size_t)nest->pad_rows) * unit;

    if (!nest->is_linear || nest->pad_rows == 0 || nest->has_column_table ||
        nest->stores == NEST_GATHERED || unit > 8)
        return NULL;
    for (const struct layout_kernels *its = job->kernels; its != NULL; its = its->smaller) {
        const struct layout_filler *filler = &its->fill[log2_floor(unit)];
        if (tile->n_rows <= filler->n_rows && n_bytes > 16 && n_bytes % filler->n_bytes == 0 &&
            tile->n_columns >= filler->n_columns)
            return filler;
    }
    return NULL;
}

/* Writes as many columns as a filler takes, and makes the matrix that of the others. Returns how
 * many these were. */
static size_t fill_columns(const struct layout_job *job, const struct nest *nest,
                           const struct tile *tile, struct layout_matrix *matrix)
{
    const struct layout_filler *filler = find_filler(job, nest, tile);
    size_t unit = (size_t)nest->unit;

    if (filler == NULL)
        return 0;
    size_t n = tile->n_columns - tile->n_columns % filler->n_columns;
    struct layout_matrix its = *matrix;
    its.streams &= (uintptr_t)its.columns.first % LAYOUT_LINE_BYTES == 0;
    filler->run(&its, tile->n_rows, n, (tile->n_rows + (size_t)nest->pad_rows) * unit);
    matrix->rows.first += n * unit;
    matrix->columns.first += (int64_t)n * matrix->columns.step;
    return n;
}

/* The target's side of the matrix is set already. */
static void move_tile(const struct layout_job *job, const struct nest *nest, struct tile *tile,
                      struct layout_matrix *matrix)
{
    size_t n_rows = tile->n_rows + (size_t)nest->pad_rows, unit = (size_t)nest->unit;
    int64_t first = nest->has_row_table ? tile->row_base : tile->first_row;

    matrix->rows = (struct layout_rows){job->source + first, first_step(&nest->rows, false),
                                        tile->row_at};
    matrix->has_row_table = nest->has_row_table;
    matrix->has_column_table = nest->has_column_table;
    size_t n_columns = tile->n_columns - fill_columns(job, nest, tile, matrix);
    if (n_columns == 0)
        return;
    for (size_t i = tile->n_rows; i < n_rows; i++)
        tile->row_at[i] = (int64_t)((uintptr_t)zeros - (uintptr_t)matrix->rows.first);
    bool on = reads_on(job, nest, tile, matrix->rows_apart, tile->n_columns * unit);
    struct end end;
    if (!on && nest->is_linear && tile->n_columns * unit % LAYOUT_READ_ON_BYTES != 0)
        on = copy_end(job, nest, tile, matrix, &end);
    if (!nest->is_linear && is_padded(job, nest, tile))
        pad_units(job, nest, matrix, n_columns);
    else if (!nest->is_linear)
        move_strided(nest, matrix, n_rows, n_columns);
    else if (nest->stores == NEST_GATHERED)
        layout_stream_tile(job->kernels, &tile->cuts, matrix, unit, n_rows, n_columns, on);
    else
        layout_transpose_tile(job->kernels, &tile->cuts, matrix, unit, n_rows, n_columns, on);
}

static void store_tile(const struct layout_job *job, const struct nest *nest, struct tile *tile)
{
    int64_t first = nest->has_column_table ? tile->column_base : tile->first_column;
    struct layout_matrix matrix = {
        .columns = {job->target + first, first_step(&nest->columns, true), tile->column_at},
        .streams = nest->stores == NEST_STREAMED,
        .n_others = tile->n_others,
        .rows_apart = nest->n_outer == 0 ? 0 : nest->outer[nest->n_outer - 1].from,
        .columns_apart = nest->n_outer == 0 ? 0 : nest->outer[nest->n_outer - 1].to};
    move_tile(job, nest, tile, &matrix);
}

static void stage_tile(const struct layout_job *job, const struct nest *nest, struct tile *tile)
{
    char stage[2 * NEST_TILE_BYTES] __attribute__((aligned(LAYOUT_LINE_BYTES)));
    size_t n_bytes = (tile->n_rows + (size_t)nest->pad_rows) * (size_t)(nest->unit + nest->pad);
    struct layout_matrix matrix = {.columns = {stage, (int64_t)n_bytes, NULL}};

    move_tile(job, nest, tile, &matrix);
    for (size_t first = 0, end; first < tile->n_columns; first = end) {
        for (end = first + 1; end < tile->n_columns; end++)
            if (column_at(nest, tile, end) != column_at(nest, tile, end - 1) + (int64_t)n_bytes)
                break;
        layout_stream_run(job->kernels, job->target + column_at(nest, tile, first),
                          stage + first * n_bytes, (end - first) * n_bytes);
    }
}

/* Where a part begins, of n in all. */
static int64_t share_of(const struct layout_job *job, int64_t n, int64_t part)
{
    int64_t n_parts = job->n_parts;

    return n / n_parts * part + (int64_t)((uint64_t)(n % n_parts) * (uint64_t)part / job->n_parts);
}

/* Zeros */

static void zero_axes(const struct layout_job *job, const struct layout_box *box, uint32_t depth,
                      char *to, size_t run)
{
    if (depth == box->n_axes) {
        memset(to, 0, run);
        return;
    }
    const struct layout_axis *axis = &box->axes[depth];
    for (int64_t i = 0; i < axis->n; i++)
        zero_axes(job, box, depth + 1, to + i * axis->to, run);
}

/* Parts share the longest axis. */
static void zero_box(const struct layout_job *job, const struct layout_box *box)
{
    struct layout_box left;
    size_t run = job->n_bytes;
    uint32_t longest = 0;

    layout_box_copy(&left, box);
    for (uint32_t i = 0; i < left.n_axes; i++)
        left.axes[i].from = left.axes[i].to;
    nest_merge(&left);
    for (uint32_t i = 0; i < left.n_axes; i++) {
        if (left.axes[i].to != (int64_t)job->n_bytes)
            continue;
        run *= (size_t)left.axes[i].n;
        left.axes[i] = left.axes[--left.n_axes];
        break;
    }
    for (uint32_t i = 1; i < left.n_axes; i++)
        if (left.axes[i].n > left.axes[longest].n)
            longest = i;
    if (left.n_axes == 0) {
        if (job->part == 0)
            zero_axes(job, &left, 0, job->target + left.to, run);
        return;
    }
    struct layout_axis *axis = &left.axes[longest];
    int64_t first = share_of(job, axis->n, job->part), end = share_of(job, axis->n, job->part + 1);
    left.to += first * axis->to;
    axis->n = end - first;
    zero_axes(job, &left, 0, job->target + left.to, run);
}

/* All tiles */

/* Tells of a tile what it reads and writes. */
static void touch_tile(const struct layout_job *job, const struct nest *nest,
                       const struct tile *tile)
{
    size_t unit = (size_t)(nest->unit + nest->pad);
    size_t n_rows = tile->n_rows + (size_t)nest->pad_rows;

    for (size_t r = 0; r < tile->n_rows; r++)
        if (nest->column_step == nest->unit)
            job->touch(job->context, false, row_at(nest, tile, r),
                       tile->n_columns * (size_t)nest->unit);
        else
            for (size_t c = 0; c < tile->n_columns; c++)
                job->touch(job->context, false,
                           row_at(nest, tile, r) + (int64_t)c * nest->column_step,
                           (size_t)nest->unit);
    for (size_t c = 0; c < tile->n_columns; c++)
        if (nest->row_step == nest->unit)
            job->touch(job->context, true, column_at(nest, tile, c), n_rows * unit);
        else
            for (size_t r = 0; r < n_rows; r++)
                job->touch(job->context, true,
                           column_at(nest, tile, c) + (int64_t)r * nest->row_step, unit);
}

/* How many of the tiles that are left behind this one can be done along with it: they are the next
 * of the innermost loop, cut into kernels as it is, and fit the cache together. */
static size_t count_others(const struct layout_job *job, const struct nest *nest,
                           const struct tile *tile, int64_t left)
{
    if (!tile->cuts.is_known || job->touch != NULL || nest->n_outer == 0 || nest->pad_rows > 0 ||
        nest->rows.n_tiles > 1 || nest->columns.n_tiles > 1)
        return 0;
    const struct layout_axis *axis = &nest->outer[nest->n_outer - 1];
    bool keeps_place = axis->to % LAYOUT_LINE_BYTES == 0;
    if (nest->stores != NEST_CACHED && !(nest->stores == NEST_STREAMED && keeps_place))
        return 0;
    int64_t n = NEST_TILE_BYTES / (nest->rows.n * nest->columns.n * nest->unit);
    n = n < left ? n : left;
    n = n < axis->n - tile->digits[nest->n_outer - 1] ? n
                                                      : axis->n - tile->digits[nest->n_outer - 1];
    return n > 1 ? (size_t)(n - 1) : 0;
}

/* With those, unless the last of them can't be read on beyond where the cuts are. */
static void take_others(const struct layout_job *job, const struct nest *nest, struct tile *tile,
                        int64_t left)
{
    tile->n_others = count_others(job, nest, tile, left);
    if (tile->n_others > 0 && !reads_on(job, nest, tile, nest->outer[nest->n_outer - 1].from,
                                        tile->n_columns * (size_t)nest->unit))
        tile->n_others = 0;
}

static void run_nest(const struct layout_job *job, const struct layout_box *box)
{
    struct nest nest;
    struct tile tile;

    nest_make(box, (int64_t)job->n_bytes,
              job->stores != QUIRE_LAYOUT_STORES_CACHED && job->kernels->fence != NULL,
              (uintptr_t)job->target, &nest);
    int64_t first = share_of(job, nest.n_tiles, job->part);
    int64_t end = share_of(job, nest.n_tiles, job->part + 1);
    tile.is_listed = tile.cuts.is_known = false;
    start_at(&nest, box, first, &tile);
    for (int64_t left = end - first; left > 0; left--, go_on(&nest, &tile)) {
        find_lines(&nest, &tile);
        take_others(job, &nest, &tile, left);
        left -= (int64_t)tile.n_others;
        if (job->touch != NULL)
            touch_tile(job, &nest, &tile);
        else if (nest.stores == NEST_STAGED)
            stage_tile(job, &nest, &tile);
        else
            store_tile(job, &nest, &tile);
    }
}

void layout_run_box(const struct layout_job *job, const struct layout_box *box)
{
    struct layout_box left;
    int64_t n_bytes = (int64_t)job->n_bytes, n_in_run = RUN_BYTES / n_bytes;

    if (box->is_zero) {
        if (job->touch == NULL)
            zero_box(job, box);
        return;
    }
    layout_box_copy(&left, box);
    nest_merge(&left);
    for (uint32_t i = 0; i < left.n_axes; i++) {
        struct layout_axis *axis = &left.axes[i];
        if (axis->from != n_bytes || axis->to != n_bytes || axis->n <= n_in_run)
            continue;
        int64_t n_runs = axis->n / n_in_run, rest = axis->n % n_in_run;
        struct layout_box last; /* what is too short for a run */
        layout_box_copy(&last, &left);
        last.axes[i].n = rest;
        last.from += n_runs * RUN_BYTES;
        last.to += n_runs * RUN_BYTES;
        *axis = (struct layout_axis){.n = n_in_run, .from = n_bytes, .to = n_bytes};
        left.axes[left.n_axes++] = (struct layout_axis){
            .n = n_runs, .from = RUN_BYTES, .to = RUN_BYTES};
        if (rest > 0)
            run_nest(job, &last);
        break;
    }
    run_nest(job, &left);
}
