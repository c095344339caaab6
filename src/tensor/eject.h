/* SPDX-License-Identifier: Apache-2.0 */
/* eject: looks for a placement within a capacity by putting items in and others out. */
#ifndef QUIRE_TENSOR_EJECT_H
#define QUIRE_TENSOR_EJECT_H

#include "tensor/instance.h"
#include "tensor/random.h"

struct tensor_eject;

/* `instance` outlives it. NULL: no memory. */
struct tensor_eject *tensor_eject_new(const struct tensor_instance *instance, uint64_t seed);
void tensor_eject_free(struct tensor_eject *eject);

/*
 * Begins anew: what lies within `capacity` in `offsets` (NULL: nothing) is left there, all else is
 * to be put in, the lowest rank first. With a capacity without limit nothing is ever put out: first
 * fit.
 */
void tensor_eject_start(struct tensor_eject *eject, const uint64_t *offsets, uint64_t capacity,
                        const uint32_t *rank);

/* Goes on until all are in, or the work is over. Whether all are in. */
bool tensor_eject_run(struct tensor_eject *eject, struct tensor_work *work);

/* Of each item; TENSOR_NOWHERE: it is out. */
void tensor_eject_offsets(const struct tensor_eject *eject, uint64_t *offsets);

#endif
