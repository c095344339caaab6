/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image: ranges of physical memory, sorted by address; see quire/image.h.
 *
 *     file --mmap--> bytes --a reader: image_elf.c, image_lime.c, image_raw.c--> image_add()
 *                          --image_kdump.c, page by page-----------------------> image_add_pages()
 *
 * Invariants:
 *   I1  ranges rise by start and do not overlap
 *   I2  n_present <= n_bytes, and bytes[0 .. n_present) may be read as long as the image lives
 *   I3  `bytes` of a file's range points into the file's mapping, even if nothing of it is present
 *   I4  a range with `pages` has n_present 0: image_at() knows it not, image_get() does
 *
 * What fails leaves the image as it was: ranges and files are taken back to their numbers before.
 */
#include "mmu/image.h"

#include "base/checked.h"
#include "mmu/image_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* In the order in which AUTO asks them; raw knows all. */
static const struct image_reader *const readers[] = {&image_elf, &image_lime, &image_kdump,
                                                     &image_foreign, &image_raw};

int image_refuse(int error, char *message, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, QUIRE_IMAGE_MESSAGE_BYTES, format, arguments);
    va_end(arguments);
    return error;
}

int quire_image_new(struct quire_image **image)
{
    *image = calloc(1, sizeof **image);
    return *image != NULL ? 0 : -ENOMEM;
}

static void unmap_file(struct image_file *file)
{
    image_pages_free(file->pages);
    image_flat_close(&file->flat);
    munmap(file->bytes, file->n_bytes);
    close(file->fd);
}

void quire_image_free(struct quire_image *image)
{
    if (image == NULL)
        return;
    for (size_t i = 0; i < image->n_files; i++)
        unmap_file(&image->files[i]);
    free(image->files);
    free(image->ranges);
    free(image);
}

