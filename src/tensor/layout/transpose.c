/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transpose: cuts a tile into parts that are a kernel's.
 *
 *     columns ->   | kernel | kernel | left over
 *     rows         | kernel | kernel |
 *                  | left over
 *
 * Rows left over are done by a kernel of fewer, or together with some that were done before:
 * writing the same twice is cheaper than a mask. Columns left over, too, or by a kernel that reads
 * on beyond them. How a tile is cut is kept for the next one, which is mostly the same: looking for
 * kernels takes as long as they take for a small tile.
 *
 * A store past the caches has to fill its line, at once or together with those right after it. So
 * the rows up to the first line of the target, and those behind the last, are stored as usual.
 */
#include "tensor/layout/transpose.h"

#include "base/checked.h"

#include <stdlib.h>
#include <string.h>

#define LINE LAYOUT_LINE_BYTES

struct work {
    const struct layout_kernels *kernels;
    struct layout_cuts *cuts;
    struct layout_matrix matrix;
    unsigned unit; /* log2 of its bytes */
    size_t n_columns;
    size_t n_apart; /* rows' elements from column to column; 0: not so many */
    bool reads_on;
};

/* Runs a kernel, and keeps that. */
static void cut(struct work *work, const struct layout_kernel *kernel,
                const struct layout_part *part, bool streams)
{
    struct layout_cuts *cuts = work->cuts;

    work->matrix.streams = streams;
    kernel->run(&work->matrix, part);
    if (cuts->n < LAYOUT_MAX_CUTS)
        cuts->list[cuts->n++] = (struct layout_cut){kernel->run, *part, streams};
    else
        cuts->is_known = false;
}

void layout_move(const struct layout_kernels *kernels, unsigned unit,
                 const struct layout_matrix *matrix, size_t n_rows, size_t n_columns)
{
    while (kernels->move[unit] == NULL)
        kernels = kernels->smaller;
    kernels->move[unit](matrix, n_rows, n_columns);
}

static bool is_tight(const struct layout_kernel *kernel)
{
    return kernel->kind == LAYOUT_TIGHT || kernel->kind == LAYOUT_TIGHT_ROWS;
}

/* Whether the matrix is what a kernel wants; other kernels than tight ones want nothing. */
static bool is_for(const struct layout_kernel *kernel, const struct work *work)
{
    switch (kernel->kind) {
    case LAYOUT_TIGHT:
        return kernel->n_rows == work->n_apart;
    case LAYOUT_TIGHT_ROWS:
        return !work->matrix.has_row_table && kernel->n_columns == work->n_columns &&
               work->matrix.rows.step == (int64_t)(work->n_columns << work->unit);
    default:
        return true;
    }
}

/* The kernel with the most rows and columns of those that are there, and not more than so many;
 * with n_rows given, of exactly so many. NULL: there is none. */
static const struct layout_kernel *find_kernel(const struct work *work, size_t n_rows,
                                               size_t most_rows, size_t most_columns)
{
    for (const struct layout_kernels *its = work->kernels; its != NULL; its = its->smaller)
        for (const struct layout_kernel *k = its->transpose[work->unit]; k->n_rows != 0; k++)
            if (k->n_rows <= most_rows && (n_rows == 0 || k->n_rows == n_rows) && is_for(k, work) &&
                (k->n_columns <= most_columns || (work->reads_on && k->kind == LAYOUT_READS_ON)))
                return k;
    return NULL;
}

/* Of the kernels of so many rows that are for any matrix, that with the fewest columns. */
static const struct layout_kernel *find_narrowest(const struct work *work, size_t n_rows)
{
    const struct layout_kernel *best = NULL;

    for (const struct layout_kernels *its = work->kernels; its != NULL; its = its->smaller)
        for (const struct layout_kernel *k = its->transpose[work->unit]; k->n_rows != 0; k++)
            if (k->n_rows == n_rows && !is_tight(k) &&
                (best == NULL || k->n_columns < best->n_columns))
                best = k;
    return best;
}

/* Of the kernels for all columns, that with the fewest rows that are not fewer than `left`, and at
 * most n_rows. NULL: there is none. */
