/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report_page: puts the page together.
 *
 *   command, when, version
 *   cards: budget, peak, need, time, exit, waiting, faults, compression
 *   what that means, in words (report_words.c)
 *   pictures: memory, the program's pages, faults, waiting, compression, latency (report_chart.c),
 *             address space (report_heat.c)
 *   processes, options, machine
 *
 * The page stands alone: no script, no font, no picture and no link is fetched, and its policy
 * forbids it. All text that comes from the file goes through html_text().
 */
#include "cli/report_page.h"

#include "cli/report_amounts.h"
#include "cli/report_chart.h"
#include "cli/report_words.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MOST_PROCESSES 40 /* in the table */
#define PAGE_BYTES 4096.0

static void put_command(struct html *html, const struct report *report)
{
    size_t n = json_array_size(report->command);

    html_raw(html, "<bdi>");
    for (size_t i = 0; i < n; i++) {
        html_raw(html, i > 0 ? " " : "");
        html_text(html, json_string_value(json_array_get(report->command, i)));
    }
    html_raw(html, "</bdi>");
}

static void put_head(struct html *html, const struct report *report)
{
    html_raw(html,
             "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
             "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
             "'unsafe-inline'\">\n"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
             "<meta name=\"color-scheme\" content=\"light dark\">\n<title>quire run: ");
    const char *name = json_string_value(json_array_get(report->command, 0));
    html_text(html, name != NULL ? name : "");
    html_raw(html, "</title>\n<style>");
    html_raw(html, report_style);
    html_raw(html,
             "</style>\n</head>\n<body>\n<header><p class=\"soft\">quire run</p>\n<h1><code>");
    put_command(html, report);
    html_raw(html, "</code></h1>\n<p class=\"soft\">");
    if (report->started != NULL) {
        html_raw(html, "started ");
        html_text(html, report->started);
        html_raw(html, " · ");
    }
    html_raw(html, "quire ");
    html_text(html, report->version);
    html_raw(html, "</p></header>\n<main>\n");
}

/* Figures */

static void put_card(struct html *html, const char *id, const char *name, const char *value,
                     const char *more)
{
    html_format(html, "<li id=\"%s\">%s<b>%s</b><span>%s</span></li>\n", id, name, value, more);
}

static void put_exit_card(struct html *html, const struct report *report)
{
    char status[32];
    bool by_signal = report->exit_status > 128 && report->exit_status <= 128 + 64;

    if (report->is_running) {
        put_card(html, "exit", "Exit status", "none yet", "the run goes on");
        return;
    }
    snprintf(status, sizeof status, "%" PRId64, report->exit_status);
    put_card(html, "exit", "Exit status", status,
             report->ended_by != NULL   ? "ended by Quire"
             : by_signal                ? "ended by a signal"
             : report->exit_status == 0 ? "success"
                                        : "the program's own");
}

static uint64_t count_faults(const struct report *report)
{
    uint64_t sum = 0;

    for (int i = 0; i < REPORT_N_FAULTS; i++)
        sum += report->faults[i];
    return sum;
}

static void put_cards(struct html *html, const struct report *report)
{
    char more[128];

    html_raw(html, "<ul class=\"cards\">\n");
    put_card(html, "budget", "Budget", BYTES(report->budget_bytes), "of RAM, for all of the run");
    snprintf(more, sizeof more, "and %s that Quire does not manage",
             BYTES(report->unmanaged_bytes));
    put_card(html, "held", "Held at most", BYTES(report->peak_held_bytes), more);
    put_card(html, "needed", "In use at most", BYTES(report->peak_needed_bytes),
             "what the program would hold without Quire");
    if (report->is_running)
        snprintf(more, sizeof more, "processor: %s, of the processes that live",
                 TIME(report->user_s));
    else
        snprintf(more, sizeof more, "processor: user %s, system %s", TIME(report->user_s),
                 TIME(report->system_s));
    put_card(html, "time", "Time", TIME(report->wall_s), more);
    put_exit_card(html, report);
    snprintf(more, sizeof more, "of its time; %s over all threads",
             TIME((double)report->fault_ns / 1e9));
    put_card(html, "waiting", "Waiting for pages", SHARE(words_wait_share(report)), more);
    snprintf(more, sizeof more, "p50 %s, p99 %s", TIME((double)report->p50_ns / 1e9),
             TIME((double)report->p99_ns / 1e9));
    put_card(html, "faults", "Faults", COUNT(count_faults(report)), more);
    snprintf(more, sizeof more, "swap file: %s at most", BYTES(report->peak_file_bytes));
    put_card(html, "ratio", "Compression",
             report->compression_ratio > 0
                 ? chart_amount(CHART_RATIO, report->compression_ratio, (struct amount){""}.text)
                 : "none",
             more);
    html_raw(html, "</ul>\n<h2>What that means</h2>\n");
    words_put(html, report);
}

