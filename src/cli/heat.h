/* SPDX-License-Identifier: Apache-2.0 */
/* heat: which parts of the arena were in RAM and which were faulted on, over time. */
#ifndef QUIRE_CLI_HEAT_H
#define QUIRE_CLI_HEAT_H

#include "base/control.h"
#include "cli/series.h"

#include <jansson.h>
#include <stdint.h>

#define HEAT_ROWS 64 /* a zone; even */

struct heat_cell {
    uint32_t resident_pages; /* summed over processes */
    uint32_t n_faults;       /* since the column before */
};

struct heat_zone {
    unsigned row_shift;  /* pages a row: 1 << row_shift */
    unsigned n_rows;     /* from the zone's start on; those above were never used */
    uint32_t n_counters; /* of `seen` that were ever looked at */
    uint32_t *seen;      /* the control block's counters when last looked at */
    uint32_t seen_room;
    struct heat_cell cell[SERIES_MOST][HEAT_ROWS];
};

struct heat {
    unsigned n_columns; /* as the series has samples */
    struct heat_zone zone[CONTROL_N_ZONES];
    int error; /* of the last look at a process that failed; 0: none did */
};

void heat_init(struct heat *heat);
void heat_deinit(struct heat *heat);

/* Adds a column: looks at the control block's counters, and at the processes' page tables. */
void heat_take(struct heat *heat, const struct control *control);

/* Pairs of columns become one: the most that was resident, the sum of the faults. */
void heat_halve(struct heat *heat);

/* An array of an object a zone; NULL: no memory. */
json_t *heat_json(const struct heat *heat);

/* For heat_take, and tests: pages [page, page + n_pages) of a zone are in RAM in this column. */
void heat_add_resident(struct heat *heat, enum control_zone zone, uint64_t page, uint64_t n_pages);
void heat_add_faults(struct heat *heat, enum control_zone zone, uint64_t page, uint32_t n_faults);

#endif
