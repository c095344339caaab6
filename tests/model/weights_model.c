/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights in fewer bits against plain opinions: halves against the nearest of all halves, packed
 * tensors against what their scheme promises for each weight, sizes against their formulas, the
 * choice for a size against all choices.
 *
 * QUIRE_TEST_SEED replays a run; QUIRE_TEST_ROUNDS makes it longer.
 */
#include "model_random.h"

#include "tensor/half.h"
#include "tensor/model.h"
#include "tensor/weights.h"
#include "tensor/weights_code.h"

#include <errno.h>
#include <stdbool.h>

#define MAX_WEIGHTS 4096u
#define MAX_TENSORS 7u

static float values[MAX_WEIGHTS], unpacked[MAX_WEIGHTS], scratch[MAX_WEIGHTS];
static uint8_t bytes[16 * MAX_WEIGHTS + 64];
static struct weights_matrix matrix = {.values = values};
static struct weights_packed packed = {.bytes = bytes};

/* Halves */

static void test_all_halves(void)
{
    for (uint32_t half = 0; half < 0x10000; half++) {
        float value = half_read((uint16_t)half);
        if ((half >> 10 & 31) != 31)
            REQUIRE(half_write(value) == half);
        else
            REQUIRE((half & 0x3ff) != 0 ? isnan(value) : isinf(value));
    }
    REQUIRE(half_read(0x3c00) == 1 && half_read(0xc000) == -2 && half_read(0x7bff) == HALF_MAX);
    REQUIRE(half_read(1) == 0x1p-24f && half_write(1e9f) == 0x7bff && half_write(-1e9f) == 0xfbff);
    REQUIRE(half_write(65519) == 0x7bff && half_write(0x1p-26f) == 0);
}

static float draw_real(void)
{
    return (float)((double)draw(2000001) / 1e6 - 1);
}

/* No other half is nearer, and of two that are as near it is the even one. */
static void test_nearest_half(void)
{
    float value = draw_real() * (float)(1u << draw(16)) / (float)(1u << draw(30));
    uint16_t half = half_write(value);
    double error = fabs((double)half_read(half) - (double)value);
    for (int step_to = -1; step_to <= 1; step_to += 2) {
        uint16_t other = (uint16_t)(half + step_to);
        double its = fabs((double)half_read(other) - (double)value);
        if ((other & 0x8000) != (half & 0x8000) || (other & 0x7c00) == 0x7c00)
            continue;
        REQUIRE(error < its || (error == its && half % 2 == 0));
    }
    float tie = half_read(half) / 2 + half_read((uint16_t)(half + 1)) / 2; /* between two */
    if (fabsf(tie) > 0x1p-12f && fabsf(tie) < 60000)
        REQUIRE(half_write(tie) % 2 == 0);
}

/* Packing */

static void draw_matrix(void)
{
    uint32_t n_channels = (uint32_t)(1 + draw(16)), n_each = (uint32_t)(1 + draw(200));
    float scale = (float)pow(10, (double)draw(7) - 4);
    matrix.n = (uint64_t)n_channels * n_each;
    matrix.n_channels = n_channels;
    matrix.type = draw(2) == 0 ? QUIRE_MODEL_F32 : QUIRE_MODEL_F16;
    bool is_positive = draw(3) == 0;
    for (uint64_t i = 0; i < matrix.n; i++) {
        values[i] = draw(8) == 0 ? 0 : draw_real() * draw_real() * scale;
        values[i] = is_positive ? fabsf(values[i]) : values[i];
        if (matrix.type == QUIRE_MODEL_F16)
            values[i] = half_read(half_write(values[i]));
    }
}

static void convert(enum quire_weights_scheme scheme, const struct quire_weights_options *options)
{
    weights_pack(&matrix, scheme, options, scratch, &packed);
    REQUIRE(packed.n_bytes <= weights_pack_room(&matrix));
    weights_unpack(&matrix, scheme, options, &packed, unpacked);
}

