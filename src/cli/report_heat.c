/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report_heat: address space over time, as a picture of cells.
 *
 *   rows of the file, lowest address at the bottom; not those at the ends that were never used
 *   samples -> MOST_COLUMNS columns of equal time; where several fall into one, the highest level
 *
 * Cells of one level that lie side by side are one stroke, and all strokes of a level are one path,
 * so that a map of thousands of cells is some ten kilobytes.
 */
#include "cli/report_chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_COLUMNS 240
#define MOST_LEVELS 36

struct map {
    size_t first_row; /* of the zone's, that is drawn */
    size_t n_rows, n_columns;
    unsigned char *level; /* n_rows rows of n_columns */
    unsigned highest;
};

static unsigned level_of(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* The last column that the sample's interval reaches into. */
static size_t column_of(const struct report *report, const struct map *map, double at_s)
{
    double column = ceil((double)map->n_columns * at_s / chart_end_s(report)) - 1;

    return column < 0 ? 0 : column < (double)map->n_columns ? (size_t)column : map->n_columns - 1;
}

static void fill_map(struct map *map, const struct report *report, const char *const *rows)
{
    for (size_t i = 0; i < report->n_samples; i++) {
        size_t from = i > 0 ? column_of(report, map, report->at_s[i - 1]) : 0;
        size_t to = column_of(report, map, report->at_s[i]);
        from += from < to && i > 0;
        for (size_t row = 0; row < map->n_rows; row++) {
            unsigned level = level_of(rows[map->first_row + row][i]);
            unsigned char *cells = map->level + row * map->n_columns;
            for (size_t column = from; column <= to; column++)
                if (level > cells[column])
                    cells[column] = (unsigned char)level;
            map->highest = level > map->highest ? level : map->highest;
        }
    }
}

static void put_level(struct html *html, const struct map *map, unsigned level, bool of_faults)
{
    bool any = false;

    for (size_t row = 0; row < map->n_rows; row++) {
        const unsigned char *cells = map->level + row * map->n_columns;
        for (size_t column = 0, end; column < map->n_columns; column = end) {
            for (end = column + 1; end < map->n_columns && cells[end] == cells[column]; end++)
                continue;
            if (cells[column] != level)
                continue;
            if (!any)
                html_format(html, "<path class=\"%s\" opacity=\"%.2f\" d=\"",
                            of_faults ? "hot" : "cool", 0.15 + 0.85 * level / map->highest);
            any = true;
            html_format(html, "M%zu %zuh%zuv1h-%zu", column, map->n_rows - 1 - row, end - column,
                        end - column);
        }
    }
    if (any)
        html_raw(html, "\"/>\n");
}

static void put_addresses(struct html *html, const struct report_zone *zone, const struct map *map)
{
    char text[CHART_TEXT_BYTES];
    double row_bytes = (double)zone->row_bytes;

    html_raw(html, "<div class=\"y\">");
    for (unsigned i = 0; i <= 2; i++)
        html_format(html, "<span style=\"bottom:%u%%\">%s</span>", 50 * i,
                    chart_amount(CHART_BYTES,
                                 row_bytes * ((double)map->first_row + (double)map->n_rows * i / 2),
                                 text));
    html_raw(html, "</div>");
}

static bool was_used(const struct report_zone *zone, size_t row)
{
    return strspn(zone->resident[row], "0") < strlen(zone->resident[row]) ||
           strspn(zone->faults[row], "0") < strlen(zone->faults[row]);
}

static void find_rows(struct map *map, const struct report_zone *zone)
{
    size_t end = zone->n_rows;

    while (map->first_row < end && !was_used(zone, map->first_row))
        map->first_row++;
    while (end > map->first_row && !was_used(zone, end - 1))
        end--;
    map->n_rows = end - map->first_row;
}

static void put_scale(struct html *html, const struct report_zone *zone, const struct map *map,
                      bool of_faults)
{
    char text[CHART_TEXT_BYTES];
    const char *class = of_faults ? "hot" : "cool";

    html_format(html, "<ul class=\"legend\"><li><i class=\"%s\" style=\"opacity:%.2f\"></i>%s</li>",
                class, 0.15 + 0.85 / map->highest, of_faults ? "1 fault" : "a little");
    html_format(html, "<li><i class=\"%s\"></i>", class);
    if (of_faults)
        html_format(html, "%s to %s faults", chart_count(exp2(map->highest - 1), text),
                    chart_count(exp2(map->highest) - 1, (char[CHART_TEXT_BYTES]){""}));
    else
        html_raw(html,
                 chart_amount(CHART_BYTES, (double)zone->full_bytes * map->highest / 9, text));
    html_format(html, " in a cell of %s%s</li></ul>\n",
                chart_amount(CHART_BYTES, (double)zone->row_bytes, text),
                !of_faults && zone->full_bytes > zone->row_bytes ? ", several processes added up"
                                                                 : "");
}

static void put_map(struct html *html, const struct report *report, const struct report_zone *zone,
                    const struct map *map, bool of_faults)
{
    html_format(html, "<div class=\"plot heat\" style=\"height:%zupx\">",
                map->n_rows * 5 < 60    ? 60
                : map->n_rows * 5 > 240 ? 240
                                        : map->n_rows * 5);
    put_addresses(html, zone, map);
    html_format(html,
                "<svg viewBox=\"0 0 %zu %zu\" preserveAspectRatio=\"none\" role=\"img\" "
                "aria-label=\"%s over address and time\" shape-rendering=\"crispEdges\">\n",
                map->n_columns, map->n_rows, of_faults ? "Faults" : "What was in RAM");
    for (unsigned level = 1; level <= map->highest; level++)
        put_level(html, map, level, of_faults);
    html_raw(html, "</svg></div>\n");
    chart_time_axis(html, report);
    put_scale(html, zone, map, of_faults);
}

void chart_heat(struct html *html, const struct report *report, const struct report_zone *zone,
                bool of_faults)
{
    struct map map = {.n_columns = MOST_COLUMNS};

    find_rows(&map, zone);
    if (report->n_samples < map.n_columns)
        map.n_columns = report->n_samples;
    map.level = calloc(map.n_rows * map.n_columns + 1, 1);
    if (map.level == NULL)
        html->failed = true;
    else if (report->n_samples > 1)
        fill_map(&map, report, of_faults ? zone->faults : zone->resident);
    html_format(html, "<h3>%s</h3>\n", of_faults ? "Faults" : "In RAM");
    if (map.highest == 0)
        chart_say_empty(html, of_faults ? "No fault was here." : "Nothing of it was seen in RAM.");
    else
        put_map(html, report, zone, &map, of_faults);
    free(map.level);
}