/* Pictures */

static void put_memory(struct html *html, const struct report *report)
{
    double *const *series = report->series;
    const struct chart chart = {
        .id = "memory",
        .title = "RAM over time",
        .note =
            "What the budget went to. Staged pages are evicted but not yet compressed, and come "
            "back cheaply. On top, in grey, what Quire does not manage and the budget does not "
            "count.",
        .empty = "Nothing was held.",
        .unit = CHART_BYTES,
        .n_layers = 5,
        .layers = {{"resident", 0, series[REPORT_RESIDENT]},
                   {"staged", 1, series[REPORT_STAGED]},
                   {"compressed", 2, series[REPORT_COMPRESSED]},
                   {"Quire's tables", 3, series[REPORT_METADATA]},
                   {"not managed", 4, series[REPORT_UNMANAGED]}},
        .limit = (double)report->budget_bytes,
        .limit_name = "budget",
    };

    chart_over_time(html, report, &chart);
}

static void put_pages(struct html *html, const struct report *report)
{
    double *const *series = report->series;
    const struct chart chart = {
        .id = "pages",
        .title = "Where the program's memory was",
        .note = "All of the program's pages, at their own size: in place, staged, or stored, "
                "compressed in RAM or in the swap file. The top edge is what it would hold without "
                "Quire.",
        .empty = "Nothing was in use.",
        .unit = CHART_BYTES,
        .n_layers = 3,
        .layers = {{"resident", 0, series[REPORT_RESIDENT]},
                   {"staged", 1, series[REPORT_STAGED]},
                   {"stored", 6, series[REPORT_STORED_PAGES]}},
        .limit = (double)report->budget_bytes,
        .limit_name = "budget",
    };

    chart_over_time(html, report, &chart);
}

static void put_file(struct html *html, const struct report *report)
{
    const struct chart chart = {
        .id = "file",
        .title = "Swap file",
        .note = "Its size, holes not counted.",
        .empty = "",
        .unit = CHART_BYTES,
        .n_layers = 1,
        .layers = {{"in the swap file", 6, report->series[REPORT_FILE]}},
    };

    if (report->peak_file_bytes > 0 && report->n_samples > 1)
        chart_over_time(html, report, &chart);
}

/* Values that are worked out from samples; one array for all charts at a time. */
static double *changes_per_second(const struct report *report, enum report_series series,
                                  double *into)
{
    for (size_t i = 0; i < report->n_samples; i++) {
        double interval_s = report_interval_s(report, i);
        into[i] = interval_s > 0 ? report_change(report, series, i) / interval_s : 0;
    }
    return into;
}

static void put_faults(struct html *html, const struct report *report, double *room)
{
    static const char *const names[REPORT_N_FAULTS] = {
        "first touch",   "from staging",        "same-filled",           "from compressed RAM",
        "from the file", "copied after a fork", "first write to a page",
    };
    static const unsigned colours[REPORT_N_FAULTS] = {4, 1, 3, 2, 5, 7, 6};
    struct chart chart = {
        .id = "rates",
        .title = "Faults",
        .note = "A second, by what each found. First touches are new memory; all others but copies "
                "and first writes brought something back.",
        .empty = "No page had to be brought in.",
        .unit = CHART_PER_SECOND,
        .is_of_intervals = true,
        .n_layers = REPORT_N_FAULTS,
    };

    for (int i = 0; i < REPORT_N_FAULTS; i++)
        chart.layers[i] = (struct chart_layer){
            names[i], colours[i],
            changes_per_second(report, (enum report_series)(REPORT_FIRST_TOUCH + i),
                               room + (size_t)i * report->n_samples)};
    chart_over_time(html, report, &chart);
}

