/* SPDX-License-Identifier: Apache-2.0 */
/* core_notes: what a core file says of threads, process and mapped files. */
#ifndef QUIRE_CLI_CORE_NOTES_H
#define QUIRE_CLI_CORE_NOTES_H

#include "cli/core_memory.h"
#include "cli/tracee.h"

/* Builds the notes of a PT_NOTE segment, malloc()ed. 0 or a negative errno. */
int core_notes_build(const struct tracee *tracee, const struct core_memory *memory, char **notes,
                     size_t *n_bytes);

#endif
