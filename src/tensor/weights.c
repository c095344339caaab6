/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weights: see <quire/weights.h>.
 *
 *     constant --load--> channels in rows --pack--> bytes --unpack--> numbers --> errors
 *                                                     '--code, entropy--> sizes
 *
 * Which axis the channels are on, the operator that reads the tensor says: channels of the output
 * are what int8 kernels have a scale each for. A tensor that several operators read goes by the
 * first; one that is only prepared by an operator (transposed, converted), by who reads the result.
 */
#include "tensor/weights.h"

#include "tensor/half.h"
#include "tensor/model.h"
#include "tensor/weights_code.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define GROUP 32u
#define MAX_GROUP 65536u
#define MIN_WEIGHTS 256u
#define SPARSITY 0.5
#define LEVEL 3
#define MAX_LEVEL 19

const char *quire_weights_scheme_name(enum quire_weights_scheme scheme)
{
    static const char *const names[QUIRE_WEIGHTS_N_SCHEMES] = {"keep", "f16", "i8",
                                                               "u8",   "i4",  "sparse"};
    return (unsigned)scheme < QUIRE_WEIGHTS_N_SCHEMES ? names[scheme] : "keep";
}

/* Rooms for the largest tensor, used by one after the other. */
struct rooms {
    struct weights_matrix matrix;
    struct weights_packed packed;
    float *unpacked;
    struct weights_coder *coder;
};

/* Which tensors */

static bool is_real(enum quire_model_type type)
{
    return type == QUIRE_MODEL_F32 || type == QUIRE_MODEL_F16 || type == QUIRE_MODEL_BF16;
}

static bool may_shrink(const struct graph_tensor *tensor,
                       const struct quire_weights_options *options)
{
    uint32_t bits = graph_type_bits(tensor->type);
    return tensor->role == QUIRE_MODEL_CONSTANT && tensor->data != NULL && is_real(tensor->type) &&
           tensor->rank >= 1 && tensor->data_bytes >= tensor->n_bytes &&
           tensor->n_bytes / (bits / 8) >= options->min_weights;
}

static bool scheme_suits(const struct graph_tensor *tensor, enum quire_weights_scheme scheme)
{
    if (scheme == QUIRE_WEIGHTS_F16)
        return tensor->type == QUIRE_MODEL_F32;
    return scheme == QUIRE_WEIGHTS_KEEP || tensor->rank >= 2;
}

/* Loading */

static float number_at(const struct graph_tensor *tensor, uint64_t i)
{
    uint16_t half;
    if (tensor->type == QUIRE_MODEL_F32) {
        uint32_t bits;
        memcpy(&bits, tensor->data + 4 * i, sizeof bits);
        return half_from_bits(bits);
    }
    memcpy(&half, tensor->data + 2 * i, sizeof half);
    return tensor->type == QUIRE_MODEL_F16 ? half_read(half) : half_read_bf16(half);
}

/* Channel after channel. False: some number is not finite. */
static bool load(const struct graph_tensor *tensor, uint32_t axis, struct weights_matrix *matrix)
{
    uint64_t n_outer = 1, n_inner = 1, at = 0;
    uint64_t n_channels = axis < tensor->rank ? (uint64_t)tensor->dims[axis] : 1;
    for (uint32_t d = 0; d < tensor->rank; d++) {
        n_outer *= d < axis && axis < tensor->rank ? (uint64_t)tensor->dims[d] : 1;
        n_inner *= d > axis || axis >= tensor->rank ? (uint64_t)tensor->dims[d] : 1;
    }
    if (n_channels > UINT32_MAX) /* one scale for each would be no use */
        return load(tensor, tensor->rank, matrix);
    matrix->n = n_outer * n_channels * n_inner;
    matrix->n_channels = (uint32_t)n_channels;
    matrix->type = tensor->type;
    for (uint64_t c = 0; c < n_channels; c++) {
        for (uint64_t o = 0; o < n_outer; o++) {
            for (uint64_t i = 0; i < n_inner; i++, at++) {
                matrix->values[at] = number_at(tensor, (o * n_channels + c) * n_inner + i);
                if (!isfinite(matrix->values[at]))
                    return false;
            }
        }
    }
    return true;
}

