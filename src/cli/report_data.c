/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report_data: reads, and trusts nothing.
 *
 *   file --jansson--> root --look up by key, each with its type and range--> struct report
 *
 * The first thing that is wrong is told, by its key. What is checked here the drawing relies on:
 *   D1  all series and all rows of the heat have n_samples entries
 *   D2  at_s rises, and every number is finite and not below 0
 *   D3  a row of the heat holds the characters of its scale only
 *   D4  latencies rise, and have as many counts as bounds
 */
#include "cli/report_data.h"

#include "cli/summary.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const series_names[REPORT_N_SERIES] = {
    [REPORT_RESIDENT] = "resident_bytes",
    [REPORT_STAGED] = "staged_bytes",
    [REPORT_COMPRESSED] = "compressed_bytes",
    [REPORT_METADATA] = "metadata_bytes",
    [REPORT_UNMANAGED] = "unmanaged_bytes",
    [REPORT_STORED_PAGES] = "stored_page_bytes",
    [REPORT_FILE] = "file_bytes",
    [REPORT_FIRST_TOUCH] = "faults_first_touch",
    [REPORT_FROM_STAGING] = "faults_staging",
    [REPORT_SAME_FILLED] = "faults_same_filled",
    [REPORT_FROM_RAM] = "faults_ram",
    [REPORT_FROM_FILE] = "faults_file",
    [REPORT_COPIED] = "faults_copy",
    [REPORT_FIRST_WRITE] = "faults_first_write",
    [REPORT_EVICTIONS] = "evictions",
    [REPORT_PACKED_PAGES] = "packed_pages",
    [REPORT_PACKED_BYTES] = "packed_bytes",
    [REPORT_FAULT_NS] = "fault_wait_ns",
};

struct reader {
    char *message; /* REPORT_MESSAGE_BYTES */
    int error;     /* the first one; what follows does nothing */
};

static void fail(struct reader *reader, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void fail(struct reader *reader, const char *format, ...)
{
    va_list arguments;

    if (reader->error != 0)
        return;
    va_start(arguments, format);
    vsnprintf(reader->message, REPORT_MESSAGE_BYTES, format, arguments);
    va_end(arguments);
    reader->error = -EINVAL;
}

static void *allocate(struct reader *reader, size_t n, size_t n_bytes)
{
    void *memory = reader->error == 0 ? calloc(n > 0 ? n : 1, n_bytes) : NULL;

    if (memory == NULL && reader->error == 0)
        reader->error = -ENOMEM;
    return memory;
}

/* Values by their key */

static json_t *get(struct reader *reader, const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);

    if (value == NULL)
        fail(reader, "it has no \"%s\"", key);
    return value;
}

static json_t *get_container(struct reader *reader, const json_t *object, const char *key,
                             json_type type)
{
    json_t *value = get(reader, object, key);

    if (value != NULL && json_typeof(value) != type)
        fail(reader, "\"%s\" is no %s", key, type == JSON_ARRAY ? "list" : "object");
    return reader->error == 0 ? value : NULL;
}

static uint64_t count_of(struct reader *reader, const json_t *value, const char *key)
{
    if (value != NULL && (!json_is_integer(value) || json_integer_value(value) < 0))
        fail(reader, "\"%s\" is no whole number from 0 on", key);
    return (uint64_t)json_integer_value(value);
}

static double number_of(struct reader *reader, const json_t *value, const char *key)
{
    double number = json_number_value(value);

    if (value != NULL && (!json_is_number(value) || !isfinite(number) || number < 0))
        fail(reader, "\"%s\" is no number from 0 on", key);
    return reader->error == 0 ? number : 0;
}

static uint64_t get_count(struct reader *reader, const json_t *object, const char *key)
{
    return count_of(reader, get(reader, object, key), key);
}

static double get_number(struct reader *reader, const json_t *object, const char *key)
{
    return number_of(reader, get(reader, object, key), key);
}

/* NULL for null. */
static const char *get_text_or_null(struct reader *reader, const json_t *object, const char *key)
{
    json_t *value = get(reader, object, key);

    if (value != NULL && !json_is_string(value) && !json_is_null(value))
        fail(reader, "\"%s\" is no text", key);
    return json_string_value(value);
}

