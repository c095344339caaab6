/* SPDX-License-Identifier: Apache-2.0 */
/*
 * curve_picture: SVG written as text.
 *
 *     title
 *     panel's title
 *   y +--------------------------+
 *     |  \__                     |  -- name
 *     |     \______              |  -- name
 *     +--------------------------+ x
 *
 * Names stand at the right; each point has its figures as a hover title.
 */
#include "cli/curve_picture.h"

#include "base/size.h"
#include "cli/svg_text.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 1100.0
#define PANEL 360.0
#define LEFT 84.0
#define RIGHT 190.0
#define TOP 48.0
#define GAP 84.0
#define N_TICKS 6
#define LABEL 15.0 /* between names */
#define MOST_NAMES 24

/* Dark enough on white, and told apart by who sees red and green alike (after Okabe and Ito). */
static const char *const colours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                      "#7f6000", "#56b4e9", "#000000", "#e69f00"};
#define N_COLOURS (sizeof colours / sizeof colours[0])
static const char *const dashes[] = {"", "7 3", "2 3", "9 3 2 3"};

struct view {
    const struct curve_panel *panel;
    double top; /* of the panel in the picture */
    double x_min, x_max, y_max;
    FILE *file;
};

static double x_of(const struct view *view, double x)
{
    double from = view->x_min, to = view->x_max;
    if (view->panel->is_log) {
        x = log2(x);
        from = log2(from);
        to = log2(to);
    }
    return LEFT + (to > from ? (x - from) / (to - from) : 0.5) * (WIDTH - LEFT - RIGHT);
}

static double y_of(const struct view *view, double y)
{
    return view->top + PANEL * (1 - y / view->y_max);
}

#define AMOUNT_BYTES 32

static const char *amount(enum curve_unit unit, double value, char text[AMOUNT_BYTES])
{
    static const char *const suffixes[] = {"", "k", "M", "G", "T"};
    unsigned i = 0;
    if (unit == CURVE_BYTES)
        return size_format((uint64_t)(value + 0.5), text, AMOUNT_BYTES);
    if (unit == CURVE_SHARE) {
        snprintf(text, AMOUNT_BYTES, "%.3g %%", 100 * value);
        return text;
    }
    for (; fabs(value) >= 10000 && i < 4; i++)
        value /= 1000;
    snprintf(text, AMOUNT_BYTES, "%.4g%s", value, suffixes[i]);
    return text;
}

/* 1, 2 or 5 times a power of ten (of bytes, a power of two), so that some fit below `most`. */
static double nice_step(enum curve_unit unit, double most)
{
    double raw = most / N_TICKS;
    if (unit == CURVE_BYTES)
        return exp2(ceil(log2(raw)));
    double power = pow(10, floor(log10(raw)));
    return raw <= power       ? power
           : raw <= 2 * power ? 2 * power
           : raw <= 5 * power ? 5 * power
                              : 10 * power;
}

static void write_x_tick(const struct view *view, double x)
{
    char text[AMOUNT_BYTES];
    fprintf(view->file,
            "<path d=\"M%.1f %.1fv5\" stroke=\"#444\"/>"
            "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n",
            x_of(view, x), view->top + PANEL, x_of(view, x), view->top + PANEL + 18,
            amount(view->panel->x_unit, x, text));
}

static void write_x_axis(const struct view *view)
{
    if (!view->panel->is_log) {
        double step = nice_step(view->panel->x_unit, view->x_max - view->x_min);
        for (double x = ceil(view->x_min / step) * step; x <= view->x_max; x += step)
            write_x_tick(view, x);
        return;
    }
    double first = ceil(log2(view->x_min)), last = floor(log2(view->x_max)), step = 1;
    while ((last - first) / step > 10)
        step++;
    for (double power = first; power <= last; power += step)
        write_x_tick(view, exp2(power));
    if (first > last)
        write_x_tick(view, view->x_min);
}

static void write_axes(const struct view *view)
{
    const struct curve_panel *panel = view->panel;
    char text[AMOUNT_BYTES];
    double step = nice_step(panel->y_unit, view->y_max);
    for (double y = 0; y <= view->y_max * 1.0001; y += step)
        fprintf(view->file,
                "<path d=\"M%.1f %.1fH%.1f\" stroke=\"#ddd\"/>"
                "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                LEFT, y_of(view, y), WIDTH - RIGHT, LEFT - 6, y_of(view, y) + 4,
                amount(panel->y_unit, y, text));
    fprintf(view->file, "<path d=\"M%.1f %.1fV%.1fH%.1f\" fill=\"none\" stroke=\"#444\"/>\n", LEFT,
            view->top, view->top + PANEL, WIDTH - RIGHT);
    write_x_axis(view);
    fprintf(view->file, "<text x=\"%.1f\" y=\"%.1f\" font-size=\"14\" font-weight=\"bold\">", LEFT,
            view->top - 22);
    svg_text(view->file, panel->title);
    fprintf(view->file, "</text>\n<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", WIDTH - RIGHT,
            view->top + PANEL + 36);
    svg_text(view->file, panel->x_title);
    fprintf(view->file, "</text>\n<text x=\"%.1f\" y=\"%.1f\">", LEFT, view->top - 6);
    svg_text(view->file, panel->y_title);
    fputs("</text>\n", view->file);
}

static void write_title(const struct view *view, const char *name, const struct curve_point *point)
{
    char x[AMOUNT_BYTES], y[AMOUNT_BYTES];
    fputs("<title>", view->file);
    svg_text(view->file, name);
    fprintf(view->file, ": %s at %s</title>", amount(view->panel->y_unit, point->y, y),
            amount(view->panel->x_unit, point->x, x));
}

