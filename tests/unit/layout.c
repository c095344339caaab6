/* SPDX-License-Identifier: Apache-2.0 */
/* Layouts and conversions, one behaviour a test. All shapes are in tests/model/layout_model.c. */
#include <quire/layout.h>

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h> /* wants the headers above */

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

static struct quire_layout make(const char *name, enum quire_layout_type type, const int64_t *dims)
{
    struct quire_layout layout;
    uint32_t n = 0;
    while (name[n] > '9')
        n++;
    assert_int_equal(quire_layout_init(&layout, name, type, n, dims), 0);
    return layout;
}

static int64_t place(const struct quire_layout *layout, int64_t a, int64_t b, int64_t c, int64_t d)
{
    return quire_layout_place(layout, DIMS(a, b, c, d));
}

/* The formulas at the top of the header. */
static void test_places(void **state)
{
    const int64_t *dims = DIMS(2, 40, 5, 7);
    (void)state;
    struct quire_layout nchw = make("nchw", QUIRE_LAYOUT_F32, dims);
    struct quire_layout nhwc = make("nhwc", QUIRE_LAYOUT_F32, dims);
    struct quire_layout blocked = make("nChw16c", QUIRE_LAYOUT_F32, dims);
    for (int64_t n = 0; n < 2; n++)
        for (int64_t c = 0; c < 40; c++)
            for (int64_t h = 0; h < 5; h++)
                for (int64_t w = 0; w < 7; w++) {
                    assert_int_equal(place(&nchw, n, c, h, w), ((n * 40 + c) * 5 + h) * 7 + w);
                    assert_int_equal(place(&nhwc, n, c, h, w), ((n * 5 + h) * 7 + w) * 40 + c);
                    assert_int_equal(place(&blocked, n, c, h, w),
                                     (((n * 3 + c / 16) * 5 + h) * 7 + w) * 16 + c % 16);
                }
    assert_int_equal(quire_layout_bytes(&nchw), 2 * 40 * 5 * 7 * 4);
    assert_int_equal(quire_layout_bytes(&blocked), 2 * 48 * 5 * 7 * 4);
    assert_int_equal(quire_layout_elements(&blocked), 2 * 40 * 5 * 7);
    assert_int_equal(quire_layout_block_size(&blocked, 1), 16);
    /* oneDNN's OIhw4i16o4i: (i / 4) of four, then o, then i % 4 */
    struct quire_layout dots = make("oihw4i16o4i", QUIRE_LAYOUT_I8, DIMS(32, 32, 3, 3));
    assert_int_equal(place(&dots, 17, 21, 1, 2),
                     (((1 * 2 + 1) * 3 + 1) * 3 + 2) * 256 + 1 * 64 + 1 * 4 + 1);
    assert_int_equal(quire_layout_block_size(&dots, 1), 16);
}

static void test_names_go_back(void **state)
{
    static const char *const data[] = {"nchw", "nhwc", "nchw4c", "nchw8c", "nchw16c", "chwn",
                                       "nc",   "ncw",  "nwc8c",  "ndhwc",  "ncdhw16c"};
    static const char *const weights[] = {"oihw",        "hwio",     "ohwi", "oihw16i16o",
                                          "oihw4i16o4i", "goihw16g", "oiw",  "goidhw8o"};
    const int64_t *dims = DIMS(20, 33, 3, 5, 7, 2);
    char name[QUIRE_LAYOUT_NAME_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof data / sizeof data[0]; i++) {
        struct quire_layout layout = make(data[i], QUIRE_LAYOUT_F16, dims);
        assert_int_equal(quire_layout_name(&layout, false, name), 0);
        assert_string_equal(name, data[i]);
    }
    for (size_t i = 0; i < sizeof weights / sizeof weights[0]; i++) {
        struct quire_layout layout = make(weights[i], QUIRE_LAYOUT_I8, dims);
        assert_int_equal(quire_layout_name(&layout, true, name), 0);
        assert_string_equal(name, weights[i]);
    }
    struct quire_layout slice = make("nchw", QUIRE_LAYOUT_F32, dims);
    slice.dims[3]--;
    assert_int_equal(quire_layout_name(&slice, false, name), -EINVAL);
}

