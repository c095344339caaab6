/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report_chart: areas over time, and the histogram of latencies.
 *
 *   .y (labels)  | svg, stretched to whatever width there is          |
 *                |  M x y L ... : WIDTH by HEIGHT units               |
 *                '----------------------------------------------------'
 *                .x (labels, placed by percent)
 *
 * Text is HTML beside the picture and never within, so that it keeps its size when the picture is
 * stretched, on a phone as on paper. No script: what a value is, tooltips tell (<title>).
 */
#include "cli/report_chart.h"

#include <math.h>
#include <stdlib.h>

#define WIDTH 1000.0
#define HEIGHT 240.0
#define MOST_TICKS 4.0      /* of values */
#define MOST_TIME_TICKS 5.0 /* the labels must find room on a phone */
#define MOST_SLICES 80      /* of the time, with a tooltip each */

/* The figure around it */

void chart_begin(struct html *html, const char *id, const char *title, const char *note)
{
    html_format(html, "<figure id=\"%s\"><figcaption><h2>%s</h2><p>%s</p></figcaption>\n", id,
                title, note);
}

void chart_say_empty(struct html *html, const char *why)
{
    html_format(html, "<p class=\"empty\">%s</p>\n", why);
}

void chart_end(struct html *html)
{
    html_raw(html, "</figure>\n");
}

double chart_end_s(const struct report *report)
{
    return report->n_samples > 0 ? report->at_s[report->n_samples - 1] : 0;
}

/* The distance between ticks: 1, 2 or 5 times a power of ten. */
static double decimal_step(double most, double n_ticks)
{
    double step = pow(10, floor(log10(most / n_ticks)));

    if (most / step > 5 * n_ticks)
        return 10 * step;
    if (most / step > 2 * n_ticks)
        return 5 * step;
    return most / step > n_ticks ? 2 * step : step;
}

static double step_for(enum chart_unit unit, double most)
{
    return unit == CHART_BYTES ? exp2(ceil(log2(most / MOST_TICKS)))
                               : decimal_step(most, MOST_TICKS);
}

static double time_step(double end_s)
{
    static const double steps[] = {15,   20,   30,   60,    120,   300,   600,  1200,
                                   1800, 3600, 7200, 14400, 21600, 43200, 86400};

    if (end_s <= 60)
        return decimal_step(end_s, MOST_TIME_TICKS);
    for (unsigned i = 0; i < sizeof steps / sizeof steps[0]; i++)
        if (end_s / steps[i] <= MOST_TIME_TICKS)
            return steps[i];
    return 86400 * ceil(end_s / 86400 / MOST_TIME_TICKS);
}

/* A label of the horizontal axis; at the ends it stays within. */
static void put_x_label(struct html *html, double part, const char *text)
{
    html_format(html, "<span%s style=\"left:%.2f%%\">%s</span>",
                part < 0.03   ? " class=\"first\""
                : part > 0.96 ? " class=\"last\""
                              : "",
                100 * part, text);
}

void chart_time_axis(struct html *html, const struct report *report)
{
    double end_s = chart_end_s(report), step = end_s > 0 ? time_step(end_s) : 1;
    char text[CHART_TEXT_BYTES];

    html_raw(html, "<div class=\"x\">");
    for (unsigned i = 0; end_s > 0 && i * step <= end_s; i++)
        put_x_label(html, i * step / end_s, chart_duration(i * step, text));
    html_raw(html, "</div>\n");
}

static void put_y_axis(struct html *html, enum chart_unit unit, double top, double step)
{
    char text[CHART_TEXT_BYTES];

    html_raw(html, "<div class=\"y\">");
    for (unsigned i = 0; i * step <= top * 1.0001; i++)
        html_format(html, "<span style=\"bottom:%.2f%%\">%s</span>", 100 * i * step / top,
                    chart_amount(unit, i * step, text));
    html_raw(html, "</div>");
}

static void put_grid(struct html *html, double top, double step)
{
    html_raw(html, "<path class=\"grid\" d=\"");
    for (unsigned i = 1; i * step <= top * 1.0001; i++)
        html_format(html, "M0 %.1fH1000", HEIGHT * (1 - i * step / top));
    html_raw(html, "\"/>\n");
}

