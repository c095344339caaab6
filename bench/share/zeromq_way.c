/* SPDX-License-Identifier: Apache-2.0 */
/* zeromq_way: a ZeroMQ pipeline over ipc:// (Debian: libzmq3-dev). */
#include "way.h"

#ifdef HAVE_ZMQ

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

static const char *open_place(struct link *link)
{
    char directory[] = "/tmp/quire-share-XXXXXX";

    if (mkdtemp(directory) == NULL)
        return strerror(errno);
    snprintf(link->name, sizeof link->name, "ipc://%s/pipe", directory);
    return NULL;
}

static void close_place(struct link *link)
{
    char *path = link->name + strlen("ipc://");

    unlink(path);
    *strrchr(path, '/') = '\0';
    rmdir(path);
}

/* Contexts have threads, which no fork takes along. */
static bool join(struct link *link)
{
    const uint64_t n_frames = link_frames(link);
    const int high_water = n_frames > 100000 ? 100000 : (int)n_frames;

    link->peer = zmq_ctx_new();
    link->socket = zmq_socket(link->peer, link->side == SENDER ? ZMQ_PUSH : ZMQ_PULL);
    zmq_setsockopt(link->socket, link->side == SENDER ? ZMQ_SNDHWM : ZMQ_RCVHWM, &high_water,
                   sizeof high_water);
    return (link->side == SENDER ? zmq_connect(link->socket, link->name)
                                 : zmq_bind(link->socket, link->name)) == 0;
}

static void leave(struct link *link)
{
    zmq_close(link->socket);
    zmq_ctx_term(link->peer); /* waits until all is sent */
}

static int64_t reserve(struct link *link, unsigned n, unsigned char **place)
{
    zmq_msg_t *message = (zmq_msg_t *)(void *)link->buffer;

    (void)n;
    if (zmq_msg_init_size(message, link->n_bytes) != 0)
        return -1;
    *place = zmq_msg_data(message);
    return 1;
}

static bool commit(struct link *link, unsigned char *place, unsigned n)
{
    (void)place, (void)n;
    return zmq_msg_send((zmq_msg_t *)(void *)link->buffer, link->socket, 0) >= 0;
}

static int64_t receive(struct link *link, unsigned n, unsigned char **place)
{
    zmq_msg_t *message = (zmq_msg_t *)(void *)link->buffer;

    (void)n;
    zmq_msg_init(message);
    if (zmq_msg_recv(message, link->socket, link->polls ? ZMQ_DONTWAIT : 0) < 0)
        return errno == EAGAIN ? 0 : -1;
    *place = zmq_msg_data(message);
    return 1;
}

static bool release(struct link *link, unsigned char *place, unsigned n)
{
    (void)place, (void)n;
    zmq_msg_close((zmq_msg_t *)(void *)link->buffer);
    return true;
}

const struct way zeromq = {.name = "ZeroMQ ipc",
                           .batch = 1,
                           .can_block = true,
                           .can_poll = true,
                           .open = open_place,
                           .close = close_place,
                           .join = join,
                           .leave = leave,
                           .reserve = reserve,
                           .commit = commit,
                           .receive = receive,
                           .release = release};

#else

const struct way zeromq = {
    .name = "ZeroMQ ipc",
    .absent = "libzmq3-dev is not installed, or was not when this was set up"};

#endif
