/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weights_pack: see weights_pack.h. What lies where:
 *
 *     keep    numbers
 *     f16     numbers
 *     i8      codes, one a byte      | scales, f32, one a channel
 *     u8      codes, one a byte      | scales, f32, one a channel | zero points, likewise
 *     i4      codes, two a byte      | scales, f16, one a group; groups end where channels do
 *     sparse  bits, the first is 1   | numbers that are left, in the tensor's own type
 *
 * Numbers are little-endian. Nothing can fail.
 */
#include "tensor/weights_pack.h"

#include "tensor/half.h"

#include <stdbool.h>
#include <stdlib.h>

#define N_SCALES 17
#define SCALE_STEP 0.025f

static uint32_t width_of(enum quire_model_type type)
{
    return type == QUIRE_MODEL_F32 ? 4 : 2;
}

static uint8_t *put_number(uint8_t *to, enum quire_model_type type, float value)
{
    uint32_t bits = half_to_bits(value);
    uint16_t half = type == QUIRE_MODEL_F16 ? half_write(value) : (uint16_t)(bits >> 16);
    if (type == QUIRE_MODEL_F32)
        memcpy(to, &bits, sizeof bits);
    else
        memcpy(to, &half, sizeof half);
    return to + width_of(type);
}

static const uint8_t *get_number(const uint8_t *from, enum quire_model_type type, float *value)
{
    uint16_t half;
    if (type == QUIRE_MODEL_F32) {
        memcpy(value, from, sizeof *value);
        return from + 4;
    }
    memcpy(&half, from, sizeof half);
    *value = type == QUIRE_MODEL_F16 ? half_read(half) : half_read_bf16(half);
    return from + 2;
}

static void set_stream(struct weights_packed *packed, uint64_t n_bytes, uint32_t width,
                       uint32_t bits)
{
    packed->streams[packed->n_streams++] = (struct weights_stream){n_bytes, width, bits};
    packed->n_bytes += n_bytes;
}

static uint64_t n_groups(const struct weights_matrix *matrix, uint32_t group)
{
    uint64_t n_each = matrix->n / matrix->n_channels;
    return matrix->n_channels * ((n_each + group - 1) / group);
}

uint64_t weights_pack_room(const struct weights_matrix *matrix)
{
    return 5 * matrix->n + 8 * (uint64_t)matrix->n_channels + 64;
}

static void pack_numbers(const struct weights_matrix *matrix, enum quire_model_type type,
                         struct weights_packed *packed)
{
    uint8_t *at = packed->bytes;
    for (uint64_t i = 0; i < matrix->n; i++)
        at = put_number(at, type, matrix->values[i]);
    set_stream(packed, (uint64_t)(at - packed->bytes), width_of(type), 8);
}

static void unpack_numbers(const struct weights_matrix *matrix, enum quire_model_type type,
                           const struct weights_packed *packed, float *values)
{
    const uint8_t *at = packed->bytes;
    for (uint64_t i = 0; i < matrix->n; i++)
        at = get_number(at, type, &values[i]);
}

/* The one that is largest but for its sign. */
static float largest(const float *values, uint64_t n)
{
    float best = 0;
    for (uint64_t i = 0; i < n; i++)
        best = fabsf(values[i]) > fabsf(best) ? values[i] : best;
    return best;
}

static int quantized(float value, float inverse, float low, float high)
{
    float scaled = value * inverse;
    scaled = scaled < low ? low : scaled;
    return (int)lrintf(scaled > high ? high : scaled);
}

static float inverse_of(float scale)
{
    return fabsf(scale) > 1e-38f ? 1 / scale : 0;
}

/* 8 bits, a scale a channel */

static void pack_i8(const struct weights_matrix *matrix, struct weights_packed *packed)
{
    uint64_t n_each = matrix->n / matrix->n_channels;
    uint8_t *codes = packed->bytes, *scales = packed->bytes + matrix->n;
    for (uint32_t c = 0; c < matrix->n_channels; c++) {
        const float *values = matrix->values + c * n_each;
        float scale = fabsf(largest(values, n_each)) / 127, inverse = inverse_of(scale);
        for (uint64_t i = 0; i < n_each; i++)
            *codes++ = (uint8_t)quantized(values[i], inverse, -127, 127);
        scales = put_number(scales, QUIRE_MODEL_F32, scale);
    }
    set_stream(packed, matrix->n, 1, 8);
    set_stream(packed, 4 * (uint64_t)matrix->n_channels, 4, 8);
}

static void unpack_i8(const struct weights_matrix *matrix, const struct weights_packed *packed,
                      float *values)
{
    uint64_t n_each = matrix->n / matrix->n_channels;
    const uint8_t *codes = packed->bytes, *scales = packed->bytes + matrix->n;
    for (uint32_t c = 0; c < matrix->n_channels; c++) {
        float scale;
        scales = get_number(scales, QUIRE_MODEL_F32, &scale);
        for (uint64_t i = 0; i < n_each; i++)
            *values++ = scale * (float)(int8_t)*codes++;
    }
}

