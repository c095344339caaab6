/* SPDX-License-Identifier: Apache-2.0 */
/* remat: runs a program in its mind within a target, and notes what has to run again for that. */
#ifndef QUIRE_TENSOR_REMAT_H
#define QUIRE_TENSOR_REMAT_H

#include "tensor/uses.h"
#include "tensor/work.h"

/* What all runs of a program share. */
struct remat {
    const struct program *program;
    const double *costs; /* of each operator */
    const struct tensor_limits *limits;
    struct uses uses;
    bool *may_rerun; /* of each value: its operator may run again */
};

/* For program_derive(). */
struct remat_plan {
    uint32_t *step_of;
    bool *is_again;
    uint32_t n_steps, room;
    bool gave_up;      /* at max_steps, or the deadline */
    double extra_cost; /* of what runs again; each run counts as one operation more */
};

/* `program`, `costs` and `limits` have to last. 0 or -ENOMEM. */
int remat_init(struct remat *remat, const struct program *program, const double *costs,
               const struct tensor_limits *limits);
void remat_free(struct remat *remat);

/*
 * Runs so that what lives stays within `target` bytes as far as that goes. With keeps_inputs,
 * nothing that is handed in is given up, so that what is made of it can be made again. Behind the
 * deadline, or `max_steps`, nothing is dropped any more, and the plan is finished as it comes.
 * 0 or -ENOMEM.
 */
int remat_run(const struct remat *remat, uint64_t target, bool keeps_inputs, uint32_t max_steps,
              struct remat_plan *plan);
void remat_plan_free(struct remat_plan *plan);

#endif
