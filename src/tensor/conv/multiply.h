/* SPDX-License-Identifier: Apache-2.0 */
/*
 * multiply: the product of a tile, in registers.
 *
 * For each input channel and tap: the weights of BLOCKS output blocks are loaded once, one float of
 * each pixel is broadcast, and each pair is a multiply-add. With 14 pixels and 2 blocks of 16
 * channels that is 28 multiply-adds for 16 loads, and 28 of 32 registers that hold sums: AVX-512's
 * multipliers never wait. Rows and columns are compile-time constants, so that sums are registers
 * and not an array; the tables are indexed by them.
 */
#if LANES == 16 /* 32 registers */
#define MOST_1 14
#define MOST_2 14
#elif LANES == 8 && BLOCK == 8 /* 16 registers */
#define MOST_1 12
#define MOST_2 6
#elif LANES == 8
#define MOST_1 6
#define MOST_2 0
#elif BLOCK == 8 && defined __aarch64__ /* 32 registers, and compilers load pixels far ahead */
#define MOST_1 10
#define MOST_2 5
#elif BLOCK == 8
#define MOST_1 6
#define MOST_2 0
#elif defined __aarch64__
#define MOST_1 5
#define MOST_2 0
#else
#define MOST_1 3
#define MOST_2 0
#endif
#define MOST(blocks) ((blocks) == 1 ? MOST_1 : MOST_2)
#define MOST_SUMS 28
#define LINE_FLOATS 16
#define IN_ORDER \
    __asm__ volatile("" ::: "memory") /* what is loaded after it is not loaded before */

/* Where the sum of pixel p and vector v goes. */
INLINE int64_t place_of(const struct conv_tile *tile, int64_t p, int64_t v, int64_t n_columns)
{
    return v / BLOCK_VECTORS * tile->out_block_stride + v % BLOCK_VECTORS * LANES +
           p / n_columns * tile->out_row_stride + p % n_columns * BLOCK;
}

/* As finished() does it, but each step for all sums, so that there is one branch a step. */
INLINE void finish_tile(const struct conv_tile *tile, vec *sums, int64_t n_vectors,
                        int64_t n_pixels, int64_t n_columns)
{
    const struct conv_finish *finish = &tile->finish;
    if (finish->bias != NULL) {
        UNROLL
        for (int64_t s = 0; s < n_pixels * n_vectors; s++)
            sums[s] += load(finish->bias + s % n_vectors * LANES);
    }
    if (finish->sum != NULL) {
        UNROLL
        for (int64_t s = 0; s < n_pixels * n_vectors; s++)
            sums[s] += load(finish->sum + place_of(tile, s / n_vectors, s % n_vectors, n_columns));
    }
    if (finish->clamps) {
        UNROLL
        for (int64_t s = 0; s < n_pixels * n_vectors; s++)
            sums[s] = MOST_OF(all(finish->low), sums[s]);
    }
    if (finish->clamps && finish->high < INFINITY) { /* not ReLU */
        UNROLL
        for (int64_t s = 0; s < n_pixels * n_vectors; s++)
            sums[s] = LEAST_OF(all(finish->high), sums[s]);
    }
    UNROLL
    for (int64_t s = 0; s < n_pixels * n_vectors; s++)
        store(tile->out + place_of(tile, s / n_vectors, s % n_vectors, n_columns), sums[s]);
}

/* Lines that are wanted soon, while the multipliers are busy: they may have to come from the third
 * level, from places where no hardware looks for them. */
INLINE void fetch_pixels(const float *ahead, int64_t row, int64_t n_rows, int64_t n_columns)
{
    UNROLL
    for (int64_t p = 0; p < n_rows * n_columns; p++)
        __builtin_prefetch(ahead + p / n_columns * row + p % n_columns * BLOCK);
}

/* The output's lines, for writing; products on the way (without a bias) are in the cache. */
INLINE void fetch_output(const struct conv_tile *tile, int64_t n_vectors, int64_t n_pixels,
                         int64_t n_columns)
{
    if (tile->finish.bias == NULL)
        return;
    UNROLL
    for (int64_t s = 0; s < n_pixels * n_vectors; s++)
        __builtin_prefetch(tile->out + place_of(tile, s / n_vectors, s % n_vectors, n_columns), 1);
}

