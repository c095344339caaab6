/* SPDX-License-Identifier: Apache-2.0 */
/* Models from memory: good ones, and such as are cut, go in circles, overflow or are enormous. */
#include <quire/model.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h> /* wants the headers above */

static char message[QUIRE_MODEL_MESSAGE_BYTES];

/* Protocol buffers, written by hand */

struct bytes {
    uint8_t *at;
    size_t n, room;
};

static void put(struct bytes *to, const void *from, size_t n)
{
    if (to->n + n > to->room) {
        to->room = 2 * to->room + n + 64;
        to->at = realloc(to->at, to->room);
        assert_non_null(to->at);
    }
    memcpy(to->at + to->n, from, n);
    to->n += n;
}

static void put_number(struct bytes *to, uint64_t value)
{
    do {
        uint8_t byte = (uint8_t)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        put(to, &byte, 1);
        value >>= 7;
    } while (value > 0);
}

static void field(struct bytes *to, unsigned number, uint64_t value)
{
    put_number(to, number << 3);
    put_number(to, value);
}

static void text(struct bytes *to, unsigned number, const char *value)
{
    put_number(to, number << 3 | 2);
    put_number(to, strlen(value));
    put(to, value, strlen(value));
}

/* A message in a message; it is used up. */
static void inner(struct bytes *to, unsigned number, struct bytes *from)
{
    put_number(to, number << 3 | 2);
    put_number(to, from->n);
    if (from->n > 0)
        put(to, from->at, from->n);
    free(from->at);
    *from = (struct bytes){0};
}

/* `second` may be NULL. */
static void add_node_of_two(struct bytes *graph, const char *type, const char *in,
                            const char *second, const char *out)
{
    struct bytes node = {0};
    text(&node, 1, in);
    if (second != NULL)
        text(&node, 1, second);
    text(&node, 2, out);
    text(&node, 4, type);
    inner(graph, 1, &node);
}

static void add_node(struct bytes *graph, const char *type, const char *in, const char *out)
{
    add_node_of_two(graph, type, in, NULL, out);
}

/* A float input or output; a dimension of 0 is left open and called "n". */
static void add_shape(struct bytes *graph, unsigned number, const char *name, unsigned rank,
                      const int64_t *dims)
{
    struct bytes value = {0}, type = {0}, tensor = {0}, shape = {0}, dim = {0};
    text(&value, 1, name);
    field(&tensor, 1, 1);
    for (unsigned i = 0; i < rank; i++) {
        if (dims[i] == 0)
            text(&dim, 2, "n");
        else
            field(&dim, 1, (uint64_t)dims[i]);
        inner(&shape, 1, &dim);
    }
    inner(&tensor, 2, &shape);
    inner(&type, 1, &tensor);
    inner(&value, 2, &type);
    inner(graph, number, &value);
}

static void add_value(struct bytes *graph, unsigned number, const char *name, int64_t a, int64_t b)
{
    add_shape(graph, number, name, 2, (const int64_t[]){a, b});
}

static struct bytes finish(struct bytes *graph)
{
    struct bytes model = {0}, set = {0};
    field(&model, 1, 8);
    inner(&model, 7, graph);
    field(&set, 2, 17);
    inner(&model, 8, &set);
    return model;
}

/* x -> Relu -> Neg -> y, and a weight that nobody needs. */
static struct bytes small_model(void)
{
    struct bytes graph = {0}, weight = {0};
    const float numbers[2] = {1, 2};
    add_node(&graph, "Relu", "x", "h");
    add_node(&graph, "Neg", "h", "y");
    field(&weight, 1, 2);
    field(&weight, 2, 1);
    text(&weight, 8, "w");
    put_number(&weight, 9 << 3 | 2);
    put_number(&weight, sizeof numbers);
    put(&weight, numbers, sizeof numbers);
    inner(&graph, 5, &weight);
    add_value(&graph, 11, "x", 0, 1000);
    add_value(&graph, 12, "y", 0, 1000);
    return finish(&graph);
}

static int read_model(const struct bytes *bytes, struct quire_model **model, int64_t n)
{
    const struct quire_model_shape shape = {"n", 1, &n};
    const struct quire_model_options options = {.shapes = &shape, .n_shapes = n > 0};
    return quire_model_read(bytes->at, bytes->n, NULL, &options, model, message);
}

