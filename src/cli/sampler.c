/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sampler: one clock for the series, the heat and the roster.
 *
 *   tick ──> series   figures of the control block        full: all are halved together, and
 *        ──> heat     counters there, and page tables      the clock goes half as fast
 *        ──> roster   who holds what
 *
 * It runs in the launcher, which has nothing else to do. The program pays one atomic addition a
 * fault for it, and what the ticks take of the machine: measured by each tick, and bounded.
 *
 * Invariant S1: the heat has as many columns as the series has samples.
 */
#include "cli/sampler.h"

#include "base/sys.h"
#include "cli/heat.h"
#include "cli/roster.h"
#include "cli/series.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_INTERVAL_NS (1000000000u / 16)
#define LEAST_REST 50                 /* times as long as a tick took of a processor */
#define QUIET_NS 2000000000u          /* so long nothing has changed: then it is sampled */
#define QUIET_INTERVAL_NS 1000000000u /* so often */

struct sampler {
    const struct control *control;
    uint64_t start_ns, interval_ns;
    uint64_t changed_ns; /* since the start: the last sample that was not as the one before */
    struct series series;
    struct heat heat;
    struct roster roster;
};

struct sampler *sampler_new(const struct control *control)
{
    struct sampler *sampler = calloc(1, sizeof *sampler);

    if (sampler == NULL)
        return NULL;
    sampler->control = control;
    sampler->interval_ns = FIRST_INTERVAL_NS;
    heat_init(&sampler->heat);
    return sampler;
}

void sampler_free(struct sampler *sampler)
{
    if (sampler == NULL)
        return;
    heat_deinit(&sampler->heat);
    free(sampler);
}

uint64_t sampler_tick(void *context)
{
    struct sampler *sampler = context;
    struct series_sample sample;
    uint64_t begin_ns = sys_now_ns(), taken_ns = sys_thread_ns(); /* not what others took of it */

    if (sampler->series.n_samples == 0)
        sampler->start_ns = begin_ns;
    uint64_t at_ns = begin_ns - sampler->start_ns;
    series_take(sampler->control, at_ns, &sample);
    if (series_changes(&sampler->series, &sample))
        sampler->changed_ns = at_ns;
    heat_take(&sampler->heat, sampler->control);
    roster_take(&sampler->roster, sampler->control, at_ns);
    if (series_add(&sampler->series, &sample)) {
        heat_halve(&sampler->heat);
        sampler->interval_ns *= 2;
    }
    assert(sampler->heat.n_columns == sampler->series.n_samples); /* S1 */
    uint64_t interval_ns = sampler->interval_ns;
    if (at_ns - sampler->changed_ns > QUIET_NS && interval_ns < QUIET_INTERVAL_NS)
        interval_ns = QUIET_INTERVAL_NS;
    uint64_t end_ns = sys_now_ns(), rest_ns = LEAST_REST * (sys_thread_ns() - taken_ns);
    return rest_ns > interval_ns ? end_ns + rest_ns : begin_ns + interval_ns;
}

json_t *sampler_timeline(const struct sampler *sampler)
{
    int error = sampler->heat.error;
    json_t *json = series_json(&sampler->series);
    int bad = json_object_set_new(json, "interval_seconds",
                                  json_real((double)sampler->interval_ns / 1e9));

    bad |= json_object_set_new(json, "heat", heat_json(&sampler->heat));
    bad |= json_object_set_new(json, "heat_problem",
                               error == 0         ? json_null()
                               : error == -ENOTTY ? json_string("this kernel can't tell what is "
                                                                "resident: it takes Linux 6.7")
                                                  : json_string(strerror(-error)));
    if (!bad)
        return json;
    json_decref(json);
    return NULL;
}

json_t *sampler_processes(const struct sampler *sampler)
{
    return roster_json(&sampler->roster);
}

uint64_t sampler_peak_needed_bytes(const struct sampler *sampler)
{
    return sampler->series.peak_needed_pages << SYS_PAGE_SHIFT;
}
