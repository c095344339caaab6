/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lanes: transposing in registers, for any width of vectors. The file that includes it says how:
 *
 *     V, LANES                      a vector of LANES lanes of 16 bytes
 *     V load(rows, step, at)        lane i is the 16 bytes at rows[i * step] + at
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

/* A kernel for elements of BITS, whose columns have all rows of the vector. */
#define LANES_KERNEL(bits)                                                                    \
    TARGET static void lanes_##bits(const char *const *rows, char *const *columns, size_t at, \
                                    size_t n)                                                 \
    {                                                                                         \
        enum { J = 128 / (bits) };                                                            \
        for (size_t c = 0; c < n; c += J) {                                                   \
            V v[J];                                                                           \
            for (unsigned i = 0; i < J; i++)                                                  \
                v[i] = load(rows + i, J, c * ((bits) / 8));                                   \
            transpose_##bits(v);                                                              \
            for (unsigned i = 0; i < J; i++)                                                  \
                store(columns[c + i] + at, v[i]);                                             \
        }                                                                                     \
    }

/* Of only the first n_rows of a single lane: columns of n_rows * BITS / 8 bytes, 8 or fewer. */
#define FIRST_KERNEL(bits, n_rows)                                                            \
    TARGET static void first_##bits##_##n_rows(const char *const *rows, char *const *columns, \
                                               size_t at, size_t n)                           \
    {                                                                                         \
        enum { J = 128 / (bits) };                                                            \
        for (size_t c = 0; c < n; c += J) {                                                   \
            V v[J];                                                                           \
            for (unsigned i = 0; i < J; i++)                                                  \
                v[i] = i < (n_rows) ? load(rows + i, J, c * ((bits) / 8)) : zero();           \
            transpose_##bits(v);                                                              \
            for (unsigned i = 0; i < J; i++)                                                  \
                store_first(columns[c + i] + at, v[i], (n_rows) * ((bits) / 8));              \
        }                                                                                     \
    }