static void test_small(void **state)
{
    (void)state;
    struct bytes bytes = small_model();
    struct quire_model *model;
    struct quire_model_facts facts;
    struct quire_model_schedule schedule;
    assert_int_equal(read_model(&bytes, &model, 3), 0);
    quire_model_facts(model, &facts);
    assert_int_equal(facts.n_operators, 2);
    assert_int_equal(facts.static_bytes, 8);
    assert_int_equal(facts.dynamic_bytes, 3 * 12000);
    assert_int_equal(quire_model_schedule(model, NULL, &schedule), 0);
    assert_int_equal(schedule.live_peak, 2 * 12000);
    quire_model_schedule_free(&schedule);
    const struct quire_model_wishes wishes = {.in_place = true};
    assert_int_equal(quire_model_schedule(model, &wishes, &schedule), 0);
    assert_int_equal(schedule.n_shared, 1); /* y lies in h, but not h in x, which is the caller's */
    assert_int_equal(schedule.n_buffers, 2);
    quire_model_schedule_free(&schedule);
    for (uint32_t i = 0; i < facts.n_tensors; i++) { /* weights are not copied */
        struct quire_model_tensor tensor;
        quire_model_tensor(model, i, &tensor);
        if (tensor.role == QUIRE_MODEL_CONSTANT)
            assert_true((const uint8_t *)tensor.data > bytes.at &&
                        (const uint8_t *)tensor.data < bytes.at + bytes.n);
    }
    quire_model_close(model);
    free(bytes.at);
}

static void test_open_dimension(void **state)
{
    (void)state;
    struct bytes bytes = small_model();
    struct quire_model *model;
    assert_int_equal(read_model(&bytes, &model, 0), -EDESTADDRREQ);
    assert_non_null(strstr(message, "--shape x="));
    free(bytes.at);
}

/* Whatever is missing at the end: refused with a reason, or another model that holds together. */
static void test_cut(void **state)
{
    (void)state;
    struct bytes bytes = small_model();
    for (size_t n = 0; n < bytes.n; n++) {
        struct bytes part = {malloc(n + 1), n, n};
        struct quire_model *model;
        memcpy(part.at, bytes.at, n);
        part.at = realloc(part.at, n > 0 ? n : 1); /* so that a sanitizer sees reads behind it */
        if (read_model(&part, &model, 3) == 0)
            quire_model_close(model);
        else
            assert_true(message[0] != '\0' && model == NULL);
        free(part.at);
    }
    free(bytes.at);
}

static void test_circle(void **state)
{
    (void)state;
    struct bytes graph = {0};
    struct quire_model *model;
    add_node(&graph, "Relu", "b", "a");
    add_node(&graph, "Relu", "a", "b");
    struct bytes bytes = finish(&graph);
    assert_int_equal(read_model(&bytes, &model, 0), -EINVAL);
    assert_non_null(strstr(message, "in a circle"));
    free(bytes.at);
}

static void test_unsorted(void **state)
{
    (void)state;
    struct bytes graph = {0};
    struct quire_model *model;
    struct quire_model_operator operator_;
    add_node(&graph, "Neg", "h", "y");
    add_node(&graph, "Relu", "x", "h");
    add_value(&graph, 11, "x", 1, 4);
    struct bytes bytes = finish(&graph);
    assert_int_equal(read_model(&bytes, &model, 0), 0);
    quire_model_operator(model, 0, &operator_);
    assert_string_equal(operator_.type, "Relu");
    quire_model_close(model);
    free(bytes.at);
}

static void test_overflow(void **state)
{
    (void)state;
    struct bytes graph = {0};
    struct quire_model *model;
    add_node(&graph, "Relu", "x", "y");
    add_value(&graph, 11, "x", INT64_MAX, INT64_MAX);
    struct bytes bytes = finish(&graph);
    assert_int_equal(read_model(&bytes, &model, 0), -EOVERFLOW);
    free(bytes.at);
}

static void test_neither(void **state)
{
    (void)state;
    struct bytes bytes = {(uint8_t[]){"\x7f"
                                      "ELF and so on"},
                          14, 14};
    struct quire_model *model;
    assert_int_equal(read_model(&bytes, &model, 0), -ENOEXEC);
    bytes = (struct bytes){(uint8_t[]){0xf0, 0xff, 0xff, 0x7f, 'T', 'F', 'L', '3'}, 8, 8};
    assert_int_equal(read_model(&bytes, &model, 0), -EINVAL);
    assert_non_null(strstr(message, "TFLite file is damaged"));
}

/* Convolutions */

static void add_ints(struct bytes *node, const char *name, unsigned n, const int64_t *values)
{
    struct bytes attribute = {0};
    text(&attribute, 1, name);
    for (unsigned i = 0; i < n; i++)
        field(&attribute, 8, (uint64_t)values[i]);
    field(&attribute, 20, 7);
    inner(node, 5, &attribute);
}

