/* SPDX-License-Identifier: Apache-2.0 */
/* roster: the processes of a run that were seen, and what each had of the memory. */
#ifndef QUIRE_CLI_ROSTER_H
#define QUIRE_CLI_ROSTER_H

#include "base/control.h"

#include <jansson.h>
#include <stdint.h>

#define ROSTER_MOST 128

struct roster_entry {
    uint32_t pid;
    uint64_t start_time; /* as the slot has it */
    char name[32];
    unsigned n_looks;
    uint64_t first_ns, last_ns; /* since the run's start */
    uint64_t peak_held_pages;
    uint64_t n_faults, n_evictions, fault_ns; /* when last seen */
};

struct roster {
    unsigned n_entries;
    struct roster_entry entry[ROSTER_MOST];
};

/* Looks at all slots. Processes that came and went since the last look are not seen. */
void roster_take(struct roster *roster, const struct control *control, uint64_t at_ns);

/* An array of objects, largest first; NULL: no memory. */
json_t *roster_json(const struct roster *roster);

#endif
