/* SPDX-License-Identifier: Apache-2.0 */
/* report_units: amounts as the report's reader meets them. */
#include "base/size.h"
#include "cli/report_chart.h"

#include <math.h>
#include <stdio.h>

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

const char *chart_duration(double seconds, char *text)
{
    double rounded = round(seconds);

    if (seconds <= 0)
        snprintf(text, CHART_TEXT_BYTES, "0 s");
    else if (seconds < 1e-6)
        snprintf(text, CHART_TEXT_BYTES, "%.0f ns", seconds * 1e9);
    else if (seconds < 1e-3)
        snprintf(text, CHART_TEXT_BYTES, "%.3g µs", seconds * 1e6);
    else if (seconds < 1)
        snprintf(text, CHART_TEXT_BYTES, "%.3g ms", seconds * 1e3);
    else if (seconds < 60)
        snprintf(text, CHART_TEXT_BYTES, "%.3g s", seconds);
    else if (rounded < 3600)
        snprintf(text, CHART_TEXT_BYTES, "%.0f min %.0f s", floor(rounded / 60), fmod(rounded, 60));
    else if (rounded < 48 * 3600)
        snprintf(text, CHART_TEXT_BYTES, "%.0f h %.0f min", floor(rounded / 3600),
                 floor(fmod(rounded, 3600) / 60));
    else
        snprintf(text, CHART_TEXT_BYTES, "%.0f d %.0f h", floor(rounded / 86400),
                 floor(fmod(rounded, 86400) / 3600));
    return text;
}

const char *chart_amount(enum chart_unit unit, double value, char *text)
{
    switch (unit) {
    case CHART_BYTES:
        return size_format(value < 9e18 ? (uint64_t)value : INT64_MAX, text, CHART_TEXT_BYTES);
    case CHART_PER_SECOND: {
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
