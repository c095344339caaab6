/* SPDX-License-Identifier: Apache-2.0 */
/*
 * published: the file in which a run of Quire shows its figures to whoever may look.
 *
 *   DIRECTORY/run-PID        base/user_directory.h tells where; PID of the keeper
 *     header                 whose it is, of which version
 *     sequence               odd while the keeper writes
 *     run, processes[n]      one moment of the run
 *     history[256]           a ring of moments, one a second
 *
 * Writer: the keeper alone, through a mapping; it takes no lock and waits for nobody. Readers copy
 * by pread(2), so that a file that is cut short can't harm them, and copy again when the sequence
 * was odd or has changed.
 *
 * Invariants
 *   P1  a file has its name only while it is whole: it is made without a name, and linked
 *   P2  the name goes with the keeper, or with the launcher that outlives a killed keeper; what a
 *       kill of both leaves is removed by whoever reads the directory next, and by the next run
 *   P3  a file is taken for a dead run's only in the pid namespace it was made in
 */
#ifndef QUIRE_OBSERVE_PUBLISHED_H
#define QUIRE_OBSERVE_PUBLISHED_H

#include "base/user_directory.h"

#include <quire/observe.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PUBLISHED_MAGIC "QUIRERUN" /* without its terminator */
#define PUBLISHED_VERSION 2u       /* of all that follows */
#define PUBLISHED_MAX_PROCESSES 512
#define PUBLISHED_PREFIX "run-"

struct published {
    char magic[8];
    uint32_t version, n_bytes; /* of the file */
    uint64_t pid, start_ticks; /* of the keeper */
    uint64_t pid_namespace;    /* its inode */
    _Atomic uint64_t sequence;
    struct quire_observe_run run;
    struct quire_observe_run_process processes[PUBLISHED_MAX_PROCESSES]; /* run.n_alive of them */
    uint64_t n_moments;                                                  /* ever */
    struct quire_observe_run_moment history[QUIRE_OBSERVE_N_MOMENTS];    /* [i % n] */
};

struct publication {
    struct published *file;          /* NULL: nothing is published */
    int fd;                          /* until it has its name; then -1 */
    char path[USER_DIRECTORY_BYTES]; /* absolute; before it has its name: the directory */
    char problem[640];               /* "" or why nothing is published */
};

/*
 * Finds the directory, makes it if need be, removes what dead runs left there (P2), and makes a
 * file without a name in it. False, with a problem: no directory will do.
 */
bool publication_open(struct publication *publication);

/* Gives it its name, once the keeper's pid is known. If that fails: no file, and a problem. */
void publication_name(struct publication *publication, int keeper);

/* The keeper's: shows a moment of the run. `run->n_alive` processes; n_updates is filled in. */
void publication_update(struct publication *publication, struct quire_observe_run *run,
                        const struct quire_observe_run_process *processes);
void publication_add_moment(struct publication *publication,
                            const struct quire_observe_run_moment *moment);

/* Removes the name, if it is still this file's. Any process of the run's own. */
void publication_remove(struct publication *publication);

/* For a look at what a run would do: the directory's path, or the problem. */
bool publication_directory(char path[USER_DIRECTORY_BYTES], char problem[640]);

#endif
