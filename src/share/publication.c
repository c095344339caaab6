/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publication: the publisher's end of a name.
 *
 *     listener --accept--> user: who is it? --> descriptors sent --> messages --> gone
 *        '---------------- all in one epoll set, all non-blocking
 *
 * A user costs a descriptor and a line of `users`. Nothing that one does or fails to do holds up
 * another: the offer goes out at once, into an empty socket, and messages are short and whole.
 */
#include "share/name.h"

#include "base/process.h"
#include "base/sys.h"
#include "base/user_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG 64
#define N_EVENTS 32
#define LISTENER UINT32_MAX /* in the events; else the index of a user */

struct user {
    int socket; /* -1: free */
    uint32_t own_pid;
    struct quire_share_peer peer;
};

struct quire_share_publication {
    int directory, listener, poller;
    mode_t mode;
    bool published;
    unsigned n_fds, n_users;
    int fds[QUIRE_SHARE_MAX_FDS];
    struct name_place place;
    struct name_offer offer;
    struct user users[QUIRE_SHARE_MAX_USERS];
};

static int listen_at(const struct sockaddr_un *address, mode_t mode)
{
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    const mode_t before = umask(0777 & ~mode); /* so that it never has more rights than these */
    int error = bind(fd, (const struct sockaddr *)address, sizeof *address) == 0 ? 0 : -errno;
    umask(before);
    if (error == 0 && listen(fd, BACKLOG) != 0) {
        error = -errno;
        unlink(address->sun_path);
    }
    if (error == 0)
        return fd;
    close(fd);
    return error;
}

