/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top_main: the first page, and what all pages share.
 *
 *   time, uptime, how many          in a low terminal the less important lines of the system's
 *   memory, swap, faults ...        panel go first, so that the list keeps half of the rows
 *   the list: headings, rows
 *   the last line: a prompt, else a message, else the keys
 */
#include "cli/top.h"

#include "cli/figures.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LEAST_ROWS 4
#define LEAST_COLUMNS 20
#define BAR_COLUMNS 24

unsigned top_put(const struct top *top, unsigned row, unsigned column, enum screen_style style,
                 const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    int n = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    n = n < (int)sizeof text ? n : (int)sizeof text - 1;
    top->screen->put(row, column, n > 0 ? (unsigned)n : 0, style, text);
    return n > 0 ? (unsigned)n : 0;
}

void top_put_bar(const struct top *top, unsigned row, unsigned column, unsigned width, double part,
                 double whole)
{
    char text[128];
    double filled = whole > 0 && part > 0 ? part / whole : 0;

    if (width < 3 || width >= sizeof text)
        return;
    unsigned inner = width - 2, n = (unsigned)(filled * inner + 0.5);
    n = n > inner ? inner : n;
    text[0] = '[';
    memset(text + 1, ' ', inner);
    memset(text + 1, '|', n);
    text[inner + 1] = ']';
    text[inner + 2] = '\0';
    top->screen->put(row, column, width,
                     filled > 0.95  ? SCREEN_BAD
                     : filled > 0.8 ? SCREEN_WARN
                                    : SCREEN_GOOD,
                     text);
}

enum screen_style top_style_of_stall(double percent)
{
    return percent >= 10 ? SCREEN_BAD : percent >= 1 ? SCREEN_WARN : SCREEN_PLAIN;
}

static const char *size(uint64_t bytes, struct figure_text *text)
{
    return figure_short(bytes, false, text);
}

/* A rate that may be unknown. */
static const char *rate(double value, struct figure_text *text)
{
    if (isnan(value)) {
        snprintf(text->buffer, sizeof text->buffer, "-");
        return text->buffer;
    }
    return figure_rate(value, text);
}

static const char *size_rate(double value, struct figure_text *text)
{
    return isnan(value) ? rate(value, text) : size((uint64_t)(value + 0.5), text);
}

static const char *percent(double value, struct figure_text *text)
{
    snprintf(text->buffer, sizeof text->buffer, isnan(value) ? "-" : "%.1f", value);
    return text->buffer;
}

static const char *whole(double value, struct figure_text *text)
{
    snprintf(text->buffer, sizeof text->buffer, isnan(value) ? "-" : "%.0f", value);
    return text->buffer;
}

/* ---- the system's panel: a function a line ---- */

static void draw_title(const struct top *top, unsigned row)
{
    const struct sample *sample = top->sample;
    uint64_t up_s = sample->counters.uptime_ms / 1000;
    time_t at = (time_t)(sample->wall_ms / 1000);
    struct tm parts = {0};
    char clock[32];

    localtime_r(&at, &parts);
    strftime(clock, sizeof clock, top->feed->is_recorded ? "%F %T" : "%T", &parts);
    unsigned n = top_put(top, row, 0, SCREEN_BOLD, "quire top");
    n += top_put(top, row, n, SCREEN_PLAIN, " %s", clock);
    if (top->feed->is_recorded)
        n += top_put(top, row, n, SCREEN_NOTE, "  sample %u of %u", (unsigned)top->feed->index + 1,
                     (unsigned)top->feed->n_samples);
    else
        n += top_put(top, row, n, SCREEN_PLAIN, "  up %u d %02u:%02u", (unsigned)(up_s / 86400),
                     (unsigned)(up_s / 3600 % 24), (unsigned)(up_s / 60 % 60));
    if (top->is_paused)
        n += top_put(top, row, n, SCREEN_WARN, "  paused");
    n += top_put(top, row, n, SCREEN_PLAIN, "  %zu processes", sample->processes.n);
    if (quire_observe_known(sample->counters.running))
        n += top_put(top, row, n, SCREEN_PLAIN, ", %s run, %s wait",
                     figure_count(sample->counters.running, FIGURE),
                     figure_count(sample->counters.blocked, FIGURE));
    if (sample->is_since_boot)
        top_put(top, row, n, SCREEN_DIM, "  since boot");
}

