/* SPDX-License-Identifier: Apache-2.0 */
/* stack: a placement at once, however bad: each item on top of all before it. */
#ifndef QUIRE_TENSOR_STACK_H
#define QUIRE_TENSOR_STACK_H

#include "tensor/instance.h"

/* Writes offsets; fixed items stay, and all others lie above the highest of them. 0 or -ENOMEM. */
int tensor_stack(const struct tensor_instance *instance, uint64_t *offsets);

#endif