/* Areas over time */

struct plot {
    const struct report *report;
    const struct chart *chart;
    double end_s, top;
    double *base, *sum; /* below and above the layer that is drawn, one a sample */
};

static double x_of(const struct plot *plot, size_t i)
{
    return WIDTH * plot->report->at_s[i] / plot->end_s;
}

static double y_of(const struct plot *plot, double value)
{
    return HEIGHT * (1 - value / plot->top);
}

/* From the first sample's place to the last one's. */
static void put_edge_forth(struct html *html, const struct plot *plot, const double *values)
{
    html_format(html, "M0 %.1f", y_of(plot, values[0]));
    for (size_t i = 0; i < plot->report->n_samples; i++) {
        if (plot->chart->is_of_intervals)
            html_format(html, "V%.1fH%.1f", y_of(plot, values[i]), x_of(plot, i));
        else
            html_format(html, "L%.1f %.1f", x_of(plot, i), y_of(plot, values[i]));
    }
}

static void put_edge_back(struct html *html, const struct plot *plot, const double *values)
{
    for (size_t i = plot->report->n_samples; i-- > 0;) {
        if (plot->chart->is_of_intervals)
            html_format(html, "V%.1fH%.1f", y_of(plot, values[i]), i > 0 ? x_of(plot, i - 1) : 0.0);
        else
            html_format(html, "L%.1f %.1f", x_of(plot, i), y_of(plot, values[i]));
    }
    if (!plot->chart->is_of_intervals)
        html_format(html, "L0 %.1f", y_of(plot, values[0]));
    html_raw(html, "Z");
}

static void put_layers(struct html *html, struct plot *plot)
{
    size_t n = plot->report->n_samples;

    for (size_t i = 0; i < n; i++)
        plot->base[i] = 0;
    for (unsigned layer = 0; layer < plot->chart->n_layers; layer++) {
        for (size_t i = 0; i < n; i++)
            plot->sum[i] = plot->base[i] + plot->chart->layers[layer].values[i];
        html_format(html, "<path class=\"c%u\" d=\"", plot->chart->layers[layer].colour);
        put_edge_forth(html, plot, plot->sum);
        put_edge_back(html, plot, plot->base);
        html_raw(html, "\"/>\n");
        double *swap = plot->base;
        plot->base = plot->sum;
        plot->sum = swap;
    }
}

/* One layer as a line, which has gaps where nothing was. */
static void put_line(struct html *html, const struct plot *plot)
{
    const double *values = plot->chart->layers[0].values;

    html_format(html, "<path class=\"line l%u\" d=\"", plot->chart->layers[0].colour);
    for (size_t i = 0; i < plot->report->n_samples; i++)
        if (values[i] > 0 && i > 0 && values[i - 1] > 0)
            html_format(html, "V%.1fH%.1f", y_of(plot, values[i]), x_of(plot, i));
        else if (values[i] > 0)
            html_format(html, "M%.1f %.1fH%.1f", i > 0 ? x_of(plot, i - 1) : 0.0,
                        y_of(plot, values[i]), x_of(plot, i));
    html_raw(html, "\"/>\n");
}

static void put_tooltips(struct html *html, const struct plot *plot)
{
    size_t n = plot->report->n_samples, n_slices = n < MOST_SLICES ? n : MOST_SLICES;
    char text[CHART_TEXT_BYTES];

    html_raw(html, "<g class=\"tips\">");
    for (size_t slice = 0; slice < n_slices; slice++) {
        size_t i = (slice + 1) * n / n_slices - 1;
        double from = slice > 0 ? x_of(plot, slice * n / n_slices - 1) : 0;
        html_format(html, "<rect x=\"%.1f\" width=\"%.1f\" height=\"240\"><title>%s", from,
                    x_of(plot, i) - from, chart_duration(plot->report->at_s[i], text));
        for (unsigned layer = plot->chart->n_layers; layer-- > 0;) {
            double value = plot->chart->layers[layer].values[i];
            if (value > 0)
                html_format(html, "\n%s: %s", plot->chart->layers[layer].name,
                            chart_amount(plot->chart->unit, value, text));
        }
        html_raw(html, "</title></rect>");
    }
    html_raw(html, "</g>\n");
}

