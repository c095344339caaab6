/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ps_rows: which processes are shown, and in what order.
 *
 *   processes ── rows ── filter ── order: by a column, or parents before their children
 */
#ifndef QUIRE_CLI_PS_ROWS_H
#define QUIRE_CLI_PS_ROWS_H

#include "cli/ps_columns.h"

#include <stdbool.h>

struct ps_order {
    const struct ps_filter *filters; /* all must pass */
    unsigned n_filters;
    const struct ps_column *sort;
    bool reverse;
    bool tree;
    bool all;            /* the kernel's threads, too */
    unsigned long limit; /* of rows; 0: all */
};

struct ps_view { /* zeroed before the first use; kept from sample to sample */
    struct ps_row *rows, *ordered;
    size_t n, room, ordered_room;
    long *first_child, *next; /* by row; -1: none */
    size_t links_room, next_room;
};

/* The rows point into the processes. False: no memory. */
bool ps_rows_arrange(struct ps_view *view, const struct quire_observe_processes *processes,
                     const struct ps_order *order);
void ps_rows_free(struct ps_view *view);

#endif