/* One tap's products, `x` the first pixel there. */
INLINE void add_tap(vec *sums, const float *x, const float *weights, const struct conv_tile *tile,
                    int64_t n_channels, uint32_t is_dead, int64_t n_vectors, int64_t n_rows,
                    int64_t n_columns)
{
    const int64_t row = tile->in_row_stride;
    for (const float *end = x + n_channels; x != end; x++, weights += n_vectors * LANES) {
        vec w[CONV_MOST_BLOCKS * BLOCK_VECTORS];
        UNROLL
        for (int64_t v = 0; v < n_vectors; v++)
            w[v] = load(weights + v * LANES);
        UNROLL
        for (int64_t r = 0; r < n_rows; r++) {
            if (n_rows > 1 && (is_dead & CONV_DEAD_ROW(r)) != 0)
                continue;
            UNROLL
            for (int64_t c = 0; c < n_columns; c++) {
                if ((c == 0 && (is_dead & CONV_DEAD_FIRST) != 0) ||
                    (c == n_columns - 1 && (is_dead & CONV_DEAD_LAST) != 0))
                    continue;
                vec pixel = all(x[r * row + c * BLOCK]);
                UNROLL
                for (int64_t v = 0; v < n_vectors; v++)
                    sums[(r * n_columns + c) * n_vectors + v] += w[v] * pixel;
            }
        }
    }
}

/* All blocks of a tile of one tap. Its blocks are short: what else each costs would be felt. */
INLINE void add_single(vec *sums, const struct conv_tile *tile, int64_t n_vectors, int64_t n_rows,
                       int64_t n_columns)
{
    const float *weights = tile->weights, *in = tile->in + tile->taps[0].in;
    for (int64_t b = 0; b < tile->in_blocks; b++, in += tile->in_block_stride) {
        const bool is_last = b + 1 == tile->in_blocks;
        const int64_t n_channels = is_last ? tile->last_channels : BLOCK;
        fetch_pixels(is_last ? tile->next + tile->taps[0].in : in + tile->in_block_stride,
                     tile->in_row_stride, n_rows, n_columns);
        add_tap(sums, in, weights, tile, n_channels, 0, n_vectors, n_rows, n_columns);
        weights += n_channels * n_vectors * LANES;
    }
}

INLINE void multiply(const struct conv_tile *tile, int64_t n_blocks, int64_t n_rows,
                     int64_t n_columns)
{
    const int64_t n_vectors = n_blocks * BLOCK_VECTORS, n_pixels = n_rows * n_columns;
    const int64_t row = tile->in_row_stride;
    const float *weights = tile->weights, *in = tile->in, *later = tile->later;
    vec sums[MOST_SUMS];
    fetch_output(tile, n_vectors, n_pixels, n_columns);
    UNROLL
    for (int64_t s = 0; s < n_pixels * n_vectors; s++)
        sums[s] = (vec){0};
    if (n_rows == 1 && tile->n_taps == 1 && tile->n_kernel_taps == 1 && tile->later_lines == 0 &&
        tile->taps[0].is_dead == 0) {
        add_single(sums, tile, n_vectors, n_rows, n_columns);
        finish_tile(tile, sums, n_vectors, n_pixels, n_columns);
        return;
    }
    for (int64_t b = 0; b < tile->in_blocks; b++, in += tile->in_block_stride) {
        int64_t n_channels = b + 1 == tile->in_blocks ? tile->last_channels : BLOCK;
        const float *ahead = b + 1 == tile->in_blocks ? tile->next : in + tile->in_block_stride;
        for (int64_t t = 0; t < tile->n_taps; t++) {
            const struct conv_tap *tap = &tile->taps[t];
            const float *w = weights + tap->number * n_channels * n_vectors * LANES;
            fetch_pixels(ahead + tap->in, row, n_rows, n_columns);
            for (int64_t i = 0; i < tile->later_lines; i++, later += LINE_FLOATS)
                __builtin_prefetch(later, 0, 2);
            if (tap->is_dead == 0)
                add_tap(sums, in + tap->in, w, tile, n_channels, 0, n_vectors, n_rows, n_columns);
            else
                add_tap(sums, in + tap->in, w, tile, n_channels, tap->is_dead, n_vectors, n_rows,
                        n_columns);
        }
        weights += tile->n_kernel_taps * n_channels * n_vectors * LANES;
    }
    finish_tile(tile, sums, n_vectors, n_pixels, n_columns);
}

