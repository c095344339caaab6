/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads run the parts of one convolution at the same time: into the same destination, with one
 * plan, one set of packed weights, one workspace. The result is, bit by bit, that of a single part.
 * Each way that work is cut is here: strips, images, columns of output channels. Best run under
 * ThreadSanitizer as well.
 */
#include <quire/conv.h>

#include "require.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_THREADS 4
#define N_RUNS 10

struct layer {
    int64_t images, in, size, out, kernel, stride, groups;
    const char *source, *destination;
    enum quire_conv_algorithm algorithm;
};

static const struct layer layers[] = {
    {1, 32, 14, 64, 3, 1, 1, "nchw16c", "nchw16c", QUIRE_CONV_DIRECT}, /* reads the source */
    {2, 32, 15, 32, 3, 2, 1, "nchw16c", "nchw16c", QUIRE_CONV_DIRECT}, /* packs strips */
    {1, 3, 31, 32, 7, 2, 1, "nchw", "nchw16c", QUIRE_CONV_DIRECT},     /* a first layer */
    {1, 24, 13, 40, 3, 1, 1, "nchw", "nhwc", QUIRE_CONV_DIRECT},       /* converts both */
    {1, 64, 4, 128, 1, 1, 1, "nchw8c", "nchw8c", QUIRE_CONV_DIRECT},   /* columns are shared out */
    {1, 16, 14, 32, 3, 1, 1, "nchw16c", "nchw16c", QUIRE_CONV_WINOGRAD_4},
    {1, 16, 9, 16, 3, 1, 1, "nchw8c", "nchw8c", QUIRE_CONV_IM2COL},
    {3, 48, 12, 48, 3, 1, 48, "nchw16c", "nchw16c", QUIRE_CONV_DIRECT},
    {1, 48, 12, 48, 3, 2, 48, "nchw", "nchw", QUIRE_CONV_DIRECT},
};

static struct quire_conv_plan plan;
static float *source, *packed, *sum, *destination, *workspace;
static pthread_barrier_t together;

static void *room(size_t n_bytes)
{
    float *made = aligned_alloc(QUIRE_CONV_ALIGNMENT, (n_bytes + 127) / 64 * 64);
    REQUIRE(made != NULL);
    for (size_t i = 0; i < n_bytes / sizeof *made; i++)
        made[i] = (float)(i * 7 % 23) / 8 - 1;
    return made;
}

static void *run_part(void *argument)
{
    const uint32_t part = (uint32_t)(uintptr_t)argument;
    pthread_barrier_wait(&together);
    REQUIRE(quire_conv_run_part(&plan, source, packed, sum, destination, workspace, part) == 0);
    return NULL;
}

static void run_threads(void)
{
    pthread_t threads[N_THREADS];
    for (uintptr_t i = 0; i < N_THREADS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, run_part, (void *)i) == 0);
    for (unsigned i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
}

/* A plan for so many parts, and what it needs. */
static void prepare(const struct layer *layer, uint32_t n_parts)
{
    struct quire_conv_shape shape;
    struct quire_layout from, to, weights;
    const struct quire_conv_options options = {
        .algorithm = layer->algorithm, .activation = QUIRE_CONV_RELU, .n_parts = n_parts};
    int64_t h, w;
    quire_conv_shape_init(&shape, layer->images, layer->in, layer->size, layer->size, layer->out,
                          layer->kernel);
    shape.stride_y = shape.stride_x = layer->stride;
    shape.groups = layer->groups;
    REQUIRE(quire_conv_out_size(&shape, &h, &w) == 0);
    REQUIRE(quire_layout_init(&from, layer->source, QUIRE_LAYOUT_F32, 4,
                              (int64_t[]){layer->images, layer->in, layer->size, layer->size}) ==
            0);
    REQUIRE(quire_layout_init(&to, layer->destination, QUIRE_LAYOUT_F32, 4,
                              (int64_t[]){layer->images, layer->out, h, w}) == 0);
    REQUIRE(quire_layout_init(&weights, "oihw", QUIRE_LAYOUT_F32, 4,
                              (int64_t[]){layer->out, layer->in / layer->groups, layer->kernel,
                                          layer->kernel}) == 0);
    REQUIRE(quire_conv_plan_init(&plan, &shape, &from, &to, &options) == 0);
    float *plain = room(quire_layout_bytes(&weights));
    source = room(plan.source_bytes);
    packed = room(plan.weights_bytes);
    sum = room(plan.destination_bytes);
    destination = room(plan.destination_bytes);
    workspace = room(plan.workspace_bytes);
    REQUIRE(quire_conv_pack(&plan, &weights, plain, plain, packed) == 0);
    free(plain);
}

static void clear(void)
{
    free(source);
    free(packed);
    free(sum);
    free(destination);
    free(workspace);
}

static void check(const struct layer *layer)
{
    prepare(layer, 1);
    REQUIRE(quire_conv_run(&plan, source, packed, sum, destination, workspace) == 0);
    const size_t n_bytes = plan.destination_bytes;
    void *expected = malloc(n_bytes);
    REQUIRE(expected != NULL);
    memcpy(expected, destination, n_bytes);
    clear();
    prepare(layer, N_THREADS);
    for (unsigned i = 0; i < N_RUNS; i++) {
        memset(destination, 0xff, n_bytes);
        run_threads();
        REQUIRE(memcmp(destination, expected, n_bytes) == 0);
    }
    clear();
    free(expected);
}

int main(void)
{
    REQUIRE(pthread_barrier_init(&together, NULL, N_THREADS) == 0);
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        check(&layers[i]);
    pthread_barrier_destroy(&together);
    return 0;
}
