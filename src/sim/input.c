/* SPDX-License-Identifier: Apache-2.0 */
/* input: see input.h. */
#include "sim/input.h"

#include "base/sys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define PACKED_BYTES ((size_t)256 << 10)
#define WINDOW_BYTES \
    (4 * INPUT_MOST_BYTES) /* fits a cache: it is walked twice, by the kernel too */

static ssize_t read_some(int fd, void *buffer, size_t n_bytes)
{
    ssize_t got;
    do
        got = sys_read(fd, buffer, n_bytes);
    while (got == -EINTR);
    return got;
}

/* More packed bytes; false in *more: the end. */
static int fill_packed(struct input *input, bool *more)
{
    *more = true;
    if (input->packed_begin < input->packed_end)
        return 0;
    ssize_t got = read_some(input->fd, input->packed, PACKED_BYTES);
    if (got < 0)
        return (int)got;
    input->packed_begin = 0;
    input->packed_end = (size_t)got;
    *more = got > 0;
    return 0;
}

static int unpack(struct input *input, size_t room)
{
    for (;;) {
        bool more;
        int error = fill_packed(input, &more);
        if (error)
            return error;
        if (!more && !input->in_frame) {
            input->has_ended = true;
            return 0;
        }
        ZSTD_inBuffer in = {input->packed, input->packed_end, input->packed_begin};
        ZSTD_outBuffer out = {input->data + input->end, room, 0};
        size_t left = ZSTD_decompressStream(input->unpacker, &out, &in);
        if (ZSTD_isError(left) || (!more && out.pos == 0))
            return -EBADMSG;
        input->packed_begin = in.pos;
        input->in_frame = left != 0;
        input->end += out.pos;
        if (out.pos > 0)
            return 0;
    }
}

/* At least one more byte, or has_ended. There is room. */
static int fill(struct input *input)
{
    size_t room = INPUT_MOST_BYTES - input->end;
    if (input->unpacker != NULL)
        return unpack(input, room);
    ssize_t got = read_some(input->fd, input->data + input->end, room);
    if (got < 0)
        return (int)got;
    input->end += (size_t)got;
    input->has_ended = got == 0;
    return 0;
}

/* ---- windows ---- */

static void unmap(struct input *input)
{
    if (input->window_bytes > 0)
        sys_munmap(input->data, input->window_bytes);
    input->window_bytes = 0;
    input->begin = input->end = 0;
    input->data = NULL;
}

/* The window that begins in the page of file offset `from`, which is before mapped_end. There is no
 * other: two would be twice the memory. On an error nothing has changed. */
static int map_window(struct input *input, off_t from)
{
    const off_t at = from & ~(off_t)(SYS_PAGE_SIZE - 1);
    const off_t left = input->mapped_end - at;
    const size_t n = left < (off_t)WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
    void *window = sys_mmap(NULL, n, PROT_READ, MAP_SHARED | MAP_POPULATE, input->fd, at);
    if (sys_is_error(window))
        return sys_error(window);
    input->data = window;
    input->window_bytes = n;
    input->window_at = at;
    input->begin = (size_t)(from - at);
    input->end = n;
    return 0;
}

/* Behind the last window: what it has left moves to memory, and reading goes on from there. */
static int end_windows(struct input *input)
{
    unsigned char *data = malloc(INPUT_MOST_BYTES);
    if (data == NULL)
        return -ENOMEM;
    const size_t left = input_has(input);
    memcpy(data, input_at(input), left);
    unmap(input);
    input->data = data;
    input->begin = 0;
    input->end = left;
    return lseek(input->fd, input->mapped_end, SEEK_SET) < 0 ? -errno : 0;
}

/* n more bytes than there are, as far as the file goes. */
static int next_window(struct input *input)
{
    const off_t from = input->window_at + (off_t)input->begin;
    struct stat status;
    if (fstat(input->fd, &status) == 0 && status.st_size < input->mapped_end)
        input->mapped_end = status.st_size; /* cut off: there are no pages behind */
    const off_t left = input->mapped_end - from;
    if (left < (off_t)input_has(input))
        input->end = input->begin + (left > 0 ? (size_t)left : 0);
    if (left <= (off_t)input_has(input))
        return end_windows(input);
    unmap(input);
    return map_window(input, from);
}

/* Of a plain file of which some has been read: maps it, if it is large enough to gain by it. */
static void begin_windows(struct input *input)
{
    struct stat status;
    const off_t here = lseek(input->fd, 0, SEEK_CUR);
    if (here < (off_t)input->end || fstat(input->fd, &status) != 0 || !S_ISREG(status.st_mode) ||
        status.st_size - here < (off_t)WINDOW_BYTES)
        return;
    unsigned char *data = input->data;
    input->mapped_end = status.st_size;
    if (map_window(input, here - (off_t)input->end) == 0) /* not every file system maps */
        free(data);
}

ssize_t input_need(struct input *input, size_t n)
{
    while (input->window_bytes > 0 && input_has(input) < n) {
        int error = next_window(input);
        if (error)
            return error;
    }
    if (input_has(input) < n && input->begin + n > INPUT_MOST_BYTES / 2) {
        memmove(input->data, input_at(input), input_has(input));
        input->end -= input->begin;
        input->begin = 0;
    }
    while (input_has(input) < n && !input->has_ended) {
        int error = fill(input);
        if (error)
            return error;
    }
    return (ssize_t)input_has(input);
}

/* What was read is packed: it moves over to `packed`. */
static int begin_unpacking(struct input *input)
{
    input->packed = malloc(PACKED_BYTES);
    input->unpacker = ZSTD_createDStream();
    if (input->packed == NULL || input->unpacker == NULL)
        return -ENOMEM;
    memcpy(input->packed, input->data, input->end);
    input->packed_end = input->end;
    input->end = 0;
    input->has_ended = false;
    return 0;
}

int input_open(struct input *input, int fd)
{
    static const unsigned char magic[] = {0x28, 0xb5, 0x2f, 0xfd};
    *input = (struct input){.fd = fd};
    input->data = malloc(INPUT_MOST_BYTES);
    if (input->data == NULL)
        return -ENOMEM;
    while (input->end < sizeof magic && !input->has_ended) {
        ssize_t got = read_some(fd, input->data + input->end, PACKED_BYTES - input->end);
        if (got < 0)
            return (int)got;
        input->end += (size_t)got;
        input->has_ended = got == 0;
    }
    if (input->end >= sizeof magic && memcmp(input->data, magic, sizeof magic) == 0)
        return begin_unpacking(input);
    begin_windows(input);
    return 0;
}

void input_close(struct input *input)
{
    ZSTD_freeDStream(input->unpacker);
    free(input->packed);
    if (input->window_bytes > 0)
        unmap(input);
    free(input->data);
    *input = (struct input){0};
}

int input_line(struct input *input, size_t most, const char **line, size_t *length)
{
    for (size_t n = 0;;) {
        const unsigned char *at = input_at(input);
        const unsigned char *newline = memchr(at + n, '\n', input_has(input) - n);
        n = newline != NULL ? (size_t)(newline - at) : input_has(input);
        if (n > most)
            return -E2BIG;
        if (newline != NULL || input->has_ended) {
            *line = (const char *)at;
            *length = n > 0 && at[n - 1] == '\r' ? n - 1 : n;
            input_pass(input, n + (newline != NULL));
            return newline != NULL || n > 0;
        }
        ssize_t got = input_need(input, n + 1);
        if (got < 0)
            return (int)got;
    }
}
