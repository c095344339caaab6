/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory_map: time to the right, addresses upwards.
 *
 *     title                                   [] in use [] internal waste [] free
 *     first: 3 failed ...
 *       4.0 MiB +--------------------------+
 *               |   ####                   |    one band a policy, all to one scale of time,
 *             0 +--------------------------+    each to its own of addresses
 *               0          time          900
 *
 * Neighbours get different shades, by request. Of very many boxes those that would cover less than
 * a hundredth of a point each are left out.
 */
#include "cli/memory_map.h"

#include "base/size.h"
#include "cli/drawing.h"

#include <stdio.h>
#include <string.h>

#define WIDTH 960.0
#define LEFT 84.0 /* of a band */
#define RIGHT 24.0
#define TOP 62.0
#define BAND 170.0
#define GAP 52.0 /* between bands: axis and caption */

struct colour {
    double red, green, blue;
};

static const struct colour shades[] = {
    {0.12, 0.37, 0.66}, {0.24, 0.51, 0.78}, {0.40, 0.64, 0.86}, {0.09, 0.47, 0.53},
    {0.27, 0.62, 0.65}, {0.35, 0.41, 0.71}, {0.52, 0.57, 0.82},
};
#define N_SHADES (sizeof shades / sizeof shades[0])
static const struct colour waste = {0.96, 0.65, 0.14}, nothing = {0.95, 0.95, 0.95},
                           ink = {0.13, 0.13, 0.13};

static void use(cairo_t *picture, struct colour colour)
{
    cairo_set_source_rgb(picture, colour.red, colour.green, colour.blue);
}

static void box(cairo_t *picture, struct colour colour, double x, double y, double width,
                double height)
{
    use(picture, colour);
    cairo_rectangle(picture, x, y, width, height);
    cairo_fill(picture);
}

static void line(cairo_t *picture, double x1, double y1, double x2, double y2)
{
    use(picture, ink);
    cairo_move_to(picture, x1, y1);
    cairo_line_to(picture, x2, y2);
    cairo_stroke(picture);
}

static void draw_legend(cairo_t *picture, const char *title)
{
    static const char *const words[] = {"in use", "internal waste", "free"};
    const struct colour colours[] = {shades[1], waste, nothing};
    double x = LEFT;
    cairo_set_font_size(picture, 15);
    drawing_text(picture, LEFT, 22, 0, title);
    cairo_set_font_size(picture, 11);
    for (unsigned i = 0; i < 3; i++) {
        cairo_text_extents_t extents;
        box(picture, colours[i], x, 32, 14, 10);
        use(picture, ink);
        cairo_rectangle(picture, x, 32, 14, 10);
        cairo_stroke(picture);
        drawing_text(picture, x + 19, 41, 0, words[i]);
        cairo_text_extents(picture, words[i], &extents);
        x += 19 + extents.x_advance + 22;
    }
}

struct scale {
    double x, y, width, height; /* of the band */
    double first, time, space;
};

static void draw_box(cairo_t *picture, const struct scale *scale, const struct replay_box *its,
                     bool outlined)
{
    double x = scale->x + scale->width * ((double)its->begin - scale->first) / scale->time;
    double width = scale->width * (double)(its->end - its->begin) / scale->time;
    double height = scale->height * (double)its->length / scale->space;
    double y = scale->y + scale->height * (1 - (double)its->offset / scale->space) - height;
    double used = height * (double)its->used / (double)its->length;
    if (width * height < 0.01)
        return;
    box(picture, shades[its->request % N_SHADES], x, y + height - used, width, used);
    if (used < height)
        box(picture, waste, x, y, width, height - used);
    if (outlined && width > 3 && height > 3) {
        cairo_set_source_rgb(picture, 1, 1, 1);
        cairo_rectangle(picture, x, y, width, height);
        cairo_stroke(picture);
    }
}

static void draw_axes(cairo_t *picture, const struct scale *scale, uint64_t space)
{
    char words[48];
    for (unsigned i = 0; i <= 4; i++) {
        double y = scale->y + scale->height * (1 - i / 4.0);
        size_format(space / 4 * i + space % 4 * i / 4, words, sizeof words);
        line(picture, scale->x - 4, y, scale->x, y);
        drawing_text(picture, scale->x - 7, y + 4, 1, words);
        double x = scale->x + scale->width * i / 4.0;
        snprintf(words, sizeof words, i == 0 ? "time %.6g" : "%.6g",
                 scale->first + scale->time * i / 4.0);
        line(picture, x, scale->y + scale->height, x, scale->y + scale->height + 4);
        drawing_text(picture, x, scale->y + scale->height + 15, 0.5, words);
    }
    use(picture, ink);
    cairo_rectangle(picture, scale->x, scale->y, scale->width, scale->height);
    cairo_stroke(picture);
}

static void draw_band(cairo_t *picture, const struct scale *scale,
                      const struct replay_policy *policy, const struct replay_result *result)
{
    char caption[200], moved[24];
    snprintf(caption, sizeof caption,
             "%s: %llu failed, external fragmentation %.1f %%, internal %.1f %% (mean), moved %s",
             policy->name, (unsigned long long)result->n_failed, 100 * result->external.mean,
             100 * result->internal.mean, size_format(result->n_moved, moved, sizeof moved));
    drawing_text(picture, scale->x, scale->y - 6, 0, caption);
    box(picture, nothing, scale->x, scale->y, scale->width, scale->height);
    cairo_set_line_width(picture, 0.3);
    for (size_t i = 0; i < result->n_boxes; i++)
        draw_box(picture, scale, &result->boxes[i], result->n_boxes < 2000);
    cairo_set_line_width(picture, 0.8);
    draw_axes(picture, scale, result->space);
}

int memory_map_write(const char *path, const char *title, const struct replay_policy *policies,
                     const struct replay_result *results, unsigned n)
{
    uint64_t first = results[0].first_time, last = first + 1;
    for (unsigned i = 0; i < n; i++)
        last = results[i].last_time > last ? results[i].last_time : last;
    cairo_t *picture = drawing_begin(path, WIDTH, TOP + n * (BAND + GAP));
    cairo_select_font_face(picture, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_line_width(picture, 0.8);
    draw_legend(picture, title);
    for (unsigned i = 0; i < n; i++) {
        struct scale scale = {
            LEFT,          TOP + 10 + i * (BAND + GAP), WIDTH - LEFT - RIGHT,    BAND,
            (double)first, (double)(last - first),      (double)results[i].space};
        draw_band(picture, &scale, &policies[i], &results[i]);
    }
    return drawing_end(picture);
}
