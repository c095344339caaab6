/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lines: gathers whole lines, and stores them past the caches.
 *
 * A store past the caches that does not fill its line at once is slow. So columns that begin
 * anywhere are written to a stage, a few lines of each at a time. It lies in its lines as the
 * target does in its own, and so does each of its columns, as they have the same distance modulo a
 * line:
 *
 *     target, column c     ...|....xxxx|xxxxxxxx|xxxxx...
 *     stage, column c         |....xxxx|xxxxxxxx|xxxxx...     whole lines are stored; what begins a
 *                                                             line is moved to the front, and goes
 *                                                             on there
 *
 * Elements of 4 bytes go without a stage where there are kernels that keep of each column what
 * begins a line (shift_lines).
 */
#include "tensor/layout/lines.h"

#include "base/checked.h"

#include <string.h>

#define LINE LAYOUT_LINE_BYTES
#define STEP_BYTES (4 * LINE) /* of each column at a time */
/* Of a column: what was left over, too, and up to a line for the distance. */
#define STAGE_BYTES (STEP_BYTES + 2 * LINE)

static void stream_lines(const struct layout_kernels *kernels, char *to, const char *from,
                         size_t n_lines)
{
    struct layout_matrix lines = {
        .rows = {.first = from, .step = LINE}, .columns = {.first = to}, .streams = true};

    layout_move(kernels, log2_floor(LINE), &lines, n_lines, 1);
}

void layout_stream_run(const struct layout_kernels *kernels, char *to, const char *from,
                       size_t n_bytes)
{
    size_t head = -(uintptr_t)to % LINE;
    head = head < n_bytes ? head : n_bytes;
    size_t n_lines = (n_bytes - head) / LINE, end = head + n_lines * LINE;

    memcpy(to, from, head);
    stream_lines(kernels, to + head, from + head, n_lines);
    memcpy(to + end, from + end, n_bytes - end);
}

/* Stores what the stage has of a column: n_bytes from `from` on, for `to`. */
static void flush(const struct layout_kernels *kernels, char *to, char *from, size_t n_bytes,
                  bool is_first, bool is_last)
{
    size_t off = (uintptr_t)to % LINE, n_lines = (off + n_bytes) / LINE;
    char *line = to - off, *staged = from - off, *rest = staged + n_lines * LINE;

    if (is_first && off > 0 && n_lines > 0) { /* what is before in this line is somebody else's */
        memcpy(to, from, LINE - off);
        stream_lines(kernels, line + LINE, staged + LINE, n_lines - 1);
    } else {
        stream_lines(kernels, line, staged, n_lines);
    }
    if (!is_last)
        memcpy(staged, rest, LINE);
    else if (is_first && n_lines == 0)
        memcpy(to, from, n_bytes);
    else
        memcpy(line + n_lines * LINE, rest, (off + n_bytes) % LINE);
}

/* As many rows as there is a kernel for, and makes the matrix that of the others. Returns how many
 * these were. */
static size_t shift_rows(const struct layout_kernels *kernels, struct layout_matrix *matrix,
                         size_t n_bytes, size_t n_rows, size_t n_columns)
{
    const size_t n = n_rows - n_rows % 16;

    if (kernels->shift_lines == NULL || n_bytes != 4 || n_columns % 16 != 0 || n == 0 ||
        (uintptr_t)matrix->columns.first % n_bytes != 0 || matrix->columns.step % 4 != 0)
        return 0;
    kernels->shift_lines(matrix, n, n_columns);
    if (matrix->has_row_table)
        matrix->rows.table += n;
    else
        matrix->rows.first += (int64_t)n * matrix->rows.step;
    matrix->columns.first += n * n_bytes;
    return n;
}

static void gather_tile(const struct layout_kernels *kernels, struct layout_cuts *cuts,
                        const struct layout_matrix *matrix, size_t n_bytes, size_t n_rows,
                        size_t n_columns, bool reads_on)
{
    char stage[(LAYOUT_MAX_STREAMS + 1) * STAGE_BYTES] __attribute__((aligned(LINE)));
    const int64_t step = matrix->columns.step, at_once = (int64_t)(STEP_BYTES / n_bytes);
    const int64_t stage_step = STAGE_BYTES - LINE + (step % LINE + LINE) % LINE;
    struct layout_matrix part = *matrix;
    char *first = stage + (uintptr_t)matrix->columns.first % LINE;

    part.columns = (struct layout_columns){.first = first, .step = stage_step};
    for (size_t row = 0, n; row < n_rows; row += n) {
        n = n_rows - row < (size_t)at_once ? n_rows - row : (size_t)at_once;
        layout_transpose_tile(kernels, cuts, &part, n_bytes, n, n_columns, reads_on);
        for (size_t c = 0; c < n_columns; c++)
            flush(kernels, matrix->columns.first + (int64_t)c * step + row * n_bytes,
                  first + (int64_t)c * stage_step, n * n_bytes, row == 0, row + n == n_rows);
        if (part.has_row_table)
            part.rows.table += n;
        else
            part.rows.first += (int64_t)n * part.rows.step;
    }
}

void layout_stream_tile(const struct layout_kernels *kernels, struct layout_cuts *cuts,
                        const struct layout_matrix *matrix, size_t n_bytes, size_t n_rows,
                        size_t n_columns, bool reads_on)
{
    struct layout_matrix rest = *matrix;

    rest.streams = false;
    size_t n_shifted = shift_rows(kernels, &rest, n_bytes, n_rows, n_columns);
    if (n_shifted == 0)
        gather_tile(kernels, cuts, &rest, n_bytes, n_rows, n_columns, reads_on);
    else if (n_shifted < n_rows)
        layout_transpose_tile(kernels, cuts, &rest, n_bytes, n_rows - n_shifted, n_columns,
                              reads_on);
}
