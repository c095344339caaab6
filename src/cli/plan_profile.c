/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan_profile: see plan_profile.h.
 *
 *     bytes |   _                     the model as it is   1.31 MiB
 *           |  | |_      _            in place             1.25 MiB
 *           |--------------------- budget
 *           |_|    |____| |_
 *           +---------------- part of the run
 *
 * Schedules have different numbers of steps (what is recomputed runs twice, transfers are steps),
 * so each is drawn over the whole width.
 */
#include "cli/plan_profile.h"

#include "base/size.h"
#include "cli/svg_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 1200.0
#define HEIGHT 620.0
#define LEFT 90.0
#define RIGHT 300.0
#define TOP 56.0
#define BOTTOM 48.0
#define MAX_LINES 5u

struct line {
    const char *name, *colour;
    uint64_t *live; /* bytes at each step */
    size_t n_steps;
    uint64_t peak;
};

struct profile {
    struct line lines[MAX_LINES];
    unsigned n_lines;
    uint64_t highest, budget; /* bytes; 0: none */
    FILE *file;
};

static double y_of(const struct profile *profile, uint64_t n_bytes)
{
    double share = (double)n_bytes / (double)(profile->highest > 0 ? profile->highest : 1);
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
}

static double x_of(const struct line *line, size_t step)
{
    return LEFT + (double)step / (double)line->n_steps * (WIDTH - LEFT - RIGHT);
}

static int add_line(struct profile *profile, const struct quire_model *model,
                    const struct quire_model_wishes *wishes, const char *name, const char *colour)
{
    struct quire_model_schedule schedule;
    struct line *line = &profile->lines[profile->n_lines];
    int error = quire_model_schedule(model, wishes, &schedule);
    if (error != 0)
        return error;
    *line = (struct line){name, colour, NULL, schedule.n_steps > 0 ? schedule.n_steps : 1, 0};
    int64_t *change = calloc(line->n_steps + 2, sizeof *change);
    line->live = calloc(line->n_steps + 1, sizeof *line->live);
    profile->n_lines++;
    if (change != NULL && line->live != NULL) {
        int64_t live = 0, last = (int64_t)line->n_steps + 1;
        for (size_t i = 0; i < schedule.n_buffers; i++) {
            const struct quire_tensor_buffer *buffer = &schedule.buffers[i];
            change[buffer->lower] += (int64_t)buffer->size;
            change[buffer->upper < last ? buffer->upper : last] -= (int64_t)buffer->size;
        }
        for (size_t step = 0; step <= line->n_steps; step++) {
            live += change[step];
            line->live[step] = (uint64_t)live;
            line->peak = line->live[step] > line->peak ? line->live[step] : line->peak;
        }
        profile->highest = line->peak > profile->highest ? line->peak : profile->highest;
    } else {
        error = -ENOMEM;
    }
    free(change);
    quire_model_schedule_free(&schedule);
    return error;
}

static int add_lines(struct profile *profile, const struct quire_model *model,
                     const struct quire_model_wishes *wishes)
{
    struct quire_model_wishes some = *wishes;
    some.in_place = some.reorder = false;
    some.recompute_budget = some.offload_budget = 0;
    int error = add_line(profile, model, &some, "the model as it is", "#64748b");
    if (error == 0 && wishes->in_place) {
        some.in_place = true;
        error = add_line(profile, model, &some, "in place", "#0f766e");
    }
    if (error == 0 && wishes->reorder) {
        some.reorder = true;
        error = add_line(profile, model, &some, "reordered", "#7c3aed");
    }
    if (error == 0 && wishes->recompute_budget != 0) {
        some.recompute_budget = wishes->recompute_budget;
        error = add_line(profile, model, &some, "recomputed", "#b45309");
    }
    if (error == 0 && wishes->offload_budget != 0) {
        some.offload_budget = wishes->offload_budget;
        error = add_line(profile, model, &some, "offloaded", "#be123c");
    }
    return error;
}

