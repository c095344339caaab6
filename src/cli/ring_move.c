/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring_move: `quire ring put` and `quire ring get`.
 *
 * A byte stream is read straight into the ring, and written straight from it. Frames go through a
 * buffer: a pipe may end or pause in the middle of one, and frames that are overwritten while they
 * are written out must not get out.
 *
 * Who fails does not detach: its end is noticed as a death, so that the other side fails too.
 */
#include "base/sys.h"
#include "cli/cli.h"
#include "cli/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_BYTES ((size_t)256 << 10)
#define PIPE_BYTES (1 << 20)
#define LOOK_MS \
    (QUIRE_RING_LOOK_NS / 1000000) /* whether the consumer is there, while there is no input */

/* Larger pipes, less often full: where the system lets us. */
static void widen_pipe(int fd)
{
    (void)fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES);
}

static bool is_plain_stream(const struct quire_ring *ring)
{
    return ring->frame_bytes == 1 && ring->kind == QUIRE_RING_ONE_TO_ONE &&
           ring->full != QUIRE_RING_OVERWRITE;
}

static int tell(const char *name, const char *other, int64_t error)
{
    if (error == -EPIPE)
        cli_error("ring '%s': its %s has left", name, other);
    else if (error == -EOWNERDEAD)
        cli_error("ring '%s': its %s died", name, other);
    else if (error == -EAGAIN)
        cli_error("ring '%s' is full", name);
    else if (error == -EPROTO)
        cli_error("ring '%s': its header is damaged; somebody writes to it who should not", name);
    else
        cli_error("ring '%s': %s", name, strerror((int)-error));
    return EXIT_FAILURE;
}

/* Until there is input, or its end. False, and told: the other side has gone meanwhile. */
static bool await_input(const char *name, struct quire_ring *ring)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

    while (poll(&input, 1, LOOK_MS) <= 0) {
        const int error = quire_ring_wait(ring, 1, 0);
        if (error != 0 && error != -ETIMEDOUT) {
            tell(name, "consumer", error);
            return false;
        }
    }
    return true;
}

static ssize_t read_some(const char *name, struct quire_ring *ring, void *buffer, size_t n_bytes)
{
    ssize_t n;

    if (!await_input(name, ring))
        return -EPIPE;
    do
        n = sys_read(STDIN_FILENO, buffer, n_bytes);
    while (n == -EINTR);
    if (n < 0)
        cli_error("cannot read standard input: %s", strerror((int)-n));
    return n;
}

