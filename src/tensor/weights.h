/* SPDX-License-Identifier: Apache-2.0 */
/* weights: what the files of <quire/weights.h> share. */
#ifndef QUIRE_TENSOR_WEIGHTS_H
#define QUIRE_TENSOR_WEIGHTS_H

#include "tensor/graph.h"

#include <quire/weights.h>

/* Of each tensor of the graph the axis that its channels are on; its rank: there are none. */
void weights_find_axes(const struct graph *graph, uint32_t *axes);

/* Adds a tensor as the scheme has it, or as it is where that does not apply. */
void weights_total_add(struct quire_weights_total *total, const struct quire_weights_tensor *tensor,
                       unsigned scheme);

#endif
