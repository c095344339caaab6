/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mrc: `quire mrc`. Reads a trace of references once and tells LRU's miss ratio at every size, how
 * far apart uses of a page are, and how the working set changes over time.
 *
 *     trace --quire_mrc_feed_trace()--> curve, distances, intervals --> table, JSON, SVG
 *
 * Exit status 0, or 125: the command line or the trace can't be understood, or a file can't be read
 * or written.
 */
#include "base/size.h"
#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/curve_picture.h"
#include "cli/out_file.h"
#include "cli/ram_list.h"
#include "cli/table.h"
#include "cli/trace_input.h"

#include <quire/sim.h>

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POINTS_PER_OCTAVE 8
#define MOST_POINTS RAM_LIST_MOST /* and 64 octaves' */
#define MOST_BINS 64

struct arguments {
    struct trace_input input;
    struct quire_mrc_options options;
    struct ram_list sizes;
    bool as_json;
    const char *svg_path;
};

enum { NO_FETCH = 0x200 };

static const struct argp_option option_list[] = {
    {"page-size", 'P', "SIZE", 0, "A power of two from 64 to 1T (default: 4K)", 0},
    {"sample", 's', "RATE", 0,
     "Look at this part of the pages only, as 0.01 or 1%: faster, in less memory, with a stated "
     "error",
     0},
    {"ram", 'r', "LIST", 0,
     "Tell these amounts, separated by commas: sizes, or pages as 3p; A-B is all from A to B, as "
     "of quire sim (default: each doubling)",
     0},
    {"no-fetch", NO_FETCH, NULL, 0, "Leave out fetches of instructions", 0},
    {"json", 'j', NULL, 0, "Print the figures as JSON", 0},
    {"svg", 'm', "FILE", 0, "Draw the curve, the working set and the distances", 0},
    {0},
};

static const char documentation[] =
    "Tell from a trace of memory references LRU's miss ratio with any amount of RAM, the reuse "
    "distances and the working set over time, in one pass."
    "\v"
    "Without --sample the curve is exact: the faults are those that quire sim --policy lru counts, "
    "at each size. With it each figure has the error that it is within with a confidence of 95 %.\n"
    "\n"
    "Exit status:\n"
    "  0    the trace was read\n"
    "  125  the command line or the trace can't be understood, or a file can't be used";

/* ---- the command line ---- */

static void parse_rate(struct argp_state *state, const char *text)
{
    struct arguments *arguments = state->input;
    char *end;
    double rate = strtod(text, &end);
    if (*end == '%' && end[1] == '\0') {
        rate /= 100;
        end++;
    }
    if (end == text || *end != '\0' || !(rate > 0) || rate > 1)
        argp_error(state, "--sample: '%s' is no part of the pages, such as 0.01 or 1%%", text);
    arguments->options.rate = rate;
}

