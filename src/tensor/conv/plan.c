/* SPDX-License-Identifier: Apache-2.0 */
/* plan: a shape, two layouts and an algorithm become blocks, columns, strips and sizes. */
#include "base/checked.h"
#include "tensor/conv/conv.h"

#include <errno.h>
#include <math.h>

/* What is to stay in a second-level cache of 1 MiB beside the weights of a column. */
#define STRIP_BYTES ((int64_t)256 << 10)
#define CHUNK_BYTES ((int64_t)512 << 10)
#define LEAST_CHUNK 14 /* tiles: those of a product */

int64_t conv_winograd_size(enum quire_conv_algorithm algorithm)
{
    return algorithm == QUIRE_CONV_WINOGRAD_2   ? 2
           : algorithm == QUIRE_CONV_WINOGRAD_4 ? 4
           : algorithm == QUIRE_CONV_WINOGRAD_6 ? 6
                                                : 0;
}

/* Pixels of a block lie together, rows of pixels too, blocks and images may be anywhere. */
bool conv_is_blocked(const struct quire_layout *layout, int64_t block)
{
    return layout->n_blocks == 1 && layout->blocks[0].dim == 1 && layout->blocks[0].size == block &&
           layout->strides[3] == block && layout->strides[2] == layout->dims[3] * block &&
           layout->strides[1] % block == 0 && layout->strides[0] % block == 0 &&
           layout->offset % (QUIRE_CONV_ALIGNMENT / (int64_t)sizeof(float)) == 0;
}

struct conv_column conv_column_at(const struct quire_conv_plan *plan, const float *weights,
                                  int64_t number)
{
    const struct quire_conv_shape *shape = &plan->shape;
    const int64_t block = plan->kernels->block, in_block = plan->in_block;
    const int64_t n_out = shape->out_channels / shape->groups;
    const int64_t n_in = shape->in_channels / shape->groups;
    struct conv_column column = {
        .weights = weights == NULL ? NULL : weights + number * plan->column_floats};
    int64_t end;
    if (n_out % block == 0 || shape->groups == 1) {
        int64_t group_blocks = conv_ceil(n_out, block);
        int64_t group_columns = conv_ceil(group_blocks, plan->column_blocks);
        int64_t in_group = number % group_columns * plan->column_blocks;
        column.first_block = number / group_columns * group_blocks + in_group;
        column.n_blocks = group_blocks - in_group < plan->column_blocks ? group_blocks - in_group
                                                                        : plan->column_blocks;
    } else { /* blocks of several groups */
        column.first_block = number;
        column.n_blocks = 1;
    }
    end = (column.first_block + column.n_blocks) * block;
    if (end > shape->out_channels)
        end = shape->out_channels;
    int64_t first_channel = column.first_block * block / n_out * n_in;
    int64_t end_channel = ((end - 1) / n_out + 1) * n_in;
    column.first_in_block = first_channel / in_block;
    column.n_in_blocks = conv_ceil(end_channel, in_block) - column.first_in_block;
    column.last_channels = end_channel -
                           (column.first_in_block + column.n_in_blocks - 1) * in_block;
    return column;
}

static int check(const struct quire_layout *layout, int64_t n, int64_t c, int64_t h, int64_t w)
{
    int error = quire_layout_check(layout);
    if (error != 0)
        return error;
    return layout->type == QUIRE_LAYOUT_F32 && layout->n_dims == 4 && layout->dims[0] == n &&
                   layout->dims[1] == c && layout->dims[2] == h && layout->dims[3] == w
               ? 0
               : -EINVAL;
}

static bool is_depthwise(const struct quire_conv_shape *shape)
{
    return shape->groups > 1 && shape->groups == shape->in_channels &&
           shape->groups == shape->out_channels;
}

static bool is_possible(const struct quire_conv_shape *shape, enum quire_conv_algorithm algorithm)
{
    if (algorithm == QUIRE_CONV_DIRECT)
        return true;
    if (is_depthwise(shape))
        return false;
    return algorithm == QUIRE_CONV_IM2COL ||
           (shape->kernel_height == 3 && shape->kernel_width == 3 && shape->stride_y == 1 &&
            shape->stride_x == 1 && shape->dilation_y == 1 && shape->dilation_x == 1);
}

/* The first layer of a network: of a block nearly all would be zeros, so that making it took longer
 * than what is computed from it. Each channel is a block of its own instead. */
static bool reads_plain(const struct quire_conv_plan *plan)
{
    const int64_t block = plan->kernels->block;
    return plan->algorithm == QUIRE_CONV_DIRECT && plan->shape.groups == 1 &&
           plan->shape.in_channels < block && !conv_is_blocked(&plan->source, block);
}

