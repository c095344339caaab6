/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top: the parts of `quire top`.
 *
 *   feed (this machine, a recording) ── sample ── top_rows.c: which processes, where the cursor is
 *                                                 top_past.c: the chosen run over time
 *   keys ── top_keys.c ── changes struct top
 *   struct top ── top_main.c, top_run.c, top_help.c ── screen
 *
 * What is shown follows from struct top and its sample alone: a page draws, and changes nothing but
 * where the list begins.
 */
#ifndef QUIRE_CLI_TOP_H
#define QUIRE_CLI_TOP_H

#include "cli/ps_rows.h"
#include "cli/screen.h"
#include "observe/feed.h"

#include <quire/slabs.h>
#include <stdbool.h>
#include <stdint.h>

enum top_page { TOP_MAIN, TOP_RUN, TOP_HELP };
enum top_prompt { TOP_NO_PROMPT, TOP_ASK_FILTER, TOP_ASK_DELAY, TOP_ASK_KILL };

#define TOP_MAX_COLUMNS 16
#define TOP_TEXT_BYTES 160

struct top_set { /* of columns */
    const char *name, *columns, *sort;
    bool only_runs;
};
extern const struct top_set top_sets[];
extern const unsigned top_n_sets;

struct top_past {    /* of the chosen run */
    uint64_t keeper; /* 0: none is chosen */
    struct quire_observe_run_moment moments[QUIRE_OBSERVE_N_MOMENTS];
    size_t n;
    struct quire_observe_run older, newer; /* the last two that were published */
    unsigned n_known;                      /* of these */
    struct quire_slabs slabs;              /* of its largest process */
    int slabs_pid, slabs_error;
    uint64_t slabs_next_ns;
};

struct top {
    const struct screen *screen;
    struct feed *feed;
    const struct sample *sample;   /* the current one; NULL: none yet */
    struct quire_observe *observe; /* for details of a run; NULL: a recording, or another machine */
    bool is_this_machine;          /* processes may be ended */
    uint64_t delay_ms;
    bool is_paused;
    bool has_to_end;

    enum top_page page, page_before_help;
    enum top_prompt prompt;
    char input[TOP_TEXT_BYTES]; /* of the prompt */
    char message[TOP_TEXT_BYTES];
    unsigned help_first;

    /* the list */
    unsigned set;
    const struct ps_column *columns[TOP_MAX_COLUMNS];
    unsigned n_columns, widths[TOP_MAX_COLUMNS];
    struct ps_order order;
    struct ps_filter filters[2]; /* the user's, and that of the set */
    char filter_text[TOP_TEXT_BYTES];
    struct ps_view view;
    size_t selected, first, n_visible;
    int selected_pid;
    int kill_pid; /* that the question is about */
    uint64_t kill_start_ms;

    struct top_past past;
};

/* ---- top_rows.c ---- */

void top_use_set(struct top *top, unsigned set);
/* Orders the sample's processes anew; the cursor stays on its process. False: no memory. */
bool top_arrange(struct top *top);
void top_select(struct top *top, int64_t row); /* kept within the list */
/* NULL: the list is empty. */
const struct quire_observe_process *top_selected(const struct top *top);
/* What the processes of the current set need to be read; for feed.parts. */
unsigned top_parts(const struct top *top);
/* As typed: COLUMN<VALUE and the like, else a part of the command; "" for all. */
void top_set_filter(struct top *top, const char *text);
bool top_sort_by(struct top *top, const char *column); /* false: the set has none of that name */
void top_sort_beside(struct top *top, int step);

/* ---- top_past.c ---- */

void top_choose_run(struct top *top, uint64_t keeper);          /* 0: none */
void top_follow_run(struct top *top);                           /* a new sample is there */
const struct quire_observe_run *top_run(const struct top *top); /* NULL: it has ended */

/* ---- top_keys.c ---- */

void top_key(struct top *top, int key);
/* Takes the next sample, or moves in a recording. 0 or a negative errno. */
int top_move(struct top *top, int64_t n);

/* ---- pages; each fills the whole screen but for the last line ---- */

void top_draw(struct top *top);
void top_draw_list(struct top *top, unsigned row, unsigned n_rows);
void top_draw_run(struct top *top, unsigned n_rows, unsigned n_columns);
void top_draw_help(struct top *top, unsigned n_rows, unsigned n_columns);

/* Writes a formatted text at a place, to the line's end. Its length. */
unsigned top_put(const struct top *top, unsigned row, unsigned column, enum screen_style style,
                 const char *format, ...) __attribute__((format(printf, 5, 6)));
/* "[||||    ]", width characters; part of whole. */
void top_put_bar(const struct top *top, unsigned row, unsigned column, unsigned width, double part,
                 double whole);
enum screen_style top_style_of_stall(double percent);

#endif
