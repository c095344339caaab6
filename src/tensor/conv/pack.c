/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pack: weights in the order in which tiles read them,
 *
 *     direct, im2col   [column][in block][tap][in channel][out channel]
 *     winograd         [column][position][in channel][out channel]      U = G w G^T, in double
 *     depthwise        [block][tap][channel]
 *
 * then the bias. Weights that do not exist (tails, other groups) are zeros.
 */
#include "tensor/conv/conv.h"
#include "tensor/conv/points.h"

#include <errno.h>
#include <math.h>
#include <string.h>

struct source {
    const struct quire_conv_plan *plan;
    const struct quire_layout *layout;
    const float *weights;
};

/* Of output channel `out` and the channel `in` of all input channels. */
static float weight(const struct source *source, int64_t out, int64_t in, int64_t y, int64_t x)
{
    const struct quire_conv_shape *shape = &source->plan->shape;
    if (out >= shape->out_channels || in >= shape->in_channels)
        return 0;
    int64_t n_in = shape->in_channels / shape->groups, n_out = shape->out_channels / shape->groups;
    if (in / n_in != out / n_out)
        return 0;
    int64_t index[] = {out, in % n_in, y, x};
    return source->weights[quire_layout_place(source->layout, index)];
}

static void pack_depthwise(const struct source *source, float *packed)
{
    const struct quire_conv_plan *plan = source->plan;
    const int64_t width = plan->shape.kernel_width, block = plan->kernels->block;
    for (int64_t b = 0; b < plan->n_columns; b++)
        for (int64_t t = 0; t < conv_taps(&plan->shape); t++)
            for (int64_t c = b * block; c < (b + 1) * block; c++)
                *packed++ = weight(source, c, c, t / width, t % width);
}

static void pack_elements(const struct source *source, const struct conv_column *column,
                          float *packed)
{
    const struct quire_conv_plan *plan = source->plan;
    const int64_t width = plan->shape.kernel_width, block = plan->kernels->block;
    const int64_t in_block = plan->in_block;
    for (int64_t b = 0; b < column->n_in_blocks; b++) {
        bool is_last = b + 1 == column->n_in_blocks && plan->algorithm != QUIRE_CONV_IM2COL;
        int64_t n_channels = is_last ? column->last_channels : in_block;
        for (int64_t t = 0; t < conv_taps(&plan->shape); t++)
            for (int64_t i = 0; i < n_channels; i++)
                for (int64_t o = 0; o < column->n_blocks * block; o++)
                    *packed++ = weight(source, column->first_block * block + o,
                                       (column->first_in_block + b) * in_block + i, t / width,
                                       t % width);
    }
}

/*
 * Input channels from `first` on, `n` in a block, as a conversion. False: the layout's blocks
 * don't allow to take a column and these out of it.
 */
static bool pack_blocks(const struct source *source, const struct conv_column *column,
                        int64_t first, int64_t n_in, int64_t n, float *packed)
{
    const struct quire_conv_plan *plan = source->plan;
    const int64_t n_out = column->n_blocks * plan->kernels->block;
    const int64_t out = column->first_block * plan->kernels->block;
    const int64_t left = plan->shape.out_channels - out, n_taps = conv_taps(&plan->shape);
    struct quire_layout from = *source->layout,
                        to = {
                            .type = QUIRE_LAYOUT_F32,
                            .n_dims = 4,
                            .n_blocks = 2,
                            .blocks = {{1, (uint32_t)n}, {0, (uint32_t)n_out}},
                        };
    if (from.n_blocks > 0)
        return false;
    from.offset = quire_layout_place(&from, (int64_t[]){out, first, 0, 0});
    from.dims[0] = left < n_out ? left : n_out;
    from.dims[1] = n_in;
    for (unsigned d = 0; d < 4; d++)
        to.dims[d] = from.dims[d];
    to.strides[3] = n * n_out;
    to.strides[2] = plan->shape.kernel_width * to.strides[3];
    to.strides[1] = n_taps * to.strides[3];
    to.strides[0] = conv_ceil(n_in, n) * to.strides[1];
    struct quire_layout_conversion conversion;
    return quire_layout_conversion_init(&conversion, &from, &to, NULL) == 0 &&
           quire_layout_convert(&conversion, source->weights, quire_layout_bytes(&from), packed,
                                quire_layout_bytes(&to)) == 0;
}

/* Whole blocks, and the last, which may have fewer channels. */
static void pack_direct(const struct source *source, const struct conv_column *column,
                        float *packed)
{
    const struct quire_conv_plan *plan = source->plan;
    const int64_t block = plan->in_block, n_out = column->n_blocks * plan->kernels->block;
    const int64_t whole = plan->shape.in_channels / block * block;
    const int64_t rest = plan->shape.in_channels - whole;
    const int64_t last = plan->algorithm == QUIRE_CONV_IM2COL ? block : rest;
    bool is_done = plan->shape.groups == 1;
    if (is_done && whole > 0)
        is_done = pack_blocks(source, column, 0, whole, block, packed);
    if (is_done && rest > 0)
        is_done = pack_blocks(source, column, whole, rest, last,
                              packed + whole * n_out * conv_taps(&plan->shape));
    if (!is_done)
        pack_elements(source, column, packed);
}

