/* SPDX-License-Identifier: Apache-2.0 */
/* order: which item goes first. */
#ifndef QUIRE_TENSOR_ORDER_H
#define QUIRE_TENSOR_ORDER_H

#include "tensor/instance.h"
#include "tensor/sort.h"

/*
 * A rank for each item, 0 for the first. `keys` names what decides, the most important first; more
 * goes before less:  a area, d duration, z size, s sections, t the fullest section it covers.
 * Ties go by index. `room` has 2 * n_items elements.
 */
void tensor_order(const struct tensor_instance *instance, const char *keys, uint32_t *rank,
                  struct tensor_key *room);

#endif