static void write_axes(const struct profile *profile)
{
    char size[24];
    fprintf(profile->file, "<g stroke=\"#e2e8f0\">\n");
    for (unsigned i = 1; i <= 8; i++)
        fprintf(profile->file, "<path d=\"M%.1f %.1fH%.1f\"/>\n", LEFT,
                y_of(profile, profile->highest / 8 * i), WIDTH - RIGHT);
    fprintf(profile->file,
            "</g>\n<path d=\"M%.1f %.1fV%.1fH%.1f\" fill=\"none\" stroke=\"#444\"/>\n"
            "<g text-anchor=\"end\">\n",
            LEFT, TOP, HEIGHT - BOTTOM, WIDTH - RIGHT);
    for (unsigned i = 0; i <= 8; i++)
        fprintf(profile->file, "<text x=\"%.1f\" y=\"%.1f\">%s</text>\n", LEFT - 6,
                y_of(profile, profile->highest / 8 * i) + 4,
                size_format(profile->highest / 8 * i, size, sizeof size));
    fputs("</g>\n<g text-anchor=\"middle\">\n", profile->file);
    for (unsigned i = 0; i <= 4; i++)
        fprintf(profile->file, "<text x=\"%.1f\" y=\"%.1f\">%u%% of the run</text>\n",
                LEFT + i * (WIDTH - LEFT - RIGHT) / 4, HEIGHT - BOTTOM + 18, 25 * i);
    fputs("</g>\n", profile->file);
}

static void write_line(const struct profile *profile, unsigned i)
{
    const struct line *line = &profile->lines[i];
    char size[24];
    double y = TOP + 20 + 44.0 * i;
    const char *peak = size_format(line->peak, size, sizeof size);
    fprintf(profile->file,
            "<path fill=\"none\" stroke=\"%s\" stroke-width=\"%.1f\" stroke-opacity=\"0.85\" "
            "d=\"M%.2f %.2f",
            line->colour, i + 1 == profile->n_lines ? 2.2 : 1.4, LEFT, y_of(profile, 0));
    for (size_t step = 0; step < line->n_steps; step++)
        fprintf(profile->file, "V%.2fH%.2f", y_of(profile, line->live[step]), x_of(line, step + 1));
    fprintf(profile->file,
            "V%.2f\"><title>%s: %s at most</title></path>\n"
            "<path d=\"M%.1f %.1fh24\" stroke=\"%s\" stroke-width=\"3\"/>\n"
            "<text x=\"%.1f\" y=\"%.1f\" font-size=\"13\">%s%s</text>\n"
            "<text x=\"%.1f\" y=\"%.1f\" fill=\"#475569\">%s at most, %.1f %%; %zu steps</text>\n",
            y_of(profile, 0), line->name, peak, WIDTH - RIGHT + 20, y, line->colour,
            WIDTH - RIGHT + 52, y + 4, i > 0 ? "+ " : "", line->name, WIDTH - RIGHT + 52, y + 20,
            peak,
            profile->lines[0].peak > 0 ? 100 * (double)line->peak / (double)profile->lines[0].peak
                                       : 100,
            line->n_steps);
}

static void write_budget(const struct profile *profile)
{
    char size[24];
    if (profile->budget == 0 || profile->budget > profile->highest)
        return;
    double y = y_of(profile, profile->budget);
    fprintf(profile->file,
            "<path d=\"M%.1f %.1fH%.1f\" stroke=\"#444\" stroke-dasharray=\"6 4\"/>"
            "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">budget %s</text>\n",
            LEFT, y, WIDTH - RIGHT, WIDTH - RIGHT - 4, y - 4,
            size_format(profile->budget, size, sizeof size));
}

int plan_profile(const struct quire_model *model, const struct quire_model_wishes *wishes,
                 const char *title, char **text, size_t *n_bytes)
{
    struct profile profile = {.budget = wishes->offload_budget != 0 ? wishes->offload_budget
                                                                    : wishes->recompute_budget};
    int error = add_lines(&profile, model, wishes);
    *text = NULL;
    profile.file = error == 0 ? open_memstream(text, n_bytes) : NULL;
    if (profile.file != NULL) {
        fprintf(profile.file,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
                "font-family=\"sans-serif\" font-size=\"11\">\n"
                "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n"
                "<text x=\"%.1f\" y=\"28\" font-size=\"17\">",
                WIDTH, HEIGHT, LEFT);
        svg_text(profile.file, title);
        fputs(": what lives at each moment</text>\n", profile.file);
        write_axes(&profile);
        write_budget(&profile);
        for (unsigned i = 0; i < profile.n_lines; i++)
            write_line(&profile, i);
        fputs("</svg>\n", profile.file);
        bool failed = ferror(profile.file) != 0;
        if (fclose(profile.file) != 0 || failed) {
            free(*text);
            *text = NULL;
            error = -ENOMEM;
        }
    } else if (error == 0) {
        error = -ENOMEM;
    }
    for (unsigned i = 0; i < profile.n_lines; i++)
        free(profile.lines[i].live);
    return error;
}