static float most_of(uint64_t from, uint64_t n)
{
    float most = 0;
    for (uint64_t i = from; i < from + n; i++)
        most = fmaxf(most, fabsf(values[i]));
    return most;
}

static void test_whole(const struct quire_weights_options *options)
{
    convert(QUIRE_WEIGHTS_KEEP, options);
    REQUIRE(memcmp(values, unpacked, matrix.n * sizeof *values) == 0);
    REQUIRE(packed.n_bytes == matrix.n * (matrix.type == QUIRE_MODEL_F32 ? 4 : 2));
    convert(QUIRE_WEIGHTS_F16, options);
    REQUIRE(packed.n_bytes == 2 * matrix.n);
    for (uint64_t i = 0; i < matrix.n; i++)
        REQUIRE(unpacked[i] == half_read(half_write(values[i])));
}

/* Each is half a scale off at most; the largest of a channel is met. */
static void test_i8(const struct quire_weights_options *options)
{
    uint64_t n_each = matrix.n / matrix.n_channels;
    convert(QUIRE_WEIGHTS_I8, options);
    REQUIRE(packed.n_bytes == matrix.n + 4 * (uint64_t)matrix.n_channels);
    for (uint64_t i = 0; i < matrix.n; i++) {
        float most = most_of(i / n_each * n_each, n_each);
        REQUIRE(fabsf(values[i] - unpacked[i]) <= most / 254 * 1.0001f);
        if (fabsf(values[i]) == most)
            REQUIRE(fabsf(values[i] - unpacked[i]) <= most * 1e-6f);
    }
}

/* Half a step of 255 from the lowest to the highest off at most; 0 is met. */
static void test_u8(const struct quire_weights_options *options)
{
    uint64_t n_each = matrix.n / matrix.n_channels;
    convert(QUIRE_WEIGHTS_U8, options);
    REQUIRE(packed.n_bytes == matrix.n + 5 * (uint64_t)matrix.n_channels);
    for (uint64_t i = 0; i < matrix.n; i++) {
        float low = 0, high = 0;
        for (uint64_t k = i / n_each * n_each; k < (i / n_each + 1) * n_each; k++) {
            low = values[k] < low ? values[k] : low;
            high = values[k] > high ? values[k] : high;
        }
        REQUIRE(fabsf(values[i] - unpacked[i]) <= (high - low) / 510 * 1.0001f);
        REQUIRE(values[i] != 0 || unpacked[i] == 0);
    }
}

/* No worse than the plain scale, group by group; sixteen steps at most. */
static void test_i4(const struct quire_weights_options *options)
{
    uint64_t n_each = matrix.n / matrix.n_channels, n_groups = 0;
    convert(QUIRE_WEIGHTS_I4, options);
    for (uint64_t c = 0; c < matrix.n_channels; c++) {
        for (uint64_t from = 0; from < n_each; from += options->group, n_groups++) {
            uint64_t at = c * n_each + from;
            uint64_t n = n_each - from < options->group ? n_each - from : options->group;
            double ours = 0, plain = 0;
            float top = 0;
            for (uint64_t i = at; i < at + n; i++)
                top = fabsf(values[i]) > fabsf(top) ? values[i] : top;
            float scale = half_read(half_write(top / -8));
            for (uint64_t i = at; i < at + n; i++) {
                float code = scale == 0 ? 0 : fminf(fmaxf(rintf(values[i] / scale), -8), 7);
                plain += pow((double)(values[i] - code * scale), 2);
                ours += pow((double)(values[i] - unpacked[i]), 2);
            }
            REQUIRE(ours <= plain * 1.001 + 1e-12);
        }
    }
    REQUIRE(packed.n_bytes == (matrix.n + 1) / 2 + 2 * n_groups);
}

