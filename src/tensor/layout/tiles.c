/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tiles: runs a box. A tile is read row by row, transposed in registers, and written column by
 * column; it fits the first-level cache, so that no line is fetched twice.
 *
 *     source --kernels--> target                                     stores through the caches
 *     source --kernels--> stage (on the stack) --stream--> target    stores past them
 *
 * A store past the caches has to fill its line at once: the stage gathers what becomes contiguous
 * in the target. Rows of zeros (a tail) are rows like others that lie in `zeros`.
 */
#include "tensor/layout/tiles.h"

#include "base/checked.h"
#include "tensor/layout/nest.h"

#include <string.h>

#define LINE_BYTES 64
#define RUN_BYTES 4096 /* longer runs are several */

static const char zeros[NEST_MAX_ROW_BYTES];

struct tile {
    int64_t from, to; /* bytes */
    size_t n_rows, n_columns, n_pad_rows;
    int64_t row_at[NEST_MAX_LINES];    /* in the source */
    int64_t column_at[NEST_MAX_LINES]; /* in the target */
};

/* Finding a tile */

/* The offsets of lines `first` up to first + n. */
static void list_offsets(const struct nest_side *side, bool in_target, int64_t base, int64_t first,
                         size_t n, int64_t *offsets)
{
    int64_t digits[LAYOUT_MAX_AXES], at = base;
    uint32_t n_axes = side->n_axes;

    for (uint32_t k = 0; k < n_axes; k++) {
        digits[k] = first % side->axes[k].n;
        first /= side->axes[k].n;
        at += digits[k] * (in_target ? side->axes[k].to : side->axes[k].from);
    }
    for (size_t i = 0; i < n; i++) {
        offsets[i] = at;
        for (uint32_t k = 0; k < n_axes; k++) {
            int64_t step = in_target ? side->axes[k].to : side->axes[k].from;
            at += step;
            if (++digits[k] < side->axes[k].n)
                break;
            at -= digits[k] * step;
            digits[k] = 0;
        }
    }
}

/* Where the first line of a side's tile lies. */
static int64_t start_of(const struct nest_side *side, bool in_target, int64_t first)
{
    int64_t at = 0;

    for (uint32_t k = 0; k < side->n_axes; k++) {
        at += first % side->axes[k].n * (in_target ? side->axes[k].to : side->axes[k].from);
        first /= side->axes[k].n;
    }
    return at;
}

static size_t tile_length(const struct nest_side *side, int64_t first)
{
    int64_t left = side->n - first;

    return (size_t)(left < side->tile ? left : side->tile);
}

static void find_tile(const struct nest *nest, const struct layout_box *box, int64_t number,
                      struct tile *tile)
{
    const struct nest_side *columns = &nest->columns, *rows = &nest->rows;
    int64_t row, column;

    if (nest->has_rows_outside) {
        column = number % columns->n_tiles;
        number /= columns->n_tiles;
        row = number % rows->n_tiles;
        number /= rows->n_tiles;
    } else {
        row = number % rows->n_tiles;
        number /= rows->n_tiles;
        column = number % columns->n_tiles;
        number /= columns->n_tiles;
    }
    row *= rows->tile;
    column *= columns->tile;
    tile->from = box->from;
    tile->to = box->to;
    for (uint32_t i = nest->n_outer; i-- > 0;) {
        tile->from += number % nest->outer[i].n * nest->outer[i].from;
        tile->to += number % nest->outer[i].n * nest->outer[i].to;
        number /= nest->outer[i].n;
    }
    tile->from += start_of(columns, false, column);
    tile->to += start_of(rows, true, row);
    tile->n_rows = tile_length(rows, row);
    tile->n_columns = tile_length(columns, column);
    tile->n_pad_rows = (size_t)nest->pad_rows;
    list_offsets(rows, false, tile->from, row, tile->n_rows, tile->row_at);
    list_offsets(columns, true, tile->to, column, tile->n_columns, tile->column_at);
}

/* Moving a tile */

static unsigned log2_of(int64_t unit)
{
    return log2_floor((size_t)unit);
}

static void move(const struct layout_kernels *kernels, unsigned unit, const char *const *rows,
                 size_t n_rows, char *const *columns, size_t n)
{
    while (kernels->move[unit] == NULL)
        kernels = kernels->smaller;
    kernels->move[unit](rows, n_rows, columns, n);
}

