/* SPDX-License-Identifier: Apache-2.0 */
/* series: a run's figures over time, in bounded memory however long it lasts. */
#ifndef QUIRE_CLI_SERIES_H
#define QUIRE_CLI_SERIES_H

#include "base/control.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define SERIES_MOST 1024 /* samples; even */

/* Pages, as they were at one moment. */
enum series_gauge {
    SERIES_RESIDENT,
    SERIES_STAGED,
    SERIES_COMPRESSED,
    SERIES_METADATA,
    SERIES_FILE,
    SERIES_STORED,
    SERIES_UNMANAGED,
    SERIES_N_PAGES,
    SERIES_PROCESSES = SERIES_N_PAGES, /* and this one counts something else */
    SERIES_N_GAUGES,
};

/* Sums since the start. */
enum series_counter {
    SERIES_FAULTS, /* CONTROL_N_FAULTS of them */
    SERIES_EVICTIONS = SERIES_FAULTS + CONTROL_N_FAULTS,
    SERIES_PREFETCHED,
    SERIES_DROPPED_DEAD,
    SERIES_SAME_FILLED,
    SERIES_PACKED_PAGES,
    SERIES_PACKED_BYTES,
    SERIES_WRITTEN,
    SERIES_WAITS,
    SERIES_FAULT_NS,
    SERIES_N_COUNTERS,
};

struct series_sample {
    uint64_t at_ns; /* since the start: the end of the sample's interval */
    uint64_t gauge[SERIES_N_GAUGES];
    uint64_t counter[SERIES_N_COUNTERS];
};

struct series {
    unsigned n_samples;
    struct series_sample sample[SERIES_MOST];
    uint64_t peak_needed_pages; /* of all samples ever added */
};

/* Reads the control block. Takes no lock, so figures may be from slightly different moments. */
void series_take(const struct control *control, uint64_t at_ns, struct series_sample *sample);

/*
 * Adds a sample; the series must not be full. True: now it is, and neighbours have become one each:
 * the gauges are those of the moment at which more RAM was held.
 */
bool series_add(struct series *series, const struct series_sample *sample);

/* Whether it says something else than the last one; the first does. */
bool series_changes(const struct series *series, const struct series_sample *sample);

/* What the program would hold if all of its pages were in RAM. */
uint64_t series_needed_pages(const struct series_sample *sample);

/* An object of arrays, one a figure, all as long as there are samples; NULL: no memory. */
json_t *series_json(const struct series *series);

#endif
