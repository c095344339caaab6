/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics: a page of metrics, in one of two text formats, or as JSON.
 *
 *   OpenMetrics 1.0        # TYPE quire_major_faults counter    quire_major_faults_total 5   # EOF
 *   Prometheus text 0.0.4  # TYPE quire_major_faults_total counter   quire_major_faults_total 5
 *   JSON                   {"name": "quire_major_faults", "type": "counter", "unit": "",
 *                           "help": ..., "samples": [
 *                             {"name": "quire_major_faults_total", "labels": {}, "value": 5}]}
 *
 * A family is begun, then all its samples come. Figures that are not known are left out; a family
 * without a sample does not show. Sources: the OpenMetrics specification 1.0; Prometheus'
 * "Exposition formats" and "Metric and label naming".
 */
#ifndef QUIRE_OBSERVE_METRICS_H
#define QUIRE_OBSERVE_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum metrics_format { METRICS_OPENMETRICS, METRICS_PROMETHEUS, METRICS_JSON };
enum metrics_type { METRICS_GAUGE, METRICS_COUNTER, METRICS_INFO, METRICS_HISTOGRAM };

struct metrics {
    enum metrics_format format;
    char *text; /* the caller frees it */
    size_t n_bytes, room;
    bool failed; /* no memory: the text is not whole */
    /* the family that has begun */
    const char *name, *unit, *help;
    enum metrics_type type;
    bool is_announced; /* it has a sample */
    bool has_families; /* with samples, it or one before */
};

struct metrics_label {
    const char *name, *value; /* the value may be any bytes */
};

/*
 * `name` without _total, _info; it ends in `unit` where there is one ("bytes", "seconds"), which
 * may be "".
 */
void metrics_family(struct metrics *metrics, enum metrics_type type, const char *name,
                    const char *unit, const char *help);

/* `suffix`: "" but for a histogram's "_bucket", "_count", "_sum". Labels end with a NULL name. */
void metrics_count(struct metrics *metrics, const char *suffix, const struct metrics_label *labels,
                   uint64_t value);
void metrics_number(struct metrics *metrics, const char *suffix, const struct metrics_label *labels,
                    double value);

/* Ends the page. */
void metrics_end(struct metrics *metrics);

/* What a server says that it is. */
const char *metrics_content_type(enum metrics_format format);

#endif
