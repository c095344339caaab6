/* SPDX-License-Identifier: Apache-2.0 */
/* sharing: which values of a program lie in one buffer, and where. */
#ifndef QUIRE_TENSOR_SHARING_H
#define QUIRE_TENSOR_SHARING_H

#include "tensor/program.h"

struct sharing {
    uint32_t *group;  /* of each value: the value whose group it belongs to; of that one, itself */
    uint64_t *offset; /* of each value, in its group's bytes */
    uint32_t *next;   /* the next member of the group, in a circle */
    uint64_t *size;   /* of each group, by its value */
    int64_t *lower, *upper; /* likewise: when any of it lives */
    uint32_t n_values, n_shared;
    uint64_t peak;  /* most bytes that live at one step */
    uint64_t floor; /* most bytes that one step reads and writes, with the model's inputs in the
                       first and its outputs in the last: what has to be there at once */
};

/* Every value alone, or with in_place where it saves something. 0 or -ENOMEM. */
int sharing_init(struct sharing *sharing, const struct program *program, bool in_place);
void sharing_free(struct sharing *sharing);

#endif
