/* SPDX-License-Identifier: Apache-2.0 */
/*
 * procfs: reads the kernel's text files line by line through one buffer of fixed size.
 *
 *   buffer  [ handed out | begin .. unread .. end | free ]
 *
 * A line that ends inside the unread part is terminated in place. Otherwise the unread part moves
 * to the front and more is read behind it; a line that fills the whole buffer is handed out cut,
 * and the rest of it comes as the next line.
 *
 * Invariant P1: begin <= end <= PROCFS_LINE_BYTES - 1, so there is always room for the terminator.
 */
#include "observe/procfs.h"

#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

int procfs_open(struct procfs_reader *reader, const char *path)
{
    int fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);

    if (fd < 0)
        return fd;
    reader->fd = fd;
    reader->at_end = false;
    reader->begin = reader->end = 0;
    return 0;
}

void procfs_close(struct procfs_reader *reader)
{
    sys_close(reader->fd);
    reader->fd = -1;
}

/* Makes room at the end of the buffer and reads more into it. */
static void refill(struct procfs_reader *reader)
{
    size_t n_unread = reader->end - reader->begin;

    memmove(reader->buffer, reader->buffer + reader->begin, n_unread);
    reader->begin = 0;
    reader->end = n_unread;

    ssize_t n;
    do
        n = sys_read(reader->fd, reader->buffer + n_unread, sizeof reader->buffer - 1 - n_unread);
    while (n == -EINTR);
    if (n <= 0)
        reader->at_end = true;
    else
        reader->end += (size_t)n;
}

char *procfs_line(struct procfs_reader *reader)
{
    for (;;) {
        char *line = reader->buffer + reader->begin;
        size_t n_unread = reader->end - reader->begin;
        char *newline = memchr(line, '\n', n_unread);

        if (newline != NULL) {
            *newline = '\0';
            reader->begin += (size_t)(newline - line) + 1;
            return line;
        }
        bool full = n_unread == sizeof reader->buffer - 1;
        if (reader->at_end || full) {
            if (n_unread == 0)
                return NULL;
            line[n_unread] = '\0'; /* P1 */
            reader->begin = reader->end;
            return line;
        }
        refill(reader);
    }
}

int procfs_read_line(const char *path, char *buffer, size_t n_bytes)
{
    struct procfs_reader reader;
    int result = procfs_open(&reader, path);

    buffer[0] = '\0';
    if (result < 0)
        return result;
    const char *line = procfs_line(&reader);
    if (line != NULL) {
        size_t n = strnlen(line, n_bytes - 1);
        memcpy(buffer, line, n);
        buffer[n] = '\0';
    }
    procfs_close(&reader);
    return 0;
}

bool procfs_digits(const char **text, uint64_t *value)
{
    const char *at = *text;
    uint64_t sum = 0;

    if (*at < '0' || *at > '9')
        return false;
    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(sum, 10u, &sum) ||
            __builtin_add_overflow(sum, (uint64_t)(*at - '0'), &sum))
            return false;
    *text = at;
    *value = sum;
    return true;
}

int procfs_read_u64(const char *path, uint64_t *value)
{
    char line[64];
    int result = procfs_read_line(path, line, sizeof line);
    const char *at = line;

    if (result < 0)
        return result;
    return procfs_digits(&at, value) ? 0 : -EINVAL;
}

int procfs_read_field(const char *path, const char *key, uint64_t *value)
{
    struct procfs_reader reader;
    size_t n_key = strlen(key);
    int result = procfs_open(&reader, path);

    if (result < 0)
        return result;
    result = -ENOENT;
    for (const char *line; result == -ENOENT && (line = procfs_line(&reader)) != NULL;) {
        if (strncmp(line, key, n_key) != 0)
            continue;
        line += n_key;
        line += strspn(line, " \t");
        if (!procfs_digits(&line, value))
            result = -EINVAL;
        else if (strncmp(line, " kB", 3) != 0)
            result = 0;
        else
            result = __builtin_mul_overflow(*value, 1024u, value) ? -EINVAL : 0;
    }
    procfs_close(&reader);
    return result;
}
