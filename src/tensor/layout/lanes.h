/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lanes: transposing in registers, for any width of vectors. The file that includes it says how:
 *
 *     V, LANES                      a vector of LANES lanes of 16 bytes
 *     V load(matrix, tables, row, step, at)   lane i is the 16 bytes at `at` in
 *                                                 row + i * step
 *     V load_whole(from)            all lanes, one behind the other
 *     void store(char *, V)         all of it
 *     void store_first(char *, V, n_bytes)   the first 8, 4 or 2 bytes
 *     low8 high8 ... low64 high64   what interleaves the lower or upper halves of two, lane by lane
 *     IN                            the attributes of its functions
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

/* Matrices with tables and without have code of their own. */
#define ALL_TABLES(name)                                                                        \
    TARGET static void name(const struct layout_matrix *matrix, const struct layout_part *part) \
    {                                                                                           \
        if (matrix->has_column_table)                                                           \
            name##_any(matrix, part, (struct layout_tables){true, true});                       \
        else if (matrix->has_row_table)                                                         \
            name##_any(matrix, part, (struct layout_tables){true, false});                      \
        else                                                                                    \
            name##_any(matrix, part, (struct layout_tables){false, false});                     \
    }

/* A kernel for elements of BITS, whose columns have all rows of the vector. */
#define LANES_KERNEL(bits)                                                                         \
    IN void lanes_##bits##_any(const struct layout_matrix *matrix, const struct layout_part *part, \
                               struct layout_tables tables)                                        \
    {                                                                                              \
        enum { J = 128 / (bits), N_ROWS = sizeof(V) / ((bits) / 8) };                              \
        size_t end_row = part->first_row + part->n_rows;                                           \
        size_t end_column = part->first_column + part->n_columns;                                  \
        for (size_t r = part->first_row; r < end_row; r += N_ROWS) {                               \
            for (size_t c = part->first_column; c < end_column; c += J) {                          \
                V v[J];                                                                            \
                for (unsigned i = 0; i < J; i++)                                                   \
                    v[i] = load(matrix, tables, r + i, J, c * ((bits) / 8));                       \
                transpose_##bits(v);                                                               \
                for (unsigned i = 0; i < J; i++)                                                   \
                    store(layout_column(matrix, tables.columns, c + i) + r * ((bits) / 8), v[i]);  \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    ALL_TABLES(lanes_##bits)

/* Of only the first N_ROWS of a single lane: columns of N_ROWS * BITS / 8 bytes, 8 or fewer. */
#define FIRST_KERNEL(bits, N_ROWS)                                                               \
    IN void first_##bits##_##N_ROWS##_any(const struct layout_matrix *matrix,                    \
                                          const struct layout_part *part,                        \
                                          struct layout_tables tables)                           \
    {                                                                                            \
        enum { J = 128 / (bits) };                                                               \
        size_t end_row = part->first_row + part->n_rows;                                         \
        size_t end_column = part->first_column + part->n_columns;                                \
        for (size_t r = part->first_row; r < end_row; r += N_ROWS) {                             \
            for (size_t c = part->first_column; c < end_column; c += J) {                        \
                V v[J];                                                                          \
                for (unsigned i = 0; i < J; i++)                                                 \
                    v[i] = i < (N_ROWS) ? load(matrix, tables, r + i, J, c * ((bits) / 8))       \
                                        : zero();                                                \
                transpose_##bits(v);                                                             \
                for (unsigned i = 0; i < J; i++)                                                 \
                    store_first(layout_column(matrix, tables.columns, c + i) + r * ((bits) / 8), \
                                v[i], (N_ROWS) * ((bits) / 8));                                  \
            }                                                                                    \
        }                                                                                        \
    }                                                                                            \
    ALL_TABLES(first_##bits##_##N_ROWS)

/* Units of whole vectors; the compiler knows how many. */
IN void move_units(const struct layout_matrix *matrix, struct layout_tables tables, size_t n_rows,
                   size_t n_columns, size_t unit)
{
    for (size_t c = 0; c < n_columns; c++) {
        char *to = layout_column(matrix, tables.columns, c);
        for (size_t r = 0; r < n_rows; r++, to += unit)
            for (size_t i = 0; i < unit; i += sizeof(V))
                store(to + i, load_whole(layout_row(matrix, tables.rows, r) + c * unit + i));
    }
}

#define MOVE_KERNEL(unit)                                                                      \
    TARGET static void move_##unit(const struct layout_matrix *matrix, size_t n_rows,          \
                                   size_t n_columns)                                           \
    {                                                                                          \
        if (matrix->has_column_table)                                                          \
            move_units(matrix, (struct layout_tables){true, true}, n_rows, n_columns, unit);   \
        else if (matrix->has_row_table)                                                        \
            move_units(matrix, (struct layout_tables){true, false}, n_rows, n_columns, unit);  \
        else                                                                                   \
            move_units(matrix, (struct layout_tables){false, false}, n_rows, n_columns, unit); \
    }
