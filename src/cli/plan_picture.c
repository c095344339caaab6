/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan_picture: SVG written as text, as cairo has no hover titles.
 *
 *     title
 *     +------------------------------+ capacity - - -
 *     |   +------+                   |
 *     |   | name |    +--------+     | peak - - -
 *     +---+------+----+--------+-----+
 *       lower-bound profile: a line over the buffers
 *
 * Panels stand below each other, one a space. Colours go by size, from pale to strong, so that what
 * matters is seen first; a name is written where the rectangle is large enough for letters.
 */
#include "cli/plan_picture.h"

#include "base/size.h"
#include "cli/svg_text.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 1200.0
#define PANEL 620.0
#define LEFT 90.0
#define RIGHT 110.0
#define TOP 56.0
#define GAP 64.0
#define LETTER 0.6 /* width of a letter to its height */
#define SMALLEST 4.5
#define LARGEST 12.0

struct panel {
    const struct quire_tensor_problem *problem;
    const uint64_t *offsets;
    const uint32_t *spaces;
    uint32_t space;
    uint64_t capacity, peak, highest; /* bytes */
    int64_t start, end;
    double top; /* of the panel in the picture */
    FILE *file;
};

static double x_of(const struct panel *panel, int64_t time)
{
    double span = (double)panel->end - (double)panel->start;
    return LEFT + ((double)time - (double)panel->start) / span * (WIDTH - LEFT - RIGHT);
}

static double y_of(const struct panel *panel, uint64_t offset)
{
    return panel->top + PANEL - (double)offset / (double)panel->highest * PANEL;
}

static const char *name_of(const struct panel *panel, size_t i, char *room, size_t n)
{
    if (panel->problem->buffers[i].name != NULL)
        return panel->problem->buffers[i].name;
    snprintf(room, n, "%zu", i);
    return room;
}

/* From pale (small) to strong (large), on a logarithmic scale. */
static void write_colour(const struct panel *panel, uint64_t size)
{
    double share = log2(1 + 4095.0 * (double)size / (double)panel->highest) / 12;
    int red = (int)(226 - 176 * share), green = (int)(236 - 116 * share);
    fprintf(panel->file, "fill=\"#%02x%02x%02x\"", red, green, (int)(246 - 66 * share));
}

static void write_title(const struct panel *panel, size_t i)
{
    const struct quire_tensor_buffer *buffer = &panel->problem->buffers[i];
    char room[24], size[24];
    fputs("<title>", panel->file);
    svg_text_part(panel->file, name_of(panel, i, room, sizeof room), 200);
    fprintf(panel->file,
            ": %s (%" PRIu64 " B) at %" PRIu64 " to %" PRIu64 ", from %" PRId64 " to %" PRId64,
            size_format(buffer->size, size, sizeof size), buffer->size, panel->offsets[i],
            panel->offsets[i] + buffer->size, buffer->lower, buffer->upper);
    if (buffer->is_fixed)
        fputs(", fixed", panel->file);
    fputs("</title>", panel->file);
}

/* The height of letters with which `n` of them fit; 0: they would be too small to read. */
static double letter_for(size_t n, double length, double thickness)
{
    double letter = length / ((double)n * LETTER + 0.5);
    letter = thickness * 0.8 < letter ? thickness * 0.8 : letter;
    return letter >= SMALLEST ? fmin(letter, LARGEST) : 0;
}

/* Along the longer side, or a part of it if that is long enough for some letters. */
static void write_name(const struct panel *panel, size_t i, double x, double width, double top,
                       double height)
{
    char room[24];
    const char *name = name_of(panel, i, room, sizeof room), *dots = "";
    size_t n = strlen(name);
    double letter = letter_for(n, width, height);
    bool is_upright = letter < letter_for(n, height, width);
    double length = width > height ? width : height, thickness = width > height ? height : width;

    if (is_upright)
        letter = letter_for(n, height, width);
    if (letter == 0 && thickness * 0.8 >= SMALLEST && length >= 8 * LETTER * SMALLEST) {
        letter = SMALLEST;
        is_upright = height > width;
        n = (size_t)(length / (LETTER * SMALLEST)) - 2;
        dots = "..";
    }
    if (letter == 0)
        return;
    if (is_upright)
        fprintf(panel->file,
                "<text transform=\"translate(%.1f %.1f) rotate(-90)\" font-size=\"%.1f\">",
                x + width / 2 + letter * 0.35, top + height / 2, letter);
    else
        fprintf(panel->file, "<text x=\"%.1f\" y=\"%.1f\" font-size=\"%.1f\">", x + width / 2,
                top + height / 2 + letter * 0.35, letter);
    svg_text_part(panel->file, name, n);
    fprintf(panel->file, "%s</text>", dots);
}

