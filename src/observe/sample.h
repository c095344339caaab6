/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sample: the system, its processes and the runs of Quire at one moment. What a view shows, what a
 * recording holds.
 */
#ifndef QUIRE_OBSERVE_SAMPLE_H
#define QUIRE_OBSERVE_SAMPLE_H

#include <quire/observe.h>
#include <quire/slabs.h>

/* What a sample can have beside the processes; added to the parts of these. */
enum sample_part {
    SAMPLE_ZONES = 1 << 16,    /* the kernel's buddy lists, without mobility */
    SAMPLE_SLABS = 1 << 17,    /* its slab caches, for root */
    SAMPLE_HEAPS = 1 << 18,    /* with QUIRE_OBSERVE_RUNS: the heap of each run's largest process */
    SAMPLE_SETTINGS = 1 << 19, /* what is configured, and this process's control group's limit */
};
#define SAMPLE_PROCESS_PARTS 0xffffu /* of the sum: enum quire_observe_part */

struct sample_heap {
    uint64_t keeper, pid; /* of the run; of the process */
    struct quire_slabs slabs;
};

struct sample_heaps {
    size_t n;
    struct sample_heap *list; /* the owner's, valid until its next sample */
};

struct sample {
    uint64_t wall_ms;   /* since the epoch, CLOCK_REALTIME */
    unsigned parts;     /* enum quire_observe_part, enum sample_part: what is known */
    bool has_processes; /* false: only the system was asked for */
    bool has_zram;      /* false: it could not be read */
    struct quire_observe_memory memory;
    struct quire_observe_counters counters;
    struct quire_observe_pressure pressure;
    struct quire_observe_zram zram;
    struct quire_observe_settings settings; /* SAMPLE_SETTINGS, as the next */
    struct quire_observe_cgroup cgroup;
    struct quire_observe_processes processes; /* the owner's, valid until its next sample */
    struct quire_observe_runs runs;           /* likewise */
    int zones_error, slabs_error;             /* 0, or why there are none (-EACCES ...) */
    struct quire_observe_zones zones;         /* likewise */
    struct quire_observe_slabs slabs;         /* likewise */
    struct sample_heaps heaps; /* likewise; runs that can't be looked into have none */
    /*
     * What follows from this sample and the one before it: not recorded, but worked out again. The
     * same holds for the processes' minor_rate and major_rate.
     */
    struct quire_observe_rates rates;
    bool is_since_boot; /* the rates are: there was no sample before */
};

#define SAMPLE_SYSTEM_ONLY 0u

uint64_t sample_wall_ms(void); /* now */

/*
 * Takes a sample of the machine of `observe`; `parts` as of quire_observe_processes(), or
 * SAMPLE_SYSTEM_ONLY. `before`: the one before, for the rates (only its system's figures are looked
 * at); NULL: since boot. 0 or a negative errno with quire_observe_message().
 */
int sample_take(struct quire_observe *observe, unsigned parts, const struct sample *before,
                struct sample *sample);

/* The pid of the process of a run that has most; 0: the run has none. */
int sample_largest_process(const struct quire_observe_runs *runs, uint64_t keeper);

/* Works out `rates` and `is_since_boot`, of the system only. */
void sample_rates(const struct sample *before, struct sample *sample);

#endif
