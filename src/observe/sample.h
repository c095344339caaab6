/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sample: the system, its processes and the runs of Quire at one moment. What a view shows, what a
 * recording holds.
 */
#ifndef QUIRE_OBSERVE_SAMPLE_H
#define QUIRE_OBSERVE_SAMPLE_H

#include <quire/observe.h>

struct sample {
    uint64_t wall_ms;   /* since the epoch, CLOCK_REALTIME */
    unsigned parts;     /* enum quire_observe_part: what is known of the processes */
    bool has_processes; /* false: only the system was asked for */
    bool has_zram;      /* false: it could not be read */
    struct quire_observe_memory memory;
    struct quire_observe_counters counters;
    struct quire_observe_pressure pressure;
    struct quire_observe_zram zram;
    struct quire_observe_processes processes; /* the owner's, valid until its next sample */
    struct quire_observe_runs runs;           /* likewise */
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

/* Works out `rates` and `is_since_boot`, of the system only. */
void sample_rates(const struct sample *before, struct sample *sample);

#endif
