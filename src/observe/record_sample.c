/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_sample: see record_sample.h.
 *
 * Nothing in the rows is trusted: texts are ended and rid of what a terminal would act on, counts
 * are bounded. Figures that the file does not have are absent.
 */
#include "observe/record_sample.h"

#include "observe/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What the file does not have is absent; the other members are zero. */
static void unpack(const struct record_flat *flat, const struct record_map *maps,
                   enum record_table table, size_t i, void *row)
{
    const struct record_fields *fields = record_fields(table);
    const struct record_map *map = &maps[table];
    const struct record_rows *rows = &flat->tables[table];
    const uint64_t *words = rows->words + i * rows->n_words;

    memset(row, 0, fields->row_bytes);
    for (unsigned k = 0; k < fields->n; k++)
        if (fields->fields[k].n_bytes == 8 ||
            (table == RECORD_SYSTEM && fields->fields[k].n_bytes > 8)) /* pressure */
            memset((char *)row + fields->fields[k].offset, 0xff, fields->fields[k].n_bytes);
    for (unsigned k = 0; k < map->n; k++)
        record_unpack_field(map->known[k].field, words + map->known[k].at, row);
}

void record_clean(char *text, size_t n_bytes)
{
    text[n_bytes - 1] = '\0';
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}

static bool take_processes(struct record_flat *flat, const struct record_map *maps,
                           struct record_sample *to)
{
    struct record_rows *rows = &flat->tables[RECORD_PROCESS];

    if (!source_grow(&to->processes, &to->processes_room, rows->n, sizeof *to->processes))
        return false;
    for (size_t i = 0; i < rows->n; i++) {
        struct quire_observe_process *process = &to->processes[i];
        unpack(flat, maps, RECORD_PROCESS, i, process);
        record_clean(process->name, sizeof process->name);
        process->state = process->state >= 'A' && process->state <= 'z' ? process->state : '?';
        if (rows->texts[i] != NULL)
            record_clean(rows->texts[i], strlen(rows->texts[i]) + 1);
        process->command = rows->texts[i];
    }
    to->sample.processes.n = rows->n;
    to->sample.processes.list = to->processes;
    return true;
}

static bool take_runs(struct record_flat *flat, const struct record_map *maps,
                      struct record_sample *to)
{
    size_t n = flat->tables[RECORD_RUN].n, n_processes = flat->tables[RECORD_RUN_PROCESS].n;

    if (!source_grow(&to->runs, &to->runs_room, n, sizeof *to->runs) ||
        !source_grow(&to->run_processes, &to->run_processes_room, n_processes,
                     sizeof *to->run_processes))
        return false;
    for (size_t i = 0; i < n_processes; i++)
        unpack(flat, maps, RECORD_RUN_PROCESS, i, &to->run_processes[i]);
    for (size_t i = 0; i < n; i++) {
        struct quire_observe_run *run = &to->runs[i];
        unpack(flat, maps, RECORD_RUN, i, run);
        record_clean(run->command, sizeof run->command);
        record_clean(run->policy, sizeof run->policy);
        record_clean(run->prefetch, sizeof run->prefetch);
        record_clean(run->codec, sizeof run->codec);
        run->n_alive = 0; /* as many as there are */
        for (size_t k = 0; k < n_processes; k++)
            run->n_alive += to->run_processes[k].keeper == run->keeper;
    }
    to->sample.runs = (struct quire_observe_runs){
        .n = n, .n_processes = n_processes, .list = to->runs, .processes = to->run_processes};
    return true;
}

/* Names are cleaned and counts bounded; a figure may be any. */
static bool take_kernel(struct record_flat *flat, const struct record_map *maps,
                        struct record_sample *to)
{
    size_t n_zones = flat->tables[RECORD_ZONE].n, n_slabs = flat->tables[RECORD_SLAB].n;
    struct quire_observe_zones *zones = &to->sample.zones;

