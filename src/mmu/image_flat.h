/* SPDX-License-Identifier: Apache-2.0 */
/* image_flat: the bytes of a dump, as makedumpfile -F and QEMU write it to a pipe or as it is. */
#ifndef QUIRE_MMU_IMAGE_FLAT_H
#define QUIRE_MMU_IMAGE_FLAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct flat_piece {
    uint64_t offset, n_bytes; /* in the dump */
    uint64_t at;              /* in the file */
};

struct image_flat {
    const unsigned char *bytes; /* the file's */
    struct flat_piece *pieces;  /* by rising offset, disjoint */
    size_t n_pieces;
    uint64_t n_bytes; /* of the dump: where its last piece ends */
    bool is_flattened;
    bool is_cut; /* it is, and the file has no end mark */
};

/*
 * Of a file's bytes, which have to outlive it; with may_be_flattened by what they begin with, else
 * they are the dump as they stand. 0; -EINVAL or -ENOMEM, with a message and nothing to be closed.
 */
int image_flat_open(struct image_flat *flat, const unsigned char *bytes, uint64_t n_bytes,
                    bool may_be_flattened, char *message);

void image_flat_close(struct image_flat *flat);

/* Where n bytes of the dump from `offset` on lie, in the mapping; NULL: not one after the other, or
 * not at all. */
const unsigned char *image_flat_at(const struct image_flat *flat, uint64_t offset, uint64_t n);

/* Whether n bytes from `offset` on are the same in both, and there. */
bool image_flat_same(const struct image_flat *one, const struct image_flat *other, uint64_t offset,
                     uint64_t n);

/* Copies them from wherever they lie. What was skipped when the dump was written is zeros, as in a
 * file. False: the dump ends before. */
bool image_flat_copy(const struct image_flat *flat, uint64_t offset, uint64_t n, void *to);

#endif