static int watch(const struct quire_share_publication *publication, int fd, uint32_t what)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.u32 = what};
    return epoll_ctl(publication->poller, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

/* Takes the name. The directory is locked meanwhile. */
static int take_name(struct quire_share_publication *publication, const char *name)
{
    const struct name_place *place = &publication->place;
    const int directory = name_find(name, NAME_TO_TAKE, &publication->place);

    if (directory < 0)
        return directory;
    int error = name_is_taken(directory, place) ? -EEXIST : 0;
    if (error == 0)
        error = publication->listener = listen_at(&place->address, publication->mode);
    if (error >= 0)
        error = 0;
    flock(directory, LOCK_UN);
    if (error) {
        close(directory);
        return error;
    }
    publication->directory = directory;
    publication->published = true;
    return 0;
}

/* The directory may have been removed, with its last name, before this one was in it. */
static int take_name_patiently(struct quire_share_publication *publication, const char *name)
{
    int error = -ENOENT;

    for (unsigned i = 0; i < USER_DIRECTORY_TRIES && error == -ENOENT; i++)
        error = take_name(publication, name);
    return error;
}

static int copy_fds(struct quire_share_publication *publication, const int *fds, unsigned n_fds)
{
    for (unsigned i = 0; i < n_fds; i++) {
        const int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
            return -errno;
        publication->fds[publication->n_fds++] = fd;
    }
    return 0;
}

static struct quire_share_publication *make(const char *tag, mode_t mode)
{
    struct quire_share_publication *publication = calloc(1, sizeof *publication);

    if (publication == NULL)
        return NULL;
    publication->directory = publication->listener = publication->poller = -1;
    publication->mode = mode & 0666;
    publication->offer = (struct name_offer){NAME_MAGIC, NAME_VERSION, sizeof(void *) * 8, 0, ""};
    memcpy(publication->offer.tag, tag, strlen(tag));
    for (unsigned i = 0; i < QUIRE_SHARE_MAX_USERS; i++)
        publication->users[i].socket = -1;
    return publication;
}

int quire_share_publish(const char *name, const char *tag, mode_t mode, const int *fds,
                        unsigned n_fds, struct quire_share_publication **result)
{
    int error;

    if (strlen(tag) > QUIRE_SHARE_MAX_TAG_BYTES || n_fds > QUIRE_SHARE_MAX_FDS || n_fds == 0)
        return -EINVAL;
    struct quire_share_publication *publication = make(tag, mode);
    if (publication == NULL)
        return -ENOMEM;
    publication->poller = epoll_create1(EPOLL_CLOEXEC);
    error = publication->poller < 0 ? -errno : 0;
    if (error == 0 && (error = copy_fds(publication, fds, n_fds)) == 0 &&
        (error = take_name_patiently(publication, name)) == 0 &&
        (error = watch(publication, publication->listener, LISTENER)) == 0) {
        *result = publication;
        return 0;
    }
    quire_share_close(publication);
    return error;
}

int quire_share_poll_fd(const struct quire_share_publication *publication)
{
    return publication->poller;
}

/* Users */

/* The rights of the socket file say the same, where it can be reached at all. */
static bool may_use(const struct quire_share_publication *publication,
                    const struct quire_share_peer *peer)
{
    return peer->uid == geteuid() || peer->uid == 0 || (publication->mode & 0006) == 0006 ||
           ((publication->mode & 0060) == 0060); /* the kernel has checked the group */
}

static void refuse(const struct quire_share_publication *publication, int fd, int error)
{
    struct name_offer offer = publication->offer;

    offer.error = error;
    (void)!quire_share_send(fd, &offer, sizeof offer, NULL, 0);
    close(fd);
}

static struct user *free_user(struct quire_share_publication *publication)
{
    for (unsigned i = 0; i < QUIRE_SHARE_MAX_USERS; i++)
        if (publication->users[i].socket < 0)
            return &publication->users[i];
    return NULL;
}

static void admit(struct quire_share_publication *publication, int fd,
                  const struct quire_share_handlers *handlers)
{
    struct quire_share_peer peer;
    struct user *user = free_user(publication);

    if (quire_share_peer(fd, &peer) != 0 || !may_use(publication, &peer)) {
        refuse(publication, fd, -EACCES);
        return;
    }
    if (user == NULL || watch(publication, fd, (uint32_t)(user - publication->users)) != 0) {
        refuse(publication, fd, -EBUSY);
        return;
    }
    if (quire_share_send(fd, &publication->offer, sizeof publication->offer, publication->fds,
                         publication->n_fds) != 0) {
        close(fd); /* it has gone already */
        return;
    }
    *user = (struct user){fd, 0, peer};
    publication->n_users++;
    handlers->event(handlers->context, QUIRE_SHARE_JOINED, &peer, 0);
}

static void admit_all(struct quire_share_publication *publication,
                      const struct quire_share_handlers *handlers)
{
    int fd;

    while ((fd = accept4(publication->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
        admit(publication, fd, handlers);
}

/*
 * Who has died is known by the number that it gave itself, so a user must not be able to pass for
 * another: what it says counts only where the kernel's number for it means something else to it.
 */
static uint32_t believed_pid(const struct user *user, uint32_t said)
{
    const pid_t seen = user->peer.pid;

    if (seen > 0 && process_pid_namespace_of((uint32_t)seen) == process_pid_namespace())
        return (uint32_t)seen;
    return said;
}

static void drop(struct quire_share_publication *publication, struct user *user,
                 const struct quire_share_handlers *handlers)
{
    publication->n_users--;
    handlers->event(handlers->context, QUIRE_SHARE_LEFT, &user->peer, user->own_pid);
    close(user->socket); /* the last that it hears: what the handler does is done */
    user->socket = -1;
}

/* False: it is gone, or talks nonsense. */
static bool listen_to(struct user *user, const struct quire_share_handlers *handlers)
{
    struct name_message message = {0};
    unsigned n_fds = 0;
    int none[1];

    for (;;) {
        const ssize_t n = quire_share_receive(user->socket, &message, sizeof message, none, &n_fds);
        if (n == -EAGAIN)
            return true;
        if (n != sizeof message || message.magic != NAME_MAGIC)
            return false;
        if (message.request == NAME_HELLO && user->own_pid == 0)
            user->own_pid = believed_pid(user, message.own_pid);
        if (message.request == NAME_REMOVE && (user->peer.uid == geteuid() || user->peer.uid == 0))
            handlers->event(handlers->context, QUIRE_SHARE_REMOVE, &user->peer, user->own_pid);
    }
}

unsigned quire_share_serve(struct quire_share_publication *publication,
                           const struct quire_share_handlers *handlers)
{
    struct epoll_event events[N_EVENTS];
    const int n = epoll_wait(publication->poller, events, N_EVENTS, 0);

    for (int i = 0; i < n; i++) {
        if (events[i].data.u32 == LISTENER) {
            admit_all(publication, handlers);
            continue;
        }
        struct user *user = &publication->users[events[i].data.u32];
        if (user->socket >= 0 && !listen_to(user, handlers))
            drop(publication, user, handlers);
    }
    return publication->n_users;
}

void quire_share_unpublish(struct quire_share_publication *publication)
{
    if (!publication->published)
        return;
    unlinkat(publication->directory, publication->place.file, 0);
    name_leave(&publication->place);
    close(publication->listener); /* leaves the epoll set by that */
    publication->listener = -1;
    publication->published = false;
}

void quire_share_close(struct quire_share_publication *publication)
{
    if (publication == NULL)
        return;
    quire_share_unpublish(publication);
    for (unsigned i = 0; i < QUIRE_SHARE_MAX_USERS; i++)
        if (publication->users[i].socket >= 0)
            close(publication->users[i].socket);
    for (unsigned i = 0; i < publication->n_fds; i++)
        close(publication->fds[i]);
    if (publication->directory >= 0)
        close(publication->directory);
    if (publication->poller >= 0)
        close(publication->poller);
    free(publication);
}
