/* SPDX-License-Identifier: Apache-2.0 */
/* image: what image.c shares with the readers of formats, and how walks get at an entry. */
#ifndef QUIRE_MMU_IMAGE_H
#define QUIRE_MMU_IMAGE_H

#include <quire/image.h>

struct image_file {
    unsigned char *bytes;
    uint64_t n_bytes;
    int fd; /* to ask for holes */
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
    int (*read)(struct quire_image *image, const struct image_file *file, uint64_t start,
                char *message);
};
extern const struct image_reader image_raw, image_elf, image_lime, image_foreign;

/*
 * Adds [start, start + n_bytes), whose first byte is the file's at `offset`; as much of it is
 * present as the file has. Where it overlaps what the same file holds at the same bytes already,
 * that is left out. 0, -EINVAL, -EEXIST or -ENOMEM, with a message.
 */
int image_add(struct quire_image *image, const struct image_file *file, uint64_t start,
              uint64_t n_bytes, uint64_t offset, char *message);

/* Writes a message of at most QUIRE_IMAGE_MESSAGE_BYTES and returns `error`. */
int image_refuse(int error, char *message, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * Of a range's present bytes from `at` on, those that are no hole of a sparse file, which reads as
 * zeros: returns where they begin, and where they end in *end; n_present: there are none. All count
 * from the range's start. So who looks at everything need not bring holes into memory.
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

#endif
