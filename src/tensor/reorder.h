/* SPDX-License-Identifier: Apache-2.0 */
/* reorder: an order of the operators in which less lives at one time. */
#ifndef QUIRE_TENSOR_REORDER_H
#define QUIRE_TENSOR_REORDER_H

#include "tensor/graph.h"
#include "tensor/work.h"

struct reorder {
    uint32_t *operators; /* a permutation */
    uint64_t peak;       /* most bytes that live at one step; views and writing in place count, as
                            far as they were allowed */
    uint64_t bound;      /* no order has less */
};

/* Looks at up to n_states sets of executed operators, until the deadline. 0 or -ENOMEM. */
int reorder_search(const struct graph *graph, bool in_place, uint64_t n_states,
                   const struct tensor_limits *limits, struct reorder *order);
void reorder_free(struct reorder *order);

#endif
