/* SPDX-License-Identifier: Apache-2.0 */
/*
 * maps_picture: the highest address on top, one box an area.
 *
 *     7ffce396a000  +--------------------+
 *                   |########            |  stack  [stack]   132 KiB, 16 KiB resident
 *                   +--------------------+
 *                          - gap -
 *
 * Sizes differ by nine powers of ten, so a box's height grows with the logarithm of its size; what
 * is filled of its width is resident, and behind that, hatched by a lighter shade, swapped out.
 */
#include "cli/maps_picture.h"

#include "base/size.h"
#include "cli/drawing.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define WIDTH 900.0
#define LEFT 120.0 /* of the boxes */
#define BOX 260.0
#define TOP 50.0
#define LEAST 16.0 /* height of a box: a line of text */
#define GAP 14.0
#define MAX_AREAS 400 /* more would be no picture any more */

static const double shades[QUIRE_OBSERVE_N_KINDS][3] = {
    {0.12, 0.37, 0.66}, {0.40, 0.64, 0.86}, {0.85, 0.45, 0.13}, {0.72, 0.20, 0.42},
    {0.93, 0.65, 0.30}, {0.45, 0.55, 0.45}, {0.35, 0.41, 0.71}, {0.27, 0.62, 0.65},
    {0.20, 0.55, 0.25}, {0.55, 0.55, 0.55},
};

static double height_of(const struct maps_area *area)
{
    double pages = (double)area->size / 4096;

    return LEAST + (pages > 16 ? 5 * log2(pages / 16) : 0);
}

static double whole_height(const struct maps_area *areas, size_t n)
{
    double height = TOP + 20;

    for (size_t i = 0; i < n; i++)
        height += height_of(&areas[i]) + (i > 0 && areas[i].start != areas[i - 1].end ? GAP : 0);
    return height;
}

static double part(uint64_t figure, uint64_t size)
{
    return quire_observe_known(figure) && size > 0 ? fmin(1, (double)figure / (double)size) : 0;
}

static void draw_box(cairo_t *picture, const struct maps_area *area, double y)
{
    const double *shade = shades[area->kind];
    double height = height_of(area), resident = BOX * part(area->rss, area->size);
    double swapped = fmin(BOX - resident, BOX * part(area->swap, area->size));

    cairo_set_source_rgb(picture, 0.96, 0.96, 0.96);
    cairo_rectangle(picture, LEFT, y, BOX, height);
    cairo_fill(picture);
    cairo_set_source_rgb(picture, shade[0], shade[1], shade[2]);
    cairo_rectangle(picture, LEFT, y, resident, height);
    cairo_fill(picture);
    cairo_set_source_rgba(picture, shade[0], shade[1], shade[2], 0.4);
    cairo_rectangle(picture, LEFT + resident, y, swapped, height);
    cairo_fill(picture);
    cairo_set_source_rgb(picture, 0.25, 0.25, 0.25);
    cairo_rectangle(picture, LEFT, y, BOX, height);
    cairo_stroke(picture);
}

static void draw_words(cairo_t *picture, const struct maps_area *area, double y)
{
    char words[256], address[24], size[24], rss[24];
    const char *name = area->name;

    if (strlen(name) > 44 && strrchr(name, '/') != NULL)
        name = strrchr(name, '/') + 1;
    snprintf(address, sizeof address, "%" PRIx64, area->start);
    drawing_text(picture, LEFT - 8, y + height_of(area) - 3, 1, address);
    size_format(area->size, size, sizeof size);
    if (quire_observe_known(area->rss))
        snprintf(words, sizeof words, "%s  %s  %.44s   %s, %s resident",
                 quire_observe_kind_name(area->kind), area->permissions, name, size,
                 size_format(area->rss, rss, sizeof rss));
    else
        snprintf(words, sizeof words, "%s  %s  %.44s   %s", quire_observe_kind_name(area->kind),
                 area->permissions, name, size);
    drawing_text(picture, LEFT + BOX + 10, y + 12, 0, words);
}

static void draw(cairo_t *picture, const char *title, const struct maps_area *areas, size_t n)
{
    double y = TOP;

    cairo_select_font_face(picture, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(picture, 15);
    drawing_text(picture, LEFT, 22, 0, title);
    cairo_set_font_size(picture, 10.5);
    drawing_text(
        picture, LEFT, 38, 0,
        "filled: resident; lighter: swapped out; heights grow with the logarithm of the size");
    cairo_set_line_width(picture, 0.8);
    for (size_t i = n; i-- > 0;) {
        draw_box(picture, &areas[i], y);
        draw_words(picture, &areas[i], y);
        y += height_of(&areas[i]);
        if (i > 0 && areas[i].start != areas[i - 1].end) {
            drawing_text(picture, LEFT + BOX / 2 - 4, y + 10, 0, "\u22ee");
            y += GAP;
        }
    }
}

int maps_picture_write(const char *path, const char *title, const struct maps_area *areas, size_t n)
{
    if (n > MAX_AREAS) { /* the highest: stack, mappings; the lowest are few and told in text */
        areas += n - MAX_AREAS;
        n = MAX_AREAS;
    }
    cairo_t *picture = drawing_begin(path, WIDTH, whole_height(areas, n));
    draw(picture, title, areas, n);
    return drawing_end(picture);
}
