/* SPDX-License-Identifier: Apache-2.0 */
/* image: what image.c shares with the readers of formats, and how walks get at an entry. */
#ifndef QUIRE_MMU_IMAGE_H
#define QUIRE_MMU_IMAGE_H

#include "mmu/image_flat.h"

#include <quire/image.h>

struct image_pages; /* image_pages.h: memory that comes page by page, compressed in the file */

struct image_file {
    unsigned char *bytes;
    uint64_t n_bytes;
    int fd;                    /* to ask for holes */
    struct image_flat flat;    /* the same bytes, in the order that its format has them in */
    bool may_repeat;           /* the same memory may be at two places of it */
    struct image_pages *pages; /* the file's, freed with it; NULL: it is mapped as it is */
};

struct quire_image {
    struct quire_image_range *ranges; /* sorted, disjoint */
    size_t n_ranges, max_ranges;
    struct image_file *files;
    size_t n_files;
    struct quire_image_registers registers;
};

/* A format: one file that fills in one of these, and a line in image.c. */
struct image_reader {
    const char *name;
    bool (*knows)(const struct image_file *file); /* by its first bytes */
    /* Adds ranges by image_add(). 0 or a negative errno with `message` (quire/image.h). */
    int (*read)(struct quire_image *image, struct image_file *file, uint64_t start, char *message);
};
extern const struct image_reader image_raw, image_elf, image_lime, image_kdump, image_foreign;

/*
 * Adds [start, start + n_bytes), whose first byte is the file's at `offset`; as much of it is
 * present as the file has. Where it overlaps what the same file holds already, at the same bytes or
 * with may_repeat at any, that is left out. 0, -EINVAL, -EEXIST or -ENOMEM, with a message.
 */
int image_add(struct quire_image *image, const struct image_file *file, uint64_t start,
              uint64_t n_bytes, uint64_t offset, char *message);

/* The same of memory that is the file's `pages`. */
int image_add_pages(struct quire_image *image, const struct image_file *file, uint64_t start,
                    uint64_t n_bytes, char *message);

/* Writes a message of at most QUIRE_IMAGE_MESSAGE_BYTES and returns `error`. */
int image_refuse(int error, char *message, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* How many bytes of a range may be had, by image_get(). */
static inline uint64_t image_extent(const struct quire_image_range *range)
{
    return range->pages != NULL ? range->n_bytes : range->n_present;
}

/*
 * Of a range's bytes from `at` on, those that are neither a hole of a sparse file, which reads as
 * zeros, nor left out of a dump: returns where they begin, and where they end in *end; the range's
 * extent: there are none. All count from the range's start. So who looks at everything need not
 * bring holes into memory.
 */
uint64_t image_next_data(const struct quire_image *image, const struct quire_image_range *range,
                         uint64_t at, uint64_t *end);

/* The range that `address` lies in, or NULL. */
const struct quire_image_range *image_range_at(const struct quire_image *image, uint64_t address);

/*
 * Where the n bytes at `address` lie; NULL if not all of them are present in one range. `*hint` is
 * the range that was hit last, any number at first: it is the caller's, so walks share nothing.
 */
static inline const unsigned char *image_at(const struct quire_image *image, uint64_t address,
                                            uint64_t n, const struct quire_image_range **hint)
{
    const struct quire_image_range *range = *hint;
    if (__builtin_expect(range == NULL || address - range->start >= range->n_present, 0)) {
        range = image_range_at(image, address);
        if (range == NULL)
            return NULL;
        *hint = range;
    }
    uint64_t at = address - range->start;
    if (__builtin_expect(at >= range->n_present || range->n_present - at < n, 0))
        return NULL;
    return range->bytes + at;
}

/* n bytes of a range with pages, into `room`, which it returns; NULL: not all of them can be had.
 */
const unsigned char *image_fetch(const struct quire_image_range *range, uint64_t address,
                                 uint64_t n, void *room);

/*
 * As image_at(), of any range: bytes that have no address of their own are copied into `room`, the
 * caller's n bytes. NULL: not all of them can be had; image_lacks() says why.
 */
static inline const unsigned char *image_get(const struct quire_image *image, uint64_t address,
                                             uint64_t n, const struct quire_image_range **hint,
                                             void *room)
{
    const struct quire_image_range *range = *hint;
    if (__builtin_expect(range == NULL || address - range->start >= range->n_present, 0)) {
        if (range == NULL || address - range->start >= range->n_bytes)
            range = image_range_at(image, address);
        if (range == NULL)
            return NULL;
        *hint = range;
        if (__builtin_expect(range->pages != NULL, 0))
            return image_fetch(range, address, n, room);
    }
    uint64_t at = address - range->start;
    if (__builtin_expect(at >= range->n_present || range->n_present - at < n, 0))
        return NULL;
    return range->bytes + at;
}

/*
 * Why the byte at `address` can't be had: -EFAULT, -ENODATA, -ENOENT, -EIO as quire_image_read()
 * has them; 0: it can. *n_bytes: of how many bytes from there on that is so at least, at most to
 * the end of the range or of the page; UINT64_MAX: of more than anybody wants to hear.
 */
int image_lacks(const struct quire_image *image, uint64_t address, uint64_t *n_bytes);

#endif