static void draw_memory(const struct top *top, unsigned row)
{
    const struct quire_observe_memory *memory = &top->sample->memory;
    uint64_t used = quire_observe_used(memory);

    top_put(top, row, 0, SCREEN_PLAIN, "memory %6s", size(memory->total, FIGURE));
    top_put_bar(top, row, 14, BAR_COLUMNS, (double)used, (double)memory->total);
    top_put(top, row, 15 + BAR_COLUMNS, SCREEN_PLAIN, "used %s  cache %s  available %s",
            size(used, FIGURE), size(quire_observe_cache(memory), FIGURE),
            size(memory->available, FIGURE));
}

static void draw_swap(const struct top *top, unsigned row)
{
    const struct quire_observe_memory *memory = &top->sample->memory;
    const struct quire_observe_zram *zram = &top->sample->zram;
    uint64_t used = quire_observe_known(memory->swap_free) ? memory->swap_total - memory->swap_free
                                                           : memory->swap_free;

    top_put(top, row, 0, SCREEN_PLAIN, "swap   %6s", size(memory->swap_total, FIGURE));
    top_put_bar(top, row, 14, BAR_COLUMNS, quire_observe_known(used) ? (double)used : 0,
                (double)memory->swap_total);
    unsigned n = 15 + BAR_COLUMNS;
    n += top_put(top, row, n, SCREEN_PLAIN, "used %s", size(used, FIGURE));
    if (quire_observe_known(memory->zswapped) && memory->zswapped > 0)
        n += top_put(top, row, n, SCREEN_PLAIN, "  zswap %s in %s", size(memory->zswapped, FIGURE),
                     size(memory->zswap, FIGURE));
    if (top->sample->has_zram && quire_observe_known(zram->stored) && zram->n_devices > 0)
        top_put(top, row, n, SCREEN_PLAIN, "  zram %s in %s", size(zram->stored, FIGURE),
                size(zram->held, FIGURE));
}

static void draw_faults(const struct top *top, unsigned row)
{
    const struct quire_observe_rates *rates = &top->sample->rates;

    unsigned n = top_put(top, row, 0, SCREEN_PLAIN, "faults/s  minor %s major ",
                         rate(rates->minor_faults, FIGURE));
    n += top_put(top, row, n, rates->major_faults >= 100 ? SCREEN_WARN : SCREEN_PLAIN, "%s",
                 rate(rates->major_faults, FIGURE));
    top_put(top, row, n, SCREEN_PLAIN, "  swap/s in %s out %s  blocks/s in %s out %s",
            size_rate(rates->swapped_in, FIGURE), size_rate(rates->swapped_out, FIGURE),
            size_rate(rates->read_in, FIGURE), size_rate(rates->written_out, FIGURE));
}

static void draw_reclaim(const struct top *top, unsigned row)
{
    const struct quire_observe_rates *rates = &top->sample->rates;

    top_put(top, row, 0, SCREEN_PLAIN,
            "reclaim/s scan %s direct %s refault %s compact %s  oom %s  cpu us %s sy %s wa %s",
            rate(rates->scanned, FIGURE), rate(rates->scanned_direct, FIGURE),
            rate(rates->refaults, FIGURE), rate(rates->compact_stalls, FIGURE),
            rate(rates->oom_kills, FIGURE), whole(rates->cpu_user, FIGURE),
            whole(rates->cpu_system, FIGURE), whole(rates->cpu_iowait, FIGURE));
}

