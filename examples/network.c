/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small network is trained in less RAM than its activations take: once as the pager copes, once
 * by a schedule that knows what is needed when.
 *
 *     cc -o network network.c $(pkg-config --cflags --libs quire) -lm
 *     quire run --ram 24M -- ./network                  or: ./network LAYERS ROWS EPOCHS MIB
 *
 * A residual network of dense layers, x' = x + tanh(x W), learns to halve the sum of a row's
 * squares. The way there makes an activation a layer, the way back reads them again, the last one
 * first, so each waits for longer than the one after it:
 *
 *     step  0    1    2  ..  L-1 | L       L+1  ..  2L-1
 *     reads A0   A1   A2     AL-1| AL AL-1 AL-1 AL-2  ..      W of the layer, the gradient G
 *     makes A1   A2   A3     AL  |
 *
 * MIB is what the schedule may have: about half of the RAM, as the pager needs the other half to
 * pack what goes. ./network /PATH/TO/quire runs a smaller network under it.
 */
#include <errno.h>
#include <math.h>
#include <quire/tensor_schedule.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define WIDTH 32
#define RATE 1e-5f
#define ROUNDS 2 /* of each way, alternating */

static struct {
    uint32_t n_layers, n_rows, n_epochs;
    float *weights;  /* [layer][WIDTH][WIDTH] */
    float **buffers; /* activations 0 to n_layers, then the gradient: [row][WIDTH] */
    uint32_t n_buffers;
    size_t n_bytes; /* of a buffer */
} net = {.n_layers = 40, .n_rows = 8192, .n_epochs = 2};

static void check(int error, const char *what)
{
    if (error == 0)
        return;
    fprintf(stderr, "network: %s: %s\n", what, strerror(-error));
    exit(1);
}

/* One layer, there and back. Rows are independent: a cache holds what one needs. */

static void forward(const float *weights, const float *in, float *out)
{
    for (uint32_t row = 0; row < net.n_rows; row++, in += WIDTH, out += WIDTH) {
        float sum[WIDTH] = {0};
        for (int i = 0; i < WIDTH; i++)
            for (int k = 0; k < WIDTH; k++)
                sum[k] += in[i] * weights[i * WIDTH + k];
        for (int k = 0; k < WIDTH; k++) /* tanh to four digits */
            sum[k] *= (27 + sum[k] * sum[k]) / (27 + 9 * sum[k] * sum[k]);
        for (int k = 0; k < WIDTH; k++)
            out[k] = in[k] + sum[k];
    }
}

/* `gradient` of the layer's output becomes that of its input; the weights learn. */
static void backward(float *weights, const float *in, const float *out, float *gradient)
{
    float change[WIDTH * WIDTH] = {0};
    for (uint32_t row = 0; row < net.n_rows; row++) {
        float slope[WIDTH], sum[WIDTH] = {0};
        for (int k = 0; k < WIDTH; k++) {
            float tanh_of = out[k] - in[k];
            slope[k] = gradient[k] * (1 - tanh_of * tanh_of);
        }
        for (int i = 0; i < WIDTH; i++) {
            for (int k = 0; k < WIDTH; k++) {
                sum[i] += slope[k] * weights[i * WIDTH + k];
                change[i * WIDTH + k] += in[i] * slope[k];
            }
        }
        for (int k = 0; k < WIDTH; k++)
            gradient[k] += sum[k];
        in += WIDTH;
        out += WIDTH;
        gradient += WIDTH;
    }
    for (int i = 0; i < WIDTH * WIDTH; i++)
        weights[i] -= RATE * change[i];
}

/* The loss, and its gradient. */
static double compare(const float *in, const float *out, float *gradient)
{
    double loss = 0;
    for (size_t i = 0; i < (size_t)net.n_rows * WIDTH; i++) {
        gradient[i] = out[i] - in[i] / 2;
        loss += (double)gradient[i] * (double)gradient[i];
    }
    return loss / net.n_rows;
}

/* Training, with or without a runner */

static void start(void)
{
    uint32_t state = 1;
    for (size_t i = 0; i < (size_t)net.n_layers * WIDTH * WIDTH; i++) {
        state = state * 1664525 + 1013904223;
        net.weights[i] = ((float)(state >> 8) / 8388608 - 1) * 0.02f;
    }
    for (size_t i = 0; i < (size_t)net.n_rows * WIDTH; i++) {
        state = state * 1664525 + 1013904223;
        net.buffers[0][i] = (float)(state >> 8) / 8388608 - 1;
    }
}

static void begin_step(struct quire_tensor_runner *runner, uint32_t step)
{
    if (runner != NULL)
        check(quire_tensor_schedule_apply(runner, step), "cannot apply the schedule");
}

static double train(struct quire_tensor_runner *runner)
{
    uint32_t n = net.n_layers;
    float **a = net.buffers, *gradient = net.buffers[n + 1];
    double loss = 0;
    start();
    for (uint32_t epoch = 0; epoch < net.n_epochs; epoch++) {
        for (uint32_t layer = 0; layer < n; layer++) {
            begin_step(runner, layer);
            forward(net.weights + (size_t)layer * WIDTH * WIDTH, a[layer], a[layer + 1]);
        }
        for (uint32_t layer = n; layer-- > 0;) {
            begin_step(runner, 2 * n - 1 - layer);
            if (layer == n - 1)
                loss = compare(a[0], a[n], gradient);
            backward(net.weights + (size_t)layer * WIDTH * WIDTH, a[layer], a[layer + 1], gradient);
        }
    }
    return loss;
}

