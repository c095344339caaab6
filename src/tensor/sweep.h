/* SPDX-License-Identifier: Apache-2.0 */
/* sweep: a placement in one pass over time, as an allocator at run time would make it. */
#ifndef QUIRE_TENSOR_SWEEP_H
#define QUIRE_TENSOR_SWEEP_H

#include "tensor/instance.h"

/* Writes offsets. 0; -EINVAL: not for this instance (alignments, sizes); -ENOMEM. O(n log n). */
int tensor_sweep(const struct tensor_instance *instance, uint64_t *offsets);

#endif