static void test_bad_names(void **state)
{
    static const char *const bad[] = {"",
                                      "x",
                                      "ncha",
                                      "nchww",
                                      "nch",
                                      "nchw0c",
                                      "nchw16",
                                      "nchw16k",
                                      "nchw512c",
                                      "nchw32c16c",
                                      "nchw-4c",
                                      "16c",
                                      "oihw4g",
                                      "onhw",
                                      "nchw1c1c1c1c1c",
                                      "nchw4 c",
                                      "nchw999999999999c",
                                      "ncdhwo"};
    struct quire_layout layout = {.n_dims = 77};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(quire_layout_init(&layout, bad[i], QUIRE_LAYOUT_F32, 4, DIMS(1, 2, 3, 4)),
                         -EINVAL);
    assert_int_equal(layout.n_dims, 77); /* untouched */
}

static void test_bad_sizes(void **state)
{
    struct quire_layout layout;
    const int64_t huge = (int64_t)1 << 40;
    (void)state;
    assert_int_equal(quire_layout_init(&layout, "nchw", 0, 4, DIMS(1, 0, 3, 4)), -EINVAL);
    assert_int_equal(quire_layout_init(&layout, "nchw", 0, 4, DIMS(1, -2, 3, 4)), -EINVAL);
    assert_int_equal(quire_layout_init(&layout, "nchw", 0, 4, DIMS(huge, huge, 1, 1)), -EOVERFLOW);
    assert_int_equal(quire_layout_init(&layout, "nchw16c", 0, 4, DIMS(INT64_MAX, INT64_MAX, 1, 1)),
                     -EOVERFLOW);
    assert_int_equal(quire_layout_init(&layout, "nchw", 4, 4, DIMS(1, 1, 1, 1)), -EINVAL);
    layout = make("nchw", QUIRE_LAYOUT_F32, DIMS(2, 3, 4, 5));
    layout.strides[1] = -20;
    assert_int_equal(quire_layout_check(&layout), -EINVAL); /* begins before its buffer */
    assert_int_equal(quire_layout_bytes(&layout), 0);
    layout.offset = 40;
    assert_int_equal(quire_layout_check(&layout), 0);
    assert_int_equal(quire_layout_bytes(&layout), 2 * 60 * 4);
    layout.strides[1] = INT64_MIN;
    assert_int_equal(quire_layout_check(&layout), -EOVERFLOW);
    layout.strides[1] = INT64_MAX;
    assert_int_equal(quire_layout_check(&layout), -EOVERFLOW);
}

static void test_places_of_their_own(void **state)
{
    (void)state;
    struct quire_layout layout = make("nchw", QUIRE_LAYOUT_F32, DIMS(2, 3, 4, 5));
    assert_true(quire_layout_is_injective(&layout));
    layout.strides[0] = 59;
    assert_false(quire_layout_is_injective(&layout));
    layout.strides[0] = 0;
    assert_false(quire_layout_is_injective(&layout));
    layout.dims[0] = 1;
    assert_true(quire_layout_is_injective(&layout));
}

/* Conversions */

static void test_mismatches(void **state)
{
    struct quire_layout_conversion conversion;
    struct quire_layout from = make("nchw", QUIRE_LAYOUT_F32, DIMS(1, 3, 4, 5)), to = from;
    (void)state;
    to.dims[1] = 4;
    assert_int_equal(quire_layout_conversion_init(&conversion, &from, &to, NULL), -EINVAL);
    to = make("nhwc", QUIRE_LAYOUT_F16, DIMS(1, 3, 4, 5));
    assert_int_equal(quire_layout_conversion_init(&conversion, &from, &to, NULL), -EINVAL);
    to = make("ncw", QUIRE_LAYOUT_F32, DIMS(1, 3, 4));
    assert_int_equal(quire_layout_conversion_init(&conversion, &from, &to, NULL), -EINVAL);
    to = from;
    to.strides[3] = 0; /* elements would fall together */
    assert_int_equal(quire_layout_conversion_init(&conversion, &from, &to, NULL), -EINVAL);
    assert_int_equal(quire_layout_conversion_init(&conversion, &to, &from, NULL), 0);
    struct quire_layout_options options = {.isa = QUIRE_LAYOUT_N_ISAS};
    assert_int_equal(quire_layout_conversion_init(&conversion, &from, &from, &options), -EINVAL);
    for (int isa = 0; isa < QUIRE_LAYOUT_N_ISAS; isa++) {
        options.isa = (enum quire_layout_isa)isa;
        assert_int_equal(quire_layout_conversion_init(&conversion, &from, &from, &options),
                         quire_layout_isa_is_here(options.isa) ? 0 : -ENOTSUP);
    }
}