/* So many are gone as were asked for, or were zero; none that is left is smaller than one gone. */
static void test_sparse(const struct quire_weights_options *options)
{
    uint64_t n_gone = 0, n_zeros = 0, wanted = (uint64_t)((double)matrix.n * options->sparsity);
    float largest_gone = 0, smallest_left = INFINITY;
    convert(QUIRE_WEIGHTS_SPARSE, options);
    for (uint64_t i = 0; i < matrix.n; i++) {
        n_zeros += values[i] == 0;
        n_gone += unpacked[i] == 0;
        REQUIRE(unpacked[i] == 0 || unpacked[i] == values[i]);
        if (unpacked[i] == 0)
            largest_gone = fmaxf(largest_gone, fabsf(values[i]));
        else
            smallest_left = fminf(smallest_left, fabsf(values[i]));
    }
    REQUIRE(n_gone == (n_zeros > wanted ? n_zeros : wanted));
    REQUIRE(largest_gone <= smallest_left);
    REQUIRE(packed.n_bytes ==
            (matrix.n + 7) / 8 + (matrix.n - n_gone) * (matrix.type == QUIRE_MODEL_F32 ? 4 : 2));
}

/* Entropy */

static void test_entropy(void)
{
    struct weights_coder *coder = weights_coder_new(sizeof bytes, 3);
    struct weights_packed plain = {bytes, 1024, 1, {{1024, 1, 8}}};
    REQUIRE(coder != NULL);
    for (unsigned i = 0; i < 1024; i++)
        bytes[i] = (uint8_t)i;
    REQUIRE(fabs(weights_entropy(&plain) - 1024) < 1e-6);
    plain.streams[0].bits = 4; /* each nibble as often */
    REQUIRE(fabs(weights_entropy(&plain) - 1024) < 1e-6);
    memset(bytes, 0x55, 1024);
    REQUIRE(weights_entropy(&plain) == 0 && weights_code(coder, &plain) < 64);
    plain.streams[0].bits = 1; /* as many ones as zeros */
    REQUIRE(fabs(weights_entropy(&plain) - 1024) < 1e-6);
    plain.streams[0] = (struct weights_stream){1024, 2, 8}; /* one plane is noise, one is not */
    for (unsigned i = 0; i < 1024; i++)
        bytes[i] = i % 2 == 0 ? (uint8_t)(i / 2) : 7;
    REQUIRE(fabs(weights_entropy(&plain) - 512) < 1e-6);
    for (unsigned i = 0; i < 1024; i++)
        bytes[i] = (uint8_t)draw(256);
    REQUIRE(weights_code(coder, &plain) <= 1024 && weights_code(coder, &plain) > 900);
    weights_coder_free(coder);
}

/* Choosing */

static void draw_costs(struct quire_weights *weights)
{
    for (size_t t = 0; t < weights->n_tensors; t++) {
        struct quire_weights_tensor *tensor = &weights->tensors[t];
        uint64_t n = 1 + draw(60);
        *tensor = (struct quire_weights_tensor){.tensor = (uint32_t)t};
        tensor->costs[0] = (struct quire_weights_cost){.applies = true, .n_bytes = n};
        for (unsigned s = 1; s < QUIRE_WEIGHTS_N_SCHEMES; s++) {
            tensor->costs[s].applies = n > 1 && draw(4) != 0;
            tensor->costs[s].n_bytes = 1 + draw(n > 1 ? n - 1 : 1);
            tensor->costs[s].noise = (double)draw(30) / 8;
        }
    }
}

/* The least noise within the room of tensors from t on; negative: they don't fit. */
static double best_of_all(const struct quire_weights *weights, size_t t, uint64_t room)
{
    double best = -1;
    if (t == weights->n_tensors)
        return 0;
    for (unsigned s = 0; s < QUIRE_WEIGHTS_N_SCHEMES; s++) {
        const struct quire_weights_cost *cost = &weights->tensors[t].costs[s];
        if (!cost->applies || cost->n_bytes > room)
            continue;
        double rest = best_of_all(weights, t + 1, room - cost->n_bytes);
        if (rest >= 0 && (best < 0 || rest + cost->noise < best))
            best = rest + cost->noise;
    }
    return best;
}

