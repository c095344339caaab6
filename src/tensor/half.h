/* SPDX-License-Identifier: Apache-2.0 */
/* half: IEEE 754 binary16 and bfloat16, to and from float, on machines that know neither. */
#ifndef QUIRE_TENSOR_HALF_H
#define QUIRE_TENSOR_HALF_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define HALF_MAX 65504.0f

static inline float half_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t half_to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float half_read(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31,
             fraction = half & 0x3ff;
    if (exponent == 31)
        return half_from_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent == 0) {
        float small = (float)fraction * 0x1p-24f;
        return sign != 0 ? -small : small;
    }
    return half_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

/* The nearest, ties to even; what is beyond HALF_MAX becomes that. `value` is no NaN. */
static inline uint16_t half_write(float value)
{
    uint16_t sign = (uint16_t)(half_to_bits(value) >> 16 & 0x8000);
    float size = fabsf(value);
    if (size >= HALF_MAX)
        return sign | 0x7bff;
    if (size < 0x1p-14f) /* subnormal: in units of 2^-24, and the addition rounds */
        return (uint16_t)(sign | (half_to_bits(size + 0.5f) - half_to_bits(0.5f)));
    uint32_t bits = half_to_bits(size);
    bits += 0xfff + (bits >> 13 & 1); /* may carry into the exponent, as it should */
    uint16_t half = (uint16_t)((bits >> 13) - (112u << 10));
    return (uint16_t)(sign | (half > 0x7bff ? 0x7bff : half));
}

static inline float half_read_bf16(uint16_t half)
{
    return half_from_bits((uint32_t)half << 16);
}

#endif
