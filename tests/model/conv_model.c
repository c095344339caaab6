/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolutions of random shapes against sums in double precision: each algorithm, each instruction
 * set that is here, layouts of all kinds, parts, tails. The difference stays below what the plan
 * says, for random data, for data of one sign, where errors add up, and for data of very different
 * sizes. What lies around the buffers stays as it was, and running twice gives the same bits.
 */
#include "model_random.h"

#include <quire/conv.h>

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define N_ROUNDS 300
#define GUARD 64 /* bytes around a buffer */

struct tensor {
    struct quire_layout layout;
    size_t n_bytes;
    unsigned char *memory;
    float *data;
    float *dense; /* the same, all four dimensions one after the other */
};

struct trial {
    struct quire_conv_shape shape;
    struct quire_conv_options options;
    struct quire_conv_plan plan;
    struct tensor source, weights, destination, sum, bias;
    unsigned char *packed, *workspace;
    bool has_sum, has_bias, is_in_place;
    double worst; /* error, as a part of what is allowed */
};

static double worst_of[QUIRE_CONV_N_ALGORITHMS];

static void *guarded(size_t n_bytes, unsigned char **memory)
{
    size_t room = (n_bytes + 63) / 64 * 64 + 2 * GUARD;
    *memory = aligned_alloc(64, room);
    REQUIRE(*memory != NULL);
    memset(*memory, 0xa5, room);
    return *memory + GUARD;
}

static void check_guards(const unsigned char *memory, size_t n_bytes)
{
    for (size_t i = 0; i < GUARD; i++)
        REQUIRE(memory[i] == 0xa5 && memory[GUARD + n_bytes + i] == 0xa5);
}

static float value(unsigned kind)
{
    float v = (float)draw(1 << 20) / (float)(1 << 20);
    if (kind == 0)
        return 2 * v - 1;
    if (kind == 1)
        return v;
    return (2 * v - 1) * exp2f((float)draw(20) - 10);
}

static void make(struct tensor *tensor, const char *name, const int64_t *dims, unsigned kind)
{
    REQUIRE(quire_layout_init(&tensor->layout, name, QUIRE_LAYOUT_F32, 4, dims) == 0);
    tensor->n_bytes = quire_layout_bytes(&tensor->layout);
    tensor->data = guarded(tensor->n_bytes, &tensor->memory);
    for (size_t i = 0; i < tensor->n_bytes / sizeof(float); i++)
        tensor->data[i] = NAN; /* tails, too */
    float *dense = malloc((size_t)(dims[0] * dims[1] * dims[2] * dims[3]) * sizeof *dense);
    REQUIRE(dense != NULL);
    tensor->dense = dense;
    int64_t at[4];
    for (at[0] = 0; at[0] < dims[0]; at[0]++)
        for (at[1] = 0; at[1] < dims[1]; at[1]++)
            for (at[2] = 0; at[2] < dims[2]; at[2]++)
                for (at[3] = 0; at[3] < dims[3]; at[3]++)
                    tensor->data[quire_layout_place(&tensor->layout, at)] = *dense++ = value(kind);
}

static void drop(struct tensor *tensor)
{
    free(tensor->memory);
    free(tensor->dense);
}

/* As it was made. */
static double get(const struct tensor *tensor, int64_t a, int64_t b, int64_t c, int64_t d)
{
    const int64_t *dims = tensor->layout.dims;
    return (double)tensor->dense[((a * dims[1] + b) * dims[2] + c) * dims[3] + d];
}

static bool is_depthwise(const struct quire_conv_shape *shape)
{
    return shape->groups > 1 && shape->groups == shape->in_channels &&
           shape->groups == shape->out_channels;
}

