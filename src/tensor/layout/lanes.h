/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lanes: transposing in registers, for any width of vectors. The file that includes it says how:
 *
 *     V, LANES                      a vector of LANES lanes of 16 bytes
 *     V load(const char *const rows[LANES])   lane i is 16 bytes of rows[i]
 *     V load_whole(from)            all lanes, one behind the other
 *     void store(char *, V)         all of it
 *     void store_past(char *, V)    the same past the caches, aligned
 *     void store_first(char *, V, n_bytes)   the first 8, 4 or 2 bytes
 *     V zero()
 *     V alone(v, l)                 lane l of v, and zeros behind it
 *     low8 high8 ... low64 high64   what interleaves the lower or upper halves of two, lane by lane
 *     IN                            the attributes of its functions
 *     ANY                           the constraint of a register that has a V, for the compiler
 *
 * In a lane, J vectors are a matrix of J x J elements (J = 16 / size), transposed by interleaving
 * them log2(J) times. Lane i has rows i * J to i * J + J - 1, so that a column of the result has
 * LANES * J rows one after the other in memory.
 *
 * Vectors with rows that are not wanted are zeros: fewer rows than a lane has.
 */

IN void transpose_64(V v[2])
{
    V first = low64(v[0], v[1]);
    v[1] = high64(v[0], v[1]);
    v[0] = first;
}

IN void transpose_32(V v[4])
{
    V a[2] = {low32(v[0], v[1]), low32(v[2], v[3])};
    V b[2] = {high32(v[0], v[1]), high32(v[2], v[3])};
    transpose_64(a);
    transpose_64(b);
    v[0] = a[0];
    v[1] = a[1];
    v[2] = b[0];
    v[3] = b[1];
}

IN void transpose_16(V v[8])
{
    V a[4], b[4];
    for (unsigned i = 0; i < 4; i++) {
        a[i] = low16(v[2 * i], v[2 * i + 1]);
        b[i] = high16(v[2 * i], v[2 * i + 1]);
    }
    transpose_32(a);
    transpose_32(b);
    for (unsigned i = 0; i < 4; i++) {
        v[i] = a[i];
        v[4 + i] = b[i];
    }
}

IN void transpose_8(V v[16])
{
    V a[8], b[8];
    for (unsigned i = 0; i < 8; i++) {
        a[i] = low8(v[2 * i], v[2 * i + 1]);
        b[i] = high8(v[2 * i], v[2 * i + 1]);
    }
    transpose_16(a);
    transpose_16(b);
    for (unsigned i = 0; i < 8; i++) {
        v[i] = a[i];
        v[8 + i] = b[i];
    }
}

/* The next line's address is this one's plus a step, after this one was loaded or stored. What the
 * compiler sees through it computes all at once, and has no registers left for the work. */
#define STEP(pointer, step, v)                   \
    do {                                         \
        (pointer) += (step);                     \
        __asm__("" : "+r"(pointer), "+" ANY(v)); \
    } while (0)

/* What a matrix has is found out once. */
#define ALL_FORMS(name)                                                                          \
    IN void name##_each(const struct layout_matrix *matrix, const struct layout_part *part,      \
                        struct layout_form form)                                                 \
    {                                                                                            \
        struct layout_matrix its = *matrix;                                                      \
        for (size_t left = its.n_others + 1; left > 0; left--) {                                 \
            name##_any(&its, part, form);                                                        \
            its.rows.first += its.rows_apart;                                                    \
            its.columns.first += its.columns_apart;                                              \
        }                                                                                        \
    }                                                                                            \
    TARGET static void name(const struct layout_matrix *matrix, const struct layout_part *part)  \
    {                                                                                            \
        if (matrix->has_column_table)                                                            \
            name##_each(matrix, part,                                                            \
                        (struct layout_form){.row_table = true, .column_table = true});          \
        else if (matrix->has_row_table && matrix->streams)                                       \
            name##_each(matrix, part, (struct layout_form){.row_table = true, .streams = true}); \
        else if (matrix->has_row_table)                                                          \
            name##_each(matrix, part, (struct layout_form){.row_table = true});                  \
        else if (matrix->streams)                                                                \
            name##_each(matrix, part, (struct layout_form){.streams = true});                    \
        else if (matrix->n_others > 0)                                                           \
            name##_each(matrix, part, (struct layout_form){.has_others = true});                 \
        else                                                                                     \
            name##_each(matrix, part, (struct layout_form){0});                                  \
    }