/* y = Conv(x, w) of 6 channels in 2 groups, 9 x 10 pixels, a kernel of 3 x 2. */
static struct bytes conv_model(const char *automatic, const int64_t *pads, int64_t stride,
                               int64_t dilation)
{
    struct bytes graph = {0}, node = {0}, attribute = {0};
    text(&node, 1, "x");
    text(&node, 1, "w");
    text(&node, 2, "y");
    text(&node, 4, "Conv");
    add_ints(&node, "strides", 2, (const int64_t[]){stride, 1});
    add_ints(&node, "dilations", 2, (const int64_t[]){dilation, 1});
    if (pads != NULL)
        add_ints(&node, "pads", 4, pads);
    text(&attribute, 1, "auto_pad");
    text(&attribute, 4, automatic);
    field(&attribute, 20, 3);
    inner(&node, 5, &attribute);
    text(&attribute, 1, "group");
    field(&attribute, 3, 2);
    field(&attribute, 20, 2);
    inner(&node, 5, &attribute);
    inner(&graph, 1, &node);
    add_node(&graph, "Relu", "y", "z");
    add_shape(&graph, 11, "x", 4, (const int64_t[]){1, 6, 9, 10});
    add_shape(&graph, 11, "w", 4, (const int64_t[]){4, 3, 3, 2});
    add_shape(&graph, 12, "z", 0, NULL);
    return finish(&graph);
}

static void check_window(const char *automatic, const int64_t *pads, int64_t stride,
                         int64_t dilation, const int64_t expected[4])
{
    struct bytes bytes = conv_model(automatic, pads, stride, dilation);
    struct quire_model *model;
    struct quire_model_window window;
    assert_int_equal(read_model(&bytes, &model, 0), 0);
    assert_int_equal(quire_model_window(model, 1, &window), -ENOTSUP); /* Relu */
    assert_int_equal(quire_model_window(model, 0, &window), 0);
    assert_int_equal(window.weights, 1);
    assert_int_equal(window.groups, 2);
    assert_memory_equal(window.kernel, ((const int64_t[]){3, 2}), sizeof window.kernel);
    assert_memory_equal(window.stride, ((const int64_t[]){stride, 1}), sizeof window.stride);
    assert_memory_equal(window.dilation, ((const int64_t[]){dilation, 1}), sizeof window.dilation);
    assert_memory_equal(window.before, expected, sizeof window.before);
    assert_memory_equal(window.behind, expected + 2, sizeof window.behind);
    quire_model_close(model);
    free(bytes.at);
}

/* Before and behind, along the height and the width. */
static void test_windows(void **state)
{
    const int64_t pads[4] = {1, 0, 2, 3}, none[4] = {0};
    (void)state;
    check_window("NOTSET", pads, 2, 1, pads);
    check_window("NOTSET", NULL, 1, 3, none);
    check_window("VALID", NULL, 2, 1, none);
    check_window("SAME_UPPER", NULL, 1, 2, (const int64_t[]){2, 0, 2, 1});
    check_window("SAME_LOWER", NULL, 1, 1, (const int64_t[]){1, 1, 1, 0});
    check_window("SAME_UPPER", NULL, 2, 1, (const int64_t[]){1, 0, 1, 1}); /* 5 rows of 9 */
}

#ifndef MANY
#define MANY 100000u
#endif

static void test_many(void **state)
{
    (void)state;
    struct bytes graph = {0};
    struct quire_model *model;
    struct quire_model_schedule schedule;
    char in[16] = "x", out[16];
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(out, sizeof out, "t%u", i);
        add_node(&graph, i % 2 == 0 ? "Relu" : "Neg", in, out);
        memcpy(in, out, sizeof in);
    }
    add_value(&graph, 11, "x", 1, 16);
    add_value(&graph, 12, in, 1, 16);
    struct bytes bytes = finish(&graph);
    assert_int_equal(read_model(&bytes, &model, 0), 0);
    const struct quire_model_wishes wishes = {.in_place = true, .reorder = true};
    assert_int_equal(quire_model_schedule(model, &wishes, &schedule), 0);
    assert_int_equal(schedule.n_steps, MANY);
    assert_int_equal(schedule.n_buffers, 2);
    quire_model_schedule_free(&schedule);
    quire_model_close(model);
    free(bytes.at);
}

/* A pass forward and one backward, as in training: layer i's activation is read again at step
 * 2 * n_layers - 1 - i. All tensors have 64 bytes. */