/* 8 bits, a scale and a zero point a channel */

/* From the lowest to the highest, 0 between them, in 255 steps. Returns the code of 0. */
static uint8_t find_zero(const float *values, uint64_t n, float *scale)
{
    float low = 0, high = 0;
    for (uint64_t i = 0; i < n; i++) {
        low = values[i] < low ? values[i] : low;
        high = values[i] > high ? values[i] : high;
    }
    *scale = high / 255 - low / 255; /* their difference may be beyond all floats */
    return (uint8_t)quantized(-low, inverse_of(*scale), 0, 255);
}

static void pack_u8(const struct weights_matrix *matrix, struct weights_packed *packed)
{
    uint64_t n_each = matrix->n / matrix->n_channels;
    uint8_t *codes = packed->bytes, *scales = codes + matrix->n;
    uint8_t *zeros = scales + 4 * (uint64_t)matrix->n_channels;
    for (uint32_t c = 0; c < matrix->n_channels; c++) {
        const float *values = matrix->values + c * n_each;
        float scale;
        int zero = find_zero(values, n_each, &scale);
        float inverse = inverse_of(scale);
        for (uint64_t i = 0; i < n_each; i++)
            *codes++ = (uint8_t)(zero +
                                 quantized(values[i], inverse, (float)-zero, (float)(255 - zero)));
        scales = put_number(scales, QUIRE_MODEL_F32, scale);
        zeros[c] = (uint8_t)zero;
    }
    set_stream(packed, matrix->n, 1, 8);
    set_stream(packed, 4 * (uint64_t)matrix->n_channels, 4, 8);
    set_stream(packed, matrix->n_channels, 1, 8);
}

static void unpack_u8(const struct weights_matrix *matrix, const struct weights_packed *packed,
                      float *values)
{
    uint64_t n_each = matrix->n / matrix->n_channels;
    const uint8_t *codes = packed->bytes, *scales = codes + matrix->n;
    const uint8_t *zeros = scales + 4 * (uint64_t)matrix->n_channels;
    for (uint32_t c = 0; c < matrix->n_channels; c++) {
        float scale;
        scales = get_number(scales, QUIRE_MODEL_F32, &scale);
        for (uint64_t i = 0; i < n_each; i++)
            *values++ = scale * (float)(*codes++ - zeros[c]);
    }
}

/* 4 bits, a scale a group */

static float squared_error(const float *values, uint64_t n, float scale)
{
    float inverse = inverse_of(scale), sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        float error = values[i] - scale * (float)quantized(values[i], inverse, -8, 7);
        sum += error * error;
    }
    return sum;
}

/* The largest weight becomes -8, or a little more or less, whichever is best for all. */
static uint16_t best_scale(const float *values, uint64_t n)
{
    float base = largest(values, n) / -8, best_error = 0;
    uint16_t best = half_write(base);
    for (int k = -1; k < N_SCALES && base != 0; k++) {
        uint16_t scale = k < 0 ? best
                               : half_write(base * (1 + SCALE_STEP * (float)(k - N_SCALES / 2)));
        float error = squared_error(values, n, half_read(scale));
        if (k < 0 || error < best_error) {
            best = scale;
            best_error = error;
        }
    }
    return best;
}

static void pack_i4(const struct weights_matrix *matrix, uint32_t group,
                    struct weights_packed *packed)
{
    uint64_t n_each = matrix->n / matrix->n_channels, n_codes = (matrix->n + 1) / 2, at = 0;
    uint8_t *codes = packed->bytes, *scales = packed->bytes + n_codes;
    memset(codes, 0, n_codes);
    for (uint32_t c = 0; c < matrix->n_channels; c++) {
        for (uint64_t from = 0; from < n_each; from += group) {
            uint64_t n = n_each - from < group ? n_each - from : group;
            const float *values = matrix->values + c * n_each + from;
            uint16_t scale = best_scale(values, n);
            float inverse = inverse_of(half_read(scale));
            for (uint64_t i = 0; i < n; i++, at++)
                codes[at / 2] |= (uint8_t)((quantized(values[i], inverse, -8, 7) & 15)
                                           << at % 2 * 4);
            memcpy(scales, &scale, sizeof scale);
            scales += sizeof scale;
        }
    }
    set_stream(packed, n_codes, 1, 4);
    set_stream(packed, 2 * n_groups(matrix, group), 2, 8);
}