/* Of `at` on, of n rows a lane: lane l of v[i] is from row `row` + i + l * n. */
IN void load_rows(V *v, unsigned n, struct layout_rows rows, struct layout_form form, size_t row,
                  size_t at)
{
    const char *first = rows.first + (int64_t)row * rows.step + at;

    for (unsigned i = 0; i < n; i++) {
        const char *lanes[LANES];
        for (unsigned l = 0; l < LANES; l++)
            lanes[l] = form.row_table ? layout_listed_row(&rows, row + i + l * n) + at
                                      : first + (int64_t)(l * n) * rows.step;
        v[i] = load(lanes);
        if (!form.row_table)
            STEP(first, rows.step, v[i]);
    }
}

/* To `at` of columns `column` on; only the first n_wanted of n. */
IN void store_columns(V *v, unsigned n, struct layout_columns columns, struct layout_form form,
                      size_t column, size_t at, size_t n_wanted)
{
    char *to = columns.first + (int64_t)column * columns.step + at;

    for (unsigned i = 0; i < n; i++) {
        if (i >= n_wanted)
            return;
        if (form.streams)
            store_past(to, v[i]);
        else
            store(form.column_table ? columns.first + columns.table[column + i] + at : to, v[i]);
        if (!form.column_table)
            STEP(to, columns.step, v[i]);
    }
}

