/* SPDX-License-Identifier: Apache-2.0 */
/* top_help: the page of keys and words. */
#include "cli/top.h"

static const char *const lines[] = {
    "Up Down PgUp PgDn Home End   move in the list",
    "Enter        the run of Quire that the process is in: tiers, faults, slabs",
    "/ F3 F4      filter: a part of the command, or rss>100M, user=root ...",
    "Esc          all processes again; back from a page",
    "< > F6       sort by the column to the left, to the right",
    "M P F N      sort by RSS, processor, major faults, process id",
    "I R          the least first, or the most",
    "t F5         children below their parents",
    "v Tab        other columns: memory, shares (PSS, USS), runs, faults",
    "K            the kernel's threads, too",
    "k F9         end a process, after a question",
    "d s          another time between samples",
    "r            a sample now",
    "Space        pause, or go on",
    "h ? F1       this page        q F10  quit",
    "",
    "In a recording (--replay FILE):",
    "Left Right , .   one sample back, forth     [ ]  a minute     { }  ten minutes",
    "0 $              the first, the last sample           Space  play, or pause",
    "",
    "memory   used: what programs and the kernel can't give back; cache: can be",
    "         given back; available: what can be had without swapping",
    "faults   minor: no device was needed; major: one was. RSS: resident memory,",
    "         shared pages in full; PSS: these divided among their users; USS: its own",
    "reclaim  pages looked at; by those who needed them themselves (direct); that",
    "         came back soon after they were dropped (refault)",
    "stalled  part of the time that some, or all (full), processes waited for it",
    "runs     what `quire run' holds: resident; staged (evicted, uncompressed);",
    "         compressed; in the swap file; and the budget that all but the file obey.",
    "         Others: memory of its processes that Quire does not manage",
};
#define N_LINES (sizeof lines / sizeof lines[0])

void top_draw_help(struct top *top, unsigned n_rows, unsigned n_columns)
{
    unsigned most = N_LINES + 2 > n_rows ? (unsigned)N_LINES + 2 - n_rows : 0;

    if (top->help_first > most)
        top->help_first = most;
    top_put(top, 0, 0, SCREEN_BOLD, "quire top: keys%s",
            most > 0 ? "                            (Up and Down: more)" : "");
    for (unsigned i = 0; i + 2 < n_rows && top->help_first + i < N_LINES; i++)
        top->screen->put(2 + i, 0, n_columns, SCREEN_PLAIN, lines[top->help_first + i]);
}
