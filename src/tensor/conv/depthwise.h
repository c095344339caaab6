/* SPDX-License-Identifier: Apache-2.0 */
/*
 * depthwise: each channel with a kernel of its own, some rows of one channel block.
 *
 * 3x3 with stride 1 or 2, the usual ones, hold the nine weights and a tile of output in registers
 * and load each input once for a tile: two rows of seven pixels are 126 multiply-adds for 36 loads.
 * What lies outside of the input is a zero in place of a load. All others take one load a tap; the
 * pixels whose window sticks out at the left or the right are done one by one.
 */
#define TAPS 3
#define MOST_WIDE (LANES == 16 ? 7 : 4) /* registers: 9 weights, the tile, one input */
#define TALL (LANES == 16 ? 2 : 1)
#define MOST_LONG 8

INLINE void store_at(const struct conv_depthwise *d, int64_t y, int64_t x, int64_t part, vec value)
{
    int64_t at = (y * d->out_width + x) * BLOCK + part;
    const struct conv_finish *finish = &d->finish;
    store(d->out + at, finished(finish, value, finish->bias == NULL ? NULL : finish->bias + part,
                                finish->sum == NULL ? NULL : finish->sum + at));
}

/* The lines of `n` pixels, before they are read: the hardware does not see far enough. */
INLINE void fetch(const float *from, int64_t n)
{
    UNROLL
    for (int64_t i = 0; i < n; i++)
        __builtin_prefetch(from + i * BLOCK);
}

/* Those of a tile's output, to be written; with parts of a block, once. */
INLINE void fetch_out(const struct conv_depthwise *d, int64_t y, int64_t x, int64_t part,
                      int64_t n_rows, int64_t n_columns)
{
    if (part > 0)
        return;
    UNROLL
    for (int64_t s = 0; s < n_rows * n_columns; s++)
        __builtin_prefetch(
            d->out + ((y + s / n_columns) * d->out_width + x + s % n_columns) * BLOCK, 1);
}

/* A tile of 3x3: output rows y.., columns x... */
INLINE void three(const struct conv_depthwise *d, int64_t y, int64_t x, int64_t part, const vec *w,
                  int64_t n_rows, int64_t n_columns, int64_t stride)
{
    const int64_t top = y * stride - d->pad_top, left = x * stride - d->pad_left;
    const int64_t in_rows = (n_rows - 1) * stride + TAPS;
    const int64_t in_columns = (n_columns - 1) * stride + TAPS;
    const bool is_left_out = left<0, is_right_out = left + in_columns> d->in_width;
    vec sums[2 * 7];
    fetch_out(d, y, x, part, n_rows, n_columns);
    UNROLL
    for (int64_t s = 0; s < n_rows * n_columns; s++)
        sums[s] = (vec){0};
    UNROLL
    for (int64_t r = 0; r < in_rows; r++) {
        if (top + r < 0 || top + r >= d->in_height)
            continue;
        const float *in = d->in + ((top + r) * d->in_width + left) * BLOCK + part;
        if (r >= TAPS - stride) /* what the next tile down reads first */
            fetch(in + n_rows * stride * d->in_width * BLOCK, n_columns * stride);
        UNROLL
        for (int64_t c = 0; c < in_columns; c++) {
            bool is_out = (c == 0 && is_left_out) || (c == in_columns - 1 && is_right_out);
            vec pixel = {0};
            if (!is_out)
                pixel = load(in + c * BLOCK);
            UNROLL
            for (int64_t t = 0; t < TAPS * TAPS; t++) {
                int64_t down = r - t / TAPS, right = c - t % TAPS; /* stride times row and column */
                if (down >= 0 && down < n_rows * stride && down % stride == 0 && right >= 0 &&
                    right < n_columns * stride && right % stride == 0)
                    sums[down / stride * n_columns + right / stride] += w[t] * pixel;
            }
        }
    }
    UNROLL
    for (int64_t s = 0; s < n_rows * n_columns; s++)
        store_at(d, y + s / n_columns, x + s % n_columns, part, sums[s]);
}

INLINE void three_rows(const struct conv_depthwise *d, int64_t y, int64_t part, const vec *w,
                       int64_t n_rows, int64_t stride)
{
    int64_t n_tiles = (d->out_width + MOST_WIDE - 1) / MOST_WIDE;
    for (int64_t i = 0; i < n_tiles; i++) {
        int64_t x = d->out_width * i / n_tiles, n = d->out_width * (i + 1) / n_tiles - x;
        switch (n) {
        case 1:
            three(d, y, x, part, w, n_rows, 1, stride);
            break;
        case 2:
            three(d, y, x, part, w, n_rows, 2, stride);
            break;
        case 3:
            three(d, y, x, part, w, n_rows, 3, stride);
            break;
        case 4:
            three(d, y, x, part, w, n_rows, 4, stride);
            break;
#if LANES == 16
        case 5:
            three(d, y, x, part, w, n_rows, 5, stride);
            break;
        case 6:
            three(d, y, x, part, w, n_rows, 6, stride);
            break;
        default:
            three(d, y, x, part, w, n_rows, 7, stride);
#else
        default:
            break;
#endif
        }
    }
}