static void put_stall(struct html *html, const struct report *report, double *room)
{
    const struct chart chart = {
        .id = "stall",
        .title = "Waiting for pages",
        .note =
            "The part of the time that was waited for faults, added up over threads: with several "
            "it may be over 100 %. A wait counts when it ends, so a long one stands out.",
        .empty = "Nothing was waited for.",
        .unit = CHART_SHARE,
        .is_of_intervals = true,
        .n_layers = 1,
        .layers = {{"waiting", 5, room}},
    };

    for (size_t i = 0; i < report->n_samples; i++)
        room[i] = report_stall(report, i);
    chart_over_time(html, report, &chart);
}

static void put_evictions(struct html *html, const struct report *report, double *room)
{
    const struct chart chart = {
        .id = "evictions",
        .title = "Evictions",
        .note = "Pages a second that were taken from the program.",
        .empty = "No page was evicted.",
        .unit = CHART_PER_SECOND,
        .is_of_intervals = true,
        .n_layers = 1,
        .layers = {{"evicted pages", 7, changes_per_second(report, REPORT_EVICTIONS, room)}},
    };

    chart_over_time(html, report, &chart);
}

static void put_ratio(struct html *html, const struct report *report, double *room)
{
    const struct chart chart = {
        .id = "compression",
        .title = "Compression",
        .note = "What was compressed at the time, by what it became. Gaps: nothing was.",
        .empty = "Nothing was compressed.",
        .unit = CHART_RATIO,
        .is_of_intervals = true,
        .is_line = true,
        .n_layers = 1,
        .layers = {{"ratio", 2, room}},
    };

    for (size_t i = 0; i < report->n_samples; i++) {
        double packed = report_change(report, REPORT_PACKED_BYTES, i);
        room[i] = packed > 0 ? report_change(report, REPORT_PACKED_PAGES, i) * PAGE_BYTES / packed
                             : 0;
    }
    chart_over_time(html, report, &chart);
}

static void put_heat(struct html *html, const struct report *report)
{
    if (report->is_running) /* only the run's launcher sees it */
        return;
    chart_begin(html, "heat", "Address space over time",
                "Each row is a part of the arena that Quire hands memory out from, the lowest "
                "address at the bottom; the stronger the colour, the more of it was in RAM, or was "
                "faulted on. Processes lie on top of each other.");
    if (report->n_samples < 2)
        chart_say_empty(html, "The run was too short for a time line.");
    for (size_t i = 0; i < report->n_zones && report->n_samples > 1; i++) {
        if (report->zones[i].n_rows == 0)
            continue;
        html_raw(html, "<h3>Part: ");
        html_text(html, report->zones[i].name);
        html_format(html, "</h3><p class=\"soft\">%s a row</p>\n",
                    BYTES(report->zones[i].row_bytes));
        chart_heat(html, report, &report->zones[i], false);
        chart_heat(html, report, &report->zones[i], true);
    }
    if (report->heat_problem != NULL) {
        html_raw(html, "<p class=\"empty\">What was in RAM could not be seen everywhere: ");
        html_text(html, report->heat_problem);
        html_raw(html, "</p>\n");
    }
    chart_end(html);
}

static bool was_paged(const struct report *report)
{
    return count_faults(report) > 0 || report->n_evictions > 0;
}

static void put_pictures(struct html *html, const struct report *report)
{
    double *room = calloc(report->n_samples * REPORT_N_FAULTS + 1, sizeof *room);

    if (room == NULL) {
        html->failed = true;
        return;
    }
    put_memory(html, report);
    if (was_paged(report)) {
        put_pages(html, report);
        put_file(html, report);
        put_faults(html, report, room);
        put_stall(html, report, room);
        put_evictions(html, report, room);
        put_ratio(html, report, room);
        chart_latencies(html, report);
    } else {
        html_raw(html, "<p class=\"empty\" id=\"unpaged\">Nothing was ever paged, so there are no "
                       "faults, no waiting and no compression to show.</p>\n");
    }
    put_heat(html, report);
    free(room);
}