/* The kernel with the most rows and columns of those that are there; with n_rows given, of exactly
 * so many. NULL: there is none. */
static const struct layout_kernel *find_kernel(const struct layout_kernels *kernels, unsigned unit,
                                               size_t n_rows, size_t most_rows, size_t most_columns)
{
    for (; kernels != NULL; kernels = kernels->smaller)
        for (const struct layout_kernel *k = kernels->transpose[unit]; k->n_rows != 0; k++)
            if (k->n_rows <= most_rows && k->n_columns <= most_columns &&
                (n_rows == 0 || k->n_rows == n_rows))
                return k;
    return NULL;
}

/* All columns of one kernel's rows. What is left over is done with columns that were done before.
 */
static void transpose_rows(const struct layout_kernels *kernels, const struct layout_kernel *kernel,
                           unsigned unit, const char *const *rows, char *const *columns, size_t at,
                           size_t n_columns)
{
    const char *shifted[NEST_MAX_LINES];
    size_t done = 0;

    while (done < n_columns) {
        const struct layout_kernel *next = find_kernel(kernels, unit, kernel->n_rows,
                                                       kernel->n_rows, n_columns - done);
        size_t n;
        if (next != NULL) {
            kernel = next;
            n = (n_columns - done) / kernel->n_columns * kernel->n_columns;
        } else { /* the last one had the fewest columns */
            n = kernel->n_columns;
            done = n_columns - n;
        }
        for (size_t i = 0; i < kernel->n_rows; i++)
            shifted[i] = rows[i] + (done << unit);
        kernel->run(shifted, columns + done, at, n);
        done += n;
    }
}

static void transpose(const struct layout_kernels *kernels, unsigned unit, const char *const *rows,
                      size_t n_rows, char *const *columns, size_t n_columns)
{
    const struct layout_kernel *kernel = NULL;
    size_t done = 0;

    while (done < n_rows) {
        const struct layout_kernel *next = find_kernel(kernels, unit, 0, n_rows - done, n_columns);
        if (next != NULL)
            kernel = next;
        else if (kernel != NULL)
            done = n_rows - kernel->n_rows; /* rows that were done before, once more */
        else
            break;
        transpose_rows(kernels, kernel, unit, rows + done, columns, done << unit, n_columns);
        done += kernel->n_rows;
    }
    if (done == 0)
        move(kernels, unit, rows, n_rows, columns, n_columns);
}

/* A few bytes, the compiler can't know how many. */
static inline void copy(char *to, const char *from, size_t n)
{
    if (n == 16)
        memcpy(to, from, 16);
    else if (n == 4)
        memcpy(to, from, 4);
    else
        memcpy(to, from, n);
}

/* Units of any size and steps; pad rows are NULL. */
static void move_strided(const struct nest *nest, const char *const *rows, size_t n_rows,
                         char *const *columns, size_t n_columns)
{
    size_t unit = (size_t)nest->unit, pad = (size_t)nest->pad;

    for (size_t c = 0; c < n_columns; c++) {
        for (size_t r = 0; r < n_rows; r++) {
            char *to = columns[c] + (int64_t)r * nest->row_step;
            if (rows[r] != NULL)
                copy(to, rows[r] + (int64_t)c * nest->column_step, unit);
            else
                memset(to, 0, unit);
            memset(to + unit, 0, pad);
        }
    }
}

static void move_tile(const struct layout_job *job, const struct nest *nest,
                      const struct tile *tile, char *const *columns)
{
    const char *rows[2 * NEST_MAX_LINES];
    size_t n_rows = tile->n_rows;

    for (size_t i = 0; i < n_rows; i++)
        rows[i] = job->source + tile->row_at[i];
    for (size_t i = 0; i < tile->n_pad_rows; i++)
        rows[n_rows++] = nest->is_linear ? zeros : NULL;
    if (!nest->is_linear)
        move_strided(nest, rows, n_rows, columns, tile->n_columns);
    else if (log2_of(nest->unit) < LAYOUT_N_TRANSPOSED)
        transpose(job->kernels, log2_of(nest->unit), rows, n_rows, columns, tile->n_columns);
    else
        move(job->kernels, log2_of(nest->unit), rows, n_rows, columns, tile->n_columns);
}

