/* SPDX-License-Identifier: Apache-2.0 */
/* report_units: amounts as the report's reader meets them. */
#include "base/size.h"
#include "cli/report_chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *chart_count(double value, char *text)
{
    static const char *const suffixes[] = {"", " k", " M", " G", " T"};
    unsigned power = 0;

    while (value >= 9999.5 && power < 4) {
        value /= 1000;
        power++;
    }
    bool is_whole = power == 0 && (value >= 100 || value == floor(value));
    snprintf(text, CHART_TEXT_BYTES, is_whole ? "%.0f%s" : "%.3g%s", value, suffixes[power]);
    if (value >= 999.5 && !is_whole)
        snprintf(text, CHART_TEXT_BYTES, "%.0f%s", value, suffixes[power]);
    return text;
}

/* "2 min 5 s", or "2 min" where the rest is nothing. */
static void put_two(char *text, double amount, double in_a_whole, const char *whole,
                    const char *part)
{
    int n = snprintf(text, CHART_TEXT_BYTES, "%.0f %s", floor(amount / in_a_whole), whole);

    if (fmod(amount, in_a_whole) >= 1)
        snprintf(text + n, CHART_TEXT_BYTES - (size_t)n, " %.0f %s",
                 floor(fmod(amount, in_a_whole)), part);
}

const char *chart_duration(double seconds, char *text)
{
    if (seconds <= 0)
        snprintf(text, CHART_TEXT_BYTES, "0 s");
    else if (seconds < 999.5e-9)
        snprintf(text, CHART_TEXT_BYTES, "%.3g ns", seconds * 1e9);
    else if (seconds < 999.5e-6)
        snprintf(text, CHART_TEXT_BYTES, "%.3g µs", seconds * 1e6);
    else if (seconds < 999.5e-3)
        snprintf(text, CHART_TEXT_BYTES, "%.3g ms", seconds * 1e3);
    else if (seconds < 59.95)
        snprintf(text, CHART_TEXT_BYTES, "%.3g s", seconds);
    else if (seconds < 3599.5)
        put_two(text, round(seconds), 60, "min", "s");
    else if (seconds < 24 * 3600 - 30)
        put_two(text, round(seconds / 60), 60, "h", "min");
    else
        put_two(text, round(seconds / 3600), 24, "d", "h");
    return text;
}

const char *chart_amount(enum chart_unit unit, double value, char *text)
{
    switch (unit) {
    case CHART_BYTES:
        return size_format(value < 9e18 ? (uint64_t)value : INT64_MAX, text, CHART_TEXT_BYTES);
    case CHART_PER_SECOND: {
        if (value <= 0)
            return strcpy(text, "0");
        char count[CHART_TEXT_BYTES];
        snprintf(text, CHART_TEXT_BYTES, "%.30s/s", chart_count(value, count));
        return text;
    }
    case CHART_SHARE:
        snprintf(text, CHART_TEXT_BYTES, value > 0 && value < 0.0995 ? "%.2g %%" : "%.0f %%",
                 value * 100);
        return text;
    case CHART_RATIO:
        snprintf(text, CHART_TEXT_BYTES, "%.1f : 1", value);
        return text;
    }
    return text;
}