/* Each is refused before anything is written. */
static void test_bad_buffers(void **state)
{
    struct quire_layout from = make("nchw", QUIRE_LAYOUT_F32, DIMS(1, 5, 4, 5));
    struct quire_layout to = make("nchw4c", QUIRE_LAYOUT_F32, DIMS(1, 5, 4, 5));
    struct quire_layout_conversion conversion;
    static _Alignas(64) unsigned char bytes[4096];
    const size_t n = 400, m = 640;
    (void)state;
    memset(bytes, 7, sizeof bytes);
    assert_int_equal(quire_layout_conversion_init(&conversion, &from, &to, NULL), 0);
    assert_int_equal(quire_layout_convert(&conversion, NULL, n, bytes, m), -EFAULT);
    assert_int_equal(quire_layout_convert(&conversion, bytes, n, NULL, m), -EFAULT);
    assert_int_equal(quire_layout_convert(&conversion, bytes + 2, n, bytes + 1024, m), -EFAULT);
    assert_int_equal(quire_layout_convert(&conversion, bytes, n, bytes + 1026, m), -EFAULT);
    assert_int_equal(quire_layout_convert(&conversion, bytes, n, bytes + n - 4, m), -EFAULT);
    assert_int_equal(quire_layout_convert(&conversion, bytes + m - 4, n, bytes, m), -EFAULT);
    assert_int_equal(quire_layout_convert(&conversion, bytes, n, bytes, m), -EFAULT);
    assert_int_equal(quire_layout_convert(&conversion, bytes, n - 1, bytes + 1024, m), -ENOSPC);
    assert_int_equal(quire_layout_convert(&conversion, bytes, n, bytes + 1024, m - 1), -ENOSPC);
    assert_int_equal(quire_layout_convert_part(&conversion, 2, 2, bytes, n, bytes + 1024, m),
                     -EINVAL);
    assert_int_equal(quire_layout_convert_part(&conversion, 0, 0, bytes, n, bytes + 1024, m),
                     -EINVAL);
    size_t wanted = quire_layout_in_place_bytes(&conversion);
    assert_int_equal(quire_layout_convert_in_place(&conversion, bytes, m - 1, bytes + 2048, wanted),
                     -ENOSPC);
    assert_int_equal(quire_layout_convert_in_place(&conversion, bytes, m, bytes + 2048, wanted - 1),
                     -ENOSPC);
    assert_int_equal(quire_layout_convert_in_place(&conversion, bytes, m, bytes + m - 4, wanted),
                     -EFAULT);
    assert_int_equal(quire_layout_convert_in_place(&conversion, bytes, m, NULL, wanted), -EFAULT);
    for (size_t i = 0; i < sizeof bytes; i++)
        assert_int_equal(bytes[i], 7);
    assert_int_equal(quire_layout_convert(&conversion, bytes, n, bytes + n, m), 0);
}

static void test_tails_are_zeros_and_gaps_stay(void **state)
{
    struct quire_layout from = make("nchw", QUIRE_LAYOUT_I8, DIMS(1, 3, 2, 2));
    struct quire_layout to = make("nchw4c", QUIRE_LAYOUT_I8, DIMS(1, 3, 2, 2));
    struct quire_layout_conversion conversion;
    const char source[] = {1, 2, 3, 4, 11, 12, 13, 14, 21, 22, 23, 24};
    char target[32];
    (void)state;
    to.strides[2] = 12; /* rows are 8 bytes, then 4 of somebody else */
    memset(target, 99, sizeof target);
    assert_int_equal(quire_layout_conversion_init(&conversion, &from, &to, NULL), 0);
    assert_int_equal(
        quire_layout_convert(&conversion, source, sizeof source, target, sizeof target), 0);
    assert_memory_equal(target, ((const char[]){1,  11, 21, 0,  2,  12, 22, 0,  99, 99,
                                                99, 99, 3,  13, 23, 0,  4,  14, 24, 0}),
                        20);
    assert_int_equal(target[20], 99);
}

static void test_what_in_place_needs(void **state)
{
    struct quire_layout_conversion conversion;
    struct quire_layout nchw = make("nchw", QUIRE_LAYOUT_F32, DIMS(8, 64, 14, 14));
    struct quire_layout blocked = make("nchw16c", QUIRE_LAYOUT_F32, DIMS(8, 64, 14, 14));
    struct quire_layout nhwc = make("nhwc", QUIRE_LAYOUT_F32, DIMS(8, 64, 14, 14));
    (void)state;
    assert_int_equal(quire_layout_conversion_init(&conversion, &nchw, &blocked, NULL), 0);
    assert_int_equal(quire_layout_in_place_bytes(&conversion), 16 * 14 * 14 * 4);
    assert_int_equal(quire_layout_conversion_init(&conversion, &nchw, &nhwc, NULL), 0);
    assert_int_equal(quire_layout_in_place_bytes(&conversion), 64 * 14 * 14 * 4);
    struct quire_layout chwn = make("chwn", QUIRE_LAYOUT_F32, DIMS(8, 64, 14, 14));
    assert_int_equal(quire_layout_conversion_init(&conversion, &nchw, &chwn, NULL), 0);
    assert_int_equal(quire_layout_in_place_bytes(&conversion), 8 * 64 * 14 * 14 * 4);
}

