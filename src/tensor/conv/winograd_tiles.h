/* SPDX-License-Identifier: Apache-2.0 */
/*
 * winograd_tiles: a tile into Winograd's domain, and the products out of it.
 *
 *     V = B^T d B           d: (m + 2) x (m + 2) pixels      Y = A^T M A     Y: m x m pixels
 *
 * Row j of B^T has the coefficients of the product of (x - q) over all points q but the j-th; of
 * all, for infinity. The points come in pairs +-p, so the rows of a pair are
 *
 *     Q(x^2) (x^2 + p x)   and   Q(x^2) (x^2 - p x)
 *
 *     Q: the product of x^2 - q^2 over the other pairs
 *
 * and share their even and their odd half: E + O, E - O. A^T has the powers of the points, so
 * likewise Y's even rows take sums of a pair, its odd ones differences. One code does all m; what
 * depends on the points is folded by the compiler. A pixel is a vector of channels, so there is no
 * shuffling at all: that is what the blocked layout is for.
 */
#include "tensor/conv/points.h"

/* The coefficients of the product of x^2 - q^2 over the pairs but `without` (-1: all). */
INLINE void coefficients(const double *points, int n_pairs, int without, double *q)
{
    q[0] = 1;
    int degree = 0;
    UNROLL
    for (int j = 0; j < n_pairs; j++) {
        if (j == without)
            continue;
        double square = points[j] * points[j];
        q[degree + 1] = 1;
        UNROLL
        for (int k = degree; k > 0; k--)
            q[k] = q[k - 1] - square * q[k];
        q[0] *= -square;
        degree++;
    }
}

/* The sum of q[k] * x[2 k], k from 0 to `degree`; the last coefficient is 1. */
INLINE vec polynomial(const double *q, int degree, const vec *x)
{
    vec sum = x[2 * degree];
    UNROLL
    for (int k = 0; k < degree; k++)
        sum += (float)q[k] * x[2 * k];
    return sum;
}

INLINE void transform_in(const double *points, int n_pairs, const vec *x, vec *out)
{
    double q[CONV_MOST_PAIRS + 1];
    coefficients(points, n_pairs, -1, q);
    out[0] = polynomial(q, n_pairs, x);
    out[2 * n_pairs + 1] = polynomial(q, n_pairs, x + 1);
    UNROLL
    for (int j = 0; j < n_pairs; j++) {
        coefficients(points, n_pairs, j, q);
        vec even = polynomial(q, n_pairs - 1, x + 2);
        vec odd = (float)points[j] * polynomial(q, n_pairs - 1, x + 1);
        out[1 + 2 * j] = even + odd;
        out[2 + 2 * j] = even - odd;
    }
}

INLINE void transform_out(const double *points, int n_pairs, const vec *x, vec *out)
{
    vec sum[CONV_MOST_PAIRS], difference[CONV_MOST_PAIRS];
    double power[CONV_MOST_PAIRS];
    UNROLL
    for (int j = 0; j < n_pairs; j++) {
        sum[j] = x[1 + 2 * j] + x[2 + 2 * j];
        difference[j] = x[1 + 2 * j] - x[2 + 2 * j];
        power[j] = 1;
    }
    UNROLL
    for (int i = 0; i < 2 * n_pairs; i++) {
        vec y = i == 0 ? x[0] : i + 1 == 2 * n_pairs ? x[2 * n_pairs + 1] : (vec){0};
        UNROLL
        for (int j = 0; j < n_pairs; j++) {
            y += (float)power[j] * (i % 2 == 0 ? sum[j] : difference[j]);
            power[j] *= points[j];
        }
        out[i] = y;
    }
}

INLINE void tile_in(const struct conv_winograd_in *tile, const double *points, int n_pairs)
{
    const int n = 2 * n_pairs + 2;
    for (int part = 0; part < BLOCK; part += LANES) {
        vec half[CONV_MOST_TILE][CONV_MOST_TILE], line[CONV_MOST_TILE], out[CONV_MOST_TILE];
        UNROLL
        for (int x = 0; x < n; x++) {
            UNROLL
            for (int y = 0; y < n; y++)
                line[y] = load(tile->in + y * tile->row_stride + x * BLOCK + part);
            transform_in(points, n_pairs, line, out);
            UNROLL
            for (int y = 0; y < n; y++)
                half[y][x] = out[y];
        }
        UNROLL
        for (int y = 0; y < n; y++) {
            transform_in(points, n_pairs, half[y], out);
            UNROLL
            for (int x = 0; x < n; x++)
                store(tile->out + (y * n + x) * tile->stride + part, out[x]);
        }
    }
}

INLINE void tile_out(const struct conv_winograd_out *tile, const double *points, int n_pairs)
{
    const int n = 2 * n_pairs + 2, m = 2 * n_pairs;
    const struct conv_finish *finish = &tile->finish;
    for (int part = 0; part < BLOCK; part += LANES) {
        vec half[CONV_MOST_TILE][CONV_MOST_TILE], line[CONV_MOST_TILE], out[CONV_MOST_TILE];
        UNROLL
        for (int x = 0; x < n; x++) {
            UNROLL
            for (int y = 0; y < n; y++)
                line[y] = load(tile->in + (y * n + x) * tile->stride + part);
            transform_out(points, n_pairs, line, out);
            UNROLL
            for (int y = 0; y < m; y++)
                half[y][x] = out[y];
        }
        UNROLL
        for (int y = 0; y < m; y++) {
            if (y >= tile->n_rows)
                break;
            transform_out(points, n_pairs, half[y], out);
            int64_t at = y * tile->row_stride + part;
            UNROLL
            for (int x = 0; x < m; x++)
                if (x < tile->n_columns)
                    store(tile->out + at + x * BLOCK,
                          finished(finish, out[x],
                                   finish->bias == NULL ? NULL : finish->bias + part,
                                   finish->sum == NULL ? NULL : finish->sum + at + x * BLOCK));
        }
    }
}

#define DEFINE_TILE(m)                                               \
    TARGET static void in_##m(const struct conv_winograd_in *tile)   \
    {                                                                \
        const double points[] = CONV_POINTS_##m;                     \
        tile_in(tile, points, (m) / 2);                              \
    }                                                                \
    TARGET static void out_##m(const struct conv_winograd_out *tile) \
    {                                                                \
        const double points[] = CONV_POINTS_##m;                     \
        tile_out(tile, points, (m) / 2);                             \
    }
DEFINE_TILE(2)
DEFINE_TILE(4)
DEFINE_TILE(6)

static void (*const winograd_in[])(const struct conv_winograd_in *) = {in_2, in_4, in_6};
static void (*const winograd_out[])(const struct conv_winograd_out *) = {out_2, out_4, out_6};
