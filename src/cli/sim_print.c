/* SPDX-License-Identifier: Apache-2.0 */
/* sim_print: what came of `quire sim`: as text, JSON and SVG. */
#include "base/size.h"
#include "cli/cli.h"
#include "cli/curve_picture.h"
#include "cli/out_file.h"
#include "cli/sim.h"
#include "cli/table.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_same_but_ram(const struct sim_row *a, const struct sim_row *b)
{
    return a->choice == b->choice && a->config.page_shift == b->config.page_shift &&
           a->config.prefetch == b->config.prefetch;
}

void sim_find_anomalies(struct sim_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n && !rows[i].config.policy->is_stack; k++) {
            const struct sim_row *less = &rows[k];
            if (is_same_but_ram(&rows[i], less) &&
                less->config.ram_bytes < rows[i].config.ram_bytes &&
                less->counts.faults < rows[i].counts.faults &&
                (rows[i].anomaly == NULL || less->counts.faults < rows[i].anomaly->counts.faults))
                rows[i].anomaly = less;
        }
}

/* ---- text ---- */

static const char *ram_text(const struct sim_row *row, bool in_sizes, char text[32])
{
    const uint64_t n_pages = row->config.ram_bytes >> row->config.page_shift;
    char size[24];
    if (n_pages < 1000 && !in_sizes)
        snprintf(text, 32, "%" PRIu64 " page%s", n_pages, n_pages == 1 ? "" : "s");
    else
        snprintf(text, 32, "%s", size_format(row->config.ram_bytes, size, sizeof size));
    return text;
}

static void add_number(struct table *table, uint64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, number);
    table_add(table, text);
}

static void add_share(struct table *table, uint64_t part, uint64_t whole)
{
    char text[24];
    snprintf(text, sizeof text, "%.4f", whole > 0 ? 100.0 * (double)part / (double)whole : 0.0);
    table_add(table, whole > 0 ? text : "-");
}

struct columns { /* that are not there always */
    bool prefetch, bytes, soft, mean;
    bool in_sizes; /* RAM, though it is few pages: those of several sizes are beside each other */
};

static struct columns find_columns(const struct sim_row *rows, size_t n)
{
    struct columns columns = {0};
    for (size_t i = 0; i < n; i++) {
        const struct quire_sim_counts *counts = &rows[i].counts;
        columns.prefetch |= rows[i].config.prefetch != QUIRE_SIM_PREFETCH_NONE;
        columns.bytes |= counts->bytes > 0;
        columns.soft |= counts->soft_faults > 0;
        columns.in_sizes |= rows[i].config.page_shift != rows[0].config.page_shift;
        columns.mean |= strcmp(rows[i].config.policy->name, "ws") == 0 ||
                        strcmp(rows[i].config.policy->name, "pff") == 0;
    }
    return columns;
}

static void add_head(struct table *table, const struct columns *columns)
{
    const char *const names[] = {"page",
                                 "policy",
                                 columns->prefetch ? "prefetch" : NULL,
                                 "RAM",
                                 columns->mean ? "held" : NULL,
                                 "faults",
                                 "miss %",
                                 columns->bytes ? "bytes %" : NULL,
                                 columns->soft ? "soft faults" : NULL,
                                 "write-backs",
                                 columns->prefetch ? "prefetched" : NULL,
                                 columns->prefetch ? "used" : NULL};
    table->left = columns->prefetch ? 6 : 2;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        table->n_columns += names[i] != NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i] != NULL)
            table_add(table, names[i]);
}

