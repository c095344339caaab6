/* SPDX-License-Identifier: Apache-2.0 */
/* arithmetic: what ONNX's element-wise operators compute, of an element. */
#ifndef QUIRE_TENSOR_ARITHMETIC_H
#define QUIRE_TENSOR_ARITHMETIC_H

#include "tensor/graph.h"

enum arithmetic {
    ARITHMETIC_ADD,
    ARITHMETIC_SUB,
    ARITHMETIC_MUL,
    ARITHMETIC_DIV,
    ARITHMETIC_MOD,
    ARITHMETIC_MIN,
    ARITHMETIC_MAX,
    ARITHMETIC_POW,
    ARITHMETIC_EQUAL,
    ARITHMETIC_LESS,
    ARITHMETIC_GREATER,
    ARITHMETIC_LESS_OR_EQUAL,
    ARITHMETIC_GREATER_OR_EQUAL,
    ARITHMETIC_AND,
    ARITHMETIC_OR,
    ARITHMETIC_ABS,
    ARITHMETIC_NEG,
    ARITHMETIC_NOT,
    ARITHMETIC_FLOOR,
    ARITHMETIC_CEIL,
    ARITHMETIC_ROUND,
    ARITHMETIC_SQRT,
    ARITHMETIC_SIGN
};

/* False: the operator is none of them. */
bool arithmetic_of(const char *type, enum arithmetic *what);
bool arithmetic_is_unary(enum arithmetic what);
bool arithmetic_is_comparison(enum arithmetic what); /* it makes integers, of reals too */

/* As a real, whichever they are. */
double arithmetic_real(const struct graph_values *values, uint32_t i);

/* Element `at` of `to` from element i of a and k of b (NULL: unary). False: it is not known, as of
 * a division by 0. */
bool arithmetic_compute(enum arithmetic what, const struct graph_values *a, uint32_t i,
                        const struct graph_values *b, uint32_t k, struct graph_values *to,
                        uint32_t at);

#endif