static void write_band(const struct view *view, const struct curve_series *series,
                       const char *colour)
{
    fprintf(view->file, "<path fill=\"%s\" fill-opacity=\"0.18\" d=\"", colour);
    for (size_t i = 0; i < series->n; i++)
        fprintf(view->file, "%c%.1f %.1f", i == 0 ? 'M' : 'L', x_of(view, series->low[i].x),
                y_of(view, series->low[i].y));
    for (size_t i = series->n; i-- > 0;)
        fprintf(view->file, "L%.1f %.1f", x_of(view, series->high[i].x),
                y_of(view, series->high[i].y));
    fputs("Z\"/>\n", view->file);
}

static void write_line(const struct view *view, size_t which)
{
    const struct curve_series *series = &view->panel->series[which];
    const char *colour = colours[which % N_COLOURS],
               *dash = dashes[which / N_COLOURS % (sizeof dashes / sizeof dashes[0])];
    if (series->low != NULL)
        write_band(view, series, colour);
    fprintf(view->file,
            "<path fill=\"none\" stroke=\"%s\" stroke-width=\"1.8\" stroke-dasharray=\"%s\" d=\"",
            colour, dash);
    for (size_t i = 0; i < series->n; i++)
        fprintf(view->file, "%c%.1f %.1f", i == 0 ? 'M' : 'L', x_of(view, series->points[i].x),
                y_of(view, series->points[i].y));
    fputs("\"/>\n", view->file);
    for (size_t i = 0; i < series->n && series->has_marks; i++) {
        fprintf(view->file, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\">",
                x_of(view, series->points[i].x), y_of(view, series->points[i].y), colour);
        write_title(view, series->name, &series->points[i]);
        fputs("</circle>\n", view->file);
    }
}

static void write_names(const struct view *view)
{
    size_t n = view->panel->n_series;
    for (size_t i = 0; i < n && i < MOST_NAMES; i++) {
        double y = view->top + 10 + (double)i * LABEL;
        fprintf(view->file,
                "<path d=\"M%.1f %.1fh24\" stroke=\"%s\" stroke-width=\"2.4\" "
                "stroke-dasharray=\"%s\"/><text x=\"%.1f\" y=\"%.1f\">",
                WIDTH - RIGHT + 10, y - 4, colours[i % N_COLOURS],
                dashes[i / N_COLOURS % (sizeof dashes / sizeof dashes[0])], WIDTH - RIGHT + 40, y);
        svg_text(view->file, i == MOST_NAMES - 1 && n > MOST_NAMES ? "and others"
                                                                   : view->panel->series[i].name);
        fputs("</text>\n", view->file);
    }
}

static void write_bars(const struct view *view)
{
    const struct curve_series *series = &view->panel->series[0];
    for (size_t i = 0; i < series->n; i++) {
        const struct curve_point *point = &series->points[i];
        double from = x_of(view, point->x),
               to = i + 1 < series->n ? x_of(view, series->points[i + 1].x) : WIDTH - RIGHT;
        fprintf(view->file,
                "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\">", from,
                y_of(view, point->y), fmax(to - from - 1, 0.5),
                view->top + PANEL - y_of(view, point->y), colours[0]);
        write_title(view, series->name, point);
        fputs("</rect>\n", view->file);
    }
}

static void measure(struct view *view)
{
    const struct curve_panel *panel = view->panel;
    bool found = false;
    view->x_min = 1;
    view->x_max = 2;
    view->y_max = 0;
    for (size_t i = 0; i < panel->n_series; i++)
        for (size_t k = 0; k < panel->series[i].n; k++) {
            const struct curve_point *point = &panel->series[i].points[k];
            view->x_min = !found || point->x < view->x_min ? point->x : view->x_min;
            view->x_max = !found || point->x > view->x_max ? point->x : view->x_max;
            view->y_max = fmax(view->y_max, point->y);
            if (panel->series[i].high != NULL)
                view->y_max = fmax(view->y_max, panel->series[i].high[k].y);
            found = true;
        }
    if (panel->is_bars)
        view->x_max = panel->is_log ? 2 * view->x_max : view->x_max + 1;
    if (view->y_max <= 0)
        view->y_max = 1;
    double step = nice_step(panel->y_unit, view->y_max);
    view->y_max = ceil(view->y_max / step - 1e-9) * step;
}

static void write_panel(struct view *view)
{
    measure(view);
    write_axes(view);
    if (view->panel->is_bars) {
        write_bars(view);
        return;
    }
    for (size_t i = 0; i < view->panel->n_series; i++)
        write_line(view, i);
    write_names(view);
}

int curve_picture(const struct curve_panel *panels, size_t n, const char *title, char **text,
                  size_t *n_bytes)
{
    struct view view = {.file = open_memstream(text, n_bytes)};
    if (view.file == NULL)
        return -ENOMEM;
    fprintf(view.file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
            "font-family=\"sans-serif\" font-size=\"11\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n"
            "<text x=\"%.1f\" y=\"28\" font-size=\"17\">",
            WIDTH, TOP + (double)n * (PANEL + GAP) + 20, LEFT);
    svg_text(view.file, title);
    fputs("</text>\n", view.file);
    for (size_t i = 0; i < n; i++) {
        view.panel = &panels[i];
        view.top = TOP + 36 + (double)i * (PANEL + GAP);
        write_panel(&view);
    }
    fputs("</svg>\n", view.file);
    bool failed = ferror(view.file) != 0;
    if (fclose(view.file) != 0 || failed) {
        free(*text);
        *text = NULL;
        return -ENOMEM;
    }
    return 0;
}