static void draw_shape(struct quire_conv_shape *s)
{
    int64_t kernel = draw(3) > 0 ? 3 : 1 + (int64_t)draw(5);
    quire_conv_shape_init(s, 1 + (int64_t)draw(2), 1 + (int64_t)draw(40), 1 + (int64_t)draw(20),
                          1 + (int64_t)draw(34), 1 + (int64_t)draw(70), kernel);
    if (draw(4) == 0)
        s->kernel_width = 1 + (int64_t)draw(5);
    if (draw(3) == 0) {
        s->pad_top = (int64_t)draw(4);
        s->pad_bottom = (int64_t)draw(4);
        s->pad_left = (int64_t)draw(4);
        s->pad_right = (int64_t)draw(4);
    }
    if (draw(3) == 0) {
        s->stride_y = 1 + (int64_t)draw(3);
        s->stride_x = 1 + (int64_t)draw(3);
    }
    if (draw(4) == 0) {
        s->dilation_y = 1 + (int64_t)draw(3);
        s->dilation_x = 1 + (int64_t)draw(3);
    }
    switch (draw(4)) {
    case 0:
        s->groups = s->out_channels = s->in_channels;
        break;
    case 1:
        s->groups = 1 + (int64_t)draw(4);
        s->in_channels = s->groups * (1 + (int64_t)draw(20));
        s->out_channels = s->groups * (1 + (int64_t)draw(40));
        break;
    default:
        break;
    }
}

static const char *draw_layout(void)
{
    static const char *const names[] = {"nchw16c", "nchw8c", "nchw16c", "nchw8c",
                                        "nchw",    "nhwc",   "nchw4c"};
    return names[draw(7)];
}

static enum quire_layout_isa draw_isa(void)
{
    enum quire_layout_isa isa;
    do
        isa = (enum quire_layout_isa)draw(QUIRE_LAYOUT_N_ISAS);
    while (!quire_layout_isa_is_here(isa));
    return isa;
}

/* The sum of squares of the inputs of a window or tile of h x w. */
static double squares(const struct trial *trial, int64_t n, int64_t group, int64_t top,
                      int64_t left, int64_t h, int64_t w, int64_t dy, int64_t dx)
{
    const struct quire_conv_shape *s = &trial->shape;
    int64_t n_in = s->in_channels / s->groups;
    double sum = 0;
    for (int64_t i = 0; i < n_in; i++)
        for (int64_t y = top; y < top + h * dy; y += dy)
            for (int64_t x = left; x < left + w * dx; x += dx)
                if (y >= 0 && y < s->in_height && x >= 0 && x < s->in_width) {
                    double v = get(&trial->source, n, group * n_in + i, y, x);
                    sum += v * v;
                }
    return sum;
}

static int64_t winograd_size(const struct trial *trial)
{
    return trial->plan.algorithm < QUIRE_CONV_WINOGRAD_2
               ? 0
               : 2 * (int64_t)(trial->plan.algorithm - QUIRE_CONV_WINOGRAD_2 + 1);
}

static double allowed(const struct trial *trial, int64_t n, int64_t o, int64_t y, int64_t x,
                      double weights)
{
    const struct quire_conv_shape *s = &trial->shape;
    int64_t m = winograd_size(trial), group = o / (s->out_channels / s->groups);
    double inputs;
    if (m == 0)
        inputs = squares(trial, n, group, y * s->stride_y - s->pad_top,
                         x * s->stride_x - s->pad_left, s->kernel_height, s->kernel_width,
                         s->dilation_y, s->dilation_x);
    else
        inputs = squares(trial, n, group, y / m * m - s->pad_top, x / m * m - s->pad_left, m + 2,
                         m + 2, 1, 1);
    return trial->plan.error * sqrt(inputs) * sqrt(weights);
}

static double exact(const struct trial *trial, int64_t n, int64_t o, int64_t y, int64_t x,
                    double *weights)
{
    const struct quire_conv_shape *s = &trial->shape;
    int64_t n_in = s->in_channels / s->groups, group = o / (s->out_channels / s->groups);
    double result = 0;
    *weights = 0;
    for (int64_t i = 0; i < n_in; i++)
        for (int64_t ky = 0; ky < s->kernel_height; ky++)
            for (int64_t kx = 0; kx < s->kernel_width; kx++) {
                int64_t iy = y * s->stride_y - s->pad_top + ky * s->dilation_y;
                int64_t ix = x * s->stride_x - s->pad_left + kx * s->dilation_x;
                double w = get(&trial->weights, o, i, ky, kx);
                *weights += w * w;
                if (iy >= 0 && iy < s->in_height && ix >= 0 && ix < s->in_width)
                    result += w * get(&trial->source, n, group * n_in + i, iy, ix);
            }
    return result;
}

