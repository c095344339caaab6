/* SPDX-License-Identifier: Apache-2.0 */
/* What <quire/conv.h> promises beyond results: sizes, choices, errors, and what stands between
 * convolutions. Results of convolutions: tests/model/conv_model.c. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <quire/conv.h>

struct layer {
    struct quire_conv_shape shape;
    struct quire_layout source, destination, weights;
    struct quire_conv_options options;
    struct quire_conv_plan plan;
};

static void lay_out(struct quire_layout *layout, const char *name, int64_t n, int64_t c, int64_t h,
                    int64_t w)
{
    assert_int_equal(quire_layout_init(layout, name, QUIRE_LAYOUT_F32, 4, (int64_t[]){n, c, h, w}),
                     0);
}

/* 64 -> 64 channels, 56 x 56, 3 x 3, or as the test changes it before plan(). */
static void make(struct layer *layer, const char *layout)
{
    *layer = (struct layer){0};
    quire_conv_shape_init(&layer->shape, 1, 64, 56, 56, 64, 3);
    lay_out(&layer->source, layout, 1, 64, 56, 56);
    lay_out(&layer->destination, layout, 1, 64, 56, 56);
    lay_out(&layer->weights, "oihw", 64, 64, 3, 3);
}

static int plan(struct layer *layer)
{
    return quire_conv_plan_init(&layer->plan, &layer->shape, &layer->source, &layer->destination,
                                &layer->options);
}

static void *numbers(size_t n_bytes)
{
    float *made = aligned_alloc(64, (n_bytes + 127) / 64 * 64);
    assert_non_null(made);
    for (size_t i = 0; i < n_bytes / sizeof *made; i++)
        made[i] = (float)(i * 7 % 23) - 11;
    return made;
}

static void choice_stays_within_the_error(void **state)
{
    static const double limits[] = {1, 1e-3, 1e-4, 2e-5, 6e-6, 4e-6};
    struct layer layer;
    double last = INFINITY;
    make(&layer, "nchw16c");
    for (unsigned i = 0; i < sizeof limits / sizeof *limits; i++) {
        layer.options.max_error = limits[i];
        assert_int_equal(plan(&layer), 0);
        assert_true(layer.plan.error <= limits[i]);
        assert_true(layer.plan.error <= last); /* less allowed, less made */
        last = layer.plan.error;
    }
    assert_int_equal(layer.plan.algorithm, QUIRE_CONV_DIRECT);
    layer.options.max_error = 1e-9;
    assert_int_equal(plan(&layer), -ERANGE);
    layer.options.max_error = 1e-3;
    assert_int_equal(plan(&layer), 0);
    assert_true(layer.plan.algorithm >= QUIRE_CONV_WINOGRAD_4);
    assert_true(layer.plan.multiplications < 56.0 * 56 * 9 * 64 * 64 / 3);
}

static void what_an_algorithm_cannot_do(void **state)
{
    struct layer layer;
    make(&layer, "nchw8c");
    layer.options.algorithm = QUIRE_CONV_WINOGRAD_4;
    assert_int_equal(plan(&layer), 0);
    layer.shape.stride_x = layer.shape.stride_y = 2;
    lay_out(&layer.destination, "nchw8c", 1, 64, 28, 28);
    assert_int_equal(plan(&layer), -ENOTSUP);
    layer.options.algorithm = QUIRE_CONV_AUTO;
    assert_int_equal(plan(&layer), 0);
    assert_int_equal(layer.plan.algorithm, QUIRE_CONV_DIRECT);
    make(&layer, "nchw8c");
    layer.shape.groups = 64;
    layer.options.algorithm = QUIRE_CONV_IM2COL;
    assert_int_equal(plan(&layer), -ENOTSUP);
    for (enum quire_layout_isa isa = 0; isa < QUIRE_LAYOUT_N_ISAS; isa++) {
        make(&layer, "nchw8c");
        layer.options.isa = isa;
        assert_int_equal(plan(&layer), quire_layout_isa_is_here(isa) ? 0 : -ENOTSUP);
        assert_true((quire_conv_block(isa) == 0) == !quire_layout_isa_is_here(isa));
    }
}

