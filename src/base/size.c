/* SPDX-License-Identifier: Apache-2.0 */
/* size: see size.h. Integer arithmetic throughout, so that 1.5G is exact. */
#include "base/size.h"

#include "base/checked.h"
#include "base/log.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

struct decimal {
    uint64_t whole;
    uint64_t millionths;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int parse_decimal(const char **text, struct decimal *number)
{
    const char *at = *text;
    *number = (struct decimal){0, 0};
    if (!is_digit(*at))
        return -EINVAL;
    for (; is_digit(*at); at++) {
        if (!checked_mul(number->whole, 10u, &number->whole) ||
            !checked_add(number->whole, (uint64_t)(*at - '0'), &number->whole))
            return -ERANGE;
    }
    if (*at == '.') {
        at++;
        if (!is_digit(*at))
            return -EINVAL;
        uint64_t place = 1000000;
        for (; is_digit(*at); at++) {
            place /= 10;
            number->millionths += place * (uint64_t)(*at - '0');
        }
    }
    *text = at;
    return 0;
}

/* The power of 1024 that a suffix stands for, or -1. */
static int suffix_power(const char *suffix)
{
    static const char letters[] = "KMGT";
    if (*suffix == '\0' || strcasecmp(suffix, "B") == 0)
        return 0;
    for (int i = 0; letters[i]; i++) {
        if ((*suffix & ~0x20) != letters[i])
            continue;
        const char *rest = suffix + 1;
        if (*rest == '\0' || strcasecmp(rest, "B") == 0 || strcasecmp(rest, "iB") == 0)
            return i + 1;
    }
    return -1;
}

static int scale(struct decimal number, uint64_t unit, uint64_t *result)
{
    uint64_t whole, part;
    if (!checked_mul(number.whole, unit, &whole))
        return -ERANGE;
    part = (uint64_t)((unsigned __int128)number.millionths * unit / 1000000u);
    if (!checked_add(whole, part, result) || *result > INT64_MAX)
        return -ERANGE;
    return 0;
}

int size_parse(const char *text, uint64_t whole_bytes, uint64_t *bytes)
{
    struct decimal number;
    int error = parse_decimal(&text, &number);
    if (error)
        return error;
    if (strcmp(text, "%") == 0) {
        if (whole_bytes == 0)
            return -EINVAL;
        if (number.whole > 100 || (number.whole == 100 && number.millionths > 0))
            return -ERANGE;
        unsigned __int128 millionths = (unsigned __int128)number.whole * 1000000u +
                                       number.millionths;
        *bytes = (uint64_t)(millionths * whole_bytes / 100000000u);
        return 0;
    }
    int power = suffix_power(text);
    return power < 0 ? -EINVAL : scale(number, (uint64_t)1 << (10 * power), bytes);
}

const char *size_format(uint64_t bytes, char *buffer, size_t n_bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    unsigned unit = 0;
    uint64_t tenths = bytes;
    if (bytes < 1024) {
        log_format(buffer, n_bytes, "%lu B", (unsigned long)bytes);
        return buffer;
    }
    while (tenths >= 1024 && unit < 5) {
        unit++;
        tenths = unit == 5 ? bytes >> 50 : bytes >> (10 * unit);
    }
    unsigned __int128 exact = (unsigned __int128)bytes * 10 + ((uint64_t)1 << (10 * unit)) / 2;
    tenths = (uint64_t)(exact >> (10 * unit));
    log_format(buffer, n_bytes, "%lu.%lu %s", (unsigned long)(tenths / 10),
               (unsigned long)(tenths % 10), units[unit]);
    return buffer;
}
