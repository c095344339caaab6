/* SPDX-License-Identifier: Apache-2.0 */
/* offload: which buffers are written out and fetched again, and when. */
#ifndef QUIRE_TENSOR_OFFLOAD_H
#define QUIRE_TENSOR_OFFLOAD_H

#include "tensor/sharing.h"
#include "tensor/work.h"

/* The buffer is touched at `before` and then not until `after`; in between it is away. */
struct trip {
    uint32_t group;
    uint32_t before, after;
    uint32_t gone; /* the first step during which its memory is another's: it is written by then */
    uint32_t back; /* the first step during which its memory is its own again */
};

struct offload {
    struct trip *trips; /* of each group in the order of time */
    uint32_t n_trips;
    uint64_t peak;
    double seconds, stall_seconds; /* of the whole, and waiting for transfers */
};

/* `seconds`: of each step. bandwidth: bytes a second, each way. Near the deadline, what was found
 * until then. 0 or -ENOMEM. */
int offload_find(struct offload *offload, const struct program *program,
                 const struct sharing *sharing, uint64_t budget, double bandwidth,
                 const double *seconds, const struct tensor_limits *limits);
void offload_free(struct offload *offload);

#endif