static void write_piece(const struct panel *panel, size_t i, int64_t from, int64_t till)
{
    const struct quire_tensor_buffer *buffer = &panel->problem->buffers[i];
    double x = x_of(panel, from), width = x_of(panel, till) - x;
    double top = y_of(panel, panel->offsets[i] + buffer->size);
    double height = y_of(panel, panel->offsets[i]) - top;

    fputs("<g>", panel->file);
    fprintf(panel->file, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" ", x, top,
            width, height);
    write_colour(panel, buffer->size);
    fputs("/>", panel->file);
    write_title(panel, i);
    write_name(panel, i, x, width, top, height);
    fputs("</g>\n", panel->file);
}

static void write_buffers(const struct panel *panel)
{
    fputs("<g stroke=\"#38506b\" stroke-width=\"0.4\" text-anchor=\"middle\">\n"
          "<style>text{stroke:none;fill:#10202f}</style>\n",
          panel->file);
    for (size_t i = 0; i < panel->problem->n_buffers; i++) {
        const struct quire_tensor_buffer *buffer = &panel->problem->buffers[i];
        int64_t from = buffer->lower;
        if (buffer->size == 0 || (panel->spaces != NULL && panel->spaces[i] != panel->space))
            continue;
        for (uint32_t g = 0; g <= buffer->n_gaps; g++) {
            int64_t till = g < buffer->n_gaps ? buffer->gaps[g].lower : buffer->upper;
            if (from < till)
                write_piece(panel, i, from, till);
            from = g < buffer->n_gaps ? buffer->gaps[g].upper : from;
        }
    }
    fputs("</g>\n", panel->file);
}

static void write_level(const struct panel *panel, uint64_t level, const char *what, double shift)
{
    char size[24];
    double y = y_of(panel, level);
    fprintf(panel->file,
            "<path d=\"M%.1f %.1fH%.1f\" stroke=\"#444\" stroke-dasharray=\"6 4\"/>"
            "<text x=\"%.1f\" y=\"%.1f\">%s %s</text>\n",
            LEFT, y, WIDTH - RIGHT, WIDTH - RIGHT + 6, y + shift, what,
            size_format(level, size, sizeof size));
}

static void write_axes(const struct panel *panel)
{
    char size[24];
    fprintf(panel->file,
            "<path d=\"M%.1f %.1fV%.1fH%.1f\" fill=\"none\" stroke=\"#444\"/>\n"
            "<g text-anchor=\"end\">\n",
            LEFT, panel->top, panel->top + PANEL, WIDTH - RIGHT);
    for (unsigned i = 0; i <= 8; i++)
        fprintf(panel->file, "<text x=\"%.1f\" y=\"%.1f\">%s</text>\n", LEFT - 6,
                panel->top + PANEL - i * PANEL / 8 + 4,
                size_format(panel->highest / 8 * i, size, sizeof size));
    fputs("</g>\n<g text-anchor=\"middle\">\n", panel->file);
    for (unsigned i = 0; i <= 8; i++) {
        double span = (double)panel->end - (double)panel->start;
        fprintf(panel->file, "<text x=\"%.1f\" y=\"%.1f\">%.0f</text>\n",
                LEFT + i * (WIDTH - LEFT - RIGHT) / 8, panel->top + PANEL + 18,
                (double)panel->start + span * i / 8);
    }
    fputs("</g>\n", panel->file);
}

