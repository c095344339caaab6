/* SPDX-License-Identifier: Apache-2.0 */
/*
 * user_directory: where a user's Quire keeps what its processes find each other by: the names of
 * rings and heaps, the figures of runs.
 *
 *   $XDG_RUNTIME_DIR/quire      where that is set; for most users it is what comes next
 *   /run/user/UID/quire         a session's: how others, root, find it
 *   /dev/shm/quire-UID          where there is no session
 *
 * Whether a directory that is there may be trusted is for its user to say: what may go wrong
 * differs. Thread-safe as far as getenv(3) is.
 */
#ifndef QUIRE_BASE_USER_DIRECTORY_H
#define QUIRE_BASE_USER_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define USER_DIRECTORY_BYTES 512

/* Who leaves the directory empty removes it. Who was about to put something into it makes it anew,
 * so often at most: each time somebody has to have left in just that moment. */
#define USER_DIRECTORY_TRIES 100

/* PARENT/PREFIX UID SUFFIX; an absolute path. */
struct user_directory_place {
    const char *parent, *prefix, *suffix;
};
extern const struct user_directory_place user_directory_session, user_directory_shared;

/* The path of a user's directory in a place. */
void user_directory_of(const struct user_directory_place *place, uint32_t user,
                       char path[USER_DIRECTORY_BYTES]);

/* The user that an entry of the place's parent belongs to; -1: it is nothing of Quire's. */
int64_t user_directory_owner(const struct user_directory_place *place, const char *entry);

/* That of the environment. 0; -ENOENT: none is named there, or no absolute one; -ENAMETOOLONG. */
int user_directory_named(char path[USER_DIRECTORY_BYTES]);

/*
 * Opens one; `make`: makes its last part, for this user alone, if it is not there. A descriptor;
 * -EPERM: a link or no directory is in its place; or another negative errno.
 */
int user_directory_open(const char *path, bool make);

#endif
