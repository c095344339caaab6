/* SPDX-License-Identifier: Apache-2.0 */
/* translation_picture: which virtual addresses lead to which physical ones, as an SVG picture. */
#ifndef QUIRE_CLI_TRANSLATION_PICTURE_H
#define QUIRE_CLI_TRANSLATION_PICTURE_H

#include <stddef.h>
#include <stdint.h>

struct translation_band {
    uint64_t va, address, n_bytes;
    uint32_t rights; /* enum quire_mmu_rights */
};

/* Sorts the bands. Returns 0, -ENOMEM, or -EIO: the file can't be written. */
int translation_picture_write(const char *path, const char *title, struct translation_band *bands,
                              size_t n) __attribute__((visibility("default")));

#endif
