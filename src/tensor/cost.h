/* SPDX-License-Identifier: Apache-2.0 */
/* cost: how many arithmetic operations an operator takes, estimated from its shapes. */
#ifndef QUIRE_TENSOR_COST_H
#define QUIRE_TENSOR_COST_H

#include "tensor/graph.h"

/* Sets the cost of each operator: two for each multiplication with its addition of convolutions and
 * products, one for each element of what others read and make. */
void cost_estimate(struct graph *graph);

#endif
