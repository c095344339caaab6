/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics: see metrics.h.
 *
 * Text that comes from elsewhere (names of processes, commands) only ever stands between quotes,
 * with quotes, backslashes and line ends escaped (in JSON all control characters); what is no UTF-8
 * becomes U+FFFD.
 */
#include "observe/metrics.h"

#include <quire/observe.h>

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA "quire.export/1"

static void append(struct metrics *metrics, const char *bytes, size_t n)
{
    if (metrics->failed)
        return;
    if (metrics->n_bytes + n + 1 > metrics->room) {
        size_t room = (metrics->n_bytes + n + 1) * 2;
        char *grown = realloc(metrics->text, room);
        if (grown == NULL) {
            metrics->failed = true;
            return;
        }
        metrics->text = grown;
        metrics->room = room;
    }
    memcpy(metrics->text + metrics->n_bytes, bytes, n);
    metrics->n_bytes += n;
    metrics->text[metrics->n_bytes] = '\0';
}

static void say(struct metrics *metrics, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(struct metrics *metrics, const char *format, ...)
{
    char line[512];
    va_list arguments;

    va_start(arguments, format);
    int n = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (n >= 0)
        append(metrics, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

/* The length of the UTF-8 character there, 0: it is none. Unicode 15, table 3-7. */
static size_t character(const unsigned char *at)
{
    size_t n = at[0] < 0x80                     ? 1
               : at[0] >= 0xc2 && at[0] <= 0xdf ? 2
               : (at[0] & 0xf0) == 0xe0         ? 3
               : at[0] >= 0xf0 && at[0] <= 0xf4 ? 4
                                                : 0;

    for (size_t i = 1; i < n; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
        (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
        return 0;
    return n;
}

static void say_value(struct metrics *metrics, const char *value)
{
    for (const unsigned char *at = (const unsigned char *)value; *at != '\0';) {
        size_t n = character(at);
        if (*at < ' ' && metrics->format == METRICS_JSON) {
            say(metrics, "\\u%04x", *at);
        } else if (*at == '\\' || *at == '"') {
            append(metrics, "\\", 1);
            append(metrics, (const char *)at, 1);
        } else if (*at == '\n') {
            append(metrics, "\\n", 2);
        } else if (n == 0) {
            append(metrics, "\xef\xbf\xbd", 3);
        } else {
            append(metrics, (const char *)at, n);
        }
        at += n > 0 ? n : 1;
    }
}

static const char *suffix_of(const struct metrics *metrics, const char *suffix)
{
    if (metrics->type == METRICS_COUNTER)
        return "_total";
    return metrics->type == METRICS_INFO ? "_info" : suffix;
}

static const char *const types[] = {"gauge", "counter", "info", "histogram"};

static void announce_json(struct metrics *metrics)
{
    if (metrics->has_families)
        say(metrics, "\n  ]},\n");
    else
        say(metrics, "{\"schema\": \"%s\", \"version\": \"%s\", \"families\": [\n", SCHEMA,
            QUIRE_VERSION);
    say(metrics,
        "{\"name\": \"%s\", \"type\": \"%s\", \"unit\": \"%s\", \"help\": \"%s\", \"samples\": [",
        metrics->name, types[metrics->type], metrics->unit, metrics->help);
    metrics->has_families = true;
}

/* The older format knows no units, no info, and counts _total and _info to the name. */
static void announce(struct metrics *metrics)
{
    bool is_open = metrics->format == METRICS_OPENMETRICS;
    const char *suffix = is_open ? "" : suffix_of(metrics, "");
    const char *type = !is_open && metrics->type == METRICS_INFO ? "gauge" : types[metrics->type];

    if (metrics->is_announced)
        return;
    metrics->is_announced = true;
    if (metrics->format == METRICS_JSON) {
        announce_json(metrics);
        return;
    }
    say(metrics, "# HELP %s%s %s\n", metrics->name, suffix, metrics->help);
    say(metrics, "# TYPE %s%s %s\n", metrics->name, suffix, type);
    if (is_open && metrics->unit[0] != '\0')
        say(metrics, "# UNIT %s %s\n", metrics->name, metrics->unit);
}

void metrics_family(struct metrics *metrics, enum metrics_type type, const char *name,
                    const char *unit, const char *help)
{
    metrics->type = type;
    metrics->name = name;
    metrics->unit = unit;
    metrics->help = help;
    metrics->is_announced = false;
}

static void sample_json(struct metrics *metrics, const char *suffix,
                        const struct metrics_label *labels, const char *value)
{
    const char *separator = metrics->is_announced ? "," : "";

    announce(metrics);
    say(metrics, "%s\n    {\"name\": \"%s%s\", \"labels\": {", separator, metrics->name,
        suffix_of(metrics, suffix));
    for (size_t i = 0; labels != NULL && labels[i].name != NULL; i++) {
        say(metrics, "%s\"%s\": \"", i == 0 ? "" : ", ", labels[i].name);
        say_value(metrics, labels[i].value);
        append(metrics, "\"", 1);
    }
    say(metrics, "}, \"value\": %s}", value);
}

static void sample(struct metrics *metrics, const char *suffix, const struct metrics_label *labels,
                   const char *value)
{
    if (metrics->format == METRICS_JSON) {
        sample_json(metrics, suffix, labels, value);
        return;
    }
    announce(metrics);
    say(metrics, "%s%s", metrics->name, suffix_of(metrics, suffix));
    for (size_t i = 0; labels != NULL && labels[i].name != NULL; i++) {
        say(metrics, "%s%s=\"", i == 0 ? "{" : ",", labels[i].name);
        say_value(metrics, labels[i].value);
        append(metrics, "\"", 1);
    }
    if (labels != NULL && labels[0].name != NULL)
        append(metrics, "}", 1);
    say(metrics, " %s\n", value);
}

void metrics_count(struct metrics *metrics, const char *suffix, const struct metrics_label *labels,
                   uint64_t value)
{
    char text[32];

    if (!quire_observe_known(value))
        return;
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    sample(metrics, suffix, labels, text);
}

void metrics_number(struct metrics *metrics, const char *suffix, const struct metrics_label *labels,
                    double value)
{
    char text[40];

    if (!isfinite(value))
        return;
    snprintf(text, sizeof text, "%.15g", value);
    sample(metrics, suffix, labels, text);
}

void metrics_end(struct metrics *metrics)
{
    if (metrics->format == METRICS_OPENMETRICS)
        say(metrics, "# EOF\n");
    if (metrics->format == METRICS_JSON) /* there is one family at least: the exporter itself */
        say(metrics, "\n  ]}\n]}\n");
}

const char *metrics_content_type(enum metrics_format format)
{
    static const char *const names[] = {
        [METRICS_OPENMETRICS] = "application/openmetrics-text; version=1.0.0; charset=utf-8",
        [METRICS_PROMETHEUS] = "text/plain; version=0.0.4; charset=utf-8",
        [METRICS_JSON] = "application/json"};

    return names[format];
}