static const struct layout_kernel *find_covering(const struct work *work, size_t left,
                                                 size_t n_rows)
{
    const struct layout_kernel *best = NULL;

    for (const struct layout_kernels *its = work->kernels; its != NULL; its = its->smaller)
        for (const struct layout_kernel *k = its->transpose[work->unit]; k->n_rows != 0; k++)
            if (k->n_rows >= left && k->n_rows <= n_rows && !is_tight(k) &&
                k->n_columns <= work->n_columns && (best == NULL || k->n_rows < best->n_rows))
                best = k;
    return best;
}

/* All columns of rows that are a kernel's. */
static void transpose_rows(struct work *work, const struct layout_kernel *kernel,
                           struct layout_part part, bool streams)
{
    for (;;) {
        part.n_columns = work->n_columns - part.first_column;
        if (part.n_columns >= kernel->n_columns)
            part.n_columns -= part.n_columns % kernel->n_columns;
        cut(work, kernel, &part, streams);
        part.first_column += part.n_columns;
        if (part.first_column == work->n_columns)
            return;
        const struct layout_kernel *next = find_kernel(work, kernel->n_rows, kernel->n_rows,
                                                       work->n_columns - part.first_column);
        if (next == NULL) { /* together with the last that were done */
            next = find_narrowest(work, kernel->n_rows);
            part.first_column = work->n_columns - next->n_columns;
        }
        kernel = next;
    }
}

/* Columns at a distance of so many bytes share a set of a first-level cache, which has fewer places
 * than a kernel has columns: lines are pushed out before they are full. */
#define SET_DISTANCE 4096
#define NARROW_ROWS 128 /* that are read again and again from the cache */

static bool share_a_set(const struct work *work, const struct layout_kernel *kernel)
{
    return !work->matrix.has_column_table && work->matrix.columns.step % SET_DISTANCE == 0 &&
           work->n_columns >= kernel->n_columns &&
           find_narrowest(work, kernel->n_rows)->n_columns < kernel->n_columns;
}

/* The same by a kernel that writes few columns, many rows of these before the next. */
static void transpose_narrow(struct work *work, const struct layout_kernel *kernel,
                             const struct layout_part *whole)
{
    const struct layout_kernel *narrow = find_narrowest(work, kernel->n_rows);
    size_t end = whole->first_row + whole->n_rows;
    struct layout_part part = {.first_row = whole->first_row, .n_columns = narrow->n_columns};

    for (; part.first_row < end; part.first_row += part.n_rows) {
        part.n_rows = end - part.first_row < NARROW_ROWS ? end - part.first_row : NARROW_ROWS;
        for (size_t c = 0; c < work->n_columns; c += narrow->n_columns) {
            size_t last = work->n_columns - narrow->n_columns;
            part.first_column = c < last ? c : last;
            cut(work, narrow, &part, false);
        }
    }
}

/* Rows `first` up to `end`, without a look at lines. A kernel streams if it fills them. */
static void transpose(struct work *work, size_t first, size_t end, bool streams)
{
    const size_t n_rows = end - first;
    const struct layout_kernel *kernel = find_kernel(work, 0, n_rows, work->n_columns);
    struct layout_part part = {.first_row = first};

    while (part.first_row < end) {
        size_t left = end - part.first_row;
        if (kernel->n_rows > left) {
            const struct layout_kernel *next = find_kernel(work, 0, left, work->n_columns);
            const struct layout_kernel *covering = find_covering(work, left, n_rows);
            if (next == NULL || 4 * left > 3 * (size_t)kernel->n_rows) {
                kernel = covering == NULL ? kernel : covering;
                part.first_row = end - kernel->n_rows; /* together with some that were done */
            } else {
                kernel = next;
            }
            left = end - part.first_row;
        }
        part.n_rows = left - left % kernel->n_rows;
        bool fills = ((size_t)kernel->n_rows << work->unit) % LINE == 0 || kernel->n_rows == n_rows;
        if (!(streams && fills) && share_a_set(work, kernel))
            transpose_narrow(work, kernel, &part);
        else
            transpose_rows(work, kernel, part, streams && fills);
        part.first_row += part.n_rows;
    }
}

