/* SPDX-License-Identifier: Apache-2.0 */
/* quick: a placement that is there before it is known who meets whom. */
#ifndef QUIRE_TENSOR_QUICK_H
#define QUIRE_TENSOR_QUICK_H

#include "tensor/work.h"
#include <quire/tensor.h>

struct tensor_quick {
    uint64_t peak;
    uint64_t bound; /* no placement in one space has a lower peak */
};

/*
 * Places all buffers in one space and writes their offsets. The problem has been checked. 0;
 * -ETIME: it, or the check that has to follow, would end behind the deadline; -EINVAL: not for this
 * problem (sizes); -ENOMEM.
 */
int tensor_quick_place(const struct quire_tensor_problem *problem, uint64_t min_alignment,
                       const struct tensor_limits *limits, uint64_t *offsets,
                       struct tensor_quick *result);

#endif