static void draw_pressure(const struct top *top, unsigned row)
{
    const struct quire_observe_rates *rates = &top->sample->rates;
    const struct {
        const char *name;
        double percent;
    } stalls[] = {{"memory", rates->memory_some},
                  {"full", rates->memory_full},
                  {"io", rates->io_some},
                  {"full", rates->io_full},
                  {"cpu", rates->cpu_some}};
    unsigned n = top_put(top, row, 0, SCREEN_PLAIN, "stalled %%");

    for (unsigned i = 0; i < sizeof stalls / sizeof stalls[0]; i++) {
        n += top_put(top, row, n, SCREEN_PLAIN, "  %s ", stalls[i].name);
        n += top_put(top, row, n, top_style_of_stall(stalls[i].percent), "%s",
                     percent(stalls[i].percent, FIGURE));
    }
    if (isnan(rates->memory_some))
        top_put(top, row, n, SCREEN_DIM, "  (this kernel has no PSI)");
}

static void draw_runs(const struct top *top, unsigned row)
{
    const struct quire_observe_runs *runs = &top->sample->runs;
    uint64_t held = 0, budget = 0;

    for (size_t i = 0; i < runs->n; i++) {
        held += runs->list[i].held;
        budget += runs->list[i].budget;
    }
    if (runs->n == 0)
        top_put(top, row, 0, SCREEN_DIM, "runs   none of Quire");
    else
        top_put(top, row, 0, SCREEN_NOTE, "runs   %zu of Quire hold %s of %s (v: their columns)",
                runs->n, size(held, FIGURE), size(budget, FIGURE));
}

typedef void draw_line(const struct top *top, unsigned row);