static void parse_sizes(struct argp_state *state, char *list)
{
    struct arguments *arguments = state->input;
    char *rest;
    for (char *text = strtok_r(list, ",", &rest); text; text = strtok_r(NULL, ",", &rest))
        ram_list_add(state, &arguments->sizes, text);
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->input;
        return 0;
    case 'P':
        arguments->options.page_shift = trace_input_page_shift(state, argument);
        return 0;
    case 's':
        parse_rate(state, argument);
        return 0;
    case 'r':
        parse_sizes(state, argument);
        return 0;
    case NO_FETCH:
        arguments->options.without_fetches = true;
        return 0;
    case 'j':
        arguments->as_json = true;
        return 0;
    case 'm':
        arguments->svg_path = argument;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s': the trace is given by --trace FILE", argument);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- sizes ---- */

struct sizes {
    uint64_t n_pages[MOST_POINTS];
    size_t n;
};

static void add_size(struct sizes *sizes, uint64_t n_pages)
{
    if (sizes->n < MOST_POINTS && (sizes->n == 0 || n_pages > sizes->n_pages[sizes->n - 1]))
        sizes->n_pages[sizes->n++] = n_pages;
}

/* From a page to all of them, so many an octave. */
static struct sizes spread_sizes(const struct quire_mrc *mrc, unsigned per_octave)
{
    const uint64_t all = quire_mrc_pages(mrc);
    struct sizes sizes = {0};
    for (unsigned i = 0; i < 40 * per_octave; i++) {
        uint64_t n_pages = (uint64_t)(exp2((double)i / per_octave) + 0.5);
        if (n_pages >= all)
            break;
        add_size(&sizes, n_pages);
    }
    add_size(&sizes, all > 0 ? all : 1);
    return sizes;
}

static struct sizes told_sizes(const struct arguments *arguments, const struct quire_mrc *mrc,
                               unsigned per_octave)
{
    struct sizes sizes = {0};
    const unsigned shift = arguments->options.page_shift;
    if (arguments->sizes.n == 0)
        return spread_sizes(mrc, per_octave);
    for (size_t i = 0; i < arguments->sizes.n; i++)
        sizes.n_pages[sizes.n++] = ram_bytes(arguments->sizes.amounts[i], shift) >> shift;
    return sizes;
}

/* ---- text ---- */

static void print_curve(const struct arguments *arguments, const struct quire_mrc *mrc)
{
    const bool is_sampled = arguments->options.rate > 0 && arguments->options.rate < 1;
    struct table table = {.n_columns = is_sampled ? 4 : 3};
    struct sizes sizes = told_sizes(arguments, mrc, 1);
    char text[32];
    table_add(&table, "RAM");
    table_add(&table, "faults");
    table_add(&table, "miss %");
    if (is_sampled)
        table_add(&table, "+- %");
    for (size_t i = 0; i < sizes.n; i++) {
        const uint64_t n_pages = sizes.n_pages[i];
        table_add(&table, size_format(n_pages << arguments->options.page_shift, text, sizeof text));
        snprintf(text, sizeof text, "%" PRIu64, quire_mrc_faults(mrc, n_pages));
        table_add(&table, text);
        snprintf(text, sizeof text, "%.4f", 100 * quire_mrc_ratio(mrc, n_pages));
        table_add(&table, text);
        snprintf(text, sizeof text, "%.4f", 100 * quire_mrc_bound(mrc, n_pages));
        if (is_sampled)
            table_add(&table, text);
    }
    table_print(&table, 0);
    table_free(&table);
}

static void print_distances(const struct quire_mrc *mrc)
{
    struct table table = {.n_columns = 3};
    char text[64];
    table_add(&table, "pages between uses");
    table_add(&table, "references");
    table_add(&table, "%");
    const double all = (double)quire_mrc_references(mrc);
    uint64_t from = 0;
    for (unsigned i = 0; i < MOST_BINS && from <= quire_mrc_pages(mrc); i++) {
        const uint64_t to = (uint64_t)1 << i, n = quire_mrc_distances(mrc, from, to);
        if (to - from == 1)
            snprintf(text, sizeof text, "%" PRIu64, from);
        else
            snprintf(text, sizeof text, "%" PRIu64 "-%" PRIu64, from, to - 1);
        table_add(&table, text);
        snprintf(text, sizeof text, "%" PRIu64, n);
        table_add(&table, text);
        snprintf(text, sizeof text, "%.2f", all > 0 ? 100 * (double)n / all : 0);
        table_add(&table, text);
        from = to;
    }
    table_add(&table, "first use");
    snprintf(text, sizeof text, "%" PRIu64, quire_mrc_pages(mrc));
    table_add(&table, text);
    snprintf(text, sizeof text, "%.2f", all > 0 ? 100 * (double)quire_mrc_pages(mrc) / all : 0);
    table_add(&table, text);
    table_print(&table, 0);
    table_free(&table);
}

static void print_working_set(const struct arguments *arguments, const struct quire_mrc *mrc)
{
    const uint32_t n = quire_mrc_intervals(mrc);
    const unsigned shift = arguments->options.page_shift;
    uint64_t sum = 0, most = 0, at = 0;
    char mean[24], largest[24];
    for (uint32_t i = 0; i < n; i++) {
        struct quire_mrc_interval interval = quire_mrc_interval(mrc, i);
        sum += interval.n_pages;
        if (interval.n_pages > most) {
            most = interval.n_pages;
            at = interval.first;
        }
    }
    if (n == 0)
        return;
    printf("\nworking set, in intervals of %" PRIu64 " references: %s on average, %s at most, from "
           "reference %" PRIu64 " on\n",
           quire_mrc_interval(mrc, 0).n_references,
           size_format(sum / n << shift, mean, sizeof mean),
           size_format(most << shift, largest, sizeof largest), at + 1);
}

static void print_text(const struct arguments *arguments, const struct quire_mrc *mrc,
                       const struct quire_trace_info *info)
{
    char page[24], all[24];
    const unsigned shift = arguments->options.page_shift;
    printf("format %s: %" PRIu64 " references to %" PRIu64 " pages of %s, %s in all\n",
           info->format, quire_mrc_references(mrc), quire_mrc_pages(mrc),
           size_format((uint64_t)1 << shift, page, sizeof page),
           size_format(quire_mrc_pages(mrc) << shift, all, sizeof all));
    if (arguments->options.rate > 0 && arguments->options.rate < 1)
        printf("estimated from %" PRIu64 " references to %g %% of the pages\n",
               quire_mrc_sampled(mrc), 100 * arguments->options.rate);
    printf("\n");
    print_curve(arguments, mrc);
    print_working_set(arguments, mrc);
    printf("\n");
    print_distances(mrc);
}

/* ---- JSON ---- */

static json_t *build_curve(const struct arguments *arguments, const struct quire_mrc *mrc)
{
    struct sizes sizes = told_sizes(arguments, mrc, POINTS_PER_OCTAVE);
    json_t *list = json_array();
    for (size_t i = 0; i < sizes.n; i++)
        json_array_append_new(
            list, json_pack("{s:I, s:I, s:f, s:f}", "ram_bytes",
                            (json_int_t)(sizes.n_pages[i] << arguments->options.page_shift),
                            "faults", (json_int_t)quire_mrc_faults(mrc, sizes.n_pages[i]),
                            "miss_ratio", quire_mrc_ratio(mrc, sizes.n_pages[i]), "bound",
                            quire_mrc_bound(mrc, sizes.n_pages[i])));
    return list;
}

static json_t *build_distances(const struct quire_mrc *mrc)
{
    json_t *list = json_array();
    uint64_t from = 0;
    for (unsigned i = 0; i < MOST_BINS && from <= quire_mrc_pages(mrc); i++) {
        const uint64_t to = (uint64_t)1 << i;
        json_array_append_new(list, json_pack("{s:I, s:I, s:I}", "from", (json_int_t)from, "to",
                                              (json_int_t)(to - 1), "references",
                                              (json_int_t)quire_mrc_distances(mrc, from, to)));
        from = to;
    }
    return list;
}

static json_t *build_intervals(const struct quire_mrc *mrc, unsigned shift)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < quire_mrc_intervals(mrc); i++) {
        struct quire_mrc_interval interval = quire_mrc_interval(mrc, i);
        json_array_append_new(list,
                              json_pack("{s:I, s:I, s:f, s:I}", "first", (json_int_t)interval.first,
                                        "references", (json_int_t)interval.n_references, "time_s",
                                        (double)interval.time_ns / 1e9, "working_set_bytes",
                                        (json_int_t)(interval.n_pages << shift)));
    }
    return list;
}

