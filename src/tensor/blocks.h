/* SPDX-License-Identifier: Apache-2.0 */
/* blocks: joins items that fit together without waste, so that fewer are to be placed. */
#ifndef QUIRE_TENSOR_BLOCKS_H
#define QUIRE_TENSOR_BLOCKS_H

#include "tensor/instance.h"

struct tensor_blocks {
    struct tensor_instance joined; /* its items are blocks of those of the instance */
    struct tensor_block *blocks;   /* those of one item first, then those of two blocks */
    uint32_t n_items, n_blocks;
};

/*
 * Joins what can be joined. 0; -ENOENT: next to nothing can; -ENOMEM. With an error there is
 * nothing to be freed.
 */
int tensor_blocks_join(struct tensor_blocks *blocks, const struct tensor_instance *instance);

void tensor_blocks_free(struct tensor_blocks *blocks);

/* Offsets of the items from those of the items of `joined`. */
void tensor_blocks_expand(struct tensor_blocks *blocks, const uint64_t *of_blocks,
                          uint64_t *offsets);

#endif
