/* SPDX-License-Identifier: Apache-2.0 */
/* source: see source.h. */
#include "sim/source.h"

#include "base/sys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define PACKED_BYTES ((size_t)256 << 10)

static ssize_t read_some(int fd, void *buffer, size_t n_bytes)
{
    ssize_t got;
    do
        got = sys_read(fd, buffer, n_bytes);
    while (got == -EINTR);
    return got;
}

/* More packed bytes; false in *more: the end. */
static int fill_packed(struct source *source, bool *more)
{
    *more = true;
    if (source->packed_begin < source->packed_end)
        return 0;
    ssize_t got = read_some(source->fd, source->packed, PACKED_BYTES);
    if (got < 0)
        return (int)got;
    source->packed_begin = 0;
    source->packed_end = (size_t)got;
    *more = got > 0;
    return 0;
}

static int unpack(struct source *source, size_t room)
{
    for (;;) {
        bool more;
        int error = fill_packed(source, &more);
        if (error)
            return error;
        if (!more && !source->in_frame) {
            source->has_ended = true;
            return 0;
        }
        ZSTD_inBuffer in = {source->packed, source->packed_end, source->packed_begin};
        ZSTD_outBuffer out = {source->data + source->end, room, 0};
        size_t left = ZSTD_decompressStream(source->unpacker, &out, &in);
        if (ZSTD_isError(left) || (!more && out.pos == 0))
            return -EBADMSG;
        source->packed_begin = in.pos;
        source->in_frame = left != 0;
        source->end += out.pos;
        if (out.pos > 0)
            return 0;
    }
}

/* At least one more byte, or has_ended. There is room. */
static int fill(struct source *source)
{
    size_t room = SOURCE_MOST_BYTES - source->end;
    if (source->unpacker != NULL)
        return unpack(source, room);
    ssize_t got = read_some(source->fd, source->data + source->end, room);
    if (got < 0)
        return (int)got;
    source->end += (size_t)got;
    source->has_ended = got == 0;
    return 0;
}

ssize_t source_need(struct source *source, size_t n)
{
    if (source_has(source) < n && source->begin + n > SOURCE_MOST_BYTES / 2) {
        memmove(source->data, source_at(source), source_has(source));
        source->end -= source->begin;
        source->begin = 0;
    }
    while (source_has(source) < n && !source->has_ended) {
        int error = fill(source);
        if (error)
            return error;
    }
    return (ssize_t)source_has(source);
}

/* What was read is packed: it moves over to `packed`. */
static int begin_unpacking(struct source *source)
{
    source->packed = malloc(PACKED_BYTES);
    source->unpacker = ZSTD_createDStream();
    if (source->packed == NULL || source->unpacker == NULL)
        return -ENOMEM;
    memcpy(source->packed, source->data, source->end);
    source->packed_end = source->end;
    source->end = 0;
    source->has_ended = false;
    return 0;
}

int source_open(struct source *source, int fd)
{
    static const unsigned char magic[] = {0x28, 0xb5, 0x2f, 0xfd};
    *source = (struct source){.fd = fd};
    source->data = malloc(SOURCE_MOST_BYTES);
    if (source->data == NULL)
        return -ENOMEM;
    while (source->end < sizeof magic && !source->has_ended) {
        ssize_t got = read_some(fd, source->data + source->end, PACKED_BYTES - source->end);
        if (got < 0)
            return (int)got;
        source->end += (size_t)got;
        source->has_ended = got == 0;
    }
    if (source->end >= sizeof magic && memcmp(source->data, magic, sizeof magic) == 0)
        return begin_unpacking(source);
    return 0;
}

void source_close(struct source *source)
{
    ZSTD_freeDStream(source->unpacker);
    free(source->packed);
    free(source->data);
    *source = (struct source){0};
}

int source_line(struct source *source, size_t most, const char **line, size_t *length)
{
    for (size_t n = 0;;) {
        const unsigned char *at = source_at(source);
        const unsigned char *newline = memchr(at + n, '\n', source_has(source) - n);
        n = newline != NULL ? (size_t)(newline - at) : source_has(source);
        if (n > most)
            return -E2BIG;
        if (newline != NULL || source->has_ended) {
            *line = (const char *)at;
            *length = n > 0 && at[n - 1] == '\r' ? n - 1 : n;
            source_pass(source, n + (newline != NULL));
            return newline != NULL || n > 0;
        }
        ssize_t got = source_need(source, n + 1);
        if (got < 0)
            return (int)got;
    }
}
