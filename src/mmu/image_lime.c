/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_lime: LiME dumps. Ranges one after the other, each behind a header of 32 bytes.
 *
 *     magic "EMiL", version 1 (32 bits each), first address, last address (64 bits), 8 bytes of
 *     zeros; little endian
 */
#include "mmu/image.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define MAGIC 0x4c694d45u
#define HEADER_BYTES 32

struct header {
    uint32_t magic, version;
    uint64_t first, last;
    uint64_t reserved;
};
_Static_assert(sizeof(struct header) == HEADER_BYTES, "the format's header");

static bool knows(const struct image_file *file)
{
    uint32_t magic;

    if (file->n_bytes < sizeof magic)
        return false;
    memcpy(&magic, file->bytes, sizeof magic);
    return le32toh(magic) == MAGIC;
}

static int read_header(const struct image_file *file, uint64_t at, struct header *header,
                       char *message)
{
    if (file->n_bytes - at < HEADER_BYTES)
        return image_refuse(-EINVAL, message, "the header at byte %llu is cut off at byte %llu",
                            (unsigned long long)at, (unsigned long long)file->n_bytes);
    memcpy(header, file->bytes + at, HEADER_BYTES);
    header->first = le64toh(header->first);
    header->last = le64toh(header->last);
    if (le32toh(header->magic) != MAGIC || le32toh(header->version) != 1)
        return image_refuse(-EINVAL, message, "there is no header of LiME version 1 at byte %llu",
                            (unsigned long long)at);
    if (header->last < header->first || header->last - header->first == UINT64_MAX)
        return image_refuse(-EINVAL, message, "the range at byte %llu ends before it begins",
                            (unsigned long long)at);
    return 0;
}

static int read_lime(struct quire_image *image, struct image_file *file, uint64_t start,
                     char *message)
{
    uint64_t at = 0;

    while (at < file->n_bytes) {
        struct header header;
        int error = read_header(file, at, &header, message);
        if (error != 0)
            return error;
        uint64_t n_bytes = header.last - header.first + 1;
        error = image_add(image, file, header.first, n_bytes, at + HEADER_BYTES, message);
        if (error != 0)
            return error;
        at += HEADER_BYTES;
        if (n_bytes > file->n_bytes - at) /* cut off: the rest is told when it is read */
            break;
        at += n_bytes;
    }
    return 0;
}

const struct image_reader image_lime = {"LiME", knows, read_lime};
