/* SPDX-License-Identifier: Apache-2.0 */
/* varint: numbers of 1 to 10 bytes (unsigned LEB128), signed ones with the sign lowest. */
#ifndef QUIRE_SIM_VARINT_H
#define QUIRE_SIM_VARINT_H

#include <stdbool.h>
#include <stdint.h>

#define VARINT_MOST_BYTES 10

/* There is room for VARINT_MOST_BYTES. Returns what is behind them. */
static inline unsigned char *varint_put(unsigned char *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *at++ = (unsigned char)(value | 0x80);
    *at++ = (unsigned char)value;
    return at;
}

/* False: it does not end before `end`, or is over 64 bits. */
static inline bool varint_get(const unsigned char **at, const unsigned char *end, uint64_t *value)
{
    uint64_t sum = 0;
    for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
        unsigned char byte = *(*at)++;
        if (shift == 63 && byte > 1)
            return false;
        sum |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = sum;
            return true;
        }
    }
    return false;
}

#define VARINT_MOST_BITS 56 /* of one that varint_compact() makes */

/*
 * Of 1 to 8 bytes, the low one first, that are the upper ones of `bytes` shifted down (zeros
 * above): how many the first number in them takes; more than there are: it does not end within
 * them.
 */
static inline unsigned varint_length(uint64_t bytes)
{
    const uint64_t ends = ~bytes & 0x8080808080808080u;
    return ends != 0 ? ((unsigned)__builtin_ctzll(ends) >> 3) + 1 : 9;
}

/* The number in the first n of these bytes, without a branch; n is 1 to 8. */
static inline uint64_t varint_compact(uint64_t bytes, unsigned n)
{
    uint64_t x = bytes & (UINT64_MAX >> (64 - 8 * n)) & 0x7f7f7f7f7f7f7f7fu;
    x = (x & 0x007f007f007f007fu) | (x & 0x7f007f007f007f00u) >> 1;
    x = (x & 0x00003fff00003fffu) | (x & 0x3fff00003fff0000u) >> 2;
    return (x & 0x000000000fffffffu) | (x & 0x0fffffff00000000u) >> 4;
}

static inline uint64_t varint_fold(uint64_t difference)
{
    return difference << 1 ^ (0 - (difference >> 63));
}

static inline uint64_t varint_unfold(uint64_t folded)
{
    return folded >> 1 ^ (0 - (folded & 1));
}

#endif