static void unpack_i4(const struct weights_matrix *matrix, uint32_t group,
                      const struct weights_packed *packed, float *values)
{
    uint64_t n_each = matrix->n / matrix->n_channels, at = 0;
    const uint8_t *codes = packed->bytes, *scales = packed->bytes + (matrix->n + 1) / 2;
    float scale = 0;
    for (uint32_t c = 0; c < matrix->n_channels; c++) {
        for (uint64_t i = 0; i < n_each; i++, at++) {
            if (i % group == 0)
                scales = get_number(scales, QUIRE_MODEL_F16, &scale);
            int code = codes[at / 2] >> at % 2 * 4 & 15;
            values[at] = scale * (float)(code < 8 ? code : code - 16);
        }
    }
}

/* The smallest are gone */

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* The value that would stand at `rank` if the array was sorted; it is rearranged. Quickselect, and
 * a sort where that goes badly. */
static float select_rank(float *values, uint64_t n, uint64_t rank)
{
    uint64_t low = 0, high = n - 1;
    for (unsigned round = 0; low < high; round++) {
        if (round == 64) {
            qsort(values + low, high - low + 1, sizeof *values, by_size);
            break;
        }
        float pivot = values[low + (high - low) / 2];
        uint64_t i = low, j = high;
        for (;;) {
            while (values[i] < pivot)
                i++;
            while (values[j] > pivot)
                j--;
            if (i >= j)
                break;
            float swap = values[i];
            values[i++] = values[j];
            values[j--] = swap;
        }
        if (rank <= j)
            high = j;
        else
            low = j + 1;
    }
    return values[rank];
}

static void pack_sparse(const struct weights_matrix *matrix, double sparsity, float *scratch,
                        struct weights_packed *packed)
{
    uint64_t n_out = (uint64_t)((double)matrix->n * sparsity), n_ties, n_map = (matrix->n + 7) / 8;
    uint8_t *map = packed->bytes, *numbers = packed->bytes + n_map, *at = numbers;
    for (uint64_t i = 0; i < matrix->n; i++)
        scratch[i] = fabsf(matrix->values[i]);
    float limit = select_rank(scratch, matrix->n, n_out);
    n_ties = n_out; /* of those at the limit, as many go as are missing */
    for (uint64_t i = 0; i < matrix->n; i++)
        n_ties -= fabsf(matrix->values[i]) < limit;
    memset(map, 0, n_map);
    for (uint64_t i = 0; i < matrix->n; i++) {
        float size = fabsf(matrix->values[i]);
        bool goes = size < limit || size == 0 || (size == limit && n_ties > 0);
        n_ties -= goes && size == limit && n_ties > 0;
        if (goes)
            continue;
        map[i / 8] |= (uint8_t)(1 << i % 8);
        at = put_number(at, matrix->type, matrix->values[i]);
    }
    set_stream(packed, n_map, 1, 1);
    set_stream(packed, (uint64_t)(at - numbers), width_of(matrix->type), 8);
}

static void unpack_sparse(const struct weights_matrix *matrix, const struct weights_packed *packed,
                          float *values)
{
    const uint8_t *at = packed->bytes + (matrix->n + 7) / 8;
    for (uint64_t i = 0; i < matrix->n; i++) {
        values[i] = 0;
        if (packed->bytes[i / 8] >> i % 8 & 1)
            at = get_number(at, matrix->type, &values[i]);
    }
}

void weights_pack(const struct weights_matrix *matrix, enum quire_weights_scheme scheme,
                  const struct quire_weights_options *options, float *scratch,
                  struct weights_packed *packed)
{
    packed->n_bytes = 0;
    packed->n_streams = 0;
    switch (scheme) {
    case QUIRE_WEIGHTS_F16:
        pack_numbers(matrix, QUIRE_MODEL_F16, packed);
        return;
    case QUIRE_WEIGHTS_I8:
        pack_i8(matrix, packed);
        return;
    case QUIRE_WEIGHTS_U8:
        pack_u8(matrix, packed);
        return;
    case QUIRE_WEIGHTS_I4:
        pack_i4(matrix, options->group, packed);
        return;
    case QUIRE_WEIGHTS_SPARSE:
        pack_sparse(matrix, options->sparsity, scratch, packed);
        return;
    default:
        pack_numbers(matrix, matrix->type, packed);
    }
}

void weights_unpack(const struct weights_matrix *matrix, enum quire_weights_scheme scheme,
                    const struct quire_weights_options *options,
                    const struct weights_packed *packed, float *values)
{
    switch (scheme) {
    case QUIRE_WEIGHTS_F16:
        unpack_numbers(matrix, QUIRE_MODEL_F16, packed, values);
        return;
    case QUIRE_WEIGHTS_I8:
        unpack_i8(matrix, packed, values);
        return;
    case QUIRE_WEIGHTS_U8:
        unpack_u8(matrix, packed, values);
        return;
    case QUIRE_WEIGHTS_I4:
        unpack_i4(matrix, options->group, packed, values);
        return;
    case QUIRE_WEIGHTS_SPARSE:
        unpack_sparse(matrix, packed, values);
        return;
    default:
        unpack_numbers(matrix, matrix->type, packed, values);
    }
}
