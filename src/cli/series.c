/* SPDX-License-Identifier: Apache-2.0 */
/*
 * series: samples of the control block.
 *
 *   full:    | s0 | s1 | s2 | s3 | ... | sN-1 |      one a tick
 *   halved:  |   s01   |   s23   | ... |            half of the room is free again, and from now
 *                                                     on whoever ticks takes twice as long
 *
 * So a run of days takes as much memory as one of a minute, and resolution is lost evenly. A sample
 * stands for the time since the one before. Counters are sums since the start, so that of two
 * samples the later one's hold for both. Of gauges those are kept that belong to the moment at
 * which more was held: they still add up, and peaks stay.
 *
 * Counters are read while processes come and go, and the sum may count one twice for a moment.
 * series_json() makes them monotonic from the end on, where all is at rest.
 */
#include "cli/series.h"

#include "base/sys.h"

#include <string.h>

static const char *const gauge_names[SERIES_N_GAUGES] = {
    [SERIES_RESIDENT] = "resident_bytes",
    [SERIES_STAGED] = "staged_bytes",
    [SERIES_COMPRESSED] = "compressed_bytes",
    [SERIES_METADATA] = "metadata_bytes",
    [SERIES_FILE] = "file_bytes",
    [SERIES_STORED] = "stored_page_bytes",
    [SERIES_UNMANAGED] = "unmanaged_bytes",
    [SERIES_PROCESSES] = "processes",
};

static const char *const counter_names[SERIES_N_COUNTERS] = {
    [SERIES_FAULTS + CONTROL_FAULT_FIRST_TOUCH] = "faults_first_touch",
    [SERIES_FAULTS + CONTROL_FAULT_STAGING] = "faults_staging",
    [SERIES_FAULTS + CONTROL_FAULT_RAM] = "faults_ram",
    [SERIES_FAULTS + CONTROL_FAULT_FILE] = "faults_file",
    [SERIES_FAULTS + CONTROL_FAULT_SAME_FILLED] = "faults_same_filled",
    [SERIES_FAULTS + CONTROL_FAULT_COPY] = "faults_copy",
    [SERIES_FAULTS + CONTROL_FAULT_WRITE] = "faults_first_write",
    [SERIES_EVICTIONS] = "evictions",
    [SERIES_PREFETCHED] = "prefetched_pages",
    [SERIES_DROPPED_DEAD] = "dropped_dead_pages",
    [SERIES_SAME_FILLED] = "same_filled_pages",
    [SERIES_PACKED_PAGES] = "packed_pages",
    [SERIES_PACKED_BYTES] = "packed_bytes",
    [SERIES_WRITTEN] = "written_pages",
    [SERIES_WAITS] = "waits_for_room",
    [SERIES_FAULT_NS] = "fault_wait_ns",
};