/* A kernel for elements of BITS, whose columns have all rows of the vector. */
#define LANES_KERNEL(bits)                                                                         \
    IN void lanes_##bits##_any(const struct layout_matrix *matrix, const struct layout_part *part, \
                               struct layout_form form)                                            \
    {                                                                                              \
        enum { SIZE = (bits) / 8, J = 16 / SIZE, N_ROWS = sizeof(V) / SIZE };                      \
        const struct layout_rows rows = matrix->rows;                                              \
        const struct layout_columns columns = matrix->columns;                                     \
        size_t end_row = part->first_row + part->n_rows;                                           \
        size_t end_column = part->first_column + part->n_columns;                                  \
        for (size_t r = part->first_row; r < end_row; r += N_ROWS) {                               \
            for (size_t c = part->first_column; c < end_column; c += J) {                          \
                V v[J];                                                                            \
                load_rows(v, J, rows, form, r, c *SIZE);                                           \
                transpose_##bits(v);                                                               \
                store_columns(v, J, columns, form, c, r *SIZE, end_column - c);                    \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    ALL_FORMS(lanes_##bits)

/* Of only the first N_ROWS of a single lane: columns of N_ROWS * BITS / 8 bytes, 8 or fewer. */
#define FIRST_KERNEL(bits, N_ROWS)                                                                 \
    IN void first_##bits##_##N_ROWS##_any(const struct layout_matrix *matrix,                      \
                                          const struct layout_part *part, struct layout_form form) \
    {                                                                                              \
        enum { SIZE = (bits) / 8, J = 16 / SIZE };                                                 \
        const struct layout_rows rows = matrix->rows;                                              \
        const struct layout_columns columns = matrix->columns;                                     \
        size_t end_row = part->first_row + part->n_rows;                                           \
        size_t end_column = part->first_column + part->n_columns;                                  \
        for (size_t r = part->first_row; r < end_row; r += N_ROWS) {                               \
            char *to = columns.first + (int64_t)part->first_column * columns.step + r * SIZE;      \
            for (size_t c = part->first_column; c < end_column; c += J) {                          \
                V v[J];                                                                            \
                load_rows(v, N_ROWS, rows, form, r, c *SIZE);                                      \
                for (unsigned i = N_ROWS; i < J; i++)                                              \
                    v[i] = zero();                                                                 \
                transpose_##bits(v);                                                               \
                for (unsigned i = 0; i < J && c + i < end_column; i++, to += columns.step)         \
                    store_first(form.column_table ? columns.first + columns.table[c + i] + r *SIZE \
                                                  : to,                                            \
                                v[i], (N_ROWS)*SIZE);                                              \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    ALL_FORMS(first_##bits##_##N_ROWS)

/* So few rows that a column of theirs is in a lane, and zeros behind it. */
#define FILL_KERNEL(bits)                                                                          \
    IN void fill_##bits##_any(const struct layout_matrix *matrix, size_t n_rows, size_t n_columns, \
                              size_t fill_bytes, bool streams)                                     \
    {                                                                                              \
        enum { SIZE = (bits) / 8, J = 16 / SIZE };                                                 \
        const struct layout_columns columns = matrix->columns;                                     \
        char *to = columns.first;                                                                  \
        for (size_t c = 0; c < n_columns; c += sizeof(V) / SIZE) {                                 \
            V v[J];                                                                                \
            for (unsigned i = 0; i < J; i++)                                                       \
                v[i] = i < n_rows ? load_whole(layout_listed_row(&matrix->rows, i) + c * SIZE)     \
                                  : zero();                                                        \
            transpose_##bits(v); /* lane l of v[j] is column l * J + j */                          \
            for (unsigned l = 0; l < LANES; l++)                                                   \
                for (unsigned j = 0; j < J; j++, to += columns.step) {                             \
                    for (size_t at = 0; at < fill_bytes; at += sizeof(V)) {                        \
                        V its = at == 0 ? alone(v[j], l) : zero();                                 \
                        if (streams)                                                               \
                            store_past(to + at, its);                                              \
                        else                                                                       \
                            store(to + at, its);                                                   \
                    }                                                                              \
                }                                                                                  \
        }                                                                                          \
    }                                                                                              \
    TARGET static void fill_##bits(const struct layout_matrix *matrix, size_t n_rows,              \
                                   size_t n_columns, size_t fill_bytes)                            \
    {                                                                                              \
        if (matrix->streams)                                                                       \
            fill_##bits##_any(matrix, n_rows, n_columns, fill_bytes, true);                        \
        else                                                                                       \
            fill_##bits##_any(matrix, n_rows, n_columns, fill_bytes, false);                       \
    }

#define FILLER(bits)                                                 \
    {                                                                \
        128 / (bits), 8 * sizeof(V) / (bits), sizeof(V), fill_##bits \
    }
#define FILLERS                      \
    {                                \
        {0}, FILLER(16), FILLER(32), \
        {                            \
            0                        \
        }                            \
    }

/* Units of whole vectors; the compiler knows how many. */
IN void move_units(const struct layout_matrix *matrix, struct layout_form form, size_t n_rows,
                   size_t n_columns, size_t unit)
{
    const struct layout_rows rows = matrix->rows;

    for (size_t c = 0; c < n_columns; c++) {
        char *to = layout_column(matrix, form.column_table, c);
        const char *first = rows.first + c * unit;
        for (size_t r = 0; r < n_rows; r++, to += unit, first += rows.step) {
            const char *from = form.row_table ? layout_listed_row(&rows, r) + c * unit : first;
            for (size_t i = 0; i < unit; i += sizeof(V)) {
                if (form.streams)
                    store_past(to + i, load_whole(from + i));
                else
                    store(to + i, load_whole(from + i));
            }
        }
    }
}

#define MOVE_KERNEL(unit)                                                                         \
    TARGET static void move_##unit(const struct layout_matrix *matrix, size_t n_rows,             \
                                   size_t n_columns)                                              \
    {                                                                                             \
        if (matrix->has_column_table)                                                             \
            move_units(matrix, (struct layout_form){.row_table = true, .column_table = true},     \
                       n_rows, n_columns, unit);                                                  \
        else if (matrix->streams)                                                                 \
            move_units(matrix,                                                                    \
                       (struct layout_form){.row_table = matrix->has_row_table, .streams = true}, \
                       n_rows, n_columns, unit);                                                  \
        else if (matrix->has_row_table)                                                           \
            move_units(matrix, (struct layout_form){.row_table = true}, n_rows, n_columns, unit); \
        else                                                                                      \
            move_units(matrix, (struct layout_form){0}, n_rows, n_columns, unit);                 \
    }