static void tell(const struct trial *trial)
{
    const struct quire_conv_shape *s = &trial->shape;
    char from[QUIRE_LAYOUT_NAME_BYTES], to[QUIRE_LAYOUT_NAME_BYTES];
    REQUIRE(quire_layout_name(&trial->source.layout, false, from) == 0);
    REQUIRE(quire_layout_name(&trial->destination.layout, false, to) == 0);
    fprintf(stderr,
            "%s on %s, %s to %s, %u parts: %lldx%lldx%lldx%lld to %lldx%lldx%lld, kernel "
            "%lldx%lld, stride "
            "%lld %lld, dilation %lld %lld, pads %lld %lld %lld %lld, %lld groups\n",
            quire_conv_algorithm_name(trial->plan.algorithm),
            quire_layout_isa_name(trial->plan.isa), from, to, trial->plan.n_parts,
            (long long)s->n_images, (long long)s->in_channels, (long long)s->in_height,
            (long long)s->in_width, (long long)s->out_channels, (long long)trial->plan.out_height,
            (long long)trial->plan.out_width, (long long)s->kernel_height,
            (long long)s->kernel_width, (long long)s->stride_y, (long long)s->stride_x,
            (long long)s->dilation_y, (long long)s->dilation_x, (long long)s->pad_top,
            (long long)s->pad_bottom, (long long)s->pad_left, (long long)s->pad_right,
            (long long)s->groups);
}

static void check_pixel(struct trial *trial, const float *before, int64_t n, int64_t o, int64_t y,
                        int64_t x)
{
    double weights, result = exact(trial, n, o, y, x, &weights), plain = result, limit;
    int64_t at[] = {n, o, y, x};
    limit = allowed(trial, n, o, y, x, weights);
    if (trial->has_bias)
        result += (double)trial->bias.data[o];
    if (trial->has_sum) {
        float sum = before[quire_layout_place(&trial->destination.layout, at)];
        limit += 0x1p-23 * fabs((double)sum);
        result += (double)sum;
    }
    limit += 0x1p-22 * (fabs(result) + fabs(plain)) + 1e-30;
    if (trial->options.activation != QUIRE_CONV_LINEAR && result < 0)
        result = 0;
    if (trial->options.activation == QUIRE_CONV_RELU6 && result > 6)
        result = 6;
    double found = (double)
                       trial->destination.data[quire_layout_place(&trial->destination.layout, at)];
    double error = fabs(found - result) / limit;
    if (!(error <= 1)) {
        tell(trial);
        fprintf(stderr, "%g where %g is exact, %g allowed, at %lld %lld %lld %lld\n", found, result,
                limit, (long long)n, (long long)o, (long long)y, (long long)x);
    }
    REQUIRE(error <= 1);
    if (error > trial->worst)
        trial->worst = error;
}

static void check_result(struct trial *trial, const float *before)
{
    for (int64_t n = 0; n < trial->shape.n_images; n++)
        for (int64_t o = 0; o < trial->shape.out_channels; o++)
            for (int64_t y = 0; y < trial->plan.out_height; y++)
                for (int64_t x = 0; x < trial->plan.out_width; x++)
                    check_pixel(trial, before, n, o, y, x);
    const struct quire_layout *layout = &trial->destination.layout;
    int64_t block = quire_layout_block_size(layout, 1);
    for (int64_t c = layout->dims[1]; c % block != 0; c++) {
        int64_t at[] = {0, c, trial->plan.out_height - 1, 0};
        REQUIRE(trial->destination.data[quire_layout_place(layout, at)] == 0);
    }
}

static void run(struct trial *trial)
{
    const float *sum = !trial->has_sum      ? NULL
                       : trial->is_in_place ? trial->destination.data
                                            : trial->sum.data;
    /* Backwards: parts do not depend on one another. */
    for (uint32_t part = trial->plan.n_parts; part-- > 0;)
        REQUIRE(quire_conv_run_part(&trial->plan, trial->source.data, trial->packed + GUARD, sum,
                                    trial->destination.data, trial->workspace + GUARD, part) == 0);
}