/* Of 3x3 with a border of one pixel: no copy, and nothing multiplied that lies outside. */
static void a_blocked_source_is_read_where_it_is(void **state)
{
    struct layer layer;
    make(&layer, "nchw16c");
    layer.options.algorithm = QUIRE_CONV_DIRECT;
    assert_int_equal(plan(&layer), 0);
    assert_true(layer.plan.workspace_bytes < 1024);
    assert_true(layer.plan.multiplications == (3.0 * 56 - 2) * (3.0 * 56 - 2) * 64 * 64);
    layer.shape.pad_left = 2; /* two columns are outside: rows are padded again */
    layer.shape.pad_right = 0;
    assert_int_equal(plan(&layer), 0);
    assert_true(layer.plan.workspace_bytes > 64 * 1024);
    assert_true(layer.plan.multiplications == 9.0 * 56 * 56 * 64 * 64);
}

/* Three channels are not made sixteen first. */
static void a_first_layer_reads_plain_channels(void **state)
{
    size_t workspaces[2];
    for (unsigned i = 0; i < 2; i++) {
        struct layer layer = {.options = {.algorithm = QUIRE_CONV_DIRECT}};
        const int64_t channels = i == 0 ? 3 : 16;
        quire_conv_shape_init(&layer.shape, 1, channels, 32, 32, 32, 3);
        layer.shape.stride_y = layer.shape.stride_x = 2;
        lay_out(&layer.source, "nchw", 1, channels, 32, 32);
        lay_out(&layer.destination, "nchw16c", 1, 32, 16, 16);
        assert_int_equal(plan(&layer), 0);
        workspaces[i] = layer.plan.workspace_bytes;
    }
    assert_true(workspaces[0] < workspaces[1] * 4 / 16);
}

static void wrong_shapes(void **state)
{
    struct quire_conv_shape shape;
    int64_t h, w;
    size_t n_fields = sizeof shape / sizeof(int64_t);
    quire_conv_shape_init(&shape, 1, 64, 56, 30, 64, 3);
    assert_int_equal(quire_conv_out_size(&shape, &h, &w), 0);
    assert_int_equal(h, 56);
    assert_int_equal(w, 30);
    for (size_t i = 0; i < n_fields; i++) { /* each number is checked */
        static const int64_t wrong[] = {-1, INT64_MIN, INT64_MAX, ((int64_t)1 << 31) + 1};
        for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
            struct quire_conv_shape other = shape;
            memcpy((char *)&other + i * sizeof(int64_t), &wrong[k], sizeof(int64_t));
            assert_int_equal(quire_conv_out_size(&other, NULL, NULL), -EINVAL);
        }
    }
    quire_conv_shape_init(&shape, 1, 64, 2, 2, 64, 3);
    shape.pad_top = shape.pad_bottom = 0;
    assert_int_equal(quire_conv_out_size(&shape, NULL, NULL), -EINVAL);
    quire_conv_shape_init(&shape, 1, 64, 56, 56, 64, 3);
    shape.groups = 3;
    assert_int_equal(quire_conv_out_size(&shape, NULL, NULL), -EINVAL);
    quire_conv_shape_init(&shape, (int64_t)1 << 31, (int64_t)1 << 31, (int64_t)1 << 31,
                          (int64_t)1 << 31, 1, 1);
    assert_int_equal(quire_conv_out_size(&shape, NULL, NULL), -EOVERFLOW);
    quire_conv_shape_init(&shape, 1, 1, 1, 1, 1, 1);
    shape.pad_left = shape.pad_top = (int64_t)1 << 31;
    assert_int_equal(quire_conv_out_size(&shape, NULL, NULL), -EOVERFLOW);
}

