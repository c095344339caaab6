/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source: see source.h.
 *
 *   root ── openat ── pread from 0 to the end ── buffer ── line ── line ── ...
 *            '- kept: once a path                 grows; one file at a time
 *
 * The kernel makes these files while they are read, so a file is taken in as few reads as it fits
 * in, and whole, before a line of it is looked at. All of them end with a newline: one that does
 * not was cut short on its way here.
 *
 * Invariant S1: buffer[n_bytes] is 0, and at <= buffer + n_bytes.
 */
#include "observe/source.h"

#include "base/sys.h"
#include "observe/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BYTES ((size_t)16 << 10)
#define MAX_BYTES ((size_t)1 << 30)
#define SHOWN_BYTES 60 /* of a line, in a message */

bool source_grow(void *array, size_t *room, size_t n, size_t element_bytes)
{
    size_t wanted = *room > 0 ? *room : 16;
    void *old, *grown;

    if (n <= *room)
        return true;
    while (wanted < n)
        wanted *= 2;
    memcpy(&old, array, sizeof old);
    grown = reallocarray(old, wanted, element_bytes);
    if (grown == NULL)
        return false;
    memcpy(array, &grown, sizeof grown);
    *room = wanted;
    return true;
}

uint64_t source_reason(int error)
{
    return error == -EACCES || error == -EPERM ? QUIRE_OBSERVE_DENIED : QUIRE_OBSERVE_ABSENT;
}

int source_failed(struct quire_observe *observe, const char *path, int error)
{
    snprintf(observe->message, sizeof observe->message, "cannot read /%s: %s", path,
             strerror(-error));
    return error;
}

static int read_fd(struct quire_observe *observe, int fd, bool is_record)
{
    observe->n_bytes = 0;
    observe->line_number = 0;
    observe->line = NULL;
    for (;;) {
        size_t wanted = observe->n_bytes + 2 > FIRST_BYTES ? observe->n_bytes + 2 : FIRST_BYTES;
        if (wanted > MAX_BYTES)
            return -EFBIG;
        if (!source_grow(&observe->buffer, &observe->buffer_bytes, wanted, 1))
            return -ENOMEM;
        ssize_t n = sys_pread(fd, observe->buffer + observe->n_bytes,
                              observe->buffer_bytes - 1 - observe->n_bytes,
                              (off_t)observe->n_bytes);
        if (n == -EINTR)
            continue;
        if (n < 0)
            return (int)n;
        observe->n_bytes += (size_t)n;
        if (n == 0 || (is_record && observe->n_bytes < observe->buffer_bytes - 1))
            break;
    }
    observe->buffer[observe->n_bytes] = '\0'; /* S1 */
    observe->at = observe->buffer;
    return 0;
}

int source_read_fd(struct quire_observe *observe, int fd)
{
    return read_fd(observe, fd, false);
}

int source_read_record(struct quire_observe *observe, int fd)
{
    return read_fd(observe, fd, true);
}

static int kept_fd(struct quire_observe *observe, const char *path)
{
    for (unsigned i = 0; i < observe->n_kept; i++)
        if (observe->kept[i].path == path)
            return observe->kept[i].fd;
    return sys_openat(observe->root_fd, path, O_RDONLY | O_CLOEXEC, 0);
}

/* Whether the descriptor stays open. */
static bool keep_fd(struct quire_observe *observe, const char *path, int fd)
{
    for (unsigned i = 0; i < observe->n_kept; i++)
        if (observe->kept[i].path == path)
            return true;
    if (observe->n_kept == SOURCE_MAX_KEPT)
        return false;
    observe->kept[observe->n_kept].path = path;
    observe->kept[observe->n_kept++].fd = fd;
    return true;
}

int source_read_raw(struct quire_observe *observe, int directory_fd, const char *path)
{
    int fd = sys_openat(directory_fd, path, O_RDONLY | O_CLOEXEC, 0);

    if (fd < 0)
        return fd;
    int error = source_read_fd(observe, fd);
    sys_close(fd);
    return error;
}

int source_check(struct quire_observe *observe)
{
    size_t n_lines = 1;

    if (observe->n_bytes == 0) {
        snprintf(observe->message, sizeof observe->message, "/%s is empty", observe->path);
        return -EBADMSG;
    }
    if (memchr(observe->buffer, '\0', observe->n_bytes) != NULL) {
        snprintf(observe->message, sizeof observe->message,
                 "/%s is no text: there is a zero byte in it", observe->path);
        return -EBADMSG;
    }
    if (observe->buffer[observe->n_bytes - 1] == '\n')
        return 0;
    for (size_t i = 0; i < observe->n_bytes; i++)
        n_lines += observe->buffer[i] == '\n';
    snprintf(observe->message, sizeof observe->message, "/%s is cut short: it ends in line %zu",
             observe->path, n_lines);
    return -EBADMSG;
}

int source_read(struct quire_observe *observe, const char *path, bool keep)
{
    int fd = keep ? kept_fd(observe, path)
                  : sys_openat(observe->root_fd, path, O_RDONLY | O_CLOEXEC, 0);

    if (fd < 0)
        return source_failed(observe, path, fd);
    snprintf(observe->path, sizeof observe->path, "%s", path);
    int error = source_read_fd(observe, fd);
    if (!keep || !keep_fd(observe, path, fd))
        sys_close(fd);
    return error < 0 ? source_failed(observe, path, error) : source_check(observe);
}

char *source_line(struct quire_observe *observe)
{
    char *end = observe->buffer + observe->n_bytes;

    if (observe->at >= end)
        return NULL;
    char *newline = memchr(observe->at, '\n', (size_t)(end - observe->at));
    observe->line = observe->at;
    observe->line_number++;
    observe->at = newline != NULL ? newline + 1 : end;
    if (newline != NULL)
        *newline = '\0';
    return observe->line;
}

int source_bad(struct quire_observe *observe, const char *problem)
{
    const char *line = observe->line != NULL ? observe->line : "";

    snprintf(observe->message, sizeof observe->message, "/%s: line %u, '%.*s%s': %s", observe->path,
             observe->line_number, SHOWN_BYTES, line, strlen(line) > SHOWN_BYTES ? "..." : "",
             problem);
    return -EBADMSG;
}

int source_lacks(struct quire_observe *observe, const char *what)
{
    snprintf(observe->message, sizeof observe->message, "/%s: there is no %s in it", observe->path,
             what);
    return -EBADMSG;
}

uint64_t source_number(struct quire_observe *observe, const char *path)
{
    uint64_t value;
    int error = source_read_raw(observe, observe->root_fd, path);

    if (error < 0)
        return source_reason(error);
    const char *at = observe->buffer;
    return procfs_digits(&at, &value) && quire_observe_known(value) ? value : QUIRE_OBSERVE_ABSENT;
}

bool source_word(struct quire_observe *observe, const char *path, char *word, size_t n_bytes)
{
    word[0] = '\0';
    if (source_read_raw(observe, observe->root_fd, path) < 0)
        return false;
    /* of several, the one in force stands in brackets */
    const char *open = strchr(observe->buffer, '[');
    const char *from = open != NULL ? open + 1 : observe->buffer;
    snprintf(word, n_bytes, "%.*s", (int)strcspn(from, "] \n"), from);
    return word[0] != '\0';
}

int source_open_directory(int at, const char *path, DIR **directory)
{
    int fd = sys_openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

    if (fd < 0)
        return fd;
    *directory = fdopendir(fd);
    if (*directory != NULL)
        return 0;
    sys_close(fd);
    return -ENOMEM;
}