static void check(struct trial *trial)
{
    const size_t n_bytes = trial->destination.n_bytes;
    const struct quire_conv_plan *plan = &trial->plan;
    void *first = malloc(n_bytes), *before = malloc(n_bytes);
    REQUIRE(first != NULL && before != NULL);
    memcpy(before, trial->is_in_place ? trial->destination.data : trial->sum.data, n_bytes);
    guarded(plan->weights_bytes, &trial->packed);
    guarded(plan->workspace_bytes, &trial->workspace);
    REQUIRE(quire_conv_pack(plan, &trial->weights.layout, trial->weights.data,
                            trial->has_bias ? trial->bias.data : NULL, trial->packed + GUARD) == 0);
    run(trial);
    check_result(trial, before);
    memcpy(first, trial->destination.data, n_bytes);
    memcpy(trial->is_in_place ? trial->destination.data : trial->sum.data, before, n_bytes);
    memset(trial->workspace + GUARD, 0xff, plan->workspace_bytes);
    run(trial);
    REQUIRE(memcmp(first, trial->destination.data, n_bytes) == 0);
    check_guards(trial->packed, plan->weights_bytes);
    check_guards(trial->workspace, plan->workspace_bytes);
    check_guards(trial->destination.memory, n_bytes);
    free(first);
    free(before);
    free(trial->packed);
    free(trial->workspace);
}

static void draw_trial(struct trial *trial)
{
    struct quire_conv_shape *s = &trial->shape;
    int64_t h, w;
    do
        draw_shape(s);
    while (quire_conv_out_size(s, &h, &w) != 0);
    trial->options = (struct quire_conv_options){
        .algorithm = (enum quire_conv_algorithm)draw(QUIRE_CONV_N_ALGORITHMS),
        .activation = (enum quire_conv_activation)draw(QUIRE_CONV_N_ACTIVATIONS),
        .isa = draw_isa(),
        .n_parts = (uint32_t)draw(5)};
    trial->has_sum = draw(2) == 0;
    trial->has_bias = draw(2) == 0;
    trial->is_in_place = draw(2) == 0;
    trial->worst = 0;
    const unsigned kind = (unsigned)draw(3);
    const char *out_layout = draw_layout();
    make(&trial->source, draw_layout(),
         (int64_t[]){s->n_images, s->in_channels, s->in_height, s->in_width}, kind);
    make(&trial->destination, out_layout, (int64_t[]){s->n_images, s->out_channels, h, w}, kind);
    make(&trial->sum, out_layout, (int64_t[]){s->n_images, s->out_channels, h, w}, kind);
    make(
        &trial->weights, draw(2) == 0 ? "oihw" : "hwio",
        (int64_t[]){s->out_channels, s->in_channels / s->groups, s->kernel_height, s->kernel_width},
        kind == 2 ? 0 : kind);
    make(&trial->bias, "nchw", (int64_t[]){1, s->out_channels, 1, 1}, kind);
    /* Tails of what is added, and of depthwise convolution's input, are zeros. */
    for (size_t i = 0; i < trial->sum.n_bytes / sizeof(float); i++) {
        if (isnan(trial->sum.data[i]))
            trial->sum.data[i] = 0;
        if (isnan(trial->destination.data[i]))
            trial->destination.data[i] = 0;
    }
    for (size_t i = 0; is_depthwise(s) && i < trial->source.n_bytes / sizeof(float); i++)
        if (isnan(trial->source.data[i]))
            trial->source.data[i] = 0;
}

int main(void)
{
    unsigned n_rounds = draw_from_seed(N_ROUNDS), n_done = 0;
    for (round_number = 0; round_number < n_rounds; round_number++) {
        struct trial trial;
        draw_trial(&trial);
        int error = quire_conv_plan_init(&trial.plan, &trial.shape, &trial.source.layout,
                                         &trial.destination.layout, &trial.options);
        REQUIRE(error == 0 || trial.options.algorithm > QUIRE_CONV_DIRECT);
        if (error == 0) {
            n_done++;
            check(&trial);
            if (trial.worst > worst_of[trial.plan.algorithm])
                worst_of[trial.plan.algorithm] = trial.worst;
        }
        drop(&trial.source);
        drop(&trial.destination);
        drop(&trial.sum);
        drop(&trial.weights);
        drop(&trial.bias);
    }
    printf("%u convolutions; the largest error, as a part of the bound:", n_done);
    for (enum quire_conv_algorithm a = QUIRE_CONV_DIRECT; a < QUIRE_CONV_N_ALGORITHMS; a++)
        printf(" %s %.2f", quire_conv_algorithm_name(a), worst_of[a]);
    printf("\n");
    return 0;
}