/* The lines that fit into so many rows, the most important ones; in the order of the panel. */
static unsigned draw_panel(const struct top *top, unsigned most)
{
    static const struct {
        draw_line *draw;
        unsigned rank; /* 0 stays longest */
    } lines[] = {{draw_title, 2},   {draw_memory, 0},   {draw_swap, 3}, {draw_faults, 4},
                 {draw_reclaim, 6}, {draw_pressure, 1}, {draw_runs, 5}};
    unsigned row = 0;

    for (unsigned i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (lines[i].rank < most)
            lines[i].draw(top, row++);
    return row;
}

/* ---- the list ---- */

static const char *cell_of(const struct top *top, unsigned column, const struct ps_row *row,
                           char buffer[PS_TEXT_BYTES])
{
    return ps_column_cell(top->columns[column], row, false, buffer);
}

/* Columns keep the widest width that was seen, so that they don't dance. */
static void measure(struct top *top, unsigned n_rows)
{
    char buffer[PS_TEXT_BYTES];

    for (unsigned i = 0; i + 1 < top->n_columns; i++) {
        size_t width = strlen(top->columns[i]->heading) + (top->columns[i] == top->order.sort);
        top->widths[i] = width > top->widths[i] ? (unsigned)width : top->widths[i];
        for (size_t k = top->first; k < top->first + n_rows && k < top->view.n; k++) {
            width = strlen(cell_of(top, i, &top->view.rows[k], buffer));
            top->widths[i] = width > top->widths[i] ? (unsigned)width : top->widths[i];
        }
    }
}

/* One line of cells; `row` NULL: the headings. */
static void draw_cells(const struct top *top, unsigned at, const struct ps_row *row,
                       enum screen_style style)
{
    char line[PS_TEXT_BYTES], buffer[PS_TEXT_BYTES], heading[32];
    size_t n = 0;

    for (unsigned i = 0; i < top->n_columns && n < sizeof line / 2; i++) {
        const struct ps_column *column = top->columns[i];
        bool is_last = i + 1 == top->n_columns, is_left = column->kind == PS_TEXT;
        snprintf(heading, sizeof heading, "%s%s", column->heading,
                 column == top->order.sort ? top->order.reverse ? "^" : "v" : "");
        const char *cell = row != NULL ? cell_of(top, i, row, buffer) : heading;
        int width = is_last ? 0 : (int)top->widths[i];
        n += (size_t)snprintf(line + n, sizeof line - n, is_left ? "%-*.512s%s" : "%*.512s%s",
                              width, cell, is_last ? "" : " ");
    }
    top->screen->put(at, 0, PS_TEXT_BYTES, style, line);
}

void top_draw_list(struct top *top, unsigned row, unsigned n_rows)
{
    if (n_rows < 2)
        return;
    top->n_visible = n_rows - 1;
    if (top->selected < top->first)
        top->first = top->selected;
    if (top->selected >= top->first + top->n_visible)
        top->first = top->selected - top->n_visible + 1;
    if (top->first + top->n_visible > top->view.n) /* no empty rows while there are others */
        top->first = top->view.n > top->n_visible ? top->view.n - top->n_visible : 0;
    measure(top, (unsigned)top->n_visible);
    draw_cells(top, row, NULL, SCREEN_HEADING);
    for (size_t i = 0; i < top->n_visible && top->first + i < top->view.n; i++)
        draw_cells(top, row + 1 + (unsigned)i, &top->view.rows[top->first + i],
                   top->first + i == top->selected ? SCREEN_SELECTED : SCREEN_PLAIN);
    if (top->view.n == 0)
        top_put(top, row + 1, 0, SCREEN_DIM, "%s",
                top->order.n_filters > 0 ? "no process passes the filter" : "no processes");
}

/* ---- the last line ---- */

static void draw_prompt(const struct top *top, unsigned row)
{
    unsigned n = 0;

    switch (top->prompt) {
    case TOP_ASK_FILTER:
        n = top_put(top, row, 0, SCREEN_BOLD, "filter: ");
        n += top_put(top, row, n, SCREEN_PLAIN, "%s", top->input);
        top_put(top, row, n, SCREEN_DIM, "   (part of the command, or rss>100M; Enter, Esc)");
        break;
    case TOP_ASK_DELAY:
        n = top_put(top, row, 0, SCREEN_BOLD,
                    "seconds between samples (%.3g): ", (double)top->delay_ms / 1000);
        n += top_put(top, row, n, SCREEN_PLAIN, "%s", top->input);
        break;
    case TOP_ASK_KILL:
        n = top_put(top, row, 0, SCREEN_WARN, "end %d (%s)?  y: SIGTERM  k: SIGKILL  other: no ",
                    top->kill_pid, top->input);
        break;
    case TOP_NO_PROMPT:
        break;
    }
    top->screen->show_cursor(row, n, top->prompt != TOP_NO_PROMPT);
}

static void draw_last(const struct top *top, unsigned row)
{
    static const char *const keys[] = {
        [TOP_MAIN] = "h Help  / Filter  t Tree  < > Sort  v Columns  k Kill  Enter Run  q Quit",
        [TOP_RUN] = "h Help  Esc Back  Space Pause  q Quit",
        [TOP_HELP] = "Up Down Scroll  Esc Back"};

    draw_prompt(top, row);
    if (top->prompt != TOP_NO_PROMPT)
        return;
    if (top->message[0] != '\0')
        top->screen->put(row, 0, TOP_TEXT_BYTES, SCREEN_WARN, top->message);
    else if (top->filter_text[0] != '\0' && top->page == TOP_MAIN)
        top_put(top, row, 0, SCREEN_NOTE, "filter: %s   (/ changes it, Esc shows all)",
                top->filter_text);
    else
        top_put(top, row, 0, SCREEN_DIM, "%s%s", keys[top->page],
                top->feed->is_recorded ? "  Left Right" : "");
}

void top_draw(struct top *top)
{
    unsigned n_rows, n_columns;

    top->screen->size(&n_rows, &n_columns);
    top->screen->erase();
    if (n_rows < LEAST_ROWS || n_columns < LEAST_COLUMNS) {
        top->screen->put(0, 0, n_columns, SCREEN_PLAIN, "too small");
    } else if (top->sample == NULL) {
        top->screen->put(0, 0, n_columns, SCREEN_PLAIN, "reading");
    } else {
        unsigned row = 0;
        if (top->page == TOP_MAIN) {
            row = draw_panel(top, n_rows > 16 ? 7 : n_rows / 3);
            top_draw_list(top, row, n_rows - 1 - row);
        } else if (top->page == TOP_RUN) {
            top_draw_run(top, n_rows - 1, n_columns);
        } else {
            top_draw_help(top, n_rows - 1, n_columns);
        }
        draw_last(top, n_rows - 1);
    }
    top->screen->show();
}