/* Measuring */

static void find_errors(const struct weights_matrix *matrix, const float *unpacked,
                        struct quire_weights_cost *cost)
{
    double squares = 0, errors = 0, largest = 0;
    for (uint64_t i = 0; i < matrix->n; i++) {
        double value = (double)matrix->values[i], error = value - (double)unpacked[i];
        squares += value * value;
        errors += error * error;
        largest = fabs(error) > largest ? fabs(error) : largest;
        cost->n_clipped += fabs(value) > (double)HALF_MAX;
    }
    cost->rmse = sqrt(errors / (double)matrix->n);
    cost->max_error = largest;
    cost->noise = errors > 0 ? errors / squares : 0;
}

static void measure_scheme(struct rooms *rooms, enum quire_weights_scheme scheme,
                           const struct quire_weights_options *options,
                           struct quire_weights_cost *cost)
{
    weights_pack(&rooms->matrix, scheme, options, rooms->unpacked, &rooms->packed);
    weights_unpack(&rooms->matrix, scheme, options, &rooms->packed, rooms->unpacked);
    find_errors(&rooms->matrix, rooms->unpacked, cost);
    if (scheme != QUIRE_WEIGHTS_F16)
        cost->n_clipped = 0;
    cost->n_bytes = rooms->packed.n_bytes;
    cost->coded_bytes = weights_code(rooms->coder, &rooms->packed);
    cost->entropy_bytes = weights_entropy(&rooms->packed);
}

/* The bytes as the file has them, for what no scheme is for. */
static void measure_kept(struct rooms *rooms, const struct graph_tensor *tensor,
                         struct quire_weights_cost *cost)
{
    uint32_t width = graph_type_bits(tensor->type) / 8;
    struct weights_packed packed = {
        .bytes = (uint8_t *)(uintptr_t)tensor->data, .n_bytes = tensor->n_bytes, .n_streams = 1};
    *cost = (struct quire_weights_cost){.applies = true,
                                        .n_bytes = tensor->n_bytes,
                                        .coded_bytes = tensor->n_bytes,
                                        .entropy_bytes = (double)tensor->n_bytes};
    if (tensor->data == NULL || tensor->data_bytes < tensor->n_bytes)
        return;
    packed.streams[0] = (struct weights_stream){
        tensor->n_bytes, width > 0 && tensor->n_bytes % width == 0 ? width : 1, 8};
    cost->coded_bytes = weights_code(rooms->coder, &packed);
    cost->entropy_bytes = weights_entropy(&packed);
}

static void measure_tensor(struct rooms *rooms, const struct graph_tensor *tensor, uint32_t axis,
                           const struct quire_weights_options *options,
                           struct quire_weights_tensor *result)
{
    measure_kept(rooms, tensor, &result->costs[QUIRE_WEIGHTS_KEEP]);
    bool shrinks = may_shrink(tensor, options) && load(tensor, axis, &rooms->matrix);
    for (unsigned s = QUIRE_WEIGHTS_F16; s < QUIRE_WEIGHTS_N_SCHEMES; s++) {
        struct quire_weights_cost *cost = &result->costs[s];
        if (shrinks && scheme_suits(tensor, s))
            measure_scheme(rooms, s, options, cost);
        if (cost->n_bytes > 0 && cost->n_bytes < tensor->n_bytes)
            cost->applies = true;
        else
            *cost = (struct quire_weights_cost){.applies = false};
    }
    if (shrinks) {
        result->n_weights = rooms->matrix.n;
        result->n_channels = rooms->matrix.n_channels;
    }
}

static void add_up(struct quire_weights *weights)
{
    for (size_t i = 0; i < weights->n_tensors; i++) {
        for (unsigned s = 0; s < QUIRE_WEIGHTS_N_SCHEMES; s++)
            weights_total_add(&weights->totals[s], &weights->tensors[i], s);
    }
}

