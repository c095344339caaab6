/* SPDX-License-Identifier: Apache-2.0 */
/* layout_path: the fastest way through a network: a layout for each operator, conversions between.
 */
#ifndef QUIRE_CLI_LAYOUT_PATH_H
#define QUIRE_CLI_LAYOUT_PATH_H

#include "cli/layout_costs.h"

struct layout_step {
    enum layout_choice in, out;
    double seconds;        /* of the kernel */
    const char *algorithm; /* of a convolution; NULL: it is none */
};

struct layout_move {
    uint32_t step; /* before which it happens; the number of operators: at the end */
    uint32_t tensor;
    enum layout_choice from, to;
    double seconds;
};

struct layout_path {
    struct layout_step *steps; /* one for each operator */
    struct layout_move *moves; /* in their order */
    size_t n_moves;
    double kernel_seconds, move_seconds;
    bool is_shortest;    /* proved: nothing was left out of the search */
    uint64_t arena_peak; /* bytes: tensors, copies in other layouts, workspaces */
};

/* With only_plain, in the model's own layout. Returns 0; -ENOMEM. */
int layout_path_find(const struct layout_graph *graph, struct layout_costs *costs, bool only_plain,
                     struct layout_path *path);
void layout_path_free(struct layout_path *path);

#endif