/* Rows `first` up to `end` of it. */
static void do_rows(struct work *work, size_t first, size_t end, bool streams)
{
    if (first == end)
        return;
    if (work->unit < LAYOUT_N_TRANSPOSED &&
        find_kernel(work, 0, end - first, work->n_columns) != NULL) {
        transpose(work, first, end, streams);
        return;
    }
    struct layout_matrix its = work->matrix;
    if (its.has_row_table)
        its.rows.table += first;
    else
        its.rows.first += (int64_t)first * its.rows.step;
    its.columns.first += first << work->unit;
    its.streams = streams;
    layout_move(work->kernels, work->unit, &its, end - first, work->n_columns);
    work->cuts->is_known = false;
}

/* Weaving */

/* Of the woven stream's bytes, those of a group are numbered from its start. */
static void set_weave(struct layout_weave *weave, const struct layout_matrix *matrix, uint32_t unit)
{
    const int64_t n = weave->n;

    for (uint32_t k = 0; k < n; k++) {
        weave->in[k] = matrix->rows.first + (weave->is_woven ? 16 : matrix->rows.step) * k;
        weave->out[k] = matrix->columns.first + (weave->is_woven ? matrix->columns.step : 16) * k;
    }
    weave->in_step = weave->is_woven ? 16 * n : 16;
    weave->out_step = weave->is_woven ? 16 : 16 * n;
    memset(weave->masks, 0x80, sizeof weave->masks);
    for (uint32_t woven = 0; woven < 16 * n; woven++) {
        uint32_t stream = woven / unit % weave->n;
        uint32_t at = woven / unit / weave->n * unit + woven % unit;
        if (weave->is_woven)
            weave->masks[stream][woven / 16][at] = woven % 16;
        else
            weave->masks[woven / 16][stream][woven % 16] = (uint8_t)at;
    }
}

/* How many streams there are, of which one more is woven; 0: it is something else. */
static uint32_t count_streams(const struct work *work, size_t n_rows, bool *is_woven)
{
    const int64_t unit = (int64_t)1 << work->unit;

    *is_woven = true;
    if (unit > 8 || work->matrix.has_row_table)
        return 0;
    if (work->n_columns > 1 && work->n_columns <= LAYOUT_MAX_WOVEN &&
        work->matrix.rows.step == (int64_t)work->n_columns * unit)
        return (uint32_t)work->n_columns;
    *is_woven = false;
    return n_rows > 1 && n_rows <= LAYOUT_MAX_WOVEN && work->n_apart == n_rows ? (uint32_t)n_rows
                                                                               : 0;
}

/* Does what few streams and one are made of each other by groups of 16 bytes, and the rest as any
 * other. False: it is something else. */
static bool weave_tile(const struct work *work, size_t n_rows)
{
    const struct layout_kernels *kernels = work->kernels;
    bool is_woven;
    uint32_t n = count_streams(work, n_rows, &is_woven);

    while (n > 0 && kernels != NULL && kernels->weave == NULL)
        kernels = kernels->smaller;
    if (n == 0 || kernels == NULL)
        return false;
    struct layout_weave weave = {.n = n, .is_woven = is_woven};
    struct work rest = *work;
    size_t in_group = (size_t)16 >> work->unit;
    size_t n_groups = (is_woven ? n_rows : work->n_columns) / in_group;
    set_weave(&weave, &work->matrix, (uint32_t)1 << work->unit);
    kernels->weave(&weave, n_groups);
    size_t done = n_groups * in_group;
    rest.n_columns -= is_woven ? 0 : done;
    rest.matrix.rows.first += is_woven ? 0 : (int64_t)(done << work->unit);
    rest.matrix.columns.first += is_woven ? 0 : (int64_t)done * rest.matrix.columns.step;
    if (rest.n_columns > 0)
        do_rows(&rest, is_woven ? done : 0, n_rows, false);
    work->cuts->is_known = false;
    return true;
}

/* The whole */

static size_t rows_apart(const struct layout_matrix *matrix, int64_t n_bytes)
{
    int64_t step = matrix->columns.step;

    return matrix->has_column_table || step < 0 || step % n_bytes != 0 ? 0
                                                                       : (size_t)(step / n_bytes);
}

