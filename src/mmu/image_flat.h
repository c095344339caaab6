/* SPDX-License-Identifier: Apache-2.0 */
/* image_flat: the bytes of a dump, as makedumpfile -F and QEMU write it to a pipe or as it is. */
#ifndef QUIRE_MMU_IMAGE_FLAT_H
#define QUIRE_MMU_IMAGE_FLAT_H

#include "mmu/image.h"

struct flat_piece {
    uint64_t offset, n_bytes; /* in the dump */
    uint64_t at;              /* in the file */
};

struct image_flat {
    const unsigned char *bytes; /* the file's */
    struct flat_piece *pieces;  /* by rising offset, disjoint */
    size_t n_pieces;
    uint64_t n_bytes; /* of the dump: where its last piece ends */
    bool is_cut;      /* the file has no end mark */
};

bool image_flat_knows(const struct image_file *file);

/* Flattened or not. 0; -EINVAL or -ENOMEM, with a message. The file's mapping has to outlive it. */
int image_flat_open(struct image_flat *flat, const struct image_file *file, char *message);

void image_flat_close(struct image_flat *flat); /* also of one that is all zeros */

/* Where n bytes of the dump from `offset` on lie, in the mapping; NULL: not one after the other, or
 * not at all. */
const unsigned char *image_flat_at(const struct image_flat *flat, uint64_t offset, uint64_t n);

/* Copies them from wherever they lie. What was skipped when the dump was written is zeros, as in a
 * file. False: the dump ends before. */
bool image_flat_copy(const struct image_flat *flat, uint64_t offset, uint64_t n, void *to);

#endif
