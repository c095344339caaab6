/* SPDX-License-Identifier: Apache-2.0 */
/* record_sample: a recorded sample as structs, from its rows. Private to src/observe. */
#ifndef QUIRE_OBSERVE_RECORD_SAMPLE_H
#define QUIRE_OBSERVE_RECORD_SAMPLE_H

#include "observe/record_code.h"
#include "observe/record_file.h"
#include "observe/sample.h"

struct record_sample {
    struct sample sample; /* it points to these: */
    struct quire_observe_process *processes;
    struct quire_observe_run *runs;
    struct quire_observe_run_process *run_processes;
    struct quire_observe_zone *zones;
    struct quire_observe_slab *slabs;
    struct sample_heap *heaps;
    size_t processes_room, runs_room, run_processes_room, zones_room, slabs_room, heaps_room;
};

/*
 * The structs of the rows, with what follows from the sample before (NULL: none is known). They
 * point to the rows' texts. 0 or -ENOMEM.
 */
int record_sample_take(struct record_sample *to, struct record_flat *flat,
                       const struct record_map maps[RECORD_N_TABLES], const struct sample *before);
void record_sample_deinit(struct record_sample *sample);

/* Ends the text, and leaves nothing in it that a terminal would act on. */
void record_clean(char *text, size_t n_bytes);

#endif