/* What lives when: no placement can be below this line. */
static int write_profile(const struct panel *panel)
{
    struct quire_tensor_buffer *mine = malloc((panel->problem->n_buffers + 1) * sizeof *mine);
    struct quire_tensor_point *points = NULL;
    size_t n = 0, n_points = 0;
    if (mine == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < panel->problem->n_buffers; i++)
        if (panel->spaces == NULL || panel->spaces[i] == panel->space)
            mine[n++] = panel->problem->buffers[i];
    struct quire_tensor_problem problem = {mine, n, panel->problem->spaces,
                                           panel->problem->n_spaces};
    int error = quire_tensor_profile(&problem, &points, &n_points);
    free(mine);
    if (error != 0)
        return error;
    fprintf(panel->file,
            "<path fill=\"none\" stroke=\"#c2410c\" stroke-width=\"1.4\" d=\"M%.2f %.2f", LEFT,
            y_of(panel, 0));
    for (size_t k = 0; k < n_points; k++)
        fprintf(panel->file, "H%.2fV%.2f", x_of(panel, points[k].time),
                y_of(panel, points[k].live));
    fputs("\"><title>what is in use at a time: the lower bound</title></path>\n", panel->file);
    free(points);
    return 0;
}

static int write_panel(struct panel *panel)
{
    const struct quire_tensor_problem *problem = panel->problem;
    if (problem->n_spaces > 1) {
        const char *name = problem->spaces[panel->space].name;
        fprintf(panel->file, "<text x=\"%.1f\" y=\"%.1f\" font-size=\"14\">space %u ", LEFT,
                panel->top - 10, panel->space);
        svg_text_part(panel->file, name != NULL ? name : "", 100);
        fputs("</text>\n", panel->file);
        panel->capacity = problem->spaces[panel->space].capacity;
    }
    panel->peak = 0;
    for (size_t i = 0; i < problem->n_buffers; i++) {
        uint64_t end = panel->offsets[i] + problem->buffers[i].size;
        if (panel->spaces == NULL || panel->spaces[i] == panel->space)
            panel->peak = end > panel->peak ? end : panel->peak;
    }
    panel->highest = panel->peak > panel->capacity ? panel->peak : panel->capacity;
    panel->highest = panel->highest > 0 ? panel->highest : 1;
    write_axes(panel);
    write_buffers(panel);
    write_level(panel, panel->peak, "peak", panel->capacity >= panel->peak ? 12 : 0);
    if (panel->capacity != 0)
        write_level(panel, panel->capacity, "room", panel->capacity >= panel->peak ? -2 : 12);
    return write_profile(panel);
}

int plan_picture(const struct quire_tensor_problem *problem, const uint64_t *offsets,
                 const uint32_t *spaces, uint64_t capacity, const char *title, char **text,
                 size_t *n_bytes)
{
    uint32_t n_panels = problem->n_spaces > 1 ? problem->n_spaces : 1;
    struct panel panel = {.problem = problem,
                          .offsets = offsets,
                          .spaces = n_panels > 1 ? spaces : NULL,
                          .capacity = capacity,
                          .start = INT64_MAX,
                          .end = INT64_MIN,
                          .file = open_memstream(text, n_bytes)};
    int error = 0;

    if (panel.file == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < problem->n_buffers; i++) {
        const struct quire_tensor_buffer *buffer = &problem->buffers[i];
        panel.start = buffer->lower < panel.start ? buffer->lower : panel.start;
        panel.end = buffer->upper > panel.end ? buffer->upper : panel.end;
    }
    if (problem->n_buffers == 0)
        panel.start = 0, panel.end = 1;
    fprintf(panel.file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
            "font-family=\"sans-serif\" font-size=\"11\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n"
            "<text x=\"%.1f\" y=\"28\" font-size=\"17\">",
            WIDTH, TOP + n_panels * (PANEL + GAP), LEFT);
    svg_text_part(panel.file, title, 120);
    fputs("</text>\n", panel.file);
    for (panel.space = 0; error == 0 && panel.space < n_panels; panel.space++) {
        panel.top = TOP + panel.space * (PANEL + GAP);
        error = write_panel(&panel);
    }
    fputs("</svg>\n", panel.file);
    bool failed = ferror(panel.file) != 0;
    if (fclose(panel.file) != 0 || failed || error != 0) {
        free(*text);
        *text = NULL;
        return error != 0 ? error : -ENOMEM;
    }
    return 0;
}
