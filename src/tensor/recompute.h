/* SPDX-License-Identifier: Apache-2.0 */
/* recompute: drops values and computes them again, so that less lives at one time. */
#ifndef QUIRE_TENSOR_RECOMPUTE_H
#define QUIRE_TENSOR_RECOMPUTE_H

#include "tensor/program.h"
#include "tensor/work.h"

/*
 * Replaces *program by one whose most bytes at one step are at most `budget`, or as little above as
 * was found, at little more work. `costs`: of each operator. Near the deadline it is the best until
 * then. 0 or -ENOMEM.
 */
int recompute(struct program *program, bool in_place, uint64_t budget, const double *costs,
              const struct tensor_limits *limits);

#endif