static void add_row(struct table *table, const struct columns *columns, const struct sim_row *row)
{
    const struct quire_sim_counts *counts = &row->counts;
    char text[32];
    table_add(table, size_format((uint64_t)1 << row->config.page_shift, text, sizeof text));
    table_add(table, row->choice->name);
    if (columns->prefetch)
        table_add(table, quire_sim_prefetch_name(row->config.prefetch));
    table_add(table, ram_text(row, columns->in_sizes, text));
    if (columns->mean) {
        uint64_t mean = counts->references > 0 ? counts->resident_sum / counts->references : 0;
        table_add(table, size_format(mean << row->config.page_shift, text, sizeof text));
    }
    add_number(table, counts->faults);
    add_share(table, counts->faults, counts->references);
    if (columns->bytes)
        add_share(table, counts->fault_bytes, counts->bytes);
    if (columns->soft)
        add_number(table, counts->soft_faults);
    add_number(table, counts->writebacks);
    if (columns->prefetch) {
        add_number(table, counts->prefetched);
        add_number(table, counts->prefetch_hits);
    }
}

static void print_anomalies(const struct sim_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char more[32], less[32];
        const struct sim_row *row = &rows[i];
        if (row->anomaly == NULL)
            continue;
        printf("\nBelady's anomaly: %s has %" PRIu64 " faults with %s, and %" PRIu64 " with %s\n",
               row->choice->name, row->counts.faults, ram_text(row, false, more),
               row->anomaly->counts.faults, ram_text(row->anomaly, false, less));
    }
}

bool sim_print_text(const struct sim_row *rows, size_t n, const struct quire_trace_info *info)
{
    const struct columns columns = find_columns(rows, n);
    struct table table = {0};
    printf("format %s", info->format);
    for (size_t i = 0; i < n; i++) {
        char page[24];
        if (i > 0 && rows[i].config.page_shift == rows[i - 1].config.page_shift)
            continue;
        const struct quire_sim_counts *counts = &rows[i].counts;
        printf("%s %" PRIu64 " references to %" PRIu64 " pages of %s", i == 0 ? ":" : ";",
               counts->references, counts->cold_faults,
               size_format((uint64_t)1 << rows[i].config.page_shift, page, sizeof page));
    }
    printf("\n\n");
    add_head(&table, &columns);
    for (size_t i = 0; i < n; i++)
        add_row(&table, &columns, &rows[i]);
    bool good = table_print(&table, 0);
    table_free(&table);
    print_anomalies(rows, n);
    return good;
}

void sim_print_policies(void)
{
    struct table table = {.n_columns = 2, .left = 3};
    for (unsigned i = 0; quire_sim_policies(i) != NULL; i++) {
        table_add(&table, quire_sim_policies(i)->name);
        table_add(&table, quire_sim_policies(i)->about);
    }
    table_print(&table, 0);
    table_free(&table);
}

/* ---- JSON ---- */

static json_t *build_ratio(uint64_t part, uint64_t whole)
{
    return whole > 0 ? json_real((double)part / (double)whole) : json_null();
}

static json_t *build_row(const struct sim_row *row)
{
    const struct quire_sim_counts *counts = &row->counts;
    const unsigned shift = row->config.page_shift;
    json_t *anomaly = row->anomaly == NULL
                          ? json_null()
                          : json_pack("{s:I, s:I}", "ram_bytes",
                                      (json_int_t)row->anomaly->config.ram_bytes, "faults",
                                      (json_int_t)row->anomaly->counts.faults);
    uint64_t mean = counts->references > 0 ? counts->resident_sum / counts->references : 0;
    return json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:o}",
        "policy", row->choice->name, "prefetch", quire_sim_prefetch_name(row->config.prefetch),
        "ram_bytes", (json_int_t)row->config.ram_bytes, "page_bytes", (json_int_t)1 << shift,
        "references", (json_int_t)counts->references, "faults", (json_int_t)counts->faults,
        "cold_faults", (json_int_t)counts->cold_faults, "soft_faults",
        (json_int_t)counts->soft_faults, "writebacks", (json_int_t)counts->writebacks, "miss_ratio",
        build_ratio(counts->faults, counts->references), "byte_miss_ratio",
        build_ratio(counts->fault_bytes, counts->bytes), "fetched_bytes",
        (json_int_t)((counts->faults + counts->prefetched) << shift), "evictions",
        (json_int_t)counts->evictions, "prefetched", (json_int_t)counts->prefetched,
        "prefetch_hits", (json_int_t)counts->prefetch_hits, "held_bytes",
        (json_int_t)(mean << shift), "belady_anomaly", anomaly);
}