#define N_THREADS 4

struct share {
    const struct quire_layout_conversion *conversion;
    const void *source;
    void *target;
    size_t from_bytes, to_bytes;
    uint32_t part;
};

static void *convert_share(void *context)
{
    const struct share *share = context;
    return (void *)(intptr_t)quire_layout_convert_part(share->conversion, share->part, N_THREADS,
                                                       share->source, share->from_bytes,
                                                       share->target, share->to_bytes);
}

/* Each part of one conversion in a thread of its own: together they are what one thread does. */
static void check_threads(const struct quire_layout *from, const struct quire_layout *to,
                          enum quire_layout_stores stores)
{
    struct quire_layout_conversion conversion;
    size_t n = quire_layout_bytes(from), m = quire_layout_bytes(to);
    char *source = malloc(n), *whole = malloc(m), *shared = malloc(m);
    pthread_t threads[N_THREADS];
    struct share shares[N_THREADS];
    for (size_t i = 0; i < n; i++)
        source[i] = (char)(i * 7 + i / 256);
    memset(shared, 1, m);
    assert_int_equal(quire_layout_conversion_init(&conversion, from, to,
                                                  &(struct quire_layout_options){.stores = stores}),
                     0);
    assert_int_equal(quire_layout_convert(&conversion, source, n, whole, m), 0);
    for (uint32_t i = 0; i < N_THREADS; i++) {
        shares[i] = (struct share){&conversion, source, shared, n, m, i};
        assert_int_equal(pthread_create(&threads[i], NULL, convert_share, &shares[i]), 0);
    }
    for (uint32_t i = 0; i < N_THREADS; i++) {
        void *error;
        pthread_join(threads[i], &error);
        assert_null(error);
    }
    assert_memory_equal(whole, shared, m);
    free(source);
    free(whole);
    free(shared);
}

/* Every way of storing: whole lines, lines that two threads share, tails, few channels. */
static void test_threads(void **state)
{
    static const struct {
        const char *from, *to;
        enum quire_layout_type type;
        int64_t dims[4];
    } cases[] = {
        {"nchw", "nchw16c", QUIRE_LAYOUT_F16, {4, 100, 33, 35}},
        {"nchw", "nchw16c", QUIRE_LAYOUT_F32, {1, 64, 28, 28}},
        {"nchw16c", "nchw", QUIRE_LAYOUT_F32, {2, 64, 28, 28}},
        {"nchw16c", "nchw", QUIRE_LAYOUT_F32, {3, 40, 27, 27}},
        {"nchw", "nhwc", QUIRE_LAYOUT_I8, {5, 3, 60, 61}},
        {"nhwc", "nchw", QUIRE_LAYOUT_I8, {5, 3, 60, 61}},
        {"nhwc", "nchw16c", QUIRE_LAYOUT_F32, {5, 3, 60, 61}},
        {"nhwc", "nhwc", QUIRE_LAYOUT_F32, {2, 3, 60, 61}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct quire_layout from = make(cases[i].from, cases[i].type, cases[i].dims);
        struct quire_layout to = make(cases[i].to, cases[i].type, cases[i].dims);
        check_threads(&from, &to, QUIRE_LAYOUT_STORES_CACHED);
        check_threads(&from, &to, QUIRE_LAYOUT_STORES_STREAMED);
    }
    /* tails of outputs and inputs, a box of zeros each */
    struct quire_layout from = make("oihw", QUIRE_LAYOUT_I8, DIMS(70, 37, 3, 3));
    struct quire_layout to = make("oihw4i16o4i", QUIRE_LAYOUT_I8, DIMS(70, 37, 3, 3));
    check_threads(&from, &to, QUIRE_LAYOUT_STORES_AUTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_names_go_back),
        cmocka_unit_test(test_bad_names),
        cmocka_unit_test(test_bad_sizes),
        cmocka_unit_test(test_places_of_their_own),
        cmocka_unit_test(test_mismatches),
        cmocka_unit_test(test_bad_buffers),
        cmocka_unit_test(test_tails_are_zeros_and_gaps_stay),
        cmocka_unit_test(test_what_in_place_needs),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
