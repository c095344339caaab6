/* SPDX-License-Identifier: Apache-2.0 */
/* report_data: the JSON of `quire run --stats`, checked and ready to be drawn. */
#ifndef QUIRE_CLI_REPORT_DATA_H
#define QUIRE_CLI_REPORT_DATA_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REPORT_MESSAGE_BYTES 512

/* Of the time line; as docs/stats.md has them. */
enum report_series {
    REPORT_RESIDENT,
    REPORT_STAGED,
    REPORT_COMPRESSED,
    REPORT_METADATA,
    REPORT_UNMANAGED,
    REPORT_STORED_PAGES,
    REPORT_FILE,
    REPORT_FIRST_TOUCH, /* this and the rest are sums since the start */
    REPORT_FROM_STAGING,
    REPORT_SAME_FILLED,
    REPORT_FROM_RAM,
    REPORT_FROM_FILE,
    REPORT_COPIED,
    REPORT_FIRST_WRITE,
    REPORT_EVICTIONS,
    REPORT_PACKED_PAGES,
    REPORT_PACKED_BYTES,
    REPORT_FAULT_NS,
    REPORT_N_SERIES,
};
#define REPORT_N_FAULTS 7 /* from REPORT_FIRST_TOUCH on */

struct report_zone {
    const char *name;
    uint64_t row_bytes, full_bytes;
    size_t n_rows;
    const char **resident, **faults; /* a string a row, a character a sample */
};

struct report_process {
    uint64_t pid;
    const char *name;
    double first_s, last_s;
    uint64_t peak_held_bytes, n_faults, fault_ns;
};

struct report {
    json_t *root;                                            /* holds every string */
    const char *version, *started, *ended_by, *heat_problem; /* NULL: null */
    json_t *command, *options, *machine;
    uint64_t budget_bytes, peak_held_bytes, peak_needed_bytes, peak_compressed_bytes,
        peak_file_bytes, unmanaged_bytes, swap_max_bytes;
    double wall_s, user_s, system_s, compression_ratio; /* the ratio 0: nothing was compressed */
    bool is_running; /* it had not ended; then there is no exit status */
    int64_t exit_status;
    uint64_t n_processes, n_waits_for_room, n_evictions, n_dropped_dead, n_written, n_same_filled;
    uint64_t faults[REPORT_N_FAULTS]; /* in the order of the series */
    uint64_t mean_ns, p50_ns, p99_ns, fault_ns;
    size_t n_latencies;
    uint64_t *latency_ns, *latency_faults; /* upper bounds, rising; how many */
    size_t n_samples;
    double *at_s; /* rising */
    double *series[REPORT_N_SERIES];
    size_t n_zones;
    struct report_zone *zones;
    size_t n_listed;
    struct report_process *processes;
};

/*
 * Checks a value and takes it over; `root` is the report's then, whatever comes of it. 0; -EINVAL
 * with a message; -ENOMEM. Free it after a success.
 */
int report_read(struct report *report, json_t *root, char *message);

/*
 * Reads the file at `path`; "-" is standard input. 0; -EINVAL with a message: it is not what is
 * wanted; another negative errno: it can't be read, or there is no memory. Free it after a success.
 */
int report_load(struct report *report, const char *path, char *message);
void report_free(struct report *report);

/* Of `series`, from sample i - 1 to i, or from the start to the first one. */
double report_change(const struct report *report, enum report_series series, size_t i);
double report_interval_s(const struct report *report, size_t i);
/* The part of the interval's time that was waited, summed over threads. */
double report_stall(const struct report *report, size_t i);

#endif