TARGET static void all_three(const struct conv_depthwise *d)
{
    for (int64_t part = 0; part < BLOCK; part += LANES) {
        vec w[TAPS * TAPS];
        UNROLL
        for (int64_t t = 0; t < TAPS * TAPS; t++)
            w[t] = load(d->weights + t * BLOCK + part);
        int64_t y = d->first_row, end = y + d->n_rows;
        for (; d->stride_x == 1 && y + TALL <= end; y += TALL)
            three_rows(d, y, part, w, TALL, 1);
        for (; y < end; y++)
            if (d->stride_x == 1)
                three_rows(d, y, part, w, 1, 1);
            else
                three_rows(d, y, part, w, 1, 2);
    }
}

/* Pixels of one output row whose windows are within the input's columns, or one whose taps from
 * `first` to `last` are. */
INLINE void long_tile(const struct conv_depthwise *d, int64_t y, int64_t x, int64_t part,
                      int64_t first, int64_t last, int64_t n_columns)
{
    const int64_t left = x * d->stride_x - d->pad_left, step = d->stride_x * BLOCK;
    vec sums[MOST_LONG];
    UNROLL
    for (int64_t s = 0; s < n_columns; s++)
        sums[s] = (vec){0};
    for (int64_t ky = 0; ky < d->kernel_height; ky++) {
        int64_t row = y * d->stride_y - d->pad_top + ky * d->dilation_y;
        if (row < 0 || row >= d->in_height)
            continue;
        const float *in = d->in + (row * d->in_width + left) * BLOCK + part;
        const float *weights = d->weights + ky * d->kernel_width * BLOCK + part;
        if (ky + d->stride_y >= d->kernel_height)
            for (int64_t i = 0; i < d->stride_x; i++)
                fetch(in + d->stride_y * d->in_width * BLOCK + i * n_columns * BLOCK, n_columns);
        for (int64_t kx = first; kx < last; kx++) {
            const float *at = in + kx * d->dilation_x * BLOCK;
            vec w = load(weights + kx * BLOCK);
            UNROLL
            for (int64_t s = 0; s < n_columns; s++)
                sums[s] += w * load(at + s * step);
        }
    }
    UNROLL
    for (int64_t s = 0; s < n_columns; s++)
        store_at(d, y, x + s, part, sums[s]);
}

TARGET static void edge(const struct conv_depthwise *d, int64_t y, int64_t x, int64_t part)
{
    int64_t left = x * d->stride_x - d->pad_left, first = 0, last = d->kernel_width;
    while (first < last && left + first * d->dilation_x < 0)
        first++;
    while (last > first && left + (last - 1) * d->dilation_x >= d->in_width)
        last--;
    long_tile(d, y, x, part, first, last, 1);
}

TARGET static void any_row(const struct conv_depthwise *d, int64_t y, int64_t part)
{
    const int64_t reach = (d->kernel_width - 1) * d->dilation_x;
    int64_t x = 0;
    for (; x < d->out_width && x * d->stride_x < d->pad_left; x++)
        edge(d, y, x, part);
    int64_t end = x; /* of those that are within */
    int64_t room = d->in_width - 1 - reach + d->pad_left;
    if (room >= 0 && room / d->stride_x + 1 > end)
        end = room / d->stride_x + 1 < d->out_width ? room / d->stride_x + 1 : d->out_width;
    for (; x + MOST_LONG <= end; x += MOST_LONG)
        long_tile(d, y, x, part, 0, d->kernel_width, MOST_LONG);
    for (; x + MOST_LONG / 2 <= end; x += MOST_LONG / 2)
        long_tile(d, y, x, part, 0, d->kernel_width, MOST_LONG / 2);
    for (; x < end; x++)
        long_tile(d, y, x, part, 0, d->kernel_width, 1);
    for (; x < d->out_width; x++)
        edge(d, y, x, part);
}

TARGET static void depthwise(const struct conv_depthwise *d)
{
    const int64_t last = (d->out_width - 1) * d->stride_x - d->pad_left + TAPS - 1;
    bool is_three = d->kernel_height == TAPS && d->kernel_width == TAPS && d->stride_x <= 2 &&
                    d->stride_y == d->stride_x && d->dilation_y == 1 && d->dilation_x == 1 &&
                    d->pad_left <= 1 && last <= d->in_width;
    if (is_three) {
        all_three(d);
        return;
    }
    for (int64_t part = 0; part < BLOCK; part += LANES)
        for (int64_t y = d->first_row; y < d->first_row + d->n_rows; y++)
            any_row(d, y, part);
}