void weights_total_add(struct quire_weights_total *total, const struct quire_weights_tensor *tensor,
                       unsigned scheme)
{
    scheme = tensor->costs[scheme].applies ? scheme : QUIRE_WEIGHTS_KEEP;
    const struct quire_weights_cost *cost = &tensor->costs[scheme];
    total->n_bytes += cost->n_bytes;
    total->coded_bytes += cost->coded_bytes;
    total->entropy_bytes += cost->entropy_bytes;
    total->noise += cost->noise;
    total->n_tensors += scheme != QUIRE_WEIGHTS_KEEP;
}

/* Rooms and options */

static void free_rooms(struct rooms *rooms)
{
    free(rooms->matrix.values);
    free(rooms->unpacked);
    free(rooms->packed.bytes);
    weights_coder_free(rooms->coder);
}

static int make_rooms(const struct graph *graph, const struct quire_weights_options *options,
                      struct rooms *rooms)
{
    struct weights_matrix most = {.n = 1, .n_channels = 1};
    uint64_t most_bytes = 1;
    for (uint32_t i = 0; i < graph->n_tensors; i++) {
        const struct graph_tensor *tensor = &graph->tensors[i];
        if (tensor->data != NULL && tensor->n_bytes > most_bytes)
            most_bytes = tensor->n_bytes;
        if (may_shrink(tensor, options)) {
            uint64_t n = tensor->n_bytes / (graph_type_bits(tensor->type) / 8);
            most.n = n > most.n ? n : most.n;
        }
    }
    if (most.n > UINT64_MAX / 64) /* it lies in a file: it does not */
        return -ENOMEM;
    most.n_channels = most.n < UINT32_MAX ? (uint32_t)most.n : UINT32_MAX;
    uint64_t n_packed = weights_pack_room(&most);
    rooms->matrix.values = malloc(most.n * sizeof(float));
    rooms->unpacked = malloc(most.n * sizeof(float));
    rooms->packed.bytes = malloc(n_packed);
    rooms->coder = weights_coder_new(most_bytes > n_packed ? most_bytes : n_packed, options->level);
    return rooms->matrix.values && rooms->unpacked && rooms->packed.bytes && rooms->coder ? 0
                                                                                          : -ENOMEM;
}

static int take_options(const struct quire_weights_options *from,
                        struct quire_weights_options *options)
{
    *options = from != NULL ? *from : (struct quire_weights_options){0};
    options->group = options->group != 0 ? options->group : GROUP;
    options->min_weights = options->min_weights != 0 ? options->min_weights : MIN_WEIGHTS;
    options->sparsity = options->sparsity != 0 ? options->sparsity : SPARSITY;
    options->level = options->level != 0 ? options->level : LEVEL;
    return options->group >= 2 && options->group <= MAX_GROUP && options->sparsity > 0 &&
                   options->sparsity < 1 && options->level >= 1 && options->level <= MAX_LEVEL
               ? 0
               : -EINVAL;
}

int quire_weights_measure(const struct quire_model *model,
                          const struct quire_weights_options *options,
                          struct quire_weights *weights)
{
    const struct graph *graph = &model->graph;
    struct quire_weights_options taken;
    struct rooms rooms = {0};
    *weights = (struct quire_weights){0};
    int error = take_options(options, &taken);
    if (error != 0)
        return error;
    uint32_t *axes = malloc(((size_t)graph->n_tensors + 1) * sizeof *axes);
    weights->tensors = calloc((size_t)graph->n_tensors + 1, sizeof *weights->tensors);
    error = axes == NULL || weights->tensors == NULL ? -ENOMEM : make_rooms(graph, &taken, &rooms);
    if (error == 0)
        weights_find_axes(graph, axes);
    for (uint32_t i = 0; error == 0 && i < graph->n_tensors; i++) {
        const struct graph_tensor *tensor = &graph->tensors[i];
        if (graph_is_dynamic(tensor) || tensor->n_bytes == 0)
            continue;
        struct quire_weights_tensor *result = &weights->tensors[weights->n_tensors++];
        result->tensor = i;
        measure_tensor(&rooms, tensor, axes[i], &taken, result);
    }
    free(axes);
    free_rooms(&rooms);
    if (error != 0)
        quire_weights_free(weights);
    else
        add_up(weights);
    return error;
}

void quire_weights_free(struct quire_weights *weights)
{
    free(weights->tensors);
    *weights = (struct quire_weights){0};
}
