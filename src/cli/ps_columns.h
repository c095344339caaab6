/* SPDX-License-Identifier: Apache-2.0 */
/* ps_columns: what `quire ps` can show of a process, sort by and filter by: one table. */
#ifndef QUIRE_CLI_PS_COLUMNS_H
#define QUIRE_CLI_PS_COLUMNS_H

#include "cli/figures.h"

#include <stddef.h>

struct ps_row {
    const struct quire_observe_process *process;
    uint64_t tree_pss, tree_rss; /* of it and all below it */
    unsigned depth;              /* in the tree; 0 without */
};

enum ps_kind { PS_NUMBER, PS_SIZE, PS_RATE, PS_TEXT };

struct ps_column {
    const char *name, *heading, *key; /* on the command line; in a table; in JSON */
    enum ps_kind kind;
    unsigned parts; /* what has to be read for it */
    uint64_t (*figure)(const struct ps_row *row);
    double (*rate)(const struct ps_row *row);
    void (*text)(const struct ps_row *row, char *buffer, size_t n_bytes);
    const char *help;
};

extern const struct ps_column ps_columns[];
extern const size_t ps_n_columns;

/* NULL: there is none of that name; `n` bytes of it. */
const struct ps_column *ps_column_find(const char *name, size_t n);

/* A figure for order and comparison: unknown ones are below all others. */
double ps_column_value(const struct ps_column *column, const struct ps_row *row);

#define PS_TEXT_BYTES 4096

const char *ps_column_cell(const struct ps_column *column, const struct ps_row *row, bool exact,
                           char buffer[PS_TEXT_BYTES]);
json_t *ps_column_json(const struct ps_column *column, const struct ps_row *row);

/* COLUMN followed by =, !=, ~ (holds), <, >, <= or >= and a value; sizes as 100M. */
struct ps_filter {
    const struct ps_column *column;
    enum { PS_EQUAL, PS_UNEQUAL, PS_HOLDS, PS_BELOW, PS_ABOVE, PS_AT_MOST, PS_AT_LEAST } test;
    const char *text;
    double value;
};

/* False: it is none; `problem` says why. */
bool ps_filter_parse(const char *text, struct ps_filter *filter, const char **problem);
bool ps_filter_passes(const struct ps_filter *filter, const struct ps_row *row);

#endif
