/* SPDX-License-Identifier: Apache-2.0 */
/* top_rows: the list of processes: columns, order, filter, and the cursor in it. */
#include "cli/top.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct top_set top_sets[] = {
    {"memory", "pid,user,state,rss,swap,minor_rate,major_rate,cpu_percent,oom,run,command", "rss",
     false},
    {"shares", "pid,user,rss,pss,uss,shared,swap_pss,huge,command", "pss", false},
    {"runs", "pid,run,rss,resident,staged,compressed,swap_file,held,budget,major_rate,command",
     "resident", true},
    {"faults", "pid,user,state,rss,minor,major,minor_rate,major_rate,blocked,command", "major_rate",
     false},
};
const unsigned top_n_sets = sizeof top_sets / sizeof top_sets[0];

bool top_sort_by(struct top *top, const char *column)
{
    for (unsigned i = 0; i < top->n_columns; i++) {
        if (strcmp(top->columns[i]->name, column) == 0) {
            top->order.sort = top->columns[i];
            return true;
        }
    }
    return false;
}

void top_sort_beside(struct top *top, int step)
{
    for (unsigned i = 0; i < top->n_columns; i++) {
        if (top->columns[i] == top->order.sort) {
            unsigned next = (i + top->n_columns + (unsigned)step) % top->n_columns;
            top->order.sort = top->columns[next];
            return;
        }
    }
}

static void settle_filters(struct top *top)
{
    const char *problem;

    top->order.filters = top->filters;
    top->order.n_filters = 0;
    if (top->filter_text[0] != '\0') {
        struct ps_filter *filter = &top->filters[top->order.n_filters++];
        if (!ps_filter_parse(top->filter_text, filter, &problem))
            *filter = (struct ps_filter){.column = ps_column_find("command", strlen("command")),
                                         .test = PS_HOLDS,
                                         .text = top->filter_text};
    }
    if (top_sets[top->set].only_runs)
        (void)!ps_filter_parse("run>0", &top->filters[top->order.n_filters++], &problem);
}

void top_set_filter(struct top *top, const char *text)
{
    snprintf(top->filter_text, sizeof top->filter_text, "%s", text);
    settle_filters(top);
}

void top_use_set(struct top *top, unsigned set)
{
    top->set = set % top_n_sets;
    top->n_columns = 0;
    memset(top->widths, 0, sizeof top->widths);
    for (const char *at = top_sets[top->set].columns; top->n_columns < TOP_MAX_COLUMNS;) {
        size_t n = strcspn(at, ",");
        top->columns[top->n_columns++] = ps_column_find(at, n);
        at += n;
        if (*at++ == '\0')
            break;
    }
    top_sort_by(top, top_sets[top->set].sort);
    settle_filters(top);
}

unsigned top_parts(const struct top *top)
{
    unsigned parts = QUIRE_OBSERVE_STAT | QUIRE_OBSERVE_COMMAND | QUIRE_OBSERVE_RUNS |
                     QUIRE_OBSERVE_LAZY | top->order.sort->parts;

    for (unsigned i = 0; i < top->n_columns; i++)
        parts |= top->columns[i]->parts;
    for (unsigned i = 0; i < top->order.n_filters; i++)
        parts |= top->filters[i].column->parts;
    return parts;
}

bool top_arrange(struct top *top)
{
    if (top->sample == NULL)
        return true;
    if (!ps_rows_arrange(&top->view, &top->sample->processes, &top->order))
        return false;
    int64_t row = (int64_t)top->selected;
    for (size_t i = 0; i < top->view.n; i++)
        if (top->view.rows[i].process->pid == top->selected_pid)
            row = (int64_t)i;
    top_select(top, row);
    return true;
}

void top_select(struct top *top, int64_t row)
{
    int64_t last = (int64_t)top->view.n - 1;

    row = row > last ? last : row;
    top->selected = row > 0 ? (size_t)row : 0;
    const struct quire_observe_process *process = top_selected(top);
    top->selected_pid = process != NULL ? process->pid : 0;
}

const struct quire_observe_process *top_selected(const struct top *top)
{
    return top->selected < top->view.n ? top->view.rows[top->selected].process : NULL;
}