static void wrong_layouts_and_options(void **state)
{
    struct layer layer;
    make(&layer, "nchw16c");
    layer.source.dims[2] = 55;
    assert_int_equal(plan(&layer), -EINVAL);
    make(&layer, "nchw16c");
    layer.destination.type = QUIRE_LAYOUT_F16;
    assert_int_equal(plan(&layer), -EINVAL);
    make(&layer, "nchw");
    layer.destination.strides[3] = 0; /* all of a row in one place */
    assert_int_equal(plan(&layer), -EINVAL);
    make(&layer, "nchw");
    layer.source.strides[1] = -1;
    assert_int_equal(plan(&layer), -EINVAL);
    make(&layer, "nchw16c");
    layer.options.algorithm = QUIRE_CONV_N_ALGORITHMS;
    assert_int_equal(plan(&layer), -EINVAL);
    make(&layer, "nchw16c");
    layer.options.activation = QUIRE_CONV_N_ACTIVATIONS;
    assert_int_equal(plan(&layer), -EINVAL);
    make(&layer, "nchw16c");
    layer.options.max_error = NAN;
    assert_int_equal(plan(&layer), -EINVAL);
    make(&layer, "nchw16c");
    layer.options.n_parts = QUIRE_CONV_MAX_PARTS + 1;
    assert_int_equal(plan(&layer), -EINVAL);
}

/* Each wrong call is refused, and the destination is as it was. */
static void wrong_buffers(void **state)
{
    struct layer layer;
    make(&layer, "nchw16c");
    assert_int_equal(plan(&layer), 0);
    const struct quire_conv_plan *p = &layer.plan;
    char *source = numbers(p->source_bytes), *packed = numbers(p->weights_bytes);
    char *out = numbers(p->destination_bytes + 64), *work = numbers(p->workspace_bytes);
    char *before = numbers(p->destination_bytes + 64);
    float *weights = numbers(quire_layout_bytes(&layer.weights));
#define REFUSED(s, w, sum, d, k) \
    assert_int_equal(            \
        quire_conv_run(p, (const float *)(s), w, (const float *)(sum), (float *)(d), k), -EINVAL)
    REFUSED(NULL, packed, NULL, out, work);
    REFUSED(source, NULL, NULL, out, work);
    REFUSED(source, packed, NULL, NULL, work);
    REFUSED(source, packed, NULL, out, NULL);
    REFUSED(source + 4, packed, NULL, out, work);
    REFUSED(source, packed + 32, NULL, out, work);
    REFUSED(source, packed, NULL, out + 4, work);
    REFUSED(source, packed, NULL, out, work + 8);
    REFUSED(source, packed, out + 4, out, work);
    REFUSED(out, packed, NULL, out, work);
    REFUSED(out + 64, packed, NULL, out, work);
    REFUSED(source, packed, out + 64, out, work);
    REFUSED(source, packed, NULL, work, work);
    REFUSED(work, packed, NULL, out, work);
    REFUSED(source, work, NULL, out, work);
    REFUSED(source, packed, work, out, work);
    REFUSED(source, packed, NULL, packed, work);
    assert_int_equal(quire_conv_run_part(p, (float *)source, packed, NULL, (float *)out, work, 1),
                     -EINVAL);
    assert_memory_equal(out, before, p->destination_bytes + 64);
    assert_int_equal(quire_conv_pack(p, &layer.weights, weights, NULL, packed + 4), -EINVAL);
    assert_int_equal(quire_conv_pack(p, &layer.weights, NULL, NULL, packed), -EINVAL);
    assert_int_equal(quire_conv_pack(p, &layer.weights, (float *)packed, NULL, packed), -EINVAL);
    assert_int_equal(quire_conv_pack(p, &layer.weights, weights, (float *)packed, packed), -EINVAL);
    layer.weights.dims[3] = 2;
    assert_int_equal(quire_conv_pack(p, &layer.weights, weights, NULL, packed), -EINVAL);
    free(source);
    free(packed);
    free(out);
    free(work);
    free(before);
    free(weights);
}