static void store_tile(const struct layout_job *job, const struct nest *nest,
                       const struct tile *tile)
{
    char *columns[NEST_MAX_LINES];

    for (size_t i = 0; i < tile->n_columns; i++)
        columns[i] = job->target + tile->column_at[i];
    move_tile(job, nest, tile, columns);
}

static void stream_tile(const struct layout_job *job, const struct nest *nest,
                        const struct tile *tile)
{
    char stage[2 * NEST_TILE_BYTES] __attribute__((aligned(LINE_BYTES)));
    char *columns[NEST_MAX_LINES];
    size_t n_bytes = (tile->n_rows + tile->n_pad_rows) * (size_t)(nest->unit + nest->pad);

    for (size_t i = 0; i < tile->n_columns; i++)
        columns[i] = stage + i * n_bytes;
    move_tile(job, nest, tile, columns);
    for (size_t first = 0, end; first < tile->n_columns; first = end) {
        for (end = first + 1; end < tile->n_columns; end++)
            if (tile->column_at[end] != tile->column_at[end - 1] + (int64_t)n_bytes)
                break;
        job->kernels->stream(job->target + tile->column_at[first], columns[first],
                             (end - first) * n_bytes);
    }
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
    struct layout_box left = *box;
    size_t run = job->n_bytes;
    uint32_t longest = 0;

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
    int64_t first = (int64_t)((__int128)axis->n * job->part / job->n_parts);
    int64_t end = (int64_t)((__int128)axis->n * (job->part + 1) / job->n_parts);
    left.to += first * axis->to;
    axis->n = end - first;
    zero_axes(job, &left, 0, job->target + left.to, run);
}

/* All tiles */

/* Tells of a tile what it reads and writes. */
static void touch_tile(const struct layout_job *job, const struct nest *nest,
                       const struct tile *tile)
{
    size_t unit = (size_t)(nest->unit + nest->pad), n_rows = tile->n_rows + tile->n_pad_rows;

    for (size_t r = 0; r < tile->n_rows; r++)
        if (nest->column_step == nest->unit)
            job->touch(job->context, false, tile->row_at[r], tile->n_columns * (size_t)nest->unit);
        else
            for (size_t c = 0; c < tile->n_columns; c++)
                job->touch(job->context, false, tile->row_at[r] + (int64_t)c * nest->column_step,
                           (size_t)nest->unit);
    for (size_t c = 0; c < tile->n_columns; c++)
        if (nest->row_step == nest->unit)
            job->touch(job->context, true, tile->column_at[c], n_rows * unit);
        else
            for (size_t r = 0; r < n_rows; r++)
                job->touch(job->context, true, tile->column_at[c] + (int64_t)r * nest->row_step,
                           unit);
}

static void run_nest(const struct layout_job *job, const struct layout_box *box)
{
    struct nest nest;
    struct tile tile;

    nest_make(box, (int64_t)job->n_bytes, &nest);
    int64_t first = (int64_t)((__int128)nest.n_tiles * job->part / job->n_parts);
    int64_t end = (int64_t)((__int128)nest.n_tiles * (job->part + 1) / job->n_parts);
    bool is_staged = job->is_streamed && nest.row_step == nest.unit;
    for (int64_t number = first; number < end; number++) {
        find_tile(&nest, box, number, &tile);
        if (job->touch != NULL)
            touch_tile(job, &nest, &tile);
        else if (is_staged)
            stream_tile(job, &nest, &tile);
        else
            store_tile(job, &nest, &tile);
    }
}

void layout_run_box(const struct layout_job *job, const struct layout_box *box)
{
    struct layout_box left = *box;
    int64_t n_bytes = (int64_t)job->n_bytes, n_in_run = RUN_BYTES / n_bytes;

    if (box->is_zero) {
        if (job->touch == NULL)
            zero_box(job, box);
        return;
    }
    nest_merge(&left);
    for (uint32_t i = 0; i < left.n_axes; i++) {
        struct layout_axis *axis = &left.axes[i];
        if (axis->from != n_bytes || axis->to != n_bytes || axis->n <= n_in_run)
            continue;
        int64_t n_runs = axis->n / n_in_run, rest = axis->n % n_in_run;
        struct layout_box last = left; /* what is too short for a run */
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