/* Whether there is a kernel for just this matrix, which is faster than weaving. */
static bool has_tight(const struct work *work, size_t n_rows)
{
    if (work->unit >= LAYOUT_N_TRANSPOSED)
        return false;
    const struct layout_kernel *kernel = find_kernel(work, 0, n_rows, work->n_columns);
    return kernel != NULL && is_tight(kernel);
}

/* Where the target has lines that are stored whole, past the caches. */
static void do_lines(struct work *work, size_t n_rows, size_t n_bytes, size_t off)
{
    size_t in_line = LINE / n_bytes, first = off == 0 ? 0 : (LINE - off) / n_bytes;

    if (work->matrix.columns.step == (int64_t)(n_rows * n_bytes) &&
        LINE % (n_rows * n_bytes) == 0) {
        do_rows(work, 0, n_rows, off == 0); /* several columns are a line */
    } else if (off % n_bytes != 0 || first + in_line > n_rows) {
        do_rows(work, 0, n_rows, false);
    } else {
        size_t end = n_rows - (n_rows - first) % in_line;
        do_rows(work, 0, first, false);
        do_rows(work, first, end, true);
        do_rows(work, end, n_rows, false);
    }
}

#define PAGE_BYTES 4096

/* Whether each column is in a page of its own, and these are more than are good for the kernels. */
static bool are_many(const struct layout_kernels *kernels, const struct layout_matrix *matrix,
                     size_t n_columns)
{
    return kernels->most_streams > 0 && n_columns > kernels->most_streams &&
           llabs(matrix->columns.step) >= PAGE_BYTES;
}

static void repeat(const struct layout_cuts *cuts, const struct layout_matrix *matrix)
{
    struct layout_matrix its = *matrix;

    for (uint32_t i = 0; i < cuts->n; i++) {
        its.streams = cuts->list[i].streams;
        cuts->list[i].run(&its, &cuts->list[i].part);
    }
}

/* One matrix, of whose tile nothing is known. */
static void cut_tile(const struct layout_kernels *kernels, struct layout_cuts *cuts,
                     const struct layout_matrix *matrix, size_t n_bytes, size_t n_rows,
                     size_t n_columns, bool reads_on)
{
    size_t off = matrix->streams ? (uintptr_t)matrix->columns.first % LINE : 0;

    if (matrix->streams && are_many(kernels, matrix, n_columns))
        kernels = kernels->smaller;
    struct work work = {.kernels = kernels,
                        .cuts = cuts,
                        .matrix = *matrix,
                        .unit = log2_floor(n_bytes),
                        .n_columns = n_columns,
                        .n_apart = rows_apart(matrix, (int64_t)n_bytes),
                        .reads_on = reads_on};
    cuts->n_rows = n_rows;
    cuts->n_columns = n_columns;
    cuts->off = off;
    cuts->reads_on = reads_on;
    cuts->n = 0;
    cuts->is_known = true;
    if (!has_tight(&work, n_rows) && weave_tile(&work, n_rows))
        return;
    if (matrix->streams)
        do_lines(&work, n_rows, n_bytes, off);
    else
        do_rows(&work, 0, n_rows, false);
}

void layout_transpose_tile(const struct layout_kernels *kernels, struct layout_cuts *cuts,
                           const struct layout_matrix *matrix, size_t n_bytes, size_t n_rows,
                           size_t n_columns, bool reads_on)
{
    size_t off = matrix->streams ? (uintptr_t)matrix->columns.first % LINE : 0;
    struct layout_matrix its = *matrix;

    for (;;) {
        if (cuts->is_known && cuts->n_rows == n_rows && cuts->n_columns == n_columns &&
            cuts->off == off && cuts->reads_on == reads_on) {
            repeat(cuts, &its);
            return;
        }
        size_t n_others = its.n_others;
        its.n_others = 0;
        cut_tile(kernels, cuts, &its, n_bytes, n_rows, n_columns, reads_on);
        if (n_others == 0)
            return;
        its.n_others = n_others - 1;
        its.rows.first += its.rows_apart;
        its.columns.first += its.columns_apart;
    }
}