/* A slice of the channels of a larger tensor, as concatenation without copying wants it. */
static void destination_is_a_slice(void **state)
{
    struct layer layer;
    struct quire_layout whole;
    make(&layer, "nchw16c");
    lay_out(&whole, "nchw16c", 1, 96, 56, 56);
    layer.destination.offset = 32 * 56 * 56;
    layer.destination.strides[0] = whole.strides[0];
    assert_int_equal(plan(&layer), 0);
    float *source = numbers(layer.plan.source_bytes), *out = numbers(quire_layout_bytes(&whole));
    float *expected = numbers(quire_layout_bytes(&whole));
    float *weights = numbers(quire_layout_bytes(&layer.weights));
    void *packed = numbers(layer.plan.weights_bytes), *work = numbers(layer.plan.workspace_bytes);
    assert_int_equal(quire_conv_pack(&layer.plan, &layer.weights, weights, NULL, packed), 0);
    assert_int_equal(quire_conv_run(&layer.plan, source, packed, NULL, out, work), 0);
    assert_memory_equal(out, expected, 32 * 56 * 56 * sizeof *out);
    make(&layer, "nchw16c");
    assert_int_equal(plan(&layer), 0);
    assert_int_equal(quire_conv_run(&layer.plan, source, packed, NULL, expected, work), 0);
    assert_memory_equal(out + 32 * 56 * 56, expected, layer.plan.destination_bytes);
    free(source);
    free(out);
    free(expected);
    free(weights);
    free(packed);
    free(work);
}

static void check_product(int64_t m, int64_t n, int64_t k, int64_t more)
{
    const int64_t lda = k + more, ldb = n + 2 * more, ldc = n + more;
    float *a = numbers((size_t)(m * lda) * sizeof *a), *b = numbers((size_t)(k * ldb) * sizeof *b);
    float *c = numbers((size_t)(m * ldc) * sizeof *c);
    size_t n_bytes = quire_matrix_workspace_bytes(m, n, k);
    void *work = numbers(n_bytes);
    float *before = numbers((size_t)(m * ldc) * sizeof *c);
    assert_int_equal(quire_matrix_multiply(m, n, k, a, lda, b, ldb, c, ldc, work, n_bytes), 0);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < ldc; j++) {
            float sum = 0; /* of integers: exact */
            for (int64_t l = 0; l < k; l++)
                sum += a[i * lda + l] * (j < n ? b[l * ldb + j] : 0);
            assert_true(c[i * ldc + j] == (j < n ? sum : before[i * ldc + j]));
        }
    free(a);
    free(b);
    free(c);
    free(before);
    free(work);
}

static void products(void **state)
{
    static const int64_t sizes[] = {1, 2, 7, 16, 31, 33, 100};
    const size_t n = sizeof sizes / sizeof *sizes;
    for (size_t i = 0; i < n * n * n; i++)
        check_product(sizes[i % n], sizes[i / n % n], sizes[i / n / n], (int64_t)(i % 3));
    float *some = numbers(4096 * sizeof *some);
    size_t n_bytes = quire_matrix_workspace_bytes(4, 4, 4);
    void *work = numbers(n_bytes);
    assert_int_equal(
        quire_matrix_multiply(4, 4, 4, some, 4, some + 64, 4, some + 128, 4, work, n_bytes), 0);
    assert_int_equal(
        quire_matrix_multiply(4, 4, 4, some, 4, some + 64, 4, some + 128, 4, work, n_bytes - 1),
        -ENOSPC);
    assert_int_equal(
        quire_matrix_multiply(4, 4, 4, some, 4, some + 64, 4, some + 64, 4, work, n_bytes),
        -EINVAL);
    assert_int_equal(
        quire_matrix_multiply(4, 4, 4, some, 3, some + 64, 4, some + 128, 4, work, n_bytes),
        -EINVAL);
    assert_int_equal(
        quire_matrix_multiply(0, 4, 4, some, 4, some + 64, 4, some + 128, 4, work, n_bytes),
        -EINVAL);
    assert_int_equal(quire_matrix_workspace_bytes(-1, 4, 4), 0);
    assert_int_equal(quire_matrix_workspace_bytes((int64_t)1 << 40, 4, 4), 0);
    free(some);
    free(work);
}