static struct quire_model *open_training(unsigned n_layers, struct bytes *bytes)
{
    struct bytes graph = {0};
    struct quire_model *model;
    char in[16] = "x", out[16], activation[16];
    for (unsigned i = 0; i < n_layers; i++) {
        snprintf(out, sizeof out, "a%u", i);
        add_node(&graph, "Sigmoid", in, out);
        memcpy(in, out, sizeof in);
    }
    for (unsigned i = n_layers; i-- > 0;) {
        snprintf(out, sizeof out, "g%u", i);
        snprintf(activation, sizeof activation, "a%u", i);
        add_node_of_two(&graph, "Mul", in, activation, out);
        memcpy(in, out, sizeof in);
    }
    add_value(&graph, 11, "x", 1, 16);
    add_value(&graph, 12, in, 1, 16);
    *bytes = finish(&graph);
    assert_int_equal(read_model(bytes, &model, 0), 0);
    return model;
}

/* Sublinear memory: every so many activations stay, and each of the others runs again once. */
static void test_recompute_in_training(void **state)
{
    (void)state;
    const unsigned n_layers = 2500, most = 2 * 50 + 8; /* twice the root, and what one step needs */
    struct bytes bytes;
    struct quire_model *model = open_training(n_layers, &bytes);
    struct quire_model_schedule schedule;
    const struct quire_model_wishes wishes = {.recompute_budget = most * 64};
    assert_int_equal(quire_model_schedule(model, &wishes, &schedule), 0);
    assert_true(schedule.fits_budget && schedule.live_peak <= most * 64);
    assert_true(schedule.n_recomputed <= n_layers);
    quire_model_schedule_free(&schedule);
    quire_model_close(model);
    free(bytes.at);
}

/* Tens of thousands of evictions: what looks at everything for each takes minutes here. */
static void test_many_budgets(void **state)
{
    (void)state;
    const unsigned n_layers = MANY / 20;
    struct bytes bytes;
    struct quire_model *model = open_training(n_layers, &bytes);
    struct quire_model_schedule schedule;
    struct quire_model_wishes wishes = {.recompute_budget = n_layers * 8};
    assert_int_equal(quire_model_schedule(model, &wishes, &schedule), 0);
    assert_true(schedule.fits_budget && schedule.live_peak <= n_layers * 8);
    quire_model_schedule_free(&schedule);
    wishes = (struct quire_model_wishes){.offload_budget = n_layers * 8, .bandwidth = 1e6};
    assert_int_equal(quire_model_schedule(model, &wishes, &schedule), 0);
    assert_true(schedule.fits_budget && schedule.live_peak <= n_layers * 8);
    assert_true(schedule.n_offloaded > n_layers * 3 / 4 && schedule.n_offloaded < n_layers);
    quire_model_schedule_free(&schedule);
    quire_model_close(model);
    free(bytes.at);
}

/* However little time there is: every operator runs, and nothing needs more than before. */
static void test_no_time(void **state)
{
    (void)state;
    struct bytes bytes;
    struct quire_model *model = open_training(1000, &bytes);
    struct quire_model_schedule plain, schedule;
    const struct quire_model_wishes wishes = {
        .reorder = true, .recompute_budget = 20000, .offload_budget = 10000, .time_limit = 1e-9};
    assert_int_equal(quire_model_schedule(model, NULL, &plain), 0);
    assert_int_equal(quire_model_schedule(model, &wishes, &schedule), 0);
    assert_true(!schedule.fits_budget && schedule.live_peak <= plain.live_peak);
    assert_int_equal(schedule.n_steps - schedule.n_recomputed - 2 * schedule.n_offloaded, 2000);
    quire_model_schedule_free(&plain);
    quire_model_schedule_free(&schedule);
    quire_model_close(model);
    free(bytes.at);
}

/* What no budget can be below: the operands of one operator, and what is handed in. */
static void test_least(void **state)
{
    (void)state;
    struct bytes bytes;
    struct quire_model *model = open_training(20, &bytes);
    struct quire_model_schedule schedule;
    struct quire_model_wishes wishes = {.recompute_budget = 191};
    assert_int_equal(quire_model_schedule(model, &wishes, &schedule), 0);
    assert_true(!schedule.fits_budget && schedule.least == 192 && schedule.floor == 192);
    quire_model_schedule_free(&schedule);
    wishes.in_place = true; /* the product is written over what it was made of */
    assert_int_equal(quire_model_schedule(model, &wishes, &schedule), 0);
    assert_true(schedule.least == 64 && schedule.floor == 128);
    quire_model_schedule_free(&schedule);
    quire_model_close(model);
    free(bytes.at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_open_dimension),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_circle),
        cmocka_unit_test(test_unsorted),
        cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_neither),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_recompute_in_training),
        cmocka_unit_test(test_many_budgets),
        cmocka_unit_test(test_no_time),
        cmocka_unit_test(test_least),
        cmocka_unit_test(test_windows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