/* G, (m + 2) x 3: the powers of each point over the product of its distances from the others. */
static void make_g(int64_t m, double g[CONV_MOST_TILE][3])
{
    static const double pairs[][CONV_MOST_PAIRS] = {CONV_POINTS_2, CONV_POINTS_4, CONV_POINTS_6};
    double points[CONV_MOST_TILE] = {0};
    for (int64_t j = 0; j < m; j++)
        points[1 + j] = (j % 2 == 0 ? 1 : -1) * pairs[m / 2 - 1][j / 2];
    for (int64_t j = 0; j <= m; j++) {
        double product = 1;
        for (int64_t k = 0; k <= m; k++)
            product *= k == j ? 1 : points[j] - points[k];
        for (int64_t k = 0; k < 3; k++)
            g[j][k] = (k == 0 ? 1 : k == 1 ? points[j] : points[j] * points[j]) / product;
    }
    g[m + 1][0] = g[m + 1][1] = 0;
    g[m + 1][2] = 1;
}

/* The weights of one pair of channels, to each position; positions are `stride` apart. */
static void transform(const struct source *source, int64_t out, int64_t in,
                      double g[CONV_MOST_TILE][3], int64_t n, float *packed, int64_t stride)
{
    double half[CONV_MOST_TILE][3];
    for (int64_t x = 0; x < 3; x++)
        for (int64_t j = 0; j < n; j++) {
            half[j][x] = 0;
            for (int64_t y = 0; y < 3; y++)
                half[j][x] += g[j][y] * (double)weight(source, out, in, y, x);
        }
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < n; i++)
            packed[(j * n + i) * stride] = (float)(half[j][0] * g[i][0] + half[j][1] * g[i][1] +
                                                   half[j][2] * g[i][2]);
}

static void pack_winograd(const struct source *source, const struct conv_column *column, int64_t m,
                          float *packed)
{
    const int64_t block = source->plan->kernels->block, n_out = column->n_blocks * block;
    const int64_t n_in = (column->n_in_blocks - 1) * block + column->last_channels;
    double g[CONV_MOST_TILE][3];
    make_g(m, g);
    for (int64_t i = 0; i < n_in; i++)
        for (int64_t o = 0; o < n_out; o++)
            transform(source, column->first_block * block + o, column->first_in_block * block + i,
                      g, m + 2, packed + i * n_out + o, n_in * n_out);
}

static bool fits(const struct quire_conv_plan *plan, const struct quire_layout *layout)
{
    const struct quire_conv_shape *shape = &plan->shape;
    return quire_layout_check(layout) == 0 && layout->type == QUIRE_LAYOUT_F32 &&
           layout->n_dims == 4 && layout->dims[0] == shape->out_channels &&
           layout->dims[1] == shape->in_channels / shape->groups &&
           layout->dims[2] == shape->kernel_height && layout->dims[3] == shape->kernel_width;
}

int quire_conv_pack(const struct quire_conv_plan *plan, const struct quire_layout *layout,
                    const float *weights, const float *bias, void *packed)
{
    if (!fits(plan, layout))
        return -EINVAL;
    const size_t bias_bytes = (size_t)plan->shape.out_channels * sizeof *bias;
    if (!conv_is_usable(weights, sizeof *weights) ||
        !conv_is_usable(packed, QUIRE_CONV_ALIGNMENT) ||
        conv_overlap(packed, plan->weights_bytes, weights, quire_layout_bytes(layout)) ||
        (bias != NULL && (!conv_is_usable(bias, sizeof *bias) ||
                          conv_overlap(packed, plan->weights_bytes, bias, bias_bytes))))
        return -EINVAL;
    const struct source source = {.plan = plan, .layout = layout, .weights = weights};
    const int64_t m = conv_winograd_size(plan->algorithm);
    float *out = packed;
    const size_t columns_bytes = (size_t)(plan->n_columns * plan->column_floats) * sizeof *out;
    memset((char *)packed + columns_bytes, 0, plan->weights_bytes - columns_bytes);
    if (plan->is_depthwise)
        pack_depthwise(&source, out);
    else
        for (int64_t i = 0; i < plan->n_columns; i++) {
            struct conv_column column = conv_column_at(plan, out, i);
            if (m != 0)
                pack_winograd(&source, &column, m, out + i * plan->column_floats);
            else
                pack_direct(&source, &column, out + i * plan->column_floats);
        }
    if (bias != NULL)
        memcpy(out + plan->n_columns * plan->column_floats, bias, bias_bytes);
    return 0;
}
