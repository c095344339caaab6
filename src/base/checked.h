/* SPDX-License-Identifier: Apache-2.0 */
/* checked: arithmetic on sizes that says when it does not fit, and rounding. */
#ifndef QUIRE_BASE_CHECKED_H
#define QUIRE_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define checked_add(a, b, result) (!__builtin_add_overflow((a), (b), (result)))
#define checked_mul(a, b, result) (!__builtin_mul_overflow((a), (b), (result)))

static inline bool is_power_of_two(size_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

/* `alignment` is a power of two; the caller has checked that the result fits. */
static inline size_t round_up(size_t n, size_t alignment)
{
    return (n + alignment - 1) & ~(alignment - 1);
}

static inline size_t round_down(size_t n, size_t alignment)
{
    return n & ~(alignment - 1);
}

static inline unsigned log2_floor(size_t n) /* n > 0 */
{
    return 63u - (unsigned)__builtin_clzll(n);
}

static inline unsigned log2_ceil(size_t n) /* n > 0 */
{
    return n == 1 ? 0 : log2_floor(n - 1) + 1;
}

#endif