/* The same for a tile whose blocks have one channel each, so that taps are what repeats. Left
 * alone, compilers load all pixels before they multiply, and sums lose their registers. */
INLINE void multiply_plain(const struct conv_tile *tile, int64_t n_blocks, int64_t n_columns)
{
    const int64_t n_vectors = n_blocks * BLOCK_VECTORS, pixel_floats = tile->pixel_floats;
    const float *weights = tile->weights, *in = tile->in;
    vec sums[MOST_SUMS];
    fetch_output(tile, n_vectors, n_columns, n_columns);
    UNROLL
    for (int64_t s = 0; s < n_columns * n_vectors; s++)
        sums[s] = (vec){0};
    for (int64_t b = 0; b < tile->in_blocks; b++, in += tile->in_block_stride)
        for (int64_t t = 0; t < tile->n_taps; t++, weights += n_vectors * LANES) {
            const float *x = in + tile->taps[t].in;
            vec w[CONV_MOST_BLOCKS * BLOCK_VECTORS];
            UNROLL
            for (int64_t v = 0; v < n_vectors; v++)
                w[v] = load(weights + v * LANES);
            UNROLL
            for (int64_t c = 0; c < n_columns; c++, x += pixel_floats) {
                IN_ORDER;
                vec pixel = all(*x);
                UNROLL
                for (int64_t v = 0; v < n_vectors; v++)
                    sums[c * n_vectors + v] += w[v] * pixel;
            }
        }
    finish_tile(tile, sums, n_vectors, n_columns, n_columns);
}

#define EACH_COLUMN(DO, blocks, rows) \
    DO(blocks, rows, 1)               \
    DO(blocks, rows, 2)               \
    DO(blocks, rows, 3)               \
    DO(blocks, rows, 4)               \
    DO(blocks, rows, 5)               \
    DO(blocks, rows, 6)               \
    DO(blocks, rows, 7)               \
    DO(blocks, rows, 8)               \
    DO(blocks, rows, 9)               \
    DO(blocks, rows, 10)              \
    DO(blocks, rows, 11)              \
    DO(blocks, rows, 12)              \
    DO(blocks, rows, 13)              \
    DO(blocks, rows, 14)

#define DEFINE(blocks, rows, columns)                                                       \
    TARGET static void multiply_##blocks##_##rows##_##columns(const struct conv_tile *tile) \
    {                                                                                       \
        if ((rows) * (columns) <= MOST(blocks))                                             \
            multiply(tile, blocks, rows, columns);                                          \
    }
#define DEFINE_PLAIN(blocks, rows, columns)                                              \
    TARGET static void multiply_plain_##blocks##_##columns(const struct conv_tile *tile) \
    {                                                                                    \
        if ((columns) <= MOST(blocks))                                                   \
            multiply_plain(tile, blocks, columns);                                       \
    }
EACH_COLUMN(DEFINE_PLAIN, 1, 1)
EACH_COLUMN(DEFINE_PLAIN, 2, 1)
EACH_COLUMN(DEFINE, 1, 1)
EACH_COLUMN(DEFINE, 1, 2)
EACH_COLUMN(DEFINE, 2, 1)
EACH_COLUMN(DEFINE, 2, 2)

#define ENTRY(blocks, rows, columns) \
    (rows) * (columns) <= MOST(blocks) ? multiply_##blocks##_##rows##_##columns : NULL,
static conv_multiply *const multiply_tiles[][CONV_MOST_ROWS][CONV_MOST_COLUMNS] = {
    {{EACH_COLUMN(ENTRY, 1, 1)}, {EACH_COLUMN(ENTRY, 1, 2)}},
    {{EACH_COLUMN(ENTRY, 2, 1)}, {EACH_COLUMN(ENTRY, 2, 2)}},
};
#define ENTRY_PLAIN(blocks, rows, columns) \
    (columns) <= MOST(blocks) ? multiply_plain_##blocks##_##columns : NULL,
static conv_multiply *const multiply_plain_tiles[][CONV_MOST_COLUMNS] = {
    {EACH_COLUMN(ENTRY_PLAIN, 1, 1)},
    {EACH_COLUMN(ENTRY_PLAIN, 2, 1)},
};
static const int64_t most_pixels[CONV_MOST_BLOCKS + 1] = {0, MOST_1, MOST_2};
