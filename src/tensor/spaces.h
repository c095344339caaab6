/* SPDX-License-Identifier: Apache-2.0 */
/* spaces: which buffers are to be tried in a space. */
#ifndef QUIRE_TENSOR_SPACES_H
#define QUIRE_TENSOR_SPACES_H

#include "tensor/work.h"

#include <quire/tensor.h>

/*
 * Of the buffers whose `where` is UINT32_MAX, those for `space`, as place.c says. `chosen` has room
 * for all. Returns 0 and their number in *n; -ENOMEM; -ETIME: it would be too late for `limits`.
 */
int tensor_spaces_choose(const struct quire_tensor_problem *problem, uint32_t space,
                         const uint32_t *where, uint64_t min_alignment,
                         const struct tensor_limits *limits, uint32_t *chosen, size_t *n);

/* Whether a buffer may lie in a space after this one, and is free to. */
bool tensor_spaces_may_go_on(const struct quire_tensor_problem *problem, size_t buffer,
                             uint32_t space);

#endif