static double most_of(const double *values, size_t n)
{
    double most = 0;

    for (size_t i = 0; i < n; i++)
        most = values[i] > most ? values[i] : most;
    return most;
}

/* Only those that are there at all. */
static void put_legend(struct html *html, const struct plot *plot)
{
    char text[CHART_TEXT_BYTES];

    html_raw(html, "<ul class=\"legend\">");
    for (unsigned layer = plot->chart->n_layers; layer-- > 0;) {
        const struct chart_layer *its = &plot->chart->layers[layer];
        double most = most_of(its->values, plot->report->n_samples);
        if (most > 0)
            html_format(html, "<li><i class=\"c%u\"></i>%s <span>at most %s</span></li>",
                        its->colour, its->name, chart_amount(plot->chart->unit, most, text));
    }
    if (plot->chart->limit > 0)
        html_format(html, "<li><i class=\"limit\"></i>%s <span>%s</span></li>",
                    plot->chart->limit_name,
                    chart_amount(plot->chart->unit, plot->chart->limit, text));
    html_raw(html, "</ul>\n");
}

static void put_plot(struct html *html, struct plot *plot)
{
    const struct chart *chart = plot->chart;
    double step = step_for(chart->unit, plot->top);
    char text[CHART_TEXT_BYTES];

    plot->top = step * ceil(plot->top / step);
    html_raw(html, "<div class=\"plot\">");
    put_y_axis(html, chart->unit, plot->top, step);
    html_format(html,
                "<svg viewBox=\"0 0 1000 240\" preserveAspectRatio=\"none\" role=\"img\" "
                "aria-label=\"%s, over %s\">\n",
                chart->title, chart_duration(plot->end_s, text));
    put_grid(html, plot->top, step);
    if (chart->is_line)
        put_line(html, plot);
    else
        put_layers(html, plot);
    if (chart->limit > 0)
        html_format(html, "<path class=\"limit\" d=\"M0 %.1fH1000\"/>\n", y_of(plot, chart->limit));
    put_tooltips(html, plot);
    html_raw(html, "</svg></div>\n");
    chart_time_axis(html, plot->report);
    put_legend(html, plot);
}

/* The highest point of all layers together. */
static double highest(const struct plot *plot)
{
    const struct chart *chart = plot->chart;
    double most = 0;

    for (size_t i = 0; i < plot->report->n_samples; i++) {
        double sum = 0;
        for (unsigned layer = 0; layer < chart->n_layers; layer++)
            sum += chart->layers[layer].values[i];
        most = sum > most ? sum : most;
    }
    return most;
}

void chart_over_time(struct html *html, const struct report *report, const struct chart *chart)
{
    size_t n = report->n_samples;
    struct plot plot = {.report = report, .chart = chart, .end_s = chart_end_s(report)};

    chart_begin(html, chart->id, chart->title, chart->note);
    plot.base = calloc(n + 1, sizeof *plot.base);
    plot.sum = calloc(n + 1, sizeof *plot.sum);
    plot.top = highest(&plot);
    if (plot.base == NULL || plot.sum == NULL) {
        html->failed = true;
    } else if (plot.top <= 0 || plot.end_s <= 0 || n < 2) {
        chart_say_empty(html, n < 2 ? "The run was too short for a time line." : chart->empty);
    } else {
        if (chart->limit > plot.top)
            plot.top = chart->limit;
        put_plot(html, &plot);
    }
    chart_end(html);
    free(plot.base);
    free(plot.sum);
}

/* Latencies */

/* Where a class of latencies begins; control_latency_bucket() makes four a power of two. */
static double lower_bound(double upper)
{
    double power = exp2(floor(log2(upper)));

    return power == upper ? upper * 7 / 8 : upper - power / 4;
}

struct span_of_time { /* powers of two of a nanosecond */
    double from, to;
};