static const char *get_text(struct reader *reader, const json_t *object, const char *key)
{
    const char *text = get_text_or_null(reader, object, key);

    if (text == NULL)
        fail(reader, "\"%s\" is no text", key);
    return text;
}

/* What it is */

static void check_format(struct reader *reader, const json_t *root)
{
    const char *format = json_string_value(json_object_get(root, "format"));
    const json_t *version = json_object_get(root, "format_version");

    if (!json_is_object(root) ||
        (format == NULL && json_object_get(root, "budget_bytes") == NULL) ||
        (format != NULL && strcmp(format, SUMMARY_FORMAT) != 0))
        fail(reader, "it is JSON, but not of `quire run --stats'");
    else if (format == NULL)
        fail(reader, "an older Quire wrote it, without a time line\nrun the program again with "
                     "`quire run --stats FILE'");
    else if (!json_is_integer(version))
        fail(reader, "\"format_version\" is no whole number");
    else if (json_integer_value(version) != SUMMARY_FORMAT_VERSION)
        fail(reader,
             "it is in version %" JSON_INTEGER_FORMAT
             " of the format, and quire %s reads version %d\n"
             "use the `quire' that wrote it",
             json_integer_value(version), QUIRE_VERSION, SUMMARY_FORMAT_VERSION);
}

static void read_memory(struct reader *reader, struct report *report)
{
    const json_t *root = report->root, *ratio = get(reader, root, "compression_ratio");

    report->budget_bytes = get_count(reader, root, "budget_bytes");
    report->swap_max_bytes = get_count(reader, root, "swap_max_bytes");
    report->peak_held_bytes = get_count(reader, root, "peak_held_bytes");
    report->peak_needed_bytes = get_count(reader, root, "peak_needed_bytes");
    report->peak_compressed_bytes = get_count(reader, root, "peak_compressed_bytes");
    report->peak_file_bytes = get_count(reader, root, "peak_file_bytes");
    report->unmanaged_bytes = get_count(reader, root, "unmanaged_rss_bytes");
    if (!json_is_null(ratio))
        report->compression_ratio = number_of(reader, ratio, "compression_ratio");
}

static void read_end(struct reader *reader, struct report *report)
{
    const json_t *root = report->root, *status = get(reader, root, "exit_status");

    report->version = get_text(reader, root, "version");
    report->started = get_text_or_null(reader, root, "started");
    report->ended_by = get_text_or_null(reader, root, "ended_by");
    report->wall_s = get_number(reader, root, "wall_seconds");
    report->user_s = get_number(reader, root, "user_seconds");
    report->system_s = get_number(reader, root, "system_seconds");
    report->is_running = json_is_null(status);
    if (!report->is_running)
        report->exit_status = (int64_t)count_of(reader, status, "exit_status");
    report->command = get_container(reader, root, "command", JSON_ARRAY);
    report->options = get_container(reader, root, "options", JSON_OBJECT);
    report->machine = get_container(reader, root, "machine", JSON_OBJECT);
    for (size_t i = 0; i < json_array_size(report->command); i++)
        if (!json_is_string(json_array_get(report->command, i)))
            fail(reader, "\"command\" is no list of texts");
}

static void read_latencies(struct reader *reader, struct report *report, const json_t *wait)
{
    const json_t *histogram = get_container(reader, wait, "histogram", JSON_OBJECT);
    const json_t *bounds = get_container(reader, histogram, "upper_ns", JSON_ARRAY);
    const json_t *counts = get_container(reader, histogram, "faults", JSON_ARRAY);
    size_t n = json_array_size(bounds);

    if (json_array_size(counts) != n)
        fail(reader, "\"upper_ns\" and \"faults\" of \"histogram\" are not of one length"); /* D4 */
    report->latency_ns = allocate(reader, n, sizeof *report->latency_ns);
    report->latency_faults = allocate(reader, n, sizeof *report->latency_faults);
    for (size_t i = 0; i < n && reader->error == 0; i++) {
        report->latency_ns[i] = count_of(reader, json_array_get(bounds, i), "upper_ns");
        report->latency_faults[i] = count_of(reader, json_array_get(counts, i), "faults");
        if (report->latency_ns[i] == 0 ||
            (i > 0 && report->latency_ns[i] <= report->latency_ns[i - 1]))
            fail(reader, "\"upper_ns\" does not rise"); /* D4 */
    }
    report->n_latencies = n;
}

