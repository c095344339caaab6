/* SPDX-License-Identifier: Apache-2.0 */
/* exact: whether there is a placement within a capacity, by search through all that matter. */
#ifndef QUIRE_TENSOR_EXACT_H
#define QUIRE_TENSOR_EXACT_H

#include "tensor/instance.h"

#define TENSOR_EXACT_MAX_ITEMS 4096u /* it recurses once an item, some 200 bytes of stack each */

struct tensor_exact;

enum tensor_exact_result {
    TENSOR_EXACT_FOUND,
    TENSOR_EXACT_NONE,   /* there is none: a proof */
    TENSOR_EXACT_UNKNOWN /* the work was over */
};

/* `instance` outlives it and has lists of neighbours. NULL: no memory. */
struct tensor_exact *tensor_exact_new(const struct tensor_instance *instance);
void tensor_exact_free(struct tensor_exact *exact);

/*
 * Searches from the start. `rank` of each item, all different: who is tried first at an offset;
 * `by_fullest`: in each part rather who covers the section that has the most to hold. `capacity` is
 * not below the bound. `offsets` is written when one is found. What was proved about parts is kept
 * for the next call with the same capacity.
 */
enum tensor_exact_result tensor_exact_run(struct tensor_exact *exact, uint64_t capacity,
                                          const uint32_t *rank, bool by_fullest,
                                          struct tensor_work *work, uint64_t *offsets);

#endif
