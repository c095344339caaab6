/* SPDX-License-Identifier: Apache-2.0 */
/* sample: see sample.h. A part that this machine lacks or denies is no failure of the whole. */
#include "observe/sample.h"

#include "observe/processes.h"
#include "observe/zones.h"

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

int sample_largest_process(const struct quire_observe_runs *runs, uint64_t keeper)
{
    uint64_t most = 0;
    int pid = 0;

    for (size_t i = 0; i < runs->n_processes; i++) {
        const struct quire_observe_run_process *process = &runs->processes[i];
        uint64_t size = process->resident + process->stored + 1;
        if (process->keeper != keeper || size <= most)
            continue;
        most = size;
        pid = (int)process->pid;
    }
    return pid;
}

static int take_heaps(struct quire_observe *observe, struct sample *sample)
{
    for (size_t i = 0; i < sample->runs.n; i++) {
        const uint64_t keeper = sample->runs.list[i].keeper;
        const int pid = sample_largest_process(&sample->runs, keeper);
        if (!source_grow(&observe->heaps, &observe->heaps_room, sample->heaps.n + 1,
                         sizeof *observe->heaps))
            return -ENOMEM;
        struct sample_heap *heap = &observe->heaps[sample->heaps.n];
        *heap = (struct sample_heap){.keeper = keeper, .pid = (uint64_t)pid};
        if (pid > 0 && quire_slabs_read(pid, &heap->slabs) == 0)
            sample->heaps.n++;
    }
    sample->heaps.list = observe->heaps;
    return 0;
}

/* Who is not root has no slab caches, and a recorded machine perhaps no zones: that is no failure.
 */
static int take_kernel(struct quire_observe *observe, struct sample *sample)
{
    sample->zones_error = sample->slabs_error = -ENODATA;
    if (sample->parts & SAMPLE_ZONES)
        sample->zones_error = zones_read(observe, &sample->zones, false);
    if (sample->zones_error < 0)
        sample->zones.n_zones = 0;
    if (sample->parts & SAMPLE_SLABS)
        sample->slabs_error = quire_observe_slabs(observe, &sample->slabs);
    if (sample->slabs_error < 0)
        sample->slabs.n_caches = 0;
    return sample->zones_error == -ENOMEM || sample->slabs_error == -ENOMEM ? -ENOMEM : 0;
}

/* What can't be read of these is no failure of the whole either: the part is then not there. */
static int take_settings(struct quire_observe *observe, struct sample *sample)
{
    int error = quire_observe_settings(observe, &sample->settings);

    if (error == 0)
        error = quire_observe_cgroup(observe, &sample->cgroup);
    if (error < 0)
        sample->parts &= ~(unsigned)SAMPLE_SETTINGS;
    return error == -ENOMEM ? error : 0;
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
    error = take_kernel(observe, sample);
    if (error == 0 && (parts & SAMPLE_SETTINGS))
        error = take_settings(observe, sample);
    if (error < 0 || (parts & SAMPLE_PROCESS_PARTS) == SAMPLE_SYSTEM_ONLY)
        return error;
    sample->has_processes = true;
    error = quire_observe_processes(
        observe, parts & SAMPLE_PROCESS_PARTS & ~(unsigned)QUIRE_OBSERVE_RUNS, &sample->processes);
    if (error == 0 && (parts & QUIRE_OBSERVE_RUNS))
        error = quire_observe_runs(observe, &sample->runs);
    if (error == 0)
        runs_join(observe, &sample->runs, sample->processes.list, sample->processes.n);
    if (error == 0 && (parts & SAMPLE_HEAPS))
        error = take_heaps(observe, sample);
    return error;
}
