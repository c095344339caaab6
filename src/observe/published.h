/* SPDX-License-Identifier: Apache-2.0 */
/*
 * published: the file in which a run of Quire shows its figures to whoever may look.
 *
 *   DIRECTORY/run-PID        base/user_directory.h tells where; PID of the keeper
 *     header                 whose it is, of which version
 *     n_updates              the last one is copies[n_updates % 2]
 *     copies[2]              the run and its processes, at one moment each
 *     n_moments
 *     history[257]           a ring of moments, one a second
 *
 * Writer: the keeper alone, through a mapping; it takes no lock and waits for nobody. It writes
 * where no reader looks, then counts: the other copy, the slot of the history that is no longer
 * told. Readers copy by pread(2), so that a file that is cut short can't harm them, and copy again
 * when the count has changed meanwhile. So no reader waits for the writer, who may be stopped or
 * without a processor in the middle of an update.
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
#define PUBLISHED_VERSION 3u       /* of all that follows */
#define PUBLISHED_MAX_PROCESSES 512
#define PUBLISHED_N_SLOTS (QUIRE_OBSERVE_N_MOMENTS + 1)
#define PUBLISHED_PREFIX "run-"

struct published_copy {
    struct quire_observe_run run;
    struct quire_observe_run_process processes[PUBLISHED_MAX_PROCESSES]; /* run.n_alive of them */
};

struct published_header {
    char magic[8];
    uint32_t version, n_bytes; /* of the file */
    uint64_t pid, start_ticks; /* of the keeper */
    uint64_t pid_namespace;    /* its inode */
};

struct published {
    struct published_header header;
    _Atomic uint64_t n_updates;
    struct published_copy copies[2]; /* [n_updates % 2] is whole */
    _Atomic uint64_t n_moments;
    struct quire_observe_run_moment history[PUBLISHED_N_SLOTS]; /* of moment i: [i % n] */
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