/* What train() touches, step by step. */
static void describe(struct quire_tensor_work *work, struct quire_tensor_touch *touches,
                     uint64_t *sizes)
{
    uint32_t n = net.n_layers;
    size_t at = 0;
    for (uint32_t layer = 0; layer < n; layer++) {
        touches[at++] = (struct quire_tensor_touch){layer, layer, false};
        touches[at++] = (struct quire_tensor_touch){layer, layer + 1, true};
    }
    for (uint32_t layer = n; layer-- > 0;) {
        uint32_t step = 2 * n - 1 - layer;
        touches[at++] = (struct quire_tensor_touch){step, layer, false};
        touches[at++] = (struct quire_tensor_touch){step, layer + 1, false};
        touches[at++] = (struct quire_tensor_touch){step, n + 1, layer == n - 1};
        if (layer == n - 1)
            touches[at++] = (struct quire_tensor_touch){step, 0, false};
    }
    for (uint32_t b = 0; b < net.n_buffers; b++)
        sizes[b] = net.n_bytes;
    *work = (struct quire_tensor_work){.n_steps = 2 * n,
                                       .n_buffers = net.n_buffers,
                                       .sizes = sizes,
                                       .touches = touches,
                                       .n_touches = at,
                                       .repeats = true};
}

/* Measuring */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Of all threads, the pager's among them. */
static double processor_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void make_network(void)
{
    net.n_buffers = net.n_layers + 2;
    net.n_bytes = (size_t)net.n_rows * WIDTH * sizeof(float);
    net.weights = malloc((size_t)net.n_layers * WIDTH * WIDTH * sizeof(float));
    net.buffers = calloc(net.n_buffers, sizeof *net.buffers);
    check(net.weights && net.buffers ? 0 : -ENOMEM, "the network");
    for (uint32_t b = 0; b < net.n_buffers; b++) {
        void *memory = mmap(NULL, net.n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                            -1, 0);
        check(memory == MAP_FAILED ? -errno : 0, "its activations");
        net.buffers[b] = memory;
    }
}

static double mebibytes(uint64_t n_bytes)
{
    return (double)n_bytes / net.n_epochs / 1048576;
}

static void compare_ways(uint64_t budget)
{
    struct quire_tensor_touch *touches = calloc(5 * (size_t)net.n_layers + 1, sizeof *touches);
    struct quire_tensor_extent *extents = calloc(net.n_buffers, sizeof *extents);
    uint64_t *sizes = calloc(net.n_buffers, sizeof *sizes);
    struct quire_tensor_work work;
    struct quire_tensor_schedule schedule;
    struct quire_tensor_runner_stats stats = {0};
    double took[2] = {1e9, 1e9}, used[2] = {1e9, 1e9}, loss[2] = {0};
    check(touches && extents && sizes ? 0 : -ENOMEM, "the schedule");
    describe(&work, touches, sizes);
    check(quire_tensor_schedule_make(&work, budget, 0, &schedule), "the schedule");
    for (uint32_t b = 0; b < net.n_buffers; b++)
        extents[b] = (struct quire_tensor_extent){net.buffers[b], net.n_bytes};
    printf("%u layers, %.1f MiB of activations; the schedule needs %.1f, and moves %.1f an epoch\n",
           net.n_layers, (double)net.n_buffers * (double)net.n_bytes / 1048576,
           (double)schedule.peak_bytes / 1048576, (double)schedule.moved_bytes / 1048576);
    for (unsigned i = 0; i < 2 * ROUNDS; i++) {
        struct quire_tensor_runner *runner = NULL;
        if (i % 2 == 1)
            check(quire_tensor_runner_open(&schedule, extents, &runner), "the runner");
        double began = seconds(), used_before = processor_seconds();
        loss[i % 2] = train(runner);
        double took_now = (seconds() - began) / net.n_epochs;
        double used_now = (processor_seconds() - used_before) / net.n_epochs;
        took[i % 2] = took_now < took[i % 2] ? took_now : took[i % 2];
        used[i % 2] = used_now < used[i % 2] ? used_now : used[i % 2];
        if (runner != NULL)
            quire_tensor_runner_stats(runner, &stats);
        quire_tensor_runner_close(runner);
    }
    printf("an epoch   as the pager copes  %.3f s, %.3f of processors\n"
           "           by the schedule     %.3f s, %.3f: %.2f and %.2f of it\n"
           "asked for  %.1f MiB evicted, %.1f prefetched, %.1f dropped, %.1f too late\n"
           "loss       %.6f and %.6f\n",
           took[0], used[0], took[1], used[1], took[1] / took[0], used[1] / used[0],
           mebibytes(stats.evicted_bytes), mebibytes(stats.prefetched_bytes),
           mebibytes(stats.dropped_bytes), mebibytes(stats.late_bytes), loss[0], loss[1]);
    check(loss[0] == loss[1] ? 0 : -EUCLEAN, "both ways compute the same");
    quire_tensor_schedule_free(&schedule);
    free(touches);
    free(extents);
    free(sizes);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strchr(argv[1], '/') != NULL) {
        execl(argv[1], argv[1], "run", "--ram", "16M", "--swap-max", "256M", "--", argv[0], "40",
              "4096", "2", "7", NULL);
        perror(argv[1]);
        return 1;
    }
    if (argc > 1)
        net.n_layers = (uint32_t)strtoul(argv[1], NULL, 10);
    if (argc > 2)
        net.n_rows = (uint32_t)strtoul(argv[2], NULL, 10);
    if (argc > 3)
        net.n_epochs = (uint32_t)strtoul(argv[3], NULL, 10);
    check(net.n_layers > 0 && net.n_rows > 0 && net.n_epochs > 0 ? 0 : -EINVAL, "the arguments");
    make_network();
    compare_ways((argc > 4 ? strtoul(argv[4], NULL, 10) : 12) << 20);
    return 0;
}
