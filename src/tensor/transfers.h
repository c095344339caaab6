/* SPDX-License-Identifier: Apache-2.0 */
/* transfers: how long is waited for what is written out and fetched. */
#ifndef QUIRE_TENSOR_TRANSFERS_H
#define QUIRE_TENSOR_TRANSFERS_H

#include "tensor/offload.h"

/*
 * Goes through the steps, which take `seconds` each: one transfer each way at a time, in the order
 * in which they begin, of those that begin at one step the soonest needed first. Sets the times of
 * `offload`. 0 or -ENOMEM. O(steps + trips * log(trips)).
 */
int transfers_wait(struct offload *offload, const struct sharing *sharing, uint32_t n_steps,
                   const double *seconds, double bandwidth);

#endif
