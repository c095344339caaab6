/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quire/share.h: handing memory from process to process: descriptors over sockets, and names.
 *
 *     publisher                                              user
 *     memfd, sealed ----- quire_share_publish ----> name     quire_share_open(name)
 *                         quire_share_serve  <---- socket ---'
 *                              '-------- descriptors ------> maps them wherever it likes
 *                         told when the user has gone <----- keeps the socket open meanwhile
 *
 * Memory that is shared is a memfd whose size is sealed, so that nobody can truncate it under
 * another, and nothing has to be cleaned up: it is gone with the last who has it. A name is a
 * socket in a directory of the user; it goes when its publisher does, and one that was left behind
 * by kill -9 is removed by whoever comes across it.
 *
 * Errors are negative errnos; errno itself is not touched on purpose. Thread safety: a publication
 * is used by one thread at a time; all else is independent. Calls that may block say so.
 */
#ifndef QUIRE_SHARE_H
#define QUIRE_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define QUIRE_SHARE_MAX_FDS 8u         /* handed over at once */
#define QUIRE_SHARE_MAX_NAME_BYTES 63u /* letters, digits, '.', '_' and '-'; not '.' first */
#define QUIRE_SHARE_MAX_TAG_BYTES 15u
#define QUIRE_SHARE_PREFIX "share-" /* of the socket's file name; the rest is the name */
#define QUIRE_SHARE_MAX_USERS 256u  /* of a publication, at once */

/* Memory */

#define QUIRE_SHARE_GROWS 1u     /* it may be made longer, by ftruncate; never shorter */
#define QUIRE_SHARE_READ_ONLY 2u /* only mappings that exist when it is sealed can write */

/*
 * A memfd of n_bytes zeros, close-on-exec, mapped writable at *memory; its size is sealed. With
 * QUIRE_SHARE_READ_ONLY (Linux 5.1) whoever gets the descriptor can map it to be read only, and
 * can't undo that. Returns the descriptor; -EINVAL: n_bytes is 0, or a flag is wrong; -EOPNOTSUPP:
 * the kernel has no such seal; -ENOMEM, -EMFILE ... from the kernel.
 */
int quire_share_memory(const char *name, size_t n_bytes, unsigned flags, void **memory)
    __attribute__((warn_unused_result));

/*
 * Maps what somebody handed over: all of it, if its size can't shrink any more. Writable where the
 * seals allow it. Undo it by munmap. Returns 0; -EPERM: it could be truncated under us; -EINVAL: it
 * is no memory.
 */
int quire_share_map(int fd, void **memory, size_t *n_bytes, bool *writable)
    __attribute__((warn_unused_result));

/* Sockets */

struct quire_share_peer {
    pid_t pid; /* as seen from here; 0: in a pid namespace that can't be seen from here */
    uid_t uid;
    gid_t gid;
};

/* Who is at the other end of a Unix socket; the kernel vouches for that. 0 or a negative errno. */
int quire_share_peer(int socket, struct quire_share_peer *peer);

/*
 * Sends a message with up to QUIRE_SHARE_MAX_FDS descriptors over a Unix socket. Blocks if the
 * socket does. Returns 0; -EPIPE, -EAGAIN ... from the kernel; -EINVAL: too many, or no bytes.
 */
int quire_share_send(int socket, const void *message, size_t n_bytes, const int *fds,
                     unsigned n_fds) __attribute__((warn_unused_result));

/*
 * Receives one: up to n_bytes of it, and up to *n_fds descriptors (close-on-exec; *n_fds becomes
 * their number; if there were more, none is kept). Returns the number of bytes; 0: the peer is
 * gone; -EMSGSIZE: more bytes or descriptors came than there is room for; or from the kernel.
 */
ssize_t quire_share_receive(int socket, void *message, size_t n_bytes, int *fds, unsigned *n_fds)
    __attribute__((warn_unused_result));

/* Names */

/*
 * Where names are: $XDG_RUNTIME_DIR/quire, or /dev/shm/quire-UID where that is not set. It is there
 * while it has names; `make` makes it. Returns a descriptor of the directory, and its path in
 * `path`; -ENOENT; -EPERM: it is not ours alone; -ENAMETOOLONG; or from the kernel.
 */
int quire_share_directory(char *path, size_t n_bytes, bool make);

/*
 * A name with a '/' is the path of a socket, in a directory that is there already, 107 bytes in
 * all: for users who do not have the same directory of names. A socket left there by a publisher
 * that was killed is replaced by the next one, and by nobody else.
 */

struct quire_share_publication; /* opaque; on the heap */

enum quire_share_event {
    QUIRE_SHARE_JOINED, /* a user got the descriptors */
    QUIRE_SHARE_LEFT, /* it closed its socket, or died; if it has only shut it down for sending, it
                         sees the end of it when the handler has returned */
    QUIRE_SHARE_REMOVE, /* it asks that the name be removed; only asked if it may */
};

struct quire_share_handlers {
    /* `own_pid`: how the user's process calls itself, in whatever pid namespace it is. */
    void (*event)(void *context, enum quire_share_event event, const struct quire_share_peer *peer,
                  uint32_t own_pid);
    void *context;
};

/*
 * Publishes descriptors (duplicated, so the caller may close its own) under a name. `tag` says what
 * they are ("ring"), and comes with them. `mode`: who may open it, as of a file (0600, 0660, 0666);
 * others than the user need access to the directory too. Returns 0; -EEXIST: the name is taken;
 * -EINVAL: the name, the tag or the number; -EPERM: see quire_share_directory; -ENAMETOOLONG; or
 * from the kernel.
 */
int quire_share_publish(const char *name, const char *tag, mode_t mode, const int *fds,
                        unsigned n_fds, struct quire_share_publication **publication)
    __attribute__((warn_unused_result));

/* Becomes readable when quire_share_serve has something to do. */
int quire_share_poll_fd(const struct quire_share_publication *publication);

/* Does all there is to do, without blocking, and calls handlers->event. Returns the number of
 * users. */
unsigned quire_share_serve(struct quire_share_publication *publication,
                           const struct quire_share_handlers *handlers);

/* Removes the name. Users keep what they have, and are still heard of. */
void quire_share_unpublish(struct quire_share_publication *publication);

/* Unpublishes, hangs up on all users, and frees. NULL is allowed. */
void quire_share_close(struct quire_share_publication *publication);

struct quire_share_opened {
    int socket; /* to be kept open as long as the descriptors are used: it tells the publisher */
    char tag[QUIRE_SHARE_MAX_TAG_BYTES + 1];
    unsigned n_fds;
    int fds[QUIRE_SHARE_MAX_FDS];
    struct quire_share_peer publisher;
};

/*
 * Gets what was published. Waits for an answer, for 30 seconds at most: a publisher that has died
 * is noticed at once, one that was stopped is not. Returns 0, and the descriptors in *opened, to be
 * closed by the caller; -ENOENT: no such name (one that was left behind is removed in passing);
 * -EACCES: the mode does not let us; -EPROTO: the publisher is another version; -EBUSY: it has too
 * many users; -ETIMEDOUT; or from the kernel.
 */
int quire_share_open(const char *name, struct quire_share_opened *opened)
    __attribute__((warn_unused_result));

/* Asks the publisher of what was opened to remove the name. 0 or a negative errno. */
int quire_share_ask_removal(const struct quire_share_opened *opened);

/* Closes the descriptors that are not -1, and the socket. */
void quire_share_close_opened(struct quire_share_opened *opened);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