/* Blocks and columns, and what their weights take. */
static void lay_columns(struct quire_conv_plan *plan)
{
    const struct quire_conv_shape *shape = &plan->shape;
    const int64_t block = plan->kernels->block;
    const int64_t n_out = shape->out_channels / shape->groups;
    const int64_t n_in = shape->in_channels / shape->groups;
    const int64_t m = conv_winograd_size(plan->algorithm);
    const int64_t n_matrices = m != 0 ? (m + 2) * (m + 2) : conv_taps(shape);
    bool straddles = shape->groups > 1 && n_out % block != 0;
    plan->in_block = reads_plain(plan) ? 1 : block;
    plan->in_blocks = conv_ceil(shape->in_channels, plan->in_block);
    plan->out_blocks = conv_ceil(shape->out_channels, block);
    if (plan->is_depthwise) {
        plan->column_blocks = 1;
        plan->n_columns = plan->out_blocks;
        plan->column_floats = n_matrices * block;
        return;
    }
    int64_t group_blocks = conv_ceil(n_out, block);
    plan->column_blocks = group_blocks > 1 && !straddles && (*plan->kernels->most_pixels)[2] > 0
                              ? 2
                              : 1;
    plan->n_columns = straddles ? plan->out_blocks
                                : shape->groups * conv_ceil(group_blocks, plan->column_blocks);
    /* Groups that a column meets, then blocks that these may touch. */
    int64_t n_groups = straddles ? (block - 1) / n_out + 2 : 1;
    int64_t in_blocks = conv_ceil(n_groups * n_in, plan->in_block) + (n_in % block == 0 ? 0 : 1);
    if (in_blocks > plan->in_blocks)
        in_blocks = plan->in_blocks;
    plan->column_floats = n_matrices * in_blocks * plan->in_block * plan->column_blocks * block;
}

/* How packed rows, or the source's own, are laid out. */
static void lay_rows(struct quire_conv_plan *plan)
{
    const struct quire_conv_shape *shape = &plan->shape;
    const int64_t block = plan->kernels->block, m = conv_winograd_size(plan->algorithm);
    const bool is_blocked = conv_is_blocked(&plan->source, block);
    const bool has_pads = shape->pad_top > 0 || shape->pad_bottom > 0 || shape->pad_left > 0 ||
                          shape->pad_right > 0;
    plan->n_phases = 1;
    plan->row_step = 1;
    plan->skips = false;
    plan->unpacks = !conv_is_blocked(&plan->destination, block);
    if (plan->is_depthwise) {
        plan->packs = !is_blocked;
    } else {
        plan->skips = has_pads && plan->algorithm == QUIRE_CONV_DIRECT && conv_taps_may_skip(plan);
        plan->packs = !is_blocked || (has_pads && !plan->skips) || shape->stride_x > 1 || m != 0 ||
                      plan->algorithm == QUIRE_CONV_IM2COL;
        if (plan->packs) {
            plan->n_phases = plan->in_block == 1 ? 1 : shape->stride_x;
            plan->row_step = shape->kernel_height == 1 ? shape->stride_y : 1;
        }
    }
    plan->pixel_floats = plan->in_block == 1 ? shape->stride_x : block;
    plan->tiles_x = m == 0 ? 0 : conv_ceil(plan->out_width, m);
    int64_t columns = m != 0 ? plan->tiles_x * m + 2
                             : (plan->out_width - 1) * shape->stride_x +
                                   (shape->kernel_width - 1) * shape->dilation_x + 1;
    plan->packed_columns = plan->packs ? conv_ceil(columns, plan->n_phases) : shape->in_width;
    plan->pitch_floats = plan->packed_columns * plan->in_block;
    if (!plan->packs || shape->kernel_width > 1 || plan->is_depthwise) /* else one phase is read */
        plan->pitch_floats *= plan->n_phases;
    plan->in_row_floats = plan->pitch_floats * (shape->stride_y / plan->row_step);
    plan->is_flat = conv_taps(shape) == 1 && !plan->is_depthwise && !plan->skips &&
                    plan->in_row_floats == plan->out_width * plan->pixel_floats;
}

static int64_t strip_floats(const struct quire_conv_plan *plan, int64_t n_rows)
{
    return plan->in_blocks * conv_strip_in_rows(plan, n_rows) * plan->pitch_floats;
}

/* Of the results, where they are converted afterwards. */
static int64_t scratch_floats(const struct quire_conv_plan *plan, int64_t n_rows)
{
    return plan->unpacks ? plan->out_blocks * plan->kernels->block * n_rows * plan->out_width : 0;
}

static bool fits_cache(const struct quire_conv_plan *plan, int64_t n_rows)
{
    const int64_t most = STRIP_BYTES / (int64_t)sizeof(float);
    return strip_floats(plan, n_rows) <= most && scratch_floats(plan, n_rows) <= most;
}