static void read_counts(struct reader *reader, struct report *report)
{
    static const char *const kinds[REPORT_N_FAULTS] = {
        "first_touch", "staging", "same_filled", "ram", "file", "copy", "first_write"};
    const json_t *root = report->root;
    const json_t *faults = get_container(reader, root, "faults", JSON_OBJECT);
    const json_t *wait = get_container(reader, root, "fault_wait", JSON_OBJECT);

    for (int i = 0; i < REPORT_N_FAULTS && reader->error == 0; i++)
        report->faults[i] = get_count(reader, faults, kinds[i]);
    report->mean_ns = get_count(reader, wait, "mean_ns");
    report->p50_ns = get_count(reader, wait, "p50_ns");
    report->p99_ns = get_count(reader, wait, "p99_ns");
    report->fault_ns = get_count(reader, wait, "total_ns");
    read_latencies(reader, report, wait);
    report->n_processes = get_count(reader, root, "processes");
    report->n_waits_for_room = get_count(reader, root, "waits_for_room");
    report->n_evictions = get_count(reader, root, "evictions");
    report->n_dropped_dead = get_count(reader, root, "dropped_dead_pages");
    report->n_written = get_count(reader, root, "written_pages");
    report->n_same_filled = get_count(reader, root, "same_filled_pages");
}

/* The time line */

static double *read_series(struct reader *reader, const json_t *timeline, const char *name,
                           size_t n_samples)
{
    const json_t *values = get_container(reader, timeline, name, JSON_ARRAY);

    if (reader->error == 0 && json_array_size(values) != n_samples)
        fail(reader, "\"%s\" of \"timeline\" is not as long as \"seconds\"", name); /* D1 */
    double *series = allocate(reader, n_samples, sizeof *series);
    for (size_t i = 0; i < n_samples && reader->error == 0; i++)
        series[i] = number_of(reader, json_array_get(values, i), name); /* D2 */
    return series;
}

/* A row of the heat: D1, D3. */
static const char *read_row(struct reader *reader, const json_t *rows, size_t row,
                            const char *scale, size_t n_samples)
{
    const char *text = json_string_value(json_array_get(rows, row));

    if (text == NULL || strlen(text) != n_samples || strspn(text, scale) != n_samples)
        fail(reader, "row %zu of \"heat\" is no text of a character of %c to %c for each sample",
             row, scale[0], scale[strlen(scale) - 1]);
    return text;
}

static void read_zone(struct reader *reader, struct report_zone *zone, const json_t *json,
                      size_t n_samples)
{
    const json_t *resident = get_container(reader, json, "resident", JSON_ARRAY);
    const json_t *faults = get_container(reader, json, "faults", JSON_ARRAY);

    zone->name = get_text(reader, json, "zone");
    zone->row_bytes = get_count(reader, json, "row_bytes");
    zone->full_bytes = get_count(reader, json, "full_bytes");
    zone->n_rows = json_array_size(resident);
    if (json_array_size(faults) != zone->n_rows)
        fail(reader, "\"resident\" and \"faults\" of \"heat\" are not of one length");
    zone->resident = allocate(reader, zone->n_rows, sizeof *zone->resident);
    zone->faults = allocate(reader, zone->n_rows, sizeof *zone->faults);
    for (size_t row = 0; row < zone->n_rows && reader->error == 0; row++) {
        zone->resident[row] = read_row(reader, resident, row, "0123456789", n_samples);
        zone->faults[row] = read_row(reader, faults, row, "0123456789abcdefghijklmnopqrstuvwxyz",
                                     n_samples);
    }
}

static void read_timeline(struct reader *reader, struct report *report)
{
    const json_t *timeline = get_container(reader, report->root, "timeline", JSON_OBJECT);
    const json_t *heat = get_container(reader, timeline, "heat", JSON_ARRAY);

    report->n_samples = json_array_size(get_container(reader, timeline, "seconds", JSON_ARRAY));
    report->at_s = read_series(reader, timeline, "seconds", report->n_samples);
    for (size_t i = 1; i < report->n_samples && reader->error == 0; i++)
        if (report->at_s[i] <= report->at_s[i - 1])
            fail(reader, "\"seconds\" of \"timeline\" does not rise"); /* D2 */
    for (int i = 0; i < REPORT_N_SERIES; i++)
        report->series[i] = read_series(reader, timeline, series_names[i], report->n_samples);
    report->heat_problem = get_text_or_null(reader, timeline, "heat_problem");
    report->zones = allocate(reader, json_array_size(heat), sizeof *report->zones);
    for (size_t i = 0; i < json_array_size(heat) && reader->error == 0; i++) {
        report->n_zones = i + 1;
        read_zone(reader, &report->zones[i], json_array_get(heat, i), report->n_samples);
    }
}