static bool write_all(const void *buffer, size_t n_bytes)
{
    const char *at = buffer;

    while (n_bytes > 0) {
        const ssize_t n = sys_write(STDOUT_FILENO, at, n_bytes);
        if (n < 0 && n != -EINTR) {
            cli_error("cannot write to standard output: %s", strerror((int)-n));
            return false;
        }
        at += n > 0 ? n : 0;
        n_bytes -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* The ring is full. What does not fit is one byte at first, and none if the input ends here: it
 * neither waits nor fails for nothing. 1: it went in; 0: the end; or an error, which is told. */
static int put_byte(const char *name, struct quire_ring *ring)
{
    char byte;
    const ssize_t n = read_some(name, ring, &byte, 1);

    if (n <= 0)
        return (int)n;
    const int64_t done = quire_ring_put(ring, &byte, 1, QUIRE_RING_FOREVER);
    if (done == 1)
        return 1;
    tell(name, "consumer", done);
    return -1;
}

/* Straight from the input into the ring; likewise. */
static int put_piece(const char *name, struct quire_ring *ring)
{
    void *place;
    const int64_t room = quire_ring_reserve(ring, BUFFER_BYTES, &place);
    const ssize_t n = room > 0 ? read_some(name, ring, place, (size_t)room) : 0;

    if (room > 0 && n <= 0)
        return (int)n;
    if (room <= 0 || quire_ring_commit(ring, place, (uint64_t)n) != 0) {
        tell(name, "consumer", -EPROTO);
        return -1;
    }
    return 1;
}

static int put_stream(const char *name, struct quire_ring *ring)
{
    for (;;) {
        const int error = quire_ring_wait(ring, 1, 0); /* tells if nobody is there, too */
        int result;
        if (error == -ETIMEDOUT)
            result = put_byte(name, ring);
        else if (error == 0)
            result = put_piece(name, ring);
        else
            return tell(name, "consumer", error);
        if (result <= 0)
            return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    }
}

static int put_frames(const char *name, struct quire_ring *ring, unsigned char *buffer,
                      size_t buffer_bytes)
{
    size_t n_there = 0;

    for (;;) {
        const ssize_t n = read_some(name, ring, buffer + n_there, buffer_bytes - n_there);
        if (n < 0)
            return EXIT_FAILURE;
        if (n == 0 && n_there > 0)
            cli_error("the input ends in the middle of a frame: %zu of %u bytes", n_there,
                      ring->frame_bytes);
        if (n == 0)
            return n_there == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
        n_there += (size_t)n;
        const uint64_t n_frames = n_there / ring->frame_bytes;
        int64_t done = quire_ring_wait(ring, 1, 0); /* is anybody there? */
        if (done != -EPIPE && done != -EOWNERDEAD)
            done = quire_ring_put(ring, buffer, n_frames, QUIRE_RING_FOREVER);
        if (done < (int64_t)n_frames)
            return tell(name, "consumer", done < 0 ? done : -EAGAIN);
        n_there -= n_frames * ring->frame_bytes;
        memmove(buffer, buffer + n_frames * ring->frame_bytes, n_there);
    }
}

/* At the end of the stream: 0, or it is told why. */
static int end_of(const char *name, int64_t result)
{
    return result == 0 || result == -EPIPE ? EXIT_SUCCESS : tell(name, "producer", result);
}

static int get_stream(const char *name, struct quire_ring *ring)
{
    for (;;) {
        void *place;
        const int error = quire_ring_wait(ring, 1, QUIRE_RING_FOREVER);
        const int64_t n = error != 0 ? error : quire_ring_peek(ring, BUFFER_BYTES, &place);
        if (n < 0)
            return end_of(name, n);
        if (n > 0 && !write_all(place, (size_t)n))
            return EXIT_FAILURE;
        if (n > 0 && quire_ring_release(ring, place, (uint64_t)n) != 0)
            return tell(name, "producer", -EPROTO);
    }
}

static int get_frames(const char *name, struct quire_ring *ring, unsigned char *buffer,
                      size_t buffer_bytes)
{
    for (;;) {
        const int64_t n = quire_ring_get(ring, buffer, buffer_bytes / ring->frame_bytes,
                                         QUIRE_RING_FOREVER);
        if (n <= 0 && n != -EOVERFLOW)
            return end_of(name, n);
        if (n > 0 && !write_all(buffer, (size_t)n * ring->frame_bytes))
            return EXIT_FAILURE;
    }
}

static int move_frames(const char *name, struct quire_ring *ring, enum quire_ring_side side)
{
    const size_t n_bytes = ring->frame_bytes > BUFFER_BYTES ? ring->frame_bytes : BUFFER_BYTES;
    unsigned char *buffer = malloc(n_bytes);

    if (buffer == NULL)
        return tell(name, "", -ENOMEM);
    const int status = side == QUIRE_RING_PRODUCER ? put_frames(name, ring, buffer, n_bytes)
                                                   : get_frames(name, ring, buffer, n_bytes);
    free(buffer);
    return status;
}

static int move(const char *name, enum quire_ring_side side)
{
    struct ring_open open;
    int status;

    signal(SIGPIPE, SIG_IGN);
    if (ring_open(name, side, &open) != EXIT_SUCCESS)
        return EXIT_FAILURE;
    widen_pipe(side == QUIRE_RING_PRODUCER ? STDIN_FILENO : STDOUT_FILENO);
    if (!is_plain_stream(&open.ring))
        status = move_frames(name, &open.ring, side);
    else if (side == QUIRE_RING_PRODUCER)
        status = put_stream(name, &open.ring);
    else
        status = get_stream(name, &open.ring);
    if (status == EXIT_SUCCESS)
        quire_ring_detach(&open.ring);
    ring_hang_up(&open);
    return status;
}

int ring_put(int argc, char **argv)
{
    return move(ring_parse_name(argc, argv,
                                "Copy standard input into a ring, until it ends."
                                "\v"
                                "Where the ring is full this waits, unless the ring was made "
                                "otherwise.\n"
                                "\n"
                                "Exit status:\n"
                                "  0    all of it is in the ring\n"
                                "  1    it is not: the consumer has left or died, the ring is "
                                "full and does not "
                                "wait, or the input can't be read\n"
                                "  125  the command line can't be understood",
                                NULL, NULL),
                QUIRE_RING_PRODUCER);
}

int ring_get(int argc, char **argv)
{
    return move(ring_parse_name(argc, argv,
                                "Copy what comes through a ring to standard output, until its "
                                "producers have left."
                                "\v"
                                "Exit status:\n"
                                "  0    all of it was written, and the producer ended well\n"
                                "  1    it was not: the producer died or failed, or the output "
                                "can't be written\n"
                                "  125  the command line can't be understood",
                                NULL, NULL),
                QUIRE_RING_CONSUMER);
}
