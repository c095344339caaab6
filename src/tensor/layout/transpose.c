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
 * on beyond them.
 *
 * A store past the caches has to fill its line, at once or together with those right after it. So
 * the rows up to the first line of the target, and those behind the last, are stored as usual.
 */
#include "tensor/layout/transpose.h"

#include "base/checked.h"

#include <string.h>

#define LINE LAYOUT_LINE_BYTES

struct work {
    const struct layout_kernels *kernels;
    unsigned unit; /* log2 of its bytes */
    size_t n_columns;
    bool reads_on;
};

static void move(const struct layout_kernels *kernels, unsigned unit,
                 const struct layout_matrix *matrix, size_t n_rows, size_t n_columns)
{
    while (kernels->move[unit] == NULL)
        kernels = kernels->smaller;
    kernels->move[unit](matrix, n_rows, n_columns);
}

/* The kernel with the most rows and columns of those that are there, and not more than so many;
 * with n_rows given, of exactly so many. NULL: there is none. */
static const struct layout_kernel *find_kernel(const struct work *work, size_t n_rows,
                                               size_t most_rows, size_t most_columns)
{
    for (const struct layout_kernels *its = work->kernels; its != NULL; its = its->smaller)
        for (const struct layout_kernel *k = its->transpose[work->unit]; k->n_rows != 0; k++)
            if (k->n_rows <= most_rows && (n_rows == 0 || k->n_rows == n_rows) &&
                (k->n_columns <= most_columns || (work->reads_on && k->takes_fewer)))
                return k;
    return NULL;
}

/* Of the kernels of so many rows, that with the fewest columns. */
static const struct layout_kernel *find_narrowest(const struct work *work, size_t n_rows)
{
    const struct layout_kernel *best = NULL;

    for (const struct layout_kernels *its = work->kernels; its != NULL; its = its->smaller)
        for (const struct layout_kernel *k = its->transpose[work->unit]; k->n_rows != 0; k++)
            if (k->n_rows == n_rows && (best == NULL || k->n_columns < best->n_columns))
                best = k;
    return best;
}

/* All columns of rows that are a kernel's. */
static void transpose_rows(const struct work *work, const struct layout_kernel *kernel,
                           const struct layout_matrix *matrix, struct layout_part part)
{
    for (;;) {
        part.n_columns = work->n_columns - part.first_column;
        if (part.n_columns >= kernel->n_columns)
            part.n_columns -= part.n_columns % kernel->n_columns;
        kernel->run(matrix, &part);
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

/* All rows, without a look at lines. A kernel streams if it fills them. */
static void transpose(const struct work *work, const struct layout_matrix *matrix, size_t n_rows)
{
    const struct layout_kernel *kernel = find_kernel(work, 0, n_rows, work->n_columns);
    struct layout_matrix its = *matrix;
    struct layout_part part = {0};

    while (part.first_row < n_rows) {
        size_t left = n_rows - part.first_row;
        if (kernel->n_rows > left) {
            const struct layout_kernel *next = find_kernel(work, 0, left, work->n_columns);
            if (next == NULL)
                part.first_row = n_rows - kernel->n_rows;
            else
                kernel = next;
            left = n_rows - part.first_row;
        }
        part.n_rows = left - left % kernel->n_rows;
        its.streams = matrix->streams && (((size_t)kernel->n_rows << work->unit) % LINE == 0 ||
                                          kernel->n_rows == n_rows);
        transpose_rows(work, kernel, &its, part);
        part.first_row += part.n_rows;
    }
}

/* Rows `first` up to `end` of it. */
static void do_rows(const struct work *work, const struct layout_matrix *matrix, size_t first,
                    size_t end, bool streams)
{
    struct layout_matrix its = *matrix;

    if (first == end)
        return;
    its.rows.first += (int64_t)first * its.rows.step;
    if (its.has_row_table)
        its.rows.table += first;
    its.columns.first += first << work->unit;
    its.streams = streams;
    if (work->unit < LAYOUT_N_TRANSPOSED &&
        find_kernel(work, 0, end - first, work->n_columns) != NULL)
        transpose(work, &its, end - first);
    else
        move(work->kernels, work->unit, &its, end - first, work->n_columns);
}

void layout_transpose_tile(const struct layout_kernels *kernels, const struct layout_matrix *matrix,
                           size_t n_bytes, size_t n_rows, size_t n_columns, bool reads_on)
{
    struct work work = {kernels, log2_floor(n_bytes), n_columns, reads_on};
    size_t off = (uintptr_t)matrix->columns.first % LINE, in_line = LINE / n_bytes;
    size_t first = off == 0 ? 0 : (LINE - off) / n_bytes;

    if (!matrix->streams) {
        do_rows(&work, matrix, 0, n_rows, false);
    } else if (matrix->columns.step == (int64_t)(n_rows * n_bytes) &&
               LINE % (n_rows * n_bytes) == 0) {
        do_rows(&work, matrix, 0, n_rows, off == 0); /* several columns are a line */
    } else if (off % n_bytes != 0 || first + in_line > n_rows) {
        do_rows(&work, matrix, 0, n_rows, false);
    } else {
        size_t end = n_rows - (n_rows - first) % in_line;
        do_rows(&work, matrix, 0, first, false);
        do_rows(&work, matrix, first, end, true);
        do_rows(&work, matrix, end, n_rows, false);
    }
}

void layout_stream_run(const struct layout_kernels *kernels, char *to, const char *from,
                       size_t n_bytes)
{
    size_t head = -(uintptr_t)to % LINE;
    head = head < n_bytes ? head : n_bytes;
    size_t n_lines = (n_bytes - head) / LINE, end = head + n_lines * LINE;
    struct layout_matrix lines = {.rows = {.first = from + head, .step = LINE},
                                  .columns = {.first = to + head},
                                  .streams = true};

    memcpy(to, from, head);
    move(kernels, log2_floor(LINE), &lines, n_lines, 1);
    memcpy(to + end, from + end, n_bytes - end);
}