static void test_choice(void)
{
    struct quire_weights_tensor tensors[MAX_TENSORS];
    struct quire_weights weights = {tensors, 1 + draw(MAX_TENSORS), {{0}}};
    struct quire_weights_choice choice;
    draw_costs(&weights);
    uint64_t room = draw(60 * weights.n_tensors);
    double best = best_of_all(&weights, 0, room), noise = 0;
    int error = quire_weights_choose(&weights, room, 0, &choice);
    REQUIRE(error == (best < 0 ? -ENOSPC : 0));
    REQUIRE((choice.least_bytes <= room) == (best >= 0));
    REQUIRE(choice.total.n_bytes <= (best < 0 ? choice.least_bytes : room));
    for (size_t t = 0; t < weights.n_tensors; t++) {
        REQUIRE(tensors[t].costs[tensors[t].chosen].applies);
        noise += tensors[t].costs[tensors[t].chosen].noise;
    }
    REQUIRE(fabs(noise - choice.total.noise) < 1e-9 && choice.is_proved);
    REQUIRE(best < 0 || fabs(noise - best) < 1e-9);
    REQUIRE(choice.least_noise <= noise + 1e-9);
}

/* A graph, as a file would make it */

static struct quire_model model;
static char message[QUIRE_MODEL_MESSAGE_BYTES];

static uint32_t add_constant(uint32_t rank, const int64_t *dims, const float *numbers)
{
    struct graph *graph = &model.graph;
    uint32_t t = graph_add_tensor(graph, "w", QUIRE_MODEL_F32);
    REQUIRE(t != GRAPH_NONE && graph_set_shape(graph, &graph->tensors[t], rank, dims) == 0);
    graph->tensors[t].role = QUIRE_MODEL_CONSTANT;
    graph->tensors[t].data = (const uint8_t *)numbers;
    graph->tensors[t].n_bytes = graph->tensors[t].data_bytes = sizeof *numbers;
    for (uint32_t d = 0; d < rank; d++) {
        graph->tensors[t].n_bytes *= (uint64_t)dims[d];
        graph->tensors[t].data_bytes = graph->tensors[t].n_bytes;
    }
    return t;
}

static uint32_t add_reader(const char *type, uint32_t weight, const int64_t *perm, int64_t turned)
{
    static struct graph_attribute attributes[16];
    static unsigned n_used;
    struct graph *graph = &model.graph;
    uint32_t out = graph_add_tensor(graph, "y", QUIRE_MODEL_F32);
    uint32_t o = graph_add_operator(graph, type, "", 0, 2, 1);
    uint32_t at = graph->operators[o].first_input;
    bool only_reads = strcmp(type, "Transpose") == 0 || strcmp(type, "DEQUANTIZE") == 0;
    static const int64_t made[] = {30, 20};
    REQUIRE(n_used < 16 && graph_set_shape(graph, &graph->tensors[out], 2, made) == 0);
    graph->links[at + !only_reads] = weight;
    REQUIRE(graph_set_output(graph, o, 0, out) == 0);
    attributes[n_used] = (struct graph_attribute){.name = perm != NULL ? "perm" : "transB",
                                                  .kind = perm != NULL ? GRAPH_INTS : GRAPH_INT,
                                                  .n = 2,
                                                  .ints = perm,
                                                  .i = turned};
    graph->operators[o].attributes = &attributes[n_used++];
    graph->operators[o].n_attributes = 1;
    return out;
}

static uint32_t channels_of(const struct quire_weights *weights, uint32_t tensor)
{
    size_t i = 0;
    while (i < weights->n_tensors && weights->tensors[i].tensor != tensor)
        i++;
    REQUIRE(i < weights->n_tensors);
    return weights->tensors[i].n_channels;
}

