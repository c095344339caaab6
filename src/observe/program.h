/* SPDX-License-Identifier: Apache-2.0 */
/*
 * program: whether a file can be run with Quire's library inside, found out before it runs.
 *
 * Nothing here allocates; thread-safe. errno may change.
 */
#ifndef QUIRE_OBSERVE_PROGRAM_H
#define QUIRE_OBSERVE_PROGRAM_H

#include "observe/elf.h"

#include <limits.h>

enum program_verdict {
    PROGRAM_SERVED,
    PROGRAM_UNKNOWN, /* unreadable, a script without "#!", or a format of binfmt_misc: just try */
    /* exec itself will fail */
    PROGRAM_MISSING,
    PROGRAM_DIRECTORY,
    PROGRAM_NOT_EXECUTABLE,
    PROGRAM_TOO_DEEP,  /* "#!" of "#!" of … beyond what the kernel follows */
    PROGRAM_NO_LOADER, /* the ELF interpreter is not there */
    PROGRAM_BROKEN,
    /* it would run, but without Quire */
    PROGRAM_STATIC,
    PROGRAM_GO,
    PROGRAM_32BIT,
    PROGRAM_FOREIGN,
    PROGRAM_OTHER_LIBC,
    PROGRAM_SANITIZER,
    PROGRAM_SET_USER,  /* set-uid or set-gid to somebody else */
    PROGRAM_PRIVILEGES /* file capabilities */
};

struct program {
    char path[PATH_MAX]; /* the file that the kernel loads in the end: behind all "#!" */
    char from[PATH_MAX]; /* the script that names it; "" when it was named directly */
    struct elf_facts elf;
};

/* Follows "#!" from `path` and judges the program at its end; fills in *program as far as it came.
 */
enum program_verdict program_inspect(const char *path, struct program *program);

#endif
