/* SPDX-License-Identifier: Apache-2.0 */
/* uses: which steps of a program read each value. */
#ifndef QUIRE_TENSOR_USES_H
#define QUIRE_TENSOR_USES_H

#include "tensor/program.h"

struct uses {
    uint32_t *steps; /* those of value v, ascending, each once: from first[v] to first[v + 1] - 1 */
    uint32_t *first;
};

/* 0 or -ENOMEM. */
int uses_init(struct uses *uses, const struct program *program);
void uses_free(struct uses *uses);

#endif