bool sim_print_json(const struct sim_row *rows, size_t n)
{
    json_t *list = json_array();
    int bad = list == NULL;
    for (size_t i = 0; i < n && !bad; i++)
        bad = json_array_append_new(list, build_row(&rows[i]));
    bad = bad || json_dumpf(list, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) != 0;
    putchar('\n');
    json_decref(list);
    return !bad;
}

/* ---- picture ---- */

/* One series: rows that differ in RAM only, by rising RAM. The number of points. */
static size_t gather(const struct sim_row *rows, size_t n, size_t first, struct curve_point *points)
{
    size_t n_points = 0;
    for (size_t i = first; i < n; i++) {
        if (!is_same_but_ram(&rows[first], &rows[i]))
            continue;
        const double x = (double)rows[i].config.ram_bytes;
        size_t at = n_points++;
        for (; at > 0 && points[at - 1].x > x; at--)
            points[at] = points[at - 1];
        points[at].x = x;
        points[at].y = rows[i].counts.references > 0
                           ? (double)rows[i].counts.faults / (double)rows[i].counts.references
                           : 0;
    }
    return n_points;
}

static void name_series(const struct sim_row *row, bool many_pages, bool many_prefetches,
                        char *name, size_t n_bytes)
{
    char page[24] = "";
    if (many_pages)
        size_format((uint64_t)1 << row->config.page_shift, page, sizeof page);
    snprintf(name, n_bytes, "%s%s%s%s%s", row->choice->name, many_pages ? ", " : "", page,
             many_prefetches ? ", " : "",
             many_prefetches ? quire_sim_prefetch_name(row->config.prefetch) : "");
}

#define NAME_BYTES 64

static bool draw_rows(const struct sim_row *rows, size_t n, struct curve_series *series,
                      struct curve_point *points, char (*names)[NAME_BYTES], const char *title,
                      const char *path)
{
    struct curve_panel panel = {.title = "Faults of the references",
                                .x_title = "RAM",
                                .y_title = "miss ratio",
                                .x_unit = CURVE_BYTES,
                                .y_unit = CURVE_SHARE,
                                .is_log = true,
                                .series = series};
    size_t n_points = 0, n_bytes = 0;
    bool many_pages = false, many_prefetches = false;
    for (size_t i = 1; i < n; i++) {
        many_pages |= rows[i].config.page_shift != rows[0].config.page_shift;
        many_prefetches |= rows[i].config.prefetch != rows[0].config.prefetch;
    }
    for (size_t i = 0; i < n; i++) {
        bool is_known = false;
        for (size_t k = 0; k < i; k++)
            is_known |= is_same_but_ram(&rows[k], &rows[i]);
        if (is_known)
            continue;
        name_series(&rows[i], many_pages, many_prefetches, names[panel.n_series], NAME_BYTES);
        struct curve_series *one = &series[panel.n_series];
        *one = (struct curve_series){
            .name = names[panel.n_series], .points = points + n_points, .has_marks = true};
        one->n = gather(rows, n, i, points + n_points);
        n_points += one->n;
        panel.n_series++;
    }
    char *text = NULL;
    int error = curve_picture(&panel, 1, title, &text, &n_bytes);
    if (!error)
        error = out_file_write(text, n_bytes, path);
    free(text);
    if (error)
        cli_error("cannot write the picture %s: %s", path, strerror(-error));
    return error == 0;
}

bool sim_draw(const struct sim_row *rows, size_t n, const char *title, const char *path)
{
    struct curve_series *series = calloc(n, sizeof *series);
    struct curve_point *points = calloc(n, sizeof *points);
    char(*names)[NAME_BYTES] = calloc(n, sizeof *names);
    bool good = series != NULL && points != NULL && names != NULL;
    if (good)
        good = draw_rows(rows, n, series, points, names, title, path);
    else
        cli_error("cannot draw: out of memory");
    free(series);
    free(points);
    free(names);
    return good;
}
