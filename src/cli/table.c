/* SPDX-License-Identifier: Apache-2.0 */
/* table: see table.h. The last column, when it is aligned to the left, is not filled up. */
#include "cli/table.h"

#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_COLUMNS 64

void table_add(struct table *table, const char *cell)
{
    size_t n = strlen(cell) + 1;

    if (table->failed)
        return;
    if (table->n_bytes + n > table->room) {
        size_t room = (table->n_bytes + n) * 2;
        char *grown = realloc(table->text, room);
        if (grown == NULL) {
            table->failed = true;
            return;
        }
        table->text = grown;
        table->room = room;
    }
    memcpy(table->text + table->n_bytes, cell, n);
    table->n_bytes += n;
    table->n_cells++;
}

/* Characters, not bytes. */
static size_t width_of(const char *cell)
{
    size_t n = 0;

    for (; *cell != '\0'; cell++)
        n += ((unsigned char)*cell & 0xc0) != 0x80;
    return n;
}

static void measure(const struct table *table, size_t *widths)
{
    const char *cell = table->text;

    memset(widths, 0, MAX_COLUMNS * sizeof *widths);
    for (size_t i = 0; i < table->n_cells; i++, cell += strlen(cell) + 1) {
        size_t width = width_of(cell), *widest = &widths[i % table->n_columns];
        *widest = width > *widest ? width : *widest;
    }
}

/* Up to `room` characters of the cell. */
static void put_cut(const char *cell, size_t room)
{
    size_t n = 0, shown = 0;

    for (; cell[n] != '\0'; n++) {
        shown += ((unsigned char)cell[n] & 0xc0) != 0x80;
        if (shown > room)
            break;
    }
    fwrite(cell, 1, n, stdout);
}

static void put_cell(const struct table *table, const char *cell, unsigned column,
                     const size_t *widths, size_t width, size_t *used)
{
    size_t fill = widths[column] - width_of(cell);
    bool is_left = (table->left >> column) & 1, is_last = column + 1 == table->n_columns;
    bool is_first = *used == 0;

    if (!is_first)
        putchar(' ');
    *used += !is_first;
    if (!is_left)
        printf("%*s", (int)fill, "");
    if (is_last && width > 0)
        put_cut(cell, width > *used ? width - *used : 0);
    else
        fputs(cell, stdout);
    if (is_left && !is_last)
        printf("%*s", (int)fill, "");
    *used += widths[column];
}

/* Bits: the columns that are left out so that the others fit. */
static uint64_t left_out(const struct table *table, const size_t *widths, size_t width)
{
    size_t needed = table->n_columns - 1;
    uint64_t out = 0;

    for (unsigned i = 0; i < table->n_columns; i++)
        needed += widths[i];
    for (unsigned i = table->n_columns; width > 0 && needed > width && i-- > 0;)
        if ((table->spare >> i) & 1) {
            out |= (uint64_t)1 << i;
            needed -= widths[i] + 1;
        }
    return out;
}

bool table_print(struct table *table, size_t width)
{
    size_t widths[MAX_COLUMNS], used = 0;
    const char *cell = table->text;

    if (table->failed) {
        cli_error("out of memory");
        return false;
    }
    measure(table, widths);
    const uint64_t out = left_out(table, widths, width);
    for (size_t i = 0; i < table->n_cells; i++, cell += strlen(cell) + 1) {
        unsigned column = (unsigned)(i % table->n_columns);
        used = column == 0 ? 0 : used;
        if (!((out >> column) & 1))
            put_cell(table, cell, column, widths, width, &used);
        if (column + 1 == table->n_columns)
            putchar('\n');
    }
    table->n_bytes = table->n_cells = 0;
    return true;
}

void table_free(struct table *table)
{
    free(table->text);
    *table = (struct table){.n_columns = 0};
}