/* As many rows as the cache holds, not fewer than make a tile; then less, for more parts. */
static void cut_strips(struct quire_conv_plan *plan)
{
    const int64_t m = conv_winograd_size(plan->algorithm), step = m != 0 ? m : 2;
    const int64_t n_images = plan->shape.n_images, n_parts = plan->n_parts;
    int64_t rows = plan->out_height;
    if (!plan->is_depthwise || plan->packs)
        while (rows > step && !fits_cache(plan, rows))
            rows = rows / 2 > step ? rows / 2 : step;
    if (n_images * conv_ceil(plan->out_height, rows) < n_parts)
        rows = conv_ceil(plan->out_height, conv_ceil(n_parts, n_images));
    rows = conv_ceil(plan->out_height, conv_ceil(plan->out_height, rows));
    plan->strip_rows = conv_ceil(rows, step) * step;
    if (plan->strip_rows > plan->out_height)
        plan->strip_rows = plan->out_height;
    plan->n_strips = conv_ceil(plan->out_height, plan->strip_rows);
    plan->n_splits = conv_ceil(n_parts, n_images * plan->n_strips);
    if (plan->n_splits > plan->n_columns)
        plan->n_splits = plan->n_columns;
}

static void lay_winograd(struct quire_conv_plan *plan, int64_t m)
{
    const int64_t block = plan->kernels->block, n_positions = (m + 2) * (m + 2);
    const int64_t tile_bytes = n_positions * plan->in_blocks * block * (int64_t)sizeof(float);
    const int64_t n_tiles = conv_ceil(plan->strip_rows, m) * plan->tiles_x;
    const int64_t product_bytes = n_positions * plan->column_blocks * block *
                                  (int64_t)sizeof(float);
    int64_t most = CHUNK_BYTES / tile_bytes;
    if (most > CHUNK_BYTES / 2 / product_bytes)
        most = CHUNK_BYTES / 2 / product_bytes;
    most = most / LEAST_CHUNK * LEAST_CHUNK;
    if (most < LEAST_CHUNK)
        most = LEAST_CHUNK;
    plan->chunk_tiles = conv_ceil(n_tiles, conv_ceil(n_tiles, most));
    /* One more pixel, so that positions do not meet in the same sets of a cache. */
    plan->position_floats = (plan->chunk_tiles * plan->in_blocks + 1) * block;
    plan->product_floats = (plan->chunk_tiles * plan->column_blocks + 1) * block;
    plan->gather_bytes = (size_t)(n_positions * (plan->position_floats + plan->product_floats)) *
                         sizeof(float);
}

static void measure(struct quire_conv_plan *plan)
{
    const int64_t m = conv_winograd_size(plan->algorithm), block = plan->kernels->block;
    const int64_t n_pixels = plan->strip_rows * plan->out_width;
    plan->taps_bytes = plan->is_depthwise || m != 0
                           ? 0
                           : round_up((size_t)conv_taps(&plan->shape) * 2 * sizeof(struct conv_tap),
                                      QUIRE_CONV_ALIGNMENT);
    plan->strip_bytes = 0;
    if (plan->packs) {
        int64_t rows = conv_strip_in_rows(plan, plan->strip_rows);
        plan->in_block_floats = rows * plan->pitch_floats;
        plan->strip_bytes = (size_t)strip_floats(plan, plan->strip_rows) * sizeof(float);
    } else {
        plan->in_block_floats = plan->source.strides[1];
    }
    plan->gather_bytes = 0;
    if (m != 0)
        lay_winograd(plan, m);
    else if (plan->algorithm == QUIRE_CONV_IM2COL)
        plan->gather_bytes = (size_t)(plan->in_blocks * conv_taps(&plan->shape) * n_pixels *
                                      block) *
                             sizeof(float);
    plan->out_bytes = (size_t)scratch_floats(plan, plan->strip_rows) * sizeof(float);
    plan->strip_bytes = round_up(plan->strip_bytes, QUIRE_CONV_ALIGNMENT);
    plan->gather_bytes = round_up(plan->gather_bytes, QUIRE_CONV_ALIGNMENT);
    plan->out_bytes = round_up(plan->out_bytes, QUIRE_CONV_ALIGNMENT);
    plan->part_bytes = plan->taps_bytes + plan->strip_bytes + plan->gather_bytes +
                       2 * plan->out_bytes;
    plan->workspace_bytes = plan->part_bytes * plan->n_parts;
    plan->weights_bytes = round_up(
        (size_t)(plan->column_floats * plan->n_columns + plan->out_blocks * block) * sizeof(float),
        QUIRE_CONV_ALIGNMENT);
}

