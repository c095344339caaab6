/* SPDX-License-Identifier: Apache-2.0 */
/*
 * program: a sequence of steps, each of which runs an operator, and the values that these make.
 *
 * A value is what one run of an operator writes into one tensor. A model's own program has one for
 * each tensor; recomputation adds steps, and values of the same tensor. Only what has bytes in the
 * arena is a value.
 *
 *     step 0: Conv   reads x:0          makes a:1
 *     step 1: Relu   reads a:1          makes b:2
 *     ...
 *     step 7: Conv   reads x:0          makes a:9      (again)
 *
 * Invariant P1: a value is made before it is read, by one step, or is an input's.
 */
#ifndef QUIRE_TENSOR_PROGRAM_H
#define QUIRE_TENSOR_PROGRAM_H

#include "tensor/graph.h"

struct program_step {
    uint32_t operator_;
    uint32_t first, n_in, n_out; /* in program.links: values, or GRAPH_NONE */
    bool is_again;
};

struct program {
    const struct graph *graph;
    struct program_step *steps;
    uint32_t *links;
    uint32_t *tensors;      /* of each value */
    uint32_t *makers;       /* of each value: the step, or GRAPH_NONE: an input */
    int64_t *lower, *upper; /* of each value: its lifetime in steps */
    uint32_t *ends;         /* of each region: the step of its End */
    uint32_t n_steps, n_links, n_values;
};

/* The model's operators in this order; NULL: its own. 0 or -ENOMEM. */
int program_init(struct program *program, const struct graph *graph, const uint32_t *order);
/*
 * Another program from this one's steps: step_of[i] is what step i was, and is_again[i] whether it
 * runs once more. Each reads the latest value before it of the tensors that it read. 0 or -ENOMEM.
 */
int program_derive(struct program *program, const struct program *from, uint32_t n_steps,
                   const uint32_t *step_of, const bool *is_again);
/* The same program once more. 0 or -ENOMEM. */
int program_copy(struct program *program, const struct program *from);
void program_free(struct program *program);

static inline uint64_t program_bytes(const struct program *program, uint32_t value)
{
    return program->graph->tensors[program->tensors[value]].n_bytes;
}

static inline const struct graph_operator *program_operator(const struct program *program,
                                                            uint32_t step)
{
    return &program->graph->operators[program->steps[step].operator_];
}

/* The most bytes that values live with at one step, nothing shared. */
uint64_t program_peak(const struct program *program);

/* Whether running it twice, or in another place, makes no difference but for the time. */
bool program_is_pure(const struct graph *graph, uint32_t operator_);

#endif
