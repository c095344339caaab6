/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolutions beside oneDNN's, and matrix products beside OpenBLAS's, on one core:
 *
 *     taskset -c 1 bench/layout/convolutions [--rounds N] [--only TEXT]
 *
 * Both sides alternate in one run; of each the fastest round counts, by processor time, in GFLOP/s
 * with the operations of direct convolution (2 for a multiply-add), whatever the algorithm does.
 * Each has bias and ReLU, and weights packed before. What it prints
 *
 *     direct      3x3, stride 1, both in their blocked layouts
 *     winograd    the same: our fastest of three sizes beside oneDNN when told to use Winograd
 *     auto        the same: both by their own choice, ours within an error of 1e-3
 *     plain       the same from nchw to nchw, conversions included
 *     1x1, depthwise, product (of matrices)
 *     first       layers of a network, nchw to blocked, beside the better of oneDNN's two: made
 *                 for nchw, and made for what it likes with a conversion before it
 *     residual    ResNet's block, whole, in blocked layout and converted at each operator
 */
#include "peer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LEAST_SECONDS 3e-3 /* of one measurement */

static unsigned n_rounds = 15;
static const char *only = "";

struct ours {
    struct quire_conv_plan plan;
    float *source, *destination;
    void *packed, *workspace;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *room(size_t n_bytes)
{
    n_bytes = (n_bytes + 4095) / 4096 * 4096 + 4096;
    float *numbers = aligned_alloc(4096, n_bytes);
    if (numbers == NULL)
        exit(1);
    for (size_t i = 0; i < n_bytes / sizeof *numbers; i++)
        numbers[i] = (float)(i % 17) / 16 - 0.5f;
    return numbers;
}

static struct ours *ours_new(const struct quire_conv_shape *shape, const char *from, const char *to,
                             enum quire_conv_algorithm algorithm)
{
    struct ours *ours = calloc(1, sizeof *ours);
    struct quire_layout source, destination, weights;
    struct quire_conv_options options = {.algorithm = algorithm, .activation = QUIRE_CONV_RELU};
    int64_t h, w;
    if (ours == NULL || quire_conv_out_size(shape, &h, &w) != 0 ||
        quire_layout_init(&source, from, QUIRE_LAYOUT_F32, 4,
                          (int64_t[]){shape->n_images, shape->in_channels, shape->in_height,
                                      shape->in_width}) != 0 ||
        quire_layout_init(&destination, to, QUIRE_LAYOUT_F32, 4,
                          (int64_t[]){shape->n_images, shape->out_channels, h, w}) != 0 ||
        quire_layout_init(&weights, "oihw", QUIRE_LAYOUT_F32, 4,
                          (int64_t[]){shape->out_channels, shape->in_channels / shape->groups,
                                      shape->kernel_height, shape->kernel_width}) != 0 ||
        quire_conv_plan_init(&ours->plan, shape, &source, &destination, &options) != 0)
        exit(1);
    ours->source = room(ours->plan.source_bytes);
    ours->destination = room(ours->plan.destination_bytes);
    ours->packed = room(ours->plan.weights_bytes);
    ours->workspace = room(ours->plan.workspace_bytes);
    float *plain = room(quire_layout_bytes(&weights));
    if (quire_conv_pack(&ours->plan, &weights, plain, plain, ours->packed) != 0)
        exit(1);
    free(plain);
    return ours;
}

static void ours_run(void *context)
{
    struct ours *ours = context;
    if (quire_conv_run(&ours->plan, ours->source, ours->packed, NULL, ours->destination,
                       ours->workspace) != 0)
        exit(1);
}

static void ours_free(struct ours *ours)
{
    free(ours->source);
    free(ours->destination);
    free(ours->packed);
    free(ours->workspace);
    free(ours);
}

static void peer_run(void *context)
{
    peer_conv_run(context);
}

struct side {
    void (*run)(void *context);
    void *context;
    unsigned n_runs; /* in one measurement */
    double seconds;  /* the least, of one run */
};

static double measure(struct side *side)
{
    double start = now();
    for (unsigned i = 0; i < side->n_runs; i++)
        side->run(side->context);
    return (now() - start) / side->n_runs;
}

static void alternate(struct side *sides, unsigned n_sides)
{
    for (unsigned i = 0; i < n_sides; i++) {
        sides[i].n_runs = 1;
        sides[i].seconds = measure(&sides[i]);
        sides[i].seconds = measure(&sides[i]);
        sides[i].n_runs = 1 + (unsigned)(LEAST_SECONDS / sides[i].seconds);
    }
    for (unsigned round = 0; round < n_rounds; round++)
        for (unsigned i = 0; i < n_sides; i++) {
            double seconds = measure(&sides[i]);
            if (seconds < sides[i].seconds)
                sides[i].seconds = seconds;
        }
}

struct mean {
    double logs, least;
    unsigned n;
};

static void add(struct mean *mean, double ratio)
{
    mean->logs += log(ratio);
    mean->least = mean->n == 0 || ratio < mean->least ? ratio : mean->least;
    mean->n++;
}

static void print_mean(const struct mean *mean, const char *what)
{
    if (mean->n > 1)
        printf("%-10s %-22s geometric mean %.3f, least %.3f\n\n", what, "",
               exp(mean->logs / mean->n), mean->least);
}

static double gflops(const struct quire_conv_shape *s, double seconds)
{
    int64_t h, w;
    if (quire_conv_out_size(s, &h, &w) != 0)
        exit(1);
    return 2e-9 * (double)(s->n_images * s->out_channels * h * w) *
           (double)(s->in_channels / s->groups * s->kernel_height * s->kernel_width) / seconds;
}

static unsigned fastest(const struct side *sides, unsigned from, unsigned to)
{
    unsigned best = from;
    for (unsigned i = from; i < to; i++)
        if (sides[i].seconds < sides[best].seconds)
            best = i;
    return best;
}

/* Of a shape, from one layout to another: our algorithms from `first` to `last`, of which the
 * fastest counts, beside the peer's of one or two kinds. */
struct contest {
    const char *what, *from, *to;
    enum quire_conv_algorithm first, last;
    enum peer_kind kinds[2];
    unsigned n_kinds;
};

static void compare(const struct contest *contest, const struct quire_conv_shape *shape,
                    struct mean *mean)
{
    struct side sides[2 + QUIRE_CONV_N_ALGORITHMS] = {0};
    unsigned n = 0;
    for (unsigned i = 0; i < contest->n_kinds; i++) {
        struct peer_conv *peer = peer_conv_new(shape, contest->kinds[i]);
        if (peer != NULL)
            sides[n++] = (struct side){.run = peer_run, .context = peer};
    }
    const unsigned n_peers = n;
    for (enum quire_conv_algorithm a = contest->first; a <= contest->last; a++)
        sides[n++] = (struct side){.run = ours_run,
                                   .context = ours_new(shape, contest->from, contest->to, a)};
    alternate(sides, n);
    const unsigned best = fastest(sides, n_peers, n), peer = fastest(sides, 0, n_peers);
    const struct ours *ours = sides[best].context;
    printf("%-10s %4lld->%4lld @%3lld %5s   %-9s %6.1f", contest->what,
           (long long)shape->in_channels, (long long)shape->out_channels,
           (long long)shape->in_height, shape->stride_x == 1 ? "" : "s 2",
           quire_conv_algorithm_name(ours->plan.algorithm), gflops(shape, sides[best].seconds));
    for (unsigned i = n_peers; n > n_peers + 1 && i < n; i++)
        printf("%s%.0f%s", i == n_peers ? " (" : " ", gflops(shape, sides[i].seconds),
               i + 1 == n ? ")" : "");
    if (n_peers > 0) {
        double ratio = sides[peer].seconds / sides[best].seconds;
        printf("   %-24s %6.1f   %.3f", peer_conv_name(sides[peer].context),
               gflops(shape, sides[peer].seconds), ratio);
        if (mean != NULL)
            add(mean, ratio);
    }
    printf("\n");
    fflush(stdout);
    for (unsigned i = 0; i < n_peers; i++)
        peer_conv_free(sides[i].context);
    for (unsigned i = n_peers; i < n; i++)
        ours_free(sides[i].context);
}

static const int64_t three[][2] = {{64, 56}, {128, 28}, {256, 14}, {512, 7}, {64, 224}, {256, 56}};

static bool wanted(const char *what)
{
    return strstr(what, only) != NULL;
}

static void of_three(const struct contest *contest)
{
    struct mean mean = {0};
    if (!wanted(contest->what))
        return;
    for (unsigned i = 0; i < sizeof three / sizeof *three; i++) {
        struct quire_conv_shape shape;
        quire_conv_shape_init(&shape, 1, three[i][0], three[i][1], three[i][1], three[i][0], 3);
        compare(contest, &shape, &mean);
    }
    print_mean(&mean, contest->what);
}

static void ones(const char *blocked)
{
    static const int64_t sizes[][3] = {
        {256, 64, 56}, {1024, 256, 14}, {64, 256, 56}, {512, 2048, 7}};
    const struct contest contest = {
        "1x1", blocked, blocked, QUIRE_CONV_DIRECT, QUIRE_CONV_DIRECT, {PEER_DIRECT}, 1};
    struct quire_conv_shape shape;
    struct mean mean = {0};
    for (unsigned i = 0; wanted(contest.what) && i < sizeof sizes / sizeof *sizes; i++) {
        quire_conv_shape_init(&shape, 1, sizes[i][0], sizes[i][2], sizes[i][2], sizes[i][1], 1);
        compare(&contest, &shape, &mean);
    }
    print_mean(&mean, contest.what);
}

static void depthwise(const char *blocked)
{
    static const int64_t sizes[][3] = {
        {144, 56, 1}, {96, 112, 2}, {144, 56, 2}, {384, 14, 1}, {960, 7, 1}};
    const struct contest contest = {"depthwise",       blocked,       blocked, QUIRE_CONV_DIRECT,
                                    QUIRE_CONV_DIRECT, {PEER_DIRECT}, 1};
    struct quire_conv_shape shape;
    struct mean mean = {0};
    for (unsigned i = 0; wanted(contest.what) && i < sizeof sizes / sizeof *sizes; i++) {
        quire_conv_shape_init(&shape, 1, sizes[i][0], sizes[i][1], sizes[i][1], sizes[i][0], 3);
        shape.groups = sizes[i][0];
        shape.stride_y = shape.stride_x = sizes[i][2];
        compare(&contest, &shape, &mean);
    }
    print_mean(&mean, contest.what);
}

/* Of ResNet, MobileNet and VGG. */
static void firsts(const char *blocked)
{
    static const int64_t sizes[][3] = {{64, 7, 2}, {32, 3, 2}, {64, 3, 1}}; /* out, kernel, step */
    const struct contest contest = {"first",
                                    "nchw",
                                    blocked,
                                    QUIRE_CONV_DIRECT,
                                    QUIRE_CONV_DIRECT,
                                    {PEER_FIRST, PEER_FIRST_PLAIN},
                                    2};
    struct quire_conv_shape shape;
    struct mean mean = {0};
    for (unsigned i = 0; wanted(contest.what) && i < sizeof sizes / sizeof *sizes; i++) {
        quire_conv_shape_init(&shape, 1, 3, 224, 224, sizes[i][0], sizes[i][1]);
        shape.stride_y = shape.stride_x = sizes[i][2];
        compare(&contest, &shape, &mean);
    }
    print_mean(&mean, contest.what);
}

#define N 1024

struct product {
    float *a, *b, *c, *workspace;
    size_t workspace_bytes;
};

static void our_product(void *context)
{
    struct product *p = context;
    if (quire_matrix_multiply(N, N, N, p->a, N, p->b, N, p->c, N, p->workspace,
                              p->workspace_bytes) != 0)
        exit(1);
}

static void their_product(void *context)
{
    struct product *p = context;
    peer_multiply(N, p->a, p->b, p->c);
}

/* Both pack on the way. */
static void products(void)
{
    const size_t n_bytes = sizeof(float) * N * N;
    struct product p = {.workspace_bytes = quire_matrix_workspace_bytes(N, N, N)};
    if (!wanted("product"))
        return;
    p.a = room(n_bytes);
    p.b = room(n_bytes);
    p.c = room(n_bytes);
    p.workspace = room(p.workspace_bytes);
    struct side sides[] = {{.run = their_product, .context = &p},
                           {.run = our_product, .context = &p}};
    alternate(sides, 2);
    printf("%-10s %-22s %-9s %6.1f   %-24s %6.1f   %.3f\n\n", "product", "1024 x 1024 x 1024",
           "direct", 2e-9 * N * N * N / sides[1].seconds, "OpenBLAS",
           2e-9 * N * N * N / sides[0].seconds, sides[0].seconds / sides[1].seconds);
    free(p.a);
    free(p.b);
    free(p.c);
    free(p.workspace);
}

/* ResNet's bottleneck: 1x1, 3x3, 1x1, sum, ReLU. */
struct residual {
    struct ours *layers[3];
};

static struct residual residual_new(const char *layout)
{
    static const int64_t sizes[][3] = {{256, 64, 1}, {64, 64, 3}, {64, 256, 1}};
    struct residual block;
    for (unsigned i = 0; i < 3; i++) {
        struct quire_conv_shape shape;
        quire_conv_shape_init(&shape, 1, sizes[i][0], 56, 56, sizes[i][1], sizes[i][2]);
        block.layers[i] = ours_new(&shape, layout, layout, QUIRE_CONV_AUTO);
    }
    return block;
}

static void residual_run(void *context)
{
    struct residual *block = context;
    const float *in = block->layers[0]->source;
    for (unsigned i = 0; i < 3; i++) {
        struct ours *o = block->layers[i];
        if (quire_conv_run(&o->plan, in, o->packed, i == 2 ? block->layers[0]->source : NULL,
                           o->destination, o->workspace) != 0)
            exit(1);
        in = o->destination;
    }
}

static void residuals(const char *blocked)
{
    struct side sides[3];
    struct residual blocks[3];
    const char *const layouts[] = {blocked, "nchw", "nhwc"};
    if (!wanted("residual"))
        return;
    for (unsigned i = 0; i < 3; i++) {
        blocks[i] = residual_new(layouts[i]);
        sides[i] = (struct side){.run = residual_run, .context = &blocks[i]};
    }
    alternate(sides, 3);
    for (unsigned i = 0; i < 3; i++) {
        printf("%-10s 256-64-64-256 @ 56      %-9s %6.3f ms  %.3f of %s\n", "residual", layouts[i],
               1e3 * sides[i].seconds, sides[i].seconds / sides[0].seconds, layouts[0]);
        for (unsigned k = 0; k < 3; k++)
            ours_free(blocks[i].layers[k]);
    }
}

int main(int argc, char **argv)
{
    const char *blocked = quire_conv_block(QUIRE_LAYOUT_BEST) == 16 ? "nchw16c" : "nchw8c";
    const struct contest contests[] = {
        {"direct", blocked, blocked, QUIRE_CONV_DIRECT, QUIRE_CONV_DIRECT, {PEER_DIRECT}, 1},
        {"winograd",
         blocked,
         blocked,
         QUIRE_CONV_WINOGRAD_2,
         QUIRE_CONV_WINOGRAD_6,
         {PEER_WINOGRAD},
         1},
        {"auto", blocked, blocked, QUIRE_CONV_AUTO, QUIRE_CONV_AUTO, {PEER_AUTO}, 1},
        {"plain", "nchw", "nchw", QUIRE_CONV_AUTO, QUIRE_CONV_AUTO, {PEER_PLAIN}, 1},
    };
    for (int i = 1; i + 1 < argc; i += 2)
        if (strcmp(argv[i], "--rounds") == 0)
            n_rounds = (unsigned)strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--only") == 0)
            only = argv[i + 1];
    if (argc % 2 == 0) {
        fprintf(stderr, "usage: convolutions [--rounds N] [--only TEXT]\n");
        return 2;
    }
    printf("%-10s %-22s %-16s GFLOP/s, oneDNN's, ratio\n\n", "", "", "Quire");
    for (unsigned i = 0; i < sizeof contests / sizeof *contests; i++)
        of_three(&contests[i]);
    ones(blocked);
    depthwise(blocked);
    firsts(blocked);
    products();
    residuals(blocked);
    return 0;
}