static double count_multiplications(const struct quire_conv_plan *plan)
{
    const struct quire_conv_shape *shape = &plan->shape;
    const int64_t m = conv_winograd_size(plan->algorithm);
    double products = m == 0 ? conv_taps_count(plan)
                             : (double)(conv_ceil(plan->out_height, m) * plan->tiles_x) *
                                   (double)((m + 2) * (m + 2));
    return products * (double)shape->n_images * (double)shape->out_channels *
           (double)(shape->in_channels / shape->groups);
}

/* All that depends on the algorithm. */
static void lay_out(struct quire_conv_plan *plan, enum quire_conv_algorithm algorithm)
{
    plan->algorithm = algorithm;
    plan->is_depthwise = is_depthwise(&plan->shape);
    plan->error = conv_error(&plan->shape, algorithm);
    lay_columns(plan);
    lay_rows(plan);
    cut_strips(plan);
    measure(plan);
    plan->multiplications = count_multiplications(plan);
}

static int choose(struct quire_conv_plan *plan, double max_error)
{
    enum quire_conv_algorithm best = QUIRE_CONV_AUTO;
    double least = INFINITY;
    for (enum quire_conv_algorithm a = QUIRE_CONV_DIRECT; a < QUIRE_CONV_N_ALGORITHMS; a++) {
        if (!is_possible(&plan->shape, a) || conv_error(&plan->shape, a) > max_error)
            continue;
        lay_out(plan, a);
        double cycles = conv_cycles(plan);
        if (cycles < least) {
            least = cycles;
            best = a;
        }
    }
    if (best == QUIRE_CONV_AUTO)
        return -ERANGE;
    lay_out(plan, best);
    return 0;
}

static int check_options(const struct quire_conv_options *options)
{
    if ((unsigned)options->algorithm >= QUIRE_CONV_N_ALGORITHMS ||
        (unsigned)options->activation >= QUIRE_CONV_N_ACTIVATIONS ||
        (unsigned)options->isa >= QUIRE_LAYOUT_N_ISAS || options->n_parts > QUIRE_CONV_MAX_PARTS ||
        !(options->max_error >= 0))
        return -EINVAL;
    return quire_layout_isa_is_here(options->isa) ? 0 : -ENOTSUP;
}

/* Blocks are the destination's, else the source's, else what the processor likes best. */
static int64_t block_of(const struct quire_layout *source, const struct quire_layout *destination,
                        enum quire_layout_isa isa)
{
    static const int64_t blocks[] = {CONV_MOST_BLOCK, 8};
    for (unsigned i = 0; i < 2; i++)
        if (conv_is_blocked(destination, blocks[i]))
            return blocks[i];
    for (unsigned i = 0; i < 2; i++)
        if (conv_is_blocked(source, blocks[i]))
            return blocks[i];
    return quire_conv_block(isa);
}

int quire_conv_plan_init(struct quire_conv_plan *plan, const struct quire_conv_shape *shape,
                         const struct quire_layout *source, const struct quire_layout *destination,
                         const struct quire_conv_options *given)
{
    static const struct quire_conv_options none;
    const struct quire_conv_options *options = given == NULL ? &none : given;
    int64_t height, width;
    int error = quire_conv_out_size(shape, &height, &width);
    if (error == 0)
        error = check(source, shape->n_images, shape->in_channels, shape->in_height,
                      shape->in_width);
    if (error == 0)
        error = check(destination, shape->n_images, shape->out_channels, height, width);
    if (error == 0)
        error = check_options(options);
    if (error == 0 && !quire_layout_is_injective(destination))
        error = -EINVAL;
    if (error == 0 && options->algorithm != QUIRE_CONV_AUTO &&
        !is_possible(shape, options->algorithm))
        error = -ENOTSUP;
    if (error != 0)
        return error;
    *plan = (struct quire_conv_plan){
        .shape = *shape,
        .source = *source,
        .destination = *destination,
        .source_bytes = quire_layout_bytes(source),
        .destination_bytes = quire_layout_bytes(destination),
        .out_height = height,
        .out_width = width,
        .isa = options->isa,
        .n_parts = options->n_parts == 0 ? 1 : options->n_parts,
        .low = options->activation == QUIRE_CONV_LINEAR ? -INFINITY : 0,
        .high = options->activation == QUIRE_CONV_RELU6 ? 6 : INFINITY,
        .clamps = options->activation != QUIRE_CONV_LINEAR,
    };
    plan->kernels = conv_kernels_find(&plan->isa, block_of(source, destination, options->isa));
    if (options->algorithm == QUIRE_CONV_AUTO)
        return choose(plan, options->max_error > 0 ? options->max_error : QUIRE_CONV_DEFAULT_ERROR);
    lay_out(plan, options->algorithm);
    return 0;
}