static bool print_json(const struct arguments *arguments, const struct quire_mrc *mrc)
{
    const unsigned shift = arguments->options.page_shift;
    const double rate = arguments->options.rate > 0 ? arguments->options.rate : 1;
    json_t *json = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:f, s:I, s:o, s:o, s:o}", "schema", "quire.mrc/1", "version",
        QUIRE_VERSION, "page_bytes", (json_int_t)1 << shift, "references",
        (json_int_t)quire_mrc_references(mrc), "pages", (json_int_t)quire_mrc_pages(mrc),
        "sample_rate", rate, "sampled_references", (json_int_t)quire_mrc_sampled(mrc), "curve",
        build_curve(arguments, mrc), "distances", build_distances(mrc), "working_set",
        build_intervals(mrc, shift));
    bool good = json != NULL &&
                json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) == 0;
    putchar('\n');
    json_decref(json);
    return good;
}

/* ---- picture ---- */

struct drawing {
    struct curve_point curve[MOST_POINTS], low[MOST_POINTS], high[MOST_POINTS];
    struct curve_point working_set[256], distances[MOST_BINS];
    struct curve_series series[3];
    struct curve_panel panels[3];
};

static void fill_curve(struct drawing *drawing, const struct quire_mrc *mrc, unsigned shift,
                       bool is_sampled)
{
    struct sizes sizes = spread_sizes(mrc, POINTS_PER_OCTAVE);
    for (size_t i = 0; i < sizes.n; i++) {
        double x = (double)(sizes.n_pages[i] << shift);
        double y = quire_mrc_ratio(mrc, sizes.n_pages[i]);
        double bound = quire_mrc_bound(mrc, sizes.n_pages[i]);
        drawing->curve[i] = (struct curve_point){x, y};
        drawing->low[i] = (struct curve_point){x, fmax(y - bound, 0)};
        drawing->high[i] = (struct curve_point){x, fmin(y + bound, 1)};
    }
    drawing->series[0] = (struct curve_series){.name = is_sampled ? "LRU, 95 % within" : "LRU",
                                               .points = drawing->curve,
                                               .n = sizes.n,
                                               .has_marks = true,
                                               .low = is_sampled ? drawing->low : NULL,
                                               .high = drawing->high};
    drawing->panels[0] = (struct curve_panel){.title = "Miss ratio",
                                              .x_title = "RAM",
                                              .y_title = "faults of the references",
                                              .x_unit = CURVE_BYTES,
                                              .y_unit = CURVE_SHARE,
                                              .is_log = true};
}

