/* SPDX-License-Identifier: Apache-2.0 */
/* directory: what a directory offers as the place of a swap file. Nothing here allocates. */
#ifndef QUIRE_OBSERVE_DIRECTORY_H
#define QUIRE_OBSERVE_DIRECTORY_H

#include <stdbool.h>
#include <stdint.h>

struct directory_facts {
    uint64_t free_bytes;     /* for this user */
    const char *file_system; /* "ext4"; "" when it is none of those known here */
    bool in_memory;          /* what is written there stays in RAM */
    bool on_network;
    bool has_tmpfile; /* O_TMPFILE: a file that never has a name */
};

/*
 * Looks at the directory by creating a nameless file in it, which is gone at once. 0, or the
 * negative errno of what does not work: -ENOENT, -ENOTDIR, -EACCES, -EROFS, -ENOSPC …
 */
int directory_inspect(const char *path, struct directory_facts *facts);

#endif
