/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report_words: each function looks at one side of the run and says something, or nothing.
 *
 *   how it ended -> did it fit -> what waiting cost, and when -> where faults went
 *   -> what packing gave -> what was outside -> advice, once it cost something
 *
 * The bounds are judgements, not measurements: below 2 % of its time nobody notices, from half of
 * it on a program does little else.
 */
#include "cli/report_words.h"

#include "cli/report_amounts.h"
#include "cli/report_chart.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#define UNNOTICED 0.02
#define DEAR 0.2
#define THRASHING 0.5
#define LEAST_STRETCH 0.05 /* of the run, for a stretch of thrashing to be told */
#define POOR_RATIO 1.3
#define FILE_SHARE 0.05 /* of the faults, for the swap file to be worth a word */

enum tone { GOOD, PLAIN, POOR, BAD };

static void begin(struct html *html, enum tone tone)
{
    static const char *const classes[] = {"good", "plain", "poor", "bad"};

    html_format(html, "<li class=\"%s\">", classes[tone]);
}

static void say(struct html *html, enum tone tone, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Our own words and figures: nothing is escaped. */
static void say(struct html *html, enum tone tone, const char *format, ...)
{
    char text[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    begin(html, tone);
    html_raw(html, text);
    html_raw(html, "</li>\n");
}

double words_wait_share(const struct report *report)
{
    return report->wall_s > 0 ? (double)report->fault_ns / 1e9 / report->wall_s : 0;
}

static uint64_t count_faults(const struct report *report)
{
    uint64_t sum = 0;

    for (int i = 0; i < REPORT_N_FAULTS; i++)
        sum += report->faults[i];
    return sum;
}

static uint64_t faults_of(const struct report *report, enum report_series kind)
{
    return report->faults[kind - REPORT_FIRST_TOUCH];
}

/* For a command line: whole MiB, rounded up. */
static unsigned long long mebibytes(double bytes)
{
    return (unsigned long long)ceil(bytes / (1 << 20));
}

static void say_how_it_ended(struct html *html, const struct report *report)
{
    if (report->is_running) {
        say(html, PLAIN,
            "The run goes on. These are its figures so far; what is shown over time are its last "
            "minutes. <code>quire run --stats FILE</code> writes all of it when it ends.");
    } else if (report->ended_by != NULL) {
        begin(html, BAD);
        html_raw(html, "Quire itself ended the run: <q>");
        html_text(html, report->ended_by);
        html_raw(html, "</q></li>\n");
    } else if (report->exit_status > 128 && report->exit_status <= 128 + 64) {
        say(html, BAD, "The program was ended by signal %d, or said so itself (exit status %d).",
            (int)report->exit_status - 128, (int)report->exit_status);
    } else if (report->exit_status != 0) {
        say(html, POOR, "The program ended with exit status %lld.", (long long)report->exit_status);
    }
}

static void say_whether_it_fitted(struct html *html, const struct report *report)
{
    if (report->peak_held_bytes == 0) {
        say(html, PLAIN, "The run was over before it had asked for memory in any amount.");
        return;
    }
    if (report->n_evictions == 0) {
        say(html, GOOD,
            "Everything fitted: no page was ever evicted. At most %s of the budget of %s was "
            "held%s",
            BYTES(report->peak_held_bytes), BYTES(report->budget_bytes),
            report->peak_held_bytes * 2 < report->budget_bytes
                ? ", so it could do with a smaller one."
                : ".");
        return;
    }
    if (report->peak_needed_bytes > report->budget_bytes)
        say(html, GOOD,
            "The program had up to %s of memory in use, and ran within a budget of %s: %.1f times "
            "less.",
            BYTES(report->peak_needed_bytes), BYTES(report->budget_bytes),
            (double)report->peak_needed_bytes / (double)report->budget_bytes);
    else
        say(html, PLAIN,
            "At most %s of memory was in use at once, when looked at; with what Quire needs beside "
            "it, the budget of %s was reached and %s pages were evicted.",
            BYTES(report->peak_needed_bytes), BYTES(report->budget_bytes),
            COUNT(report->n_evictions));
}

static void say_what_waiting_cost(struct html *html, const struct report *report)
{
    double share = words_wait_share(report);
    const char *total = TIME((double)report->fault_ns / 1e9);

    if (count_faults(report) == 0)
        return;
    if (share > 1)
        say(html, BAD,
            "Its threads waited %s for pages, added up: %.1f of them at a time on average. That is "
            "nearly all that the run did.",
            total, share);
    else if (share >= THRASHING)
        say(html, BAD, "The program waited %s of its time for pages (%s): it was thrashing.",
            SHARE(share), total);
    else if (share >= DEAR)
        say(html, POOR, "The program waited %s of its time for pages (%s). That is much.",
            SHARE(share), total);
    else if (share >= UNNOTICED)
        say(html, PLAIN, "The program waited %s of its time for pages (%s).", SHARE(share), total);
    else
        say(html, GOOD, "The program waited %s of its time for pages (%s): hardly to be noticed.",
            SHARE(share), total);
}

/* The longest time on end in which it did little but wait. */
static double longest_stretch(const struct report *report, double *from_s)
{
    double longest_s = 0, begin_s = 0;
    bool within = false;

    for (size_t i = 0; i < report->n_samples; i++) {
        bool thrashes = report_stall(report, i) >= THRASHING;
        if (thrashes && !within)
            begin_s = i > 0 ? report->at_s[i - 1] : 0;
        within = thrashes;
        if (within && report->at_s[i] - begin_s > longest_s) {
            longest_s = report->at_s[i] - begin_s;
            *from_s = begin_s;
        }
    }
    return longest_s;
}

static void say_when_it_thrashed(struct html *html, const struct report *report)
{
    double from_s = 0, stretch_s = longest_stretch(report, &from_s);

    if (stretch_s < LEAST_STRETCH * report->wall_s || stretch_s <= 0)
        return;
    if (stretch_s > 0.9 * report->wall_s)
        say(html, POOR, "It waited more than it worked nearly all the time.");
    else
        say(html, POOR, "It waited more than it worked for %s on end, from %s on.", TIME(stretch_s),
            TIME(from_s));
}

static void say_where_faults_went(struct html *html, const struct report *report)
{
    uint64_t n = count_faults(report), n_file = faults_of(report, REPORT_FROM_FILE);
    uint64_t n_staging = faults_of(report, REPORT_FROM_STAGING);
    uint64_t n_back = n_file + n_staging + faults_of(report, REPORT_FROM_RAM) +
                      faults_of(report, REPORT_SAME_FILLED);

    if (n_back == 0)
        return;
    say(html, PLAIN,
        "%s faults brought back what had been evicted, %s of all faults; %s of them before it had "
        "been compressed.",
        COUNT(n_back), SHARE((double)n_back / (double)n),
        SHARE((double)n_staging / (double)n_back));
    if ((double)n_file > FILE_SHARE * (double)n)
        say(html, POOR, "%s of all faults read the swap file, which is slower than RAM by far.",
            SHARE((double)n_file / (double)n));
    if (report->n_waits_for_room > 0 && report->n_waits_for_room > n / 1000)
        say(html, POOR, "%s faults found no room and waited until something else was evicted.",
            COUNT(report->n_waits_for_room));
}

static void say_what_packing_gave(struct html *html, const struct report *report)
{
    if (report->compression_ratio <= 0)
        return;
    if (report->compression_ratio >= POOR_RATIO)
        say(html, PLAIN, "Evicted pages were compressed to a part in %.1f; %s of RAM held them.",
            report->compression_ratio, BYTES(report->peak_compressed_bytes));
    else
        say(html, POOR, "Evicted pages hardly compressed (%.1f : 1)%s", report->compression_ratio,
            report->swap_max_bytes > 0 ? ": the swap file had to take them."
                                       : ", and there was no swap file: keeping them saves next to "
                                         "nothing. Give <code>--swap DIR</code>.");
}

static void say_what_is_outside(struct html *html, const struct report *report)
{
    if (report->unmanaged_bytes * 4 > report->budget_bytes)
        say(html, POOR,
            "%s of RAM beside the budget is not managed by Quire: stacks, and what the program "
            "maps by itself.",
            BYTES(report->unmanaged_bytes));
    if (report->n_dropped_dead > report->n_evictions / 20 && report->n_dropped_dead > 0)
        say(html, GOOD, "%s pages were free memory when their turn came, and cost nothing.",
            COUNT(report->n_dropped_dead));
}

static void advise(struct html *html, const struct report *report)
{
    double needed = (double)report->peak_needed_bytes * 1.05, budget = (double)report->budget_bytes;

    if (words_wait_share(report) < DEAR && longest_stretch(report, &(double){0}) <= 0)
        return;
    if (needed > budget)
        say(html, PLAIN,
            "What would help: with <code>--ram %lluM</code> nothing would be evicted at all; "
            "<code>--ram %lluM</code>, half-way there, should be far better than now.",
            mebibytes(needed), mebibytes((needed + budget) / 2));
    if (faults_of(report, REPORT_FROM_FILE) > count_faults(report) / 10)
        say(html, PLAIN,
            "A faster disk for the swap file (<code>--swap DIR</code>) would help too.");
}

void words_put(struct html *html, const struct report *report)
{
    html_raw(html, "<ul class=\"words\">\n");
    say_how_it_ended(html, report);
    if (report->n_processes == 0) {
        say(html, POOR,
            "No process loaded Quire's library: the program ran outside of the budget, "
            "and there is nothing to show.");
    } else {
        say_whether_it_fitted(html, report);
        say_what_waiting_cost(html, report);
        say_when_it_thrashed(html, report);
        say_where_faults_went(html, report);
        say_what_packing_gave(html, report);
        say_what_is_outside(html, report);
        advise(html, report);
    }
    html_raw(html, "</ul>\n");
}