/* Tables */

static void put_process(struct html *html, const struct report_process *process)
{
    html_format(html, "<tr><td class=\"n\">%" PRIu64 "</td><td><bdi>", process->pid);
    html_text(html, process->name[0] != '\0' ? process->name : "–");
    html_format(html,
                "</bdi></td><td class=\"n\">%s</td><td class=\"n\">%s</td><td class=\"n\">%s</td>"
                "<td class=\"n\">%s</td><td class=\"n\">%s</td></tr>\n",
                TIME(process->first_s), TIME(process->last_s), BYTES(process->peak_held_bytes),
                COUNT(process->n_faults), TIME((double)process->fault_ns / 1e9));
}

static void put_processes(struct html *html, const struct report *report)
{
    size_t n = report->n_listed < MOST_PROCESSES ? report->n_listed : MOST_PROCESSES;

    html_format(html,
                "<section id=\"processes\"><h2>Processes</h2>\n<p class=\"soft\">%" PRIu64
                " took part in the budget",
                report->n_processes);
    if (n < report->n_processes && n > 0)
        html_format(html, "; the %zu here held most, of those that lived long enough to be seen",
                    n);
    html_raw(html, ".</p>\n");
    if (n > 0)
        html_raw(html,
                 "<div class=\"wide\"><table><tr><th class=\"n\">pid</th><th>name</th>"
                 "<th class=\"n\">seen from</th><th class=\"n\">to</th><th class=\"n\">held at "
                 "most</th><th class=\"n\">faults</th><th class=\"n\">waited</th></tr>\n");
    for (size_t i = 0; i < n; i++)
        put_process(html, &report->processes[i]);
    html_raw(html, n > 0 ? "</table></div></section>\n" : "</section>\n");
}

/* A value of any kind, as a reader wants it. */
static void put_value(struct html *html, const char *key, const json_t *value)
{
    size_t n_key = strlen(key);

    if (json_is_string(value))
        html_text(html, json_string_value(value));
    else if (json_is_integer(value) && n_key > 6 && strcmp(key + n_key - 6, "_bytes") == 0 &&
             json_integer_value(value) >= 0)
        html_raw(html, BYTES(json_integer_value(value)));
    else if (json_is_number(value))
        html_format(html, "%g", json_number_value(value));
    else if (json_is_boolean(value))
        html_raw(html, json_is_true(value) ? "yes" : "no");
    else
        html_raw(html, json_is_null(value) ? "–" : "…");
}

/* "swap_max" and "memory_bytes" are read as "swap max" and "memory". */
static void put_key(struct html *html, const char *key)
{
    char text[64];
    size_t n = strlen(key);

    if (n > 6 && strcmp(key + n - 6, "_bytes") == 0)
        n -= 6;
    snprintf(text, sizeof text, "%.*s", (int)(n < sizeof text ? n : sizeof text - 1), key);
    for (char *at = text; *at != '\0'; at++)
        *at = *at == '_' ? ' ' : *at;
    html_text(html, text);
}

static void put_rows(struct html *html, json_t *object)
{
    const char *key;
    json_t *value;

    json_object_foreach(object, key, value)
    {
        html_raw(html, "<tr><th>");
        put_key(html, key);
        html_raw(html, "</th><td><bdi>");
        put_value(html, key, value);
        html_raw(html, "</bdi></td></tr>\n");
    }
}

static void put_options(struct html *html, const struct report *report)
{
    html_raw(html, "<section id=\"options\"><h2>Options and machine</h2>\n<table>\n");
    put_rows(html, report->options);
    put_rows(html, report->machine);
    html_raw(html, "</table></section>\n</main>\n</body>\n</html>\n");
}

void report_page(struct html *html, const struct report *report)
{
    put_head(html, report);
    put_cards(html, report);
    put_pictures(html, report);
    put_processes(html, report);
    put_options(html, report);
}
