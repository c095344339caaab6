/* SPDX-License-Identifier: Apache-2.0 */
/*
 * name: where names are, and the user's end of one. See share.h for the picture.
 *
 * A name is a socket file. Nobody listens on one whose publisher died: to connect is refused then,
 * and it is removed. Publishers hold a lock on the directory from looking to listening, and who
 * removes holds it too, so that a name is not removed that has just been taken.
 *
 * A name with a '/' is the path of the socket, in a directory that is there: for users who have not
 * the same directory of names.
 */
#include "share/name.h"

#include "base/process.h"
#include "base/sys.h"
#include "base/user_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define ANSWER_MS 30000 /* on a busy machine; a publisher that has died is noticed at once */

static bool is_name(const char *name)
{
    const size_t n = strspn(name,
                            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return n > 0 && n <= QUIRE_SHARE_MAX_NAME_BYTES && name[n] == '\0' && name[0] != '.';
}

static int path_of_directory(char *path, size_t n_bytes, bool *is_shared)
{
    char whole[USER_DIRECTORY_BYTES];
    int error = user_directory_named(whole);

    *is_shared = error == -ENOENT;
    if (*is_shared)
        user_directory_of(&user_directory_shared, geteuid(), whole);
    else if (error)
        return error;
    if (strlen(whole) >= n_bytes)
        return -ENAMETOOLONG;
    strcpy(path, whole);
    return 0;
}

/* In /dev/shm anybody could have made it; elsewhere somebody said that it is to be used. */
static bool is_safe(int directory, bool is_shared)
{
    struct stat status;

    if (fstat(directory, &status) != 0)
        return false;
    if (is_shared)
        return status.st_uid == geteuid() && (status.st_mode & 022) == 0;
    return status.st_uid == geteuid() || status.st_uid == 0 || geteuid() == 0;
}

int quire_share_directory(char *path, size_t n_bytes, bool make)
{
    bool is_shared;
    const int error = path_of_directory(path, n_bytes, &is_shared);

    if (error)
        return error;
    const int directory = user_directory_open(path, make);
    if (directory < 0)
        return directory;
    if (is_safe(directory, is_shared))
        return directory;
    close(directory);
    return -EPERM;
}

/* Names are told apart from other things of Quire's in their directory. */
static int find_name(const char *name, bool make, struct name_place *place)
{
    struct sockaddr_un *address = &place->address;

    if (!is_name(name))
        return -EINVAL;
    const int directory = quire_share_directory(place->home, sizeof place->home, make);
    if (directory < 0)
        return directory;
    const int n = snprintf(address->sun_path, sizeof address->sun_path,
                           "%s/" QUIRE_SHARE_PREFIX "%s", place->home, name);
    if (n > 0 && (size_t)n < sizeof address->sun_path)
        return directory;
    close(directory);
    return -ENAMETOOLONG;
}

/* Another directory is nobody's to make or to remove here. */
static int find_path(const char *path, struct name_place *place)
{
    char directory[sizeof place->address.sun_path];

    place->home[0] = '\0';
    if (strlen(path) >= sizeof directory)
        return -ENAMETOOLONG;
    strcpy(place->address.sun_path, path);
    strcpy(directory, path);
    char *slash = strrchr(directory, '/');
    if (slash[1] == '\0')
        return -EINVAL;
    slash[slash == directory] = '\0'; /* "/" is one, too */
    return sys_openat(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}

int name_find(const char *name, enum name_use use, struct name_place *place)
{
    place->address = (struct sockaddr_un){.sun_family = AF_UNIX};
    const int directory = strchr(name, '/') != NULL ? find_path(name, place)
                                                    : find_name(name, use == NAME_TO_TAKE, place);

    if (directory < 0)
        return directory;
    place->file = strrchr(place->address.sun_path, '/') + 1;
    if (use == NAME_TO_OPEN || flock(directory, LOCK_EX) == 0)
        return directory;
    const int error = -errno;
    close(directory);
    return error;
}

static int connect_to(const struct sockaddr_un *address)
{
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0)
        return fd;
    const int error = -errno;
    close(fd);
    return error;
}

/* Other files refuse connections, too. */
static bool is_socket(int directory, const char *file)
{
    struct stat status;

    return fstatat(directory, file, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(status.st_mode);
}

bool name_is_taken(int directory, const struct name_place *place)
{
    const int fd = connect_to(&place->address);

    if (fd >= 0)
        close(fd);
    if (fd == -ECONNREFUSED && is_socket(directory, place->file))
        return unlinkat(directory, place->file, 0) != 0 && errno != ENOENT;
    return fd != -ENOENT;
}

void name_leave(const struct name_place *place)
{
    if (place->home[0] != '\0')
        rmdir(place->home); /* fails as long as there are others */
}

/*
 * Nobody answers: if it is still so with the lock held, the name was left behind. A path may be
 * that of somebody else's socket, mistyped: only who publishes there removes it.
 */
static void remove_stale(const char *name)
{
    struct name_place place;
    const int directory = strchr(name, '/') == NULL ? name_find(name, NAME_TO_REMOVE, &place) : -1;

    if (directory < 0)
        return;
    if (!name_is_taken(directory, &place))
        name_leave(&place);
    close(directory);
}

static int send_message(int fd, enum name_request request)
{
    const struct name_message message = {NAME_MAGIC, request, process_own_pid()};
    return quire_share_send(fd, &message, sizeof message, NULL, 0);
}

/* 0: a message, or the end, can be received. */
static int await_answer(int fd)
{
    struct pollfd what = {.fd = fd, .events = POLLIN};
    int n;

    do
        n = poll(&what, 1, ANSWER_MS);
    while (n < 0 && errno == EINTR);
    return n > 0 ? 0 : n == 0 ? -ETIMEDOUT : -errno;
}

static int receive_offer(struct quire_share_opened *opened)
{
    struct name_offer offer = {0};
    int error = await_answer(opened->socket);

    if (error)
        return error;
    opened->n_fds = QUIRE_SHARE_MAX_FDS;
    const ssize_t n = quire_share_receive(opened->socket, &offer, sizeof offer, opened->fds,
                                          &opened->n_fds);
    if (n < 0)
        opened->n_fds = 0;
    if (n == 0 || n == -ECONNRESET)
        return -ENOENT; /* it ended, with us in its queue or before */
    if (n < 0)
        return n == -EMSGSIZE ? -EPROTO : (int)n;
    if (n != sizeof offer || offer.magic != NAME_MAGIC || offer.version != NAME_VERSION ||
        offer.word_bits != sizeof(void *) * 8)
        return -EPROTO;
    offer.tag[QUIRE_SHARE_MAX_TAG_BYTES] = '\0';
    memcpy(opened->tag, offer.tag, sizeof opened->tag);
    return offer.error < 0 ? offer.error : 0;
}

int quire_share_open(const char *name, struct quire_share_opened *opened)
{
    struct name_place place;
    const int directory = name_find(name, NAME_TO_OPEN, &place);
    int error;

    memset(opened, 0, sizeof *opened);
    opened->socket = -1;
    if (directory < 0)
        return directory;
    close(directory);
    const int fd = connect_to(&place.address);
    if (fd == -ECONNREFUSED)
        remove_stale(name);
    if (fd < 0)
        return fd == -ECONNREFUSED ? -ENOENT : fd;
    opened->socket = fd;
    if ((error = quire_share_peer(fd, &opened->publisher)) == 0 &&
        (error = receive_offer(opened)) == 0 && (error = send_message(fd, NAME_HELLO)) == 0)
        return 0;
    quire_share_close_opened(opened);
    if (error == -ENOENT)
        remove_stale(name);
    return error;
}

int quire_share_ask_removal(const struct quire_share_opened *opened)
{
    return send_message(opened->socket, NAME_REMOVE);
}

void quire_share_close_opened(struct quire_share_opened *opened)
{
    for (unsigned i = 0; i < opened->n_fds; i++)
        if (opened->fds[i] >= 0)
            close(opened->fds[i]);
    opened->n_fds = 0;
    if (opened->socket >= 0)
        close(opened->socket);
    opened->socket = -1;
}