static double place(const struct span_of_time *span, double ns)
{
    double at = (log2(ns > 1 ? ns : 1) - span->from) / (span->to - span->from);

    return at < 0 ? 0 : at > 1 ? 1 : at;
}

static void put_bars(struct html *html, const struct report *report,
                     const struct span_of_time *span, double top, double total)
{
    char from_text[CHART_TEXT_BYTES], to_text[CHART_TEXT_BYTES], share[CHART_TEXT_BYTES];

    for (size_t i = 0; i < report->n_latencies; i++) {
        double upper = (double)report->latency_ns[i], lower = lower_bound(upper);
        double part = (double)report->latency_faults[i] / total;
        double x = WIDTH * place(span, lower), width = WIDTH * place(span, upper) - x;
        html_format(html,
                    "<rect class=\"c0\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\">"
                    "<title>%s to %s: %s of the faults</title></rect>\n",
                    x, HEIGHT * (1 - part / top), width > 1 ? width - 0.8 : width,
                    HEIGHT * part / top, chart_duration(lower / 1e9, from_text),
                    chart_duration(upper / 1e9, to_text), chart_amount(CHART_SHARE, part, share));
    }
}

static void put_latency_axis(struct html *html, const struct span_of_time *span)
{
    char text[CHART_TEXT_BYTES];

    html_raw(html, "<div class=\"x\">");
    for (double ns = 100; log2(ns) <= span->to; ns *= 10)
        if (log2(ns) >= span->from)
            put_x_label(html, place(span, ns), chart_duration(ns / 1e9, text));
    html_raw(html, "</div>\n");
}

static void put_quantile(struct html *html, const struct span_of_time *span, uint64_t ns,
                         const char *class)
{
    html_format(html, "<path class=\"%s\" d=\"M%.1f 0V240\"/>\n", class,
                WIDTH * place(span, (double)ns));
}

static void put_histogram(struct html *html, const struct report *report, double total, double most)
{
    struct span_of_time span = {
        floor(log2(lower_bound((double)report->latency_ns[0]))),
        ceil(log2((double)report->latency_ns[report->n_latencies - 1])),
    };
    double top = most / total, step = decimal_step(top, MOST_TICKS);
    char text[CHART_TEXT_BYTES];

    if (span.to <= span.from)
        span.to = span.from + 1;
    top = step * ceil(top / step);
    html_raw(html, "<div class=\"plot\">");
    put_y_axis(html, CHART_SHARE, top, step);
    html_raw(html, "<svg viewBox=\"0 0 1000 240\" preserveAspectRatio=\"none\" role=\"img\" "
                   "aria-label=\"Histogram of fault service times\">\n");
    put_grid(html, top, step);
    put_bars(html, report, &span, top, total);
    put_quantile(html, &span, report->p50_ns, "mark");
    put_quantile(html, &span, report->p99_ns, "mark far");
    html_raw(html, "</svg></div>\n");
    put_latency_axis(html, &span);
    html_format(html, "<ul class=\"legend\"><li><i class=\"mark\"></i>p50 <span>%s</span></li>",
                chart_duration((double)report->p50_ns / 1e9, text));
    html_format(html, "<li><i class=\"mark far\"></i>p99 <span>%s</span></li>",
                chart_duration((double)report->p99_ns / 1e9, text));
    html_format(html, "<li>mean <span>%s</span></li></ul>\n",
                chart_duration((double)report->mean_ns / 1e9, text));
}

void chart_latencies(struct html *html, const struct report *report)
{
    double total = 0, most = 0;

    chart_begin(
        html, "latency", "How long a fault took",
        "The share of the faults by service time, from notice to wake-up; the scale of time "
        "is logarithmic. Half of the faults were faster than p50, one in a hundred was "
        "slower than p99.");
    for (size_t i = 0; i < report->n_latencies; i++) {
        double n = (double)report->latency_faults[i];
        total += n;
        most = n > most ? n : most;
    }
    if (total > 0)
        put_histogram(html, report, total, most);
    else
        chart_say_empty(html, "No page had to be brought in.");
    chart_end(html);
}