static void test_graph(void)
{
    static const int64_t flat[] = {20, 30}, four[] = {10, 1, 3, 20}, one[] = {600}, turn[] = {1, 0};
    struct graph *graph = &model.graph;
    struct quire_weights weights;
    const struct quire_weights_options none = {.min_weights = 601}, wrong = {.group = 1};
    graph_init(graph, NULL, message);
    REQUIRE(graph_add_region(graph, GRAPH_NONE, false) == 0);
    for (unsigned i = 0; i < 600; i++)
        values[i] = draw_real();
    uint32_t conv = add_constant(4, four, values), deep = add_constant(4, four, values);
    uint32_t product = add_constant(2, flat, values), gemm = add_constant(2, flat, values);
    uint32_t turned = add_constant(2, flat, values), prepared = add_constant(2, flat, values);
    uint32_t bias = add_constant(1, one, values), broken = add_constant(2, flat, scratch);
    memcpy(scratch, values, sizeof values);
    scratch[5] = NAN;
    add_reader("Conv", conv, NULL, 0);
    add_reader("DEPTHWISE_CONV_2D", deep, NULL, 0);
    add_reader("MatMul", product, NULL, 0);
    add_reader("Gemm", gemm, NULL, 1);
    add_reader("MatMul", add_reader("Transpose", turned, turn, 0), NULL, 0);
    add_reader("DEPTHWISE_CONV_2D", add_reader("DEQUANTIZE", prepared, NULL, 0), NULL, 0);
    REQUIRE(quire_weights_measure(&model, NULL, &weights) == 0);
    REQUIRE(channels_of(&weights, conv) == 10 && channels_of(&weights, deep) == 20);
    REQUIRE(channels_of(&weights, product) == 30 && channels_of(&weights, gemm) == 20);
    REQUIRE(channels_of(&weights, turned) == 20);
    REQUIRE(channels_of(&weights, prepared) == 30);
    REQUIRE(channels_of(&weights, bias) == 1 && channels_of(&weights, broken) == 0);
    REQUIRE(weights.totals[QUIRE_WEIGHTS_KEEP].n_bytes == 8 * 2400);
    REQUIRE(weights.totals[QUIRE_WEIGHTS_F16].n_bytes == 7 * 1200 + 2400);
    REQUIRE(weights.totals[QUIRE_WEIGHTS_F16].n_tensors == 7);
    REQUIRE(weights.totals[QUIRE_WEIGHTS_I8].n_tensors == 6); /* a bias has no channels */
    REQUIRE(weights.totals[QUIRE_WEIGHTS_I8].n_bytes ==
            6 * 600 + 4 * (10 + 20 + 30 + 20 + 20 + 30) + 2 * 2400);
    REQUIRE(weights.totals[QUIRE_WEIGHTS_U8].n_bytes ==
            6 * 600 + 5 * (10 + 20 + 30 + 20 + 20 + 30) + 2 * 2400);
    quire_weights_free(&weights);
    REQUIRE(quire_weights_measure(&model, &none, &weights) == 0);
    REQUIRE(weights.totals[QUIRE_WEIGHTS_F16].n_tensors == 0);
    quire_weights_free(&weights);
    REQUIRE(quire_weights_measure(&model, &wrong, &weights) == -EINVAL);
    graph_free(graph);
}

int main(void)
{
    unsigned n_rounds = draw_from_seed(60);
    test_all_halves();
    test_entropy();
    test_graph();
    for (round_number = 0; round_number < n_rounds; round_number++) {
        const struct quire_weights_options options = {.group = (uint32_t)(2 + draw(63)),
                                                      .sparsity = (double)(1 + draw(99)) / 100};
        for (unsigned i = 0; i < 200; i++)
            test_nearest_half();
        draw_matrix();
        test_whole(&options);
        test_i8(&options);
        test_u8(&options);
        test_i4(&options);
        test_sparse(&options);
        test_choice();
    }
    return 0;
}
