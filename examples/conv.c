/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block of a residual network runs in channel-blocked layout, in one arena that was planned
 * before: tensors and workspaces lie where quire_tensor_place() puts them.
 *
 *     cc -o conv conv.c $(pkg-config --cflags --libs quire) -lm && ./conv
 *
 *     x (nchw) --convert--> b --1x1, ReLU--> c --3x3, ReLU--> d --1x1, + b, ReLU--> e --convert-->
 * y step        0              1                2                  3                   4
 *
 * The 3x3 is Winograd's if the error asked for allows it. What comes out is compared with sums in
 * double precision.
 */
#include <math.h>
#include <quire/conv.h>
#include <quire/tensor.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_LAYERS 3
#define N_TENSORS 6 /* x b c d e y */
#define WIDE 256
#define NARROW 64
#define SIDE 28
#define MAX_ERROR 1e-4

struct layer {
    int64_t n_in, n_out, kernel;
    float *weights; /* o i h w */
    struct quire_conv_plan plan;
    void *packed;
};

static struct layer layers[N_LAYERS] = {{.n_in = WIDE, .n_out = NARROW, .kernel = 1},
                                        {.n_in = NARROW, .n_out = NARROW, .kernel = 3},
                                        {.n_in = NARROW, .n_out = WIDE, .kernel = 1}};
static struct quire_layout layouts[N_TENSORS];

static void check(int error, const char *what)
{
    if (error == 0)
        return;
    fprintf(stderr, "conv: %s: %s\n", what, strerror(-error));
    exit(1);
}

static void *take(size_t n_bytes)
{
    void *memory = aligned_alloc(QUIRE_CONV_ALIGNMENT, (n_bytes + QUIRE_CONV_ALIGNMENT) /
                                                           QUIRE_CONV_ALIGNMENT *
                                                           QUIRE_CONV_ALIGNMENT);
    check(memory == NULL ? -12 : 0, "memory");
    return memory;
}

static void fill(float *numbers, size_t n, double size)
{
    static uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525 + 1013904223;
        numbers[i] = (float)(size * ((double)state / 0x1p31 - 1));
    }
}

static void plan_layers(void)
{
    char blocked[16];
    snprintf(blocked, sizeof blocked, "nchw%dc", (int)quire_conv_block(QUIRE_LAYOUT_BEST));
    const int64_t channels[N_TENSORS] = {WIDE, WIDE, NARROW, NARROW, WIDE, WIDE};
    for (int i = 0; i < N_TENSORS; i++)
        check(quire_layout_init(&layouts[i], i == 0 || i == 5 ? "nchw" : blocked, QUIRE_LAYOUT_F32,
                                4, (int64_t[]){1, channels[i], SIDE, SIDE}),
              "a layout");
    for (int i = 0; i < N_LAYERS; i++) {
        struct layer *its = &layers[i];
        const struct quire_conv_options options = {.activation = QUIRE_CONV_RELU,
                                                   .max_error = MAX_ERROR};
        struct quire_conv_shape shape;
        struct quire_layout oihw;
        const int64_t dims[] = {its->n_out, its->n_in, its->kernel, its->kernel};
        quire_conv_shape_init(&shape, 1, its->n_in, SIDE, SIDE, its->n_out, its->kernel);
        check(quire_conv_plan_init(&its->plan, &shape, &layouts[1 + i], &layouts[2 + i], &options),
              "a plan");
        check(quire_layout_init(&oihw, "oihw", QUIRE_LAYOUT_F32, 4, dims), "a layout");
        its->weights = take(quire_layout_bytes(&oihw));
        fill(its->weights, quire_layout_elements(&oihw),
             1 / sqrt((double)(its->n_in * dims[2] * dims[3])));
        its->packed = take(its->plan.weights_bytes);
        check(quire_conv_pack(&its->plan, &oihw, its->weights, NULL, its->packed), "weights");
        printf("%lld -> %lld, %lldx%lld: %s, error %.1e, workspace %zu KiB\n", (long long)its->n_in,
               (long long)its->n_out, (long long)its->kernel, (long long)its->kernel,
               quire_conv_algorithm_name(its->plan.algorithm), its->plan.error,
               its->plan.workspace_bytes / 1024);
    }
}

