/* SPDX-License-Identifier: Apache-2.0 */
/* report_chart: the pictures of the report, as SVG within HTML. */
#ifndef QUIRE_CLI_REPORT_CHART_H
#define QUIRE_CLI_REPORT_CHART_H

#include "cli/html.h"
#include "cli/report_data.h"

enum chart_unit { CHART_BYTES, CHART_PER_SECOND, CHART_SHARE, CHART_RATIO };

#define CHART_MOST_LAYERS 8

struct chart_layer {
    const char *name;
    unsigned colour;      /* 0 to 7: .cN of the page's style */
    const double *values; /* one a sample */
};

/* Values over time, one on top of the other. */
struct chart {
    const char *id, *title, *note; /* ours: not escaped */
    const char *empty;             /* what to say where every value is 0 */
    enum chart_unit unit;
    bool is_of_intervals; /* a value holds since the sample before; otherwise at the sample */
    bool is_line;         /* one layer, drawn as a line; 0 is a gap */
    unsigned n_layers;
    struct chart_layer layers[CHART_MOST_LAYERS];
    double limit; /* a line across; 0: none */
    const char *limit_name;
};

void chart_over_time(struct html *html, const struct report *report, const struct chart *chart);

/* How long faults took. */
void chart_latencies(struct html *html, const struct report *report);

/* What of a zone was in RAM, and where faults were; `of_faults` says which. */
void chart_heat(struct html *html, const struct report *report, const struct report_zone *zone,
                bool of_faults);

/* The end of the time axis: 0 when there is no time line. */
double chart_end_s(const struct report *report);

/* Amounts as text, into `text` of CHART_TEXT_BYTES; returned. */
#define CHART_TEXT_BYTES 40
const char *chart_amount(enum chart_unit unit, double value, char *text);
const char *chart_count(double value, char *text);
const char *chart_duration(double seconds, char *text);

/* Parts of a figure that all charts have. */
void chart_begin(struct html *html, const char *id, const char *title, const char *note);
void chart_say_empty(struct html *html, const char *why); /* instead of a plot */
void chart_time_axis(struct html *html, const struct report *report);
void chart_end(struct html *html);

#endif
