/* SPDX-License-Identifier: Apache-2.0 */
/* record_note: see record_note.h. */
#include "cli/record_note.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "[quire "

void record_note_write(const struct record_note *note, char *name)
{
    snprintf(
        name, RECORD_NOTE_BYTES,
        PREFIX
        "wall_ns=%llu window_bytes=%llu touches=%llu fault_ns=%llu cpu_ns=%llu stored_pages=%llu "
        "pool_bytes=%llu "
        "metadata_bytes=%llu]",
        (unsigned long long)note->wall_ns, (unsigned long long)note->window_bytes,
        (unsigned long long)note->n_touches, (unsigned long long)note->fault_ns,
        (unsigned long long)note->cpu_ns, (unsigned long long)note->stored_pages,
        (unsigned long long)note->pool_bytes, (unsigned long long)note->metadata_bytes);
}

static uint64_t number_of(const char *name, const char *key)
{
    const size_t n = strlen(key);

    for (const char *at = name; (at = strchr(at, ' ')) != NULL;)
        if (strncmp(++at, key, n) == 0 && at[n] == '=')
            return strtoull(at + n + 1, NULL, 10);
    return 0;
}

bool record_note_read(const char *name, struct record_note *note)
{
    if (strncmp(name, PREFIX, strlen(PREFIX)) != 0)
        return false;
    *note = (struct record_note){
        .wall_ns = number_of(name, "wall_ns"),
        .window_bytes = number_of(name, "window_bytes"),
        .n_touches = number_of(name, "touches"),
        .fault_ns = number_of(name, "fault_ns"),
        .cpu_ns = number_of(name, "cpu_ns"),
        .stored_pages = number_of(name, "stored_pages"),
        .pool_bytes = number_of(name, "pool_bytes"),
        .metadata_bytes = number_of(name, "metadata_bytes"),
    };
    return true;
}