static void fill_working_set(struct drawing *drawing, const struct quire_mrc *mrc, unsigned shift)
{
    const uint32_t n = quire_mrc_intervals(mrc);
    for (uint32_t i = 0; i < n; i++) {
        struct quire_mrc_interval interval = quire_mrc_interval(mrc, i);
        drawing->working_set[i] = (struct curve_point){(double)interval.first,
                                                       (double)(interval.n_pages << shift)};
    }
    drawing->series[1] = (struct curve_series){
        .name = "working set", .points = drawing->working_set, .n = n};
    drawing->panels[1] = (struct curve_panel){.title = "Working set over time",
                                              .x_title = "references",
                                              .y_title = "touched in an interval",
                                              .x_unit = CURVE_COUNT,
                                              .y_unit = CURVE_BYTES,
                                              .is_bars = true};
}

static void fill_distances(struct drawing *drawing, const struct quire_mrc *mrc)
{
    const double all = fmax((double)quire_mrc_references(mrc), 1);
    uint64_t from = 0;
    unsigned n = 0;
    for (; n < MOST_BINS && from <= quire_mrc_pages(mrc); n++) {
        const uint64_t to = (uint64_t)1 << n;
        drawing->distances[n] = (struct curve_point){
            from == 0 ? 0.5 : (double)from, (double)quire_mrc_distances(mrc, from, to) / all};
        from = to;
    }
    drawing->series[2] = (struct curve_series){
        .name = "references", .points = drawing->distances, .n = n};
    drawing->panels[2] = (struct curve_panel){.title = "Reuse distances",
                                              .x_title = "different pages since the last use",
                                              .y_title = "references",
                                              .x_unit = CURVE_COUNT,
                                              .y_unit = CURVE_SHARE,
                                              .is_log = true,
                                              .is_bars = true};
}

static bool draw(const struct arguments *arguments, const struct quire_mrc *mrc)
{
    static struct drawing drawing;
    const unsigned shift = arguments->options.page_shift;
    char title[120], *text = NULL;
    size_t n_bytes = 0;
    fill_curve(&drawing, mrc, shift, arguments->options.rate > 0 && arguments->options.rate < 1);
    fill_working_set(&drawing, mrc, shift);
    fill_distances(&drawing, mrc);
    for (unsigned i = 0; i < 3; i++) {
        drawing.panels[i].series = &drawing.series[i];
        drawing.panels[i].n_series = 1;
    }
    snprintf(title, sizeof title, "quire mrc: %s", trace_input_name(&arguments->input));
    int error = curve_picture(drawing.panels, 3, title, &text, &n_bytes);
    if (!error)
        error = out_file_write(text, n_bytes, arguments->svg_path);
    free(text);
    if (error)
        cli_error("cannot write the picture %s: %s", arguments->svg_path, strerror(-error));
    return error == 0;
}

/* ---- the whole ---- */

static struct quire_mrc *open_mrc(const struct arguments *arguments,
                                  const struct quire_trace_info *info)
{
    struct quire_mrc *mrc;
    int error = quire_mrc_open(&arguments->options, info, &mrc);
    if (error == 0)
        return mrc;
    if (error == -EINVAL)
        cli_error("the trace counts in larger units than --page-size");
    else
        cli_error("cannot make the curve: %s", strerror(-error));
    return NULL;
}

int cli_mrc(int argc, char **argv)
{
    static const struct argp_child children[] = {{&trace_input_argp, 0, NULL, 0}, {0}};
    static const struct argp parser = {
        .options = option_list, .parser = parse_option, .doc = documentation, .children = children};
    static struct arguments arguments = {.options = {.page_shift = 12}};

    command_line_parse(&parser, argc, argv, ARGP_IN_ORDER, &arguments);
    struct quire_trace *trace = trace_input_open(&arguments.input);
    struct quire_mrc *mrc = trace != NULL ? open_mrc(&arguments, quire_trace_info(trace)) : NULL;
    bool good = mrc != NULL && trace_input_end(trace, quire_mrc_feed_trace(mrc, trace));
    if (good && quire_mrc_finish(mrc) != 0) {
        cli_error("cannot make the curve: out of memory");
        good = false;
    }
    if (good)
        trace_input_tell_gaps(trace, 0);
    if (good && arguments.as_json)
        good = print_json(&arguments, mrc);
    else if (good)
        print_text(&arguments, mrc, quire_trace_info(trace));
    if (good && arguments.svg_path != NULL)
        good = draw(&arguments, mrc);
    quire_mrc_close(mrc);
    quire_trace_close(trace);
    return good ? EXIT_SUCCESS : CLI_EXIT_FAILED;
}