/* Each tensor lives from the step that makes it to the last that reads it; a workspace in one. */
static char *place(char *at[N_TENSORS + N_LAYERS])
{
    static const int64_t lives[N_TENSORS][2] = {{0, 1}, {0, 4}, {1, 3}, {2, 4}, {3, 5}, {4, 5}};
    struct quire_tensor_buffer buffers[N_TENSORS + N_LAYERS] = {0};
    struct quire_tensor_plan plan;
    uint64_t sum = 0;
    for (int i = 0; i < N_TENSORS + N_LAYERS; i++) {
        bool is_tensor = i < N_TENSORS;
        int layer = i - N_TENSORS;
        buffers[i] = (struct quire_tensor_buffer){.lower = is_tensor ? lives[i][0] : layer + 1,
                                                  .upper = is_tensor ? lives[i][1] : layer + 2,
                                                  .size = is_tensor
                                                              ? quire_layout_bytes(&layouts[i])
                                                              : layers[layer].plan.workspace_bytes,
                                                  .alignment = QUIRE_CONV_ALIGNMENT};
        sum += buffers[i].size;
    }
    const struct quire_tensor_problem problem = {buffers, N_TENSORS + N_LAYERS, NULL, 0};
    check(quire_tensor_place(&problem, &(struct quire_tensor_options){0}, &plan, NULL), "an arena");
    char *arena = take(plan.peak);
    for (int i = 0; i < N_TENSORS + N_LAYERS; i++)
        at[i] = arena + plan.offsets[i];
    printf("arena %llu KiB for %llu KiB of tensors and workspaces\n",
           (unsigned long long)plan.peak / 1024, (unsigned long long)sum / 1024);
    quire_tensor_plan_free(&plan);
    return arena;
}

static void convert(int from, int to, char *const *at)
{
    struct quire_layout_conversion conversion;
    check(quire_layout_conversion_init(&conversion, &layouts[from], &layouts[to], NULL), "layouts");
    check(quire_layout_convert(&conversion, at[from], quire_layout_bytes(&layouts[from]), at[to],
                               quire_layout_bytes(&layouts[to])),
          "a conversion");
}

static void run(char *const *at)
{
    convert(0, 1, at);
    for (int i = 0; i < N_LAYERS; i++)
        check(quire_conv_run(&layers[i].plan, (float *)at[1 + i], layers[i].packed,
                             i == 2 ? (float *)at[1] : NULL, (float *)at[2 + i], at[N_TENSORS + i]),
              "a convolution");
    convert(4, 5, at);
}

/* The same by the definition, in double precision. */
static double *define(const struct layer *its, const double *in, const double *sum)
{
    double *out = malloc((size_t)its->n_out * SIDE * SIDE * sizeof *out);
    check(out == NULL ? -12 : 0, "memory");
    const int64_t k = its->kernel, pad = k / 2;
    for (int64_t o = 0; o < its->n_out; o++)
        for (int64_t y = 0; y < SIDE; y++)
            for (int64_t x = 0; x < SIDE; x++) {
                double v = sum == NULL ? 0 : sum[(o * SIDE + y) * SIDE + x];
                for (int64_t i = 0; i < its->n_in; i++)
                    for (int64_t ky = 0; ky < k; ky++)
                        for (int64_t kx = 0; kx < k; kx++) {
                            int64_t iy = y + ky - pad, ix = x + kx - pad;
                            if (iy >= 0 && iy < SIDE && ix >= 0 && ix < SIDE)
                                v += (double)its->weights[((o * its->n_in + i) * k + ky) * k + kx] *
                                     in[(i * SIDE + iy) * SIDE + ix];
                        }
                out[(o * SIDE + y) * SIDE + x] = v > 0 ? v : 0;
            }
    return out;
}

int main(void)
{
    enum { N = WIDE * SIDE * SIDE };
    char *at[N_TENSORS + N_LAYERS];
    double *values[1 + N_LAYERS], worst = 0;
    plan_layers();
    char *arena = place(at);
    float *x = take(N * sizeof *x);
    fill(x, N, 1);
    memcpy(at[0], x, N * sizeof *x);
    run(at);
    values[0] = malloc(N * sizeof(double));
    check(values[0] == NULL ? -12 : 0, "memory");
    for (int i = 0; i < N; i++)
        values[0][i] = (double)x[i];
    for (int i = 0; i < N_LAYERS; i++)
        values[1 + i] = define(&layers[i], values[i], i == 2 ? values[0] : NULL);
    for (int i = 0; i < N; i++)
        worst = fmax(worst, fabs((double)((float *)at[5])[i] - values[3][i]));
    printf("the largest difference from double precision: %.1e\n", worst);
    for (int i = 0; i <= N_LAYERS; i++)
        free(values[i]);
    for (int i = 0; i < N_LAYERS; i++) {
        free(layers[i].weights);
        free(layers[i].packed);
    }
    free(x);
    free(arena);
    return worst > 0 && worst < 1e-4 ? 0 : 1;
}