static void read_processes(struct reader *reader, struct report *report)
{
    const json_t *list = get_container(reader, report->root, "process_list", JSON_ARRAY);

    report->n_listed = json_array_size(list);
    report->processes = allocate(reader, report->n_listed, sizeof *report->processes);
    for (size_t i = 0; i < report->n_listed && reader->error == 0; i++) {
        const json_t *json = json_array_get(list, i);
        report->processes[i] = (struct report_process){
            .pid = get_count(reader, json, "pid"),
            .name = get_text(reader, json, "name"),
            .first_s = get_number(reader, json, "first_seconds"),
            .last_s = get_number(reader, json, "last_seconds"),
            .peak_held_bytes = get_count(reader, json, "peak_held_bytes"),
            .n_faults = get_count(reader, json, "faults"),
            .fault_ns = get_count(reader, json, "fault_wait_ns"),
        };
    }
}

int report_read(struct report *report, json_t *root, char *message)
{
    struct reader reader = {.message = message};

    *report = (struct report){.root = root};
    check_format(&reader, root);
    if (reader.error == 0) {
        read_memory(&reader, report);
        read_end(&reader, report);
        read_counts(&reader, report);
        read_timeline(&reader, report);
        read_processes(&reader, report);
    }
    if (reader.error != 0)
        report_free(report);
    return reader.error;
}

/* The file */

static json_t *parse(struct reader *reader, const char *path)
{
    bool is_standard = strcmp(path, "-") == 0;
    json_error_t error;
    FILE *file = is_standard ? stdin : fopen(path, "re");

    if (file == NULL) {
        reader->error = -errno;
        return NULL;
    }
    errno = 0;
    json_t *root = json_loadf(file, JSON_REJECT_DUPLICATES, &error);
    int failed = ferror(file) ? (errno != 0 ? -errno : -EIO) : 0;
    if (!is_standard)
        fclose(file);
    if (root != NULL)
        return root;
    if (failed != 0)
        reader->error = failed;
    else if (json_error_code(&error) == json_error_out_of_memory)
        reader->error = -ENOMEM;
    else if (error.position == 0 && json_error_code(&error) == json_error_invalid_syntax)
        fail(reader, "it is no JSON");
    else if (json_error_code(&error) == json_error_premature_end_of_input)
        fail(reader,
             "it ends in the middle, in line %d\nthe run may still be writing it, or the "
             "disk was full",
             error.line);
    else
        fail(reader, "it is no JSON: line %d, column %d: %s", error.line, error.column, error.text);
    return NULL;
}

int report_load(struct report *report, const char *path, char *message)
{
    struct reader reader = {.message = message};
    json_t *root = parse(&reader, path);

    return reader.error != 0 ? reader.error : report_read(report, root, message);
}

void report_free(struct report *report)
{
    for (size_t i = 0; i < report->n_zones; i++) {
        free(report->zones[i].resident);
        free(report->zones[i].faults);
    }
    for (int i = 0; i < REPORT_N_SERIES; i++)
        free(report->series[i]);
    free(report->zones);
    free(report->at_s);
    free(report->processes);
    free(report->latency_ns);
    free(report->latency_faults);
    json_decref(report->root);
    *report = (struct report){0};
}

/* What follows from it */

double report_change(const struct report *report, enum report_series series, size_t i)
{
    const double *values = report->series[series];
    double change = i > 0 ? values[i] - values[i - 1] : values[i];

    return change > 0 ? change : 0;
}

double report_interval_s(const struct report *report, size_t i)
{
    return i > 0 ? report->at_s[i] - report->at_s[i - 1] : report->at_s[i];
}

double report_stall(const struct report *report, size_t i)
{
    double interval_s = report_interval_s(report, i);

    return interval_s > 0 ? report_change(report, REPORT_FAULT_NS, i) / 1e9 / interval_s : 0;
}
