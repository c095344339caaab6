/* SPDX-License-Identifier: Apache-2.0 */
/* layout_costs: how long the conversions and kernels of a network take on this machine. */
#ifndef QUIRE_CLI_LAYOUT_COSTS_H
#define QUIRE_CLI_LAYOUT_COSTS_H

#include "cli/layout_graph.h"

struct layout_kernel_cost {
    double seconds;           /* negative: there is none */
    uint64_t workspace_bytes; /* beside its tensors */
    const char *algorithm;    /* static, or NULL */
};

struct layout_costs;

/* NULL: no memory. `graph` has to live as long. */
struct layout_costs *layout_costs_new(const struct layout_graph *graph);
void layout_costs_free(struct layout_costs *costs);

/* Measured when it is asked for the first time for tensors of this shape. Negative: -ENOMEM. */
double layout_costs_convert(struct layout_costs *costs, uint32_t tensor, enum layout_choice from,
                            enum layout_choice to);

/* A convolution is run; what goes along any layout takes the time to read and write its tensors,
 * which copying is measured for. FIXED: that, too. */
struct layout_kernel_cost layout_costs_kernel(struct layout_costs *costs, uint32_t step,
                                              enum layout_choice in, enum layout_choice out);

/* How many were measured. Kernels are of f32 whatever the tensors' type, conversions of the latter.
 */
void layout_costs_counts(const struct layout_costs *costs, unsigned *n_conversions,
                         unsigned *n_kernels);

/* Of which types conversions were, by enum quire_layout_type. */
void layout_costs_types(const struct layout_costs *costs, bool is_there[QUIRE_LAYOUT_N_TYPES]);

#endif
