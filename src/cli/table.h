/* SPDX-License-Identifier: Apache-2.0 */
/* table: rows of text in columns as wide as they need to be. */
#ifndef QUIRE_CLI_TABLE_H
#define QUIRE_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table {
    unsigned n_columns;
    uint64_t left;  /* bits: columns that are aligned to the left; the others to the right */
    uint64_t spare; /* bits: columns that go, the rightmost first, where there is no room for all */
    char *text;     /* the cells, terminated one behind the other */
    size_t n_bytes, room;
    size_t n_cells;
    bool failed; /* no memory */
};

/* The next cell; after n_columns of them comes the next row. */
void table_add(struct table *table, const char *cell);
/* Prints to standard output and empties the table. `width`: 0, or where lines are cut. */
bool table_print(struct table *table, size_t width);
void table_free(struct table *table);

#endif
