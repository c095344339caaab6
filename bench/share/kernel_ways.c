/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_ways: what the kernel has: pipes, Unix sockets, POSIX message queues. */
#include "way.h"

#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIPE_BYTES (1 << 20) /* what a user may have */

enum variant { PIPE, STREAM, DATAGRAMS };

static const char *open_pair(struct link *link)
{
    const int wanted = (int)LINK_BYTES;

    if (link->way->variant == PIPE) {
        if (pipe(link->ends) != 0)
            return strerror(errno);
        (void)fcntl(link->ends[1], F_SETPIPE_SZ, PIPE_BYTES);
        return NULL;
    }
    if (socketpair(AF_UNIX, link->way->variant == STREAM ? SOCK_STREAM : SOCK_DGRAM, 0,
                   link->ends) != 0)
        return strerror(errno);
    if (setsockopt(link->ends[1], SOL_SOCKET, SO_SNDBUFFORCE, &wanted, sizeof wanted) != 0)
        (void)setsockopt(link->ends[1], SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted);
    return NULL;
}

static void close_pair(struct link *link)
{
    for (int i = 0; i < 2; i++)
        if (link->ends[i] >= 0)
            close(link->ends[i]);
}

static bool join_pair(struct link *link)
{
    const int other = link->side == SENDER ? 0 : 1;

    close(link->ends[other]);
    link->ends[other] = -1;
    return true;
}

static void leave_nothing(struct link *link)
{
    (void)link;
}

static bool write_all(struct link *link, unsigned char *place, unsigned n)
{
    for (size_t left = n * link->n_bytes; left > 0;) {
        const ssize_t done = write(link->ends[1], place, left);
        if (done < 0 && errno != EINTR)
            return false;
        place += done > 0 ? done : 0;
        left -= done > 0 ? (size_t)done : 0;
    }
    return true;
}

static bool has_come(const struct link *link)
{
    struct pollfd what = {link->ends[0], POLLIN, 0};
    return !link->polls || poll(&what, 1, 0) > 0;
}

/* Whole messages; what is left of one stays in the buffer, and stands at its beginning then. */
static int64_t read_some(struct link *link, unsigned n, unsigned char **place)
{
    const size_t most = n * link->n_bytes;

    if (!has_come(link))
        return 0;
    while (link->n_there < link->n_bytes) {
        const ssize_t got = read(link->ends[0], link->buffer + link->n_there, most - link->n_there);
        if (got <= 0 && !(got < 0 && errno == EINTR))
            return -1;
        link->n_there += got > 0 ? (size_t)got : 0;
    }
    *place = link->buffer;
    return (int64_t)(link->n_there / link->n_bytes);
}

static bool drop_read(struct link *link, unsigned char *place, unsigned n)
{
    const size_t done = n * link->n_bytes;

    memmove(place, place + done, link->n_there - done);
    link->n_there -= done;
    return true;
}

#define PAIR_FUNCTIONS                                                           \
    .can_block = true, .can_poll = true, .open = open_pair, .close = close_pair, \
    .join = join_pair, .leave = leave_nothing, .reserve = link_reserve_buffer,   \
    .commit = write_all, .receive = read_some, .release = drop_read

const struct way pipe_one = {.name = "pipe", .variant = PIPE, .batch = 1, PAIR_FUNCTIONS};
const struct way pipe_batched = {
    .name = "pipe, batched", .variant = PIPE, .batch = LINK_BATCH, PAIR_FUNCTIONS};
const struct way stream = {.name = "unix stream", .variant = STREAM, .batch = 1, PAIR_FUNCTIONS};
const struct way stream_batched = {
    .name = "unix stream, batched", .variant = STREAM, .batch = LINK_BATCH, PAIR_FUNCTIONS};

/* A message each */

static const char *open_datagrams(struct link *link)
{
    const char *why = open_pair(link);
    char *message = why == NULL ? calloc(1, link->n_bytes) : NULL;

    if (message == NULL)
        return why != NULL ? why : "no memory";
    /* Whether one of this size is taken at all. */
    if (send(link->ends[1], message, link->n_bytes, MSG_DONTWAIT) != (ssize_t)link->n_bytes)
        why = strerror(errno);
    else if (recv(link->ends[0], message, link->n_bytes, 0) != (ssize_t)link->n_bytes)
        why = "it does not come whole";
    free(message);
    return why;
}

const struct way datagrams = {.name = "unix datagrams",
                              .variant = DATAGRAMS,
                              .batch = 1,
                              .can_block = true,
                              .can_poll = true,
                              .open = open_datagrams,
                              .close = close_pair,
                              .join = join_pair,
                              .leave = leave_nothing,
                              .reserve = link_reserve_buffer,
                              .commit = write_all,
                              .receive = read_some,
                              .release = drop_read};

/* Message queues: the descriptor is one for both sides */

static const char *open_queue(struct link *link)
{
    const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    const uint64_t n_frames = link_frames(link);
    struct mq_attr wanted = {.mq_maxmsg = n_frames > 1024 ? 1024 : (long)n_frames,
                             .mq_msgsize = (long)link->n_bytes};

    (void)setrlimit(RLIMIT_MSGQUEUE, &all); /* where we may */
    snprintf(link->name, sizeof link->name, "/quire-share-bench-%d", (int)getpid());
    mqd_t queue = mq_open(link->name, O_RDWR | O_CREAT | O_EXCL, 0600, &wanted);
    if (queue < 0) {
        wanted.mq_maxmsg = 10; /* what everybody may have */
        queue = mq_open(link->name, O_RDWR | O_CREAT | O_EXCL, 0600, &wanted);
    }
    if (queue < 0)
        return errno == EINVAL ? "/proc/sys/fs/mqueue does not allow it" : strerror(errno);
    mq_unlink(link->name);
    link->ends[0] = queue;
    return NULL;
}

static bool join_queue(struct link *link)
{
    (void)link;
    return true;
}

static bool send_queue(struct link *link, unsigned char *place, unsigned n)
{
    (void)n;
    return mq_send(link->ends[0], (char *)place, link->n_bytes, 0) == 0;
}

static int64_t receive_queue(struct link *link, unsigned n, unsigned char **place)
{
    (void)n;
    if (!has_come(link))
        return 0;
    *place = link->buffer;
    return mq_receive(link->ends[0], (char *)link->buffer, link->n_bytes, NULL) ==
                   (ssize_t)link->n_bytes
               ? 1
               : -1;
}

const struct way message_queue = {.name = "POSIX queue",
                                  .batch = 1,
                                  .can_block = true,
                                  .can_poll = true,
                                  .open = open_queue,
                                  .close = close_pair,
                                  .join = join_queue,
                                  .leave = leave_nothing,
                                  .reserve = link_reserve_buffer,
                                  .commit = send_queue,
                                  .receive = receive_queue,
                                  .release = link_release_nothing};