    if (!source_grow(&to->zones, &to->zones_room, n_zones, sizeof *to->zones) ||
        !source_grow(&to->slabs, &to->slabs_room, n_slabs, sizeof *to->slabs))
        return false;
    for (size_t i = 0; i < n_zones; i++) {
        struct quire_observe_zone *zone = &to->zones[i];
        unpack(flat, maps, RECORD_ZONE, i, zone);
        record_clean(zone->name, sizeof zone->name);
        memset(zone->page_blocks_of, 0xff, sizeof zone->page_blocks_of); /* absent */
    }
    for (size_t i = 0; i < n_slabs; i++) {
        unpack(flat, maps, RECORD_SLAB, i, &to->slabs[i]);
        record_clean(to->slabs[i].name, sizeof to->slabs[i].name);
    }
    zones->n_zones = (unsigned)n_zones;
    zones->zones = to->zones;
    zones->n_types = 0;
    if (zones->n_orders > QUIRE_OBSERVE_MAX_ORDERS)
        zones->n_orders = QUIRE_OBSERVE_MAX_ORDERS;
    to->sample.slabs = (struct quire_observe_slabs){.n_caches = n_slabs, .caches = to->slabs};
    return true;
}

static bool take_heaps(struct record_flat *flat, const struct record_map *maps,
                       struct record_sample *to)
{
    size_t n = flat->tables[RECORD_HEAP].n;

    if (!source_grow(&to->heaps, &to->heaps_room, n, sizeof *to->heaps))
        return false;
    for (size_t i = 0; i < n; i++) {
        struct quire_slabs *slabs = &to->heaps[i].slabs;
        unpack(flat, maps, RECORD_HEAP, i, &to->heaps[i]);
        if (slabs->n_classes > QUIRE_SLABS_MAX_CLASSES)
            slabs->n_classes = QUIRE_SLABS_MAX_CLASSES;
    }
    to->sample.heaps = (struct sample_heaps){.n = n, .list = to->heaps};
    return true;
}

static double rate(uint64_t now, uint64_t before, double seconds)
{
    if (!quire_observe_known(now) || !quire_observe_known(before) || !(seconds > 0) || now < before)
        return 0;
    return (double)(now - before) / seconds;
}

/* As the observer does it live: since the sample before, or since the process's start. */
static void settle_process(const struct sample *before, const struct sample *now,
                           struct quire_observe_process *process, size_t *at)
{
    const struct quire_observe_process *then = NULL;
    double seconds = ((double)now->counters.uptime_ms - (double)process->start_ms) / 1e3;

    if (before != NULL) {
        while (*at < before->processes.n && before->processes.list[*at].pid < process->pid)
            ++*at;
        if (*at < before->processes.n && before->processes.list[*at].pid == process->pid &&
            before->processes.list[*at].start_ms == process->start_ms) {
            then = &before->processes.list[*at];
            seconds = ((double)now->processes.at_ns - (double)before->processes.at_ns) / 1e9;
        }
    }
    process->minor_rate = rate(process->minor_faults, then != NULL ? then->minor_faults : 0,
                               seconds);
    process->major_rate = rate(process->major_faults, then != NULL ? then->major_faults : 0,
                               seconds);
    process->cpu_percent = rate(process->cpu_ms, then != NULL ? then->cpu_ms : 0, seconds) / 10;
}

/* Texts that the file does not have are empty, and its figures absent. */
static void take_settings(struct sample *sample)
{
    struct quire_observe_settings *settings = &sample->settings;

    if (!(sample->parts & SAMPLE_SETTINGS))
        settings->zswap_compressor[0] = settings->huge_enabled[0] = settings->huge_defrag[0] =
            sample->cgroup.path[0] = '\0';
    record_clean(settings->zswap_compressor, sizeof settings->zswap_compressor);
    record_clean(settings->huge_enabled, sizeof settings->huge_enabled);
    record_clean(settings->huge_defrag, sizeof settings->huge_defrag);
    record_clean(sample->cgroup.path, sizeof sample->cgroup.path);
}

int record_sample_take(struct record_sample *to, struct record_flat *flat,
                       const struct record_map maps[RECORD_N_TABLES], const struct sample *before)
{
    size_t at = 0;

    unpack(flat, maps, RECORD_SYSTEM, 0, &to->sample);
    take_settings(&to->sample);
    if (!take_processes(flat, maps, to) || !take_runs(flat, maps, to) ||
        !take_kernel(flat, maps, to) || !take_heaps(flat, maps, to))
        return -ENOMEM;
    sample_rates(before, &to->sample);
    for (size_t i = 0; i < to->sample.processes.n; i++)
        settle_process(before, &to->sample, &to->processes[i], &at);
    return 0;
}

void record_sample_deinit(struct record_sample *sample)
{
    free(sample->processes);
    free(sample->runs);
    free(sample->run_processes);
    free(sample->zones);
    free(sample->slabs);
    free(sample->heaps);
}
