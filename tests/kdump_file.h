/* SPDX-License-Identifier: Apache-2.0 */
/* A kdump-compressed file of pages that are not compressed, for tests. */
#ifndef QUIRE_TESTS_KDUMP_FILE_H
#define QUIRE_TESTS_KDUMP_FILE_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KDUMP_PAGE 4096u
#define KDUMP_CONTENTS 251u /* pages of which many are the same, as zeros are in makedumpfile's */

/* What all bytes of page `number` are. */
static inline unsigned char kdump_byte(uint64_t number)
{
    return (unsigned char)(number % KDUMP_CONTENTS);
}

static inline void kdump_put(unsigned char *at, uint64_t value, unsigned n_bytes)
{
    for (unsigned i = 0; i < n_bytes; i++)
        at[i] = (unsigned char)(value >> 8 * i);
}

/* n_pages of them, each `stride` behind the one before; of a split dump those from page `first` on.
 */
static inline bool kdump_write_part(int fd, uint64_t n_pages, uint64_t stride, bool is_split,
                                    uint64_t first, uint64_t end)
{
    const uint64_t n_map = (n_pages - 1) * stride + 1;
    const uint64_t bitmap_blocks = (n_map + 8 * KDUMP_PAGE - 1) / (8 * KDUMP_PAGE);
    const uint64_t bitmap = 2 * KDUMP_PAGE, descriptors = bitmap + 2 * bitmap_blocks * KDUMP_PAGE;
    const uint64_t data = descriptors + n_pages * 24;
    const uint64_t n_bytes = data + (uint64_t)KDUMP_CONTENTS * KDUMP_PAGE;
    unsigned char *file = calloc(1, n_bytes);

    if (file == NULL)
        return false;
    memcpy(file, "KDUMP   ", 8);
    kdump_put(file + 8, 6, 4);
    memcpy(file + 272, "x86_64", 6);
    kdump_put(file + 428, KDUMP_PAGE, 4);
    kdump_put(file + 432, 1, 4);
    kdump_put(file + 436, 2 * bitmap_blocks, 4);
    kdump_put(file + KDUMP_PAGE + 12, is_split, 4);
    kdump_put(file + KDUMP_PAGE + 80, first, 8);
    kdump_put(file + KDUMP_PAGE + 88, end, 8);
    kdump_put(file + KDUMP_PAGE + 96, n_map, 8);
    uint64_t n_before = 0;
    for (uint64_t i = 0; i < n_pages; i++) {
        const uint64_t number = i * stride;
        for (unsigned which = 0; which < 2; which++)
            file[bitmap + which * bitmap_blocks * KDUMP_PAGE + number / 8] |=
                (unsigned char)(1u << number % 8);
        if (is_split && (number < first || number >= end))
            continue;
        unsigned char *descriptor = file + descriptors + n_before++ * 24;
        kdump_put(descriptor, data + number % KDUMP_CONTENTS * KDUMP_PAGE, 8);
        kdump_put(descriptor + 8, KDUMP_PAGE, 4);
    }
    for (unsigned i = 0; i < KDUMP_CONTENTS; i++)
        memset(file + data + (uint64_t)i * KDUMP_PAGE, (int)i, KDUMP_PAGE);
    const bool is_written = write(fd, file, n_bytes) == (ssize_t)n_bytes;
    free(file);
    return is_written;
}

static inline bool kdump_write(int fd, uint64_t n_pages, uint64_t stride)
{
    return kdump_write_part(fd, n_pages, stride, false, 0, 0);
}

#endif
