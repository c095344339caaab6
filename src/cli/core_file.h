/* SPDX-License-Identifier: Apache-2.0 */
/* core_file: writes an ELF core file, as the kernel does, that debuggers open. */
#ifndef QUIRE_CLI_CORE_FILE_H
#define QUIRE_CLI_CORE_FILE_H

#include "cli/core_memory.h"
#include "cli/tracee.h"

#include <stdatomic.h>

struct core_file {
    int fd; /* of an empty file that can be sought in */
    int pid;
    const struct core_memory *memory;
    const struct tracee *tracee;
    _Atomic uint64_t n_done_bytes; /* of memory: how far it is */
    uint64_t written_bytes;    /* what is in the file: the rest are holes, which read as zeros */
    uint64_t unreadable_bytes; /* that stay holes, since the kernel does not give them */
};

/*
 * Reads what is evicted through the pager, which brings it back a little at a time. 0 or a negative
 * errno: -E2BIG: more mappings than such a file can have; -ENOSPC and the like of writing.
 */
int core_file_write(struct core_file *core);

#endif
