/* SPDX-License-Identifier: Apache-2.0 */
/* kinship: how an operator's outputs may lie in its inputs' bytes. */
#ifndef QUIRE_TENSOR_KINSHIP_H
#define QUIRE_TENSOR_KINSHIP_H

#include "tensor/graph.h"

enum kinship {
    KINSHIP_NONE,
    KINSHIP_VIEW,   /* output 0 is the bytes of input 0: reshape, squeeze, ... */
    KINSHIP_PARTS,  /* each output is a piece of an input: slice, split along the outermost axis */
    KINSHIP_JOIN,   /* each input is a piece of output 0: concat along the outermost axis */
    KINSHIP_ELEMENT /* element i of output 0 needs of inputs of its size element i alone */
};

enum kinship kinship_of(const struct graph *graph, const struct graph_operator *operator_);

/* Of PARTS: which input is cut, and where output `i` begins in it. False: it is no whole piece. */
bool kinship_part(const struct graph *graph, const struct graph_operator *operator_, uint32_t i,
                  uint32_t *input, uint64_t *offset);

/* Of ELEMENT: whether output 0 may be written over input i. */
bool kinship_element(const struct graph *graph, const struct graph_operator *operator_, uint32_t i);

#endif
