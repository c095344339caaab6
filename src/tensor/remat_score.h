/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remat_score: a run of remat as far as it has come, and what it would cost to be without a value.
 * Private to remat.
 *
 *     cost of running again what is missing around the value  /  (bytes * steps to the next use)
 *
 * What is missing around it: the evicted values that it would be made of, and those that would be
 * made of it. These are kept in components (union-find), whose sums of costs are at hand. So
 * evictions keep apart from each other, and along a chain of n layers every sqrt(n)-th stays.
 */
#ifndef QUIRE_TENSOR_REMAT_SCORE_H
#define QUIRE_TENSOR_REMAT_SCORE_H

#include "tensor/program.h"
#include "tensor/queue.h"
#include "tensor/remat.h"

#include <errno.h>
#include <stdlib.h>

#define REMAT_MAX_FAN 16u   /* readers of a value that are looked at */
#define REMAT_MAX_CHAIN 64u /* operators that are revived for one value */

enum remat_presence { REMAT_ABSENT, REMAT_RESIDENT, REMAT_EVICTED, REMAT_GONE, REMAT_LOST };

struct remat_frame {
    uint32_t value;
    uint32_t n_pinned; /* of its operator's inputs: those before are there */
};

struct remat_state {
    const struct remat *remat;
    const struct program *program;
    struct remat_plan *plan;
    uint8_t *state;                        /* of each value */
    uint32_t *next, *pins, *needers;       /* of each value; `next`: its next use in remat.uses */
    uint32_t *stamp, *node;                /* of each value: its valid entry; in which component */
    uint32_t *parent, n_nodes, room_nodes; /* components: of each node */
    double *sum;                           /* of each root: costs */
    struct queue queue;
    struct remat_frame *stack;
    uint32_t *dropped; /* values whose needers are to be looked at */
    uint32_t n_stack, room_stack, n_dropped, room_dropped;
    int64_t *level; /* of each step, 0 between uses */
    uint64_t live, target;
    uint32_t now, max_steps;
    bool keeps_inputs;
    int error; /* -ENOMEM, once and for all */
};

static inline const struct program_step *remat_maker(const struct remat_state *run, uint32_t value)
{
    return &run->program->steps[run->program->makers[value]];
}

static inline double remat_cost(const struct remat_state *run, uint32_t value)
{
    return 1 + run->remat->costs[remat_maker(run, value)->operator_];
}

static inline uint64_t remat_bytes(const struct remat_state *run, uint32_t value)
{
    return program_bytes(run->program, value);
}

static inline uint32_t remat_next_use(const struct remat_state *run, uint32_t value)
{
    uint32_t at = run->next[value];
    return at < run->remat->uses.first[value + 1] ? run->remat->uses.steps[at] : GRAPH_NONE;
}

/* Room for one more in a table: where it is now; with run.error set it stays as it is. */
static inline void *remat_grow(struct remat_state *run, void *table, uint32_t n, uint32_t *room,
                               size_t n_bytes)
{
    if (n < *room)
        return table;
    void *larger = realloc(table, (2 * (size_t)*room + 64) * n_bytes);
    if (larger == NULL) {
        run->error = -ENOMEM;
        return table;
    }
    *room = 2 * *room + 64;
    return larger;
}

/* What was made of a value, or will be: up to REMAT_MAX_FAN. Returns their number. */
uint32_t remat_list_made(const struct remat_state *run, uint32_t value, uint32_t *list);

/* The value is evicted: it joins those that are around it. */
void remat_join(struct remat_state *run, uint32_t value);
/* It is evicted no more. What it held together stays so, at less cost. */
void remat_leave(struct remat_state *run, uint32_t value);

/* INFINITY: it has to stay. Finite: no more than REMAT_MAX_CHAIN operators are revived for it. */
double remat_score(struct remat_state *run, uint32_t value);

#endif
