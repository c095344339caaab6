/* SPDX-License-Identifier: Apache-2.0 */
/* peaks: lowers a program's peaks one after the other, by what runs again just before it is read.
 */
#ifndef QUIRE_TENSOR_PEAKS_H
#define QUIRE_TENSOR_PEAKS_H

#include "tensor/program.h"
#include "tensor/work.h"

/*
 * Replaces *program by one whose most bytes at one step are at most `budget`, or less than now, if
 * one is found. Tries each change as a whole: for programs of up to some thousand steps. 0 or
 * -ENOMEM.
 */
int peaks_lower(struct program *program, bool in_place, uint64_t budget, const double *costs,
                const struct tensor_limits *limits);

#endif
