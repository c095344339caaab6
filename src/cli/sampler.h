/* SPDX-License-Identifier: Apache-2.0 */
/* sampler: watches a run from the launcher, for the time line of --stats. */
#ifndef QUIRE_CLI_SAMPLER_H
#define QUIRE_CLI_SAMPLER_H

#include "base/control.h"

#include <jansson.h>
#include <stdint.h>

struct sampler;

/* The clock starts with the first tick. NULL: no memory. `control` must outlive it. */
struct sampler *sampler_new(const struct control *control);
void sampler_free(struct sampler *sampler); /* NULL is allowed */

/*
 * Takes a sample. Returns when the next one is due (CLOCK_MONOTONIC): after 1/16 s at first, and
 * twice as long each time that SERIES_MOST samples have come together; but after a second where
 * nothing has changed for two, and never so soon that sampling would take more than a fiftieth of a
 * processor.
 */
uint64_t sampler_tick(void *sampler);

/* After the last sample: the time line as an object; NULL: no memory. */
json_t *sampler_timeline(const struct sampler *sampler);
json_t *sampler_processes(const struct sampler *sampler);
uint64_t sampler_peak_needed_bytes(const struct sampler *sampler);

#endif
