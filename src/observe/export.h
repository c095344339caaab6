/* SPDX-License-Identifier: Apache-2.0 */
/* export: what of a sample is shown to a monitoring system, and under which names. */
#ifndef QUIRE_OBSERVE_EXPORT_H
#define QUIRE_OBSERVE_EXPORT_H

#include "observe/metrics.h"
#include "observe/sample.h"

struct export_page {
    const struct sample *sample;
    const struct quire_observe_process *processes; /* those that are shown one by one */
    size_t n_processes;
    double seconds; /* that taking all this took */
};

/* Writes the page into *metrics, whose format is set and whose rest is zero. */
void export_write(const struct export_page *page, struct metrics *metrics);

#endif
