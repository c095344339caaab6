/* SPDX-License-Identifier: Apache-2.0 */
/* core_memory: what of a process's memory goes into a core file, and what it holds. */
#ifndef QUIRE_CLI_CORE_MEMORY_H
#define QUIRE_CLI_CORE_MEMORY_H

#include "observe/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A mapping as /proc/PID/smaps has it. */
struct core_mapping {
    uint64_t start, end, file_offset;
    bool readable, writable, executable, shared, left_out;
    bool is_registered; /* with a userfaultfd */
    uint64_t anonymous_bytes;
    char *path; /* NULL: it has no name */
};

/* A run of pages that have contents of their own. */
struct core_run {
    uint64_t start, end;
};

/* A part of the address space as the core file has it. */
struct core_segment {
    uint64_t start, end; /* addresses */
    uint64_t file_bytes; /* from the start on; 0: the contents are in the file that is mapped */
    bool is_head;        /* of such a file: its first page, which is in no run */
    uint32_t flags;      /* PF_R | PF_W | PF_X */
};

struct core_memory {
    struct core_mapping *mappings;
    struct core_run *runs; /* ascending, apart from one another */
    struct core_segment *segments;
    size_t n_mappings, n_runs, n_segments;
    size_t most_mappings, most_runs, most_segments;
    uint64_t evicted_bytes; /* of the runs, when looked at */
};

/*
 * Into a zeroed *memory. The process's own threads stand still. 0 or a negative errno. Undo it by
 * core_memory_free().
 */
int core_memory_find(struct core_memory *memory, const struct arena *arena);
void core_memory_free(struct core_memory *memory);

/* Whether the mapping shows a file that has a name of its own: what NT_FILE lists. */
bool core_memory_is_file(const struct core_mapping *mapping);

#endif