static uint64_t load(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void take_gauges(const struct control *control, uint64_t *gauge)
{
    static const enum series_gauge of_kind[CONTROL_N_KINDS] = {
        [CONTROL_RESIDENT] = SERIES_RESIDENT, [CONTROL_STAGED] = SERIES_STAGED,
        [CONTROL_POOL] = SERIES_COMPRESSED,   [CONTROL_METADATA] = SERIES_METADATA,
        [CONTROL_FILE] = SERIES_FILE,
    };

    int64_t pages[CONTROL_N_KINDS];

    control_kinds(control->held, pages);
    for (int kind = 0; kind < CONTROL_N_KINDS; kind++)
        gauge[of_kind[kind]] = (uint64_t)pages[kind];
    for (unsigned i = 0; i < control->slots_end; i++) {
        const struct control_slot *slot = &control->slot[i];
        gauge[SERIES_STORED] += load(&slot->stored_pages);
        gauge[SERIES_UNMANAGED] += load(&slot->unmanaged_pages);
        gauge[SERIES_PROCESSES] += atomic_load(&slot->zone_base[0]) != 0;
    }
}

void series_take(const struct control *control, uint64_t at_ns, struct series_sample *sample)
{
    struct control_stats totals;

    *sample = (struct series_sample){.at_ns = at_ns};
    uint64_t *counter = sample->counter;
    take_gauges(control, sample->gauge);
    control_totals(control, &totals);
    for (int kind = 0; kind < CONTROL_N_FAULTS; kind++)
        counter[SERIES_FAULTS + kind] = load(&totals.faults[kind]);
    counter[SERIES_EVICTIONS] = load(&totals.evictions);
    counter[SERIES_PREFETCHED] = load(&totals.prefetched);
    counter[SERIES_DROPPED_DEAD] = load(&totals.dropped_dead);
    counter[SERIES_SAME_FILLED] = load(&totals.same_filled);
    counter[SERIES_PACKED_PAGES] = load(&totals.stored_pages);
    counter[SERIES_PACKED_BYTES] = load(&totals.stored_bytes);
    counter[SERIES_WRITTEN] = load(&totals.written_pages);
    counter[SERIES_WAITS] = load(&totals.waits_for_room);
    counter[SERIES_FAULT_NS] = load(&totals.fault_ns);
}

static uint64_t held_pages(const struct series_sample *sample)
{
    return sample->gauge[SERIES_RESIDENT] + sample->gauge[SERIES_STAGED] +
           sample->gauge[SERIES_COMPRESSED] + sample->gauge[SERIES_METADATA];
}

uint64_t series_needed_pages(const struct series_sample *sample)
{
    return sample->gauge[SERIES_RESIDENT] + sample->gauge[SERIES_STAGED] +
           sample->gauge[SERIES_STORED];
}

bool series_changes(const struct series *series, const struct series_sample *sample)
{
    if (series->n_samples == 0)
        return true;
    const struct series_sample *last = &series->sample[series->n_samples - 1];
    return memcmp(last->gauge, sample->gauge, sizeof last->gauge) != 0 ||
           memcmp(last->counter, sample->counter, sizeof last->counter) != 0;
}

static void halve(struct series *series)
{
    for (unsigned i = 0; i < SERIES_MOST / 2; i++) {
        const struct series_sample *earlier = &series->sample[2 * i];
        struct series_sample one = series->sample[2 * i + 1];
        if (held_pages(earlier) > held_pages(&one))
            memcpy(one.gauge, earlier->gauge, sizeof one.gauge);
        series->sample[i] = one;
    }
    series->n_samples = SERIES_MOST / 2;
}

bool series_add(struct series *series, const struct series_sample *sample)
{
    uint64_t needed = series_needed_pages(sample);

    series->sample[series->n_samples++] = *sample;
    if (needed > series->peak_needed_pages)
        series->peak_needed_pages = needed;
    if (series->n_samples < SERIES_MOST)
        return false;
    halve(series);
    return true;
}

static json_t *times_json(const struct series *series)
{
    json_t *array = json_array();
    int bad = array == NULL;

    for (unsigned i = 0; i < series->n_samples; i++)
        bad |= json_array_append_new(array, json_real((double)series->sample[i].at_ns / 1e9));
    if (!bad)
        return array;
    json_decref(array);
    return NULL;
}

static json_t *gauge_json(const struct series *series, unsigned gauge)
{
    json_t *array = json_array();
    int bad = array == NULL, shift = gauge < SERIES_N_PAGES ? SYS_PAGE_SHIFT : 0;

    for (unsigned i = 0; i < series->n_samples; i++)
        bad |= json_array_append_new(
            array, json_integer((json_int_t)(series->sample[i].gauge[gauge] << shift)));
    if (!bad)
        return array;
    json_decref(array);
    return NULL;
}

static json_t *counter_json(const struct series *series, unsigned counter)
{
    json_t *array = json_array();
    uint64_t value = INT64_MAX;
    int bad = array == NULL;

    for (unsigned i = series->n_samples; i-- > 0;) {
        uint64_t its = series->sample[i].counter[counter];
        value = its < value ? its : value;
        bad |= json_array_insert_new(array, 0, json_integer((json_int_t)value));
    }
    if (!bad)
        return array;
    json_decref(array);
    return NULL;
}

json_t *series_json(const struct series *series)
{
    json_t *json = json_object();
    int bad = json_object_set_new(json, "seconds", times_json(series));

    for (unsigned i = 0; i < SERIES_N_GAUGES; i++)
        bad |= json_object_set_new(json, gauge_names[i], gauge_json(series, i));
    for (unsigned i = 0; i < SERIES_N_COUNTERS; i++)
        bad |= json_object_set_new(json, counter_names[i], counter_json(series, i));
    if (!bad)
        return json;
    json_decref(json);
    return NULL;
}