/* The number of ranges that begin at or below `address`. */
static size_t count_below(const struct quire_image *image, uint64_t address)
{
    size_t low = 0, high = image->n_ranges;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (image->ranges[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct quire_image_range *image_range_at(const struct quire_image *image, uint64_t address)
{
    size_t n = count_below(image, address);

    if (n == 0)
        return NULL;
    const struct quire_image_range *range = &image->ranges[n - 1];
    return address - range->start < range->n_bytes ? range : NULL;
}

static int insert(struct quire_image *image, size_t at, const struct quire_image_range *range)
{
    if (image->n_ranges == image->max_ranges) {
        size_t max = image->max_ranges == 0 ? 8 : 2 * image->max_ranges;
        struct quire_image_range *larger = realloc(image->ranges, max * sizeof *larger);
        if (larger == NULL)
            return -ENOMEM;
        image->ranges = larger;
        image->max_ranges = max;
    }
    memmove(&image->ranges[at + 1], &image->ranges[at],
            (image->n_ranges - at) * sizeof image->ranges[0]);
    image->ranges[at] = *range;
    image->n_ranges++;
    return 0;
}

static void cut_front(struct quire_image_range *range, uint64_t n)
{
    range->start += n;
    range->n_bytes -= n;
    range->offset += n;
    if (n < range->n_present)
        range->bytes += n;
    range->n_present = n < range->n_present ? range->n_present - n : 0;
}

static bool is_of(const struct image_file *file, const struct quire_image_range *range)
{
    return (uintptr_t)range->bytes - (uintptr_t)file->bytes < file->n_bytes; /* I3 */
}

/* Inserts piece by piece what is not there yet; the rest has to be the same bytes of the file. */
static int merge(struct quire_image *image, const struct image_file *file,
                 struct quire_image_range range, char *message)
{
    uint64_t last = range.start + (range.n_bytes - 1);

    while (range.n_bytes > 0) {
        size_t at = count_below(image, range.start);
        const struct quire_image_range *below = at > 0 ? &image->ranges[at - 1] : NULL;
        if (below != NULL && range.start - below->start < below->n_bytes) {
            const bool is_same = below->start - below->offset == range.start - range.offset;
            if (!is_of(file, below) || (!is_same && !file->may_repeat))
                return image_refuse(-EEXIST, message,
                                    "overlaps another range at physical address 0x%llx",
                                    (unsigned long long)range.start);
            uint64_t rest = below->n_bytes - (range.start - below->start);
            cut_front(&range, rest < range.n_bytes ? rest : range.n_bytes);
            continue;
        }
        struct quire_image_range piece = range;
        if (at < image->n_ranges && image->ranges[at].start <= last)
            piece.n_bytes = image->ranges[at].start - range.start;
        if (piece.n_present > piece.n_bytes)
            piece.n_present = piece.n_bytes;
        if (insert(image, at, &piece) != 0)
            return image_refuse(-ENOMEM, message, "out of memory");
        cut_front(&range, piece.n_bytes);
    }
    return 0;
}

int image_add(struct quire_image *image, const struct image_file *file, uint64_t start,
              uint64_t n_bytes, uint64_t offset, char *message)
{
    uint64_t end;

    if (n_bytes == 0)
        return 0;
    if (!checked_add(start, n_bytes - 1, &end))
        return image_refuse(-EINVAL, message,
                            "a range at 0x%llx of 0x%llx bytes goes beyond 64 bits",
                            (unsigned long long)start, (unsigned long long)n_bytes);
    uint64_t room = offset < file->n_bytes ? file->n_bytes - offset : 0;
    struct quire_image_range range = {.start = start,
                                      .n_bytes = n_bytes,
                                      .n_present = room < n_bytes ? room : n_bytes,
                                      .offset = offset,
                                      .bytes = file->bytes + (room > 0 ? offset : 0)};
    return merge(image, file, range, message);
}

int image_add_pages(struct quire_image *image, const struct image_file *file, uint64_t start,
                    uint64_t n_bytes, char *message)
{
    uint64_t end;

    if (n_bytes == 0 || !checked_add(start, n_bytes - 1, &end))
        return image_refuse(-EINVAL, message, "memory at 0x%llx goes beyond 64 bits",
                            (unsigned long long)start);
    struct quire_image_range range = {.start = start,
                                      .n_bytes = n_bytes,
                                      .offset = start,
                                      .bytes = file->bytes,
                                      .pages = file->pages};
    return merge(image, file, range, message);
}

static int map_file(const char *path, struct image_file *file, bool may_be_flattened, char *message)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &info) != 0) {
        int error = -errno;
        if (fd >= 0)
            close(fd);
        return image_refuse(error, message, "%s", strerror(-error));
    }
    if (!S_ISREG(info.st_mode) || info.st_size == 0) {
        close(fd);
        return image_refuse(-EINVAL, message, "%s",
                            S_ISREG(info.st_mode) ? "the file is empty" : "it is no regular file");
    }
    file->n_bytes = (uint64_t)info.st_size;
    void *bytes = mmap(NULL, file->n_bytes, PROT_READ, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
    if (bytes == MAP_FAILED) {
        int error = -errno;
        close(fd);
        return image_refuse(error, message, "cannot map it: %s", strerror(-error));
    }
    file->bytes = bytes;
    file->fd = fd;
    int error = image_flat_open(&file->flat, bytes, file->n_bytes, may_be_flattened, message);
    if (error != 0) {
        munmap(bytes, file->n_bytes);
        close(fd);
    }
    return error;
}

/* Room for one more, so that nothing can fail once it is read. */
static int reserve_file(struct quire_image *image, char *message)
{
    struct image_file *larger = realloc(image->files, (image->n_files + 1) * sizeof *larger);

    if (larger == NULL)
        return image_refuse(-ENOMEM, message, "out of memory");
    image->files = larger;
    return 0;
}

/* Says where the file ends, if that is before its ranges do. */
static void tell_cut(const struct quire_image *image, const struct image_file *file, char *message)
{
    const struct quire_image_range *first = NULL;
    uint64_t n_lacking = 0;

    for (size_t i = 0; i < image->n_ranges; i++) {
        const struct quire_image_range *range = &image->ranges[i];
        if (range->n_present == range->n_bytes || range->pages != NULL || !is_of(file, range))
            continue;
        first = first == NULL ? range : first;
        n_lacking += range->n_bytes - range->n_present;
    }
    if (first != NULL)
        image_refuse(0, message,
                     "the file is cut off at byte %llu; 0x%llx bytes of memory lack, the first at "
                     "physical address 0x%llx",
                     (unsigned long long)file->n_bytes, (unsigned long long)n_lacking,
                     (unsigned long long)(first->start + first->n_present));
}

static const struct image_reader *choose(const struct image_file *file,
                                         enum quire_image_format format)
{
    switch (format) {
    case QUIRE_IMAGE_RAW:
        return &image_raw;
    case QUIRE_IMAGE_ELF:
        return &image_elf;
    case QUIRE_IMAGE_LIME:
        return &image_lime;
    case QUIRE_IMAGE_KDUMP:
        return &image_kdump;
    default:
        for (size_t i = 0;; i++)
            if (readers[i]->knows(file))
                return readers[i];
    }
}

/* Takes off what came from this file. */
static void drop_ranges(struct quire_image *image, const struct image_file *file)
{
    size_t n = 0;

    for (size_t i = 0; i < image->n_ranges; i++) {
        if (!is_of(file, &image->ranges[i]))
            image->ranges[n++] = image->ranges[i];
    }
    image->n_ranges = n;
}

int quire_image_add_file(struct quire_image *image, const char *path, uint64_t start,
                         enum quire_image_format format, char *message)
{
    struct image_file file = {.fd = -1};

    message[0] = '\0';
    int error = map_file(path, &file, format != QUIRE_IMAGE_RAW, message);
    if (error != 0)
        return error;
    const struct image_reader *reader = choose(&file, format);
    if (start != 0 && reader != &image_raw && reader != &image_foreign) {
        error = image_refuse(-EINVAL, message,
                             "%s files say themselves where their bytes belong; leave out @0x%llx",
                             reader->name, (unsigned long long)start);
    } else if (!reader->knows(&file)) {
        error = image_refuse(-EINVAL, message, "it is no %s file", reader->name);
    } else {
        error = reserve_file(image, message);
        if (error == 0)
            error = reader->read(image, &file, start, message);
        if (error != 0)
            drop_ranges(image, &file);
    }
    if (error != 0) {
        unmap_file(&file);
        return error;
    }
    image->files[image->n_files++] = file;
    tell_cut(image, &file, message);
    return 0;
}

int quire_image_check_parts(const struct quire_image *image, char *message)
{
    int error = 0;

    message[0] = '\0';
    for (size_t i = 0; i < image->n_files && error == 0; i++)
        if (image->files[i].pages != NULL)
            error = image->files[i].pages->ops->check(image->files[i].pages, message);
    return error;
}

uint64_t image_next_data(const struct quire_image *image, const struct quire_image_range *range,
                         uint64_t at, uint64_t *end)
{
    const struct image_file *file = NULL;

    if (range->pages != NULL)
        return image_pages_next(range->pages, range, at, end);
    *end = range->n_present;
    for (size_t i = 0; i < image->n_files && file == NULL; i++)
        if (is_of(&image->files[i], range))
            file = &image->files[i];
    if (file == NULL)
        return at;
    const off_t here = (off_t)(range->offset + at);
    off_t data = lseek(file->fd, here, SEEK_DATA);
    if (data < 0) /* nothing but a hole; or the file system can't tell */
        return errno == ENXIO ? range->n_present : at;
    off_t hole = lseek(file->fd, data, SEEK_HOLE);
    at += (uint64_t)(data - here);
    if (at >= range->n_present)
        return range->n_present;
    if (hole > data && (uint64_t)(hole - data) < range->n_present - at)
        *end = at + (uint64_t)(hole - data);
    return at;
}

int quire_image_add_memory(struct quire_image *image, uint64_t start, void *bytes, size_t n_bytes,
                           bool is_writable)
{
    uint64_t last;
    struct quire_image_range range = {.start = start,
                                      .n_bytes = n_bytes,
                                      .n_present = n_bytes,
                                      .bytes = bytes,
                                      .is_writable = is_writable};

    if (n_bytes == 0 || !checked_add(start, (uint64_t)n_bytes - 1, &last))
        return -EINVAL;
    size_t at = count_below(image, last);
    if (at > 0 && image->ranges[at - 1].start + (image->ranges[at - 1].n_bytes - 1) >= start)
        return -EEXIST;
    return insert(image, at, &range);
}

size_t quire_image_ranges(const struct quire_image *image, const struct quire_image_range **ranges)
{
    *ranges = image->ranges;
    return image->n_ranges;
}

const struct quire_image_registers *quire_image_registers(const struct quire_image *image)
{
    return &image->registers;
}

/* Copies what lies together, of a range or a page of one; *n: how much. */
static int copy_piece(const struct quire_image *image, uint64_t address, char *to, size_t n_bytes,
                      size_t *n)
{
    const struct quire_image_range *range = image_range_at(image, address);

    if (range == NULL)
        return -EFAULT;
    uint64_t at = address - range->start;
    uint64_t piece = image_extent(range) - at;
    if (range->pages == NULL && at >= range->n_present)
        return -ENODATA;
    if (range->pages != NULL && piece > image_pages_left(range->pages, address))
        piece = image_pages_left(range->pages, address);
    if (piece > n_bytes)
        piece = n_bytes;
    if (range->pages != NULL) {
        int error = image_pages_copy(range->pages, address, to, piece);
        if (error != 0)
            return error;
    } else {
        memcpy(to, range->bytes + at, piece);
    }
    *n = piece;
    return 0;
}

const unsigned char *image_fetch(const struct quire_image_range *range, uint64_t address,
                                 uint64_t n, void *room)
{
    uint64_t at = address - range->start;

    if (range->n_bytes - at < n)
        return NULL;
    for (uint64_t done = 0; done < n;) {
        uint64_t piece = image_pages_left(range->pages, address + done);
        piece = piece < n - done ? piece : n - done;
        if (image_pages_copy(range->pages, address + done, (char *)room + done, piece) != 0)
            return NULL;
        done += piece;
    }
    return room;
}

int image_lacks(const struct quire_image *image, uint64_t address, uint64_t *n_bytes)
{
    const struct quire_image_range *range = image_range_at(image, address);
    char byte;

    *n_bytes = UINT64_MAX;
    if (range == NULL)
        return -EFAULT;
    uint64_t at = address - range->start;
    if (range->pages == NULL) {
        *n_bytes = at < range->n_present ? range->n_present - at : UINT64_MAX;
        return at < range->n_present ? 0 : -ENODATA;
    }
    *n_bytes = range->n_bytes - at;
    if (*n_bytes > image_pages_left(range->pages, address))
        *n_bytes = image_pages_left(range->pages, address);
    return image_pages_copy(range->pages, address, &byte, 1);
}

int quire_image_read(const struct quire_image *image, uint64_t address, void *buffer,
                     size_t n_bytes, size_t *n_done)
{
    size_t n = 0;
    int error = 0;

    while (n < n_bytes && error == 0) {
        size_t piece = 0;
        error = copy_piece(image, address + n, (char *)buffer + n, n_bytes - n, &piece);
        n += piece;
        if (error == 0 && address + n == 0) /* the end of all addresses */
            error = n < n_bytes ? -EFAULT : 0;
    }
    if (n_done != NULL)
        *n_done = n;
    return error;
}

int quire_image_write(struct quire_image *image, uint64_t address, const void *bytes,
                      size_t n_bytes)
{
    const struct quire_image_range *range = image_range_at(image, address);

    if (range == NULL || !range->is_writable || address - range->start + n_bytes > range->n_bytes)
        return -EFAULT;
    memcpy(range->bytes + (address - range->start), bytes, n_bytes);
    return 0;
}