static float pooled(enum quire_pool kind, const struct quire_conv_shape *s, const float *in,
                    int64_t y, int64_t x)
{
    float sum = 0, most = -INFINITY;
    int n = 0;
    for (int64_t ky = 0; ky < s->kernel_height; ky++)
        for (int64_t kx = 0; kx < s->kernel_width; kx++) {
            int64_t iy = y * s->stride_y - s->pad_top + ky * s->dilation_y;
            int64_t ix = x * s->stride_x - s->pad_left + kx * s->dilation_x;
            if (iy < 0 || iy >= s->in_height || ix < 0 || ix >= s->in_width)
                continue;
            sum += in[iy * s->in_width + ix];
            most = fmaxf(most, in[iy * s->in_width + ix]);
            n++;
        }
    if (n == 0)
        return 0;
    if (kind == QUIRE_POOL_AVERAGE_PADDED)
        n = (int)(s->kernel_height * s->kernel_width);
    return kind == QUIRE_POOL_MAX ? most : sum / (float)n;
}

static void check_pool(enum quire_pool kind, const char *layout, int64_t kernel, int64_t stride,
                       int64_t pad, int64_t dilation)
{
    struct quire_conv_shape s;
    struct quire_layout in, out;
    int64_t h, w;
    quire_conv_shape_init(&s, 2, 21, 9, 12, 21, kernel);
    s.stride_y = s.stride_x = stride;
    s.dilation_y = s.dilation_x = dilation;
    s.pad_top = s.pad_left = pad;
    assert_int_equal(quire_conv_out_size(&s, &h, &w), 0);
    lay_out(&in, layout, 2, 21, 9, 12);
    lay_out(&out, layout, 2, 21, h, w);
    float *source = numbers(quire_layout_bytes(&in)), *target = numbers(quire_layout_bytes(&out));
    assert_int_equal(quire_pool_run(kind, &s, &in, source, &out, target), 0);
    for (int64_t n = 0; n < 2; n++)
        for (int64_t c = 0; c < 21; c++) {
            float plane[9 * 12];
            for (int64_t i = 0; i < 9 * 12; i++)
                plane[i] = source[quire_layout_place(&in, (int64_t[]){n, c, i / 12, i % 12})];
            for (int64_t i = 0; i < h * w; i++) {
                float found = target[quire_layout_place(&out, (int64_t[]){n, c, i / w, i % w})];
                assert_float_equal(found, pooled(kind, &s, plane, i / w, i % w), 1e-5);
            }
        }
    assert_int_equal(quire_pool_run(kind, &s, &in, source, &out, source), -EINVAL);
    assert_int_equal(quire_pool_run(QUIRE_POOL_N, &s, &in, source, &out, target), -EINVAL);
    lay_out(&out, "nhwc", 2, 21, h, w);
    assert_int_equal(quire_pool_run(kind, &s, &in, source, &out, target), -ENOTSUP);
    free(source);
    free(target);
}

static void pools(void **state)
{
    for (enum quire_pool kind = 0; kind < QUIRE_POOL_N; kind++) {
        check_pool(kind, "nchw16c", 3, 2, 1, 1);
        check_pool(kind, "nchw8c", 2, 2, 0, 1);
        check_pool(kind, "nchw8c", 9, 1, 0, 1);
        check_pool(kind, "nchw16c", 3, 1, 4, 2);
    }
}

