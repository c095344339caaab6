/* SPDX-License-Identifier: Apache-2.0 */
/* sample: see sample.h. A part that this machine lacks or denies is no failure of the whole. */
#include "observe/sample.h"

#include "observe/processes.h"

#include <errno.h>
#include <time.h>

uint64_t sample_wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void sample_rates(const struct sample *before, struct sample *sample)
{
    quire_observe_rates(before != NULL ? &before->counters : NULL, &sample->counters,
                        before != NULL ? &before->pressure : NULL, &sample->pressure,
                        &sample->rates);
    sample->is_since_boot = before == NULL;
}

int sample_take(struct quire_observe *observe, unsigned parts, const struct sample *before,
                struct sample *sample)
{
    *sample = (struct sample){.wall_ms = sample_wall_ms(), .parts = parts};
    int error = quire_observe_memory(observe, &sample->memory);

    if (error == 0)
        error = quire_observe_counters(observe, &sample->counters);
    if (error == 0)
        error = quire_observe_pressure(observe, &sample->pressure);
    if (error < 0)
        return error;
    sample->has_zram = quire_observe_zram(observe, &sample->zram) == 0;
    sample_rates(before, sample);
    if (parts == SAMPLE_SYSTEM_ONLY)
        return 0;
    sample->has_processes = true;
    error = quire_observe_processes(observe, parts & ~(unsigned)QUIRE_OBSERVE_RUNS,
                                    &sample->processes);
    if (error == 0 && (parts & QUIRE_OBSERVE_RUNS))
        error = quire_observe_runs(observe, &sample->runs);
    if (error == 0)
        runs_join(observe, &sample->runs, sample->processes.list, sample->processes.n);
    return error;
}
