/* SPDX-License-Identifier: Apache-2.0 */
/* portfolio: all ways of placing an instance, one after the other and beside each other. */
#ifndef QUIRE_TENSOR_PORTFOLIO_H
#define QUIRE_TENSOR_PORTFOLIO_H

#include "tensor/instance.h"

struct tensor_request {
    uint64_t capacity; /* bytes; 0: the least peak */
    enum quire_tensor_strategy strategy;
    uint64_t max_steps; /* 0: what the strategy takes for enough */
    uint32_t n_threads; /* 1 or more */
    uint64_t seed;
};

struct tensor_solution {
    uint64_t *offsets; /* of items; of `n_items` elements */
    uint64_t peak, bound;
    uint64_t n_steps;
    const char *found_by;
};

/*
 * Answers a request: solution->peak is within the capacity, or solution->bound is above it, or
 * neither. `limits` may stop it. 0; -ENOMEM, which leaves nothing to be freed. solution->offsets is
 * to be freed by free().
 */
int tensor_portfolio(struct tensor_instance *instance, const struct tensor_request *request,
                     struct tensor_limits *limits, struct tensor_solution *solution);

#endif