static void check_combine(const char *layout)
{
    struct quire_layout l;
    lay_out(&l, layout, 2, 21, 5, 3);
    const size_t n = quire_layout_bytes(&l) / sizeof(float);
    float *a = numbers(n * sizeof *a), *b = numbers(n * sizeof *b), *c = numbers(n * sizeof *c);
    for (size_t i = 0; i < n; i++)
        b[i] = (float)(i % 5) - 2;
    b[3] = NAN;
    assert_int_equal(quire_combine_run(QUIRE_COMBINE_ADD, QUIRE_CONV_RELU6, &l, a, b, c), 0);
    assert_true(isnan(c[3])); /* not hidden by the activation */
    b[3] = 1;
    for (enum quire_combine kind = 0; kind < QUIRE_COMBINE_N; kind++) {
        assert_int_equal(quire_combine_run(kind, QUIRE_CONV_RELU6, &l, a, b, c), 0);
        for (size_t i = 0; i < n; i++) {
            float r = kind == QUIRE_COMBINE_ADD        ? a[i] + b[i]
                      : kind == QUIRE_COMBINE_MULTIPLY ? a[i] * b[i]
                                                       : fmaxf(a[i], b[i]);
            assert_true(c[i] == fminf(fmaxf(r, 0), 6));
        }
    }
    assert_int_equal(quire_combine_run(QUIRE_COMBINE_ADD, QUIRE_CONV_LINEAR, &l, a, b, a), 0);
    assert_true(a[1] == -11 + 7 + b[1]);
    assert_int_equal(quire_combine_run(QUIRE_COMBINE_ADD, QUIRE_CONV_LINEAR, &l, a, b, a + 16),
                     -EINVAL);
    assert_int_equal(quire_combine_run(QUIRE_COMBINE_N, QUIRE_CONV_LINEAR, &l, a, b, c), -EINVAL);
    l.strides[0] *= 2;
    assert_int_equal(quire_combine_run(QUIRE_COMBINE_ADD, QUIRE_CONV_LINEAR, &l, a, b, c),
                     -ENOTSUP);
    free(a);
    free(b);
    free(c);
}

static void element_by_element(void **state)
{
    check_combine("nchw16c");
    check_combine("nchw8c");
    check_combine("nchw");
}

static void scales(void **state)
{
    struct quire_layout l;
    float scale[21], shift[21];
    lay_out(&l, "nchw8c", 2, 21, 5, 3);
    const size_t n = quire_layout_bytes(&l) / sizeof(float);
    float *in = numbers(n * sizeof *in), *out = numbers(n * sizeof *out);
    for (int i = 0; i < 21; i++) {
        scale[i] = (float)i / 4;
        shift[i] = (float)-i;
    }
    assert_int_equal(quire_scale_run(scale, shift, QUIRE_CONV_RELU, &l, in, out), 0);
    for (int64_t i = 0; i < (int64_t)n; i++) {
        int64_t c = i / 120 % 3 * 8 + i % 8;
        float r = c < 21 ? fmaxf(in[i] * scale[c] + shift[c], 0) : 0; /* tails, too */
        assert_true(out[i] == r);
    }
    assert_int_equal(quire_scale_run(NULL, NULL, QUIRE_CONV_LINEAR, &l, in, out), 0);
    for (size_t i = 0; i < n; i++)
        assert_true(out[i] == (i / 120 % 3 * 8 + i % 8 < 21 ? in[i] : 0));
    assert_int_equal(quire_scale_run(NULL, shift, QUIRE_CONV_LINEAR, &l, in, in), 0);
    assert_true(in[120 + 3] == out[120 + 3] - 11);
    assert_int_equal(quire_scale_run(scale, shift, QUIRE_CONV_RELU, &l, in, in + 16), -EINVAL);
    lay_out(&l, "nhwc", 2, 21, 5, 3);
    assert_int_equal(quire_scale_run(scale, shift, QUIRE_CONV_RELU, &l, in, out), -ENOTSUP);
    free(in);
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choice_stays_within_the_error),
        cmocka_unit_test(what_an_algorithm_cannot_do),
        cmocka_unit_test(a_blocked_source_is_read_where_it_is),
        cmocka_unit_test(a_first_layer_reads_plain_channels),
        cmocka_unit_test(wrong_shapes),
        cmocka_unit_test(wrong_layouts_and_options),
        cmocka_unit_test(wrong_buffers),
        cmocka_unit_test(destination_is_a_slice),
        cmocka_unit_test(products),
        cmocka_unit_test(pools),
        cmocka_unit_test(element_by_element),
        cmocka_unit_test(scales),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
