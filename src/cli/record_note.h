/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_note: what a recording through the pager says of its run, beside touches: the name of a
 * mapping of no bytes at the trace's end, "[quire NAME=NUMBER ...]". docs/advise.md lists them.
 */
#ifndef QUIRE_CLI_RECORD_NOTE_H
#define QUIRE_CLI_RECORD_NOTE_H

#include <stdbool.h>
#include <stdint.h>

#define RECORD_NOTE_BYTES 320

struct record_note {
    uint64_t wall_ns, window_bytes, n_touches;
    uint64_t fault_ns; /* that handlers took for all of these */
    uint64_t cpu_ns;   /* of all processors: the program, its children, the handlers */
    uint64_t stored_pages, pool_bytes; /* in the store when most were, and the RAM they took */
    uint64_t metadata_bytes;           /* Quire's own tables, at most */
};

/* `name`: RECORD_NOTE_BYTES. */
void record_note_write(const struct record_note *note, char *name);

/* False: the name is no such note. What it does not say is 0. */
bool record_note_read(const char *name, struct record_note *note);

#endif
